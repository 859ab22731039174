//! What the vault keeps of a conversation: listed sealed, revealed one by one with a reason.

use super::gaps::MAX_REASON_CHARS;
use crate::domain::{ConversationId, VaultId};
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::state::AppState;
use crate::people::Person;
use crate::storage::SealedValue;
use axum::Json;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Characters of a reason at the least: a word says nothing.
const LEAST_REASON_CHARS: usize = 4;

/// A value that the vault keeps. Which it is, is seen in the message: its mask stands there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeptBody {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// The message that has its mask.
    #[schema(format = Uuid)]
    message_id: String,
    /// What it is.
    #[schema(example = "mobile")]
    kind: String,
    /// The first character of its mask in the message.
    start: u32,
    /// The character after the last.
    end: u32,
}

impl From<SealedValue> for KeptBody {
    fn from(value: SealedValue) -> Self {
        Self {
            id: value.id.to_string(),
            message_id: value.message_id.to_string(),
            kind: value.kind,
            start: value.place.start,
            end: value.place.end,
        }
    }
}

/// The values of a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeptList {
    /// The first 500, oldest first.
    items: Vec<KeptBody>,
}

/// Lists the personal data that the vault keeps of a conversation, without the values.
#[utoipa::path(
    get, path = "/api/v1/conversations/{id}/personal-data", tag = "people", params(("id" = Uuid, Path)),
    responses((status = 200, body = KeptList), (status = 403, body = ErrorBody, description = "For supervisors and admins"))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Path(id): Path<ConversationId>,
) -> Result<Json<KeptList>, ApiError> {
    let values = state.conversations()?.kept_values(id).await?;
    Ok(Json(KeptList {
        items: values.into_iter().map(KeptBody::from).collect(),
    }))
}

/// Which value, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RevealBody {
    /// The value.
    #[schema(value_type = String, format = Uuid)]
    id: Uuid,
    /// Why it is needed, 4 to 1000 characters; kept in the audit log.
    #[schema(example = "call back about the refund")]
    reason: String,
}

impl RequestBody for RevealBody {}

/// A value in the clear.
#[derive(Serialize, ToSchema)]
pub(crate) struct Revealed {
    /// What it is.
    #[schema(example = "mobile")]
    kind: &'static str,
    /// The value as the customer wrote it.
    value: String,
}

/// Reveals a value. Who did it, which one and why is in the audit log.
#[utoipa::path(
    post, path = "/api/v1/conversations/{id}/reveal", tag = "people", params(("id" = Uuid, Path)), request_body = RevealBody,
    responses(
        (status = 200, body = Revealed),
        (status = 403, body = ErrorBody, description = "For supervisors and admins"),
        (status = 404, body = ErrorBody, description = "No such value; it may have been erased"),
    )
)]
pub(crate) async fn reveal(
    State(state): State<AppState>,
    Path(id): Path<ConversationId>,
    person: Person,
    JsonBody(body): JsonBody<RevealBody>,
) -> Result<Json<Revealed>, ApiError> {
    let reason = body.reason.trim();
    if !(LEAST_REASON_CHARS..=MAX_REASON_CHARS).contains(&reason.chars().count()) {
        let message = format!("give a reason of {LEAST_REASON_CHARS} to {MAX_REASON_CHARS} characters");
        return Err(ApiError::parameter("reason", message));
    }
    let found = state
        .conversations()?
        .reveal(id, VaultId(body.id), &person.name, reason)
        .await?;
    let (kind, value) = found.ok_or_else(|| ApiError::not_found("value in this conversation"))?;
    Ok(Json(Revealed {
        kind: kind.name(),
        value: value.0,
    }))
}
