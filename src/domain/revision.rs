//! What a document or a FAQ said at one time: drafted, reviewed, published, and kept to be published again.

use super::{Document, DocumentFormat, DocumentId, Faq, FaqId, KbItem, Passage, PassageId, RevisionId, Scope};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where a revision stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RevisionState {
    /// Its author works on it.
    Draft,
    /// It waits for somebody to read it.
    Review,
    /// It is what customers are told now. Of each item one revision at most.
    Published,
    /// It was what customers were told.
    Retired,
    /// Somebody read it and said no.
    Rejected,
}

impl RevisionState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Draft,
        Self::Review,
        Self::Published,
        Self::Retired,
        Self::Rejected,
    ];

    /// The name as it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Review => "review",
            Self::Published => "published",
            Self::Retired => "retired",
            Self::Rejected => "rejected",
        }
    }

    /// The state stored under `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether it may still be published.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Draft | Self::Review)
    }
}

/// A passage as a place in its document's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassageSpan {
    /// The passage's identifier: what was cited stays cited when a revision comes back.
    pub id: PassageId,
    /// Its place among the passages, from 0.
    pub ordinal: u32,
    /// Titles above it, outermost first.
    pub title_path: Vec<String>,
    /// The page it begins on, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// First byte in the text.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// All that a revision says of a document but its source and scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentContent {
    /// Its title.
    pub title: String,
    /// How it was written.
    pub format: DocumentFormat,
    /// SHA-256 of the file's bytes, in hexadecimal.
    pub sha256: String,
    /// When the file was imported.
    pub imported_at: Timestamp,
    /// The passages in order.
    pub passages: Vec<PassageSpan>,
    /// The text that they point into.
    pub text: String,
}

impl DocumentContent {
    /// The content of a document with its passages.
    #[must_use]
    pub fn of(document: &Document, passages: &[Passage]) -> Self {
        let span = |passage: &Passage| PassageSpan {
            id: passage.id,
            ordinal: passage.ordinal,
            title_path: passage.title_path.clone(),
            page: passage.page,
            start: passage.start,
            end: passage.end,
        };
        Self {
            title: document.title.clone(),
            format: document.format,
            sha256: document.sha256.clone(),
            imported_at: document.imported_at,
            passages: passages.iter().map(span).collect(),
            text: document.text.clone(),
        }
    }

    /// The passages with their texts; `None` if one lies outside the text.
    #[must_use]
    pub fn passages_of(&self, id: DocumentId) -> Option<Vec<Passage>> {
        let passage = |span: &PassageSpan| {
            Some(Passage {
                id: span.id,
                document_id: id,
                ordinal: span.ordinal,
                title_path: span.title_path.clone(),
                page: span.page,
                text: self.text.get(span.start..span.end)?.to_owned(),
                start: span.start,
                end: span.end,
            })
        };
        self.passages.iter().map(passage).collect()
    }

    /// The document that this is the content of.
    #[must_use]
    pub fn document(&self, id: DocumentId, source: &str, scope: &Scope) -> Document {
        Document {
            id,
            source: source.to_owned(),
            title: self.title.clone(),
            format: self.format,
            sha256: self.sha256.clone(),
            text: self.text.clone(),
            imported_at: self.imported_at,
            scope: scope.clone(),
        }
    }
}

/// All that a revision says of a FAQ but its key and scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaqContent {
    /// The question in its standard wording.
    pub question: String,
    /// Other wordings.
    pub variants: Vec<String>,
    /// The approved answer.
    pub answer: String,
    /// A label; may be empty.
    pub category: String,
    /// The file it came from; empty where a person wrote it here.
    pub source: String,
    /// When it was written or imported.
    pub imported_at: Timestamp,
}

impl FaqContent {
    /// The content of a FAQ.
    #[must_use]
    pub fn of(faq: &Faq) -> Self {
        Self {
            question: faq.question.clone(),
            variants: faq.variants.clone(),
            answer: faq.answer.clone(),
            category: faq.category.clone(),
            source: faq.source.clone(),
            imported_at: faq.imported_at,
        }
    }

    /// The FAQ that this is the content of.
    #[must_use]
    pub fn faq(&self, id: FaqId, key: &str, scope: &Scope) -> Faq {
        Faq {
            id,
            key: key.to_owned(),
            question: self.question.clone(),
            variants: self.variants.clone(),
            answer: self.answer.clone(),
            category: self.category.clone(),
            source: self.source.clone(),
            imported_at: self.imported_at,
            scope: scope.clone(),
        }
    }
}

/// What a revision says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A document.
    Document(DocumentContent),
    /// An approved question.
    Faq(FaqContent),
}

impl Content {
    /// The document's title or the FAQ's question.
    #[must_use]
    pub fn title(&self) -> &str {
        match self {
            Self::Document(document) => &document.title,
            Self::Faq(faq) => &faq.question,
        }
    }
}

/// A revision without its content, for lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionSummary {
    /// Its identifier.
    pub id: RevisionId,
    /// What it is a revision of.
    pub item: KbItem,
    /// Its number among the item's revisions, from 1 in the order they were written.
    pub number: u32,
    /// Where it stands.
    pub state: RevisionState,
    /// Whether it removes the item.
    pub removes: bool,
    /// The document's source or the FAQ's key.
    pub name: String,
    /// The document's title or the FAQ's question.
    pub title: String,
    /// Who may be told, where and when.
    pub scope: Scope,
    /// Who wrote it.
    pub author: String,
    /// Who published or rejected it.
    pub reviewer: Option<String>,
    /// What its author or its reviewer said of it.
    pub note: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was published or rejected.
    pub decided_at: Option<Timestamp>,
    /// The revision that was live when this one was written; `None` if the item was new.
    pub base: Option<RevisionId>,
}

/// A revision with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// All but the content.
    pub summary: RevisionSummary,
    /// What it says; `None` if it removes the item.
    pub content: Option<Content>,
}

impl Revision {
    /// The document with its passages, if it is the revision of one and does not remove it.
    #[must_use]
    pub fn document(&self) -> Option<(Document, Vec<Passage>)> {
        let (KbItem::Document(id), Some(Content::Document(content))) = (self.summary.item, &self.content) else {
            return None;
        };
        let document = content.document(id, &self.summary.name, &self.summary.scope);
        Some((document, content.passages_of(id)?))
    }

    /// The FAQ, if it is the revision of one and does not remove it.
    #[must_use]
    pub fn faq(&self) -> Option<Faq> {
        match (self.summary.item, &self.content) {
            (KbItem::Faq(id), Some(Content::Faq(content))) => {
                Some(content.faq(id, &self.summary.name, &self.summary.scope))
            }
            _ => None,
        }
    }
}
