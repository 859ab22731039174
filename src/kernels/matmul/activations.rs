//! Activations rounded to 8 bits.

use super::format::{BLOCK, Format};
use crate::kernels::level::{Level, Set};
use crate::kernels::pool::{self, Parts};
use std::cell::Cell;

/// Numbers less than this are taken as zero: their reciprocals are not finite.
pub(super) const LEAST: f32 = 1e-30;
/// Most rows for which a panel is not unpacked.
pub(super) const FEW: usize = 16;
/// Most rows of a tile where there are at most [`FEW`].
pub(super) const TALL: usize = 8;
/// Most rows of a tile where there are more.
pub(super) const TILE: usize = 6;
/// As many for kernels with tile registers.
pub(super) const SQUARE: usize = 16;

/// A matrix of activations `[rows, columns]`, each block of 32 numbers of a row as whole numbers up to 127 and a scale:
/// each number is off by at most half the scale, which is the largest of its block divided by 127.
///
/// Rows lie in tiles, which the kernels multiply at once: first the first blocks of all rows of a tile, then the second
/// ones and so on, so that a tile is read from its beginning to its end.
#[derive(Clone, Debug, Default)]
pub struct Quantised {
    rows: usize,
    columns: usize,
    /// Whether tiles are for tile registers where there are more than [`FEW`] rows.
    square: bool,
    /// 32 numbers a block.
    pub(super) values: Vec<i8>,
    /// One a block.
    pub(super) scales: Vec<f32>,
    /// The sum of the values of each 16, two a block.
    pub(super) sums: Vec<i32>,
    /// The scale times the sum of the values of each block.
    pub(super) totals: Vec<f32>,
}

thread_local! {
    /// Rows that are computed, until they are rounded.
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Rows next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// The first row.
    pub(super) first: usize,
    /// How many; at most [`TALL`].
    pub(super) height: usize,
}

/// How many tiles so many rows make.
fn tiles(rows: usize, square: bool) -> usize {
    rows.div_ceil(match (rows <= FEW, square) {
        (true, _) => TALL,
        (_, true) => SQUARE,
        (_, false) => TILE,
    })
}

/// Tile `index` of `tiles` that so many rows make, all of nearly the same height.
fn tile(rows: usize, index: usize, tiles: usize) -> Tile {
    let first = rows * index / tiles;
    Tile {
        first,
        height: rows * (index + 1) / tiles - first,
    }
}

impl Quantised {
    /// Rounds the rows of `x`, of `columns` numbers each. A block with a number that is not finite gets a scale that is
    /// not, so that whatever is computed from it is not finite either. Memory is reused.
    ///
    /// # Panics
    /// If the columns are not whole blocks of 32, or `x` is not whole rows.
    pub fn fill(&mut self, level: Level, x: &[f32], columns: usize) {
        assert!(
            columns > 0 && x.len().is_multiple_of(columns),
            "{} numbers are not whole rows of {columns}",
            x.len()
        );
        self.fill_tiles(level, (x.len() / columns, columns), &|tile, out| {
            let x = &x[tile.first * columns..(tile.first + tile.height) * columns];
            round(level, x, tile.height, out);
        });
    }

    /// As [`Quantised::fill`] for rows that `write` computes, on the threads of the pool: it is called once for each row
    /// with its number and where to write its numbers, which then never leave the cache.
    ///
    /// # Panics
    /// If the columns are not whole blocks of 32, or `write` panics.
    pub fn fill_with(
        &mut self,
        level: Level,
        (rows, columns): (usize, usize),
        write: &(dyn Fn(usize, &mut [f32]) + Sync),
    ) {
        self.fill_tiles(level, (rows, columns), &|tile, out| {
            let mut x = SCRATCH.take();
            x.clear();
            x.resize(tile.height * columns, 0.0);
            for (row, x) in x.chunks_exact_mut(columns).enumerate() {
                write(tile.first + row, x);
            }
            round(level, &x, tile.height, out);
            SCRATCH.set(x);
        });
    }

    /// Calls `work` with each tile and its place.
    fn fill_tiles(&mut self, level: Level, (rows, columns): (usize, usize), work: &(dyn Fn(Tile, Blocks<'_>) + Sync)) {
        assert!(
            columns > 0 && columns.is_multiple_of(BLOCK),
            "{columns} columns are not whole blocks"
        );
        (self.rows, self.columns, self.square) = (rows, columns, level.tiles());
        let in_row = columns / BLOCK;
        let blocks = rows * in_row;
        self.values.resize(blocks * BLOCK, 0);
        self.scales.resize(blocks, 0.0);
        self.sums.resize(2 * blocks, 0);
        self.totals.resize(blocks, 0.0);
        let (values, scales) = (Parts::new(&mut self.values), Parts::new(&mut self.scales));
        let (sums, totals) = (Parts::new(&mut self.sums), Parts::new(&mut self.totals));
        let tiles = tiles(rows, self.square);
        pool::run(tiles, &|index| {
            let tile = tile(rows, index, tiles);
            let (start, count) = (tile.first * in_row, tile.height * in_row);
            // SAFETY: the vectors are borrowed until `run` returns, and pieces write to tiles of their own.
            #[allow(unsafe_code)]
            let out = unsafe {
                Blocks {
                    values: values.part(start * BLOCK, count * BLOCK),
                    scales: scales.part(start, count),
                    sums: sums.part(2 * start, 2 * count),
                    totals: totals.part(start, count),
                }
            };
            work(tile, out);
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

    /// The tiles that the rows make.
    pub(super) fn tiles(&self) -> impl Iterator<Item = Tile> {
        let (rows, tiles) = (self.rows, tiles(self.rows, self.square));
        (0..tiles).map(move |index| tile(rows, index, tiles))
    }

    /// Whether the tiles are for tile registers: the rows are many and were rounded at a level that has these.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn square(&self) -> bool {
        self.square && self.rows > FEW
    }

    /// What the zero of a format adds to the sums of products (see `Task`).
    pub(super) fn corrections(&self, format: Format) -> Vec<i32> {
        let correction = |sum: i32| sum * -format.zero();
        match (format.zero(), format.scales_a_block()) {
            (0, _) => Vec::new(),
            (_, 1) => (self.sums.as_chunks::<2>().0.iter())
                .map(|[a, b]| correction(a + b))
                .collect(),
            _ => self.sums.iter().copied().map(correction).collect(),
        }
    }
}

/// Where the blocks of a tile are written.
struct Blocks<'a> {
    values: &'a mut [i8],
    scales: &'a mut [f32],
    sums: &'a mut [i32],
    totals: &'a mut [f32],
}

/// Blocks that are rounded at once.
pub(super) const BATCH: usize = 4;

/// Some rounded blocks, of which the last may be unused.
pub(super) struct Rounded {
    pub(super) values: [[i8; BLOCK]; BATCH],
    pub(super) scales: [f32; BATCH],
    /// Of the first 16 numbers of all blocks, then of the second.
    pub(super) sums: [[i32; BATCH]; 2],
    pub(super) totals: [f32; BATCH],
}

/// Rounds the rows of a tile of height `height`.
fn round(level: Level, x: &[f32], height: usize, mut out: Blocks<'_>) {
    let columns = x.len() / height;
    for (row, x) in x.chunks_exact(columns).enumerate() {
        let (batches, rest) = x.as_chunks::<{ BATCH * BLOCK }>();
        let mut first = 0;
        for batch in batches {
            out.put(&batch_of(level, batch), BATCH, (first, row, height));
            first += BATCH;
        }
        if !rest.is_empty() {
            let mut batch = [0.0; BATCH * BLOCK];
            batch[..rest.len()].copy_from_slice(rest);
            out.put(&batch_of(level, &batch), rest.len() / BLOCK, (first, row, height));
        }
    }
}

impl Blocks<'_> {
    /// Writes `count` blocks of row `row`, from its block `first` on, to a tile of height `height`.
    #[inline]
    fn put(&mut self, from: &Rounded, count: usize, (first, row, height): (usize, usize, usize)) {
        let values = self.values.as_chunks_mut::<BLOCK>().0;
        let sums = self.sums.as_chunks_mut::<2>().0;
        for index in 0..count {
            let at = (first + index) * height + row;
            values[at] = from.values[index];
            self.scales[at] = from.scales[index];
            sums[at] = [from.sums[0][index], from.sums[1][index]];
            self.totals[at] = from.totals[index];
        }
    }
}

#[inline]
fn batch_of(level: Level, x: &[f32; BATCH * BLOCK]) -> Rounded {
    match level.0 {
        Set::Scalar => scalar(x),
        // SAFETY: a `Level` with this instruction set exists only where it was detected.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Set::Avx2 => unsafe { super::avx2::round(x) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Set::Avx512 => unsafe { super::avx512::round(x) },
        // NEON is in what every function is compiled for.
        #[cfg(target_arch = "aarch64")]
        Set::Neon | Set::NeonDotprod | Set::NeonI8mm => scalar(x),
    }
}

/// The specification of rounding.
#[inline(always)]
#[allow(clippy::inline_always)] // So that AVX2 can have it compiled for itself.
pub(super) fn scalar(x: &[f32; BATCH * BLOCK]) -> Rounded {
    let mut out = Rounded {
        values: [[0; BLOCK]; BATCH],
        scales: [0.0; BATCH],
        sums: [[0; BATCH]; 2],
        totals: [0.0; BATCH],
    };
    for (index, x) in x.as_chunks::<BLOCK>().0.iter().enumerate() {
        // As bits, whatever is not a number is larger than all numbers.
        let largest = x.iter().map(|x| x.to_bits() & 0x7fff_ffff).max().unwrap_or(0);
        let largest = f32::from_bits(largest);
        let (scale, factor) = if largest < LEAST {
            (0.0, 0.0)
        } else {
            (largest / 127.0, 127.0 / largest)
        };
        let values = &mut out.values[index];
        for (value, x) in values.iter_mut().zip(x) {
            *value = (x * factor).round_ties_even() as i8;
        }
        let sum = |part: &[i8]| part.iter().copied().map(i32::from).sum();
        let sums: [i32; 2] = [sum(&values[..16]), sum(&values[16..])];
        out.scales[index] = scale;
        out.totals[index] = scale * (sums[0] + sums[1]) as f32;
        (out.sums[0][index], out.sums[1][index]) = (sums[0], sums[1]);
    }
    out
}
