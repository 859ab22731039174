//! Products of panels with quantised weights.

use super::container::BLOCK;
use super::weights::{Blocks, Fault, Weights, block_scale};
use crate::kernels::panel::{BLOCK_BYTES as PANEL_BLOCK_BYTES, Kernels, Left, WIDTH};
use rayon::prelude::*;

/// Rows of weights unpacked at a time: with 32 columns 48 KB, the size of a first-level cache.
const UNPACKED_ROWS: usize = 384;

/// Weights by output panel, then by block of 32 rows.
enum Packed {
    /// See [`Kernels::unpack_q4`].
    Q4(Vec<u8>),
    /// See [`Kernels::unpack_q8`].
    Q8(Vec<i8>),
}

/// `out = in · W + b`, weights in 4 or 8 bits.
pub(super) struct Linear {
    inner: usize,
    packed: Packed,
    scales: Vec<f32>,
    bias: Vec<f32>,
}

/// What follows a product.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Activation {
    None,
    Gelu,
}

/// Whether one text's work is spread over the pool or stays on this thread.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Spread {
    Panels,
    Nothing,
}

impl Linear {
    /// Products with the same left side side by side. Each part: name, columns.
    pub(super) fn read(file: &impl Weights, parts: &[(String, usize)], inner: usize) -> Result<Self, Fault> {
        let (mut q4, mut q8) = (Vec::new(), Vec::new());
        let (mut scales, mut bias) = (Vec::new(), Vec::new());
        for (name, columns) in parts {
            bias.extend(file.numbers(&format!("{name}.b"), *columns)?);
            // In the file a column of W is a row of `inner` weights, so blocks of one column follow one another.
            let in_column = inner / BLOCK;
            match file.blocks(&format!("{name}.w"), columns * inner)? {
                Blocks::Q4(blocks) => columns_to_panels(blocks, in_column, &mut scales, |byte| q4.push(byte)),
                Blocks::Q8(blocks) => columns_to_panels(blocks, in_column, &mut scales, |byte| q8.push(byte as i8)),
            }
        }
        let packed = match (q4.is_empty(), q8.is_empty()) {
            (_, true) => Packed::Q4(q4),
            (true, false) => Packed::Q8(q8),
            (false, false) => return Err(format!("{} and its neighbours are of different types", parts[0].0)),
        };
        Ok(Self {
            inner,
            packed,
            scales,
            bias,
        })
    }

    pub(super) fn columns(&self) -> usize {
        self.bias.len()
    }

    /// `out` is `[rows, columns]` in panels.
    pub(super) fn apply(
        &self,
        kernels: Kernels,
        (input, rows): (&[f32], usize),
        out: &mut [f32],
        activation: Activation,
        spread: Spread,
    ) {
        let panel = |unpacked: &mut Vec<f32>, (index, out): (usize, &mut [f32])| {
            self.panel(kernels, (input, rows), index, out, unpacked);
            if activation == Activation::Gelu {
                kernels.gelu(out);
            }
        };
        let buffer = || vec![0.0; UNPACKED_ROWS * WIDTH];
        match spread {
            Spread::Panels => out
                .par_chunks_mut(rows * WIDTH)
                .enumerate()
                .for_each_init(buffer, panel),
            Spread::Nothing => {
                let mut unpacked = buffer();
                out.chunks_mut(rows * WIDTH)
                    .enumerate()
                    .for_each(|chunk| panel(&mut unpacked, chunk));
            }
        }
    }

    fn panel(
        &self,
        kernels: Kernels,
        (input, rows): (&[f32], usize),
        index: usize,
        out: &mut [f32],
        unpacked: &mut [f32],
    ) {
        let bias = &self.bias[index * WIDTH..(index + 1) * WIDTH];
        for row in out.chunks_exact_mut(WIDTH) {
            row.copy_from_slice(bias);
        }
        let blocks = self.inner / WIDTH;
        let scales = &self.scales[index * self.inner..(index + 1) * self.inner];
        let at_once = UNPACKED_ROWS / WIDTH;
        for first in (0..blocks).step_by(at_once) {
            let count = at_once.min(blocks - first);
            let weights = &mut unpacked[..count * WIDTH * WIDTH];
            let scales = &scales[first * WIDTH..(first + count) * WIDTH];
            let range =
                |block_len: usize| (index * blocks + first) * block_len..(index * blocks + first + count) * block_len;
            match &self.packed {
                Packed::Q4(packed) => kernels.unpack_q4(&packed[range(PANEL_BLOCK_BYTES)], scales, weights),
                Packed::Q8(packed) => kernels.unpack_q8(&packed[range(WIDTH * WIDTH)], scales, weights),
            }
            let left = Left {
                data: &input[first * rows * WIDTH..],
                rows,
                stride: rows * WIDTH,
            };
            kernels.add_product(left, count * WIDTH, weights, out);
        }
    }
}

/// Deals the blocks of one matrix out to panels: for each panel and each block of rows the scales of its columns, and
/// the blocks' bytes after the scale, columns side by side.
fn columns_to_panels<const N: usize>(
    blocks: &[[u8; N]],
    in_column: usize,
    scales: &mut Vec<f32>,
    mut push: impl FnMut(u8),
) {
    for panel in blocks.chunks_exact(in_column * WIDTH) {
        for block in 0..in_column {
            let column = |c: usize| &panel[c * in_column + block];
            scales.extend((0..WIDTH).map(|c| block_scale(column(c))));
            for j in 2..N {
                (0..WIDTH).for_each(|c| push(column(c)[j]));
            }
        }
    }
}
