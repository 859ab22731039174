//! AVX2 with FMA: a tile of up to 6 rows x 16 columns stays in 12 registers; a panel is two such halves.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // The loops run over registers; an iterator hides that from the reader.

use super::{LayerNorm, Left, WIDTH, body};
use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps};

/// Rows of the largest tile: 12 of the 16 registers hold sums, two weights, one the left side's number.
const TILE: usize = 6;

#[target_feature(enable = "avx2,fma")]
pub(super) fn add_product(left: Left<'_>, inner: usize, right: &[f32], out: &mut [f32]) {
    let tiles = left.rows.div_ceil(TILE);
    let mut row = 0;
    for tile in 0..tiles {
        let rows = (left.rows - row).div_ceil(tiles - tile);
        let at = Left {
            data: &left.data[row * WIDTH..],
            rows,
            stride: left.stride,
        };
        let out = &mut out[row * WIDTH..];
        match rows {
            1 => tile_product::<1>(at, inner, right, out),
            2 => tile_product::<2>(at, inner, right, out),
            3 => tile_product::<3>(at, inner, right, out),
            4 => tile_product::<4>(at, inner, right, out),
            5 => tile_product::<5>(at, inner, right, out),
            _ => tile_product::<TILE>(at, inner, right, out),
        }
        row += rows;
    }
}

#[target_feature(enable = "avx2,fma")]
fn tile_product<const ROWS: usize>(left: Left<'_>, inner: usize, right: &[f32], out: &mut [f32]) {
    assert!(left.data.len() >= (inner - 1) / WIDTH * left.stride + ROWS * WIDTH);
    assert!(right.len() >= inner * WIDTH && out.len() >= ROWS * WIDTH);
    for half in [0, WIDTH / 2] {
        // SAFETY: the left side is read at panel * stride + row * WIDTH + column with panel <= (inner - 1) / WIDTH,
        // row < ROWS and column < WIDTH; the right side below inner * WIDTH; the output below ROWS * WIDTH: all
        // inside the lengths asserted above (`half` moves both by 16 of the 32 columns of which 16 are then
        // touched). Pointers step to the next panel only where one is left. Loads and stores need no alignment.
        unsafe {
            let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
            let out = out.as_mut_ptr().add(half);
            for r in 0..ROWS {
                sums[r][0] = _mm256_loadu_ps(out.add(r * WIDTH));
                sums[r][1] = _mm256_loadu_ps(out.add(r * WIDTH + 8));
            }
            let weights = right.as_ptr().add(half);
            for from in (0..inner).step_by(WIDTH) {
                let panel = left.data.as_ptr().add(from / WIDTH * left.stride);
                for k in 0..WIDTH.min(inner - from) {
                    let low = _mm256_loadu_ps(weights.add((from + k) * WIDTH));
                    let high = _mm256_loadu_ps(weights.add((from + k) * WIDTH + 8));
                    for r in 0..ROWS {
                        let a = _mm256_set1_ps(*panel.add(r * WIDTH + k));
                        sums[r][0] = _mm256_fmadd_ps(a, low, sums[r][0]);
                        sums[r][1] = _mm256_fmadd_ps(a, high, sums[r][1]);
                    }
                }
            }
            for r in 0..ROWS {
                _mm256_storeu_ps(out.add(r * WIDTH), sums[r][0]);
                _mm256_storeu_ps(out.add(r * WIDTH + 8), sums[r][1]);
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn unpack_q4(packed: &[u8], scales: &[f32], out: &mut [f32]) {
    body::unpack_q4(packed, scales, out);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn unpack_q8(packed: &[i8], scales: &[f32], out: &mut [f32]) {
    body::unpack_q8(packed, scales, out);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn gelu(values: &mut [f32]) {
    body::gelu(values);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn softmax(values: &mut [f32], rows: usize, columns: usize, scale: f32) {
    body::softmax(values, rows, columns, scale);
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn add_layer_norm(values: &mut [f32], added: &[f32], rows: usize, norm: LayerNorm<'_>) {
    body::add_layer_norm(values, added, rows, norm);
}
