//! Causal self-attention with grouped queries (Ainslie et al., arXiv:2305.13245) over a cache of keys and values.

use super::linear::products;
use super::rope::{Rope, Rotation};
use super::scratch::{Scratch, room};
use super::{Linear, RmsNorm};
use crate::inference::kv_cache::KvCache;
use crate::kernels::Level;
use crate::kernels::attention::{Attend, Queries, attend};
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

/// What all layers share in one pass over tokens of some sequences.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    ropes: &'a [Rope],
    rotations: Vec<Rotation>,
    /// Where the tokens of each sequence stand, in the order of their caches.
    positions: Vec<Vec<usize>>,
}

impl<'a> Step<'a> {
    /// A pass over the tokens at some positions of each of the sequences, in a model with these rotations.
    pub(crate) fn new(positions: Vec<Vec<usize>>, ropes: &'a [Rope]) -> Self {
        let all = positions.concat();
        let rotations = ropes.iter().map(|rope| rope.rotation(&all)).collect();
        Self {
            ropes,
            rotations,
            positions,
        }
    }
}

impl Attention {
    /// `[tokens, width]` to the same, with the tokens of all sequences one after another; their keys and values are
    /// written to the caches as those of `layer`.
    pub(crate) fn forward(
        &self,
        x: &[f32],
        (layer, caches): (usize, &mut [&mut KvCache]),
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
        products(&mut scratch.quantised, x, self.width, list);
        normalise(self.query_norm.as_ref(), query, &mut scratch.head);
        normalise(self.key_norm.as_ref(), key, &mut scratch.head);
        let (rope, rotation) = (&step.ropes[self.rope], &step.rotations[self.rope]);
        rope.apply(query, (self.heads, dim), rotation);
        rope.apply(key, (self.kv_heads, dim), rotation);
        let row = self.kv_heads * dim;
        let mut at = 0;
        for (cache, positions) in caches.iter_mut().zip(&step.positions) {
            let own = at * row..(at + positions.len()) * row;
            cache.write(layer, positions, &key[own.clone()], &value[own])?;
            at += positions.len();
        }
        let attended = room(&mut scratch.attended, query.len());
        let row = self.heads * dim;
        let (mut left_query, mut left_out) = (&*query, &mut *attended);
        let mut sequences = Vec::with_capacity(caches.len());
        for (cache, positions) in caches.iter().zip(&step.positions) {
            let (numbers, more_query) = left_query.split_at(positions.len() * row);
            let (out, more_out) = left_out.split_at_mut(positions.len() * row);
            (left_query, left_out) = (more_query, more_out);
            let queries = Queries {
                numbers,
                heads: self.heads,
                positions,
                window: self.window,
                scale: self.scale as f32,
            };
            let cached = cache.layer(layer);
            sequences.push(Attend { queries, cached, out });
        }
        attend(Level::detect(), sequences);
        products(
            &mut scratch.quantised,
            attended,
            self.heads * dim,
            vec![(&self.output, out)],
        );
        Ok(())
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
