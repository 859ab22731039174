//! What is computed number by number between products, row-major.

mod body;
mod functions;
#[cfg(test)]
mod tests;

use super::level::{Level, Set};
use super::pool;
pub(super) use functions::{exp_negative, multiply_add};

/// Numbers a thread takes at a time.
const BATCH: usize = 16_384;

/// What a gate is passed through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + exp(-x))`: `SwiGLU` (Shazeer, arXiv:2002.05202).
    Silu,
    /// The Gaussian error linear unit in its tanh form (arXiv:1606.08415): `GeGLU`.
    GeluTanh,
}

/// The parameters of a layer norm.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<'a> {
    /// One factor a column.
    pub gain: &'a [f32],
    /// One summand a column.
    pub bias: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

macro_rules! dispatch {
    ($level:expr, $name:ident ( $($arg:expr),* )) => {
        match $level.0 {
            Set::Scalar => body::$name($($arg),*),
            // SAFETY: a `Level` with this instruction set exists only where it was detected; the functions are the same
            // safe loops, compiled for it.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Set::Avx2 => unsafe { avx2::$name($($arg),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            #[allow(unsafe_code)]
            Set::Avx512 => unsafe { avx512::$name($($arg),*) },
            // NEON is in what the loops are compiled for.
            #[cfg(target_arch = "aarch64")]
            Set::Neon | Set::NeonDotprod | Set::NeonI8mm => body::$name($($arg),*),
        }
    };
}

#[cfg(target_arch = "x86_64")]
macro_rules! compiled_for {
    ($module:ident, $features:literal) => {
        mod $module {
            use super::{Activation, LayerNorm, body};

            #[target_feature(enable = $features)]
            pub(super) fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
                body::rms_norm(x, weight, epsilon, out);
            }

            #[target_feature(enable = $features)]
            pub(super) fn gate(activation: Activation, gate: &mut [f32], up: &[f32]) {
                body::gate(activation, gate, up);
            }

            #[target_feature(enable = $features)]
            pub(super) fn gelu(x: &[f32], out: &mut [f32]) {
                body::gelu_fused(x, out);
            }

            #[target_feature(enable = $features)]
            pub(super) fn add_layer_norm(values: &mut [f32], added: &[f32], norm: LayerNorm<'_>) {
                body::add_layer_norm(values, added, norm);
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
compiled_for!(avx2, "avx2,fma");
#[cfg(target_arch = "x86_64")]
compiled_for!(avx512, "avx512f,avx512bw,avx512dq,avx512vl,fma");

/// `x / sqrt(mean(x^2) + epsilon) * weight` for each row of as many numbers as there are weights; any number of rows.
///
/// Source: Zhang and Sennrich, arXiv:1910.07467.
///
/// # Panics
/// If the lengths do not agree.
pub fn rms_norm(level: Level, x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let columns = weight.len();
    assert!(
        columns > 0 && x.len().is_multiple_of(columns) && x.len() == out.len(),
        "rows of another size"
    );
    let batch = (BATCH / columns).max(1) * columns;
    pool::run_chunks(out, batch, &|piece, out| {
        let x = &x[piece * batch..piece * batch + out.len()];
        dispatch!(level, rms_norm(x, weight, epsilon, out));
    });
}

/// `gate = activation(gate) * up`. Relative error of the activation below 1e-6, for the tanh form that of the sum in it.
///
/// # Panics
/// If the lengths do not agree.
pub fn gate(level: Level, activation: Activation, gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "as many gates as numbers");
    pool::run_chunks(gate, BATCH, &|piece, gate| {
        let up = &up[piece * BATCH..piece * BATCH + gate.len()];
        dispatch!(level, gate(activation, gate, up));
    });
}

/// The Gaussian error linear unit with the exact error function, on this thread. Absolute error below
/// 1e-6 · max(1, |x|).
///
/// Source: Hendrycks & Gimpel, arXiv:1606.08415.
///
/// # Panics
/// If the lengths do not agree.
pub fn gelu(level: Level, x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "as many results as numbers");
    dispatch!(level, gelu(x, out));
}

/// `values = layer_norm(values + added)` for each row of as many numbers as the norm has; any number of rows.
///
/// Source: Ba et al., arXiv:1607.06450.
///
/// # Panics
/// If the lengths do not agree.
pub fn add_layer_norm(level: Level, values: &mut [f32], added: &[f32], norm: LayerNorm<'_>) {
    let columns = norm.gain.len();
    assert!(
        columns > 0 && columns == norm.bias.len() && values.len().is_multiple_of(columns),
        "rows of another size"
    );
    assert_eq!(values.len(), added.len(), "the added rows have another size");
    let batch = (BATCH / columns).max(1) * columns;
    pool::run_chunks(values, batch, &|piece, values| {
        let added = &added[piece * batch..piece * batch + values.len()];
        dispatch!(level, add_layer_norm(values, added, norm));
    });
}
