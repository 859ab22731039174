//! Products with the weight matrices.

use crate::inference::packed::PackedMatrix;
use crate::kernels::Level;
use crate::kernels::matmul::{Product, Quantised, multiply};
use candle_core::{CpuStorage, Device, Result, Storage, Tensor};

/// `y = x W^T + b` with a weight matrix `[rows, columns]`.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Weight,
    bias: Option<Tensor>,
}

/// A weight matrix `[rows, columns]`.
#[derive(Debug)]
pub(crate) enum Weight {
    /// In `f32`.
    Dense(Tensor),
    /// Packed for the kernels.
    Packed(PackedMatrix),
}

impl Linear {
    /// A product with `weight`, plus `bias` (`[rows]`) if any.
    pub(crate) fn new(weight: Weight, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// `[tokens, columns]` to `[tokens, rows]`, both contiguous `f32`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = match &self.weight {
            Weight::Dense(weight) => x.matmul(&weight.t()?)?,
            Weight::Packed(matrix) => return packed(matrix, self.bias.as_ref(), x),
        };
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

fn packed(matrix: &PackedMatrix, bias: Option<&Tensor>, x: &Tensor) -> Result<Tensor> {
    let (tokens, columns) = x.dims2()?;
    let (rows, _) = matrix.shape();
    let level = Level::detect();
    let mut quantised = Quantised::default();
    with_numbers(x, |x| quantised.fill(level, x, columns))?;
    let bias = bias.map(Tensor::to_vec1::<f32>).transpose()?;
    let mut out = vec![0f32; tokens * rows];
    let product = Product {
        matrix: matrix.matrix(),
        bias: bias.as_deref(),
        out: &mut out,
    };
    multiply(level, &quantised, &mut [product]);
    Tensor::from_vec(out, (tokens, rows), &Device::Cpu)
}

fn with_numbers<T>(x: &Tensor, work: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = x.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(numbers)), Some((start, end))) => Ok(work(&numbers[start..end])),
        _ => candle_core::bail!("products take contiguous f32 on the CPU"),
    }
}
