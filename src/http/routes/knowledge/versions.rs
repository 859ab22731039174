//! Versions: what was published when, and the way back.

use super::publish::{PublishedBody, force_allowed, request};
use super::wire::ItemBody;
use crate::domain::KbVersion;
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::paging::{List, PageParams};
use crate::http::state::AppState;
use crate::people::Person;
use crate::storage::{VersionChange, VersionEntry};
use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionBody {
    /// Its number.
    version: u64,
    /// What was done.
    note: String,
    /// Who did it; `import` for an import.
    author: String,
    /// When.
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<VersionEntry> for VersionBody {
    fn from(from: VersionEntry) -> Self {
        Self {
            version: from.version.0,
            note: from.note,
            author: from.author,
            created_at: from.created_at.to_string(),
        }
    }
}

/// What a version changed of one item.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangeBody {
    /// The item.
    item: ItemBody,
    /// Its source or key; empty where that is no longer kept.
    name: String,
    /// Its title or question.
    title: String,
    /// The revision before; null if the item was new.
    #[schema(format = Uuid)]
    old: Option<String>,
    /// The revision after; null in versions from before revisions were kept.
    #[schema(format = Uuid)]
    new: Option<String>,
    /// Whether it was removed.
    removed: bool,
}

impl From<VersionChange> for ChangeBody {
    fn from(from: VersionChange) -> Self {
        Self {
            item: from.item.into(),
            name: from.name,
            title: from.title,
            old: from.old.map(|id| id.to_string()),
            new: from.new.map(|id| id.to_string()),
            removed: from.removed,
        }
    }
}

/// A version with a page of what it changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VersionDetail {
    /// The version.
    #[serde(flatten)]
    version: VersionBody,
    /// What it changed.
    changes: Vec<ChangeBody>,
    /// What to ask for more changes with; null at the end.
    next_cursor: Option<String>,
}

/// How an earlier version is restored.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RollbackForm {
    /// Why, for the list of versions.
    note: String,
    /// Restore it although golden questions are answered worse; for admins.
    force: bool,
}

impl RequestBody for RollbackForm {
    const OPTIONAL: bool = true;
}

/// Lists versions, the newest first.
#[utoipa::path(
    get, path = "/api/v1/knowledge/versions", tag = "knowledge", params(PageParams),
    responses((status = 200, body = List<VersionBody>), (status = 401, body = ErrorBody, description = "Sign in first"))
)]
pub(crate) async fn list(State(state): State<AppState>, page: PageParams) -> Result<Json<List<VersionBody>>, ApiError> {
    let versions = state.store().version_page(&page.request()).await;
    List::of(versions, VersionBody::from).map(Json)
}

fn number(text: &str) -> Result<KbVersion, ApiError> {
    let number = text.parse::<u32>().map_err(|_| ApiError::not_found("version"))?;
    Ok(KbVersion(u64::from(number)))
}

/// Shows what a version changed.
#[utoipa::path(
    get, path = "/api/v1/knowledge/versions/{version}", tag = "knowledge",
    params(("version" = u64, Path, description = "Its number"), PageParams),
    responses((status = 200, body = VersionDetail), (status = 404, body = ErrorBody, description = "There is none"))
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    Path(version): Path<String>,
    page: PageParams,
) -> Result<Json<VersionDetail>, ApiError> {
    let version = number(&version)?;
    let entry = state.store().version(version).await?;
    let entry = entry.ok_or_else(|| ApiError::not_found("version"))?;
    let changes = state.store().version_changes(version, &page.request()).await;
    let List { items, next_cursor } = List::of(changes, ChangeBody::from)?;
    Ok(Json(VersionDetail {
        version: entry.into(),
        changes: items,
        next_cursor,
    }))
}

/// Restores what was live in a version, as a new version, if the golden questions allow it.
#[utoipa::path(
    post, path = "/api/v1/knowledge/versions/{version}/rollback", tag = "knowledge", request_body = RollbackForm,
    params(("version" = u64, Path, description = "Its number")),
    responses(
        (status = 200, body = PublishedBody),
        (status = 409, body = ErrorBody, description = "`golden_worse`, `unknown_history` or `conflict`"),
        (status = 404, body = ErrorBody, description = "There is no such version"),
    )
)]
pub(crate) async fn rollback(
    State(state): State<AppState>,
    person: Person,
    Path(version): Path<String>,
    JsonBody(form): JsonBody<RollbackForm>,
) -> Result<Json<PublishedBody>, ApiError> {
    let version = number(&version)?;
    force_allowed(&person, form.force)?;
    let request = request(&person, form.note, form.force)?;
    let done = state.services()?.publisher.rollback(version, &request).await?;
    Ok(Json(done.into()))
}
