//! The network that all architectures share: embedding, layers of attention and gated feed-forward with residuals,
//! output head. What differs between them is a [`Blueprint`].

use super::hyperparameters::Hyperparameters;
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

    /// Checks a part of a pass before any work is done.
    fn admit(&self, span: &Span<'_>) -> Result<(), InferenceError> {
        let bad = |name, detail| Err(InferenceError::BadParameter { name, detail });
        if span.tokens.is_empty() {
            return bad("tokens", "at least one is needed".to_owned());
        }
        let vocabulary = self.embedding.vocabulary();
        if let Some(token) = span.tokens.iter().find(|&&token| token as usize >= vocabulary) {
            return bad("tokens", format!("{token} is not in the vocabulary of {vocabulary}"));
        }
        if span.cache.shape() != self.shape {
            return bad("cache", "it is another model's".to_owned());
        }
        let (positions, end) = span.places();
        let inside = positions.is_sorted() && positions[0] >= span.cache.len() && positions[positions.len() - 1] < end;
        if positions.len() != span.tokens.len() || !inside {
            return bad(
                "positions",
                "one for each token, in order, behind the cache's".to_owned(),
            );
        }
        let (tokens, limit) = (end, span.cache.max_tokens());
        if tokens > limit {
            return Err(InferenceError::TooLong { tokens, limit });
        }
        Ok(())
    }

    /// A pass over all spans, at most [`CHUNK`] tokens at a time.
    fn run(&mut self, spans: &mut [Span<'_>]) -> Result<Vec<f32>, InferenceError> {
        for span in spans.iter_mut() {
            let (_, end) = span.places();
            span.cache.make_room(end - span.cache.len())?;
        }
        let mut logits = Vec::new();
        let (mut first, mut done) = (0, 0);
        let places: Vec<_> = spans.iter().map(Span::places).collect();
        while first < spans.len() {
            let (counts, next) = next_pass(spans, first, done);
            let (mut tokens, mut positions, mut ends) = (Vec::new(), Vec::new(), Vec::new());
            let mut wanted = Vec::new();
            for ((index, span), &count) in (first..).zip(&spans[first..]).zip(&counts) {
                let begin = if index == first { done } else { 0 };
                let silent = span.tokens.len() - span.rows.of(span.tokens.len());
                let base = tokens.len();
                wanted.extend(
                    (begin..begin + count)
                        .filter(|&at| at >= silent)
                        .map(|at| base + at - begin),
                );
                tokens.extend_from_slice(&span.tokens[begin..begin + count]);
                let (all, end) = &places[index];
                positions.push(all[begin..begin + count].to_vec());
                // What stands before the next token to compute is there then.
                ends.push(all.get(begin + count).copied().unwrap_or(*end));
            }
            let mut caches: Vec<_> = (spans[first..].iter_mut())
                .take(counts.len())
                .map(|span| &mut *span.cache)
                .collect();
            let states = self.states(&tokens, positions, &mut caches, &wanted)?;
            for (cache, end) in caches.into_iter().zip(ends) {
                cache.advance_to(end);
            }
            logits.extend(self.logits(&states));
            (first, done) = next;
        }
        Ok(logits)
    }

    /// The states of the tokens at `wanted` after the last layer.
    fn states(
        &mut self,
        tokens: &[u32],
        positions: Vec<Vec<usize>>,
        caches: &mut [&mut KvCache],
        wanted: &[usize],
    ) -> candle_core::Result<Vec<f32>> {
        let width = self.width;
        let step = Step::new(positions, &self.ropes);
        let mut x = self.embedding.forward(tokens)?;
        for (index, layer) in self.layers.iter().enumerate() {
            layer.attend(&mut x, (index, caches), &step, &mut self.buffers)?;
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

/// The tokens of each span from `first` on (of which `done` are done) that go through the network together, and where
/// the pass after it begins.
fn next_pass(spans: &[Span<'_>], first: usize, done: usize) -> (Vec<usize>, (usize, usize)) {
    let mut counts = Vec::new();
    let (mut room, mut at) = (CHUNK, done);
    for (index, span) in (first..).zip(&spans[first..]) {
        let left = span.tokens.len() - at;
        counts.push(left.min(room));
        if left > room {
            return (counts, (index, at + room));
        }
        room -= left;
        at = 0;
        if room == 0 {
            return (counts, (index + 1, 0));
        }
    }
    (counts, (spans.len(), 0))
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
        let by = to as i64 - piece.begin as i64;
        let turns: Vec<_> = self.ropes.iter().map(|rope| rope.turn(by, piece.tokens)).collect();
        let layers = (self.layers.iter().zip(&piece.layers)).map(|(layer, (keys, values))| {
            let mut turned = vec![0f32; keys.len()];
            keys.convert_to_f32_slice(&mut turned);
            let (rope, turn) = (&self.ropes[layer.attention.rope], &turns[layer.attention.rope]);
            rope.apply(&mut turned, (self.shape.heads, self.shape.dim), turn);
            (Vec::from_f32_slice(&turned), values.clone())
        });
        KvPiece {
            begin: to,
            tokens: piece.tokens,
            layers: layers.collect(),
        }
    }

    fn forward(&mut self, spans: &mut [Span<'_>]) -> Result<Vec<f32>, InferenceError> {
        for span in spans.iter() {
            self.admit(span)?;
        }
        let before: Vec<usize> = spans.iter().map(|span| span.cache.len()).collect();
        let result = self.run(spans);
        if result.is_err() {
            for (span, before) in spans.iter_mut().zip(before) {
                span.cache.rewind(before);
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::kv_cache::KvPool;
    use crate::inference::models::Rows;

    #[test]
    fn passes_cover_all_tokens_in_order() {
        let cases: [(&[usize], &[&[usize]]); 4] = [
            (&[1, 1, 1], &[&[1, 1, 1]]),
            (&[CHUNK, 3], &[&[CHUNK], &[3]]),
            (&[1, CHUNK, 2], &[&[1, CHUNK - 1], &[1, 2]]),
            (&[2 * CHUNK + 5, 4], &[&[CHUNK], &[CHUNK], &[5, 4]]),
        ];
        let shape = KvShape {
            layers: 1,
            heads: 1,
            dim: 1,
        };
        for (lengths, expected) in cases {
            let tokens = vec![0; 4 * CHUNK];
            let pool = KvPool::new(shape, 1);
            let mut caches = vec![KvCache::new(&pool, 1); lengths.len()];
            let spans: Vec<_> = (lengths.iter().zip(&mut caches))
                .map(|(&length, cache)| Span {
                    tokens: &tokens[..length],
                    cache,
                    places: None,
                    rows: Rows::None,
                })
                .collect();
            let (mut first, mut done) = (0, 0);
            let mut passes = Vec::new();
            while first < spans.len() {
                let (counts, next) = next_pass(&spans, first, done);
                passes.push(counts);
                (first, done) = next;
            }
            assert_eq!(passes, expected);
        }
    }
}
