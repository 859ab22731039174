//! The loops, once: each instruction set inlines them into a function of its own.

#![allow(clippy::inline_always)] // Inlining is what gives each instruction set its own copy.

use super::functions::{self, exp_negative};
use super::{Activation, LayerNorm};

const LANES: usize = 16;

#[inline(always)]
pub(super) fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let columns = weight.len();
    for (x, out) in x.chunks_exact(columns).zip(out.chunks_exact_mut(columns)) {
        let mut sums = [0f32; LANES];
        let (lanes, rest) = x.as_chunks::<LANES>();
        for lane in lanes {
            for (sum, x) in sums.iter_mut().zip(lane) {
                *sum += x * x;
            }
        }
        let tail: f32 = rest.iter().map(|x| x * x).sum();
        let mean = (sums.iter().sum::<f32>() + tail) / columns as f32;
        let factor = 1.0 / (mean + epsilon).sqrt();
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            *out = x * factor * weight;
        }
    }
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    let e = exp_negative(-x.abs());
    let numerator = if x < 0.0 { e } else { 1.0 };
    x * (numerator / (1.0 + e))
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    let inner = 0.797_884_6 * (x + 0.044_715 * x * x * x);
    // 0.5 * (1 + tanh(y)) is the logistic function of 2 y.
    let e = exp_negative(-2.0 * inner.abs());
    let numerator = if inner < 0.0 { e } else { 1.0 };
    x * (numerator / (1.0 + e))
}

#[inline(always)]
pub(super) fn gate(activation: Activation, gate: &mut [f32], up: &[f32]) {
    match activation {
        Activation::Silu => {
            for (gate, up) in gate.iter_mut().zip(up) {
                *gate = silu(*gate) * up;
            }
        }
        Activation::GeluTanh => {
            for (gate, up) in gate.iter_mut().zip(up) {
                *gate = gelu_tanh(*gate) * up;
            }
        }
    }
}

#[inline(always)]
pub(super) fn gelu(x: &[f32], out: &mut [f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = functions::gelu(*x);
    }
}

/// As [`gelu`], where a product and a sum are one instruction.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn gelu_fused(x: &[f32], out: &mut [f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out = functions::gelu_fused(*x);
    }
}

/// The sum of `of` each number, in as many lanes as hide the latency of a sum.
#[inline(always)]
fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0f32; 4 * LANES];
    let (lanes, rest) = row.as_chunks::<{ 4 * LANES }>();
    for lane in lanes {
        for (sum, x) in sums.iter_mut().zip(lane) {
            *sum += of(*x);
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += of(*x);
    }
    let mut folded = [0f32; LANES];
    for quarter in sums.as_chunks::<LANES>().0 {
        for (sum, x) in folded.iter_mut().zip(quarter) {
            *sum += x;
        }
    }
    folded.iter().sum()
}

#[inline(always)]
pub(super) fn add_layer_norm(values: &mut [f32], added: &[f32], norm: LayerNorm<'_>) {
    let columns = norm.gain.len();
    for (row, added) in values.chunks_exact_mut(columns).zip(added.chunks_exact(columns)) {
        for (x, added) in row.iter_mut().zip(added) {
            *x += added;
        }
        let mean = sum(row, |x| x) / columns as f32;
        let variance = sum(row, |x| (x - mean) * (x - mean)) / columns as f32;
        let factor = 1.0 / (variance + norm.epsilon).sqrt();
        for ((x, gain), bias) in row.iter_mut().zip(norm.gain).zip(norm.bias) {
            *x = (*x - mean) * factor * gain + bias;
        }
    }
}
