//! Weights of more bits rounded to four, for a model that is to be read faster than its file has it.

use super::gguf::TensorType;
use candle_core::{CpuStorage, Result};
use half::f16;
use std::borrow::Cow;

/// How a model's matrices are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// As they are in the file.
    #[default]
    AsStored,
    /// Those of more than four bits rounded to four, with a half-precision scale for each 32 numbers (`Q4_0`): a decoded
    /// token reads less memory, and answers are those of another, worse model.
    FourBits,
}

impl Precision {
    /// How a matrix is kept that is stored as `stored`.
    pub(super) fn kept(self, stored: TensorType, columns: usize) -> TensorType {
        let four = matches!(stored, TensorType::Q4_0 | TensorType::Q4_1 | TensorType::Q4_K);
        if self == Self::AsStored || four || !columns.is_multiple_of(BLOCK) {
            stored
        } else {
            TensorType::Q4_0
        }
    }
}

/// Numbers with a scale in common.
const BLOCK: usize = 32;
/// Bytes of such a block: the scale and 32 half bytes.
const BLOCK_BYTES: usize = 2 + BLOCK / 2;
/// Scales that are tried besides the plain one: the largest number becomes -8 times one of them, or more or less.
const TRIED: i32 = 9;

/// Whole rows as `Q4_0` blocks of a file.
///
/// # Errors
/// What candle cannot dequantise.
pub(super) fn to_four_bits(stored: TensorType, rows: &[u8], numbers: usize) -> Result<Vec<u8>> {
    let CpuStorage::F32(numbers) = stored.ggml().from_data(Cow::Borrowed(rows)).dequantize(numbers)? else {
        candle_core::bail!("{stored} does not dequantise to f32")
    };
    let mut out = Vec::with_capacity(numbers.len() / BLOCK * BLOCK_BYTES);
    for block in numbers.as_chunks::<BLOCK>().0 {
        out.extend_from_slice(&four_bits(block));
    }
    Ok(out)
}

/// A block of 32 numbers rounded to `scale * (q - 8)` with `q` of four bits, with the scale that loses least by squares.
/// Source: `make_qx_quants` of ggml, which tries the same scales.
fn four_bits(x: &[f32; BLOCK]) -> [u8; BLOCK_BYTES] {
    let extreme = x
        .iter()
        .fold(0f32, |most, x| if x.abs() > most.abs() { *x } else { most });
    let mut out = [0; BLOCK_BYTES];
    out[2..].fill(0x88);
    if !extreme.is_normal() {
        return out;
    }
    let mut best = (f32::NEG_INFINITY, 0.0, [0f32; BLOCK]);
    for step in -TRIED..=TRIED {
        let factor = -(8.0 + 0.1 * step as f32) / extreme;
        let mut whole = [0f32; BLOCK];
        let (mut product, mut square) = (0f32, 0f32);
        for (whole, x) in whole.iter_mut().zip(x) {
            *whole = nearest(x * factor).clamp(-8.0, 7.0);
            product += *whole * x;
            square += *whole * *whole;
        }
        // The best scale for these is product / square, and takes product^2 / square from the error.
        let gain = product * product / square;
        if square > 0.0 && gain > best.0 {
            best = (gain, product / square, whole);
        }
    }
    let (_, scale, whole) = best;
    out[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    let (low, high) = whole.split_at(BLOCK / 2);
    for (byte, (low, high)) in out[2..].iter_mut().zip(low.iter().zip(high)) {
        *byte = (low + 8.0) as u8 | (((high + 8.0) as u8) << 4);
    }
    out
}

/// The nearest whole number of one that is small: adding so much leaves no place for a fraction. `round_ties_even` would
/// be a call for each number on a processor that is not known to have it.
fn nearest(x: f32) -> f32 {
    const ROOM: f32 = 12_582_912.0;
    (x + ROOM) - ROOM
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)] // What is compared is the same number, or was copied.
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};

    fn read(block: &[u8; BLOCK_BYTES]) -> [f32; BLOCK] {
        let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
        std::array::from_fn(|j| {
            let byte = block[2 + j % 16];
            let q = if j < 16 { byte & 15 } else { byte >> 4 };
            scale * (f32::from(q) - 8.0)
        })
    }

    fn error(x: &[f32; BLOCK], y: &[f32; BLOCK]) -> f32 {
        x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum()
    }

    #[test]
    fn no_number_is_off_by_more_than_a_step_and_together_less_than_by_the_plain_scale() {
        let mut rng = StdRng::seed_from_u64(3);
        for _ in 0..500 {
            let x: [f32; BLOCK] = std::array::from_fn(|_| rng.random_range(-1.0f32..1.0).powi(3));
            let got = read(&four_bits(&x));
            let most = x.iter().fold(0f32, |most, x| most.max(x.abs()));
            for (x, got) in x.iter().zip(&got) {
                assert!((x - got).abs() <= most / 7.0, "{x} {got}");
            }
            let extreme = x.into_iter().find(|x| x.abs() == most).unwrap();
            let scale = -extreme / 8.0;
            let plain = x.map(|x| scale * (x / scale).round().clamp(-8.0, 7.0));
            // The scale is rounded to half precision, which the plain one here is not.
            assert!(error(&x, &got) <= error(&x, &plain) * 1.01 + 1e-6);
        }
    }

    #[test]
    fn what_four_bits_hold_comes_back() {
        let x: [f32; BLOCK] = std::array::from_fn(|j| (j as f32 % 16.0 - 8.0) * 0.25);
        assert_eq!(read(&four_bits(&x)), x);
        assert_eq!(read(&four_bits(&[0.0; BLOCK])), [0.0; BLOCK]);
    }

    #[test]
    fn matrices_of_four_bits_stay_as_they_are() {
        assert_eq!(Precision::FourBits.kept(TensorType::Q4_K, 256), TensorType::Q4_K);
        assert_eq!(Precision::FourBits.kept(TensorType::Q8_0, 896), TensorType::Q4_0);
        assert_eq!(Precision::FourBits.kept(TensorType::F16, 40), TensorType::F16);
        assert_eq!(Precision::AsStored.kept(TensorType::Q8_0, 896), TensorType::Q8_0);
    }
}
