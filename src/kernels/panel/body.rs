//! The elementwise loops, once: each instruction set inlines them into a function of its own, and the compiler
//! vectorises the fixed-width inner loops with what that function may use.

#![allow(clippy::inline_always)] // Inlining is what gives each instruction set its own copy.

use super::{BLOCK_BYTES, LayerNorm, WIDTH};

type Lanes = [f32; WIDTH];

/// Lanes of a slice; the rest of a length that is no multiple of [`WIDTH`] comes apart.
#[inline(always)]
fn lanes_mut(values: &mut [f32]) -> (&mut [Lanes], &mut [f32]) {
    values.as_chunks_mut::<WIDTH>()
}

#[inline(always)]
fn sum(lanes: &Lanes) -> f32 {
    let mut half = [0.0_f32; WIDTH / 2];
    for i in 0..WIDTH / 2 {
        half[i] = lanes[i] + lanes[i + WIDTH / 2];
    }
    half.iter().sum()
}

#[inline(always)]
pub(super) fn unpack_q4(packed: &[u8], scales: &[f32], out: &mut [f32]) {
    let blocks = packed.chunks_exact(BLOCK_BYTES).zip(scales.chunks_exact(WIDTH));
    for ((bytes, scale), block) in blocks.zip(out.chunks_exact_mut(WIDTH * WIDTH)) {
        let (low, high) = block.split_at_mut(16 * WIDTH);
        let scale: &Lanes = scale.first_chunk().expect("a chunk of this size");
        let rows = bytes.as_chunks::<WIDTH>().0.iter();
        for ((byte, low), high) in rows.zip(lanes_mut(low).0).zip(lanes_mut(high).0) {
            for c in 0..WIDTH {
                low[c] = (i32::from(byte[c] & 15) - 8) as f32 * scale[c];
                high[c] = (i32::from(byte[c] >> 4) - 8) as f32 * scale[c];
            }
        }
    }
}

#[inline(always)]
pub(super) fn unpack_q8(packed: &[i8], scales: &[f32], out: &mut [f32]) {
    let blocks = packed.chunks_exact(WIDTH * WIDTH).zip(scales.chunks_exact(WIDTH));
    for ((weights, scale), block) in blocks.zip(out.chunks_exact_mut(WIDTH * WIDTH)) {
        let scale: &Lanes = scale.first_chunk().expect("a chunk of this size");
        for (weights, row) in weights.as_chunks::<WIDTH>().0.iter().zip(lanes_mut(block).0) {
            for c in 0..WIDTH {
                row[c] = f32::from(weights[c]) * scale[c];
            }
        }
    }
}

/// The error function by the rational approximation of Eigen and XNNPACK (odd polynomial of degree 13 over an even one
/// of degree 8, the argument held to ±4, where it is ±1 in single precision).
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let s = x * x;
    let mut p = -2.726_142_3e-10_f32;
    p = p * s + 2.770_681_4e-8;
    p = p * s - 2.101_024_e-6;
    p = p * s - 5.692_506_4e-5;
    p = p * s - 7.349_906_3e-4;
    p = p * s - 2.954_6e-3;
    p = p * s - 1.609_603_3e-2;
    let mut q = -1.456_607_2e-5_f32;
    q = q * s - 2.133_740_6e-4;
    q = q * s - 1.682_827e-3;
    q = q * s - 7.373_329e-3;
    q = q * s - 1.426_473_9e-2;
    x * p / q
}

#[inline(always)]
fn gelu_one(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

#[inline(always)]
pub(super) fn gelu(values: &mut [f32]) {
    let (lanes, rest) = lanes_mut(values);
    for lane in lanes {
        for x in lane {
            *x = gelu_one(*x);
        }
    }
    for x in rest {
        *x = gelu_one(*x);
    }
}

/// `e^x` for x <= 0; 0 below -87. The range is reduced to ±ln 2 / 2 and a polynomial of degree 6 evaluated there
/// (coefficients of Cephes' `expf`); the power of two is put together from its bits.
#[inline(always)]
pub(in crate::kernels) fn exp_negative(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.0, 0.0);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first with few bits so that n times it is exact.
    let r = clamped - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4_f32;
    p = p * r + 1.398_2e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 0.166_666_65;
    p = p * r + 0.5;
    p = p * r * r + r + 1.0;
    let power = f32::from_bits((shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127)) << 23);
    if x < -87.0 { 0.0 } else { p * power }
}

#[inline(always)]
pub(super) fn softmax(values: &mut [f32], rows: usize, columns: usize, scale: f32) {
    let panels = columns.div_ceil(WIDTH);
    let tail = columns - (panels - 1) * WIDTH;
    let lanes = lanes_mut(values).0;
    for row in 0..rows {
        for x in &mut lanes[(panels - 1) * rows + row][tail..] {
            *x = f32::NEG_INFINITY;
        }
        let mut most = [f32::NEG_INFINITY; WIDTH];
        for panel in 0..panels {
            let lane = &lanes[panel * rows + row];
            for c in 0..WIDTH {
                most[c] = if lane[c] > most[c] { lane[c] } else { most[c] };
            }
        }
        let most = most.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut total = [0.0; WIDTH];
        for panel in 0..panels {
            let lane = &mut lanes[panel * rows + row];
            for c in 0..WIDTH {
                let e = exp_negative((lane[c] - most) * scale);
                lane[c] = e;
                total[c] += e;
            }
        }
        let factor = 1.0 / sum(&total);
        for panel in 0..panels {
            for x in &mut lanes[panel * rows + row] {
                *x *= factor;
            }
        }
    }
}

#[inline(always)]
pub(super) fn add_layer_norm(values: &mut [f32], added: &[f32], rows: usize, norm: LayerNorm<'_>) {
    let columns = norm.gain.len();
    let panels = columns / WIDTH;
    let lanes = lanes_mut(values).0;
    let added = added.as_chunks::<WIDTH>().0;
    let gain = norm.gain.as_chunks::<WIDTH>().0;
    let bias = norm.bias.as_chunks::<WIDTH>().0;
    for row in 0..rows {
        let mut total = [0.0; WIDTH];
        for panel in 0..panels {
            let lane = &mut lanes[panel * rows + row];
            let other = &added[panel * rows + row];
            for c in 0..WIDTH {
                lane[c] += other[c];
                total[c] += lane[c];
            }
        }
        let mean = sum(&total) / columns as f32;
        let mut squares = [0.0; WIDTH];
        for panel in 0..panels {
            let lane = &lanes[panel * rows + row];
            for c in 0..WIDTH {
                let d = lane[c] - mean;
                squares[c] += d * d;
            }
        }
        let factor = 1.0 / (sum(&squares) / columns as f32 + norm.epsilon).sqrt();
        for panel in 0..panels {
            let lane = &mut lanes[panel * rows + row];
            for c in 0..WIDTH {
                lane[c] = (lane[c] - mean) * factor * gain[panel][c] + bias[panel][c];
            }
        }
    }
}
