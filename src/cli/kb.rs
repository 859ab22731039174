//! `kefu kb`: the knowledge base.

use super::{Common, output};
use crate::app::{self, App, Need};
use crate::domain::{DocumentId, FaqId};
use crate::retrieval::{FileOutcome, FileReport, ImportProgress, Ingester, Query, SearchMode, Source};
use crate::storage::{DocumentSummary, PageRequest, Store};
use anyhow::{Context, bail};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Import, list, show, remove and search knowledge
#[derive(Debug, Subcommand)]
pub enum Kb {
    /// Import documents (.pdf .docx .xlsx .pptx .html .md .txt and more), FAQs (.csv .jsonl), archives (.zip) of them, or
    /// directories. Unchanged files cost nothing
    Import {
        /// Files and directories
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// List documents and count FAQs
    List,
    /// Show a document or a FAQ with its passages
    Show {
        /// Id, source or key
        name: String,
    },
    /// Remove a document or a FAQ
    Remove {
        /// Id, source or key
        name: String,
    },
    /// List the newest versions of the knowledge base
    Versions,
    /// Search, with scores by stage
    Search {
        /// The question
        query: String,
        /// Hits
        #[arg(long, default_value_t = 8)]
        top_k: usize,
        /// hybrid, dense or lexical
        #[arg(long, default_value = "hybrid", value_parser = mode)]
        mode: SearchMode,
    },
}

fn mode(text: &str) -> Result<SearchMode, String> {
    match text {
        "hybrid" => Ok(SearchMode::Hybrid),
        "dense" => Ok(SearchMode::Dense),
        "lexical" => Ok(SearchMode::Lexical),
        _ => Err("hybrid, dense or lexical".to_owned()),
    }
}

impl Kb {
    pub async fn run(self, common: &Common) -> anyhow::Result<ExitCode> {
        match self {
            Self::Import { paths } => import(common, &paths).await,
            Self::List => list(common).await,
            Self::Show { name } => show(common, &name).await,
            Self::Remove { name } => remove(common, &name).await,
            Self::Versions => versions(common).await,
            Self::Search { query, top_k, mode } => search(common, query, top_k, mode).await,
        }
    }
}

/// Progress on the terminal: one bar over files, with the file's name.
struct Bar(ProgressBar);

impl ImportProgress for Bar {
    fn files(&self, total: usize) {
        self.0.set_length(total as u64);
    }

    fn file_started(&self, source: &str) {
        self.0.set_message(source.to_owned());
    }

    fn embedded(&self, done: usize, total: usize) {
        self.0.set_prefix(format!("{done}/{total} texts"));
    }

    fn file_done(&self, _report: &FileReport) {
        self.0.set_prefix("");
        self.0.inc(1);
    }
}

async fn import(common: &Common, paths: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let config = common.settings(None)?;
    let store = app::open_store(&common.data).await?;
    let embedder = app::load_embedder(&config, &common.models).await?;
    let ingester = Ingester::new(
        Arc::clone(&store),
        embedder,
        Arc::new(crate::domain::SystemClock),
        config.retrieval,
    )
    .with_readers(app::document_readers());
    let bar = if common.json {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(0)
    };
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len} files  {prefix} {wide_msg}",
    )?);
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("\nstopping after the present file; what is imported stays");
            stop.cancel();
        }
    });
    let report = ingester.import(paths, &Bar(bar.clone()), &cancel).await?;
    bar.finish_and_clear();
    let failed = report.failures();
    let mut rows = Vec::new();
    for file in &report.files {
        let path = &file.source;
        let (what, detail) = match &file.outcome {
            FileOutcome::Added { passages } => ("added", format!("{passages} passages")),
            FileOutcome::Updated { passages } => ("updated", format!("{passages} passages")),
            FileOutcome::Unchanged => ("unchanged", String::new()),
            FileOutcome::Skipped => ("skipped", "test questions, no knowledge".to_owned()),
            FileOutcome::Faqs {
                read,
                changed,
                errors,
                faults,
            } => {
                for error in errors {
                    eprintln!("{path} line {}: {}", error.line, error.detail);
                }
                if *faults > errors.len() {
                    eprintln!("{path}: and {} more faulty lines", faults - errors.len());
                }
                (
                    "faqs",
                    format!("{read} FAQs, {changed} added or changed, {faults} faulty lines"),
                )
            }
            FileOutcome::Failed { error } => {
                eprintln!("{path}: {error}");
                ("failed", error.clone())
            }
        };
        rows.push(json!({"path": path, "outcome": what, "detail": detail}));
    }
    let counts = store.knowledge_counts().await?;
    let version = store.kb_version().await?;
    if common.json {
        output::print_json(&json!({
            "files": rows, "cancelled": report.cancelled, "failed": failed, "kb_version": version,
            "documents": counts.documents, "passages": counts.passages, "faqs": counts.faqs,
        }));
    } else {
        for row in rows
            .iter()
            .filter(|row| !matches!(row["outcome"].as_str(), Some("unchanged" | "skipped" | "failed")))
        {
            println!(
                "{:9} {}  {}",
                row["outcome"].as_str().unwrap_or(""),
                row["path"].as_str().unwrap_or(""),
                row["detail"].as_str().unwrap_or("")
            );
        }
        println!(
            "knowledge base version {version}: {} documents, {} passages, {} FAQs{}",
            counts.documents,
            counts.passages,
            counts.faqs,
            if report.cancelled {
                " (stopped early: run the same command again to go on)"
            } else {
                ""
            }
        );
    }
    store.close().await;
    Ok(if failed == 0 && !report.cancelled {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn all_documents(store: &dyn Store) -> anyhow::Result<Vec<DocumentSummary>> {
    let mut page = PageRequest::first(500);
    let mut all = Vec::new();
    loop {
        let got = store.documents(&page).await?;
        all.extend(got.items);
        match got.next {
            Some(next) => page.cursor = Some(next),
            None => return Ok(all),
        }
    }
}

async fn list(common: &Common) -> anyhow::Result<ExitCode> {
    let store = app::open_store(&common.data).await?;
    let documents = all_documents(store.as_ref()).await?;
    let counts = store.knowledge_counts().await?;
    if common.json {
        let rows: Vec<_> = documents
            .iter()
            .map(|d| {
                json!({"id": d.id, "source": d.source, "title": d.title, "format": d.format, "bytes": d.bytes,
                       "passages": d.passages, "sha256": d.sha256, "imported_at": d.imported_at})
            })
            .collect();
        output::print_json(&json!({"documents": rows, "passages": counts.passages, "faqs": counts.faqs}));
    } else {
        for document in &documents {
            println!(
                "{}  {:>4} passages  {}  {}",
                document.id, document.passages, document.source, document.title
            );
        }
        println!(
            "{} documents, {} passages, {} FAQs",
            counts.documents, counts.passages, counts.faqs
        );
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

/// What a name on the command line means.
enum Named {
    Document(DocumentId),
    Faq(FaqId),
}

async fn resolve(store: &dyn Store, name: &str) -> anyhow::Result<Named> {
    if let Some(document) = store.document_by_source(name).await? {
        return Ok(Named::Document(document.id));
    }
    if let Some(faq) = store.faq_by_key(name).await? {
        return Ok(Named::Faq(faq.id));
    }
    if let Ok(id) = name.parse::<DocumentId>() {
        if store.document(id).await?.is_some() {
            return Ok(Named::Document(id));
        }
        let id = FaqId(id.0);
        if !store.faqs(&[id]).await?.is_empty() {
            return Ok(Named::Faq(id));
        }
    }
    bail!("there is no document or FAQ {name}; `kefu kb list` shows the sources")
}

async fn show(common: &Common, name: &str) -> anyhow::Result<ExitCode> {
    let store = app::open_store(&common.data).await?;
    match resolve(store.as_ref(), name).await? {
        Named::Document(id) => {
            let document = store.document(id).await?.context("it was removed just now")?;
            let passages = store.document_passages(id).await?;
            if common.json {
                let rows: Vec<_> = passages
                    .iter()
                    .map(|p| json!({"id": p.id, "title_path": p.title_path, "start": p.start, "end": p.end, "text": p.text}))
                    .collect();
                output::print_json(&json!({"id": id, "source": document.source, "title": document.title,
                    "format": document.format, "sha256": document.sha256, "text": document.text, "passages": rows}));
            } else {
                println!(
                    "{}  {}  ({})\n",
                    document.title,
                    document.source,
                    document.format.name()
                );
                for passage in passages {
                    println!(
                        "── {} [{}..{}]\n{}\n",
                        passage.cited_title(),
                        passage.start,
                        passage.end,
                        passage.text
                    );
                }
            }
        }
        Named::Faq(id) => {
            let faq = store.faqs(&[id]).await?.pop().context("it was removed just now")?;
            if common.json {
                output::print_json(
                    &json!({"id": id, "key": faq.key, "question": faq.question, "variants": faq.variants,
                    "answer": faq.answer, "category": faq.category, "source": faq.source}),
                );
            } else {
                println!(
                    "{}  {}\n{}\n  {}\n\n{}",
                    faq.key,
                    faq.category,
                    faq.question,
                    faq.variants.join("\n  "),
                    faq.answer
                );
            }
        }
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn remove(common: &Common, name: &str) -> anyhow::Result<ExitCode> {
    let store = app::open_store(&common.data).await?;
    match resolve(store.as_ref(), name).await? {
        Named::Document(id) => store.remove_document(id).await?,
        Named::Faq(id) => store.remove_faq(id).await?,
    };
    let version = store.kb_version().await?;
    if common.json {
        output::print_json(&json!({"removed": name, "kb_version": version}));
    } else {
        println!("removed {name}; knowledge base version {version}");
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn versions(common: &Common) -> anyhow::Result<ExitCode> {
    let store = app::open_store(&common.data).await?;
    let versions = store.kb_versions(50).await?;
    if common.json {
        let rows: Vec<_> = versions
            .iter()
            .map(|v| json!({"version": v.version, "note": v.note, "created_at": v.created_at}))
            .collect();
        output::print_json(&json!(rows));
    } else {
        for entry in versions {
            println!("{:>6}  {}  {}", entry.version, entry.created_at, entry.note);
        }
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn search(common: &Common, query: String, top_k: usize, mode: SearchMode) -> anyhow::Result<ExitCode> {
    let app = App::open(common.settings(None)?, &common.data, &common.models, Need::Search).await?;
    let found = app
        .retriever
        .search(&Query {
            text: query,
            mode,
            top_k,
            faq_top_k: 3,
            viewer: app.viewer(),
        })
        .await?;
    let mut rows = Vec::new();
    for hit in &found.hits {
        let (id, title, text, kind) = match &hit.source {
            Source::Passage(passage) => (passage.id.0, passage.cited_title(), &passage.text, "passage"),
            Source::Faq(faq) => (faq.id.0, faq.question.clone(), &faq.answer, "faq"),
        };
        if common.json {
            rows.push(
                json!({"id": id, "kind": kind, "title": title, "text": text, "fused": hit.scores.fused,
                "dense": hit.scores.dense, "lexical": hit.scores.lexical, "coverage": hit.scores.coverage}),
            );
        } else {
            let score = |value: Option<f32>| value.map_or("  -  ".to_owned(), |value| format!("{value:.3}"));
            println!(
                "{:.3}  dense {}  lexical {}  coverage {:.2}  {title}\n    {}",
                hit.scores.fused,
                score(hit.scores.dense),
                score(hit.scores.lexical),
                hit.scores.coverage,
                text.chars().take(120).collect::<String>().replace('\n', " ")
            );
        }
    }
    if common.json {
        let faqs: Vec<_> = found
            .faqs
            .iter()
            .map(|f| json!({"key": f.faq.key, "question": f.faq.question, "similarity": f.similarity, "overlap": f.overlap, "exact": f.exact}))
            .collect();
        output::print_json(&json!({"hits": rows, "faqs": faqs, "kb_version": found.kb_version,
            "embed_ms": found.embed_ms, "search_ms": found.search_ms}));
    } else {
        println!("embed {:.1} ms, search {:.1} ms", found.embed_ms, found.search_ms);
    }
    app.close().await;
    Ok(ExitCode::SUCCESS)
}
