//! Trained layers and heads in a GGUF file, for an encoder whose vocabulary another file holds.

use super::weights::{Blocks, Fault, Q8_BLOCK_BYTES, Weights, block_scale};
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
        let numbers: Vec<f32> = tensor
            .bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        if numbers.iter().any(|x| !x.is_finite()) {
            return Err(format!("tensor {name} has a number that is not finite"));
        }
        Ok(numbers)
    }

    fn blocks(&self, name: &str, elements: usize) -> Result<Blocks<'_>, Fault> {
        let tensor = self.tensor(name, elements)?;
        if tensor.dtype != TensorType::Q8_0 {
            return Err(format!("tensor {name} is {}, expected Q8_0", tensor.dtype));
        }
        let blocks = tensor.bytes.as_chunks::<Q8_BLOCK_BYTES>().0;
        if blocks.iter().any(|block| !block_scale(block).is_finite()) {
            return Err(format!("tensor {name} has a scale that is not finite"));
        }
        Ok(Blocks::Q8(blocks))
    }
}
