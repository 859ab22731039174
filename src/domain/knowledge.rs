//! What the company knows: documents cut into passages, and approved questions with their answers.

use super::{DocumentId, FaqId, PassageId, Scope, is_han};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

/// Counts the changes of the knowledge base: every change of what may be answered makes it one greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KbVersion(pub u64);

impl fmt::Display for KbVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is published, edited and withdrawn as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "lowercase")]
pub enum KbItem {
    /// A document with all its passages.
    Document(DocumentId),
    /// An approved question.
    Faq(FaqId),
}

impl KbItem {
    /// The name of its kind, as it is stored.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Document(_) => "document",
            Self::Faq(_) => "faq",
        }
    }

    /// Its identifier, whatever it is.
    #[must_use]
    pub fn uuid(self) -> Uuid {
        match self {
            Self::Document(id) => id.0,
            Self::Faq(id) => id.0,
        }
    }
}

/// The formats that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DocumentFormat {
    /// CommonMark with pipe tables.
    Markdown,
    /// HTML.
    Html,
    /// Plain text.
    Text,
    /// A table as text.
    Csv,
    /// PDF.
    Pdf,
    /// Word (Office Open XML).
    Docx,
    /// Word 97 to 2003.
    Doc,
    /// Excel (Office Open XML).
    Xlsx,
    /// Excel 97 to 2003.
    Xls,
    /// `OpenDocument` spreadsheet.
    Ods,
    /// `PowerPoint` (Office Open XML).
    Pptx,
    /// `OpenDocument` text.
    Odt,
    /// Rich text.
    Rtf,
    /// An e-mail message.
    Eml,
    /// An e-mail message as Outlook saves it.
    Msg,
    /// EPUB.
    Epub,
}

impl DocumentFormat {
    /// Every format.
    pub const ALL: [Self; 16] = [
        Self::Markdown,
        Self::Html,
        Self::Text,
        Self::Csv,
        Self::Pdf,
        Self::Docx,
        Self::Doc,
        Self::Xlsx,
        Self::Xls,
        Self::Ods,
        Self::Pptx,
        Self::Odt,
        Self::Rtf,
        Self::Eml,
        Self::Msg,
        Self::Epub,
    ];

    /// The name as it is stored.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Text => "text",
            Self::Csv => "csv",
            Self::Pdf => "pdf",
            Self::Docx => "docx",
            Self::Doc => "doc",
            Self::Xlsx => "xlsx",
            Self::Xls => "xls",
            Self::Ods => "ods",
            Self::Pptx => "pptx",
            Self::Odt => "odt",
            Self::Rtf => "rtf",
            Self::Eml => "eml",
            Self::Msg => "msg",
            Self::Epub => "epub",
        }
    }

    /// The format stored under `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// A document as it was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its identifier; kept when the same source is imported again.
    pub id: DocumentId,
    /// Where it came from: the path given to the import, with `/` between parts. Unique.
    pub source: String,
    /// Its title: the first heading, the HTML title, or the file's name.
    pub title: String,
    /// How it was written.
    pub format: DocumentFormat,
    /// SHA-256 of the file's bytes, in hexadecimal.
    pub sha256: String,
    /// The text that passages point into. For Markdown and plain text: the decoded file itself. For HTML: the text
    /// extracted from it.
    pub text: String,
    /// When it was last imported.
    pub imported_at: Timestamp,
    /// Who may be told, where and when.
    pub scope: Scope,
}

/// A part of a document that is found and cited as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Its identifier.
    pub id: PassageId,
    /// The document it is part of.
    pub document_id: DocumentId,
    /// Its place among the document's passages, from 0.
    pub ordinal: u32,
    /// Title of the document and headings above the passage, outermost first.
    pub title_path: Vec<String>,
    /// The page it begins on, from 1; `None` where the document has no pages.
    pub page: Option<u32>,
    /// Exactly the document's text from `start` to `end`.
    pub text: String,
    /// First byte in the document's text.
    pub start: usize,
    /// One past the last byte in the document's text.
    pub end: usize,
}

impl Passage {
    /// The path of titles in one line, as a reader is shown it.
    #[must_use]
    pub fn title(&self) -> String {
        self.title_path.join(" › ")
    }

    /// [`Passage::title`] with the page, in the passage's language, as a citation shows it.
    #[must_use]
    pub fn cited_title(&self) -> String {
        match self.page {
            Some(page) if self.text.chars().any(is_han) => format!("{} › 第 {page} 页", self.title()),
            Some(page) => format!("{} › p. {page}", self.title()),
            None => self.title(),
        }
    }

    /// What is embedded and searched: the titles, then the text.
    #[must_use]
    pub fn search_text(&self) -> String {
        format!("{}\n{}", self.title_path.join(" "), self.text)
    }
}

/// An approved question with its answer, given to customers word for word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faq {
    /// Its identifier; kept when the same key is imported again.
    pub id: FaqId,
    /// The key the company gave it, unique. Where the file gives none: the SHA-256 of the question.
    pub key: String,
    /// The question in its standard wording.
    pub question: String,
    /// Other wordings of the same question.
    pub variants: Vec<String>,
    /// The approved answer.
    pub answer: String,
    /// A label for people; may be empty.
    pub category: String,
    /// The file it came from.
    pub source: String,
    /// When it was last imported.
    pub imported_at: Timestamp,
    /// Who may be told, where and when.
    pub scope: Scope,
}

impl Faq {
    /// The standard wording, then the others.
    pub fn wordings(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.question.as_str()).chain(self.variants.iter().map(String::as_str))
    }

    /// Question and answer as one text, to be found like a passage.
    #[must_use]
    pub fn search_text(&self) -> String {
        format!("{}\n{}", self.question, self.answer)
    }
}
