//! AVX-512 with VNNI. A lane of a register is a row of the matrix; each instruction multiplies four numbers of 16 rows
//! with four activations, which are the same for all of them.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment)] // All loads and stores are of the kind that needs no alignment.
#![allow(clippy::many_single_char_names)] // `x`, `y`, `q` as in the formula.
#![allow(clippy::needless_range_loop)] // The loops run over registers; an iterator hides that from the reader.

mod few;
mod many;

use super::Task;
use super::activations::{BATCH, FEW, LEAST, Rounded};
use super::format::{BLOCK, HALF, HALF_MIN, LANES, SUPER, SUPER_MIN};
use std::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _CMP_LT_OQ, _mm_add_epi32, _mm_castsi128_ps, _mm_cmp_ps_mask, _mm_cvtepi32_ps,
    _mm_loadu_si128, _mm_maskz_div_ps, _mm_max_epu32, _mm_mul_ps, _mm_set1_ps, _mm_storeu_ps, _mm_storeu_si128,
    _mm256_castsi256_si128, _mm256_dpbusd_epi32, _mm256_extracti128_si256, _mm256_hadd_epi32, _mm256_loadu_si256,
    _mm256_max_epu32, _mm256_set_m128i, _mm256_set1_epi8, _mm256_setzero_si256, _mm256_storeu_si256,
    _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm512_and_si512,
    _mm512_castps_si512, _mm512_castsi512_si256, _mm512_cvtepi8_epi32, _mm512_cvtepi32_epi8, _mm512_cvtepi32_ps,
    _mm512_cvtepu8_epi32, _mm512_cvtph_ps, _mm512_cvtps_epi32, _mm512_extracti64x4_epi64, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mask_add_epi8, _mm512_max_epu32, _mm512_mul_ps, _mm512_or_si512, _mm512_set1_epi8,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_slli_epi16, _mm512_srli_epi16,
    _mm512_sub_ps,
};

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn compute(task: &Task<'_>, first: usize, panels: usize) {
    if task.x.rows() <= FEW {
        few::compute(task, first, panels);
    } else {
        many::compute(task, first, panels);
    }
}

/// The eight groups of a block, a byte a quant.
///
/// # Safety
/// `quants` is readable for the bytes of a block with these bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn expand<const BITS: u8>(quants: *const u8) -> [__m512i; 8] {
    let mut out = [_mm512_setzero_si512(); 8];
    // SAFETY: 4 strings of 64 bytes, 8 with 8 bits; after the 4, 8 words with 5 bits and 2 strings with 6.
    unsafe {
        if BITS == 8 {
            for j in 0..8 {
                out[j] = _mm512_loadu_si512(quants.add(64 * j).cast());
            }
            return out;
        }
        let low = _mm512_set1_epi8(15);
        for t in 0..4 {
            let string = _mm512_loadu_si512(quants.add(64 * t).cast());
            out[t] = _mm512_and_si512(string, low);
            out[t + 4] = _mm512_and_si512(_mm512_srli_epi16::<4>(string), low);
        }
        if BITS == 5 {
            let sixteen = _mm512_set1_epi8(16);
            let words = quants.add(256).cast::<u64>();
            for j in 0..8 {
                let word = words.add(j).read_unaligned();
                out[j] = _mm512_mask_add_epi8(out[j], word, out[j], sixteen);
            }
        }
        if BITS == 6 {
            let mask = _mm512_set1_epi8(0x30);
            for h in 0..2 {
                let string = _mm512_loadu_si512(quants.add(256 + 64 * h).cast());
                let shifted = [
                    _mm512_slli_epi16::<4>(string),
                    _mm512_slli_epi16::<2>(string),
                    string,
                    _mm512_srli_epi16::<2>(string),
                ];
                for p in 0..4 {
                    out[4 * h + p] = _mm512_or_si512(out[4 * h + p], _mm512_and_si512(shifted[p], mask));
                }
            }
        }
    }
    out
}

/// The scales of a block (the second is used only where there are two) and its minima.
///
/// # Safety
/// `bytes` is readable for the scales of blocks up to `block`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn scales<const SCALES: u8>(bytes: *const u8, block: usize) -> ([__m512; 2], __m512) {
    let zero = _mm512_setzero_ps();
    // SAFETY: the caller answers for the length; the layout is that of `format::Scales`.
    unsafe {
        let half = |at: usize| _mm512_cvtph_ps(_mm256_loadu_si256(bytes.add(at).cast::<__m256i>()));
        let (index, part) = (block / SUPER, block % SUPER);
        match SCALES {
            HALF => ([half(block * 2 * LANES), zero], zero),
            HALF_MIN => ([half(block * 4 * LANES), zero], half(block * 4 * LANES + 2 * LANES)),
            SUPER_MIN => {
                let start = index * (4 + 2 * SUPER) * LANES;
                let at = start + 4 * LANES + part * 2 * LANES;
                let byte = |at: usize| {
                    let bytes = _mm_loadu_si128(bytes.add(at).cast::<__m128i>());
                    _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
                };
                let scale = _mm512_mul_ps(half(start), byte(at));
                let minimum = _mm512_mul_ps(half(start + 2 * LANES), byte(at + LANES));
                ([scale, zero], _mm512_sub_ps(zero, minimum))
            }
            _ => {
                let start = index * (2 + 2 * SUPER) * LANES;
                let at = start + 2 * LANES + part * 2 * LANES;
                let d = half(start);
                let scale = |at: usize| {
                    let bytes = _mm_loadu_si128(bytes.add(at).cast::<__m128i>());
                    _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)))
                };
                ([scale(at), scale(at + LANES)], zero)
            }
        }
    }
}

/// The lanes of a register to store.
pub(super) fn mask(lanes: usize) -> u16 {
    u16::MAX >> (LANES - lanes)
}

/// The largest number of each of four blocks, of which each register has the largest of each fourth number.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn largest(x: [__m256i; BATCH]) -> __m128i {
    let pair = |a, b| _mm256_max_epu32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let (low, high) = (pair(x[0], x[1]), pair(x[2], x[3]));
    let all = _mm256_max_epu32(_mm256_unpacklo_epi64(low, high), _mm256_unpackhi_epi64(low, high));
    _mm_max_epu32(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all))
}

/// Rounds activations to 8 bits.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn round(x: &[f32; BATCH * BLOCK]) -> Rounded {
    let mut out = Rounded {
        values: [[0; BLOCK]; BATCH],
        scales: [0.0; BATCH],
        sums: [[0; BATCH]; 2],
        totals: [0.0; BATCH],
    };
    // SAFETY: two loads of 16 of the 32 numbers of each of four blocks; stores of 32 bytes a block, or of four numbers.
    unsafe {
        let mut numbers = [[_mm512_setzero_ps(); 2]; BATCH];
        let mut sizes = [_mm256_setzero_si256(); BATCH];
        for (index, numbers) in numbers.iter_mut().enumerate() {
            let at = x.as_ptr().add(index * BLOCK);
            *numbers = [_mm512_loadu_ps(at), _mm512_loadu_ps(at.add(16))];
            let size = |x| _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fff_ffff));
            let size = _mm512_max_epu32(size(numbers[0]), size(numbers[1]));
            sizes[index] = _mm256_max_epu32(_mm512_castsi512_si256(size), _mm512_extracti64x4_epi64::<1>(size));
        }
        let largest = _mm_castsi128_ps(largest(sizes));
        // What is not a number is not less than any.
        let used = !_mm_cmp_ps_mask::<_CMP_LT_OQ>(largest, _mm_set1_ps(LEAST));
        let most = _mm_set1_ps(127.0);
        let scales = _mm_maskz_div_ps(used, largest, most);
        let mut factors = [0.0; BATCH];
        _mm_storeu_ps(factors.as_mut_ptr(), _mm_maskz_div_ps(used, most, largest));
        let mut sums = [_mm256_setzero_si256(); BATCH];
        for (index, numbers) in numbers.iter().enumerate() {
            let factor = _mm512_set1_ps(factors[index]);
            let bytes = |x| _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(x, factor)));
            let bytes = _mm256_set_m128i(bytes(numbers[1]), bytes(numbers[0]));
            _mm256_storeu_si256(out.values[index].as_mut_ptr().cast(), bytes);
            sums[index] = _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_set1_epi8(1), bytes);
        }
        let sums = _mm256_hadd_epi32(_mm256_hadd_epi32(sums[0], sums[1]), _mm256_hadd_epi32(sums[2], sums[3]));
        let halves = [_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums)];
        let total = _mm_cvtepi32_ps(_mm_add_epi32(halves[0], halves[1]));
        _mm_storeu_ps(out.scales.as_mut_ptr(), scales);
        _mm_storeu_ps(out.totals.as_mut_ptr(), _mm_mul_ps(scales, total));
        for (out, half) in out.sums.iter_mut().zip(halves) {
            _mm_storeu_si128(out.as_mut_ptr().cast(), half);
        }
    }
    out
}
