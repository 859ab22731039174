//! `kefu flows`: whether task flows are sound, and how they talk.

use super::{Common, output};
use crate::config::Config;
use crate::dialogue::flow::machine::{Effect, Input, State, step};
use crate::dialogue::flow::tools::zone;
use crate::dialogue::flow::{self, Flow, FlowsError, sample};
use crate::domain::Language;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Check task flows, and try them without inner systems
#[derive(Debug, Subcommand)]
pub enum Flows {
    /// Read every flow of a directory and tell all that is wrong, with file and line
    Check(Check),
    /// Talk to a flow in the terminal; tools answer with the samples of its file
    Try(Try),
}

#[derive(Debug, Args)]
pub struct Check {
    /// Directory of flows (*.toml)
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

#[derive(Debug, Args)]
pub struct Try {
    /// Directory of flows (*.toml)
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Name of the flow
    #[arg(value_name = "FLOW")]
    flow: String,
}

impl Flows {
    pub fn run(self, common: &Common) -> anyhow::Result<ExitCode> {
        match self {
            Self::Check(verb) => Ok(verb.run(common)),
            Self::Try(verb) => verb.run(common),
        }
    }
}

impl Check {
    fn run(&self, common: &Common) -> ExitCode {
        // Where settings are given, what flows call must be named in them.
        let known: Option<Config> = common.config.as_ref().and_then(|_| common.settings(None).ok());
        let (flows, mut faults) = match flow::load(&self.directory) {
            Ok(flows) => (flows, Vec::new()),
            Err(FlowsError::Faults(faults)) => (Vec::new(), faults.iter().map(ToString::to_string).collect()),
            Err(error) => (Vec::new(), vec![error.to_string()]),
        };
        if let Some(config) = known {
            let missing = flows.iter().flat_map(|flow| flow.tools().map(move |tool| (flow, tool)));
            faults.extend(
                missing
                    .filter(|(_, tool)| !config.tools.contains_key(*tool))
                    .map(|(flow, tool)| format!("flow {}: there is no [tools.{tool}] in the settings", flow.name)),
            );
        }
        if common.json {
            let names: Vec<&str> = flows.iter().map(|flow| flow.name.as_str()).collect();
            output::print_json(&json!({"flows": names, "faults": faults}));
        } else {
            for fault in &faults {
                println!("{fault}");
            }
            for flow in &flows {
                println!(
                    "{}: {} slots, {} actions, {} wordings; calls {}",
                    flow.name,
                    flow.slots.len(),
                    flow.actions.len(),
                    flow.triggers.len(),
                    flow.tools().collect::<Vec<_>>().join(", ")
                );
            }
        }
        if faults.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }
}

impl Try {
    fn run(&self, common: &Common) -> anyhow::Result<ExitCode> {
        let flows = flow::load(&self.directory)?;
        let Some(flow) = flows.iter().find(|flow| flow.name == self.flow) else {
            bail!("there is no flow {} in {}", self.flow, self.directory.display());
        };
        let zone = zone(common.settings(None)?.dialogue.utc_offset_minutes);
        let mut state: Option<State> = None;
        println!(
            "{} ({})",
            flow.title.zh,
            flow.triggers.first().map_or("", String::as_str)
        );
        for line in std::io::stdin().lock().lines() {
            let message = line.context("reading the terminal")?;
            let now = jiff::Timestamp::now().to_zoned(zone.clone()).datetime();
            let (begun, input) = match state.take() {
                Some(state) => (state, Input::User(message)),
                None => (
                    State::begin(flow, "try".to_owned(), Language::detect(&message), now, 0),
                    Input::Start(message),
                ),
            };
            let after = talk(flow, begun, now, input)?;
            if after.end().is_some() {
                break;
            }
            state = Some(after);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// One turn with sample results; prints what happens.
fn talk(flow: &Flow, mut state: State, now: jiff::civil::DateTime, mut input: Input) -> anyhow::Result<State> {
    loop {
        let (next, effects) = step(flow, state, now, &input);
        state = next;
        let mut called = None;
        for effect in effects {
            match effect {
                Effect::Say { text } | Effect::AskAgain { text } => println!("  {text}"),
                Effect::CallTool { tool, args, .. } => {
                    println!("  [{tool} {args}]");
                    called = Some(tool);
                }
                other => println!("  [{}]", serde_json::to_string(&other)?),
            }
        }
        std::io::stdout().flush()?;
        match called {
            Some(tool) => input = Input::Tool(Ok(sample(flow, &tool))),
            None => return Ok(state),
        }
    }
}
