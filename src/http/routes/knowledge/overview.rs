//! How much there is, and how much waits.

use crate::http::error::{ApiError, ErrorBody};
use crate::http::state::AppState;
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// How much there is, and how much waits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OverviewBody {
    /// The present version.
    kb_version: u64,
    /// Live documents.
    documents: u64,
    /// Their passages.
    passages: u64,
    /// Live FAQs.
    faqs: u64,
    /// Drafts.
    drafts: u64,
    /// Revisions that wait for a reader.
    in_review: u64,
    /// Open gaps: questions that customers asked in vain.
    gaps: u64,
    /// Suggested FAQs that nobody has decided on.
    suggestions: u64,
    /// Whether nobody may publish what they wrote themselves; null until the models are loaded.
    four_eyes: Option<bool>,
}

/// Shows how much there is, and how much waits.
#[utoipa::path(
    get, path = "/api/v1/knowledge/overview", tag = "knowledge",
    responses((status = 200, body = OverviewBody), (status = 401, body = ErrorBody, description = "Sign in first"))
)]
pub(crate) async fn show(State(state): State<AppState>) -> Result<Json<OverviewBody>, ApiError> {
    let store = state.store();
    let live = store.knowledge_counts().await?;
    let waiting = store.revision_counts().await?;
    let services = state.services().ok();
    Ok(Json(OverviewBody {
        kb_version: store.kb_version().await?.0,
        documents: live.documents,
        passages: live.passages,
        faqs: live.faqs,
        drafts: waiting.drafts,
        in_review: waiting.in_review,
        gaps: store.open_gaps().await?,
        suggestions: store.open_suggestions().await?,
        four_eyes: services.map(|services| services.publisher.settings().four_eyes),
    }))
}
