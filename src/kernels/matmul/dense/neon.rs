//! NEON: as AVX-512, with a quarter of a panel in a register and one panel at a time: 24 sums stay in registers.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment)] // All loads and stores are of the kind that needs no alignment.
#![allow(clippy::needless_range_loop)] // The loops run over registers; an iterator hides that from the reader.

use super::super::format::LANES;
use super::{Format, TILE, Task};
use crate::kernels::neon::load_halves;
use std::arch::aarch64::{
    float32x4_t, vfmaq_f32, vld1_u16, vld1q_dup_f32, vld1q_f32, vreinterpretq_f32_u32, vshll_n_u16, vst1q_f32,
};

#[target_feature(enable = "neon")]
pub(super) fn compute(task: &Task<'_>, panel: usize, panels: usize) {
    const { assert!(TILE == 6) };
    for panel in panel..panel + panels {
        for (row, height) in task.tiles() {
            // SAFETY: the panel is the matrix's, the rows are there, and the lengths agree.
            unsafe {
                match height {
                    1 => multiply::<1>(task, panel, row),
                    2 => multiply::<2>(task, panel, row),
                    3 => multiply::<3>(task, panel, row),
                    4 => multiply::<4>(task, panel, row),
                    5 => multiply::<5>(task, panel, row),
                    _ => multiply::<TILE>(task, panel, row),
                }
            }
        }
    }
}

/// 16 numbers.
///
/// # Safety
/// So many bytes are readable.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn load(format: Format, from: *const u8) -> [float32x4_t; 4] {
    // SAFETY: the caller's.
    unsafe {
        match format {
            Format::F32 => [0, 16, 32, 48].map(|at| vld1q_f32(from.add(at).cast())),
            Format::F16 => load_halves(from),
            Format::BF16 => {
                [0, 8, 16, 24].map(|at| vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from.add(at).cast()))))
            }
        }
    }
}

/// `ROWS` rows of the product with a panel.
///
/// # Safety
/// The lengths of the task agree; the panel is its matrix's, and there are rows up to `row + ROWS`.
#[target_feature(enable = "neon")]
unsafe fn multiply<const ROWS: usize>(task: &Task<'_>, panel: usize, row: usize) {
    let (format, columns) = (task.matrix.format, task.matrix.columns);
    let bias = task.bias(panel);
    // SAFETY: a panel holds 16 numbers for each column, and each row of `x` one; `bias` has 16.
    let y = unsafe {
        let bias = [0, 4, 8, 12].map(|lane| vld1q_f32(bias.as_ptr().add(lane)));
        let mut y = [bias; ROWS];
        let mut from = task.matrix.panel(panel).as_ptr();
        let mut x = [std::ptr::null(); ROWS];
        for (r, row_of_x) in task.x(row, ROWS).chunks_exact(columns).enumerate() {
            x[r] = row_of_x.as_ptr();
        }
        for column in 0..columns {
            let weights = load(format, from);
            from = from.add(LANES * format.bytes());
            for r in 0..ROWS {
                let number = vld1q_dup_f32(x[r].add(column));
                for c in 0..4 {
                    y[r][c] = vfmaq_f32(y[r][c], weights[c], number);
                }
            }
        }
        y
    };
    let (start, lanes) = task.lanes(panel);
    for (r, y) in y.iter().enumerate() {
        let mut numbers = [0.0_f32; LANES];
        // SAFETY: the output is borrowed while the task lives, and each panel is computed by one piece; `numbers` has 16.
        let out = unsafe {
            for (c, y) in y.iter().enumerate() {
                vst1q_f32(numbers.as_mut_ptr().add(4 * c), *y);
            }
            task.out.part((row + r) * task.matrix.rows + start, lanes)
        };
        out.copy_from_slice(&numbers[..lanes]);
    }
}
