//! AVX-512: a tile of up to 6 rows x 64 keys, and then of as many rows x 64 numbers of the values, stays in 24 registers.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // The loops run over registers; an iterator hides that from the reader.

use super::{BLOCK, LANES, LOWEST, Row, Task};
use crate::kernels::vector::exp_negative;
use half::f16;
use std::arch::x86_64::{
    __m512, _mm256_loadu_si256, _mm512_add_ps, _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_mov_ps,
    _mm512_max_ps, _mm512_mul_ps, _mm512_reduce_add_ps, _mm512_reduce_max_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_storeu_ps,
};

/// Rows of the largest tile.
const TILE: usize = 6;
/// Registers of a block of keys.
const WIDE: usize = BLOCK / LANES;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
pub(super) fn compute(task: &Task<'_>, head: usize, (first, rows): (usize, usize)) {
    let mut sums = vec![0f32; TILE * task.cached.layout.width()];
    let tiles = rows.div_ceil(TILE);
    let (mut row, end) = (first, first + rows);
    for tile in 0..tiles {
        let height = (end - row).div_ceil(tiles - tile);
        match height {
            1 => self::tile::<1>(task, head, row, &mut sums),
            2 => self::tile::<2>(task, head, row, &mut sums),
            3 => self::tile::<3>(task, head, row, &mut sums),
            4 => self::tile::<4>(task, head, row, &mut sums),
            5 => self::tile::<5>(task, head, row, &mut sums),
            _ => self::tile::<TILE>(task, head, row, &mut sums),
        }
        row += height;
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn tile<const ROWS: usize>(task: &Task<'_>, head: usize, first: usize, sums: &mut [f32]) {
    let (dim, width) = (task.cached.layout.dim, task.cached.layout.width());
    let sums = &mut sums[..ROWS * width];
    sums.fill(0.0);
    let mut rows = [Row::default(); ROWS];
    let mut queries: [&[f32]; ROWS] = [&[]; ROWS];
    for r in 0..ROWS {
        rows[r] = task.row(head, first + r);
        queries[r] = &task.queries.numbers[rows[r].at..rows[r].at + dim];
    }
    let (mut largest, mut totals) = ([LOWEST; ROWS], [0f32; ROWS]);
    // Rows are in the order of their tokens.
    let (from, to) = (rows[0].from, rows[ROWS - 1].to);
    for start in (from / BLOCK * BLOCK..to).step_by(BLOCK) {
        let (keys, values) = task.cached.block(head, start);
        let mut scores = score(queries, keys, dim);
        let mut weights = [[0f32; BLOCK]; ROWS];
        let mut shrink = [1f32; ROWS];
        for r in 0..ROWS {
            let largest_here = scale_and_mask(task.queries.scale, rows[r], start, &mut scores[r]).max(largest[r]);
            for c in 0..WIDE {
                // SAFETY: 16 of 64 numbers.
                unsafe { _mm512_storeu_ps(weights[r].as_mut_ptr().add(c * LANES), scores[r][c]) };
            }
            for weight in &mut weights[r] {
                *weight = exp_negative(*weight - largest_here);
            }
            if largest_here > largest[r] {
                shrink[r] = exp_negative(largest[r] - largest_here);
                largest[r] = largest_here;
            }
            totals[r] = totals[r] * shrink[r] + sum(&weights[r]);
        }
        // What lies behind the last key that is seen may be anything, even no number.
        let count = BLOCK.min(to - start);
        for column in (0..width).step_by(BLOCK) {
            let at = (column, count, width);
            match (width - column) / LANES {
                1 => add_values::<ROWS, 1>(&weights, shrink, values, at, sums),
                2 => add_values::<ROWS, 2>(&weights, shrink, values, at, sums),
                3 => add_values::<ROWS, 3>(&weights, shrink, values, at, sums),
                _ => add_values::<ROWS, 4>(&weights, shrink, values, at, sums),
            }
        }
    }
    for r in 0..ROWS {
        // SAFETY: the output is borrowed while the task lives, and each row is computed by one piece.
        let out = unsafe { task.out.part(rows[r].at, dim) };
        for (out, sum) in out.iter_mut().zip(&sums[r * width..]) {
            *out = *sum / totals[r];
        }
    }
}

/// 16 numbers as `f32`.
///
/// # Safety
/// There are 16 numbers at `from`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
unsafe fn half(from: *const f16) -> __m512 {
    // SAFETY: the caller's.
    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
}

/// The products of the queries with a block of keys.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn score<const ROWS: usize>(queries: [&[f32]; ROWS], keys: &[f16], dim: usize) -> [[__m512; WIDE]; ROWS] {
    assert!(keys.len() == BLOCK * dim && queries.iter().all(|query| query.len() == dim));
    let mut scores = [[_mm512_setzero_ps(); WIDE]; ROWS];
    // SAFETY: panel c of the 4 panels of `dim * 16` keys is read at d * 16 with d < dim, each query at d.
    unsafe {
        for d in 0..dim {
            let mut key = [_mm512_setzero_ps(); WIDE];
            for c in 0..WIDE {
                key[c] = half(keys.as_ptr().add((c * dim + d) * LANES));
            }
            for r in 0..ROWS {
                let number = _mm512_set1_ps(*queries[r].get_unchecked(d));
                for c in 0..WIDE {
                    scores[r][c] = _mm512_fmadd_ps(number, key[c], scores[r][c]);
                }
            }
        }
    }
    scores
}

/// Scales scores, makes those of keys that the row does not see minus infinity, and returns the largest.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn scale_and_mask(scale: f32, row: Row, start: usize, scores: &mut [__m512; WIDE]) -> f32 {
    // The lowest `count` bits.
    let ones = |count: usize| if count >= BLOCK { u64::MAX } else { (1u64 << count) - 1 };
    let seen = ones(row.to.saturating_sub(start)) & !ones(row.from.saturating_sub(start));
    let (scale, none) = (_mm512_set1_ps(scale), _mm512_set1_ps(f32::NEG_INFINITY));
    for c in 0..WIDE {
        let mask = (seen >> (c * LANES)) as u16;
        scores[c] = _mm512_mask_mov_ps(none, mask, _mm512_mul_ps(scores[c], scale));
    }
    let low = _mm512_max_ps(scores[0], scores[1]);
    let high = _mm512_max_ps(scores[2], scores[3]);
    _mm512_reduce_max_ps(_mm512_max_ps(low, high))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn sum(weights: &[f32; BLOCK]) -> f32 {
    // SAFETY: four times 16 of 64 numbers.
    unsafe {
        let part = |c: usize| _mm512_loadu_ps(weights.as_ptr().add(c * LANES));
        _mm512_reduce_add_ps(_mm512_add_ps(
            _mm512_add_ps(part(0), part(1)),
            _mm512_add_ps(part(2), part(3)),
        ))
    }
}

/// Shrinks `WIDTH * 16` numbers of each row's sums from `column` and adds the weighted values of `count` keys.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn add_values<const ROWS: usize, const WIDTH: usize>(
    weights: &[[f32; BLOCK]; ROWS],
    shrink: [f32; ROWS],
    values: &[f16],
    (column, count, width): (usize, usize, usize),
    sums: &mut [f32],
) {
    assert!(column + WIDTH * LANES <= width && count <= BLOCK && values.len() == BLOCK * width);
    assert!(sums.len() == ROWS * width);
    // SAFETY: sums are read and written at r * width + column + up to WIDTH * 16 numbers, values at j * width + column
    // with j < count likewise, weights at j.
    unsafe {
        let mut held = [[_mm512_setzero_ps(); WIDTH]; ROWS];
        for r in 0..ROWS {
            for w in 0..WIDTH {
                let sum = _mm512_loadu_ps(sums.as_ptr().add(r * width + column + w * LANES));
                held[r][w] = _mm512_mul_ps(sum, _mm512_set1_ps(shrink[r]));
            }
        }
        for j in 0..count {
            let mut value = [_mm512_setzero_ps(); WIDTH];
            for w in 0..WIDTH {
                value[w] = half(values.as_ptr().add(j * width + column + w * LANES));
            }
            for r in 0..ROWS {
                let weight = _mm512_set1_ps(*weights[r].get_unchecked(j));
                for w in 0..WIDTH {
                    held[r][w] = _mm512_fmadd_ps(weight, value[w], held[r][w]);
                }
            }
        }
        for r in 0..ROWS {
            for w in 0..WIDTH {
                _mm512_storeu_ps(sums.as_mut_ptr().add(r * width + column + w * LANES), held[r][w]);
            }
        }
    }
}
