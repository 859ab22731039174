//! AVX2: as AVX-512, with half a panel in a register and one panel at a time.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment)] // All loads and stores are of the kind that needs no alignment.
#![allow(clippy::needless_range_loop)] // The loops run over registers; an iterator hides that from the reader.

use super::super::format::LANES;
use super::{Format, TILE, Task};
use std::arch::x86_64::{
    __m128i, __m256, _mm_loadu_si128, _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_set1_ps, _mm256_slli_epi32, _mm256_storeu_ps,
};

#[target_feature(enable = "avx2,fma,f16c")]
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

/// 8 numbers.
///
/// # Safety
/// So many bytes are readable.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn load(format: Format, from: *const u8) -> __m256 {
    // SAFETY: the caller's.
    unsafe {
        let halves = || _mm_loadu_si128(from.cast::<__m128i>());
        match format {
            Format::F32 => _mm256_loadu_ps(from.cast()),
            Format::F16 => _mm256_cvtph_ps(halves()),
            Format::BF16 => _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves()))),
        }
    }
}

/// `ROWS` rows of the product with a panel.
///
/// # Safety
/// The lengths of the task agree; the panel is its matrix's, and there are rows up to `row + ROWS`.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn multiply<const ROWS: usize>(task: &Task<'_>, panel: usize, row: usize) {
    let (format, columns) = (task.matrix.format, task.matrix.columns);
    let half = LANES / 2 * format.bytes();
    let bias = task.bias(panel);
    // SAFETY: a panel holds 16 numbers for each column, and each row of `x` one; `bias` has 16.
    let y = unsafe {
        let bias = [_mm256_loadu_ps(bias.as_ptr()), _mm256_loadu_ps(bias.as_ptr().add(8))];
        let mut y = [bias; ROWS];
        let mut from = task.matrix.panel(panel).as_ptr();
        let mut x = [std::ptr::null(); ROWS];
        for (r, row_of_x) in task.x(row, ROWS).chunks_exact(columns).enumerate() {
            x[r] = row_of_x.as_ptr();
        }
        for _ in 0..columns {
            let weights = [load(format, from), load(format, from.add(half))];
            from = from.add(2 * half);
            for r in 0..ROWS {
                let number = _mm256_set1_ps(*x[r]);
                x[r] = x[r].add(1);
                for c in 0..2 {
                    y[r][c] = _mm256_fmadd_ps(weights[c], number, y[r][c]);
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
            _mm256_storeu_ps(numbers.as_mut_ptr(), y[0]);
            _mm256_storeu_ps(numbers.as_mut_ptr().add(8), y[1]);
            task.out.part((row + r) * task.matrix.rows + start, lanes)
        };
        out.copy_from_slice(&numbers[..lanes]);
    }
}
