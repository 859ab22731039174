//! Products of four quants of each of four rows with four activations, for four such groups at once.

use crate::kernels::neon::dot_four;
use std::arch::aarch64::{
    int8x16_t, int16x8_t, int32x4_t, vaddq_s32, vdupq_laneq_s32, vget_low_s8, vmlal_high_s8, vmlal_s8, vmull_high_s8,
    vmull_s8, vpadalq_s16, vpaddlq_s16, vpaddq_s16, vpaddq_s32, vreinterpretq_s8_s32, vreinterpretq_s32_s8,
};

/// How they are computed.
pub(super) trait Dot {
    /// Adds to each lane the four products of its quants in `q[j]` and the activations `4 j` to `4 j + 3` of `x`, for all
    /// four `j`. Quants are from 0 to `2^BITS - 1`, or any bytes with signs if `BITS` is 8; activations from -127 to 127.
    ///
    /// # Safety
    /// The processor has the instructions, and this is inlined into a function that is compiled for them.
    unsafe fn four<const BITS: u8>(sums: int32x4_t, q: [int8x16_t; 4], x: int8x16_t) -> int32x4_t;
}

/// What every processor has: products of 16 bits.
pub(super) struct Base;

/// Dot product instructions.
pub(super) struct Dotprod;

impl Dot for Base {
    #[inline(always)]
    unsafe fn four<const BITS: u8>(sums: int32x4_t, q: [int8x16_t; 4], x: int8x16_t) -> int32x4_t {
        // SAFETY: NEON is in what every function is compiled for.
        unsafe { products::<BITS>(sums, q, x) }
    }
}

impl Dot for Dotprod {
    #[inline(always)]
    unsafe fn four<const BITS: u8>(sums: int32x4_t, q: [int8x16_t; 4], x: int8x16_t) -> int32x4_t {
        // SAFETY: the caller's.
        unsafe { dot_four(sums, q, x) }
    }
}

/// [`Base`].
#[inline]
#[target_feature(enable = "neon")]
fn products<const BITS: u8>(sums: int32x4_t, q: [int8x16_t; 4], x: int8x16_t) -> int32x4_t {
    let words = vreinterpretq_s32_s8(x);
    let x = [
        vreinterpretq_s8_s32(vdupq_laneq_s32::<0>(words)),
        vreinterpretq_s8_s32(vdupq_laneq_s32::<1>(words)),
        vreinterpretq_s8_s32(vdupq_laneq_s32::<2>(words)),
        vreinterpretq_s8_s32(vdupq_laneq_s32::<3>(words)),
    ];
    // The products of two groups, which lie lane by lane: those of two lanes, then those of the other two.
    let low = |j: usize, sums: int16x8_t| vmlal_s8(sums, vget_low_s8(q[j]), vget_low_s8(x[j]));
    let high = |j: usize, sums: int16x8_t| vmlal_high_s8(sums, q[j], x[j]);
    let two = |j: usize| {
        [
            low(j + 1, vmull_s8(vget_low_s8(q[j]), vget_low_s8(x[j]))),
            high(j + 1, vmull_high_s8(q[j], x[j])),
        ]
    };
    if BITS == 8 {
        // Sums of two products fit 16 bits: 2 * 128 * 127.
        let (a, b) = (two(0), two(2));
        let wide = |half: usize| vpadalq_s16(vpaddlq_s16(a[half]), b[half]);
        return vaddq_s32(sums, vpaddq_s32(wide(0), wide(1)));
    }
    // Of four as well, 4 * 63 * 127, and with 5 bits those of neighbours too, 2 * 4 * 31 * 127.
    let [first, second] = two(0);
    let (first, second) = (low(3, low(2, first)), high(3, high(2, second)));
    if BITS == 6 {
        vaddq_s32(sums, vpaddq_s32(vpaddlq_s16(first), vpaddlq_s16(second)))
    } else {
        vpadalq_s16(sums, vpaddq_s16(first, second))
    }
}
