//! Attention on a device over keys and values in pages there: those of a sequence are gathered, and sequences with as many
//! new tokens attend together, the shorter filled up behind a mask.

use crate::inference::kv_cache::{DeviceMemory, KvCache, Slot, Target};
use crate::inference::layers::{Rope, RopeStyle, Window};
use candle_core::{D, DType, Device, Result, Tensor};

/// Tokens whose keys and values are gathered at once: 32 to 256 MB in each layer.
const MOST_GATHERED: usize = 1 << 15;
/// Scores computed at once: 128 MB.
const MOST_SCORES: usize = 1 << 25;

/// The heads of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads {
    /// Query heads; a multiple of `kv_heads`.
    pub(super) heads: usize,
    /// Key and value heads.
    pub(super) kv_heads: usize,
    /// Numbers in a head.
    pub(super) dim: usize,
    /// What scores are multiplied by.
    pub(super) scale: f64,
}

/// What all layers share in one pass over tokens of some sequences.
#[derive(Debug)]
pub(super) struct Step {
    memory: DeviceMemory,
    /// Where keys and values of the tokens go.
    target: Target,
    groups: Vec<Group>,
    /// Cosines and sines of the tokens, `[tokens, 1, pairs]`, for each of the model's rotations.
    rotations: Vec<(Tensor, Tensor)>,
}

/// Sequences that attend together.
#[derive(Debug)]
struct Group {
    /// The row of its first token.
    first: usize,
    sequences: usize,
    /// Tokens of each.
    tokens: usize,
    /// What they attend to, for each of the model's windows.
    reads: Vec<Read>,
}

/// The keys and values that a group attends to.
#[derive(Debug)]
struct Read {
    /// Where they are, `[sequences * keys]`.
    index: Tensor,
    /// As many for each sequence.
    keys: usize,
    /// What is added to the scores, `[sequences, 1, tokens, keys]`: 0, or what hides a key. None if all are seen.
    mask: Option<Tensor>,
}

impl Step {
    /// A pass over the tokens at `positions` of each of the sequences, which are ordered by how many those are, in a model
    /// with these windows and rotations.
    pub(super) fn new(
        memory: &DeviceMemory,
        caches: &mut [&mut KvCache],
        positions: &[Vec<usize>],
        windows: &[Window],
        ropes: &[Rope],
    ) -> Result<Self> {
        let mut slots = Vec::new();
        for (cache, positions) in caches.iter_mut().zip(positions) {
            slots.extend(cache.writable(positions)?);
        }
        let all = positions.concat();
        let device = memory.device();
        let rotations = ropes.iter().map(|rope| {
            let rotation = rope.rotation(&all);
            let table = |numbers: &[f32]| Tensor::from_slice(numbers, (all.len(), 1, rope.pairs()), device);
            Ok((table(rotation.cos())?, table(rotation.sin())?))
        });
        let (mut groups, mut first, mut at) = (Vec::new(), 0, 0);
        while at < caches.len() {
            let tokens = positions[at].len();
            let (mut end, mut longest) = (at, 0);
            while end < caches.len() && positions[end].len() == tokens {
                longest = longest.max(positions[end][tokens - 1] + 1);
                if end > at && (end + 1 - at) * longest > MOST_GATHERED {
                    break;
                }
                end += 1;
            }
            let members: Vec<_> = (caches[at..end].iter().map(|cache| &**cache))
                .zip(&positions[at..end])
                .collect();
            let reads: Result<_> = (windows.iter())
                .map(|window| Read::new(&members, *window, device))
                .collect();
            groups.push(Group {
                first,
                sequences: end - at,
                tokens,
                reads: reads?,
            });
            first += (end - at) * tokens;
            at = end;
        }
        Ok(Self {
            target: memory.target(&slots)?,
            memory: memory.clone(),
            groups,
            rotations: rotations.collect::<Result<_>>()?,
        })
    }

    /// Rotates the heads of `[tokens, heads * dim]` with rotation `index` of the model.
    pub(super) fn rotate(&self, (index, rope): (usize, &Rope), x: &Tensor, dim: usize) -> Result<Tensor> {
        let turned = 2 * rope.pairs();
        if turned == 0 {
            return Ok(x.clone());
        }
        let (tokens, row) = x.dims2()?;
        let (cos, sin) = &self.rotations[index];
        let x = x.reshape((tokens, row / dim, 1, dim))?;
        let part = x.narrow(D::Minus1, 0, turned)?.contiguous()?;
        let part = match rope.style() {
            RopeStyle::Halves => candle_nn::rotary_emb::rope(&part, cos, sin)?,
            RopeStyle::Neighbours => candle_nn::rotary_emb::rope_i(&part, cos, sin)?,
        };
        let x = if turned < dim {
            Tensor::cat(&[&part, &x.narrow(D::Minus1, turned, dim - turned)?], D::Minus1)?
        } else {
            part
        };
        x.reshape((tokens, row))
    }

    /// Writes keys and values, `[tokens, kv_heads * dim]`, as those of `layer`.
    pub(super) fn write(&self, layer: usize, keys: &Tensor, values: &Tensor) -> Result<()> {
        self.memory.write(layer, &self.target, keys, values)
    }

    /// What the queries, `[tokens, heads * dim]`, find in `layer` through window `window` of the model: the same shape.
    pub(super) fn attend(&self, layer: usize, window: usize, queries: &Tensor, heads: Heads) -> Result<Tensor> {
        let found: Result<Vec<_>> = (self.groups.iter())
            .map(|group| {
                let rows = group.sequences * group.tokens;
                let queries = queries.narrow(0, group.first, rows)?;
                let read = &group.reads[window];
                group.attend(read, self.memory.gather(layer, &read.index)?, &queries, heads)
            })
            .collect();
        match <[Tensor; 1]>::try_from(found?) {
            Ok([found]) => Ok(found),
            Err(found) => Tensor::cat(&found, 0),
        }
    }
}

impl Group {
    fn attend(&self, read: &Read, (keys, values): (Tensor, Tensor), queries: &Tensor, heads: Heads) -> Result<Tensor> {
        let Heads {
            heads,
            kv_heads,
            dim,
            scale,
        } = heads;
        let (sequences, shared) = (self.sequences, heads / kv_heads);
        // Scores are computed in single precision: in half, those of models with large keys (Qwen2) overflow.
        let by_head = |rows: Tensor| {
            let rows = rows.reshape((sequences, read.keys, kv_heads, dim))?;
            rows.transpose(1, 2)?.to_dtype(DType::F32)?.contiguous()
        };
        let (keys, values) = (by_head(keys)?.transpose(2, 3)?, by_head(values)?);
        let queries = (queries * scale)?
            .reshape((sequences, self.tokens, kv_heads, shared, dim))?
            .permute((0, 2, 3, 1, 4))?;
        let block = (MOST_SCORES / (sequences * heads * read.keys)).clamp(1, self.tokens);
        let mut found = Vec::new();
        for first in (0..self.tokens).step_by(block) {
            let count = block.min(self.tokens - first);
            let own = queries.narrow(3, first, count)?.contiguous()?;
            let own = own.reshape((sequences, kv_heads, shared * count, dim))?;
            let mut scores = own.matmul(&keys)?.reshape((sequences, heads, count, read.keys))?;
            if let Some(mask) = &read.mask {
                scores = scores.broadcast_add(&mask.narrow(2, first, count)?)?;
            }
            let weights = candle_nn::ops::softmax_last_dim(&scores)?;
            let weights = weights.reshape((sequences, kv_heads, shared * count, read.keys))?;
            let sums = weights.matmul(&values)?;
            let sums = sums.reshape((sequences, kv_heads, shared, count, dim))?;
            found.push(sums.permute((0, 3, 1, 2, 4))?.contiguous()?);
        }
        Tensor::cat(&found, 1)?.reshape((sequences * self.tokens, heads * dim))
    }
}

impl Read {
    /// What the tokens of each member, as many of all, see through a window.
    fn new(members: &[(&KvCache, &Vec<usize>)], window: Window, device: &Device) -> Result<Self> {
        let seen: Vec<_> = (members.iter())
            .map(|(_, positions)| {
                let first = window.map_or(0, |window| (positions[0] + 1).saturating_sub(window));
                first..positions[positions.len() - 1] + 1
            })
            .collect();
        let keys = seen.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        let tokens = members.first().map_or(0, |(_, positions)| positions.len());
        let mut index: Vec<Slot> = Vec::with_capacity(members.len() * keys);
        let mut mask = Vec::with_capacity(members.len() * tokens * keys);
        for ((cache, positions), range) in members.iter().zip(seen) {
            index.extend(cache.slots(range.clone()));
            // Filled up with anything that is a number.
            let last = index[index.len() - 1];
            index.resize(index.len() + keys - range.len(), last);
            for position in *positions {
                let sees = |key: usize| {
                    key <= *position && key < range.end && window.is_none_or(|window| position - key < window)
                };
                let hidden = |key| if sees(key) { 0.0 } else { f32::NEG_INFINITY };
                mask.extend((range.start..range.start + keys).map(hidden));
            }
        }
        let all_seen = mask.iter().all(|added| *added == 0.0);
        let shape = (members.len(), 1, tokens, keys);
        Ok(Self {
            index: Tensor::from_vec(index, members.len() * keys, device)?,
            keys,
            mask: (!all_seen).then(|| Tensor::from_vec(mask, shape, device)).transpose()?,
        })
    }
}
