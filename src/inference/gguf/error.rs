//! What can be wrong with a GGUF file, with the facts that find the fault in it.

use super::tensor::TensorType;
use crate::inference::InferenceError;
use std::path::PathBuf;

/// A GGUF file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file could not be opened or mapped.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file was read and is not a GGUF file this program can use.
    #[error("{path}: {fault}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        fault: Fault,
    },
}

impl From<GgufError> for InferenceError {
    fn from(error: GgufError) -> Self {
        match error {
            GgufError::Io { path, source } => Self::Io { path, source },
            GgufError::Invalid { path, fault } => Self::BadModel {
                path,
                detail: fault.to_string(),
            },
        }
    }
}

/// What is wrong. Every `offset` counts bytes from the start of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file does not begin with `GGUF`.
    #[error("not a GGUF file: it begins with {found:02x?} instead of \"GGUF\"")]
    Magic {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// A version of the format that is not read.
    #[error("GGUF version {version} is not supported (versions 2 and 3 are)")]
    Version {
        /// The version it states.
        version: u32,
    },
    /// A file for big-endian machines.
    #[error("the file is big-endian; convert the model again for little-endian machines")]
    BigEndian,
    /// The file ends inside something.
    #[error(
        "the file ends inside {what} at byte {offset}: {need} bytes are needed, {have} are left; download it again"
    )]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where it begins.
        offset: u64,
        /// Bytes it takes.
        need: u64,
        /// Bytes there are.
        have: u64,
    },
    /// A count that the file cannot hold or that is beyond reason.
    #[error("{what} at byte {offset} says {count}, at most {most} are possible")]
    Count {
        /// What is counted.
        what: &'static str,
        /// Where the count stands.
        offset: u64,
        /// The count.
        count: u64,
        /// The bound.
        most: u64,
    },
    /// Text that is not UTF-8.
    #[error("{what} at byte {offset} is not UTF-8")]
    Utf8 {
        /// Whose text.
        what: &'static str,
        /// Where the text begins.
        offset: u64,
    },
    /// A metadata value of unknown type.
    #[error("metadata {key:?} at byte {offset} has the unknown value type {tag}")]
    ValueType {
        /// The key.
        key: String,
        /// Where the type stands.
        offset: u64,
        /// The type.
        tag: u32,
    },
    /// A truth value other than 0 and 1.
    #[error("metadata {key:?}: the truth value at byte {offset} is {byte}, not 0 or 1")]
    Bool {
        /// The key.
        key: String,
        /// Where it stands.
        offset: u64,
        /// What stands there.
        byte: u8,
    },
    /// Arrays in arrays in arrays ...
    #[error("metadata {key:?} at byte {offset} nests arrays deeper than {most}")]
    Depth {
        /// The key.
        key: String,
        /// Where the array begins that is too deep.
        offset: u64,
        /// The limit.
        most: u32,
    },
    /// The same key twice.
    #[error("metadata {key:?} appears again at byte {offset}")]
    DuplicateKey {
        /// The key.
        key: String,
        /// Where it appears again.
        offset: u64,
    },
    /// The same tensor twice.
    #[error("tensor {name:?} appears again at byte {offset}")]
    DuplicateTensor {
        /// The name.
        name: String,
        /// Where it appears again.
        offset: u64,
    },
    /// An alignment that is no power of two, or not within 8 bytes and 64 KiB.
    #[error("general.alignment is {value}; a power of two from 8 to 65536 is needed")]
    Alignment {
        /// The alignment.
        value: u64,
    },
    /// Too few or too many dimensions.
    #[error("tensor {name:?} at byte {offset} has {count} dimensions, 1 to 4 are possible")]
    Dimensions {
        /// The tensor.
        name: String,
        /// Where the number stands.
        offset: u64,
        /// The number.
        count: u32,
    },
    /// A dimension of zero, or dimensions whose product no machine can hold.
    #[error("tensor {name:?} at byte {offset} has the impossible dimensions {dims:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Where the dimensions stand.
        offset: u64,
        /// The dimensions as the file has them (fastest first).
        dims: Vec<u64>,
    },
    /// A tensor type that is not read.
    #[error("tensor {name:?} at byte {offset} has type {kind}, which is not supported; use a Q4_K_M, Q8_0 or F16 file")]
    TensorType {
        /// The tensor.
        name: String,
        /// Where the type stands.
        offset: u64,
        /// The type's name or number.
        kind: String,
    },
    /// A row that is not a whole number of blocks.
    #[error("tensor {name:?} has rows of {row} numbers, {dtype} needs a multiple of {block}")]
    Row {
        /// The tensor.
        name: String,
        /// Numbers in a row.
        row: u64,
        /// Its type.
        dtype: TensorType,
        /// Numbers in a block of that type.
        block: u64,
    },
    /// Data that does not begin at a multiple of the alignment.
    #[error("tensor {name:?} begins {start} bytes into the data, which is no multiple of {alignment}")]
    Misaligned {
        /// The tensor.
        name: String,
        /// Where it begins, counted from the start of the data.
        start: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// Data beyond the end of the file.
    #[error(
        "tensor {name:?} takes {len} bytes from byte {offset}, but the file has {file_len} bytes; download it again"
    )]
    OutOfFile {
        /// The tensor.
        name: String,
        /// Where its data begins.
        offset: u64,
        /// Bytes it takes.
        len: u64,
        /// Bytes of the file.
        file_len: u64,
    },
    /// Two tensors share bytes.
    #[error("tensors {first:?} and {second:?} share bytes from byte {offset}")]
    Overlap {
        /// The tensor that begins first.
        first: String,
        /// The tensor that begins within it.
        second: String,
        /// Where the second begins.
        offset: u64,
    },
    /// A key that the model needs.
    #[error("metadata {key:?} is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A value of another type than expected.
    #[error("metadata {key:?} is {found}, {want} is needed")]
    KeyType {
        /// The key.
        key: String,
        /// The type it has.
        found: String,
        /// The type it should have.
        want: &'static str,
    },
    /// A value that makes no sense.
    #[error("metadata {key:?}: {detail}")]
    KeyValue {
        /// The key.
        key: String,
        /// Why not.
        detail: String,
    },
    /// A tensor that the model needs.
    #[error("tensor {name:?} is missing")]
    MissingTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor of another shape than the metadata asks for.
    #[error("tensor {name:?} has shape {found:?}, {want:?} is needed")]
    TensorShape {
        /// The tensor.
        name: String,
        /// Its shape, slowest dimension first.
        found: Vec<usize>,
        /// The shape it should have.
        want: Vec<usize>,
    },
    /// A tensor that nothing in the model uses, so that running without it would give wrong answers.
    #[error("tensor {name:?} is not known in a {architecture} model; answers without it would be wrong")]
    UnusedTensor {
        /// The tensor.
        name: String,
        /// The model's architecture.
        architecture: String,
    },
    /// An architecture that is not built in.
    #[error("architecture {name:?} is not supported (supported: {supported})")]
    Architecture {
        /// What the file says.
        name: String,
        /// What could be loaded.
        supported: String,
    },
}
