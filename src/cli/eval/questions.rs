//! Questions with known sources: one JSON object a line.

use crate::dialogue::Ask;
use crate::domain::{DocumentId, Role, Turn, Viewer};
use crate::retrieval::{Hit, Source};
use crate::storage::{DocumentSummary, PageRequest, Store};
use anyhow::Context;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

/// One question with what is known of its answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Question {
    /// Its name.
    pub id: String,
    /// The customer's words.
    pub question: String,
    /// What was said before.
    #[serde(default)]
    pub history: Vec<Said>,
    /// Whether the knowledge base answers it.
    pub answerable: bool,
    /// `faq:KEY` and `doc:PATH`: everything that answers it.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Strings of which a right answer contains one.
    #[serde(default)]
    pub answers: Vec<String>,
    /// The kind of question, for the breakdown.
    #[serde(default)]
    pub kind: String,
}

/// One turn before the question.
#[derive(Clone, Debug, Deserialize)]
pub struct Said {
    /// `user` or `assistant`.
    pub role: String,
    /// The words.
    pub content: String,
}

impl Question {
    /// The question as the assistant takes it, from `viewer`.
    pub fn ask(&self, viewer: Viewer) -> Ask {
        let turn = |said: &Said| Turn {
            role: if said.role == "user" {
                Role::Visitor
            } else {
                Role::Assistant
            },
            text: said.content.clone(),
        };
        Ask {
            history: self.history.iter().map(turn).collect(),
            ..Ask::new(self.question.clone(), viewer)
        }
    }

    /// Whether the hit is one of the sources. Document paths are compared from their end, because the same base may
    /// have been imported from another directory.
    pub fn is_source(&self, hit: &Hit, documents: &Documents) -> bool {
        match &hit.source {
            Source::Faq(faq) => self.names_faq(&faq.key),
            Source::Passage(passage) => documents
                .0
                .get(&passage.document_id)
                .is_some_and(|path| self.names_document(path)),
        }
    }

    /// Whether a right source is among the first three sources of the hits: several passages of one document are one.
    pub fn in_top3(&self, hits: &[Hit], documents: &Documents) -> bool {
        let mut seen: Vec<uuid::Uuid> = Vec::new();
        for hit in hits {
            let source = match &hit.source {
                Source::Faq(faq) => faq.id.0,
                Source::Passage(passage) => passage.document_id.0,
            };
            if !seen.contains(&source) {
                seen.push(source);
            }
            if seen.len() > 3 {
                return false;
            }
            if self.is_source(hit, documents) {
                return true;
            }
        }
        false
    }

    /// Whether the document of that source is one of the sources.
    pub fn names_document(&self, path: &str) -> bool {
        self.sources
            .iter()
            .filter_map(|source| source.strip_prefix("doc:"))
            .any(|wanted| {
                path.strip_suffix(wanted)
                    .is_some_and(|before| before.is_empty() || before.ends_with('/'))
            })
    }

    /// Whether the FAQ of that key is one of the sources.
    pub fn names_faq(&self, key: &str) -> bool {
        self.sources
            .iter()
            .any(|source| source.strip_prefix("faq:") == Some(key))
    }
}

/// Reads a file of questions.
///
/// # Errors
/// An unreadable file, or the line that is wrong.
pub fn read(path: &Path) -> anyhow::Result<Vec<Question>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(n, line)| serde_json::from_str(line).with_context(|| format!("{} line {}", path.display(), n + 1)))
        .collect()
}

/// The paths of the documents in the base.
pub struct Documents(HashMap<DocumentId, String>);

impl Documents {
    /// All of them.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn of(store: &dyn Store) -> anyhow::Result<Self> {
        let mut page = PageRequest::first(500);
        let mut all = HashMap::new();
        loop {
            let got = store.documents(&page).await?;
            all.extend(
                got.items
                    .into_iter()
                    .map(|DocumentSummary { id, source, .. }| (id, source)),
            );
            match got.next {
                Some(next) => page.cursor = Some(next),
                None => return Ok(Self(all)),
            }
        }
    }
}
