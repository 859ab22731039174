//! Hashes of files, and the stamp that saves reading half a gigabyte at every start.

use crate::domain::hexadecimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// SHA-256 of a file in hexadecimal, and its bytes.
///
/// # Errors
/// What the system says.
pub fn sha256_of(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((hexadecimal(&hasher.finalize()), bytes));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// That a file was read and had this hash: true as long as its size and time of change stay.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    modified_nanoseconds: u128,
    sha256: String,
}

fn stamp_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".verified");
    path.with_file_name(name)
}

fn stamp_of(metadata: &Metadata, sha256: &str) -> Option<Stamp> {
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Stamp {
        size: metadata.len(),
        modified_nanoseconds: modified.as_nanos(),
        sha256: sha256.to_owned(),
    })
}

/// Whether the file was checked against `sha256` before and has not changed since.
pub(super) fn is_stamped(path: &Path, metadata: &Metadata, sha256: &str) -> bool {
    let stored = std::fs::read(stamp_path(path))
        .ok()
        .and_then(|text| serde_json::from_slice::<Stamp>(&text).ok());
    stored.is_some() && stored == stamp_of(metadata, sha256)
}

/// Notes that the file has this hash. Where it cannot be noted (a read-only directory), the next start reads it again.
pub(super) fn stamp(path: &Path, sha256: &str) {
    let stamp = std::fs::metadata(path)
        .ok()
        .and_then(|metadata| stamp_of(&metadata, sha256));
    if let Some(text) = stamp.and_then(|stamp| serde_json::to_vec(&stamp).ok())
        && let Err(error) = std::fs::write(stamp_path(path), text)
    {
        tracing::debug!(%error, "the check of a model could not be noted");
    }
}

/// Forgets a check.
pub(super) fn remove_stamp(path: &Path) {
    let _ = std::fs::remove_file(stamp_path(path));
}
