//! The pages of a pool in the memory of a device.

use super::{KvShape, PAGE};
use candle_core::{DType, Device, Result, Tensor};
use half::f16;

/// A token's place in a [`DeviceMemory`]: `page * PAGE + place in the page`.
pub(crate) type Slot = u32;

/// Places in a row that are worth a copy of their own; fewer are written all at once, one number of an index each.
const RUN: usize = 8;

/// Keys and values of all pages of a pool, `[pages * PAGE, heads * dim]` in half precision for each layer. Clones are the
/// same memory.
#[derive(Clone, Debug)]
pub struct DeviceMemory {
    device: Device,
    row: usize,
    layers: Vec<(Tensor, Tensor)>,
}

/// Where the tokens of a pass go, the same in every layer.
#[derive(Debug)]
pub(crate) enum Target {
    /// Row of the source, rows, first place.
    Runs(Vec<(usize, usize, Slot)>),
    /// The place of each number's row, `[tokens, heads * dim]`.
    Scattered(Tensor),
}

impl DeviceMemory {
    /// Takes the memory for `pages` pages: [`KvShape::page_bytes`] each.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn new(shape: KvShape, pages: usize, device: &Device) -> Result<Self> {
        let row = shape.heads * shape.dim;
        let part = || Tensor::zeros((pages * PAGE, row), DType::F16, device);
        let layers: Result<_> = (0..shape.layers).map(|_| Ok((part()?, part()?))).collect();
        Ok(Self {
            device: device.clone(),
            row,
            layers: layers?,
        })
    }

    /// Whose memory it is.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Whether `other` is the same memory.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self.layers.first(), other.layers.first()) {
            (Some((own, _)), Some((others, _))) => own.id() == others.id(),
            _ => false,
        }
    }

    /// Copies page `from` over page `to`.
    pub(super) fn copy(&self, from: Slot, to: Slot) -> Result<()> {
        let (from, to) = (from as usize * PAGE, to as usize * PAGE);
        for part in self.layers.iter().flat_map(|(keys, values)| [keys, values]) {
            // A tensor cannot be written from itself.
            part.slice_set(&part.narrow(0, from, PAGE)?.force_contiguous()?, 0, to)?;
        }
        Ok(())
    }

    /// Prepares to write to `slots`, none of them twice.
    pub(crate) fn target(&self, slots: &[Slot]) -> Result<Target> {
        let mut runs = Vec::new();
        let mut at = 0;
        for run in slots.chunk_by(|a, b| a + 1 == *b) {
            runs.push((at, run.len(), run[0]));
            at += run.len();
        }
        if runs.len() * RUN <= slots.len().max(RUN) {
            return Ok(Target::Runs(runs));
        }
        let index = Tensor::from_slice(slots, (slots.len(), 1), &self.device)?;
        let index = index.broadcast_as((slots.len(), self.row))?.contiguous()?;
        Ok(Target::Scattered(index))
    }

    /// Rounds keys and values, `[tokens, heads * dim]`, and writes them.
    pub(crate) fn write(&self, layer: usize, target: &Target, keys: &Tensor, values: &Tensor) -> Result<()> {
        let (all_keys, all_values) = &self.layers[layer];
        for (all, rows) in [(all_keys, keys), (all_values, values)] {
            let rows = rows.to_dtype(DType::F16)?.contiguous()?;
            match target {
                Target::Runs(runs) => {
                    for &(at, len, slot) in runs {
                        all.slice_set(&rows.narrow(0, at, len)?, 0, slot as usize)?;
                    }
                }
                Target::Scattered(index) => all.scatter_set(index, &rows, 0)?,
            }
        }
        Ok(())
    }

    /// Keys and values at the places of `index`, `[places]`: `[places, heads * dim]` in half precision.
    pub(crate) fn gather(&self, layer: usize, index: &Tensor) -> Result<(Tensor, Tensor)> {
        let (keys, values) = &self.layers[layer];
        Ok((keys.index_select(index, 0)?, values.index_select(index, 0)?))
    }

    /// Writes rows that are in the host's memory.
    pub(super) fn write_from_host(&self, layer: usize, slots: &[Slot], keys: &[f32], values: &[f32]) -> Result<()> {
        let shape = (slots.len(), self.row);
        let keys = Tensor::from_slice(keys, shape, &self.device)?;
        let values = Tensor::from_slice(values, shape, &self.device)?;
        self.write(layer, &self.target(slots)?, &keys, &values)
    }

    /// Keys and values of all layers at `slots`, in the host's memory.
    pub(super) fn read(&self, slots: &[Slot]) -> Result<Vec<(Vec<f16>, Vec<f16>)>> {
        let index = Tensor::from_slice(slots, slots.len(), &self.device)?;
        let numbers = |part: Tensor| part.flatten_all()?.to_vec1();
        (0..self.layers.len())
            .map(|layer| {
                let (keys, values) = self.gather(layer, &index)?;
                Ok((numbers(keys)?, numbers(values)?))
            })
            .collect()
    }
}
