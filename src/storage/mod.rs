//! The truth on disk. The port [`Store`] stands here, made of small traits by noun; `sqlite/` is the embedded adapter, `postgres/` the one
//! for several nodes. Both have the same files.
//! Indexes are derived from what is stored here and can be deleted at any time.

mod desk;
mod flows;
mod intents;
mod learning;
mod people;
pub mod postgres;
mod publishing;
mod rows;
pub mod sqlite;
mod vault;

pub use desk::{CustomerStore, EraseStore, HandoffStore, MAX_PROFILE_BYTES, RecordStore};
pub use flows::{FlowSession, FlowStore, FlowTurn, MAX_FLOW_BYTES};
pub use intents::{IntentStore, KEPT_HEADS, MAX_EXAMPLES};
pub use learning::{GapChange, LearningStore};
pub use people::{
    AuditCheck, AuditEntry, AuditRecord, AuditStore, AuditVerdict, Session, SessionStore, User, UserChange, UserStore,
    name_key,
};
pub use postgres::{PostgresOptions, PostgresStore};
pub use publishing::{
    GoldenStore, IMPORT_AUTHOR, MAX_GOLDEN, MAX_PUBLISHED, NewDraft, Publication, RevisionCounts, RevisionFilter,
    RevisionStore, RollbackStep, VersionChange,
};
pub use sqlite::SqliteStore;
pub use vault::{NewValue, SealedValue, Vault, VaultError, VaultStore, customer_secret};

use crate::domain::{
    ApiKeyId, Conversation, ConversationId, ConversationStatus, Document, DocumentId, Faq, FaqId, KbItem, KbVersion,
    Message, MessageId, Passage, PassageId, RevisionState, Scope,
};
use async_trait::async_trait;
use jiff::Timestamp;
use std::any::Any;
use std::time::Duration;

/// What went wrong with the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// No space is left on the disk (or a limit on file sizes was met).
    #[error("the disk is full: nothing was changed. Free some space under the data directory and try again")]
    Full,
    /// The database is in use by another process for too long.
    #[error("the database is busy (another process writes to it); try again")]
    Busy,
    /// The database server does not answer, or does not let us in.
    #[error("{place} cannot be used now: {detail}")]
    Unavailable {
        /// The database and its server.
        place: String,
        /// What happened.
        detail: String,
    },
    /// The address of the database server is none, or holds what it must not.
    #[error("storage.url: {detail}")]
    Address {
        /// What is wrong with it; never a password.
        detail: String,
    },
    /// The file is damaged or is no database of this program.
    #[error("the database {path} is damaged or not a kefu database: {detail}. Restore a backup, or move the file away")]
    Damaged {
        /// The file.
        path: String,
        /// What was found.
        detail: String,
    },
    /// The database was written by a newer program.
    #[error("the database was written by a newer kefu (schema {found}, this program knows {known}): use that program")]
    Newer {
        /// Its schema version.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// The data directory cannot be used.
    #[error("data directory {path}: {source}")]
    Io {
        /// The directory or file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A row cannot be understood.
    #[error("table {table}: {detail}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What is wrong with the row.
        detail: String,
    },
    /// What was given can be neither stored nor looked up.
    #[error("table {table}: refused: {detail}")]
    Invalid {
        /// The table it was meant for.
        table: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// There is nothing of that name.
    #[error("there is no {what} {name}")]
    Missing {
        /// What was looked for.
        what: &'static str,
        /// Its id or name.
        name: String,
    },
    /// Somebody else changed it meanwhile.
    #[error("{item}: {detail}")]
    Conflict {
        /// The document's source, the FAQ's key, or the version.
        item: String,
        /// What happened, and what to do.
        detail: String,
    },
    /// Nobody may publish what they wrote themselves.
    #[error("{item} was written by {author}: another person must publish it (knowledge.four_eyes)")]
    FourEyes {
        /// The document's source or the FAQ's key.
        item: String,
        /// Who wrote it.
        author: String,
    },
    /// The revision stands where this cannot be done.
    #[error("the revision of {item} is {}: {wanted}", state.name())]
    WrongState {
        /// The document's source or the FAQ's key.
        item: String,
        /// Where it stands.
        state: RevisionState,
        /// Where it would have to stand.
        wanted: &'static str,
    },
    /// What a version replaced is not known.
    #[error("version {version} cannot be restored: {detail}")]
    UnknownHistory {
        /// The version asked for.
        version: KbVersion,
        /// What is not known.
        detail: String,
    },
    /// The database library has a known fault that damages files.
    #[error("the SQLite library {found} can damage databases: build with the bundled one, or use {needed} or newer")]
    OldLibrary {
        /// The version linked.
        found: String,
        /// The oldest version that is safe.
        needed: String,
    },
    /// Anything else the database said.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end. Opaque.
    pub next: Option<String>,
}

/// Which page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Rows at most.
    pub limit: u32,
    /// [`Page::next`] of the page before; `None` for the first.
    pub cursor: Option<String>,
}

impl PageRequest {
    /// The first `limit` rows.
    #[must_use]
    pub fn first(limit: u32) -> Self {
        Self { limit, cursor: None }
    }
}

/// A document without its text, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentSummary {
    /// Its identifier.
    pub id: DocumentId,
    /// Where it came from.
    pub source: String,
    /// Its title.
    pub title: String,
    /// How it was written.
    pub format: crate::domain::DocumentFormat,
    /// SHA-256 of the file's bytes.
    pub sha256: String,
    /// Bytes of its text.
    pub bytes: u64,
    /// Passages it was cut into.
    pub passages: u64,
    /// When it was last imported.
    pub imported_at: Timestamp,
    /// Who may be told, where and when.
    pub scope: Scope,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnowledgeCounts {
    /// Documents.
    pub documents: u64,
    /// Passages.
    pub passages: u64,
    /// Approved questions.
    pub faqs: u64,
}

/// What one version of the knowledge base changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionEntry {
    /// The version.
    pub version: KbVersion,
    /// What was done, for people ("import kb/docs/fees.md").
    pub note: String,
    /// Who did it; empty in versions from before authors were kept.
    pub author: String,
    /// When.
    pub created_at: Timestamp,
}

/// The knowledge base. Every method that changes it is one transaction, and makes the version one greater.
#[async_trait]
pub trait KnowledgeStore: Send + Sync {
    /// The present version; 0 when nothing was ever imported.
    async fn kb_version(&self) -> Result<KbVersion, StorageError>;
    /// How much there is.
    async fn knowledge_counts(&self) -> Result<KnowledgeCounts, StorageError>;
    /// The newest versions first.
    async fn kb_versions(&self, limit: u32) -> Result<Vec<VersionEntry>, StorageError>;
    /// What the versions after `after` added, changed or removed, each item once; `None` if that is not known of all of
    /// them, or if it is more than `limit` items: then everything is to be read again.
    async fn kb_changes(&self, after: KbVersion, limit: u32) -> Result<Option<Vec<KbItem>>, StorageError>;

    /// Adds a document with its passages, or replaces the one of the same `source` (the row keeps `document.id`:
    /// callers take the id of the present one first).
    async fn put_document(&self, document: &Document, passages: &[Passage]) -> Result<KbVersion, StorageError>;
    /// The document of that source.
    async fn document_by_source(&self, source: &str) -> Result<Option<DocumentSummary>, StorageError>;
    /// The document of that id, without its text.
    async fn document_summary(&self, id: DocumentId) -> Result<Option<DocumentSummary>, StorageError>;
    /// The document with its text.
    async fn document(&self, id: DocumentId) -> Result<Option<Document>, StorageError>;
    /// Documents in order of their source.
    async fn documents(&self, page: &PageRequest) -> Result<Page<DocumentSummary>, StorageError>;
    /// Removes a document with its passages; `false` if there is none.
    async fn remove_document(&self, id: DocumentId) -> Result<bool, StorageError>;
    /// The passages of a document in order.
    async fn document_passages(&self, id: DocumentId) -> Result<Vec<Passage>, StorageError>;
    /// The passages that stand directly before and after `passage` in its document, in order; as many of them as there are.
    async fn passages_beside(&self, passage: &Passage) -> Result<Vec<Passage>, StorageError>;
    /// The passages with these ids, in the order asked for; those that are gone are left out.
    async fn passages(&self, ids: &[PassageId]) -> Result<Vec<Passage>, StorageError>;
    /// The next `limit` passages after `after` in order of id: to walk through all of them.
    async fn passages_after(&self, after: Option<PassageId>, limit: u32) -> Result<Vec<Passage>, StorageError>;

    /// Adds FAQs, or replaces those of the same key (a present one keeps its id). One version for all of them;
    /// FAQs that are equal to what is stored change nothing, and if none changes the version stays.
    /// Returns how many were added or changed.
    async fn put_faqs(&self, faqs: &[Faq], note: &str) -> Result<usize, StorageError>;
    /// The FAQs with these ids, in the order asked for; those that are gone are left out.
    async fn faqs(&self, ids: &[FaqId]) -> Result<Vec<Faq>, StorageError>;
    /// FAQs in order of key.
    async fn faq_page(&self, page: &PageRequest) -> Result<Page<Faq>, StorageError>;
    /// FAQs that have `words` in key, question, wordings, answer or category, in order of key. Latin capitals make no difference.
    async fn find_faqs(&self, words: &str, page: &PageRequest) -> Result<Page<Faq>, StorageError>;
    /// The FAQ of that key.
    async fn faq_by_key(&self, key: &str) -> Result<Option<Faq>, StorageError>;
    /// Removes a FAQ; `false` if there is none.
    async fn remove_faq(&self, id: FaqId) -> Result<bool, StorageError>;

    /// The vectors stored for these texts by the model `model_sha256`; `None` where there is none.
    /// A key is the SHA-256 of kind and text.
    async fn embeddings(&self, model_sha256: &str, keys: &[[u8; 32]]) -> Result<Vec<Option<Vec<f32>>>, StorageError>;
    /// Stores vectors: so that the same text is not embedded twice, even when an import is interrupted.
    async fn put_embeddings(&self, model_sha256: &str, rows: &[([u8; 32], Vec<f32>)]) -> Result<(), StorageError>;
}

/// Conversations and their messages.
#[async_trait]
pub trait ConversationStore: Send + Sync {
    /// Adds a conversation.
    async fn create_conversation(&self, conversation: &Conversation) -> Result<(), StorageError>;
    /// The conversation of that id.
    async fn conversation(&self, id: ConversationId) -> Result<Option<Conversation>, StorageError>;
    /// Changes its status; `false` if there is none.
    async fn set_conversation_status(
        &self,
        id: ConversationId,
        status: ConversationStatus,
        at: Timestamp,
    ) -> Result<bool, StorageError>;
    /// Adds a message and touches the conversation. The same message id twice is stored once.
    async fn add_message(&self, message: &Message) -> Result<(), StorageError>;
    /// Puts another text in the place of a message's; `false` if there is no such message. For masking what turned out to be
    /// personal data by what came after it, and for nothing else.
    async fn remask_message(&self, message: MessageId, text: &str) -> Result<bool, StorageError>;
    /// The newest `limit` messages, oldest first.
    async fn messages(&self, id: ConversationId, limit: u32) -> Result<Vec<Message>, StorageError>;
    /// Rates a message of that conversation, with the visitor's words (may be empty); `false` if there is no such
    /// message of the assistant there.
    async fn rate_message(
        &self,
        id: ConversationId,
        message: MessageId,
        score: u8,
        comment: &str,
        at: Timestamp,
    ) -> Result<bool, StorageError>;
    /// Rates a whole conversation; `false` if there is none.
    async fn rate_conversation(
        &self,
        id: ConversationId,
        score: u8,
        comment: &str,
        at: Timestamp,
    ) -> Result<bool, StorageError>;
    /// How many conversations that wait for a person came before `id`; where `id` does not wait, how many wait.
    async fn waiting_position(&self, id: ConversationId) -> Result<u64, StorageError>;
}

/// An API key as it is stored: never the key itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Its identifier.
    pub id: ApiKeyId,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the key, in hexadecimal.
    pub sha256: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// API keys.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Adds a key.
    async fn add_key(&self, key: &ApiKey) -> Result<(), StorageError>;
    /// The key with that hash, unless it was revoked.
    async fn active_key(&self, sha256: &str) -> Result<Option<ApiKey>, StorageError>;
    /// All keys, oldest first.
    async fn keys(&self) -> Result<Vec<ApiKey>, StorageError>;
    /// Revokes a key; `false` if there is no active key of that id.
    async fn revoke_key(&self, id: ApiKeyId, at: Timestamp) -> Result<bool, StorageError>;
}

/// Work that is done by one node at a time, where several nodes share a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Learning from conversations: like questions are one gap only if one node compares them.
    Learn,
}

/// The right to do a [`Job`], until it is dropped or its node dies.
pub struct Claim {
    _held: Option<Box<dyn Any + Send>>,
}

impl Claim {
    /// The right of the only node there is.
    fn of_only_node() -> Self {
        Self { _held: None }
    }

    /// The right that lasts as long as `what`.
    fn held(what: impl Any + Send) -> Self {
        Self {
            _held: Some(Box::new(what)),
        }
    }
}

/// Everything that is stored.
#[async_trait]
pub trait Store:
    KnowledgeStore
    + RevisionStore
    + GoldenStore
    + ConversationStore
    + KeyStore
    + LearningStore
    + IntentStore
    + FlowStore
    + UserStore
    + SessionStore
    + AuditStore
    + VaultStore
    + RecordStore
    + HandoffStore
    + CustomerStore
    + EraseStore
{
    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StorageError>;
    /// Waits until the knowledge base may have a newer version than `known`, at most `patience`. Never later than `patience`, and sooner
    /// where the database tells of changes; a return means: look. A database that is away is no error here.
    async fn kb_moved(&self, known: KbVersion, patience: Duration);
    /// The right to do `job`; `None` while another node does it. Where the database has one node, it is always given.
    async fn claim(&self, job: Job) -> Result<Option<Claim>, StorageError>;
    /// Name and version, for people ("SQLite 3.51.3").
    fn describe(&self) -> String;
    /// Waits for what is under way and closes.
    async fn close(&self);
}
