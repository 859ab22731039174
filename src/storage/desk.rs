//! The ports for how replies came to be, for people who take over, for customers, and for removing what is no longer kept.

use super::{AuditRecord, Page, PageRequest, StorageError};
use crate::domain::{
    Conversation, ConversationId, Customer, CustomerId, Cutoffs, Environment, Handoff, Identity, Message, MessageId,
    PastMessage, Removed, ReplyRecord,
};
use async_trait::async_trait;
use jiff::Timestamp;

/// Bytes of a sealed profile.
pub const MAX_PROFILE_BYTES: usize = 16 << 10;

/// How replies came to be.
#[async_trait]
pub trait RecordStore: Send + Sync {
    /// Adds a reply as [`super::ConversationStore::add_message`] does, with how it came to be, in one transaction. What was
    /// understood of a question that was masked again meanwhile is left out.
    async fn add_reply(
        &self,
        message: &Message,
        record: &ReplyRecord,
        environment: &Environment,
    ) -> Result<(), StorageError>;
    /// How a reply came to be; `None` for what has no record.
    async fn reply_record(&self, message: MessageId) -> Result<Option<(ReplyRecord, Environment)>, StorageError>;
    /// The messages with these ids, in the order asked for, each with whether its words were masked again after they had been
    /// answered; those that are gone are left out.
    async fn messages_by_id(&self, ids: &[MessageId]) -> Result<Vec<(Message, bool)>, StorageError>;
}

/// What people who take over see.
#[async_trait]
pub trait HandoffStore: Send + Sync {
    /// Adds what the person who takes over is told.
    async fn add_handoff(&self, handoff: &Handoff) -> Result<(), StorageError>;
    /// The last one of a conversation.
    async fn handoff(&self, conversation: ConversationId) -> Result<Option<Handoff>, StorageError>;
    /// Conversations that wait for a person, each with since when: the first to come first.
    async fn waiting(&self, page: &PageRequest) -> Result<Page<(Conversation, Timestamp)>, StorageError>;
}

/// Customers and their addresses. A customer that was merged into another stays as it is and points there; whatever is asked of
/// the *whole* customer follows the pointers.
#[async_trait]
pub trait CustomerStore: Send + Sync {
    /// Adds an identity and, where its customer is not there yet, that one too. Returns the identity that has this channel and
    /// address then: another one where it was known before (nothing is added).
    async fn add_identity(
        &self,
        customer: &Customer,
        identity: &Identity,
        record: &AuditRecord,
    ) -> Result<Identity, StorageError>;
    /// The identity of that address.
    async fn find_identity(&self, channel: &str, lookup: &[u8; 32]) -> Result<Option<Identity>, StorageError>;
    /// The customer of that id.
    async fn customer(&self, id: CustomerId) -> Result<Option<Customer>, StorageError>;
    /// Customers that are merged into no other, in order of id.
    async fn customers(&self, page: &PageRequest) -> Result<Page<Customer>, StorageError>;
    /// The whole customer that `id` belongs to: first the one that is merged into no other, then all that lead there. Empty if there
    /// is none.
    async fn whole_customer(&self, id: CustomerId) -> Result<Vec<Customer>, StorageError>;
    /// The identities of one customer, without those merged into it.
    async fn identities(&self, id: CustomerId) -> Result<Vec<Identity>, StorageError>;
    /// Puts another name there; `false` if there is no such customer.
    async fn set_profile(
        &self,
        id: CustomerId,
        shown: &str,
        sealed: &str,
        record: &AuditRecord,
    ) -> Result<bool, StorageError>;
    /// Lets `id` point to `into`, or to nothing again. `Conflict` where it points somewhere already (or to nothing), or where `into`
    /// leads back to `id`; `false` if there is no such customer.
    async fn merge_customer(
        &self,
        id: CustomerId,
        into: Option<CustomerId>,
        record: &AuditRecord,
    ) -> Result<bool, StorageError>;

    /// Says whose a conversation is; `None`: nobody's. `false` if there is no such conversation.
    async fn set_conversation_customer(
        &self,
        id: ConversationId,
        customer: Option<CustomerId>,
        record: &AuditRecord,
    ) -> Result<bool, StorageError>;
    /// Whose a conversation is, as it was known then.
    async fn conversation_customer(&self, id: ConversationId) -> Result<Option<CustomerId>, StorageError>;
    /// Conversations of one customer, without those of others merged into it, newest first.
    async fn conversations_of(&self, id: CustomerId, limit: u32) -> Result<Vec<Conversation>, StorageError>;
    /// The newest `limit` messages of the whole customer in other conversations than `except`, oldest first.
    async fn past_messages(
        &self,
        id: CustomerId,
        except: ConversationId,
        limit: u32,
    ) -> Result<Vec<PastMessage>, StorageError>;
}

/// Removing. What is removed is overwritten with zeros where it lay.
#[async_trait]
pub trait EraseStore: Send + Sync {
    /// How much [`Self::expire`] would remove in all.
    async fn expired(&self, cutoffs: &Cutoffs) -> Result<Removed, StorageError>;
    /// Removes up to `limit` conversations, messages and traces each that are older than the cutoffs, in one transaction, with a line
    /// in the audit log where it was anything; `record.detail` gets the counts. Returns the counts, and the questions that were kept
    /// as examples.
    async fn expire(
        &self,
        cutoffs: &Cutoffs,
        limit: u32,
        record: &AuditRecord,
    ) -> Result<(Removed, Vec<String>), StorageError>;
    /// Removes conversations with all that hangs on them (messages, ratings, flows, keys of the vault, examples and suggestions that
    /// came from them), in one transaction. Returns the counts, and the questions that were in them.
    async fn erase_conversations(&self, ids: &[ConversationId]) -> Result<(Removed, Vec<String>), StorageError>;
    /// Removes the whole customer with identities and keys, in one transaction with its line in the audit log. `Conflict` while it has
    /// conversations; `false` if there is none.
    async fn erase_customer(&self, id: CustomerId, record: &AuditRecord) -> Result<bool, StorageError>;
    /// Forgets vectors.
    async fn remove_embeddings(&self, keys: &[[u8; 32]]) -> Result<(), StorageError>;
    /// Brings what was removed out of the files beside the database too; `thorough` writes the whole database anew, so that no copy that
    /// the database once made of a row is left either (about a second for 200 MB, in which others wait to write). `false` where
    /// somebody reads or writes just now and it must wait.
    async fn settle(&self, thorough: bool) -> Result<bool, StorageError>;
}
