#![allow(clippy::float_cmp)] // Where results must be the very same numbers, they are compared so.
use super::*;

/// Numbers in (-1, 1) from a linear congruential generator: the same on every machine.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn attended(level: Level, numbers: &[f32], heads: usize, lengths: &[usize]) -> Vec<f32> {
    let mut out = vec![f32::NAN; numbers.len() / 3];
    attend(
        level,
        Texts {
            numbers,
            heads,
            lengths,
        },
        &mut out,
    );
    out
}

/// One text in double precision, from the formula.
fn exact(numbers: &[f32], heads: usize) -> Vec<f64> {
    let width = heads * DIM;
    let tokens = numbers.len() / (3 * width);
    let at = |token: usize, part: usize, head: usize, d: usize| {
        f64::from(numbers[(token * 3 + part) * width + head * DIM + d])
    };
    let mut out = Vec::new();
    for token in 0..tokens {
        for head in 0..heads {
            let score = |key| {
                (0..DIM)
                    .map(|d| at(token, 0, head, d) * at(key, 1, head, d))
                    .sum::<f64>()
            };
            let weights: Vec<f64> = (0..tokens)
                .map(|key| (score(key) / (DIM as f64).sqrt()).exp())
                .collect();
            let total: f64 = weights.iter().sum();
            out.extend((0..DIM).map(|d| {
                let sum: f64 = weights.iter().enumerate().map(|(key, w)| w * at(key, 2, head, d)).sum();
                sum / total
            }));
        }
    }
    out
}

#[test]
fn attention_agrees_with_double_precision_at_every_length() {
    for level in Level::available() {
        for tokens in (1..=40).chain([63, 64, 65, 139, 200]) {
            for heads in [1, 3] {
                let mut x = numbers(3 * tokens * heads * DIM, tokens as u64);
                // Scores up to 8 * 32 / sqrt(32) = 45: some weights vanish.
                for x in &mut *x {
                    *x *= 2.8;
                }
                let out = attended(level, &x, heads, &[tokens]);
                for (got, exact) in out.iter().zip(exact(&x, heads)) {
                    // A score is off by 34 roundings of at most 45, and so is the logarithm of its weight; values are
                    // below 3, and their sum has as many roundings as there are tokens.
                    let bound = 3.0 * (34.0 * 45.0 + tokens as f64) * f64::from(f32::EPSILON);
                    let error = (f64::from(*got) - exact).abs();
                    assert!(error <= bound, "{} {tokens}x{heads}: {error}", level.name());
                }
            }
        }
    }
}

#[test]
fn a_text_gets_the_same_numbers_beside_any_others() {
    let (heads, lengths) = (2, [5, 17, 1, 64, 30]);
    let row = 3 * heads * DIM;
    let x = numbers(lengths.iter().sum::<usize>() * row, 3);
    for level in Level::available() {
        let together = attended(level, &x, heads, &lengths);
        assert_eq!(
            crate::kernels::pool::with_threads(3, || attended(level, &x, heads, &lengths)),
            together
        );
        let mut first = 0;
        for tokens in lengths {
            let alone = attended(level, &x[first * row..(first + tokens) * row], heads, &[tokens]);
            let width = heads * DIM;
            assert_eq!(
                alone,
                together[first * width..(first + tokens) * width],
                "{}",
                level.name()
            );
            first += tokens;
        }
    }
}

#[test]
fn a_far_larger_score_takes_all_and_no_number_stays_none() {
    for level in Level::available() {
        let mut x = numbers(3 * 20 * DIM, 9);
        for token in 0..20 {
            x[token * 3 * DIM] = 1e4;
            x[(token * 3 + 1) * DIM] = if token == 7 { 1e4 } else { -1e4 };
        }
        let out = attended(level, &x, 1, &[20]);
        for row in out.chunks_exact(DIM) {
            assert_eq!(row, &x[(7 * 3 + 2) * DIM..][..DIM], "{}", level.name());
        }
        x[(4 * 3 + 1) * DIM + 2] = f32::NAN;
        let out = attended(level, &x, 1, &[20]);
        assert!(out.iter().all(|number| number.is_nan()), "{}", level.name());
    }
}

#[test]
#[should_panic(expected = "as many tokens")]
fn other_lengths_are_refused() {
    attended(Level::detect(), &[0.0; 3 * DIM * 4], 1, &[3]);
}

/// Where a product and a sum are one instruction everywhere, levels differ in nothing.
#[cfg(target_arch = "aarch64")]
#[test]
fn all_levels_give_the_numbers_of_the_specification() {
    for tokens in (1..=20).chain([63, 64, 65, 139]) {
        let x = numbers(3 * tokens * 2 * DIM, tokens as u64);
        let want = attended(Level::scalar(), &x, 2, &[tokens]);
        for level in Level::available() {
            assert_eq!(attended(level, &x, 2, &[tokens]), want, "{} {tokens}", level.name());
        }
    }
}
