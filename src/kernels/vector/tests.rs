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
