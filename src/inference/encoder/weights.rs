//! What an encoder's layers are read from, whatever the file.

use super::container::BLOCK_BYTES;
use half::f16;

/// What is wrong with the file, in words.
pub(super) type Fault = String;

/// Bytes of a block of `Q8_0`: an f16 scale and 32 weights.
pub(super) const Q8_BLOCK_BYTES: usize = 34;

/// A matrix in blocks of 32 weights along its inner dimension, column after column.
#[derive(Clone, Copy, Debug)]
pub(super) enum Blocks<'a> {
    /// GGML's `Q4_0`.
    Q4(&'a [[u8; BLOCK_BYTES]]),
    /// GGML's `Q8_0`.
    Q8(&'a [[u8; Q8_BLOCK_BYTES]]),
}

/// Tensors by name.
pub(super) trait Weights {
    /// The tensor `name` of `elements` numbers, all finite.
    fn numbers(&self, name: &str, elements: usize) -> Result<Vec<f32>, Fault>;

    /// The blocks of the tensor `name` of `elements` weights, all scales finite.
    fn blocks(&self, name: &str, elements: usize) -> Result<Blocks<'_>, Fault>;
}

/// The scale at the beginning of a block.
pub(super) fn block_scale<const N: usize>(block: &[u8; N]) -> f32 {
    f16::from_le_bytes([block[0], block[1]]).to_f32()
}

/// The f32 numbers of the tensor `name`, all finite.
pub(super) fn finite_numbers(name: &str, bytes: &[u8]) -> Result<Vec<f32>, Fault> {
    let numbers: Vec<f32> = bytes
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

/// The blocks of the tensor `name`, all scales finite.
pub(super) fn finite_blocks<'a, const N: usize>(name: &str, bytes: &'a [u8]) -> Result<&'a [[u8; N]], Fault> {
    let blocks = bytes.as_chunks::<N>().0;
    if blocks.iter().any(|block| !block_scale(block).is_finite()) {
        return Err(format!("tensor {name} has a scale that is not finite"));
    }
    Ok(blocks)
}
