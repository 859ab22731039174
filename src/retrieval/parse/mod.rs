//! From a file's bytes to text with its structure: one format a file.

mod archive;
mod builder;
mod charset;
pub mod child;
mod compound;
mod csv_table;
mod doc;
mod docx;
mod epub;
mod faq;
mod fault;
mod front_matter;
mod html;
mod html_table;
mod mail;
mod markdown;
mod number_format;
mod numbering;
mod odf;
mod pdf;
mod personal;
mod pptx;
mod rtf;
mod scope;
mod sheet_layout;
mod text;
mod xls;
mod xlsx;
mod xml;

use super::RetrievalError;
use crate::domain::DocumentFormat;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;

pub use archive::Member;
pub use charset::{Decoded, NotText, decode, decode_html};
pub use csv_table::parse_csv_table;
pub use faq::{FaqRow, LineError, ParsedFaqs, faq_row, is_faq_table, is_question_set, parse_csv, parse_jsonl};
pub use fault::DocumentFault;
pub use front_matter::{FrontMatter, front_matter, with_scope};
pub use html::parse_html;
pub use markdown::parse_markdown;
pub use text::parse_text;

/// Characters of a title; the rest of a longer heading stays in the text.
const MAX_TITLE_CHARS: usize = 200;

/// A document as a reader sees it: text, and where its parts lie in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParsedDocument {
    /// The document's own title; `None` if it gives none.
    pub title: Option<String>,
    /// The text that all ranges point into.
    pub text: String,
    /// The parts in order, without overlap. Between them is white space only, and before the first one the front
    /// matter of a Markdown file.
    pub blocks: Vec<Block>,
    /// Where each page (slide, sheet) begins in the text, in order; empty for a format without pages.
    pub pages: Vec<usize>,
}

impl ParsedDocument {
    /// The page on which the byte `at` of the text stands, from 1; `None` for a format without pages.
    #[must_use]
    pub fn page_of(&self, at: usize) -> Option<u32> {
        let page = self.pages.partition_point(|start| *start <= at);
        (page > 0).then_some(page as u32)
    }

    /// Whether all places lie within the text, in order and at the borders of characters: what comes from another
    /// process is not believed.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self) -> Result<(), &'static str> {
        let mut at = 0;
        for block in &self.blocks {
            if block.range.start < at || self.text.get(block.range.clone()).is_none() {
                return Err("a block lies outside its text");
            }
            at = block.range.end;
        }
        if !self.pages.is_sorted() || self.pages.last().is_some_and(|last| *last > self.text.len()) {
            return Err("a page begins outside the text");
        }
        Ok(())
    }
}

/// One part of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Its bytes in [`ParsedDocument::text`], at character borders.
    pub range: Range<usize>,
}

/// What a part of a document is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Links to other places of the same document and little else: a table of contents. It repeats the headings without
    /// what stands below them, so it is no part of any passage.
    Navigation,
}

/// What a file holds, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A document.
    Document(DocumentFormat),
    /// A table as text: approved questions if its header says so, else a document.
    Csv,
    /// Approved questions, one JSON object a line.
    FaqJsonl,
    /// A zip archive of files.
    Archive,
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
        let format = match extension.as_str() {
            "md" | "markdown" => DocumentFormat::Markdown,
            "html" | "htm" | "xhtml" => DocumentFormat::Html,
            "txt" => DocumentFormat::Text,
            "pdf" => DocumentFormat::Pdf,
            "docx" | "docm" | "dotx" => DocumentFormat::Docx,
            "doc" | "dot" | "wps" => DocumentFormat::Doc,
            "xlsx" | "xlsm" | "xltx" => DocumentFormat::Xlsx,
            "xls" | "et" => DocumentFormat::Xls,
            "ods" => DocumentFormat::Ods,
            "pptx" | "pptm" | "ppsx" => DocumentFormat::Pptx,
            "odt" => DocumentFormat::Odt,
            "rtf" => DocumentFormat::Rtf,
            "eml" => DocumentFormat::Eml,
            "msg" => DocumentFormat::Msg,
            "epub" => DocumentFormat::Epub,
            "csv" | "tsv" => return Ok(Self::Csv),
            "jsonl" => return Ok(Self::FaqJsonl),
            "zip" => return Ok(Self::Archive),
            _ => return Err(RetrievalError::UnsupportedFormat { extension }),
        };
        Ok(Self::Document(format))
    }
}

/// Whether documents of this format are read in the server's own process. These are texts, and their parsers are ours
/// or written and fuzzed for hostile pages; nothing in them is unpacked. All other formats are containers or binary,
/// where parsers have been made to crash and to fill the memory: those run in a process that can be killed.
#[must_use]
pub fn is_text(format: DocumentFormat) -> bool {
    matches!(
        format,
        DocumentFormat::Markdown | DocumentFormat::Text | DocumentFormat::Html | DocumentFormat::Csv
    )
}

/// Decodes and parses a document of a text format.
///
/// # Errors
/// `NotText`, `BadMarkup`; [`RetrievalError::Empty`] if nothing but white space is in it;
/// [`DocumentFault::NoReader`] for a format that is no text ([`child::Readers`] reads those).
pub fn parse_document(bytes: &[u8], format: DocumentFormat) -> Result<ParsedDocument, RetrievalError> {
    let parsed = match format {
        DocumentFormat::Markdown => parse_markdown(decode(bytes)?.text),
        DocumentFormat::Text => parse_text(decode(bytes)?.text),
        DocumentFormat::Html => parse_html(&decode_html(bytes)?.text)?,
        DocumentFormat::Csv => parse_csv_table(&decode(bytes)?.text)?,
        _ => {
            return Err(DocumentFault::NoReader {
                detail: "none is set up".to_owned(),
            }
            .into());
        }
    };
    if parsed.blocks.is_empty() {
        Err(RetrievalError::Empty)
    } else {
        Ok(parsed)
    }
}

/// Parses a document of any format, in this process. Only the process for reading documents calls it, and fuzzers.
///
/// # Errors
/// [`DocumentFault`].
pub fn parse_any(bytes: &[u8], format: DocumentFormat) -> Result<ParsedDocument, DocumentFault> {
    if bytes.is_empty() {
        return Err(DocumentFault::Empty);
    }
    match by_content(bytes, format) {
        DocumentFormat::Docx => docx::parse_docx(bytes),
        DocumentFormat::Pptx => pptx::parse_pptx(bytes),
        DocumentFormat::Xlsx => xlsx::parse_xlsx(bytes),
        DocumentFormat::Doc => doc::parse_doc(bytes),
        DocumentFormat::Xls => xls::parse_xls(bytes),
        DocumentFormat::Pdf => pdf::parse_pdf(bytes),
        DocumentFormat::Odt => odf::parse_odt(bytes),
        DocumentFormat::Ods => odf::parse_ods(bytes),
        DocumentFormat::Rtf => rtf::parse_rtf(bytes),
        DocumentFormat::Eml => mail::parse_eml(bytes),
        DocumentFormat::Msg => mail::parse_msg(bytes),
        DocumentFormat::Epub => epub::parse_epub(bytes),
        format => parse_document(bytes, format).map_err(|error| match error {
            RetrievalError::Empty => DocumentFault::Empty,
            RetrievalError::Document(fault) => fault,
            error => DocumentFault::broken(error.to_string()),
        }),
    }
}

/// What a file is by its first bytes, where its name is known to lie: Office programs open whatever is in a file, so
/// that web pages named .xls and rich text named .doc are common.
fn by_content(bytes: &[u8], named: DocumentFormat) -> DocumentFormat {
    let start = &bytes[..bytes.len().min(512)];
    let is_zip = start.starts_with(b"PK\x03\x04");
    let is_compound = start.starts_with(compound::MAGIC);
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let is_html = text.first() == Some(&b'<');
    let is_rtf = text.starts_with(b"{\\rtf");
    match named {
        DocumentFormat::Doc | DocumentFormat::Docx if is_rtf => DocumentFormat::Rtf,
        DocumentFormat::Doc | DocumentFormat::Docx | DocumentFormat::Xls | DocumentFormat::Xlsx if is_html => {
            DocumentFormat::Html
        }
        DocumentFormat::Doc | DocumentFormat::Rtf if is_zip => DocumentFormat::Docx,
        // An encrypted .docx or .xlsx is a compound file too: the readers of those say so.
        DocumentFormat::Docx | DocumentFormat::Rtf if is_compound => DocumentFormat::Doc,
        DocumentFormat::Xls if is_zip => DocumentFormat::Xlsx,
        DocumentFormat::Xlsx if is_compound => DocumentFormat::Xls,
        DocumentFormat::Xls if !is_compound && !is_zip => DocumentFormat::Csv,
        named => named,
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
mod container_tests;
#[cfg(test)]
mod fixtures;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_says_what_a_file_is() {
        let kind = |name: &str| FileKind::of(Path::new(name));
        assert_eq!(kind("a/B.MD").unwrap(), FileKind::Document(DocumentFormat::Markdown));
        assert_eq!(kind("faq.csv").unwrap(), FileKind::Csv);
        assert_eq!(kind("R.PDF").unwrap(), FileKind::Document(DocumentFormat::Pdf));
        let error = kind("photo.webp").unwrap_err().to_string();
        assert!(
            error.contains("webp") && error.contains(".md") && error.contains(".jsonl") && error.contains(".pdf"),
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
