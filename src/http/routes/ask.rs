//! One question, answered without keeping anything.

use crate::dialogue::{Ask, ReplyEvent};
use crate::domain::{Channel, Role, Turn, Viewer};
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::sse::{self, Events, Reader};
use crate::http::state::AppState;
use crate::http::wire::{Citation, EmotionBody, IntentBody, RelatedBody, RiskBody, SensedBody, TimingsMs, UsageBody};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Turns that a question may bring along.
const MAX_HISTORY: usize = 50;

/// Characters of all turns together.
const MAX_HISTORY_CHARS: usize = 40_000;

/// Groups that an asker may belong to.
const MAX_AUDIENCES: usize = 32;

/// Characters of the name of a group or a channel.
const MAX_NAME_CHARS: usize = 100;

/// Passages that an answer may be written from.
const MAX_TOP_K: u32 = 20;

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskBody {
    /// The customer's words.
    #[schema(example = "信用卡丢了怎么办？")]
    question: String,
    /// What was said before, oldest first; at most 50 turns.
    #[serde(default)]
    history: Vec<HistoryTurn>,
    /// Passages to answer from, 1 to 20.
    #[schema(minimum = 1, maximum = 20)]
    top_k: Option<u32>,
    /// Groups of customers that the asker belongs to; at most 32. What is meant for other groups takes no part in the answer.
    #[serde(default)]
    audiences: Vec<String>,
    /// The channel that the answer goes to; `api` where it is left out.
    #[schema(example = "web")]
    channel: Option<String>,
}

/// One turn of what was said before.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryTurn {
    /// Who said it.
    role: HistoryRole,
    /// What was said.
    content: String,
}

impl HistoryTurn {
    /// What was said.
    pub(crate) fn words(&self) -> &str {
        &self.content
    }
}

/// Who said something.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HistoryRole {
    /// The customer.
    User,
    /// This server.
    Assistant,
}

impl RequestBody for AskBody {}

/// An answer.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Answer {
    /// The words; `[n]` points to a citation.
    #[serde(rename = "answer")]
    pub(crate) words: String,
    /// `faq`, `flow`, `passages`, `smalltalk`, `clarify`, `refuse` or `handoff`.
    pub(crate) route: &'static str,
    /// How sure, 0 to 1.
    pub(crate) confidence: f32,
    /// What the customer wants; null where no head for intents is trained, and where it was not needed.
    pub(crate) intent: Option<IntentBody>,
    /// How the customer feels; null where no heads are loaded, and where it was not needed.
    pub(crate) emotion: Option<EmotionBody>,
    /// What is dangerous or forbidden, where it is likely enough to be noted.
    pub(crate) risk: Vec<RiskBody>,
    /// What the answer rests on.
    pub(crate) citations: Vec<Citation>,
    /// Milliseconds.
    pub(crate) timings_ms: TimingsMs,
    /// Tokens.
    pub(crate) usage: UsageBody,
    /// The knowledge base that was asked.
    pub(crate) kb_version: u64,
    /// The language model that wrote it; null where no model wrote.
    pub(crate) model: Option<String>,
    /// What one may ask next, best first.
    pub(crate) related: Vec<RelatedBody>,
}

/// Answers one question.
///
/// With `Accept: text/event-stream` the answer comes as the events `route`, `citation`, `token`, `queue`, `handoff`,
/// then `done` or `error`.
#[utoipa::path(
    post, path = "/api/v1/ask", tag = "questions", request_body = AskBody,
    responses(
        (status = 200, body = Answer),
        (status = "4XX", body = ErrorBody, description = "The question cannot be answered as it is"),
        (status = 503, body = ErrorBody, description = "Not ready or overloaded; Retry-After says when to try again"),
    )
)]
pub(crate) async fn ask(
    State(state): State<AppState>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<AskBody>,
) -> Result<Response, ApiError> {
    let ask = body.check(&state)?;
    let replies = state.assistant()?.reply(ask)?;
    let events = sse::follow(&state, replies).await?;
    if wants_events(&headers) {
        return Ok(sse::respond(events, Reader::Integrator));
    }
    Ok(Json(collect(events).await?).into_response())
}

impl AskBody {
    fn check(self, state: &AppState) -> Result<Ask, ApiError> {
        if let Some(top_k) = self.top_k
            && !(1..=MAX_TOP_K).contains(&top_k)
        {
            return Err(ApiError::parameter(
                "top_k",
                format!("top_k must lie between 1 and {MAX_TOP_K}"),
            ));
        }
        check_history(
            self.history.len(),
            self.history.iter().map(|turn| turn.content.as_str()),
        )?;
        Ok(Ask {
            history: self.history.into_iter().map(Turn::from).collect(),
            top_k: self.top_k.map(|top_k| top_k as usize),
            ..Ask::new(self.question, viewer(state, self.audiences, self.channel)?)
        })
    }
}

/// Who asks, where and when, as far as the client says: whoever holds an API key speaks for its customers.
///
/// # Errors
/// More audiences, or longer names, than a scope can have.
pub(crate) fn viewer(state: &AppState, audiences: Vec<String>, channel: Option<String>) -> Result<Viewer, ApiError> {
    if audiences.len() > MAX_AUDIENCES {
        let message = format!("audiences may have at most {MAX_AUDIENCES} entries");
        return Err(ApiError::parameter("audiences", message));
    }
    let channel = channel.unwrap_or_else(|| Channel::Api.name().to_owned());
    for (param, name) in audiences
        .iter()
        .map(|name| ("audiences", name))
        .chain([("channel", &channel)])
    {
        if name.is_empty() || name.chars().count() > MAX_NAME_CHARS {
            let message = format!("a name in {param} has 1 to {MAX_NAME_CHARS} characters");
            return Err(ApiError::parameter(param, message));
        }
    }
    Ok(Viewer {
        audiences,
        channel: Some(channel),
        ..Viewer::anybody(state.now())
    })
}

/// Bounds what a question brings along.
pub(crate) fn check_history<'a>(turns: usize, texts: impl Iterator<Item = &'a str>) -> Result<(), ApiError> {
    if turns > MAX_HISTORY {
        return Err(ApiError::parameter(
            "history",
            format!("history may have at most {MAX_HISTORY} turns"),
        ));
    }
    let chars: usize = texts.map(|text| text.chars().count()).sum();
    if chars > MAX_HISTORY_CHARS {
        let message = format!("history may have at most {MAX_HISTORY_CHARS} characters, this one has {chars}");
        return Err(ApiError::parameter("history", message));
    }
    Ok(())
}

impl From<HistoryTurn> for Turn {
    fn from(turn: HistoryTurn) -> Self {
        let role = match turn.role {
            HistoryRole::User => Role::Visitor,
            HistoryRole::Assistant => Role::Assistant,
        };
        Self {
            role,
            text: turn.content,
        }
    }
}

/// Waits for a whole reply.
///
/// # Errors
/// The failure that ended it.
pub(crate) async fn collect(mut events: Events) -> Result<Answer, ApiError> {
    let mut answer = Answer::default();
    while let Some(event) = events.next().await {
        match event {
            ReplyEvent::Route {
                route,
                confidence,
                sensed,
            } => {
                answer.route = route.name();
                answer.confidence = confidence;
                let sensed = SensedBody::from(*sensed);
                (answer.intent, answer.emotion, answer.risk) = (sensed.intent, sensed.emotion, sensed.risk);
            }
            ReplyEvent::Citation(citation) => answer.citations.push(Citation::from(&citation)),
            ReplyEvent::Token { text } => answer.words.push_str(&text),
            ReplyEvent::Queue { .. } | ReplyEvent::Handoff { .. } => {}
            ReplyEvent::Done(done) => {
                answer.timings_ms = done.timings.into();
                answer.usage = done.usage.into();
                answer.kb_version = done.kb_version.0;
                answer.related = done.related.iter().map(RelatedBody::from).collect();
                answer.model = done.model;
            }
            ReplyEvent::Error { code, message } => return Err(ApiError::of_event(code, &message)),
        }
    }
    Ok(answer)
}

fn wants_events(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|kind| kind.split(';').next())
        .any(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}
