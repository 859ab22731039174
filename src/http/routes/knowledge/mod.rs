//! Knowledge as the people see it who keep it: what is live, what is drafted, what is published and when.

pub(crate) mod documents;
pub(crate) mod faqs;
pub(crate) mod golden;
pub(crate) mod imports;
pub(crate) mod overview;
pub(crate) mod publish;
pub(crate) mod revisions;
pub(crate) mod trial;
pub(crate) mod versions;
mod wire;

use crate::domain::{KbItem, RevisionState, RevisionSummary};
use crate::http::error::ApiError;
use crate::storage::{NewDraft, PageRequest, RevisionFilter, Store};
use std::str::FromStr;

/// The identifier in a path; what is none names nothing.
fn id<T: FromStr>(text: &str, what: &'static str) -> Result<T, ApiError> {
    text.parse().map_err(|_| ApiError::not_found(what))
}

/// Stores one draft.
async fn add_draft(store: &dyn Store, draft: NewDraft) -> Result<RevisionSummary, ApiError> {
    let mut added = store.add_drafts(&[draft]).await?;
    added
        .pop()
        .ok_or_else(|| ApiError::internal(std::io::Error::other("a draft was not stored")))
}

/// The newest draft, or revision in review, of an item.
async fn newest_open(store: &dyn Store, item: KbItem) -> Result<Option<RevisionSummary>, ApiError> {
    let filter = RevisionFilter {
        states: vec![RevisionState::Draft, RevisionState::Review],
        item: Some(item),
    };
    Ok(store.revisions(&filter, &PageRequest::first(1)).await?.items.pop())
}
