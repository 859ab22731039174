#![allow(clippy::unwrap_used)]
#![allow(clippy::float_cmp)] // Levels must give the very same numbers.
use super::*;
use candle_core::CpuStorage;
use candle_core::quantized::GgmlDType;
use half::f16;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::borrow::Cow;

fn library_type(format: Format) -> GgmlDType {
    match format {
        Format::Q4_0 => GgmlDType::Q4_0,
        Format::Q4_1 => GgmlDType::Q4_1,
        Format::Q5_0 => GgmlDType::Q5_0,
        Format::Q5_1 => GgmlDType::Q5_1,
        Format::Q8_0 => GgmlDType::Q8_0,
        Format::Q4_K => GgmlDType::Q4K,
        Format::Q5_K => GgmlDType::Q5K,
        Format::Q6_K => GgmlDType::Q6K,
    }
}

/// Where the half-precision numbers of a block are.
fn halves(format: Format) -> &'static [usize] {
    match format {
        Format::Q4_0 | Format::Q5_0 | Format::Q8_0 => &[0],
        Format::Q4_1 | Format::Q5_1 | Format::Q4_K | Format::Q5_K => &[0, 2],
        Format::Q6_K => &[208],
    }
}

/// Random blocks with scales and minima as models have them (normal numbers of moderate size).
fn file(format: Format, (rows, columns): (usize, usize), rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = vec![0u8; rows * columns / format.file_block() * format.file_bytes()];
    rng.fill(&mut bytes[..]);
    for block in bytes.chunks_exact_mut(format.file_bytes()) {
        for &at in halves(format) {
            let number = f16::from_f32(rng.random_range(-0.02..0.02));
            block[at..at + 2].copy_from_slice(&number.to_le_bytes());
        }
    }
    bytes
}

/// What the tensor library makes of the same bytes, as the independent answer.
fn reference(format: Format, bytes: &[u8], numbers: usize) -> Vec<f32> {
    let blocks = library_type(format).from_data(Cow::Borrowed(bytes));
    match blocks.dequantize(numbers).unwrap() {
        CpuStorage::F32(numbers) => numbers,
        other => panic!("{other:?}"),
    }
}

fn packed(format: Format, shape: (usize, usize), file: &[u8]) -> Vec<u8> {
    let mut out = vec![0; format.packed_bytes(shape.0, shape.1)];
    format.pack(shape, file, &mut out);
    out
}

/// Shapes with whole and broken panels, in blocks of the format.
fn shapes(format: Format) -> impl Iterator<Item = (usize, usize)> {
    let block = format.file_block();
    [1, 3, 7]
        .into_iter()
        .flat_map(move |blocks| [1, 15, 16, 17, 32, 45, 64].map(|rows| (rows, blocks * block)))
}

#[test]
fn packing_keeps_every_number() {
    let mut rng = StdRng::seed_from_u64(1);
    for format in Format::ALL {
        for shape in shapes(format) {
            let file = file(format, shape, &mut rng);
            let bytes = packed(format, shape, &file);
            let matrix = Matrix::new(format, shape, &bytes);
            let want = reference(format, &file, shape.0 * shape.1);
            for (row, want) in want.chunks(shape.1).enumerate() {
                for (got, want) in matrix.row(row).iter().zip(want) {
                    // Both compute scale * q + minimum in f32, perhaps with one more or less rounding of each term,
                    // none of which exceeds 63 * 127 * 0.02.
                    assert!(
                        (got - want).abs() <= 4.0 * f32::EPSILON * 160.0,
                        "{format:?} {got} {want}"
                    );
                }
            }
        }
    }
}

fn activations(rows: usize, columns: usize, rng: &mut StdRng) -> Vec<f32> {
    // Blocks of very different size, and some of zeroes.
    let mut x = Vec::with_capacity(rows * columns);
    for block in 0..rows * columns / BLOCK {
        let size = if block % 11 == 5 {
            0.0
        } else {
            10f32.powi(rng.random_range(-4..3))
        };
        x.extend((0..BLOCK).map(|_| rng.random_range(-1.0..1.0f32) * size));
    }
    x
}

fn product(level: Level, matrix: Matrix<'_>, bias: Option<&[f32]>, x: &[f32]) -> Vec<f32> {
    let mut quantised = Quantised::default();
    quantised.fill(level, x, matrix.columns);
    let mut out = vec![f32::NAN; quantised.rows() * matrix.rows];
    let mut products = [Product {
        matrix,
        bias,
        out: &mut out,
    }];
    multiply(level, &quantised, &mut products);
    out
}

#[test]
fn products_agree_with_double_precision_within_the_rounding_of_activations() {
    let mut rng = StdRng::seed_from_u64(2);
    for format in Format::ALL {
        for shape in shapes(format) {
            let bytes = packed(format, shape, &file(format, shape, &mut rng));
            let matrix = Matrix::new(format, shape, &bytes);
            let x = activations(3, shape.1, &mut rng);
            let bias: Vec<f32> = (0..shape.0).map(|_| rng.random_range(-1.0..1.0)).collect();
            let got = product(Level::scalar(), matrix, Some(&bias), &x);
            for (x, got) in x.chunks(shape.1).zip(got.chunks(shape.0)) {
                for (row, got) in got.iter().enumerate() {
                    let weights = matrix.row(row);
                    let (mut exact, mut bound) = (f64::from(bias[row]), 0.0);
                    for (x, weights) in x.chunks(BLOCK).zip(weights.chunks(BLOCK)) {
                        let largest = x.iter().fold(0f32, |most, x| most.max(x.abs()));
                        for (x, weight) in x.iter().zip(weights) {
                            exact += f64::from(*x) * f64::from(*weight);
                            // Each activation is off by half a step of 127 to the largest; 1 % for the rounding of the
                            // step itself and of the sums in f32, whose terms are products as large as these.
                            bound += f64::from(largest) * f64::from(weight.abs()) * (0.5 / 127.0) * 1.01;
                        }
                    }
                    // A weight may be small as the difference of a large product and a large minimum.
                    bound += 1e-4 * f64::from(x.iter().fold(0f32, |most, x| most.max(x.abs())));
                    let error = (f64::from(*got) - exact).abs();
                    assert!(
                        error <= bound + 1e-6,
                        "{format:?} {shape:?} row {row}: {error} > {bound}"
                    );
                }
            }
        }
    }
}

#[test]
fn all_levels_and_any_number_of_rows_give_the_same_numbers() {
    let mut rng = StdRng::seed_from_u64(3);
    for format in Format::ALL {
        for shape in shapes(format) {
            let bytes = packed(format, shape, &file(format, shape, &mut rng));
            let matrix = Matrix::new(format, shape, &bytes);
            let bias: Vec<f32> = (0..shape.0).map(|_| rng.random_range(-1.0..1.0)).collect();
            // One tile, several, and more rows than are multiplied with packed panels.
            let most = 27;
            let x = activations(most, shape.1, &mut rng);
            let want = product(Level::scalar(), matrix, Some(&bias), &x);
            for level in Level::available() {
                let scalar = level == Level::scalar();
                for rows in (1..=most).filter(|rows| !scalar || [1, 9, 17].contains(rows)) {
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
fn the_largest_quants_and_activations_fit_every_sum() {
    for format in Format::ALL {
        let shape = (16, 256);
        for byte in [0x00, 0x7f, 0x80, 0xff] {
            let mut file = vec![byte; shape.0 * shape.1 / format.file_block() * format.file_bytes()];
            for block in file.chunks_exact_mut(format.file_bytes()) {
                for &at in halves(format) {
                    block[at..at + 2].copy_from_slice(&f16::from_f32(0.01).to_le_bytes());
                }
            }
            let bytes = packed(format, shape, &file);
            let matrix = Matrix::new(format, shape, &bytes);
            for rows in [1, 17] {
                for number in [1.0, -1.0] {
                    let x = vec![number; rows * shape.1];
                    let want = product(Level::scalar(), matrix, None, &x);
                    for level in Level::available() {
                        let got = product(level, matrix, None, &x);
                        assert_eq!(got, want, "{format:?} {byte:#x} {}", level.name());
                    }
                }
            }
        }
    }
}

#[test]
fn threads_share_a_product_without_changing_it() {
    let mut rng = StdRng::seed_from_u64(7);
    let shape = (16 * 41 + 5, 512);
    for format in Format::ALL {
        let bytes = packed(format, shape, &file(format, shape, &mut rng));
        let matrix = Matrix::new(format, shape, &bytes);
        let x = activations(40, shape.1, &mut rng);
        for level in Level::available() {
            for rows in [1, 2, 7, 12, 40] {
                if level == Level::scalar() && rows > 2 {
                    continue;
                }
                let compute = || product(level, matrix, None, &x[..rows * shape.1]);
                let alone = pool::with_threads(1, compute);
                for threads in [2, 3] {
                    assert_eq!(pool::with_threads(threads, compute), alone, "{format:?} {rows}");
                }
            }
        }
    }
}

#[test]
fn several_matrices_share_their_activations() {
    let mut rng = StdRng::seed_from_u64(4);
    let (a, b) = ((40, 256), (100, 256));
    let (first, second) = (
        packed(Format::Q5_0, a, &file(Format::Q5_0, a, &mut rng)),
        packed(Format::Q6_K, b, &file(Format::Q6_K, b, &mut rng)),
    );
    let (first, second) = (
        Matrix::new(Format::Q5_0, a, &first),
        Matrix::new(Format::Q6_K, b, &second),
    );
    for rows in [1, 5, 18] {
        let x = activations(rows, 256, &mut rng);
        let level = Level::detect();
        let mut quantised = Quantised::default();
        quantised.fill(level, &x, 256);
        let (mut one, mut two) = (vec![0.0; rows * 40], vec![0.0; rows * 100]);
        let mut products = [
            Product {
                matrix: first,
                bias: None,
                out: &mut one,
            },
            Product {
                matrix: second,
                bias: None,
                out: &mut two,
            },
        ];
        multiply(level, &quantised, &mut products);
        assert_eq!(one, product(level, first, None, &x));
        assert_eq!(two, product(level, second, None, &x));
    }
}

#[test]
fn activations_are_within_half_a_step() {
    for rows in [1, 8, 20] {
        // Whole batches of blocks and broken ones.
        for columns in [32, 128, 224] {
            check_rounding(rows, columns);
        }
    }
}

/// The blocks of each row in turn, in whatever tiles the rows lie: values, sums, scale and total.
fn in_rows(x: &Quantised) -> Vec<(&[i8], &[i32], f32, f32)> {
    let blocks = x.columns() / BLOCK;
    let row = |tile: Tile, row: usize| {
        (0..blocks)
            .map(move |block| tile.first * blocks + block * tile.height + row)
            .map(|at| {
                (
                    &x.values[at * BLOCK..][..BLOCK],
                    &x.sums[2 * at..][..2],
                    x.scales[at],
                    x.totals[at],
                )
            })
    };
    x.tiles()
        .flat_map(|tile| (0..tile.height).flat_map(move |index| row(tile, index)))
        .collect()
}

fn check_rounding(rows: usize, columns: usize) {
    let mut rng = StdRng::seed_from_u64(5);
    let x = activations(rows, columns, &mut rng);
    let blocks = columns / BLOCK;
    let mut scalar = Quantised::default();
    scalar.fill(Level::scalar(), &x, columns);
    let mut seen = 0;
    for tile in scalar.tiles() {
        for (row, block) in (0..tile.height).flat_map(|row| (0..blocks).map(move |block| (row, block))) {
            let at = tile.first * blocks + block * tile.height + row;
            let x = &x[(tile.first + row) * columns + block * BLOCK..][..BLOCK];
            let values = &scalar.values[at * BLOCK..][..BLOCK];
            for (x, value) in x.iter().zip(values) {
                let step = scalar.scales[at];
                assert!((x - f32::from(*value) * step).abs() <= 0.501 * step);
            }
            let sum: i32 = values.iter().map(|value| i32::from(*value)).sum();
            assert_eq!(scalar.sums[2 * at] + scalar.sums[2 * at + 1], sum);
            assert!(
                (scalar.totals[at] - scalar.scales[at] * sum as f32).abs() <= f32::EPSILON * scalar.totals[at].abs()
            );
            seen += 1;
        }
    }
    assert_eq!(seen, rows * blocks);
    for level in Level::available() {
        let mut other = Quantised::default();
        other.fill(level, &x, columns);
        assert_eq!(in_rows(&other), in_rows(&scalar), "{}", level.name());
    }
}

#[test]
fn rows_that_are_computed_are_rounded_as_rows_that_are_there() {
    let mut rng = StdRng::seed_from_u64(8);
    for rows in [0, 1, 8, 30] {
        let x = activations(rows, 64, &mut rng);
        for level in Level::available() {
            let (mut there, mut computed) = (Quantised::default(), Quantised::default());
            there.fill(level, &x, 64);
            // What was there before does not matter.
            computed.fill(level, &[f32::NAN; 64 * 40], 64);
            computed.fill_with(level, (rows, 64), &|row, out| out.copy_from_slice(&x[row * 64..][..64]));
            assert_eq!((computed.rows(), computed.columns()), (rows, 64));
            assert_eq!((&computed.values, &computed.sums), (&there.values, &there.sums));
            assert_eq!((&computed.scales, &computed.totals), (&there.scales, &there.totals));
        }
    }
}

#[test]
fn what_is_not_finite_stays_so() {
    let mut rng = StdRng::seed_from_u64(6);
    for format in Format::ALL {
        let shape = (20, 256);
        let bytes = packed(format, shape, &file(format, shape, &mut rng));
        let matrix = Matrix::new(format, shape, &bytes);
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for rows in [1, 2, 17] {
                let mut x = activations(rows, 256, &mut rng);
                x[77] = bad;
                for level in Level::available() {
                    let got = product(level, matrix, None, &x);
                    assert!(
                        got[..20].iter().all(|y| !y.is_finite()),
                        "{format:?} {bad} {}",
                        level.name()
                    );
                    assert!(got[20..].iter().all(|y| y.is_finite()));
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "columns of a matrix and of activations")]
fn activations_of_another_width_are_refused() {
    let bytes = vec![0; Format::Q8_0.packed_bytes(16, 64)];
    product_of_width(Matrix::new(Format::Q8_0, (16, 64), &bytes), 32);
}

fn product_of_width(matrix: Matrix<'_>, columns: usize) {
    let mut quantised = Quantised::default();
    quantised.fill(Level::detect(), &vec![1.0; columns], columns);
    let mut out = [0.0; 16];
    let bias = None;
    let out = &mut out;
    multiply(Level::detect(), &quantised, &mut [Product { matrix, bias, out }]);
}
