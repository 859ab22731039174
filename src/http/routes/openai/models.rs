//! `GET /v1/models`

use super::{KEFU, READER, model_not_found};
use crate::http::error::{ApiError, OpenAiErrorBody};
use crate::http::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

/// The models there are.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ModelList {
    object: &'static str,
    data: Vec<ModelBody>,
}

/// One model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Model)]
pub(in crate::http) struct ModelBody {
    id: String,
    object: &'static str,
    /// When the server began, in seconds since 1970.
    created: i64,
    owned_by: &'static str,
}

/// Lists `kefu`, the language model, the embedding model and the reader of `/v1/rerank`.
#[utoipa::path(get, path = "/v1/models", tag = "openai", responses((status = 200, body = ModelList)))]
pub(crate) async fn list(State(state): State<AppState>) -> Result<Json<ModelList>, ApiError> {
    Ok(Json(ModelList {
        object: "list",
        data: models(&state)?,
    }))
}

/// Shows one model.
#[utoipa::path(
    get, path = "/v1/models/{model}", tag = "openai", params(("model" = String, Path)),
    responses((status = 200, body = ModelBody), (status = 404, body = OpenAiErrorBody, description = "There is none"))
)]
pub(crate) async fn show(State(state): State<AppState>, Path(name): Path<String>) -> Result<Json<ModelBody>, ApiError> {
    let found = models(&state)?.into_iter().find(|model| model.id == name);
    found.map(Json).ok_or_else(|| model_not_found(&name))
}

fn models(state: &AppState) -> Result<Vec<ModelBody>, ApiError> {
    let services = state.services()?;
    let language_model = services.assistant.model().map(|model| model.info().name.clone());
    let embedder = services.embedder.info().name.clone();
    let created = state.started().as_second();
    let names = std::iter::once(KEFU.to_owned())
        .chain(language_model)
        .chain([embedder, READER.to_owned()]);
    Ok(names
        .map(|id| ModelBody {
            id,
            object: "model",
            created,
            owned_by: KEFU,
        })
        .collect())
}
