//! `POST /v1/embeddings`

use super::fields::Fields;
use super::request::{model_name, size};
use super::{model_not_found, unsupported};
use crate::http::body::JsonBody;
use crate::http::error::{ApiError, OpenAiErrorBody};
use crate::http::state::AppState;
use crate::inference::{EmbedderInfo, InferenceError, TextKind};
use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use utoipa::ToSchema;

/// Texts in one request.
const MAX_INPUTS: usize = 256;

/// Texts to embed.
#[derive(Debug, ToSchema)]
#[schema(as = EmbeddingsRequest)]
pub(in crate::http) struct EmbedRequest {
    /// A name of `GET /v1/models`.
    #[schema(example = "multilingual-e5-small")]
    model: String,
    /// A text, or up to 256.
    input: Vec<String>,
    /// `float` or `base64` (little-endian 32-bit floats).
    encoding_format: Format,
    /// Numbers in a vector: the model's own number, or fewer. Fewer are the first ones, made a vector of norm 1 again; a
    /// model that was not trained for that finds less with them.
    dimensions: Option<usize>,
    /// `query` for questions and for texts compared with their like (the default), `passage` for texts that answer.
    #[schema(value_type = Option<String>)]
    input_type: TextKind,
}

/// The form of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub(in crate::http) enum Format {
    /// Numbers.
    Float,
    /// Bytes.
    Base64,
}

/// Vectors in the order of the texts.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct EmbeddingList {
    object: &'static str,
    data: Vec<EmbeddingRow>,
    model: String,
    usage: EmbeddingUsage,
}

/// One vector of norm 1.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct EmbeddingRow {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

/// A vector.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum Vector {
    /// Numbers.
    Floats(Vec<f32>),
    /// Little-endian 32-bit floats.
    Base64(String),
}

/// What it cost.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct EmbeddingUsage {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// Embeds texts.
#[utoipa::path(
    post, path = "/v1/embeddings", tag = "openai", request_body = EmbedRequest,
    responses(
        (status = 200, body = EmbeddingList),
        (status = "4XX", body = OpenAiErrorBody, description = "The request cannot be followed as it is"),
        (status = 503, body = OpenAiErrorBody, description = "Not ready or overloaded; Retry-After says when to try again"),
    )
)]
pub(crate) async fn embed(
    State(state): State<AppState>,
    JsonBody(fields): JsonBody<Fields>,
) -> Result<Json<EmbeddingList>, ApiError> {
    let request = EmbedRequest::read(fields)?;
    let embedder = &state.services()?.embedder;
    request.check(embedder.info())?;
    let embeddings = embedder
        .embed(request.input_type, request.input)
        .await
        .map_err(|error| {
            let too_long = matches!(error, InferenceError::TooLong { .. });
            let error = ApiError::from(error);
            if too_long { error.with_param("input") } else { error }
        })?;
    let data = embeddings.rows().enumerate().map(|(index, row)| EmbeddingRow {
        object: "embedding",
        index,
        embedding: Vector::of(&shortened(row, request.dimensions), request.encoding_format),
    });
    Ok(Json(EmbeddingList {
        object: "list",
        data: data.collect(),
        model: request.model,
        usage: EmbeddingUsage {
            prompt_tokens: embeddings.tokens,
            total_tokens: embeddings.tokens,
        },
    }))
}

/// The first `dimensions` numbers, of norm 1. Source: Kusupati et al., arXiv:2205.13147, section 3.
fn shortened(row: &[f32], dimensions: Option<usize>) -> Cow<'_, [f32]> {
    let Some(kept) = dimensions
        .and_then(|count| row.get(..count))
        .filter(|kept| kept.len() < row.len())
    else {
        return Cow::Borrowed(row);
    };
    let norm = kept.iter().map(|number| number * number).sum::<f32>().sqrt();
    Cow::Owned(kept.iter().map(|number| number / norm.max(f32::MIN_POSITIVE)).collect())
}

impl Vector {
    fn of(row: &[f32], format: Format) -> Self {
        match format {
            Format::Float => Self::Floats(row.to_vec()),
            Format::Base64 => {
                let bytes: Vec<u8> = row.iter().flat_map(|number| number.to_le_bytes()).collect();
                Self::Base64(BASE64_STANDARD.encode(bytes))
            }
        }
    }
}

/// The texts. Tokens of another model's vocabulary, which OpenAI takes too, mean nothing here.
fn input(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    let value = fields.need("input")?;
    let tokens = |value: &Value| value.is_number() || value.is_array();
    if value.as_array().is_some_and(|list| list.iter().any(tokens)) {
        return Err(unsupported(
            "input",
            "arrays of tokens are not supported; send 'input' as text",
        ));
    }
    fields.put("input", value);
    fields.strings("input")
}

impl EmbedRequest {
    fn read(mut fields: Fields) -> Result<Self, ApiError> {
        let model = model_name(&mut fields)?;
        let input = input(&mut fields)?;
        if input.is_empty() || input.iter().any(String::is_empty) {
            return Err(ApiError::parameter(
                "input",
                "'input' must hold at least one text, and no empty one",
            ));
        }
        if input.len() > MAX_INPUTS {
            return Err(ApiError::parameter(
                "input",
                format!("'input' may hold at most {MAX_INPUTS} texts"),
            ));
        }
        let encoding_format = match fields.string("encoding_format")?.as_deref() {
            None | Some("float") => Format::Float,
            Some("base64") => Format::Base64,
            Some(_) => {
                return Err(ApiError::parameter(
                    "encoding_format",
                    "'encoding_format' must be 'float' or 'base64'",
                ));
            }
        };
        let input_type = match fields.string("input_type")?.as_deref() {
            None | Some("query") => TextKind::Query,
            Some("passage") => TextKind::Passage,
            Some(_) => {
                return Err(ApiError::parameter(
                    "input_type",
                    "'input_type' must be 'query' or 'passage'",
                ));
            }
        };
        let dimensions = fields.integer("dimensions", 1..=i64::from(u16::MAX))?.map(size);
        fields.ignore(&["user"]);
        fields.finish()?;
        Ok(Self {
            model,
            input,
            encoding_format,
            dimensions,
            input_type,
        })
    }

    fn check(&self, info: &EmbedderInfo) -> Result<(), ApiError> {
        if self.model != info.name {
            return Err(model_not_found(&self.model));
        }
        match self.dimensions {
            Some(asked) if asked > info.dim => {
                let message = format!(
                    "'dimensions' must lie between 1 and {}, as many as this model has",
                    info.dim
                );
                Err(ApiError::parameter("dimensions", message))
            }
            _ => Ok(()),
        }
    }
}
