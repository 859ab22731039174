//! The composition root: the only file that names concrete adapters.

use crate::config::{self, Config};
use crate::desk::Customers;
use crate::dialogue::flow::tools::tools_of;
use crate::dialogue::flow::{self, Similarity};
use crate::dialogue::{Assistant, Confidence, Conversations, FlowDriver, FlowParts, Replayer, Senses};
use crate::domain::{Clock, SystemClock, Viewer};
use crate::http::{self, AppState, Part, PartState, Services};
use crate::inference::{
    CrossReader, E5Embedder, Embedder, InferenceError, LanguageModel, LayerFeatures, Reader, RemoteModel, TextKind,
    load_language_model, manifest,
};
use crate::jobs::{Eraser, Imports, Learner, Publisher, Trainer};
use crate::retrieval::parse::child::{Limits, Readers};
use crate::retrieval::{Ingester, Retriever, Vectors};
use crate::storage::{PostgresOptions, PostgresStore, SqliteStore, Store, Vault};
use crate::understanding::pii::{Masker, Policy};
use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
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
    /// What reads passages for a question.
    pub reader: Arc<dyn Reader>,
    /// The index.
    pub retriever: Arc<Retriever>,
    /// What answers.
    pub assistant: Arc<Assistant>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Work that must be finished before the end.
    pub tasks: TaskTracker,
    /// What reads documents.
    pub readers: Readers,
    /// The data directory.
    data: PathBuf,
}

/// Memory from which the larger model is chosen: its weights, keys and values, and the embedder need about 3 GB.
const LARGE_MODEL_MEMORY: u64 = 4 << 30;

/// The language models of `auto`, best first.
const LARGE_MODEL: &str = "qwen2.5-coder-1.5b-instruct";
const SMALL_MODEL: &str = "qwen2.5-coder-0.5b-instruct";

/// Opens the database that the settings name, or the embedded one under `data`.
///
/// # Errors
/// What the database reports, each with its remedy.
pub async fn open_store(config: &Config, data: &Path) -> anyhow::Result<Arc<dyn Store>> {
    let (settings, clock) = (&config.storage, Arc::new(SystemClock));
    if settings.url.is_empty() {
        return Ok(Arc::new(SqliteStore::open(data, clock).await?));
    }
    let password = config::storage_password(settings)?;
    let password = password.as_ref().map(config::Secret::reveal);
    let options = PostgresOptions::new(&settings.url, password, settings.max_connections)?;
    Ok(Arc::new(PostgresStore::open(&options, clock).await?))
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
    let wanted = if available_memory() >= LARGE_MODEL_MEMORY {
        LARGE_MODEL
    } else {
        SMALL_MODEL
    };
    let name = [wanted, SMALL_MODEL]
        .into_iter()
        .find(|name| there(name))
        .unwrap_or(wanted);
    Ok(name.to_owned())
}

/// Bytes of memory that can be used without swapping; 0 where the system does not tell.
#[must_use]
pub fn available_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines()
        .find_map(|line| {
            line.strip_prefix("MemAvailable:")?
                .trim()
                .strip_suffix("kB")?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .map_or(0, |kib| kib << 10)
}

/// What reads documents: this very program, in processes of its own.
#[must_use]
pub fn document_readers() -> Readers {
    // The link leads to the running program even after an update has replaced its file.
    let own = PathBuf::from("/proc/self/exe");
    let program = if own.exists() {
        own
    } else {
        std::env::current_exe().unwrap_or(own)
    };
    Readers::new(program, Limits::default())
}

/// What masks personal data, by the policy that the settings name.
///
/// # Errors
/// A file that cannot be read or is no policy.
pub fn masker(config: &Config) -> anyhow::Result<Masker> {
    let file = &config.privacy.policy_file;
    if file.is_empty() {
        return Ok(Masker::default());
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("[privacy] policy_file {file}"))?;
    let policy = Policy::parse(&text).with_context(|| format!("[privacy] policy_file {file}"))?;
    Ok(Masker::new(policy))
}

/// The vault of the key file that the settings name.
///
/// # Errors
/// A key file that others may read, or that is none.
pub fn open_vault(config: &Config, data: &Path) -> anyhow::Result<Vault> {
    let file = match config.privacy.key_file.as_str() {
        "" => data.join("vault.key"),
        file => PathBuf::from(file),
    };
    Ok(Vault::open(&file)?)
}

/// Customers kept in `store`.
///
/// # Errors
/// A policy or a key file that cannot be used.
pub fn customers(config: &Config, store: &Arc<dyn Store>, data: &Path) -> anyhow::Result<Customers> {
    let vault = if config.privacy.vault {
        Some(Arc::new(open_vault(config, data)?))
    } else {
        None
    };
    Ok(Customers::new(
        Arc::clone(store),
        vault,
        Arc::new(SystemClock),
        masker(config)?,
        config.customers.history_messages,
    ))
}

/// Loads the embedding model.
///
/// # Errors
/// A missing or damaged file, with what to type.
pub async fn load_embedder(config: &Config, models: &Path) -> anyhow::Result<Arc<E5Embedder>> {
    let name = &config.inference.embedding_model;
    let (path, sha256) = model_file(name, models)?;
    let (name, settings) = (name.clone(), config.inference.clone());
    let embedder = tokio::task::spawn_blocking(move || E5Embedder::load(&path, &name, &sha256, &settings)).await??;
    Ok(Arc::new(embedder))
}

/// The calibration of the confidences that the settings name.
fn calibrated(config: &Config, reader: &dyn Reader) -> anyhow::Result<Confidence> {
    let confidence = match config.dialogue.calibration.as_str() {
        "" => Confidence::built_in()?,
        file => std::fs::read_to_string(file)
            .map_err(anyhow::Error::from)
            .and_then(|json| Ok(Confidence::parse(&json)?))
            .with_context(|| format!("the setting [dialogue] calibration, {file}"))?,
    };
    let fitted = &confidence.calibration().reader;
    if fitted != reader.version() {
        tracing::warn!(
            "the confidences were fitted with the reader {fitted}, and {} is loaded: run `kefu eval calibrate --out FILE` and name the \
             file in [dialogue] calibration",
            reader.version()
        );
    }
    Ok(confidence)
}

/// Loads the reader over the embedding model.
///
/// # Errors
/// A file that is none, or belongs to another embedding model.
pub async fn load_reader(config: &Config, embedder: Arc<E5Embedder>) -> anyhow::Result<Arc<dyn Reader>> {
    let settings = config.inference.clone();
    let reader = tokio::task::spawn_blocking(move || match settings.reader.as_str() {
        "" => Ok(CrossReader::built_in(&embedder, &settings)?),
        file => CrossReader::load(Path::new(file), &embedder, &settings)
            .context("the setting [inference] reader (leave it empty for the reader that comes with the program)"),
    });
    Ok(Arc::new(reader.await??))
}

/// Loads the language model, or takes the one of the server that the settings name.
///
/// # Errors
/// A missing or damaged file, with what to type; settings of a server that cannot work.
pub async fn load_model(config: &Config, models: &Path) -> anyhow::Result<Arc<dyn LanguageModel>> {
    let server = &config.inference.server;
    if server.is_set() {
        let key = config::server_key(server)?;
        let model = RemoteModel::new(&config.inference, key.as_ref())?;
        if let Err(error) = model.check().await {
            tracing::warn!("{error}; answers quote passages until it answers");
        }
        return Ok(Arc::new(model));
    }
    let name = language_model_name(config, models)?;
    let (path, sha256) = model_file(&name, models)?;
    let settings = config.inference.clone();
    let engine = tokio::task::spawn_blocking(move || load_language_model(&path, &name, &sha256, &settings)).await??;
    Ok(Arc::new(engine))
}

/// The file of the head for `task`: in the directory that the settings name, or `heads` beside the models; `None` where there are to be
/// none. In a directory that the settings name the file must be there.
///
/// # Errors
/// A file that cannot be read.
pub fn head_bytes(config: &Config, models: &Path, task: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let (directory, named) = match config.understanding.heads.as_str() {
        "none" => return Ok(None),
        "" => (models.join("heads"), false),
        directory => (PathBuf::from(directory), true),
    };
    let path = directory.join(format!("{task}.kfh"));
    // What customers want is every company's own: such a head need not be there.
    if (!named || task == "intent") && !path.is_file() {
        return Ok(None);
    }
    let bytes = std::fs::read(&path).with_context(|| format!("[understanding] heads: {}", path.display()))?;
    Ok(Some(bytes))
}

/// What senses moods and risks over the embedding model's encoder, unless the settings want nothing sensed.
fn load_senses(config: &Config, models: &Path, embedder: &E5Embedder) -> anyhow::Result<Option<Senses>> {
    if config.understanding.heads == "none" {
        tracing::info!("no heads: nobody is handed over for a mood or a danger, and no intents are known");
        return Ok(None);
    }
    let bytes = |task| head_bytes(config, models, task);
    let features = Arc::new(LayerFeatures::over(embedder, &config.inference)?);
    let bad = |task: &str, error| {
        anyhow::Error::new(error).context(format!(
            "the head for {task} (set [understanding] heads = \"none\" to go without heads, or to a directory of your own)"
        ))
    };
    let moods = (bytes("emotion")?, bytes("satisfaction")?, bytes("risk")?);
    let senses = if let (Some(emotion), Some(satisfaction), Some(risk)) = moods {
        let heads = [emotion.as_slice(), &satisfaction, &risk];
        Senses::new(features, heads, config.understanding.clone()).map_err(|(task, error)| bad(task, error))?
    } else {
        tracing::info!("no heads for emotion, satisfaction and risk: nobody is handed over for a mood or a danger");
        Senses::without_moods(features, config.understanding.clone())
    };
    if let Some(intents) = bytes("intent")? {
        senses.use_intents(0, &intents).map_err(|error| bad("intent", error))?;
    }
    Ok(Some(senses))
}

/// The file of a model and the hash it is pinned to.
fn model_file(name: &str, models: &Path) -> anyhow::Result<(PathBuf, String)> {
    let manifest = manifest::Manifest::load(models)?;
    let entry = manifest.get(name)?;
    let path = entry.path(models);
    if !path.is_file() {
        bail!(
            "model {name} is not in {}: run `kefu models pull {name}`, or import a file with `kefu models import FILE`",
            models.display()
        );
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
        let store = open_store(&config, data).await?;
        Self::assemble(config, store, data, models, need)
            .await
            .map(|(app, _)| app)
    }

    /// Puts the parts together over an open database; also returns why there is no language model, if there is none.
    async fn assemble(
        config: Config,
        store: Arc<dyn Store>,
        data: &Path,
        models: &Path,
        need: Need,
    ) -> anyhow::Result<(Self, Option<anyhow::Error>)> {
        let searching = async {
            let embedder = load_embedder(&config, models).await?;
            let reader = load_reader(&config, Arc::clone(&embedder)).await?;
            let senses = load_senses(&config, models, &embedder)?;
            let embedder: Arc<dyn Embedder> = embedder;
            let retriever = Retriever::open(
                Arc::clone(&store),
                Arc::clone(&embedder),
                data.join("index"),
                config.retrieval.clone(),
            );
            anyhow::Ok((
                embedder,
                reader,
                senses,
                Arc::new(retriever.await.context("opening the index")?),
            ))
        };
        let writing = async {
            match need {
                Need::Search => None,
                Need::Answers => Some(load_model(&config, models).await),
            }
        };
        let (searching, writing) = tokio::join!(searching, writing);
        let (embedder, reader, senses, retriever) = searching?;
        let (model, missing) = match writing {
            Some(Ok(model)) => (Some(model), None),
            // Who names a graphics card does not want to learn later that nothing computes there.
            Some(Err(error)) if matches!(error.downcast_ref(), Some(InferenceError::Device { .. })) => {
                return Err(error);
            }
            Some(Err(error)) => {
                tracing::warn!("answers will quote passages, because no language model is loaded: {error:#}");
                (None, Some(error))
            }
            None => (None, None),
        };
        let assistant = Assistant::new(
            Arc::clone(&retriever),
            Arc::clone(&reader),
            model,
            calibrated(&config, reader.as_ref())?,
            config.dialogue.clone(),
        );
        let assistant = assistant.with_masker(masker(&config)?);
        let assistant = Arc::new(match senses {
            Some(senses) => assistant.with_senses(Arc::new(senses)),
            None => assistant,
        });
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let app = Self {
            config,
            store,
            embedder,
            reader,
            retriever,
            assistant,
            clock,
            tasks: TaskTracker::new(),
            readers: document_readers(),
            data: data.to_owned(),
        };
        Ok((app, missing))
    }

    /// Somebody of no group, on no channel, at present: who asks on the command line.
    #[must_use]
    pub fn viewer(&self) -> Viewer {
        Viewer::anybody(self.clock.now())
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
        .with_readers(self.readers.clone())
        .with_masker(self.assistant.masker())
    }

    /// What publishes, tried on this knowledge base.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher::new(
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            self.config.knowledge.clone(),
        )
        .with_trial(Arc::clone(&self.assistant))
    }

    /// What the server answers with.
    fn services(&self) -> anyhow::Result<Services> {
        let mut conversations = Conversations::new(
            Arc::clone(&self.assistant),
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            self.tasks.clone(),
            self.config.http.max_replies_per_visitor,
        );
        let vault = if self.config.privacy.vault {
            Some(Arc::new(open_vault(&self.config, &self.data)?))
        } else {
            None
        };
        if let Some(flows) = self.flows(vault.as_ref())? {
            conversations = conversations.with_flows(Arc::new(flows));
        }
        if let Some(vault) = vault {
            conversations = conversations.with_vault(vault);
        }
        if self.config.customers.history_in_answers {
            conversations = conversations.with_past(self.config.customers.history_messages);
        }
        let publisher = Arc::new(self.publisher());
        let imports = Imports::new(
            self.ingester(),
            Arc::clone(&publisher),
            self.data.join("uploads"),
            self.tasks.clone(),
        );
        Ok(Services {
            publisher,
            trainer: self.trainer(),
            imports: Arc::new(imports),
            assistant: Arc::clone(&self.assistant),
            conversations: Arc::new(conversations),
            embedder: Arc::clone(&self.embedder),
            reader: Arc::clone(&self.reader),
            learner: Arc::new(self.learner()),
            customers: Arc::new(customers(&self.config, &self.store, &self.data)?),
            eraser: Arc::new(self.eraser()),
        })
    }

    /// The task flows of the settings, with what they call.
    fn flows(&self, vault: Option<&Arc<Vault>>) -> anyhow::Result<Option<FlowDriver>> {
        let settings = &self.config.dialogue;
        if settings.flows.is_empty() {
            return Ok(None);
        }
        let vault =
            vault.context("task flows keep what customers tell them in the vault: set [privacy] vault = true")?;
        let threshold = settings.flow_similarity;
        let similarity: Arc<dyn Similarity> = Arc::new(EmbedderSimilarity(Arc::clone(&self.embedder)));
        let parts = FlowParts {
            flows: flow::load(Path::new(&settings.flows)).context("the setting [dialogue] flows")?,
            tools: tools_of(&self.config.tools, &self.clock, settings.utc_offset_minutes)?,
            similarity: (threshold < 1.0).then_some((similarity, threshold)),
            zone: flow::tools::zone(settings.utc_offset_minutes),
            vault: Arc::clone(vault),
        };
        let driver = FlowDriver::new(
            parts,
            Arc::clone(&self.assistant),
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
        )?;
        Ok(Some(driver))
    }

    /// What removes what is no longer kept.
    #[must_use]
    pub fn eraser(&self) -> Eraser {
        let masker = self.assistant.masker().clone();
        Eraser::new(Arc::clone(&self.store), Arc::clone(&self.clock), masker)
    }

    /// What gives replies again.
    ///
    /// # Errors
    /// Flows or a key file that cannot be used.
    pub fn replayer(&self) -> anyhow::Result<Replayer> {
        let vault = if self.config.privacy.vault {
            Some(Arc::new(open_vault(&self.config, &self.data)?))
        } else {
            None
        };
        let flows = self.flows(vault.as_ref())?.map(Arc::new);
        Ok(Replayer::new(
            Arc::clone(&self.assistant),
            Arc::clone(&self.store),
            flows,
        ))
    }

    /// What learns what customers want; `None` where nothing is sensed.
    fn trainer(&self) -> Option<Arc<Trainer>> {
        self.assistant.senses().map(|senses| {
            Arc::new(Trainer::new(
                Arc::clone(senses),
                Arc::clone(&self.store),
                Arc::clone(&self.clock),
                self.config.inference.threads,
            ))
        })
    }

    /// What learns from conversations.
    fn learner(&self) -> Learner {
        Learner::new(
            Vectors::new(Arc::clone(&self.store), Arc::clone(&self.embedder)),
            Arc::clone(&self.assistant),
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
        )
    }

    /// Serves this on a free port of the loopback address, for measurements.
    ///
    /// # Errors
    /// A port that cannot be had.
    pub async fn serve_loopback(&self) -> anyhow::Result<LoopbackServer> {
        let listener = http::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = AppState::new(
            Arc::new(self.config.http.clone()),
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
        );
        state.install(self.services()?);
        state.set(Part::Index, PartState::Ok);
        state.set(Part::Model, PartState::Ok);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(http::serve(listener, state, shutdown.clone()));
        Ok(LoopbackServer {
            address,
            shutdown,
            task,
        })
    }

    /// Finishes what is under way and closes the database.
    pub async fn close(self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
    }
}

/// The meaning that the embedding model sees: what flows begin by.
pub struct EmbedderSimilarity(pub Arc<dyn Embedder>);

#[async_trait::async_trait]
impl Similarity for EmbedderSimilarity {
    async fn vectors(&self, texts: Vec<String>) -> Option<Vec<Vec<f32>>> {
        let vectors = self.0.embed(TextKind::Query, texts).await;
        let vectors = vectors
            .inspect_err(|error| tracing::warn!(%error, "flows begin by their wordings alone"))
            .ok()?;
        Some(vectors.data.chunks_exact(vectors.dim).map(<[f32]>::to_vec).collect())
    }
}

/// A server on the loopback address.
pub struct LoopbackServer {
    /// Where it listens.
    pub address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), http::ServeError>>,
}

impl LoopbackServer {
    /// Stops it and waits for its end.
    pub async fn stop(self) {
        self.shutdown.cancel();
        if let Err(error) = self.task.await {
            tracing::warn!(%error, "the server ended badly");
        }
    }
}

/// Runs the server until `shutdown` is cancelled. It listens at once and answers `not_ready` until models and index are
/// there.
///
/// # Errors
/// A port that is taken, a database or an embedding model that cannot be used, each with its remedy.
pub async fn serve(config: Config, data: &Path, models: &Path, shutdown: CancellationToken) -> anyhow::Result<()> {
    let listener = http::bind(&config.http.listen).await?;
    let store = open_store(&config, data).await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let state = AppState::new(Arc::new(config.http.clone()), Arc::clone(&store), clock);
    tracing::info!(address = %listener.local_addr()?, database = store.describe(), "listening; models are being read");
    let server = tokio::spawn(http::serve(listener, state.clone(), shutdown.clone()));
    let assembled = tokio::select! {
        assembled = App::assemble(config, Arc::clone(&store), data, models, Need::Answers) => assembled,
        () = shutdown.cancelled() => {
            server.await??;
            store.close().await;
            return Ok(());
        }
    };
    let assembled = assembled.and_then(|(app, missing)| Ok((app.services()?, app, missing)));
    let (services, app, missing) = match assembled {
        Ok(parts) => parts,
        Err(error) => {
            shutdown.cancel();
            server.await??;
            store.close().await;
            return Err(error);
        }
    };
    let imports = Arc::clone(&services.imports);
    let trainer = services.trainer.clone();
    if let Some(trainer) = &trainer
        && let Err(error) = trainer.catch_up().await
    {
        // A head for another embedding model, for one: questions are answered without intents until it is trained anew.
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the stored head for intents cannot be used"
        );
    }
    state.install(services);
    state.set(Part::Index, PartState::Ok);
    state.set(
        Part::Model,
        missing.map_or(PartState::Ok, |error| PartState::Failed(format!("{error:#}"))),
    );
    let model = app.assistant.model().map_or("none", |model| model.info().name.as_str());
    tracing::info!(model, kb_version = %app.retriever.kb_version(), "ready");
    let following = tokio::spawn(follow_knowledge(
        Arc::clone(&app.store),
        Arc::clone(&app.retriever),
        Duration::from_millis(app.config.retrieval.refresh_interval_ms),
        state,
        shutdown.clone(),
    ));
    let heads = tokio::spawn(follow_heads(trainer, shutdown.clone()));
    let learning = tokio::spawn(learn_from_conversations(app.learner(), shutdown.clone()));
    let removing = tokio::spawn(remove_what_is_old(
        app.eraser(),
        app.config.retention.clone(),
        shutdown.clone(),
    ));
    let served = server.await?;
    following.await?;
    heads.await?;
    learning.await?;
    removing.await?;
    imports.stop();
    app.close().await;
    served?;
    Ok(())
}

/// How often is looked for a head that another node trained.
const HEADS_EVERY: Duration = Duration::from_secs(2);

/// Uses the newest head for intents, whichever process trained it.
async fn follow_heads(trainer: Option<Arc<Trainer>>, shutdown: CancellationToken) {
    let Some(trainer) = trainer else { return };
    let mut failing = false;
    while shutdown
        .run_until_cancelled(tokio::time::sleep(HEADS_EVERY))
        .await
        .is_some()
    {
        match trainer.catch_up().await {
            Ok(newer) => {
                failing = false;
                if let Some(version) = newer {
                    tracing::info!(version, "another head for intents is in use");
                }
            }
            Err(error) if !std::mem::replace(&mut failing, true) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the newest head for intents cannot be used"
                );
            }
            Err(_) => {}
        }
    }
}

/// How often conversations are looked at for what they teach.
const LEARN_EVERY: Duration = Duration::from_secs(20);

/// When what is old is first removed after a start, and how often then.
const REMOVE_AFTER: Duration = Duration::from_mins(5);
const REMOVE_EVERY: Duration = Duration::from_hours(24);

/// Removes what is older than the settings allow, every day.
async fn remove_what_is_old(eraser: Eraser, retention: config::RetentionConfig, shutdown: CancellationToken) {
    let mut wait = REMOVE_AFTER;
    while shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
        wait = REMOVE_EVERY;
        match eraser.expire(&retention, "retention", false, &shutdown).await {
            Ok(done) if done.removed.is_nothing() => {}
            Ok(done) => tracing::info!(
                conversations = done.removed.conversations,
                messages = done.removed.messages,
                traces = done.removed.traces,
                "removed what is old"
            ),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "what is old could not be removed"
            ),
        }
    }
}

/// Learns from conversations, step by step, as long as there is something to look at.
async fn learn_from_conversations(learner: Learner, shutdown: CancellationToken) {
    let mut failing = false;
    let mut wait = LEARN_EVERY;
    while shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_some() {
        wait = LEARN_EVERY;
        match learner.step().await {
            Ok(learnt) => {
                failing = false;
                if learnt.is_full() {
                    wait = Duration::ZERO;
                }
                if learnt.new_gaps + learnt.suggestions > 0 {
                    tracing::info!(
                        gaps = learnt.new_gaps,
                        suggestions = learnt.suggestions,
                        "learnt from conversations"
                    );
                }
            }
            // Said once: the next step looks at the same again.
            Err(error) if !std::mem::replace(&mut failing, true) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "nothing is learnt from conversations"
                );
            }
            Err(_) => {}
        }
    }
}

/// The shortest time between two looks at the knowledge base, however much is told of it.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Brings the index up to date whenever the knowledge base has changed, by this process or by another: when the database tells of
/// it, and each `every` in any case.
pub async fn follow_knowledge(
    store: Arc<dyn Store>,
    retriever: Arc<Retriever>,
    every: Duration,
    state: AppState,
    shutdown: CancellationToken,
) {
    let mut failing = false;
    let news = || async {
        tokio::time::sleep(LOOK_PAUSE).await;
        store.kb_moved(retriever.kb_version(), every).await;
    };
    while shutdown.run_until_cancelled(news()).await.is_some() {
        match retriever.refresh().await {
            Ok(changed) => {
                if changed {
                    tracing::info!(kb_version = %retriever.kb_version(), "the index follows the knowledge base");
                }
                if std::mem::take(&mut failing) {
                    state.set(Part::Index, PartState::Ok);
                }
            }
            Err(error) => {
                // Said once: the old index goes on answering, and the next look may succeed.
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the index cannot follow the knowledge base"
                    );
                    state.set(Part::Index, PartState::Failed(error.to_string()));
                }
            }
        }
    }
}
