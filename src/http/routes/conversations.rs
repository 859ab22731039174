//! A visitor's conversation. Whoever shows its token may read and write it; for all others it does not exist.

use crate::config::HttpConfig;
use crate::domain::{Channel, Conversation, Language, Message, MessageId, Role};
use crate::http::auth::{require_key, set_cookie, visitor_token};
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::routes::desk::customers::AddressIn;
use crate::http::sse::{self, Reader};
use crate::http::state::AppState;
use crate::http::wire::Citation;
use axum::extract::State;
use axum::http::header::{ACCEPT_LANGUAGE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Characters of a rating's comment.
const MAX_COMMENT_CHARS: usize = 2000;

/// A new conversation.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateBody {
    /// Where it takes place; `web` where it is left out.
    #[serde(default)]
    channel: ChannelName,
    /// The language of the page. Replies follow the language of each message.
    #[serde(default)]
    #[allow(
        dead_code,
        reason = "accepted for the pages; replies follow the message's own language"
    )]
    language: Option<LanguageName>,
    /// Who the customer is, said by a program that knows; needs an API key.
    customer: Option<AddressIn>,
}

/// Where a conversation takes place.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChannelName {
    /// The chat page.
    #[default]
    Web,
    /// An API client.
    Api,
}

/// A language.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LanguageName {
    /// Chinese.
    Zh,
    /// English.
    En,
}

impl From<LanguageName> for Language {
    fn from(name: LanguageName) -> Self {
        match name {
            LanguageName::Zh => Self::Zh,
            LanguageName::En => Self::En,
        }
    }
}

impl RequestBody for CreateBody {
    const OPTIONAL: bool = true;
}

/// A conversation that was begun.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Created {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// What lets its visitor in, as bearer token; shown this once. A cookie holds it too.
    visitor_token: String,
}

/// A conversation with what was said.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConversationBody {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// `open`, `waiting` (for a person) or `closed`.
    status: &'static str,
    /// `web` or `api`.
    channel: &'static str,
    /// When it began.
    #[schema(format = DateTime)]
    created_at: String,
    /// When something was last said.
    #[schema(format = DateTime)]
    updated_at: String,
    /// The newest 500 messages, oldest first.
    messages: Vec<MessageBody>,
}

/// One message.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MessageBody {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// `visitor`, `assistant`, `agent` or `system`.
    role: &'static str,
    /// What was said.
    text: String,
    /// How a reply came to be.
    route: Option<&'static str>,
    /// How sure the route was, 0 to 1.
    confidence: Option<f32>,
    /// What a reply rests on.
    citations: Vec<Citation>,
    /// The knowledge base that was asked.
    kb_version: Option<u64>,
    /// The language model that wrote it.
    model: Option<String>,
    /// Whether the visitor stopped it before its end.
    stopped: bool,
    /// The visitor's rating, 1 to 5.
    rating: Option<u8>,
    /// When it was written.
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<Message> for MessageBody {
    fn from(message: Message) -> Self {
        Self {
            id: message.id.to_string(),
            role: message.role.name(),
            text: message.text,
            route: message.route.map(crate::domain::Route::name),
            confidence: message.confidence,
            citations: message.citations.iter().map(Citation::from).collect(),
            kb_version: message.kb_version.map(|version| version.0),
            model: message.model,
            stopped: message.stopped,
            rating: message.rating,
            created_at: message.created_at.to_string(),
        }
    }
}

/// Begins a conversation.
#[utoipa::path(
    post, path = "/api/v1/conversations", tag = "conversations", request_body = Option<CreateBody>,
    responses(
        (status = 201, body = Created, headers(("set-cookie", description = "The token, for the pages"))),
        (status = 401, body = ErrorBody, description = "To say who the customer is needs an API key"),
        (status = 503, body = ErrorBody, description = "Not ready; Retry-After says when to try again"),
    )
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<CreateBody>,
) -> Result<Response, ApiError> {
    let channel = match body.channel {
        ChannelName::Web => Channel::Web,
        ChannelName::Api => Channel::Api,
    };
    if let Some(AddressIn { channel, address, name }) = &body.customer {
        require_key(&state, &headers).await?;
        // Before the conversation: what makes no sense leaves none behind.
        let customers = state.customers()?;
        customers.identify(channel, address, name, "api").await?;
    }
    let (conversation, secret) = state.conversations()?.start(channel).await?;
    if let Some(AddressIn { channel, address, name }) = &body.customer {
        let customers = state.customers()?;
        customers.link(conversation.id, channel, address, name, "api").await?;
    }
    let token = visitor_token(conversation.id, &secret);
    let mut headers = HeaderMap::new();
    if let Some(cookie) = set_cookie(state.config(), &token) {
        headers.insert(SET_COOKIE, cookie);
    }
    if let Ok(place) = HeaderValue::from_str(&format!("/api/v1/conversations/{}", conversation.id)) {
        headers.insert(LOCATION, place);
    }
    let body = Created {
        id: conversation.id.to_string(),
        visitor_token: token,
    };
    Ok((StatusCode::CREATED, headers, Json(body)).into_response())
}

/// Shows a conversation with its messages.
#[utoipa::path(
    get, path = "/api/v1/conversations/{id}", tag = "conversations", params(("id" = Uuid, Path)),
    responses((status = 200, body = ConversationBody), (status = 404, body = ErrorBody, description = "Not yours, or none"))
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    Extension(conversation): Extension<Conversation>,
) -> Result<Json<ConversationBody>, ApiError> {
    let messages = state.conversations()?.transcript(conversation.id).await?;
    Ok(Json(ConversationBody {
        id: conversation.id.to_string(),
        status: conversation.status.name(),
        channel: conversation.channel.name(),
        created_at: conversation.created_at.to_string(),
        updated_at: conversation.updated_at.to_string(),
        messages: messages.into_iter().map(MessageBody::from).collect(),
    }))
}

/// What the visitor says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SayBody {
    /// The words.
    #[schema(example = "异地转账要手续费吗？")]
    text: String,
}

impl RequestBody for SayBody {
    fn limit(config: &HttpConfig) -> usize {
        config.max_message_bytes
    }
}

/// Says something; the reply comes as a stream of events.
///
/// The events are `route`, `citation`, `token`, `queue`, `handoff`, then `done` or `error`. Closing the connection
/// stops the reply; what was sent by then is kept as stopped.
#[utoipa::path(
    post, path = "/api/v1/conversations/{id}/messages", tag = "conversations", params(("id" = Uuid, Path)),
    request_body = SayBody,
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 404, body = ErrorBody, description = "Not yours, or none"),
        (status = 409, body = ErrorBody, description = "The conversation is closed"),
        (status = 429, body = ErrorBody, description = "Replies are under way; Retry-After says when to try again"),
    )
)]
pub(crate) async fn say(
    State(state): State<AppState>,
    Extension(conversation): Extension<Conversation>,
    JsonBody(body): JsonBody<SayBody>,
) -> Result<Response, ApiError> {
    let replies = state.conversations()?.say(&conversation, &body.text).await?;
    Ok(sse::respond(sse::follow(&state, replies).await?, Reader::Customer))
}

/// A rating.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RatingBody {
    /// 1 (bad) to 5 (good).
    #[schema(minimum = 1, maximum = 5)]
    score: u8,
    /// The reply; the whole conversation where it is left out.
    #[schema(value_type = Option<String>, format = Uuid)]
    message_id: Option<Uuid>,
    /// The visitor's words, at most 2000 characters.
    #[serde(default)]
    comment: Option<String>,
}

impl RequestBody for RatingBody {
    fn limit(config: &HttpConfig) -> usize {
        config.max_message_bytes
    }
}

/// Rates a reply, or the whole conversation.
#[utoipa::path(
    post, path = "/api/v1/conversations/{id}/rating", tag = "conversations", params(("id" = Uuid, Path)),
    request_body = RatingBody,
    responses((status = 204, description = "Kept"), (status = 404, body = ErrorBody, description = "No such reply here"))
)]
pub(crate) async fn rate(
    State(state): State<AppState>,
    Extension(conversation): Extension<Conversation>,
    JsonBody(body): JsonBody<RatingBody>,
) -> Result<StatusCode, ApiError> {
    if !(1..=5).contains(&body.score) {
        return Err(ApiError::parameter("score", "score must lie between 1 and 5"));
    }
    let comment = body.comment.unwrap_or_default();
    if comment.chars().count() > MAX_COMMENT_CHARS {
        let message = format!("comment may have at most {MAX_COMMENT_CHARS} characters");
        return Err(ApiError::parameter("comment", message));
    }
    let message = body.message_id.map(MessageId);
    if state
        .conversations()?
        .rate(conversation.id, message, body.score, &comment)
        .await?
    {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("reply in this conversation"))
    }
}

/// A call for a person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HandoffBody {
    /// The language to be answered in; that of the visitor's last message where it is left out.
    language: Option<LanguageName>,
}

impl RequestBody for HandoffBody {
    const OPTIONAL: bool = true;
}

/// A call for a person that was noted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HandoffResult {
    /// `waiting`.
    status: &'static str,
    /// How many wait before.
    position: u64,
    /// What to tell the visitor.
    message: &'static str,
}

/// Calls a person.
#[utoipa::path(
    post, path = "/api/v1/conversations/{id}/handoff", tag = "conversations", params(("id" = Uuid, Path)),
    request_body = Option<HandoffBody>,
    responses((status = 200, body = HandoffResult), (status = 409, body = ErrorBody, description = "The conversation is closed"))
)]
pub(crate) async fn handoff(
    State(state): State<AppState>,
    Extension(conversation): Extension<Conversation>,
    headers: HeaderMap,
    JsonBody(body): JsonBody<HandoffBody>,
) -> Result<Json<HandoffResult>, ApiError> {
    let conversations = state.conversations()?;
    let language = if let Some(language) = body.language {
        language.into()
    } else {
        let said = conversations.transcript(conversation.id).await?;
        let last = said.iter().rev().find(|message| message.role == Role::Visitor);
        last.map_or_else(
            || accepted_language(&headers),
            |message| Language::detect(&message.text),
        )
    };
    let ticket = conversations.handoff(&conversation, language).await?;
    Ok(Json(HandoffResult {
        status: "waiting",
        position: ticket.position,
        message: ticket.message,
    }))
}

/// English where the browser names it first, else Chinese.
fn accepted_language(headers: &HeaderMap) -> Language {
    let first = headers
        .get(ACCEPT_LANGUAGE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if first
        .trim_start()
        .get(..2)
        .is_some_and(|tag| tag.eq_ignore_ascii_case("en"))
    {
        Language::En
    } else {
        Language::Zh
    }
}

/// Ends a conversation.
#[utoipa::path(
    post, path = "/api/v1/conversations/{id}/close", tag = "conversations", params(("id" = Uuid, Path)),
    responses((status = 204, description = "Closed"), (status = 404, body = ErrorBody, description = "Not yours, or none"))
)]
pub(crate) async fn close(
    State(state): State<AppState>,
    Extension(conversation): Extension<Conversation>,
) -> Result<StatusCode, ApiError> {
    state.conversations()?.close(conversation.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
