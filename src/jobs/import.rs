//! Uploads: files come in one by one, and are imported as drafts by a task of its own, one upload after another. What is known
//! of an import is in memory: after a restart its drafts are there, its report is not.

use super::publish::{PublishRequest, Published, Publisher};
use crate::domain::RevisionId;
use crate::retrieval::{FileOutcome, FileReport, ImportProgress, Ingester};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// Imports that may wait or run.
const MAX_UNFINISHED: usize = 8;

/// Imports whose report is kept.
const MAX_KEPT: usize = 100;

/// Files of one upload.
const MAX_FILES: usize = 1000;

/// An upload that is older is left over.
const MAX_AGE: Duration = Duration::from_hours(24);

/// Directories of a file's name.
const MAX_DEPTH: usize = 16;

/// Bytes of one part of a file's name.
const MAX_NAME_BYTES: usize = 200;

/// Why an upload is not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportsError {
    /// Too many imports wait.
    #[error("{MAX_UNFINISHED} imports are under way; wait for one to end")]
    Busy,
    /// The upload is too large.
    #[error("the upload has more than {limit} {what} (knowledge.max_upload_bytes); send it in parts")]
    TooLarge {
        /// The most.
        limit: u64,
        /// Bytes or files.
        what: &'static str,
    },
    /// A file's name leads nowhere.
    #[error("a file cannot be named {name:?}")]
    BadName {
        /// What was given.
        name: String,
    },
    /// There is no file in it.
    #[error("there is no file in the upload: send parts named \"file\", each with a file name")]
    Empty,
    /// The file cannot be kept.
    #[error("keeping the upload: {0}")]
    Io(#[from] std::io::Error),
}

/// Where an import stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportState {
    /// It waits for its turn, or runs.
    Running,
    /// All files were looked at.
    Done,
    /// It ended early; `error` says why.
    Failed,
    /// Somebody cancelled it. Drafts made before stay.
    Cancelled,
}

impl ImportState {
    /// The name as it is sent.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What is known of an import.
#[derive(Clone, Debug)]
pub struct ImportJob {
    /// Its identifier.
    pub id: Uuid,
    /// Who started it.
    pub author: String,
    /// Where it stands.
    pub state: ImportState,
    /// Files known of.
    pub files_total: usize,
    /// Of the present file's texts, those that have their vector.
    pub embedded: usize,
    /// The present file's texts.
    pub embed_total: usize,
    /// The files that are done.
    pub files: Vec<FileReport>,
    /// What was published, where that was asked for.
    pub published: Option<Published>,
    /// Why it failed.
    pub error: Option<String>,
}

impl ImportJob {
    fn drafts(&self) -> Vec<RevisionId> {
        self.files.iter().flat_map(|file| file.drafts.iter().copied()).collect()
    }
}

struct Job {
    cancel: CancellationToken,
    known: Mutex<ImportJob>,
}

impl Job {
    fn change<T>(&self, change: impl FnOnce(&mut ImportJob) -> T) -> T {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn is_running(&self) -> bool {
        self.change(|job| job.state == ImportState::Running)
    }
}

impl ImportProgress for Job {
    fn files(&self, total: usize) {
        self.change(|job| job.files_total = total);
    }

    fn embedded(&self, done: usize, total: usize) {
        self.change(|job| (job.embedded, job.embed_total) = (done, total));
    }

    fn file_done(&self, report: &FileReport) {
        self.change(|job| {
            job.files.push(report.clone());
            (job.embedded, job.embed_total) = (0, 0);
        });
    }
}

/// Takes uploads and imports them as drafts, one after another.
pub struct Imports {
    ingester: Ingester,
    publisher: Arc<Publisher>,
    directory: PathBuf,
    max_bytes: u64,
    tasks: TaskTracker,
    turn: Arc<Semaphore>,
    jobs: Mutex<VecDeque<Arc<Job>>>,
}

impl Imports {
    /// Imports by `ingester`; uploads are kept below `directory` while they are imported. What a process that was killed left there
    /// goes when it is a day old.
    #[must_use]
    pub fn new(ingester: Ingester, publisher: Arc<Publisher>, directory: PathBuf, tasks: TaskTracker) -> Self {
        sweep(&directory);
        Self {
            ingester,
            max_bytes: publisher.settings().max_upload_bytes,
            publisher,
            directory,
            tasks,
            turn: Arc::new(Semaphore::new(1)),
            jobs: Mutex::default(),
        }
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// `Busy`, `Io`.
    pub async fn receive(&self) -> Result<Upload, ImportsError> {
        self.make_room()?;
        let id = Uuid::now_v7();
        let directory = self.directory.join(id.simple().to_string());
        tokio::fs::create_dir_all(&directory).await?;
        Ok(Upload {
            id,
            directory,
            files: 0,
            bytes_left: self.max_bytes,
            limit: self.max_bytes,
        })
    }

    /// Imports an upload as drafts of `author`; publishes them then where `publish` says how.
    ///
    /// # Errors
    /// `Empty`, `Busy`.
    pub fn start(&self, upload: Upload, author: &str, publish: Option<PublishRequest>) -> Result<Uuid, ImportsError> {
        if upload.files == 0 {
            return Err(ImportsError::Empty);
        }
        let id = upload.id;
        let job = Arc::new(Job {
            cancel: CancellationToken::new(),
            known: Mutex::new(ImportJob {
                id,
                author: author.to_owned(),
                state: ImportState::Running,
                files_total: upload.files,
                embedded: 0,
                embed_total: 0,
                files: Vec::new(),
                published: None,
                error: None,
            }),
        });
        {
            let mut jobs = self.jobs();
            check_room(&mut jobs)?;
            jobs.push_back(Arc::clone(&job));
        }
        let ingester = self.ingester.clone().with_drafts(author);
        let (turn, publisher) = (Arc::clone(&self.turn), Arc::clone(&self.publisher));
        self.tasks.spawn(async move {
            let _turn = turn.acquire_owned().await;
            let result = run(&job, &ingester, &publisher, &upload, publish).await;
            job.change(|known| match result {
                Ok(state) => known.state = state,
                Err(error) => {
                    known.state = ImportState::Failed;
                    known.error = Some(format!("{error:#}"));
                }
            });
            drop(upload);
        });
        Ok(id)
    }

    /// What is known of an import; `None` for one that never was, or was long ago.
    #[must_use]
    pub fn job(&self, id: Uuid) -> Option<ImportJob> {
        self.jobs()
            .iter()
            .map(|job| job.change(|known| known.clone()))
            .find(|job| job.id == id)
    }

    /// Stops an import after what it is at; `false` if there is none of that id.
    pub fn cancel(&self, id: Uuid) -> bool {
        let jobs = self.jobs();
        let found = jobs.iter().find(|job| job.change(|known| known.id == id));
        if let Some(job) = found {
            job.cancel.cancel();
        }
        found.is_some()
    }

    /// Stops all imports, for the end of the program.
    pub fn stop(&self) {
        self.jobs().iter().for_each(|job| job.cancel.cancel());
    }

    fn jobs(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make_room(&self) -> Result<(), ImportsError> {
        check_room(&mut self.jobs())
    }
}

/// Deletes uploads that nobody imports any more.
fn sweep(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|data| data.modified()).ok();
        let is_old = age.is_some_and(|at| at.elapsed().is_ok_and(|age| age > MAX_AGE));
        if is_old && let Err(error) = std::fs::remove_dir_all(entry.path()) {
            tracing::warn!(%error, "an old upload cannot be deleted");
        }
    }
}

fn check_room(jobs: &mut VecDeque<Arc<Job>>) -> Result<(), ImportsError> {
    if jobs.iter().filter(|job| job.is_running()).count() >= MAX_UNFINISHED {
        return Err(ImportsError::Busy);
    }
    while jobs.len() >= MAX_KEPT {
        let Some(oldest) = jobs.iter().position(|job| !job.is_running()) else {
            break;
        };
        jobs.remove(oldest);
    }
    Ok(())
}

async fn run(
    job: &Job,
    ingester: &Ingester,
    publisher: &Publisher,
    upload: &Upload,
    publish: Option<PublishRequest>,
) -> anyhow::Result<ImportState> {
    let report = ingester.import(&upload.roots()?, job, &job.cancel).await?;
    if report.cancelled {
        return Ok(ImportState::Cancelled);
    }
    if let Some(request) = publish {
        let drafts = job.change(|known| known.drafts());
        if !drafts.is_empty() {
            let published = publisher.publish(&drafts, &request).await?;
            job.change(|known| known.published = Some(published));
        }
    }
    let all_failed = report
        .files
        .iter()
        .all(|file| matches!(file.outcome, FileOutcome::Failed { .. }));
    if all_failed && !report.files.is_empty() {
        anyhow::bail!("no file could be imported");
    }
    Ok(ImportState::Done)
}

/// Files on their way in. Dropped, they are deleted.
pub struct Upload {
    id: Uuid,
    directory: PathBuf,
    files: usize,
    bytes_left: u64,
    limit: u64,
}

impl Upload {
    /// Begins a file. Its document is called `name`, which may have directories; parts that lead elsewhere are left out.
    ///
    /// # Errors
    /// `BadName`, `TooLarge`, `Io` (a second file of the same name, for one).
    pub async fn file(&mut self, name: &str) -> Result<UploadedFile<'_>, ImportsError> {
        if self.files >= MAX_FILES {
            return Err(ImportsError::TooLarge {
                limit: MAX_FILES as u64,
                what: "files",
            });
        }
        let path = self.directory.join(relative(name)?);
        if let Some(parent) = path.parent() {
            tokio::fs::create_dir_all(parent).await?;
        }
        let file = tokio::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .await?;
        self.files += 1;
        Ok(UploadedFile { upload: self, file })
    }

    /// What is imported: the files and directories at its top.
    fn roots(&self) -> std::io::Result<Vec<PathBuf>> {
        let mut roots = std::fs::read_dir(&self.directory)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()?;
        roots.sort();
        Ok(roots)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::warn!(%error, "an upload cannot be deleted");
        }
    }
}

/// One file on its way in.
pub struct UploadedFile<'a> {
    upload: &'a mut Upload,
    file: File,
}

impl UploadedFile<'_> {
    /// The next bytes of it.
    ///
    /// # Errors
    /// `TooLarge`, `Io`.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ImportsError> {
        let upload = &mut *self.upload;
        upload.bytes_left = upload
            .bytes_left
            .checked_sub(bytes.len() as u64)
            .ok_or(ImportsError::TooLarge {
                limit: upload.limit,
                what: "bytes",
            })?;
        Ok(self.file.write_all(bytes).await?)
    }

    /// All of it is there.
    ///
    /// # Errors
    /// `Io`.
    pub async fn end(mut self) -> Result<(), ImportsError> {
        Ok(self.file.flush().await?)
    }
}

/// The path below the upload's directory that `name` stands for.
fn relative(name: &str) -> Result<PathBuf, ImportsError> {
    let bad = || ImportsError::BadName {
        name: name.chars().take(MAX_NAME_BYTES).collect(),
    };
    let mut path = PathBuf::new();
    let mut depth = 0;
    for part in name.split(['/', '\\']) {
        // Hidden files are passed over by an import.
        let part = part.trim().trim_start_matches('.');
        if part.is_empty() {
            continue;
        }
        depth += 1;
        if part.len() > MAX_NAME_BYTES || depth > MAX_DEPTH || part.chars().any(char::is_control) {
            return Err(bad());
        }
        path.push(part);
    }
    if path == Path::new("") { Err(bad()) } else { Ok(path) }
}

#[cfg(test)]
mod tests {
    use super::relative;
    use std::path::Path;

    #[test]
    fn a_name_never_leads_out() {
        for (name, path) in [
            ("fees.md", "fees.md"),
            ("kb/docs/fees.md", "kb/docs/fees.md"),
            ("../../etc/passwd", "etc/passwd"),
            ("C:\\docs\\.hidden.md", "C:/docs/hidden.md"),
            ("/a//./b.md", "a/b.md"),
        ] {
            assert_eq!(relative(name).unwrap(), Path::new(path), "{name}");
        }
        for name in ["", "..", "/", "a\0b", &"x".repeat(300), &"a/".repeat(20)] {
            assert!(relative(name).is_err(), "{name:?}");
        }
    }
}
