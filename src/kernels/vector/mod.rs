//! What is computed number by number between the products of a decoder, row-major.

mod body;
#[cfg(test)]
mod tests;

use super::level::{Level, Set};
use super::pool;

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
        }
    };
}

#[cfg(target_arch = "x86_64")]
macro_rules! compiled_for {
    ($module:ident, $features:literal) => {
        mod $module {
            use super::{Activation, body};

            #[target_feature(enable = $features)]
            pub(super) fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
                body::rms_norm(x, weight, epsilon, out);
            }

            #[target_feature(enable = $features)]
            pub(super) fn gate(activation: Activation, gate: &mut [f32], up: &[f32]) {
                body::gate(activation, gate, up);
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
