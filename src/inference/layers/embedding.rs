//! The embedding table.

use crate::inference::gguf::MappedTensor;
use candle_core::{CpuStorage, Device, Result, Tensor};
use std::borrow::Cow;

/// The table stays in the mapped file as it is stored; only the rows that are looked up become `f32`.
#[derive(Clone, Debug)]
pub(crate) struct Embedding {
    table: MappedTensor,
    scale: Option<f64>,
}

impl Embedding {
    /// A table `[vocabulary, width]`; rows are multiplied by `scale`.
    pub(crate) fn new(table: MappedTensor, scale: Option<f64>) -> Self {
        Self { table, scale }
    }

    /// Rows in the table.
    pub(crate) fn vocabulary(&self) -> usize {
        self.table.shape()[0]
    }

    /// `[tokens, width]`. Every token must be below the vocabulary.
    pub(crate) fn forward(&self, tokens: &[u32]) -> Result<Tensor> {
        let &[rows, width] = self.table.shape() else {
            candle_core::bail!("an embedding table has two dimensions")
        };
        let bytes = self.table.bytes();
        let row_bytes = bytes.len() / rows;
        let dtype = self.table.dtype().ggml();
        let mut out = Vec::with_capacity(tokens.len() * width);
        for &token in tokens {
            let token = token as usize;
            let Some(row) = bytes.get(token * row_bytes..(token + 1) * row_bytes) else {
                candle_core::bail!("token {token} in a vocabulary of {rows}")
            };
            match dtype.from_data(Cow::Borrowed(row)).dequantize(width)? {
                CpuStorage::F32(numbers) => out.extend_from_slice(&numbers),
                _ => candle_core::bail!("{dtype:?} does not dequantise to f32"),
            }
        }
        let x = Tensor::from_vec(out, (tokens.len(), width), &Device::Cpu)?;
        match self.scale {
            Some(scale) => x * scale,
            None => Ok(x),
        }
    }
}
