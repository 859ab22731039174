//! Making drafts live.

use super::faqs::MAX_NOTE_CHARS;
use super::id;
use super::wire::GoldenBody;
use crate::domain::{RevisionId, StaffRole};
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::state::AppState;
use crate::jobs::{PublishRequest, Published};
use crate::people::Person;
use crate::storage::MAX_PUBLISHED;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishForm {
    /// Drafts, or revisions in review.
    revisions: Vec<String>,
    /// What the list of versions says of it.
    #[serde(default)]
    note: String,
    /// Publish although golden questions are answered worse; for admins.
    #[serde(default)]
    force: bool,
}

impl RequestBody for PublishForm {}

/// What was published.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PublishedBody {
    /// The version that it is in.
    kb_version: u64,
    /// What the golden questions said.
    golden: GoldenBody,
}

impl From<Published> for PublishedBody {
    fn from(from: Published) -> Self {
        Self {
            kb_version: from.kb_version.0,
            golden: from.golden.into(),
        }
    }
}

/// Whether this person may publish what golden questions say no to.
pub(super) fn force_allowed(person: &Person, force: bool) -> Result<(), ApiError> {
    if !force || person.role == StaffRole::Admin {
        return Ok(());
    }
    let message = "only an admin may publish what makes golden questions worse";
    Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", message))
}

pub(super) fn request(person: &Person, note: String, force: bool) -> Result<PublishRequest, ApiError> {
    if note.chars().nth(MAX_NOTE_CHARS).is_some() {
        let message = format!("note may have at most {MAX_NOTE_CHARS} characters");
        return Err(ApiError::parameter("note", message));
    }
    Ok(PublishRequest {
        by: person.name.clone(),
        note,
        force,
    })
}

/// The revisions of a list of ids.
pub(super) fn revisions(ids: &[String]) -> Result<Vec<RevisionId>, ApiError> {
    if ids.len() > MAX_PUBLISHED {
        let message = format!("at most {MAX_PUBLISHED} revisions at once");
        return Err(ApiError::parameter("revisions", message));
    }
    ids.iter().map(|text| id(text, "revision")).collect()
}

/// Publishes drafts as one version, if the golden questions allow it.
#[utoipa::path(
    post, path = "/api/v1/knowledge/publish", tag = "knowledge", request_body = PublishForm,
    responses(
        (status = 200, body = PublishedBody),
        (status = 403, body = ErrorBody, description = "`four_eyes`: another person must publish it"),
        (status = 409, body = ErrorBody, description = "`golden_worse` (details say which), `conflict` or `wrong_state`"),
        (status = 404, body = ErrorBody, description = "There is no such revision"),
    )
)]
pub(crate) async fn publish(
    State(state): State<AppState>,
    person: Person,
    JsonBody(form): JsonBody<PublishForm>,
) -> Result<Json<PublishedBody>, ApiError> {
    force_allowed(&person, form.force)?;
    let ids = revisions(&form.revisions)?;
    if ids.is_empty() {
        return Err(ApiError::parameter("revisions", "name at least one revision"));
    }
    let request = request(&person, form.note, form.force)?;
    let done = state.services()?.publisher.publish(&ids, &request).await?;
    Ok(Json(done.into()))
}
