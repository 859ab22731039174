//! Replies as server-sent events (WHATWG HTML, section 9.2), in the closed set of `ReplyEvent`.

use super::error::ApiError;
use super::state::AppState;
use super::wire::{Citation, DoneEvent, ErrorEvent, HandoffEvent, QueueEvent, RouteEvent, SensedBody, TokenEvent};
use crate::dialogue::{Replies, ReplyEvent, Sensed};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use std::pin::Pin;
use std::time::Duration;

/// Comments that keep proxies from closing a silent stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long the status line waits for the first event: what fails at once is an error with a status code instead of a
/// stream that begins with one.
const FIRST_EVENT_WAIT: Duration = Duration::from_secs(2);

const SHUTDOWN_MESSAGE: &str = "服务正在重启，请稍后再试。The server is restarting; please try again.";
const BROKEN_MESSAGE: &str = "抱歉，系统暂时无法回答，请稍后再试。Sorry, I cannot answer right now. Please try again.";

/// The events of one reply, ending with exactly one `Done` or `Error`.
pub(super) type Events = Pin<Box<dyn Stream<Item = ReplyEvent> + Send>>;

/// Follows a reply: counts it, ends it at shutdown, and waits briefly for its first event.
///
/// # Errors
/// The failure of a reply that failed before it said anything.
pub(super) async fn follow(state: &AppState, replies: Replies) -> Result<Events, ApiError> {
    let mut events = watched(state.clone(), replies);
    match tokio::time::timeout(FIRST_EVENT_WAIT, events.next()).await {
        Err(_still_waiting) => Ok(events),
        Ok(Some(ReplyEvent::Error { code, message })) => Err(ApiError::of_event(code, &message)),
        Ok(first) => Ok(Box::pin(futures::stream::iter(first).chain(events))),
    }
}

fn watched(state: AppState, mut replies: Replies) -> Events {
    Box::pin(async_stream::stream! {
        let closing = state.closing().clone();
        loop {
            let event = tokio::select! {
                biased;
                event = replies.next() => event,
                () = closing.cancelled() => {
                    Some(ReplyEvent::Error { code: "server_shutdown", message: SHUTDOWN_MESSAGE.to_owned() })
                }
            };
            let event = event.unwrap_or_else(|| {
                ReplyEvent::Error { code: "internal", message: BROKEN_MESSAGE.to_owned() }
            });
            count(&state, &event);
            let last = matches!(event, ReplyEvent::Done(_) | ReplyEvent::Error { .. });
            yield event;
            if last {
                return;
            }
        }
    })
}

fn count(state: &AppState, event: &ReplyEvent) {
    let metrics = state.metrics();
    match event {
        ReplyEvent::Route { route, .. } => metrics.reply(route.name()),
        ReplyEvent::Done(done) => metrics.reply_took(done.timings.first_token, done.timings.total),
        ReplyEvent::Error { code, .. } => metrics.reply_error(code),
        ReplyEvent::Citation(_) | ReplyEvent::Token { .. } | ReplyEvent::Queue { .. } | ReplyEvent::Handoff { .. } => {}
    }
}

/// Who reads along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// A customer: told nothing of what is thought of them.
    Customer,
    /// A program of the company's.
    Integrator,
}

/// The stream of a reply as a response. Dropping the response drops the reply.
pub(super) fn respond(events: Events, reader: Reader) -> Response {
    stream(events.map(move |event| encode(&event, reader)))
}

/// A stream of events as a response, with comments that keep it alive.
pub(super) fn stream(events: impl Stream<Item = Result<Event, axum::Error>> + Send + 'static) -> Response {
    let mut response = Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies of the nginx family hold a response back without this.
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

fn encode(event: &ReplyEvent, reader: Reader) -> Result<Event, axum::Error> {
    match event {
        ReplyEvent::Route {
            route,
            confidence,
            sensed,
        } => Event::default().event("route").json_data(RouteEvent {
            route: route.name(),
            confidence: *confidence,
            sensed: match reader {
                Reader::Customer => SensedBody::default(),
                Reader::Integrator => SensedBody::from(Sensed::clone(sensed)),
            },
        }),
        ReplyEvent::Citation(citation) => Event::default().event("citation").json_data(Citation::from(citation)),
        ReplyEvent::Token { text } => Event::default().event("token").json_data(TokenEvent { text }),
        ReplyEvent::Queue { position } => Event::default()
            .event("queue")
            .json_data(QueueEvent { position: *position }),
        ReplyEvent::Handoff { reason, position } => Event::default().event("handoff").json_data(HandoffEvent {
            reason,
            position: *position,
        }),
        ReplyEvent::Done(done) => Event::default().event("done").json_data(DoneEvent::from(done)),
        ReplyEvent::Error { code, message } => Event::default().event("error").json_data(ErrorEvent { code, message }),
    }
}
