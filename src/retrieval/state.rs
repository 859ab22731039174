//! The indexes of one version of the knowledge base. Once made they do not change.

use super::RetrievalError;
use super::corpus::{self, Corpus, Rows};
use super::index::{FlatIndex, GraphSettings, HnswIndex, Matrix, Neighbour, VectorIndex};
use super::lexical::{Entry, LexicalIndex};
use super::rank::{Signals, rank};
use super::snapshot::{Snapshot, Snapshots};
use super::terms::{Haystack, words};
use super::vectors::Vectors;
use super::{FaqHit, Scores, SearchMode};
use crate::domain::KbVersion;
use crate::inference::TextKind;
use crate::understanding::match_key;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

/// How much the cosine of question and wording counts beside the logarithm of a FAQ's share in the ranking. Of 87
/// calibration questions with a FAQ, the first one is right for 44 by the ranking alone, for 52 by the wording alone, for
/// 56 by both.
const SIMILARITY_WEIGHT: f32 = 60.0;
/// The share of a FAQ that the ranking does not have.
const LEAST_SHARE: f32 = 1e-6;

/// The vectors of one kind, with the graph over them once that is built.
pub(super) struct VectorSet {
    pub(super) flat: FlatIndex,
    pub(super) graph: OnceLock<HnswIndex>,
}

impl VectorSet {
    fn new(matrix: Matrix) -> Self {
        Self {
            flat: FlatIndex::new(matrix),
            graph: OnceLock::new(),
        }
    }

    fn search(&self, query: &[f32], k: usize) -> Vec<Neighbour> {
        match self.graph.get() {
            Some(graph) => graph.search(query, k),
            None => self.flat.search(query, k),
        }
    }
}

/// All indexes of one version.
pub(super) struct State {
    pub(super) rows: Rows,
    pub(super) texts: VectorSet,
    pub(super) wordings: VectorSet,
    wording_of: Vec<(u32, u32)>,
    /// For each FAQ the first of its wordings' vectors.
    first_wording: Vec<usize>,
    exact: HashMap<String, (u32, u32)>,
    lexical: LexicalIndex,
    pub(super) segments: VectorSet,
    segment_words: LexicalIndex,
    /// For each row the place of its first segment, and one more for the end.
    segment_starts: Vec<u32>,
    /// For each segment its row.
    segment_rows: Vec<u32>,
    pub(super) from_snapshot: bool,
    pub(super) build_ms: u64,
}

/// What the indexes of one version are made of.
struct Parts {
    texts: Matrix,
    wordings: Matrix,
    lexical: LexicalIndex,
    segments: Matrix,
    segment_words: LexicalIndex,
    segment_counts: Vec<u32>,
}

/// How much is to be found.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) mode: SearchMode,
    pub(super) candidates: usize,
    pub(super) faqs: usize,
}

/// What a search in the indexes found: rows with their scores (coverage not yet), and FAQs.
pub(super) struct Searched {
    pub(super) rows: Vec<(u32, Scores)>,
    pub(super) faqs: Vec<FaqHit>,
    pub(super) words: Weighted,
}

/// The informative words of a text with their rarity.
pub(super) struct Weighted(Vec<(String, f32)>);

impl Weighted {
    /// The share of them that `text` contains, by weight, 0 to 1; 0 if there are none.
    pub(super) fn coverage(&self, text: &str) -> f32 {
        let (found, all) = self.found_in(&Haystack::new(text));
        if all > 0.0 { found / all } else { 0.0 }
    }

    fn found_in(&self, text: &Haystack) -> (f32, f32) {
        self.0.iter().fold((0.0, 0.0), |(found, all), (word, weight)| {
            (found + weight * text.contains(word), all + weight)
        })
    }
}

impl State {
    fn new(rows: Rows, parts: Parts) -> Self {
        let Parts {
            texts,
            wordings,
            lexical,
            segments,
            segment_words,
            segment_counts,
        } = parts;
        let mut segment_starts = vec![0];
        let mut segment_rows = Vec::with_capacity(segments.rows());
        for (row, count) in segment_counts.iter().enumerate() {
            segment_rows.extend(std::iter::repeat_n(row as u32, *count as usize));
            segment_starts.push(segment_rows.len() as u32);
        }
        let wording_of = rows.wordings();
        let mut first_wording = Vec::with_capacity(rows.faqs.len());
        for (place, (faq, _)) in wording_of.iter().enumerate() {
            if *faq as usize == first_wording.len() {
                first_wording.push(place);
            }
        }
        Self {
            exact: rows.exact(),
            rows,
            texts: VectorSet::new(texts),
            wordings: VectorSet::new(wordings),
            wording_of,
            first_wording,
            lexical,
            segments: VectorSet::new(segments),
            segment_words,
            segment_starts,
            segment_rows,
            from_snapshot: false,
            build_ms: 0,
        }
    }

    /// The state of `version` from its snapshot; `None` if there is none that fits.
    pub(super) async fn load(
        vectors: &Vectors,
        snapshots: &Arc<Snapshots>,
        version: KbVersion,
    ) -> Result<Option<Self>, RetrievalError> {
        let store = vectors.store.as_ref();
        let lineage = corpus::lineage(store).await?;
        let faqs = corpus::read_faqs(store).await?;
        if store.kb_version().await? != version {
            return Ok(None);
        }
        let snapshots = snapshots.clone();
        let loaded = tokio::task::spawn_blocking(move || {
            let Snapshot {
                passages,
                lineage,
                faqs: count,
                texts,
                wordings,
                lexical,
                segments,
                segment_counts,
                segment_words,
                ..
            } = snapshots.load(version, &lineage)?;
            let rows = Rows {
                version,
                lineage,
                passages,
                faqs,
            };
            if rows.faqs.len() != count || rows.wordings().len() != wordings.rows() {
                return Err("its FAQs are others".to_owned());
            }
            let counted = segment_counts.iter().map(|count| *count as usize).sum::<usize>();
            if segment_counts.len() != rows.len() || counted != segments.rows() {
                return Err("its segments are others".to_owned());
            }
            let lexical = LexicalIndex::open(lexical).map_err(|error| error.to_string())?;
            let segment_words = LexicalIndex::open(segment_words).map_err(|error| error.to_string())?;
            let parts = Parts {
                texts,
                wordings,
                lexical,
                segments,
                segment_words,
                segment_counts,
            };
            Ok(Self {
                from_snapshot: true,
                ..Self::new(rows, parts)
            })
        })
        .await
        .map_err(|error| internal("loading the index", &error))?;
        match loaded {
            Ok(state) => Ok(Some(state)),
            Err(reason) => {
                tracing::info!(kb_version = version.0, reason, "the index is built from the database");
                Ok(None)
            }
        }
    }

    /// The state of the present version, built from the store, and saved as a snapshot.
    pub(super) async fn build(
        vectors: &Vectors,
        snapshots: &Arc<Snapshots>,
        pool: &Arc<rayon::ThreadPool>,
    ) -> Result<Self, RetrievalError> {
        let Corpus {
            rows,
            texts,
            wordings,
            entries,
            segments,
            segment_counts,
        } = corpus::read(vectors.store.as_ref()).await?;
        let dim = vectors.embedder.info().dim;
        let texts = Matrix::new(dim, vectors.rows(TextKind::Passage, &texts).await?);
        let wordings = Matrix::new(dim, vectors.rows(TextKind::Query, &wordings).await?);
        let segment_vectors = Matrix::new(dim, vectors.rows(TextKind::Passage, &segments).await?);
        let (snapshots, pool) = (snapshots.clone(), pool.clone());
        tokio::task::spawn_blocking(move || {
            let lexical = pool.install(|| LexicalIndex::build(&entries))?;
            let entry = |text: String| Entry {
                title: String::new(),
                body: text,
            };
            let entries: Vec<Entry> = segments.into_iter().map(entry).collect();
            let segment_words = pool.install(|| LexicalIndex::build(&entries))?;
            let segments = segment_vectors;
            let parts = Parts {
                texts,
                wordings,
                lexical,
                segments,
                segment_words,
                segment_counts,
            };
            let state = Self::new(rows, parts);
            // Without a snapshot the next start takes longer, and nothing else.
            if let Err(error) = state
                .snapshot()
                .and_then(|snapshot| snapshots.save(&snapshot).map_err(io))
            {
                tracing::warn!(%error, "the index could not be saved; it will be built again at the next start");
            }
            Ok(state)
        })
        .await
        .map_err(|error| internal("building the index", &error))?
    }

    fn snapshot(&self) -> Result<Snapshot, RetrievalError> {
        Ok(Snapshot {
            version: self.rows.version,
            lineage: self.rows.lineage.clone(),
            passages: self.rows.passages.clone(),
            faqs: self.rows.faqs.len(),
            texts: self.texts.flat.matrix().clone(),
            wordings: self.wordings.flat.matrix().clone(),
            lexical: self.lexical.files()?,
            segments: self.segments.flat.matrix().clone(),
            segment_counts: self.segment_starts.windows(2).map(|ends| ends[1] - ends[0]).collect(),
            segment_words: self.segment_words.files()?,
        })
    }

    /// The FAQ one of whose wordings has the same key as `text`.
    pub(super) fn exact(&self, text: &str) -> Option<FaqHit> {
        let (faq, wording) = self.exact.get(&match_key(text))?;
        let faq = self.rows.faqs.get(*faq as usize)?;
        Some(FaqHit {
            faq: faq.as_ref().clone(),
            wording: *wording as usize,
            similarity: 1.0,
            overlap: 1.0,
            exact: true,
            reading: None,
        })
    }

    /// Searches all indexes that the mode asks for.
    pub(super) fn search(
        &self,
        text: &str,
        vector: Option<&[f32]>,
        limits: Limits,
    ) -> Result<Searched, RetrievalError> {
        let dense = vector.map(|vector| self.texts.search(vector, limits.candidates));
        let lexical = match limits.mode {
            SearchMode::Dense => None,
            SearchMode::Hybrid | SearchMode::Lexical => Some(self.lexical.search(text, limits.candidates)?),
        };
        let words = self.weighted(text)?;
        let rows = self.ranked(text, vector, dense.as_deref(), lexical.as_deref(), limits)?;
        let faqs = self.faqs(text, vector, &rows, &words, limits)?;
        Ok(Searched { rows, faqs, words })
    }

    /// The rows that any stage found, in order: by the linear model where all stages search, else by the one stage.
    fn ranked(
        &self,
        text: &str,
        vector: Option<&[f32]>,
        dense: Option<&[Neighbour]>,
        lexical: Option<&[(u32, f32)]>,
        limits: Limits,
    ) -> Result<Vec<(u32, Scores)>, RetrievalError> {
        let bm25: HashMap<u32, f32> = lexical.into_iter().flatten().copied().collect();
        let (Some(vector), Some(dense)) = (vector, dense) else {
            let by_words = lexical.into_iter().flatten().enumerate();
            let scores = |place: usize, score: f32| Scores {
                lexical: Some(score),
                fused: 1.0 / (place + 1) as f32,
                ..Scores::default()
            };
            return Ok(by_words
                .map(|(place, (row, score))| (*row, scores(place, *score)))
                .collect());
        };
        if limits.mode == SearchMode::Dense {
            let scores = |(place, found): (usize, &Neighbour)| {
                let scores = Scores {
                    dense: Some(found.similarity),
                    fused: 1.0 / (place + 1) as f32,
                    ..Scores::default()
                };
                (found.row, scores)
            };
            return Ok(dense.iter().enumerate().map(scores).collect());
        }
        // A passage may take several places with its segments.
        let places = limits.candidates * 4;
        let mut segment_words: HashMap<u32, f32> = HashMap::new();
        for (segment, score) in self.segment_words.search(text, places)? {
            let row = self.segment_rows.get(segment as usize).copied().unwrap_or_default();
            let best = segment_words.entry(row).or_default();
            *best = best.max(score);
        }
        let near = self.segments.search(vector, places);
        let mut candidates: Vec<u32> = dense.iter().map(|found| found.row).collect();
        candidates.extend(
            near.iter()
                .filter_map(|found| self.segment_rows.get(found.row as usize)),
        );
        candidates.extend(bm25.keys().chain(segment_words.keys()));
        candidates.sort_unstable();
        candidates.dedup();
        let signals: Vec<Signals> = candidates
            .into_iter()
            .map(|row| Signals {
                row,
                dense: super::index::dot(vector, self.texts.flat.matrix().row(row as usize)),
                segment: self.nearest_segment(vector, row),
                words: segment_words.get(&row).copied().unwrap_or_default(),
                is_faq: self.rows.faq_of(row).is_some(),
            })
            .collect();
        let by_row: HashMap<u32, Signals> = signals.iter().map(|signals| (signals.row, *signals)).collect();
        let scored = |(row, fused): (u32, f32)| {
            let signals = by_row.get(&row)?;
            let scores = Scores {
                dense: Some(signals.dense),
                lexical: bm25.get(&row).copied(),
                segment: Some(signals.segment),
                segment_words: Some(signals.words),
                fused,
                coverage: 0.0,
                reading: None,
            };
            Some((row, scores))
        };
        Ok(rank(&signals).into_iter().filter_map(scored).collect())
    }

    /// The cosine of the row's nearest segment.
    fn nearest_segment(&self, vector: &[f32], row: u32) -> f32 {
        let ends = self
            .segment_starts
            .get(row as usize..row as usize + 2)
            .unwrap_or(&[0, 0]);
        let matrix = self.segments.flat.matrix();
        (ends[0]..ends[1])
            .map(|segment| super::index::dot(vector, matrix.row(segment as usize)))
            .fold(-1.0, f32::max)
    }

    /// The FAQs nearest to the question. Candidates are the best of the ranking and those whose wordings are near;
    /// each is judged by its share in the ranking and by its nearest wording.
    fn faqs(
        &self,
        text: &str,
        vector: Option<&[f32]>,
        rows: &[(u32, Scores)],
        words: &Weighted,
        limits: Limits,
    ) -> Result<Vec<FaqHit>, RetrievalError> {
        if limits.faqs == 0 {
            return Ok(Vec::new());
        }
        let shares: HashMap<usize, f32> = rows
            .iter()
            .filter_map(|(row, scores)| Some((self.rows.faq_of(*row)?, scores.fused)))
            .collect();
        let mut candidates: Vec<usize> = rows
            .iter()
            .filter_map(|(row, _)| self.rows.faq_of(*row))
            .take(limits.faqs)
            .collect();
        if let Some(vector) = vector {
            // A FAQ may take several of the places with its wordings.
            let near = self.wordings.search(vector, limits.faqs * 8);
            let faqs = near.iter().filter_map(|found| self.wording_of.get(found.row as usize));
            candidates.extend(faqs.map(|(faq, _)| *faq as usize));
        }
        let mut seen = HashSet::new();
        candidates.retain(|faq| seen.insert(*faq));
        candidates.truncate(limits.faqs * 2);

        let question = Haystack::new(text);
        let mut hits = Vec::with_capacity(candidates.len());
        for faq in candidates {
            let share = shares.get(&faq).copied().unwrap_or_default().max(LEAST_SHARE);
            let hit = self.judge(faq, vector, words, &question)?;
            hits.push((share.ln() + SIMILARITY_WEIGHT * hit.similarity, hit));
        }
        hits.sort_by(|(a, x), (b, y)| b.total_cmp(a).then_with(|| x.faq.key.cmp(&y.faq.key)));
        let mut hits: Vec<FaqHit> = hits.into_iter().map(|(_, hit)| hit).collect();
        if let Some(exact) = self.exact(text) {
            hits.retain(|hit| hit.faq.id != exact.faq.id);
            hits.insert(0, exact);
        }
        hits.truncate(limits.faqs);
        Ok(hits)
    }

    /// The FAQ with its nearest wording: by cosine where there is a vector, else by words in common.
    fn judge(
        &self,
        faq: usize,
        vector: Option<&[f32]>,
        words: &Weighted,
        question: &Haystack,
    ) -> Result<FaqHit, RetrievalError> {
        let entry = &self.rows.faqs[faq];
        let mut best = (0, 0.0_f32, 0.0_f32);
        let matrix = self.wordings.flat.matrix();
        for (number, wording) in entry.wordings().enumerate() {
            let similarity = vector.map_or(0.0, |vector| {
                super::index::dot(vector, matrix.row(self.first_wording[faq] + number))
            });
            if vector.is_none() {
                let overlap = self.overlap(wording, words, question)?;
                if number == 0 || overlap > best.2 {
                    best = (number, similarity, overlap);
                }
            } else if number == 0 || similarity > best.1 {
                best = (number, similarity, 0.0);
            }
        }
        if vector.is_some() {
            let wording = entry.wordings().nth(best.0).unwrap_or_default();
            best.2 = self.overlap(wording, words, question)?;
        }
        Ok(FaqHit {
            faq: entry.as_ref().clone(),
            wording: best.0,
            similarity: best.1.clamp(-1.0, 1.0),
            overlap: best.2,
            exact: false,
            reading: None,
        })
    }

    /// What question and wording have in common, by weight (Dice): a wording that asks for more than the question does
    /// is another question, and so is one that asks for less.
    fn overlap(&self, wording: &str, words: &Weighted, question: &Haystack) -> Result<f32, RetrievalError> {
        let (ours, all) = words.found_in(&Haystack::new(wording));
        let (theirs, all_theirs) = self.weighted(wording)?.found_in(question);
        let sum = all + all_theirs;
        Ok(if sum > 0.0 { (ours + theirs) / sum } else { 0.0 })
    }

    fn weighted(&self, text: &str) -> Result<Weighted, RetrievalError> {
        let weigh = |word: String| self.lexical.rarity(&word).map(|rarity| (word, rarity));
        words(text)
            .into_iter()
            .map(weigh)
            .collect::<Result<_, _>>()
            .map(Weighted)
    }

    /// Builds the graph over a set of vectors.
    pub(super) fn graph(
        matrix: &Matrix,
        settings: GraphSettings,
        pool: &rayon::ThreadPool,
        wanted: &(dyn Fn() -> bool + Sync),
    ) -> Option<HnswIndex> {
        pool.install(|| HnswIndex::build(matrix, settings, wanted))
    }
}

fn io(source: std::io::Error) -> RetrievalError {
    RetrievalError::Io {
        path: "index".into(),
        source,
    }
}

pub(super) fn internal(task: &'static str, error: &tokio::task::JoinError) -> RetrievalError {
    RetrievalError::Internal {
        task,
        detail: error.to_string(),
    }
}
