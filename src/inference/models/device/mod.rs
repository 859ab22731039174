//! The network of [`super::decoder`] on a device of the tensor library: a graphics card, or, for tests, the processor.
//! Weights stay there as they are quantised, keys and values in the pages of a pool there; what goes between is tokens, and
//! the logits that are wanted.
//!
//! The library chooses its kernels by the number of rows, so that, unlike on the processor, a row's last digits may
//! depend on what is computed beside it.

mod attention;
mod linear;
#[cfg(test)]
mod tests;

use super::decoder::{self, Blueprint, EMBEDDING, HEAD, Presence};
use super::hyperparameters::Hyperparameters;
use super::pass::{self, Pass};
use super::{CausalModel, Span};
use crate::inference::InferenceError;
use crate::inference::kv_cache::{KvCache, KvPiece, KvPool, KvShape};
use crate::inference::layers::{Activation, Embedding, Rope, Window};
use crate::inference::weights::Tensors;
use attention::{Heads, Step};
use candle_core::{Device, Tensor};
use linear::{Linear, RmsNorm};

/// One layer.
#[derive(Debug)]
struct Layer {
    attention_norm: RmsNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    query_norm: Option<RmsNorm>,
    key_norm: Option<RmsNorm>,
    post_attention_norm: Option<RmsNorm>,
    mlp_norm: RmsNorm,
    gate: Linear,
    up: Linear,
    down: Linear,
    post_mlp_norm: Option<RmsNorm>,
    /// Index into [`Decoder::ropes`].
    rope: usize,
    /// Index into [`Decoder::windows`].
    window: usize,
}

impl Layer {
    /// Moves the tensors of layer `index` to the device.
    fn load(
        tensors: &Tensors<'_>,
        sizes: &Hyperparameters,
        blueprint: &Blueprint,
        (index, window): (usize, usize),
        device: &Device,
    ) -> Result<Self, InferenceError> {
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        let norm = |part: &str, len| -> Result<_, InferenceError> {
            let weight = tensors.numbers(&name(part), len)?;
            Ok(RmsNorm::new(weight, sizes.epsilon, device)?)
        };
        let norm_if = |wanted: bool, part: &str, len| wanted.then(|| norm(part, len)).transpose();
        let linear = |part: &str, shape: (usize, usize), bias: Presence| -> Result<_, InferenceError> {
            let view = tensors.matrix(&name(part), shape)?;
            let bias_name = format!("blk.{index}.{part}.bias");
            let wanted = match bias {
                Presence::Never => false,
                Presence::IfThere => tensors.contains(&bias_name),
                Presence::Always => true,
            };
            let bias = wanted.then(|| tensors.numbers(&bias_name, shape.0)).transpose()?;
            Ok(Linear::new(&view, bias, device)?)
        };
        let (queries, keys) = (sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim);
        let (width, inner) = (sizes.width, sizes.feed_forward);
        Ok(Self {
            attention_norm: norm("attn_norm", width)?,
            query: linear("attn_q", (queries, width), blueprint.qkv_bias)?,
            key: linear("attn_k", (keys, width), blueprint.qkv_bias)?,
            value: linear("attn_v", (keys, width), blueprint.qkv_bias)?,
            output: linear("attn_output", (width, queries), Presence::Never)?,
            query_norm: norm_if(blueprint.qk_norm, "attn_q_norm", sizes.head_dim)?,
            key_norm: norm_if(blueprint.qk_norm, "attn_k_norm", sizes.head_dim)?,
            post_attention_norm: norm_if(blueprint.post_norms, "post_attention_norm", width)?,
            mlp_norm: norm("ffn_norm", width)?,
            gate: linear("ffn_gate", (inner, width), Presence::Never)?,
            up: linear("ffn_up", (inner, width), Presence::Never)?,
            down: linear("ffn_down", (width, inner), Presence::Never)?,
            post_mlp_norm: norm_if(blueprint.post_norms, "post_ffw_norm", width)?,
            rope: blueprint.layers[index].rope,
            window,
        })
    }

    /// What attention adds to the states `x`, `[tokens, width]`.
    fn attend(&self, x: &Tensor, index: usize, step: &Step, rope: &Rope, heads: Heads) -> candle_core::Result<Tensor> {
        let x = self.attention_norm.forward(x)?;
        let query = by_head(self.query_norm.as_ref(), self.query.forward(&x)?, heads.dim)?;
        let key = by_head(self.key_norm.as_ref(), self.key.forward(&x)?, heads.dim)?;
        let query = step.rotate((self.rope, rope), &query, heads.dim)?;
        let key = step.rotate((self.rope, rope), &key, heads.dim)?;
        step.write(index, &key, &self.value.forward(&x)?)?;
        let found = step.attend(index, self.window, &query, heads)?;
        normed(self.post_attention_norm.as_ref(), self.output.forward(&found)?)
    }

    /// What the feed-forward part adds to them: a gated linear unit (Shazeer, arXiv:2002.05202).
    fn feed(&self, x: &Tensor, activation: Activation) -> candle_core::Result<Tensor> {
        let x = self.mlp_norm.forward(x)?;
        let gate = self.gate.forward(&x)?;
        let gate = match activation {
            Activation::Silu => gate.silu()?,
            Activation::GeluTanh => gate.gelu()?,
        };
        let inner = (gate * self.up.forward(&x)?)?;
        normed(self.post_mlp_norm.as_ref(), self.down.forward(&inner)?)
    }
}

/// Normalises `x`, if there is a norm for it.
fn normed(norm: Option<&RmsNorm>, x: Tensor) -> candle_core::Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(&x),
        None => Ok(x),
    }
}

/// Normalises each head of `[tokens, heads * dim]`, if there is a norm for it.
fn by_head(norm: Option<&RmsNorm>, x: Tensor, dim: usize) -> candle_core::Result<Tensor> {
    let Some(norm) = norm else { return Ok(x) };
    let (tokens, row) = x.dims2()?;
    norm.forward(&x.reshape((tokens * row / dim, dim))?)?
        .reshape((tokens, row))
}

/// A model on a device.
#[derive(Debug)]
pub(super) struct Decoder {
    device: Device,
    embedding: Embedding,
    layers: Vec<Layer>,
    output_norm: RmsNorm,
    head: Linear,
    ropes: Vec<Rope>,
    /// Every way in which a layer looks back, once.
    windows: Vec<Window>,
    heads: Heads,
    activation: Activation,
    width: usize,
    logit_softcap: Option<f32>,
    context: usize,
    shape: KvShape,
}

impl Decoder {
    /// Moves a model to the device. The embedding table stays in the mapped file.
    pub(super) fn load(
        tensors: &Tensors<'_>,
        sizes: &Hyperparameters,
        blueprint: Blueprint,
        context: usize,
        device: &Device,
    ) -> Result<Self, InferenceError> {
        let embedding = tensors.embedding(EMBEDDING, sizes.width, blueprint.embedding_scale)?;
        let head = if tensors.contains(HEAD) { HEAD } else { EMBEDDING };
        let head = tensors.matrix(head, (embedding.vocabulary(), sizes.width))?;
        let mut windows: Vec<Window> = Vec::new();
        let mut layers = Vec::with_capacity(sizes.layers);
        for (index, plan) in blueprint.layers.iter().enumerate() {
            let window = windows.iter().position(|window| *window == plan.window);
            let window = window.unwrap_or_else(|| {
                windows.push(plan.window);
                windows.len() - 1
            });
            layers.push(Layer::load(tensors, sizes, &blueprint, (index, window), device)?);
        }
        let output_norm = tensors.numbers("output_norm.weight", sizes.width)?;
        let decoder = Self {
            embedding,
            layers,
            output_norm: RmsNorm::new(output_norm, sizes.epsilon, device)?,
            head: Linear::new(&head, None, device)?,
            ropes: blueprint.ropes,
            windows,
            heads: Heads {
                heads: sizes.heads,
                kv_heads: sizes.kv_heads,
                dim: sizes.head_dim,
                scale: blueprint.attention_scale,
            },
            activation: blueprint.activation,
            width: sizes.width,
            logit_softcap: blueprint.logit_softcap,
            context,
            shape: KvShape {
                layers: sizes.layers,
                heads: sizes.kv_heads,
                dim: sizes.head_dim,
            },
            device: device.clone(),
        };
        tensors.finish(&sizes.architecture)?;
        // Another thread will compute: what this one has begun must be done by then.
        device.synchronize()?;
        Ok(decoder)
    }

    /// The logits that are wanted of a pass.
    fn logits(&self, pass: Pass<'_>) -> candle_core::Result<Vec<f32>> {
        let Some(memory) = pass.caches.first().and_then(|cache| cache.device()).cloned() else {
            candle_core::bail!("keys and values are not on the device")
        };
        let others = |cache: &&mut KvCache| cache.device().is_some_and(|own| own.is(&memory));
        if !pass.caches.iter().all(others) {
            candle_core::bail!("the caches of a pass are of different pools")
        }
        let Sorted {
            tokens,
            positions,
            mut caches,
            wanted,
        } = Sorted::from(pass);
        let step = Step::new(&memory, &mut caches, &positions, &self.windows, &self.ropes)?;
        let mut x = Tensor::from_vec(
            self.embedding.forward(&tokens)?,
            (tokens.len(), self.width),
            &self.device,
        )?;
        for (index, layer) in self.layers.iter().enumerate() {
            x = (&x + layer.attend(&x, index, &step, &self.ropes[layer.rope], self.heads)?)?;
            if index + 1 == self.layers.len() {
                // No token attends to what comes after this: only what is asked for is computed.
                if wanted.is_empty() {
                    return Ok(Vec::new());
                }
                x = x.index_select(&Tensor::from_slice(&wanted, wanted.len(), &self.device)?, 0)?;
            }
            x = (&x + layer.feed(&x, self.activation)?)?;
        }
        let mut logits = self.head.forward(&self.output_norm.forward(&x)?)?;
        if let Some(cap) = self.logit_softcap {
            let cap = f64::from(cap);
            logits = ((logits / cap)?.tanh()? * cap)?;
        }
        logits.flatten_all()?.to_vec1()
    }
}

/// A pass whose sequences are ordered by how many tokens they have: those with as many stand side by side.
struct Sorted<'a> {
    tokens: Vec<u32>,
    positions: Vec<Vec<usize>>,
    caches: Vec<&'a mut KvCache>,
    /// Rows whose logits are wanted, in the order in which they were asked for.
    wanted: Vec<u32>,
}

impl<'a> From<Pass<'a>> for Sorted<'a> {
    fn from(pass: Pass<'a>) -> Self {
        let mut begin = 0;
        let mut parts: Vec<_> = (pass.caches.into_iter().zip(pass.positions))
            .map(|(cache, positions)| {
                let rows = begin..begin + positions.len();
                begin = rows.end;
                (rows, cache, positions)
            })
            .collect();
        parts.sort_by_key(|(rows, _, _)| rows.len());
        let mut place = vec![0; pass.tokens.len()];
        let mut sorted = Self {
            tokens: Vec::with_capacity(pass.tokens.len()),
            positions: Vec::new(),
            caches: Vec::new(),
            wanted: Vec::new(),
        };
        for (rows, cache, positions) in parts {
            for row in rows.clone() {
                place[row] = (sorted.tokens.len() + row - rows.start) as u32;
            }
            sorted.tokens.extend_from_slice(&pass.tokens[rows]);
            sorted.positions.push(positions);
            sorted.caches.push(cache);
        }
        sorted.wanted = pass.wanted.iter().map(|&row| place[row]).collect();
        sorted
    }
}

impl CausalModel for Decoder {
    fn vocabulary(&self) -> usize {
        self.embedding.vocabulary()
    }

    fn context_tokens(&self) -> usize {
        self.context
    }

    fn kv_shape(&self) -> KvShape {
        self.shape
    }

    fn new_pool(&self, pages: usize) -> Result<KvPool, InferenceError> {
        let pool = KvPool::on_device(self.shape, pages, &self.device)?;
        self.device.synchronize()?;
        Ok(pool)
    }

    fn moved(&self, piece: &KvPiece, to: usize) -> KvPiece {
        let ropes = self.layers.iter().map(|layer| layer.rope);
        decoder::moved(piece, to, &self.ropes, ropes, self.shape)
    }

    fn forward(&mut self, spans: &mut [Span<'_>]) -> Result<Vec<f32>, InferenceError> {
        let own = |cache: &KvCache| cache.shape() == self.shape && cache.device().is_some();
        pass::forward(spans, self.vocabulary(), own, |pass| self.logits(pass))
    }
}
