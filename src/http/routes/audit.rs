//! What was done, and by whom.

use crate::domain::hexadecimal;
use crate::http::error::{ApiError, ErrorBody};
use crate::http::paging::{List, PageParams};
use crate::http::state::AppState;
use crate::storage::AuditEntry;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// One line of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditBody {
    /// Its number, from 1 without gaps.
    seq: u64,
    /// When.
    #[schema(format = DateTime)]
    at: String,
    /// Who: a name, `command line`, or `(not signed in)`.
    actor: String,
    /// What was done.
    #[schema(example = "session.begin")]
    action: String,
    /// To what.
    #[schema(example = "user:wangfang")]
    object: String,
    /// More facts.
    #[schema(value_type = Object)]
    detail: Value,
    /// The hash that binds it to all lines before.
    hash: String,
}

impl AuditBody {
    fn of(entry: AuditEntry) -> Self {
        Self {
            seq: entry.seq,
            at: entry.at.to_string(),
            actor: entry.actor,
            action: entry.action,
            object: entry.object,
            detail: serde_json::from_str(&entry.detail).unwrap_or(Value::String(entry.detail)),
            hash: hexadecimal(&entry.hash),
        }
    }
}

/// Lists what was done, newest first.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "people", params(PageParams),
    responses((status = 200, body = List<AuditBody>), (status = 403, body = ErrorBody, description = "For admins and auditors"))
)]
pub(crate) async fn list(State(state): State<AppState>, page: PageParams) -> Result<Json<List<AuditBody>>, ApiError> {
    let entries = state.store().audit_page(&page.request()).await;
    List::of(entries, AuditBody::of).map(Json)
}
