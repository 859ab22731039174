//! The quantised matrices of a file, packed for the kernels into memory of their own.

use super::gguf::{TensorType, TensorView};
use super::mapped::SharedBytes;
use crate::kernels::matmul::{ALIGNMENT, Format, Matrix};
use memmap2::{Mmap, MmapMut};
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// The format of a tensor that the kernels multiply packed.
pub(super) fn format(dtype: TensorType) -> Option<Format> {
    match dtype {
        TensorType::Q4_0 => Some(Format::Q4_0),
        TensorType::Q4_1 => Some(Format::Q4_1),
        TensorType::Q5_0 => Some(Format::Q5_0),
        TensorType::Q5_1 => Some(Format::Q5_1),
        TensorType::Q8_0 => Some(Format::Q8_0),
        TensorType::Q4_K => Some(Format::Q4_K),
        TensorType::Q5_K => Some(Format::Q5_K),
        TensorType::Q6_K => Some(Format::Q6_K),
        TensorType::F32 | TensorType::F16 | TensorType::BF16 | TensorType::Q8_K => None,
    }
}

/// The packed matrices of a file, in one piece of memory: one piece is large enough for huge pages, without which a
/// matrix is read at little more than half the speed.
#[derive(Debug)]
pub(super) struct Arena {
    map: Arc<Mmap>,
    matrices: HashMap<String, Range<usize>>,
}

impl Arena {
    /// Packs those of the tensors that have a format for it, on all threads of the pool.
    pub(super) fn build(views: &[TensorView<'_>]) -> io::Result<Self> {
        let packed = || {
            views
                .iter()
                .filter_map(|view| Some((view, format(view.dtype)?, shape(view)?)))
        };
        let total: usize = packed()
            .map(|(_, format, (rows, columns))| format.packed_bytes(rows, columns))
            .sum();
        let mut map = MmapMut::map_anon(total.max(1))?;
        #[cfg(target_os = "linux")]
        if let Err(error) = map.advise(memmap2::Advice::HugePage) {
            tracing::debug!(%error, "no huge pages for the weights: decoding is slower");
        }
        let mut left = &mut map[..];
        let mut matrices = HashMap::new();
        let mut start = 0;
        for (view, format, shape) in packed() {
            let len = format.packed_bytes(shape.0, shape.1);
            debug_assert!(len.is_multiple_of(ALIGNMENT));
            let (own, rest) = left.split_at_mut(len);
            format.pack(shape, view.bytes, own);
            matrices.insert(view.name.to_owned(), start..start + len);
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
        Some(PackedMatrix {
            format: format(view.dtype)?,
            shape: shape(view)?,
            bytes: SharedBytes::new(&self.map, self.matrices.get(view.name)?.clone()),
        })
    }
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
    format: Format,
    shape: (usize, usize),
    bytes: SharedBytes,
}

impl PackedMatrix {
    /// For the kernels.
    pub(crate) fn matrix(&self) -> Matrix<'_> {
        Matrix::new(self.format, self.shape, &self.bytes)
    }
}
