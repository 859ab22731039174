//! For machines that watch the server.

use crate::http::auth::is_local;
use crate::http::error::ApiError;
use crate::http::state::{AppState, PartState, Readiness};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::time::Duration;
use utoipa::ToSchema;

/// A database that does not answer within this is down.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Which parts work.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReadyBody {
    /// Whether all of them do.
    ready: bool,
    /// The language model: `ok`, `loading` or `failed`.
    model: PartBody,
    /// The database.
    database: PartBody,
    /// The index.
    index: PartBody,
}

/// The state of one part.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PartBody {
    /// `ok`, `loading` or `failed`.
    status: &'static str,
    /// Why it failed; told to clients on this machine alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl PartBody {
    fn of(state: PartState, local: bool) -> Self {
        let (status, detail) = match state {
            PartState::Ok => ("ok", None),
            PartState::Loading => ("loading", None),
            PartState::Failed(detail) => ("failed", local.then_some(detail)),
        };
        Self { status, detail }
    }
}

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "machine", responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether model, database and index work.
#[utoipa::path(
    get, path = "/readyz", tag = "machine",
    responses((status = 200, body = ReadyBody), (status = 503, body = ReadyBody, description = "Not all parts work"))
)]
pub(crate) async fn readyz(State(state): State<AppState>, request: Request) -> Response {
    let mut readiness = state.readiness();
    if readiness.database == PartState::Ok {
        readiness.database = match tokio::time::timeout(PING_TIMEOUT, state.store().ping()).await {
            Ok(Ok(())) => PartState::Ok,
            Ok(Err(error)) => PartState::Failed(error.to_string()),
            Err(_elapsed) => PartState::Failed(format!("no answer within {} s", PING_TIMEOUT.as_secs())),
        };
    }
    if readiness.model == PartState::Ok
        && let Ok(services) = state.services()
        && let Some(model) = services.assistant.model()
    {
        readiness.model = match tokio::time::timeout(PING_TIMEOUT, model.check()).await {
            Ok(Ok(())) => PartState::Ok,
            Ok(Err(error)) => PartState::Failed(error.to_string()),
            Err(_elapsed) => PartState::Failed(format!("no answer within {} s", PING_TIMEOUT.as_secs())),
        };
    }
    let local = is_local(request.extensions(), state.config());
    let ready = readiness.all_ok();
    let Readiness { model, database, index } = readiness;
    let body = ReadyBody {
        ready,
        model: PartBody::of(model, local),
        database: PartBody::of(database, local),
        index: PartBody::of(index, local),
    };
    if ready {
        Json(body).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "2")], Json(body)).into_response()
    }
}

/// Everything the server counts, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "machine", responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(state): State<AppState>) -> Result<Response, ApiError> {
    let store = state.store();
    state
        .metrics()
        .knowledge(store.knowledge_counts().await?, store.kb_version().await?.0);
    let text = state.metrics().text().map_err(ApiError::internal)?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(CONTENT_TYPE, kind)], text).into_response())
}
