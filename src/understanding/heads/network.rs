//! A small network over what the encoder says of a text, with the text's own grams beside it.
//!
//! The encoder's numbers (blocks, each centred and of unit length) go through one hidden layer with GELU; each label's score is a
//! product with that, plus the weights of the text's grams. Weights are kept in 8 bits, a scale for each row.

use super::lexicon::{Grams, Lexicon};
use crate::kernels::inner;
use crate::kernels::level::Level;

/// Rows of numbers, one beside the other, as products take them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rows {
    /// Numbers in a row.
    pub width: usize,
    /// Row-major.
    pub data: Vec<f32>,
}

/// A row of 8-bit numbers and what they are multiplied with.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rounded {
    pub scale: f32,
    pub numbers: Vec<i8>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Network {
    /// What the blocks of a text's numbers are centred by.
    pub means: Vec<f32>,
    /// Numbers in a block.
    pub block: usize,
    /// `[hidden, means]`.
    pub hidden: Rows,
    pub hidden_bias: Vec<f32>,
    /// `[labels, hidden]`.
    pub output: Rows,
    pub output_bias: Vec<f32>,
    pub lexicon: Lexicon,
    /// `[grams, labels]`.
    pub grams: Rows,
}

impl Rows {
    pub(super) fn count(&self) -> usize {
        self.data.len() / self.width.max(1)
    }

    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.width..(row + 1) * self.width]
    }

    /// The products of `vector` with every row.
    pub(super) fn products(&self, level: Level, vector: &[f32]) -> Vec<f32> {
        let rows: Vec<u32> = (0..self.count() as u32).collect();
        let mut out = vec![0.0; rows.len()];
        if !rows.is_empty() {
            inner::dots(level, vector, &self.data, &rows, &mut out);
        }
        out
    }

    /// Rounded to 8 bits, as a file keeps it.
    pub(super) fn rounded(&self) -> impl Iterator<Item = Rounded> + '_ {
        self.data.chunks_exact(self.width.max(1)).map(|row| {
            let largest = row.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            let scale = largest / 127.0;
            let per = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            Rounded {
                scale,
                numbers: row.iter().map(|x| (x * per).round() as i8).collect(),
            }
        })
    }

    /// What a file keeps, as it is computed with.
    pub(super) fn of(width: usize, rows: impl Iterator<Item = Rounded>) -> Self {
        let data = rows.flat_map(|row| {
            let scale = row.scale;
            row.numbers.into_iter().map(move |x| f32::from(x) * scale)
        });
        Self {
            width,
            data: data.collect(),
        }
    }
}

/// The error function's approximation of GELU by tanh (Hendrycks and Gimpel, arXiv:1606.08415).
pub(super) fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + inner_tanh(x))
}

/// The derivative of [`gelu`].
pub(super) fn gelu_slope(x: f32) -> f32 {
    let t = inner_tanh(x);
    let inner = ROOT * (1.0 + 3.0 * CUBIC * x * x);
    0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inner
}

/// The root of 2 / pi.
const ROOT: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

fn inner_tanh(x: f32) -> f32 {
    (ROOT * (x + CUBIC * x * x * x)).tanh()
}

/// Centres and scales the blocks of a text's numbers: each block to unit length, all together to a mean square of 1.
pub(super) fn standardised(numbers: &[f32], means: &[f32], block: usize) -> Vec<f32> {
    let mut out: Vec<f32> = numbers.iter().zip(means).map(|(x, mean)| x - mean).collect();
    let target = (block as f32).sqrt();
    for block in out.chunks_mut(block.max(1)) {
        let norm = block.iter().map(|x| x * x).sum::<f32>().sqrt();
        if norm > 0.0 {
            for x in block {
                *x *= target / norm;
            }
        }
    }
    out
}

/// Probabilities by the softmax of `scores` at a temperature.
pub(super) fn softmax(scores: &[f32], temperature: f32) -> Vec<f32> {
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut out: Vec<f32> = scores.iter().map(|x| ((x - largest) / temperature).exp()).collect();
    let sum: f32 = out.iter().sum();
    for x in &mut out {
        *x /= sum;
    }
    out
}

impl Network {
    /// Adds what the grams say to `scores`.
    pub(super) fn add_grams(grams: &Grams, weights: &Rows, scores: &mut [f32]) {
        for &(place, weight) in grams {
            let row = weights.row(place as usize);
            scores.iter_mut().zip(row).for_each(|(score, x)| *score += weight * x);
        }
    }

    /// Each label's score for a text, of which the encoder says `numbers`.
    pub(super) fn scores(&self, level: Level, numbers: &[f32], text: &str) -> Vec<f32> {
        let input = standardised(numbers, &self.means, self.block);
        let mut hidden = self.hidden.products(level, &input);
        for (x, bias) in hidden.iter_mut().zip(&self.hidden_bias) {
            *x = gelu(*x + bias);
        }
        let mut scores = self.output.products(level, &hidden);
        scores
            .iter_mut()
            .zip(&self.output_bias)
            .for_each(|(score, bias)| *score += bias);
        Self::add_grams(&self.lexicon.grams(text), &self.grams, &mut scores);
        scores
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_curve() {
        for x in [-3.0_f32, -0.7, 0.0, 0.4, 2.5] {
            let slope = (gelu(x + 1e-3) - gelu(x - 1e-3)) / 2e-3;
            assert!((slope - gelu_slope(x)).abs() < 1e-3, "{x}: {slope} {}", gelu_slope(x));
        }
    }

    #[test]
    fn rounding_keeps_rows_within_half_a_step() {
        let rows = Rows {
            width: 3,
            data: vec![1.0, -0.5, 0.1, 0.0, 0.0, 0.0],
        };
        let back = Rows::of(3, rows.rounded());
        for (a, b) in rows.data.iter().zip(&back.data) {
            assert!((a - b).abs() <= 0.5 / 127.0 + 1e-6);
        }
    }

    #[test]
    fn blocks_are_centred_and_of_equal_weight() {
        let out = standardised(&[3.0, 4.0, 1.0, 9.0], &[0.0, 0.0, 1.0, 1.0], 2);
        assert_eq!(out.len(), 4);
        for block in out.chunks(2) {
            assert!((block.iter().map(|x| x * x).sum::<f32>() - 2.0).abs() < 1e-5);
        }
        assert!((softmax(&[1.0, 2.0, 3.0], 2.0).iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}
