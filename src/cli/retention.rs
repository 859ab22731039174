//! `kefu retention`: removes what is older than the settings allow.

use super::{Common, output};
use crate::app;
use crate::domain::SystemClock;
use crate::jobs::Eraser;
use crate::people::COMMAND_LINE;
use clap::{Args, Subcommand};
use serde_json::json;
use std::process::ExitCode;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Remove what is older than the settings allow
#[derive(Debug, Subcommand)]
pub enum RetentionVerb {
    /// Remove it now; the server does so every day
    Run(Run),
}

#[derive(Debug, Args)]
pub struct Run {
    /// Only count what would be removed
    #[arg(long)]
    dry_run: bool,
}

impl RetentionVerb {
    pub async fn run(self, common: &Common) -> anyhow::Result<ExitCode> {
        let Self::Run(run) = self;
        let config = common.settings(None)?;
        let store = common.store().await?;
        let eraser = Eraser::new(Arc::clone(&store), Arc::new(SystemClock), app::masker(&config)?);
        let stop = CancellationToken::new();
        let watch = stop.clone();
        let interrupt = tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                watch.cancel();
            }
        });
        let done = eraser.expire(&config.retention, COMMAND_LINE, run.dry_run, &stop).await;
        interrupt.abort();
        store.close().await;
        let done = done?;
        if common.json {
            output::print_json(&json!({"retention": config.retention, "done": done}));
        } else {
            let removed = done.removed;
            println!(
                "{}: {} conversations, {} messages, {} traces, {} keys of personal data, {} examples{}",
                if done.dry_run { "Would remove" } else { "Removed" },
                removed.conversations,
                removed.messages,
                removed.traces,
                removed.vault_keys,
                removed.examples,
                if done.interrupted {
                    " (stopped; call it again)"
                } else {
                    ""
                },
            );
        }
        Ok(if done.interrupted {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}
