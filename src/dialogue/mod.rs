//! Answering: decide the route, answer from approved FAQs or passages, check every sentence, keep the conversation.
//!
//! `policy` decides and does nothing else; `assistant` performs; `conversations` stores. `flow` holds task flows, and
//! `driver_flow` performs them. Nothing here knows how replies are served.

mod assistant;
mod choices;
mod confidence;
mod conversations;
mod disagree;
mod driver_flow;
mod evidence;
mod facts;
pub mod flow;
mod grounding;
mod handoff;
mod next;
mod policy;
mod prompt;
mod qualifiers;
mod quote;
mod replay;
mod replies;
mod second_reading;
mod senses;
mod sentences;
mod speaker;
mod strangers;
mod table;
mod tabled;
mod two_readers;
mod understand;
mod versions;

use crate::domain::{Basis, Citation, KbVersion, MessageId, Route, Turn, Viewer};
use crate::inference::{InferenceError, Usage};
use crate::retrieval::{Related, RetrievalError};
use crate::storage::{StorageError, VaultError};
use serde::Serialize;
use std::time::Duration;

pub use assistant::{Assistant, Replies};
pub use confidence::{
    Calibration, CalibrationError, Confidence, FAQ_FEATURES, FIRST_FEATURES, Features, FittedModel, JUDGED_FEATURES,
    PASSAGE_FEATURES, RiskPoint,
};
pub use conversations::{Conversations, HandoffTicket};
pub use driver_flow::{FlowDriver, FlowParts, MissingTools};
pub use grounding::unsupported;
pub use policy::{Decision, Thresholds};
pub use replay::{Difference, Replayed, Replayer};
pub use replies::{failure_reply, handoff_reply};
pub use senses::{Intent, IntentHead, Sensed, Senses};
pub use understand::{PersonalData, Understanding};

/// What went wrong on the way to a reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialogueError {
    /// The question is empty.
    #[error("the question is empty")]
    Empty,
    /// The question is too long.
    #[error("the question has {chars} characters, at most {limit} are answered")]
    TooLong {
        /// Its characters.
        chars: usize,
        /// The most.
        limit: usize,
    },
    /// The visitor has too many replies under way.
    #[error("a reply is under way; wait for it or stop it")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The conversation has ended.
    #[error("the conversation is closed; begin a new one")]
    Closed,
    /// A model failed.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The search failed.
    #[error(transparent)]
    Retrieval(#[from] RetrievalError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

/// A question with what was said before.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The customer's words.
    pub question: String,
    /// Earlier turns, oldest first.
    pub history: Vec<Turn>,
    /// Passages to answer from; `None` for the setting.
    pub top_k: Option<usize>,
    /// Whose question it is, where that is known: the questions of one do not hold up those of others.
    pub visitor: Option<String>,
    /// How the replies before this one came to be, oldest first: what is unresolved again and again goes to a person.
    pub past_routes: Vec<Route>,
    /// Who asks, where and when: the answer rests only on what this viewer may be told.
    pub viewer: Viewer,
}

impl Ask {
    /// A question with nothing said before.
    #[must_use]
    pub fn new(question: impl Into<String>, viewer: Viewer) -> Self {
        Self {
            question: question.into(),
            history: Vec::new(),
            top_k: None,
            visitor: None,
            past_routes: Vec::new(),
            viewer,
        }
    }
}

/// How long the parts of a reply took, in milliseconds from the question's arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Timings {
    /// Understanding.
    pub understand: u64,
    /// Searching, the embedding of the question included.
    pub retrieve: u64,
    /// Until the first words were sent.
    pub first_token: u64,
    /// Until the end.
    pub total: u64,
}

/// The costs of a reply in tokens, under the names that OpenAI's clients know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TokenUsage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens written.
    pub completion_tokens: usize,
    /// Both.
    pub total_tokens: usize,
    /// Prompt tokens that were not computed again.
    pub cached_tokens: usize,
}

impl From<Usage> for TokenUsage {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
            cached_tokens: usage.cached_tokens,
        }
    }
}

/// What happens during a reply. The set is closed: clients ignore nothing and need nothing else.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplyEvent {
    /// How it will be answered; comes once, first.
    Route {
        /// The route.
        route: Route,
        /// How sure, 0 to 1.
        confidence: f32,
        /// What was sensed of the question; nothing where that was not needed.
        sensed: Box<Sensed>,
    },
    /// A source of the words that follow.
    Citation(Citation),
    /// The next words: checked against their sources.
    Token {
        /// The words.
        text: String,
    },
    /// Waiting for the language model.
    Queue {
        /// Requests served first.
        position: usize,
    },
    /// A person takes over.
    Handoff {
        /// Why: `requested`, `unresolved`, `emotion`, `risk` or `failure`.
        reason: &'static str,
        /// How many wait before; 0 where it is not known.
        position: u64,
    },
    /// The end.
    Done(Done),
    /// The reply failed; nothing follows.
    Error {
        /// A stable name.
        code: &'static str,
        /// What to tell the customer.
        message: String,
    },
}

/// How a reply ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// The message as it is stored (a fresh id where nothing is stored).
    pub message_id: MessageId,
    /// Tokens.
    pub usage: TokenUsage,
    /// Milliseconds.
    pub timings: Timings,
    /// The language model that wrote it; `None` where no model wrote.
    pub model: Option<String>,
    /// The knowledge base that was asked.
    pub kb_version: KbVersion,
    /// What one may ask next; after an answer at most three, where there is something to choose from one for each.
    pub related: Vec<Related>,
    /// What was understood and found.
    pub basis: Box<Basis>,
}
