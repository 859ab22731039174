//! The network that all architectures share: embedding, layers of attention and gated feed-forward with residuals,
//! output head. What differs between them is a [`Blueprint`].

use super::CausalModel;
use super::hyperparameters::Hyperparameters;
use crate::inference::InferenceError;
use crate::inference::kv_cache::KvCache;
use crate::inference::layers::{Activation, Attention, Embedding, Linear, Mlp, RmsNorm, Rope, Step, Window};
use crate::inference::weights::Weights;
use candle_core::Tensor;

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
    pub(super) embedding_scale: Option<f64>,
    /// `c` in `c * tanh(logit / c)`.
    pub(super) logit_softcap: Option<f64>,
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
                activation: blueprint.activation,
            },
            post_mlp_norm: norm_if(blueprint.post_norms, "post_ffw_norm", width)?,
        })
    }

    fn forward(&self, x: &Tensor, index: usize, cache: &mut KvCache, step: &Step<'_>) -> candle_core::Result<Tensor> {
        let post = |norm: &Option<RmsNorm>, y: Tensor| match norm {
            Some(norm) => norm.forward(&y),
            None => Ok(y),
        };
        let y = self
            .attention
            .forward(&self.attention_norm.forward(x)?, index, cache, step)?;
        let x = (x + post(&self.post_attention_norm, y)?)?;
        let y = self.mlp.forward(&self.mlp_norm.forward(&x)?)?;
        x + post(&self.post_mlp_norm, y)?
    }
}

/// A loaded model.
#[derive(Debug)]
pub(super) struct Decoder {
    embedding: Embedding,
    layers: Vec<Layer>,
    output_norm: RmsNorm,
    head: Linear,
    ropes: Vec<Rope>,
    windows: Vec<Window>,
    logit_softcap: Option<f64>,
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
            windows: distinct(blueprint.layers.iter().map(|plan| plan.window)),
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

    fn run(&self, tokens: &[u32], cache: &mut KvCache, rows: Rows) -> Result<Vec<f32>, InferenceError> {
        self.admit(tokens, cache)?;
        let before = cache.len();
        let result = self.run_chunks(tokens, cache, rows);
        if result.is_err() {
            cache.truncate(before);
        }
        result
    }

    fn run_chunks(&self, tokens: &[u32], cache: &mut KvCache, rows: Rows) -> Result<Vec<f32>, InferenceError> {
        let mut logits = Vec::new();
        let last = tokens.len().div_ceil(CHUNK) - 1;
        for (index, chunk) in tokens.chunks(CHUNK).enumerate() {
            let states = self.states(chunk, cache)?;
            match rows {
                Rows::All => logits.extend(self.logits(&states)?),
                Rows::Last if index == last => logits = self.logits(&states.narrow(0, chunk.len() - 1, 1)?)?,
                Rows::Last => {}
            }
        }
        Ok(logits)
    }

    /// The states of the tokens after the last layer.
    fn states(&self, tokens: &[u32], cache: &mut KvCache) -> candle_core::Result<Tensor> {
        let step = Step::new(cache.len(), tokens.len(), &self.ropes, &self.windows)?;
        let mut x = self.embedding.forward(tokens)?;
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, index, cache, &step)?;
        }
        cache.advance(tokens.len());
        Ok(x)
    }

    fn logits(&self, states: &Tensor) -> Result<Vec<f32>, InferenceError> {
        let mut logits = self.head.forward(&self.output_norm.forward(states)?)?;
        if let Some(cap) = self.logit_softcap {
            logits = ((logits / cap)?.tanh()? * cap)?;
        }
        let logits = logits.flatten_all()?.to_vec1::<f32>()?;
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

fn distinct(windows: impl Iterator<Item = Window>) -> Vec<Window> {
    let mut out = Vec::new();
    for window in windows {
        if !out.contains(&window) {
            out.push(window);
        }
    }
    out
}
