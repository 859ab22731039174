//! From a file's bytes to text with its structure: one format a file.

mod charset;
mod faq;
mod html;
mod html_table;
mod markdown;
mod text;

use super::RetrievalError;
use crate::domain::DocumentFormat;
use std::ops::Range;
use std::path::Path;

pub use charset::{Decoded, NotText, decode, decode_html};
pub use faq::{FaqRow, LineError, ParsedFaqs, is_question_set, parse_csv, parse_jsonl};
pub use html::parse_html;
pub use markdown::parse_markdown;
pub use text::parse_text;

/// Characters of a title; the rest of a longer heading stays in the text.
const MAX_TITLE_CHARS: usize = 200;

/// A document as a reader sees it: text, and where its parts lie in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedDocument {
    /// The document's own title; `None` if it gives none.
    pub title: Option<String>,
    /// The text that all ranges point into.
    pub text: String,
    /// The parts in order, without overlap. Between them is white space only, and before the first one the front
    /// matter of a Markdown file.
    pub blocks: Vec<Block>,
}

/// One part of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Its bytes in [`ParsedDocument::text`], at character borders.
    pub range: Range<usize>,
}

/// What a part of a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// A heading.
    Heading {
        /// 1 for the outermost.
        level: u8,
        /// Its text without markup.
        text: String,
    },
    /// Running text.
    Paragraph,
    /// Items, one or more lines each.
    List,
    /// A table, one row a line, its first line the header.
    Table,
    /// Preformatted lines.
    Code,
}

/// What a file holds, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A document.
    Document(DocumentFormat),
    /// Approved questions as a table.
    FaqCsv,
    /// Approved questions, one JSON object a line.
    FaqJsonl,
}

impl FileKind {
    /// The kind of the file at `path`, by its extension.
    ///
    /// # Errors
    /// [`RetrievalError::UnsupportedFormat`], which names the supported ones.
    pub fn of(path: &Path) -> Result<Self, RetrievalError> {
        let extension = path
            .extension()
            .map(|e| e.to_string_lossy().to_lowercase())
            .unwrap_or_default();
        match extension.as_str() {
            "md" | "markdown" => Ok(Self::Document(DocumentFormat::Markdown)),
            "html" | "htm" => Ok(Self::Document(DocumentFormat::Html)),
            "txt" => Ok(Self::Document(DocumentFormat::Text)),
            "csv" => Ok(Self::FaqCsv),
            "jsonl" => Ok(Self::FaqJsonl),
            _ => Err(RetrievalError::UnsupportedFormat { extension }),
        }
    }
}

/// Decodes and parses a document.
///
/// # Errors
/// `NotText`, `BadMarkup`; [`RetrievalError::Empty`] if nothing but white space is in it.
pub fn parse_document(bytes: &[u8], format: DocumentFormat) -> Result<ParsedDocument, RetrievalError> {
    let parsed = match format {
        DocumentFormat::Markdown => parse_markdown(decode(bytes)?.text),
        DocumentFormat::Text => parse_text(decode(bytes)?.text),
        DocumentFormat::Html => parse_html(&decode_html(bytes)?.text)?,
    };
    if parsed.blocks.is_empty() {
        Err(RetrievalError::Empty)
    } else {
        Ok(parsed)
    }
}

/// `text` on one line, white space folded, cut to [`MAX_TITLE_CHARS`].
fn title_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > MAX_TITLE_CHARS * 4 {
            break;
        }
    }
    if let Some((at, _)) = line.char_indices().nth(MAX_TITLE_CHARS) {
        line.truncate(at);
    }
    line
}

/// `range` without the white space at both ends; `None` if nothing is left.
fn trim(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    let end = range.start + part.trim_end().len();
    (start < end).then_some(start..end)
}

/// Puts a paragraph wherever `blocks` leave text out from byte `from` on, so that nothing of a document is lost.
fn fill_gaps(text: &str, from: usize, blocks: Vec<Block>) -> Vec<Block> {
    let mut filled = Vec::with_capacity(blocks.len());
    let mut at = from;
    for block in blocks {
        if block.range.start > at
            && let Some(range) = trim(text, at..block.range.start)
        {
            filled.push(Block {
                kind: BlockKind::Paragraph,
                range,
            });
        }
        at = at.max(block.range.end);
        filled.push(block);
    }
    if let Some(range) = trim(text, at..text.len()) {
        filled.push(Block {
            kind: BlockKind::Paragraph,
            range,
        });
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_says_what_a_file_is() {
        let kind = |name: &str| FileKind::of(Path::new(name));
        assert_eq!(kind("a/B.MD").unwrap(), FileKind::Document(DocumentFormat::Markdown));
        assert_eq!(kind("faq.csv").unwrap(), FileKind::FaqCsv);
        let error = kind("report.pdf").unwrap_err().to_string();
        assert!(
            error.contains("pdf") && error.contains(".md") && error.contains(".jsonl"),
            "{error}"
        );
        assert!(kind("README").is_err());
    }

    #[test]
    fn a_document_without_text_is_named_so() {
        for (bytes, format) in [
            (&b" \n\t\n"[..], DocumentFormat::Text),
            (b"", DocumentFormat::Markdown),
            (b"<html><script>x()</script></html>", DocumentFormat::Html),
        ] {
            assert!(
                matches!(parse_document(bytes, format), Err(RetrievalError::Empty)),
                "{format:?}"
            );
        }
    }
}
