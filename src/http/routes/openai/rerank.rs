//! `POST /v1/rerank`: texts ordered by how well they answer a query, read by the reader.

use super::document::RerankBody;
use super::fields::Fields;
use super::{READER, model_not_found, unsupported};
use crate::http::body::JsonBody;
use crate::http::error::{ApiError, OpenAiErrorBody};
use crate::http::state::AppState;
use crate::inference::{InferenceError, ReadPassage, TextKind};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// Texts in one request.
const MAX_TEXTS: usize = 100;

/// Bytes of a text: as many as the reader reads.
const MAX_TEXT_BYTES: usize = 32 << 10;

/// Tokens of a query: as many as the reader reads.
const MAX_QUERY_TOKENS: usize = 96;

/// A request, read.
#[derive(Debug)]
struct RerankRequest {
    query: String,
    texts: Vec<String>,
    form: Form,
}

/// How the answer looks.
#[derive(Debug)]
enum Form {
    /// As Jina and Cohere have it.
    Documents { top: usize, repeat: bool },
    /// As Text Embeddings Inference has it.
    Texts { raw: bool, repeat: bool },
}

/// Results for `documents`, the best first.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Reranked {
    model: &'static str,
    results: Vec<RerankedDocument>,
    usage: RerankUsage,
}

/// One result.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct RerankedDocument {
    /// The document's place in the request, from 0.
    index: usize,
    /// 0 to 1; above one half it more likely answers than not. Not calibrated.
    relevance_score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<DocumentText>,
}

/// The text of a document.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct DocumentText {
    text: String,
}

/// What it cost.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct RerankUsage {
    /// Tokens of the query, once for each document, and of the documents.
    prompt_tokens: usize,
    total_tokens: usize,
}

/// A result for `texts`.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct RankedText {
    /// The text's place in the request, from 0.
    index: usize,
    /// 0 to 1, or log-odds.
    score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// An answer of either form.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = RerankResponse)]
pub(in crate::http) enum RerankResult {
    /// For `documents`.
    Documents(Reranked),
    /// For `texts`, the best first.
    Texts(Vec<RankedText>),
}

/// Orders texts by how well they answer a query.
#[utoipa::path(
    post, path = "/v1/rerank", tag = "openai", request_body = RerankBody,
    responses(
        (status = 200, body = RerankResult),
        (status = "4XX", body = OpenAiErrorBody, description = "The request cannot be followed as it is"),
        (status = 503, body = OpenAiErrorBody, description = "Not ready or overloaded; Retry-After says when to try again"),
    )
)]
pub(crate) async fn rerank(
    State(state): State<AppState>,
    JsonBody(fields): JsonBody<Fields>,
) -> Result<Response, ApiError> {
    let RerankRequest { query, texts, form } = RerankRequest::read(fields)?;
    let services = state.services()?;
    let count = |kind, text: &str| services.embedder.count_tokens(kind, text);
    let query_tokens = count(TextKind::Query, &query)?;
    if query_tokens > MAX_QUERY_TOKENS {
        let message = format!("'query' has {query_tokens} tokens; at most {MAX_QUERY_TOKENS} are read");
        return Err(ApiError::parameter("query", message));
    }
    let tokens = texts.iter().try_fold(query_tokens * texts.len(), |sum, text| {
        Ok::<_, InferenceError>(sum + count(TextKind::Passage, text)?)
    })?;
    let passages: Vec<ReadPassage> = texts
        .into_iter()
        .map(|text| ReadPassage {
            title: String::new(),
            text,
        })
        .collect();
    let readings = services.reader.read(&query, &passages).await?;
    let scored = readings
        .iter()
        .map(|reading| reading.log_odds)
        .zip(passages)
        .enumerate();
    let mut ranked: Vec<(usize, f32, String)> =
        scored.map(|(at, (score, passage))| (at, score, passage.text)).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(Json(form.answer(ranked, tokens)).into_response())
}

impl Form {
    fn answer(&self, ranked: Vec<(usize, f32, String)>, tokens: usize) -> RerankResult {
        match *self {
            Self::Documents { top, repeat } => RerankResult::Documents(Reranked {
                model: READER,
                results: (ranked.into_iter().take(top))
                    .map(|(index, log_odds, text)| RerankedDocument {
                        index,
                        relevance_score: probability(log_odds),
                        document: repeat.then_some(DocumentText { text }),
                    })
                    .collect(),
                usage: RerankUsage {
                    prompt_tokens: tokens,
                    total_tokens: tokens,
                },
            }),
            Self::Texts { raw, repeat } => RerankResult::Texts(
                (ranked.into_iter())
                    .map(|(index, log_odds, text)| RankedText {
                        index,
                        score: if raw {
                            f64::from(log_odds)
                        } else {
                            probability(log_odds)
                        },
                        text: repeat.then_some(text),
                    })
                    .collect(),
            ),
        }
    }
}

/// What log-odds are as a probability.
fn probability(log_odds: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(log_odds)).exp())
}

impl RerankRequest {
    fn read(mut fields: Fields) -> Result<Self, ApiError> {
        if let Some(model) = fields.string("model")?.filter(|model| model != READER) {
            return Err(model_not_found(&model));
        }
        let query = match fields.need("query")? {
            Value::String(query) if !query.trim().is_empty() => query,
            _ => {
                return Err(ApiError::parameter(
                    "query",
                    "'query' must be a string, and not an empty one",
                ));
            }
        };
        let (param, values, form) = match (fields.take("documents"), fields.take("texts")) {
            (Some(values), None) => {
                let top = fields.integer("top_n", 1..=i64::MAX)?;
                let form = Form::Documents {
                    top: top.map_or(usize::MAX, super::request::size),
                    repeat: fields.boolean_or("return_documents", true)?,
                };
                ("documents", values, form)
            }
            (None, Some(values)) => {
                if fields.boolean("truncate")? {
                    return Err(unsupported("truncate", "texts are not cut; send parts of long ones"));
                }
                fields.ignore(&["truncation_direction"]);
                let form = Form::Texts {
                    raw: fields.boolean("raw_scores")?,
                    repeat: fields.boolean("return_text")?,
                };
                ("texts", values, form)
            }
            _ => return Err(ApiError::parameter("documents", "give either 'documents' or 'texts'")),
        };
        fields.ignore(&["user"]);
        fields.finish()?;
        Ok(Self {
            query,
            texts: texts(param, values)?,
            form,
        })
    }
}

fn texts(param: &str, values: Value) -> Result<Vec<String>, ApiError> {
    let Value::Array(values) = values else {
        return Err(ApiError::parameter(param, format!("'{param}' must be an array")).with_code("invalid_type"));
    };
    if values.is_empty() || values.len() > MAX_TEXTS {
        return Err(ApiError::parameter(
            param,
            format!("'{param}' must hold 1 to {MAX_TEXTS} texts"),
        ));
    }
    let read = |(at, value): (usize, Value)| {
        let text = match value {
            Value::String(text) => Some(text),
            Value::Object(mut fields) => match fields.shift_remove("text") {
                Some(Value::String(text)) => Some(text),
                _ => None,
            },
            _ => None,
        };
        let at = format!("{param}[{at}]");
        match text {
            None => Err(
                ApiError::parameter(at, "a text must be a string or {\"text\": a string}").with_code("invalid_type"),
            ),
            Some(text) if text.len() > MAX_TEXT_BYTES => {
                let message = format!("the text has {} bytes; at most {MAX_TEXT_BYTES} are read", text.len());
                Err(ApiError::parameter(at, message))
            }
            Some(text) => Ok(text),
        }
    };
    values.into_iter().enumerate().map(read).collect()
}
