//! Products with the weight matrices.

use crate::inference::packed::PackedMatrix;
use crate::kernels::Level;
use crate::kernels::matmul::{Product, Quantised, multiply};
use candle_core::{Device, Result, Tensor};

/// `y = x W^T + b` with a weight matrix `[rows, columns]`.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Weight,
    bias: Option<Vec<f32>>,
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
    /// A product with `weight`, plus `bias` (one number a row) if any.
    pub(crate) fn new(weight: Weight, bias: Option<Vec<f32>>) -> Self {
        Self { weight, bias }
    }
}

/// Multiplies `x`, rows of `columns` numbers, by several matrices at once: it is rounded once for all of them, and they
/// share the threads. Each output is `[rows of x, rows of the matrix]`.
pub(crate) fn products(
    quantised: &mut Quantised,
    x: &[f32],
    columns: usize,
    list: Vec<(&Linear, &mut [f32])>,
) -> Result<()> {
    let mut packed = Vec::with_capacity(list.len());
    for (linear, out) in list {
        let bias = linear.bias.as_deref();
        match &linear.weight {
            Weight::Dense(weight) => dense(x, columns, weight, bias, out)?,
            Weight::Packed(matrix) => packed.push(Product {
                matrix: matrix.matrix(),
                bias,
                out,
            }),
        }
    }
    if !packed.is_empty() {
        let level = Level::detect();
        quantised.fill(level, x, columns);
        multiply(level, quantised, &mut packed);
    }
    Ok(())
}

fn dense(x: &[f32], columns: usize, weight: &Tensor, bias: Option<&[f32]>, out: &mut [f32]) -> Result<()> {
    let x = Tensor::from_slice(x, (x.len() / columns, columns), &Device::Cpu)?;
    let y = x.matmul(&weight.t()?)?.flatten_all()?.to_vec1::<f32>()?;
    out.copy_from_slice(&y);
    if let Some(bias) = bias {
        for row in out.chunks_exact_mut(bias.len()) {
            for (out, bias) in row.iter_mut().zip(bias) {
                *out += bias;
            }
        }
    }
    Ok(())
}
