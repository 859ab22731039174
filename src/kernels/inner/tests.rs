use super::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

const LENGTHS: [usize; 20] = [
    0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 200, 384, 385, 1023,
];
/// In an order of their own, some twice; more than are fetched ahead.
const ROWS: [u32; 9] = [3, 0, 8, 8, 1, 5, 2, 7, 3];

#[test]
fn inner_products_agree_with_double_precision() {
    let mut random = StdRng::seed_from_u64(1);
    for level in Level::available() {
        for dim in LENGTHS {
            let mut numbers = |count| -> Vec<f32> { (0..count).map(|_| random.random_range(-2.0..2.0)).collect() };
            let (query, matrix) = (numbers(dim), numbers(9 * dim));
            let mut out = [f32::NAN; ROWS.len()];
            dots(level, &query, &matrix, &ROWS, &mut out);
            for (row, got) in ROWS.iter().zip(out) {
                let row = &matrix[*row as usize * dim..][..dim];
                let products = query.iter().zip(row).map(|(a, b)| f64::from(*a) * f64::from(*b));
                let (sum, size) = products.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
                // A product and at most as many sums as a lane has, then those over lanes and of the rest.
                let bound = (dim as f64 / 16.0 + 40.0) * f64::from(f32::EPSILON) / 2.0 * size;
                assert!((f64::from(got) - sum).abs() <= bound, "{} {dim}", level.name());
                assert_eq!(
                    dot(level, &query, row).to_bits(),
                    got.to_bits(),
                    "{} {dim}",
                    level.name()
                );
            }
        }
    }
}

#[test]
fn products_of_bytes_are_exact() {
    let mut random = StdRng::seed_from_u64(2);
    for dim in LENGTHS.into_iter().chain([MAX_BYTES]) {
        let mut bytes = |count| -> Vec<i8> { (0..count).map(|_| random.random_range(-127..=127)).collect() };
        let (mut query, mut rows) = (bytes(dim), bytes(9 * dim));
        // The greatest sums there are.
        query.iter_mut().take(dim / 2).for_each(|x| *x = -127);
        rows[..dim].fill(127);
        rows[8 * dim..].fill(-127);
        let matrix: Vec<u8> = rows.iter().map(|x| stored(*x)).collect();
        assert!(matrix.iter().zip(&rows).all(|(stored, x)| number(*stored) == *x));
        for level in Level::available() {
            let mut out = [i32::MIN; ROWS.len()];
            dots_i8(level, &query, &matrix, &ROWS, &mut out);
            for (row, got) in ROWS.iter().zip(out) {
                let row = &rows[*row as usize * dim..][..dim];
                let exact: i64 = query.iter().zip(row).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum();
                assert_eq!(i64::from(got), exact, "{} {dim}", level.name());
            }
        }
    }
}

#[test]
fn what_is_not_finite_stays_so_and_no_rows_are_no_results() {
    for level in Level::available() {
        let mut query = [1.0; 20];
        query[17] = f32::NAN;
        assert!(dot(level, &query, &[1.0; 20]).is_nan());
        dots(level, &query, &[], &[], &mut []);
        dots_i8(level, &[1; 20], &[], &[], &mut []);
    }
}

#[test]
#[should_panic(expected = "is not there")]
fn a_row_beyond_the_matrix_is_not_read() {
    dots_i8(Level::detect(), &[1; 20], &[0; 40], &[0, 2], &mut [0; 2]);
}
