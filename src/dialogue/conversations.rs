//! Conversations that last: who may read them, what was said, and one reply at a time.

use super::handoff::{Parts, summarise};
use super::{Ask, Assistant, DialogueError, FlowDriver, Replies, ReplyEvent, replies};
use crate::domain::{
    Basis, Channel, Clock, Conversation, ConversationId, ConversationStatus, Handoff, HandoffId, Hidden, Language,
    Message, MessageId, ReplyRecord, Role, Route, Turn, VaultId, Viewer, sha256_hex,
};
use crate::storage::{AuditRecord, NewValue, SealedValue, Store, Vault};
use crate::understanding::pii::{Finding, Kind, Masked};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::StreamExt;
use rand::RngCore;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::TaskTracker;

/// Messages of a conversation that a reply takes into account.
const HISTORY_MESSAGES: u32 = 12;

/// Messages that a transcript shows.
const TRANSCRIPT_MESSAGES: u32 = 500;

/// Conversations over a store.
pub struct Conversations {
    assistant: Arc<Assistant>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    tasks: TaskTracker,
    replies_per_visitor: usize,
    vault: Option<Arc<Vault>>,
    lanes: Mutex<HashMap<ConversationId, Lane>>,
    flows: Option<Arc<FlowDriver>>,
    /// Messages of the customer's other conversations that count as said before.
    past_messages: u32,
}

/// What a reply answers.
struct Asked {
    question: MessageId,
    history: Vec<MessageId>,
}

/// The replies of one conversation: one under way, the others wait.
struct Lane {
    turn: Arc<Semaphore>,
    inside: usize,
}

/// A call for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandoffTicket {
    /// Conversations that wait before this one.
    pub position: u64,
    /// What to tell the customer.
    pub message: &'static str,
}

impl Conversations {
    /// Conversations kept in `store`. Replies are finished and stored by tasks of `tasks`.
    #[must_use]
    pub fn new(
        assistant: Arc<Assistant>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        tasks: TaskTracker,
        replies_per_visitor: usize,
    ) -> Self {
        Self {
            assistant,
            store,
            clock,
            tasks,
            replies_per_visitor,
            vault: None,
            lanes: Mutex::default(),
            flows: None,
            past_messages: 0,
        }
    }

    /// The same with task flows.
    #[must_use]
    pub fn with_flows(self, flows: Arc<FlowDriver>) -> Self {
        Self {
            flows: Some(flows),
            ..self
        }
    }

    /// The same, where up to `messages` of the customer's other conversations count as said before in a new one.
    #[must_use]
    pub fn with_past(self, messages: u32) -> Self {
        Self {
            past_messages: messages,
            ..self
        }
    }

    /// The same, keeping clear values in `vault`; without one they are forgotten.
    #[must_use]
    pub fn with_vault(self, vault: Arc<Vault>) -> Self {
        Self {
            vault: Some(vault),
            ..self
        }
    }

    /// Begins a conversation; returns it with the visitor's token, which is shown this once and stored only as a hash.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn start(&self, channel: Channel) -> Result<(Conversation, String), DialogueError> {
        let mut secret = [0_u8; 32];
        rand::rng().fill_bytes(&mut secret);
        let token = BASE64_URL_SAFE_NO_PAD.encode(secret);
        let now = self.clock.now();
        let conversation = Conversation {
            id: ConversationId::new(),
            channel,
            status: ConversationStatus::Open,
            token_sha256: sha256_hex(token.as_bytes()),
            created_at: now,
            updated_at: now,
        };
        self.store.create_conversation(&conversation).await?;
        Ok((conversation, token))
    }

    /// The conversation, if `token` is its visitor's. A wrong token and a missing conversation look alike.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn authorise(&self, id: ConversationId, token: &str) -> Result<Option<Conversation>, DialogueError> {
        let conversation = self.store.conversation(id).await?;
        let given = sha256_hex(token.as_bytes());
        Ok(conversation.filter(|known| bool::from(known.token_sha256.as_bytes().ct_eq(given.as_bytes()))))
    }

    /// What was said, oldest first.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn transcript(&self, id: ConversationId) -> Result<Vec<Message>, DialogueError> {
        Ok(self.store.messages(id, TRANSCRIPT_MESSAGES).await?)
    }

    /// Says something in a conversation. The words are stored before this returns, the reply before its last event;
    /// where the stream is dropped, what was sent by then is stored as stopped. Personal data is masked before anything else
    /// is done with the words; the values themselves go into the vault, passwords and codes nowhere.
    ///
    /// # Errors
    /// `Empty`, `TooLong`, `Closed`, `Busy`, and what the database reports.
    pub async fn say(self: &Arc<Self>, conversation: &Conversation, text: &str) -> Result<Replies, DialogueError> {
        if conversation.status == ConversationStatus::Closed {
            return Err(DialogueError::Closed);
        }
        self.assistant.check(text)?;
        let place = self.enter(conversation.id)?;
        let mut earlier = self.store.messages(conversation.id, HISTORY_MESSAGES).await?;
        let storable = match &self.flows {
            Some(flows) => flows.storable_message(conversation.id, text).await?,
            None => text.to_owned(),
        };
        let masked = self.masked(&mut earlier, &storable).await?;
        let message = self.message(conversation.id, Role::Visitor, &masked.text);
        // The values first: a message whose values are lost would be worse than values without their message.
        self.keep(&message, masked.found).await?;
        self.store.add_message(&message).await?;
        let (mut history, mut told) = self.past(conversation.id, earlier.len()).await?;
        told.extend(earlier.iter().map(|message| message.id));
        history.extend(earlier.iter().map(|message| Turn {
            role: message.role,
            text: message.text.clone(),
        }));
        let asked = Asked {
            question: message.id,
            history: told,
        };
        let ask = Ask {
            // A flow needs the number that it asked for; the assistant masks what it is asked itself.
            question: if self.flows.is_some() {
                text.to_owned()
            } else {
                masked.text
            },
            visitor: Some(conversation.id.to_string()),
            past_routes: earlier.iter().filter_map(|message| message.route).collect(),
            history,
            top_k: None,
            viewer: Viewer {
                channel: Some(conversation.channel.name().to_owned()),
                ..Viewer::anybody(self.clock.now())
            },
        };
        let (sender, receiver) = mpsc::channel(16);
        let this = Arc::clone(self);
        let id = conversation.id;
        self.tasks.spawn(async move {
            let turn = Arc::clone(&place.turn);
            let permit = tokio::select! {
                permit = turn.acquire() => permit,
                () = sender.closed() => return,
            };
            if permit.is_ok() {
                this.carry(id, ask, asked, &sender).await;
            }
        });
        Ok(Replies { receiver })
    }

    /// What the customer of a conversation said and heard in others, where the settings want it: as much as there is room for beside
    /// what was said here.
    async fn past(&self, id: ConversationId, said: usize) -> Result<(Vec<Turn>, Vec<MessageId>), DialogueError> {
        let room = HISTORY_MESSAGES.saturating_sub(u32::try_from(said).unwrap_or(u32::MAX));
        let wanted = self.past_messages.min(room);
        if wanted == 0 {
            return Ok(Default::default());
        }
        let Some(customer) = self.store.conversation_customer(id).await? else {
            return Ok(Default::default());
        };
        let past = self.store.past_messages(customer, id, wanted).await?;
        let turns = past.into_iter().map(|past| {
            let turn = Turn {
                role: past.role,
                text: past.text,
            };
            (turn, past.id)
        });
        Ok(turns.unzip())
    }

    /// What a visitor wrote, masked with what was said before in mind. Where a value began in the message before, that is masked
    /// too, in the store and in `earlier`.
    async fn masked(&self, earlier: &mut [Message], text: &str) -> Result<Masked, DialogueError> {
        let last = earlier.iter().rposition(|message| message.role == Role::Visitor);
        let asked = earlier.iter().rfind(|message| message.role != Role::Visitor);
        let said = last.map_or("", |last| earlier[last].text.as_str());
        let asked = asked.map_or("", |message| message.text.as_str());
        let masked = self.assistant.masker().mask_after(said, asked, text);
        if let (Some(last), 1..) = (last, masked.reaches_back) {
            let message = &mut earlier[last];
            message.text = without_end(&message.text, masked.reaches_back);
            self.store.remask_message(message.id, &message.text).await?;
        }
        Ok(masked)
    }

    /// Seals the clear values of a message.
    async fn keep(&self, message: &Message, found: Vec<Finding>) -> Result<(), DialogueError> {
        let Some(vault) = &self.vault else { return Ok(()) };
        let values = found.into_iter().filter_map(|finding| {
            Some(NewValue {
                message_id: message.id,
                kind: finding.kind.name(),
                place: u32::try_from(finding.masked_span.start).ok()?..u32::try_from(finding.masked_span.end).ok()?,
                value: Hidden(finding.clear?.expose().to_owned()),
            })
        });
        let values = values.collect();
        vault
            .keep(self.store.as_ref(), message.conversation_id, values, message.created_at)
            .await?;
        Ok(())
    }

    /// The values of a conversation that the vault keeps, still sealed.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn kept_values(&self, id: ConversationId) -> Result<Vec<SealedValue>, DialogueError> {
        Ok(self.store.vault_values(id, TRANSCRIPT_MESSAGES).await?)
    }

    /// A value in the clear, with its kind, for somebody named `actor` with a `reason`; both are in the audit log before the value
    /// is out. `None` if there is no such value.
    ///
    /// # Errors
    /// A value that the key file does not open; what the database reports.
    pub async fn reveal(
        &self,
        id: ConversationId,
        value: VaultId,
        actor: &str,
        reason: &str,
    ) -> Result<Option<(Kind, Hidden<String>)>, DialogueError> {
        let Some(vault) = &self.vault else { return Ok(None) };
        let Some((kind, clear)) = vault.reveal(self.store.as_ref(), id, value).await? else {
            return Ok(None);
        };
        let record = AuditRecord {
            at: self.clock.now(),
            actor: actor.to_owned(),
            action: "personal_data.reveal".to_owned(),
            object: format!("conversation:{id}"),
            // The reason is a person's words: what it tells of others is masked like everything else.
            detail: serde_json::json!({
                "value": value.to_string(), "kind": kind, "reason": self.assistant.masker().mask(reason).text,
            }),
        };
        self.store.append_audit(&record).await?;
        Ok(Kind::from_name(&kind).map(|kind| (kind, clear)))
    }

    /// Passes a reply on to its reader and stores it.
    async fn carry(&self, id: ConversationId, ask: Ask, asked: Asked, reader: &mpsc::Sender<ReplyEvent>) {
        let began = Instant::now();
        let language = Language::detect(&ask.question);
        let mut record = Self::record(&ask, asked);
        let mut message = self.message(id, Role::Assistant, "");
        let mut events = match self.begin(id, ask, message.id).await {
            Ok(events) => events,
            Err(error) => return self.fail(id, &error, language, reader).await,
        };
        let mut complete = None;
        let mut failed = false;
        let mut handed_over = None;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = reader.closed() => { message.stopped = true; None }
            };
            let Some(mut event) = event else { break };
            match &mut event {
                ReplyEvent::Route { route, confidence, .. } => {
                    message.route = Some(*route);
                    message.confidence = Some(*confidence);
                }
                ReplyEvent::Citation(citation) => {
                    message.kb_version = Some(citation.kb_version);
                    message.citations.push(citation.clone());
                }
                ReplyEvent::Token { text } => message.text.push_str(text),
                ReplyEvent::Handoff { position, reason } => match self.wait_for_person(id).await {
                    Ok(waiting) => {
                        *position = waiting;
                        handed_over = Some(*reason);
                    }
                    Err(error) => return self.fail(id, &error, language, reader).await,
                },
                ReplyEvent::Done(done) => {
                    done.message_id = message.id;
                    message.kb_version = Some(done.kb_version);
                    message.model.clone_from(&done.model);
                    record.basis = *std::mem::take(&mut done.basis);
                    complete = Some(event);
                    break;
                }
                ReplyEvent::Error { code, message: told } => {
                    failed = true;
                    if self.hands_over_after(code) {
                        self.hand_over_failure(id, language, told, reader).await;
                    }
                }
                ReplyEvent::Queue { .. } => {}
            }
            if reader.send(event).await.is_err() {
                message.stopped = true;
                break;
            }
        }
        drop(events);
        message.total_ms = u64::try_from(began.elapsed().as_millis()).ok();
        message.stopped |= failed;
        if message.route == Some(Route::Flow) {
            // A flow says what it was told again, to have it confirmed.
            message.text = self.assistant.masker().mask(&message.text).text;
        }
        if message.text.is_empty() && complete.is_none() {
            return;
        }
        // Stored before the reader hears that the reply is complete: what was acknowledged is never lost.
        let environment = self.assistant.environment();
        if let Err(error) = self.store.add_reply(&message, &record, environment).await {
            return self.fail(id, &error.into(), language, reader).await;
        }
        if let Some(reason) = handed_over {
            self.tell_person(id, reason).await;
        }
        if let Some(done) = complete {
            let _ = reader.send(done).await;
        }
    }

    /// How a reply to `ask` comes to be, as far as it is known before it begins.
    fn record(ask: &Ask, asked: Asked) -> ReplyRecord {
        ReplyRecord {
            question: asked.question,
            history: asked.history,
            past_routes: ask.past_routes.clone(),
            channel: ask.viewer.channel.clone(),
            audiences: ask.viewer.audiences.clone(),
            asked_at: ask.viewer.now,
            basis: Basis::default(),
        }
    }

    /// Whether a person is called after a failure of that name: what is only busy, or the customer's own doing, passes.
    fn hands_over_after(&self, code: &str) -> bool {
        self.assistant.config.handoff_on_failure && matches!(code, "internal" | "deadline")
    }

    /// Calls a person because something failed. `told` becomes what the customer is told; nothing changes where that fails too.
    async fn hand_over_failure(
        &self,
        id: ConversationId,
        language: Language,
        told: &mut String,
        reader: &mpsc::Sender<ReplyEvent>,
    ) {
        let reason = "failure";
        match self.call_person(id, reason, language).await {
            Ok(position) => {
                replies::handoff_reply(reason, language).clone_into(told);
                let _ = reader.send(ReplyEvent::Handoff { reason, position }).await;
            }
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "no person could be called"),
        }
    }

    /// Has a conversation wait for a person, says so in it, and tells that person what happened.
    async fn call_person(
        &self,
        id: ConversationId,
        reason: &'static str,
        language: Language,
    ) -> Result<u64, DialogueError> {
        let position = self.wait_for_person(id).await?;
        let mut notice = self.message(id, Role::System, replies::handoff_reply(reason, language));
        notice.route = Some(Route::Handoff);
        self.store.add_message(&notice).await?;
        self.tell_person(id, reason).await;
        Ok(position)
    }

    /// Stores what the person who takes over is told. That person can read the conversation itself, so a failure is only logged.
    async fn tell_person(&self, id: ConversationId, reason: &str) {
        if let Err(error) = self.add_handoff(id, reason).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the summary for a person is missing"
            );
        }
    }

    async fn add_handoff(&self, id: ConversationId, reason: &str) -> Result<(), DialogueError> {
        let messages = self.store.messages(id, TRANSCRIPT_MESSAGES).await?;
        let tasks = match &self.flows {
            Some(flows) => flows.gathered(id).await?,
            None => Vec::new(),
        };
        let kept = self.store.vault_values(id, TRANSCRIPT_MESSAGES).await?;
        let summary = summarise(Parts {
            reason,
            messages: &messages,
            tasks,
            mood: None,
            personal_data: kept.into_iter().map(|value| value.kind).collect(),
            masker: self.assistant.masker(),
        });
        let handoff = Handoff {
            id: HandoffId::new(),
            conversation_id: id,
            at: self.clock.now(),
            summary,
        };
        Ok(self.store.add_handoff(&handoff).await?)
    }

    /// The reply of a flow, where the message is for one, else of the assistant.
    async fn begin(&self, id: ConversationId, ask: Ask, message: MessageId) -> Result<Replies, DialogueError> {
        if let Some(flows) = &self.flows
            && let Some(turn) = flows.turn(id, &ask).await?
        {
            return Ok(flows.reply(ask, turn, message));
        }
        self.assistant.reply(ask)
    }

    async fn fail(
        &self,
        id: ConversationId,
        error: &DialogueError,
        language: Language,
        reader: &mpsc::Sender<ReplyEvent>,
    ) {
        tracing::error!(error = error as &dyn std::error::Error, "a reply could not be kept");
        let mut message = replies::failure_reply(language).to_owned();
        let code = super::assistant::code_of(error);
        if self.hands_over_after(code) {
            self.hand_over_failure(id, language, &mut message, reader).await;
        }
        let _ = reader.send(ReplyEvent::Error { code, message }).await;
    }

    /// Rates one reply, or the whole conversation; `false` if there is no such reply in this conversation.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn rate(
        &self,
        id: ConversationId,
        message: Option<MessageId>,
        score: u8,
        comment: &str,
    ) -> Result<bool, DialogueError> {
        let now = self.clock.now();
        let comment = &self.assistant.masker().mask(comment).text;
        Ok(match message {
            Some(message) => self.store.rate_message(id, message, score, comment, now).await?,
            None => self.store.rate_conversation(id, score, comment, now).await?,
        })
    }

    /// Calls a person to a conversation.
    ///
    /// # Errors
    /// `Closed`, and what the database reports.
    pub async fn handoff(
        &self,
        conversation: &Conversation,
        language: Language,
    ) -> Result<HandoffTicket, DialogueError> {
        if conversation.status == ConversationStatus::Closed {
            return Err(DialogueError::Closed);
        }
        let message = replies::handoff_reply("requested", language);
        let position = self.call_person(conversation.id, "requested", language).await?;
        Ok(HandoffTicket { position, message })
    }

    /// Ends a conversation.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn close(&self, id: ConversationId) -> Result<(), DialogueError> {
        self.store
            .set_conversation_status(id, ConversationStatus::Closed, self.clock.now())
            .await?;
        Ok(())
    }

    async fn wait_for_person(&self, id: ConversationId) -> Result<u64, DialogueError> {
        self.store
            .set_conversation_status(id, ConversationStatus::Waiting, self.clock.now())
            .await?;
        Ok(self.store.waiting_position(id).await?)
    }

    fn message(&self, conversation_id: ConversationId, role: Role, text: &str) -> Message {
        Message {
            id: MessageId::new(),
            conversation_id,
            role,
            text: text.to_owned(),
            route: None,
            confidence: None,
            citations: Vec::new(),
            kb_version: None,
            model: None,
            total_ms: None,
            stopped: false,
            rating: None,
            created_at: self.clock.now(),
        }
    }

    /// Takes a place among the replies of a conversation, given back when the place is dropped.
    fn enter(self: &Arc<Self>, id: ConversationId) -> Result<Place, DialogueError> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(id).or_insert_with(|| Lane {
            turn: Arc::new(Semaphore::new(1)),
            inside: 0,
        });
        if lane.inside >= self.replies_per_visitor {
            return Err(DialogueError::Busy {
                retry_after: Duration::from_secs(2),
            });
        }
        lane.inside += 1;
        Ok(Place {
            conversations: Arc::clone(self),
            id,
            turn: Arc::clone(&lane.turn),
        })
    }
}

/// A text with stars in the place of its last characters.
fn without_end(text: &str, chars: usize) -> String {
    let end = text
        .char_indices()
        .rev()
        .nth(chars.saturating_sub(1))
        .map_or(0, |(byte, _)| byte);
    format!("{}***", &text[..end])
}

/// A place among the replies of a conversation.
struct Place {
    conversations: Arc<Conversations>,
    id: ConversationId,
    turn: Arc<Semaphore>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lanes = self.conversations.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get_mut(&self.id) {
            lane.inside -= 1;
            if lane.inside == 0 {
                lanes.remove(&self.id);
            }
        }
    }
}
