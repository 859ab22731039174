#![allow(clippy::float_cmp)] // Where results must be the very same numbers, they are compared so.
use super::*;

/// Numbers in (-1, 1) from a linear congruential generator: the same on every machine.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    (0..count)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        })
        .collect()
}

#[test]
fn products_agree_with_double_precision_in_every_shape() {
    for kernels in Kernels::available() {
        for rows in (1..=26).chain([37, 64]) {
            for inner in [1_usize, 2, 31, 32, 33, 63, 64, 70, 96] {
                let stride = rows * WIDTH + 7;
                let left = numbers(inner.div_ceil(WIDTH) * stride, 3);
                let right = numbers(inner * WIDTH, 5);
                let start = numbers(rows * WIDTH + 3, 7);
                let mut out = start.clone();
                kernels.add_product(
                    Left {
                        data: &left,
                        rows,
                        stride,
                    },
                    inner,
                    &right,
                    &mut out,
                );
                for row in 0..rows {
                    for c in 0..WIDTH {
                        let mut exact = f64::from(start[row * WIDTH + c]);
                        for k in 0..inner {
                            let a = left[k / WIDTH * stride + row * WIDTH + k % WIDTH];
                            exact += f64::from(a) * f64::from(right[k * WIDTH + c]);
                        }
                        // Recursive summation of n numbers below 1: n * unit roundoff * the sum of their sizes (<= n).
                        let n = (inner + 1) as f64;
                        let bound = n * n * f64::from(f32::EPSILON);
                        let error = (f64::from(out[row * WIDTH + c]) - exact).abs();
                        assert!(error <= bound, "{} {rows}x{inner}: {error} > {bound}", kernels.name());
                    }
                }
                assert_eq!(
                    out[rows * WIDTH..],
                    start[rows * WIDTH..],
                    "{} writes past the output",
                    kernels.name()
                );
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_the_rows_beside_it() {
    let (rows, inner) = (29, 96);
    let left = numbers(rows * inner, 1);
    let right = numbers(inner * WIDTH, 2);
    for kernels in Kernels::available() {
        let mut all = vec![0.0; rows * WIDTH];
        kernels.add_product(
            Left {
                data: &left,
                rows,
                stride: rows * WIDTH,
            },
            inner,
            &right,
            &mut all,
        );
        for row in 0..rows {
            let mut one = vec![0.0; WIDTH];
            let at = Left {
                data: &left[row * WIDTH..],
                rows: 1,
                stride: rows * WIDTH,
            };
            kernels.add_product(at, inner, &right, &mut one);
            assert_eq!(one, all[row * WIDTH..(row + 1) * WIDTH], "{} row {row}", kernels.name());
        }
    }
}

#[test]
#[should_panic(expected = "left side is too short")]
fn a_short_left_side_is_refused() {
    let numbers = vec![0.0; 4096];
    let left = Left {
        data: &numbers[..65],
        rows: 1,
        stride: 64,
    };
    Kernels::detect().add_product(left, 64, &numbers, &mut [0.0; 32]);
}

#[test]
fn four_bit_weights_are_unpacked_exactly() {
    let packed: Vec<u8> = (0..2 * BLOCK_BYTES).map(|i| (i * 37 % 256) as u8).collect();
    let scales = numbers(2 * WIDTH, 11);
    for kernels in Kernels::available() {
        let mut out = vec![f32::NAN; 2 * WIDTH * WIDTH];
        kernels.unpack_q4(&packed, &scales, &mut out);
        for (i, value) in out.iter().enumerate() {
            let (block, k, c) = (i / (WIDTH * WIDTH), i / WIDTH % WIDTH, i % WIDTH);
            let byte = packed[block * BLOCK_BYTES + k % 16 * WIDTH + c];
            let q = if k < 16 { byte & 15 } else { byte >> 4 };
            assert_eq!(
                *value,
                (f32::from(q) - 8.0) * scales[block * WIDTH + c],
                "{}",
                kernels.name()
            );
        }
    }
}

#[test]
fn eight_bit_weights_are_unpacked_exactly() {
    let packed: Vec<i8> = (0..2 * WIDTH * WIDTH).map(|i| (i * 37 % 256) as u8 as i8).collect();
    let scales = numbers(2 * WIDTH, 11);
    for kernels in Kernels::available() {
        let mut out = vec![f32::NAN; packed.len()];
        kernels.unpack_q8(&packed, &scales, &mut out);
        for (i, value) in out.iter().enumerate() {
            let scale = scales[i / (WIDTH * WIDTH) * WIDTH + i % WIDTH];
            assert_eq!(*value, f32::from(packed[i]) * scale, "{}", kernels.name());
        }
    }
}

/// The error function by its Maclaurin series, and by the continued fraction of its complement where that converges
/// faster (Abramowitz & Stegun 7.1.5 and 7.1.14).
fn erf_exact(x: f64) -> f64 {
    let a = x.abs();
    let value = if a < 3.0 {
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term.abs() > 1e-18 {
            n += 1.0;
            term *= -a * a / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let fraction = (1..60).rev().fold(a, |f, k| a + f64::from(k) / 2.0 / f);
        1.0 - (-a * a).exp() / fraction * std::f64::consts::FRAC_2_SQRT_PI / 2.0
    };
    value.copysign(x)
}

#[test]
fn gelu_is_the_exact_one() {
    assert!((erf_exact(1.0) - 0.842_700_792_949_714_9).abs() < 1e-15);
    assert!((erf_exact(3.5) - 0.999_999_256_901_627_7).abs() < 1e-15);
    let inputs: Vec<f32> = (-12_001..=12_000)
        .map(|i| i as f32 / 1000.0)
        .chain([-1e9, 1e9, 0.0])
        .collect();
    for kernels in Kernels::available() {
        let mut out = inputs.clone();
        kernels.gelu(&mut out);
        for (x, y) in inputs.iter().zip(&out) {
            let x = f64::from(*x);
            let exact = 0.5 * x * (1.0 + erf_exact(x * std::f64::consts::FRAC_1_SQRT_2));
            let error = (f64::from(*y) - exact).abs();
            assert!(
                error <= 1e-6 * x.abs().max(1.0),
                "{} gelu({x}) = {y}, not {exact}",
                kernels.name()
            );
        }
    }
}

#[test]
fn exponential_is_accurate_down_to_its_end() {
    for i in 0..87_000 {
        let x = -(i as f32) / 1000.0;
        let exact = f64::from(x).exp();
        let error = (f64::from(body::exp_negative(x)) - exact).abs() / exact;
        assert!(error < 3e-7, "exp({x}): relative error {error}");
    }
    assert_eq!(body::exp_negative(f32::NEG_INFINITY), 0.0);
    assert_eq!(body::exp_negative(0.0), 1.0);
}

#[test]
fn softmax_agrees_with_double_precision() {
    for kernels in Kernels::available() {
        for (rows, columns) in [(1, 1_usize), (3, 5), (2, 32), (5, 33), (7, 64), (4, 100)] {
            let panels = columns.div_ceil(WIDTH);
            let start: Vec<f32> = numbers(panels * rows * WIDTH, 9).iter().map(|x| x * 40.0).collect();
            let mut out = start.clone();
            kernels.softmax(&mut out, rows, columns, 0.25);
            let at = |row: usize, c: usize| c / WIDTH * rows * WIDTH + row * WIDTH + c % WIDTH;
            for row in 0..rows {
                let e: Vec<f64> = (0..columns)
                    .map(|c| (f64::from(start[at(row, c)]) * 0.25).exp())
                    .collect();
                let total: f64 = e.iter().sum();
                for c in 0..panels * WIDTH {
                    let exact = e.get(c).map_or(0.0, |e| e / total);
                    let error = (f64::from(out[at(row, c)]) - exact).abs();
                    // The argument (below 10) is rounded before the exponential: 10 * epsilon, and its own error.
                    assert!(
                        error <= 2e-6 * exact,
                        "{} {rows}x{columns} at {row},{c}",
                        kernels.name()
                    );
                }
            }
        }
    }
}

#[test]
fn layer_norm_agrees_with_double_precision() {
    for kernels in Kernels::available() {
        for (rows, columns) in [(1, 32), (3, 64), (5, 384)] {
            let start = numbers(rows * columns, 1);
            let added = numbers(rows * columns, 2);
            let (gain, bias) = (numbers(columns, 3), numbers(columns, 4));
            let mut out = start.clone();
            kernels.add_layer_norm(
                &mut out,
                &added,
                rows,
                LayerNorm {
                    gain: &gain,
                    bias: &bias,
                    epsilon: 1e-5,
                },
            );
            let at = |row: usize, c: usize| c / WIDTH * rows * WIDTH + row * WIDTH + c % WIDTH;
            for row in 0..rows {
                let x: Vec<f64> = (0..columns)
                    .map(|c| f64::from(start[at(row, c)]) + f64::from(added[at(row, c)]))
                    .collect();
                let mean = x.iter().sum::<f64>() / columns as f64;
                let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / columns as f64;
                for c in 0..columns {
                    let exact = (x[c] - mean) / (variance + 1e-5).sqrt() * f64::from(gain[c]) + f64::from(bias[c]);
                    let error = (f64::from(out[at(row, c)]) - exact).abs();
                    assert!(error <= 1e-5, "{} {rows}x{columns}: {error}", kernels.name());
                }
            }
        }
    }
}
