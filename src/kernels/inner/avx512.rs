//! AVX-512, with VNNI for bytes. What is left of a row beside whole registers is loaded under a mask.
#![allow(unsafe_code)]

use super::avx2::fetch;
use super::{AHEAD, SHIFT};
use std::arch::x86_64::{
    __m512, _mm512_add_epi32, _mm512_add_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512,
    _mm512_maskz_loadu_epi8, _mm512_maskz_loadu_ps, _mm512_reduce_add_epi32, _mm512_reduce_add_ps, _mm512_setzero_ps,
    _mm512_setzero_si512,
};

/// # Safety
/// The rows are there, and there are as many results.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
pub(super) unsafe fn dots(query: &[f32], matrix: &[f32], rows: &[u32], out: &mut [f32]) {
    let dim = query.len();
    let start = |row: u32| matrix.as_ptr().wrapping_add(row as usize * dim);
    for row in &rows[..rows.len().min(AHEAD)] {
        fetch(start(*row).cast(), dim * 4);
    }
    for (at, (row, out)) in rows.iter().zip(out).enumerate() {
        if let Some(next) = rows.get(at + AHEAD) {
            fetch(start(*next).cast(), dim * 4);
        }
        // SAFETY: both have `dim` numbers.
        *out = unsafe { dot(query.as_ptr(), start(*row), dim) };
    }
}

/// # Safety
/// Both have `len` numbers.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
unsafe fn dot(a: *const f32, b: *const f32, len: usize) -> f32 {
    let mut sums: [__m512; 4] = [_mm512_setzero_ps(); 4];
    let mut at = 0;
    // SAFETY: no load goes beyond `len`: the last one has a mask.
    unsafe {
        while at + 64 <= len {
            for (part, sum) in sums.iter_mut().enumerate() {
                let place = at + 16 * part;
                *sum = _mm512_fmadd_ps(_mm512_loadu_ps(a.add(place)), _mm512_loadu_ps(b.add(place)), *sum);
            }
            at += 64;
        }
        while at + 16 <= len {
            sums[0] = _mm512_fmadd_ps(_mm512_loadu_ps(a.add(at)), _mm512_loadu_ps(b.add(at)), sums[0]);
            at += 16;
        }
        if at < len {
            let mask = (1_u16 << (len - at)) - 1;
            let (a, b) = (
                _mm512_maskz_loadu_ps(mask, a.add(at)),
                _mm512_maskz_loadu_ps(mask, b.add(at)),
            );
            sums[1] = _mm512_fmadd_ps(a, b, sums[1]);
        }
    }
    _mm512_reduce_add_ps(_mm512_add_ps(
        _mm512_add_ps(sums[0], sums[1]),
        _mm512_add_ps(sums[2], sums[3]),
    ))
}

/// # Safety
/// The rows are there, and there are as many results.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn dots_i8(query: &[i8], matrix: &[u8], rows: &[u32], out: &mut [i32]) {
    let dim = query.len();
    let start = |row: u32| matrix.as_ptr().wrapping_add(row as usize * dim);
    for row in &rows[..rows.len().min(AHEAD)] {
        fetch(start(*row), dim);
    }
    let shifted = query.iter().map(|x| i32::from(*x)).sum::<i32>() * i32::from(SHIFT);
    for (at, (row, out)) in rows.iter().zip(out).enumerate() {
        if let Some(next) = rows.get(at + AHEAD) {
            fetch(start(*next), dim);
        }
        // SAFETY: both have `dim` bytes.
        *out = unsafe { dot_stored(start(*row), query.as_ptr(), dim) } - shifted;
    }
}

/// # Safety
/// Both have `len` bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn dot_stored(row: *const u8, query: *const i8, len: usize) -> i32 {
    let (mut even, mut odd) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    let mut at = 0;
    // SAFETY: no load goes beyond `len`: the last one has a mask.
    unsafe {
        while at + 128 <= len {
            even = _mm512_dpbusd_epi32(
                even,
                _mm512_loadu_si512(row.add(at).cast()),
                _mm512_loadu_si512(query.add(at).cast()),
            );
            odd = _mm512_dpbusd_epi32(
                odd,
                _mm512_loadu_si512(row.add(at + 64).cast()),
                _mm512_loadu_si512(query.add(at + 64).cast()),
            );
            at += 128;
        }
        if at + 64 <= len {
            even = _mm512_dpbusd_epi32(
                even,
                _mm512_loadu_si512(row.add(at).cast()),
                _mm512_loadu_si512(query.add(at).cast()),
            );
            at += 64;
        }
        if at < len {
            let mask = (1_u64 << (len - at)) - 1;
            let query = _mm512_maskz_loadu_epi8(mask, query.add(at));
            odd = _mm512_dpbusd_epi32(odd, _mm512_maskz_loadu_epi8(mask, row.add(at).cast()), query);
        }
    }
    _mm512_reduce_add_epi32(_mm512_add_epi32(even, odd))
}
