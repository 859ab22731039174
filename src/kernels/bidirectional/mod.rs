//! Attention of every token of a text to all tokens of the same text (Vaswani et al., arXiv:1706.03762, section 3.2), for
//! encoders: texts one after another without padding, heads of [`DIM`] numbers, everything in `f32`.
//!
//! What a token gets depends on its own text alone: it is the same number whichever texts are beside it.

mod body;

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(test)]
mod tests;

use super::level::{Level, Set};
use super::pool::{self, Parts};
use std::cell::Cell;

/// Numbers of a head.
pub const DIM: usize = 32;
/// Keys side by side in memory.
const LANES: usize = 16;

/// Queries, keys and values of some texts.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    /// `[tokens, 3, heads, DIM]`: the queries of a token, its keys and its values.
    pub numbers: &'a [f32],
    /// Heads.
    pub heads: usize,
    /// How many tokens each text has.
    pub lengths: &'a [usize],
}

/// One head of one text.
#[derive(Clone, Copy)]
struct Task<'a> {
    texts: Texts<'a>,
    first: usize,
    tokens: usize,
    head: usize,
    out: Parts<f32>,
}

/// A head's keys and values where they are found soonest, and the weights of some rows.
#[derive(Default)]
struct Scratch {
    /// `[tokens / 16, DIM, 16]`: a number of 16 keys side by side, filled up with zeroes.
    keys: Vec<f32>,
    /// `[tokens, DIM]`.
    values: Vec<f32>,
    weights: Vec<f32>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

impl Task<'_> {
    /// The query, key or value (`part` 0 to 2) of a token.
    fn numbers(&self, part: usize, token: usize) -> &[f32; DIM] {
        let at = ((self.first + token) * 3 + part) * self.texts.heads + self.head;
        self.texts.numbers[at * DIM..]
            .first_chunk()
            .expect("the lengths were checked")
    }

    /// Writes what a token gets.
    #[allow(unsafe_code)]
    fn write(&self, token: usize, numbers: &[f32; DIM]) {
        let at = ((self.first + token) * self.texts.heads + self.head) * DIM;
        // SAFETY: the output is borrowed while the task lives, and each head of each token is computed by one piece.
        unsafe { self.out.part(at, DIM) }.copy_from_slice(numbers);
    }

    /// Puts keys and values into their places.
    #[inline(always)]
    #[allow(clippy::inline_always)] // So that each instruction set has its own copy.
    fn gather(&self, scratch: &mut Scratch) {
        scratch.keys.clear();
        scratch.keys.resize(self.tokens.div_ceil(LANES) * LANES * DIM, 0.0);
        scratch.values.resize(self.tokens * DIM, 0.0);
        let panels = scratch.keys.chunks_exact_mut(LANES * DIM);
        for (panel, first) in panels.zip((0..self.tokens).step_by(LANES)) {
            for lane in 0..LANES.min(self.tokens - first) {
                for (d, number) in self.numbers(1, first + lane).iter().enumerate() {
                    panel[d * LANES + lane] = *number;
                }
            }
        }
        for (token, value) in scratch.values.as_chunks_mut::<DIM>().0.iter_mut().enumerate() {
            *value = *self.numbers(2, token);
        }
    }
}

/// What scores are multiplied by.
fn scale() -> f32 {
    1.0 / (DIM as f32).sqrt()
}

/// Writes what each token gets from its text, `[tokens, heads, DIM]`, on the threads of the pool.
///
/// # Panics
/// If the lengths do not agree.
pub fn attend(level: Level, texts: Texts<'_>, out: &mut [f32]) {
    let tokens: usize = texts.lengths.iter().sum();
    assert!(
        texts.numbers.len() == 3 * out.len() && out.len() == tokens * texts.heads * DIM,
        "queries, keys, values and output of as many tokens"
    );
    let out = Parts::new(out);
    let mut tasks = Vec::new();
    let mut first = 0;
    for &tokens in texts.lengths {
        tasks.extend((0..texts.heads).map(|head| Task {
            texts,
            first,
            tokens,
            head,
            out,
        }));
        first += tokens;
    }
    pool::run(tasks.len(), &|index| {
        let mut scratch = SCRATCH.take();
        compute(level, &tasks[index], &mut scratch);
        SCRATCH.set(scratch);
    });
}

fn compute(level: Level, task: &Task<'_>, scratch: &mut Scratch) {
    match level.0 {
        Set::Scalar => body::compute(task, scratch),
        // SAFETY: a `Level` with this instruction set exists only where it was detected.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Set::Avx2 => unsafe { avx2(task, scratch) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Set::Avx512 => unsafe { avx512::compute(task, scratch) },
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        #[allow(unsafe_code)]
        Set::Neon | Set::NeonDotprod | Set::NeonI8mm => unsafe { neon::compute(task, scratch) },
    }
}

/// The specification, compiled for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(task: &Task<'_>, scratch: &mut Scratch) {
    body::compute(task, scratch);
}
