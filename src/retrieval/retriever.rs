//! Search. Readers use one state of the index from beginning to end; when the knowledge base changes, a new state that
//! shares all that did not change is made and put in its place.

use super::corpus::Corpus;
use super::draft::Draft;
use super::expand::SynonymsFile;
use super::index::GraphSettings;
use super::layer::Layer;
use super::search::{Expansion, Question, Searched};
use super::snapshot::Snapshots;
use super::state::{Found as FoundRow, State, Wear, internal};
use super::vectors::{Vectors, readable};
use super::widen::widened;
use super::{FaqHit, Found, Hit, RetrievalError, SearchMode, Source};
use crate::config::RetrievalConfig;
use crate::domain::{DocumentId, KbItem, KbVersion, Passage, PassageId, Scope, Viewer};
use crate::inference::{Embedder, EmbedderInfo, TextKind, VectorCache};
use crate::storage::Store;
use crate::understanding::normalise;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Instant;
use tokio::sync::{Mutex, Semaphore};

pub use next::Answered;
pub use sources::SourceDate;

/// Questions whose vectors are kept.
const CACHED_QUESTIONS: usize = 1024;
/// Up to this many vectors the exact index is used alone. With 384 numbers each it answers 4,000 in 0.2 ms and 20,000 in
/// 1.2 ms. The graph answers 20,000 in 0.05 ms (`benches/README.md`), but it has to be built, takes memory, and misses
/// something now and then.
const EXACT_VECTORS: usize = 16_384;

/// From which sizes on work in the background begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tuning {
    /// Sets of up to so many vectors have no graph.
    pub(super) exact_vectors: usize,
    /// How much changes before a new base is made.
    pub(super) wear: Wear,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            exact_vectors: EXACT_VECTORS,
            wear: Wear::default(),
        }
    }
}

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The question.
    pub text: String,
    /// Which stages search.
    pub mode: SearchMode,
    /// Hits at most.
    pub top_k: usize,
    /// FAQs at most.
    pub faq_top_k: usize,
    /// Who asks, where and when: only what this viewer may be told is found, as if nothing else were there.
    pub viewer: Viewer,
}

/// What is done for the index in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexWork {
    /// Nothing.
    None,
    /// Graphs over large sets of vectors are built; they are searched exactly until then.
    Graphs,
    /// A new base is made, because much has changed.
    NewBase,
}

/// What is searched at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexStatus {
    /// The knowledge base.
    pub kb_version: KbVersion,
    /// Passages in it.
    pub passages: usize,
    /// Wordings of FAQs in it.
    pub faq_wordings: usize,
    /// Whether its base was loaded from a snapshot; else it was built from the database.
    pub from_snapshot: bool,
    /// Whether the graph over the passages serves; else they are searched exactly.
    pub graph: bool,
    /// Milliseconds to load or build it.
    pub build_ms: u64,
    /// Layers: the base, and what came since.
    pub layers: usize,
    /// Rows (passages and FAQs) that came since the base was made.
    pub delta_rows: usize,
    /// Rows that were removed or replaced and still take memory.
    pub dead_rows: usize,
    /// What is done in the background.
    pub work: IndexWork,
    /// About how many bytes of memory it takes.
    pub bytes: usize,
}

/// Searches the knowledge base. Clones are the same one.
#[derive(Clone)]
pub struct Retriever(Arc<Inner>);

/// What a retriever shares with its previews.
struct Shared {
    vectors: Vectors,
    config: RetrievalConfig,
    tuning: Tuning,
    snapshots: Arc<Snapshots>,
    cache: VectorCache,
    synonyms: SynonymsFile,
    searches: Semaphore,
    /// Indexes what changed.
    follow_pool: Arc<rayon::ThreadPool>,
    /// Makes new bases and graphs, which takes minutes: what changes meanwhile does not wait for it.
    base_pool: Arc<rayon::ThreadPool>,
}

struct Inner {
    shared: Arc<Shared>,
    state: RwLock<Arc<State>>,
    /// Passages that are not in the store.
    draft: HashMap<PassageId, Passage>,
    /// The documents these are of, with their scopes.
    draft_scopes: HashMap<DocumentId, Scope>,
    /// Whether it follows the store.
    follows: bool,
    refreshing: Mutex<()>,
    rebuilding: AtomicBool,
    /// Counts what was built from the store: work on what was there before is no longer wanted.
    epoch: AtomicU64,
    /// The base whose graphs were begun last.
    graphs_of: std::sync::Mutex<Weak<Layer>>,
}

impl Retriever {
    /// Loads the indexes of the store's present version from the snapshot in `dir`, or builds them (and embeds texts
    /// that have no stored vector).
    ///
    /// # Errors
    /// What the store or the embedder says, and `Synonyms`. A snapshot that is missing or damaged is no error, nor is one that cannot
    /// be written.
    pub async fn open(
        store: Arc<dyn Store>,
        embedder: Arc<dyn Embedder>,
        dir: PathBuf,
        config: RetrievalConfig,
    ) -> Result<Self, RetrievalError> {
        Self::open_with(store, embedder, dir, config, Tuning::default()).await
    }

    /// As [`Self::open`], with other bounds.
    pub(super) async fn open_with(
        store: Arc<dyn Store>,
        embedder: Arc<dyn Embedder>,
        dir: PathBuf,
        config: RetrievalConfig,
        tuning: Tuning,
    ) -> Result<Self, RetrievalError> {
        let info = embedder.info();
        let snapshots = Arc::new(Snapshots::new(dir, info.sha256.clone(), info.dim));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Shared {
            vectors: Vectors { store, embedder },
            synonyms: SynonymsFile::open(&config.synonyms)?,
            config,
            tuning,
            snapshots,
            cache: VectorCache::new(CACHED_QUESTIONS),
            searches: Semaphore::new(cores),
            follow_pool: pool("index", cores)?,
            base_pool: pool("index-base", cores)?,
        };
        let state = shared.load_or_build().await?;
        let retriever = Self(Arc::new(Inner::new(Arc::new(shared), state, HashMap::new(), true)));
        retriever.0.tend();
        Ok(retriever)
    }

    /// The embedding model that questions are searched with.
    #[must_use]
    pub fn embedder(&self) -> &EmbedderInfo {
        self.0.shared.vectors.embedder.info()
    }

    /// The settings of the search.
    #[must_use]
    pub fn settings(&self) -> &RetrievalConfig {
        &self.0.shared.config
    }

    /// Finds FAQs and passages. An empty question finds nothing. A question longer than the embedding model reads is
    /// embedded by its beginning; its words are all searched.
    ///
    /// Cost: embedding the question (unless it was asked lately, or `mode` is `Lexical`), then a few milliseconds on a
    /// blocking thread. At most as many searches run at once as there are cores.
    ///
    /// # Errors
    /// `Inference` (`Overloaded`: try again later), `Storage`, `Lexical`.
    pub async fn search(&self, query: &Query) -> Result<Found, RetrievalError> {
        let state = self.0.current();
        let text = normalise(&query.text);
        let mut found = Found {
            faqs: Vec::new(),
            hits: Vec::new(),
            kb_version: state.edition.version,
            unknown: Vec::new(),
            embed_ms: 0.0,
            search_ms: 0.0,
        };
        if text.is_empty() || state.living().rows == 0 {
            return Ok(found);
        }
        let shared = &self.0.shared;
        let started = Instant::now();
        let vector = match query.mode {
            SearchMode::Lexical => None,
            SearchMode::Hybrid | SearchMode::Dense => Some(shared.embed(&text).await?),
        };
        found.embed_ms = milliseconds(started);

        let started = Instant::now();
        let question = Question {
            text,
            vector,
            mode: query.mode,
            candidates: shared.config.candidates.max(query.top_k * 2),
            faqs: query.faq_top_k,
            viewer: query.viewer.clone(),
            expansion: shared.expansion(),
        };
        let searched = shared.search_state(state.clone(), question).await?;
        found.hits = self.0.hits(&state, &searched, query.top_k).await?;
        found.faqs = searched.faqs;
        found.unknown = searched.unknown;
        found.search_ms = milliseconds(started);
        Ok(found)
    }

    /// The FAQ that has `text` as one of its wordings, courtesies and punctuation apart, and that `viewer` may be told, with
    /// the version of the knowledge base that says so. Needs no embedding; costs microseconds.
    pub fn exact_faq(&self, text: &str, viewer: &Viewer) -> Option<(FaqHit, KbVersion)> {
        let state = self.0.current();
        Some((state.exact(text, viewer)?, state.edition.version))
    }

    /// Follows the knowledge base, if it has another version than the index; whether it had. What was committed before the
    /// call is found once it has returned: who changes the knowledge base calls this after the commit. Searches go on
    /// meanwhile, in what was there before.
    ///
    /// Cost: what changed is embedded, unless it has vectors, and indexed; that of one document or FAQ takes milliseconds
    /// however large the knowledge base is. A preview follows nothing.
    ///
    /// # Errors
    /// What the store or the embedder says; the index stays as it was then.
    pub async fn refresh(&self) -> Result<bool, RetrievalError> {
        if !self.0.follows {
            return Ok(false);
        }
        let changed = self.0.follow().await?;
        if changed {
            self.0.tend();
        }
        Ok(changed)
    }

    /// A retriever over the present state with these changes, in memory: it shares everything else with `self`, is never
    /// saved, and does not follow. Passages of the draft are given from memory, all others from the store. A document of
    /// the same id is replaced, and a FAQ of the same id or key.
    ///
    /// Vectors that the draft's texts lack are computed, and stored by the hash of the text as all are.
    ///
    /// # Errors
    /// What the store or the embedder says.
    pub async fn preview(&self, draft: Draft) -> Result<Retriever, RetrievalError> {
        let state = self.0.current();
        let (mut passages, mut corpus, mut items) = (self.0.draft.clone(), Corpus::default(), draft.removed);
        let mut draft_scopes = self.0.draft_scopes.clone();
        for document in draft.documents {
            items.push(KbItem::Document(document.id));
            for passage in document.passages {
                corpus.add_passage(&passage, &document.scope);
                passages.insert(passage.id, passage);
            }
            draft_scopes.insert(document.id, document.scope);
        }
        for faq in draft.faqs {
            items.push(KbItem::Faq(faq.id));
            for placed in &state.layers {
                items.extend(placed.layer.faqs_of_key(&faq.key));
            }
            corpus.add_faq(Arc::new(faq));
        }
        let shared = self.0.shared.clone();
        let edition = state.edition.clone();
        let changed = state.changed(edition, items, corpus, &shared.vectors, &shared.follow_pool);
        let state = Arc::new(changed.await?);
        let inner = Inner::new(shared, state, passages, false);
        Ok(Self(Arc::new(Inner { draft_scopes, ..inner })))
    }

    /// The version that is searched at present.
    pub fn kb_version(&self) -> KbVersion {
        self.0.current().edition.version
    }

    /// What is searched at present.
    pub fn status(&self) -> IndexStatus {
        let state = self.0.current();
        let living = state.living();
        let base = &state.layers[0].layer;
        let work = if self.0.rebuilding.load(Ordering::Acquire) {
            IndexWork::NewBase
        } else if base.lacks_graphs(self.0.shared.tuning.exact_vectors) {
            IndexWork::Graphs
        } else {
            IndexWork::None
        };
        IndexStatus {
            kb_version: state.edition.version,
            passages: living.rows - living.faqs,
            faq_wordings: living.wordings,
            from_snapshot: state.from_snapshot,
            graph: base.texts.graph.get().is_some(),
            build_ms: state.build_ms,
            layers: state.layers.len(),
            delta_rows: state.delta_rows(),
            dead_rows: state.dead_rows(),
            work,
            bytes: state.bytes(),
        }
    }
}

impl Shared {
    /// The state of the store's present version.
    async fn load_or_build(&self) -> Result<Arc<State>, RetrievalError> {
        let started = Instant::now();
        let loaded = State::load(&self.vectors, &self.snapshots, &self.follow_pool).await?;
        let mut state = match loaded {
            Some(state) => state,
            None => self.build().await?,
        };
        state.build_ms = started.elapsed().as_millis() as u64;
        Ok(Arc::new(state))
    }

    async fn build(&self) -> Result<State, RetrievalError> {
        let state = State::build(&self.vectors, &self.snapshots, &self.follow_pool).await?;
        if self.vectors.store.kb_version().await? == state.edition.version {
            return Ok(state);
        }
        // What changed while all was read, which takes minutes where there is much.
        let followed = state.followed(&self.vectors, &self.follow_pool).await?;
        Ok(followed.unwrap_or(state))
    }

    fn graph_settings(&self) -> GraphSettings {
        GraphSettings {
            neighbours: self.config.hnsw_neighbours,
            ef_construction: self.config.ef_construction,
            ef_search: self.config.ef_search,
        }
    }

    fn dim(&self) -> usize {
        self.vectors.embedder.info().dim
    }

    fn expansion(&self) -> Expansion {
        let expand = self.config.expand;
        Expansion {
            sounds: expand,
            names: self.config.other_names,
            synonyms: if expand {
                self.synonyms.current()
            } else {
                Arc::default()
            },
        }
    }

    async fn embed(&self, text: &str) -> Result<Arc<[f32]>, RetrievalError> {
        if let Some(vector) = self.cache.get(text) {
            return Ok(vector);
        }
        let embedder = &self.vectors.embedder;
        let begin = readable(embedder.as_ref(), TextKind::Query, text)?.to_owned();
        let embedded = embedder.embed(TextKind::Query, vec![begin]).await?;
        let want = embedder.info().dim;
        let vector: Arc<[f32]> = embedded.rows().next().unwrap_or_default().into();
        if vector.len() != want {
            return Err(RetrievalError::Dimension {
                got: vector.len(),
                want,
            });
        }
        self.cache.put(text, vector.clone());
        Ok(vector)
    }

    async fn search_state(&self, state: Arc<State>, question: Question) -> Result<Searched, RetrievalError> {
        let _permit = self.searches.acquire().await;
        tokio::task::spawn_blocking(move || state.search(&question))
            .await
            .map_err(|error| internal("searching", &error))?
    }
}

impl Inner {
    fn new(shared: Arc<Shared>, state: Arc<State>, draft: HashMap<PassageId, Passage>, follows: bool) -> Self {
        Self {
            shared,
            state: RwLock::new(state),
            draft,
            draft_scopes: HashMap::new(),
            follows,
            refreshing: Mutex::new(()),
            rebuilding: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            graphs_of: std::sync::Mutex::default(),
        }
    }

    fn current(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }

    /// The best rows with what they stand for. Passages that were removed from the store since the index was made are
    /// passed over: they must not be quoted any more. Where a paragraph was cut, a passage comes with what is beside it.
    async fn hits(&self, state: &State, searched: &Searched, top_k: usize) -> Result<Vec<Hit>, RetrievalError> {
        let mut ids: Vec<PassageId> = searched
            .rows
            .iter()
            .filter_map(|(row, _)| match state.row(*row) {
                Some(FoundRow::Passage(id)) => Some((*row, id)),
                _ => None,
            })
            .take(top_k * 2)
            .flat_map(|(row, id)| state.neighbours(row).chain([id]))
            .filter(|id| !self.draft.contains_key(id))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let passages = self.shared.vectors.store.passages(&ids).await?;
        let passages: HashMap<PassageId, Passage> = passages.into_iter().map(|p| (p.id, p)).collect();
        let known = |id: &PassageId| self.draft.get(id).or_else(|| passages.get(id));
        let mut hits = Vec::with_capacity(top_k);
        for (row, scores) in &searched.rows {
            if hits.len() == top_k {
                break;
            }
            let (source, text) = match state.row(*row) {
                Some(FoundRow::Passage(id)) => match known(&id) {
                    Some(passage) => {
                        let beside: Vec<&Passage> = state.neighbours(*row).filter_map(|id| known(&id)).collect();
                        (Source::Passage(widened(passage, &beside)), passage.search_text())
                    }
                    None => continue,
                },
                Some(FoundRow::Faq(faq)) => {
                    let text = format!("{}\n{}", faq.wordings().collect::<Vec<_>>().join("\n"), faq.answer);
                    (Source::Faq(faq.as_ref().clone()), text)
                }
                None => continue,
            };
            let coverage = searched.words.coverage(&text);
            hits.push(Hit {
                source,
                scores: super::Scores { coverage, ..*scores },
                answer: None,
            });
        }
        Ok(hits)
    }

    /// Makes the state of the store's present version, if the present state is another's; whether it was.
    async fn follow(&self) -> Result<bool, RetrievalError> {
        let _one_at_a_time = self.refreshing.lock().await;
        let (shared, state) = (&self.shared, self.current());
        shared.synonyms.refresh();
        if shared.vectors.store.kb_version().await? == state.edition.version {
            return Ok(false);
        }
        if let Some(state) = state.followed(&shared.vectors, &shared.follow_pool).await? {
            self.set(state);
        } else {
            tracing::info!(
                from = state.edition.version.0,
                "too much has changed: the index is built anew"
            );
            self.epoch.fetch_add(1, Ordering::AcqRel);
            self.set(shared.build().await?);
        }
        Ok(true)
    }
}

/// Threads that leave one core to those who ask meanwhile.
fn pool(name: &'static str, cores: usize) -> Result<Arc<rayon::ThreadPool>, RetrievalError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(cores.saturating_sub(1).max(1))
        .thread_name(move |number| format!("{name}-{number}"))
        .build()
        .map(Arc::new)
        .map_err(|error| RetrievalError::Internal {
            task: "starting threads",
            detail: error.to_string(),
        })
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

#[cfg(test)]
mod graph_tests;
#[cfg(test)]
mod live_tests;
mod next;
mod rebuild;
#[cfg(test)]
mod scope_tests;
mod sources;
#[cfg(test)]
mod tests;
