//! `kefu parse-document`: the process that reads one document, started by the program itself.

use crate::domain::DocumentFormat;
use crate::retrieval::parse::child::{self, Probe, Task};
use clap::{ArgGroup, Args};
use std::process::ExitCode;

/// Read a document from standard input (the program starts this itself)
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("task").required(true)))]
pub struct ParseDocument {
    /// Format of the document
    #[arg(long, value_parser = format, group = "task")]
    format: Option<DocumentFormat>,
    /// List the files of a zip archive
    #[arg(long, group = "task")]
    members: bool,
    /// Unpack a file of a zip archive
    #[arg(long, group = "task")]
    member: Option<usize>,
    /// Try what the process must not be able to do
    #[arg(long, value_parser = probe, group = "task")]
    probe: Option<Probe>,
    /// Processor time
    #[arg(long, default_value_t = 30)]
    cpu_seconds: u64,
    /// Bytes of memory
    #[arg(long, default_value_t = 1 << 30)]
    memory: u64,
}

fn format(name: &str) -> Result<DocumentFormat, String> {
    DocumentFormat::from_name(name).ok_or_else(|| DocumentFormat::ALL.map(DocumentFormat::name).join(", "))
}

fn probe(name: &str) -> Result<Probe, String> {
    Probe::ALL
        .into_iter()
        .find(|probe| probe.name() == name)
        .ok_or_else(|| Probe::ALL.map(Probe::name).join(", "))
}

impl ParseDocument {
    /// Runs before there is any thread: what is confined is this process for good.
    pub fn run(&self) -> ExitCode {
        let task = match (self.format, self.member, self.probe) {
            (Some(format), ..) => Task::Document(format),
            (_, Some(member), _) => Task::Member(member),
            (.., Some(probe)) => Task::Probe(probe),
            _ => Task::Members,
        };
        child::run(task, self.cpu_seconds, self.memory)
    }
}
