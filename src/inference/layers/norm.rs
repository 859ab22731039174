//! Root-mean-square normalisation.

use crate::kernels::{Level, vector};

/// `x / sqrt(mean(x^2) + epsilon) * weight` over rows of as many numbers as there are weights.
///
/// Source: Zhang and Sennrich, arXiv:1910.07467.
#[derive(Clone, Debug)]
pub(crate) struct RmsNorm {
    weight: Vec<f32>,
    epsilon: f32,
}

impl RmsNorm {
    /// Normalisation to `weight`.
    pub(crate) fn new(weight: Vec<f32>, epsilon: f32) -> Self {
        Self { weight, epsilon }
    }

    /// Whole rows to as many.
    pub(crate) fn forward(&self, x: &[f32], out: &mut [f32]) {
        vector::rms_norm(Level::detect(), x, &self.weight, self.epsilon, out);
    }
}
