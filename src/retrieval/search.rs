//! One search in the index of one version: all stages, over what is alive and what the viewer may be told.

use super::corpus::Row;
use super::expand::{Synonyms, Wanted};
use super::graph::{About, Related};
use super::index::{Neighbour, dot};
use super::layer::{Count, Layer, VectorSet};
use super::rank::{Signals, rank};
use super::state::{Placed, State};
use super::terms::{Haystack, words};
use super::words::Words;
use super::{FaqHit, RetrievalError, Scores, SearchMode};
use crate::domain::Viewer;
use crate::understanding::match_key;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How much the cosine of question and wording counts beside the logarithm of a FAQ's share in the ranking. Of 87
/// calibration questions with a FAQ, the first one is right for 44 by the ranking alone, for 52 by the wording alone, for
/// 56 by both.
const SIMILARITY_WEIGHT: f32 = 60.0;
/// The share of a FAQ that the ranking does not have.
const LEAST_SHARE: f32 = 1e-6;

/// What is asked of the indexes.
#[derive(Clone)]
pub(super) struct Question {
    /// The text, normalised.
    pub(super) text: String,
    /// Its vector, unless the mode needs none.
    pub(super) vector: Option<Arc<[f32]>>,
    /// Which stages search.
    pub(super) mode: SearchMode,
    /// Rows each stage gives.
    pub(super) candidates: usize,
    /// FAQs at most.
    pub(super) faqs: usize,
    /// Who asks.
    pub(super) viewer: Viewer,
    /// What is searched beside its own terms.
    pub(super) expansion: Expansion,
}

/// By what a question is expanded.
#[derive(Clone, Debug, Default)]
pub(super) struct Expansion {
    /// Words that sound like those it says.
    pub(super) sounds: bool,
    /// What the base itself calls things beside what the question calls them.
    pub(super) names: bool,
    /// Words that mean the same.
    pub(super) synonyms: Arc<Synonyms>,
}

/// What a search in the indexes found: rows with their scores (coverage not yet), and FAQs.
pub(super) struct Searched {
    pub(super) rows: Vec<(u32, Scores)>,
    pub(super) faqs: Vec<FaqHit>,
    pub(super) words: Weighted,
    pub(super) unknown: Vec<String>,
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

/// A layer as a viewer sees it.
pub(super) struct Seen<'a> {
    placed: &'a Placed,
    /// For each scope of the layer whether the viewer may be told.
    allowed: Vec<bool>,
    /// Whether all its rows are alive and may be told.
    whole: bool,
    /// What is alive and may be told.
    count: Count,
}

impl<'a> Seen<'a> {
    fn new(placed: &'a Placed, viewer: &Viewer) -> Self {
        let scopes = &placed.layer.rows.scopes;
        let allowed: Vec<bool> = scopes.iter().map(|scope| scope.admits(viewer)).collect();
        let living = placed.dead.living.iter().zip(&allowed);
        let count = living.fold(Count::default(), |all, (count, allowed)| match allowed {
            true => all + *count,
            false => all,
        });
        Self {
            whole: count.rows == placed.layer.len(),
            placed,
            allowed,
            count,
        }
    }

    pub(super) fn layer(&self) -> &'a Layer {
        &self.placed.layer
    }

    pub(super) fn row(&self, row: u32) -> bool {
        let scope = self.layer().rows.scope_of[row as usize];
        self.whole || (self.allowed[scope as usize] && !self.placed.dead.rows.texts.contains(row))
    }

    fn segment(&self, segment: u32) -> bool {
        self.whole || self.row(self.layer().segment_rows[segment as usize])
    }

    fn wording(&self, wording: u32) -> bool {
        self.whole || self.row(self.wording_row(wording))
    }

    fn wording_row(&self, wording: u32) -> u32 {
        let (faq, _) = self.layer().wording_of[wording as usize];
        self.layer().faq_rows[faq as usize]
    }
}

/// A kind of vectors.
#[derive(Clone, Copy)]
enum Vectors {
    Texts,
    Segments,
    Wordings,
}

/// The index as a viewer sees it.
pub(super) struct View<'a> {
    state: &'a State,
    pub(super) layers: Vec<Seen<'a>>,
    pub(super) words: Words<'a>,
    segment_words: Words<'a>,
}

impl State {
    /// The FAQ one of whose wordings has the same key as `text`. Of several, the first in order of their keys.
    pub(super) fn exact(&self, text: &str, viewer: &Viewer) -> Option<FaqHit> {
        let key = match_key(text);
        let hits = self.layers.iter().flat_map(|placed| {
            let seen = Seen::new(placed, viewer);
            let living = placed
                .layer
                .exact(&key)
                .iter()
                .filter(move |(faq, _)| seen.row(seen.layer().faq_rows[*faq as usize]));
            living.map(|(faq, number)| (&placed.layer.rows.faqs[*faq as usize], *number))
        });
        let (faq, number) = hits.min_by(|(a, x), (b, y)| (&a.key, x).cmp(&(&b.key, y)))?;
        Some(FaqHit {
            faq: faq.as_ref().clone(),
            wording: number as usize,
            similarity: 1.0,
            overlap: 1.0,
            exact: true,
            rank: 0.0,
            same: None,
            reading: None,
        })
    }

    /// Searches all indexes that the mode asks for.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn search(&self, question: &Question) -> Result<Searched, RetrievalError> {
        self.view(&question.viewer).search(question)
    }

    /// What one may ask after what was asked and answered.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn related(&self, about: &About, viewer: &Viewer) -> Result<Vec<Related>, RetrievalError> {
        self.view(viewer).related(about)
    }

    /// The things among which a question does not choose.
    pub(super) fn siblings(&self, about: &About, viewer: &Viewer) -> Vec<Related> {
        self.view(viewer).siblings(about)
    }

    fn view(&self, viewer: &Viewer) -> View<'_> {
        let (rows, segments) = self
            .layers
            .iter()
            .map(|placed| {
                let rows = (&placed.layer.lexical, &placed.dead.rows);
                (rows, (&placed.layer.segment_words, &placed.dead.segments))
            })
            .unzip();
        View {
            state: self,
            layers: self.layers.iter().map(|placed| Seen::new(placed, viewer)).collect(),
            words: Words::new(rows),
            segment_words: Words::new(segments),
        }
    }
}

impl View<'_> {
    fn search(&self, question: &Question) -> Result<Searched, RetrievalError> {
        let words = self.weighted(&question.text)?;
        let wanted = match question.mode {
            SearchMode::Dense => Wanted::default(),
            SearchMode::Hybrid | SearchMode::Lexical => self.wanted(question)?,
        };
        let rows = self.ranked(question, &wanted)?;
        let faqs = self.faqs(question, &rows, &words)?;
        let unknown = self.unknown(&words)?;
        Ok(Searched {
            rows,
            faqs,
            words,
            unknown,
        })
    }

    /// The `k` nearest vectors of a kind, as rows of the state (for wordings the rows of their FAQs).
    fn nearest(&self, kind: Vectors, query: &[f32], k: usize) -> Vec<Neighbour> {
        let mut found = Vec::new();
        for seen in &self.layers {
            let layer = seen.layer();
            let (set, count): (&VectorSet, usize) = match kind {
                Vectors::Texts => (&layer.texts, seen.count.rows),
                Vectors::Segments => (&layer.segments, seen.count.segments),
                Vectors::Wordings => (&layer.wordings, seen.count.wordings),
            };
            if count == 0 {
                continue;
            }
            let allowed = |place: u32| match kind {
                Vectors::Texts => seen.row(place),
                Vectors::Segments => seen.segment(place),
                Vectors::Wordings => seen.wording(place),
            };
            let condition: Option<&dyn Fn(u32) -> bool> = if seen.whole { None } else { Some(&allowed) };
            let near = set.search(query, k, condition, count);
            found.extend(near.into_iter().map(|near| Neighbour {
                row: seen.placed.first
                    + match kind {
                        Vectors::Texts => near.row,
                        Vectors::Segments => layer.segment_rows[near.row as usize],
                        Vectors::Wordings => seen.wording_row(near.row),
                    },
                similarity: near.similarity,
            }));
        }
        found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.row.cmp(&b.row)));
        found.truncate(k);
        found
    }

    /// The best texts by words, with their BM25 scores.
    fn by_words(&self, question: &Question, wanted: &Wanted) -> Result<Vec<(u32, f32)>, RetrievalError> {
        let allowed = |part: usize, row: u32| self.layers[part].row(row);
        let found = self.words.search(wanted, question.candidates, &allowed)?;
        let row = |found: &super::words::FoundText| self.layers[found.part].placed.first + found.text;
        Ok(found.iter().map(|found| (row(found), found.score)).collect())
    }

    /// For each row that is among the best by the words of its segments, the BM25 score of the best one.
    fn by_segment_words(&self, wanted: &Wanted, places: usize) -> Result<HashMap<u32, f32>, RetrievalError> {
        let allowed = |part: usize, segment: u32| self.layers[part].segment(segment);
        let mut best: HashMap<u32, f32> = HashMap::new();
        for found in self.segment_words.search(wanted, places, &allowed)? {
            let seen = &self.layers[found.part];
            let row = seen.placed.first + seen.layer().segment_rows[found.text as usize];
            let score = best.entry(row).or_default();
            *score = score.max(found.score);
        }
        Ok(best)
    }

    /// The rows that any stage found, in order: by the linear model where all stages search, else by the one stage.
    fn ranked(&self, question: &Question, wanted: &Wanted) -> Result<Vec<(u32, Scores)>, RetrievalError> {
        let one_stage = |place: usize| Scores {
            fused: 1.0 / (place + 1) as f32,
            ..Scores::default()
        };
        let Some(vector) = question.vector.as_deref() else {
            let found = self.by_words(question, wanted)?.into_iter().enumerate();
            let scored = found.map(|(place, (row, score))| {
                let lexical = Some(score);
                (
                    row,
                    Scores {
                        lexical,
                        ..one_stage(place)
                    },
                )
            });
            return Ok(scored.collect());
        };
        let dense = self.nearest(Vectors::Texts, vector, question.candidates);
        if question.mode == SearchMode::Dense {
            let scored = dense.into_iter().enumerate().map(|(place, found)| {
                let dense = Some(found.similarity);
                (
                    found.row,
                    Scores {
                        dense,
                        ..one_stage(place)
                    },
                )
            });
            return Ok(scored.collect());
        }
        let bm25: HashMap<u32, f32> = self.by_words(question, wanted)?.into_iter().collect();
        // A passage may take several places with its segments.
        let places = question.candidates * 4;
        let segment_words = self.by_segment_words(wanted, places)?;
        let near = self.nearest(Vectors::Segments, vector, places);
        let mut candidates: Vec<u32> = dense.iter().chain(&near).map(|found| found.row).collect();
        candidates.extend(bm25.keys().chain(segment_words.keys()));
        candidates.sort_unstable();
        candidates.dedup();
        let signals: Vec<Signals> = candidates
            .into_iter()
            .filter_map(|row| self.signals(row, vector, segment_words.get(&row).copied()))
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
                ..Scores::default()
            };
            Some((row, scores))
        };
        Ok(rank(&signals).into_iter().filter_map(scored).collect())
    }

    fn signals(&self, row: u32, vector: &[f32], words: Option<f32>) -> Option<Signals> {
        let (place, local) = self.state.locate(row)?;
        let layer = self.layers[place].layer();
        let segments = layer.segments.flat.matrix();
        Some(Signals {
            row,
            dense: dot(vector, layer.texts.flat.matrix().row(local as usize)),
            segment: layer
                .segments_of(local)
                .map(|segment| dot(vector, segments.row(segment as usize)))
                .fold(-1.0, f32::max),
            words: words.unwrap_or_default(),
            is_faq: self.is_faq(row),
        })
    }

    fn is_faq(&self, row: u32) -> bool {
        let at = self.state.locate(row);
        at.is_some_and(|(place, local)| matches!(self.layers[place].layer().rows.rows[local as usize], Row::Faq(_)))
    }

    /// The FAQs nearest to the question. Candidates are the best of the ranking and those whose wordings are near;
    /// each is judged by its share in the ranking and by its nearest wording.
    fn faqs(
        &self,
        question: &Question,
        rows: &[(u32, Scores)],
        words: &Weighted,
    ) -> Result<Vec<FaqHit>, RetrievalError> {
        let limit = question.faqs;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let of_faqs = || rows.iter().filter(|(row, _)| self.is_faq(*row));
        let shares: HashMap<u32, f32> = of_faqs().map(|(row, scores)| (*row, scores.fused)).collect();
        let mut candidates: Vec<u32> = of_faqs().map(|(row, _)| *row).take(limit).collect();
        if let Some(vector) = question.vector.as_deref() {
            // A FAQ may take several of the places with its wordings.
            let near = self.nearest(Vectors::Wordings, vector, limit * 8);
            candidates.extend(near.iter().map(|found| found.row));
        }
        let mut seen = HashSet::new();
        candidates.retain(|row| seen.insert(*row));
        candidates.truncate(limit * 2);

        let haystack = Haystack::new(&question.text);
        let mut hits = Vec::with_capacity(candidates.len());
        for row in candidates {
            let share = shares.get(&row).copied().unwrap_or_default().max(LEAST_SHARE);
            if let Some(hit) = self.judge(row, question.vector.as_deref(), words, &haystack)? {
                let rank = share.ln() + SIMILARITY_WEIGHT * hit.similarity;
                hits.push(FaqHit { rank, ..hit });
            }
        }
        hits.sort_by(|a, b| b.rank.total_cmp(&a.rank).then_with(|| a.faq.key.cmp(&b.faq.key)));
        if let Some(exact) = self.state.exact(&question.text, &question.viewer) {
            hits.retain(|hit| hit.faq.id != exact.faq.id);
            hits.insert(0, exact);
        }
        hits.truncate(limit);
        Ok(hits)
    }

    /// The FAQ of a row with its nearest wording: by cosine where there is a vector, else by words in common.
    fn judge(
        &self,
        row: u32,
        vector: Option<&[f32]>,
        words: &Weighted,
        question: &Haystack,
    ) -> Result<Option<FaqHit>, RetrievalError> {
        let Some((place, local)) = self.state.locate(row) else {
            return Ok(None);
        };
        let layer = self.layers[place].layer();
        let Row::Faq(faq) = layer.rows.rows[local as usize] else {
            return Ok(None);
        };
        let entry = &layer.rows.faqs[faq as usize];
        let mut best = (0, 0.0_f32, 0.0_f32);
        let matrix = layer.wordings.flat.matrix();
        for ((number, wording), place) in entry.wordings().enumerate().zip(layer.wordings_of(faq as usize)) {
            let similarity = vector.map_or(0.0, |vector| dot(vector, matrix.row(place)));
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
        Ok(Some(FaqHit {
            faq: entry.as_ref().clone(),
            wording: best.0,
            similarity: best.1.clamp(-1.0, 1.0),
            overlap: best.2,
            exact: false,
            rank: 0.0,
            same: None,
            reading: None,
        }))
    }

    /// What question and wording have in common, by weight (Dice): a wording that asks for more than the question does
    /// is another question, and so is one that asks for less.
    fn overlap(&self, wording: &str, words: &Weighted, question: &Haystack) -> Result<f32, RetrievalError> {
        let (ours, all) = words.found_in(&Haystack::new(wording));
        let (theirs, all_theirs) = self.weighted(wording)?.found_in(question);
        let sum = all + all_theirs;
        Ok(if sum > 0.0 { (ours + theirs) / sum } else { 0.0 })
    }

    /// Those of the words that no text has.
    fn unknown(&self, words: &Weighted) -> Result<Vec<String>, RetrievalError> {
        let mut unknown = Vec::new();
        for (word, _) in &words.0 {
            if self.words.frequency(word)? == 0 {
                unknown.push(word.clone());
            }
        }
        Ok(unknown)
    }

    fn weighted(&self, text: &str) -> Result<Weighted, RetrievalError> {
        let weigh = |word: String| self.words.rarity(&word).map(|rarity| (word, rarity));
        words(text)
            .into_iter()
            .map(weigh)
            .collect::<Result<_, _>>()
            .map(Weighted)
    }
}
