//! Few rows: a panel is read as fast as it comes from memory, and each of its blocks is multiplied with up to [`TALL`]
//! rows while it is in registers. More rows find it in the cache.

use super::super::Task;
use super::super::activations::{TALL, Tile};
use super::super::format::{BLOCK, HALF, HALF_MIN, LANES, SUPER_MIN, SUPER_SIXTEEN, Scales, by_format};
use super::{expand, mask, scales};
use std::arch::x86_64::{
    _MM_HINT_T0, _mm_prefetch, _mm512_add_epi32, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_mask_storeu_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_si512,
};

/// How far ahead quants are fetched, in bytes: more than what arrives while memory answers once, as its answers are not
/// regular. At the end of a thread's panels that reaches into what another takes, for which it is nearer then, too.
const AHEAD: usize = 7168;

/// Computes the numbers of some panels.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn compute(task: &Task<'_>, first: usize, panels: usize) {
    for panel in first..first + panels {
        for tile in task.x.tiles() {
            // SAFETY: the task's lengths agree, and the panel is the matrix's.
            unsafe { by_format!(task.matrix.format, by_height(task, panel, tile)) };
        }
    }
}

/// # Safety
/// As [`rows`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn by_height<const BITS: u8, const SCALES: u8>(task: &Task<'_>, panel: usize, tile: Tile) {
    const { assert!(TALL == 8) };
    // SAFETY: the caller's.
    unsafe {
        match tile.height {
            1 => rows::<BITS, SCALES, 1>(task, panel, tile),
            2 => rows::<BITS, SCALES, 2>(task, panel, tile),
            3 => rows::<BITS, SCALES, 3>(task, panel, tile),
            4 => rows::<BITS, SCALES, 4>(task, panel, tile),
            5 => rows::<BITS, SCALES, 5>(task, panel, tile),
            6 => rows::<BITS, SCALES, 6>(task, panel, tile),
            7 => rows::<BITS, SCALES, 7>(task, panel, tile),
            _ => rows::<BITS, SCALES, TALL>(task, panel, tile),
        }
    }
}

/// One panel of a product with `ROWS` rows.
///
/// # Safety
/// The lengths of the task agree; `panel` is one of its matrix, and the tile has `ROWS` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn rows<const BITS: u8, const SCALES: u8, const ROWS: usize>(task: &Task<'_>, panel: usize, tile: Tile) {
    let blocks = task.matrix.blocks();
    let quant_bytes = BLOCK * LANES * usize::from(BITS) / 8;
    let twice = SCALES == SUPER_SIXTEEN;
    let minimum = SCALES == HALF_MIN || SCALES == SUPER_MIN;
    let parts = if twice { 2 } else { 1 };
    let bytes = task.matrix.panel(panel);
    let x = task.rows(tile);
    assert_eq!(x.scales.len(), ROWS * blocks);
    // SAFETY: the panel holds the quants of all blocks and their scales behind them; the tile has `ROWS` rows of as many
    // blocks. Nothing is read at the addresses that are fetched ahead.
    let y = unsafe {
        let (mut four, mut x_scales) = (x.values.as_ptr().cast::<i32>(), x.scales.as_ptr());
        let (mut totals, mut corrections) = (x.totals.as_ptr(), x.corrections.as_ptr());
        let mut quants = bytes.as_ptr();
        let scale_bytes = quants.add(blocks * quant_bytes);
        let next_scales = scale_bytes.wrapping_add(bytes.len());
        let mut y = [_mm512_loadu_ps(task.bias(panel).as_ptr()); ROWS];
        for block in 0..blocks {
            for line in 0..quant_bytes.div_ceil(64) {
                _mm_prefetch::<_MM_HINT_T0>(quants.wrapping_add(AHEAD + 64 * line).cast());
            }
            _mm_prefetch::<_MM_HINT_T0>(next_scales.wrapping_add(scale_start::<SCALES>(block)).cast());
            let q = expand::<BITS>(quants);
            let (scale, least) = scales::<SCALES>(scale_bytes, block);
            for part in 0..parts {
                let mut sums = [_mm512_setzero_si512(); ROWS];
                for r in 0..ROWS {
                    if !minimum {
                        sums[r] = _mm512_set1_epi32(*corrections.add(r * parts + part));
                    }
                    let mut other = _mm512_setzero_si512();
                    for j in 0..8 / parts {
                        let x = four.add(8 * r + 8 / parts * part + j).read_unaligned();
                        let x = _mm512_set1_epi32(x);
                        // With few rows, two sums each: an instruction need not wait for the one before it.
                        if ROWS < 4 && j % 2 == 1 {
                            other = _mm512_dpbusd_epi32(other, q[8 / parts * part + j], x);
                        } else {
                            sums[r] = _mm512_dpbusd_epi32(sums[r], q[8 / parts * part + j], x);
                        }
                    }
                    if ROWS < 4 {
                        sums[r] = _mm512_add_epi32(sums[r], other);
                    }
                }
                for r in 0..ROWS {
                    let scale = _mm512_mul_ps(scale[part], _mm512_set1_ps(*x_scales.add(r)));
                    y[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r]), scale, y[r]);
                }
            }
            if minimum {
                for r in 0..ROWS {
                    y[r] = _mm512_fmadd_ps(least, _mm512_set1_ps(*totals.add(r)), y[r]);
                }
            } else {
                corrections = corrections.add(ROWS * parts);
            }
            quants = quants.add(quant_bytes);
            (four, x_scales) = (four.add(8 * ROWS), x_scales.add(ROWS));
            totals = totals.add(ROWS);
        }
        y
    };
    let (start, lanes) = task.lanes(panel);
    for (r, y) in y.iter().enumerate() {
        // SAFETY: the output is borrowed while the task lives, each panel is computed by one piece, and only `lanes`
        // numbers are stored.
        unsafe {
            let out = task.out.part((tile.first + r) * task.matrix.rows + start, lanes);
            _mm512_mask_storeu_ps(out.as_mut_ptr(), mask(lanes), *y);
        }
    }
}

/// About where the scales of a block are.
fn scale_start<const SCALES: u8>(block: usize) -> usize {
    match SCALES {
        HALF => block * 2 * LANES,
        _ => block * 4 * LANES,
    }
}
