//! Blocks of other formats rewritten as `Q8_0`, exactly.
//!
//! The tensor library multiplies `Q4_1`, `Q5_0` and `Q5_1` without vector instructions, and `Q8_0` with them. A weight of
//! these formats is `d * q` or `d * q + m` with a whole number `q` of 4 or 5 bits and half-precision `d` and `m` a block
//! of 32. `Q8_0` is `d * q` with 8 bits, so `q` less the middle of its range fits unchanged under the same `d`; what is
//! left, `m` plus the middle times `d`, is one number a block, kept beside it (see `layers::linear`).
//!
//! Source: `ggml-quants.c` of ggml (`dequantize_row_q5_0` and its like).

use super::gguf::{TensorType, TensorView};
use super::mapped::SharedBytes;
use half::f16;
use memmap2::{Mmap, MmapMut};
use rayon::prelude::*;
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Numbers in a block of all these formats.
pub(super) const BLOCK: usize = 32;
/// Bytes of a `Q8_0` block: a half-precision scale and 32 signed bytes.
pub(super) const Q8_0_BYTES: usize = 34;
/// Blocks that one thread rewrites at a time.
const BATCH: usize = 4096;

/// Where a matrix begins in the arena; the widest vector load.
const ALIGNMENT: usize = 64;

/// The rewritten matrices of a file, in one piece of memory: one piece is large enough for huge pages.
#[derive(Debug)]
pub(super) struct Arena {
    map: Arc<Mmap>,
    matrices: HashMap<String, Placed>,
}

#[derive(Debug)]
struct Placed {
    range: Range<usize>,
    offsets: Option<Vec<f32>>,
}

impl Arena {
    /// Rewrites those of the tensors whose format is slow to multiply, on all cores.
    pub(super) fn build(views: &[TensorView<'_>]) -> io::Result<Self> {
        let views = || views.iter().filter_map(|view| Some((view, q8_0_len(view)?)));
        let total: usize = views().map(|(_, len)| len.next_multiple_of(ALIGNMENT)).sum();
        let mut map = MmapMut::map_anon(total.max(1))?;
        #[cfg(target_os = "linux")]
        if let Err(error) = map.advise(memmap2::Advice::HugePage) {
            tracing::debug!(%error, "no huge pages for the weights: decoding is slower");
        }
        let mut left = &mut map[..];
        let mut work = Vec::new();
        let mut start = 0;
        for (view, len) in views() {
            let (own, rest) = left.split_at_mut(len.next_multiple_of(ALIGNMENT));
            work.push((view, start..start + len, &mut own[..len]));
            start += len.next_multiple_of(ALIGNMENT);
            left = rest;
        }
        let placed = work.into_par_iter().map(|(view, range, out)| {
            let offsets = layout(view.dtype).and_then(|layout| repack(view, layout, out));
            (view.name.to_owned(), Placed { range, offsets })
        });
        let matrices = placed.collect();
        Ok(Self {
            map: Arc::new(map.make_read_only()?),
            matrices,
        })
    }

    /// The blocks of a matrix and what each adds to its numbers (see the top of this file), if it is in the arena.
    pub(super) fn matrix(&self, name: &str) -> Option<(SharedBytes, Option<&[f32]>)> {
        let placed = self.matrices.get(name)?;
        Some((
            SharedBytes::new(&self.map, placed.range.clone()),
            placed.offsets.as_deref(),
        ))
    }
}

/// Bytes a matrix takes as `Q8_0`; none for a format that stays as it is.
fn q8_0_len(view: &TensorView<'_>) -> Option<usize> {
    layout(view.dtype).map(|_| view.bytes.len() / view.dtype.block_bytes() * Q8_0_BYTES)
}

/// Writes a tensor of this layout as `Q8_0` blocks and returns what each adds, for layouts with a minimum.
fn repack(view: &TensorView<'_>, layout: Layout, out: &mut [u8]) -> Option<Vec<f32>> {
    let bytes = view.dtype.block_bytes();
    out.par_chunks_mut(BATCH * Q8_0_BYTES)
        .zip(view.bytes.par_chunks(BATCH * bytes))
        .for_each(|(to, from)| {
            let pairs = to.chunks_exact_mut(Q8_0_BYTES).zip(from.chunks_exact(bytes));
            pairs.for_each(|(to, from)| layout.rewrite(from, to));
        });
    let blocks = view.bytes.par_chunks_exact(bytes);
    layout
        .minimum
        .then(|| blocks.map(|block| layout.offset(block)).collect())
}

/// How a block of 4 or 5 bits is laid out: scale, minimum if any, fifth bits if any, then 16 bytes of two nibbles.
#[derive(Clone, Copy)]
struct Layout {
    minimum: bool,
    fifth_bit: bool,
}

fn layout(dtype: TensorType) -> Option<Layout> {
    let (minimum, fifth_bit) = match dtype {
        TensorType::Q4_0 => (false, false),
        TensorType::Q4_1 => (true, false),
        TensorType::Q5_0 => (false, true),
        TensorType::Q5_1 => (true, true),
        _ => return None,
    };
    Some(Layout { minimum, fifth_bit })
}

impl Layout {
    /// What is taken from `q` to fit it into a signed number.
    fn middle(self) -> u8 {
        if self.fifth_bit { 16 } else { 8 }
    }

    fn rewrite(self, from: &[u8], to: &mut [u8]) {
        let high_at = if self.minimum { 4 } else { 2 };
        let nibbles_at = if self.fifth_bit { high_at + 4 } else { high_at };
        let high = if self.fifth_bit {
            u32::from_le_bytes([from[high_at], from[high_at + 1], from[high_at + 2], from[high_at + 3]])
        } else {
            0
        };
        let (scale, numbers) = to.split_at_mut(2);
        scale.copy_from_slice(&from[..2]);
        let (first, second) = numbers.split_at_mut(BLOCK / 2);
        let middle = self.middle();
        for (j, &pair) in from[nibbles_at..].iter().enumerate() {
            let low_bit = ((high >> j) & 1) as u8;
            let high_bit = ((high >> (j + BLOCK / 2)) & 1) as u8;
            // Two's complement: the byte of `q - middle`.
            first[j] = ((pair & 15) | (low_bit << 4)).wrapping_sub(middle);
            second[j] = ((pair >> 4) | (high_bit << 4)).wrapping_sub(middle);
        }
    }

    /// `m + middle * d`: exact in `f32` unless `m` and `d` differ by a factor beyond 2^10, then within 2^-24 of it.
    fn offset(self, from: &[u8]) -> f32 {
        let scale = f16::from_le_bytes([from[0], from[1]]).to_f32();
        let minimum = f16::from_le_bytes([from[2], from[3]]).to_f32();
        f32::from(self.middle()).mul_add(scale, minimum)
    }
}

/// Writes the numbers of whole `Q8_0` blocks, plus an offset for each block where there are any.
pub(super) fn dequantise_q8_0(blocks: &[u8], offsets: Option<&[f32]>, out: &mut [f32]) {
    let rows = blocks.chunks_exact(Q8_0_BYTES).zip(out.chunks_exact_mut(BLOCK));
    for (index, (block, out)) in rows.enumerate() {
        let (scale, numbers) = block.split_at(2);
        let scale = f16::from_le_bytes([scale[0], scale[1]]).to_f32();
        let offset = offsets.map_or(0.0, |offsets| offsets[index]);
        for (out, &number) in out.iter_mut().zip(numbers) {
            *out = scale * f32::from(number.cast_signed()) + offset;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use candle_core::quantized::{QStorage, QTensor};
    use candle_core::{DType, Device};
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use std::borrow::Cow;

    /// What the tensor library makes of the same bytes, as the independent answer.
    fn reference(dtype: TensorType, bytes: &[u8], numbers: usize) -> Vec<f32> {
        let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, dtype.ggml()).unwrap();
        let tensor = QTensor::new(storage, (1, numbers)).unwrap();
        let tensor = tensor.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap();
        tensor.to_dtype(DType::F32).unwrap().to_vec1().unwrap()
    }

    /// Random blocks with scales and minima as models have them (normal numbers of moderate size).
    fn blocks(dtype: TensorType, count: usize, seed: u64) -> Vec<u8> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bytes = Vec::new();
        for _ in 0..count {
            let mut block = vec![0u8; dtype.block_bytes()];
            rng.fill(&mut block[..]);
            for half in block[..if dtype == TensorType::Q4_1 || dtype == TensorType::Q5_1 {
                4
            } else {
                2
            }]
                .chunks_mut(2)
            {
                half.copy_from_slice(&f16::from_f32(rng.random_range(-0.3..0.3)).to_le_bytes());
            }
            bytes.extend(block);
        }
        bytes
    }

    fn repacked(dtype: TensorType, bytes: &[u8]) -> Vec<f32> {
        let numbers = bytes.len() / dtype.block_bytes() * BLOCK;
        let shape = [1, numbers];
        let view = TensorView {
            name: "weights",
            dtype,
            shape: &shape,
            bytes,
        };
        let arena = Arena::build(&[view]).unwrap();
        let (blocks, offsets) = arena.matrix("weights").unwrap();
        let mut out = vec![0f32; numbers];
        dequantise_q8_0(&blocks, offsets, &mut out);
        out
    }

    #[test]
    fn formats_without_offset_are_repacked_bit_for_bit() {
        for dtype in [TensorType::Q4_0, TensorType::Q5_0] {
            let bytes = blocks(dtype, 10_001, 1);
            let got = repacked(dtype, &bytes);
            let want = reference(dtype, &bytes, got.len());
            // Zeroes may differ in sign, which no sum sees: adding 0 makes them all positive.
            let bits = |numbers: &[f32]| {
                numbers
                    .iter()
                    .map(|number| (number + 0.0).to_bits())
                    .collect::<Vec<_>>()
            };
            assert_eq!(bits(&got), bits(&want), "{dtype}");
        }
    }

    #[test]
    fn formats_with_offset_are_repacked_to_the_last_bits() {
        for dtype in [TensorType::Q4_1, TensorType::Q5_1] {
            let bytes = blocks(dtype, 10_001, 2);
            let got = repacked(dtype, &bytes);
            let want = reference(dtype, &bytes, got.len());
            for (index, (got, want)) in got.iter().zip(&want).enumerate() {
                // Two roundings of terms up to 31 * 0.3 + 0.3 = 9.6 in `f32`, on either side.
                assert!(
                    (got - want).abs() <= 4.0 * 9.6 * f32::EPSILON,
                    "{dtype} {index}: {got} {want}"
                );
            }
        }
    }

    #[test]
    fn every_value_of_a_block_survives() {
        // All 32 values of five bits, once in each half of a block.
        let mut bytes = f16::from_f32(0.5).to_le_bytes().to_vec();
        bytes.extend(0xffff_0000u32.to_le_bytes());
        bytes.extend((0..16u8).map(|q| q | (q << 4)));
        let want: Vec<f32> = (0..32).map(|q| (q as f32 - 16.0) * 0.5).collect();
        assert_eq!(repacked(TensorType::Q5_0, &bytes), want);
    }

    #[test]
    fn matrices_stand_apart_and_other_formats_stay_out() {
        let view = |name, dtype, bytes| TensorView {
            name,
            dtype,
            shape: &[1, 32],
            bytes,
        };
        // A scale of 0 bits and nibbles of 1 and 1, or 2 and 2: the numbers 1 and 2 less the middle of 8.
        let ones = [vec![0; 2], vec![0x11; 16]].concat();
        let twos = [vec![0; 2], vec![0x22; 16]].concat();
        let arena = Arena::build(&[
            view("ones", TensorType::Q4_0, &ones),
            view("kept", TensorType::Q4_K, &[0; 144]),
            view("also kept", TensorType::Q8_0, &[0; 34]),
            view("twos", TensorType::Q4_0, &twos),
        ])
        .unwrap();
        assert_eq!(arena.matrix("ones").unwrap().0[2..], [249; 32]);
        assert_eq!(arena.matrix("twos").unwrap().0[2..], [250; 32]);
        assert!(arena.matrix("kept").is_none() && arena.matrix("also kept").is_none());
        assert!(Arena::build(&[]).unwrap().matrix("ones").is_none());
    }
}
