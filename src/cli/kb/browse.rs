//! `kefu kb list`, `show`, `versions`, `export` and `search`.

use crate::app::{App, Need};
use crate::cli::{Common, output};
use crate::domain::{DocumentId, FaqId, KbItem, KbVersion, RevisionId, RevisionSummary, Scope};
use crate::jobs;
use crate::retrieval::{Query, SearchMode, Source};
use crate::storage::{DocumentSummary, PageRequest, RevisionFilter, Store};
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

/// Revisions of an item that are listed.
const HISTORY: u32 = 20;

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

pub(super) async fn list(common: &Common) -> anyhow::Result<ExitCode> {
    let store = common.store().await?;
    let documents = all_documents(store.as_ref()).await?;
    let counts = store.knowledge_counts().await?;
    if common.json {
        let rows: Vec<_> = documents
            .iter()
            .map(|d| {
                json!({"id": d.id, "source": d.source, "title": d.title, "format": d.format, "bytes": d.bytes,
                       "passages": d.passages, "sha256": d.sha256, "imported_at": d.imported_at, "scope": d.scope})
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

/// What a name on the command line means: the item, and its source or key.
pub(super) struct Named {
    pub(super) item: KbItem,
    pub(super) name: String,
}

pub(super) async fn resolve(store: &dyn Store, name: &str) -> anyhow::Result<Named> {
    let document = match (store.document_by_source(name).await?, name.parse::<DocumentId>()) {
        (None, Ok(id)) => store.document_summary(id).await?,
        (found, _) => found,
    };
    if let Some(document) = document {
        return Ok(Named {
            item: KbItem::Document(document.id),
            name: document.source,
        });
    }
    let faq = match (store.faq_by_key(name).await?, name.parse::<FaqId>()) {
        (None, Ok(id)) => store.faqs(&[id]).await?.pop(),
        (found, _) => found,
    };
    if let Some(faq) = faq {
        return Ok(Named {
            item: KbItem::Faq(faq.id),
            name: faq.key,
        });
    }
    bail!("there is no document or FAQ {name}; `kefu kb list` shows the sources")
}

pub(super) async fn show(common: &Common, name: &str) -> anyhow::Result<ExitCode> {
    let store = common.store().await?;
    let revision = match name.parse::<RevisionId>() {
        Ok(id) => store.revision(id).await?,
        Err(_) => None,
    };
    let item = match &revision {
        Some(revision) => revision.summary.item,
        None => resolve(store.as_ref(), name).await?.item,
    };
    let filter = RevisionFilter {
        states: Vec::new(),
        item: Some(item),
    };
    let history = store.revisions(&filter, &PageRequest::first(HISTORY)).await?.items;
    let (document, faq) = match (&revision, item) {
        (Some(revision), _) => (revision.document(), revision.faq()),
        (None, KbItem::Document(id)) => {
            let document = store.document(id).await?.context("it was removed just now")?;
            (Some((document, store.document_passages(id).await?)), None)
        }
        (None, KbItem::Faq(id)) => (None, store.faqs(&[id]).await?.pop()),
    };
    let mut shown = json!({"id": item.uuid(), "kind": item.kind()});
    if let Some((document, passages)) = &document {
        let rows: Vec<_> = passages
            .iter()
            .map(|p| json!({"id": p.id, "title_path": p.title_path, "page": p.page, "start": p.start, "end": p.end, "text": p.text}))
            .collect();
        shown = json!({"id": document.id, "source": document.source, "title": document.title, "format": document.format,
            "sha256": document.sha256, "scope": document.scope, "text": document.text, "passages": rows});
    }
    if let Some(faq) = &faq {
        shown = json!({"id": faq.id, "key": faq.key, "question": faq.question, "variants": faq.variants,
            "answer": faq.answer, "category": faq.category, "source": faq.source, "scope": faq.scope});
    }
    if common.json {
        if let Some(revision) = &revision {
            shown["revision"] = summary_json(&revision.summary);
        }
        shown["revisions"] = history.iter().map(summary_json).collect();
        output::print_json(&shown);
    } else {
        if let Some((document, passages)) = document {
            println!("{}  {}  ({})", document.title, document.source, document.format.name());
            print_scope(&document.scope);
            for passage in passages {
                println!(
                    "\n── {} [{}..{}]\n{}",
                    passage.cited_title(),
                    passage.start,
                    passage.end,
                    passage.text
                );
            }
        }
        if let Some(faq) = faq {
            println!(
                "{}  {}\n{}\n  {}\n\n{}",
                faq.key,
                faq.category,
                faq.question,
                faq.variants.join("\n  "),
                faq.answer
            );
            print_scope(&faq.scope);
        }
        println!();
        history.iter().for_each(print_summary);
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

fn print_scope(scope: &Scope) {
    if let Some(from) = scope.effective_from {
        println!("  from {from}");
    }
    if let Some(end) = scope.expires_at {
        println!("  until {end}");
    }
    if !scope.audiences.is_empty() {
        println!("  for {}", scope.audiences.join(", "));
    }
    if !scope.channels.is_empty() {
        println!("  on {}", scope.channels.join(", "));
    }
}

/// A revision as JSON.
pub(super) fn summary_json(one: &RevisionSummary) -> Value {
    json!({"id": one.id, "item": one.item, "number": one.number, "state": one.state, "removes": one.removes,
        "name": one.name, "title": one.title, "scope": one.scope, "author": one.author, "reviewer": one.reviewer,
        "note": one.note, "created_at": one.created_at, "decided_at": one.decided_at})
}

/// A revision as a line.
pub(super) fn print_summary(one: &RevisionSummary) {
    println!(
        "{}  {:9} {:>3}  {}{}  {}  {}  {}",
        one.id,
        one.state.name(),
        one.number,
        if one.removes { "remove " } else { "" },
        one.name,
        one.title,
        one.author,
        one.created_at
    );
}

pub(super) async fn versions(common: &Common, version: Option<KbVersion>) -> anyhow::Result<ExitCode> {
    let store = common.store().await?;
    if let Some(version) = version {
        let entry = store.version(version).await?.context("there is no such version")?;
        let mut changes = Vec::new();
        let mut request = PageRequest::first(1000);
        loop {
            let page = store.version_changes(version, &request).await?;
            changes.extend(page.items);
            let Some(next) = page.next else { break };
            request.cursor = Some(next);
        }
        if common.json {
            let rows: Vec<_> = changes
                .iter()
                .map(|c| json!({"item": c.item, "name": c.name, "title": c.title, "old": c.old, "new": c.new, "removed": c.removed}))
                .collect();
            output::print_json(
                &json!({"version": entry.version, "note": entry.note, "author": entry.author,
                "created_at": entry.created_at, "changes": rows}),
            );
        } else {
            println!(
                "{}  {}  {}  {}",
                entry.version, entry.created_at, entry.author, entry.note
            );
            for change in changes {
                let what = match (change.old, change.removed) {
                    (_, true) => "removed",
                    (None, false) => "added",
                    (Some(_), false) => "changed",
                };
                println!("  {what:8} {}  {}", change.name, change.title);
            }
        }
        store.close().await;
        return Ok(ExitCode::SUCCESS);
    }
    let versions = store.kb_versions(50).await?;
    if common.json {
        let rows: Vec<_> = versions
            .iter()
            .map(|v| json!({"version": v.version, "note": v.note, "author": v.author, "created_at": v.created_at}))
            .collect();
        output::print_json(&json!(rows));
    } else {
        for entry in versions {
            println!(
                "{:>6}  {}  {:12}  {}",
                entry.version, entry.created_at, entry.author, entry.note
            );
        }
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn export(common: &Common, directory: &Path) -> anyhow::Result<ExitCode> {
    let store = common.store().await?;
    let report = jobs::export(store.as_ref(), directory).await?;
    if common.json {
        output::print_json(
            &json!({"documents": report.documents, "faqs": report.faqs, "kb_version": store.kb_version().await?}),
        );
    } else {
        println!(
            "{} documents and {} FAQs in {}",
            report.documents,
            report.faqs,
            directory.display()
        );
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn search(common: &Common, query: String, top_k: usize, mode: SearchMode) -> anyhow::Result<ExitCode> {
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
