//! AMX: many rows in tile registers. One instruction multiplies the blocks of up to 16 rows of activations with the
//! blocks of a panel: 16 x 16 sums of whole numbers. Everything else of the level is AVX-512's.
//!
//! The order of the `f32` operations (see `matmul`) leaves no choice but to take the sums of each block out of the tile
//! registers before the next is added. So a *unit* is one block of 16 rows and one panel (half a block where each 16
//! numbers have a scale): two loads of tiles, one product, one store to the first-level cache, from where AVX-512
//! converts, scales and adds, 16 rows in 16 registers. The products run [`LEAD`] units ahead of the additions, which
//! hides that a product takes some 50 cycles before its sums are there and a store some more before it can be read.
//!
//! What a unit of 32 columns costs on Sapphire Rapids, by counting: the multiplier 16 cycles (one a row of a tile), the
//! store 16, conversion, scale and addition 16 x 3 instructions on 2 ports 24 (32 with minima), loads (16 + 8 for tiles,
//! 16 sums, 16 scales) on 2 ports 28. AVX-512 needs 16 x (8 + 3) instructions on 2 ports: 88. Source of the figures:
//! Intel 64 and IA-32 Architectures Optimization Reference Manual, "Intel AMX".
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment)] // All loads and stores are of the kind that needs no alignment.
#![allow(clippy::many_single_char_names)] // `x`, `y`, `q` as in the formula.
#![allow(clippy::needless_range_loop)] // The loops run over registers; an iterator hides that from the reader.

mod check;
mod registers;
#[cfg(test)]
mod tests;

use super::Task;
use super::activations::{SQUARE, Tile};
use super::avx512::{expand, mask, scales};
use super::format::{BLOCK, HALF, HALF_MIN, LANES, SUPER_MIN, SUPER_SIXTEEN, Scales, by_format};
use std::arch::x86_64::{
    _MM_HINT_T1, _mm_prefetch, _mm512_cvtepi32_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_mask_storeu_ps, _mm512_mul_ps, _mm512_set1_epi8, _mm512_set1_ps, _mm512_storeu_ps, _mm512_storeu_si512,
    _mm512_sub_epi8,
};
use std::cell::RefCell;
use std::marker::PhantomData;

pub(in crate::kernels) use check::{pays, works};
use registers::{Registers, Shape, Tiles};

/// Panels that are unpacked at once: a tile of rows is read once for all of them, and four of 4864 columns stay within
/// a third of a second-level cache of 1 MB.
const WIDE: usize = 4;
/// How many units the products are ahead of the additions.
const LEAD: usize = 3;
/// Units whose sums are kept.
const SLOTS: usize = LEAD + 1;

/// One cache line, or one row of a tile.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u8; 64]);

/// Lines of the sums of a unit.
const SUMS: usize = SQUARE;

/// Panels as signed bytes and `f32`, one after the other, for as long as they are multiplied.
#[derive(Default)]
struct Unpacked {
    quants: Vec<Line>,
    scales: Vec<Line>,
    minima: Vec<Line>,
}

thread_local! {
    static UNPACKED: RefCell<(Unpacked, [Line; SLOTS * SUMS])> =
        const { RefCell::new((Unpacked { quants: Vec::new(), scales: Vec::new(), minima: Vec::new() }, [Line([0; 64]); SLOTS * SUMS])) };
}

/// Computes the numbers of some panels in all rows of the output.
///
/// # Safety
/// [`works`] has said so, and the rows lie in tiles for the registers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn compute(task: &Task<'_>, first: usize, panels: usize) {
    // SAFETY: the caller's.
    unsafe { compute_with::<Registers>(task, first, panels) };
}

/// # Safety
/// The thread may use `T`, and the rows lie in tiles for it.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn compute_with<T: Tiles>(task: &Task<'_>, first: usize, panels: usize) {
    UNPACKED.with_borrow_mut(|(unpacked, sums)| {
        for start in (first..first + panels).step_by(WIDE) {
            let width = WIDE.min(first + panels - start);
            // SAFETY: the caller's.
            unsafe { many_rows::<T>(task, (start, width), unpacked, sums) };
        }
    });
}

/// Tile registers of a shape, given back at the end, so that the system need not keep them for this thread.
struct Session<T: Tiles> {
    shape: Option<Shape>,
    tiles: PhantomData<T>,
}

impl<T: Tiles> Session<T> {
    /// # Safety
    /// The thread may use `T`.
    unsafe fn new() -> Self {
        Self {
            shape: None,
            tiles: PhantomData,
        }
    }

    fn take(&mut self, shape: Shape) {
        if self.shape != Some(shape) {
            // SAFETY: who made this answers for it.
            unsafe { T::configure(shape) };
            self.shape = Some(shape);
        }
    }
}

impl<T: Tiles> Drop for Session<T> {
    fn drop(&mut self) {
        // SAFETY: who made this answers for it.
        unsafe { T::release() };
    }
}

/// Unpacks panel `panel` as number `place`.
///
/// # Safety
/// `to` has room for so many panels of the task's matrix.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn unpack<const BITS: u8, const SCALES: u8>(task: &Task<'_>, panel: usize, place: usize, to: &mut Unpacked) {
    let blocks = task.matrix.blocks();
    let quant_bytes = BLOCK * LANES * usize::from(BITS) / 8;
    let parts = if SCALES == SUPER_SIXTEEN { 2 } else { 1 };
    // What is taken from a quant: all numbers are less than 128 then.
    let zero = _mm512_set1_epi8(task.matrix.format.zero() as i8);
    // SAFETY: the panel holds the quants of all blocks and their scales behind them; lines are 64 bytes, and each panel
    // has 8 a block for quants, one for each scale and one for minima.
    unsafe {
        let quants = task.matrix.panel(panel).as_ptr();
        let scale_bytes = quants.add(blocks * quant_bytes);
        let mut quant_lines = to.quants.as_mut_ptr().add(8 * blocks * place);
        let mut scale_lines = to.scales.as_mut_ptr().add(parts * blocks * place);
        let minima = to.minima.as_mut_ptr().add(blocks * place);
        for block in 0..blocks {
            let q = expand::<BITS>(quants.add(block * quant_bytes));
            for j in 0..8 {
                _mm512_storeu_si512(quant_lines.add(j).cast(), _mm512_sub_epi8(q[j], zero));
            }
            quant_lines = quant_lines.add(8);
            let (scale, minimum) = scales::<SCALES>(scale_bytes, block);
            for part in 0..parts {
                _mm512_storeu_ps(scale_lines.add(part).cast(), scale[part]);
            }
            scale_lines = scale_lines.add(parts);
            if SCALES == HALF_MIN || SCALES == SUPER_MIN {
                _mm512_storeu_ps(minima.add(block).cast(), minimum);
            }
        }
    }
}

/// `width` panels of the product from `first` on.
///
/// # Safety
/// As [`compute_with`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn many_rows<T: Tiles>(
    task: &Task<'_>,
    (first, width): (usize, usize),
    unpacked: &mut Unpacked,
    sums: &mut [Line; SLOTS * SUMS],
) {
    let (format, blocks) = (task.matrix.format, task.matrix.blocks());
    let parts = format.scales_a_block();
    let room = |lines: usize, of: &mut Vec<Line>| {
        if of.len() < lines {
            of.resize(lines, Line([0; 64]));
        }
    };
    room(8 * blocks * width, &mut unpacked.quants);
    room(parts * blocks * width, &mut unpacked.scales);
    room(blocks * width, &mut unpacked.minima);
    for place in 0..width {
        // SAFETY: there is room for `width` panels.
        unsafe { by_format!(format, unpack(task, first + place, place, unpacked)) };
    }
    // The packed panels behind these are fetched meanwhile, as much of them with each tile.
    let bytes = task.matrix.panel(first).len();
    let lines = bytes.div_ceil(64 * task.x.tiles().count());
    let mut ahead = task.matrix.panel(first).as_ptr().wrapping_add(width * bytes);
    // SAFETY: the caller's.
    let mut session = unsafe { Session::<T>::new() };
    for tile in task.x.tiles() {
        session.take(Shape {
            rows: tile.height,
            columns: BLOCK / parts,
        });
        for place in 0..width {
            for _ in 0..lines {
                _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                ahead = ahead.wrapping_add(64);
            }
            // SAFETY: the panels are unpacked, the rows are the task's, and the registers have their shape.
            unsafe {
                match (parts, format.minimum()) {
                    (2, _) => by_height::<T, 2, false>(task, (first, place), tile, unpacked, sums),
                    (_, true) => by_height::<T, 1, true>(task, (first, place), tile, unpacked, sums),
                    (_, false) => by_height::<T, 1, false>(task, (first, place), tile, unpacked, sums),
                }
            }
        }
    }
}

/// # Safety
/// As [`multiply`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn by_height<T: Tiles, const PARTS: usize, const MINIMUM: bool>(
    task: &Task<'_>,
    panel: (usize, usize),
    tile: Tile,
    unpacked: &Unpacked,
    sums: &mut [Line; SLOTS * SUMS],
) {
    const { assert!(SQUARE == 16) };
    // SAFETY: the caller's. More than 16 rows make no tile of less than 8.
    unsafe {
        match tile.height {
            8 => multiply::<T, 8, PARTS, MINIMUM>(task, panel, tile, unpacked, sums),
            9 => multiply::<T, 9, PARTS, MINIMUM>(task, panel, tile, unpacked, sums),
            10 => multiply::<T, 10, PARTS, MINIMUM>(task, panel, tile, unpacked, sums),
            11 => multiply::<T, 11, PARTS, MINIMUM>(task, panel, tile, unpacked, sums),
            12 => multiply::<T, 12, PARTS, MINIMUM>(task, panel, tile, unpacked, sums),
            13 => multiply::<T, 13, PARTS, MINIMUM>(task, panel, tile, unpacked, sums),
            14 => multiply::<T, 14, PARTS, MINIMUM>(task, panel, tile, unpacked, sums),
            15 => multiply::<T, 15, PARTS, MINIMUM>(task, panel, tile, unpacked, sums),
            _ => multiply::<T, SQUARE, PARTS, MINIMUM>(task, panel, tile, unpacked, sums),
        }
    }
}

/// `ROWS` rows of the product with one panel of `PARTS` scales a block: unpacked as number `place` of those from `first`.
///
/// # Safety
/// The panel is unpacked, the tile has `ROWS` rows, and the registers of `T` are configured for them and for blocks (or
/// halves, with two parts).
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn multiply<T: Tiles, const ROWS: usize, const PARTS: usize, const MINIMUM: bool>(
    task: &Task<'_>,
    (first, place): (usize, usize),
    tile: Tile,
    unpacked: &Unpacked,
    sums: &mut [Line; SLOTS * SUMS],
) {
    let blocks = task.matrix.blocks();
    let units = blocks * PARTS;
    let x = task.rows(tile);
    assert_eq!(x.scales.len(), ROWS * blocks);
    // SAFETY: the tile has `ROWS` rows of as many blocks, 32 bytes a row, which the parts share; lines are read within
    // what `unpack` wrote. Sums of a unit are written and read in the lines of its slot, at most 16.
    let y = unsafe {
        let quants = unpacked.quants.as_ptr().add(8 * blocks * place);
        let scales = unpacked.scales.as_ptr().add(units * place);
        let minima = unpacked.minima.as_ptr().add(blocks * place);
        let sums = sums.as_mut_ptr();
        let slot = |unit: usize| sums.add(unit % SLOTS * SUMS);
        let product = |unit: usize| {
            let (block, part) = (unit / PARTS, unit % PARTS);
            let rows = x.values.as_ptr().add(block * ROWS * BLOCK + part * BLOCK / PARTS);
            let panel = quants.add(8 / PARTS * unit);
            // Neighbours use other registers, so that one need not wait for the other's.
            if unit.is_multiple_of(2) {
                T::multiply::<0>(rows, panel.cast(), slot(unit).cast());
            } else {
                T::multiply::<1>(rows, panel.cast(), slot(unit).cast());
            }
        };
        for unit in 0..LEAD.min(units) {
            product(unit);
        }
        let mut y = [_mm512_loadu_ps(task.bias(first + place).as_ptr()); ROWS];
        // One loop over units: with one over parts within, sums that are used after the next product are spilled.
        for unit in 0..units {
            if unit + LEAD < units {
                product(unit + LEAD);
            }
            let block = unit / PARTS;
            let x_scales = x.scales.as_ptr().add(block * ROWS);
            let scale = _mm512_loadu_ps(scales.add(unit).cast());
            for r in 0..ROWS {
                let sum = _mm512_cvtepi32_ps(_mm512_loadu_si512(slot(unit).add(r).cast()));
                let scale = _mm512_mul_ps(scale, _mm512_set1_ps(*x_scales.add(r)));
                y[r] = _mm512_fmadd_ps(sum, scale, y[r]);
            }
            if MINIMUM {
                let least = _mm512_loadu_ps(minima.add(block).cast());
                let totals = x.totals.as_ptr().add(block * ROWS);
                for r in 0..ROWS {
                    y[r] = _mm512_fmadd_ps(least, _mm512_set1_ps(*totals.add(r)), y[r]);
                }
            }
        }
        y
    };
    let (start, lanes) = task.lanes(first + place);
    for (r, y) in y.iter().enumerate() {
        // SAFETY: the output is borrowed while the task lives, each panel is computed by one piece, and only `lanes`
        // numbers are stored.
        unsafe {
            let out = task.out.part((tile.first + r) * task.matrix.rows + start, lanes);
            _mm512_mask_storeu_ps(out.as_mut_ptr(), mask(lanes), *y);
        }
    }
}
