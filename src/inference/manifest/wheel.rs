//! Members of wheels. A wheel is a zip archive (PEP 427); nothing of it is unpacked by name, one member is copied.

use super::ManifestError;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use zip::ZipArchive;

/// Why a member could not be copied.
#[derive(Debug)]
pub(super) enum CopyError {
    Archive(String),
    Read(io::Error),
    Write(io::Error),
}

impl CopyError {
    /// As an error about the wheel or about the file written.
    pub fn at(self, wheel: &Path, written: &Path) -> ManifestError {
        match self {
            Self::Archive(detail) => ManifestError::NotAModel {
                path: wheel.to_owned(),
                detail,
            },
            Self::Read(source) => ManifestError::Io {
                path: wheel.to_owned(),
                source,
            },
            Self::Write(source) => ManifestError::Io {
                path: written.to_owned(),
                source,
            },
        }
    }
}

/// Appends a member of the wheel to `to`, at most `limit` bytes: a member that is longer, whatever its header says, is an
/// error. Returns its bytes.
pub(super) fn copy_member(wheel: &Path, member: &str, limit: u64, to: &mut File) -> Result<u64, CopyError> {
    let file = File::open(wheel).map_err(CopyError::Read)?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| CopyError::Archive(error.to_string()))?;
    let mut from = archive
        .by_name(member)
        .map_err(|error| CopyError::Archive(format!("{member}: {error}")))?;
    let mut buffer = vec![0_u8; 1 << 20];
    let mut copied = 0;
    loop {
        let read = from.read(&mut buffer).map_err(CopyError::Read)?;
        if read == 0 {
            return Ok(copied);
        }
        copied += read as u64;
        if copied > limit {
            return Err(CopyError::Archive(format!("{member} is longer than the model")));
        }
        to.write_all(&buffer[..read]).map_err(CopyError::Write)?;
    }
}
