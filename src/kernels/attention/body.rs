//! The specification: block by block, in each one row at a time.

#![allow(clippy::inline_always)] // Inlining is what gives each instruction set its own copy.

use super::{BLOCK, LANES, LOWEST, Row, Task};
use crate::kernels::vector::{exp_negative, multiply_add};
use half::slice::HalfFloatSliceExt;

/// What a row has summed so far.
#[derive(Clone, Copy)]
pub(super) struct Sum {
    pub(super) row: Row,
    largest: f32,
    pub(super) total: f32,
}

impl Sum {
    /// Before any block.
    pub(super) fn new(row: Row) -> Self {
        Self {
            row,
            largest: LOWEST,
            total: 0.0,
        }
    }

    /// How many keys of the block from `start` on there are for the row, up to the last that it sees; none if it sees
    /// none.
    pub(super) fn count(&self, start: usize) -> usize {
        if self.row.from < start + BLOCK {
            BLOCK.min(self.row.to.saturating_sub(start))
        } else {
            0
        }
    }
}

#[inline(always)]
#[allow(unsafe_code)]
pub(super) fn compute(task: &Task<'_>, head: usize, (first, rows): (usize, usize)) {
    let (dim, width) = (task.cached.layout.dim, task.cached.layout.width());
    let mut state: Vec<Sum> = (first..first + rows).map(|row| Sum::new(task.row(head, row))).collect();
    let mut sums = vec![0f32; rows * width];
    let (mut keys, mut values) = (vec![0f32; BLOCK * dim], vec![0f32; BLOCK * width]);
    // Rows are in the order of their tokens.
    let (from, to) = (state[0].row.from, state[rows - 1].row.to);
    for start in (from / BLOCK * BLOCK..to).step_by(BLOCK) {
        let (held_keys, held_values) = task.cached.block(head, start);
        held_keys.convert_to_f32_slice(&mut keys);
        held_values.convert_to_f32_slice(&mut values);
        for (sum, sums) in state.iter_mut().zip(sums.chunks_exact_mut(width)) {
            if sum.count(start) > 0 {
                one_row(task, sum, (start, &keys, &values), sums);
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

/// Adds a block of keys and values to what a row has summed.
#[inline(always)]
fn one_row(task: &Task<'_>, sum: &mut Sum, (start, keys, values): (usize, &[f32], &[f32]), sums: &mut [f32]) {
    let (dim, width) = (task.cached.layout.dim, task.cached.layout.width());
    let at = sum.row.at;
    let mut weights = [0f32; BLOCK];
    score(&task.queries.numbers[at..at + dim], keys, &mut weights);
    let shrink = weigh(task.queries.scale, sum, start, &mut weights);
    sum.total = sum.total * shrink + weights.iter().sum::<f32>();
    for number in &mut *sums {
        *number *= shrink;
    }
    // What lies behind the last key that is seen may be anything, even no number.
    for (weight, value) in weights[..sum.count(start)].iter().zip(values.chunks_exact(width)) {
        for (number, value) in sums.iter_mut().zip(value) {
            *number = multiply_add(*weight, *value, *number);
        }
    }
}

/// Turns the scores of the block from `start` on into weights, and returns what earlier sums are multiplied by.
#[inline(always)]
pub(super) fn weigh(scale: f32, sum: &mut Sum, start: usize, weights: &mut [f32; BLOCK]) -> f32 {
    let row = sum.row;
    for (position, weight) in (start..).zip(&mut *weights) {
        let seen = (row.from..row.to).contains(&position);
        *weight = if seen { *weight * scale } else { f32::NEG_INFINITY };
    }
    let mut lanes = [sum.largest; LANES];
    for weights in weights.as_chunks::<LANES>().0 {
        for (largest, weight) in lanes.iter_mut().zip(weights) {
            *largest = largest.max(*weight);
        }
    }
    let largest = lanes.into_iter().fold(sum.largest, f32::max);
    for weight in weights {
        *weight = exp_negative(*weight - largest);
    }
    let shrink = exp_negative(sum.largest - largest);
    sum.largest = largest;
    shrink
}

#[inline(always)]
fn score(query: &[f32], keys: &[f32], scores: &mut [f32; BLOCK]) {
    for (panel, scores) in keys
        .chunks_exact(query.len() * LANES)
        .zip(scores.as_chunks_mut::<LANES>().0)
    {
        for (number, keys) in query.iter().zip(panel.as_chunks::<LANES>().0) {
            for (score, key) in scores.iter_mut().zip(keys) {
                *score = multiply_add(*number, *key, *score);
            }
        }
    }
}
