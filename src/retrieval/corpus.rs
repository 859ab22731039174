//! What is searched: passages and FAQs, numbered by rows, with the texts that are embedded and indexed.

use super::RetrievalError;
use super::graph::Facts;
use super::lexical::Entry;
use super::searchable::{plain, searchable_faq, searchable_passage};
use super::segment::segments;
use crate::domain::{DocumentId, Faq, FaqId, KbItem, KbVersion, Passage, PassageId, Scope};
use crate::storage::{PageRequest, Store};
use std::collections::HashMap;
use std::sync::Arc;

/// Rows read at a time.
const PAGE: u32 = 500;
/// How often reading starts again because the knowledge base changed meanwhile.
pub(super) const ATTEMPTS: usize = 5;
/// Versions after that of a snapshot among which its own is looked for; a base that is further behind is built anew.
const MAX_VERSIONS: u64 = 10_000;

/// Which version of which knowledge base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edition {
    /// The version.
    pub(super) version: KbVersion,
    /// What tells it from a version of the same number in another database (one that was deleted and filled again, or
    /// restored): when and by what it was made.
    pub(super) lineage: String,
}

impl Edition {
    /// The present edition.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn present(store: &dyn Store) -> Result<Self, RetrievalError> {
        let newest = store.kb_versions(1).await?.into_iter().next();
        Ok(newest.map_or_else(Self::empty, |entry| Self {
            version: entry.version,
            lineage: format!("{} {}", entry.created_at, entry.note),
        }))
    }

    /// The edition of the version `version` in the history of the store; `None` if it is not in it, or too far back.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn of(store: &dyn Store, version: KbVersion) -> Result<Option<Self>, RetrievalError> {
        let present = Self::present(store).await?;
        if version == KbVersion(0) {
            return Ok(Some(Self::empty()));
        }
        let Some(behind) = present.version.0.checked_sub(version.0) else {
            return Ok(None);
        };
        if behind == 0 {
            return Ok(Some(present));
        }
        if behind > MAX_VERSIONS {
            return Ok(None);
        }
        let versions = store.kb_versions(behind as u32 + 1).await?;
        let found = versions.into_iter().find(|entry| entry.version == version);
        Ok(found.map(|entry| Self {
            version,
            lineage: format!("{} {}", entry.created_at, entry.note),
        }))
    }

    fn empty() -> Self {
        Self {
            version: KbVersion(0),
            lineage: String::new(),
        }
    }
}

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// A passage of a document.
    Passage(PassageId, DocumentId),
    /// The FAQ of that place among the FAQs.
    Faq(u32),
}

/// What rows stand for, and who may be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    /// The rows.
    pub(super) rows: Vec<Row>,
    /// The FAQs in order of their rows.
    pub(super) faqs: Vec<Arc<Faq>>,
    /// Each scope that a row has, once.
    pub(super) scopes: Vec<Scope>,
    /// For each row the place of its scope.
    pub(super) scope_of: Vec<u32>,
    /// For each row what it says of things; nothing for a FAQ, which is found by its words.
    pub(super) facts: Vec<Arc<Facts>>,
    /// Where a scope stands, while rows are added.
    places: HashMap<Scope, u32>,
}

impl Rows {
    /// Rows as they were before, without their facts.
    pub(super) fn of(rows: Vec<Row>, faqs: Vec<Arc<Faq>>, scopes: Vec<Scope>, scope_of: Vec<u32>) -> Self {
        let places = HashMap::new();
        Self {
            rows,
            faqs,
            scopes,
            scope_of,
            facts: Vec::new(),
            places,
        }
    }

    /// Adds a passage of that scope.
    pub(super) fn add_passage(&mut self, id: PassageId, document: DocumentId, scope: &Scope, facts: Arc<Facts>) {
        self.rows.push(Row::Passage(id, document));
        self.facts.push(facts);
        self.add_scope(scope);
    }

    /// Adds a FAQ.
    pub(super) fn add_faq(&mut self, faq: Arc<Faq>) {
        self.rows.push(Row::Faq(self.faqs.len() as u32));
        self.facts.push(Arc::default());
        self.add_scope(&faq.scope);
        self.faqs.push(faq);
    }

    fn add_scope(&mut self, scope: &Scope) {
        // Rows of one document come together.
        if let Some(last) = self.scope_of.last().copied()
            && self.scopes[last as usize] == *scope
        {
            self.scope_of.push(last);
            return;
        }
        let next = self.scopes.len() as u32;
        let place = *self.places.entry(scope.clone()).or_insert(next);
        if place == next {
            self.scopes.push(scope.clone());
        }
        self.scope_of.push(place);
    }

    /// For every wording of every FAQ, in the order of the wordings' vectors: FAQ and number of the wording.
    pub(super) fn wordings(&self) -> Vec<(u32, u32)> {
        let numbers =
            |(faq, entry): (usize, &Arc<Faq>)| (0..=entry.variants.len()).map(move |n| (faq as u32, n as u32));
        self.faqs.iter().enumerate().flat_map(numbers).collect()
    }
}

/// Rows with their texts.
#[derive(Default)]
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

impl Corpus {
    /// Adds a passage of a document of that scope.
    pub(super) fn add_passage(&mut self, passage: &Passage, scope: &Scope) {
        let text = searchable_passage(passage);
        let (title, body) = text.split_once('\n').unwrap_or(("", &text));
        self.entries.push(Entry {
            title: title.to_owned(),
            body: body.to_owned(),
        });
        self.texts.push(text);
        let own = segments(passage);
        self.segment_counts.push(own.len() as u32);
        self.segments.extend(own);
        let facts = Arc::new(Facts::of(passage));
        self.rows.add_passage(passage.id, passage.document_id, scope, facts);
    }

    /// Adds a FAQ.
    pub(super) fn add_faq(&mut self, faq: Arc<Faq>) {
        let text = searchable_faq(&faq);
        self.segment_counts.push(1);
        self.segments.push(text.clone());
        self.texts.push(text);
        self.entries.push(Entry {
            title: faq.wordings().collect::<Vec<_>>().join("\n"),
            body: plain(&faq.answer),
        });
        self.wordings.extend(faq.wordings().map(str::to_owned));
        self.rows.add_faq(faq);
    }
}

/// Reads the whole knowledge base. What changes meanwhile may be in it or not: the edition is that before the first look,
/// from which the changes are to be followed.
///
/// # Errors
/// What the store says.
pub(super) async fn read(store: &dyn Store) -> Result<(Edition, Corpus), RetrievalError> {
    let edition = Edition::present(store).await?;
    let mut scopes: HashMap<DocumentId, Scope> = HashMap::new();
    let mut request = PageRequest::first(PAGE);
    loop {
        let page = store.documents(&request).await?;
        scopes.extend(page.items.into_iter().map(|document| (document.id, document.scope)));
        match page.next {
            Some(next) => request.cursor = Some(next),
            None => break,
        }
    }
    let mut corpus = Corpus::default();
    let mut last = None;
    loop {
        let page = store.passages_after(last, PAGE).await?;
        let Some(end) = page.last() else { break };
        last = Some(end.id);
        for passage in &page {
            // A document that came after the look at the documents is followed later.
            if let Some(scope) = scopes.get(&passage.document_id) {
                corpus.add_passage(passage, scope);
            }
        }
    }
    let mut request = PageRequest::first(PAGE);
    loop {
        let page = store.faq_page(&request).await?;
        for faq in page.items {
            corpus.add_faq(Arc::new(faq));
        }
        match page.next {
            Some(next) => request.cursor = Some(next),
            None => return Ok((edition, corpus)),
        }
    }
}

/// Reads these items as they are now; those that are gone are left out.
///
/// # Errors
/// What the store says.
pub(super) async fn read_items(store: &dyn Store, items: &[KbItem]) -> Result<Corpus, RetrievalError> {
    let mut corpus = Corpus::default();
    let mut faqs: Vec<FaqId> = Vec::new();
    for item in items {
        match item {
            KbItem::Document(id) => {
                let Some(document) = store.document_summary(*id).await? else {
                    continue;
                };
                for passage in store.document_passages(*id).await? {
                    corpus.add_passage(&passage, &document.scope);
                }
            }
            KbItem::Faq(id) => faqs.push(*id),
        }
    }
    for ids in faqs.chunks(PAGE as usize) {
        for faq in store.faqs(ids).await? {
            corpus.add_faq(Arc::new(faq));
        }
    }
    Ok(corpus)
}
