//! Removes what is no longer kept: what is older than the settings allow, and customers who want to be forgotten.
//!
//! What is removed is overwritten in the database's file, the vectors of its questions go with it, and the file beside the database
//! is emptied; for a customer the database is written anew. Each batch is a transaction, so a job that is stopped has done whole batches and goes on at the next call.

use crate::config::RetentionConfig;
use crate::domain::{Clock, CustomerId, Cutoffs, Removed};
use crate::inference::TextKind;
use crate::retrieval::embedding_key;
use crate::storage::{AuditRecord, StorageError, Store};
use crate::understanding::pii::Masker;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Conversations of a customer that one transaction removes.
const BATCH: u32 = 100;
/// Characters of a question that a knowledge gap keeps: its vector is stored by these.
const GAP_CHARS: usize = 200;
/// Characters of a reason: a word says nothing.
const REASON_CHARS: std::ops::RangeInclusive<usize> = 4..=1000;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EraseError {
    /// The reason says nothing, or too much.
    #[error("give a reason of {} to {} characters", REASON_CHARS.start(), REASON_CHARS.end())]
    Reason,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What a run removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Expired {
    /// Counts.
    pub removed: Removed,
    /// Transactions.
    pub batches: u32,
    /// It was only counted.
    pub dry_run: bool,
    /// It was stopped before it was done.
    pub interrupted: bool,
    /// The file beside the database was emptied after it.
    pub settled: bool,
}

/// What was removed of a customer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Counts.
    pub removed: Removed,
    /// What was removed is out of all files; else it is as soon as nobody reads from before.
    pub settled: bool,
}

/// Removes.
pub struct Eraser {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    masker: Masker,
}

impl Eraser {
    /// Removes from `store`. `masker` masks the reasons that people give.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, masker: Masker) -> Self {
        Self { store, clock, masker }
    }

    /// Removes what is older than `retention` allows, batch by batch until nothing is left or `stop` is cancelled; with `dry_run` it is
    /// counted and nothing more.
    ///
    /// # Errors
    /// What the database reports; the batches before stay done.
    pub async fn expire(
        &self,
        retention: &RetentionConfig,
        actor: &str,
        dry_run: bool,
        stop: &CancellationToken,
    ) -> Result<Expired, EraseError> {
        let cutoffs = cutoffs(retention, self.clock.now());
        let mut done = Expired {
            dry_run,
            settled: true,
            ..Expired::default()
        };
        if dry_run {
            done.removed = self.store.expired(&cutoffs).await?;
            return Ok(done);
        }
        loop {
            if stop.is_cancelled() {
                done.interrupted = true;
                break;
            }
            let record = AuditRecord {
                at: self.clock.now(),
                actor: actor.to_owned(),
                action: "retention.expire".to_owned(),
                object: "conversations".to_owned(),
                detail: json!({
                    "conversations_days": retention.conversations_days,
                    "messages_days": retention.messages_days,
                    "traces_days": retention.traces_days,
                }),
            };
            let (removed, said) = self.store.expire(&cutoffs, retention.batch, &record).await?;
            if removed.is_nothing() {
                break;
            }
            self.forget_vectors(&said).await?;
            done.removed = done.removed.and(removed);
            done.batches += 1;
        }
        if done.batches > 0 {
            done.settled = self.store.settle(false).await?;
        }
        Ok(done)
    }

    /// Removes the whole customer with all conversations, personal data, keys, and what was learnt from them. `None` if there is none.
    /// Called again after a failure it goes on.
    ///
    /// # Errors
    /// `Reason`; what the database reports.
    pub async fn erase_customer(
        &self,
        id: CustomerId,
        actor: &str,
        reason: &str,
    ) -> Result<Option<Erased>, EraseError> {
        let reason = reason.trim();
        if !REASON_CHARS.contains(&reason.chars().count()) {
            return Err(EraseError::Reason);
        }
        let reason = self.masker.mask(reason).text;
        let parts = self.store.whole_customer(id).await?;
        let Some(root) = parts.first() else {
            return Ok(None);
        };
        let record = |action: &str, detail| AuditRecord {
            at: self.clock.now(),
            actor: actor.to_owned(),
            action: action.to_owned(),
            object: format!("customer:{}", root.id),
            detail,
        };
        // Written before anything is gone: whoever reads the log sees what was begun.
        self.store
            .append_audit(&record("customer.erase_begin", json!({ "reason": reason })))
            .await?;
        let mut removed = Removed::default();
        loop {
            // Looked up each time: somebody may be merged meanwhile.
            let parts = self.store.whole_customer(id).await?;
            let mut none_left = true;
            for part in &parts {
                let found = self.store.conversations_of(part.id, BATCH).await?;
                if found.is_empty() {
                    continue;
                }
                none_left = false;
                let ids: Vec<_> = found.iter().map(|conversation| conversation.id).collect();
                let (batch, said) = self.store.erase_conversations(&ids).await?;
                self.forget_vectors(&said).await?;
                removed = removed.and(batch);
            }
            if !none_left {
                continue;
            }
            let detail = json!({"reason": reason, "customers": parts.len(), "removed": removed});
            match self.store.erase_customer(id, &record("customer.erase", detail)).await {
                // A conversation began meanwhile.
                Err(StorageError::Conflict { .. }) => {}
                other => {
                    other?;
                    break;
                }
            }
        }
        let settled = self.store.settle(true).await?;
        Ok(Some(Erased { removed, settled }))
    }

    /// Forgets the vectors of what was said: they were computed to compare questions.
    async fn forget_vectors(&self, said: &[String]) -> Result<(), StorageError> {
        let clipped = |text: &String| -> String { text.trim().chars().take(GAP_CHARS).collect() };
        let keys: Vec<[u8; 32]> = said
            .iter()
            .flat_map(|text| [text.clone(), clipped(text)])
            .map(|text| embedding_key(TextKind::Query, &text))
            .collect();
        self.store.remove_embeddings(&keys).await
    }
}

/// The moments before which things are removed.
fn cutoffs(retention: &RetentionConfig, now: Timestamp) -> Cutoffs {
    let before = |days: u32| {
        let kept = SignedDuration::from_hours(i64::from(days) * 24);
        now.checked_sub(kept).ok().filter(|_| days > 0)
    };
    Cutoffs {
        conversations: before(retention.conversations_days),
        messages: before(retention.messages_days),
        traces: before(retention.traces_days),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_days_keep_for_ever() {
        let now = Timestamp::from_second(1_780_000_000).unwrap();
        let mut retention = RetentionConfig {
            conversations_days: 0,
            messages_days: 1,
            traces_days: 30,
            batch: 10,
        };
        let found = cutoffs(&retention, now);
        assert_eq!(found.conversations, None);
        assert_eq!(found.messages, Some(now - SignedDuration::from_hours(24)));
        assert_eq!(found.traces, Some(now - SignedDuration::from_hours(720)));
        // Longer than time is counted.
        retention.conversations_days = u32::MAX;
        assert_eq!(cutoffs(&retention, now).conversations, None);
    }
}
