//! Customers, what a person who takes over is told, and how long things are kept.

use super::{ConversationId, CustomerId, HandoffId, IdentityId, Language, MessageId, Role, Route};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Somebody who writes, on one channel or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Customer {
    /// Its identifier.
    pub id: CustomerId,
    /// The name, masked; may be empty.
    pub shown: String,
    /// What is known in the clear, sealed with the customer's key; empty where nothing is.
    pub sealed: String,
    /// The customer that this one turned out to be; `None` for one of its own.
    pub merged_into: Option<CustomerId>,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// An address of a customer on a channel: an account, a telephone number, an open id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its identifier.
    pub id: IdentityId,
    /// Whose it is.
    pub customer_id: CustomerId,
    /// The channel's name.
    pub channel: String,
    /// A keyed hash of channel and address: it can be looked up and not be read.
    pub lookup: [u8; 32],
    /// The address, masked.
    pub shown: String,
    /// The address in the clear, sealed with the customer's key; empty where no vault keeps it.
    pub sealed: String,
    /// When it was added.
    pub created_at: Timestamp,
}

/// A call for a person, with what that person is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Handoff {
    /// Its identifier.
    pub id: HandoffId,
    /// The conversation.
    pub conversation_id: ConversationId,
    /// When.
    pub at: Timestamp,
    /// What that person is told.
    pub summary: HandoffSummary,
}

/// What a person who takes over is told, put together from what is stored; no model writes any of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandoffSummary {
    /// Why: `requested`, `unresolved` or `failure`.
    pub reason: String,
    /// The customer's language.
    pub language: Language,
    /// What the customer wrote, masked, oldest first: the first message and the newest.
    pub asked: Vec<String>,
    /// Messages of the customer in all.
    pub messages: usize,
    /// What was tried, oldest first.
    pub tried: Vec<Tried>,
    /// What task flows gathered, masked.
    pub tasks: Vec<Gathered>,
    /// How the customer feels, where that is known.
    #[serde(default)]
    pub mood: Option<String>,
    /// Kinds of personal data that the vault keeps of this conversation, each once.
    #[serde(default)]
    pub personal_data: Vec<String>,
    /// All of it in words.
    pub text: String,
}

/// A reply that was given before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// What was asked, masked.
    pub question: String,
    /// How it was answered.
    pub route: Route,
    /// How sure that was.
    pub confidence: Option<f32>,
    /// Titles of what the answer cites, each once.
    pub sources: Vec<String>,
    /// The customer's rating.
    pub rating: Option<u8>,
    /// It failed or was stopped.
    pub stopped: bool,
}

/// What a task flow gathered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gathered {
    /// The task.
    pub task: String,
    /// What the customer gave, masked: name and value.
    pub facts: Vec<(String, String)>,
    /// What was asked for last and is missing.
    pub missing: Option<String>,
    /// Calls of inner systems that were done.
    pub done: Vec<String>,
}

/// One message of another conversation of the same customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastMessage {
    /// Its identifier.
    pub id: MessageId,
    /// Where it was said.
    pub conversation_id: ConversationId,
    /// Who said it.
    pub role: Role,
    /// The words, masked.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Whole conversations.
    pub conversations: u64,
    /// Messages, those of whole conversations among them.
    pub messages: u64,
    /// How replies came to be, those of removed messages not counted.
    pub traces: u64,
    /// Keys of the vault.
    pub vault_keys: u64,
    /// Examples of knowledge gaps and suggested FAQs.
    pub examples: u64,
}

impl Removed {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            conversations: self.conversations + other.conversations,
            messages: self.messages + other.messages,
            traces: self.traces + other.traces,
            vault_keys: self.vault_keys + other.vault_keys,
            examples: self.examples + other.examples,
        }
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// Before which moments things are removed; `None` keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cutoffs {
    /// Conversations in which nothing was said since, unless they wait for a person.
    pub conversations: Option<Timestamp>,
    /// Messages, also of conversations that go on.
    pub messages: Option<Timestamp>,
    /// How replies came to be.
    pub traces: Option<Timestamp>,
}
