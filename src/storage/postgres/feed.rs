//! Which version the knowledge base has, as the server tells it: `NOTIFY` comes with the commit of a version.

use crate::domain::KbVersion;
use crate::storage::StorageError;
use sqlx::postgres::{PgListener, PgPool};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the trigger on `kb_versions` notifies.
const CHANNEL: &str = "kefu_knowledge";

/// Between two attempts to listen again.
const PAUSE: Duration = Duration::from_millis(500);

/// Follows the version while the store is open.
pub(super) struct Feed {
    version: watch::Receiver<KbVersion>,
    task: Mutex<Option<JoinHandle<()>>>,
    pool: PgPool,
}

impl Feed {
    /// Listens over `pool`, which has one connection.
    pub(super) fn start(pool: PgPool, place: String) -> Self {
        let (sender, version) = watch::channel(KbVersion(0));
        let task = tokio::spawn(follow(pool.clone(), sender, place));
        Self {
            version,
            task: Mutex::new(Some(task)),
            pool,
        }
    }

    /// Returns once another version than `known` was told of, or after `patience`.
    pub(super) async fn moved(&self, known: KbVersion, patience: Duration) {
        let mut version = self.version.clone();
        let _ = tokio::time::timeout(patience, async {
            if version.wait_for(|version| *version > known).await.is_err() {
                // Nobody listens any more: the wait is all there is.
                std::future::pending::<()>().await;
            }
        })
        .await;
    }

    /// Listens no more.
    pub(super) async fn stop(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
        self.pool.close().await;
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

/// Listens, again and again: a lost connection is made anew.
async fn follow(pool: PgPool, version: watch::Sender<KbVersion>, place: String) {
    let mut lost = false;
    loop {
        if let Err(error) = listen(&pool, &version, &mut lost).await
            && !std::mem::replace(&mut lost, true)
        {
            tracing::warn!(database = place, %error, "changes of the knowledge base are looked for, not heard of");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(pool: &PgPool, version: &watch::Sender<KbVersion>, lost: &mut bool) -> Result<(), StorageError> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.ignore_pool_close_event(true);
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    // What was committed before we listened is not told of.
    let now: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM kb_versions")
        .fetch_one(&mut listener)
        .await?;
    version.send_replace(KbVersion(now.cast_unsigned()));
    if std::mem::take(lost) {
        tracing::info!("changes of the knowledge base are heard of again");
    }
    while let Some(notice) = listener.try_recv().await? {
        if let Ok(number) = notice.payload().parse() {
            version.send_replace(KbVersion(number));
        }
    }
    Ok(())
}
