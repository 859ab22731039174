//! What is said: conversations and their messages.

use super::{Citation, ConversationId, KbVersion, MessageId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How a reply came to be. The set is closed: clients rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// An approved answer, word for word.
    Faq,
    /// A step of a task flow.
    Flow,
    /// An answer from passages of documents.
    Passages,
    /// A greeting, thanks, a farewell.
    Smalltalk,
    /// A question back to the customer.
    Clarify,
    /// Nothing in the knowledge base answers it.
    Refuse,
    /// A person takes over.
    Handoff,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 7] = [
        Self::Faq,
        Self::Flow,
        Self::Passages,
        Self::Smalltalk,
        Self::Clarify,
        Self::Refuse,
        Self::Handoff,
    ];

    /// The name clients see.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Faq => "faq",
            Self::Flow => "flow",
            Self::Passages => "passages",
            Self::Smalltalk => "smalltalk",
            Self::Clarify => "clarify",
            Self::Refuse => "refuse",
            Self::Handoff => "handoff",
        }
    }

    /// The route of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| route.name() == name)
    }
}

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The customer.
    Visitor,
    /// This program.
    Assistant,
    /// A person at the service desk.
    Agent,
    /// A notice ("handed over").
    System,
}

impl Role {
    /// The name as it is stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Visitor => "visitor",
            Self::Assistant => "assistant",
            Self::Agent => "agent",
            Self::System => "system",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Visitor, Self::Assistant, Self::Agent, Self::System]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

/// One turn of what was said before, as a question's context. Content only: no identifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Who said it.
    pub role: Role,
    /// What was said.
    pub text: String,
}

/// Where a conversation takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// The chat page.
    Web,
    /// An API client.
    Api,
}

impl Channel {
    /// The name as it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Api => "api",
        }
    }

    /// The channel of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Web, Self::Api]
            .into_iter()
            .find(|channel| channel.name() == name)
    }
}

/// The state of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConversationStatus {
    /// The assistant answers.
    Open,
    /// A person was asked for and has not come yet.
    Waiting,
    /// Ended.
    Closed,
}

impl ConversationStatus {
    /// The name as it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Waiting => "waiting",
            Self::Closed => "closed",
        }
    }

    /// The status of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Open, Self::Waiting, Self::Closed]
            .into_iter()
            .find(|status| status.name() == name)
    }
}

/// A conversation with one visitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Its identifier.
    pub id: ConversationId,
    /// Where it takes place.
    pub channel: Channel,
    /// Its state.
    pub status: ConversationStatus,
    /// SHA-256 of the visitor's token, in hexadecimal: whoever shows the token may read and write here.
    pub token_sha256: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When something was last said.
    pub updated_at: Timestamp,
}

/// One message. For a reply of the assistant it holds what is needed to replay it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its identifier.
    pub id: MessageId,
    /// The conversation it belongs to.
    pub conversation_id: ConversationId,
    /// Who wrote it.
    pub role: Role,
    /// What was said.
    pub text: String,
    /// How the reply came to be; `None` for what others wrote.
    pub route: Option<Route>,
    /// How sure the route was, 0 to 1.
    pub confidence: Option<f32>,
    /// What the reply rests on.
    pub citations: Vec<Citation>,
    /// The knowledge base that was asked.
    pub kb_version: Option<KbVersion>,
    /// The language model that wrote it: name and the start of its SHA-256. `None` where no model wrote.
    pub model: Option<String>,
    /// Milliseconds from question to last word.
    pub total_ms: Option<u64>,
    /// Whether the visitor stopped it before its end.
    pub stopped: bool,
    /// The visitor's rating of this reply, 1 to 5.
    pub rating: Option<u8>,
    /// When it was written.
    pub created_at: Timestamp,
}
