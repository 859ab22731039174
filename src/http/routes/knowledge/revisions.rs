//! Revisions: drafts, what waits for review, what was published before.

use super::faqs::MAX_NOTE_CHARS;
use super::id;
use super::wire::{ContentBody, RevisionBody};
use crate::domain::{Revision, RevisionId, RevisionState, StaffRole};
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::paging::{List, PageParams};
use crate::http::state::AppState;
use crate::people::Person;
use crate::storage::RevisionFilter;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which revisions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StateParam {
    /// `draft`, `review`, `published`, `retired` or `rejected`, or several with commas between; all where it is left out.
    #[param(example = "draft,review")]
    state: Option<String>,
}

/// A revision with what it says, and what is live now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevisionDetail {
    /// The revision.
    #[serde(flatten)]
    revision: RevisionBody,
    /// What it says; null if it removes the item.
    content: Option<ContentBody>,
    /// What is live now; null if the item is not.
    published: Option<ContentBody>,
}

/// Why a revision is rejected.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RejectForm {
    /// The reason, for its author.
    note: String,
}

impl RequestBody for RejectForm {}

/// Lists revisions, the newest first.
#[utoipa::path(
    get, path = "/api/v1/knowledge/revisions", tag = "knowledge", params(PageParams, StateParam),
    responses((status = 200, body = List<RevisionBody>), (status = 401, body = ErrorBody, description = "Sign in first"))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(which): Query<StateParam>,
    page: PageParams,
) -> Result<Json<List<RevisionBody>>, ApiError> {
    let names = which.state.unwrap_or_default();
    let mut states = Vec::new();
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let known = RevisionState::from_name(name);
        states.push(
            known.ok_or_else(|| {
                ApiError::parameter("state", "state is draft, review, published, retired or rejected")
            })?,
        );
    }
    let filter = RevisionFilter { states, item: None };
    let found = state.store().revisions(&filter, &page.request()).await;
    List::of(found, RevisionBody::from).map(Json)
}

async fn needed(state: &AppState, revision: &str) -> Result<Revision, ApiError> {
    let revision: RevisionId = id(revision, "revision")?;
    let found = state.store().revision(revision).await?;
    found.ok_or_else(|| ApiError::not_found("revision"))
}

/// Shows a revision with what it says, beside what is live now.
#[utoipa::path(
    get, path = "/api/v1/knowledge/revisions/{id}", tag = "knowledge",
    params(("id" = Uuid, Path, description = "As the list names it")),
    responses((status = 200, body = RevisionDetail), (status = 404, body = ErrorBody, description = "There is none"))
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    Path(revision): Path<String>,
) -> Result<Json<RevisionDetail>, ApiError> {
    let revision = needed(&state, &revision).await?;
    let live = state.store().published_revision(revision.summary.item).await?;
    Ok(Json(RevisionDetail {
        content: ContentBody::of(&revision),
        published: live.as_ref().and_then(ContentBody::of),
        revision: revision.summary.into(),
    }))
}

/// Gives a draft to review.
#[utoipa::path(
    post, path = "/api/v1/knowledge/revisions/{id}/submit", tag = "knowledge",
    params(("id" = Uuid, Path, description = "As the list names it")),
    responses(
        (status = 200, body = RevisionBody),
        (status = 409, body = ErrorBody, description = "It is no draft"),
        (status = 404, body = ErrorBody, description = "There is none"),
    )
)]
pub(crate) async fn submit(
    State(state): State<AppState>,
    person: Person,
    Path(revision): Path<String>,
) -> Result<Json<RevisionBody>, ApiError> {
    let revision = needed(&state, &revision).await?;
    own(&person, &revision)?;
    let id = revision.summary.id;
    Ok(Json(state.store().submit_revision(id, &person.name).await?.into()))
}

/// Says no to a draft, or to a revision in review.
#[utoipa::path(
    post, path = "/api/v1/knowledge/revisions/{id}/reject", tag = "knowledge", request_body = RejectForm,
    params(("id" = Uuid, Path, description = "As the list names it")),
    responses(
        (status = 200, body = RevisionBody),
        (status = 409, body = ErrorBody, description = "It was decided before"),
        (status = "4XX", body = ErrorBody, description = "There is none, or no reason was given"),
    )
)]
pub(crate) async fn reject(
    State(state): State<AppState>,
    person: Person,
    Path(revision): Path<String>,
    JsonBody(form): JsonBody<RejectForm>,
) -> Result<Json<RevisionBody>, ApiError> {
    let revision: RevisionId = id(&revision, "revision")?;
    let note = form.note.trim();
    if note.is_empty() || note.chars().nth(MAX_NOTE_CHARS).is_some() {
        let message = format!("note says why, in 1 to {MAX_NOTE_CHARS} characters");
        return Err(ApiError::parameter("note", message));
    }
    let rejected = state.store().reject_revision(revision, &person.name, note).await?;
    Ok(Json(rejected.into()))
}

/// Deletes a draft, a revision in review, or a rejected one.
#[utoipa::path(
    delete, path = "/api/v1/knowledge/revisions/{id}", tag = "knowledge",
    params(("id" = Uuid, Path, description = "As the list names it")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, body = ErrorBody, description = "It is or was live"),
        (status = 404, body = ErrorBody, description = "There is none"),
    )
)]
pub(crate) async fn discard(
    State(state): State<AppState>,
    person: Person,
    Path(revision): Path<String>,
) -> Result<StatusCode, ApiError> {
    let revision = needed(&state, &revision).await?;
    own(&person, &revision)?;
    state
        .store()
        .discard_revision(revision.summary.id, &person.name)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Agents deal with their own drafts alone.
fn own(person: &Person, revision: &Revision) -> Result<(), ApiError> {
    if person.role != StaffRole::Agent || person.name == revision.summary.author {
        return Ok(());
    }
    let message = format!("this is a draft of {}", revision.summary.author);
    Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", message))
}
