//! `POST /v1/chat/completions`

use super::document::ChatBody;
use super::fields::Fields;
use super::request::ChatRequest;
use super::wire::Completion;
use super::{KEFU, generation, knowledge, model_not_found};
use crate::http::body::JsonBody;
use crate::http::error::{ApiError, OpenAiErrorBody};
use crate::http::state::AppState;
use axum::extract::State;
use axum::response::Response;

/// Continues a chat.
///
/// The model `kefu` answers from the knowledge base: the last message is the question, those before it are its context;
/// `choices[0].message.citations` holds the sources, the field `kefu` how the answer came to be. The parameters of
/// sampling do not change its answers, and it takes neither `response_format` nor `tools`. Another name of `GET /v1/models` answers with that model alone.
#[utoipa::path(
    post, path = "/v1/chat/completions", tag = "openai", request_body = ChatBody,
    responses(
        (status = 200, body = Completion, description = "With `stream` the same in chunks, as server-sent events"),
        (status = "4XX", body = OpenAiErrorBody, description = "The request cannot be followed as it is"),
        (status = 503, body = OpenAiErrorBody, description = "Not ready or overloaded; Retry-After says when to try again"),
    )
)]
pub(crate) async fn complete(
    State(state): State<AppState>,
    JsonBody(fields): JsonBody<Fields>,
) -> Result<Response, ApiError> {
    let request = ChatRequest::read(fields)?;
    let assistant = state.assistant()?;
    if request.model == KEFU {
        return knowledge::complete(&state, &assistant, request).await;
    }
    match assistant.model().filter(|model| model.info().name == request.model) {
        Some(model) => generation::complete(&state, model, request).await,
        None => Err(model_not_found(&request.model)),
    }
}
