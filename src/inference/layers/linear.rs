//! Products with the weight matrices.

use crate::inference::repack::{self, BLOCK, Q8_0_BYTES};
use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{Module, Result, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;
use std::borrow::Cow;
use std::sync::Arc;

/// Rows of input from which a product by panels is faster than one dot product each (measured; see `Weight::panels`).
const PANEL_ROWS: usize = 24;
/// Bytes of a dequantised panel: it is written and read again before it leaves the second-level cache.
const PANEL_BYTES: usize = 2 << 20;

/// `y = x W^T + b` with a weight matrix `[rows, columns]`.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

/// A weight matrix `[rows, columns]`.
#[derive(Clone, Debug)]
pub(crate) enum Weight {
    /// In `f32`.
    Dense(Tensor),
    /// In blocks.
    Blocks {
        /// The blocks.
        blocks: Arc<QTensor>,
        /// What each block of 32 adds to all its numbers, `[rows, columns / 32]` in `f32` (see `repack`).
        offsets: Option<Tensor>,
    },
}

impl Linear {
    /// A product with `weight`, plus `bias` (`[rows]`) if any.
    pub(crate) fn new(weight: Weight, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// `[tokens, columns]` to `[tokens, rows]`, both contiguous `f32`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.weight.product(x)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

impl Weight {
    fn product(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(weight) => x.matmul(&weight.t()?),
            Self::Blocks { blocks, offsets } => {
                if x.dim(0)? >= PANEL_ROWS && !has_fast_product(blocks) {
                    return panels(x, blocks, offsets.as_ref());
                }
                let y = QMatMul::QTensor(Arc::clone(blocks)).forward(x)?;
                match offsets {
                    None => Ok(y),
                    Some(offsets) => y + block_sums(x)?.matmul(&offsets.t()?)?,
                }
            }
        }
    }
}

/// Whether the tensor library has a product for many rows at once in this format and shape, which beats panels.
/// Source: `select` in its `quantized/repack_x86.rs`.
fn has_fast_product(blocks: &QTensor) -> bool {
    let &[rows, columns] = blocks.shape().dims() else {
        return false;
    };
    matches!(blocks.dtype(), GgmlDType::Q4K | GgmlDType::Q6K)
        && rows.is_multiple_of(16)
        && columns.is_multiple_of(256)
}

/// The sums of each 32 numbers of a row: `[tokens, columns]` to `[tokens, columns / 32]`.
fn block_sums(x: &Tensor) -> Result<Tensor> {
    let (tokens, columns) = x.dims2()?;
    x.reshape((tokens, columns / BLOCK, BLOCK))?.sum(2)
}

/// The product by panels: some rows of the matrix are dequantised, multiplied in `f32` and forgotten. Dequantising is
/// paid once for all rows of `x`, and the product runs at the speed of `f32` instead of that of short dot products;
/// besides, `x` is not rounded to 8 bits.
fn panels(x: &Tensor, blocks: &QTensor, offsets: Option<&Tensor>) -> Result<Tensor> {
    let (rows, columns) = blocks.shape().dims2()?;
    let bytes = blocks.data()?;
    let row_bytes = bytes.len() / rows;
    let offsets = offsets
        .map(|offsets| offsets.flatten_all()?.to_vec1::<f32>())
        .transpose()?;
    let height = (PANEL_BYTES / (4 * columns)).next_multiple_of(16);
    let mut products = Vec::with_capacity(rows.div_ceil(height));
    for first in (0..rows).step_by(height) {
        let height = height.min(rows - first);
        let mut panel = vec![0f32; height * columns];
        let part = &bytes[first * row_bytes..(first + height) * row_bytes];
        let row_offsets = offsets.as_ref().map(|offsets| {
            let per_row = columns / BLOCK;
            &offsets[first * per_row..(first + height) * per_row]
        });
        dequantise(blocks.dtype(), part, row_bytes, row_offsets, columns, &mut panel)?;
        let panel = Tensor::from_vec(panel, (height, columns), x.device())?;
        products.push(x.matmul(&panel.t()?)?);
    }
    match products.len() {
        1 => Ok(products.remove(0)),
        _ => Tensor::cat(&products, 1),
    }
}

/// Writes whole rows as `f32`, a few rows a thread at a time.
fn dequantise(
    dtype: GgmlDType,
    bytes: &[u8],
    row_bytes: usize,
    offsets: Option<&[f32]>,
    columns: usize,
    out: &mut [f32],
) -> Result<()> {
    const ROWS: usize = 16;
    let batches = out
        .par_chunks_mut(ROWS * columns)
        .zip(bytes.par_chunks(ROWS * row_bytes));
    batches.enumerate().try_for_each(|(batch, (out, bytes))| {
        match dtype {
            GgmlDType::Q8_0 => {
                let first = batch * ROWS * columns / BLOCK;
                let offsets = offsets.map(|offsets| &offsets[first..first + bytes.len() / Q8_0_BYTES]);
                repack::dequantise_q8_0(bytes, offsets, out);
            }
            GgmlDType::F16 => {
                let numbers = bytes
                    .chunks_exact(2)
                    .map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32());
                out.iter_mut().zip(numbers).for_each(|(out, number)| *out = number);
            }
            GgmlDType::BF16 => {
                let numbers = bytes
                    .chunks_exact(2)
                    .map(|pair| bf16::from_le_bytes([pair[0], pair[1]]).to_f32());
                out.iter_mut().zip(numbers).for_each(|(out, number)| *out = number);
            }
            _ => {
                let storage = dtype.from_data(Cow::Borrowed(bytes)).dequantize(out.len())?;
                match storage {
                    candle_core::CpuStorage::F32(numbers) => out.copy_from_slice(&numbers),
                    _ => candle_core::bail!("{dtype:?} does not dequantise to f32"),
                }
            }
        }
        Ok(())
    })
}
