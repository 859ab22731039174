//! What a GGUF file says about its tensors.

use super::cursor::Cursor;
use super::error::Fault;
use candle_core::quantized::GgmlDType;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

/// Longest name of a tensor in bytes. Source: the specification, `gguf_tensor_info_t`.
const MAX_NAME: u64 = 64;
/// Name (length and one byte), number of dimensions, one dimension, type, offset.
const LEAST_INFO_BYTES: u64 = 8 + 1 + 4 + 8 + 4 + 8;
/// The largest published models have some ten thousand tensors.
const MAX_TENSORS: u64 = 1 << 16;

/// How the numbers of a tensor are stored. Source: `enum ggml_type` in ggml.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, missing_docs)]
pub enum TensorType {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4_K,
    Q5_K,
    Q6_K,
}

impl TensorType {
    fn from_tag(tag: u32) -> Result<Self, String> {
        let unsupported = match tag {
            0 => return Ok(Self::F32),
            1 => return Ok(Self::F16),
            2 => return Ok(Self::Q4_0),
            3 => return Ok(Self::Q4_1),
            6 => return Ok(Self::Q5_0),
            7 => return Ok(Self::Q5_1),
            8 => return Ok(Self::Q8_0),
            12 => return Ok(Self::Q4_K),
            13 => return Ok(Self::Q5_K),
            14 => return Ok(Self::Q6_K),
            // What activations are rounded to, never weights.
            15 => "Q8_K",
            30 => return Ok(Self::BF16),
            9 => "Q8_1",
            10 => "Q2_K",
            11 => "Q3_K",
            16 => "IQ2_XXS",
            17 => "IQ2_XS",
            18 => "IQ3_XXS",
            19 => "IQ1_S",
            20 => "IQ4_NL",
            21 => "IQ3_S",
            22 => "IQ2_S",
            23 => "IQ4_XS",
            24 => "I8",
            25 => "I16",
            26 => "I32",
            27 => "I64",
            28 => "F64",
            29 => "IQ1_M",
            34 => "TQ1_0",
            35 => "TQ2_0",
            39 => "MXFP4",
            _ => return Err(format!("number {tag}")),
        };
        Err(unsupported.to_owned())
    }

    /// The same type in the tensor library.
    pub fn ggml(self) -> GgmlDType {
        match self {
            Self::F32 => GgmlDType::F32,
            Self::F16 => GgmlDType::F16,
            Self::BF16 => GgmlDType::BF16,
            Self::Q4_0 => GgmlDType::Q4_0,
            Self::Q4_1 => GgmlDType::Q4_1,
            Self::Q5_0 => GgmlDType::Q5_0,
            Self::Q5_1 => GgmlDType::Q5_1,
            Self::Q8_0 => GgmlDType::Q8_0,
            Self::Q4_K => GgmlDType::Q4K,
            Self::Q5_K => GgmlDType::Q5K,
            Self::Q6_K => GgmlDType::Q6K,
        }
    }

    /// Numbers in one block.
    pub fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4_K | Self::Q5_K | Self::Q6_K => 256,
        }
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q4_K => 144,
            Self::Q5_K => 176,
            Self::Q6_K => 210,
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One tensor's entry in the header, checked against the file's length.
#[derive(Clone, Debug)]
pub(super) struct TensorInfo {
    pub(super) dtype: TensorType,
    /// Slowest dimension first: `[rows, columns]` of a matrix.
    pub(super) shape: Vec<usize>,
    /// Where the data is in the file.
    pub(super) range: Range<usize>,
}

/// A tensor of the file. Nothing is copied: `bytes` is the mapped file.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// The name in the file.
    pub name: &'a str,
    /// How the numbers are stored.
    pub dtype: TensorType,
    /// Slowest dimension first: `[rows, columns]` of a matrix (the file has it the other way round).
    pub shape: &'a [usize],
    /// Whole rows of whole blocks; begins at a multiple of 8 bytes.
    pub bytes: &'a [u8],
}

/// An entry as it stands in the header: where its data is depends on where the header ends.
struct Entry {
    name: String,
    dtype: TensorType,
    shape: Vec<usize>,
    bytes: u64,
    start: u64,
}

/// Reads how many tensors there are; the count stands before the metadata.
pub(super) fn read_count(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    cursor.count("the number of tensors", LEAST_INFO_BYTES, MAX_TENSORS)
}

/// Reads `count` entries and places them in the file.
pub(super) fn read_infos(
    cursor: &mut Cursor<'_>,
    count: u64,
    alignment: u64,
    file_len: u64,
) -> Result<HashMap<String, TensorInfo>, Fault> {
    let mut entries = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..count {
        let offset = cursor.offset();
        let entry = read_entry(cursor)?;
        if !seen.insert(entry.name.clone()) {
            let name = entry.name;
            return Err(Fault::DuplicateTensor { name, offset });
        }
        entries.push(entry);
    }
    // The data begins at the next multiple of the alignment; `alignment` is at most 64 KiB and the file fits in memory.
    let data = cursor.offset().div_ceil(alignment) * alignment;
    let mut infos = HashMap::new();
    let mut places = Vec::with_capacity(entries.len());
    for entry in entries {
        let range = place(&entry, data, alignment, file_len)?;
        places.push((range.clone(), entry.name.clone()));
        infos.insert(
            entry.name,
            TensorInfo {
                dtype: entry.dtype,
                shape: entry.shape,
                range,
            },
        );
    }
    places.sort_by_key(|(range, _)| range.start);
    for pair in places.windows(2) {
        if pair[0].0.end > pair[1].0.start {
            return Err(Fault::Overlap {
                first: pair[0].1.clone(),
                second: pair[1].1.clone(),
                offset: pair[1].0.start as u64,
            });
        }
    }
    Ok(infos)
}

fn read_entry(cursor: &mut Cursor<'_>) -> Result<Entry, Fault> {
    let name = cursor.text("a tensor's name", MAX_NAME)?.to_owned();
    let offset = cursor.offset();
    let count = cursor.u32("a tensor's number of dimensions")?;
    if !(1..=4).contains(&count) {
        return Err(Fault::Dimensions { name, offset, count });
    }
    let offset = cursor.offset();
    let mut dims = Vec::with_capacity(4);
    for _ in 0..count {
        dims.push(cursor.u64("a tensor's dimensions")?);
    }
    let elements = dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
    let shape: Result<Vec<usize>, _> = dims.iter().rev().map(|&dim| usize::try_from(dim)).collect();
    let (Some(elements @ 1..), Ok(shape)) = (elements, shape) else {
        return Err(Fault::Shape { name, offset, dims });
    };
    let tag_offset = cursor.offset();
    let tag = cursor.u32("a tensor's type")?;
    let dtype = match TensorType::from_tag(tag) {
        Ok(dtype) => dtype,
        Err(kind) => {
            return Err(Fault::TensorType {
                name,
                offset: tag_offset,
                kind,
            });
        }
    };
    let block = dtype.block_len() as u64;
    if !dims[0].is_multiple_of(block) {
        return Err(Fault::Row {
            name,
            row: dims[0],
            dtype,
            block,
        });
    }
    let Some(bytes) = (elements / block).checked_mul(dtype.block_bytes() as u64) else {
        return Err(Fault::Shape { name, offset, dims });
    };
    let start = cursor.u64("a tensor's offset")?;
    Ok(Entry {
        name,
        dtype,
        shape,
        bytes,
        start,
    })
}

fn place(entry: &Entry, data: u64, alignment: u64, file_len: u64) -> Result<Range<usize>, Fault> {
    if !entry.start.is_multiple_of(alignment) {
        return Err(Fault::Misaligned {
            name: entry.name.clone(),
            start: entry.start,
            alignment,
        });
    }
    let begin = data.checked_add(entry.start);
    let end = begin.and_then(|begin| begin.checked_add(entry.bytes));
    match (begin, end) {
        (Some(begin), Some(end)) if end <= file_len => Ok(begin as usize..end as usize),
        _ => Err(Fault::OutOfFile {
            name: entry.name.clone(),
            offset: data.saturating_add(entry.start),
            len: entry.bytes,
            file_len,
        }),
    }
}
