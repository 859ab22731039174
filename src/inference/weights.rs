//! From the tensors of a file to the weights of layers.

use super::InferenceError;
use super::gguf::{Fault, Gguf, TensorType, TensorView};
use super::layers::{Embedding, Linear, RmsNorm, Weight};
use super::repack;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{CpuStorage, Device, Tensor};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

/// The tensors of a file, which notes what was taken from it.
#[derive(Debug)]
pub(super) struct Weights<'a> {
    gguf: &'a Gguf,
    taken: RefCell<HashSet<String>>,
}

impl<'a> Weights<'a> {
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
    pub(super) fn vector(&self, name: &str, len: usize) -> Result<Tensor, InferenceError> {
        Ok(Tensor::from_vec(self.numbers(name, len)?, len, &Device::Cpu)?)
    }

    /// The same as plain numbers.
    pub(super) fn numbers(&self, name: &str, len: usize) -> Result<Vec<f32>, InferenceError> {
        let view = self.take(name, &[len])?;
        dequantised(&view)
    }

    /// A normalisation over `len` numbers.
    pub(super) fn norm(&self, name: &str, len: usize, epsilon: f32) -> Result<RmsNorm, InferenceError> {
        Ok(RmsNorm::new(self.vector(name, len)?, epsilon))
    }

    /// A product with the matrix `name` of `rows` by `columns`, plus the vector `bias`.
    pub(super) fn linear(
        &self,
        name: &str,
        (rows, columns): (usize, usize),
        bias: Option<&str>,
    ) -> Result<Linear, InferenceError> {
        let view = self.take(name, &[rows, columns])?;
        let weight = self.weight(&view, (rows, columns))?;
        let bias = bias.map(|bias| self.vector(bias, rows)).transpose()?;
        Ok(Linear::new(weight, bias))
    }

    /// The embedding table `name`, with as many rows as it has.
    pub(super) fn embedding(&self, name: &str, width: usize, scale: Option<f64>) -> Result<Embedding, InferenceError> {
        let rows = self.gguf.tensor(name)?.shape[0];
        self.take(name, &[rows, width])?;
        Ok(Embedding::new(self.gguf.mapped_tensor(name)?, scale))
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

    fn weight(&self, view: &TensorView<'_>, shape: (usize, usize)) -> Result<Weight, InferenceError> {
        if view.dtype == TensorType::F32 {
            return Ok(Weight::Dense(Tensor::from_vec(
                dequantised(view)?,
                shape,
                &Device::Cpu,
            )?));
        }
        let io = |source| InferenceError::Io {
            path: self.gguf.path().to_owned(),
            source,
        };
        let repacked = repack::repack(view).map_err(io)?;
        let (dtype, bytes, offsets) = match &repacked {
            Some(repacked) => (GgmlDType::Q8_0, &repacked.blocks[..], repacked.offsets.as_ref()),
            None => (view.dtype.ggml(), view.bytes, None),
        };
        let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, dtype)?;
        let offsets =
            offsets.map(|offsets| Tensor::from_slice(offsets, (shape.0, shape.1 / repack::BLOCK), &Device::Cpu));
        Ok(Weight::Blocks {
            blocks: Arc::new(QTensor::new(storage, shape)?),
            offsets: offsets.transpose()?,
        })
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
