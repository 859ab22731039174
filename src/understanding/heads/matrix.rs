//! Products of small matrices for training, by the tensor library's routine.

use candle_core::{Device, Tensor};

/// Row-major `[rows, columns]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Matrix {
    pub rows: usize,
    pub columns: usize,
    pub data: Vec<f32>,
}

/// Whether a factor is taken as it is, or with rows and columns exchanged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Side {
    Same,
    Turned,
}

impl Matrix {
    /// `data` has `rows * columns` numbers.
    pub(super) fn new(rows: usize, columns: usize, data: Vec<f32>) -> Self {
        debug_assert_eq!(data.len(), rows * columns);
        Self { rows, columns, data }
    }

    fn shape(&self, side: Side) -> (usize, usize) {
        match side {
            Side::Same => (self.rows, self.columns),
            Side::Turned => (self.columns, self.rows),
        }
    }

    fn tensor(&self, side: Side) -> candle_core::Result<Tensor> {
        let tensor = Tensor::from_slice(&self.data, (self.rows, self.columns), &Device::Cpu)?;
        match side {
            Side::Same => Ok(tensor),
            Side::Turned => tensor.t(),
        }
    }

    /// The product; the factors' inner sides are equally long.
    pub(super) fn times(&self, side: Side, other: &Self, other_side: Side) -> Self {
        let ((rows, inner), (other_inner, columns)) = (self.shape(side), other.shape(other_side));
        debug_assert_eq!(inner, other_inner);
        let product = || {
            self.tensor(side)?
                .matmul(&other.tensor(other_side)?)?
                .flatten_all()?
                .to_vec1::<f32>()
        };
        // Shapes that fit are all that it can ask for.
        let data = product().unwrap_or_else(|_| vec![0.0; rows * columns]);
        Self::new(rows, columns, data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition() {
        let a = Matrix::new(2, 3, (1..=6).map(|x| x as f32).collect());
        let b = Matrix::new(3, 2, vec![1.0, 0.0, -1.0, 2.0, 0.5, 1.0]);
        assert_eq!(a.times(Side::Same, &b, Side::Same).data, [0.5, 7.0, 2.0, 16.0]);
        assert_eq!(b.times(Side::Turned, &a, Side::Turned).data, [0.5, 2.0, 7.0, 16.0]);
        assert_eq!(
            a.times(Side::Turned, &a, Side::Same).data,
            [17.0, 22.0, 27.0, 22.0, 29.0, 36.0, 27.0, 36.0, 45.0]
        );
    }
}
