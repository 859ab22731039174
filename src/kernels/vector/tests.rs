#![allow(clippy::float_cmp)] // The ends of the exponential are the very numbers.
use super::*;

fn numbers(count: usize, step: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * step % 1601) as f32 - 800.0) / 50.0).collect()
}

#[test]
fn norm_agrees_with_double_precision() {
    for level in Level::available() {
        for (rows, columns) in [(1, 1), (3, 16), (5, 37), (40, 896), (2, 64)] {
            let (x, weight) = (numbers(rows * columns, 7), numbers(columns, 11));
            let mut out = vec![f32::NAN; x.len()];
            rms_norm(level, &x, &weight, 1e-6, &mut out);
            for (x, out) in x.chunks(columns).zip(out.chunks(columns)) {
                let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / columns as f64;
                let factor = 1.0 / (mean + 1e-6).sqrt();
                for ((x, weight), out) in x.iter().zip(&weight).zip(out) {
                    let exact = f64::from(*x) * factor * f64::from(*weight);
                    // Sums of positive numbers in 16 lanes: (columns / 16 + 20) roundings at most, halved by the root.
                    let bound = (columns as f64 / 16.0 + 24.0) * f64::from(f32::EPSILON) * exact.abs();
                    assert!(
                        (f64::from(*out) - exact).abs() <= bound,
                        "{} {rows}x{columns}",
                        level.name()
                    );
                }
            }
        }
    }
}

#[test]
fn gates_agree_with_double_precision() {
    // More than a batch, and not a whole number of them.
    let count = BATCH + 17;
    let (gates, up) = (numbers(count, 7), numbers(count, 11));
    for level in Level::available() {
        for activation in [Activation::Silu, Activation::GeluTanh] {
            let mut out = gates.clone();
            gate(level, activation, &mut out, &up);
            for ((x, up), got) in gates.iter().zip(&up).zip(&out) {
                let (x, up) = (f64::from(*x), f64::from(*up));
                let y = match activation {
                    Activation::Silu => x,
                    Activation::GeluTanh => 2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x),
                };
                let exact = x / (1.0 + (-y).exp()) * up;
                // The exponent is a rounded number: its error times its size, where the result is not yet nothing.
                let bound = (1e-6 + y.abs().min(87.0) * 4.0 * f64::from(f32::EPSILON)) * exact.abs() + 1e-30;
                assert!(
                    (f64::from(*got) - exact).abs() <= bound,
                    "{} {activation:?} {x}",
                    level.name()
                );
            }
        }
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    for level in Level::available() {
        let mut out = [0.0; 20];
        let mut x = [1.0; 20];
        x[3] = f32::NAN;
        rms_norm(level, &x, &[1.0; 20], 1e-6, &mut out);
        assert!(out.iter().all(|y| y.is_nan()));
        for activation in [Activation::Silu, Activation::GeluTanh] {
            let mut gates = x;
            gate(level, activation, &mut gates, &[1.0; 20]);
            assert!(gates[3].is_nan() && gates[4].is_finite());
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
    for level in Level::available() {
        let mut out = vec![f32::NAN; inputs.len()];
        gelu(level, &inputs, &mut out);
        for (x, y) in inputs.iter().zip(&out) {
            let x = f64::from(*x);
            let exact = 0.5 * x * (1.0 + erf_exact(x * std::f64::consts::FRAC_1_SQRT_2));
            let error = (f64::from(*y) - exact).abs();
            assert!(
                error <= 1e-6 * x.abs().max(1.0),
                "{} gelu({x}) = {y}, not {exact}",
                level.name()
            );
        }
    }
}

#[test]
fn exponential_is_accurate_down_to_its_end() {
    for i in 0..87_000 {
        let x = -(i as f32) / 1000.0;
        let exact = f64::from(x).exp();
        let error = (f64::from(exp_negative(x)) - exact).abs() / exact;
        assert!(error < 3e-7, "exp({x}): relative error {error}");
    }
    assert_eq!(exp_negative(f32::NEG_INFINITY), 0.0);
    assert_eq!(exp_negative(0.0), 1.0);
}

#[test]
fn layer_norm_agrees_with_double_precision() {
    for level in Level::available() {
        for (rows, columns) in [(1, 1), (1, 32), (3, 70), (5, 384), (100, 384)] {
            let (start, added) = (numbers(rows * columns, 7), numbers(rows * columns, 13));
            let (gain, bias) = (numbers(columns, 11), numbers(columns, 17));
            let norm = LayerNorm {
                gain: &gain,
                bias: &bias,
                epsilon: 1e-5,
            };
            let mut out = start.clone();
            add_layer_norm(level, &mut out, &added, norm);
            for (row, out) in out.chunks(columns).enumerate() {
                let x: Vec<f64> = (row * columns..(row + 1) * columns)
                    .map(|at| f64::from(start[at]) + f64::from(added[at]))
                    .collect();
                let mean = x.iter().sum::<f64>() / columns as f64;
                let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / columns as f64;
                for (c, out) in out.iter().enumerate() {
                    let normal = (x[c] - mean) / (variance + 1e-5).sqrt();
                    let exact = normal * f64::from(gain[c]) + f64::from(bias[c]);
                    // Numbers up to 32 with gains and biases up to 16; the mean is off by some roundings of them, as
                    // many as there are sums in a lane, and both parts of the result have some more.
                    let roundings = columns as f64 / 64.0 + 32.0;
                    let size = (32.0 / variance.sqrt().max(1e-2) + normal.abs() + 1.0) * 16.0;
                    let error = (f64::from(*out) - exact).abs();
                    assert!(
                        error <= roundings * size * f64::from(f32::EPSILON),
                        "{} {rows}x{columns}: {error}",
                        level.name()
                    );
                }
            }
        }
    }
}
