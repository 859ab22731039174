//! What can go wrong while knowledge is imported and searched.

use super::expand::SynonymsError;
use super::parse::{DocumentFault, NotText};
use crate::inference::InferenceError;
use crate::storage::StorageError;
use std::path::PathBuf;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetrievalError {
    /// A file or directory could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The path is neither a regular file nor a directory.
    #[error("{path} is neither a file nor a directory")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A directory is nested deeper, or holds more files, than is walked.
    #[error("{path}: more than {limit} {what}; import its parts one by one")]
    TooMany {
        /// Where it was noticed.
        path: PathBuf,
        /// The most that is walked.
        limit: usize,
        /// What there is too much of.
        what: &'static str,
    },
    /// The file is larger than the settings allow.
    #[error("{bytes} bytes; retrieval.max_file_bytes allows {limit}. Split the file or raise the limit")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// No parser for such files.
    #[error(
        "files of type \"{extension}\" cannot be imported; supported are .pdf .docx .doc .xlsx .xls .ods .csv \
         .pptx .odt .rtf .eml .msg .epub .md .html .txt (documents), .csv .jsonl (approved questions) and .zip of these. \
         Save it as one of these"
    )]
    UnsupportedFormat {
        /// The extension, in lower case; empty if there is none.
        extension: String,
    },
    /// The bytes are no text.
    #[error(transparent)]
    NotText(#[from] NotText),
    /// Markup nested so deeply, or otherwise so built, that no reader would write it.
    #[error("the markup is {what}; save the page as plain text or Markdown and import that")]
    BadMarkup {
        /// What is wrong with it.
        what: &'static str,
    },
    /// A document in a format that is read by a process of its own.
    #[error(transparent)]
    Document(#[from] DocumentFault),
    /// The operator's synonyms.
    #[error(transparent)]
    Synonyms(#[from] SynonymsError),
    /// The lines at the top that say whom a document is meant for cannot be understood.
    #[error("line {line}: {detail}")]
    BadScope {
        /// The line, from 1.
        line: u64,
        /// What is wrong with it, and what is expected.
        detail: String,
    },
    /// Nothing in it can be found.
    #[error("there is no text in it; nothing was imported")]
    Empty,
    /// The header line of a table of approved questions lacks a column.
    #[error(
        "the header line has no column \"{missing}\"; needed are question (问题) and answer (答案), optional are id, \
         variants (相似问法, separated by |), category (分类) and lang"
    )]
    FaqHeader {
        /// The column.
        missing: &'static str,
    },
    /// A vector has another dimension than the index.
    #[error("a vector has dimension {got}, the index {want}: the embedding model does not keep to its own description")]
    Dimension {
        /// Numbers in the vector.
        got: usize,
        /// Numbers in a row of the index.
        want: usize,
    },
    /// The embedder answered "overloaded" for too long.
    #[error("the embedding model stayed overloaded after {attempts} attempts; try again when fewer requests run")]
    Overloaded {
        /// How often it was asked.
        attempts: u32,
    },
    /// The import was cancelled.
    #[error("cancelled; what was imported before stays, and the next import goes on from there")]
    Cancelled,
    /// A parser or an index failed in a way that it should not.
    #[error("{task} failed unexpectedly: {detail}")]
    Internal {
        /// What ran.
        task: &'static str,
        /// What it said.
        detail: String,
    },
    /// The lexical index.
    #[error("lexical index: {0}")]
    Lexical(#[from] tantivy::TantivyError),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The embedding model.
    #[error(transparent)]
    Inference(#[from] InferenceError),
}

impl RetrievalError {
    /// Whether the fault lies with one file, so that an import goes on with the next one.
    #[must_use]
    pub fn concerns_one_file(&self) -> bool {
        match self {
            Self::Storage(_) | Self::Cancelled | Self::Overloaded { .. } | Self::Dimension { .. } => false,
            Self::Inference(error) => {
                matches!(error, InferenceError::TooLong { .. } | InferenceError::Tokenizer(_))
            }
            _ => true,
        }
    }
}
