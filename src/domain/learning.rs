//! What conversations teach: questions that nothing answers, and answers that people gave.

use super::{ConversationId, FaqId, GapId, MessageId, SuggestionId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Questions of one meaning that were asked in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Its identifier.
    pub id: GapId,
    /// One of the questions.
    pub question: String,
    /// Some others, newest first.
    pub examples: Vec<String>,
    /// How often it was asked.
    pub count: u64,
    /// When it was first asked.
    pub first_at: Timestamp,
    /// When it was last asked.
    pub last_at: Timestamp,
    /// Who closed it, when and why; `None` while it is open.
    pub closed: Option<Decision>,
}

/// What a person decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why; may be empty.
    pub reason: String,
}

/// A question whose reply helped nobody, or was rated 1 or 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// The reply.
    pub message_id: MessageId,
    /// The customer's words before it.
    pub question: String,
    /// When the reply was given.
    pub at: Timestamp,
}

/// Where a suggested FAQ comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A person answered it in a conversation.
    Conversation,
    /// A person corrected an answer.
    Correction,
    /// A person wrote it.
    Written,
}

impl Origin {
    /// The name as it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Conversation => "conversation",
            Self::Correction => "correction",
            Self::Written => "written",
        }
    }

    /// The origin of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Conversation, Self::Correction, Self::Written]
            .into_iter()
            .find(|origin| origin.name() == name)
    }
}

/// What became of a suggestion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SuggestionState {
    /// Nobody has looked at it.
    Open,
    /// A draft was made of it.
    Accepted,
    /// It was turned down.
    Dismissed,
}

impl SuggestionState {
    /// The name as it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Accepted => "accepted",
            Self::Dismissed => "dismissed",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Open, Self::Accepted, Self::Dismissed]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

/// A FAQ that is like a suggested one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SimilarFaq {
    /// Which.
    pub faq_id: FaqId,
    /// Its question.
    pub question: String,
    /// The cosine of both questions.
    pub similarity: f32,
}

/// A FAQ that somebody could approve.
#[derive(Clone, Debug, PartialEq)]
pub struct Suggestion {
    /// Its identifier.
    pub id: SuggestionId,
    /// The question.
    pub question: String,
    /// Other wordings.
    pub variants: Vec<String>,
    /// The answer.
    pub answer: String,
    /// Where it comes from.
    pub origin: Origin,
    /// The conversation it comes from.
    pub conversation_id: Option<ConversationId>,
    /// What the knowledge base has that is like it.
    pub similar: Vec<SimilarFaq>,
    /// What became of it.
    pub state: SuggestionState,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who decided, when and why.
    pub decided: Option<Decision>,
}
