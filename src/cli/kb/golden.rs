//! `kefu kb golden`: questions whose right answer is known.

use crate::cli::{Common, output};
use crate::domain::{GoldenId, SystemClock};
use crate::jobs::read_golden;
use crate::people::COMMAND_LINE;
use anyhow::{Context, anyhow, bail};
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Questions whose right answer is known, asked before anything is published
#[derive(Debug, Subcommand)]
pub enum Golden {
    /// Add questions, one JSON object a line: `{"question", "expect": {"source", "faq_key", "contains": [], "refuse"}}`; also sets
    /// of test questions as kb/questions.jsonl
    Import {
        /// The file
        file: PathBuf,
    },
    /// List them
    List,
    /// Remove some
    Remove {
        /// Their ids, as `list` shows them
        #[arg(required = true)]
        ids: Vec<GoldenId>,
    },
}

impl Golden {
    pub async fn run(self, common: &Common) -> anyhow::Result<ExitCode> {
        let store = common.store().await?;
        match self {
            Self::Import { file } => {
                let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
                let (questions, left_out) = read_golden(&text, COMMAND_LINE, &SystemClock)
                    .map_err(|fault| anyhow!("{} {fault}", file.display()))?;
                let changed = store.put_golden(&questions).await?;
                if common.json {
                    output::print_json(&json!({"read": questions.len(), "changed": changed, "left_out": left_out}));
                } else {
                    println!(
                        "{} questions, {changed} added or changed; {left_out} left out, which depend on what was said before",
                        questions.len()
                    );
                }
            }
            Self::List => {
                let questions = store.golden().await?;
                if common.json {
                    let rows: Vec<_> = questions
                        .iter()
                        .map(|one| json!({"id": one.id, "question": one.question, "expect": one.expect, "author": one.author}))
                        .collect();
                    output::print_json(&json!(rows));
                } else {
                    for one in &questions {
                        println!("{}  {}  {}", one.id, one.question, json!(one.expect));
                    }
                    println!("{} golden questions", questions.len());
                }
            }
            Self::Remove { ids } => {
                for id in &ids {
                    if !store.remove_golden(*id, COMMAND_LINE).await? {
                        bail!("there is no golden question {id}");
                    }
                }
                if common.json {
                    output::print_json(&json!({"removed": ids}));
                } else {
                    println!("{} removed", ids.len());
                }
            }
        }
        store.close().await;
        Ok(ExitCode::SUCCESS)
    }
}
