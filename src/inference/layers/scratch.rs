//! Memory that a pass works in, kept from one to the next: fresh memory costs more than what is computed in it.

use crate::kernels::matmul::Quantised;

/// One buffer for each thing that lives at the same time.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(super) quantised: Quantised,
    pub(super) query: Vec<f32>,
    pub(super) key: Vec<f32>,
    pub(super) value: Vec<f32>,
    pub(super) head: Vec<f32>,
    pub(super) attended: Vec<f32>,
    pub(super) gate: Vec<f32>,
    pub(super) up: Vec<f32>,
}

impl Scratch {
    /// Where activations are rounded.
    pub(crate) fn quantised(&mut self) -> &mut Quantised {
        &mut self.quantised
    }
}

/// The first `len` numbers of a buffer, which grows if it must; what they are is left over from before.
pub(crate) fn room(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}
