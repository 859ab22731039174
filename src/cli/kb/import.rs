//! `kefu kb import`.

use crate::app;
use crate::cli::{Common, output};
use crate::domain::{Clock, SystemClock};
use crate::people::COMMAND_LINE;
use crate::retrieval::{FileOutcome, FileReport, ImportProgress, Ingester};
use crate::storage::AuditRecord;
use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

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

pub(super) async fn import(common: &Common, paths: &[PathBuf], draft: bool) -> anyhow::Result<ExitCode> {
    let config = common.settings(None)?;
    if config.knowledge.four_eyes && !draft {
        bail!("knowledge.four_eyes is set: import with --draft, and let another person publish");
    }
    let store = common.store().await?;
    let before = store.kb_version().await?;
    let keep = config.knowledge.keep_revisions;
    let embedder = app::load_embedder(&config, &common.models).await?;
    let masker = app::masker(&config)?;
    let mut ingester = Ingester::new(Arc::clone(&store), embedder, Arc::new(SystemClock), config.retrieval)
        .with_readers(app::document_readers())
        .with_masker(&masker);
    if draft {
        ingester = ingester.with_drafts(COMMAND_LINE);
    }
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
        if file.masked > 0 {
            eprintln!(
                "{path}: {} values that belong to persons were masked (see [privacy] policy_file)",
                file.masked
            );
        }
        rows.push(
            json!({"path": path, "outcome": what, "detail": detail, "drafts": file.drafts, "masked": file.masked}),
        );
    }
    let drafts: usize = report.files.iter().map(|file| file.drafts.len()).sum();
    let counts = store.knowledge_counts().await?;
    let version = store.kb_version().await?;
    if version != before {
        let record = AuditRecord {
            at: SystemClock.now(),
            actor: COMMAND_LINE.to_owned(),
            action: "knowledge.import".to_owned(),
            object: format!("version:{version}"),
            detail: json!({"from": before, "files": report.files.len()}),
        };
        store.append_audit(&record).await?;
        store.prune_revisions(keep).await?;
    }
    if common.json {
        output::print_json(&json!({
            "files": rows, "cancelled": report.cancelled, "failed": failed, "kb_version": version,
            "documents": counts.documents, "passages": counts.passages, "faqs": counts.faqs, "drafts": drafts,
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
        if draft {
            println!("{drafts} drafts; `kefu kb drafts` lists them, `kefu kb publish --all` publishes them");
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
