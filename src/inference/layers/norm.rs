//! Root-mean-square normalisation.

use candle_core::{Result, Tensor};

/// `x / sqrt(mean(x^2) + epsilon) * weight` over the last dimension.
///
/// Source: Zhang and Sennrich, arXiv:1910.07467.
#[derive(Clone, Debug)]
pub(crate) struct RmsNorm {
    weight: Tensor,
    epsilon: f32,
}

impl RmsNorm {
    /// Normalisation to `weight`.
    pub(crate) fn new(weight: Tensor, epsilon: f32) -> Self {
        Self { weight, epsilon }
    }

    /// Any shape whose last dimension is that of the weight; contiguous.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        candle_nn::ops::rms_norm(x, &self.weight, self.epsilon)
    }
}
