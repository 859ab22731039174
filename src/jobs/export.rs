//! The live knowledge as files that an import takes back.

use crate::domain::{Document, DocumentFormat, Faq};
use crate::retrieval::parse::with_scope;
use crate::storage::{PageRequest, Store};
use anyhow::{Context, bail};
use serde_json::json;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Rows read at a time.
const PAGE: u32 = 500;

/// The file of the FAQs.
const FAQ_FILE: &str = "faq.jsonl";

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportReport {
    /// Documents, a file each.
    pub documents: usize,
    /// FAQs, all in one file.
    pub faqs: usize,
}

/// Writes all live documents and FAQs below `directory`, which is new or empty. A Markdown file or a plain text is the text as it was
/// imported, of any other format the text that was read out of it (`.txt`, with its title). What limits a document
/// stands at the top of its file. The FAQs are one file (`faq.jsonl`).
///
/// # Errors
/// A directory that is not empty; what the store or the disk says.
pub async fn export(store: &dyn Store, directory: &Path) -> anyhow::Result<ExportReport> {
    tokio::fs::create_dir_all(directory)
        .await
        .with_context(|| format!("making {}", directory.display()))?;
    let mut entries = tokio::fs::read_dir(directory).await?;
    if entries.next_entry().await?.is_some() {
        bail!("{} is not empty: name a new directory", directory.display());
    }
    let mut report = ExportReport::default();
    let mut taken = HashSet::from([PathBuf::from(FAQ_FILE)]);
    let mut request = PageRequest::first(PAGE);
    loop {
        let page = store.documents(&request).await?;
        for summary in page.items {
            let Some(document) = store.document(summary.id).await? else {
                continue;
            };
            let path = directory.join(free_name(&document, &mut taken));
            if let Some(parent) = path.parent() {
                tokio::fs::create_dir_all(parent).await?;
            }
            tokio::fs::write(&path, content(&document))
                .await
                .with_context(|| format!("writing {}", path.display()))?;
            report.documents += 1;
        }
        match page.next {
            Some(next) => request.cursor = Some(next),
            None => break,
        }
    }
    let mut lines = String::new();
    let mut request = PageRequest::first(PAGE);
    loop {
        let page = store.faq_page(&request).await?;
        for faq in &page.items {
            lines.push_str(&line(faq));
            lines.push('\n');
        }
        report.faqs += page.items.len();
        match page.next {
            Some(next) => request.cursor = Some(next),
            None => break,
        }
    }
    if report.faqs > 0 {
        tokio::fs::write(directory.join(FAQ_FILE), lines).await?;
    }
    Ok(report)
}

fn content(document: &Document) -> String {
    let is_original = matches!(document.format, DocumentFormat::Markdown | DocumentFormat::Text);
    with_scope(&document.text, &document.title, &document.scope, !is_original)
}

/// A path for the document's source that leads nowhere else and is not taken.
fn free_name(document: &Document, taken: &mut HashSet<PathBuf>) -> PathBuf {
    let parts = document
        .source
        .split(['/', '\\'])
        .map(|part| part.trim_start_matches('.').replace(char::is_control, "_"))
        .filter(|part| !part.is_empty());
    let mut path: PathBuf = parts.collect();
    let extension = match document.format {
        DocumentFormat::Markdown => "md",
        _ => "txt",
    };
    let fits = path
        .extension()
        .is_some_and(|there| there == extension || (extension == "md" && there == "markdown"));
    if path == Path::new("") {
        path.push(document.id.to_string());
    }
    if !fits {
        path.as_mut_os_string().push(format!(".{extension}"));
    }
    let mut free = path.clone();
    let mut number = 2;
    while !taken.insert(free.clone()) {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        free = path.with_file_name(format!("{stem}-{number}.{extension}"));
        number += 1;
    }
    free
}

fn line(faq: &Faq) -> String {
    let mut line = json!({
        "id": faq.key, "question": faq.question, "variants": faq.variants, "answer": faq.answer, "category": faq.category,
    });
    if let Some(from) = faq.scope.effective_from {
        line["effective_from"] = json!(from);
    }
    if let Some(end) = faq.scope.expires_at {
        line["expires_at"] = json!(end);
    }
    if !faq.scope.audiences.is_empty() {
        line["audience"] = json!(faq.scope.audiences);
    }
    if !faq.scope.channels.is_empty() {
        line["channel"] = json!(faq.scope.channels);
    }
    line.to_string()
}
