//! The embedded database: one SQLite file in the data directory. One connection writes, a few read; each call that
//! changes something is one transaction, on the disk when the call returns (WAL, `synchronous=FULL`).

mod audit;
mod conversations;
mod customers;
mod documents;
mod embeddings;
mod erase;
mod faqs;
mod faults;
mod flows;
mod golden;
mod handoffs;
mod intents;
mod keys;
mod knowledge;
mod learning;
mod open;
mod people;
mod publishing;
mod records;
mod revisions;
mod rows;
mod vault;

use super::{Claim, Job, KnowledgeStore, StorageError, Store};
use crate::domain::{Clock, KbVersion};
use async_trait::async_trait;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqlitePool;
use sqlx::{Sqlite, Transaction};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The store in `kefu.sqlite3`. Several processes may have it open at once; they take turns to write.
pub struct SqliteStore {
    path: PathBuf,
    library: String,
    clock: Arc<dyn Clock>,
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the database in `data_dir`; creates both where there are none (mode 0700 and 0600), and brings an older
    /// schema up to date. `clock` dates the versions of the knowledge base.
    ///
    /// # Errors
    /// [`StorageError::Damaged`] for a file that is damaged or another program's (it is left as it is), `Newer` for
    /// the schema of a newer program, `Io` where the directory cannot be used, `Full`, `Busy` where another process
    /// holds the database for longer than five seconds, `OldLibrary`.
    pub async fn open(data_dir: &Path, clock: Arc<dyn Clock>) -> Result<Self, StorageError> {
        let path = open::prepare(data_dir)?;
        match open::open(&path).await {
            Ok(opened) => {
                let open::Opened {
                    writer,
                    readers,
                    library,
                } = opened;
                Ok(Self {
                    path,
                    library,
                    clock,
                    writer,
                    readers,
                })
            }
            Err(error) => Err(faults::explain(&path, error).await),
        }
    }

    /// The file, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` and says what its errors mean.
    async fn explained<T>(
        &self,
        work: impl Future<Output = Result<T, StorageError>> + Send,
    ) -> Result<T, StorageError> {
        match work.await {
            Ok(value) => Ok(value),
            Err(error) => Err(faults::explain(&self.path, error).await),
        }
    }

    /// A connection to read one statement with.
    async fn reader(&self) -> Result<PoolConnection<Sqlite>, StorageError> {
        Ok(self.readers.acquire().await?)
    }

    /// A transaction to read with: all its statements see the same state.
    async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>, StorageError> {
        Ok(self.readers.begin().await?)
    }

    /// A transaction to write with; it is rolled back unless it is committed.
    async fn change(&self) -> Result<Transaction<'static, Sqlite>, StorageError> {
        // IMMEDIATE: the wait for other processes comes first, so that no statement after it can find a lock.
        const BEGIN: &str = "BEGIN IMMEDIATE";
        match self.writer.begin_with(BEGIN).await {
            // When the disk is full SQLite ends the transaction itself. The connection still counts one as open and
            // would count it for ever, so it is replaced.
            Err(sqlx::Error::InvalidSavePointStatement) => {
                self.writer.acquire().await?.close().await?;
                Ok(self.writer.begin_with(BEGIN).await?)
            }
            other => Ok(other?),
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn ping(&self) -> Result<(), StorageError> {
        self.kb_version().await.map(drop)
    }

    /// SQLite tells nobody of what another process wrote: it is looked for.
    async fn kb_moved(&self, _known: KbVersion, patience: Duration) {
        tokio::time::sleep(patience).await;
    }

    async fn claim(&self, _job: Job) -> Result<Option<Claim>, StorageError> {
        Ok(Some(Claim::of_only_node()))
    }

    fn describe(&self) -> String {
        format!("SQLite {}", self.library)
    }

    async fn close(&self) {
        // The writer last: the last connection folds the WAL into the file, and one that only reads cannot.
        self.readers.close().await;
        self.writer.close().await;
    }
}
