//! Many rows: two panels are unpacked into the cache, and tiles of rows are multiplied with them.

use super::super::Task;
use super::super::activations::{TILE, Tile};
use super::super::format::{BLOCK, HALF, HALF_MIN, LANES, SUPER_MIN, SUPER_SIXTEEN, Scales, by_format};
use super::{expand, mask, scales};
use std::arch::x86_64::{
    _MM_HINT_T1, _mm_prefetch, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_load_ps,
    _mm512_load_si512, _mm512_loadu_ps, _mm512_mask_storeu_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps, _mm512_storeu_si512,
};
use std::cell::RefCell;

/// Panels of a tile: 12 sums of whole numbers and 12 of `f32` stay in registers.
const WIDE: usize = 2;

/// Computes the numbers of some panels in all rows of the output.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn compute(task: &Task<'_>, first: usize, panels: usize) {
    for start in (first..first + panels).step_by(WIDE) {
        UNPACKED.with_borrow_mut(|unpacked| {
            if start + 1 < first + panels {
                many_rows::<2>(task, start, unpacked);
            } else {
                many_rows::<1>(task, start, unpacked);
            }
        });
    }
}

/// One cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u8; 64]);

/// Panels as bytes and `f32`, for as long as they are multiplied: blocks of groups of panels, scales and minima alike.
#[derive(Default)]
struct Unpacked {
    quants: Vec<Line>,
    scales: Vec<Line>,
    minima: Vec<Line>,
}

thread_local! {
    static UNPACKED: RefCell<Unpacked> = RefCell::default();
}

/// Unpacks panel `panel` as number `place` of `WIDTH`.
///
/// # Safety
/// `to` has room for `WIDTH` panels of the task's matrix.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn unpack<const BITS: u8, const SCALES: u8>(
    task: &Task<'_>,
    panel: usize,
    (place, width): (usize, usize),
    to: &mut Unpacked,
) {
    let blocks = task.matrix.blocks();
    let quant_bytes = BLOCK * LANES * usize::from(BITS) / 8;
    // SAFETY: the panel holds the quants of all blocks and their scales behind them; lines are 64 bytes, and each panel
    // has 8 a block for quants, one for each scale and one for minima.
    unsafe {
        let quants = task.matrix.panel(panel).as_ptr();
        let scale_bytes = quants.add(blocks * quant_bytes);
        for block in 0..blocks {
            let q = expand::<BITS>(quants.add(block * quant_bytes));
            for j in 0..8 {
                let line = to.quants.as_mut_ptr().add((8 * block + j) * width + place);
                _mm512_storeu_si512(line.cast(), q[j]);
            }
            let (scale, minimum) = scales::<SCALES>(scale_bytes, block);
            if SCALES == SUPER_SIXTEEN {
                let line = to.scales.as_mut_ptr().add(2 * block * width + place);
                _mm512_storeu_ps(line.cast(), scale[0]);
                _mm512_storeu_ps(line.add(width).cast(), scale[1]);
            } else {
                _mm512_storeu_ps(to.scales.as_mut_ptr().add(block * width + place).cast(), scale[0]);
            }
            if SCALES == HALF_MIN || SCALES == SUPER_MIN {
                _mm512_storeu_ps(to.minima.as_mut_ptr().add(block * width + place).cast(), minimum);
            }
        }
    }
}

/// `WIDTH` panels of a product with many rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
fn many_rows<const WIDTH: usize>(task: &Task<'_>, panel: usize, unpacked: &mut Unpacked) {
    let format = task.matrix.format;
    let lines = task.matrix.blocks() * WIDTH;
    let room = |lines: usize, of: &mut Vec<Line>| {
        if of.len() < lines {
            of.resize(lines, Line([0; 64]));
        }
    };
    room(8 * lines, &mut unpacked.quants);
    room(2 * lines, &mut unpacked.scales);
    room(lines, &mut unpacked.minima);
    for place in 0..WIDTH {
        // SAFETY: there is room for `WIDTH` panels.
        unsafe { by_format!(format, unpack(task, panel + place, (place, WIDTH), unpacked)) };
    }
    // The packed panels behind these are fetched meanwhile, as much of them with each block of a tile.
    let bytes = WIDTH * task.matrix.panel(panel).len();
    let tiles = task.x.tiles().count();
    let lines = bytes.div_ceil(64 * tiles * task.matrix.blocks());
    let mut ahead = task.matrix.panel(panel).as_ptr().wrapping_add(bytes);
    for tile in task.x.tiles() {
        // SAFETY: the panels are unpacked, and the rows are the task's.
        unsafe {
            match (format.scales_a_block(), format.minimum()) {
                (2, _) => by_height::<WIDTH, 2, false>(task, panel, tile, unpacked, (ahead, lines)),
                (_, true) => by_height::<WIDTH, 1, true>(task, panel, tile, unpacked, (ahead, lines)),
                (_, false) => by_height::<WIDTH, 1, false>(task, panel, tile, unpacked, (ahead, lines)),
            }
        }
        ahead = ahead.wrapping_add(64 * lines * task.matrix.blocks());
    }
}

/// # Safety
/// As [`multiply`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn by_height<const WIDTH: usize, const PARTS: usize, const MINIMUM: bool>(
    task: &Task<'_>,
    panel: usize,
    tile: Tile,
    unpacked: &Unpacked,
    ahead: (*const u8, usize),
) {
    const { assert!(TILE == 6) };
    // SAFETY: the caller's.
    unsafe {
        match tile.height {
            1 => multiply::<1, WIDTH, PARTS, MINIMUM>(task, panel, tile, unpacked, ahead),
            2 => multiply::<2, WIDTH, PARTS, MINIMUM>(task, panel, tile, unpacked, ahead),
            3 => multiply::<3, WIDTH, PARTS, MINIMUM>(task, panel, tile, unpacked, ahead),
            4 => multiply::<4, WIDTH, PARTS, MINIMUM>(task, panel, tile, unpacked, ahead),
            5 => multiply::<5, WIDTH, PARTS, MINIMUM>(task, panel, tile, unpacked, ahead),
            _ => multiply::<TILE, WIDTH, PARTS, MINIMUM>(task, panel, tile, unpacked, ahead),
        }
    }
}

/// `ROWS` rows of the product with `WIDTH` panels of `PARTS` scales a block.
///
/// # Safety
/// The panels from `panel` are unpacked, and the tile has `ROWS` rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn multiply<const ROWS: usize, const WIDTH: usize, const PARTS: usize, const MINIMUM: bool>(
    task: &Task<'_>,
    panel: usize,
    tile: Tile,
    unpacked: &Unpacked,
    (mut ahead, lines): (*const u8, usize),
) {
    let blocks = task.matrix.blocks();
    let x = task.rows(tile);
    assert_eq!(x.scales.len(), ROWS * blocks);
    // SAFETY: the tile has `ROWS` rows of as many blocks; lines are read within what `unpack` wrote.
    let y = unsafe {
        let mut y = [[_mm512_setzero_ps(); WIDTH]; ROWS];
        for c in 0..WIDTH {
            let bias = _mm512_loadu_ps(task.bias(panel + c).as_ptr());
            for r in 0..ROWS {
                y[r][c] = bias;
            }
        }
        let (mut quants, mut scales) = (unpacked.quants.as_ptr(), unpacked.scales.as_ptr());
        let mut minima = unpacked.minima.as_ptr();
        let (mut four, mut x_scales) = (x.values.as_ptr().cast::<i32>(), x.scales.as_ptr());
        let (mut totals, mut corrections) = (x.totals.as_ptr(), x.corrections.as_ptr());
        for _ in 0..blocks {
            for _ in 0..lines {
                _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
                ahead = ahead.wrapping_add(64);
            }
            for part in 0..PARTS {
                let mut sums = [[_mm512_setzero_si512(); WIDTH]; ROWS];
                if !MINIMUM {
                    for r in 0..ROWS {
                        sums[r] = [_mm512_set1_epi32(*corrections.add(r * PARTS + part)); WIDTH];
                    }
                }
                for j in 0..8 / PARTS {
                    let mut q = [_mm512_setzero_si512(); WIDTH];
                    for c in 0..WIDTH {
                        q[c] = _mm512_load_si512(quants.add(j * WIDTH + c).cast());
                    }
                    for r in 0..ROWS {
                        let x = four.add(8 * r + 8 / PARTS * part + j).read_unaligned();
                        let x = _mm512_set1_epi32(x);
                        for c in 0..WIDTH {
                            sums[r][c] = _mm512_dpbusd_epi32(sums[r][c], q[c], x);
                        }
                    }
                }
                quants = quants.add(8 / PARTS * WIDTH);
                for c in 0..WIDTH {
                    let scale = _mm512_load_ps(scales.add(c).cast());
                    for r in 0..ROWS {
                        let scale = _mm512_mul_ps(scale, _mm512_set1_ps(*x_scales.add(r)));
                        y[r][c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r][c]), scale, y[r][c]);
                    }
                }
                scales = scales.add(WIDTH);
            }
            if MINIMUM {
                for c in 0..WIDTH {
                    let least = _mm512_load_ps(minima.add(c).cast());
                    for r in 0..ROWS {
                        y[r][c] = _mm512_fmadd_ps(least, _mm512_set1_ps(*totals.add(r)), y[r][c]);
                    }
                }
                minima = minima.add(WIDTH);
            } else {
                corrections = corrections.add(ROWS * PARTS);
            }
            (four, x_scales) = (four.add(8 * ROWS), x_scales.add(ROWS));
            totals = totals.add(ROWS);
        }
        y
    };
    for c in 0..WIDTH {
        let (start, lanes) = task.lanes(panel + c);
        for r in 0..ROWS {
            // SAFETY: the output is borrowed while the task lives, each panel is computed by one piece, and only `lanes`
            // numbers are stored.
            unsafe {
                let out = task.out.part((tile.first + r) * task.matrix.rows + start, lanes);
                _mm512_mask_storeu_ps(out.as_mut_ptr(), mask(lanes), y[r][c]);
            }
        }
    }
}
