//! Instructions of NEON that the standard library does not offer yet in the oldest version that this program is built
//! with.
#![allow(unsafe_code)]
#![allow(clippy::inline_always)] // An instruction is not a call.

use std::arch::aarch64::{float32x4_t, int8x16_t, int32x4_t, uint16x4_t, vld1_u16};
use std::arch::asm;

/// Four half-precision numbers as `f32`, which is exact. Part of the first version of the architecture, unlike arithmetic
/// with such numbers.
#[inline(always)]
pub(super) fn from_halves(halves: uint16x4_t) -> float32x4_t {
    let numbers: float32x4_t;
    // SAFETY: the instruction reads and writes registers alone, and every aarch64 processor with NEON has it.
    unsafe {
        asm!(
            "fcvtl {0:v}.4s, {1:v}.4h",
            lateout(vreg) numbers,
            in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    numbers
}

/// Sixteen half-precision numbers as `f32`.
///
/// # Safety
/// 32 bytes are readable.
#[inline(always)]
pub(super) unsafe fn load_halves(from: *const u8) -> [float32x4_t; 4] {
    // SAFETY: the caller's; loads need no alignment.
    let four = |at: usize| unsafe { from_halves(vld1_u16(from.add(8 * at).cast())) };
    [four(0), four(1), four(2), four(3)]
}

/// Adds to each lane the four products of its bytes of `q[j]` and the bytes `4 j` to `4 j + 3` of `x`, for all four `j`.
///
/// # Safety
/// The processor has the dot product instructions, and this is inlined into a function that is compiled for them.
#[inline(always)]
pub(super) unsafe fn dot_four(mut sums: int32x4_t, q: [int8x16_t; 4], x: int8x16_t) -> int32x4_t {
    // SAFETY: registers alone; the caller answers for the instruction.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {a:v}.16b, {x:v}.4b[0]",
            "sdot {sums:v}.4s, {b:v}.16b, {x:v}.4b[1]",
            "sdot {sums:v}.4s, {c:v}.16b, {x:v}.4b[2]",
            "sdot {sums:v}.4s, {d:v}.16b, {x:v}.4b[3]",
            sums = inout(vreg) sums,
            a = in(vreg) q[0],
            b = in(vreg) q[1],
            c = in(vreg) q[2],
            d = in(vreg) q[3],
            x = in(vreg) x,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// Of four rows of quants, two and two by eight numbers at a time, the products with eight numbers of two rows of `x`, for
/// two times eight: `q` and `x` hold eight bytes of one row and eight of the next. Each result has the first row of the
/// quants with both of `x`, then the second.
///
/// # Safety
/// The processor has the matrix product instructions, and this is inlined into a function that is compiled for them.
#[inline(always)]
pub(super) unsafe fn matrix_four(
    [mut first, mut second]: [int32x4_t; 2],
    q: [int8x16_t; 4],
    x: [int8x16_t; 2],
) -> [int32x4_t; 2] {
    // SAFETY: registers alone; the caller answers for the instruction.
    unsafe {
        asm!(
            "smmla {first:v}.4s, {a:v}.16b, {x:v}.16b",
            "smmla {second:v}.4s, {b:v}.16b, {x:v}.16b",
            "smmla {first:v}.4s, {c:v}.16b, {y:v}.16b",
            "smmla {second:v}.4s, {d:v}.16b, {y:v}.16b",
            first = inout(vreg) first,
            second = inout(vreg) second,
            a = in(vreg) q[0],
            b = in(vreg) q[1],
            c = in(vreg) q[2],
            d = in(vreg) q[3],
            x = in(vreg) x[0],
            y = in(vreg) x[1],
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    [first, second]
}
