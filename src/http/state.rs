//! What every handler has. The server listens while the models are still being read: what needs them asks
//! [`AppState::services`] and is told `not_ready` until they are there.

use super::error::ApiError;
use super::metrics::Metrics;
use crate::config::HttpConfig;
use crate::desk::Customers;
use crate::dialogue::{Assistant, Conversations};
use crate::domain::Clock;
use crate::inference::{Embedder, Reader};
use crate::jobs::{Eraser, Imports, Learner, Publisher, Trainer};
use crate::people::People;
use crate::storage::Store;
use jiff::Timestamp;
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What answers questions.
#[derive(Clone)]
pub struct Services {
    /// Answers from the knowledge base.
    pub assistant: Arc<Assistant>,
    /// Keeps conversations.
    pub conversations: Arc<Conversations>,
    /// Embeds texts.
    pub embedder: Arc<dyn Embedder>,
    /// Reads texts for a question.
    pub reader: Arc<dyn Reader>,
    /// Learns from conversations.
    pub learner: Arc<Learner>,
    /// Learns what customers want; `None` where the settings want nothing sensed.
    pub trainer: Option<Arc<Trainer>>,
    /// Publishes and rolls back.
    pub publisher: Arc<Publisher>,
    /// Imports uploads.
    pub imports: Arc<Imports>,
    /// Knows customers again.
    pub customers: Arc<Customers>,
    /// Removes customers.
    pub eraser: Arc<Eraser>,
}

/// The state of one part of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartState {
    /// It works.
    Ok,
    /// It is being read or built.
    Loading,
    /// It does not work, with the reason; shown to clients on this machine alone.
    Failed(String),
}

/// A part of the program that must work before the server is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The language model.
    Model,
    /// The database.
    Database,
    /// The index.
    Index,
}

/// Which parts work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// The language model.
    pub model: PartState,
    /// The database.
    pub database: PartState,
    /// The index.
    pub index: PartState,
}

impl Readiness {
    /// Whether every part works.
    #[must_use]
    pub fn all_ok(&self) -> bool {
        [&self.model, &self.database, &self.index]
            .into_iter()
            .all(|part| *part == PartState::Ok)
    }
}

/// The state of the server; clones share it.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

struct Inner {
    config: Arc<HttpConfig>,
    store: Arc<dyn Store>,
    people: People,
    clock: Arc<dyn Clock>,
    started: Timestamp,
    metrics: Metrics,
    readiness: watch::Sender<Readiness>,
    services: OnceLock<Services>,
    closing: CancellationToken,
}

impl AppState {
    /// A server over an open database. Model and index count as loading until [`AppState::install`] and
    /// [`AppState::set`] say otherwise.
    #[must_use]
    pub fn new(config: Arc<HttpConfig>, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let readiness = Readiness {
            model: PartState::Loading,
            database: PartState::Ok,
            index: PartState::Loading,
        };
        let people = People::new(Arc::clone(&store), Arc::clone(&clock));
        Self(Arc::new(Inner {
            config,
            people,
            store,
            started: clock.now(),
            clock,
            metrics: Metrics::default(),
            readiness: watch::Sender::new(readiness),
            services: OnceLock::new(),
            closing: CancellationToken::new(),
        }))
    }

    /// Gives the server what answers questions. Returns `false` if it already had that: the first one stays.
    pub fn install(&self, services: Services) -> bool {
        self.0.services.set(services).is_ok()
    }

    /// Tells the state of a part.
    pub fn set(&self, part: Part, state: PartState) {
        self.0.readiness.send_modify(|readiness| match part {
            Part::Model => readiness.model = state,
            Part::Database => readiness.database = state,
            Part::Index => readiness.index = state,
        });
    }

    /// Which parts work now.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.0.readiness.borrow().clone()
    }

    /// Follows which parts work.
    #[must_use]
    pub fn watch_readiness(&self) -> watch::Receiver<Readiness> {
        self.0.readiness.subscribe()
    }

    /// What answers questions.
    ///
    /// # Errors
    /// 503 `not_ready` until it is there.
    pub fn services(&self) -> Result<&Services, ApiError> {
        self.0.services.get().ok_or_else(ApiError::not_ready)
    }

    /// The assistant.
    ///
    /// # Errors
    /// 503 `not_ready` until it is there.
    pub fn assistant(&self) -> Result<Arc<Assistant>, ApiError> {
        Ok(Arc::clone(&self.services()?.assistant))
    }

    /// What learns from conversations.
    ///
    /// # Errors
    /// 503 `not_ready` until it is there.
    pub fn learner(&self) -> Result<Arc<Learner>, ApiError> {
        Ok(Arc::clone(&self.services()?.learner))
    }

    /// The customers.
    ///
    /// # Errors
    /// 503 `not_ready` until they are there.
    pub fn customers(&self) -> Result<Arc<Customers>, ApiError> {
        Ok(Arc::clone(&self.services()?.customers))
    }

    /// The conversations.
    ///
    /// # Errors
    /// 503 `not_ready` until they are there.
    pub fn conversations(&self) -> Result<Arc<Conversations>, ApiError> {
        Ok(Arc::clone(&self.services()?.conversations))
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &HttpConfig {
        &self.0.config
    }

    /// The database.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        self.0.store.as_ref()
    }

    /// Accounts and sessions.
    #[must_use]
    pub fn people(&self) -> &People {
        &self.0.people
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// When the server began.
    #[must_use]
    pub fn started(&self) -> Timestamp {
        self.0.started
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Cancelled when replies under way must end: the drain time of a shutdown has passed.
    pub(super) fn closing(&self) -> &CancellationToken {
        &self.0.closing
    }
}
