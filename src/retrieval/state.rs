//! The index of one version of the knowledge base: a base layer and small layers of what changed since, with what is no
//! longer there. Once made it does not change; the next version's index shares the layers with it.

use super::RetrievalError;
use super::corpus::{self, ATTEMPTS, Corpus, Edition, Row};
use super::layer::{Count, Dead, Layer, Parts};
use super::lexical::LexicalIndex;
use super::snapshot::{Snapshot, Snapshots};
use super::vectors::Vectors;
use crate::domain::{Faq, KbItem, PassageId};
use std::sync::Arc;

/// Items that are followed one by one; more changes at once are a new base.
const MAX_ITEMS: u32 = 10_000;
/// See [`Wear`].
const WORN_PART: usize = 20;
/// See [`Wear`].
const DEAD_PART: usize = 10;
/// Rows in the small layers, if they are also one in [`WORN_PART`] of the base, from which on everything is put into one
/// layer at a start: the snapshot is written anew then, so that the next start need not follow as much.
const WORN_ROWS_AT_START: usize = 200;
/// A small layer is merged with the one before it unless that is more than so many times as large: then there are only as
/// many layers as the logarithm of their rows, and a row is copied only as often.
const TIER: usize = 4;

/// How much changes before everything is put into one layer again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wear {
    /// Rows in the small layers, if they are also one in [`WORN_PART`] of the base.
    pub(super) rows: usize,
    /// Dead rows, if they are also one in [`DEAD_PART`] of all.
    pub(super) dead: usize,
}

impl Default for Wear {
    fn default() -> Self {
        Self { rows: 2_000, dead: 200 }
    }
}

/// A layer in its place.
#[derive(Clone)]
pub(super) struct Placed {
    pub(super) layer: Arc<Layer>,
    pub(super) dead: Arc<Dead>,
    /// The number of its first row.
    pub(super) first: u32,
}

/// The index of one version.
pub(super) struct State {
    pub(super) edition: Edition,
    /// The base, then what came later.
    pub(super) layers: Vec<Placed>,
    pub(super) from_snapshot: bool,
    pub(super) build_ms: u64,
}

/// What was found in a row.
pub(super) enum Found<'a> {
    Passage(PassageId),
    Faq(&'a Arc<Faq>),
}

impl State {
    /// The index that is this layer.
    pub(super) fn of(edition: Edition, layer: Layer) -> Self {
        let dead = Arc::new(layer.all_alive());
        let base = Placed {
            layer: Arc::new(layer),
            dead,
            first: 0,
        };
        Self {
            edition,
            layers: vec![base],
            from_snapshot: false,
            build_ms: 0,
        }
    }

    /// The index of the present version: the newest snapshot, and what changed since. `None` if there is no snapshot that
    /// fits, or too much has changed.
    ///
    /// # Errors
    /// What the store or the embedder says.
    pub(super) async fn load(
        vectors: &Vectors,
        snapshots: &Arc<Snapshots>,
        pool: &Arc<rayon::ThreadPool>,
    ) -> Result<Option<Self>, RetrievalError> {
        let store = vectors.store.as_ref();
        let present = store.kb_version().await?;
        let mut state = None;
        for version in snapshots.versions(present) {
            let loaded = match Edition::of(store, version).await? {
                None => Err("the knowledge base has another history".to_owned()),
                Some(edition) => {
                    let snapshots = snapshots.clone();
                    let load = move || {
                        snapshots
                            .load(&edition)
                            .and_then(|snapshot| Self::open(edition, snapshot))
                    };
                    tokio::task::spawn_blocking(load)
                        .await
                        .map_err(|error| internal("loading the index", &error))?
                }
            };
            match loaded {
                Ok(loaded) => {
                    state = Some(loaded);
                    break;
                }
                Err(reason) => tracing::info!(kb_version = version.0, reason, "a saved index is not used"),
            }
        }
        let Some(state) = state else {
            tracing::info!(kb_version = present.0, "the index is built from the database");
            return Ok(None);
        };
        let Some(state) = state.followed(vectors, pool).await? else {
            return Ok(None);
        };
        let delta = state.delta_rows();
        let few = WORN_ROWS_AT_START.max(state.layers[0].layer.len() / WORN_PART);
        if delta <= few && !state.is_worn(Wear::default()) {
            return Ok(Some(state));
        }
        let (snapshots, dim) = (snapshots.clone(), vectors.embedder.info().dim);
        let merge = move || {
            let layer = state.merged(dim)?;
            let merged = Self {
                from_snapshot: true,
                ..Self::of(state.edition, layer)
            };
            merged.save(&snapshots);
            Ok(merged)
        };
        let merged = tokio::task::spawn_blocking(merge);
        merged
            .await
            .map_err(|error| internal("merging the index", &error))?
            .map(Some)
    }

    fn open(edition: Edition, snapshot: Snapshot) -> Result<Self, String> {
        let open = |files| LexicalIndex::open(files).map_err(|error| error.to_string());
        let layer = Layer::new(Parts {
            rows: snapshot.rows,
            texts: snapshot.texts,
            wordings: snapshot.wordings,
            lexical: open(snapshot.lexical)?,
            segments: snapshot.segments,
            segment_words: open(snapshot.segment_words)?,
            segment_counts: snapshot.segment_counts,
        })?;
        Ok(Self {
            from_snapshot: true,
            ..Self::of(edition, layer)
        })
    }

    /// The index of the version that was present when it was begun, built from the store, and saved as a snapshot.
    ///
    /// # Errors
    /// What the store, the embedder or tantivy says.
    pub(super) async fn build(
        vectors: &Vectors,
        snapshots: &Arc<Snapshots>,
        pool: &Arc<rayon::ThreadPool>,
    ) -> Result<Self, RetrievalError> {
        let (edition, corpus) = corpus::read(vectors.store.as_ref()).await?;
        let state = Self::of(edition, Layer::build(corpus, vectors, pool).await?);
        let snapshots = snapshots.clone();
        tokio::task::spawn_blocking(move || {
            state.save(&snapshots);
            state
        })
        .await
        .map_err(|error| internal("saving the index", &error))
    }

    /// Saves the base. Without a snapshot the next start takes longer, and nothing else.
    pub(super) fn save(&self, snapshots: &Snapshots) {
        // Nothing is sooner built than read, and fits every knowledge base.
        if self.layers[0].layer.len() == 0 {
            return;
        }
        let saved = self.layers[0].layer.snapshot(&self.edition).and_then(|snapshot| {
            let path = snapshots.directory().to_owned();
            snapshots
                .save(&snapshot)
                .map_err(|source| RetrievalError::Io { path, source })
        });
        if let Err(error) = saved {
            tracing::warn!(%error, "the index could not be saved; it will be built again at the next start");
        }
    }

    /// The index of the store's present version: this one, and what changed since. `None` if that is not known, or so much
    /// that a new base is made sooner.
    ///
    /// Cost: what changed is read, embedded (unless its vectors are stored) and indexed; all else is shared.
    ///
    /// # Errors
    /// What the store, the embedder or tantivy says.
    pub(super) async fn followed(
        &self,
        vectors: &Vectors,
        pool: &Arc<rayon::ThreadPool>,
    ) -> Result<Option<Self>, RetrievalError> {
        let store = vectors.store.as_ref();
        let mut edition = Edition::present(store).await?;
        for attempt in 1.. {
            if edition.version < self.edition.version {
                return Ok(None);
            }
            let Some(items) = store.kb_changes(self.edition.version, MAX_ITEMS).await? else {
                return Ok(None);
            };
            let corpus = corpus::read_items(store, &items).await?;
            let now = Edition::present(store).await?;
            // If it never stands still: the older number, so that the next look at it follows what came after it.
            if now != edition && attempt < ATTEMPTS {
                edition = now;
                continue;
            }
            return self.changed(edition, items, corpus, vectors, pool).await.map(Some);
        }
        unreachable!("the loop above returns")
    }

    /// This index without `items` and with what `corpus` says.
    ///
    /// # Errors
    /// What the store, the embedder or tantivy says.
    pub(super) async fn changed(
        &self,
        edition: Edition,
        items: Vec<KbItem>,
        corpus: Corpus,
        vectors: &Vectors,
        pool: &Arc<rayon::ThreadPool>,
    ) -> Result<Self, RetrievalError> {
        let added = if corpus.texts.is_empty() {
            None
        } else {
            Some(Layer::build(corpus, vectors, pool).await?)
        };
        let (layers, dim) = (self.layers.clone(), vectors.embedder.info().dim);
        let (from_snapshot, build_ms) = (self.from_snapshot, self.build_ms);
        tokio::task::spawn_blocking(move || {
            let mut layers = layers;
            for placed in &mut layers {
                if let Some(dead) = placed.layer.without(&placed.dead, &items)? {
                    placed.dead = Arc::new(dead);
                }
            }
            if let Some(layer) = added {
                layers.push(Placed {
                    dead: Arc::new(layer.all_alive()),
                    layer: Arc::new(layer),
                    first: 0,
                });
            }
            merge_small(&mut layers, dim)?;
            let mut first = 0;
            for placed in &mut layers {
                placed.first = first;
                first += placed.layer.len() as u32;
            }
            Ok(Self {
                edition,
                layers,
                from_snapshot,
                build_ms,
            })
        })
        .await
        .map_err(|error| internal("following the knowledge base", &error))?
    }

    /// All that is alive as one layer.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn merged(&self, dim: usize) -> Result<Layer, RetrievalError> {
        let parts: Vec<(&Layer, &Dead)> = self
            .layers
            .iter()
            .map(|placed| (placed.layer.as_ref(), placed.dead.as_ref()))
            .collect();
        Layer::merge(&parts, dim)
    }

    /// Whether so much has changed that one layer would be searched faster.
    pub(super) fn is_worn(&self, wear: Wear) -> bool {
        let (rows, dead) = (self.rows(), self.dead_rows());
        self.delta_rows() > wear.rows.max(self.layers[0].layer.len() / WORN_PART)
            || dead > wear.dead.max(rows / DEAD_PART)
    }

    /// Rows, dead ones too.
    fn rows(&self) -> usize {
        self.layers.iter().map(|placed| placed.layer.len()).sum()
    }

    /// Rows in the small layers, dead ones too.
    pub(super) fn delta_rows(&self) -> usize {
        self.rows() - self.layers[0].layer.len()
    }

    /// Rows that are no longer in the knowledge base.
    pub(super) fn dead_rows(&self) -> usize {
        self.layers.iter().map(|placed| placed.dead.rows.texts.count()).sum()
    }

    /// What is alive.
    pub(super) fn living(&self) -> Count {
        self.layers
            .iter()
            .flat_map(|placed| &placed.dead.living)
            .fold(Count::default(), |all, count| all + *count)
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.layers.iter().map(|placed| placed.layer.bytes()).sum()
    }

    /// The layer of a row, and its number there.
    pub(super) fn locate(&self, row: u32) -> Option<(usize, u32)> {
        let place = self
            .layers
            .partition_point(|placed| placed.first <= row)
            .checked_sub(1)?;
        let local = row - self.layers[place].first;
        // An empty layer begins where the next one does.
        ((local as usize) < self.layers[place].layer.len()).then_some((place, local))
    }

    /// What a row stands for.
    pub(super) fn row(&self, row: u32) -> Option<Found<'_>> {
        let (place, local) = self.locate(row)?;
        let rows = &self.layers[place].layer.rows;
        Some(match rows.rows[local as usize] {
            Row::Passage(id, _) => Found::Passage(id),
            Row::Faq(faq) => Found::Faq(&rows.faqs[faq as usize]),
        })
    }

    /// The passages that stand before and after a row's passage in its document, as far as the index knows: whether they adjoin
    /// is for who reads them to see.
    pub(super) fn neighbours(&self, row: u32) -> impl Iterator<Item = PassageId> {
        let located = self
            .locate(row)
            .map(|(place, local)| (&self.layers[place].layer, local));
        located.into_iter().flat_map(|(layer, local)| {
            let rows = layer.rows_beside(local);
            let at = rows.iter().position(|row| *row == local).unwrap_or(rows.len());
            let near = [at.checked_sub(1), at.checked_add(1)];
            near.into_iter()
                .flatten()
                .filter_map(|at| match layer.rows.rows[*rows.get(at)? as usize] {
                    Row::Passage(id, _) => Some(id),
                    Row::Faq(_) => None,
                })
        })
    }
}

/// Merges small layers, and removes what is all dead. The base stays.
fn merge_small(layers: &mut Vec<Placed>, dim: usize) -> Result<(), RetrievalError> {
    let mut number = 0;
    layers.retain(|placed| {
        number += 1;
        number == 1 || placed.dead.rows.texts.count() < placed.layer.len()
    });
    while let [_, .., before, last] = layers.as_slice() {
        if before.layer.len() > last.layer.len() * TIER {
            break;
        }
        let parts = [before, last].map(|placed| (placed.layer.as_ref(), placed.dead.as_ref()));
        let merged = Layer::merge(&parts, dim)?;
        layers.truncate(layers.len() - 2);
        layers.push(Placed {
            dead: Arc::new(merged.all_alive()),
            layer: Arc::new(merged),
            first: 0,
        });
    }
    Ok(())
}

pub(super) fn internal(task: &'static str, error: &tokio::task::JoinError) -> RetrievalError {
    RetrievalError::Internal {
        task,
        detail: error.to_string(),
    }
}
