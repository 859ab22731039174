//! Documents are read in a process of their own, so that a file that makes its parser crash, hang or fill the memory
//! costs nothing but that process. Here is the side that starts it, waits and never believes it; `inside` is the other.
//!
//! The process is this very program with a hidden verb. It gets the file's bytes on its standard input, and answers on
//! its standard output with a line of JSON (the header) and the result behind it.

mod inside;
mod sandbox;

use super::{DocumentFault, Member, ParsedDocument};
use crate::domain::DocumentFormat;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

pub use inside::run;

/// What a reading process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Seconds of processor time.
    pub cpu_seconds: u64,
    /// Time from start to end.
    pub wall: Duration,
    /// Bytes of address space.
    pub memory: u64,
    /// Bytes of output.
    pub output: u64,
    /// Processes at once; further ones wait.
    pub at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_seconds: 30,
            wall: Duration::from_mins(1),
            memory: 1 << 30,
            output: 20 << 20,
            at_once: 2,
        }
    }
}

/// What a reading process is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Read a document.
    Document(DocumentFormat),
    /// List the files of a zip archive.
    Members,
    /// Unpack one file of a zip archive.
    Member(usize),
    /// Show what the process cannot do.
    Probe(Probe),
}

/// What a reading process tries, so that a test sees it fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// To open and write files, to connect, to start processes and threads.
    Reach,
    /// To run for ever.
    Spin,
    /// To fill the memory.
    Fill,
    /// To recurse without end.
    Recurse,
}

/// One thing that was tried, and what the system said; `None` if it was let through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What.
    pub what: String,
    /// Why it failed.
    pub refused: Option<String>,
}

/// What stands before a result.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Header {
    /// Protections that this system does not have.
    missing: Vec<String>,
    fault: Option<DocumentFault>,
}

/// Starts reading processes.
#[derive(Clone, Debug)]
pub struct Readers {
    program: PathBuf,
    limits: Limits,
    permits: Arc<Semaphore>,
    warned: Arc<AtomicBool>,
}

impl Readers {
    /// Readers that are `program`, which is this program.
    #[must_use]
    pub fn new(program: PathBuf, limits: Limits) -> Self {
        Self {
            program,
            limits,
            permits: Arc::new(Semaphore::new(limits.at_once)),
            warned: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// Every [`DocumentFault`].
    pub async fn document(&self, bytes: &[u8], format: DocumentFormat) -> Result<ParsedDocument, DocumentFault> {
        let parsed: ParsedDocument = self.json(bytes, Task::Document(format)).await?;
        parsed
            .check()
            .map_err(|what| DocumentFault::Crashed { how: what.to_owned() })?;
        Ok(parsed)
    }

    /// The files of a zip archive that can be imported by themselves.
    ///
    /// # Errors
    /// [`DocumentFault`].
    pub async fn members(&self, bytes: &[u8]) -> Result<Vec<Member>, DocumentFault> {
        self.json(bytes, Task::Members).await
    }

    /// The bytes of one file of a zip archive, at most `limit`.
    ///
    /// # Errors
    /// [`DocumentFault`].
    pub async fn member(&self, bytes: &[u8], member: &Member, limit: u64) -> Result<Vec<u8>, DocumentFault> {
        self.run(bytes, Task::Member(member.index), limit).await
    }

    /// What a reading process can do; nothing, where the system is recent.
    ///
    /// # Errors
    /// [`DocumentFault`]: what became of the process.
    pub async fn probe(&self, probe: Probe) -> Result<Vec<Attempt>, DocumentFault> {
        self.json(&[], Task::Probe(probe)).await
    }

    async fn json<T: DeserializeOwned + Send + 'static>(&self, bytes: &[u8], task: Task) -> Result<T, DocumentFault> {
        let body = self.run(bytes, task, self.limits.output).await?;
        let garbled = || DocumentFault::Crashed {
            how: "its answer is garbled".to_owned(),
        };
        tokio::task::spawn_blocking(move || serde_json::from_slice(&body))
            .await
            .map_err(|_| garbled())?
            .map_err(|_| garbled())
    }

    async fn run(&self, bytes: &[u8], task: Task, output: u64) -> Result<Vec<u8>, DocumentFault> {
        let no_reader = |detail: String| DocumentFault::NoReader { detail };
        let _permit = self
            .permits
            .acquire()
            .await
            .map_err(|error| no_reader(error.to_string()))?;
        let mut child = self
            .command(task)
            .spawn()
            .map_err(|error| no_reader(format!("{}: {error}", self.program.display())))?;
        let worked = tokio::time::timeout(self.limits.wall, talk(&mut child, bytes, output)).await;
        let Ok(talked) = worked else {
            end(&mut child).await;
            return Err(DocumentFault::TimedOut {
                seconds: self.limits.wall.as_secs(),
            });
        };
        let (status, out) = match talked {
            Ok(done) => done,
            Err(fault) => {
                end(&mut child).await;
                return Err(fault);
            }
        };
        if status.signal() == Some(libc::SIGXCPU) || (status.signal() == Some(libc::SIGKILL) && out.is_empty()) {
            return Err(DocumentFault::TimedOut {
                seconds: self.limits.cpu_seconds,
            });
        }
        if !status.success() {
            return Err(DocumentFault::Crashed { how: words(status) });
        }
        self.body(out)
    }

    fn command(&self, task: Task) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("parse-document");
        match task {
            Task::Document(format) => command.args(["--format", format.name()]),
            Task::Members => command.arg("--members"),
            Task::Member(index) => command.args(["--member", &index.to_string()]),
            Task::Probe(probe) => command.args(["--probe", probe.name()]),
        };
        command
            .args(["--cpu-seconds", &self.limits.cpu_seconds.to_string()])
            .args(["--memory", &self.limits.memory.to_string()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that an interrupt on the terminal is not taken for a crash.
            .process_group(0)
            .kill_on_drop(true);
        // Where the program was linked with libraries that the system does not know.
        if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", path);
        }
        command
    }

    /// The result behind the header.
    fn body(&self, mut out: Vec<u8>) -> Result<Vec<u8>, DocumentFault> {
        let garbled = || DocumentFault::Crashed {
            how: "its answer is garbled".to_owned(),
        };
        let line = out.iter().position(|byte| *byte == b'\n').ok_or_else(garbled)?;
        let header: Header = serde_json::from_slice(&out[..line]).map_err(|_| garbled())?;
        if !header.missing.is_empty() && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                missing = header.missing.join("; "),
                "documents are read without some protections that this system does not have"
            );
        }
        if let Some(fault) = header.fault {
            return Err(fault);
        }
        out.drain(..=line);
        Ok(out)
    }
}

/// Feeds the process and takes what it says, both at once: either pipe may be full.
async fn talk(child: &mut Child, bytes: &[u8], limit: u64) -> Result<(ExitStatus, Vec<u8>), DocumentFault> {
    let no_reader = |error: std::io::Error| DocumentFault::NoReader {
        detail: error.to_string(),
    };
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A process that has seen enough closes its end.
            let _ = stdin.write_all(bytes).await;
        }
    };
    let listen = async {
        let mut out = Vec::new();
        if let Some(stdout) = stdout {
            stdout
                .take(limit.saturating_add(1))
                .read_to_end(&mut out)
                .await
                .map_err(no_reader)?;
        }
        if out.len() as u64 > limit {
            return Err(DocumentFault::too_large("bytes of output", limit));
        }
        Ok(out)
    };
    let complain = async {
        let mut words = Vec::new();
        if let Some(mut stderr) = stderr {
            let _ = (&mut stderr).take(4096).read_to_end(&mut words).await;
            let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
        }
        words
    };
    // Output that is too long ends it at once; else every pipe is served to its end.
    let both = async { tokio::join!(feed, complain).1 };
    let (out, words) = tokio::try_join!(listen, async { Ok(both.await) })?;
    if !words.is_empty() {
        tracing::debug!(words = %String::from_utf8_lossy(&words), "a process that reads documents complained");
    }
    let status = child.wait().await.map_err(no_reader)?;
    Ok((status, out))
}

/// Kills the process with all that it may have started, and takes its exit status from the system.
async fn end(child: &mut Child) {
    #[cfg(target_os = "linux")]
    if let Some(id) = child.id().and_then(|id| rustix::process::Pid::from_raw(id as i32)) {
        let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
    }
    let _ = child.kill().await;
}

fn words(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(libc::SIGSEGV), _) => "signal SIGSEGV".to_owned(),
        (Some(libc::SIGABRT), _) => "signal SIGABRT".to_owned(),
        (Some(libc::SIGKILL), _) => "signal SIGKILL".to_owned(),
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => "no exit code".to_owned(),
    }
}

impl Probe {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Reach, Self::Spin, Self::Fill, Self::Recurse];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reach => "reach",
            Self::Spin => "spin",
            Self::Fill => "fill",
            Self::Recurse => "recurse",
        }
    }
}
