//! Why a document cannot be read, and what its owner can do about it.

use serde::{Deserialize, Serialize};

/// Why a document cannot be read. It crosses the border between the process that reads documents and the one that
/// asked for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DocumentFault {
    /// It is encrypted, or opens with a password only.
    #[error("it is protected by a password; remove the password in the program it was made with and import it again")]
    Encrypted,
    /// It does not keep to its format.
    #[error("it is damaged: {detail}. Open it in the program it was made with, save it anew and import that")]
    Broken {
        /// What was found.
        detail: String,
    },
    /// Nothing in it can be found.
    #[error("there is no text in it; nothing was imported")]
    Empty,
    /// It unpacks to more than is read.
    #[error("it holds more than {limit} {what}; split it and import the parts")]
    TooLarge {
        /// What there is too much of.
        what: String,
        /// The most that is read.
        limit: u64,
    },
    /// Every page is a picture.
    #[error(
        "all of its {pages} pages are pictures without text (scanned); recognise the text (OCR) and import the result"
    )]
    Scanned {
        /// How many pages it has.
        pages: u32,
    },
    /// A kind of document within the format that is not read.
    #[error("{what} cannot be read; save it as {instead} and import that")]
    Unsupported {
        /// What it is.
        what: String,
        /// What can be read.
        instead: String,
    },
    /// Reading took too long.
    #[error("reading it was stopped after {seconds} seconds; split it and import the parts")]
    TimedOut {
        /// How long it was let run.
        seconds: u64,
    },
    /// The process that read it ended before its work was done.
    #[error(
        "its reader ended early ({how}); the file is damaged or hostile. Save it anew, as PDF or text, and import that"
    )]
    Crashed {
        /// The signal or the exit code.
        how: String,
    },
    /// No process for reading documents was set up, or it did not start.
    #[error("documents of this format are read by a process of their own, which could not be started: {detail}")]
    NoReader {
        /// What the system said.
        detail: String,
    },
}

impl DocumentFault {
    /// A fault in the format.
    pub(super) fn broken(detail: impl Into<String>) -> Self {
        Self::Broken { detail: detail.into() }
    }

    /// More than is read.
    pub(super) fn too_large(what: &str, limit: u64) -> Self {
        Self::TooLarge {
            what: what.to_owned(),
            limit,
        }
    }
}
