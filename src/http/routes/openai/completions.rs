//! `POST /v1/completions`: a text continued, as clients from before chats ask for it.

use super::document::CompletionBody;
use super::fields::Fields;
use super::generation::{self, DEADLINE, Generation};
use super::request::{Parameters, WITHOUT_MEANING, max_tokens, model_name, size};
use super::wire::{ChunkUsage, end_of_stream, finish_reason, finite};
use super::{KEFU, model_not_found, unsupported};
use crate::dialogue::TokenUsage;
use crate::http::body::JsonBody;
use crate::http::error::{ApiError, OpenAiErrorBody};
use crate::http::sse;
use crate::http::state::AppState;
use crate::http::wire::UsageBody;
use crate::inference::{
    FinishReason, GenerateRequest, GenerationEvent, InferenceError, ModelInfo, Prompt, TokenLogprob,
};
use axum::Json;
use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Instant;
use utoipa::ToSchema;
use uuid::Uuid;

/// Tokens where the request does not say, as OpenAI has it.
const DEFAULT_MAX_TOKENS: usize = 16;

/// Alternatives to each token, as many as OpenAI reports here.
const MAX_LOGPROBS: i64 = 5;

/// A request, read.
#[derive(Debug)]
struct CompletionRequest {
    model: String,
    prompt: String,
    max_tokens: Option<usize>,
    echo: bool,
    logprobs: Option<usize>,
    parameters: Parameters,
}

/// A continuation, or with `stream` a piece of one.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct TextCompletion {
    id: String,
    object: &'static str,
    created: i64,
    model: String,
    system_fingerprint: Option<String>,
    choices: Vec<TextChoice>,
    /// What it cost; in a stream only in the last chunk, where it was asked for.
    #[serde(skip_serializing_if = "ChunkUsage::is_left_out")]
    #[schema(value_type = UsageBody)]
    usage: ChunkUsage,
}

/// The continuation itself: there is one.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct TextChoice {
    text: String,
    index: u32,
    logprobs: Option<TextLogprobs>,
    finish_reason: Option<&'static str>,
}

/// Log-probabilities in the form of this address; the lists run in parallel, a token a place.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct TextLogprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<f32>,
    /// The likeliest tokens with their log-probabilities.
    #[schema(value_type = Vec<Object>)]
    top_logprobs: Vec<Map<String, Value>>,
    /// Where each token begins in the continuation, in characters.
    text_offset: Vec<usize>,
}

/// Continues a text.
///
/// For programs from before chats: the language model alone, without its chat template. The model `kefu` has no
/// completions.
#[utoipa::path(
    post, path = "/v1/completions", tag = "openai", request_body = CompletionBody,
    responses(
        (status = 200, body = TextCompletion, description = "With `stream` in chunks of the same form, as server-sent events"),
        (status = "4XX", body = OpenAiErrorBody, description = "The request cannot be followed as it is"),
        (status = 503, body = OpenAiErrorBody, description = "Not ready or overloaded; Retry-After says when to try again"),
    )
)]
pub(crate) async fn complete(
    State(state): State<AppState>,
    JsonBody(fields): JsonBody<Fields>,
) -> Result<Response, ApiError> {
    let request = CompletionRequest::read(fields)?;
    if request.model == KEFU {
        let message = "the model 'kefu' has no completions; use /v1/chat/completions, or the language model's own name";
        return Err(ApiError::parameter("model", message));
    }
    let assistant = state.assistant()?;
    let model = assistant
        .model()
        .filter(|model| model.info().name == request.model)
        .ok_or_else(|| model_not_found(&request.model))?;
    let info = model.info();
    generation::check_length(request.max_tokens, info, "max_tokens")?;
    let answer = Answer::new(info, &state, &request);
    let streaming = request.parameters.stream;
    let generation = generation::start(&state, model, request.into_generate(), "prompt").await?;
    if streaming {
        Ok(sse::stream(chunks(answer, generation)))
    } else {
        whole(answer, generation).await
    }
}

impl CompletionRequest {
    fn read(mut fields: Fields) -> Result<Self, ApiError> {
        let model = model_name(&mut fields)?;
        let prompt = prompt(fields.need("prompt")?)?;
        if fields.string("suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
            return Err(unsupported(
                "suffix",
                "'suffix' is not supported: text can only be continued at its end",
            ));
        }
        fields.integer("best_of", 1..=1)?;
        let echo = fields.boolean("echo")?;
        let logprobs = fields.integer("logprobs", 0..=MAX_LOGPROBS)?.map(size);
        if echo && logprobs.is_some() {
            return Err(unsupported(
                "echo",
                "'echo' with 'logprobs' is not supported: the prompt's are not computed",
            ));
        }
        let request = Self {
            model,
            prompt,
            max_tokens: max_tokens(&mut fields, "max_tokens")?,
            echo,
            logprobs,
            parameters: Parameters::read(&mut fields)?,
        };
        fields.ignore(&WITHOUT_MEANING);
        fields.finish()?;
        Ok(request)
    }

    fn into_generate(self) -> GenerateRequest {
        GenerateRequest {
            visitor: self.parameters.user.clone(),
            passages: Vec::new(),
            sampling: self.parameters.sampling(),
            prompt: Prompt::Text(self.prompt),
            max_tokens: self.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS),
            stop: self.parameters.stop,
            top_logprobs: self.logprobs,
            deadline: Some(Instant::now() + DEADLINE),
            tools: Vec::new(),
            constraint: None,
        }
    }
}

/// One text. Several, and tokens instead of text, are refused in words.
fn prompt(value: Value) -> Result<String, ApiError> {
    let text = match value {
        Value::String(text) => text,
        Value::Array(mut list) => match (list.pop(), list.is_empty()) {
            (Some(Value::String(text)), true) => text,
            (Some(Value::String(_)), false) => {
                return Err(unsupported(
                    "prompt",
                    "only one prompt a request is supported; send several requests",
                ));
            }
            _ => {
                return Err(unsupported(
                    "prompt",
                    "arrays of tokens are not supported; send the prompt as text",
                ));
            }
        },
        _ => return Err(ApiError::parameter("prompt", "'prompt' must be a string").with_code("invalid_type")),
    };
    if text.is_empty() {
        return Err(ApiError::parameter("prompt", "'prompt' must not be empty"));
    }
    Ok(text)
}

/// What all chunks of one continuation have in common.
struct Answer {
    id: String,
    created: i64,
    model: String,
    system_fingerprint: Option<String>,
    include_usage: bool,
    /// The prompt, where it is to be repeated.
    echo: Option<String>,
    /// Characters sent so far.
    offset: usize,
}

impl Answer {
    fn new(info: &ModelInfo, state: &AppState, request: &CompletionRequest) -> Self {
        Self {
            id: format!("cmpl-{}", Uuid::now_v7().simple()),
            created: state.now().as_second(),
            model: info.name.clone(),
            system_fingerprint: info.sha256.get(..12).map(|short| format!("fp_{short}")),
            include_usage: request.parameters.stream_options.include_usage,
            echo: request.echo.then(|| request.prompt.clone()),
            offset: 0,
        }
    }

    fn body(&self, choices: Vec<TextChoice>, usage: ChunkUsage) -> TextCompletion {
        TextCompletion {
            id: self.id.clone(),
            object: "text_completion",
            created: self.created,
            model: self.model.clone(),
            system_fingerprint: self.system_fingerprint.clone(),
            choices,
            usage,
        }
    }

    fn chunk(
        &self,
        text: String,
        logprobs: Option<TextLogprobs>,
        reason: Option<FinishReason>,
    ) -> Result<Event, axum::Error> {
        let choice = TextChoice {
            text,
            index: 0,
            logprobs,
            finish_reason: reason.map(finish_reason),
        };
        Event::default().json_data(self.body(vec![choice], ChunkUsage::beside_words(self.include_usage)))
    }

    /// The log-probabilities of the next tokens.
    fn logprobs(&mut self, tokens: Vec<TokenLogprob>) -> Option<TextLogprobs> {
        let mut all = TextLogprobs::default();
        for token in tokens {
            all.text_offset.push(self.offset);
            self.offset += token.text.chars().count();
            all.tokens.push(token.text);
            all.token_logprobs.push(finite(token.logprob));
            let top = token
                .top
                .into_iter()
                .map(|(text, _, logprob)| (text, finite(logprob).into()));
            all.top_logprobs.push(top.collect());
        }
        (!all.tokens.is_empty()).then_some(all)
    }
}

async fn whole(mut answer: Answer, mut generation: Generation) -> Result<Response, ApiError> {
    let mut text = answer.echo.take().unwrap_or_default();
    let mut tokens = Vec::new();
    while let Some(event) = generation.next().await {
        match event? {
            GenerationEvent::Queued { .. } | GenerationEvent::Started { .. } => {}
            GenerationEvent::Text { text: more, logprobs } => {
                text.push_str(&more);
                tokens.extend(logprobs);
            }
            GenerationEvent::Done { reason, usage } => {
                let choice = TextChoice {
                    text,
                    index: 0,
                    logprobs: answer.logprobs(tokens),
                    finish_reason: Some(finish_reason(reason)),
                };
                let usage = ChunkUsage::Cost(TokenUsage::from(usage).into());
                return Ok(Json(answer.body(vec![choice], usage)).into_response());
            }
        }
    }
    Err(ApiError::from(InferenceError::Stopped))
}

fn chunks(mut answer: Answer, mut generation: Generation) -> impl Stream<Item = Result<Event, axum::Error>> + Send {
    async_stream::stream! {
        if let Some(prompt) = answer.echo.take() {
            yield answer.chunk(prompt, None, None);
        }
        while let Some(event) = generation.next().await {
            match event {
                Ok(GenerationEvent::Queued { .. } | GenerationEvent::Started { .. }) => {}
                Ok(GenerationEvent::Text { text, logprobs }) => {
                    let logprobs = answer.logprobs(logprobs);
                    if !text.is_empty() || logprobs.is_some() {
                        yield answer.chunk(text, logprobs, None);
                    }
                }
                Ok(GenerationEvent::Done { reason, usage }) => {
                    yield answer.chunk(String::new(), None, Some(reason));
                    if answer.include_usage {
                        let usage = ChunkUsage::Cost(TokenUsage::from(usage).into());
                        yield Event::default().json_data(answer.body(Vec::new(), usage));
                    }
                    yield Ok(end_of_stream());
                    return;
                }
                Err(error) => {
                    yield generation::broken_off(&error);
                    return;
                }
            }
        }
    }
}
