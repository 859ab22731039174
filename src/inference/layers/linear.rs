//! Products with the weight matrices.

use crate::inference::packed::{Kernel, PackedMatrix};
use crate::kernels::Level;
use crate::kernels::matmul::{self, Quantised, dense};

/// `y = x W^T + b` with a weight matrix `[rows, columns]`.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: PackedMatrix,
    bias: Option<Vec<f32>>,
}

impl Linear {
    /// A product with `weight`, plus `bias` (one number a row) if any.
    pub(crate) fn new(weight: PackedMatrix, bias: Option<Vec<f32>>) -> Self {
        Self { weight, bias }
    }
}

/// Multiplies `x`, rows of `columns` numbers, by several matrices at once: it is rounded once for all of them, and they
/// share the threads. Each output is `[rows of x, rows of the matrix]`.
pub(crate) fn products(quantised: &mut Quantised, x: &[f32], columns: usize, list: Vec<(&Linear, &mut [f32])>) {
    let (mut rounded, mut exact) = (Vec::new(), Vec::new());
    for (linear, out) in list {
        let bias = linear.bias.as_deref();
        match linear.weight.kernel() {
            Kernel::Quantised(matrix) => rounded.push(matmul::Product { matrix, bias, out }),
            Kernel::Dense(matrix) => exact.push(dense::Product { matrix, bias, out }),
        }
    }
    let level = Level::detect();
    if !rounded.is_empty() {
        quantised.fill(level, x, columns);
        matmul::multiply(level, quantised, &mut rounded);
    }
    if !exact.is_empty() {
        dense::multiply(level, x, columns, &mut exact);
    }
}
