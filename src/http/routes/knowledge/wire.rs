//! The forms in which knowledge is sent.

use crate::domain::{
    Content, Document, DocumentContent, Faq, FaqContent, KbItem, Passage, Revision, RevisionSummary, Scope,
};
use crate::http::error::ApiError;
use crate::jobs::{GoldenReport, Outcome};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who may be told, where and when. What is left out limits nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ScopeBody {
    /// The first moment at which it holds.
    #[schema(value_type = Option<String>, format = DateTime)]
    effective_from: Option<Timestamp>,
    /// The first moment at which it holds no more.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// Groups of customers; empty: everybody.
    audiences: Vec<String>,
    /// Channels; empty: all.
    channels: Vec<String>,
}

impl From<Scope> for ScopeBody {
    fn from(scope: Scope) -> Self {
        Self {
            effective_from: scope.effective_from,
            expires_at: scope.expires_at,
            audiences: scope.audiences,
            channels: scope.channels,
        }
    }
}

impl ScopeBody {
    pub(super) fn check(self) -> Result<Scope, ApiError> {
        let scope = Scope {
            effective_from: self.effective_from,
            expires_at: self.expires_at,
            audiences: self.audiences,
            channels: self.channels,
        };
        match scope.fault() {
            None => Ok(scope),
            Some(fault) => Err(ApiError::parameter("scope", fault)),
        }
    }
}

/// What something is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct ItemBody {
    /// `document` or `faq`.
    kind: &'static str,
    /// Its identifier.
    #[schema(value_type = String, format = Uuid)]
    id: uuid::Uuid,
}

impl From<KbItem> for ItemBody {
    fn from(item: KbItem) -> Self {
        Self {
            kind: item.kind(),
            id: item.uuid(),
        }
    }
}

/// A revision without its content.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevisionBody {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// What it is a revision of.
    item: ItemBody,
    /// Its number among the item's revisions, from 1.
    number: u32,
    /// `draft`, `review`, `published`, `retired` or `rejected`.
    state: &'static str,
    /// Whether it removes the item.
    removes: bool,
    /// The document's source or the FAQ's key.
    name: String,
    /// The document's title or the FAQ's question.
    title: String,
    /// Who may be told.
    scope: ScopeBody,
    /// Who wrote it; empty for what was there before revisions were kept.
    author: String,
    /// Who published or rejected it.
    reviewer: Option<String>,
    /// What its author or its reviewer said of it.
    note: String,
    /// When it was written.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was published or rejected.
    #[schema(format = DateTime)]
    decided_at: Option<String>,
    /// The revision that was live when it was written.
    #[schema(format = Uuid)]
    base: Option<String>,
}

impl From<RevisionSummary> for RevisionBody {
    fn from(from: RevisionSummary) -> Self {
        Self {
            id: from.id.to_string(),
            item: from.item.into(),
            number: from.number,
            state: from.state.name(),
            removes: from.removes,
            name: from.name,
            title: from.title,
            scope: from.scope.into(),
            author: from.author,
            reviewer: from.reviewer,
            note: from.note,
            created_at: from.created_at.to_string(),
            decided_at: from.decided_at.map(|at| at.to_string()),
            base: from.base.map(|base| base.to_string()),
        }
    }
}

/// A passage as a place in its document's text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PassagePlace {
    /// As `GET /api/v1/passages/{id}` takes it.
    #[schema(format = Uuid)]
    id: String,
    /// Its place among the passages, from 0.
    ordinal: u32,
    /// Titles above it in one line.
    title: String,
    /// The page it begins on, from 1.
    page: Option<u32>,
    /// First byte in the text (UTF-8).
    start: usize,
    /// One past the last byte.
    end: usize,
    /// Its text.
    text: String,
}

impl From<Passage> for PassagePlace {
    fn from(passage: Passage) -> Self {
        Self {
            id: passage.id.to_string(),
            ordinal: passage.ordinal,
            title: passage.title(),
            page: passage.page,
            start: passage.start,
            end: passage.end,
            text: passage.text,
        }
    }
}

/// A document.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DocumentBody {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// Where it came from.
    source: String,
    /// Its title.
    title: String,
    /// How it was written.
    format: &'static str,
    /// Bytes of its text.
    bytes: usize,
    /// When it was imported.
    #[schema(format = DateTime)]
    imported_at: String,
    /// Who may be told.
    scope: ScopeBody,
    /// The text that passages point into.
    text: String,
    /// The passages in order.
    passages: Vec<PassagePlace>,
}

impl DocumentBody {
    pub(super) fn of(document: Document, passages: Vec<Passage>) -> Self {
        Self {
            id: document.id.to_string(),
            source: document.source,
            title: document.title,
            format: document.format.name(),
            bytes: document.text.len(),
            imported_at: document.imported_at.to_string(),
            scope: document.scope.into(),
            text: document.text,
            passages: passages.into_iter().map(PassagePlace::from).collect(),
        }
    }
}

/// An approved question with its answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FaqBody {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// The company's key.
    key: String,
    /// The standard wording.
    question: String,
    /// Other wordings.
    variants: Vec<String>,
    /// The approved answer.
    answer: String,
    /// A label; may be empty.
    category: String,
    /// The file it came from; empty where a person wrote it here.
    source: String,
    /// When it was written or imported.
    #[schema(format = DateTime)]
    imported_at: String,
    /// Who may be told.
    scope: ScopeBody,
}

impl From<Faq> for FaqBody {
    fn from(faq: Faq) -> Self {
        Self {
            id: faq.id.to_string(),
            key: faq.key,
            question: faq.question,
            variants: faq.variants,
            answer: faq.answer,
            category: faq.category,
            source: faq.source,
            imported_at: faq.imported_at.to_string(),
            scope: faq.scope.into(),
        }
    }
}

/// What a revision says.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum ContentBody {
    /// A document.
    Document(DocumentBody),
    /// An approved question.
    Faq(FaqBody),
}

impl ContentBody {
    /// What the revision says; `None` if it removes the item.
    pub(super) fn of(revision: &Revision) -> Option<Self> {
        if let Some((document, passages)) = revision.document() {
            return Some(Self::Document(DocumentBody::of(document, passages)));
        }
        revision.faq().map(|faq| Self::Faq(faq.into()))
    }
}

/// What became of a golden question.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OutcomeBody {
    /// Whether it is what was expected.
    right: bool,
    /// The route of the reply; `error` where there was none.
    route: &'static str,
    /// The beginning of the answer.
    answer: String,
    /// Sources and keys that it cites.
    cited: Vec<String>,
}

impl From<Outcome> for OutcomeBody {
    fn from(from: Outcome) -> Self {
        Self {
            right: from.right,
            route: from.route,
            answer: from.answer,
            cited: from.cited,
        }
    }
}

/// A golden question that a change would break.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorseBody {
    /// The question.
    question: String,
    /// What is answered now.
    before: OutcomeBody,
    /// What would be answered.
    after: OutcomeBody,
}

/// What the golden questions say of a change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GoldenBody {
    /// Questions asked; 0 where there are none, or the settings say so.
    asked: usize,
    /// Of these, right before the change.
    right_before: usize,
    /// Of these, right after it.
    right_after: usize,
    /// Those that were right before and are wrong after.
    worse: Vec<WorseBody>,
}

impl From<GoldenReport> for GoldenBody {
    fn from(from: GoldenReport) -> Self {
        let worse = from.worse.into_iter().map(|worse| WorseBody {
            question: worse.question,
            before: worse.before.into(),
            after: worse.after.into(),
        });
        Self {
            asked: from.asked,
            right_before: from.right_before,
            right_after: from.right_after,
            worse: worse.collect(),
        }
    }
}

/// The same content with other words on whom it is for.
pub(super) fn content_of(document: &Document, passages: &[Passage]) -> Content {
    Content::Document(DocumentContent::of(document, passages))
}

/// A FAQ's content.
pub(super) fn content_of_faq(faq: &Faq) -> Content {
    Content::Faq(FaqContent::of(faq))
}
