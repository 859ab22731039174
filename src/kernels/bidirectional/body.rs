//! The specification: one token at a time.

#![allow(clippy::inline_always)] // Inlining is what gives each instruction set its own copy.

use super::{DIM, LANES, Scratch, Task, scale};
use crate::kernels::vector::{exp_negative, multiply_add};

#[inline(always)]
pub(super) fn compute(task: &Task<'_>, scratch: &mut Scratch) {
    task.gather(scratch);
    let Scratch { keys, values, weights } = scratch;
    weights.resize(task.tokens.next_multiple_of(LANES), 0.0);
    for token in 0..task.tokens {
        let query = task.numbers(0, token);
        for (panel, scores) in keys.chunks_exact(LANES * DIM).zip(weights.as_chunks_mut::<LANES>().0) {
            *scores = [0.0; LANES];
            for (number, keys) in query.iter().zip(panel.as_chunks::<LANES>().0) {
                for (score, key) in scores.iter_mut().zip(keys) {
                    *score = multiply_add(*number, *key, *score);
                }
            }
        }
        let scores = &mut weights[..task.tokens];
        weigh(scores);
        let mut sums = [0.0; DIM];
        let mut total = 0.0;
        for (weight, value) in scores.iter().zip(values.as_chunks::<DIM>().0) {
            total += weight;
            for (sum, number) in sums.iter_mut().zip(value) {
                *sum = multiply_add(*weight, *number, *sum);
            }
        }
        task.write(token, &sums.map(|sum| sum / total));
    }
}

/// Turns scores into weights whose largest is 1.
#[inline(always)]
pub(super) fn weigh(scores: &mut [f32]) {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = scores.as_chunks::<LANES>();
    for scores in whole {
        for (largest, score) in lanes.iter_mut().zip(scores) {
            *largest = largest.max(*score);
        }
    }
    let largest = lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    for score in scores {
        *score = exp_negative((*score - largest) * scale());
    }
}
