//! Products with the weight matrices.

use crate::inference::mapped::{self, SharedBytes};
use crate::inference::repack::{self, BLOCK, Q8_0_BYTES};
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor, QuantizedType};
use candle_core::{Device, Module, Result, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Rows of input from which a product by panels is faster than one dot product each: dequantising costs as much as the
/// dot products of 14 rows (measured on `SmolLM2` as `Q8_0`, one core with AVX-512).
const PANEL_ROWS: usize = 16;
/// Bytes of a dequantised panel, which should still be in the second-level cache when it is multiplied (a quarter and
/// four times as much were as fast).
const PANEL_BYTES: usize = 2 << 20;

/// `y = x W^T + b` with a weight matrix `[rows, columns]`.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

/// A weight matrix `[rows, columns]`.
#[derive(Debug)]
pub(crate) enum Weight {
    /// In `f32`.
    Dense(Tensor),
    /// In blocks.
    Blocks(BlockMatrix),
}

impl Linear {
    /// A product with `weight`, plus `bias` (`[rows]`) if any.
    pub(crate) fn new(weight: Weight, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// `[tokens, columns]` to `[tokens, rows]`, both contiguous `f32`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = match &self.weight {
            Weight::Dense(weight) => x.matmul(&weight.t()?)?,
            Weight::Blocks(matrix) => matrix.product(x)?,
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

/// A matrix of quantised or half-precision weights in mapped memory.
pub(crate) struct BlockMatrix {
    bytes: SharedBytes,
    dtype: GgmlDType,
    rows: usize,
    columns: usize,
    /// What each block of 32 adds to all its numbers, `[rows, columns / 32]` (see `repack`).
    offsets: Option<Tensor>,
    kernel: Kernel,
}

/// Who multiplies.
enum Kernel {
    /// The tensor library's tiles, for any number of rows.
    Tiles(QMatMul),
    /// Its dot products for few rows, and [`BlockMatrix::panels`] for many.
    Dots(Box<dyn QuantizedType>),
}

impl fmt::Debug for BlockMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockMatrix[{:?}; {}x{}]", self.dtype, self.rows, self.columns)
    }
}

impl BlockMatrix {
    /// A matrix `[rows, columns]` of whole blocks of `dtype`; the bytes stay where they are.
    pub(crate) fn new(
        bytes: SharedBytes,
        dtype: GgmlDType,
        (rows, columns): (usize, usize),
        offsets: Option<Tensor>,
    ) -> Result<Self> {
        let blocks = mapped::blocks(bytes.clone(), dtype)?;
        // Source: `select` in the library's `quantized/repack_x86.rs`. It has tiles for `Q8_0` too, but these round `x`
        // in blocks of 256 where the dot products do it in blocks of 32: that costs SmolLM2 one best token in ten.
        let tiles = matches!(dtype, GgmlDType::Q4K | GgmlDType::Q6K) && rows.is_multiple_of(16);
        let kernel = if tiles {
            let tensor = QTensor::new(QStorage::Cpu(blocks), (rows, columns))?;
            Kernel::Tiles(QMatMul::QTensor(Arc::new(tensor)))
        } else {
            Kernel::Dots(blocks)
        };
        Ok(Self {
            bytes,
            dtype,
            rows,
            columns,
            offsets,
            kernel,
        })
    }

    fn product(&self, x: &Tensor) -> Result<Tensor> {
        let (tokens, columns) = x.dims2()?;
        if columns != self.columns {
            candle_core::bail!("{columns} numbers for a matrix of {} columns", self.columns);
        }
        let y = match &self.kernel {
            Kernel::Tiles(tiles) => return tiles.forward(x),
            Kernel::Dots(_) if tokens >= PANEL_ROWS => return self.panels(x),
            Kernel::Dots(blocks) => {
                let mut y = vec![0f32; tokens * self.rows];
                let x = x.flatten_all()?.to_vec1::<f32>()?;
                blocks.matmul_t((tokens, columns, self.rows), &x, &mut y)?;
                Tensor::from_vec(y, (tokens, self.rows), &Device::Cpu)?
            }
        };
        match &self.offsets {
            None => Ok(y),
            Some(offsets) => y + block_sums(x)?.matmul(&offsets.t()?)?,
        }
    }

    /// The product by panels: some rows of the matrix are dequantised, multiplied in `f32` and forgotten. Dequantising
    /// is paid once for all rows of `x`, and the product runs at the speed of `f32` instead of that of short dot
    /// products; besides, `x` is not rounded to 8 bits.
    fn panels(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, columns) = (self.rows, self.columns);
        let row_bytes = self.bytes.len() / rows;
        let offsets = self
            .offsets
            .as_ref()
            .map(|offsets| offsets.flatten_all()?.to_vec1::<f32>());
        let offsets = offsets.transpose()?;
        let height = (PANEL_BYTES / (4 * columns)).next_multiple_of(16);
        let mut products = Vec::with_capacity(rows.div_ceil(height));
        for first in (0..rows).step_by(height) {
            let height = height.min(rows - first);
            let mut panel = vec![0f32; height * columns];
            let part = &self.bytes[first * row_bytes..(first + height) * row_bytes];
            let row_offsets = offsets.as_ref().map(|offsets| {
                let per_row = columns / BLOCK;
                &offsets[first * per_row..(first + height) * per_row]
            });
            dequantise(self.dtype, part, row_bytes, row_offsets, columns, &mut panel)?;
            let panel = Tensor::from_vec(panel, (height, columns), &Device::Cpu)?;
            products.push(x.matmul(&panel.t()?)?);
        }
        match products.len() {
            1 => Ok(products.remove(0)),
            _ => Tensor::cat(&products, 1),
        }
    }
}

/// The sums of each 32 numbers of a row: `[tokens, columns]` to `[tokens, columns / 32]`.
fn block_sums(x: &Tensor) -> Result<Tensor> {
    let (tokens, columns) = x.dims2()?;
    x.reshape((tokens, columns / BLOCK, BLOCK))?.sum(2)
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
