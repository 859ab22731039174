#![allow(clippy::float_cmp)] // Where results must be the very same numbers, they are compared so.
use super::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

struct Case {
    layout: Layout,
    /// `[tokens, heads * dim]`.
    keys: Vec<f32>,
    values: Vec<f32>,
    held: (Vec<f32>, Vec<f32>),
}

impl Case {
    fn new(heads: usize, dim: usize, tokens: usize, rng: &mut StdRng) -> Self {
        let layout = Layout::new(heads, dim, tokens);
        let mut numbers = || {
            (0..tokens * heads * dim)
                .map(|_| rng.random_range(-1.0..1.0f32))
                .collect::<Vec<_>>()
        };
        let (keys, values) = (numbers(), numbers());
        // Whatever lies behind the tokens must not matter.
        let mut held = (
            vec![f32::NAN; layout.key_numbers()],
            vec![f32::NAN; layout.value_numbers()],
        );
        layout.write(0, (&keys, &values), (&mut held.0, &mut held.1));
        Self {
            layout,
            keys,
            values,
            held,
        }
    }

    fn cached(&self) -> Cached<'_> {
        Cached::new(self.layout, &self.held.0, &self.held.1)
    }

    fn attend(&self, level: Level, queries: Queries<'_>) -> Vec<f32> {
        let mut out = vec![f32::NAN; queries.numbers.len()];
        attend(level, queries, self.cached(), &mut out);
        out
    }

    /// One head of one token in double precision.
    fn exact(&self, query: &[f32], head: usize, (from, to): (usize, usize), scale: f32) -> Vec<f64> {
        let Layout { heads, dim, .. } = self.layout;
        let at = |position: usize| (position * heads + head) * dim;
        let score = |position: usize| {
            let key = &self.keys[at(position)..at(position) + dim];
            query
                .iter()
                .zip(key)
                .map(|(q, k)| f64::from(*q) * f64::from(*k))
                .sum::<f64>()
                * f64::from(scale)
        };
        let scores: Vec<f64> = (from..to).map(score).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
        let total: f64 = weights.iter().sum();
        (0..dim)
            .map(|d| {
                let value = |position: usize| f64::from(self.values[at(position) + d]);
                (from..to)
                    .zip(&weights)
                    .map(|(position, weight)| weight * value(position))
                    .sum::<f64>()
                    / total
            })
            .collect()
    }
}

#[test]
fn attention_agrees_with_double_precision() {
    let mut rng = StdRng::seed_from_u64(1);
    for (heads, group, dim) in [(1, 1, 16), (2, 7, 64), (2, 3, 24), (1, 4, 128), (3, 2, 80)] {
        for tokens in [1, 5, 63, 64, 65, 200] {
            let case = Case::new(heads, dim, tokens, &mut rng);
            for window in [None, Some(1), Some(20), Some(64), Some(100)] {
                let row = heads * group * dim;
                let numbers: Vec<f32> = (0..tokens * row).map(|_| rng.random_range(-3.0..3.0)).collect();
                let scale = 0.5;
                for level in Level::available() {
                    let queries = Queries {
                        numbers: &numbers,
                        heads: heads * group,
                        first: 0,
                        window,
                        scale,
                    };
                    let got = case.attend(level, queries);
                    for (index, (query, got)) in numbers.chunks(dim).zip(got.chunks(dim)).enumerate() {
                        let (token, head) = (index / (heads * group), index % (heads * group) / group);
                        let to = token + 1;
                        let from = window.map_or(0, |window| to.saturating_sub(window));
                        let exact = case.exact(query, head, (from, to), scale);
                        // A score is a sum of `dim` products below 3, and is off by at most (dim + 2) roundings of that
                        // sum's size; a weight by as much relative to itself, and 3e-7 of its own; sums of up to 200
                        // weights and values below 1 by 200 roundings more.
                        let score = (dim as f64 + 2.0) * dim as f64 * 3.0 * 0.5;
                        let bound = 2.0 * (score * f64::from(f32::EPSILON) + 6e-7) + 400.0 * f64::from(f32::EPSILON);
                        for (got, exact) in got.iter().zip(&exact) {
                            let error = (f64::from(*got) - exact).abs();
                            assert!(
                                error <= bound,
                                "{} {heads}x{group}x{dim} {tokens} {window:?}: {error}",
                                level.name()
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_query_finds_the_same_whatever_is_computed_beside_it() {
    let mut rng = StdRng::seed_from_u64(2);
    let (heads, group, dim, tokens) = (2, 7, 64, 300);
    let case = Case::new(heads, dim, tokens, &mut rng);
    let row = heads * group * dim;
    let numbers: Vec<f32> = (0..tokens * row).map(|_| rng.random_range(-3.0..3.0)).collect();
    for level in Level::available() {
        for window in [None, Some(70)] {
            let queries = |first: usize, tokens: usize| Queries {
                numbers: &numbers[first * row..(first + tokens) * row],
                heads: heads * group,
                first,
                window,
                scale: 0.125,
            };
            let whole = case.attend(level, queries(0, tokens));
            for step in [1, 5, 64, 129] {
                for first in (0..tokens).step_by(step) {
                    let count = step.min(tokens - first);
                    let part = case.attend(level, queries(first, count));
                    assert_eq!(
                        part,
                        whole[first * row..(first + count) * row],
                        "{} {step}",
                        level.name()
                    );
                }
            }
        }
    }
}

#[test]
fn a_copy_holds_the_first_tokens() {
    let mut rng = StdRng::seed_from_u64(3);
    let (heads, dim) = (2, 24);
    let case = Case::new(heads, dim, 100, &mut rng);
    let layout = Layout::new(heads, dim, 300);
    let mut held = (vec![0.0; layout.key_numbers()], vec![0.0; layout.value_numbers()]);
    layout.copy(70, case.cached(), (&mut held.0, &mut held.1));
    let numbers: Vec<f32> = (0..heads * dim).map(|_| rng.random_range(-1.0..1.0)).collect();
    let queries = Queries {
        numbers: &numbers,
        heads,
        first: 69,
        window: None,
        scale: 1.0,
    };
    let mut out = vec![0.0; numbers.len()];
    attend(
        Level::detect(),
        queries,
        Cached::new(layout, &held.0, &held.1),
        &mut out,
    );
    assert_eq!(out, case.attend(Level::detect(), queries));
}

#[test]
fn what_is_not_finite_stays_so() {
    let mut rng = StdRng::seed_from_u64(4);
    for level in Level::available() {
        let mut case = Case::new(1, 16, 70, &mut rng);
        let mut bad = vec![1.0; 16];
        bad[3] = f32::NAN;
        case.layout
            .write(66, (&bad, &[1.0; 16]), (&mut case.held.0, &mut case.held.1));
        let numbers = vec![1.0; 16];
        let queries = |first| Queries {
            numbers: &numbers,
            heads: 1,
            first,
            window: None,
            scale: 1.0,
        };
        assert!(
            case.attend(level, queries(66)).iter().all(|y| y.is_nan()),
            "{}",
            level.name()
        );
        assert!(
            case.attend(level, queries(65)).iter().all(|y| y.is_finite()),
            "{}",
            level.name()
        );
    }
}
