//! From the tensors of a file to the weights of layers.

use super::InferenceError;
use super::gguf::{Fault, Gguf, TensorView};
use super::layers::{Embedding, Linear, RmsNorm};
use super::packed::Arena;
use super::requantise::Precision;
use candle_core::CpuStorage;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Deref;

/// The tensors of a file, which notes what was taken from it.
#[derive(Debug)]
pub(super) struct Tensors<'a> {
    gguf: &'a Gguf,
    taken: RefCell<HashSet<String>>,
}

impl<'a> Tensors<'a> {
    /// The tensors of `gguf`.
    pub(super) fn new(gguf: &'a Gguf) -> Self {
        Self {
            gguf,
            taken: RefCell::default(),
        }
    }

    /// Whether there is such a tensor.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.gguf.optional_tensor(name).is_some()
    }

    /// A vector of `len` numbers as `f32`.
    pub(super) fn numbers(&self, name: &str, len: usize) -> Result<Vec<f32>, InferenceError> {
        dequantised(&self.take(name, &[len])?)
    }

    /// The matrix `name` of `rows` by `columns`, as it is stored.
    pub(super) fn matrix(&self, name: &str, (rows, columns): (usize, usize)) -> Result<TensorView<'a>, InferenceError> {
        self.take(name, &[rows, columns])
    }

    /// The embedding table `name`, with as many rows as it has.
    pub(super) fn embedding(&self, name: &str, width: usize, scale: Option<f32>) -> Result<Embedding, InferenceError> {
        let rows = self.gguf.tensor(name)?.shape[0];
        let dtype = self.take(name, &[rows, width])?.dtype.ggml();
        let table = self.gguf.shared_bytes(name)?;
        Ok(Embedding::new(table, dtype, (rows, width), scale))
    }

    /// Checks that nothing in the file was left: a tensor that is not used is part of a model that is not this one.
    pub(super) fn finish(&self, architecture: &str) -> Result<(), InferenceError> {
        let taken = self.taken.borrow();
        let left = self.gguf.tensor_names().filter(|name| !taken.contains(*name)).min();
        match left {
            None => Ok(()),
            Some(name) => Err(self
                .gguf
                .error(Fault::UnusedTensor {
                    name: name.to_owned(),
                    architecture: architecture.to_owned(),
                })
                .into()),
        }
    }

    fn take(&self, name: &str, shape: &[usize]) -> Result<TensorView<'a>, InferenceError> {
        let view = self.gguf.tensor(name)?;
        if view.shape != shape {
            let fault = Fault::TensorShape {
                name: name.to_owned(),
                found: view.shape.to_owned(),
                want: shape.to_owned(),
            };
            return Err(self.gguf.error(fault).into());
        }
        self.taken.borrow_mut().insert(name.to_owned());
        Ok(view)
    }
}

/// The tensors of a file, whose matrices are packed for the kernels.
#[derive(Debug)]
pub(super) struct Weights<'a> {
    tensors: &'a Tensors<'a>,
    arena: Arena,
}

impl<'a> Deref for Weights<'a> {
    type Target = Tensors<'a>;

    fn deref(&self) -> &Tensors<'a> {
        self.tensors
    }
}

impl<'a> Weights<'a> {
    /// Packs the matrices of `tensors`, to `precision`; `lookup_only` names one that is never multiplied.
    pub(super) fn new(
        tensors: &'a Tensors<'a>,
        lookup_only: Option<&str>,
        precision: Precision,
    ) -> Result<Self, InferenceError> {
        let gguf = tensors.gguf;
        let mut views: Vec<_> = gguf
            .tensor_names()
            .filter(|name| Some(*name) != lookup_only)
            .filter_map(|name| gguf.optional_tensor(name))
            .filter(|view| view.shape.len() == 2)
            .collect();
        views.sort_by_key(|view| view.bytes.as_ptr());
        let arena = Arena::build(&views, precision).map_err(|source| InferenceError::Io {
            path: gguf.path().to_owned(),
            source,
        })?;
        Ok(Self { tensors, arena })
    }

    /// A normalisation over `len` numbers.
    pub(super) fn norm(&self, name: &str, len: usize, epsilon: f32) -> Result<RmsNorm, InferenceError> {
        Ok(RmsNorm::new(self.numbers(name, len)?, epsilon))
    }

    /// A product with the matrix `name` of `rows` by `columns`, plus the vector `bias`.
    pub(super) fn linear(
        &self,
        name: &str,
        shape: (usize, usize),
        bias: Option<&str>,
    ) -> Result<Linear, InferenceError> {
        let view = self.matrix(name, shape)?;
        let Some(weight) = self.arena.matrix(&view) else {
            // The arena has every matrix but the one that was only to be looked up.
            return Err(candle_core::Error::Msg(format!("{name} was not packed")).into());
        };
        let bias = bias.map(|bias| self.numbers(bias, shape.0)).transpose()?;
        Ok(Linear::new(weight, bias))
    }
}

/// All numbers of a tensor.
fn dequantised(view: &TensorView<'_>) -> Result<Vec<f32>, InferenceError> {
    let count = view.shape.iter().product();
    match view
        .dtype
        .ggml()
        .from_data(Cow::Borrowed(view.bytes))
        .dequantize(count)?
    {
        CpuStorage::F32(numbers) => Ok(numbers),
        _ => Err(candle_core::Error::Msg(format!("{} does not dequantise to f32", view.dtype)).into()),
    }
}
