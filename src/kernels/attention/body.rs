//! The specification, one row at a time.

#![allow(clippy::inline_always)] // Inlining is what gives each instruction set its own copy.

use super::{BLOCK, LANES, LOWEST, Row, Task};
use crate::kernels::panel::exp_negative;

#[inline(always)]
pub(super) fn compute(task: &Task<'_>, head: usize, (first, rows): (usize, usize)) {
    let width = task.cached.layout.width();
    let mut sums = vec![0f32; width];
    for row in first..first + rows {
        one_row(task, head, task.row(head, row), &mut sums);
    }
}

#[inline(always)]
#[allow(unsafe_code)]
fn one_row(task: &Task<'_>, head: usize, row: Row, sums: &mut [f32]) {
    let (dim, width) = (task.cached.layout.dim, task.cached.layout.width());
    let query = &task.queries.numbers[row.at..row.at + dim];
    let (mut largest, mut total) = (LOWEST, 0f32);
    sums.fill(0.0);
    for start in (row.from / BLOCK * BLOCK..row.to).step_by(BLOCK) {
        let (keys, values) = task.cached.block(head, start);
        let mut weights = [0f32; BLOCK];
        score(query, keys, &mut weights);
        for (position, weight) in (start..).zip(&mut weights) {
            let seen = (row.from..row.to).contains(&position);
            *weight = if seen {
                *weight * task.queries.scale
            } else {
                f32::NEG_INFINITY
            };
        }
        let largest_here = weights.iter().copied().fold(largest, f32::max);
        for weight in &mut weights {
            *weight = exp_negative(*weight - largest_here);
        }
        let shrink = exp_negative(largest - largest_here);
        largest = largest_here;
        total = total * shrink + weights.iter().sum::<f32>();
        for sum in &mut *sums {
            *sum *= shrink;
        }
        // What lies behind the last key that is seen may be anything, even no number.
        let count = BLOCK.min(row.to - start);
        for (weight, value) in weights[..count].iter().zip(values.chunks_exact(width)) {
            for (sum, value) in sums.iter_mut().zip(value) {
                *sum += weight * value;
            }
        }
    }
    // SAFETY: the output is borrowed while the task lives, and each row is computed by one piece.
    let out = unsafe { task.out.part(row.at, dim) };
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = *sum / total;
    }
}

#[inline(always)]
fn score(query: &[f32], keys: &[f32], scores: &mut [f32; BLOCK]) {
    for (panel, scores) in keys
        .chunks_exact(query.len() * LANES)
        .zip(scores.as_chunks_mut::<LANES>().0)
    {
        for (number, keys) in query.iter().zip(panel.as_chunks::<LANES>().0) {
            for (score, key) in scores.iter_mut().zip(keys) {
                *score += number * key;
            }
        }
    }
}
