//! The feed-forward part of a layer: a gated linear unit (Shazeer, arXiv:2002.05202).

use super::Linear;
use crate::kernels::pool;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

/// Numbers a thread takes at a time.
const BATCH: usize = 8192;

/// What the gate is passed through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `x / (1 + exp(-x))`: `SwiGLU`.
    Silu,
    /// The Gaussian error linear unit in its tanh form (arXiv:1606.08415): `GeGLU`.
    GeluTanh,
}

impl Activation {
    fn apply(self, x: f32) -> f32 {
        match self {
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::GeluTanh => {
                let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
        }
    }
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
        let gated = self
            .gate
            .forward(x)?
            .apply_op2_no_bwd(&self.up.forward(x)?, &Gating(self.activation))?;
        self.down.forward(&gated)
    }
}

/// `activation(gate) * up` in one pass on all cores; the tensor library would take two on one.
struct Gating(Activation);

impl CustomOp2 for Gating {
    fn name(&self) -> &'static str {
        "gating"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = gate_layout.shape();
        if shape != up_layout.shape() {
            candle_core::bail!("a gate of shape {shape:?} for {:?}", up_layout.shape());
        }
        let (gate, up) = (slice(gate, gate_layout)?, slice(up, up_layout)?);
        let mut out = vec![0f32; gate.len()];
        pool::run_chunks(&mut out, BATCH, &|piece, out| {
            let range = piece * BATCH..piece * BATCH + out.len();
            for (out, (&gate, &up)) in out.iter_mut().zip(gate[range.clone()].iter().zip(&up[range])) {
                *out = self.0.apply(gate) * up;
            }
        });
        Ok((CpuStorage::F32(out), shape.clone()))
    }
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("gating takes contiguous tensors"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use candle_core::Device;

    #[test]
    fn gating_is_what_the_library_computes_in_steps() {
        // More than a batch, and not a whole number of them.
        let count = BATCH + 17;
        let numbers = |step: usize| (0..count).map(|i| ((i * step % 1601) as f32 - 800.0) / 100.0).collect();
        let gate = Tensor::from_vec(numbers(7), (1, count), &Device::Cpu).unwrap();
        let up = Tensor::from_vec(numbers(11), (1, count), &Device::Cpu).unwrap();
        let steps = [
            (Activation::Silu, gate.silu().unwrap()),
            (Activation::GeluTanh, gate.gelu().unwrap()),
        ];
        for (activation, activated) in steps {
            let got = gate.apply_op2_no_bwd(&up, &Gating(activation)).unwrap();
            let off = (got - (activated * &up).unwrap())
                .unwrap()
                .abs()
                .unwrap()
                .max_all()
                .unwrap();
            let off = off.to_scalar::<f32>().unwrap();
            // Products of up to 8 * 8, each factor within a few roundings.
            assert!(off < 64.0 * 8.0 * f32::EPSILON, "{activation:?}: {off}");
        }
    }

    #[test]
    fn gating_refuses_unequal_shapes() {
        let gate = Tensor::zeros((1, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        let up = Tensor::zeros((2, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(gate.apply_op2_no_bwd(&up, &Gating(Activation::Silu)).is_err());
        let strided = gate.reshape((2, 2)).unwrap().t().unwrap();
        assert!(strided.apply_op2_no_bwd(&up, &Gating(Activation::Silu)).is_err());
    }
}
