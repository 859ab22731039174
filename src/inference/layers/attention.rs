//! Causal self-attention with grouped queries (Ainslie et al., arXiv:2305.13245) over a cache of keys and values.

use super::rope::{Rope, Rotation};
use super::{Linear, RmsNorm};
use crate::inference::kv_cache::KvCache;
use candle_core::{Device, Result, Tensor};
use std::ops::Range;

/// Queries scored at a time: bounds the score matrix to this many rows a head.
const QUERY_BLOCK: usize = 128;

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
    masks: Vec<(Window, Vec<Block>)>,
}

/// Some queries and the keys that any of them sees.
#[derive(Debug)]
struct Block {
    /// Queries, counted within the step.
    queries: Range<usize>,
    /// Keys, counted within the sequence.
    keys: Range<usize>,
    /// 0 where a query sees a key and -inf where not, `[queries, keys]`; none where all see all.
    mask: Option<Tensor>,
}

impl<'a> Step<'a> {
    /// A pass over `tokens` tokens behind `past` others, in a model with these rotations and windows.
    pub(crate) fn new(past: usize, tokens: usize, ropes: &'a [Rope], windows: &[Window]) -> Result<Self> {
        let rotations: Result<_> = ropes.iter().map(|rope| rope.rotation(past, tokens)).collect();
        let blocks = |window: Window| -> Result<(Window, Vec<Block>)> {
            let starts = (0..tokens).step_by(QUERY_BLOCK);
            let blocks: Result<_> = starts
                .map(|start| Block::new(past, start..(start + QUERY_BLOCK).min(tokens), window))
                .collect();
            Ok((window, blocks?))
        };
        let masks: Result<_> = windows.iter().map(|&window| blocks(window)).collect();
        Ok(Self {
            past,
            ropes,
            rotations: rotations?,
            masks: masks?,
        })
    }

    fn blocks(&self, window: Window) -> &[Block] {
        let found = self.masks.iter().find(|(known, _)| *known == window);
        found.map_or(&[], |(_, blocks)| blocks)
    }
}

impl Block {
    fn new(past: usize, queries: Range<usize>, window: Window) -> Result<Self> {
        let first = past + queries.start;
        let back = |position: usize| window.map_or(0, |window| (position + 1).saturating_sub(window));
        let keys = back(first)..past + queries.end;
        let mask = if queries.len() == 1 {
            None
        } else {
            let mut mask = Vec::with_capacity(queries.len() * keys.len());
            for position in queries.clone().map(|query| past + query) {
                let seen = back(position)..=position;
                mask.extend(
                    keys.clone()
                        .map(|key| if seen.contains(&key) { 0.0 } else { f32::NEG_INFINITY }),
                );
            }
            Some(Tensor::from_vec(mask, (queries.len(), keys.len()), &Device::Cpu)?)
        };
        Ok(Self { queries, keys, mask })
    }
}

impl Attention {
    /// `[tokens, width]` to the same; the tokens' keys and values are written to `cache` as those of `layer`.
    pub(crate) fn forward(&self, x: &Tensor, layer: usize, cache: &mut KvCache, step: &Step<'_>) -> Result<Tensor> {
        let (tokens, _) = x.dims2()?;
        let query = split_heads(
            &self.query.forward(x)?,
            self.heads,
            self.head_dim,
            self.query_norm.as_ref(),
        )?;
        let key = split_heads(
            &self.key.forward(x)?,
            self.kv_heads,
            self.head_dim,
            self.key_norm.as_ref(),
        )?;
        let value = split_heads(&self.value.forward(x)?, self.kv_heads, self.head_dim, None)?;
        let (rope, rotation) = (&step.ropes[self.rope], &step.rotations[self.rope]);
        let query = (rope.apply(&query, rotation)? * self.scale)?;
        let key = rope.apply(&key, rotation)?;
        debug_assert_eq!(step.past, cache.len());
        let (keys, values) = cache.append(layer, &key, &value)?;
        let mut out = Vec::with_capacity(tokens.div_ceil(QUERY_BLOCK));
        for block in step.blocks(self.window) {
            out.push(self.attend(&query, &keys, &values, block)?);
        }
        let out = if out.len() == 1 {
            out.remove(0)
        } else {
            Tensor::cat(&out, 0)?
        };
        self.output.forward(&out)
    }

    /// The queries of one block, `[queries, heads * head_dim]`. The query heads that share a key head are rows of one
    /// matrix, so keys and values are never repeated.
    fn attend(&self, query: &Tensor, keys: &Tensor, values: &Tensor, block: &Block) -> Result<Tensor> {
        let (rows, dim) = (block.queries.len(), self.head_dim);
        let group = self.heads / self.kv_heads;
        let query = query.narrow(1, block.queries.start, rows)?.contiguous()?;
        let query = query.reshape((self.kv_heads, group * rows, dim))?;
        let keys = keys.narrow(1, block.keys.start, block.keys.len())?;
        let values = values.narrow(1, block.keys.start, block.keys.len())?;
        let mut scores = query.matmul(&keys.t()?)?;
        if let Some(mask) = &block.mask {
            let by_head = scores.reshape((self.heads, rows, block.keys.len()))?;
            scores = by_head.broadcast_add(mask)?.reshape(scores.shape())?;
        }
        let weights = candle_nn::ops::softmax_last_dim(&scores)?;
        let out = weights.matmul(&values)?.reshape((self.heads, rows, dim))?;
        out.transpose(0, 1)?.contiguous()?.reshape((rows, self.heads * dim))
    }
}

/// `[tokens, heads * dim]` to `[heads, tokens, dim]`, contiguous, each head normalised if asked.
fn split_heads(x: &Tensor, heads: usize, dim: usize, norm: Option<&RmsNorm>) -> Result<Tensor> {
    let (tokens, _) = x.dims2()?;
    let x = x.reshape((tokens, heads, dim))?;
    let x = match norm {
        Some(norm) => norm.forward(&x)?,
        None => x,
    };
    x.transpose(0, 1)?.contiguous()
}
