//! NEON: a tile of up to 6 rows x 16 keys, and then of as many rows x 16 numbers of the values, stays in 24 registers.
//! Numbers are summed in the order of the specification.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // The loops run over registers; an iterator hides that from the reader.

use super::body::{Sum, weigh};
use super::{BLOCK, LANES, Task};
use crate::kernels::neon::load_halves;
use half::f16;
use std::arch::aarch64::{vdupq_n_f32, vfmaq_f32, vld1q_dup_f32, vld1q_f32, vst1q_f32};
use std::array;

/// Rows of the largest tile.
const TILE: usize = 6;

#[target_feature(enable = "neon")]
pub(super) fn compute(task: &Task<'_>, head: usize, (first, rows): (usize, usize)) {
    let mut sums = vec![0f32; TILE * task.cached.layout.width()];
    let tiles = rows.div_ceil(TILE);
    let (mut row, end) = (first, first + rows);
    for tile in 0..tiles {
        let height = (end - row).div_ceil(tiles - tile);
        match height {
            1 => self::tile::<1>(task, head, row, &mut sums),
            2 => self::tile::<2>(task, head, row, &mut sums),
            3 => self::tile::<3>(task, head, row, &mut sums),
            4 => self::tile::<4>(task, head, row, &mut sums),
            5 => self::tile::<5>(task, head, row, &mut sums),
            _ => self::tile::<TILE>(task, head, row, &mut sums),
        }
        row += height;
    }
}

#[target_feature(enable = "neon")]
fn tile<const ROWS: usize>(task: &Task<'_>, head: usize, first: usize, sums: &mut [f32]) {
    let (dim, width) = (task.cached.layout.dim, task.cached.layout.width());
    let sums = &mut sums[..ROWS * width];
    sums.fill(0.0);
    let mut state = [0; ROWS].map(|_| Sum::new(task.row(head, first)));
    let mut queries: [&[f32]; ROWS] = [&[]; ROWS];
    for r in 0..ROWS {
        state[r].row = task.row(head, first + r);
        queries[r] = &task.queries.numbers[state[r].row.at..][..dim];
    }
    // Rows are in the order of their tokens.
    let (from, to) = (state[0].row.from, state[ROWS - 1].row.to);
    for start in (from / BLOCK * BLOCK..to).step_by(BLOCK) {
        let (keys, values) = task.cached.block(head, start);
        let mut weights = [[0f32; BLOCK]; ROWS];
        score(queries, keys, &mut weights);
        let (mut counts, mut shrinks) = ([0; ROWS], [1f32; ROWS]);
        for r in 0..ROWS {
            counts[r] = state[r].count(start);
            if counts[r] > 0 {
                shrinks[r] = weigh(task.queries.scale, &mut state[r], start, &mut weights[r]);
            }
        }
        // Each sum waits for the one before it, but not for those of the other rows.
        let mut totals = [0f32; ROWS];
        for j in 0..BLOCK {
            for r in 0..ROWS {
                totals[r] += weights[r][j];
            }
        }
        for (r, sums) in sums.chunks_exact_mut(width).enumerate() {
            if counts[r] == 0 {
                continue;
            }
            state[r].total = state[r].total * shrinks[r] + totals[r];
            #[allow(clippy::float_cmp)] // Nothing else leaves the sums as they are.
            if shrinks[r] != 1.0 {
                for number in sums {
                    *number *= shrinks[r];
                }
            }
        }
        // What lies behind the last key that a row sees may be anything, even no number.
        let all = counts.into_iter().min().unwrap_or(0);
        add_values(&weights, values, (0, all), sums);
        for (r, sums) in sums.chunks_exact_mut(width).enumerate() {
            if counts[r] > all {
                add_values(array::from_ref(&weights[r]), values, (all, counts[r]), sums);
            }
        }
    }
    for (sum, sums) in state.iter().zip(sums.chunks_exact(width)) {
        // SAFETY: the output is borrowed while the task lives, and each row is computed by one piece.
        let out = unsafe { task.out.part(sum.row.at, dim) };
        for (out, number) in out.iter_mut().zip(sums) {
            *out = *number / sum.total;
        }
    }
}

/// The products of the queries with a block of keys.
#[inline]
#[target_feature(enable = "neon")]
fn score<const ROWS: usize>(queries: [&[f32]; ROWS], keys: &[f16], scores: &mut [[f32; BLOCK]; ROWS]) {
    let dim = keys.len() / BLOCK;
    assert!(keys.len() == BLOCK * dim && queries.iter().all(|query| query.len() == dim));
    for panel in 0..BLOCK / LANES {
        let mut sums = [[vdupq_n_f32(0.0); 4]; ROWS];
        // SAFETY: 16 of the `dim * 64` keys are read at (panel * dim + d) * 16 with d < dim, each query at d; 4 numbers are
        // written at panel * 16 and 4, 8 and 12 more of 64.
        unsafe {
            for d in 0..dim {
                let key = load_halves(keys.as_ptr().add((panel * dim + d) * LANES).cast());
                for r in 0..ROWS {
                    let number = vld1q_dup_f32(queries[r].as_ptr().add(d));
                    for c in 0..4 {
                        sums[r][c] = vfmaq_f32(sums[r][c], number, key[c]);
                    }
                }
            }
            for r in 0..ROWS {
                for c in 0..4 {
                    vst1q_f32(scores[r].as_mut_ptr().add(panel * LANES + 4 * c), sums[r][c]);
                }
            }
        }
    }
}

/// Adds the weighted values of the keys `from` to `to` of a block to the sums of `ROWS` rows.
#[inline]
#[target_feature(enable = "neon")]
fn add_values<const ROWS: usize>(
    weights: &[[f32; BLOCK]; ROWS],
    values: &[f16],
    (from, to): (usize, usize),
    sums: &mut [f32],
) {
    let width = values.len() / BLOCK;
    assert!(to <= BLOCK && values.len() == BLOCK * width && width.is_multiple_of(LANES));
    assert_eq!(sums.len(), ROWS * width);
    for column in (0..width).step_by(LANES) {
        // SAFETY: sums are read and written at r * width + column and up to 16 numbers on, values at j * width + column
        // with j < 64 likewise, weights at j.
        unsafe {
            let place = sums.as_mut_ptr().add(column);
            let mut held = [[vdupq_n_f32(0.0); 4]; ROWS];
            for r in 0..ROWS {
                for c in 0..4 {
                    held[r][c] = vld1q_f32(place.add(r * width + 4 * c));
                }
            }
            for j in from..to {
                let value = load_halves(values.as_ptr().add(j * width + column).cast());
                for r in 0..ROWS {
                    let weight = vld1q_dup_f32(weights[r].as_ptr().add(j));
                    for c in 0..4 {
                        held[r][c] = vfmaq_f32(held[r][c], weight, value[c]);
                    }
                }
            }
            for r in 0..ROWS {
                for c in 0..4 {
                    vst1q_f32(place.add(r * width + 4 * c), held[r][c]);
                }
            }
        }
    }
}
