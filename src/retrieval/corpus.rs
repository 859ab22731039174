//! What is searched: the passages and FAQs of one version of the knowledge base, numbered by rows.

use super::RetrievalError;
use super::lexical::Entry;
use super::searchable::{plain, searchable_faq, searchable_passage};
use super::segment::segments;
use crate::domain::{Faq, KbVersion, PassageId};
use crate::storage::{PageRequest, Store};
use crate::understanding::match_key;
use std::collections::HashMap;
use std::sync::Arc;

/// Rows read at a time.
const PAGE: u32 = 500;
/// How often reading starts again because the knowledge base changed meanwhile.
const ATTEMPTS: usize = 5;

/// What the rows of the index stand for. Rows are numbered passages first, then FAQs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rows {
    /// The version they were read from.
    pub(super) version: KbVersion,
    /// What [`lineage`] said of it.
    pub(super) lineage: String,
    /// The passages, in order of id.
    pub(super) passages: Vec<PassageId>,
    /// The FAQs, in order of key.
    pub(super) faqs: Vec<Arc<Faq>>,
}

/// What a row stands for.
pub(super) enum Row<'a> {
    Passage(PassageId),
    Faq(&'a Arc<Faq>),
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.passages.len() + self.faqs.len()
    }

    pub(super) fn get(&self, row: u32) -> Option<Row<'_>> {
        let row = row as usize;
        match self.passages.get(row) {
            Some(id) => Some(Row::Passage(*id)),
            None => self.faqs.get(row - self.passages.len()).map(Row::Faq),
        }
    }

    /// The place of a row's FAQ among the FAQs.
    pub(super) fn faq_of(&self, row: u32) -> Option<usize> {
        (row as usize)
            .checked_sub(self.passages.len())
            .filter(|faq| *faq < self.faqs.len())
    }

    /// For every wording of every FAQ, in the order of the wordings' vectors: FAQ and number of the wording.
    pub(super) fn wordings(&self) -> Vec<(u32, u32)> {
        let numbers =
            |(faq, entry): (usize, &Arc<Faq>)| (0..=entry.variants.len()).map(move |n| (faq as u32, n as u32));
        self.faqs.iter().enumerate().flat_map(numbers).collect()
    }

    /// Where each wording is found again by its key. Of equal wordings the first FAQ's counts.
    pub(super) fn exact(&self) -> HashMap<String, (u32, u32)> {
        let mut exact = HashMap::new();
        for (faq, entry) in self.faqs.iter().enumerate() {
            for (number, wording) in entry.wordings().enumerate() {
                let key = match_key(wording);
                if !key.is_empty() {
                    exact.entry(key).or_insert((faq as u32, number as u32));
                }
            }
        }
        exact
    }
}

/// The rows with their texts.
pub(super) struct Corpus {
    pub(super) rows: Rows,
    /// For each row what is embedded as a passage.
    pub(super) texts: Vec<String>,
    /// For each wording what is embedded as a query.
    pub(super) wordings: Vec<String>,
    /// For each row what is indexed by words.
    pub(super) entries: Vec<Entry>,
    /// The segments of all rows, in order of the rows.
    pub(super) segments: Vec<String>,
    /// For each row how many segments it has.
    pub(super) segment_counts: Vec<u32>,
}

/// Reads the whole knowledge base as it is in one version.
///
/// # Errors
/// What the store says.
pub(super) async fn read(store: &dyn Store) -> Result<Corpus, RetrievalError> {
    let mut version = store.kb_version().await?;
    for attempt in 1.. {
        let corpus = read_once(store, version).await?;
        let now = store.kb_version().await?;
        // If it never stands still: the older number, so that the next look at it reads it again.
        if now == version || attempt == ATTEMPTS {
            return Ok(corpus);
        }
        version = now;
    }
    unreachable!("the loop above returns")
}

async fn read_once(store: &dyn Store, version: KbVersion) -> Result<Corpus, RetrievalError> {
    let (mut ids, mut texts, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    let (mut all_segments, mut segment_counts) = (Vec::new(), Vec::new());
    loop {
        let page = store.passages_after(ids.last().copied(), PAGE).await?;
        if page.is_empty() {
            break;
        }
        for passage in page {
            let text = searchable_passage(&passage);
            let (title, body) = text.split_once('\n').unwrap_or(("", &text));
            entries.push(Entry {
                title: title.to_owned(),
                body: body.to_owned(),
            });
            ids.push(passage.id);
            texts.push(text);
            let own = segments(&passage);
            segment_counts.push(own.len() as u32);
            all_segments.extend(own);
        }
    }
    let faqs = read_faqs(store).await?;
    let mut wordings = Vec::new();
    for faq in &faqs {
        let text = searchable_faq(faq);
        segment_counts.push(1);
        all_segments.push(text.clone());
        texts.push(text);
        entries.push(Entry {
            title: faq.wordings().collect::<Vec<_>>().join("\n"),
            body: plain(&faq.answer),
        });
        wordings.extend(faq.wordings().map(str::to_owned));
    }
    let lineage = lineage(store).await?;
    Ok(Corpus {
        rows: Rows {
            version,
            lineage,
            passages: ids,
            faqs,
        },
        texts,
        wordings,
        entries,
        segments: all_segments,
        segment_counts,
    })
}

/// What tells the present version from one of the same number in another database (one that was deleted and filled
/// again, or restored): when and by what it was made.
///
/// # Errors
/// What the store says.
pub(super) async fn lineage(store: &dyn Store) -> Result<String, RetrievalError> {
    let newest = store.kb_versions(1).await?.into_iter().next();
    Ok(newest.map_or_else(String::new, |entry| format!("{} {}", entry.created_at, entry.note)))
}

/// All FAQs in order of key.
///
/// # Errors
/// What the store says.
pub(super) async fn read_faqs(store: &dyn Store) -> Result<Vec<Arc<Faq>>, RetrievalError> {
    let mut faqs = Vec::new();
    let mut request = PageRequest::first(PAGE);
    loop {
        let page = store.faq_page(&request).await?;
        faqs.extend(page.items.into_iter().map(Arc::new));
        match page.next {
            Some(next) => request.cursor = Some(next),
            None => return Ok(faqs),
        }
    }
}
