//! The port for examples of what customers want, and for heads that were trained on them.

use super::{Page, PageRequest, StorageError};
use crate::domain::{ExampleId, IntentCount, IntentExample, TrainedHead};
use async_trait::async_trait;
use jiff::Timestamp;

/// The most examples that are kept.
pub const MAX_EXAMPLES: usize = 100_000;

/// Heads of a task that are kept: the one in use, and those before to go back to.
pub const KEPT_HEADS: u32 = 5;

/// What customers want, and what was learnt of it.
#[async_trait]
pub trait IntentStore: Send + Sync {
    /// Adds examples. One with the words of a present example replaces its intent (the row keeps its id). All or none; how many were
    /// added or changed.
    ///
    /// # Errors
    /// `Invalid` if there would be more than [`MAX_EXAMPLES`].
    async fn put_examples(&self, examples: &[IntentExample]) -> Result<usize, StorageError>;
    /// Examples, of one intent or of all, oldest first.
    async fn examples(&self, intent: Option<&str>, page: &PageRequest) -> Result<Page<IntentExample>, StorageError>;
    /// All examples as text and intent, in order of the text: what a head is trained on.
    async fn labelled_texts(&self) -> Result<Vec<(String, String)>, StorageError>;
    /// Every intent with its examples, in order of its name.
    async fn intents(&self) -> Result<Vec<IntentCount>, StorageError>;
    /// Removes one; `false` if there is none.
    async fn remove_example(&self, id: ExampleId, by: &str) -> Result<bool, StorageError>;

    /// Keeps a head of `task` as the newest, of which a line in the audit log tells (`detail`); those before the last
    /// [`KEPT_HEADS`] go. Returns its version.
    async fn put_head(
        &self,
        task: &str,
        head: &[u8],
        by: &str,
        at: Timestamp,
        detail: serde_json::Value,
    ) -> Result<u64, StorageError>;
    /// The newest head of `task` whose version is greater than `after`.
    async fn newer_head(&self, task: &str, after: u64) -> Result<Option<TrainedHead>, StorageError>;
}
