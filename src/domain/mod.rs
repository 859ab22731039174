//! Plain data that every room may use, and the [`Clock`] port. No I/O, no database types, no HTTP types.

mod citation;
mod clock;
mod conversation;
mod digest;
mod golden;
mod ids;
mod knowledge;
mod language;
mod learning;
mod people;
mod revision;
mod scope;

pub use citation::Citation;
pub use clock::{Clock, ManualClock, SystemClock};
pub use conversation::{Channel, Conversation, ConversationStatus, Message, Role, Route, Turn};
pub use digest::{hexadecimal, sha256_hex};
pub use golden::{Expectation, GoldenQuestion};
pub use ids::{
    ApiKeyId, ConversationId, DocumentId, FaqId, GapId, GoldenId, MessageId, PassageId, RevisionId, SuggestionId,
    UserId, VaultId,
};
pub use knowledge::{Document, DocumentFormat, Faq, KbItem, KbVersion, Passage};
pub use language::{Language, is_han};
pub use learning::{Decision, Gap, Origin, SimilarFaq, Suggestion, SuggestionState, Unresolved};
pub use people::{Hidden, Roles, StaffRole};
pub use revision::{Content, DocumentContent, FaqContent, PassageSpan, Revision, RevisionState, RevisionSummary};
pub use scope::{Scope, Viewer};
