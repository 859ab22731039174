//! The specification: one token at a time.

#![allow(clippy::inline_always)] // Inlining is what gives each instruction set its own copy.

use super::{DIM, LANES, Scratch, Task, scale};
use crate::kernels::vector::exp_negative;

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
                    *score += number * key;
                }
            }
        }
        let scores = &mut weights[..task.tokens];
        let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for score in &mut *scores {
            *score = exp_negative((*score - largest) * scale());
        }
        let mut sums = [0.0; DIM];
        let mut total = 0.0;
        for (weight, value) in scores.iter().zip(values.as_chunks::<DIM>().0) {
            total += weight;
            for (sum, number) in sums.iter_mut().zip(value) {
                *sum += weight * number;
            }
        }
        task.write(token, &sums.map(|sum| sum / total));
    }
}
