//! The embedding table.

use crate::inference::mapped::SharedBytes;
use candle_core::quantized::GgmlDType;
use candle_core::{CpuStorage, Result};
use std::borrow::Cow;

/// The table stays in the mapped file as it is stored; only the rows that are looked up become `f32`.
#[derive(Clone, Debug)]
pub(crate) struct Embedding {
    table: SharedBytes,
    dtype: GgmlDType,
    rows: usize,
    width: usize,
    scale: Option<f32>,
}

impl Embedding {
    /// A table `[rows, width]` of whole blocks; rows are multiplied by `scale`.
    pub(crate) fn new(table: SharedBytes, dtype: GgmlDType, (rows, width): (usize, usize), scale: Option<f32>) -> Self {
        Self {
            table,
            dtype,
            rows,
            width,
            scale,
        }
    }

    /// Rows in the table.
    pub(crate) fn vocabulary(&self) -> usize {
        self.rows
    }

    /// `[tokens, width]`. Every token must be below the vocabulary.
    pub(crate) fn forward(&self, tokens: &[u32]) -> Result<Vec<f32>> {
        let (dtype, rows, width) = (self.dtype, self.rows, self.width);
        let row_bytes = self.table.len() / rows;
        let mut out = Vec::with_capacity(tokens.len() * width);
        for &token in tokens {
            let token = token as usize;
            let Some(row) = self.table.get(token * row_bytes..(token + 1) * row_bytes) else {
                candle_core::bail!("token {token} in a vocabulary of {rows}")
            };
            match dtype.from_data(Cow::Borrowed(row)).dequantize(width)? {
                CpuStorage::F32(numbers) => out.extend_from_slice(&numbers),
                _ => candle_core::bail!("{dtype:?} does not dequantise to f32"),
            }
        }
        if let Some(scale) = self.scale {
            for number in &mut out {
                *number *= scale;
            }
        }
        Ok(out)
    }
}
