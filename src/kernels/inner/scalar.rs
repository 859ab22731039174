//! The specification.

use super::number;

const LANES: usize = 16;

fn row<T>(matrix: &[T], row: u32, dim: usize) -> &[T] {
    &matrix[row as usize * dim..][..dim]
}

pub(super) fn dots(query: &[f32], matrix: &[f32], rows: &[u32], out: &mut [f32]) {
    for (number, out) in rows.iter().zip(out) {
        *out = dot(query, row(matrix, *number, query.len()));
    }
}

/// Sixteen sums that do not wait for each other: the compiler keeps them in vector registers.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

pub(super) fn dots_i8(query: &[i8], matrix: &[u8], rows: &[u32], out: &mut [i32]) {
    for (at, out) in rows.iter().zip(out) {
        let products = query.iter().zip(row(matrix, *at, query.len()));
        *out = products.map(|(q, x)| i32::from(*q) * i32::from(number(*x))).sum();
    }
}
