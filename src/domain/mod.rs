//! Plain data that every room may use, and the [`Clock`] port. No I/O, no database types, no HTTP types.

mod citation;
mod clock;
mod conversation;
mod customer;
mod digest;
mod golden;
mod ids;
mod intent;
mod knowledge;
mod language;
mod learning;
mod people;
mod record;
mod revision;
mod scope;

pub use citation::Citation;
pub use clock::{Clock, ManualClock, SystemClock};
pub use conversation::{Channel, Conversation, ConversationStatus, Message, Role, Route, Turn};
pub use customer::{Customer, Cutoffs, Gathered, Handoff, HandoffSummary, Identity, PastMessage, Removed, Tried};
pub use digest::{hexadecimal, sha256_hex};
pub use golden::{Expectation, GoldenQuestion};
pub use ids::{
    ApiKeyId, ConversationId, CustomerId, DocumentId, ExampleId, FaqId, GapId, GoldenId, HandoffId, IdentityId,
    MessageId, PassageId, RevisionId, SuggestionId, UserId, VaultId,
};
pub use intent::{ExampleOrigin, IntentCount, IntentExample, TrainedHead};
pub use knowledge::{Document, DocumentFormat, Faq, KbItem, KbVersion, Passage};
pub use language::{Language, is_han};
pub use learning::{Decision, Gap, Origin, SimilarFaq, Suggestion, SuggestionState, Unresolved};
pub use people::{Hidden, Roles, StaffRole};
pub use record::{Basis, BasisHit, Environment, ReplyRecord};
pub use revision::{Content, DocumentContent, FaqContent, PassageSpan, Revision, RevisionState, RevisionSummary};
pub use scope::{Scope, Viewer};
