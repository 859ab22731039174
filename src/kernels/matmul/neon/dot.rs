//! Products of a quarter of a block, four rows of quants, with the activations of two rows.

use super::panel::Quants;
use crate::kernels::neon::{dot_four, matrix_four};
use std::arch::aarch64::{
    int8x16_t, int16x8_t, int32x4_t, vaddq_s32, vdupq_laneq_s32, vdupq_n_s32, vget_low_s8, vmlal_high_s8, vmlal_s8,
    vmull_high_s8, vmull_s8, vpadalq_s16, vpaddlq_s16, vpaddq_s16, vpaddq_s32, vreinterpretq_s8_s32,
    vreinterpretq_s8_s64, vreinterpretq_s32_s8, vreinterpretq_s64_s8, vuzp1q_s32, vuzp2q_s32, vzip1q_s64, vzip2q_s64,
};

/// The sums of a row's products with four rows of quants: of the first 16 numbers, and of the others if they are apart.
type Sums = [int32x4_t; 2];

/// How they are computed.
pub(super) trait Dot {
    /// Whether the quants are put together two groups by two (see `Unpacked`).
    const PAIRS: bool = false;

    /// Adds to `sums` the products of the quants with both rows of activations, those of the second 16 numbers apart if
    /// `apart`, to the first else. Quants are from 0 to `2^BITS - 1`, or any bytes with signs if `BITS` is 8; activations
    /// from -127 to 127.
    ///
    /// # Safety
    /// The processor has the instructions, and this is inlined into a function that is compiled for them.
    unsafe fn two_rows<const BITS: u8>(sums: [Sums; 2], q: Quants, x: [[int8x16_t; 2]; 2], apart: bool) -> [Sums; 2];
}

/// What every processor has: products of 16 bits.
pub(super) struct Base;

/// Dot product instructions.
pub(super) struct Dotprod;

/// Matrix product instructions.
pub(super) struct I8mm;

/// Products with one row after the other.
trait Four {
    /// Adds to each lane the four products of its quants in `q[j]` and the activations `4 j` to `4 j + 3` of `x`, for all
    /// four `j`.
    ///
    /// # Safety
    /// As [`Dot::two_rows`].
    unsafe fn four<const BITS: u8>(sums: int32x4_t, q: [int8x16_t; 4], x: int8x16_t) -> int32x4_t;
}

impl Four for Base {
    #[inline(always)]
    unsafe fn four<const BITS: u8>(sums: int32x4_t, q: [int8x16_t; 4], x: int8x16_t) -> int32x4_t {
        // SAFETY: NEON is in what every function is compiled for.
        unsafe { products::<BITS>(sums, q, x) }
    }
}

impl Four for Dotprod {
    #[inline(always)]
    unsafe fn four<const BITS: u8>(sums: int32x4_t, q: [int8x16_t; 4], x: int8x16_t) -> int32x4_t {
        // SAFETY: the caller's.
        unsafe { dot_four(sums, q, x) }
    }
}

impl<F: Four> Dot for F {
    #[inline(always)]
    unsafe fn two_rows<const BITS: u8>(
        mut sums: [Sums; 2],
        q: Quants,
        x: [[int8x16_t; 2]; 2],
        apart: bool,
    ) -> [Sums; 2] {
        let second = usize::from(apart);
        for row in 0..2 {
            // SAFETY: the caller's.
            unsafe {
                sums[row][0] = F::four::<BITS>(sums[row][0], q[0], x[row][0]);
                sums[row][second] = F::four::<BITS>(sums[row][second], q[1], x[row][1]);
            }
        }
        sums
    }
}

impl Dot for I8mm {
    const PAIRS: bool = true;

    #[inline(always)]
    unsafe fn two_rows<const BITS: u8>(sums: [Sums; 2], q: Quants, x: [[int8x16_t; 2]; 2], apart: bool) -> [Sums; 2] {
        // SAFETY: the caller's; NEON is in what every function is compiled for.
        unsafe {
            let (a, b) = (
                x[0].map(|x| vreinterpretq_s64_s8(x)),
                x[1].map(|x| vreinterpretq_s64_s8(x)),
            );
            let x = [0, 1].map(|half| {
                let eight = [vzip1q_s64(a[half], b[half]), vzip2q_s64(a[half], b[half])];
                eight.map(|x| vreinterpretq_s8_s64(x))
            });
            let none = [vdupq_n_s32(0); 2];
            let first = matrix_four(none, q[0], x[0]);
            let second = matrix_four(if apart { none } else { first }, q[1], x[1]);
            let [[low, high], rest] = if apart { [first, second] } else { [second, none] };
            let rows = |[low, high]: [int32x4_t; 2]| [vuzp1q_s32(low, high), vuzp2q_s32(low, high)];
            let (first, second) = (rows([low, high]), rows(rest));
            [0, 1].map(|row| {
                [
                    vaddq_s32(sums[row][0], first[row]),
                    vaddq_s32(sums[row][1], second[row]),
                ]
            })
        }
    }
}

/// [`Four::four`] with what every processor has.
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
