//! The feed-forward part of a layer: a gated linear unit (Shazeer, arXiv:2002.05202).

use super::linear::products;
use super::scratch::{Scratch, room};
use super::{Activation, Linear};
use crate::kernels::{Level, vector};

/// `down(activation(gate(x)) * up(x))`.
#[derive(Debug)]
pub(crate) struct Mlp {
    /// `[inner, width]`.
    pub(crate) gate: Linear,
    /// `[inner, width]`.
    pub(crate) up: Linear,
    /// `[width, inner]`.
    pub(crate) down: Linear,
    /// Numbers of a token's state.
    pub(crate) width: usize,
    /// Numbers of its gates.
    pub(crate) inner: usize,
    /// On the gate.
    pub(crate) activation: Activation,
}

impl Mlp {
    /// `[tokens, width]` to the same.
    pub(crate) fn forward(&self, x: &[f32], scratch: &mut Scratch, out: &mut [f32]) {
        let numbers = x.len() / self.width * self.inner;
        let gate = room(&mut scratch.gate, numbers);
        let up = room(&mut scratch.up, numbers);
        let list = vec![(&self.gate, &mut *gate), (&self.up, &mut *up)];
        products(&mut scratch.quantised, x, self.width, list);
        vector::gate(Level::detect(), self.activation, gate, up);
        products(&mut scratch.quantised, gate, self.inner, vec![(&self.down, out)]);
    }
}
