//! Performs task flows: what a message begins or continues, the calls of tools, what is said, and what is stored.

use super::flow::machine::{Effect, End, Input, Phase, Reason, State, ToolFault, step};
use super::flow::slots::{Heard, codes, without_codes};
use super::flow::tools::Tool;
use super::flow::{self, Flow, Similarity, Trace, Triggered, Triggers, storable};
use super::{Ask, Assistant, DialogueError, Done, Replies, ReplyEvent, Timings, TokenUsage, replies};
use crate::domain::{Basis, Clock, ConversationId, Gathered, Language, MessageId, Route};
use crate::storage::{FlowTurn, StorageError, Store, Vault, VaultError};
use crate::understanding::wants_person;
use futures::StreamExt;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;

/// What the vault calls what a conversation's flows hold.
const SESSION: &str = "flow session";
/// Calls of tools that one message may cause.
const MAX_CALLS: usize = 8;
/// Flows that wait while another one is under way.
const MAX_WAITING: usize = 2;
/// Confidence from which on a message within a flow begins another one.
const SURE: f32 = 0.9;
/// How likely an intent must be to begin its flow: a flow that nobody asked for is worse than one that is asked for again.
const INTENDED: f32 = 0.8;
/// How long wrong one-time codes count for the next flow of a conversation, in seconds.
const WRONG_CODES_SECONDS: i64 = 900;

/// What flows a conversation has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Session {
    /// The one under way.
    active: Option<State>,
    /// Those that wait, the last one to go on first.
    waiting: Vec<State>,
    /// Wrong one-time codes, and when the last one was given.
    wrong_codes: u8,
    wrong_at: Option<Timestamp>,
    /// What was gathered for the person who takes over.
    handoff: Option<String>,
    /// The same, part by part.
    #[serde(default)]
    gathered: Vec<Gathered>,
}

/// A message that is for a flow.
pub(super) struct Turn {
    conversation: ConversationId,
    session: Session,
    revision: u64,
    /// The flow that it begins; without one it is for the flow under way.
    begins: Option<Triggered>,
}

/// What flows are made of.
pub struct FlowParts {
    /// The flows.
    pub flows: Vec<Flow>,
    /// What they call, by name.
    pub tools: HashMap<String, Arc<dyn Tool>>,
    /// What sees meaning in messages, with the cosine from which on a flow begins; `None` for wordings alone.
    pub similarity: Option<(Arc<dyn Similarity>, f32)>,
    /// The customers' clock.
    pub zone: TimeZone,
    /// Seals what flows hold: it is what customers gave of themselves.
    pub vault: Arc<Vault>,
}

/// Tools that flows call and the settings do not name.
#[derive(Debug, thiserror::Error)]
#[error("{}: name them in the settings", .0.join("; "))]
pub struct MissingTools(pub Vec<String>);

/// Runs flows in conversations.
pub struct FlowDriver {
    parts: FlowParts,
    triggers: Triggers,
    assistant: Arc<Assistant>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl FlowDriver {
    /// Runs these flows.
    ///
    /// # Errors
    /// Tools that flows call and the settings do not name, all of them.
    pub fn new(
        parts: FlowParts,
        assistant: Arc<Assistant>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, MissingTools> {
        let mut missing: Vec<String> = parts
            .flows
            .iter()
            .flat_map(|flow| flow.tools().map(move |tool| (flow, tool)))
            .filter(|(_, tool)| !parts.tools.contains_key(*tool))
            .map(|(flow, tool)| format!("the flow {} calls {tool}, and there is no [tools.{tool}]", flow.name))
            .collect();
        missing.sort();
        missing.dedup();
        if !missing.is_empty() {
            return Err(MissingTools(missing));
        }
        Ok(Self {
            triggers: Triggers::new(&parts.flows),
            parts,
            assistant,
            store,
            clock,
        })
    }

    fn flow(&self, name: &str) -> Option<&Flow> {
        self.parts.flows.iter().find(|flow| flow.name == name)
    }

    fn now(&self) -> DateTime {
        self.clock.now().to_zoned(self.parts.zone.clone()).datetime()
    }

    async fn session(&self, id: ConversationId) -> Result<(Session, u64), DialogueError> {
        let Some(stored) = self.store.flow_session(id).await? else {
            return Ok((Session::default(), 0));
        };
        let clear = match self
            .parts
            .vault
            .open_text(self.store.as_ref(), id, SESSION, &stored.state)
            .await
        {
            Ok(clear) => clear.0,
            // The key is gone, as it is when a customer is erased: the customer begins anew.
            Err(VaultError::Sealed) => String::from("{}"),
            Err(error) => return Err(error.into()),
        };
        let session = serde_json::from_str(&clear).unwrap_or_else(|error| {
            // Written by another version: the customer begins anew.
            tracing::warn!(conversation.id = %id, %error, "the flow of a conversation cannot be read");
            Session::default()
        });
        Ok((session, stored.revision))
    }

    /// A message as it may be stored: where a one-time code is waited for, its digits become zeros.
    pub(super) async fn storable_message(&self, id: ConversationId, text: &str) -> Result<String, DialogueError> {
        let holds_code = !codes(&Heard::new(text)).is_empty();
        if !holds_code {
            return Ok(text.to_owned());
        }
        let named = ["验证码", "驗證碼", "动态码", "校验码", "one-time", "code"]
            .iter()
            .any(|word| text.to_lowercase().contains(word));
        let (session, _) = self.session(id).await?;
        let of_codes = session
            .active
            .iter()
            .chain(&session.waiting)
            .filter_map(|state| Some((state, self.flow(&state.flow)?.code_slot()?)));
        // Other messages keep their digits: an order number or the last four of a card are no codes.
        let awaited = of_codes.into_iter().any(|(state, slot)| {
            let calling = matches!(state.phase, Phase::Calling { .. } | Phase::Retrying { .. });
            named || calling || state.asking() == Some(slot.name.as_str())
        });
        Ok(if awaited { without_codes(text) } else { text.to_owned() })
    }

    /// Whether a message is for a flow, under way or to begin.
    pub(super) async fn turn(&self, id: ConversationId, ask: &Ask) -> Result<Option<Turn>, DialogueError> {
        let text = &ask.question;
        let (mut session, revision) = self.session(id).await?;
        let now = self.now();
        let expired = |state: &State| {
            let minutes = self.flow(&state.flow).map_or(0, |flow| flow.expires_minutes);
            state.end().is_some() || now.duration_since(state.touched).as_secs() > i64::from(minutes) * 60
        };
        session.waiting.retain(|state| !expired(state));
        if session.active.as_ref().is_some_and(expired) {
            session.active = None;
        }
        if wants_person(text) {
            // The wish for a person is honoured by the assistant; what was gathered is kept for that person.
            if let Some(state) = session.active.take() {
                session.handoff = self.flow(&state.flow).map(|flow| state.summary(flow));
                session.gathered = self.gathered_of(std::iter::once(&state).chain(&session.waiting));
                session.waiting.clear();
                self.save(id, &session, revision, None).await?;
            }
            return Ok(None);
        }
        let triggered = self.triggers.by_wording(text);
        let turn = |session, begins| Turn {
            conversation: id,
            session,
            revision,
            begins,
        };
        if let Some(state) = &session.active {
            let other = triggered.filter(|triggered| {
                let name = &self.parts.flows[triggered.flow].name;
                triggered.confidence >= SURE
                    && *name != state.flow
                    && session.waiting.iter().all(|waiting| waiting.flow != *name)
            });
            return Ok(Some(turn(session, other)));
        }
        // An approved answer to just this question comes before a wording that is only near.
        let exact = self.assistant.retriever().exact_faq(text, &ask.viewer).is_some();
        let triggered = match triggered {
            Some(triggered) if triggered.confidence >= 1.0 || !exact => Some(triggered),
            None if !exact => {
                // Slots are filled from the words themselves; what models see, and keep for a while, is masked.
                let masked = self.assistant.masked(ask.clone()).0.question;
                match (self.by_intent(&masked).await, &self.parts.similarity) {
                    (Some(triggered), _) => Some(triggered),
                    (None, Some((similarity, threshold))) => {
                        (self.triggers.by_meaning(&masked, similarity.as_ref(), *threshold)).await
                    }
                    (None, None) => None,
                }
            }
            _ => None,
        };
        Ok(triggered.map(|triggered| turn(session, Some(triggered))))
    }

    /// The flow whose intent a message has, where intents are known.
    async fn by_intent(&self, text: &str) -> Option<Triggered> {
        if self.parts.flows.iter().all(|flow| flow.intents.is_empty()) {
            return None;
        }
        let intent = self.assistant.senses()?.intent(text).await;
        let intent = intent
            .inspect_err(|error| tracing::warn!(%error, "flows begin without looking at intents"))
            .ok()??;
        let name = intent.name.filter(|_| intent.confidence >= INTENDED)?;
        Triggers::by_intent(&self.parts.flows, text, &name, intent.confidence)
    }

    /// Begins a reply to a message that is for a flow. `message` is the id under which it will be stored.
    pub(super) fn reply(self: &Arc<Self>, ask: Ask, turn: Turn, message: MessageId) -> Replies {
        let (sender, receiver) = mpsc::channel(16);
        let driver = Arc::clone(self);
        tokio::spawn(async move {
            let language = Language::detect(&ask.question);
            let mut speaker = Speaker {
                sender,
                began: Instant::now(),
                timings: Timings::default(),
                spoke: false,
                usage: TokenUsage::default(),
                model: None,
            };
            if let Err(error) = driver.run(&ask, turn, message, &mut speaker).await {
                tracing::error!(error = &error as &dyn std::error::Error, "a step of a flow failed");
                speaker
                    .send(ReplyEvent::Error {
                        code: super::assistant::code_of(&error),
                        message: replies::failure_reply(language).to_owned(),
                    })
                    .await;
            }
        });
        Replies { receiver }
    }

    async fn run(&self, ask: &Ask, turn: Turn, message: MessageId, speaker: &mut Speaker) -> Result<(), DialogueError> {
        let Turn {
            conversation,
            mut session,
            revision,
            begins,
        } = turn;
        let confidence = begins.map_or(1.0, |triggered| triggered.confidence);
        speaker.timings.understand = speaker.elapsed();
        speaker
            .send(ReplyEvent::Route {
                route: Route::Flow,
                confidence,
                sensed: Box::default(),
            })
            .await;
        let mut input = Input::User(ask.question.clone());
        if let Some(triggered) = begins {
            self.begin(&mut session, &self.parts.flows[triggered.flow], &ask.question);
            input = Input::Start(ask.question.clone());
        }
        let mut traces = Vec::new();
        while let Some(state) = session.active.take() {
            let Some(flow) = self.flow(&state.flow) else { break };
            let (state, trace) = self.perform(flow, state, input, ask, speaker, &mut session).await;
            traces.push(trace);
            if state.end().is_none() {
                session.active = Some(state);
                break;
            }
            if state.code.wrong > 0 {
                session.wrong_codes = state.code.wrong;
                session.wrong_at = Some(self.clock.now());
            }
            if state.end() == Some(End::Handoff) {
                session.waiting.clear();
                break;
            }
            // The one that waited goes on.
            session.active = session.waiting.pop();
            input = Input::Remind;
        }
        let trace = serde_json::to_string(&traces).map_err(|error| unreadable(&error))?;
        self.save(conversation, &session, revision, Some((message, trace)))
            .await?;
        speaker.done(message, &self.assistant).await;
        Ok(())
    }

    /// Lets a flow begin; the one under way waits.
    fn begin(&self, session: &mut Session, flow: &Flow, question: &str) {
        if let Some(active) = session.active.take() {
            if session.waiting.len() >= MAX_WAITING {
                session.waiting.remove(0);
            }
            session.waiting.push(active);
        }
        let counts = session
            .wrong_at
            .is_some_and(|at| self.clock.now().duration_since(at).as_secs() < WRONG_CODES_SECONDS);
        let wrong = if counts { session.wrong_codes } else { 0 };
        session.handoff = None;
        session.gathered.clear();
        let instance = uuid::Uuid::now_v7().to_string();
        session.active = Some(State::begin(
            flow,
            instance,
            Language::detect(question),
            self.now(),
            wrong,
        ));
    }

    /// Steps through a flow until it waits for the customer, and does what it wants done.
    async fn perform(
        &self,
        flow: &Flow,
        mut state: State,
        mut input: Input,
        ask: &Ask,
        speaker: &mut Speaker,
        session: &mut Session,
    ) -> (State, Trace) {
        let now = self.now();
        let mut trace = Trace {
            before: state.clone(),
            now,
            steps: Vec::new(),
        };
        for _ in 0..MAX_CALLS {
            let (next, effects) = step(flow, state, now, &input);
            state = next;
            trace.steps.push(storable(flow, &input, &effects));
            let mut called = None;
            for effect in effects {
                match effect {
                    Effect::Say { text } | Effect::AskAgain { text } => speaker.say(&text).await,
                    Effect::Digress { question } => self.digress(ask, question, speaker).await,
                    Effect::CallTool {
                        tool,
                        args,
                        idempotency_key,
                    } => called = Some(self.call(&tool, &args, &idempotency_key).await),
                    Effect::Handoff { reason, summary } => {
                        session.handoff = Some(summary);
                        let mut gathered = state.gathered(flow);
                        let missing = trace.before.asking().and_then(|name| flow.slot(name));
                        gathered.missing = missing.map(|slot| slot.label.get(state.language).to_owned());
                        let waiting = self.gathered_of(&session.waiting);
                        session.gathered = std::iter::once(gathered).chain(waiting).collect();
                        speaker.hand_off(reason, state.language).await;
                    }
                    Effect::Done { end } => tracing::info!(flow = flow.name, ?end, "a flow ended"),
                }
            }
            match called {
                Some(result) => input = Input::Tool(result),
                None => break,
            }
        }
        (state, trace)
    }

    async fn call(&self, tool: &str, args: &serde_json::Value, key: &str) -> Result<serde_json::Value, ToolFault> {
        // Which tools there are was looked at when the flows were read.
        let Some(tool) = self.parts.tools.get(tool) else {
            return Err(ToolFault::Refused);
        };
        let began = Instant::now();
        let result = tool.call(args, key, began + tool.timeout()).await;
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &result {
            Ok(_) => tracing::info!(tool = tool.name(), ms, "a tool answered"),
            Err(error) => tracing::warn!(tool = tool.name(), ms, %error, "a tool failed"),
        }
        result.map_err(|error| error.fault())
    }

    /// Has the assistant answer a question from beside the flow.
    async fn digress(&self, ask: &Ask, question: String, speaker: &mut Speaker) {
        let language = Language::detect(&question);
        let ask = Ask {
            question,
            ..ask.clone()
        };
        let Ok(mut events) = self.assistant.reply(ask) else {
            return speaker.say(replies::failure_reply(language)).await;
        };
        speaker.part().await;
        while let Some(event) = events.next().await {
            match event {
                event @ (ReplyEvent::Citation(_)
                | ReplyEvent::Token { .. }
                | ReplyEvent::Queue { .. }
                | ReplyEvent::Handoff { .. }) => {
                    speaker.send(event).await;
                }
                ReplyEvent::Done(done) => {
                    speaker.usage = done.usage;
                    speaker.model = done.model;
                    speaker.timings.retrieve = done.timings.retrieve;
                    break;
                }
                ReplyEvent::Error { message, .. } => {
                    speaker.say(&message).await;
                    break;
                }
                ReplyEvent::Route { .. } => {}
            }
        }
    }

    async fn save(
        &self,
        id: ConversationId,
        session: &Session,
        revision: u64,
        turn: Option<(MessageId, String)>,
    ) -> Result<(), DialogueError> {
        let now = self.clock.now();
        let (store, vault) = (self.store.as_ref(), &self.parts.vault);
        let state = serde_json::to_string(session).map_err(|error| unreadable(&error))?;
        let state = vault.seal_text(store, id, SESSION, &state, now).await?;
        let turn = match turn {
            Some((message_id, trace)) => Some(FlowTurn {
                message_id,
                trace: vault
                    .seal_text(store, id, &message_id.0.to_string(), &trace, now)
                    .await?,
            }),
            None => None,
        };
        store.put_flow_session(id, revision, &state, turn.as_ref(), now).await?;
        Ok(())
    }

    fn gathered_of<'s>(&self, states: impl IntoIterator<Item = &'s State>) -> Vec<Gathered> {
        let gathered = |state: &State| Some(state.gathered(self.flow(&state.flow)?));
        states.into_iter().filter_map(gathered).collect()
    }

    /// What flows gathered in a conversation, for the person who takes over: of those under way, else of those that were handed over.
    ///
    /// # Errors
    /// What the database and the vault report.
    pub async fn gathered(&self, id: ConversationId) -> Result<Vec<Gathered>, DialogueError> {
        let (session, _) = self.session(id).await?;
        let present = self.gathered_of(session.active.iter().chain(&session.waiting));
        Ok(if present.is_empty() { session.gathered } else { present })
    }

    /// Computes a reply of a flow again: what differs; `None` where no trace is kept.
    ///
    /// # Errors
    /// What the database and the vault report; `Vault` with `Sealed` where the key was erased.
    pub async fn replay(
        &self,
        id: ConversationId,
        message: MessageId,
    ) -> Result<Option<Vec<flow::Difference>>, DialogueError> {
        let Some(traces) = self.traces(id, message).await? else {
            return Ok(None);
        };
        let differs = |trace: &Trace| match self.flow(&trace.before.flow) {
            Some(flow) => flow::replay(flow, trace).err(),
            None => Some(flow::Difference::Changed {
                flow: trace.before.flow.clone(),
                was: trace.before.digest.clone(),
            }),
        };
        Ok(Some(traces.iter().filter_map(differs).collect()))
    }

    /// How a reply of a conversation came to be, where a flow gave it: for [`super::flow::replay`].
    ///
    /// # Errors
    /// What the database and the vault report.
    pub async fn traces(&self, id: ConversationId, message: MessageId) -> Result<Option<Vec<Trace>>, DialogueError> {
        let Some(turn) = self.store.flow_turn(message).await? else {
            return Ok(None);
        };
        let place = message.0.to_string();
        let clear = self
            .parts
            .vault
            .open_text(self.store.as_ref(), id, &place, &turn.trace)
            .await?;
        serde_json::from_str(&clear.0)
            .map(Some)
            .map_err(|error| unreadable(&error))
    }
}

fn unreadable(error: &serde_json::Error) -> DialogueError {
    DialogueError::Storage(StorageError::Invalid {
        table: "flow_turns",
        detail: error.to_string(),
    })
}

/// Where words go. A reader that is gone stops nothing: what was begun in an inner system is brought to its end.
struct Speaker {
    sender: mpsc::Sender<ReplyEvent>,
    began: Instant,
    timings: Timings,
    spoke: bool,
    usage: TokenUsage,
    model: Option<String>,
}

impl Speaker {
    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn send(&mut self, event: ReplyEvent) {
        if matches!(event, ReplyEvent::Token { .. }) && !self.spoke {
            self.spoke = true;
            self.timings.first_token = self.elapsed();
        }
        let _ = self.sender.send(event).await;
    }

    /// What follows begins on a line of its own.
    async fn part(&mut self) {
        if self.spoke {
            self.send(ReplyEvent::Token {
                text: "\n\n".to_owned(),
            })
            .await;
        }
    }

    async fn say(&mut self, text: &str) {
        self.part().await;
        self.send(ReplyEvent::Token { text: text.to_owned() }).await;
    }

    async fn hand_off(&mut self, reason: Reason, language: Language) {
        let reason = match reason {
            Reason::ToolFailed => "failure",
            Reason::NotUnderstood | Reason::Result | Reason::WrongCode => "unresolved",
        };
        self.send(ReplyEvent::Handoff { reason, position: 0 }).await;
        self.say(replies::handoff_reply(reason, language)).await;
    }

    async fn done(&mut self, message_id: MessageId, assistant: &Assistant) {
        self.timings.total = self.elapsed();
        let done = Done {
            message_id,
            usage: self.usage,
            timings: self.timings,
            model: self.model.take(),
            kb_version: assistant.retriever().kb_version(),
            related: Vec::new(),
            basis: Box::new(Basis {
                timings_ms: [
                    self.timings.understand,
                    self.timings.retrieve,
                    self.timings.first_token,
                    self.timings.total,
                ],
                ..Basis::default()
            }),
        };
        self.send(ReplyEvent::Done(done)).await;
    }
}
