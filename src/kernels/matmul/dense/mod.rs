//! Products with matrices whose numbers have no scales: single precision, half precision and `bf16`. Activations stay as
//! they are.
//!
//! A matrix is packed once ([`Format::pack`]) without rounding. A number becomes `f32`, which is exact, and
//!
//! ```text
//! y = bias
//! for each column:  y = fma(weight, x, y)
//! ```
//!
//! on every level, for one row or many: a result is the same number whatever the rows beside it.
//!
//! Rows of the matrix (columns of the product) come in panels of [`LANES`], the last one filled up with zeroes. A panel
//! holds the first numbers of its rows, then the second ones and so on, and begins at a multiple of [`ALIGNMENT`].

mod scalar;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(test)]
mod tests;

use super::format::{ALIGNMENT, LANES};
use super::{PIECES_A_THREAD, bias_of, lanes_of};
use crate::kernels::level::{Level, Set};
use crate::kernels::pool::{self, Parts};

/// Panels that are multiplied at once.
const WIDE: usize = 4;
/// Most rows of activations that are multiplied at once.
const TILE: usize = 6;

/// How a number is written, from the lowest byte to the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Format {
    F32,
    F16,
    BF16,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::F32, Self::F16, Self::BF16];

    /// Bytes of a number.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    fn panel_bytes(self, columns: usize) -> usize {
        (columns * LANES * self.bytes()).next_multiple_of(ALIGNMENT)
    }

    /// Bytes that [`Format::pack`] writes for a matrix `[rows, columns]`.
    #[must_use]
    pub fn packed_bytes(self, rows: usize, columns: usize) -> usize {
        rows.div_ceil(LANES) * self.panel_bytes(columns)
    }

    /// Rewrites a matrix `[rows, columns]`, row after row as files have it, for the kernels, on the threads of the pool.
    ///
    /// # Panics
    /// If the lengths do not agree.
    pub fn pack(self, (rows, columns): (usize, usize), file: &[u8], out: &mut [u8]) {
        let (size, row_bytes) = (self.bytes(), columns * self.bytes());
        assert!(
            out.len() == self.packed_bytes(rows, columns) && file.len() == rows * row_bytes,
            "the lengths of file and packed matrix do not agree"
        );
        if columns == 0 {
            return;
        }
        pool::run_chunks(out, self.panel_bytes(columns), &|panel, out| {
            out.fill(0);
            let rows = file.chunks_exact(row_bytes).skip(panel * LANES).take(LANES);
            for (lane, row) in rows.enumerate() {
                for (column, number) in row.chunks_exact(size).enumerate() {
                    let at = (column * LANES + lane) * size;
                    out[at..at + size].copy_from_slice(number);
                }
            }
        });
    }
}

/// A packed matrix.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    format: Format,
    rows: usize,
    columns: usize,
    bytes: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// The matrix `[rows, columns]` that [`Format::pack`] wrote to `bytes`.
    ///
    /// # Panics
    /// If the length is another, or there are no columns.
    #[must_use]
    pub fn new(format: Format, (rows, columns): (usize, usize), bytes: &'a [u8]) -> Self {
        assert!(columns > 0, "a matrix without columns");
        assert_eq!(
            bytes.len(),
            format.packed_bytes(rows, columns),
            "bytes of a packed matrix"
        );
        Self {
            format,
            rows,
            columns,
            bytes,
        }
    }

    fn panels(self) -> usize {
        self.rows.div_ceil(LANES)
    }

    fn panel(self, index: usize) -> &'a [u8] {
        let bytes = self.format.panel_bytes(self.columns);
        &self.bytes[index * bytes..(index + 1) * bytes]
    }
}

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
    /// `[rows, columns]`.
    x: &'a [f32],
    rows: usize,
    out: Parts<f32>,
}

impl Task<'_> {
    /// Where panel `panel` begins in a row of the output, and how many numbers of it are there.
    fn lanes(&self, panel: usize) -> (usize, usize) {
        lanes_of(self.matrix.rows, panel)
    }

    /// The bias of a panel, filled up with zeroes.
    fn bias(&self, panel: usize) -> [f32; LANES] {
        bias_of(self.bias, self.lanes(panel))
    }

    /// Rows from `first` on.
    fn x(&self, first: usize, rows: usize) -> &[f32] {
        let columns = self.matrix.columns;
        &self.x[first * columns..(first + rows) * columns]
    }

    /// The first rows and the heights of all tiles, which are nearly the same.
    fn tiles(&self) -> impl Iterator<Item = (usize, usize)> {
        let (rows, tiles) = (self.rows, self.rows.div_ceil(TILE));
        let start = move |tile: usize| rows * tile / tiles;
        (0..tiles).map(move |tile| (start(tile), start(tile + 1) - start(tile)))
    }
}

/// Computes products with the same activations `x`, `[rows, columns]`, at once, on the threads of the pool.
///
/// # Panics
/// If the lengths do not agree.
pub fn multiply(level: Level, x: &[f32], columns: usize, products: &mut [Product<'_>]) {
    assert!(
        columns > 0 && x.len().is_multiple_of(columns),
        "{} numbers are not whole rows of {columns}",
        x.len()
    );
    let rows = x.len() / columns;
    for Product { matrix, bias, out } in products.iter() {
        assert_eq!(matrix.columns, columns, "columns of a matrix and of activations");
        assert_eq!(out.len(), rows * matrix.rows, "the output of a product");
        assert!(
            bias.is_none_or(|bias| bias.len() == matrix.rows),
            "a bias of another length"
        );
    }
    let tasks: Vec<_> = (products.iter_mut())
        .map(|product| Task {
            matrix: product.matrix,
            bias: product.bias,
            x,
            rows,
            out: Parts::new(product.out),
        })
        .collect();
    let total: usize = tasks.iter().map(|task| task.matrix.panels()).sum();
    let step = (total / (pool::threads() * PIECES_A_THREAD)).next_multiple_of(WIDE);
    let step = step.max(WIDE);
    let mut pieces = Vec::new();
    for task in &tasks {
        let panels = task.matrix.panels();
        pieces.extend(
            (0..panels)
                .step_by(step)
                .map(|first| (task, first, panels.min(first + step))),
        );
    }
    pool::run(pieces.len(), &|piece| {
        let (task, first, end) = pieces[piece];
        for panel in (first..end).step_by(WIDE) {
            compute(level, task, panel, WIDE.min(end - panel));
        }
    });
}

/// Computes the numbers of at most [`WIDE`] panels in all rows of the output.
fn compute(level: Level, task: &Task<'_>, panel: usize, panels: usize) {
    match level.0 {
        Set::Scalar => scalar::compute(task, panel, panels),
        // SAFETY: a `Level` with this instruction set exists only where it was detected.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Set::Avx2 => unsafe { avx2::compute(task, panel, panels) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Set::Avx512 => unsafe { avx512::compute(task, panel, panels) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        #[allow(unsafe_code)]
        Set::Neon | Set::NeonDotprod | Set::NeonI8mm => unsafe { neon::compute(task, panel, panels) },
    }
}
