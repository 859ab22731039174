#![allow(clippy::unwrap_used)]
#![allow(clippy::float_cmp)] // Levels must give the very same numbers.
use super::*;
use half::{bf16, f16};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// A matrix as a file has it, and its numbers.
fn file(format: Format, numbers: usize, rng: &mut StdRng) -> (Vec<u8>, Vec<f32>) {
    let (mut bytes, mut all) = (Vec::new(), Vec::new());
    for _ in 0..numbers {
        let number: f32 = rng.random_range(-1.0..1.0) * 10f32.powi(rng.random_range(-6..2));
        match format {
            Format::F32 => {
                bytes.extend(number.to_le_bytes());
                all.push(number);
            }
            Format::F16 => {
                bytes.extend(f16::from_f32(number).to_le_bytes());
                all.push(f16::from_f32(number).to_f32());
            }
            Format::BF16 => {
                bytes.extend(bf16::from_f32(number).to_le_bytes());
                all.push(bf16::from_f32(number).to_f32());
            }
        }
    }
    (bytes, all)
}

fn packed(format: Format, shape: (usize, usize), file: &[u8]) -> Vec<u8> {
    let mut out = vec![0xff; format.packed_bytes(shape.0, shape.1)];
    format.pack(shape, file, &mut out);
    out
}

fn product(level: Level, matrix: Matrix<'_>, bias: Option<&[f32]>, x: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.len() / matrix.columns * matrix.rows];
    let product = Product {
        matrix,
        bias,
        out: &mut out,
    };
    multiply(level, x, matrix.columns, &mut [product]);
    out
}

fn shapes() -> impl Iterator<Item = (usize, usize)> {
    [1, 3, 32, 101]
        .into_iter()
        .flat_map(|columns| [1, 15, 16, 17, 63, 64, 65, 130].map(|rows| (rows, columns)))
}

#[test]
fn packing_keeps_every_number() {
    let mut rng = StdRng::seed_from_u64(1);
    for format in Format::ALL {
        for shape in shapes() {
            let (file, numbers) = file(format, shape.0 * shape.1, &mut rng);
            let bytes = packed(format, shape, &file);
            let matrix = Matrix::new(format, shape, &bytes);
            for (row, want) in numbers.chunks(shape.1).enumerate() {
                assert_eq!(matrix.row(row), want, "{format:?} {shape:?}");
            }
        }
    }
}

#[test]
fn products_are_right_and_the_same_on_all_levels_beside_any_rows() {
    let mut rng = StdRng::seed_from_u64(2);
    for format in Format::ALL {
        for shape in shapes() {
            let (file, numbers) = file(format, shape.0 * shape.1, &mut rng);
            let bytes = packed(format, shape, &file);
            let matrix = Matrix::new(format, shape, &bytes);
            let bias: Vec<f32> = (0..shape.0).map(|_| rng.random_range(-1.0..1.0)).collect();
            let most = 14;
            let x: Vec<f32> = (0..most * shape.1).map(|_| rng.random_range(-2.0..2.0)).collect();
            let want = product(Level::scalar(), matrix, Some(&bias), &x);
            for (x, want) in x.chunks(shape.1).zip(want.chunks(shape.0)) {
                for ((weights, bias), want) in numbers.chunks(shape.1).zip(&bias).zip(want) {
                    let terms = || (weights.iter().zip(x)).map(|(w, x)| f64::from(*w) * f64::from(*x));
                    let exact = f64::from(*bias) + terms().sum::<f64>();
                    // Each of the additions rounds a sum that is not larger than the sum of all sizes.
                    let size = f64::from(bias.abs()) + terms().map(f64::abs).sum::<f64>();
                    let bound = shape.1 as f64 * f64::from(f32::EPSILON) * size;
                    assert!((f64::from(*want) - exact).abs() <= bound, "{format:?} {shape:?}");
                }
            }
            for level in Level::available() {
                for rows in 1..=most {
                    let got = product(level, matrix, Some(&bias), &x[..rows * shape.1]);
                    assert_eq!(
                        got,
                        want[..rows * shape.0],
                        "{format:?} {shape:?} x {rows} {}",
                        level.name()
                    );
                }
            }
        }
    }
}

#[test]
fn threads_share_several_products_without_changing_them() {
    let mut rng = StdRng::seed_from_u64(3);
    let shapes = [(16 * 37 + 3, 40), (20, 40)];
    for format in Format::ALL {
        let bytes = shapes.map(|shape| packed(format, shape, &file(format, shape.0 * shape.1, &mut rng).0));
        let matrices = [0, 1].map(|index| Matrix::new(format, shapes[index], &bytes[index]));
        for rows in [1, 9] {
            let x: Vec<f32> = (0..rows * 40).map(|_| rng.random_range(-2.0..2.0)).collect();
            for level in Level::available() {
                let alone = pool::with_threads(1, || matrices.map(|matrix| product(level, matrix, None, &x)));
                let mut outs = shapes.map(|shape| vec![f32::NAN; rows * shape.0]);
                let mut products: Vec<_> = (outs.iter_mut().zip(matrices))
                    .map(|(out, matrix)| Product {
                        matrix,
                        bias: None,
                        out,
                    })
                    .collect();
                pool::with_threads(3, || multiply(level, &x, 40, &mut products));
                assert_eq!(outs, alone, "{format:?} {rows} {}", level.name());
            }
        }
    }
}

#[test]
fn what_is_not_finite_stays_in_its_row() {
    for format in Format::ALL {
        let shape = (20, 8);
        let (file, _) = file(format, 160, &mut StdRng::seed_from_u64(4));
        let bytes = packed(format, shape, &file);
        let mut x = vec![1.0; 16];
        x[3] = f32::NAN;
        for level in Level::available() {
            let got = product(level, Matrix::new(format, shape, &bytes), None, &x);
            assert!(got[..20].iter().all(|y| y.is_nan()));
            assert!(got[20..].iter().all(|y| y.is_finite()));
        }
    }
}

#[test]
fn no_rows_are_no_work() {
    let bytes = packed(Format::F16, (3, 4), &[0; 24]);
    let got = product(Level::detect(), Matrix::new(Format::F16, (3, 4), &bytes), None, &[]);
    assert!(got.is_empty());
}

#[test]
#[should_panic(expected = "columns of a matrix and of activations")]
fn activations_of_another_width_are_refused() {
    let bytes = packed(Format::F32, (1, 4), &[0; 16]);
    let matrix = Matrix::new(Format::F32, (1, 4), &bytes);
    let product = Product {
        matrix,
        bias: None,
        out: &mut [0.0],
    };
    multiply(Level::detect(), &[1.0; 3], 3, &mut [product]);
}
