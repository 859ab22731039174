//! A chat with a loaded model alone.

use super::calls::{CallReader, Part};
use super::request::ChatRequest;
use super::tools::{ToolCallBody, ToolChoice};
use super::unsupported;
use super::wire::{Choice, ChunkChoice, Head, Logprobs, MessageOut, end_of_stream, finish_reason};
use crate::dialogue::TokenUsage;
use crate::http::error::{ApiError, OpenAiErrorBody};
use crate::http::sse;
use crate::http::state::AppState;
use crate::inference::{
    Constraint, FinishReason, GenerateRequest, GenerationEvent, GenerationStream, InferenceError, LanguageModel,
    ModelInfo, Prompt,
};
use axum::Json;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest a generation may take, waiting included.
pub(super) const DEADLINE: Duration = Duration::from_mins(10);

/// How long the status line waits for the first event: what fails at once gets a status code of its own.
const FIRST_EVENT_WAIT: Duration = Duration::from_secs(2);

pub(super) type Generation = Pin<Box<dyn Stream<Item = Result<GenerationEvent, ApiError>> + Send>>;

/// How an answer is read: its calls, and whether one of them was asked for by name.
struct Turn {
    reader: CallReader,
    named: bool,
}

pub(super) async fn complete(
    state: &AppState,
    model: &Arc<dyn LanguageModel>,
    request: ChatRequest,
) -> Result<Response, ApiError> {
    let info = model.info();
    check_length(request.max_completion_tokens, info, "max_completion_tokens")?;
    let include_usage = request.parameters.stream_options.include_usage;
    let head = Head::new(info, state.now(), include_usage);
    let streaming = request.parameters.stream;
    let turn = Turn {
        reader: CallReader::new(
            request.tools.list.iter().map(|tool| tool.name.clone()).collect(),
            request.tools.most,
        ),
        named: matches!(request.tools.choice, ToolChoice::Named(_)),
    };
    let generation = start(state, model, to_generate(request, info.context_tokens)?, "messages").await?;
    if streaming {
        Ok(sse::stream(chunks(head, generation, turn)))
    } else {
        whole(head, generation, turn).await
    }
}

/// Refuses more tokens than the model's context has.
pub(super) fn check_length(asked: Option<usize>, info: &ModelInfo, param: &str) -> Result<(), ApiError> {
    match asked {
        Some(asked) if asked > info.context_tokens => {
            let message = format!(
                "the model's context has {} tokens, {asked} were asked for",
                info.context_tokens
            );
            Err(ApiError::parameter(param, message))
        }
        _ => Ok(()),
    }
}

fn to_generate(request: ChatRequest, context_tokens: usize) -> Result<GenerateRequest, ApiError> {
    let constraint = constraint(&request)?;
    let top_logprobs = request.logprobs.then_some(request.top_logprobs.unwrap_or(0));
    Ok(GenerateRequest {
        prompt: Prompt::Chat(request.messages),
        visitor: request.parameters.user.clone(),
        passages: Vec::new(),
        sampling: request.parameters.sampling(),
        max_tokens: request.max_completion_tokens.unwrap_or(context_tokens),
        stop: request.parameters.stop,
        top_logprobs,
        deadline: Some(Instant::now() + DEADLINE),
        tools: request.tools.list,
        constraint,
    })
}

/// What the answer must be: a call where one is demanded, else what the format says.
fn constraint(request: &ChatRequest) -> Result<Option<Constraint>, ApiError> {
    match (&request.tools.choice, &request.response_format) {
        (ToolChoice::Required | ToolChoice::Named(_), _) => Ok(Some(Constraint::ToolCalls {
            tools: request.tools.list.clone(),
            most: request.tools.most,
        })),
        (ToolChoice::Auto, Some(_)) => Err(unsupported(
            "response_format",
            "a JSON format and functions that the model may call exclude each other; set 'tool_choice' to 'none', or to \
             'required'",
        )),
        (_, format) => Ok(format.clone()),
    }
}

/// Begins to generate. `prompt` is what the API calls the field with the prompt.
pub(super) async fn start(
    state: &AppState,
    model: &Arc<dyn LanguageModel>,
    request: GenerateRequest,
    prompt: &'static str,
) -> Result<Generation, ApiError> {
    let generation = if request.constraint.is_some() {
        // A form takes some time to be understood.
        let model = Arc::clone(model);
        tokio::task::spawn_blocking(move || model.generate(request))
            .await
            .map_err(ApiError::internal)?
    } else {
        model.generate(request)
    };
    let generation = generation.map_err(|error| in_openai_terms(error, prompt))?;
    begun(watched(state.clone(), generation, prompt)).await
}

fn in_openai_terms(error: InferenceError, prompt: &str) -> ApiError {
    let too_long = matches!(error, InferenceError::TooLong { .. });
    let error = ApiError::from(error);
    if too_long { error.with_param(prompt) } else { error }
}

/// Ends a generation at shutdown, and one that broke off with an error.
fn watched(state: AppState, mut generation: GenerationStream, prompt: &'static str) -> Generation {
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
                    yield Err(in_openai_terms(error, prompt));
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

async fn whole(head: Head, mut generation: Generation, mut turn: Turn) -> Result<Response, ApiError> {
    let (mut content, mut calls) = (String::new(), Vec::new());
    let mut tokens = Vec::new();
    let mut take = |parts: Vec<Part>| {
        for part in parts {
            match part {
                Part::Text(text) => content.push_str(&text),
                Part::Call { name, arguments } => calls.push(ToolCallBody::new(name, arguments)),
            }
        }
    };
    while let Some(event) = generation.next().await {
        match event? {
            GenerationEvent::Queued { .. } | GenerationEvent::Started { .. } => {}
            GenerationEvent::Text { text, logprobs } => {
                take(turn.reader.push(&text));
                tokens.extend(logprobs);
            }
            GenerationEvent::Done { reason, usage } => {
                take(turn.reader.finish());
                let choice = Choice {
                    index: 0,
                    message: MessageOut {
                        role: "assistant",
                        content: (calls.is_empty() || !content.is_empty()).then_some(content),
                        refusal: None,
                        tool_calls: calls,
                        citations: None,
                    },
                    logprobs: (!tokens.is_empty()).then(|| Logprobs::from(tokens)),
                    finish_reason: turn.finish_reason(reason),
                };
                return Ok(Json(head.completion(choice, TokenUsage::from(usage).into(), None)).into_response());
            }
        }
    }
    Err(ApiError::from(InferenceError::Stopped))
}

impl Turn {
    /// Why the answer ended. A function that was demanded by name is no choice of the model's.
    fn finish_reason(&self, reason: FinishReason) -> &'static str {
        match reason {
            FinishReason::Stop if self.reader.calls() > 0 && !self.named => "tool_calls",
            reason => finish_reason(reason),
        }
    }

    /// The chunks of `parts`. The first has the log-probabilities, alone if there is no part.
    fn chunks(&self, parts: Vec<Part>, mut logprobs: Option<Logprobs>) -> Vec<ChunkChoice> {
        let mut chunks = Vec::new();
        let new = parts.iter().filter(|part| matches!(part, Part::Call { .. })).count();
        let mut index = self.reader.calls() - new;
        for part in parts {
            match part {
                Part::Text(text) => chunks.push(ChunkChoice::words(text, logprobs.take())),
                Part::Call { name, arguments } => {
                    chunks.extend(ChunkChoice::call(index, ToolCallBody::new(name, arguments)));
                    index += 1;
                }
            }
        }
        if logprobs.is_some() {
            chunks.insert(0, ChunkChoice::words(String::new(), logprobs));
        }
        chunks
    }
}

fn chunks(
    head: Head,
    mut generation: Generation,
    mut turn: Turn,
) -> impl Stream<Item = Result<Event, axum::Error>> + Send {
    async_stream::stream! {
        yield head.chunk(ChunkChoice::role(), None);
        while let Some(event) = generation.next().await {
            match event {
                Ok(GenerationEvent::Queued { .. } | GenerationEvent::Started { .. }) => {}
                Ok(GenerationEvent::Text { text, logprobs }) => {
                    let logprobs = (!logprobs.is_empty()).then(|| Logprobs::from(logprobs));
                    let parts = turn.reader.push(&text);
                    for chunk in turn.chunks(parts, logprobs) {
                        yield head.chunk(chunk, None);
                    }
                }
                Ok(GenerationEvent::Done { reason, usage }) => {
                    let parts = turn.reader.finish();
                    for chunk in turn.chunks(parts, None) {
                        yield head.chunk(chunk, None);
                    }
                    yield head.chunk(ChunkChoice::finish(turn.finish_reason(reason), None), None);
                    if let Some(cost) = head.usage(TokenUsage::from(usage).into()) {
                        yield cost;
                    }
                    yield Ok(end_of_stream());
                    return;
                }
                Err(error) => {
                    yield broken_off(&error);
                    return;
                }
            }
        }
    }
}

/// A generation that failed after the stream began.
pub(super) fn broken_off(error: &ApiError) -> Result<Event, axum::Error> {
    if let Some(cause) = error.source() {
        tracing::error!(error = cause as &dyn std::error::Error, "a generation failed");
    }
    failed(error)
}

/// An error after the stream began: OpenAI's clients raise it.
pub(super) fn failed(error: &ApiError) -> Result<Event, axum::Error> {
    Event::default().json_data(OpenAiErrorBody { error: error.openai() })
}
