//! The composition root: the only file that names concrete adapters.

use crate::config::Config;
use crate::dialogue::{Assistant, Conversations};
use crate::domain::{Clock, SystemClock};
use crate::inference::{E5Embedder, Embedder, LanguageModel, load_language_model, manifest};
use crate::retrieval::{Ingester, Retriever};
use crate::storage::{SqliteStore, Store};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::task::TaskTracker;

/// What a verb needs of the models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The embedding model: importing and searching.
    Search,
    /// The language model too. Where its file is missing, answers are quoted from passages.
    Answers,
}

/// The parts of the program, put together.
pub struct App {
    /// The settings.
    pub config: Config,
    /// The database.
    pub store: Arc<dyn Store>,
    /// The embedding model.
    pub embedder: Arc<dyn Embedder>,
    /// The index.
    pub retriever: Arc<Retriever>,
    /// What answers.
    pub assistant: Arc<Assistant>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Work that must be finished before the end.
    pub tasks: TaskTracker,
}

/// Memory from which the larger model is chosen: its weights, keys and values, and the embedder need about 3 GB.
const LARGE_MODEL_MEMORY: u64 = 4 << 30;

/// The language models of `auto`, best first.
const LARGE_MODEL: &str = "qwen2.5-coder-1.5b-instruct";
const SMALL_MODEL: &str = "qwen2.5-coder-0.5b-instruct";

/// Opens the database under `data`.
///
/// # Errors
/// What the database reports, each with its remedy.
pub async fn open_store(data: &Path) -> anyhow::Result<Arc<dyn Store>> {
    Ok(Arc::new(SqliteStore::open(data, Arc::new(SystemClock)).await?))
}

/// The name of the language model that `config` asks for; `auto` is the best one that is there and fits into memory,
/// or the one to fetch where none is there.
///
/// # Errors
/// An unreadable manifest.
pub fn language_model_name(config: &Config, models: &Path) -> anyhow::Result<String> {
    if config.inference.language_model != "auto" {
        return Ok(config.inference.language_model.clone());
    }
    let manifest = manifest::Manifest::load(models)?;
    let there = |name: &str| manifest.get(name).is_ok_and(|entry| entry.path(models).is_file());
    let wanted = if available_memory() >= LARGE_MODEL_MEMORY { LARGE_MODEL } else { SMALL_MODEL };
    let name = [wanted, SMALL_MODEL].into_iter().find(|name| there(name)).unwrap_or(wanted);
    Ok(name.to_owned())
}

/// Bytes of memory that can be used without swapping; 0 where the system does not tell.
#[must_use]
pub fn available_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib << 10)
}

/// Loads the embedding model.
///
/// # Errors
/// A missing or damaged file, with what to type.
pub async fn load_embedder(config: &Config, models: &Path) -> anyhow::Result<Arc<dyn Embedder>> {
    let name = &config.inference.embedding_model;
    let (path, sha256) = model_file(name, models)?;
    let (name, settings) = (name.clone(), config.inference.clone());
    let embedder = tokio::task::spawn_blocking(move || E5Embedder::load(&path, &name, &sha256, &settings)).await??;
    Ok(Arc::new(embedder))
}

/// Loads the language model.
///
/// # Errors
/// A missing or damaged file, with what to type.
pub async fn load_model(config: &Config, models: &Path) -> anyhow::Result<Arc<dyn LanguageModel>> {
    let name = language_model_name(config, models)?;
    let (path, sha256) = model_file(&name, models)?;
    let settings = config.inference.clone();
    let engine = tokio::task::spawn_blocking(move || load_language_model(&path, &name, &sha256, &settings)).await??;
    Ok(Arc::new(engine))
}

/// The file of a model and the hash it is pinned to.
fn model_file(name: &str, models: &Path) -> anyhow::Result<(PathBuf, String)> {
    let manifest = manifest::Manifest::load(models)?;
    let entry = manifest.get(name)?;
    let path = entry.path(models);
    if !path.is_file() {
        bail!("model {name} is not in {}: run `kefu models pull {name}`, or import a file with `kefu models import FILE`", models.display());
    }
    manifest.check(models, name)?;
    Ok((path, entry.sha256.clone()))
}

impl App {
    /// Opens everything that `need` asks for.
    ///
    /// # Errors
    /// What is missing or damaged, with what to type. A missing language model is no error: passages are quoted then.
    pub async fn open(config: Config, data: &Path, models: &Path, need: Need) -> anyhow::Result<Self> {
        let store = open_store(data).await?;
        let embedder = load_embedder(&config, models).await?;
        let retriever = open_retriever(&store, &embedder, data, &config).await?;
        let model = match need {
            Need::Search => None,
            Need::Answers => match load_model(&config, models).await {
                Ok(model) => Some(model),
                Err(error) => {
                    tracing::warn!("answers will quote passages, because no language model is loaded: {error:#}");
                    None
                }
            },
        };
        let assistant = Arc::new(Assistant::new(
            Arc::clone(&retriever),
            Arc::clone(&embedder),
            model,
            config.dialogue.clone(),
        ));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Self { config, store, embedder, retriever, assistant, clock, tasks: TaskTracker::new() })
    }

    /// What imports documents into this knowledge base.
    #[must_use]
    pub fn ingester(&self) -> Ingester {
        Ingester::new(
            Arc::clone(&self.store),
            Arc::clone(&self.embedder),
            Arc::clone(&self.clock),
            self.config.retrieval.clone(),
        )
    }

    /// The conversations of this server.
    #[must_use]
    pub fn conversations(&self) -> Arc<Conversations> {
        Arc::new(Conversations::new(
            Arc::clone(&self.assistant),
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            self.tasks.clone(),
            self.config.http.max_replies_per_visitor,
        ))
    }

    /// Finishes what is under way and closes the database.
    pub async fn close(self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
    }
}

/// Opens the index of a knowledge base.
///
/// # Errors
/// What the search or the database reports.
pub async fn open_retriever(
    store: &Arc<dyn Store>,
    embedder: &Arc<dyn Embedder>,
    data: &Path,
    config: &Config,
) -> anyhow::Result<Arc<Retriever>> {
    let retriever =
        Retriever::open(Arc::clone(store), Arc::clone(embedder), data.join("index"), config.retrieval.clone())
            .await
            .context("opening the index")?;
    Ok(Arc::new(retriever))
}
