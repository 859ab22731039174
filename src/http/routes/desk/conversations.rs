//! Who waits for a person, and what that person is told.

use super::customers::{CustomerBody, parse_customer};
use crate::domain::{Conversation, ConversationId, Handoff, HandoffSummary, Language, Message, PastMessage, Role};
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::paging::{List, PageParams};
use crate::http::routes::conversations::MessageBody;
use crate::http::state::AppState;
use crate::people::Person;
use axum::Json;
use axum::extract::{Path, State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A conversation that waits for a person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WaitingBody {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// `web` or `api`.
    channel: &'static str,
    /// Since when it waits.
    #[schema(format = DateTime)]
    waiting_since: String,
    /// When it began.
    #[schema(format = DateTime)]
    created_at: String,
    /// What happened; null where it waits from before summaries were kept.
    summary: Option<SummaryBody>,
}

/// What the person who takes over is told, put together from what was said and done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SummaryBody {
    /// `requested`, `unresolved` or `failure`.
    reason: String,
    /// `zh` or `en`.
    language: &'static str,
    /// When the person was called.
    #[schema(format = DateTime)]
    at: String,
    /// The customer's first message and the newest, masked.
    asked: Vec<String>,
    /// The customer's messages in all.
    messages: usize,
    /// What was tried.
    tried: Vec<TriedBody>,
    /// What task flows gathered, masked.
    tasks: Vec<TaskBody>,
    /// How the customer feels, where that is known.
    mood: Option<String>,
    /// Kinds of personal data in the vault.
    personal_data: Vec<String>,
    /// All of it in words.
    text: String,
}

/// A reply that was given before.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TriedBody {
    /// What was asked.
    question: String,
    /// How it was answered.
    route: &'static str,
    /// How sure that was, 0 to 1.
    confidence: Option<f32>,
    /// Titles of what it cites.
    sources: Vec<String>,
    /// The customer's rating, 1 to 5.
    rating: Option<u8>,
    /// Whether it ended early.
    stopped: bool,
}

/// What a task flow gathered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskBody {
    /// The task.
    task: String,
    /// What the customer gave.
    facts: Vec<FactBody>,
    /// What was asked for last and is missing.
    missing: Option<String>,
    /// Calls of inner systems that were done.
    done: Vec<String>,
}

/// Something that the customer gave.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FactBody {
    /// What it is.
    name: String,
    /// The value, masked.
    value: String,
}

impl SummaryBody {
    fn of(handoff: Handoff) -> Self {
        let Handoff { at, summary, .. } = handoff;
        let HandoffSummary {
            reason,
            language,
            asked,
            messages,
            tried,
            tasks,
            mood,
            personal_data,
            text,
        } = summary;
        let tried = tried.into_iter().map(|tried| TriedBody {
            question: tried.question,
            route: tried.route.name(),
            confidence: tried.confidence,
            sources: tried.sources,
            rating: tried.rating,
            stopped: tried.stopped,
        });
        let tasks = tasks.into_iter().map(|task| TaskBody {
            task: task.task,
            facts: (task.facts.into_iter())
                .map(|(name, value)| FactBody { name, value })
                .collect(),
            missing: task.missing,
            done: task.done,
        });
        Self {
            reason,
            language: match language {
                Language::Zh => "zh",
                Language::En => "en",
            },
            at: at.to_string(),
            asked,
            messages,
            tried: tried.collect(),
            tasks: tasks.collect(),
            mood,
            personal_data,
            text,
        }
    }
}

/// Lists the conversations that wait for a person, the first to come first, each with what happened.
#[utoipa::path(
    get, path = "/api/v1/desk/queue", tag = "desk", params(PageParams),
    responses((status = 200, body = List<WaitingBody>), (status = "4XX", body = ErrorBody))
)]
pub(crate) async fn queue(
    State(state): State<AppState>,
    page: PageParams,
) -> Result<Json<List<WaitingBody>>, ApiError> {
    let waiting = state.store().waiting(&page.request()).await;
    let mut list = List::of(waiting, |(conversation, since)| waiting_body(&conversation, since))?;
    for body in &mut list.items {
        if let Ok(id) = body.id.parse::<ConversationId>() {
            body.summary = state.store().handoff(id).await?.map(SummaryBody::of);
        }
    }
    Ok(Json(list))
}

fn waiting_body(conversation: &Conversation, since: Timestamp) -> WaitingBody {
    WaitingBody {
        id: conversation.id.to_string(),
        channel: conversation.channel.name(),
        waiting_since: since.to_string(),
        created_at: conversation.created_at.to_string(),
        summary: None,
    }
}

/// A conversation as the person who takes it over sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CaseBody {
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
    /// What happened, where a person was called.
    summary: Option<SummaryBody>,
    /// Whose it is, where that is known.
    customer: Option<CustomerBody>,
    /// The newest messages of the customer's other conversations, oldest first.
    history: Vec<PastBody>,
}

/// A message of another conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PastBody {
    /// Where it was said.
    #[schema(format = Uuid)]
    conversation_id: String,
    /// `visitor`, `assistant`, `agent` or `system`.
    role: &'static str,
    /// The words, masked.
    text: String,
    /// When.
    #[schema(format = DateTime)]
    at: String,
}

impl PastBody {
    fn of(past: PastMessage) -> Self {
        Self {
            conversation_id: past.conversation_id.to_string(),
            role: Role::name(past.role),
            text: past.text,
            at: past.at.to_string(),
        }
    }
}

/// Shows a conversation with what happened, whose it is, and what that customer said elsewhere.
#[utoipa::path(
    get, path = "/api/v1/desk/conversations/{id}", tag = "desk",
    params(("id" = String, Path, description = "The conversation")),
    responses((status = 200, body = CaseBody), (status = 404, body = ErrorBody, description = "There is none"))
)]
pub(crate) async fn show(State(state): State<AppState>, Path(id): Path<String>) -> Result<Json<CaseBody>, ApiError> {
    let id: ConversationId = id.parse().map_err(|_| ApiError::not_found("conversation"))?;
    let conversation = state.store().conversation(id).await?;
    let conversation = conversation.ok_or_else(|| ApiError::not_found("conversation"))?;
    let case = state.customers()?.case(id).await?;
    let messages: Vec<Message> = state.conversations()?.transcript(id).await?;
    Ok(Json(CaseBody {
        id: id.to_string(),
        status: conversation.status.name(),
        channel: conversation.channel.name(),
        created_at: conversation.created_at.to_string(),
        updated_at: conversation.updated_at.to_string(),
        messages: messages.into_iter().map(MessageBody::from).collect(),
        summary: case.handoff.map(SummaryBody::of),
        customer: case.profile.map(CustomerBody::of),
        history: case.history.into_iter().map(PastBody::of).collect(),
    }))
}

/// Whose a conversation is: a customer that is known, or the address that it comes from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetCustomerBody {
    /// A customer that is known; left out where `channel` and `address` are given.
    customer_id: Option<String>,
    /// The channel of the address.
    channel: Option<String>,
    /// The address.
    address: Option<String>,
    /// The name, for a customer who is not known yet.
    #[serde(default)]
    name: String,
}

impl RequestBody for SetCustomerBody {}

/// Says whose a conversation is.
#[utoipa::path(
    put, path = "/api/v1/desk/conversations/{id}/customer", tag = "desk", request_body = SetCustomerBody,
    params(("id" = String, Path, description = "The conversation")),
    responses((status = 200, body = CustomerBody), (status = "4XX", body = ErrorBody))
)]
pub(crate) async fn set_customer(
    State(state): State<AppState>,
    person: Person,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<SetCustomerBody>,
) -> Result<Json<CustomerBody>, ApiError> {
    let id: ConversationId = id.parse().map_err(|_| ApiError::not_found("conversation"))?;
    let customers = state.customers()?;
    let customer = match (&body.customer_id, &body.channel, &body.address) {
        (Some(customer), None, None) => {
            let customer = parse_customer(customer)?;
            if !customers.link_to(id, customer, &person.name).await? {
                return Err(ApiError::not_found("conversation, or customer"));
            }
            customer
        }
        (None, Some(channel), Some(address)) => {
            let linked = customers.link(id, channel, address, &body.name, &person.name).await?;
            linked.ok_or_else(|| ApiError::not_found("conversation"))?.id
        }
        _ => {
            let message = "give either customer_id, or channel and address";
            return Err(ApiError::parameter("customer_id", message));
        }
    };
    let profile = customers.profile(customer).await?;
    let profile = profile.ok_or_else(|| ApiError::not_found("customer"))?;
    Ok(Json(CustomerBody::of(profile)))
}
