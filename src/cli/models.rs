//! `kefu models`: the only verb that ever reaches the network, and only with `pull`.

use super::{Common, output};
use crate::app;
use crate::inference::manifest::{FileState, Manifest, PullProgress, PullSettings};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// List, fetch, check and exchange models
#[derive(Debug, Subcommand)]
pub enum Models {
    /// List the models of the manifest and what is there
    List,
    /// Fetch models; goes on where an interrupted pull stopped
    Pull {
        /// Names of the manifest
        names: Vec<String>,
        /// Fetch what the settings need: the embedding model and the language model
        #[arg(long)]
        defaults: bool,
        /// The hub, or a mirror of it
        #[arg(long, value_name = "URL", env = "HF_ENDPOINT")]
        endpoint: Option<String>,
    },
    /// Read the files and compare their hashes
    Verify {
        /// Names; all that are there without one
        names: Vec<String>,
    },
    /// Bring in a file: a known model by its hash, or any GGUF file under a name
    Import {
        /// The file
        file: PathBuf,
        /// The name of a model that the manifest does not know
        #[arg(long)]
        name: Option<String>,
    },
    /// Copy a verified model to a file, for a machine without a network
    Export {
        /// The model
        name: String,
        /// The file
        to: PathBuf,
    },
}

impl Models {
    pub async fn run(self, common: &Common) -> anyhow::Result<ExitCode> {
        let common = common.clone();
        // Hashing and fetching block; nothing else runs beside them.
        tokio::task::spawn_blocking(move || self.work(&common)).await?
    }

    fn work(self, common: &Common) -> anyhow::Result<ExitCode> {
        let directory = &common.models;
        let manifest = Manifest::load(directory)?;
        match self {
            Self::List => list(common, &manifest),
            Self::Pull {
                mut names,
                defaults,
                endpoint,
            } => {
                if defaults {
                    let config = common.settings(None)?;
                    names.push(config.inference.embedding_model.clone());
                    names.push(app::language_model_name(&config, directory)?);
                }
                anyhow::ensure!(
                    !names.is_empty(),
                    "name a model (see `kefu models list`), or give --defaults"
                );
                let settings = PullSettings {
                    endpoint,
                    proxied: crate::config::proxied(),
                    ..PullSettings::default()
                };
                for name in &names {
                    let entry = manifest.get(name)?;
                    let bar = Bar::new(common.json, name, entry.size)?;
                    let fetched = manifest.pull(directory, name, &settings, &bar);
                    bar.0.finish_and_clear();
                    let what = if fetched? { "fetched and verified" } else { "is there" };
                    eprintln!("{name}: {what} ({})", entry.path(directory).display());
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::Verify { names } => Ok(verify(common, &manifest, names)),
            Self::Import { file, name } => {
                let name = manifest.import(directory, &file, name.as_deref())?;
                println!("{name}");
                Ok(ExitCode::SUCCESS)
            }
            Self::Export { name, to } => {
                manifest.export(directory, &name, &to)?;
                println!("{}", to.display());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn list(common: &Common, manifest: &Manifest) -> anyhow::Result<ExitCode> {
    let mut rows = Vec::new();
    for entry in manifest.entries() {
        let state = match manifest.state(&common.models, &entry.name)? {
            FileState::Missing => "missing".to_owned(),
            FileState::Partial(bytes) => format!("{} % fetched", bytes * 100 / entry.size.max(1)),
            FileState::Verified => "there, verified".to_owned(),
            FileState::Unverified => "there, not yet verified".to_owned(),
            FileState::Wrong => "there, but not what the manifest pins".to_owned(),
        };
        if common.json {
            rows.push(
                json!({"name": entry.name, "kind": entry.kind, "architecture": entry.architecture,
                "licence": entry.licence, "context_tokens": entry.context_tokens, "size": entry.size,
                "sha256": entry.sha256, "state": state, "note": entry.note}),
            );
        } else {
            let mega = entry.size / 1_000_000;
            println!(
                "{:30} {mega:>6} MB  {:20} {state}  ({})",
                entry.name, entry.licence, entry.note
            );
        }
    }
    if common.json {
        output::print_json(&json!(rows));
    }
    Ok(ExitCode::SUCCESS)
}

fn verify(common: &Common, manifest: &Manifest, mut names: Vec<String>) -> ExitCode {
    if names.is_empty() {
        let there = manifest
            .entries()
            .iter()
            .filter(|entry| entry.path(&common.models).is_file());
        names.extend(there.map(|entry| entry.name.clone()));
    }
    let mut rows = Vec::new();
    let mut wrong = false;
    for name in names {
        let result = manifest.verify(&common.models, &name);
        wrong |= result.is_err();
        let words = result.map_or_else(|error| error.to_string(), |()| "verified".to_owned());
        if common.json {
            rows.push(json!({"name": name, "result": words}));
        } else {
            println!("{name}: {words}");
        }
    }
    if common.json {
        output::print_json(&json!(rows));
    }
    if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Progress on the terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new(hidden: bool, name: &str, size: u64) -> anyhow::Result<Self> {
        let bar = if hidden {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(size)
        };
        bar.set_style(ProgressStyle::with_template(
            "{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}  {wide_msg}",
        )?);
        bar.set_prefix(name.to_owned());
        Ok(Self(bar))
    }
}

impl PullProgress for Bar {
    fn source(&self, description: &str) {
        self.0.set_message(description.to_owned());
    }

    fn bytes(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    fn failed(&self, reason: &str) {
        self.0.suspend(|| eprintln!("{reason}"));
    }
}
