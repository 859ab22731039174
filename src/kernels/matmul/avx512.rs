//! AVX-512 with VNNI. A lane of a register is a row of the matrix; each instruction multiplies four numbers of 16 rows
//! with four activations, which are the same for all of them.
#![allow(unsafe_code)]
#![allow(clippy::cast_ptr_alignment)] // All loads and stores are of the kind that needs no alignment.
#![allow(clippy::many_single_char_names)] // `x`, `y`, `q` as in the formula.
#![allow(clippy::needless_range_loop)] // The loops run over registers; an iterator hides that from the reader.

use super::Task;
use super::activations::{Blocks, factors};
use super::format::{BLOCK, LANES, SUPER, Scales};
use std::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _mm_loadu_si128, _mm_storeu_si128, _mm256_loadu_si256, _mm512_add_epi32,
    _mm512_and_si512, _mm512_castps_si512, _mm512_cvtepi8_epi32, _mm512_cvtepi32_epi8, _mm512_cvtepi32_ps,
    _mm512_cvtepu8_epi32, _mm512_cvtph_ps, _mm512_cvtps_epi32, _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mask_add_epi8, _mm512_mask_storeu_ps, _mm512_max_epu32, _mm512_mul_ps, _mm512_or_si512,
    _mm512_reduce_add_epi32, _mm512_reduce_max_epu32, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_slli_epi16, _mm512_srli_epi16, _mm512_storeu_ps,
    _mm512_storeu_si512, _mm512_sub_ps,
};
use std::cell::RefCell;

/// Rows of the largest tile of activations: 12 sums of whole numbers and 12 of `f32` stay in registers.
const TILE: usize = 6;
/// Panels of a tile.
const WIDE: usize = 2;

// `Scales` as constant parameters.
const HALF: u8 = 0;
const HALF_MIN: u8 = 1;
const SUPER_MIN: u8 = 2;
const SUPER_SIXTEEN: u8 = 3;

/// Calls a function for the format's bits and scales.
macro_rules! by_format {
    ($format:expr, $name:ident ( $($arg:expr),* )) => {
        match ($format.bits(), $format.scales()) {
            (4, Scales::Half) => $name::<4, HALF>($($arg),*),
            (5, Scales::Half) => $name::<5, HALF>($($arg),*),
            (_, Scales::Half) => $name::<8, HALF>($($arg),*),
            (4, Scales::HalfMin) => $name::<4, HALF_MIN>($($arg),*),
            (_, Scales::HalfMin) => $name::<5, HALF_MIN>($($arg),*),
            (4, Scales::SuperMin) => $name::<4, SUPER_MIN>($($arg),*),
            (_, Scales::SuperMin) => $name::<5, SUPER_MIN>($($arg),*),
            (_, Scales::SuperSixteen) => $name::<6, SUPER_SIXTEEN>($($arg),*),
        }
    };
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn compute(task: &Task<'_>, first: usize, panels: usize) {
    let format = task.matrix.format;
    if task.x.rows() == 1 {
        for panel in first..first + panels {
            // SAFETY: the task's lengths agree, and the panel is the matrix's.
            unsafe { by_format!(format, one_row(task, panel)) };
        }
        return;
    }
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

/// The eight groups of a block, a byte a quant.
///
/// # Safety
/// `quants` is readable for the bytes of a block with these bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn expand<const BITS: u8>(quants: *const u8) -> [__m512i; 8] {
    let mut out = [_mm512_setzero_si512(); 8];
    // SAFETY: 4 strings of 64 bytes, 8 with 8 bits; after the 4, 8 words with 5 bits and 2 strings with 6.
    unsafe {
        if BITS == 8 {
            for j in 0..8 {
                out[j] = _mm512_loadu_si512(quants.add(64 * j).cast());
            }
            return out;
        }
        let low = _mm512_set1_epi8(15);
        for t in 0..4 {
            let string = _mm512_loadu_si512(quants.add(64 * t).cast());
            out[t] = _mm512_and_si512(string, low);
            out[t + 4] = _mm512_and_si512(_mm512_srli_epi16::<4>(string), low);
        }
        if BITS == 5 {
            let sixteen = _mm512_set1_epi8(16);
            let words = quants.add(256).cast::<u64>();
            for j in 0..8 {
                let word = words.add(j).read_unaligned();
                out[j] = _mm512_mask_add_epi8(out[j], word, out[j], sixteen);
            }
        }
        if BITS == 6 {
            let mask = _mm512_set1_epi8(0x30);
            for h in 0..2 {
                let string = _mm512_loadu_si512(quants.add(256 + 64 * h).cast());
                let shifted = [
                    _mm512_slli_epi16::<4>(string),
                    _mm512_slli_epi16::<2>(string),
                    string,
                    _mm512_srli_epi16::<2>(string),
                ];
                for p in 0..4 {
                    out[4 * h + p] = _mm512_or_si512(out[4 * h + p], _mm512_and_si512(shifted[p], mask));
                }
            }
        }
    }
    out
}

/// The scales of a block (the second is used only where there are two) and its minima.
///
/// # Safety
/// `bytes` is readable for the scales of blocks up to `block`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn scales<const SCALES: u8>(bytes: *const u8, block: usize) -> ([__m512; 2], __m512) {
    let zero = _mm512_setzero_ps();
    // SAFETY: the caller answers for the length; the layout is that of `format::Scales`.
    unsafe {
        let half = |at: usize| _mm512_cvtph_ps(_mm256_loadu_si256(bytes.add(at).cast::<__m256i>()));
        let (index, part) = (block / SUPER, block % SUPER);
        match SCALES {
            HALF => ([half(block * 2 * LANES), zero], zero),
            HALF_MIN => ([half(block * 4 * LANES), zero], half(block * 4 * LANES + 2 * LANES)),
            SUPER_MIN => {
                let start = index * (4 + 2 * SUPER) * LANES;
                let at = start + 4 * LANES + part * 2 * LANES;
                let byte = |at: usize| {
                    let bytes = _mm_loadu_si128(bytes.add(at).cast::<__m128i>());
                    _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))
                };
                let scale = _mm512_mul_ps(half(start), byte(at));
                let minimum = _mm512_mul_ps(half(start + 2 * LANES), byte(at + LANES));
                ([scale, zero], _mm512_sub_ps(zero, minimum))
            }
            _ => {
                let start = index * (2 + 2 * SUPER) * LANES;
                let at = start + 2 * LANES + part * 2 * LANES;
                let d = half(start);
                let scale = |at: usize| {
                    let bytes = _mm_loadu_si128(bytes.add(at).cast::<__m128i>());
                    _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)))
                };
                ([scale(at), scale(at + LANES)], zero)
            }
        }
    }
}

/// One panel of a product with one row.
///
/// # Safety
/// The lengths of the task agree; `panel` is one of its matrix.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn one_row<const BITS: u8, const SCALES: u8>(task: &Task<'_>, panel: usize) {
    let blocks = task.matrix.blocks();
    let quant_bytes = BLOCK * LANES * usize::from(BITS) / 8;
    let bytes = task.matrix.panel(panel);
    let x = &task.x.values[..blocks * BLOCK];
    let (x_scales, totals) = (&task.x.scales[..blocks], &task.x.totals[..blocks]);
    let twice = SCALES == SUPER_SIXTEEN;
    let minimum = SCALES == HALF_MIN || SCALES == SUPER_MIN;
    let corrections: &[i32] = if minimum {
        &[]
    } else {
        &task.corrections[..blocks * (1 + usize::from(twice))]
    };
    // SAFETY: the panel holds the quants of all blocks and their scales behind them; `x`, its scales and the corrections
    // are as long as asserted by slicing above.
    let y = unsafe {
        let quants = bytes.as_ptr();
        let scale_bytes = quants.add(blocks * quant_bytes);
        let mut y = _mm512_loadu_ps(task.bias(panel).as_ptr());
        for block in 0..blocks {
            let q = expand::<BITS>(quants.add(block * quant_bytes));
            let four = x.as_ptr().add(block * BLOCK).cast::<i32>();
            let mut sums = [_mm512_setzero_si512(); 2];
            if twice {
                sums[0] = _mm512_set1_epi32(*corrections.get_unchecked(2 * block));
                sums[1] = _mm512_set1_epi32(*corrections.get_unchecked(2 * block + 1));
            } else if !minimum {
                sums[0] = _mm512_set1_epi32(*corrections.get_unchecked(block));
            }
            for j in 0..4 {
                let (a, b) = (four.add(j).read_unaligned(), four.add(j + 4).read_unaligned());
                sums[0] = _mm512_dpbusd_epi32(sums[0], q[j], _mm512_set1_epi32(a));
                sums[1] = _mm512_dpbusd_epi32(sums[1], q[j + 4], _mm512_set1_epi32(b));
            }
            let (scale, least) = scales::<SCALES>(scale_bytes, block);
            let x_scale = _mm512_set1_ps(*x_scales.get_unchecked(block));
            if twice {
                y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[0]), _mm512_mul_ps(scale[0], x_scale), y);
                y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[1]), _mm512_mul_ps(scale[1], x_scale), y);
            } else {
                let sum = _mm512_cvtepi32_ps(_mm512_add_epi32(sums[0], sums[1]));
                y = _mm512_fmadd_ps(sum, _mm512_mul_ps(scale[0], x_scale), y);
            }
            if minimum {
                y = _mm512_fmadd_ps(least, _mm512_set1_ps(*totals.get_unchecked(block)), y);
            }
        }
        y
    };
    let (start, lanes) = task.lanes(panel);
    // SAFETY: the output is borrowed while the task lives, each panel is computed by one piece, and only `lanes` numbers
    // are stored.
    unsafe {
        let out = task.out.part(start, lanes);
        _mm512_mask_storeu_ps(out.as_mut_ptr(), mask(lanes), y);
    }
}

fn mask(lanes: usize) -> u16 {
    u16::MAX >> (LANES - lanes)
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
    let rows = task.x.rows();
    let tiles = rows.div_ceil(TILE);
    let mut row = 0;
    for tile in 0..tiles {
        let height = (rows - row).div_ceil(tiles - tile);
        // SAFETY: the panels are unpacked, and the rows are the task's.
        unsafe {
            match (format.scales_a_block(), format.minimum()) {
                (2, _) => by_height::<WIDTH, 2, false>(task, panel, (row, height), unpacked),
                (_, true) => by_height::<WIDTH, 1, true>(task, panel, (row, height), unpacked),
                (_, false) => by_height::<WIDTH, 1, false>(task, panel, (row, height), unpacked),
            }
        }
        row += height;
    }
}

/// # Safety
/// As [`tile`]; `height` is from 1 to [`TILE`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn by_height<const WIDTH: usize, const PARTS: usize, const MINIMUM: bool>(
    task: &Task<'_>,
    panel: usize,
    (row, height): (usize, usize),
    unpacked: &Unpacked,
) {
    // SAFETY: the caller's.
    unsafe {
        match height {
            1 => tile::<1, WIDTH, PARTS, MINIMUM>(task, panel, row, unpacked),
            2 => tile::<2, WIDTH, PARTS, MINIMUM>(task, panel, row, unpacked),
            3 => tile::<3, WIDTH, PARTS, MINIMUM>(task, panel, row, unpacked),
            4 => tile::<4, WIDTH, PARTS, MINIMUM>(task, panel, row, unpacked),
            5 => tile::<5, WIDTH, PARTS, MINIMUM>(task, panel, row, unpacked),
            _ => tile::<TILE, WIDTH, PARTS, MINIMUM>(task, panel, row, unpacked),
        }
    }
}

/// `ROWS` rows of the product with `WIDTH` panels of `PARTS` scales a block.
///
/// # Safety
/// The panels from `panel` are unpacked, and there are rows up to `row + ROWS`.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<const ROWS: usize, const WIDTH: usize, const PARTS: usize, const MINIMUM: bool>(
    task: &Task<'_>,
    panel: usize,
    row: usize,
    unpacked: &Unpacked,
) {
    let (blocks, columns) = (task.matrix.blocks(), task.matrix.columns);
    let x = &task.x.values[row * columns..(row + ROWS) * columns];
    let x_scales = &task.x.scales[row * blocks..(row + ROWS) * blocks];
    let totals = &task.x.totals[row * blocks..(row + ROWS) * blocks];
    let corrections: &[i32] = if MINIMUM {
        &[]
    } else {
        &task.corrections[row * blocks * PARTS..(row + ROWS) * blocks * PARTS]
    };
    // SAFETY: activations are read within the slices above, which hold ROWS rows; lines within what `unpack` wrote.
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
        for block in 0..blocks {
            for part in 0..PARTS {
                let mut sums = [[_mm512_setzero_si512(); WIDTH]; ROWS];
                if !MINIMUM {
                    for r in 0..ROWS {
                        let at = (r * blocks + block) * PARTS + part;
                        sums[r] = [_mm512_set1_epi32(*corrections.get_unchecked(at)); WIDTH];
                    }
                }
                for j in 0..8 / PARTS {
                    let mut q = [_mm512_setzero_si512(); WIDTH];
                    for c in 0..WIDTH {
                        q[c] = _mm512_loadu_si512(quants.add(c).cast());
                    }
                    quants = quants.add(WIDTH);
                    let k = block * BLOCK + 4 * (part * (8 / PARTS) + j);
                    for r in 0..ROWS {
                        let four = x.as_ptr().add(r * columns + k).cast::<i32>().read_unaligned();
                        let four = _mm512_set1_epi32(four);
                        for c in 0..WIDTH {
                            sums[r][c] = _mm512_dpbusd_epi32(sums[r][c], q[c], four);
                        }
                    }
                }
                for c in 0..WIDTH {
                    let scale = _mm512_loadu_ps(scales.add(c).cast());
                    for r in 0..ROWS {
                        let x_scale = _mm512_set1_ps(*x_scales.get_unchecked(r * blocks + block));
                        let sum = _mm512_cvtepi32_ps(sums[r][c]);
                        y[r][c] = _mm512_fmadd_ps(sum, _mm512_mul_ps(scale, x_scale), y[r][c]);
                    }
                }
                scales = scales.add(WIDTH);
            }
            if MINIMUM {
                for c in 0..WIDTH {
                    let least = _mm512_loadu_ps(minima.add(c).cast());
                    for r in 0..ROWS {
                        let total = _mm512_set1_ps(*totals.get_unchecked(r * blocks + block));
                        y[r][c] = _mm512_fmadd_ps(least, total, y[r][c]);
                    }
                }
                minima = minima.add(WIDTH);
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
                _mm512_mask_storeu_ps(out.as_mut_ptr(), mask(lanes), y[r][c]);
            }
        }
    }
}

/// Rounds activations to 8 bits.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) fn round(x: &[f32], out: Blocks<'_>) {
    let sizes = _mm512_set1_epi32(0x7fff_ffff);
    let values = out.values.as_chunks_mut::<BLOCK>().0;
    let sums = out.sums.as_chunks_mut::<2>().0;
    let scales = out.scales.iter_mut().zip(out.totals);
    for (((x, values), sums), (scale, total)) in x.as_chunks::<BLOCK>().0.iter().zip(values).zip(sums).zip(scales) {
        // SAFETY: two loads of 16 of 32 numbers, two stores of 16 of 32 bytes.
        unsafe {
            let a = _mm512_loadu_ps(x.as_ptr());
            let b = _mm512_loadu_ps(x.as_ptr().add(16));
            let size = |x| _mm512_and_si512(_mm512_castps_si512(x), sizes);
            let largest = _mm512_reduce_max_epu32(_mm512_max_epu32(size(a), size(b)));
            let (own, factor) = factors(largest);
            let factor = _mm512_set1_ps(factor);
            let a = _mm512_cvtps_epi32(_mm512_mul_ps(a, factor));
            let b = _mm512_cvtps_epi32(_mm512_mul_ps(b, factor));
            _mm_storeu_si128(values.as_mut_ptr().cast::<__m128i>(), _mm512_cvtepi32_epi8(a));
            _mm_storeu_si128(values.as_mut_ptr().add(16).cast::<__m128i>(), _mm512_cvtepi32_epi8(b));
            *sums = [_mm512_reduce_add_epi32(a), _mm512_reduce_add_epi32(b)];
            *scale = own;
            *total = own * sums[0].wrapping_add(sums[1]) as f32;
        }
    }
}
