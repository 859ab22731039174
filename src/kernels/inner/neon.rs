//! NEON: bytes are multiplied to 16 bits and added up in pairs, or four at once where the processor has the instruction.
#![allow(unsafe_code)]

use super::{SHIFT, number};
use std::arch::aarch64::{
    int8x16_t, int32x4_t, vaddvq_s32, vdupq_n_s32, vdupq_n_u8, veorq_u8, vget_low_s8, vld1q_s8, vld1q_u8,
    vmull_high_s8, vmull_s8, vpadalq_s16, vreinterpretq_s8_u8,
};
use std::arch::asm;

pub(super) fn dots_i8(query: &[i8], matrix: &[u8], rows: &[u32], out: &mut [i32]) {
    // SAFETY: NEON is in what this is compiled for.
    each(query, matrix, rows, out, |sum, q, x| unsafe {
        let sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(q), vget_low_s8(x)));
        vpadalq_s16(sum, vmull_high_s8(q, x))
    });
}

/// # Safety
/// The processor has the dot product instructions.
#[target_feature(enable = "dotprod")]
pub(super) unsafe fn dots_i8_dotprod(query: &[i8], matrix: &[u8], rows: &[u32], out: &mut [i32]) {
    each(query, matrix, rows, out, |mut sum: int32x4_t, q, x| {
        // SAFETY: registers alone; the caller answers for the instruction.
        unsafe {
            asm!(
                "sdot {sum:v}.4s, {q:v}.16b, {x:v}.16b",
                sum = inout(vreg) sum,
                q = in(vreg) q,
                x = in(vreg) x,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sum
    });
}

/// The sum of what `add` adds for each sixteen numbers, and of the products of the rest.
#[inline(always)]
#[allow(clippy::inline_always)] // Its caller says for which instructions it is compiled.
fn each(
    query: &[i8],
    matrix: &[u8],
    rows: &[u32],
    out: &mut [i32],
    add: impl Fn(int32x4_t, int8x16_t, int8x16_t) -> int32x4_t,
) {
    let (sixteens, rest) = query.as_chunks::<16>();
    for (row, out) in rows.iter().zip(out) {
        let row = &matrix[*row as usize * query.len()..][..query.len()];
        let (row_sixteens, row_rest) = row.as_chunks::<16>();
        // SAFETY: sixteen bytes each; NEON is in what this is compiled for.
        let sum = unsafe {
            let shift = vdupq_n_u8(SHIFT);
            let mut sum = vdupq_n_s32(0);
            for (q, x) in sixteens.iter().zip(row_sixteens) {
                let x = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(x.as_ptr()), shift));
                sum = add(sum, vld1q_s8(q.as_ptr()), x);
            }
            vaddvq_s32(sum)
        };
        let rest = rest.iter().zip(row_rest);
        *out = sum + rest.map(|(q, x)| i32::from(*q) * i32::from(number(*x))).sum::<i32>();
    }
}
