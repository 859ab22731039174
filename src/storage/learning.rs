//! The port for what conversations teach.

use super::{Page, PageRequest, StorageError};
use crate::domain::{
    ConversationId, Decision, Gap, GapId, MessageId, Suggestion, SuggestionId, SuggestionState, Unresolved,
};
use async_trait::async_trait;
use jiff::Timestamp;

/// What is to be stored of questions that were asked in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GapChange {
    /// These replies leave a question open that no gap has.
    New {
        /// The gap; its count is how many replies there are.
        gap: Gap,
        /// The replies.
        messages: Vec<MessageId>,
    },
    /// These replies leave the question of a present gap open again.
    Again {
        /// The gap.
        id: GapId,
        /// Its examples now.
        examples: Vec<String>,
        /// When it was last asked.
        last_at: Timestamp,
        /// The replies.
        messages: Vec<MessageId>,
    },
    /// The customer asked nothing before this reply.
    Nothing {
        /// The reply.
        message: MessageId,
    },
}

/// What conversations teach.
#[async_trait]
pub trait LearningStore: Send + Sync {
    /// Replies that helped nobody (refused, asked back, handed over) or were rated 1 or 2, with the question before, that
    /// no [`GapChange`] has named: the oldest `limit`.
    async fn unresolved(&self, limit: u32) -> Result<Vec<Unresolved>, StorageError>;
    /// Stores all of it or nothing. A reply that is named a second time counts once.
    async fn count_gaps(&self, changes: &[GapChange]) -> Result<(), StorageError>;
    /// The open gaps, the most asked first; or the closed ones, the latest first.
    async fn gaps(&self, open: bool, page: &PageRequest) -> Result<Page<Gap>, StorageError>;
    /// How many are open.
    async fn open_gaps(&self) -> Result<u64, StorageError>;
    /// Closes a gap; `false` if there is no open one of that id.
    async fn close_gap(&self, id: GapId, decision: &Decision) -> Result<bool, StorageError>;

    /// Conversations that are closed, in which a person wrote, and that [`Self::add_suggestion`] and
    /// [`Self::nothing_to_suggest`] have not named: the oldest `limit`.
    async fn answered_by_people(&self, limit: u32) -> Result<Vec<ConversationId>, StorageError>;
    /// Adds a suggestion; `false` if its conversation has one already.
    async fn add_suggestion(&self, suggestion: &Suggestion) -> Result<bool, StorageError>;
    /// A conversation of which nothing can be learnt.
    async fn nothing_to_suggest(&self, id: ConversationId) -> Result<(), StorageError>;
    /// The suggestions in that state, newest first.
    async fn suggestions(&self, state: SuggestionState, page: &PageRequest) -> Result<Page<Suggestion>, StorageError>;
    /// How many nobody has decided on.
    async fn open_suggestions(&self) -> Result<u64, StorageError>;
    /// The suggestion of that id.
    async fn suggestion(&self, id: SuggestionId) -> Result<Option<Suggestion>, StorageError>;
    /// Decides on a suggestion; `false` if there is no open one of that id.
    async fn decide_suggestion(
        &self,
        id: SuggestionId,
        state: SuggestionState,
        decision: &Decision,
    ) -> Result<bool, StorageError>;
}
