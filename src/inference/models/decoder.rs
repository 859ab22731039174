//! The network that all architectures share: embedding, layers of attention and gated feed-forward with residuals,
//! output head. What differs between them is a [`Blueprint`].

use super::hyperparameters::Hyperparameters;
use super::pass::{self, Pass};
use super::{CausalModel, Span};
use crate::inference::InferenceError;
use crate::inference::kv_cache::{KvCache, KvPiece, KvShape};
use crate::inference::layers::{
    Activation, Attention, Embedding, Linear, Mlp, RmsNorm, Rope, Scratch, Step, Window, products, room,
};
use crate::inference::weights::Weights;
use half::slice::HalfFloatSliceExt;
use half::vec::HalfFloatVecExt;

/// The embedding table.
pub(super) const EMBEDDING: &str = "token_embd.weight";
/// The output head; where there is none, the table serves.
pub(super) const HEAD: &str = "output.weight";

/// Whether a tensor is part of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Never,
    IfThere,
    Always,
}

/// How far a layer looks back and which rotation it uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerPlan {
    pub(super) window: Window,
    /// Index into [`Blueprint::ropes`].
    pub(super) rope: usize,
}

/// What an architecture does in its own way.
#[derive(Clone, Debug)]
pub(super) struct Blueprint {
    pub(super) ropes: Vec<Rope>,
    /// One a layer.
    pub(super) layers: Vec<LayerPlan>,
    /// Biases of the query, key and value products.
    pub(super) qkv_bias: Presence,
    /// Normalisation of each query and key head.
    pub(super) qk_norm: bool,
    /// Normalisation of what attention and feed-forward add, before it is added.
    pub(super) post_norms: bool,
    pub(super) activation: Activation,
    /// What scores are multiplied by.
    pub(super) attention_scale: f64,
    /// What embeddings are multiplied by.
    pub(super) embedding_scale: Option<f32>,
    /// `c` in `c * tanh(logit / c)`.
    pub(super) logit_softcap: Option<f32>,
}

impl Blueprint {
    /// The plain arrangement: one rotation, full attention, no extra normalisation, `SwiGLU`.
    pub(super) fn plain(sizes: &Hyperparameters, rope: Rope) -> Self {
        let plan = LayerPlan { window: None, rope: 0 };
        Self {
            ropes: vec![rope],
            layers: vec![plan; sizes.layers],
            qkv_bias: Presence::Never,
            qk_norm: false,
            post_norms: false,
            activation: Activation::Silu,
            attention_scale: 1.0 / (sizes.head_dim as f64).sqrt(),
            embedding_scale: None,
            logit_softcap: None,
        }
    }
}

/// One layer.
#[derive(Debug)]
struct Layer {
    attention_norm: RmsNorm,
    attention: Attention,
    post_attention_norm: Option<RmsNorm>,
    mlp_norm: RmsNorm,
    mlp: Mlp,
    post_mlp_norm: Option<RmsNorm>,
}

impl Layer {
    /// Takes the tensors of layer `index` from a file.
    fn load(
        weights: &Weights<'_>,
        sizes: &Hyperparameters,
        blueprint: &Blueprint,
        index: usize,
    ) -> Result<Self, InferenceError> {
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        let norm = |part: &str, len| weights.norm(&name(part), len, sizes.epsilon);
        let norm_if = |wanted: bool, part: &str, len| wanted.then(|| norm(part, len)).transpose();
        let linear = |part: &str, shape| weights.linear(&name(part), shape, None);
        let biased = |part: &str, shape| {
            let bias = format!("blk.{index}.{part}.bias");
            let wanted = match blueprint.qkv_bias {
                Presence::Never => false,
                Presence::IfThere => weights.contains(&bias),
                Presence::Always => true,
            };
            weights.linear(&name(part), shape, wanted.then_some(bias.as_str()))
        };
        let (queries, keys) = (sizes.heads * sizes.head_dim, sizes.kv_heads * sizes.head_dim);
        let (width, inner) = (sizes.width, sizes.feed_forward);
        let plan = blueprint.layers[index];
        Ok(Self {
            attention_norm: norm("attn_norm", width)?,
            attention: Attention {
                query: biased("attn_q", (queries, width))?,
                key: biased("attn_k", (keys, width))?,
                value: biased("attn_v", (keys, width))?,
                output: linear("attn_output", (width, queries))?,
                query_norm: norm_if(blueprint.qk_norm, "attn_q_norm", sizes.head_dim)?,
                key_norm: norm_if(blueprint.qk_norm, "attn_k_norm", sizes.head_dim)?,
                heads: sizes.heads,
                kv_heads: sizes.kv_heads,
                head_dim: sizes.head_dim,
                width,
                scale: blueprint.attention_scale,
                window: plan.window,
                rope: plan.rope,
            },
            post_attention_norm: norm_if(blueprint.post_norms, "post_attention_norm", width)?,
            mlp_norm: norm("ffn_norm", width)?,
            mlp: Mlp {
                gate: linear("ffn_gate", (inner, width))?,
                up: linear("ffn_up", (inner, width))?,
                down: linear("ffn_down", (width, inner))?,
                width,
                inner,
                activation: blueprint.activation,
            },
            post_mlp_norm: norm_if(blueprint.post_norms, "post_ffw_norm", width)?,
        })
    }

    /// Adds to the states `x`, `[tokens, width]`, what attention finds.
    fn attend(
        &self,
        x: &mut [f32],
        (index, caches): (usize, &mut [&mut KvCache]),
        step: &Step<'_>,
        Buffers { normed, added, scratch }: &mut Buffers,
    ) -> candle_core::Result<()> {
        let (normed, added) = (room(normed, x.len()), room(added, x.len()));
        self.attention_norm.forward(x, normed);
        self.attention.forward(normed, (index, caches), step, scratch, added)?;
        add(x, added, self.post_attention_norm.as_ref(), normed);
        Ok(())
    }

    /// Adds what the feed-forward part makes of them.
    fn feed(&self, x: &mut [f32], Buffers { normed, added, scratch }: &mut Buffers) {
        let (normed, added) = (room(normed, x.len()), room(added, x.len()));
        self.mlp_norm.forward(x, normed);
        self.mlp.forward(normed, scratch, added);
        add(x, added, self.post_mlp_norm.as_ref(), normed);
    }
}

/// Adds to `x`, normalised before if there is a norm for it.
fn add(x: &mut [f32], added: &[f32], norm: Option<&RmsNorm>, spare: &mut [f32]) {
    let added = match norm {
        Some(norm) => {
            norm.forward(added, spare);
            &*spare
        }
        None => added,
    };
    for (x, added) in x.iter_mut().zip(added) {
        *x += added;
    }
}

/// Memory of a pass, kept for the next.
#[derive(Debug, Default)]
struct Buffers {
    normed: Vec<f32>,
    added: Vec<f32>,
    scratch: Scratch,
}

/// A loaded model.
#[derive(Debug)]
pub(super) struct Decoder {
    embedding: Embedding,
    layers: Vec<Layer>,
    output_norm: RmsNorm,
    head: Linear,
    ropes: Vec<Rope>,
    width: usize,
    buffers: Buffers,
    logit_softcap: Option<f32>,
    context: usize,
    shape: KvShape,
}

impl Decoder {
    /// Takes a model from a file.
    pub(super) fn load(
        weights: &Weights<'_>,
        sizes: &Hyperparameters,
        blueprint: Blueprint,
        context: usize,
    ) -> Result<Self, InferenceError> {
        let embedding = weights.embedding(EMBEDDING, sizes.width, blueprint.embedding_scale)?;
        let head = if weights.contains(HEAD) { HEAD } else { EMBEDDING };
        let head = weights.linear(head, (embedding.vocabulary(), sizes.width), None)?;
        let layers: Result<_, _> = (0..sizes.layers)
            .map(|index| Layer::load(weights, sizes, &blueprint, index))
            .collect();
        let decoder = Self {
            embedding,
            layers: layers?,
            output_norm: weights.norm("output_norm.weight", sizes.width, sizes.epsilon)?,
            head,
            width: sizes.width,
            buffers: Buffers::default(),
            ropes: blueprint.ropes,
            logit_softcap: blueprint.logit_softcap,
            context,
            shape: KvShape {
                layers: sizes.layers,
                heads: sizes.kv_heads,
                dim: sizes.head_dim,
            },
        };
        weights.finish(&sizes.architecture)?;
        Ok(decoder)
    }

    /// The states of the tokens at `wanted` after the last layer.
    fn states(&mut self, pass: Pass<'_>) -> candle_core::Result<Vec<f32>> {
        let width = self.width;
        let Pass {
            tokens,
            positions,
            mut caches,
            wanted,
        } = pass;
        let step = Step::new(positions, &self.ropes);
        let mut x = self.embedding.forward(&tokens)?;
        for (index, layer) in self.layers.iter().enumerate() {
            layer.attend(&mut x, (index, &mut caches), &step, &mut self.buffers)?;
            if index + 1 == self.layers.len() {
                // No token attends to what comes after this: only what is asked for is computed.
                let chosen = wanted.iter().flat_map(|&token| &x[token * width..(token + 1) * width]);
                x = chosen.copied().collect();
                if x.is_empty() {
                    break;
                }
            }
            layer.feed(&mut x, &mut self.buffers);
        }
        Ok(x)
    }

    /// The logits of these states.
    fn logits(&mut self, states: &[f32]) -> Vec<f32> {
        if states.is_empty() {
            return Vec::new();
        }
        let width = self.width;
        let normed = room(&mut self.buffers.normed, states.len());
        self.output_norm.forward(states, normed);
        let mut logits = vec![0f32; states.len() / width * self.embedding.vocabulary()];
        let quantised = self.buffers.scratch.quantised();
        products(quantised, normed, width, vec![(&self.head, &mut logits[..])]);
        if let Some(cap) = self.logit_softcap {
            for logit in &mut logits {
                *logit = (*logit / cap).tanh() * cap;
            }
        }
        logits
    }
}

/// A piece with its keys turned to where they stand from position `to` on; `layers` says which of the rotations each layer
/// uses.
pub(super) fn moved(
    piece: &KvPiece,
    to: usize,
    ropes: &[Rope],
    layers: impl Iterator<Item = usize>,
    shape: KvShape,
) -> KvPiece {
    let by = to as i64 - piece.begin as i64;
    let turns: Vec<_> = ropes.iter().map(|rope| rope.turn(by, piece.tokens)).collect();
    let layers = layers.zip(&piece.layers).map(|(rope, (keys, values))| {
        let mut turned = vec![0f32; keys.len()];
        keys.convert_to_f32_slice(&mut turned);
        ropes[rope].apply(&mut turned, (shape.heads, shape.dim), &turns[rope]);
        (Vec::from_f32_slice(&turned), values.clone())
    });
    KvPiece {
        begin: to,
        tokens: piece.tokens,
        layers: layers.collect(),
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

    fn moved(&self, piece: &KvPiece, to: usize) -> KvPiece {
        let ropes = self.layers.iter().map(|layer| layer.attention.rope);
        moved(piece, to, &self.ropes, ropes, self.shape)
    }

    fn forward(&mut self, spans: &mut [Span<'_>]) -> Result<Vec<f32>, InferenceError> {
        let (vocabulary, shape) = (self.vocabulary(), self.shape);
        let own = |cache: &KvCache| cache.shape() == shape && cache.device().is_none();
        pass::forward(spans, vocabulary, own, |pass| {
            let states = self.states(pass)?;
            Ok(self.logits(&states))
        })
    }
}
