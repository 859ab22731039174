#![allow(clippy::float_cmp)] // Where results must be the very same numbers, they are compared so.
use super::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

struct Case {
    layout: Layout,
    /// `[tokens, heads * dim]`, as half-precision numbers hold them.
    keys: Vec<f32>,
    values: Vec<f32>,
    pages: Vec<Vec<f16>>,
}

impl Case {
    fn new(heads: usize, dim: usize, tokens: usize, rng: &mut StdRng) -> Self {
        let layout = Layout::new(heads, dim);
        let mut numbers = || {
            (0..tokens * heads * dim)
                .map(|_| f16::from_f32(rng.random_range(-1.0..1.0f32)).to_f32())
                .collect::<Vec<_>>()
        };
        let (keys, values) = (numbers(), numbers());
        // Whatever lies behind the tokens must not matter.
        let mut pages = vec![vec![f16::NAN; layout.numbers()]; tokens.div_ceil(BLOCK)];
        let row = heads * dim;
        for ((keys, values), page) in keys.chunks(BLOCK * row).zip(values.chunks(BLOCK * row)).zip(&mut pages) {
            layout.write(0, (keys, values), page);
        }
        Self {
            layout,
            keys,
            values,
            pages,
        }
    }

    fn cached(&self) -> Cached<'_> {
        Cached::new(self.layout, self.pages.iter().map(Vec::as_slice).collect())
    }

    fn attend(&self, level: Level, queries: Queries<'_>) -> Vec<f32> {
        let mut out = vec![f32::NAN; queries.numbers.len()];
        let cached = self.cached();
        attend(
            level,
            vec![Attend {
                queries,
                cached,
                out: &mut out,
            }],
        );
        out
    }

    /// One head of one token in double precision.
    fn exact(&self, query: &[f32], head: usize, (from, to): (usize, usize), scale: f32) -> Vec<f64> {
        let Layout { heads, dim } = self.layout;
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
                        positions: &(0..tokens).collect::<Vec<_>>(),
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
            let positions: Vec<usize> = (0..tokens).collect();
            let queries = |first: usize, tokens: usize| Queries {
                numbers: &numbers[first * row..(first + tokens) * row],
                heads: heads * group,
                positions: &positions[first..first + tokens],
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
fn sequences_that_attend_together_find_what_each_finds_alone() {
    let mut rng = StdRng::seed_from_u64(3);
    let (heads, group, dim) = (2, 3, 24);
    let row = heads * group * dim;
    let sizes = [(1, 1), (130, 1), (70, 9), (64, 64)];
    let cases = sizes.map(|(tokens, _)| Case::new(heads, dim, tokens, &mut rng));
    let numbers = sizes.map(|(_, count)| {
        (0..count * row)
            .map(|_| rng.random_range(-1.0..1.0f32))
            .collect::<Vec<_>>()
    });
    for level in Level::available() {
        let positions = sizes.map(|(tokens, count)| (tokens - count..tokens).collect::<Vec<_>>());
        let queries: Vec<_> = (positions.iter().zip(&numbers))
            .map(|(positions, numbers)| Queries {
                numbers,
                heads: heads * group,
                positions,
                window: Some(80),
                scale: 0.2,
            })
            .collect();
        let alone: Vec<_> = (cases.iter().zip(&queries))
            .map(|(case, queries)| case.attend(level, *queries))
            .collect();
        let mut together: Vec<_> = alone.iter().map(|out| vec![f32::NAN; out.len()]).collect();
        let list = (cases.iter().zip(&queries).zip(&mut together))
            .map(|((case, queries), out)| Attend {
                queries: *queries,
                cached: case.cached(),
                out,
            })
            .collect();
        attend(level, list);
        assert_eq!(together, alone, "{}", level.name());
    }
}

#[test]
fn tokens_need_not_follow_one_another() {
    let mut rng = StdRng::seed_from_u64(6);
    let (heads, group, dim, tokens) = (2, 3, 32, 200);
    let case = Case::new(heads, dim, tokens, &mut rng);
    let row = heads * group * dim;
    let numbers: Vec<f32> = (0..tokens * row).map(|_| rng.random_range(-3.0..3.0)).collect();
    let chosen: Vec<usize> = (0..10).chain([63, 64, 90]).chain(130..160).collect();
    let some: Vec<f32> = chosen
        .iter()
        .flat_map(|&token| &numbers[token * row..(token + 1) * row])
        .copied()
        .collect();
    for level in Level::available() {
        for window in [None, Some(50)] {
            let queries = Queries {
                numbers: &numbers,
                heads: heads * group,
                positions: &(0..tokens).collect::<Vec<_>>(),
                window,
                scale: 0.125,
            };
            let whole = case.attend(level, queries);
            let part = case.attend(
                level,
                Queries {
                    numbers: &some,
                    positions: &chosen,
                    ..queries
                },
            );
            for (index, &token) in chosen.iter().enumerate() {
                assert_eq!(
                    part[index * row..(index + 1) * row],
                    whole[token * row..(token + 1) * row]
                );
            }
        }
    }
}

#[test]
fn what_was_written_is_read() {
    let mut rng = StdRng::seed_from_u64(5);
    let case = Case::new(3, 20, 50, &mut rng);
    for token in 0..50 {
        for head in 0..3 {
            let at = (token * 3 + head) * 20;
            assert!(
                case.layout
                    .key(&case.pages[0], head, token)
                    .eq(case.keys[at..at + 20].iter().copied())
            );
            assert!(
                case.layout
                    .value(&case.pages[0], head, token)
                    .eq(case.values[at..at + 20].iter().copied())
            );
        }
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    let mut rng = StdRng::seed_from_u64(4);
    for level in Level::available() {
        let mut case = Case::new(1, 16, 70, &mut rng);
        let mut bad = vec![1.0; 16];
        bad[3] = f32::NAN;
        case.layout.write(66 - BLOCK, (&bad, &[1.0; 16]), &mut case.pages[1]);
        let numbers = vec![1.0; 16];
        let (last, before) = ([66], [65]);
        let queries = |positions| Queries {
            numbers: &numbers,
            heads: 1,
            positions,
            window: None,
            scale: 1.0,
        };
        assert!(
            case.attend(level, queries(&last)).iter().all(|y| y.is_nan()),
            "{}",
            level.name()
        );
        assert!(
            case.attend(level, queries(&before)).iter().all(|y| y.is_finite()),
            "{}",
            level.name()
        );
    }
}

/// Where a product and a sum are one instruction everywhere, levels differ in nothing.
#[cfg(target_arch = "aarch64")]
#[test]
fn all_levels_give_the_numbers_of_the_specification() {
    let mut rng = StdRng::seed_from_u64(7);
    for (heads, group, dim, tokens) in [(2, 7, 64, 150), (1, 3, 24, 70), (3, 1, 80, 129)] {
        let case = Case::new(heads, dim, tokens, &mut rng);
        let row = heads * group * dim;
        let numbers: Vec<f32> = (0..tokens * row).map(|_| rng.random_range(-3.0..3.0)).collect();
        for window in [None, Some(1), Some(40), Some(90)] {
            let queries = Queries {
                numbers: &numbers,
                heads: heads * group,
                positions: &(0..tokens).collect::<Vec<_>>(),
                window,
                scale: 0.2,
            };
            let want = case.attend(Level::scalar(), queries);
            for level in Level::available() {
                assert_eq!(case.attend(level, queries), want, "{} {window:?}", level.name());
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
#[test]
fn what_later_tokens_hold_does_not_matter() {
    let mut rng = StdRng::seed_from_u64(8);
    let (dim, tokens) = (16, 70);
    let numbers: Vec<f32> = (0..tokens * dim).map(|_| rng.random_range(-1.0..1.0)).collect();
    for level in Level::available() {
        let mut case = Case::new(1, dim, tokens, &mut rng);
        let queries = Queries {
            numbers: &numbers,
            heads: 1,
            positions: &(0..tokens).collect::<Vec<_>>(),
            window: None,
            scale: 1.0,
        };
        let want = case.attend(level, queries);
        case.layout
            .write(66 - BLOCK, (&[1.0; 16], &[f32::INFINITY; 16]), &mut case.pages[1]);
        let got = case.attend(level, queries);
        assert_eq!(got[..66 * dim], want[..66 * dim], "{}", level.name());
    }
}
