//! `kefu kb drafts`, `publish`, `discard`, `rollback` and `remove`.

use super::How;
use super::browse::{print_summary, resolve, summary_json};
use crate::app::{App, Need};
use crate::cli::{Common, output};
use crate::domain::{KbVersion, RevisionId, RevisionState, RevisionSummary, Scope, SystemClock};
use crate::jobs::{GoldenReport, PublishError, PublishRequest, Published, Publisher};
use crate::people::COMMAND_LINE;
use crate::storage::{NewDraft, PageRequest, RevisionFilter, Store};
use anyhow::bail;
use serde_json::json;
use std::process::ExitCode;
use std::sync::Arc;

/// What is done once everything is open.
enum Work {
    Publish(Vec<RevisionId>),
    Rollback(KbVersion),
}

async fn open_revisions(store: &dyn Store) -> anyhow::Result<Vec<RevisionSummary>> {
    let filter = RevisionFilter {
        states: vec![RevisionState::Draft, RevisionState::Review],
        item: None,
    };
    let mut request = PageRequest::first(1000);
    let mut all = Vec::new();
    loop {
        let page = store.revisions(&filter, &request).await?;
        all.extend(page.items);
        match page.next {
            Some(next) => request.cursor = Some(next),
            None => return Ok(all),
        }
    }
}

pub(super) async fn drafts(common: &Common) -> anyhow::Result<ExitCode> {
    let store = common.store().await?;
    let open = open_revisions(store.as_ref()).await?;
    if common.json {
        output::print_json(&open.iter().map(summary_json).collect());
    } else {
        open.iter().for_each(print_summary);
        println!("{} drafts and revisions in review", open.len());
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn publish(
    common: &Common,
    revisions: Vec<RevisionId>,
    all: bool,
    how: How,
) -> anyhow::Result<ExitCode> {
    let store = common.store().await?;
    let ids = if all {
        open_revisions(store.as_ref()).await?.iter().map(|one| one.id).collect()
    } else {
        revisions
    };
    if ids.is_empty() {
        bail!("there are no drafts to publish");
    }
    work(common, store, Work::Publish(ids), how).await
}

pub(super) async fn rollback(common: &Common, version: KbVersion, how: How) -> anyhow::Result<ExitCode> {
    let store = common.store().await?;
    work(common, store, Work::Rollback(version), how).await
}

pub(super) async fn discard(common: &Common, revisions: &[RevisionId]) -> anyhow::Result<ExitCode> {
    let store = common.store().await?;
    for id in revisions {
        store.discard_revision(*id, COMMAND_LINE).await?;
    }
    if common.json {
        output::print_json(&json!({"discarded": revisions}));
    } else {
        println!("{} discarded", revisions.len());
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn remove(common: &Common, name: &str, draft: bool) -> anyhow::Result<ExitCode> {
    if !draft && common.settings(None)?.knowledge.four_eyes {
        bail!("knowledge.four_eyes is set: remove with --draft, and let another person publish");
    }
    let store = common.store().await?;
    let named = resolve(store.as_ref(), name).await?;
    let removal = NewDraft {
        item: named.item,
        name: named.name.clone(),
        scope: Scope::default(),
        content: None,
        author: COMMAND_LINE.to_owned(),
        note: String::new(),
    };
    let drafts = store.add_drafts(&[removal]).await?;
    if draft {
        if common.json {
            output::print_json(&drafts.iter().map(summary_json).collect());
        } else {
            drafts.iter().for_each(print_summary);
        }
        store.close().await;
        return Ok(ExitCode::SUCCESS);
    }
    let how = How {
        note: format!("remove {}", named.name),
        force: false,
    };
    let ids = drafts.iter().map(|draft| draft.id).collect();
    work(common, store, Work::Publish(ids), how).await
}

/// Publishes or rolls back. The models are loaded only where golden questions are to be asked.
async fn work(common: &Common, store: Arc<dyn Store>, work: Work, how: How) -> anyhow::Result<ExitCode> {
    let config = common.settings(None)?;
    let plain = Publisher::new(Arc::clone(&store), Arc::new(SystemClock), config.knowledge.clone());
    let request = PublishRequest {
        by: COMMAND_LINE.to_owned(),
        note: how.note,
        force: how.force,
    };
    let result = if plain.is_gated().await? {
        store.close().await;
        let app = App::open(config, &common.data, &common.models, Need::Search).await?;
        let result = perform(&app.publisher(), &work, &request).await;
        app.close().await;
        result
    } else {
        let result = perform(&plain, &work, &request).await;
        store.close().await;
        result
    };
    match result {
        Ok(done) => {
            if common.json {
                output::print_json(&json!({"kb_version": done.kb_version, "golden": done.golden}));
            } else {
                print_golden(&done.golden);
                println!("knowledge base version {}", done.kb_version);
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(PublishError::GoldenWorse(report)) => {
            if common.json {
                output::print_json(&json!({"error": "golden_worse", "golden": report}));
            } else {
                print_golden(&report);
            }
            bail!(
                "{}; see what changed, or use --force",
                PublishError::GoldenWorse(report)
            )
        }
        Err(error) => Err(error.into()),
    }
}

async fn perform(publisher: &Publisher, work: &Work, request: &PublishRequest) -> Result<Published, PublishError> {
    match work {
        Work::Publish(ids) => publisher.publish(ids, request).await,
        Work::Rollback(version) => publisher.rollback(*version, request).await,
    }
}

fn print_golden(report: &GoldenReport) {
    if report.asked == 0 {
        return;
    }
    println!(
        "golden questions: {} asked, {} right before, {} right after",
        report.asked, report.right_before, report.right_after
    );
    for worse in &report.worse {
        println!("  worse: {}", worse.question);
        for (when, outcome) in [("before", &worse.before), ("after", &worse.after)] {
            println!(
                "    {when:6} [{}] {} {:?}",
                outcome.route, outcome.answer, outcome.cited
            );
        }
    }
}
