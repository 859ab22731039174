//! The network that all architectures share: embedding, layers of attention and gated feed-forward with residuals,
//! output head. What differs between them is a [`Blueprint`].

use super::CausalModel;
use super::hyperparameters::Hyperparameters;
use crate::inference::InferenceError;
use crate::inference::kv_cache::KvCache;
use crate::inference::layers::{
    Activation, Attention, Embedding, Linear, Mlp, RmsNorm, Rope, Scratch, Step, Window, products, room,
};
use crate::inference::weights::Weights;

/// The embedding table.
pub(super) const EMBEDDING: &str = "token_embd.weight";
/// The output head; where there is none, the table serves.
pub(super) const HEAD: &str = "output.weight";

/// Tokens that go through the network at once: bounds the memory of a pass, and is long enough to pay for what is done
/// once a pass.
const CHUNK: usize = 512;

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

    /// Changes the states `x`, `[tokens, width]`, to what they are after this layer.
    fn forward(
        &self,
        x: &mut [f32],
        (index, cache): (usize, &mut KvCache),
        step: &Step<'_>,
        Buffers { normed, added, scratch }: &mut Buffers,
    ) -> candle_core::Result<()> {
        let (normed, added) = (room(normed, x.len()), room(added, x.len()));
        self.attention_norm.forward(x, normed);
        self.attention.forward(normed, (index, cache), step, scratch, added)?;
        add(x, added, self.post_attention_norm.as_ref(), normed);
        self.mlp_norm.forward(x, normed);
        self.mlp.forward(normed, scratch, added)?;
        add(x, added, self.post_mlp_norm.as_ref(), normed);
        Ok(())
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
}

/// Whose logits are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rows {
    Last,
    All,
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
        };
        weights.finish(&sizes.architecture)?;
        Ok(decoder)
    }

    /// Checks a call before any work is done.
    fn admit(&self, tokens: &[u32], cache: &KvCache) -> Result<(), InferenceError> {
        let bad = |name, detail| Err(InferenceError::BadParameter { name, detail });
        if tokens.is_empty() {
            return bad("tokens", "at least one is needed".to_owned());
        }
        let vocabulary = self.embedding.vocabulary();
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
            return bad("tokens", format!("{token} is not in the vocabulary of {vocabulary}"));
        }
        if cache.layers() != self.layers.len() {
            return bad("cache", "it is another model's".to_owned());
        }
        let (tokens, limit) = (cache.len() + tokens.len(), cache.max_tokens());
        if tokens > limit {
            return Err(InferenceError::TooLong { tokens, limit });
        }
        Ok(())
    }

    fn run(&mut self, tokens: &[u32], cache: &mut KvCache, rows: Rows) -> Result<Vec<f32>, InferenceError> {
        self.admit(tokens, cache)?;
        let before = cache.len();
        let result = self.run_chunks(tokens, cache, rows);
        if result.is_err() {
            cache.truncate(before);
        }
        result
    }

    fn run_chunks(&mut self, tokens: &[u32], cache: &mut KvCache, rows: Rows) -> Result<Vec<f32>, InferenceError> {
        let mut logits = Vec::new();
        let last = tokens.len().div_ceil(CHUNK) - 1;
        for (index, chunk) in tokens.chunks(CHUNK).enumerate() {
            let states = self.states(chunk, cache)?;
            match rows {
                Rows::All => logits.extend(self.logits(&states)?),
                Rows::Last if index == last => logits = self.logits(&states[states.len() - self.width..])?,
                Rows::Last => {}
            }
        }
        Ok(logits)
    }

    /// The states of the tokens after the last layer.
    fn states(&mut self, tokens: &[u32], cache: &mut KvCache) -> candle_core::Result<Vec<f32>> {
        let step = Step::new(cache.len(), tokens.len(), &self.ropes);
        let mut x = self.embedding.forward(tokens)?;
        for (index, layer) in self.layers.iter().enumerate() {
            layer.forward(&mut x, (index, cache), &step, &mut self.buffers)?;
        }
        cache.advance(tokens.len());
        Ok(x)
    }

    fn logits(&mut self, states: &[f32]) -> Result<Vec<f32>, InferenceError> {
        let normed = room(&mut self.buffers.normed, states.len());
        self.output_norm.forward(states, normed);
        let mut logits = vec![0f32; states.len() / self.width * self.embedding.vocabulary()];
        let quantised = self.buffers.scratch.quantised();
        products(quantised, normed, self.width, vec![(&self.head, &mut logits[..])])?;
        if let Some(cap) = self.logit_softcap {
            for logit in &mut logits {
                *logit = (*logit / cap).tanh() * cap;
            }
        }
        if logits.iter().all(|logit| logit.is_finite()) {
            Ok(logits)
        } else {
            let detail = "the logits are not finite; the model's weights are damaged or overflow";
            Err(candle_core::Error::Msg(detail.to_owned()).into())
        }
    }
}

impl CausalModel for Decoder {
    fn vocabulary(&self) -> usize {
        self.embedding.vocabulary()
    }

    fn context_tokens(&self) -> usize {
        self.context
    }

    fn new_cache(&self, max_tokens: usize) -> KvCache {
        KvCache::new(self.layers.len(), max_tokens.min(self.context))
    }

    fn forward(&mut self, tokens: &[u32], cache: &mut KvCache) -> Result<Vec<f32>, InferenceError> {
        self.run(tokens, cache, Rows::Last)
    }

    fn forward_all(&mut self, tokens: &[u32], cache: &mut KvCache) -> Result<Vec<f32>, InferenceError> {
        self.run(tokens, cache, Rows::All)
    }
}
