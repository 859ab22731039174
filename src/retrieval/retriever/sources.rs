//! What else is known of a hit's source: the passages beside it, and how old it is.

use super::Retriever;
use crate::domain::{DocumentId, Passage};
use crate::retrieval::{RetrievalError, Source};
use jiff::Timestamp;

/// How old a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceDate {
    /// When it took effect, else when it was last imported.
    pub since: Timestamp,
    /// Whether it says itself from when it holds.
    pub effective: bool,
}

impl Retriever {
    /// The passages of a document, in order; those of the draft in a preview. Reads the whole document.
    ///
    /// # Errors
    /// What the store says.
    pub async fn document_passages(&self, id: DocumentId) -> Result<Vec<Passage>, RetrievalError> {
        let mut drafted: Vec<Passage> = (self.0.draft.values().filter(|passage| passage.document_id == id))
            .cloned()
            .collect();
        if drafted.is_empty() {
            return Ok(self.0.shared.vectors.store.document_passages(id).await?);
        }
        drafted.sort_by_key(|passage| passage.ordinal);
        Ok(drafted)
    }

    /// How old a source is; `None` if it is gone. A draft that names no date takes effect when it is published, so it is newer
    /// than all that is there.
    ///
    /// # Errors
    /// What the store says.
    pub async fn source_date(&self, source: &Source) -> Result<Option<SourceDate>, RetrievalError> {
        let (scope, imported_at) = match source {
            Source::Faq(faq) => (faq.scope.clone(), faq.imported_at),
            Source::Passage(passage) => match self.0.draft_scopes.get(&passage.document_id) {
                Some(scope) => (scope.clone(), Timestamp::MAX),
                None => match self
                    .0
                    .shared
                    .vectors
                    .store
                    .document_summary(passage.document_id)
                    .await?
                {
                    Some(document) => (document.scope, document.imported_at),
                    None => return Ok(None),
                },
            },
        };
        Ok(Some(SourceDate {
            since: scope.effective_from.unwrap_or(imported_at),
            effective: scope.effective_from.is_some(),
        }))
    }
}
