//! Rotary position embedding (Su et al., arXiv:2104.09864).

use crate::kernels::pool;

/// Tokens a thread takes at a time.
const TOKENS: usize = 32;

/// Which two numbers of a head make a pair that is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RopeStyle {
    /// `i` and `i + dim / 2` (GPT-NeoX).
    Halves,
    /// `2 i` and `2 i + 1` (the paper). llama.cpp's converter permutes the weights of llama models to it.
    Neighbours,
}

/// The rotation of queries and keys by their positions. Angles are computed for the tokens at hand, in `f64`: a table
/// for the whole context would be larger and no faster.
#[derive(Clone, Debug)]
pub(crate) struct Rope {
    style: RopeStyle,
    /// Radians by which each pair turns from one token to the next.
    frequencies: Vec<f64>,
}

/// Cosines and sines of some tokens, `[tokens, pairs]` each.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rotation {
    /// The cosines.
    pub(crate) fn cos(&self) -> &[f32] {
        &self.cos
    }

    /// The sines.
    pub(crate) fn sin(&self) -> &[f32] {
        &self.sin
    }
}

impl Rope {
    /// Rotation of the first `dim` numbers of a head (an even number). `stretch` divides positions (linear scaling;
    /// Chen et al., arXiv:2306.15595), `factors` divides the frequency of each pair (Llama 3.1).
    pub(crate) fn new(style: RopeStyle, dim: usize, base: f32, stretch: f32, factors: Option<&[f32]>) -> Self {
        let frequency = |pair: usize| {
            let factor = factors.map_or(1.0, |factors| f64::from(factors[pair]));
            f64::from(base).powf(-2.0 * pair as f64 / dim as f64) / (factor * f64::from(stretch))
        };
        Self {
            style,
            frequencies: (0..dim / 2).map(frequency).collect(),
        }
    }

    /// Which numbers are paired.
    pub(crate) fn style(&self) -> RopeStyle {
        self.style
    }

    /// Pairs of a head that are rotated.
    pub(crate) fn pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// The rotation of tokens at these positions.
    pub(crate) fn rotation(&self, positions: &[usize]) -> Rotation {
        let pairs = self.frequencies.len();
        let mut cos = Vec::with_capacity(positions.len() * pairs);
        let mut sin = Vec::with_capacity(positions.len() * pairs);
        for position in positions {
            for frequency in &self.frequencies {
                let (s, c) = (*position as f64 * frequency).sin_cos();
                cos.push(c as f32);
                sin.push(s as f32);
            }
        }
        Rotation { cos, sin }
    }

    /// The rotation by which `tokens` tokens get from where they stand to `by` positions further (back, if negative):
    /// rotations add up.
    pub(crate) fn turn(&self, by: i64, tokens: usize) -> Rotation {
        let angles = self.frequencies.iter().map(|frequency| by as f64 * frequency);
        let (sin, cos): (Vec<f32>, Vec<f32>) = angles.map(|angle| (angle.sin() as f32, angle.cos() as f32)).unzip();
        Rotation {
            cos: cos.repeat(tokens),
            sin: sin.repeat(tokens),
        }
    }

    /// Rotates every head of `[tokens, heads * head_dim]`.
    pub(crate) fn apply(&self, x: &mut [f32], (heads, head_dim): (usize, usize), rotation: &Rotation) {
        let pairs = self.frequencies.len();
        if pairs == 0 {
            return;
        }
        let row = heads * head_dim;
        pool::run_chunks(x, TOKENS * row, &|piece, x| {
            let angles = rotation.cos.chunks_exact(pairs).zip(rotation.sin.chunks_exact(pairs));
            for (x, (cos, sin)) in x.chunks_exact_mut(row).zip(angles.skip(piece * TOKENS)) {
                for head in x.chunks_exact_mut(head_dim) {
                    match self.style {
                        RopeStyle::Halves => halves(&mut head[..2 * pairs], cos, sin),
                        RopeStyle::Neighbours => neighbours(&mut head[..2 * pairs], cos, sin),
                    }
                }
            }
        });
    }
}

fn halves(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (first, second) = head.split_at_mut(cos.len());
    for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(cos.iter().zip(sin)) {
        (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
    }
}

fn neighbours(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    for ([a, b], (cos, sin)) in head.as_chunks_mut::<2>().0.iter_mut().zip(cos.iter().zip(sin)) {
        (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn turned(rope: &Rope, head: &[f32], position: usize) -> Vec<f32> {
        let mut x = head.to_vec();
        rope.apply(&mut x, (1, head.len()), &rope.rotation(&[position]));
        x
    }

    fn close(got: &[f32], want: &[f32]) {
        assert!(
            got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5),
            "{got:?} {want:?}"
        );
    }

    #[test]
    fn pairs_are_neighbours_or_halves() {
        // Base 100 and four numbers: pair 0 turns by 1 a token, pair 1 by a tenth.
        let (s0, c0) = 3f32.sin_cos();
        let (s1, c1) = 0.3f32.sin_cos();
        let halves = Rope::new(RopeStyle::Halves, 4, 100.0, 1.0, None);
        close(&turned(&halves, &[1.0, 1.0, 0.0, 0.0], 3), &[c0, c1, s0, s1]);
        let neighbours = Rope::new(RopeStyle::Neighbours, 4, 100.0, 1.0, None);
        close(&turned(&neighbours, &[1.0, 0.0, 1.0, 0.0], 3), &[c0, s0, c1, s1]);
    }

    #[test]
    fn scaling_divides_angles() {
        let plain = Rope::new(RopeStyle::Halves, 4, 100.0, 1.0, None);
        let stretched = Rope::new(RopeStyle::Halves, 4, 100.0, 8.0, None);
        let head = [0.3, -1.0, 2.0, 0.7];
        close(&turned(&stretched, &head, 40), &turned(&plain, &head, 5));
        let factored = Rope::new(RopeStyle::Halves, 4, 100.0, 1.0, Some(&[4.0, 4.0]));
        close(&turned(&factored, &head, 20), &turned(&plain, &head, 5));
    }

    #[test]
    fn a_turn_leads_from_one_position_to_another() {
        let rope = Rope::new(RopeStyle::Halves, 4, 100.0, 2.0, None);
        let head = [0.3, -1.0, 2.0, 0.7];
        for (from, to) in [(3usize, 40usize), (40, 3), (7, 7)] {
            let mut x = turned(&rope, &head, from);
            rope.apply(&mut x, (1, 4), &rope.turn(to as i64 - from as i64, 1));
            close(&x, &turned(&rope, &head, to));
        }
    }

    #[test]
    fn numbers_beyond_the_rotated_ones_stay() {
        let rope = Rope::new(RopeStyle::Halves, 2, 100.0, 1.0, None);
        let (s, c) = 2f32.sin_cos();
        close(&turned(&rope, &[1.0, 0.0, 5.0, 6.0], 2), &[c, s, 5.0, 6.0]);
    }
}
