//! Trained layers and heads in a GGUF file, for an encoder whose vocabulary another file holds.

use super::weights::{Blocks, Fault, Weights, finite_blocks, finite_numbers};
use crate::inference::gguf::{Gguf, TensorType, TensorView};

/// A head's file.
pub(super) struct HeadFile(pub(super) Gguf);

impl HeadFile {
    fn tensor(&self, name: &str, elements: usize) -> Result<TensorView<'_>, Fault> {
        let tensor = self.0.tensor(name).map_err(|error| error.to_string())?;
        let has: usize = tensor.shape.iter().product();
        if has == elements {
            Ok(tensor)
        } else {
            Err(format!("tensor {name} has {has} elements, expected {elements}"))
        }
    }

    /// The text of the metadata `key`.
    pub(super) fn text(&self, key: &str) -> Result<String, Fault> {
        let text = self.0.metadata().str(key).map_err(|error| error.to_string())?;
        Ok(text.to_owned())
    }
}

impl Weights for HeadFile {
    fn numbers(&self, name: &str, elements: usize) -> Result<Vec<f32>, Fault> {
        let tensor = self.tensor(name, elements)?;
        if tensor.dtype != TensorType::F32 {
            return Err(format!("tensor {name} is {}, expected F32", tensor.dtype));
        }
        finite_numbers(name, tensor.bytes)
    }

    fn blocks(&self, name: &str, elements: usize) -> Result<Blocks<'_>, Fault> {
        let tensor = self.tensor(name, elements)?;
        if tensor.dtype != TensorType::Q8_0 {
            return Err(format!("tensor {name} is {}, expected Q8_0", tensor.dtype));
        }
        finite_blocks(name, tensor.bytes).map(Blocks::Q8)
    }
}
