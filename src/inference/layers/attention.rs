//! Causal self-attention with grouped queries (Ainslie et al., arXiv:2305.13245) over a cache of keys and values.

use super::linear::products;
use super::rope::{Rope, Rotation};
use super::scratch::{Scratch, room};
use super::{Linear, RmsNorm};
use crate::inference::kv_cache::KvCache;
use crate::kernels::Level;
use crate::kernels::attention::{Queries, attend};
use candle_core::Result;

/// How far a token looks back: at this many tokens including itself, or at all.
pub(crate) type Window = Option<usize>;

/// One layer's attention.
#[derive(Debug)]
pub(crate) struct Attention {
    /// `[heads * head_dim, width]`.
    pub(crate) query: Linear,
    /// `[kv_heads * head_dim, width]`.
    pub(crate) key: Linear,
    /// `[kv_heads * head_dim, width]`.
    pub(crate) value: Linear,
    /// `[width, heads * head_dim]`.
    pub(crate) output: Linear,
    /// Over each query head, if any.
    pub(crate) query_norm: Option<RmsNorm>,
    /// Over each key head, if any.
    pub(crate) key_norm: Option<RmsNorm>,
    /// Query heads; a multiple of `kv_heads`.
    pub(crate) heads: usize,
    /// Key and value heads.
    pub(crate) kv_heads: usize,
    /// Numbers in a head.
    pub(crate) head_dim: usize,
    /// Numbers of a token's state.
    pub(crate) width: usize,
    /// What scores are multiplied by.
    pub(crate) scale: f64,
    /// How far back it looks.
    pub(crate) window: Window,
    /// Which of the model's rotations it uses.
    pub(crate) rope: usize,
}

/// What all layers share in one pass over some tokens.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    past: usize,
    ropes: &'a [Rope],
    rotations: Vec<Rotation>,
}

impl<'a> Step<'a> {
    /// A pass over `tokens` tokens behind `past` others, in a model with these rotations.
    pub(crate) fn new(past: usize, tokens: usize, ropes: &'a [Rope]) -> Self {
        let rotations = ropes.iter().map(|rope| rope.rotation(past, tokens)).collect();
        Self { past, ropes, rotations }
    }
}

impl Attention {
    /// `[tokens, width]` to the same; the tokens' keys and values are written to `cache` as those of `layer`.
    pub(crate) fn forward(
        &self,
        x: &[f32],
        (layer, cache): (usize, &mut KvCache),
        step: &Step<'_>,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) -> Result<()> {
        let tokens = x.len() / self.width;
        let dim = self.head_dim;
        let query = room(&mut scratch.query, tokens * self.heads * dim);
        let key = room(&mut scratch.key, tokens * self.kv_heads * dim);
        let value = room(&mut scratch.value, tokens * self.kv_heads * dim);
        let list = vec![
            (&self.query, &mut *query),
            (&self.key, &mut *key),
            (&self.value, &mut *value),
        ];
        products(&mut scratch.quantised, x, self.width, list)?;
        normalise(self.query_norm.as_ref(), query, &mut scratch.head);
        normalise(self.key_norm.as_ref(), key, &mut scratch.head);
        let (rope, rotation) = (&step.ropes[self.rope], &step.rotations[self.rope]);
        rope.apply(query, (self.heads, dim), rotation);
        rope.apply(key, (self.kv_heads, dim), rotation);
        debug_assert_eq!(step.past, cache.len());
        let cached = cache.append(layer, (self.kv_heads, dim), key, value)?;
        let attended = room(&mut scratch.attended, query.len());
        let queries = Queries {
            numbers: query,
            heads: self.heads,
            first: step.past,
            window: self.window,
            scale: self.scale as f32,
        };
        attend(Level::detect(), queries, cached, attended);
        products(
            &mut scratch.quantised,
            attended,
            self.heads * dim,
            vec![(&self.output, out)],
        )
    }
}

/// Normalises each head, if there is a norm for it.
fn normalise(norm: Option<&RmsNorm>, x: &mut [f32], spare: &mut Vec<f32>) {
    if let Some(norm) = norm {
        let out = room(spare, x.len());
        norm.forward(x, out);
        x.copy_from_slice(out);
    }
}
