//! A chat with the knowledge base, under the model name `kefu`.

use super::request::ChatRequest;
use super::wire::{Choice, ChunkChoice, Head, Kefu, MessageOut, end_of_stream};
use super::{KEFU, generation, unsupported};
use crate::dialogue::{Ask, Assistant, ReplyEvent};
use crate::domain::{Role, Turn, Viewer};
use crate::http::error::ApiError;
use crate::http::routes::ask::{check_history, collect, viewer};
use crate::http::sse::{self, Events};
use crate::http::state::AppState;
use crate::http::wire::Citation;
use crate::inference::ChatRole;
use axum::Json;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use std::sync::Arc;

pub(super) async fn complete(
    state: &AppState,
    assistant: &Arc<Assistant>,
    request: ChatRequest,
) -> Result<Response, ApiError> {
    let head = Head::named(KEFU, state.now(), request.parameters.stream_options.include_usage);
    let streaming = request.parameters.stream;
    let replies = assistant
        .reply(question(request, viewer(state, Vec::new(), None)?)?)
        .map_err(|error| ApiError::from(error).with_param("messages"))?;
    let events = sse::follow(state, replies).await?;
    if streaming {
        return Ok(sse::stream(chunks(head, events)));
    }
    let answer = collect(events).await?;
    let kefu = Kefu {
        route: answer.route,
        confidence: answer.confidence,
        kb_version: answer.kb_version,
        model: answer.model,
    };
    let choice = Choice {
        index: 0,
        message: MessageOut {
            role: "assistant",
            content: Some(answer.words),
            refusal: None,
            tool_calls: Vec::new(),
            citations: Some(answer.citations),
        },
        logprobs: None,
        finish_reason: "stop",
    };
    Ok(Json(head.completion(choice, answer.usage, Some(kefu))).into_response())
}

/// The last message is the question, the others are what was said before. Instructions of the client are not taken:
/// answers come from the knowledge base alone.
fn question(request: ChatRequest, viewer: Viewer) -> Result<Ask, ApiError> {
    if request.logprobs {
        return Err(unsupported("logprobs", "the model 'kefu' reports no log-probabilities"));
    }
    if !request.parameters.stop.is_empty() {
        return Err(unsupported("stop", "the model 'kefu' takes no stop texts"));
    }
    if request.response_format.is_some() {
        return Err(unsupported(
            "response_format",
            "the model 'kefu' answers in words alone",
        ));
    }
    if !request.tools.list.is_empty() {
        return Err(unsupported("tools", "the model 'kefu' calls no functions"));
    }
    let mut messages = request.messages;
    let Some(last) = messages.pop().filter(|message| message.role == ChatRole::User) else {
        return Err(ApiError::parameter(
            "messages",
            "the last message must be the user's question",
        ));
    };
    check_history(messages.len(), messages.iter().map(|message| message.content.as_str()))
        .map_err(|error| error.with_param("messages"))?;
    let history = messages.into_iter().filter_map(|message| {
        let role = match message.role {
            ChatRole::User => Role::Visitor,
            ChatRole::Assistant => Role::Assistant,
            ChatRole::System | ChatRole::Tool => return None,
        };
        Some(Turn {
            role,
            text: message.content,
        })
    });
    Ok(Ask {
        history: history.collect(),
        visitor: request.parameters.user,
        ..Ask::new(last.content, viewer)
    })
}

fn chunks(head: Head, mut events: Events) -> impl Stream<Item = Result<Event, axum::Error>> + Send {
    async_stream::stream! {
        yield head.chunk(ChunkChoice::role(), None);
        let (mut citations, mut decided) = (Vec::new(), ("", 0.0));
        while let Some(event) = events.next().await {
            match event {
                ReplyEvent::Route { route, confidence, .. } => decided = (route.name(), confidence),
                ReplyEvent::Citation(citation) => citations.push(Citation::from(&citation)),
                ReplyEvent::Token { text } => yield head.chunk(ChunkChoice::words(text, None), None),
                ReplyEvent::Queue { .. } | ReplyEvent::Handoff { .. } => {}
                ReplyEvent::Done(done) => {
                    let (route, confidence) = decided;
                    let kefu = Kefu { route, confidence, kb_version: done.kb_version.0, model: done.model };
                    let last = ChunkChoice::finish("stop", Some(std::mem::take(&mut citations)));
                    yield head.chunk(last, Some(kefu));
                    if let Some(cost) = head.usage(done.usage.into()) {
                        yield cost;
                    }
                    yield Ok(end_of_stream());
                }
                ReplyEvent::Error { code, message } => yield generation::failed(&ApiError::of_event(code, &message)),
            }
        }
    }
}
