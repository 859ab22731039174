//! What customers want, learnt from examples.

use super::{ExampleId, MessageId};
use jiff::Timestamp;

/// Where an example comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExampleOrigin {
    /// Somebody gave it.
    Given,
    /// Somebody at the desk said what a customer's message was about.
    Corrected,
}

impl ExampleOrigin {
    /// The name as it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Corrected => "corrected",
        }
    }

    /// The origin stored under `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Given, Self::Corrected]
            .into_iter()
            .find(|origin| origin.name() == name)
    }
}

/// A text with what who says it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentExample {
    /// Its identifier; kept when the same text is given again.
    pub id: ExampleId,
    /// The words, masked. Unique.
    pub text: String,
    /// The intent; a group and a name may have a slash between (`card/lost`).
    pub intent: String,
    /// Where it comes from.
    pub origin: ExampleOrigin,
    /// The message it is, where it is one: it goes when the message goes.
    pub message: Option<MessageId>,
    /// Who said so.
    pub author: String,
    /// When.
    pub created_at: Timestamp,
}

/// How many examples an intent has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentCount {
    /// The intent.
    pub intent: String,
    /// Examples that were given.
    pub given: u64,
    /// Examples from the desk.
    pub corrected: u64,
}

/// A head that was trained here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainedHead {
    /// Its number; a later one is greater.
    pub version: u64,
    /// The head as `understanding::heads` writes it.
    pub head: Vec<u8>,
    /// Who had it trained.
    pub author: String,
    /// When.
    pub created_at: Timestamp,
}
