//! AVX2. Bytes are widened to 16 bits: products of pairs of unsigned and signed bytes would not fit into these.
#![allow(unsafe_code)]

use super::{AHEAD, number};
use std::arch::x86_64::{
    __m128i, __m256, _MM_HINT_T0, _mm_add_epi32, _mm_add_ps, _mm_add_ss, _mm_cvtsi128_si32, _mm_cvtss_f32,
    _mm_loadu_si128, _mm_movehl_ps, _mm_prefetch, _mm_set1_epi8, _mm_shuffle_epi32, _mm_shuffle_ps, _mm_xor_si128,
    _mm256_add_epi32, _mm256_add_ps, _mm256_castps256_ps128, _mm256_castsi256_si128, _mm256_cvtepi8_epi16,
    _mm256_extractf128_ps, _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_madd_epi16,
    _mm256_setzero_ps, _mm256_setzero_si256,
};

/// Asks for bytes to be brought into the cache.
#[inline]
pub(super) fn fetch(from: *const u8, bytes: usize) {
    for line in (0..bytes).step_by(64) {
        // SAFETY: nothing is read at the address; every processor of this architecture has the instruction.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(line).cast()) };
    }
}

/// # Safety
/// The rows are there, and there are as many results.
#[target_feature(enable = "avx2,fma")]
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
#[target_feature(enable = "avx2,fma")]
unsafe fn dot(a: *const f32, b: *const f32, len: usize) -> f32 {
    let mut sums: [__m256; 4] = [_mm256_setzero_ps(); 4];
    let mut rest = 0.0_f32;
    let mut at = 0;
    // SAFETY: nothing is read beyond `len`.
    unsafe {
        while at + 32 <= len {
            for (part, sum) in sums.iter_mut().enumerate() {
                let place = at + 8 * part;
                *sum = _mm256_fmadd_ps(_mm256_loadu_ps(a.add(place)), _mm256_loadu_ps(b.add(place)), *sum);
            }
            at += 32;
        }
        while at + 8 <= len {
            sums[0] = _mm256_fmadd_ps(_mm256_loadu_ps(a.add(at)), _mm256_loadu_ps(b.add(at)), sums[0]);
            at += 8;
        }
        while at < len {
            rest += *a.add(at) * *b.add(at);
            at += 1;
        }
    }
    let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
    let four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps::<1>(sum));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two))) + rest
}

/// # Safety
/// The rows are there, and there are as many results.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn dots_i8(query: &[i8], matrix: &[u8], rows: &[u32], out: &mut [i32]) {
    let dim = query.len();
    let start = |row: u32| matrix.as_ptr().wrapping_add(row as usize * dim);
    for row in &rows[..rows.len().min(AHEAD)] {
        fetch(start(*row), dim);
    }
    for (at, (row, out)) in rows.iter().zip(out).enumerate() {
        if let Some(next) = rows.get(at + AHEAD) {
            fetch(start(*next), dim);
        }
        // SAFETY: both have `dim` bytes.
        *out = unsafe { dot_i8(query.as_ptr(), start(*row), dim) };
    }
}

/// # Safety
/// Both have `len` bytes.
#[target_feature(enable = "avx2,fma")]
unsafe fn dot_i8(query: *const i8, row: *const u8, len: usize) -> i32 {
    let shift: __m128i = _mm_set1_epi8(i8::MIN);
    let mut sum = _mm256_setzero_si256();
    let (mut rest, mut at) = (0, 0);
    // SAFETY: nothing is read beyond `len`.
    unsafe {
        while at + 16 <= len {
            let q = _mm256_cvtepi8_epi16(_mm_loadu_si128(query.add(at).cast()));
            let x = _mm_xor_si128(_mm_loadu_si128(row.add(at).cast()), shift);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(q, _mm256_cvtepi8_epi16(x)));
            at += 16;
        }
        while at < len {
            rest += i32::from(*query.add(at)) * i32::from(number(*row.add(at)));
            at += 1;
        }
    }
    let four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b1110>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<1>(two))) + rest
}
