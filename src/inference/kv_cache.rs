//! Keys and values of the tokens a sequence has seen.

use crate::kernels::attention::{Cached, Layout};
use candle_core::Result;
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

#[derive(Debug)]
struct Buffers {
    layout: Layout,
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Buffers {
    /// Room for `capacity` tokens, of which the first `len` are those of `old`.
    fn new(layout: Layout, old: Option<&Self>, len: usize) -> Self {
        let mut keys = vec![0.0; layout.key_numbers()];
        let mut values = vec![0.0; layout.value_numbers()];
        if let Some(old) = old {
            layout.copy(len, old.cached(), (&mut keys, &mut values));
        }
        Self { layout, keys, values }
    }

    fn cached(&self) -> Cached<'_> {
        Cached::new(self.layout, &self.keys, &self.values)
    }
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
        let numbers = |buffers: &Arc<Buffers>| buffers.keys.len() + buffers.values.len();
        self.layers.iter().flatten().map(numbers).sum::<usize>() * size_of::<f32>()
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

    /// Writes `keys` and `values`, both `[tokens, heads * dim]`, behind the cache's tokens in one layer and returns all
    /// that it holds. They count once [`KvCache::advance`] is called, after all layers.
    pub(super) fn append(
        &mut self,
        layer: usize,
        (heads, dim): (usize, usize),
        keys: &[f32],
        values: &[f32],
    ) -> Result<Cached<'_>> {
        let needed = self.len + keys.len() / (heads * dim);
        if needed > self.max_tokens {
            candle_core::bail!("{needed} tokens in a cache for {}", self.max_tokens);
        }
        let wanted = Layout::new(heads, dim, needed);
        let slot = &mut self.layers[layer];
        let old = slot.as_ref().filter(|old| old.layout.same_heads(wanted));
        let fits = old.is_some_and(|old| old.layout.capacity() >= needed);
        // A buffer that another cache shares must not be written: it is replaced as if it were full.
        let writable = fits && slot.as_mut().and_then(Arc::get_mut).is_some();
        if !writable {
            let layout = Layout::new(heads, dim, grown(needed, self.max_tokens));
            let old = slot.as_deref().filter(|old| old.layout.same_heads(wanted));
            *slot = Some(Arc::new(Buffers::new(layout, old, self.len)));
        }
        let Some(own) = slot.as_mut().and_then(Arc::get_mut) else {
            candle_core::bail!("the buffers of a cache are shared")
        };
        own.layout
            .write(self.len, (keys, values), (&mut own.keys, &mut own.values));
        Ok(own.cached())
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Two heads of dimension 3; the number of token `t` is `t + seed` everywhere.
    fn push(cache: &mut KvCache, range: std::ops::Range<usize>, seed: f32) {
        let rows: Vec<f32> = range.clone().flat_map(|t| [t as f32 + seed; 6]).collect();
        for layer in 0..cache.layers() {
            cache.append(layer, (2, 3), &rows, &rows).unwrap();
        }
        cache.advance(range.len());
    }

    /// What the cache holds of head 1, as the last number of each token.
    fn held(cache: &KvCache) -> Vec<f32> {
        let cached = cache.layers[1].as_ref().unwrap().cached();
        (0..cache.len())
            .map(|position| {
                let key = cached.key(1, position, 2);
                assert_eq!(key.to_bits(), cached.value(1, position, 2).to_bits());
                key
            })
            .collect()
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
        let rows = [0.0; 18];
        assert!(cache.append(0, (2, 3), &rows, &rows).is_err());
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
