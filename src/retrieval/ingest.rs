//! Importing: files to documents, passages, FAQs and vectors in the store. Each file stands for itself: what is wrong
//! with one is reported and the next one follows. Importing the same again changes nothing and embeds nothing.

use super::RetrievalError;
use super::chunk::{PassageLimits, chunk};
use super::parse::child::Readers;
use super::parse::{
    DocumentFault, FaqRow, FileKind, LineError, ParsedDocument, ParsedFaqs, decode, front_matter, is_faq_table,
    is_question_set, is_text, parse_csv, parse_document, parse_jsonl,
};
use super::searchable::{searchable_faq, searchable_passage};
use super::segment::segments;
use super::vectors::{Embedded, Vectors};
use super::walk::{self, Found};
use crate::config::RetrievalConfig;
use crate::domain::{
    Clock, Content, Document, DocumentContent, DocumentFormat, DocumentId, Faq, FaqContent, FaqId, KbItem, Passage,
    RevisionId, RevisionSummary, Scope, sha256_hex,
};
use crate::inference::{Embedder, TextKind};
use crate::storage::{NewDraft, Store};
use crate::understanding::pii::Masker;
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
    /// The drafts made of it, where the import makes drafts.
    pub drafts: Vec<RevisionId>,
    /// Values that were masked in it: numbers of persons, which the policy wants in no document.
    pub masked: usize,
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
#[derive(Clone)]
pub struct Ingester {
    vectors: Vectors,
    clock: Arc<dyn Clock>,
    config: RetrievalConfig,
    readers: Option<Readers>,
    /// Who proposes what is imported; `None`: it is published at once.
    drafts_of: Option<String>,
    masker: Masker,
}

/// A file in memory, on the disk or in an archive before.
struct Input<'a> {
    source: &'a str,
    /// Its path, for its name.
    path: &'a Path,
    bytes: Vec<u8>,
}

/// One import under way.
struct Run<'a> {
    report: ImportReport,
    /// Files known of.
    total: usize,
    /// Drafts made of the present file.
    drafts: Vec<RevisionId>,
    /// Values masked in the present file.
    masked: usize,
    progress: &'a dyn ImportProgress,
    cancel: &'a CancellationToken,
}

impl Run<'_> {
    /// Notes what became of a file.
    ///
    /// # Errors
    /// What concerns more than this file.
    fn note(&mut self, source: &str, result: Result<FileOutcome, RetrievalError>) -> Result<(), RetrievalError> {
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) if error.concerns_one_file() => FileOutcome::Failed {
                error: error.to_string(),
            },
            Err(error) => return Err(error),
        };
        let file = FileReport {
            source: source.to_owned(),
            outcome,
            drafts: std::mem::take(&mut self.drafts),
            masked: std::mem::take(&mut self.masked),
        };
        self.progress.file_done(&file);
        self.report.files.push(file);
        Ok(())
    }
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
            readers: None,
            drafts_of: None,
            masker: Masker::default().for_documents(),
        }
    }

    /// Masks personal data by another policy than the built-in one.
    #[must_use]
    pub fn with_masker(mut self, masker: &Masker) -> Self {
        self.masker = masker.for_documents();
        self
    }

    /// Makes drafts by `author` of what is imported, which somebody publishes later, in place of publishing it at once.
    #[must_use]
    pub fn with_drafts(mut self, author: impl Into<String>) -> Self {
        self.drafts_of = Some(author.into());
        self
    }

    /// Reads formats that are no text (PDF, Office ...) and archives by these processes; without them such files fail.
    #[must_use]
    pub fn with_readers(mut self, readers: Readers) -> Self {
        self.readers = Some(readers);
        self
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
        let mut run = Run {
            report: ImportReport::default(),
            total: found.len(),
            drafts: Vec::new(),
            masked: 0,
            progress,
            cancel,
        };
        for file in found {
            if cancel.is_cancelled() {
                run.report.cancelled = true;
                break;
            }
            progress.file_started(&file.source);
            let imported = match FileKind::of(&file.path) {
                Ok(FileKind::Archive) => self.import_archive(&file, &mut run).await,
                Ok(kind) => {
                    let result = self.import_file(&file, kind, &mut run).await;
                    if matches!(result, Err(RetrievalError::Cancelled)) {
                        Err(RetrievalError::Cancelled)
                    } else {
                        run.note(&file.source, result)
                    }
                }
                Err(error) => run.note(&file.source, Err(error)),
            };
            match imported {
                Ok(()) => {}
                Err(RetrievalError::Cancelled) => {
                    run.report.cancelled = true;
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(run.report)
    }

    async fn import_file(
        &self,
        file: &Found,
        kind: FileKind,
        run: &mut Run<'_>,
    ) -> Result<FileOutcome, RetrievalError> {
        let (path, limit) = (file.path.clone(), self.config.max_file_bytes);
        let bytes = blocking("reading", move || read_limited(&path, limit)).await?;
        let content = Input {
            source: &file.source,
            path: &file.path,
            bytes,
        };
        self.import_content(content, kind, run).await
    }

    /// Imports the files of an archive, each as a document of its own: what is wrong with one concerns no other.
    async fn import_archive(&self, file: &Found, run: &mut Run<'_>) -> Result<(), RetrievalError> {
        let (path, limit) = (file.path.clone(), self.config.max_file_bytes);
        let bytes = match blocking("reading", move || read_limited(&path, limit)).await {
            Ok(bytes) => bytes,
            Err(error) => return run.note(&file.source, Err(error)),
        };
        let readers = match self.readers() {
            Ok(readers) => readers,
            Err(fault) => return run.note(&file.source, Err(fault.into())),
        };
        let members = match readers.members(&bytes).await {
            Ok(members) => members,
            Err(fault) => return run.note(&file.source, Err(fault.into())),
        };
        run.total += members.len() - 1;
        run.progress.files(run.total);
        for member in members {
            if run.cancel.is_cancelled() {
                return Err(RetrievalError::Cancelled);
            }
            let source = format!("{}/{}", file.source, member.name);
            run.progress.file_started(&source);
            let result = match FileKind::of(Path::new(&member.name)) {
                Ok(FileKind::Archive) => Err(DocumentFault::Unsupported {
                    what: "an archive within an archive".to_owned(),
                    instead: "files in one archive".to_owned(),
                }
                .into()),
                Ok(kind) => match readers.member(&bytes, &member, limit).await {
                    Ok(bytes) => {
                        let content = Input {
                            source: &source,
                            path: Path::new(&member.name),
                            bytes,
                        };
                        self.import_content(content, kind, run).await
                    }
                    Err(fault) => Err(fault.into()),
                },
                Err(error) => Err(error),
            };
            if matches!(result, Err(RetrievalError::Cancelled)) {
                return Err(RetrievalError::Cancelled);
            }
            run.note(&source, result)?;
        }
        Ok(())
    }

    async fn import_content(
        &self,
        content: Input<'_>,
        kind: FileKind,
        run: &mut Run<'_>,
    ) -> Result<FileOutcome, RetrievalError> {
        let is_question_file = content
            .path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("questions"));
        match kind {
            FileKind::Document(format) => self.import_document(content, format, run).await,
            FileKind::FaqJsonl if is_question_file && is_question_set(&content.bytes) => Ok(FileOutcome::Skipped),
            FileKind::FaqJsonl => self.import_faqs(content, parse_jsonl, run).await,
            FileKind::Csv => {
                let bytes = content.bytes;
                let (bytes, is_faqs) = blocking("parsing", move || {
                    let is_faqs = is_faq_table(&decode(&bytes)?.text);
                    Ok((bytes, is_faqs))
                })
                .await?;
                let content = Input { bytes, ..content };
                if is_faqs {
                    self.import_faqs(content, parse_csv, run).await
                } else {
                    self.import_document(content, DocumentFormat::Csv, run).await
                }
            }
            FileKind::Archive => Err(RetrievalError::Internal {
                task: "importing",
                detail: "an archive is no document".to_owned(),
            }),
        }
    }

    fn readers(&self) -> Result<&Readers, DocumentFault> {
        self.readers.as_ref().ok_or_else(|| DocumentFault::NoReader {
            detail: "none is set up".to_owned(),
        })
    }

    /// Reads a document: a text in this process, anything else in one of its own.
    async fn parse(&self, bytes: Vec<u8>, format: DocumentFormat) -> Result<ParsedDocument, RetrievalError> {
        if is_text(format) {
            return blocking("parsing", move || parse_document(&bytes, format)).await;
        }
        match self.readers()?.document(&bytes, format).await {
            Ok(parsed) => Ok(parsed),
            Err(DocumentFault::Empty) => Err(RetrievalError::Empty),
            Err(fault) => Err(fault.into()),
        }
    }

    async fn import_document(
        &self,
        content: Input<'_>,
        format: DocumentFormat,
        run: &mut Run<'_>,
    ) -> Result<FileOutcome, RetrievalError> {
        let Input { source, path, bytes } = content;
        let store = &self.vectors.store;
        let sha256 = sha256_hex(&bytes);
        let present = store.document_by_source(source).await?;
        if present
            .as_ref()
            .is_some_and(|present| present.sha256 == sha256 && present.format == format)
        {
            return Ok(FileOutcome::Unchanged);
        }
        let waiting = self.waiting("document", source).await?;
        if let Some(waiting) = &waiting
            && self.says_the_same(waiting, &sha256, format).await?
        {
            run.drafts.push(waiting.id);
            return Ok(FileOutcome::Unchanged);
        }
        // What is there keeps its id and, unless the file says otherwise, its scope.
        let (id, kept) = match (&present, &waiting) {
            (Some(present), _) => (present.id, present.scope.clone()),
            (
                None,
                Some(RevisionSummary {
                    item: KbItem::Document(id),
                    scope,
                    ..
                }),
            ) => (*id, scope.clone()),
            _ => (DocumentId::new(), Scope::default()),
        };
        let mut document = Document {
            id,
            source: source.to_owned(),
            title: String::new(),
            format,
            sha256,
            text: String::new(),
            imported_at: self.clock.now(),
            scope: kept,
        };
        let stem = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        let embedder = self.vectors.embedder.clone();
        let limits = PassageLimits {
            target: self.config.passage_tokens,
            max: self.config.max_passage_tokens,
        };
        let parsed = self.parse(bytes, format).await?;
        let masker = self.masker.clone();
        let (document, passages, masked) = blocking("cutting", move || {
            let (parsed, masked) = parsed.masked(&masker);
            document.title = parsed.title.clone().unwrap_or(stem);
            let count = |text: &str| embedder.count_tokens(TextKind::Passage, text);
            let passages = chunk(document.id, &document.title, &parsed, limits, &count)?;
            document.text = parsed.text;
            if matches!(format, DocumentFormat::Markdown | DocumentFormat::Text)
                && let Some(scope) = front_matter(&document.text).scope()?
            {
                document.scope = scope;
            }
            Ok::<(Document, Vec<Passage>, usize), RetrievalError>((document, passages, masked))
        })
        .await?;
        run.masked = masked;
        let mut texts: Vec<String> = passages.iter().map(searchable_passage).collect();
        texts.extend(passages.iter().flat_map(segments));
        let total = texts.len();
        let done = self
            .vectors
            .ensure(TextKind::Passage, &texts, run.cancel, &mut |done| {
                run.progress.embedded(done, total);
            })
            .await?;
        add(&mut run.report.embedded, done);
        match &self.drafts_of {
            None => drop(store.put_document(&document, &passages).await?),
            Some(author) => {
                let draft = NewDraft {
                    item: KbItem::Document(document.id),
                    name: document.source.clone(),
                    scope: document.scope.clone(),
                    content: Some(Content::Document(DocumentContent::of(&document, &passages))),
                    author: author.clone(),
                    note: String::new(),
                };
                let added = store.add_drafts(&[draft]).await?;
                run.drafts.extend(added.iter().map(|draft| draft.id));
            }
        }
        let passages = passages.len();
        Ok(match present {
            Some(_) => FileOutcome::Updated { passages },
            None => FileOutcome::Added { passages },
        })
    }

    async fn import_faqs(
        &self,
        content: Input<'_>,
        parse: fn(&[u8]) -> Result<ParsedFaqs, RetrievalError>,
        run: &mut Run<'_>,
    ) -> Result<FileOutcome, RetrievalError> {
        let Input { source, bytes, .. } = content;
        let ParsedFaqs {
            rows,
            mut errors,
            mut faults,
        } = blocking("parsing", move || parse(&bytes)).await?;
        let masker = self.masker.clone();
        let (rows, masked) = blocking("masking", move || {
            let mut rows = rows;
            let masked = rows.iter_mut().map(|row| row.mask(&masker)).sum();
            Ok((rows, masked))
        })
        .await?;
        run.masked = masked;
        let mut faqs: Vec<Faq> = Vec::with_capacity(rows.len());
        let mut lines: HashMap<String, u64> = HashMap::new();
        for row in rows {
            let faq = self.faq(&row, source).await?;
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
            .ensure(TextKind::Query, &wordings, run.cancel, &mut |done| {
                run.progress.embedded(done, total);
            })
            .await?;
        add(&mut run.report.embedded, done);
        let before = wordings.len();
        let done = self
            .vectors
            .ensure(TextKind::Passage, &answers, run.cancel, &mut |done| {
                run.progress.embedded(before + done, total);
            })
            .await?;
        add(&mut run.report.embedded, done);
        let changed = match &self.drafts_of {
            None => self.vectors.store.put_faqs(&faqs, &format!("import {source}")).await?,
            Some(author) => self.draft_faqs(&faqs, author, run).await?,
        };
        errors.sort_by_key(|error| error.line);
        Ok(FileOutcome::Faqs {
            read: faqs.len(),
            changed,
            errors,
            faults,
        })
    }

    /// The FAQ of a row. What is there keeps its id and, unless the file says otherwise, its scope.
    async fn faq(&self, row: &FaqRow, source: &str) -> Result<Faq, RetrievalError> {
        let key = row.id.clone().unwrap_or_else(|| sha256_hex(row.question.as_bytes()));
        let (id, kept) = match self.vectors.store.faq_by_key(&key).await? {
            Some(present) => (present.id, present.scope),
            None => match self.waiting("faq", &key).await? {
                Some(RevisionSummary {
                    item: KbItem::Faq(id),
                    scope,
                    ..
                }) => (id, scope),
                _ => (FaqId::new(), Scope::default()),
            },
        };
        Ok(Faq {
            id,
            key,
            question: row.question.clone(),
            variants: row.variants.clone(),
            answer: row.answer.clone(),
            category: row.category.clone(),
            source: source.to_owned(),
            imported_at: self.clock.now(),
            scope: row.scope.clone().unwrap_or(kept),
        })
    }

    /// Drafts of those that differ from what is live; how many.
    async fn draft_faqs(&self, faqs: &[Faq], author: &str, run: &mut Run<'_>) -> Result<usize, RetrievalError> {
        let store = &self.vectors.store;
        let mut drafts = Vec::new();
        for faq in faqs {
            let same = |present: &Faq| {
                *present
                    == Faq {
                        imported_at: present.imported_at,
                        ..faq.clone()
                    }
            };
            if store.faqs(&[faq.id]).await?.first().is_some_and(same) {
                continue;
            }
            drafts.push(NewDraft {
                item: KbItem::Faq(faq.id),
                name: faq.key.clone(),
                scope: faq.scope.clone(),
                content: Some(Content::Faq(FaqContent::of(faq))),
                author: author.to_owned(),
                note: String::new(),
            });
        }
        let added = store.add_drafts(&drafts).await?;
        run.drafts.extend(added.iter().map(|draft| draft.id));
        Ok(added.len())
    }

    /// The newest draft of that name, where drafts are made.
    async fn waiting(&self, kind: &str, name: &str) -> Result<Option<RevisionSummary>, RetrievalError> {
        if self.drafts_of.is_none() {
            return Ok(None);
        }
        Ok(self.vectors.store.open_revision(kind, name).await?)
    }

    /// Whether that draft was made of this very file.
    async fn says_the_same(
        &self,
        waiting: &RevisionSummary,
        sha256: &str,
        format: DocumentFormat,
    ) -> Result<bool, RetrievalError> {
        let revision = self.vectors.store.revision(waiting.id).await?;
        Ok(matches!(
            revision.and_then(|revision| revision.content),
            Some(Content::Document(content)) if content.sha256 == sha256 && content.format == format
        ))
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
