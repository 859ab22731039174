//! Search. Readers use one state of the indexes from beginning to end; when the knowledge base changes a new state is
//! made in the background and put in its place.

use super::corpus::Row;
use super::index::GraphSettings;
use super::query_cache::QueryCache;
use super::snapshot::Snapshots;
use super::state::{Limits, Searched, State, VectorSet, internal};
use super::vectors::{Vectors, readable};
use super::{FaqHit, Found, Hit, RetrievalError, SearchMode, Source};
use crate::config::RetrievalConfig;
use crate::domain::{KbVersion, Passage, PassageId};
use crate::inference::{Embedder, TextKind};
use crate::storage::Store;
use crate::understanding::normalise;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Instant;
use tokio::sync::{Mutex, Semaphore};

/// Questions whose vectors are kept.
const CACHED_QUESTIONS: usize = 1024;
/// Up to this many vectors the exact index is used alone. With 384 numbers each it answers 4,000 in 0.2 ms and 20,000
/// in 1.2 ms, the graph in 0.7 and 0.9 ms (`cargo bench --bench index`): below this number the graph would take longer,
/// take memory, and miss something now and then.
const EXACT_VECTORS: usize = 16_384;

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
    /// Whether it was loaded from a snapshot; else it was built from the database.
    pub from_snapshot: bool,
    /// Whether the graph over the passages serves; else they are searched exactly.
    pub graph: bool,
    /// Milliseconds to load or build it.
    pub build_ms: u64,
}

/// Searches the knowledge base.
pub struct Retriever {
    vectors: Vectors,
    config: RetrievalConfig,
    exact_vectors: usize,
    snapshots: Arc<Snapshots>,
    state: RwLock<Arc<State>>,
    cache: QueryCache,
    searches: Semaphore,
    refreshing: Mutex<()>,
    pool: Arc<rayon::ThreadPool>,
}

impl Retriever {
    /// Loads the indexes of the store's present version from the snapshot in `dir`, or builds them (and embeds texts
    /// that have no stored vector).
    ///
    /// # Errors
    /// What the store or the embedder says. A snapshot that is missing or damaged is no error, nor is one that cannot
    /// be written.
    pub async fn open(
        store: Arc<dyn Store>,
        embedder: Arc<dyn Embedder>,
        dir: PathBuf,
        config: RetrievalConfig,
    ) -> Result<Self, RetrievalError> {
        Self::open_with(store, embedder, dir, config, EXACT_VECTORS).await
    }

    /// As [`Self::open`], with graphs over more than `exact_vectors` vectors.
    pub(super) async fn open_with(
        store: Arc<dyn Store>,
        embedder: Arc<dyn Embedder>,
        dir: PathBuf,
        config: RetrievalConfig,
        exact_vectors: usize,
    ) -> Result<Self, RetrievalError> {
        let info = embedder.info();
        let snapshots = Arc::new(Snapshots::new(dir, info.sha256.clone(), info.dim));
        let vectors = Vectors { store, embedder };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // One core is left to those who ask meanwhile.
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(cores.saturating_sub(1).max(1))
            .thread_name(|number| format!("index-{number}"))
            .build()
            .map_err(|error| RetrievalError::Internal {
                task: "starting threads",
                detail: error.to_string(),
            })?;
        let pool = Arc::new(pool);
        let state = make_state(&vectors, &snapshots, &pool).await?;
        let retriever = Self {
            vectors,
            config,
            exact_vectors,
            snapshots,
            state: RwLock::new(state.clone()),
            cache: QueryCache::new(CACHED_QUESTIONS),
            searches: Semaphore::new(cores),
            refreshing: Mutex::new(()),
            pool,
        };
        retriever.build_graphs(&state);
        Ok(retriever)
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
        let state = self.current();
        let text = normalise(&query.text);
        let mut found = Found {
            faqs: Vec::new(),
            hits: Vec::new(),
            kb_version: state.rows.version,
            embed_ms: 0.0,
            search_ms: 0.0,
        };
        if text.is_empty() || state.rows.len() == 0 {
            return Ok(found);
        }
        let started = Instant::now();
        let vector = match query.mode {
            SearchMode::Lexical => None,
            SearchMode::Hybrid | SearchMode::Dense => Some(self.embed(&text).await?),
        };
        found.embed_ms = milliseconds(started);

        let started = Instant::now();
        let limits = Limits {
            mode: query.mode,
            candidates: self.config.candidates.max(query.top_k * 2),
            faqs: query.faq_top_k,
        };
        let searched = self.search_state(state.clone(), text, vector, limits).await?;
        found.hits = self.hits(&state, &searched, query.top_k).await?;
        found.faqs = searched.faqs;
        found.search_ms = milliseconds(started);
        Ok(found)
    }

    /// The FAQ that has `text` as one of its wordings, courtesies and punctuation apart, with the version of the
    /// knowledge base that says so. Needs no embedding; costs
    /// microseconds.
    pub fn exact_faq(&self, text: &str) -> Option<(FaqHit, KbVersion)> {
        let state = self.current();
        Some((state.exact(text)?, state.rows.version))
    }

    /// Follows the knowledge base: if it has another version than the indexes, they are loaded or built anew, while
    /// searches go on in the old ones. Whether it had.
    ///
    /// # Errors
    /// What the store or the embedder says; the old indexes stay then.
    pub async fn refresh(&self) -> Result<bool, RetrievalError> {
        let _one_at_a_time = self.refreshing.lock().await;
        if self.vectors.store.kb_version().await? == self.current().rows.version {
            return Ok(false);
        }
        let state = make_state(&self.vectors, &self.snapshots, &self.pool).await?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state.clone();
        self.build_graphs(&state);
        Ok(true)
    }

    /// What is searched at present.
    pub fn status(&self) -> IndexStatus {
        let state = self.current();
        IndexStatus {
            kb_version: state.rows.version,
            passages: state.rows.passages.len(),
            faq_wordings: state.wordings.flat.matrix().rows(),
            from_snapshot: state.from_snapshot,
            graph: state.texts.graph.get().is_some(),
            build_ms: state.build_ms,
        }
    }

    fn current(&self) -> Arc<State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
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

    async fn search_state(
        &self,
        state: Arc<State>,
        text: String,
        vector: Option<Arc<[f32]>>,
        limits: Limits,
    ) -> Result<Searched, RetrievalError> {
        let _permit = self.searches.acquire().await;
        tokio::task::spawn_blocking(move || state.search(&text, vector.as_deref(), limits))
            .await
            .map_err(|error| internal("searching", &error))?
    }

    /// The best rows with what they stand for. Passages that were removed from the store since the indexes were made
    /// are passed over: they must not be quoted any more.
    async fn hits(&self, state: &State, searched: &Searched, top_k: usize) -> Result<Vec<Hit>, RetrievalError> {
        let ids: Vec<PassageId> = searched
            .rows
            .iter()
            .filter_map(|(row, _)| match state.rows.get(*row) {
                Some(Row::Passage(id)) => Some(id),
                _ => None,
            })
            .take(top_k * 2)
            .collect();
        let passages = self.vectors.store.passages(&ids).await?;
        let mut passages: HashMap<PassageId, Passage> = passages.into_iter().map(|p| (p.id, p)).collect();
        let mut hits = Vec::with_capacity(top_k);
        for (row, scores) in &searched.rows {
            if hits.len() == top_k {
                break;
            }
            let (source, text) = match state.rows.get(*row) {
                Some(Row::Passage(id)) => match passages.remove(&id) {
                    Some(passage) => {
                        let text = passage.search_text();
                        (Source::Passage(passage), text)
                    }
                    None => continue,
                },
                Some(Row::Faq(faq)) => {
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

    /// Builds graphs over large sets of vectors on a thread of its own. The exact index serves until they are there.
    /// The work ends early when the state is no longer used.
    fn build_graphs(&self, state: &Arc<State>) {
        let sets: [fn(&State) -> &VectorSet; 3] =
            [|state| &state.texts, |state| &state.wordings, |state| &state.segments];
        let large = |set: &VectorSet| set.flat.matrix().rows() > self.exact_vectors;
        if !sets.iter().any(|set| large(set(state))) {
            return;
        }
        let settings = GraphSettings {
            neighbours: self.config.hnsw_neighbours,
            ef_construction: self.config.ef_construction,
            ef_search: self.config.ef_search,
        };
        let matrices = sets.map(|set| Some(set(state).flat.matrix().clone()).filter(|_| large(set(state))));
        let (state, pool): (Weak<State>, _) = (Arc::downgrade(state), self.pool.clone());
        let work = move || {
            for (set, matrix) in sets.into_iter().zip(matrices) {
                let Some(matrix) = matrix else { continue };
                let wanted = || state.strong_count() > 0;
                let graph = State::graph(&matrix, settings, &pool, &wanted);
                if let (Some(graph), Some(state)) = (graph, state.upgrade()) {
                    // Nobody else sets it.
                    let _ = set(&state).graph.set(graph);
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("index-graph".to_owned()).spawn(work) {
            tracing::warn!(%error, "no thread to build the graph; the search stays exact and slower");
        }
    }
}

/// The state of the store's present version.
async fn make_state(
    vectors: &Vectors,
    snapshots: &Arc<Snapshots>,
    pool: &Arc<rayon::ThreadPool>,
) -> Result<Arc<State>, RetrievalError> {
    let started = Instant::now();
    let version = vectors.store.kb_version().await?;
    let mut state = match State::load(vectors, snapshots, version).await? {
        Some(state) => state,
        None => State::build(vectors, snapshots, pool).await?,
    };
    state.build_ms = started.elapsed().as_millis() as u64;
    Ok(Arc::new(state))
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests;
