//! A chat with a loaded model alone.

use super::request::ChatRequest;
use super::wire::{Choice, ChunkChoice, Head, Logprobs, MessageOut, end_of_stream, finish_reason};
use crate::dialogue::TokenUsage;
use crate::http::error::{ApiError, OpenAiErrorBody};
use crate::http::sse;
use crate::http::state::AppState;
use crate::inference::{
    GenerateRequest, GenerationEvent, GenerationStream, InferenceError, LanguageModel, Prompt, Sampling,
};
use axum::Json;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::time::{Duration, Instant};

/// The longest a generation may take, waiting included.
const DEADLINE: Duration = Duration::from_mins(10);

/// How long the status line waits for the first event: what fails at once gets a status code of its own.
const FIRST_EVENT_WAIT: Duration = Duration::from_secs(2);

type Generation = Pin<Box<dyn Stream<Item = Result<GenerationEvent, ApiError>> + Send>>;

pub(super) async fn complete(
    state: &AppState,
    model: &dyn LanguageModel,
    request: ChatRequest,
) -> Result<Response, ApiError> {
    let info = model.info();
    if let Some(asked) = request.max_completion_tokens
        && asked > info.context_tokens
    {
        let message = format!(
            "the model's context has {} tokens, {asked} were asked for",
            info.context_tokens
        );
        return Err(ApiError::parameter("max_completion_tokens", message));
    }
    let fingerprint = info.sha256.get(..12).map(|short| format!("fp_{short}"));
    let head = Head::new(
        &info.name,
        state.now(),
        fingerprint,
        request.stream_options.include_usage,
    );
    let streaming = request.stream;
    let generation = model
        .generate(to_generate(request, info.context_tokens))
        .map_err(in_openai_terms)?;
    let generation = begun(watched(state.clone(), generation)).await?;
    if streaming {
        Ok(sse::stream(chunks(head, generation)))
    } else {
        whole(head, generation).await
    }
}

fn to_generate(request: ChatRequest, context_tokens: usize) -> GenerateRequest {
    let top_logprobs = request.logprobs.then_some(request.top_logprobs.unwrap_or(0));
    GenerateRequest {
        prompt: Prompt::Chat(request.messages),
        passages: Vec::new(),
        sampling: Sampling {
            // OpenAI's defaults.
            temperature: request.temperature.unwrap_or(1.0),
            top_p: request.top_p.unwrap_or(1.0).max(f32::MIN_POSITIVE),
            top_k: request.top_k.unwrap_or(0),
            min_p: request.min_p.unwrap_or(0.0),
            repetition_penalty: 1.0,
            presence_penalty: request.presence_penalty.unwrap_or(0.0),
            frequency_penalty: request.frequency_penalty.unwrap_or(0.0),
            seed: request.seed.map_or_else(rand::random, i64::cast_unsigned),
        },
        max_tokens: request.max_completion_tokens.unwrap_or(context_tokens),
        stop: request.stop,
        top_logprobs,
        deadline: Some(Instant::now() + DEADLINE),
    }
}

fn in_openai_terms(error: InferenceError) -> ApiError {
    let too_long = matches!(error, InferenceError::TooLong { .. });
    let error = ApiError::from(error);
    if too_long { error.with_param("messages") } else { error }
}

/// Ends a generation at shutdown, and one that broke off with an error.
fn watched(state: AppState, mut generation: GenerationStream) -> Generation {
    Box::pin(async_stream::stream! {
        let closing = state.closing().clone();
        loop {
            let event = tokio::select! {
                biased;
                event = generation.next() => event,
                () = closing.cancelled() => {
                    yield Err(ApiError::of_event("server_shutdown", "the server is shutting down; try again"));
                    return;
                }
            };
            match event {
                Some(Ok(event)) => {
                    let last = matches!(event, GenerationEvent::Done { .. });
                    yield Ok(event);
                    if last {
                        return;
                    }
                }
                Some(Err(error)) => {
                    yield Err(in_openai_terms(error));
                    return;
                }
                None => {
                    yield Err(ApiError::from(InferenceError::Stopped));
                    return;
                }
            }
        }
    })
}

/// Waits briefly for the first event.
async fn begun(mut generation: Generation) -> Result<Generation, ApiError> {
    match tokio::time::timeout(FIRST_EVENT_WAIT, generation.next()).await {
        Err(_still_waiting) => Ok(generation),
        Ok(Some(Err(error))) => Err(error),
        Ok(first) => Ok(Box::pin(futures::stream::iter(first).chain(generation))),
    }
}

async fn whole(head: Head, mut generation: Generation) -> Result<Response, ApiError> {
    let mut content = String::new();
    let mut tokens = Vec::new();
    while let Some(event) = generation.next().await {
        match event? {
            GenerationEvent::Queued { .. } | GenerationEvent::Started { .. } => {}
            GenerationEvent::Text { text, logprobs } => {
                content.push_str(&text);
                tokens.extend(logprobs);
            }
            GenerationEvent::Done { reason, usage } => {
                let choice = Choice {
                    index: 0,
                    message: MessageOut {
                        role: "assistant",
                        content,
                        refusal: None,
                        citations: None,
                    },
                    logprobs: (!tokens.is_empty()).then(|| Logprobs::from(tokens)),
                    finish_reason: finish_reason(reason),
                };
                return Ok(Json(head.completion(choice, TokenUsage::from(usage).into(), None)).into_response());
            }
        }
    }
    Err(ApiError::from(InferenceError::Stopped))
}

fn chunks(head: Head, mut generation: Generation) -> impl Stream<Item = Result<Event, axum::Error>> + Send {
    async_stream::stream! {
        yield head.chunk(ChunkChoice::role(), None);
        while let Some(event) = generation.next().await {
            match event {
                Ok(GenerationEvent::Queued { .. } | GenerationEvent::Started { .. }) => {}
                Ok(GenerationEvent::Text { text, logprobs }) => {
                    let logprobs = (!logprobs.is_empty()).then(|| Logprobs::from(logprobs));
                    if !text.is_empty() || logprobs.is_some() {
                        yield head.chunk(ChunkChoice::words(text, logprobs), None);
                    }
                }
                Ok(GenerationEvent::Done { reason, usage }) => {
                    yield head.chunk(ChunkChoice::finish(finish_reason(reason), None), None);
                    if let Some(cost) = head.usage(TokenUsage::from(usage).into()) {
                        yield cost;
                    }
                    yield Ok(end_of_stream());
                    return;
                }
                Err(error) => {
                    if let Some(cause) = error.source() {
                        tracing::error!(error = cause as &dyn std::error::Error, "a generation failed");
                    }
                    yield failed(&error);
                    return;
                }
            }
        }
    }
}

/// An error after the stream began: OpenAI's clients raise it.
pub(super) fn failed(error: &ApiError) -> Result<Event, axum::Error> {
    Event::default().json_data(OpenAiErrorBody { error: error.openai() })
}
