//! The feed-forward part of a layer: a gated linear unit (Shazeer, arXiv:2002.05202).

use super::Linear;
use candle_core::{Result, Tensor};

/// What the gate is passed through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x / (1 + exp(-x))`: `SwiGLU`.
    Silu,
    /// The Gaussian error linear unit in its tanh form: `GeGLU`.
    GeluTanh,
}

/// `down(activation(gate(x)) * up(x))`.
#[derive(Debug)]
pub(crate) struct Mlp {
    /// `[feed_forward, width]`.
    pub(crate) gate: Linear,
    /// `[feed_forward, width]`.
    pub(crate) up: Linear,
    /// `[width, feed_forward]`.
    pub(crate) down: Linear,
    /// On the gate.
    pub(crate) activation: Activation,
}

impl Mlp {
    /// `[tokens, width]` to the same.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let gate = self.gate.forward(x)?;
        let gate = match self.activation {
            Activation::Silu => gate.silu()?,
            Activation::GeluTanh => gate.gelu()?,
        };
        self.down.forward(&(gate * self.up.forward(x)?)?)
    }
}
