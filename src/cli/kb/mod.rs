//! `kefu kb`: the knowledge base.

mod browse;
mod golden;
mod import;
mod publish;

use super::Common;
use crate::domain::{KbVersion, RevisionId};
use crate::retrieval::SearchMode;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Import, draft, publish, roll back, list, show, remove, export and search knowledge
#[derive(Debug, Subcommand)]
pub enum Kb {
    /// Import documents (.pdf .docx .xlsx .pptx .html .md .txt and more), FAQs (.csv .jsonl), archives (.zip) of them, or
    /// directories. Unchanged files cost nothing
    Import {
        /// Files and directories
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Make drafts, to be published later
        #[arg(long)]
        draft: bool,
    },
    /// List documents and count FAQs
    List,
    /// Show a document with its passages, a FAQ, or a revision of either, with its history
    Show {
        /// Id, source, key or revision
        name: String,
    },
    /// Remove a document or a FAQ
    Remove {
        /// Id, source or key
        name: String,
        /// Make a draft that removes it, to be published later
        #[arg(long)]
        draft: bool,
    },
    /// List drafts and what waits for review
    Drafts,
    /// Publish drafts as one version, if the golden questions allow it
    Publish {
        /// Revisions, as `kefu kb drafts` lists them
        #[arg(required_unless_present = "all")]
        revisions: Vec<RevisionId>,
        /// All drafts, and all that waits for review
        #[arg(long, conflicts_with = "revisions")]
        all: bool,
        #[command(flatten)]
        how: How,
    },
    /// Delete a draft, or a revision that waits for review or was rejected
    Discard {
        /// Revisions, as `kefu kb drafts` lists them
        #[arg(required = true)]
        revisions: Vec<RevisionId>,
    },
    /// List the newest versions of the knowledge base, or what one of them changed
    Versions {
        /// The version whose changes are listed
        version: Option<u64>,
    },
    /// Restore what was published in an earlier version, as a new version
    Rollback {
        /// The version, as `kefu kb versions` lists them
        version: u64,
        #[command(flatten)]
        how: How,
    },
    /// Write all that is published as files that `kefu kb import` takes back
    Export {
        /// A new or empty directory
        directory: PathBuf,
    },
    /// Questions whose right answer is known, asked before anything is published
    #[command(subcommand)]
    Golden(golden::Golden),
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

/// How something is published.
#[derive(Debug, Args)]
pub struct How {
    /// What the list of versions says of it
    #[arg(long, default_value = "")]
    note: String,
    /// Publish although golden questions are answered worse
    #[arg(long)]
    force: bool,
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
            Self::Import { paths, draft } => import::import(common, &paths, draft).await,
            Self::List => browse::list(common).await,
            Self::Show { name } => browse::show(common, &name).await,
            Self::Remove { name, draft } => publish::remove(common, &name, draft).await,
            Self::Drafts => publish::drafts(common).await,
            Self::Publish { revisions, all, how } => publish::publish(common, revisions, all, how).await,
            Self::Discard { revisions } => publish::discard(common, &revisions).await,
            Self::Versions { version } => browse::versions(common, version.map(KbVersion)).await,
            Self::Rollback { version, how } => publish::rollback(common, KbVersion(version), how).await,
            Self::Export { directory } => browse::export(common, &directory).await,
            Self::Golden(verb) => verb.run(common).await,
            Self::Search { query, top_k, mode } => browse::search(common, query, top_k, mode).await,
        }
    }
}
