//! AVX-512: a tile of up to 6 tokens x 64 keys, and then of as many tokens x 32 numbers of the values, stays in
//! registers.
#![allow(unsafe_code)]
#![allow(clippy::needless_range_loop)] // The loops run over registers; an iterator hides that from the reader.

use super::{DIM, LANES, Scratch, Task, scale};
use std::arch::x86_64::{
    __m512, _MM_FROUND_NO_EXC, _MM_FROUND_TO_NEAREST_INT, _mm512_add_ps, _mm512_fmadd_ps, _mm512_fnmadd_ps,
    _mm512_loadu_ps, _mm512_mask_max_ps, _mm512_maskz_mov_ps, _mm512_max_ps, _mm512_mul_ps, _mm512_reduce_add_ps,
    _mm512_reduce_max_ps, _mm512_roundscale_ps, _mm512_scalef_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    _mm512_sub_ps,
};

/// Tokens of the largest tile.
const TILE: usize = 6;
/// Most panels of keys of a tile.
const WIDE: usize = 4;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
pub(super) fn compute(task: &Task<'_>, scratch: &mut Scratch) {
    task.gather(scratch);
    let room = TILE * task.tokens.next_multiple_of(LANES);
    if scratch.weights.len() < room {
        scratch.weights.resize(room, 0.0);
    }
    // Tiles of nearly equal height: a low one waits for the latency of its sums.
    let tiles = task.tokens.div_ceil(TILE);
    for index in 0..tiles {
        let first = task.tokens * index / tiles;
        match task.tokens * (index + 1) / tiles - first {
            1 => tile::<1>(task, first, scratch),
            2 => tile::<2>(task, first, scratch),
            3 => tile::<3>(task, first, scratch),
            4 => tile::<4>(task, first, scratch),
            5 => tile::<5>(task, first, scratch),
            _ => tile::<TILE>(task, first, scratch),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn tile<const ROWS: usize>(task: &Task<'_>, first: usize, scratch: &mut Scratch) {
    let mut queries = [&[0f32; DIM]; ROWS];
    for r in 0..ROWS {
        queries[r] = task.numbers(0, first + r);
    }
    let panels = task.tokens.div_ceil(LANES);
    let weights = &mut scratch.weights[..ROWS * panels * LANES];
    // As few groups of panels as possible, of nearly equal width.
    let groups = panels.div_ceil(WIDE);
    for group in 0..groups {
        let from = panels * group / groups;
        match panels * (group + 1) / groups - from {
            1 => score::<ROWS, 1>(queries, &scratch.keys, from, weights),
            2 => score::<ROWS, 2>(queries, &scratch.keys, from, weights),
            3 => score::<ROWS, 3>(queries, &scratch.keys, from, weights),
            _ => score::<ROWS, WIDE>(queries, &scratch.keys, from, weights),
        }
    }
    let mut factors = [0f32; ROWS];
    for (factor, weights) in factors.iter_mut().zip(weights.chunks_exact_mut(panels * LANES)) {
        *factor = 1.0 / softmax(weights, task.tokens);
    }
    let sums = add_values::<ROWS>(weights, &scratch.values, panels * LANES);
    for r in 0..ROWS {
        let factor = _mm512_set1_ps(factors[r]);
        let mut numbers = [0f32; DIM];
        // SAFETY: twice 16 of 32 numbers.
        unsafe {
            _mm512_storeu_ps(numbers.as_mut_ptr(), _mm512_mul_ps(sums[r][0], factor));
            _mm512_storeu_ps(numbers.as_mut_ptr().add(LANES), _mm512_mul_ps(sums[r][1], factor));
        }
        task.write(first + r, &numbers);
    }
}

/// The products of the queries with `WIDTH` panels of keys from `from` on, into the rows of `scores`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn score<const ROWS: usize, const WIDTH: usize>(
    queries: [&[f32; DIM]; ROWS],
    keys: &[f32],
    from: usize,
    scores: &mut [f32],
) {
    let keys = &keys[from * LANES * DIM..][..WIDTH * LANES * DIM];
    let stride = scores.len() / ROWS;
    assert!((from + WIDTH) * LANES <= stride);
    let mut sums = [[_mm512_setzero_ps(); WIDTH]; ROWS];
    // SAFETY: panel c of `WIDTH` is read at d * 16 with d < DIM, each query at d; each of `ROWS` rows is written up to
    // (from + WIDTH) * 16, which is within the row.
    unsafe {
        for d in 0..DIM {
            let mut key = [_mm512_setzero_ps(); WIDTH];
            for c in 0..WIDTH {
                key[c] = _mm512_loadu_ps(keys.as_ptr().add((c * DIM + d) * LANES));
            }
            for r in 0..ROWS {
                let number = _mm512_set1_ps(*queries[r].get_unchecked(d));
                for c in 0..WIDTH {
                    sums[r][c] = _mm512_fmadd_ps(number, key[c], sums[r][c]);
                }
            }
        }
        for r in 0..ROWS {
            for c in 0..WIDTH {
                let to = scores.as_mut_ptr().add(r * stride + (from + c) * LANES);
                _mm512_storeu_ps(to, sums[r][c]);
            }
        }
    }
}

/// Turns the first `count` scores of a row of whole panels into weights, the rest into 0, and returns their sum.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn softmax(scores: &mut [f32], count: usize) -> f32 {
    let (lanes, _) = scores.as_chunks_mut::<LANES>();
    let Some((last, whole)) = lanes.split_last_mut() else {
        return 0.0;
    };
    let mask = u16::MAX >> (LANES - (count - whole.len() * LANES));
    // SAFETY: each load and store is of 16 numbers.
    let load = |lane: &[f32; LANES]| unsafe { _mm512_loadu_ps(lane.as_ptr()) };
    let store = |lane: &mut [f32; LANES], x| unsafe { _mm512_storeu_ps(lane.as_mut_ptr(), x) };
    let mut largest = _mm512_set1_ps(f32::NEG_INFINITY);
    for lane in &*whole {
        largest = _mm512_max_ps(largest, load(lane));
    }
    largest = _mm512_mask_max_ps(largest, mask, largest, load(last));
    let scale = _mm512_set1_ps(scale());
    let largest = _mm512_set1_ps(_mm512_reduce_max_ps(largest));
    let weigh = |score| exp(_mm512_mul_ps(_mm512_sub_ps(score, largest), scale));
    let mut total = _mm512_setzero_ps();
    for lane in whole {
        let weight = weigh(load(lane));
        total = _mm512_add_ps(total, weight);
        store(lane, weight);
    }
    let weight = _mm512_maskz_mov_ps(mask, weigh(load(last)));
    store(last, weight);
    _mm512_reduce_add_ps(_mm512_add_ps(total, weight))
}

/// `e^x` for x <= 0, taken as at least -87; the polynomial of `exp_negative`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn exp(x: __m512) -> __m512 {
    let set = |x| _mm512_set1_ps(x);
    // In this order what is not a number stays so.
    let x = _mm512_max_ps(set(-87.0), x);
    let n = _mm512_mul_ps(x, set(std::f32::consts::LOG2_E));
    let n = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(n);
    let r = _mm512_fnmadd_ps(n, set(0.693_359_4), x);
    let r = _mm512_fmadd_ps(n, set(2.121_944_4e-4), r);
    let mut p = set(1.987_569_1e-4);
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = _mm512_fmadd_ps(p, r, set(coefficient));
    }
    let p = _mm512_fmadd_ps(_mm512_mul_ps(p, r), r, r);
    _mm512_scalef_ps(_mm512_add_ps(p, set(1.0)), n)
}

/// The sums of the values, weighted for each of `ROWS` rows of weights.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn add_values<const ROWS: usize>(weights: &[f32], values: &[f32], stride: usize) -> [[__m512; 2]; ROWS] {
    let values = values.as_chunks::<DIM>().0;
    assert!(weights.len() == ROWS * stride && values.len() <= stride);
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    for (j, value) in values.iter().enumerate() {
        // SAFETY: twice 16 of 32 numbers; a weight is read at r * stride + j with j < stride.
        unsafe {
            let (low, high) = (
                _mm512_loadu_ps(value.as_ptr()),
                _mm512_loadu_ps(value.as_ptr().add(LANES)),
            );
            for r in 0..ROWS {
                let weight = _mm512_set1_ps(*weights.get_unchecked(r * stride + j));
                sums[r][0] = _mm512_fmadd_ps(weight, low, sums[r][0]);
                sums[r][1] = _mm512_fmadd_ps(weight, high, sums[r][1]);
            }
        }
    }
    sums
}
