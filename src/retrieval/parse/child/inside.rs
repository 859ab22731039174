//! The process that reads a document: confines itself, reads, answers, ends.

use super::{Attempt, Header, Probe, Task, sandbox};
use crate::retrieval::parse::{DocumentFault, archive, parse_any};
use serde::Serialize;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// Bytes that are read at most; the importer's own limit is lower.
const MAX_INPUT: u64 = 512 << 20;

/// Does the task with the bytes of the standard input, in a process that has been confined before. Called by the hidden
/// verb `parse-document` and by nothing else: what is confined stays so.
#[must_use]
pub fn run(task: Task, cpu_seconds: u64, memory: u64) -> ExitCode {
    let missing = sandbox::confine(cpu_seconds, memory);
    let result = catch_unwind(AssertUnwindSafe(|| work(task))).unwrap_or_else(|_| {
        Err(DocumentFault::Crashed {
            how: "a fault in the parser".to_owned(),
        })
    });
    let (fault, body) = match result {
        Ok(body) => (None, body),
        Err(fault) => (Some(fault), Vec::new()),
    };
    let written = serde_json::to_vec(&Header { missing, fault }).and_then(|mut header| {
        header.push(b'\n');
        let mut out = std::io::stdout().lock();
        out.write_all(&header)
            .and_then(|()| out.write_all(&body))
            .and_then(|()| out.flush())
            .map_err(serde_json::Error::io)
    });
    if written.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn work(task: Task) -> Result<Vec<u8>, DocumentFault> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .take(MAX_INPUT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| DocumentFault::broken(error.to_string()))?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(DocumentFault::too_large("bytes", MAX_INPUT));
    }
    match task {
        Task::Document(format) => json(&parse_any(&bytes, format)?),
        Task::Members => json(&archive::members(&bytes)?),
        Task::Member(index) => archive::member(&bytes, index),
        Task::Probe(probe) => json(&try_out(probe)),
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, DocumentFault> {
    serde_json::to_vec(value).map_err(|error| DocumentFault::broken(error.to_string()))
}

/// Tries what a parser that was taken over by its file would try.
fn try_out(probe: Probe) -> Vec<Attempt> {
    match probe {
        Probe::Reach => reach(),
        Probe::Spin => loop {
            std::hint::spin_loop();
        },
        Probe::Fill => {
            let mut all = Vec::new();
            loop {
                all.push(std::hint::black_box(vec![1_u8; 64 << 20]));
            }
        }
        Probe::Recurse => vec![Attempt {
            what: recurse(1).to_string(),
            refused: None,
        }],
    }
}

#[expect(unconditional_recursion, reason = "to see what becomes of a process without stack")]
fn recurse(depth: u64) -> u64 {
    let here = std::hint::black_box([depth; 64]);
    recurse(depth + 1) + here[0]
}

fn reach() -> Vec<Attempt> {
    let attempt = |what: &str, result: std::io::Result<()>| Attempt {
        what: what.to_owned(),
        refused: result.err().map(|error| error.to_string()),
    };
    let local = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    vec![
        attempt("read a file", std::fs::File::open("/proc/self/exe").map(drop)),
        attempt("list a directory", std::fs::read_dir("/").map(drop)),
        attempt("write a file", std::fs::File::create("/tmp/kefu-probe").map(drop)),
        attempt("connect", std::net::TcpStream::connect(local).map(drop)),
        attempt("send a datagram", std::net::UdpSocket::bind("127.0.0.1:0").map(drop)),
        attempt(
            "start a process",
            std::process::Command::new("/bin/true").status().map(drop),
        ),
        attempt("start a thread", std::thread::Builder::new().spawn(|| ()).map(drop)),
    ]
}
