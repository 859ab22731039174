//! Products with quantised matrices, for one row of activations (decoding: as fast as the matrix is read) and for many
//! (a prompt: as fast as the multipliers run).
//!
//! A matrix is packed once ([`Format::pack`]) without rounding. Activations are rounded to 8 bits with one scale for each
//! 32 numbers of a row ([`Quantised`]), as ggml does for its formats of blocks of 32; that is the only loss. Products
//! within a block are sums of whole numbers; what follows is in `f32`, in the same order everywhere:
//!
//! ```text
//! y = bias
//! for each block:
//!     for each scale of the block:  y = fma(sum((q - zero) * x), scale * x_scale, y)
//!     if the format has minima:     y = fma(minimum, x_scale * sum(x), y)
//! ```
//!
//! So a result is the same number on every level, for one row or many, whatever the rows beside it.

mod activations;
pub mod dense;
mod format;
mod pack;
mod scalar;

#[cfg(target_arch = "x86_64")]
pub(super) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(test)]
mod tests;

pub use activations::Quantised;
pub use format::{ALIGNMENT, BLOCK, Format, LANES, Matrix};

use activations::{FEW, Tile};

use super::level::{Level, Set};
use super::pool::{self, Parts};

/// A product with the activations that are multiplied: `out` becomes `x W^T + bias`.
#[derive(Debug)]
pub struct Product<'a> {
    /// `[rows, columns]`.
    pub matrix: Matrix<'a>,
    /// One number a row of the matrix.
    pub bias: Option<&'a [f32]>,
    /// `[rows of x, rows of the matrix]`; whatever it held.
    pub out: &'a mut [f32],
}

/// What a kernel is given: a product whose lengths agree.
#[derive(Clone, Copy)]
struct Task<'a> {
    matrix: Matrix<'a>,
    bias: Option<&'a [f32]>,
    x: &'a Quantised,
    /// `-zero * sum(x)` for each scale of each block, in the order of `x`; empty if `zero` is 0.
    corrections: &'a [i32],
    out: Parts<f32>,
}

/// A tile of a task's activations: for each block one row after the other.
#[derive(Clone, Copy)]
struct Rows<'a> {
    values: &'a [i8],
    scales: &'a [f32],
    totals: &'a [f32],
    corrections: &'a [i32],
}

impl Task<'_> {
    fn rows(&self, tile: Tile) -> Rows<'_> {
        let blocks = self.matrix.blocks();
        let (start, end) = (tile.first * blocks, (tile.first + tile.height) * blocks);
        let scales = self.matrix.format.scales_a_block();
        Rows {
            values: &self.x.values[start * BLOCK..end * BLOCK],
            scales: &self.x.scales[start..end],
            totals: &self.x.totals[start..end],
            corrections: if self.corrections.is_empty() {
                &[]
            } else {
                &self.corrections[start * scales..end * scales]
            },
        }
    }

    /// Where panel `panel` begins in a row of the output, and how many numbers of it are there.
    fn lanes(&self, panel: usize) -> (usize, usize) {
        lanes_of(self.matrix.rows, panel)
    }

    /// The bias of a panel, filled up with zeroes.
    fn bias(&self, panel: usize) -> [f32; LANES] {
        bias_of(self.bias, self.lanes(panel))
    }
}

/// Where panel `panel` of a matrix with so many rows begins in a row of the output, and how many numbers of it are there.
fn lanes_of(rows: usize, panel: usize) -> (usize, usize) {
    let first = panel * LANES;
    (first, LANES.min(rows - first))
}

/// The bias of the panel with these lanes, filled up with zeroes.
fn bias_of(bias: Option<&[f32]>, (first, count): (usize, usize)) -> [f32; LANES] {
    let mut out = [0.0; LANES];
    if let Some(bias) = bias {
        out[..count].copy_from_slice(&bias[first..first + count]);
    }
    out
}

/// Pieces that work is cut into for each thread, so that a thread that is held up leaves work to the others.
const PIECES_A_THREAD: usize = 6;

/// Computes products with the same activations at once, on the threads of the pool.
///
/// # Panics
/// If the lengths do not agree.
pub fn multiply(level: Level, x: &Quantised, products: &mut [Product<'_>]) {
    for Product { matrix, bias, out } in products.iter() {
        assert_eq!(matrix.columns, x.columns(), "columns of a matrix and of activations");
        assert_eq!(out.len(), x.rows() * matrix.rows, "the output of a product");
        assert!(
            bias.is_none_or(|bias| bias.len() == matrix.rows),
            "a bias of another length"
        );
    }
    if x.rows() == 0 {
        return;
    }
    let corrections: Vec<_> = (products.iter())
        .map(|product| x.corrections(product.matrix.format))
        .collect();
    let tasks: Vec<_> = (products.iter_mut().zip(&corrections))
        .map(|(product, corrections)| Task {
            matrix: product.matrix,
            bias: product.bias,
            x,
            corrections,
            out: Parts::new(product.out),
        })
        .collect();
    let total: usize = tasks.iter().map(|task| task.matrix.panels()).sum();
    let step = (total / (pool::threads() * PIECES_A_THREAD)).max(1);
    // With many rows, panels are unpacked two by two, and there is enough to do in a few of them.
    let step = if x.rows() > FEW {
        step.next_multiple_of(2).min(8)
    } else {
        step
    };
    let mut pieces = Vec::new();
    for task in &tasks {
        let panels = task.matrix.panels();
        pieces.extend(
            (0..panels)
                .step_by(step)
                .map(|first| (task, first, step.min(panels - first))),
        );
    }
    pool::run(pieces.len(), &|piece| {
        let (task, first, panels) = pieces[piece];
        compute(level, task, first, panels);
    });
}

/// Computes the numbers of some panels in all rows of the output.
fn compute(level: Level, task: &Task<'_>, first: usize, panels: usize) {
    #[cfg(target_arch = "x86_64")]
    if task.x.square() && level.0 != Set::Scalar {
        // SAFETY: rows lie so only where they were rounded at a level with tile registers, which exists only where these
        // were detected.
        #[allow(unsafe_code)]
        return unsafe { amx::compute(task, first, panels) };
    }
    match level.0 {
        Set::Scalar => scalar::compute(task, first, panels),
        // SAFETY: a `Level` with this instruction set exists only where it was detected.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Set::Avx2 => unsafe { avx2::compute(task, first, panels) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Set::Avx512 => unsafe { avx512::compute(task, first, panels) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        #[allow(unsafe_code)]
        Set::Neon => unsafe { neon::base::compute(task, first, panels) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        #[allow(unsafe_code)]
        Set::NeonDotprod => unsafe { neon::dotprod::compute(task, first, panels) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        #[allow(unsafe_code)]
        Set::NeonI8mm => unsafe { neon::i8mm::compute(task, first, panels) },
    }
}
