//! Quarters of the blocks of a panel in registers, from the packed matrix or unpacked before.

use super::super::format::{BLOCK, HALF, HALF_MIN, LANES, SUPER, SUPER_MIN, SUPER_SIXTEEN};
use crate::kernels::neon::from_halves;
use std::arch::aarch64::{
    float32x4_t, int8x16_t, uint8x16_t, vaddq_u8, vandq_u8, vcombine_u8, vcreate_u8, vcvtq_f32_s32, vcvtq_f32_u32,
    vdup_n_u8, vdup_n_u32, vdupq_n_f32, vdupq_n_s8, vdupq_n_u8, veorq_u8, vget_low_s16, vget_low_u16, vld1_u16,
    vld1q_f32, vld1q_s8, vld1q_u8, vmovl_s8, vmovl_s16, vmovl_u8, vmovl_u16, vmulq_f32, vorrq_u8, vqtbl1q_u8,
    vreinterpret_s8_u32, vreinterpret_u8_u32, vreinterpretq_s8_s32, vreinterpretq_s8_u8, vreinterpretq_s32_s8,
    vshlq_n_u8, vshrq_n_u8, vst1q_f32, vst1q_s8, vsubq_f32, vtstq_u8, vzip1q_s32, vzip2q_s32,
};
use std::cell::Cell;

/// The eight groups of a quarter of a block, as the two halves that may have scales of their own.
pub(super) type Quants = [[int8x16_t; 4]; 2];
/// Scales of a quarter of a block (the second is used only where there are two) and its minima.
pub(super) type Factors = ([float32x4_t; 2], float32x4_t);

/// Blocks of 16 rows, by quarters of four rows.
pub(super) trait Panel: Copy {
    /// The quants, which have signs only if they have 8 bits.
    ///
    /// # Safety
    /// The panel has the block; there are four quarters.
    unsafe fn quants(self, block: usize, quarter: usize) -> Quants;

    /// The scales and minima.
    ///
    /// # Safety
    /// As [`Panel::quants`].
    unsafe fn scales(self, block: usize, quarter: usize) -> Factors;
}

/// A panel as it lies in the matrix.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a, const BITS: u8, const SCALES: u8> {
    quants: &'a [u8],
    scales: &'a [u8],
}

impl<'a, const BITS: u8, const SCALES: u8> Packed<'a, BITS, SCALES> {
    const QUANT_BYTES: usize = BLOCK * LANES * BITS as usize / 8;

    /// The panel of so many blocks.
    pub(super) fn new(panel: &'a [u8], blocks: usize) -> Self {
        let (quants, scales) = panel.split_at(blocks * Self::QUANT_BYTES);
        Self { quants, scales }
    }

    fn blocks(self) -> usize {
        self.quants.len() / Self::QUANT_BYTES
    }
}

/// `0xff` for each of 16 bits that is set, from two bytes of `words`.
#[inline]
#[target_feature(enable = "neon")]
fn bits(words: uint8x16_t, bytes: uint8x16_t) -> uint8x16_t {
    // Bit `i` of each of the two bytes, from the lowest.
    let eight = vcreate_u8(0x8040_2010_0804_0201);
    vtstq_u8(vqtbl1q_u8(words, bytes), vcombine_u8(eight, eight))
}

/// The same bytes.
#[inline]
#[target_feature(enable = "neon")]
fn signed(bytes: [[uint8x16_t; 4]; 2]) -> Quants {
    let mut out = [[vdupq_n_s8(0); 4]; 2];
    for half in 0..2 {
        for j in 0..4 {
            out[half][j] = vreinterpretq_s8_u8(bytes[half][j]);
        }
    }
    out
}

impl<const BITS: u8, const SCALES: u8> Panel for Packed<'_, BITS, SCALES> {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn quants(self, block: usize, quarter: usize) -> Quants {
        let mut out = [[vdupq_n_u8(0); 4]; 2];
        // SAFETY: of each string of 64 bytes, 16 are read: of 4 strings, or 8 with 8 bits; after the 4, of 8 words of 8
        // bytes, two words at once, with 5 bits, and of 2 strings with 6.
        unsafe {
            let start = self.quants.as_ptr().add(block * Self::QUANT_BYTES);
            let load = |string: usize| vld1q_u8(start.add(64 * string + 16 * quarter));
            if BITS == 8 {
                for j in 0..8 {
                    out[j / 4][j % 4] = veorq_u8(load(j), vdupq_n_u8(0x80));
                }
                return signed(out);
            }
            for t in 0..4 {
                let string = load(t);
                out[0][t] = vandq_u8(string, vdupq_n_u8(15));
                out[1][t] = vshrq_n_u8::<4>(string);
            }
            if BITS == 5 {
                // Bytes `2 quarter` and `2 quarter + 1` of a word hold the bits of the quarter.
                let first = vcombine_u8(vdup_n_u8(0), vdup_n_u8(1));
                let first = vaddq_u8(first, vdupq_n_u8(2 * quarter as u8));
                for pair in 0..4 {
                    let words = vld1q_u8(start.add(256 + 16 * pair));
                    for (j, bytes) in [(2 * pair, first), (2 * pair + 1, vaddq_u8(first, vdupq_n_u8(8)))] {
                        let q = &mut out[j / 4][j % 4];
                        *q = vorrq_u8(*q, vandq_u8(bits(words, bytes), vdupq_n_u8(16)));
                    }
                }
            }
            if BITS == 6 {
                for half in 0..2 {
                    let string = load(4 + half);
                    let shifted = [
                        vshlq_n_u8::<4>(string),
                        vshlq_n_u8::<2>(string),
                        string,
                        vshrq_n_u8::<2>(string),
                    ];
                    for (q, upper) in out[half].iter_mut().zip(shifted) {
                        *q = vorrq_u8(*q, vandq_u8(upper, vdupq_n_u8(0x30)));
                    }
                }
            }
        }
        signed(out)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn scales(self, block: usize, quarter: usize) -> Factors {
        let zero = vdupq_n_f32(0.0);
        // SAFETY: the panel has the block; the layout is that of `format::Scales`.
        unsafe {
            let start = self.scales.as_ptr();
            let half = |at: usize| from_halves(vld1_u16(start.add(at + 8 * quarter).cast()));
            let four = |at: usize| vdup_n_u32(start.add(at + 4 * quarter).cast::<u32>().read_unaligned());
            let (index, part) = (block / SUPER, block % SUPER);
            match SCALES {
                HALF => ([half(block * 2 * LANES), zero], zero),
                HALF_MIN => ([half(block * 4 * LANES), zero], half(block * 4 * LANES + 2 * LANES)),
                SUPER_MIN => {
                    let start = index * (4 + 2 * SUPER) * LANES;
                    let at = start + 4 * LANES + part * 2 * LANES;
                    let byte = |at: usize| {
                        let bytes = vmovl_u8(vreinterpret_u8_u32(four(at)));
                        vcvtq_f32_u32(vmovl_u16(vget_low_u16(bytes)))
                    };
                    let minimum = vmulq_f32(half(start + 2 * LANES), byte(at + LANES));
                    ([vmulq_f32(half(start), byte(at)), zero], vsubq_f32(zero, minimum))
                }
                _ => {
                    let start = index * (2 + 2 * SUPER) * LANES;
                    let at = start + 2 * LANES + part * 2 * LANES;
                    let scale = |at: usize| {
                        let bytes = vmovl_s8(vreinterpret_s8_u32(four(at)));
                        vmulq_f32(half(start), vcvtq_f32_s32(vmovl_s16(vget_low_s16(bytes))))
                    };
                    ([scale(at), scale(at + LANES)], zero)
                }
            }
        }
    }
}

/// A panel as bytes and `f32`, for as long as it is multiplied.
#[derive(Clone, Copy)]
pub(super) struct Unpacked<'a> {
    /// `[blocks, 4 quarters, 8 groups, 16]`, or of each two groups the eight numbers of the first two rows and then of the
    /// others.
    quants: &'a [i8],
    /// `[blocks, 4 quarters, 3, 4]`: two scales and the minimum of each row.
    scales: &'a [f32],
}

/// Bytes of the quants of a quarter of a block, unpacked.
const QUARTER: usize = BLOCK * LANES / 4;
/// Factors of a quarter of a block.
const FACTORS: usize = 3 * 4;

thread_local! {
    static UNPACKED: Cell<(Vec<i8>, Vec<f32>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

/// Calls `work` with the panel unpacked, groups put together two by two if `pairs`. Memory is reused.
#[target_feature(enable = "neon")]
pub(super) fn with_unpacked<const BITS: u8, const SCALES: u8>(
    packed: Packed<'_, BITS, SCALES>,
    pairs: bool,
    work: impl FnOnce(Unpacked<'_>),
) {
    const { assert!(SCALES <= SUPER_SIXTEEN) };
    let (mut quants, mut scales) = UNPACKED.take();
    let quarters = 4 * packed.blocks();
    quants.resize(quarters * QUARTER, 0);
    scales.resize(quarters * FACTORS, 0.0);
    let places = quants.as_chunks_mut::<QUARTER>().0.iter_mut();
    for (index, (to, to_scales)) in places.zip(scales.as_chunks_mut::<FACTORS>().0).enumerate() {
        // SAFETY: the panel has as many quarters; 8 times 16 of 128 bytes are written and 3 times 4 of 12 numbers.
        unsafe {
            let mut quants = packed.quants(index / 4, index % 4);
            if pairs {
                for half in &mut quants {
                    let [a, b, c, d] = *half;
                    let ([first, second], [third, fourth]) = (pair(a, b), pair(c, d));
                    *half = [first, second, third, fourth];
                }
            }
            for (j, q) in quants.as_flattened().iter().enumerate() {
                vst1q_s8(to.as_mut_ptr().add(16 * j), *q);
            }
            let ([first, second], least) = packed.scales(index / 4, index % 4);
            for (j, factors) in [first, second, least].into_iter().enumerate() {
                vst1q_f32(to_scales.as_mut_ptr().add(4 * j), factors);
            }
        }
    }
    work(Unpacked {
        quants: &quants,
        scales: &scales,
    });
    UNPACKED.set((quants, scales));
}

/// Two groups of four rows as eight numbers of two rows and of the other two.
#[inline]
#[target_feature(enable = "neon")]
fn pair(a: int8x16_t, b: int8x16_t) -> [int8x16_t; 2] {
    let (a, b) = (vreinterpretq_s32_s8(a), vreinterpretq_s32_s8(b));
    [
        vreinterpretq_s8_s32(vzip1q_s32(a, b)),
        vreinterpretq_s8_s32(vzip2q_s32(a, b)),
    ]
}

impl Panel for Unpacked<'_> {
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn quants(self, block: usize, quarter: usize) -> Quants {
        // SAFETY: the caller's; a quarter has 8 times 16 bytes.
        unsafe {
            let start = self.quants.as_ptr().add((4 * block + quarter) * QUARTER);
            let four = |from: usize| [0, 1, 2, 3].map(|j| vld1q_s8(start.add(16 * (from + j))));
            [four(0), four(4)]
        }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn scales(self, block: usize, quarter: usize) -> Factors {
        // SAFETY: the caller's; a quarter has 3 times 4 numbers.
        unsafe {
            let start = self.scales.as_ptr().add((4 * block + quarter) * FACTORS);
            ([vld1q_f32(start), vld1q_f32(start.add(4))], vld1q_f32(start.add(8)))
        }
    }
}
