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
use super::activations::{FEW, TALL, Tile};
use super::format::{BLOCK, HALF, HALF_MIN, LANES, SUPER_MIN, SUPER_SIXTEEN, Scales, by_format};
use dot::{Base, Dot, Dotprod};
use panel::{Packed, Panel};
use std::arch::aarch64::{
    vcvtq_f32_s32, vdupq_n_s32, vfmaq_f32, vfmaq_n_f32, vld1q_f32, vld1q_s8, vmulq_n_f32, vst1q_f32,
};

/// The entry for an instruction set, with all that is generic compiled for it.
macro_rules! compiled_for {
    ($module:ident, $features:literal, $dot:ty) => {
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
                        unsafe { by_height::<_, BITS, SCALES>(task, (panel, packed), tile) };
                    }
                    return;
                }
                panel::with_unpacked(packed, |unpacked| {
                    for tile in task.x.tiles() {
                        // SAFETY: the caller's. Unpacked, formats differ in no more than this.
                        unsafe {
                            match (BITS, SCALES) {
                                (8, _) => by_height::<_, 8, HALF>(task, (panel, unpacked), tile),
                                (6, _) => by_height::<_, 6, SUPER_SIXTEEN>(task, (panel, unpacked), tile),
                                (_, HALF) => by_height::<_, 5, HALF>(task, (panel, unpacked), tile),
                                _ => by_height::<_, 5, HALF_MIN>(task, (panel, unpacked), tile),
                            }
                        }
                    }
                });
            }

            /// # Safety
            /// As [`multiply`].
            #[target_feature(enable = $features)]
            unsafe fn by_height<P: Panel, const BITS: u8, const SCALES: u8>(
                task: &Task<'_>,
                panel: (usize, P),
                tile: Tile,
            ) {
                const { assert!(TALL == 8) };
                // SAFETY: the caller's.
                unsafe {
                    match tile.height {
                        1 => rows::<P, BITS, SCALES, 1>(task, panel, tile),
                        2 => rows::<P, BITS, SCALES, 2>(task, panel, tile),
                        3 => rows::<P, BITS, SCALES, 3>(task, panel, tile),
                        4 => rows::<P, BITS, SCALES, 4>(task, panel, tile),
                        5 => rows::<P, BITS, SCALES, 5>(task, panel, tile),
                        6 => rows::<P, BITS, SCALES, 6>(task, panel, tile),
                        7 => rows::<P, BITS, SCALES, 7>(task, panel, tile),
                        _ => rows::<P, BITS, SCALES, TALL>(task, panel, tile),
                    }
                }
            }

            /// # Safety
            /// As [`multiply`].
            #[target_feature(enable = $features)]
            unsafe fn rows<P: Panel, const BITS: u8, const SCALES: u8, const ROWS: usize>(
                task: &Task<'_>,
                panel: (usize, P),
                tile: Tile,
            ) {
                // SAFETY: the caller's; this is compiled for what the products need.
                unsafe { multiply::<$dot, P, BITS, SCALES, ROWS>(task, panel, tile) };
            }
        }
    };
}

compiled_for!(base, "neon", Base);
compiled_for!(dotprod, "neon,dotprod", Dotprod);

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
        let bias = [0, 4, 8, 12].map(|lane| vld1q_f32(bias.as_ptr().add(lane)));
        let mut y = [bias; ROWS];
        for block in 0..blocks {
            for quarter in 0..4 {
                let q = panel.quants(block, quarter);
                let (scales, least) = panel.scales(block, quarter);
                for r in 0..ROWS {
                    let at = block * ROWS + r;
                    let values = x.values.as_ptr().add(at * BLOCK);
                    let values = [vld1q_s8(values), vld1q_s8(values.add(BLOCK / 2))];
                    let x_scale = *x.scales.get_unchecked(at);
                    let start = |part: usize| {
                        vdupq_n_s32(if corrected {
                            *x.corrections.get_unchecked(at * parts + part)
                        } else {
                            0
                        })
                    };
                    let mut sums = [start(0); 2];
                    sums[0] = D::four::<BITS>(sums[0], q[0], values[0]);
                    if twice {
                        sums[1] = D::four::<BITS>(start(1), q[1], values[1]);
                    } else {
                        sums[0] = D::four::<BITS>(sums[0], q[1], values[1]);
                    }
                    let y = &mut y[r][quarter];
                    for part in 0..parts {
                        *y = vfmaq_f32(*y, vcvtq_f32_s32(sums[part]), vmulq_n_f32(scales[part], x_scale));
                    }
                    if minimum {
                        *y = vfmaq_n_f32(*y, least, *x.totals.get_unchecked(at));
                    }
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
