//! Task flows of conversations.

use super::StorageError;
use crate::domain::{ConversationId, MessageId};
use async_trait::async_trait;
use jiff::Timestamp;

/// Bytes of a state, and of a trace.
pub const MAX_FLOW_BYTES: usize = 256 << 10;

/// What a conversation's flows hold, as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSession {
    /// Counts changes, from 1.
    pub revision: u64,
    /// The state.
    pub state: String,
}

/// How one reply came to be, as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowTurn {
    /// The reply.
    pub message_id: MessageId,
    /// State before, inputs, effects.
    pub trace: String,
}

/// The flows of conversations.
#[async_trait]
pub trait FlowStore: Send + Sync {
    /// What the conversation's flows hold.
    async fn flow_session(&self, id: ConversationId) -> Result<Option<FlowSession>, StorageError>;
    /// Stores what they hold now, with the reply that made it so, in one transaction. `before` is the revision that was read, 0 where there
    /// was none; `Conflict` where it is another by now, `Invalid` for what is too large or no JSON, or of no conversation.
    async fn put_flow_session(
        &self,
        id: ConversationId,
        before: u64,
        state: &str,
        turn: Option<&FlowTurn>,
        at: Timestamp,
    ) -> Result<(), StorageError>;
    /// How a reply came to be, where a flow gave it.
    async fn flow_turn(&self, message: MessageId) -> Result<Option<FlowTurn>, StorageError>;
}
