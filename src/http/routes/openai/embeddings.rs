//! `POST /v1/embeddings`

use super::fields::Fields;
use super::model_not_found;
use super::request::model_name;
use crate::http::body::JsonBody;
use crate::http::error::{ApiError, OpenAiErrorBody};
use crate::http::state::AppState;
use crate::inference::{EmbedderInfo, InferenceError, TextKind};
use axum::Json;
use axum::extract::State;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
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
    /// The model's own number of dimensions, or nothing.
    dimensions: Option<i64>,
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
        embedding: Vector::of(row, request.encoding_format),
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

impl EmbedRequest {
    fn read(mut fields: Fields) -> Result<Self, ApiError> {
        let model = model_name(&mut fields)?;
        let input = fields.strings("input")?;
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
        let dimensions = fields.integer("dimensions", 1..=i64::from(u16::MAX))?;
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
            Some(asked) if usize::try_from(asked) != Ok(info.dim) => {
                let message = format!("'dimensions' of this model is {} and cannot be changed", info.dim);
                Err(ApiError::parameter("dimensions", message))
            }
            _ => Ok(()),
        }
    }
}
