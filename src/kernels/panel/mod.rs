//! Small products over *panels*, for encoders of narrow width (BERT and its like).
//!
//! A matrix `[rows, columns]` is kept as panels of [`WIDTH`] columns, panel after panel, each row-major
//! `[rows, WIDTH]`. Weights `[inner, columns]` have the same form, so the output of one product is the left side of the
//! next, a panel of values (an attention head of width 32) is the right side of the product with the attention's
//! weights, and threads that compute different panels write to different slices.
//!
//! [`scalar`] is the specification; the other instruction sets are tested against it.

mod body;
pub mod scalar;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(test)]
mod tests;

use super::level::{Level, Set};
pub(super) use body::exp_negative;

/// Columns in a panel.
pub const WIDTH: usize = 32;

/// Bytes of the weights of one block of 32 x [`WIDTH`]: two 4-bit numbers in each.
pub const BLOCK_BYTES: usize = 16 * WIDTH;

/// The kernels of one instruction set that this machine has. The only ways to get one are [`Kernels::detect`],
/// [`Kernels::scalar`], [`Kernels::available`] and a [`Level`], which is what makes calling them sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels(Set);

/// Where the left side of a product lies: the row `r` of its panel `p` starts at `p * stride + r * WIDTH`.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a> {
    /// The numbers, from the first row of the first panel.
    pub data: &'a [f32],
    /// Rows.
    pub rows: usize,
    /// Numbers from one panel to the next.
    pub stride: usize,
}

macro_rules! dispatch {
    ($self:ident, $name:ident ( $($arg:expr),* )) => {
        match $self.0 {
            Set::Scalar => scalar::$name($($arg),*),
            // SAFETY: a `Kernels` with this instruction set exists only where it was detected; the function asks for
            // nothing else (lengths are checked by the caller or inside).
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

impl Kernels {
    /// The best that this machine has, or what `KEFU_KERNELS` asks for.
    #[must_use]
    pub fn detect() -> Self {
        let best = || Self::available().pop().unwrap_or(Self::scalar());
        // A level asks for all that these kernels do, and more.
        Level::asked().map_or_else(best, |level| Self(level.0))
    }

    /// The specification, which runs everywhere.
    #[must_use]
    pub fn scalar() -> Self {
        Self(Set::Scalar)
    }

    /// All that this machine has, the best last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut all = vec![Self::scalar()];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self(Set::Avx2));
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                {
                    all.push(Self(Set::Avx512));
                }
            }
        }
        all
    }

    /// The instruction set's name, for logs and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2+fma",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
        }
    }

    /// Adds `left x right` to `out`: `left` is `[rows, inner]` in panels, `right` `[inner, WIDTH]` row-major, `out`
    /// `[rows, WIDTH]` row-major. Each element is summed in the order of `inner`, so a row's result does not depend on
    /// the rows beside it.
    ///
    /// # Panics
    /// If a slice is too short for these shapes.
    pub fn add_product(self, left: Left<'_>, inner: usize, right: &[f32], out: &mut [f32]) {
        if left.rows == 0 || inner == 0 {
            return;
        }
        let last_panel = (inner - 1) / WIDTH;
        assert!(
            left.data.len() >= last_panel * left.stride + left.rows * WIDTH,
            "the left side is too short"
        );
        assert!(right.len() >= inner * WIDTH, "the right side is too short");
        assert!(out.len() >= left.rows * WIDTH, "the output is too short");
        dispatch!(self, add_product(left, inner, right, out));
    }

    /// Writes 4-bit weights as numbers: `blocks` blocks of 32 rows. Byte `[b][j][c]` of `packed` holds the weights
    /// `(32 b + j, c)` (low half) and `(32 b + 16 + j, c)` (high half), each 8 too large, of the scale `[b][c]`: the
    /// numbers of GGML's `Q4_0`, columns side by side.
    ///
    /// # Panics
    /// If the slices' lengths do not agree.
    pub fn unpack_q4(self, packed: &[u8], scales: &[f32], out: &mut [f32]) {
        let blocks = packed.len() / BLOCK_BYTES;
        assert!(
            packed.len() == blocks * BLOCK_BYTES
                && scales.len() == blocks * WIDTH
                && out.len() == blocks * WIDTH * WIDTH,
            "the lengths of packed weights, scales and output do not agree"
        );
        dispatch!(self, unpack_q4(packed, scales, out));
    }

    /// Writes 8-bit weights as numbers: `blocks` blocks of 32 rows. `[b][j][c]` of `packed` is the weight
    /// `(32 b + j, c)` of the scale `[b][c]`: the numbers of GGML's `Q8_0`, columns side by side.
    ///
    /// # Panics
    /// If the slices' lengths do not agree.
    pub fn unpack_q8(self, packed: &[i8], scales: &[f32], out: &mut [f32]) {
        let blocks = packed.len() / (WIDTH * WIDTH);
        assert!(
            packed.len() == blocks * WIDTH * WIDTH && scales.len() == blocks * WIDTH && out.len() == packed.len(),
            "the lengths of packed weights, scales and output do not agree"
        );
        dispatch!(self, unpack_q8(packed, scales, out));
    }

    /// The Gaussian error linear unit with the exact error function, in place. Absolute error below 1e-6 · max(1, |x|).
    ///
    /// Source: Hendrycks & Gimpel, arXiv:1606.08415.
    pub fn gelu(self, values: &mut [f32]) {
        dispatch!(self, gelu(values));
    }

    /// `softmax(scale · row)` over the first `columns` columns of each row of `[rows, columns]` in panels that lie
    /// `rows * WIDTH` apart, in place; the columns after them become 0. Relative error below 1e-6.
    ///
    /// # Panics
    /// If `values` is not the whole of the panels, or `columns` is 0.
    pub fn softmax(self, values: &mut [f32], rows: usize, columns: usize, scale: f32) {
        assert!(
            columns > 0 && values.len() == columns.div_ceil(WIDTH) * rows * WIDTH,
            "panels of another size"
        );
        dispatch!(self, softmax(values, rows, columns, scale));
    }

    /// `values = layer_norm(values + added)` over all columns of each row, with gain and bias for each column.
    ///
    /// Source: Ba et al., arXiv:1607.06450.
    ///
    /// # Panics
    /// If the lengths do not agree.
    pub fn add_layer_norm(self, values: &mut [f32], added: &[f32], rows: usize, norm: LayerNorm<'_>) {
        let columns = norm.gain.len();
        assert!(
            columns.is_multiple_of(WIDTH) && norm.bias.len() == columns && values.len() == rows * columns,
            "panels of another size"
        );
        assert!(added.len() == values.len(), "the added matrix has another size");
        dispatch!(self, add_layer_norm(values, added, rows, norm));
    }
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
