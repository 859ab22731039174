//! Keys and values of the tokens a sequence has seen.

use candle_core::{DType, Device, Result, Tensor};
use std::sync::Arc;

/// Tokens by which the buffers grow at least, so that decoding does not copy them at every token.
const BLOCK: usize = 256;

/// The keys and values of one sequence in every layer. It grows as tokens come, up to `max_tokens`; nothing beyond what
/// is used is held, but for growth in steps. A clone or a [`KvCache::prefix`] shares the buffers until one of the two
/// grows, so both cost next to nothing until then.
///
/// Memory: `layers * 2 * kv_heads * head_dim * 4` bytes a token (24 KiB for Qwen2.5-0.5B).
#[derive(Clone, Debug)]
pub struct KvCache {
    layers: Vec<Option<Arc<Buffers>>>,
    len: usize,
    max_tokens: usize,
}

/// `[kv_heads, capacity, head_dim]` each.
#[derive(Debug)]
struct Buffers {
    keys: Tensor,
    values: Tensor,
}

impl KvCache {
    /// An empty cache for `layers` layers and at most `max_tokens` tokens.
    pub(super) fn new(layers: usize, max_tokens: usize) -> Self {
        Self {
            layers: vec![None; layers],
            len: 0,
            max_tokens,
        }
    }

    /// Tokens in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no token.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most tokens it takes.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Bytes its buffers hold (shared ones counted in each cache that shares them).
    pub fn bytes(&self) -> usize {
        let buffers = self.layers.iter().flatten();
        buffers
            .map(|buffers| 2 * buffers.keys.elem_count() * DType::F32.size_in_bytes())
            .sum()
    }

    /// Forgets the tokens from `len` on; does nothing if there are no more than that.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// A cache of the first `len` tokens (of all, if there are fewer), which goes its own way from there.
    #[must_use]
    pub fn prefix(&self, len: usize) -> Self {
        let mut prefix = self.clone();
        prefix.truncate(len);
        prefix
    }

    pub(super) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Writes `keys` and `values`, both `[kv_heads, tokens, head_dim]` and contiguous, behind the cache's tokens in one
    /// layer and returns the buffers. They count once [`KvCache::advance`] is called, after all layers.
    pub(super) fn append(&mut self, layer: usize, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor)> {
        let (heads, tokens, dim) = keys.dims3()?;
        let needed = self.len + tokens;
        if needed > self.max_tokens {
            candle_core::bail!("{needed} tokens in a cache for {}", self.max_tokens);
        }
        let slot = &mut self.layers[layer];
        // A buffer that another cache shares must not be written: it is replaced as if it were full.
        let writable = slot
            .as_mut()
            .and_then(Arc::get_mut)
            .is_some_and(|buffers| buffers.keys.dims() == [heads, buffers.keys.dims()[1], dim]);
        let capacity = slot.as_ref().map_or(0, |buffers| buffers.keys.dims()[1]);
        let buffers = match slot {
            Some(buffers) if writable && needed <= capacity => buffers,
            _ => {
                let capacity = grown(needed, self.max_tokens);
                let fresh = Buffers {
                    keys: regrow(slot.as_ref().map(|old| &old.keys), self.len, (heads, capacity, dim))?,
                    values: regrow(slot.as_ref().map(|old| &old.values), self.len, (heads, capacity, dim))?,
                };
                slot.insert(Arc::new(fresh))
            }
        };
        buffers.keys.slice_set(keys, 1, self.len)?;
        buffers.values.slice_set(values, 1, self.len)?;
        Ok((buffers.keys.clone(), buffers.values.clone()))
    }

    /// Counts `tokens` that were appended to every layer.
    pub(super) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}

/// The capacity for `needed` tokens: half as much again, in whole blocks, within `most`.
fn grown(needed: usize, most: usize) -> usize {
    let roomy = if needed <= BLOCK { BLOCK } else { needed + needed / 2 };
    roomy.next_multiple_of(BLOCK).min(most).max(needed)
}

/// A buffer of shape `shape` that begins with the first `len` tokens of `old`.
fn regrow(old: Option<&Tensor>, len: usize, shape: (usize, usize, usize)) -> Result<Tensor> {
    let fresh = Tensor::zeros(shape, DType::F32, &Device::Cpu)?;
    if let Some(old) = old
        && len > 0
    {
        fresh.slice_set(&old.narrow(1, 0, len)?.contiguous()?, 1, 0)?;
    }
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Two heads of dimension 3; the number of token `t` is `t + seed` everywhere.
    fn tokens(range: std::ops::Range<usize>, seed: f32) -> Tensor {
        let row: Vec<f32> = range.clone().flat_map(|t| [t as f32 + seed; 3]).collect();
        let rows: Vec<f32> = [row.clone(), row].concat();
        Tensor::from_vec(rows, (2, range.len(), 3), &Device::Cpu).unwrap()
    }

    fn push(cache: &mut KvCache, range: std::ops::Range<usize>, seed: f32) {
        let rows = tokens(range.clone(), seed);
        for layer in 0..cache.layers() {
            cache.append(layer, &rows, &rows).unwrap();
        }
        cache.advance(range.len());
    }

    /// What the cache holds of head 1, as the first number of each token.
    fn held(cache: &KvCache) -> Vec<f32> {
        let buffers = cache.layers[1].as_ref().unwrap();
        let head = buffers
            .values
            .narrow(1, 0, cache.len())
            .unwrap()
            .to_vec3::<f32>()
            .unwrap();
        head[1].iter().map(|token| token[0]).collect()
    }

    fn counted(range: std::ops::Range<usize>, seed: f32) -> Vec<f32> {
        range.map(|t| t as f32 + seed).collect()
    }

    #[test]
    fn grows_and_keeps_what_was_there() {
        let mut cache = KvCache::new(2, 1000);
        for start in (0..1000).step_by(100) {
            push(&mut cache, start..start + 100, 0.0);
        }
        assert_eq!(cache.len(), 1000);
        assert_eq!(held(&cache), counted(0..1000, 0.0));
    }

    #[test]
    fn refuses_more_than_its_bound() {
        let mut cache = KvCache::new(1, 10);
        push(&mut cache, 0..8, 0.0);
        let rows = tokens(8..11, 0.0);
        assert!(cache.append(0, &rows, &rows).is_err());
        assert_eq!(cache.len(), 8);
    }

    #[test]
    fn a_prefix_and_its_origin_do_not_see_each_other() {
        let mut cache = KvCache::new(2, 100);
        push(&mut cache, 0..50, 0.0);
        let mut prefix = cache.prefix(20);
        push(&mut prefix, 20..30, 1000.0);
        cache.truncate(10);
        push(&mut cache, 10..60, 5000.0);
        assert_eq!(held(&prefix), [counted(0..20, 0.0), counted(20..30, 1000.0)].concat());
        assert_eq!(held(&cache), [counted(0..10, 0.0), counted(10..60, 5000.0)].concat());
    }

    #[test]
    fn a_prefix_outlives_its_origin() {
        let mut cache = KvCache::new(2, 100);
        push(&mut cache, 0..5, 0.0);
        let prefix = cache.prefix(100);
        drop(cache);
        assert_eq!(held(&prefix), counted(0..5, 0.0));
        assert!(prefix.prefix(0).is_empty());
    }
}
