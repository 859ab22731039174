//! AVX-512: a lane of a register is a row of the matrix.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment)] // All loads and stores are of the kind that needs no alignment.
#![allow(clippy::needless_range_loop)] // The loops run over registers; an iterator hides that from the reader.

use super::super::format::LANES;
use super::{Format, TILE, Task, WIDE};
use std::arch::x86_64::{
    __m256i, __m512, _MM_HINT_T0, _mm_prefetch, _mm256_loadu_si256, _mm512_castsi512_ps, _mm512_cvtepu16_epi32,
    _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_slli_epi32,
};

/// How far ahead a panel is fetched.
const AHEAD: usize = 1024;

// `Format` as constant parameters.
const F32: u8 = 0;
const F16: u8 = 1;
const BF16: u8 = 2;

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn compute(task: &Task<'_>, panel: usize, panels: usize) {
    // SAFETY: the panels are the matrix's, and the lengths agree.
    unsafe {
        match task.matrix.format {
            Format::F32 => by_width::<F32>(task, panel, panels),
            Format::F16 => by_width::<F16>(task, panel, panels),
            Format::BF16 => by_width::<BF16>(task, panel, panels),
        }
    }
}

/// # Safety
/// The lengths of the task agree, and the panels are its matrix's.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn by_width<const FORMAT: u8>(task: &Task<'_>, panel: usize, panels: usize) {
    for tile in task.tiles() {
        // SAFETY: the caller's.
        unsafe {
            if panels == WIDE {
                by_height::<FORMAT, WIDE>(task, panel, tile);
            } else {
                for panel in panel..panel + panels {
                    by_height::<FORMAT, 1>(task, panel, tile);
                }
            }
        }
    }
}

/// # Safety
/// As [`by_width`]; there are `WIDTH` panels.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn by_height<const FORMAT: u8, const WIDTH: usize>(task: &Task<'_>, panel: usize, tile: (usize, usize)) {
    const { assert!(TILE == 6) };
    // SAFETY: the caller's.
    unsafe {
        match tile.1 {
            1 => multiply::<FORMAT, WIDTH, 1>(task, panel, tile.0),
            2 => multiply::<FORMAT, WIDTH, 2>(task, panel, tile.0),
            3 => multiply::<FORMAT, WIDTH, 3>(task, panel, tile.0),
            4 => multiply::<FORMAT, WIDTH, 4>(task, panel, tile.0),
            5 => multiply::<FORMAT, WIDTH, 5>(task, panel, tile.0),
            _ => multiply::<FORMAT, WIDTH, TILE>(task, panel, tile.0),
        }
    }
}

/// 16 numbers.
///
/// # Safety
/// So many bytes are readable.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn load<const FORMAT: u8>(from: *const u8) -> __m512 {
    // SAFETY: the caller's.
    unsafe {
        if FORMAT == F32 {
            return _mm512_loadu_ps(from.cast());
        }
        let halves = _mm256_loadu_si256(from.cast::<__m256i>());
        if FORMAT == F16 {
            _mm512_cvtph_ps(halves)
        } else {
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves)))
        }
    }
}

/// `ROWS` rows of the product with `WIDTH` panels.
///
/// # Safety
/// The lengths of the task agree; the panels are its matrix's, and there are rows up to `row + ROWS`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn multiply<const FORMAT: u8, const WIDTH: usize, const ROWS: usize>(task: &Task<'_>, panel: usize, row: usize) {
    let columns = task.matrix.columns;
    let step = LANES * if FORMAT == F32 { 4 } else { 2 };
    // SAFETY: a panel holds 16 numbers for each column, and each row of `x` one. Nothing is read at the addresses that
    // are fetched ahead.
    let y = unsafe {
        let mut y = [[_mm512_setzero_ps(); WIDTH]; ROWS];
        let mut from = [std::ptr::null(); WIDTH];
        for c in 0..WIDTH {
            let bias = _mm512_loadu_ps(task.bias(panel + c).as_ptr());
            from[c] = task.matrix.panel(panel + c).as_ptr();
            for r in 0..ROWS {
                y[r][c] = bias;
            }
        }
        let mut x = [std::ptr::null(); ROWS];
        for (r, row_of_x) in task.x(row, ROWS).chunks_exact(columns).enumerate() {
            x[r] = row_of_x.as_ptr();
        }
        for _ in 0..columns {
            let mut weights = [_mm512_setzero_ps(); WIDTH];
            for c in 0..WIDTH {
                _mm_prefetch::<_MM_HINT_T0>(from[c].wrapping_add(AHEAD).cast());
                weights[c] = load::<FORMAT>(from[c]);
                from[c] = from[c].add(step);
            }
            for r in 0..ROWS {
                let number = _mm512_set1_ps(*x[r]);
                x[r] = x[r].add(1);
                for c in 0..WIDTH {
                    y[r][c] = _mm512_fmadd_ps(weights[c], number, y[r][c]);
                }
            }
        }
        y
    };
    for c in 0..WIDTH {
        let (start, lanes) = task.lanes(panel + c);
        for r in 0..ROWS {
            // SAFETY: the output is borrowed while the task lives, each panel is computed by one piece, and only `lanes`
            // numbers are stored.
            unsafe {
                let out = task.out.part((row + r) * task.matrix.rows + start, lanes);
                _mm512_mask_storeu_ps(out.as_mut_ptr(), u16::MAX >> (LANES - lanes), y[r][c]);
            }
        }
    }
}
