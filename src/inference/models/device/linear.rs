//! Products and normalisation on a device.

use crate::inference::gguf::{TensorType, TensorView};
use candle_core::quantized::{QMatMul, QStorage, QTensor};
use candle_core::{Device, Module, Result, Tensor};
use std::borrow::Cow;

/// `y = x W^T + b` with a weight matrix that stays on the device as it is quantised in the file.
#[derive(Debug)]
pub(super) struct Linear {
    weight: QMatMul,
    bias: Option<Tensor>,
}

impl Linear {
    /// Moves a matrix, and one number a row, to the device. A matrix that is not quantised is kept in single precision.
    pub(super) fn new(view: &TensorView<'_>, bias: Option<Vec<f32>>, device: &Device) -> Result<Self> {
        if matches!(view.dtype, TensorType::F16 | TensorType::BF16) {
            tracing::info!(tensor = view.name, dtype = %view.dtype, "kept in single precision: twice its size in the file");
        }
        let storage = QStorage::from_data(Cow::Borrowed(view.bytes), device, view.dtype.ggml())?;
        let weight = QMatMul::from_qtensor(QTensor::new(storage, view.shape)?)?;
        let bias = bias.map(|bias| vector(bias, device)).transpose()?;
        Ok(Self { weight, bias })
    }

    /// `[tokens, columns]` to `[tokens, rows]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let out = self.weight.forward(x)?;
        match &self.bias {
            Some(bias) => out.broadcast_add(bias),
            None => Ok(out),
        }
    }
}

/// `x / sqrt(mean(x^2) + epsilon) * weight` over the last dimension (Zhang and Sennrich, arXiv:1910.07467).
#[derive(Debug)]
pub(super) struct RmsNorm {
    weight: Tensor,
    epsilon: f32,
}

impl RmsNorm {
    pub(super) fn new(weight: Vec<f32>, epsilon: f32, device: &Device) -> Result<Self> {
        let weight = vector(weight, device)?;
        Ok(Self { weight, epsilon })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        candle_nn::ops::rms_norm(&x.contiguous()?, &self.weight, self.epsilon)
    }
}

fn vector(numbers: Vec<f32>, device: &Device) -> Result<Tensor> {
    let len = numbers.len();
    Tensor::from_vec(numbers, len, device)
}
