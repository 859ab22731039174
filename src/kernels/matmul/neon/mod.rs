//! NEON: a register holds a quarter of a group of a panel, four numbers of four rows of the matrix, which are multiplied
//! with the same four activations. Quants have signs here: those of less than 8 bits are small enough.
//!
//! With few rows, quarters of a block are unpacked when they are needed; with many, whole panels are first.
#![allow(unsafe_code)]
#![allow(clippy::inline_always)] // Inlining is what gives each instruction set its own copy.
#![allow(clippy::many_single_char_names)] // `x`, `y`, `q` as in the formula.
#![allow(clippy::needless_range_loop)] // The loops run over registers; an iterator hides that from the reader.

mod dot;
mod panel;

use super::Task;
use super::activations::{FEW, TALL, TILE, Tile};
use super::format::{BLOCK, HALF, HALF_MIN, LANES, SUPER_MIN, SUPER_SIXTEEN, Scales, by_format};
use dot::{Base, Dot, Dotprod, I8mm};
use panel::{Packed, Panel, Unpacked};
use std::arch::aarch64::{
    float32x4_t, int32x4_t, vcvtq_f32_s32, vdupq_n_s32, vfmaq_f32, vfmaq_n_f32, vld1q_dup_s32, vld1q_f32, vld1q_s8,
    vmulq_n_f32, vst1q_f32,
};

/// The entry for an instruction set, with all that is generic compiled for it: the module of its products with few rows,
/// and its products with many.
macro_rules! compiled_for {
    ($module:ident, $features:literal, $few:ident, $many:ty) => {
        pub(super) mod $module {
            use super::*;

            /// Computes the numbers of some panels in all rows of the output.
            #[target_feature(enable = $features)]
            pub(in super::super) fn compute(task: &Task<'_>, first: usize, panels: usize) {
                for panel in first..first + panels {
                    // SAFETY: the task's lengths agree, and the panel is the matrix's.
                    unsafe { by_format!(task.matrix.format, one(task, panel)) };
                }
            }

            /// # Safety
            /// The lengths of the task agree, and the panel is one of its matrix, of these bits and scales.
            #[target_feature(enable = $features)]
            unsafe fn one<const BITS: u8, const SCALES: u8>(task: &Task<'_>, panel: usize) {
                let packed = Packed::<BITS, SCALES>::new(task.matrix.panel(panel), task.matrix.blocks());
                if task.x.rows() <= FEW {
                    for tile in task.x.tiles() {
                        // SAFETY: the caller's.
                        unsafe { $few::by_height(task, (panel, packed), tile) };
                    }
                    return;
                }
                panel::with_unpacked(packed, <$many>::PAIRS, |unpacked| {
                    for tile in task.x.tiles() {
                        // SAFETY: the caller's. Unpacked, formats differ in no more than this.
                        unsafe {
                            match (BITS, SCALES) {
                                (8, _) => by_height::<8, HALF>(task, (panel, unpacked), tile),
                                (6, _) => by_height::<6, SUPER_SIXTEEN>(task, (panel, unpacked), tile),
                                (_, HALF) => by_height::<5, HALF>(task, (panel, unpacked), tile),
                                _ => by_height::<5, HALF_MIN>(task, (panel, unpacked), tile),
                            }
                        }
                    }
                });
            }

            /// # Safety
            /// As [`multiply`]; there are more than [`FEW`] rows in all.
            #[target_feature(enable = $features)]
            unsafe fn by_height<const BITS: u8, const SCALES: u8>(
                task: &Task<'_>,
                panel: (usize, Unpacked<'_>),
                tile: Tile,
            ) {
                // So many rows make at least three tiles of nearly the same height.
                const { assert!(TILE == 6 && FEW == 16) };
                // SAFETY: the caller's; this is compiled for what the products need.
                unsafe {
                    match tile.height {
                        4 => multiply::<$many, _, BITS, SCALES, 4>(task, panel, tile),
                        5 => multiply::<$many, _, BITS, SCALES, 5>(task, panel, tile),
                        _ => multiply::<$many, _, BITS, SCALES, TILE>(task, panel, tile),
                    }
                }
            }
        }
    };
}

/// Products with few rows for an instruction set.
macro_rules! few_rows_for {
    ($module:ident, $features:literal, $dot:ty) => {
        mod $module {
            use super::*;

            /// # Safety
            /// As [`multiply`].
            #[target_feature(enable = $features)]
            pub(super) unsafe fn by_height<const BITS: u8, const SCALES: u8>(
                task: &Task<'_>,
                panel: (usize, Packed<'_, BITS, SCALES>),
                tile: Tile,
            ) {
                const { assert!(TALL == 8) };
                // SAFETY: the caller's.
                unsafe {
                    match tile.height {
                        1 => rows::<BITS, SCALES, 1>(task, panel, tile),
                        2 => rows::<BITS, SCALES, 2>(task, panel, tile),
                        3 => rows::<BITS, SCALES, 3>(task, panel, tile),
                        4 => rows::<BITS, SCALES, 4>(task, panel, tile),
                        5 => rows::<BITS, SCALES, 5>(task, panel, tile),
                        6 => rows::<BITS, SCALES, 6>(task, panel, tile),
                        7 => rows::<BITS, SCALES, 7>(task, panel, tile),
                        _ => rows::<BITS, SCALES, TALL>(task, panel, tile),
                    }
                }
            }

            /// # Safety
            /// As [`multiply`].
            #[target_feature(enable = $features)]
            unsafe fn rows<const BITS: u8, const SCALES: u8, const ROWS: usize>(
                task: &Task<'_>,
                panel: (usize, Packed<'_, BITS, SCALES>),
                tile: Tile,
            ) {
                // SAFETY: the caller's; this is compiled for what the products need.
                unsafe { multiply::<$dot, _, BITS, SCALES, ROWS>(task, panel, tile) };
            }
        }
    };
}

few_rows_for!(few_base, "neon", Base);
few_rows_for!(few_dotprod, "neon,dotprod", Dotprod);
compiled_for!(base, "neon", few_base, Base);
compiled_for!(dotprod, "neon,dotprod", few_dotprod, Dotprod);
compiled_for!(i8mm, "neon,dotprod,i8mm", few_dotprod, I8mm);

/// `ROWS` rows of the product with panel `index`, whose quants have at most so many bits.
///
/// # Safety
/// The lengths of the task agree, the panel is one of its matrix, and the tile has `ROWS` rows; this is inlined into a
/// function that is compiled for the instructions of `D`.
#[inline(always)]
unsafe fn multiply<D: Dot, P: Panel, const BITS: u8, const SCALES: u8, const ROWS: usize>(
    task: &Task<'_>,
    (index, panel): (usize, P),
    tile: Tile,
) {
    let blocks = task.matrix.blocks();
    let (twice, minimum) = (SCALES == SUPER_SIXTEEN, SCALES == HALF_MIN || SCALES == SUPER_MIN);
    let parts = if twice { 2 } else { 1 };
    // With 8 bits the quants have signs and no zero.
    let corrected = !minimum && BITS < 8;
    let x = task.rows(tile);
    assert!(x.scales.len() == ROWS * blocks && x.values.len() == ROWS * blocks * BLOCK);
    assert!(!corrected || x.corrections.len() == ROWS * blocks * parts);
    let bias = task.bias(index);
    // SAFETY: `bias` has 16 numbers; what is read of `x` and its scales is within the lengths above, as `at` is below
    // `ROWS * blocks`; the panel has so many blocks of four quarters.
    let y = unsafe {
        let values = |at: usize| {
            let values = x.values.as_ptr().add(at * BLOCK);
            [vld1q_s8(values), vld1q_s8(values.add(BLOCK / 2))]
        };
        let start = |at: usize| {
            if corrected && twice {
                let corrections = x.corrections.as_ptr().add(2 * at);
                [vld1q_dup_s32(corrections), vld1q_dup_s32(corrections.add(1))]
            } else if corrected {
                [vld1q_dup_s32(x.corrections.as_ptr().add(at)); 2]
            } else {
                [vdupq_n_s32(0); 2]
            }
        };
        let bias = [0, 4, 8, 12].map(|lane| vld1q_f32(bias.as_ptr().add(lane)));
        let mut y = [bias; ROWS];
        for block in 0..blocks {
            for quarter in 0..4 {
                let q = panel.quants(block, quarter);
                let (scales, least) = panel.scales(block, quarter);
                let add = |y: &mut float32x4_t, sums: [int32x4_t; 2], at: usize| {
                    let x_scale = *x.scales.get_unchecked(at);
                    *y = vfmaq_f32(*y, vcvtq_f32_s32(sums[0]), vmulq_n_f32(scales[0], x_scale));
                    if twice {
                        *y = vfmaq_f32(*y, vcvtq_f32_s32(sums[1]), vmulq_n_f32(scales[1], x_scale));
                    }
                    if minimum {
                        *y = vfmaq_n_f32(*y, least, *x.totals.get_unchecked(at));
                    }
                };
                let mut r = 0;
                while r + 1 < ROWS {
                    let at = block * ROWS + r;
                    let (start, values) = ([start(at), start(at + 1)], [values(at), values(at + 1)]);
                    let sums = D::two_rows::<BITS>(start, q, values, twice);
                    add(&mut y[r][quarter], sums[0], at);
                    add(&mut y[r + 1][quarter], sums[1], at + 1);
                    r += 2;
                }
                // A last row is its own neighbour, whose sums nobody asks for.
                if r < ROWS {
                    let at = block * ROWS + r;
                    let sums = D::two_rows::<BITS>([start(at); 2], q, [values(at); 2], twice);
                    add(&mut y[r][quarter], sums[0], at);
                }
            }
        }
        y
    };
    let (start, lanes) = task.lanes(index);
    for (r, y) in y.iter().enumerate() {
        let mut numbers = [0.0_f32; LANES];
        // SAFETY: the output is borrowed while the task lives, and each panel is computed by one piece; `numbers` has 16.
        let out = unsafe {
            for (quarter, y) in y.iter().enumerate() {
                vst1q_f32(numbers.as_mut_ptr().add(4 * quarter), *y);
            }
            task.out.part((tile.first + r) * task.matrix.rows + start, lanes)
        };
        out.copy_from_slice(&numbers[..lanes]);
    }
}
