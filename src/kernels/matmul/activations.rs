//! Activations rounded to 8 bits.

use super::format::{BLOCK, Format};
use crate::kernels::level::{Level, Set};
use crate::kernels::pool::{self, Parts};

/// Numbers less than this are taken as zero: their reciprocals are not finite.
const LEAST: f32 = 1e-30;
/// Rows a thread takes at a time.
const ROWS: usize = 8;

/// A matrix of activations `[rows, columns]`, each block of 32 numbers of a row as whole numbers up to 127 and a scale:
/// each number is off by at most half the scale, which is the largest of its block divided by 127.
#[derive(Clone, Debug, Default)]
pub struct Quantised {
    rows: usize,
    columns: usize,
    /// `[rows, columns]`.
    pub(super) values: Vec<i8>,
    /// `[rows, blocks]`.
    pub(super) scales: Vec<f32>,
    /// The sum of the values of each 16, `[rows, 2 * blocks]`.
    pub(super) sums: Vec<i32>,
    /// The scale times the sum of the values of each block, `[rows, blocks]`.
    pub(super) totals: Vec<f32>,
}

impl Quantised {
    /// Rounds the rows of `x`, of `columns` numbers each. A block with a number that is not finite gets a scale that is
    /// not, so that whatever is computed from it is not finite either. Memory is reused.
    ///
    /// # Panics
    /// If the columns are not whole blocks of 32, or `x` is not whole rows.
    pub fn fill(&mut self, level: Level, x: &[f32], columns: usize) {
        assert!(
            columns > 0 && columns.is_multiple_of(BLOCK),
            "{columns} columns are not whole blocks"
        );
        assert!(
            x.len().is_multiple_of(columns),
            "{} numbers are not whole rows of {columns}",
            x.len()
        );
        self.rows = x.len() / columns;
        self.columns = columns;
        let blocks = x.len() / BLOCK;
        self.values.resize(x.len(), 0);
        self.scales.resize(blocks, 0.0);
        self.sums.resize(2 * blocks, 0);
        self.totals.resize(blocks, 0.0);
        let (values, scales) = (Parts::new(&mut self.values), Parts::new(&mut self.scales));
        let (sums, totals) = (Parts::new(&mut self.sums), Parts::new(&mut self.totals));
        let batch = ROWS * columns;
        pool::run(self.rows.div_ceil(ROWS), &|piece| {
            let x = &x[piece * batch..x.len().min((piece + 1) * batch)];
            let (first, count) = (piece * batch / BLOCK, x.len() / BLOCK);
            // SAFETY: the vectors are borrowed until `run` returns, and pieces write to blocks of their own.
            #[allow(unsafe_code)]
            let out = unsafe {
                Blocks {
                    values: values.part(piece * batch, x.len()),
                    scales: scales.part(first, count),
                    sums: sums.part(2 * first, 2 * count),
                    totals: totals.part(first, count),
                }
            };
            round(level, x, out);
        });
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers in a row.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// What the zero of a format adds to the sums of products (see `Task`).
    pub(super) fn corrections(&self, format: Format) -> Vec<i32> {
        // Sums of what is not finite may be anything.
        let correction = |sum: i32| sum.wrapping_mul(-format.zero());
        match (format.zero(), format.scales_a_block()) {
            (0, _) => Vec::new(),
            (_, 1) => (self.sums.as_chunks::<2>().0.iter())
                .map(|[a, b]| correction(a.wrapping_add(*b)))
                .collect(),
            _ => self.sums.iter().copied().map(correction).collect(),
        }
    }
}

/// Where some blocks are written.
pub(super) struct Blocks<'a> {
    pub(super) values: &'a mut [i8],
    pub(super) scales: &'a mut [f32],
    pub(super) sums: &'a mut [i32],
    pub(super) totals: &'a mut [f32],
}

fn round(level: Level, x: &[f32], out: Blocks<'_>) {
    match level.0 {
        Set::Scalar => scalar(x, out),
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => scalar(x, out),
        // SAFETY: a `Level` with this instruction set exists only where it was detected.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Set::Avx512 => unsafe { super::avx512::round(x, out) },
    }
}

/// The scale of a block and what its numbers are multiplied by, from the bits of the largest size among them: as bits,
/// whatever is not a number is larger than all numbers.
#[inline]
pub(super) fn factors(largest: u32) -> (f32, f32) {
    let largest = f32::from_bits(largest);
    if largest < LEAST {
        (0.0, 0.0)
    } else {
        (largest / 127.0, 127.0 / largest)
    }
}

fn scalar(x: &[f32], out: Blocks<'_>) {
    let scales = out.scales.iter_mut().zip(out.totals);
    let sums = out.sums.as_chunks_mut::<2>().0;
    let values = out.values.as_chunks_mut::<BLOCK>().0;
    for (((x, values), sums), (scale, total)) in x.as_chunks::<BLOCK>().0.iter().zip(values).zip(sums).zip(scales) {
        let largest = x.iter().map(|x| x.to_bits() & 0x7fff_ffff).max().unwrap_or(0);
        let (own, factor) = factors(largest);
        *scale = own;
        for (value, x) in values.iter_mut().zip(x) {
            *value = (x * factor).round_ties_even() as i8;
        }
        let sum = |part: &[i8]| part.iter().copied().map(i32::from).sum();
        *sums = [sum(&values[..16]), sum(&values[16..])];
        *total = own * (sums[0] + sums[1]) as f32;
    }
}
