//! Changes that are not published.

use crate::domain::{DocumentId, Faq, KbItem, Passage, Scope};

/// What would be changed, for a look at the knowledge base as it would be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Draft {
    /// Documents that are added, or replace the one of the same id.
    pub documents: Vec<DraftDocument>,
    /// FAQs that are added, or replace the one of the same id or key.
    pub faqs: Vec<Faq>,
    /// What is removed.
    pub removed: Vec<KbItem>,
}

/// A document as it would be.
#[derive(Clone, Debug, PartialEq)]
pub struct DraftDocument {
    /// Its identifier: the present document's where it replaces one.
    pub id: DocumentId,
    /// Who may be told, where and when.
    pub scope: Scope,
    /// Its passages, each with `document_id` equal to `id`.
    pub passages: Vec<Passage>,
}
