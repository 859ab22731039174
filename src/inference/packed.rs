//! The matrices of a file, packed for the kernels into memory of their own.

use super::gguf::{TensorType, TensorView};
use super::mapped::SharedBytes;
use super::requantise::{Precision, to_four_bits};
use crate::kernels::matmul::{self, ALIGNMENT, dense};
use memmap2::{Mmap, MmapMut};
use rayon::prelude::*;
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// How a matrix is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Quantised(matmul::Format),
    Dense(dense::Format),
}

impl Packing {
    /// How tensors of a type are packed.
    fn of(dtype: TensorType) -> Self {
        match dtype {
            TensorType::F32 => Self::Dense(dense::Format::F32),
            TensorType::F16 => Self::Dense(dense::Format::F16),
            TensorType::BF16 => Self::Dense(dense::Format::BF16),
            TensorType::Q4_0 => Self::Quantised(matmul::Format::Q4_0),
            TensorType::Q4_1 => Self::Quantised(matmul::Format::Q4_1),
            TensorType::Q5_0 => Self::Quantised(matmul::Format::Q5_0),
            TensorType::Q5_1 => Self::Quantised(matmul::Format::Q5_1),
            TensorType::Q8_0 => Self::Quantised(matmul::Format::Q8_0),
            TensorType::Q4_K => Self::Quantised(matmul::Format::Q4_K),
            TensorType::Q5_K => Self::Quantised(matmul::Format::Q5_K),
            TensorType::Q6_K => Self::Quantised(matmul::Format::Q6_K),
        }
    }

    fn packed_bytes(self, (rows, columns): (usize, usize)) -> usize {
        match self {
            Self::Quantised(format) => format.packed_bytes(rows, columns),
            Self::Dense(format) => format.packed_bytes(rows, columns),
        }
    }

    fn pack(self, shape: (usize, usize), file: &[u8], out: &mut [u8]) {
        match self {
            Self::Quantised(format) => format.pack(shape, file, out),
            Self::Dense(format) => format.pack(shape, file, out),
        }
    }
}

/// The packed matrices of a file, in one piece of memory: one piece is large enough for huge pages, without which a
/// matrix is read at little more than half the speed.
#[derive(Debug)]
pub(super) struct Arena {
    map: Arc<Mmap>,
    matrices: HashMap<String, (Packing, Range<usize>)>,
}

/// Rows that are rounded to fewer bits at a time: whole panels of the packed matrix, which few numbers come from.
const ROWS_AT_ONCE: usize = 64;

impl Arena {
    /// Packs those of the tensors that are matrices, on all threads of the pool.
    pub(super) fn build(views: &[TensorView<'_>], precision: Precision) -> io::Result<Self> {
        let packed = || {
            views.iter().filter_map(|view| {
                let shape = shape(view)?;
                Some((view, Packing::of(precision.kept(view.dtype, shape.1)), shape))
            })
        };
        let total: usize = packed().map(|(_, packing, shape)| packing.packed_bytes(shape)).sum();
        let mut map = MmapMut::map_anon(total.max(1))?;
        #[cfg(target_os = "linux")]
        if let Err(error) = map.advise(memmap2::Advice::HugePage) {
            tracing::debug!(%error, "no huge pages for the weights: decoding is slower");
        }
        let mut left = &mut map[..];
        let mut matrices = HashMap::new();
        let mut start = 0;
        for (view, packing, shape) in packed() {
            let len = packing.packed_bytes(shape);
            debug_assert!(len.is_multiple_of(ALIGNMENT));
            let (own, rest) = left.split_at_mut(len);
            if Packing::of(view.dtype) == packing {
                packing.pack(shape, view.bytes, own);
            } else {
                pack_rounded(packing, view, shape, own).map_err(io::Error::other)?;
            }
            matrices.insert(view.name.to_owned(), (packing, start..start + len));
            start += len;
            left = rest;
        }
        Ok(Self {
            map: Arc::new(map.make_read_only()?),
            matrices,
        })
    }

    /// A matrix of the arena, if it is there.
    pub(super) fn matrix(&self, view: &TensorView<'_>) -> Option<PackedMatrix> {
        let (packing, range) = self.matrices.get(view.name)?;
        Some(PackedMatrix {
            packing: *packing,
            shape: shape(view)?,
            bytes: SharedBytes::new(&self.map, range.clone()),
        })
    }
}

/// Packs a matrix of which each number is rounded to four bits before.
fn pack_rounded(
    packing: Packing,
    view: &TensorView<'_>,
    (rows, columns): (usize, usize),
    out: &mut [u8],
) -> candle_core::Result<()> {
    let file = view.bytes.par_chunks(view.bytes.len() / rows * ROWS_AT_ONCE);
    let own = out.par_chunks_mut(packing.packed_bytes((ROWS_AT_ONCE, columns)));
    file.zip(own).enumerate().try_for_each(|(index, (file, own))| {
        let rows = ROWS_AT_ONCE.min(rows - index * ROWS_AT_ONCE);
        let rounded = to_four_bits(view.dtype, file, rows * columns)?;
        packing.pack((rows, columns), &rounded, own);
        Ok(())
    })
}

/// `(rows, columns)` of a matrix.
fn shape(view: &TensorView<'_>) -> Option<(usize, usize)> {
    match *view.shape {
        [rows, columns] => Some((rows, columns)),
        _ => None,
    }
}

/// A packed matrix that keeps its memory alive.
#[derive(Clone, Debug)]
pub(crate) struct PackedMatrix {
    packing: Packing,
    shape: (usize, usize),
    bytes: SharedBytes,
}

/// For the kernels.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kernel<'a> {
    /// Its numbers have scales.
    Quantised(matmul::Matrix<'a>),
    /// Its numbers have none.
    Dense(dense::Matrix<'a>),
}

impl PackedMatrix {
    /// For the kernels.
    pub(crate) fn kernel(&self) -> Kernel<'_> {
        match self.packing {
            Packing::Quantised(format) => Kernel::Quantised(matmul::Matrix::new(format, self.shape, &self.bytes)),
            Packing::Dense(format) => Kernel::Dense(dense::Matrix::new(format, self.shape, &self.bytes)),
        }
    }
}
