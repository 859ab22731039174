//! The command line: one verb a file. Exit codes: 0 done, 1 failed, 2 wrong usage.

/// Prints a line as the standard macro does, but for what cannot be printed: see [`output::print`].
macro_rules! println {
    () => { $crate::cli::output::print(format_args!("\n")) };
    ($($words:tt)*) => { $crate::cli::output::print(format_args!("{}\n", format_args!($($words)*))) };
}

/// Prints as the standard macro does, but for what cannot be printed: see [`output::print`].
macro_rules! print {
    ($($words:tt)*) => { $crate::cli::output::print(format_args!($($words)*)) };
}

mod ask;
mod bench;
mod chat;
mod customer;
mod doctor;
mod eval;
mod flows;
mod heads;
mod kb;
mod key;
mod models;
mod output;
mod parse_document;
mod replay;
mod retention;
mod serve;
mod train;
mod user;
mod vault;

use crate::config::{Config, Overrides};
use crate::storage::Store;
use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// A company's AI customer service, complete, in one program on its own machine.
#[derive(Debug, Parser)]
#[command(name = "kefu", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb takes.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Settings file (TOML); what it does not name keeps its default
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the database and the indexes
    #[arg(long, global = true, value_name = "DIR", default_value = "data", env = "KEFU_DATA")]
    data: PathBuf,
    /// Directory of the models
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "models",
        env = "KEFU_MODELS"
    )]
    models: PathBuf,
    /// Language model, a name of the manifest
    #[arg(long, global = true, value_name = "NAME")]
    model: Option<String>,
    /// Print one JSON document on standard output and nothing else there
    #[arg(long, global = true)]
    json: bool,
}

impl Common {
    /// The settings, by defaults, file, environment and flags.
    fn settings(&self, listen: Option<String>) -> anyhow::Result<Config> {
        let overrides = Overrides {
            file: self.config.clone(),
            listen,
            language_model: self.model.clone(),
        };
        Ok(crate::config::load(&overrides)?)
    }

    /// The database of the settings.
    async fn store(&self) -> anyhow::Result<Arc<dyn Store>> {
        crate::app::open_store(&self.settings(None)?, &self.data).await
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the server
    Serve(serve::Serve),
    /// Ask one question of the knowledge base
    Ask(ask::Ask),
    /// Talk in the terminal
    Chat(chat::Chat),
    /// List, fetch, check and exchange models
    #[command(subcommand)]
    Models(models::Models),
    /// Import, draft, publish, roll back, list, show, remove, export and search knowledge
    #[command(subcommand)]
    Kb(kb::Kb),
    /// Check task flows, and try them without inner systems
    #[command(subcommand)]
    Flows(flows::Flows),
    /// Train heads that tell intents, emotions, satisfaction and risks
    #[command(subcommand)]
    Train(train::Train),
    /// Measure answer quality
    #[command(subcommand)]
    Eval(eval::Eval),
    /// Measure speed on this machine
    Bench(bench::Bench),
    /// Say what is wrong here and what to type
    Doctor(doctor::Doctor),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Key(key::Key),
    /// Add, list and shut out the people who sign in
    #[command(subcommand)]
    User(user::UserVerb),
    /// Change the key of the vault of personal data, or erase what it keeps
    #[command(subcommand)]
    Vault(vault::VaultVerb),
    /// Give a stored reply again, and say what is different
    Replay(replay::Replay),
    /// Look customers up, and forget them
    #[command(subcommand)]
    Customer(customer::CustomerVerb),
    /// Remove what is older than the settings allow
    #[command(subcommand)]
    Retention(retention::RetentionVerb),
    #[command(hide = true)]
    ParseDocument(parse_document::ParseDocument),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Verb::ParseDocument(verb) = &cli.verb {
        return verb.run();
    }
    output::start_logging(matches!(cli.verb, Verb::Serve(_)));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime");
    let result = runtime.and_then(|runtime| {
        let result = runtime.block_on(run(cli));
        // Blocking work that was cancelled must not hold up the exit.
        runtime.shutdown_timeout(std::time::Duration::from_secs(5));
        result
    });
    match result.and_then(|code| output::printed().map(|()| code)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kefu: {}", in_words(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error with its causes, but for those that an error names itself.
fn in_words(error: &anyhow::Error) -> String {
    error
        .chain()
        .map(ToString::to_string)
        .fold(String::new(), |words, cause| {
            if words.is_empty() {
                cause
            } else if words.contains(&cause) {
                words
            } else {
                format!("{words}: {cause}")
            }
        })
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let common = cli.common;
    // A write past a limit on file sizes is then an error that can be reported, and not the end of the process.
    let _too_large = signal(SignalKind::from_raw(libc::SIGXFSZ))?;
    match cli.verb {
        Verb::Serve(verb) => verb.run(&common).await.map(|()| ExitCode::SUCCESS),
        Verb::Ask(verb) => verb.run(&common).await.map(|()| ExitCode::SUCCESS),
        Verb::Chat(verb) => verb.run(&common).await.map(|()| ExitCode::SUCCESS),
        Verb::Models(verb) => verb.run(&common).await,
        Verb::Kb(verb) => verb.run(&common).await,
        Verb::Flows(verb) => verb.run(&common),
        Verb::Train(verb) => verb.run(&common).await.map(|()| ExitCode::SUCCESS),
        Verb::Eval(verb) => verb.run(&common).await.map(|()| ExitCode::SUCCESS),
        Verb::Bench(verb) => verb.run(&common).await.map(|()| ExitCode::SUCCESS),
        Verb::Doctor(verb) => verb.run(&common).await,
        Verb::Key(verb) => verb.run(&common).await.map(|()| ExitCode::SUCCESS),
        Verb::User(verb) => verb.run(&common).await.map(|()| ExitCode::SUCCESS),
        Verb::Vault(verb) => verb.run(&common).await.map(|()| ExitCode::SUCCESS),
        Verb::Replay(verb) => verb.run(&common).await,
        Verb::Customer(verb) => verb.run(&common).await.map(|()| ExitCode::SUCCESS),
        Verb::Retention(verb) => verb.run(&common).await,
        Verb::ParseDocument(verb) => Ok(verb.run()),
    }
}
