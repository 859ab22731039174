//! Importing: files to documents, passages, FAQs and vectors in the store. Each file stands for itself: what is wrong
//! with one is reported and the next one follows. Importing the same again changes nothing and embeds nothing.

use super::RetrievalError;
use super::chunk::{PassageLimits, chunk};
use super::parse::{FaqRow, FileKind, LineError, ParsedFaqs, is_question_set, parse_csv, parse_document, parse_jsonl};
use super::searchable::{searchable_faq, searchable_passage};
use super::segment::segments;
use super::vectors::{Embedded, Vectors};
use super::walk::{self, Found};
use crate::config::RetrievalConfig;
use crate::domain::{Clock, Document, DocumentFormat, DocumentId, Faq, FaqId, Passage, sha256_hex};
use crate::inference::{Embedder, TextKind};
use crate::storage::Store;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What became of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileOutcome {
    /// A new document.
    Added {
        /// Its passages.
        passages: usize,
    },
    /// A document that was there in another form.
    Updated {
        /// Its passages.
        passages: usize,
    },
    /// A document that was there already.
    Unchanged,
    /// Approved questions.
    Faqs {
        /// Questions read.
        read: usize,
        /// Of these, new or changed.
        changed: usize,
        /// The first faulty lines; the other lines were imported.
        errors: Vec<LineError>,
        /// How many faulty lines there are in all.
        faults: usize,
    },
    /// No knowledge: a set of test questions.
    Skipped,
    /// Nothing was imported from it.
    Failed {
        /// Why, and what to do.
        error: String,
    },
}

/// One file of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// What its document is called.
    pub source: String,
    /// What became of it.
    pub outcome: FileOutcome,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// The files in order.
    pub files: Vec<FileReport>,
    /// Vectors computed and reused.
    pub embedded: Embedded,
    /// Whether it was cancelled before the last file.
    pub cancelled: bool,
}

impl ImportReport {
    /// How many files failed, or have faulty lines.
    pub fn failures(&self) -> usize {
        let failed = |file: &&FileReport| {
            matches!(file.outcome, FileOutcome::Failed { .. })
                || matches!(file.outcome, FileOutcome::Faqs { faults, .. } if faults > 0)
        };
        self.files.iter().filter(failed).count()
    }
}

/// Is told how an import goes on. Every method may be left out.
pub trait ImportProgress: Send + Sync {
    /// The import will look at `total` files.
    fn files(&self, total: usize) {
        let _ = total;
    }
    /// The file is begun.
    fn file_started(&self, source: &str) {
        let _ = source;
    }
    /// Of the present file's `total` texts, `done` have their vector.
    fn embedded(&self, done: usize, total: usize) {
        let _ = (done, total);
    }
    /// The file is done.
    fn file_done(&self, report: &FileReport) {
        let _ = report;
    }
}

/// Nobody is told.
impl ImportProgress for () {}

/// Imports files.
pub struct Ingester {
    vectors: Vectors,
    clock: Arc<dyn Clock>,
    config: RetrievalConfig,
}

impl Ingester {
    /// An importer into `store`, with vectors by `embedder`.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        embedder: Arc<dyn Embedder>,
        clock: Arc<dyn Clock>,
        config: RetrievalConfig,
    ) -> Self {
        Self {
            vectors: Vectors { store, embedder },
            clock,
            config,
        }
    }

    /// Imports the files at and below `paths`. What was finished stays when it is cancelled or killed: the next import
    /// finds it unchanged and goes on; vectors that were computed are not computed again.
    ///
    /// # Errors
    /// What concerns more than one file: a path that does not exist, the database (`Full`), an embedder that has
    /// stopped. Faults of single files are in the report.
    pub async fn import(
        &self,
        paths: &[PathBuf],
        progress: &dyn ImportProgress,
        cancel: &CancellationToken,
    ) -> Result<ImportReport, RetrievalError> {
        let roots = paths.to_vec();
        let found = blocking("looking for files", move || {
            let mut found = Vec::new();
            for root in &roots {
                found.extend(walk::files(root)?);
            }
            Ok(found)
        })
        .await?;
        progress.files(found.len());
        let mut report = ImportReport::default();
        for file in found {
            if cancel.is_cancelled() {
                report.cancelled = true;
                break;
            }
            progress.file_started(&file.source);
            let outcome = match self.import_file(&file, &mut report.embedded, progress, cancel).await {
                Ok(outcome) => outcome,
                Err(RetrievalError::Cancelled) => {
                    report.cancelled = true;
                    break;
                }
                Err(error) if error.concerns_one_file() => FileOutcome::Failed {
                    error: error.to_string(),
                },
                Err(error) => return Err(error),
            };
            let file = FileReport {
                source: file.source,
                outcome,
            };
            progress.file_done(&file);
            report.files.push(file);
        }
        Ok(report)
    }

    async fn import_file(
        &self,
        file: &Found,
        embedded: &mut Embedded,
        progress: &dyn ImportProgress,
        cancel: &CancellationToken,
    ) -> Result<FileOutcome, RetrievalError> {
        let kind = FileKind::of(&file.path)?;
        let (path, limit) = (file.path.clone(), self.config.max_file_bytes);
        let bytes = blocking("reading", move || read_limited(&path, limit)).await?;
        let is_question_file = file
            .path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("questions"));
        match kind {
            FileKind::Document(format) => {
                self.import_document(file, format, bytes, embedded, progress, cancel)
                    .await
            }
            FileKind::FaqJsonl if is_question_file && is_question_set(&bytes) => Ok(FileOutcome::Skipped),
            FileKind::FaqJsonl => {
                self.import_faqs(file, parse_jsonl, bytes, embedded, progress, cancel)
                    .await
            }
            FileKind::FaqCsv => {
                self.import_faqs(file, parse_csv, bytes, embedded, progress, cancel)
                    .await
            }
        }
    }

    async fn import_document(
        &self,
        file: &Found,
        format: DocumentFormat,
        bytes: Vec<u8>,
        embedded: &mut Embedded,
        progress: &dyn ImportProgress,
        cancel: &CancellationToken,
    ) -> Result<FileOutcome, RetrievalError> {
        let store = &self.vectors.store;
        let sha256 = sha256_hex(&bytes);
        let present = store.document_by_source(&file.source).await?;
        if present
            .as_ref()
            .is_some_and(|present| present.sha256 == sha256 && present.format == format)
        {
            return Ok(FileOutcome::Unchanged);
        }
        let mut document = Document {
            id: present.as_ref().map_or_else(DocumentId::new, |present| present.id),
            source: file.source.clone(),
            title: String::new(),
            format,
            sha256,
            text: String::new(),
            imported_at: self.clock.now(),
        };
        let stem = file
            .path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        let embedder = self.vectors.embedder.clone();
        let limits = PassageLimits {
            target: self.config.passage_tokens,
            max: self.config.max_passage_tokens,
        };
        let (document, passages) = blocking("parsing", move || {
            let parsed = parse_document(&bytes, format)?;
            document.title = parsed.title.clone().unwrap_or(stem);
            let count = |text: &str| embedder.count_tokens(TextKind::Passage, text);
            let passages = chunk(document.id, &document.title, &parsed, limits, &count)?;
            document.text = parsed.text;
            Ok::<(Document, Vec<Passage>), RetrievalError>((document, passages))
        })
        .await?;
        let mut texts: Vec<String> = passages.iter().map(searchable_passage).collect();
        texts.extend(passages.iter().flat_map(segments));
        let total = texts.len();
        let done = self
            .vectors
            .ensure(TextKind::Passage, &texts, cancel, &mut |done| {
                progress.embedded(done, total);
            })
            .await?;
        add(embedded, done);
        store.put_document(&document, &passages).await?;
        let passages = passages.len();
        Ok(match present {
            Some(_) => FileOutcome::Updated { passages },
            None => FileOutcome::Added { passages },
        })
    }

    async fn import_faqs(
        &self,
        file: &Found,
        parse: fn(&[u8]) -> Result<ParsedFaqs, RetrievalError>,
        bytes: Vec<u8>,
        embedded: &mut Embedded,
        progress: &dyn ImportProgress,
        cancel: &CancellationToken,
    ) -> Result<FileOutcome, RetrievalError> {
        let ParsedFaqs {
            rows,
            mut errors,
            mut faults,
        } = blocking("parsing", move || parse(&bytes)).await?;
        let mut faqs: Vec<Faq> = Vec::with_capacity(rows.len());
        let mut lines: HashMap<String, u64> = HashMap::new();
        for row in rows {
            let faq = self.faq(&row, &file.source);
            if let Some(first) = lines.get(&faq.key) {
                faults += 1;
                let what = if row.id.is_some() { "id" } else { "question" };
                errors.push(LineError {
                    line: row.line,
                    detail: format!("the same {what} as in line {first}"),
                });
                continue;
            }
            lines.insert(faq.key.clone(), row.line);
            faqs.push(faq);
        }
        if faqs.is_empty() && faults == 0 {
            return Err(RetrievalError::Empty);
        }
        let wordings: Vec<String> = faqs.iter().flat_map(|faq| faq.wordings().map(str::to_owned)).collect();
        let answers: Vec<String> = faqs.iter().map(searchable_faq).collect();
        let total = wordings.len() + answers.len();
        let done = self
            .vectors
            .ensure(TextKind::Query, &wordings, cancel, &mut |done| {
                progress.embedded(done, total);
            })
            .await?;
        add(embedded, done);
        let before = wordings.len();
        let done = self
            .vectors
            .ensure(TextKind::Passage, &answers, cancel, &mut |done| {
                progress.embedded(before + done, total);
            })
            .await?;
        add(embedded, done);
        let changed = self
            .vectors
            .store
            .put_faqs(&faqs, &format!("import {}", file.source))
            .await?;
        errors.sort_by_key(|error| error.line);
        Ok(FileOutcome::Faqs {
            read: faqs.len(),
            changed,
            errors,
            faults,
        })
    }

    fn faq(&self, row: &FaqRow, source: &str) -> Faq {
        Faq {
            id: FaqId::new(),
            key: row.id.clone().unwrap_or_else(|| sha256_hex(row.question.as_bytes())),
            question: row.question.clone(),
            variants: row.variants.clone(),
            answer: row.answer.clone(),
            category: row.category.clone(),
            source: source.to_owned(),
            imported_at: self.clock.now(),
        }
    }
}

fn add(sum: &mut Embedded, more: Embedded) {
    sum.computed += more.computed;
    sum.reused += more.reused;
}

fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, RetrievalError> {
    let io = |source| RetrievalError::Io {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(io)?;
    let bytes = file.metadata().map_err(io)?.len();
    if bytes > limit {
        return Err(RetrievalError::TooLarge { bytes, limit });
    }
    let mut content = Vec::with_capacity(bytes as usize);
    file.take(limit.saturating_add(1))
        .read_to_end(&mut content)
        .map_err(io)?;
    // The file may have grown since it was measured.
    if content.len() as u64 > limit {
        return Err(RetrievalError::TooLarge {
            bytes: content.len() as u64,
            limit,
        });
    }
    Ok(content)
}

/// Runs `work` on a thread where it may block. A panic in it is an error of this file, not the end of the import.
async fn blocking<T: Send + 'static>(
    task: &'static str,
    work: impl FnOnce() -> Result<T, RetrievalError> + Send + 'static,
) -> Result<T, RetrievalError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| RetrievalError::Internal {
            task,
            detail: error.to_string(),
        })?
}

#[cfg(test)]
mod tests;
