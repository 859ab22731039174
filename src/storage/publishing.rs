//! The ports of what is drafted, reviewed, published and rolled back, and of the golden questions.

use super::{Page, PageRequest, StorageError, VersionEntry};
use crate::domain::{
    Content, GoldenId, GoldenQuestion, KbItem, KbVersion, Revision, RevisionId, RevisionState, RevisionSummary, Scope,
};
use async_trait::async_trait;

/// Who changed the knowledge base where it was changed by an import, without drafts.
pub const IMPORT_AUTHOR: &str = "import";

/// Golden questions at most: all of them are asked, twice, before anything is published.
pub const MAX_GOLDEN: usize = 500;

/// Revisions that are published at once, at most.
pub const MAX_PUBLISHED: usize = 5000;

/// A change that somebody proposes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDraft {
    /// What it changes; a fresh identifier for something new.
    pub item: KbItem,
    /// The document's source or the FAQ's key.
    pub name: String,
    /// Who may be told, where and when.
    pub scope: Scope,
    /// What it shall say; `None` to remove it.
    pub content: Option<Content>,
    /// Who proposes it.
    pub author: String,
    /// What the author says of it.
    pub note: String,
}

/// Which revisions a list has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevisionFilter {
    /// Those in one of these states; empty: in any.
    pub states: Vec<RevisionState>,
    /// Those of this item.
    pub item: Option<KbItem>,
}

/// How a set of revisions is published, or an earlier version is restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Who does it.
    pub by: String,
    /// What the version's list says of it.
    pub note: String,
    /// Whether nobody may publish what they wrote themselves.
    pub four_eyes: bool,
    /// The version that was looked at before: if it is no longer the present one nothing is changed. `None`: any.
    pub expected: Option<KbVersion>,
}

/// What one version changed of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionChange {
    /// The item.
    pub item: KbItem,
    /// Its source or key, and its title or question; empty where the revision is no longer kept.
    pub name: String,
    /// Its title or question.
    pub title: String,
    /// The revision that was live before; `None` if the item was new, or if that is not known.
    pub old: Option<RevisionId>,
    /// The revision that is live after; `None` if that is not known.
    pub new: Option<RevisionId>,
    /// Whether the version removed it.
    pub removed: bool,
}

/// What one item would be after a rollback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollbackStep {
    /// The item.
    pub item: KbItem,
    /// Its source or key as it is now.
    pub name: String,
    /// The revision that becomes live again; `None` if the item was not there.
    pub target: Option<RevisionId>,
    /// Whether it is not there afterwards.
    pub removes: bool,
}

/// How many revisions wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RevisionCounts {
    /// Drafts.
    pub drafts: u64,
    /// Those that wait for a reader.
    pub in_review: u64,
}

/// Revisions, and what makes them live. Every change of the live knowledge, by [`super::KnowledgeStore`] too, writes a revision
/// in its own transaction: of each item that was ever changed since revisions are kept, the published revision says what
/// the live tables say, or that it was removed. What a person does here has its line in the audit log, in the same
/// transaction; imports have their versions alone.
#[async_trait]
pub trait RevisionStore: Send + Sync {
    /// Adds drafts, all or none; they are based on what is live now. The same author's draft of the same item is replaced, if it
    /// is still a draft. The version stays.
    ///
    /// # Errors
    /// `Missing` for one that removes what is not there; `Invalid` for passages that are no parts of their text, or for
    /// content of another kind than the item.
    async fn add_drafts(&self, drafts: &[NewDraft]) -> Result<Vec<RevisionSummary>, StorageError>;
    /// The revision of that id.
    async fn revision(&self, id: RevisionId) -> Result<Option<Revision>, StorageError>;
    /// Revisions, the newest first.
    async fn revisions(
        &self,
        filter: &RevisionFilter,
        page: &PageRequest,
    ) -> Result<Page<RevisionSummary>, StorageError>;
    /// The revision that is live, or the one that removed the item; `None` for an item that has not changed since revisions are
    /// kept.
    async fn published_revision(&self, item: KbItem) -> Result<Option<Revision>, StorageError>;
    /// The newest draft, or revision in review, of the item (`document` or `faq`) of that source or key.
    async fn open_revision(&self, kind: &str, name: &str) -> Result<Option<RevisionSummary>, StorageError>;
    /// How many wait.
    async fn revision_counts(&self) -> Result<RevisionCounts, StorageError>;
    /// Gives a draft to review.
    ///
    /// # Errors
    /// `Missing`; `WrongState` for anything but a draft.
    async fn submit_revision(&self, id: RevisionId, by: &str) -> Result<RevisionSummary, StorageError>;
    /// Says no to a draft or a revision in review; `note` says why.
    ///
    /// # Errors
    /// `Missing`; `WrongState` for one that was decided.
    async fn reject_revision(&self, id: RevisionId, by: &str, note: &str) -> Result<RevisionSummary, StorageError>;
    /// Deletes a draft, a revision in review or a rejected one.
    ///
    /// # Errors
    /// `Missing`; `WrongState` for one that is or was live.
    async fn discard_revision(&self, id: RevisionId, by: &str) -> Result<(), StorageError>;

    /// Makes these drafts live, all or none, as one version.
    ///
    /// # Errors
    /// `Missing`; `WrongState` for one that is neither a draft nor in review; `FourEyes`; `Conflict` if what is live is not what the
    /// draft was based on, if two are of one item, if the name belongs to another item, or if the version is not the
    /// expected one; `Invalid` for none, or for more than [`MAX_PUBLISHED`].
    async fn publish(&self, ids: &[RevisionId], publication: &Publication) -> Result<KbVersion, StorageError>;
    /// What a rollback to `version` would change; nothing where all is as it was.
    ///
    /// # Errors
    /// `Missing` for a version that never was; `UnknownHistory` if what a later version replaced is not known, or no longer kept.
    async fn rollback_plan(&self, version: KbVersion) -> Result<Vec<RollbackStep>, StorageError>;
    /// Makes live what was live in `version`, the very same passages, as a new version. Where all is as it was the version stays.
    /// `four_eyes` has no meaning here: whatever comes back was published before.
    ///
    /// # Errors
    /// As [`RevisionStore::rollback_plan`]; `Conflict` if the version is not the expected one.
    async fn rollback(&self, version: KbVersion, publication: &Publication) -> Result<KbVersion, StorageError>;
    /// Deletes retired and rejected revisions, but for the newest `keep` of each kind of each item; how many. A rollback over at
    /// most `keep` versions stays possible: each of them retired at most one revision of an item.
    async fn prune_revisions(&self, keep: u32) -> Result<u64, StorageError>;

    /// Versions, the newest first.
    async fn version_page(&self, page: &PageRequest) -> Result<Page<VersionEntry>, StorageError>;
    /// The version of that number.
    async fn version(&self, version: KbVersion) -> Result<Option<VersionEntry>, StorageError>;
    /// What a version changed; nothing for one from before changes were kept.
    async fn version_changes(
        &self,
        version: KbVersion,
        page: &PageRequest,
    ) -> Result<Page<VersionChange>, StorageError>;
}

/// Golden questions. Every change has its line in the audit log.
#[async_trait]
pub trait GoldenStore: Send + Sync {
    /// Adds questions, or replaces those in the same words (they keep their id). All or none; how many were added or changed.
    ///
    /// # Errors
    /// `Invalid` if there would be more than [`MAX_GOLDEN`].
    async fn put_golden(&self, questions: &[GoldenQuestion]) -> Result<usize, StorageError>;
    /// All of them, oldest first.
    async fn golden(&self) -> Result<Vec<GoldenQuestion>, StorageError>;
    /// Removes one; `false` if there is none.
    async fn remove_golden(&self, id: GoldenId, by: &str) -> Result<bool, StorageError>;
}
