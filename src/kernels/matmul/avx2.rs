//! AVX2: as AVX-512, with half a panel in a register and two instructions for what VNNI does in one.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment)] // All loads and stores are of the kind that needs no alignment.
#![allow(clippy::many_single_char_names)] // `x`, `y`, `q` as in the formula.
#![allow(clippy::needless_range_loop)] // The loops run over registers; an iterator hides that from the reader.

use super::Task;
use super::activations::{BATCH, Rounded, TALL, Tile, scalar};
use super::format::{BLOCK, HALF, HALF_MIN, LANES, SUPER, SUPER_MIN, SUPER_SIXTEEN, Scales, by_format};
use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_loadl_epi64, _mm_loadu_si128, _mm256_abs_epi8, _mm256_add_epi16, _mm256_add_epi32,
    _mm256_and_si256, _mm256_cmpeq_epi8, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32,
    _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_mul_ps, _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setr_epi8, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_sign_epi8,
    _mm256_slli_epi16, _mm256_srli_epi16, _mm256_storeu_ps, _mm256_sub_ps, _mm256_xor_si256,
};

/// The two halves of a panel's lanes.
type Ints = [__m256i; 2];
type Floats = [__m256; 2];

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn compute(task: &Task<'_>, first: usize, panels: usize) {
    for panel in first..first + panels {
        for rows in task.x.tiles() {
            // SAFETY: the task's lengths agree; the panel is one of its matrix and the rows are of its activations.
            unsafe { by_format!(task.matrix.format, tile(task, panel, rows)) };
        }
    }
}

/// Rounds activations to 8 bits.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn round(x: &[f32; BATCH * BLOCK]) -> Rounded {
    scalar(x)
}

/// One panel of a product with a tile of rows, all of which use a block's unpacked weights before the next is unpacked.
///
/// # Safety
/// The lengths of the task agree; `panel` is one of its matrix, and the rows are there.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn tile<const BITS: u8, const SCALES: u8>(task: &Task<'_>, panel: usize, tile: Tile) {
    let blocks = task.matrix.blocks();
    let quant_bytes = BLOCK * LANES * usize::from(BITS) / 8;
    let (twice, minimum) = (SCALES == SUPER_SIXTEEN, SCALES == HALF_MIN || SCALES == SUPER_MIN);
    let parts = if twice { 2 } else { 1 };
    let (quants, scale_bytes) = task.matrix.panel(panel).split_at(blocks * quant_bytes);
    let x = task.rows(tile);
    let bias = task.bias(panel);
    // SAFETY: `bias` has 16 numbers.
    let bias = unsafe { [_mm256_loadu_ps(bias.as_ptr()), _mm256_loadu_ps(bias.as_ptr().add(8))] };
    let mut y = [bias; TALL];
    let mut at = 0;
    for (block, quants) in quants.chunks_exact(quant_bytes).enumerate() {
        // SAFETY: a block's quants; the scales of all blocks.
        let (q, (scales, least)) = unsafe {
            (
                expand::<BITS>(quants.as_ptr()),
                scales::<SCALES>(scale_bytes.as_ptr(), block),
            )
        };
        for y in &mut y[..tile.height] {
            let groups = x.values[at * BLOCK..(at + 1) * BLOCK].as_chunks::<4>().0;
            let x_scale = _mm256_set1_ps(x.scales[at]);
            for part in 0..parts {
                let range = 8 / parts * part..8 / parts * (part + 1);
                let mut sums = dot::<BITS>(&q[range.clone()], &groups[range]);
                // With 8 bits the quants have signs here.
                if !minimum && BITS < 8 {
                    let correction = _mm256_set1_epi32(x.corrections[at * parts + part]);
                    sums = [
                        _mm256_add_epi32(sums[0], correction),
                        _mm256_add_epi32(sums[1], correction),
                    ];
                }
                for half in 0..2 {
                    let scale = _mm256_mul_ps(scales[part][half], x_scale);
                    y[half] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[half]), scale, y[half]);
                }
            }
            if minimum {
                let total = _mm256_set1_ps(x.totals[at]);
                for half in 0..2 {
                    y[half] = _mm256_fmadd_ps(least[half], total, y[half]);
                }
            }
            at += 1;
        }
    }
    let (start, lanes) = task.lanes(panel);
    for (r, y) in y.iter().enumerate().take(tile.height) {
        let mut numbers = [0.0_f32; LANES];
        // SAFETY: the output is borrowed while the task lives, and each panel is computed by one piece; `numbers` has 16.
        let out = unsafe {
            _mm256_storeu_ps(numbers.as_mut_ptr(), y[0]);
            _mm256_storeu_ps(numbers.as_mut_ptr().add(8), y[1]);
            task.out.part((tile.first + r) * task.matrix.rows + start, lanes)
        };
        out.copy_from_slice(&numbers[..lanes]);
    }
}

/// The sums of the products of some groups of a block: `q` unsigned with less than 8 bits, `x` from -127 to 127.
#[inline]
#[target_feature(enable = "avx2")]
fn dot<const BITS: u8>(q: &[Ints], x: &[[i8; 4]]) -> Ints {
    // Sums of two products that fit 16 bits: 8 * 2 * 15 * 127, 4 * 2 * 31 * 127, 2 * 2 * 63 * 127, 2 * 128 * 127.
    let most = match BITS {
        4 => 8,
        5 => 4,
        6 => 2,
        _ => 1,
    };
    let mut sums = [_mm256_setzero_si256(); 2];
    for (q, x) in q.chunks(most).zip(x.chunks(most)) {
        let mut short = [_mm256_setzero_si256(); 2];
        for (q, four) in q.iter().zip(x) {
            let four = _mm256_set1_epi32(i32::from_le_bytes(four.map(i8::cast_unsigned)));
            for half in 0..2 {
                let product = if BITS == 8 {
                    _mm256_maddubs_epi16(_mm256_abs_epi8(q[half]), _mm256_sign_epi8(four, q[half]))
                } else {
                    _mm256_maddubs_epi16(q[half], four)
                };
                short[half] = _mm256_add_epi16(short[half], product);
            }
        }
        for half in 0..2 {
            let products = _mm256_madd_epi16(short[half], _mm256_set1_epi16(1));
            sums[half] = _mm256_add_epi32(sums[half], products);
        }
    }
    sums
}

/// The eight groups of a block, a byte a quant: with a sign if it has 8 bits, without one if less.
///
/// # Safety
/// `quants` is readable for the bytes of a block with these bits.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn expand<const BITS: u8>(quants: *const u8) -> [Ints; 8] {
    let mut out: [Ints; 8] = [[_mm256_setzero_si256(); 2]; 8];
    // SAFETY: 4 strings of 64 bytes, 8 with 8 bits; after the 4, 8 words with 5 bits and 2 strings with 6.
    unsafe {
        let load = |at: usize| _mm256_loadu_si256(quants.add(at).cast());
        if BITS == 8 {
            let top = _mm256_set1_epi8(-128);
            for j in 0..8 {
                out[j] = [
                    _mm256_xor_si256(load(64 * j), top),
                    _mm256_xor_si256(load(64 * j + 32), top),
                ];
            }
            return out;
        }
        let low = _mm256_set1_epi8(15);
        for t in 0..4 {
            for half in 0..2 {
                let string = load(64 * t + 32 * half);
                out[t][half] = _mm256_and_si256(string, low);
                out[t + 4][half] = _mm256_and_si256(_mm256_srli_epi16::<4>(string), low);
            }
        }
        if BITS == 5 {
            for j in 0..8 {
                for half in 0..2 {
                    let word = quants.add(256 + 8 * j + 4 * half).cast::<i32>().read_unaligned();
                    let fifth = _mm256_and_si256(bits(word), _mm256_set1_epi8(16));
                    out[j][half] = _mm256_or_si256(out[j][half], fifth);
                }
            }
        }
        if BITS == 6 {
            let mask = _mm256_set1_epi8(0x30);
            for h in 0..2 {
                for half in 0..2 {
                    let string = load(256 + 64 * h + 32 * half);
                    let shifted = [
                        _mm256_slli_epi16::<4>(string),
                        _mm256_slli_epi16::<2>(string),
                        string,
                        _mm256_srli_epi16::<2>(string),
                    ];
                    for p in 0..4 {
                        let upper = _mm256_and_si256(shifted[p], mask);
                        out[4 * h + p][half] = _mm256_or_si256(out[4 * h + p][half], upper);
                    }
                }
            }
        }
    }
    out
}

/// A byte of ones for each bit of `word` that is set.
#[inline]
#[target_feature(enable = "avx2")]
fn bits(word: i32) -> __m256i {
    #[rustfmt::skip]
    let byte = _mm256_setr_epi8(
        0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1,
        2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3,
    );
    #[rustfmt::skip]
    let bit = _mm256_setr_epi8(
        1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128,
        1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128,
    );
    let spread = _mm256_shuffle_epi8(_mm256_set1_epi32(word), byte);
    _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit)
}

/// The scales of a block (the second is used only where there are two) and its minima.
///
/// # Safety
/// `bytes` is readable for the scales of blocks up to `block`.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn scales<const SCALES: u8>(bytes: *const u8, block: usize) -> ([Floats; 2], Floats) {
    let zero: Floats = [_mm256_setzero_ps(); 2];
    // SAFETY: the caller answers for the length; the layout is that of `format::Scales`.
    unsafe {
        let half_numbers = |at: usize| _mm256_cvtph_ps(_mm_loadu_si128(bytes.add(at).cast::<__m128i>()));
        let half = |at: usize| -> Floats { [half_numbers(at), half_numbers(at + 16)] };
        let eight = |at: usize| _mm_loadl_epi64(bytes.add(at).cast::<__m128i>());
        let (index, part) = (block / SUPER, block % SUPER);
        match SCALES {
            HALF => ([half(block * 2 * LANES), zero], zero),
            HALF_MIN => ([half(block * 4 * LANES), zero], half(block * 4 * LANES + 2 * LANES)),
            SUPER_MIN => {
                let start = index * (4 + 2 * SUPER) * LANES;
                let at = start + 4 * LANES + part * 2 * LANES;
                let byte = |at: usize| _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(eight(at)));
                let (d, least) = (half(start), half(start + 2 * LANES));
                let times = |d: Floats, at: usize| -> Floats {
                    [_mm256_mul_ps(d[0], byte(at)), _mm256_mul_ps(d[1], byte(at + 8))]
                };
                let minimum = times(least, at + LANES);
                let negative = [_mm256_sub_ps(zero[0], minimum[0]), _mm256_sub_ps(zero[1], minimum[1])];
                ([times(d, at), zero], negative)
            }
            _ => {
                let start = index * (2 + 2 * SUPER) * LANES;
                let at = start + 2 * LANES + part * 2 * LANES;
                let byte = |at: usize| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight(at)));
                let d = half(start);
                let scale =
                    |at: usize| -> Floats { [_mm256_mul_ps(d[0], byte(at)), _mm256_mul_ps(d[1], byte(at + 8))] };
                ([scale(at), scale(at + LANES)], zero)
            }
        }
    }
}
