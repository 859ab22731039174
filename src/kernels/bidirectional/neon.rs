//! NEON: a tile of up to 6 tokens x 16 keys, and then of as many tokens x 16 numbers of the values, stays in 24 registers.
//! Numbers are summed in the order of the specification.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // The loops run over registers; an iterator hides that from the reader.

use super::body::weigh;
use super::{DIM, LANES, Scratch, Task};
use std::arch::aarch64::{float32x4_t, vdupq_n_f32, vfmaq_f32, vld1q_dup_f32, vld1q_f32, vst1q_f32};

/// Tokens of the largest tile.
const TILE: usize = 6;

#[target_feature(enable = "neon")]
pub(super) fn compute(task: &Task<'_>, scratch: &mut Scratch) {
    task.gather(scratch);
    let room = TILE * task.tokens.next_multiple_of(LANES);
    if scratch.weights.len() < room {
        scratch.weights.resize(room, 0.0);
    }
    // Tiles of nearly equal height: a low one waits for the latency of its sums.
    let tiles = task.tokens.div_ceil(TILE);
    for index in 0..tiles {
        let first = task.tokens * index / tiles;
        match task.tokens * (index + 1) / tiles - first {
            1 => tile::<1>(task, first, scratch),
            2 => tile::<2>(task, first, scratch),
            3 => tile::<3>(task, first, scratch),
            4 => tile::<4>(task, first, scratch),
            5 => tile::<5>(task, first, scratch),
            _ => tile::<TILE>(task, first, scratch),
        }
    }
}

#[target_feature(enable = "neon")]
fn tile<const ROWS: usize>(task: &Task<'_>, first: usize, scratch: &mut Scratch) {
    let mut queries = [&[0f32; DIM]; ROWS];
    for r in 0..ROWS {
        queries[r] = task.numbers(0, first + r);
    }
    let stride = task.tokens.next_multiple_of(LANES);
    let weights = &mut scratch.weights[..ROWS * stride];
    score(queries, &scratch.keys, weights);
    for weights in weights.chunks_exact_mut(stride) {
        weigh(&mut weights[..task.tokens]);
    }
    // Each sum waits for the one before it, but not for those of the other rows.
    let mut totals = [0f32; ROWS];
    for j in 0..task.tokens {
        for r in 0..ROWS {
            totals[r] += weights[r * stride + j];
        }
    }
    let mut sums = [[0f32; DIM]; ROWS];
    for column in [0, LANES] {
        let held = add_values::<ROWS>(weights, &scratch.values, column);
        for r in 0..ROWS {
            for c in 0..4 {
                // SAFETY: 4 of 32 numbers.
                unsafe { vst1q_f32(sums[r].as_mut_ptr().add(column + 4 * c), held[r][c]) };
            }
        }
    }
    for r in 0..ROWS {
        task.write(first + r, &sums[r].map(|sum| sum / totals[r]));
    }
}

/// The products of the queries with all keys, into the rows of `scores`.
#[inline]
#[target_feature(enable = "neon")]
fn score<const ROWS: usize>(queries: [&[f32; DIM]; ROWS], keys: &[f32], scores: &mut [f32]) {
    let stride = scores.len() / ROWS;
    assert!(keys.len() == stride * DIM && stride.is_multiple_of(LANES));
    for panel in 0..stride / LANES {
        let mut sums = [[vdupq_n_f32(0.0); 4]; ROWS];
        // SAFETY: keys are read at (panel * DIM + d) * 16 with d < DIM and up to 16 numbers on, each query at d; each of
        // `ROWS` rows is written at panel * 16 and up to 16 numbers on, which is within the row.
        unsafe {
            for d in 0..DIM {
                let from = keys.as_ptr().add((panel * DIM + d) * LANES);
                let key = [0, 4, 8, 12].map(|at| vld1q_f32(from.add(at)));
                for r in 0..ROWS {
                    let number = vld1q_dup_f32(queries[r].as_ptr().add(d));
                    for c in 0..4 {
                        sums[r][c] = vfmaq_f32(sums[r][c], number, key[c]);
                    }
                }
            }
            for r in 0..ROWS {
                for c in 0..4 {
                    vst1q_f32(scores.as_mut_ptr().add(r * stride + panel * LANES + 4 * c), sums[r][c]);
                }
            }
        }
    }
}

/// The sums of 16 numbers of the values from `column` on, weighted for each of `ROWS` rows of weights.
#[inline]
#[target_feature(enable = "neon")]
fn add_values<const ROWS: usize>(weights: &[f32], values: &[f32], column: usize) -> [[float32x4_t; 4]; ROWS] {
    let values = values.as_chunks::<DIM>().0;
    let stride = weights.len() / ROWS;
    assert!(values.len() <= stride && column + LANES <= DIM);
    let mut sums = [[vdupq_n_f32(0.0); 4]; ROWS];
    for (j, value) in values.iter().enumerate() {
        // SAFETY: 16 of 32 numbers from `column` on; a weight is read at r * stride + j with j < stride.
        unsafe {
            let value = [0, 4, 8, 12].map(|at| vld1q_f32(value.as_ptr().add(column + at)));
            for r in 0..ROWS {
                let weight = vld1q_dup_f32(weights.as_ptr().add(r * stride + j));
                for c in 0..4 {
                    sums[r][c] = vfmaq_f32(sums[r][c], weight, value[c]);
                }
            }
        }
    }
    sums
}
