//! Products of activations with quantised weights.

use super::container::BLOCK;
use super::weights::{Blocks, Fault, Weights};
use crate::kernels::level::Level;
use crate::kernels::matmul::{Format, Matrix, Product, Quantised, multiply};
use memmap2::{Mmap, MmapMut};

/// `out = in · W + b`, weights in 4 or 8 bits.
pub(super) struct Linear {
    format: Format,
    inner: usize,
    /// Packed for the kernels, in memory of its own, which begins where a page does.
    packed: Mmap,
    bias: Vec<f32>,
}

impl Linear {
    /// Products with the same left side side by side. Each part: name, columns.
    pub(super) fn read(file: &impl Weights, parts: &[(String, usize)], inner: usize) -> Result<Self, Fault> {
        let mut bias = Vec::new();
        let mut blocks = Vec::new();
        let mut format = None;
        for (name, columns) in parts {
            bias.extend(file.numbers(&format!("{name}.b"), *columns)?);
            // In the file a column of W is a row of `inner` weights, as the kernels have it.
            let here = match file.blocks(&format!("{name}.w"), columns * inner)? {
                Blocks::Q4(bytes) => {
                    blocks.extend_from_slice(bytes.as_flattened());
                    Format::Q4_0
                }
                Blocks::Q8(bytes) => {
                    blocks.extend_from_slice(bytes.as_flattened());
                    Format::Q8_0
                }
            };
            if format.is_some_and(|format| format != here) {
                return Err(format!("{name} and its neighbours are of different types"));
            }
            format = Some(here);
        }
        let format = format.ok_or("a product of no parts")?;
        if !inner.is_multiple_of(BLOCK) {
            return Err(format!("{inner} rows are not whole blocks of {BLOCK}"));
        }
        let shape = (bias.len(), inner);
        let mut packed = MmapMut::map_anon(format.packed_bytes(bias.len(), inner))
            .map_err(|error| format!("no memory for {}: {error}", parts[0].0))?;
        format.pack(shape, &blocks, &mut packed);
        let packed = packed.make_read_only().map_err(|error| error.to_string())?;
        Ok(Self {
            format,
            inner,
            packed,
            bias,
        })
    }

    pub(super) fn columns(&self) -> usize {
        self.bias.len()
    }

    /// `out` is `[rows, columns]`; whatever it held.
    pub(super) fn apply(&self, level: Level, input: &Quantised, out: &mut [f32]) {
        let product = Product {
            matrix: Matrix::new(self.format, (self.columns(), self.inner), &self.packed),
            bias: Some(&self.bias),
            out,
        };
        multiply(level, input, &mut [product]);
    }
}
