//! A strict reader of GGUF files (versions 2 and 3, little-endian). The file is mapped, everything it states is checked
//! against its length before it is believed, and no allocation is larger than the file's own header.
//!
//! Source: the GGUF specification, `docs/gguf.md` of ggml.

mod cursor;
mod error;
mod metadata;
mod tensor;
#[cfg(test)]
mod tests;

pub use error::{Fault, GgufError};
pub use metadata::Metadata;
pub use tensor::{TensorType, TensorView};

use super::mapped::SharedBytes;
use cursor::Cursor;
use memmap2::{Mmap, MmapMut};
use metadata::Value;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tensor::TensorInfo;

/// Where the data of a file without `general.alignment` is aligned. Source: the specification.
const DEFAULT_ALIGNMENT: u64 = 32;

/// A GGUF file, open and checked.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    map: Arc<Mmap>,
    pairs: HashMap<String, Value>,
    tensors: HashMap<String, TensorInfo>,
}

impl Gguf {
    /// Maps the file and checks its header. The weights themselves are not read. Cost: milliseconds.
    ///
    /// # Errors
    /// [`GgufError::Io`] if it cannot be opened, [`GgufError::Invalid`] with the fault and its place otherwise.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GgufError> {
        let path = path.as_ref();
        Self::parse(path, map(path).map_err(|source| Self::io(path, source))?)
    }

    /// The same for a file that is in memory already (copied once); `path` names it in errors.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn from_bytes(path: impl AsRef<Path>, bytes: &[u8]) -> Result<Self, GgufError> {
        let path = path.as_ref();
        // A mapping is page-aligned, which is what makes the tensors in it aligned.
        let copy = || -> io::Result<Mmap> {
            let mut map = MmapMut::map_anon(bytes.len().max(1))?;
            map[..bytes.len()].copy_from_slice(bytes);
            map.make_read_only()
        };
        if bytes.is_empty() {
            return Err(Self::invalid(path, EMPTY));
        }
        Self::parse(path, copy().map_err(|source| Self::io(path, source))?)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file's length in bytes.
    pub fn file_len(&self) -> usize {
        self.map.len()
    }

    /// The metadata.
    pub fn metadata(&self) -> Metadata<'_> {
        Metadata {
            path: &self.path,
            bytes: &self.map,
            pairs: &self.pairs,
        }
    }

    /// A tensor by name.
    ///
    /// # Errors
    /// [`Fault::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, GgufError> {
        self.optional_tensor(name)
            .ok_or_else(|| self.error(Fault::MissingTensor { name: name.to_owned() }))
    }

    /// A tensor by name, if there.
    pub fn optional_tensor(&self, name: &str) -> Option<TensorView<'_>> {
        let (name, info) = self.tensors.get_key_value(name)?;
        Some(TensorView {
            name,
            dtype: info.dtype,
            shape: &info.shape,
            bytes: &self.map[info.range.clone()],
        })
    }

    /// The bytes of a tensor, which keep the file mapped for as long as they live.
    ///
    /// # Errors
    /// [`Fault::MissingTensor`].
    pub(crate) fn shared_bytes(&self, name: &str) -> Result<SharedBytes, GgufError> {
        let missing = || self.error(Fault::MissingTensor { name: name.to_owned() });
        let info = self.tensors.get(name).ok_or_else(missing)?;
        Ok(SharedBytes::new(&self.map, info.range.clone()))
    }

    /// The names of all tensors, in no order.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A fault of this file.
    pub(crate) fn error(&self, fault: Fault) -> GgufError {
        Self::invalid(&self.path, fault)
    }

    fn io(path: &Path, source: io::Error) -> GgufError {
        GgufError::Io {
            path: path.to_owned(),
            source,
        }
    }

    fn invalid(path: &Path, fault: Fault) -> GgufError {
        GgufError::Invalid {
            path: path.to_owned(),
            fault,
        }
    }

    fn parse(path: &Path, map: Mmap) -> Result<Self, GgufError> {
        let (pairs, tensors) = parse(path, &map)?;
        Ok(Self {
            path: path.to_owned(),
            map: Arc::new(map),
            pairs,
            tensors,
        })
    }
}

/// The fault of a file without a byte.
const EMPTY: Fault = Fault::Truncated {
    what: "the magic",
    offset: 0,
    need: 4,
    have: 0,
};

type Header = (HashMap<String, Value>, HashMap<String, TensorInfo>);

fn parse(path: &Path, bytes: &[u8]) -> Result<Header, GgufError> {
    let invalid = |fault| Gguf::invalid(path, fault);
    let mut cursor = Cursor::new(bytes);
    let found = cursor.array("the magic").map_err(invalid)?;
    if &found != b"GGUF" {
        return Err(invalid(Fault::Magic { found }));
    }
    match cursor.u32("the version").map_err(invalid)? {
        2 | 3 => {}
        version if matches!(version.swap_bytes(), 1..=3) => return Err(invalid(Fault::BigEndian)),
        version => return Err(invalid(Fault::Version { version })),
    }
    let tensor_count = tensor::read_count(&mut cursor).map_err(invalid)?;
    let pair_count = metadata::read_count(&mut cursor).map_err(invalid)?;
    let pairs = metadata::read_pairs(&mut cursor, pair_count).map_err(invalid)?;
    let metadata = Metadata {
        path,
        bytes,
        pairs: &pairs,
    };
    let alignment = match metadata.alignment()? {
        None => DEFAULT_ALIGNMENT,
        // Blocks of weights are read in place, and none needs more than 8; 64 KiB is the largest page in use.
        Some(value @ 8..=65536) if value.is_power_of_two() => value.into(),
        Some(value) => return Err(invalid(Fault::Alignment { value: value.into() })),
    };
    let file_len = bytes.len() as u64;
    let tensors = tensor::read_infos(&mut cursor, tensor_count, alignment, file_len).map_err(invalid)?;
    Ok((pairs, tensors))
}

fn map(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    // SAFETY: the mapping is private and read-only. Model files are written under another name and renamed when
    // complete, never changed in place; whoever cuts one short while it is served ends the process, as with any mapped
    // program file.
    #[allow(unsafe_code)]
    unsafe {
        Mmap::map(&file)
    }
}
