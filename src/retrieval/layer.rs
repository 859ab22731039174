//! A layer of the index: rows with their vectors, words and segments. Once made it does not change; what becomes of its
//! rows later stands beside it ([`Dead`]). The index is a base and a few small layers of what changed since.

use super::RetrievalError;
use super::corpus::{Corpus, Row, Rows};
use super::expand::Sounds;
use super::graph::Graph;
use super::index::{FlatIndex, GraphSettings, HnswIndex, Matrix, Neighbour, VectorIndex};
use super::lexical::{Entry, Gone, LexicalIndex};
use super::mask::Mask;
use super::vectors::Vectors;
use crate::domain::{DocumentId, Faq, FaqId, KbItem, PassageId};
use crate::inference::TextKind;
use crate::understanding::match_key;
use std::collections::HashMap;
use std::sync::OnceLock;

/// Where so few vectors, or so small a part of all, may be found, they are compared one by one: walking the graph over
/// all that may not would take longer and miss some.
const FEW_VECTORS: usize = 4_000;
/// As above: one in so many.
const SMALL_PART: usize = 20;

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

    pub(super) fn rows(&self) -> usize {
        self.flat.matrix().rows()
    }

    /// The `k` nearest of the vectors that `allowed` admits (all where there is no such condition), which are `count`.
    pub(super) fn search(
        &self,
        query: &[f32],
        k: usize,
        allowed: Option<&dyn Fn(u32) -> bool>,
        count: usize,
    ) -> Vec<Neighbour> {
        let graph = self.graph.get().filter(|_| {
            allowed.is_none() || (count >= FEW_VECTORS.min(self.rows()) && count * SMALL_PART >= self.rows())
        });
        let Some(graph) = graph else {
            return match allowed {
                Some(allowed) => self.flat.search_among(query, k, allowed),
                None => self.flat.search(query, k),
            };
        };
        let Some(allowed) = allowed else {
            return graph.search(query, k);
        };
        let found = graph.search_among(query, k, allowed);
        // A walk that was cut off from some of the allowed ones.
        if found.len() < k.min(count) {
            return self.flat.search_among(query, k, allowed);
        }
        found
    }
}

/// Rows and all that they are found by.
pub(super) struct Layer {
    pub(super) rows: Rows,
    pub(super) texts: VectorSet,
    pub(super) wordings: VectorSet,
    /// For each wording its FAQ and its number there.
    pub(super) wording_of: Vec<(u32, u32)>,
    /// For each FAQ the first of its wordings' vectors.
    pub(super) first_wording: Vec<u32>,
    /// For each FAQ its row.
    pub(super) faq_rows: Vec<u32>,
    pub(super) lexical: LexicalIndex,
    pub(super) segments: VectorSet,
    pub(super) segment_words: LexicalIndex,
    /// For each row the place of its first segment, and one more for the end.
    pub(super) segment_starts: Vec<u32>,
    /// For each segment its row.
    pub(super) segment_rows: Vec<u32>,
    /// The words of its rows, dead ones too, by their sound.
    pub(super) sounds: Sounds,
    /// What its rows speak of.
    pub(super) graph: Graph,
    passages: HashMap<PassageId, u32>,
    exact: HashMap<String, Vec<(u32, u32)>>,
    documents: HashMap<DocumentId, Vec<u32>>,
    faqs: HashMap<FaqId, u32>,
    bytes_without_graphs: usize,
}

/// What a layer is made of.
pub(super) struct Parts {
    pub(super) rows: Rows,
    pub(super) texts: Matrix,
    pub(super) wordings: Matrix,
    pub(super) lexical: LexicalIndex,
    pub(super) segments: Matrix,
    pub(super) segment_words: LexicalIndex,
    pub(super) segment_counts: Vec<u32>,
}

/// The rows of a layer that are no longer in the knowledge base.
#[derive(Clone, Default)]
pub(super) struct Dead {
    /// The rows.
    pub(super) rows: Gone,
    /// Their segments.
    pub(super) segments: Gone,
    /// What is alive, by place of the scope.
    pub(super) living: Vec<Count>,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) rows: usize,
    pub(super) segments: usize,
    pub(super) faqs: usize,
    pub(super) wordings: usize,
}

impl std::ops::Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            rows: self.rows + other.rows,
            segments: self.segments + other.segments,
            faqs: self.faqs + other.faqs,
            wordings: self.wordings + other.wordings,
        }
    }
}

impl Layer {
    /// Puts the parts together.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub(super) fn new(parts: Parts) -> Result<Self, String> {
        let Parts {
            rows,
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
        let mut exact: HashMap<String, Vec<(u32, u32)>> = HashMap::new();
        for (place, (faq, number)) in wording_of.iter().enumerate() {
            if *number == 0 {
                first_wording.push(place as u32);
            }
            let wording = rows.faqs[*faq as usize].wordings().nth(*number as usize);
            let key = wording.map(match_key).unwrap_or_default();
            if !key.is_empty() {
                exact.entry(key).or_default().push((*faq, *number));
            }
        }
        let (mut documents, mut faqs, mut faq_rows) = (HashMap::<_, Vec<u32>>::new(), HashMap::new(), Vec::new());
        let mut passages = HashMap::new();
        for (row, source) in rows.rows.iter().enumerate() {
            match source {
                Row::Passage(id, document) => {
                    documents.entry(*document).or_default().push(row as u32);
                    passages.insert(*id, row as u32);
                }
                Row::Faq(faq) => {
                    let Some(entry) = rows.faqs.get(*faq as usize) else {
                        return Err("a row has no FAQ".to_owned());
                    };
                    faqs.insert(entry.id, *faq);
                    faq_rows.push(row as u32);
                }
            }
        }
        let count = rows.rows.len();
        let fits = [
            ("vectors", texts.rows(), count),
            ("texts", lexical.texts(), count),
            ("scopes", rows.scope_of.len(), count),
            ("facts", rows.facts.len(), count),
            ("counts of segments", segment_counts.len(), count),
            ("FAQs", rows.faqs.len(), faq_rows.len()),
            ("wordings", wordings.rows(), wording_of.len()),
            ("segments", segments.rows(), segment_rows.len()),
            ("segments' texts", segment_words.texts(), segment_rows.len()),
        ];
        if let Some((what, got, want)) = fits.iter().find(|(_, got, want)| got != want) {
            return Err(format!("{got} {what} where {want} belong"));
        }
        if rows.scope_of.iter().any(|scope| *scope as usize >= rows.scopes.len()) {
            return Err("a row has no scope".to_owned());
        }
        let terms = lexical.terms().map_err(|error| error.to_string())?;
        let mut layer = Self {
            sounds: Sounds::of(terms.into_iter(), rows.facts.iter().flat_map(|facts| facts.names())),
            graph: Graph::of(&rows.facts),
            passages,
            rows,
            texts: VectorSet::new(texts),
            wordings: VectorSet::new(wordings),
            wording_of,
            first_wording,
            faq_rows,
            lexical,
            segments: VectorSet::new(segments),
            segment_words,
            segment_starts,
            segment_rows,
            exact,
            documents,
            faqs,
            bytes_without_graphs: 0,
        };
        layer.bytes_without_graphs = layer.count_bytes();
        Ok(layer)
    }

    /// Indexes a corpus, on the calling thread and the current rayon pool.
    ///
    /// # Errors
    /// What tantivy says.
    fn of(corpus: Corpus, vectors: [Matrix; 3]) -> Result<Self, RetrievalError> {
        let [texts, wordings, segments] = vectors;
        let entry = |text: String| Entry {
            title: String::new(),
            body: text,
        };
        let segment_entries: Vec<Entry> = corpus.segments.into_iter().map(entry).collect();
        let parts = Parts {
            rows: corpus.rows,
            texts,
            wordings,
            lexical: LexicalIndex::build(&corpus.entries)?,
            segments,
            segment_words: LexicalIndex::build(&segment_entries)?,
            segment_counts: corpus.segment_counts,
        };
        Self::new(parts).map_err(inconsistent)
    }

    /// Embeds and indexes a corpus. Vectors that are stored are not computed again.
    ///
    /// # Errors
    /// What the store, the embedder or tantivy says.
    pub(super) async fn build(
        corpus: Corpus,
        vectors: &Vectors,
        pool: &std::sync::Arc<rayon::ThreadPool>,
    ) -> Result<Self, RetrievalError> {
        let dim = vectors.embedder.info().dim;
        let matrices = [
            Matrix::new(dim, vectors.rows(TextKind::Passage, &corpus.texts).await?),
            Matrix::new(dim, vectors.rows(TextKind::Query, &corpus.wordings).await?),
            Matrix::new(dim, vectors.rows(TextKind::Passage, &corpus.segments).await?),
        ];
        let pool = pool.clone();
        tokio::task::spawn_blocking(move || pool.install(|| Self::of(corpus, matrices)))
            .await
            .map_err(|error| super::state::internal("indexing", &error))?
    }

    /// One layer of what is alive in `parts`, in their order. Nothing is embedded or cut into terms again.
    ///
    /// Cost: the vectors are copied and the lists of words merged: about a second for 100,000 rows.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn merge(parts: &[(&Self, &Dead)], dim: usize) -> Result<Self, RetrievalError> {
        let mut rows = Rows::default();
        let mut segment_counts = Vec::new();
        for (layer, dead) in parts {
            for (row, source) in layer.rows.rows.iter().enumerate() {
                if dead.rows.texts.contains(row as u32) {
                    continue;
                }
                match source {
                    Row::Passage(id, document) => {
                        let facts = layer.rows.facts[row].clone();
                        rows.add_passage(*id, *document, layer.scope(row as u32), facts);
                    }
                    Row::Faq(faq) => rows.add_faq(layer.rows.faqs[*faq as usize].clone()),
                }
                segment_counts.push(layer.segment_starts[row + 1] - layer.segment_starts[row]);
            }
        }
        let concat = |set: fn(&Self) -> &VectorSet, keeps: &[Box<dyn Fn(u32) -> bool + '_>]| {
            let sets = parts.iter().map(|(layer, _)| set(layer).flat.matrix());
            Matrix::concat(dim, sets.zip(keeps.iter().map(AsRef::as_ref)))
        };
        let keeps = |keep: fn(&Self, &Dead, u32) -> bool| {
            let boxed = parts.iter().map(|(layer, dead)| {
                let keep: Box<dyn Fn(u32) -> bool + '_> = Box::new(move |place| keep(layer, dead, place));
                keep
            });
            boxed.collect::<Vec<_>>()
        };
        let lexical: Vec<_> = parts.iter().map(|(layer, dead)| (&layer.lexical, &dead.rows)).collect();
        let segment_words: Vec<_> = parts
            .iter()
            .map(|(layer, dead)| (&layer.segment_words, &dead.segments))
            .collect();
        let parts = Parts {
            rows,
            texts: concat(
                |layer| &layer.texts,
                &keeps(|_, dead, row| !dead.rows.texts.contains(row)),
            ),
            wordings: concat(
                |layer| &layer.wordings,
                &keeps(|layer, dead, wording| {
                    let (faq, _) = layer.wording_of[wording as usize];
                    !dead.rows.texts.contains(layer.faq_rows[faq as usize])
                }),
            ),
            lexical: LexicalIndex::merge(&lexical)?,
            segments: concat(
                |layer| &layer.segments,
                &keeps(|_, dead, segment| !dead.segments.texts.contains(segment)),
            ),
            segment_words: LexicalIndex::merge(&segment_words)?,
            segment_counts,
        };
        Self::new(parts).map_err(inconsistent)
    }

    /// How many rows it has, dead ones too.
    pub(super) fn len(&self) -> usize {
        self.rows.rows.len()
    }

    /// Who may be told what the row says.
    pub(super) fn scope(&self, row: u32) -> &crate::domain::Scope {
        &self.rows.scopes[self.rows.scope_of[row as usize] as usize]
    }

    /// The FAQs and numbers of the wordings that have that key.
    pub(super) fn exact(&self, key: &str) -> &[(u32, u32)] {
        self.exact.get(key).map_or(&[], Vec::as_slice)
    }

    /// The segments of a row.
    pub(super) fn segments_of(&self, row: u32) -> std::ops::Range<u32> {
        self.segment_starts[row as usize]..self.segment_starts[row as usize + 1]
    }

    /// The vectors of a FAQ's wordings.
    pub(super) fn wordings_of(&self, faq: usize) -> std::ops::Range<usize> {
        let first = self.first_wording[faq] as usize;
        first..first + self.rows.faqs[faq].variants.len() + 1
    }

    /// The row of a passage.
    pub(super) fn row_of(&self, id: PassageId) -> Option<u32> {
        self.passages.get(&id).copied()
    }

    /// The row of a FAQ, and the FAQ.
    pub(super) fn faq_of(&self, id: FaqId) -> Option<(u32, &std::sync::Arc<Faq>)> {
        let faq = *self.faqs.get(&id)? as usize;
        Some((self.faq_rows[faq], &self.rows.faqs[faq]))
    }

    /// The rows of the document that a row is of, in order; none for a FAQ.
    pub(super) fn rows_beside(&self, row: u32) -> &[u32] {
        match self.rows.rows[row as usize] {
            Row::Passage(_, document) => self.documents.get(&document).map_or(&[], Vec::as_slice),
            Row::Faq(_) => &[],
        }
    }

    fn rows_of(&self, item: &KbItem) -> Vec<u32> {
        match item {
            KbItem::Document(id) => self.documents.get(id).cloned().unwrap_or_default(),
            KbItem::Faq(id) => self
                .faqs
                .get(id)
                .map(|faq| self.faq_rows[*faq as usize])
                .into_iter()
                .collect(),
        }
    }

    /// The items of the FAQs that have that key.
    pub(super) fn faqs_of_key(&self, key: &str) -> impl Iterator<Item = KbItem> {
        let same = self.rows.faqs.iter().filter(move |faq| faq.key == key);
        same.map(|faq| KbItem::Faq(faq.id))
    }

    /// All alive.
    pub(super) fn all_alive(&self) -> Dead {
        let mut living = vec![Count::default(); self.rows.scopes.len()];
        for row in 0..self.len() as u32 {
            let place = self.rows.scope_of[row as usize] as usize;
            living[place] = living[place] + self.count(row);
        }
        Dead {
            living,
            ..Dead::default()
        }
    }

    /// `dead` and the rows of these items. `None` if that is no more than before.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn without(&self, dead: &Dead, items: &[KbItem]) -> Result<Option<Dead>, RetrievalError> {
        let is_new = |row: &u32| !dead.rows.texts.contains(*row);
        let gone: Vec<u32> = items
            .iter()
            .flat_map(|item| self.rows_of(item))
            .filter(is_new)
            .collect();
        if gone.is_empty() {
            return Ok(None);
        }
        let mut all = dead.clone();
        if all.rows.texts.count() == 0 {
            all.rows.texts = Mask::new(self.len());
            all.segments.texts = Mask::new(self.segment_rows.len());
        }
        for row in gone {
            // An item may be named twice.
            if !all.rows.texts.insert(row) {
                continue;
            }
            for segment in self.segments_of(row) {
                all.segments.texts.insert(segment);
            }
            let living = &mut all.living[self.rows.scope_of[row as usize] as usize];
            let gone = self.count(row);
            living.rows -= gone.rows;
            living.segments -= gone.segments;
            living.faqs -= gone.faqs;
            living.wordings -= gone.wordings;
        }
        all.rows = self.lexical.gone(all.rows.texts)?;
        all.segments = self.segment_words.gone(all.segments.texts)?;
        Ok(Some(all))
    }

    fn count(&self, row: u32) -> Count {
        let wordings = match self.rows.rows[row as usize] {
            Row::Passage(..) => 0,
            Row::Faq(faq) => self.wordings_of(faq as usize).len(),
        };
        Count {
            rows: 1,
            segments: self.segments_of(row).len(),
            faqs: usize::from(wordings > 0),
            wordings,
        }
    }

    /// Builds graphs over its sets of more than `exact_vectors` vectors, on `pool`. Ends early if `wanted` says no.
    pub(super) fn build_graphs(
        &self,
        exact_vectors: usize,
        settings: GraphSettings,
        pool: &rayon::ThreadPool,
        wanted: &(dyn Fn() -> bool + Sync),
    ) {
        for set in self.sets().into_iter().filter(|set| set.rows() > exact_vectors) {
            if let Some(graph) = pool.install(|| HnswIndex::build(set.flat.matrix(), settings, wanted)) {
                // If another was quicker, its graph is as good.
                let _ = set.graph.set(graph);
            }
        }
    }

    /// Whether a graph that it should have is not there.
    pub(super) fn lacks_graphs(&self, exact_vectors: usize) -> bool {
        let lacks = |set: &&VectorSet| set.rows() > exact_vectors && set.graph.get().is_none();
        self.sets().iter().any(lacks)
    }

    fn sets(&self) -> [&VectorSet; 3] {
        [&self.texts, &self.wordings, &self.segments]
    }

    /// About how many bytes it takes: vectors, graphs, words, and what tells of rows.
    pub(super) fn bytes(&self) -> usize {
        let graph = |set: &VectorSet| set.graph.get().map_or(0, HnswIndex::bytes);
        self.bytes_without_graphs + self.sets().into_iter().map(graph).sum::<usize>()
    }

    fn count_bytes(&self) -> usize {
        let vectors = |set: &VectorSet| size_of_val(set.flat.matrix().as_slice());
        // Once as the FAQ, once as the keys of its wordings.
        let faq = |faq: &std::sync::Arc<crate::domain::Faq>| {
            faq.answer.len() + faq.wordings().map(|wording| wording.len() * 2 + 80).sum::<usize>() + 200
        };
        self.sets().into_iter().map(vectors).sum::<usize>()
            + self.lexical.bytes()
            + self.segment_words.bytes()
            + self.sounds.bytes()
            + self.graph.bytes()
            + self.rows.facts.iter().map(|facts| facts.bytes()).sum::<usize>()
            + self.len() * 100
            + self.segment_rows.len() * 4
            + self.rows.faqs.iter().map(faq).sum::<usize>()
    }
}

fn inconsistent(detail: String) -> RetrievalError {
    RetrievalError::Internal {
        task: "putting the index together",
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::tests::clustered;
    use super::*;

    #[test]
    fn the_graph_serves_many_and_few_are_compared_one_by_one() {
        let rows = 6_000;
        let mut data = clustered(rows + 50, 16, 60, 5);
        let queries = Matrix::new(16, data.split_off(rows * 16));
        let exact = VectorSet::new(Matrix::new(16, data.clone()));
        let graph = VectorSet::new(Matrix::new(16, data));
        let settings = GraphSettings {
            neighbours: 16,
            ef_construction: 100,
            ef_search: 64,
        };
        let built = HnswIndex::build(graph.flat.matrix(), settings, &|| true).unwrap();
        assert!(graph.graph.set(built).is_ok());
        // 5,000 rows; 60; 7; none.
        for (part, is_exact) in [(6, false), (100, true), (857, true), (u32::MAX, true)] {
            let allowed = |row: u32| match part {
                6 => !row.is_multiple_of(part),
                _ => row % part == 1 && part != u32::MAX,
            };
            let count = (0..rows as u32).filter(|row| allowed(*row)).count();
            let (mut same, mut all) = (0, 0);
            for query in 0..queries.rows() {
                let query = queries.row(query);
                let wanted = exact.search(query, 10, Some(&allowed), count);
                let found = graph.search(query, 10, Some(&allowed), count);
                assert_eq!(found.len(), count.min(10));
                assert!(found.iter().all(|found| allowed(found.row)));
                assert!(!is_exact || found == wanted);
                all += wanted.len();
                same += wanted.iter().filter(|a| found.iter().any(|b| a.row == b.row)).count();
            }
            assert!(same * 100 >= all * 95, "one in {part}: {same} of {all}");
        }
    }
}
