//! The part of OpenAI's API that its clients expect, under `/v1`. The model `kefu` answers from the knowledge base; the
//! name of a loaded model answers with that model alone.
//! Source: OpenAI API reference, "Chat", "Completions", "Embeddings" and "Models"; Jina and Cohere API references,
//! "Rerank"; Text Embeddings Inference, `/rerank`.

mod calls;
pub(in crate::http) mod chat;
pub(in crate::http) mod completions;
mod document;
pub(in crate::http) mod embeddings;
mod fields;
mod generation;
mod knowledge;
mod messages;
pub(in crate::http) mod models;
mod request;
pub(in crate::http) mod rerank;
mod tools;
mod wire;

use crate::http::error::ApiError;
use axum::http::StatusCode;

/// The model name that stands for the knowledge base.
const KEFU: &str = "kefu";

/// The model name that stands for the reader.
const READER: &str = "kefu-reader";

fn model_not_found(name: &str) -> ApiError {
    let message = format!("the model '{name}' does not exist here; GET /v1/models lists those that do");
    ApiError::new(StatusCode::NOT_FOUND, "model_not_found", message).with_param("model")
}

fn unsupported(param: &str, message: impl Into<String>) -> ApiError {
    ApiError::parameter(param, message).with_code("unsupported_parameter")
}
