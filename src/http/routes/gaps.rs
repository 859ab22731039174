//! Questions that customers asked in vain.

use crate::domain::{Decision, Gap, GapId};
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::paging::{List, PageParams, QueryParams};
use crate::http::state::AppState;
use crate::people::Person;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Characters of a reason.
pub(super) const MAX_REASON_CHARS: usize = 1000;

/// Which gaps.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum GapState {
    /// Those that nobody has closed.
    #[default]
    Open,
    /// The others.
    Closed,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct GapParams {
    /// `open` (the most asked first) or `closed` (the latest first).
    #[serde(default)]
    #[param(inline)]
    state: GapState,
}

/// Questions of one meaning that were asked in vain.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GapBody {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// One of the questions.
    question: String,
    /// Replies that helped nobody.
    count: u64,
    /// Some of the other wordings, newest first.
    examples: Vec<String>,
    /// When it was first asked.
    #[schema(format = DateTime)]
    first_at: String,
    /// When it was last asked.
    #[schema(format = DateTime)]
    last_at: String,
    /// `open` or `closed`.
    state: &'static str,
    /// Who closed it.
    closed_by: Option<String>,
    /// Why.
    reason: Option<String>,
}

impl GapBody {
    fn of(gap: Gap) -> Self {
        let (closed_by, reason) = gap.closed.map(|closed| (closed.by, closed.reason)).unzip();
        Self {
            id: gap.id.to_string(),
            question: gap.question,
            count: gap.count,
            examples: gap.examples,
            first_at: gap.first_at.to_string(),
            last_at: gap.last_at.to_string(),
            state: if closed_by.is_some() { "closed" } else { "open" },
            closed_by,
            reason,
        }
    }
}

/// Why something is decided.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReasonBody {
    /// For others to read; may be empty.
    #[serde(default)]
    reason: String,
}

impl RequestBody for ReasonBody {
    const OPTIONAL: bool = true;
}

impl ReasonBody {
    /// The decision of that person.
    pub(super) fn decision(self, state: &AppState, person: &Person) -> Result<Decision, ApiError> {
        if self.reason.chars().count() > MAX_REASON_CHARS {
            let message = format!("a reason has at most {MAX_REASON_CHARS} characters");
            return Err(ApiError::parameter("reason", message));
        }
        Ok(Decision {
            at: state.now(),
            by: person.name.clone(),
            reason: self.reason,
        })
    }
}

/// Lists what customers asked in vain, alike questions as one.
#[utoipa::path(
    get, path = "/api/v1/knowledge/gaps", tag = "knowledge", params(GapParams, PageParams),
    responses((status = 200, body = List<GapBody>), (status = "4XX", body = ErrorBody))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    QueryParams(params): QueryParams<GapParams>,
    page: PageParams,
) -> Result<Json<List<GapBody>>, ApiError> {
    let open = matches!(params.state, GapState::Open);
    let gaps = state.store().gaps(open, &page.request()).await;
    List::of(gaps, GapBody::of).map(Json)
}

/// Closes a gap: an answer was written, or none is wanted.
#[utoipa::path(
    post, path = "/api/v1/knowledge/gaps/{id}/close", tag = "knowledge", request_body = ReasonBody,
    params(("id" = String, Path, description = "The gap")),
    responses((status = 204), (status = 404, body = ErrorBody, description = "There is no open gap of that id"))
)]
pub(crate) async fn close(
    State(state): State<AppState>,
    person: Person,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<StatusCode, ApiError> {
    let id: GapId = id.parse().map_err(|_| ApiError::not_found("open gap"))?;
    let decision = body.decision(&state, &person)?;
    if state.store().close_gap(id, &decision).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("open gap"))
    }
}
