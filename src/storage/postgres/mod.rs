//! A PostgreSQL server: one database for any number of nodes. Each call that changes something is one transaction; what several
//! nodes must do one after another is done under an advisory lock of the transaction, so that no lock outlives its node.
//!
//! Lock order: the turn of knowledge, rows, the turn of the audit log last.

mod audit;
mod conversations;
mod customers;
mod documents;
mod embeddings;
mod erase;
mod faqs;
mod faults;
mod feed;
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
use feed::Feed;
pub use open::PostgresOptions;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPool;
use sqlx::{PgConnection, Postgres, Transaction};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The longest call. A server that was stopped in the middle of a statement never answers; statements themselves end sooner.
const LONGEST_CALL: Duration = Duration::from_mins(2);

/// Our advisory locks ("kefu" in ASCII); those of other programs in the same database have other numbers.
const LOCKS: i32 = 0x6b65_6675;

/// What is done by one transaction at a time, over all nodes.
#[derive(Clone, Copy)]
enum Turn {
    /// Changes of knowledge, drafts and golden questions.
    Knowledge = 1,
    /// Which customers are one, and what is removed with them.
    Customers = 3,
    /// Lines of the audit log: each is bound to the one before.
    Audit = 2,
}

impl Turn {
    /// Waits for the turn; it ends with the transaction.
    async fn take(self, connection: &mut PgConnection) -> Result<(), StorageError> {
        sqlx::query("SELECT pg_advisory_xact_lock($1, $2)")
            .bind(LOCKS)
            .bind(self as i32)
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// The number of a job's lock.
fn lock_of(job: Job) -> i32 {
    match job {
        Job::Learn => 101,
    }
}

/// The store in a PostgreSQL database, which several nodes may use at once.
pub struct PostgresStore {
    place: String,
    server: String,
    clock: Arc<dyn Clock>,
    pool: PgPool,
    /// Who changes knowledge on this node.
    changing: Arc<Mutex<()>>,
    feed: Feed,
}

impl PostgresStore {
    /// Connects to the database, and creates the tables or brings an older schema up to date. `clock` dates the versions of the
    /// knowledge base.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] for a server that does not answer or does not let us in, or that is older than 15; `Damaged` for
    /// a database that is another program's or not in UTF-8 (it is left as it is), `Newer` for the schema of a newer program.
    pub async fn open(options: &PostgresOptions, clock: Arc<dyn Clock>) -> Result<Self, StorageError> {
        let place = options.place().to_owned();
        match open::open(options).await {
            Ok(opened) => Ok(Self {
                server: opened.server,
                clock,
                feed: Feed::start(opened.listening, place.clone()),
                pool: opened.pool,
                changing: Arc::default(),
                place,
            }),
            Err(error) => Err(faults::explain(&place, error)),
        }
    }

    /// Runs `work` and says what its errors mean.
    async fn explained<T>(
        &self,
        work: impl Future<Output = Result<T, StorageError>> + Send,
    ) -> Result<T, StorageError> {
        match tokio::time::timeout(LONGEST_CALL, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(faults::explain(&self.place, error)),
            Err(_) => Err(faults::unavailable(&self.place, "it does not answer any more")),
        }
    }

    /// A connection to read one statement with.
    async fn reader(&self) -> Result<PoolConnection<Postgres>, StorageError> {
        Ok(self.pool.acquire().await?)
    }

    /// A transaction to read with: all its statements see the same state.
    async fn snapshot(&self) -> Result<Transaction<'static, Postgres>, StorageError> {
        Ok(self
            .pool
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await?)
    }

    /// A transaction to write with; it is rolled back unless it is committed. Each statement sees what was committed before it.
    async fn change(&self) -> Result<Transaction<'static, Postgres>, StorageError> {
        Ok(self
            .pool
            .begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
            .await?)
    }

    /// A transaction to change knowledge with: the only one of its kind over all nodes, until it ends. Of this node one waits in the
    /// database and the others here: those who read find connections all the while.
    async fn change_knowledge(&self) -> Result<KnowledgeChange, StorageError> {
        let turn = Arc::clone(&self.changing).lock_owned();
        let turn = tokio::time::timeout(open::LOCK_PATIENCE, turn).await;
        let turn = turn.map_err(|_| StorageError::Busy)?;
        let mut transaction = self.change().await?;
        Turn::Knowledge.take(&mut transaction).await?;
        Ok(KnowledgeChange {
            transaction,
            _turn: turn,
        })
    }
}

/// A transaction that changes knowledge. It is rolled back unless it is committed.
struct KnowledgeChange {
    transaction: Transaction<'static, Postgres>,
    _turn: OwnedMutexGuard<()>,
}

impl KnowledgeChange {
    async fn commit(self) -> Result<(), StorageError> {
        Ok(self.transaction.commit().await?)
    }
}

impl Deref for KnowledgeChange {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.transaction
    }
}

impl DerefMut for KnowledgeChange {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn ping(&self) -> Result<(), StorageError> {
        self.kb_version().await.map(drop)
    }

    fn describe(&self) -> String {
        format!("PostgreSQL {}", self.server)
    }

    async fn kb_moved(&self, known: KbVersion, patience: Duration) {
        self.feed.moved(known, patience).await;
    }

    async fn claim(&self, job: Job) -> Result<Option<Claim>, StorageError> {
        self.explained(async {
            let mut connection = self.pool.acquire().await?;
            // The lock belongs to the session, and ends with it: when the claim is dropped, and when the node dies.
            connection.close_on_drop();
            let ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2)")
                .bind(LOCKS)
                .bind(lock_of(job))
                .fetch_one(&mut *connection)
                .await?;
            Ok(ours.then(|| Claim::held(connection)))
        })
        .await
    }

    async fn close(&self) {
        self.feed.stop().await;
        self.pool.close().await;
    }
}
