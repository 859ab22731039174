//! Mapped memory that several owners share, and blocks of weights in it that the tensor library can multiply.

use candle_core::quantized::k_quants::{self, BlockQ4K, BlockQ5K, BlockQ6K, BlockQ8_0, BlockQ8K, GgmlType};
use candle_core::quantized::{GgmlDType, QuantizedType};
use candle_core::{CpuStorage, Result};
use half::{bf16, f16};
use memmap2::Mmap;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Part of a mapping, which stays mapped as long as any part of it is in use.
#[derive(Clone, Debug)]
pub(crate) struct SharedBytes {
    map: Arc<Mmap>,
    range: Range<usize>,
}

impl SharedBytes {
    /// The bytes of `map` at `range`, which must lie within it.
    pub(crate) fn new(map: &Arc<Mmap>, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= map.len(),
            "{range:?} of {}",
            map.len()
        );
        let map = Arc::clone(map);
        Self { map, range }
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }
}

/// The bytes as blocks of `dtype`, for the products of the tensor library, without a copy.
///
/// # Errors
/// If the format is not among those that are multiplied in place, or the bytes are not whole, aligned blocks.
pub(crate) fn blocks(bytes: SharedBytes, dtype: GgmlDType) -> Result<Box<dyn QuantizedType>> {
    match dtype {
        GgmlDType::F16 => Blocks::<f16>::boxed(bytes),
        GgmlDType::BF16 => Blocks::<bf16>::boxed(bytes),
        GgmlDType::Q8_0 => Blocks::<BlockQ8_0>::boxed(bytes),
        GgmlDType::Q4K => Blocks::<BlockQ4K>::boxed(bytes),
        GgmlDType::Q5K => Blocks::<BlockQ5K>::boxed(bytes),
        GgmlDType::Q6K => Blocks::<BlockQ6K>::boxed(bytes),
        GgmlDType::Q8K => Blocks::<BlockQ8K>::boxed(bytes),
        other => candle_core::bail!("{other:?} is not multiplied in place"),
    }
}

/// Blocks of type `T`, which is one of those [`blocks`] names.
struct Blocks<T> {
    bytes: SharedBytes,
    block: PhantomData<fn() -> T>,
}

impl<T: GgmlType + 'static> Blocks<T> {
    fn boxed(bytes: SharedBytes) -> Result<Box<dyn QuantizedType>> {
        let whole = bytes.len().is_multiple_of(size_of::<T>());
        if !whole || !bytes.as_ptr().cast::<T>().is_aligned() {
            candle_core::bail!("{} bytes are not whole, aligned blocks of {:?}", bytes.len(), T::DTYPE);
        }
        Ok(Box::new(Self {
            bytes,
            block: PhantomData,
        }))
    }

    fn as_slice(&self) -> &[T] {
        // SAFETY: every `T` that `blocks` names is plain numbers in C layout, valid for any bits, and `boxed` has
        // checked alignment and length; the mapping is read-only and lives as long as `self`.
        #[allow(unsafe_code)]
        let (_, blocks, _) = unsafe { self.bytes.align_to::<T>() };
        blocks
    }
}

impl<T: GgmlType + 'static> QuantizedType for Blocks<T> {
    fn dtype(&self) -> GgmlDType {
        T::DTYPE
    }

    fn matmul_t(&self, mkn: (usize, usize, usize), lhs: &[f32], dst: &mut [f32]) -> Result<()> {
        k_quants::matmul(mkn, lhs, self.as_slice(), dst)
    }

    fn matmul_t_f16(&self, mkn: (usize, usize, usize), lhs: &[f16], dst: &mut [f16]) -> Result<()> {
        k_quants::matmul_f16(mkn, lhs, self.as_slice(), dst)
    }

    fn embedding(&self, ids: &[u32], rows: usize, hidden: usize) -> Result<CpuStorage> {
        let per_row = hidden / T::BLCK_SIZE;
        let mut out = vec![0f32; ids.len() * hidden];
        for (out, &id) in out.chunks_exact_mut(hidden).zip(ids) {
            let row = id as usize;
            match self.as_slice().get(row * per_row..(row + 1) * per_row) {
                Some(blocks) => T::to_float(blocks, out),
                None => candle_core::bail!("row {row} of {rows}"),
            }
        }
        Ok(CpuStorage::F32(out))
    }

    fn dequantize(&self, elem_count: usize) -> Result<CpuStorage> {
        let mut out = vec![0f32; elem_count];
        T::to_float(self.as_slice(), &mut out);
        Ok(CpuStorage::F32(out))
    }

    fn storage_size_in_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn as_ptr(&self) -> *const u8 {
        self.bytes.as_ptr()
    }

    fn block_size(&self) -> usize {
        T::BLCK_SIZE
    }

    // The library quantises into storage of its own only, never into one it was given.
    fn from_float(&mut self, _: &[f32]) {
        unreachable!("mapped weights are read-only")
    }

    fn from_float_imatrix(&mut self, _: &[f32], _: &[f32], _: usize) {
        unreachable!("mapped weights are read-only")
    }

    fn size(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use memmap2::MmapMut;
    use std::borrow::Cow;

    fn mapped(bytes: &[u8]) -> Arc<Mmap> {
        let mut map = MmapMut::map_anon(bytes.len()).unwrap();
        map.copy_from_slice(bytes);
        Arc::new(map.make_read_only().unwrap())
    }

    fn floats(storage: CpuStorage) -> Vec<f32> {
        match storage {
            CpuStorage::F32(numbers) => numbers,
            other => panic!("{other:?}"),
        }
    }

    /// Three rows of 256 numbers, mapped and as the library holds them itself: the same in every respect.
    #[test]
    fn mapped_blocks_are_what_the_library_makes_of_the_bytes() {
        let dtypes = [
            GgmlDType::F16,
            GgmlDType::BF16,
            GgmlDType::Q8_0,
            GgmlDType::Q4K,
            GgmlDType::Q5K,
            GgmlDType::Q6K,
            GgmlDType::Q8K,
        ];
        let weights: Vec<f32> = (0..768).map(|i| ((i * 37 % 101) as f32 - 50.0) / 40.0).collect();
        let x: Vec<f32> = (0..512).map(|i| ((i * 53 % 89) as f32 - 44.0) / 30.0).collect();
        for dtype in dtypes {
            let mut own = dtype.cpu_zeros(768);
            own.from_float(&weights);
            // Reading the bytes back through a copy that the library takes itself.
            let tensor = candle_core::Tensor::from_slice(&weights, (3, 256), &candle_core::Device::Cpu).unwrap();
            let tensor = candle_core::quantized::QTensor::quantize(&tensor, dtype).unwrap();
            let bytes: Cow<'_, [u8]> = tensor.data().unwrap();
            let map = mapped(&bytes);
            let ours = blocks(SharedBytes::new(&map, 0..bytes.len()), dtype).unwrap();
            assert_eq!(ours.storage_size_in_bytes(), own.storage_size_in_bytes());
            assert_eq!(
                floats(ours.dequantize(768).unwrap()),
                floats(own.dequantize(768).unwrap())
            );
            assert_eq!(
                floats(ours.embedding(&[2, 0], 3, 256).unwrap()),
                floats(own.embedding(&[2, 0], 3, 256).unwrap())
            );
            assert!(ours.embedding(&[3], 3, 256).is_err());
            let (mut got, mut want) = ([0f32; 6], [0f32; 6]);
            ours.matmul_t((2, 256, 3), &x, &mut got).unwrap();
            own.matmul_t((2, 256, 3), &x, &mut want).unwrap();
            assert_eq!(got.map(f32::to_bits), want.map(f32::to_bits), "{dtype:?}");
        }
    }

    #[test]
    fn torn_and_misaligned_blocks_are_refused() {
        let map = mapped(&[0; 70]);
        assert!(blocks(SharedBytes::new(&map, 0..68), GgmlDType::Q8_0).is_ok());
        assert!(blocks(SharedBytes::new(&map, 0..69), GgmlDType::Q8_0).is_err());
        assert!(blocks(SharedBytes::new(&map, 1..69), GgmlDType::Q8_0).is_err());
        assert!(blocks(SharedBytes::new(&map, 0..66), GgmlDType::Q5_0).is_err());
    }
}
