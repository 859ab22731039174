//! The encoder: BERT (Devlin et al., arXiv:1810.04805) over packed texts, tokens one after another without padding.
//!
//! Weights stay in 4 (or 8) bits. What they are multiplied with is rounded to 8 bits, a scale for each 32 numbers (see
//! [`crate::kernels::matmul`]); all else is in `f32`.

use super::container::{BLOCK, BLOCK_BYTES, Container, Shape, unpack_block};
use super::linear::Linear;
use super::weights::{Fault, Weights};
use crate::kernels::bidirectional::{self, DIM};
use crate::kernels::level::Level;
use crate::kernels::matmul::Quantised;
use crate::kernels::pool;
use crate::kernels::vector::{self, LayerNorm};
use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

/// Tokens that one thread takes through the layers together, or one text. More would not fit the second-level cache
/// (with a feed-forward width of 1536 a token has 12 KB), fewer would unpack the weights more often.
const PASS_TOKENS: usize = 192;

struct Norm {
    gain: Vec<f32>,
    bias: Vec<f32>,
}

struct Layer {
    queries_keys_values: Linear,
    attention_out: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    out_norm: Norm,
}

/// What every encoder over one vocabulary shares.
pub(super) struct Embeddings {
    /// 4-bit rows of the vocabulary.
    words: Vec<[u8; BLOCK_BYTES]>,
    /// Position and token type 0 together, `[positions, hidden]`.
    positions: Vec<f32>,
}

/// The encoder's weights.
pub(super) struct Encoder {
    level: Level,
    pub(super) shape: Shape,
    embeddings: Arc<Embeddings>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
}

/// One text's part of a layer's output.
pub(super) struct Encoded<'a> {
    hidden: &'a [f32],
    width: usize,
    text: Range<usize>,
}

impl Norm {
    fn read(file: &impl Weights, name: &str, width: usize) -> Result<Self, Fault> {
        Ok(Self {
            gain: file.numbers(&format!("{name}.w"), width)?,
            bias: file.numbers(&format!("{name}.b"), width)?,
        })
    }
}

/// Matrices of one pass, kept from layer to layer.
#[derive(Default)]
struct Buffers {
    hidden: Vec<f32>,
    attended: Vec<f32>,
    added: Vec<f32>,
    wide: Vec<f32>,
    rounded: Quantised,
}

thread_local! {
    /// Those of this thread's last pass.
    static BUFFERS: Cell<Buffers> = Cell::default();
}

impl Encoder {
    /// Takes the weights out of `file`.
    pub(super) fn read(file: &Container<'_>, level: Level) -> Result<Self, Fault> {
        let shape = file.shape;
        let hidden = shape.hidden;
        if shape.heads * DIM != hidden || !shape.feed_forward.is_multiple_of(BLOCK) {
            return Err(format!(
                "{} heads over a width of {hidden} and a feed-forward width of {} are not supported: heads must be \
                 {DIM} wide and the feed-forward width a multiple of {BLOCK}",
                shape.heads, shape.feed_forward
            ));
        }
        let words = file.q4_blocks("emb.word", shape.vocabulary * hidden)?.to_vec();
        let mut positions = file.numbers("emb.pos", shape.positions * hidden)?;
        let types = file.numbers("emb.type", shape.token_types * hidden)?;
        for row in positions.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&types).for_each(|(x, t)| *x += t);
        }
        Self::over(Arc::new(Embeddings { words, positions }), shape, file, level)
    }

    /// Another encoder of the same shape over the same vocabulary, its layers from `file`.
    pub(super) fn sibling(&self, file: &impl Weights) -> Result<Self, Fault> {
        Self::over(Arc::clone(&self.embeddings), self.shape, file, self.level)
    }

    fn over(embeddings: Arc<Embeddings>, shape: Shape, file: &impl Weights, level: Level) -> Result<Self, Fault> {
        let hidden = shape.hidden;
        let layers = (0..shape.layers)
            .map(|layer| {
                let name = |part: &str| format!("l{layer}.{part}");
                let to_hidden = |part: &str| [(name(part), hidden)];
                let attention = [(name("q"), hidden), (name("k"), hidden), (name("v"), hidden)];
                Ok(Layer {
                    queries_keys_values: Linear::read(file, &attention, hidden)?,
                    attention_out: Linear::read(file, &to_hidden("ao"), hidden)?,
                    attention_norm: Norm::read(file, &name("aln"), hidden)?,
                    up: Linear::read(file, &[(name("fi"), shape.feed_forward)], hidden)?,
                    down: Linear::read(file, &to_hidden("fo"), shape.feed_forward)?,
                    out_norm: Norm::read(file, &name("oln"), hidden)?,
                })
            })
            .collect::<Result<Vec<_>, Fault>>()?;
        Ok(Self {
            level,
            shape,
            embeddings,
            embedding_norm: Norm::read(file, "emb.ln", hidden)?,
            layers,
        })
    }

    /// The vectors of `texts` (ids below the vocabulary, 1 to `positions` each), `[texts, hidden]`, each of norm 1.
    pub(super) fn embed<T: AsRef<[u32]> + Sync>(&self, texts: &[T]) -> Vec<f32> {
        self.run(texts, self.shape.hidden, |_, text| text.pooled())
    }

    /// `width` numbers for each of `texts`, made by `finish` from the text and its part of the last layer's output.
    ///
    /// Works on the pool of the thread that calls: passes are dealt out to the threads where there are enough texts, else
    /// the threads share each product. What a text gives does not depend on the texts beside it.
    pub(super) fn run<T: AsRef<[u32]> + Sync>(
        &self,
        texts: &[T],
        width: usize,
        finish: impl Fn(&T, Encoded<'_>) -> Vec<f32> + Sync,
    ) -> Vec<f32> {
        let last = self.layers.len();
        self.run_layers(texts, width, |layer, text, encoded, row| {
            if layer == last {
                *row = finish(text, encoded);
            }
        })
    }

    /// The means of the tokens after each of `layers` (numbers from 1, ascending), one after another:
    /// `[texts, layers, hidden]`. What [`Self::run`] says of threads holds here.
    pub(super) fn layer_means<T: AsRef<[u32]> + Sync>(&self, texts: &[T], layers: &[usize]) -> Vec<f32> {
        self.run_layers(texts, layers.len() * self.shape.hidden, |layer, _, encoded, row| {
            if layers.contains(&layer) {
                row.extend(encoded.mean());
            }
        })
    }

    /// `width` numbers for each of `texts`, which `see` makes while the text passes through the layers: it gets the number of the
    /// layer (from 1), the text, its part of that layer's output, and the numbers made so far.
    fn run_layers<T: AsRef<[u32]> + Sync>(
        &self,
        texts: &[T],
        width: usize,
        see: impl Fn(usize, &T, Encoded<'_>, &mut Vec<f32>) + Sync,
    ) -> Vec<f32> {
        let passes = deal(texts, pool::threads());
        let mut results = vec![Vec::new(); passes.texts.len()];
        let compute = |pass: usize, results: &mut [Vec<Vec<f32>>]| {
            results[0] = self.pass(texts, &passes.texts[pass], &see);
        };
        if passes.apart {
            pool::run_chunks(&mut results, 1, &compute);
        } else {
            results
                .chunks_mut(1)
                .enumerate()
                .for_each(|(pass, out)| compute(pass, out));
        }
        let mut out = vec![0.0; texts.len() * width];
        for (&text, row) in passes.texts.iter().flatten().zip(results.iter().flatten()) {
            out[text * width..(text + 1) * width].copy_from_slice(row);
        }
        out
    }

    /// Takes some texts through the layers together.
    fn pass<T: AsRef<[u32]>>(
        &self,
        texts: &[T],
        pass: &[usize],
        see: &impl Fn(usize, &T, Encoded<'_>, &mut Vec<f32>),
    ) -> Vec<Vec<f32>> {
        let ids: Vec<&[u32]> = pass.iter().map(|&text| texts[text].as_ref()).collect();
        let mut buffers = BUFFERS.take();
        let mut results = vec![Vec::new(); pass.len()];
        self.forward(&ids, &mut buffers, &mut |layer, hidden| {
            let mut first = 0;
            for ((&text, ids), row) in pass.iter().zip(&ids).zip(&mut results) {
                let tokens = first..first + ids.len();
                first = tokens.end;
                let encoded = Encoded {
                    hidden,
                    width: self.shape.hidden,
                    text: tokens,
                };
                see(layer, &texts[text], encoded, row);
            }
        });
        BUFFERS.set(buffers);
        results
    }

    /// Shows `see` each layer's output, with the layer's number from 1: the texts' tokens one after another.
    fn forward(&self, texts: &[&[u32]], buffers: &mut Buffers, see: &mut dyn FnMut(usize, &[f32])) {
        let (level, width, inner) = (self.level, self.shape.hidden, self.shape.feed_forward);
        let lengths: Vec<usize> = texts.iter().map(|ids| ids.len()).collect();
        let rows = lengths.iter().sum();
        let Buffers {
            hidden,
            attended,
            added,
            wide,
            rounded,
        } = buffers;
        for buffer in [&mut *hidden, attended, added] {
            buffer.resize(rows * width, 0.0);
        }
        wide.resize(rows * inner.max(3 * width), 0.0);
        self.look_up(texts, hidden, added);
        vector::add_layer_norm(level, hidden, added, self.norm(&self.embedding_norm));
        for (number, layer) in (1..).zip(&self.layers) {
            let combined = &mut wide[..rows * 3 * width];
            rounded.fill(level, hidden, width);
            layer.queries_keys_values.apply(level, rounded, combined);
            let attention = bidirectional::Texts {
                numbers: combined,
                heads: self.shape.heads,
                lengths: &lengths,
            };
            bidirectional::attend(level, attention, attended);
            rounded.fill(level, attended, width);
            layer.attention_out.apply(level, rounded, added);
            vector::add_layer_norm(level, hidden, added, self.norm(&layer.attention_norm));
            let wide = &mut wide[..rows * inner];
            rounded.fill(level, hidden, width);
            layer.up.apply(level, rounded, wide);
            rounded.fill_with(level, (rows, inner), &|row, out| {
                vector::gelu(level, &wide[row * inner..(row + 1) * inner], out);
            });
            layer.down.apply(level, rounded, added);
            vector::add_layer_norm(level, hidden, added, self.norm(&layer.out_norm));
            see(number, hidden);
        }
    }

    fn norm<'a>(&self, norm: &'a Norm) -> LayerNorm<'a> {
        LayerNorm {
            gain: &norm.gain,
            bias: &norm.bias,
            epsilon: self.shape.epsilon,
        }
    }

    /// Word vectors into `words`, those of position and token type into `places`.
    fn look_up(&self, texts: &[&[u32]], words: &mut [f32], places: &mut [f32]) {
        let width = self.shape.hidden;
        let blocks = width / BLOCK;
        let rows = words.chunks_exact_mut(width).zip(places.chunks_exact_mut(width));
        let ids = texts.iter().flat_map(|ids| ids.iter().enumerate());
        for ((words, places), (position, &id)) in rows.zip(ids) {
            let word = &self.embeddings.words[id as usize * blocks..(id as usize + 1) * blocks];
            for (block, numbers) in word.iter().zip(words.as_chunks_mut::<BLOCK>().0) {
                unpack_block(block, numbers);
            }
            places.copy_from_slice(&self.embeddings.positions[position * width..(position + 1) * width]);
        }
    }
}

impl Encoded<'_> {
    /// Tokens of the text.
    pub(super) fn tokens(&self) -> usize {
        self.text.len()
    }

    /// The output of one token.
    pub(super) fn token(&self, token: usize) -> &[f32] {
        &self.hidden[(self.text.start + token) * self.width..][..self.width]
    }

    /// The mean of the tokens.
    pub(super) fn mean(&self) -> Vec<f32> {
        let mut mean = vec![0.0; self.width];
        for token in 0..self.tokens() {
            mean.iter_mut().zip(self.token(token)).for_each(|(sum, x)| *sum += x);
        }
        for sum in &mut mean {
            *sum /= self.tokens() as f32;
        }
        mean
    }

    /// The mean of the tokens, of norm 1 (Wang et al., arXiv:2402.05672: average pooling).
    fn pooled(&self) -> Vec<f32> {
        unit(self.mean())
    }
}

/// A vector with norm 1.
pub(super) fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
    for x in &mut vector {
        *x /= norm;
    }
    vector
}

/// How a batch is cut.
struct Passes {
    /// The texts of each pass.
    texts: Vec<Vec<usize>>,
    /// Whether each thread takes passes of its own; else all threads take one pass after another.
    apart: bool,
}

/// Cuts a batch for so many threads.
fn deal<T: AsRef<[u32]>>(texts: &[T], threads: usize) -> Passes {
    let length = |text: usize| texts[text].as_ref().len();
    let total: usize = (0..texts.len()).map(length).sum();
    let rounds = total.div_ceil(threads * PASS_TOKENS);
    let dealt = deal_evenly(texts, rounds * threads);
    let longest = dealt.iter().map(|pass| pass.iter().copied().map(length).sum()).max();
    // If one thread had 5/4 of its share or more, the threads had better share the work otherwise.
    let apart = threads > 1 && longest.unwrap_or(0) * rounds * threads * 4 <= total * 5;
    let texts = if apart {
        dealt
    } else {
        deal_evenly(texts, total.div_ceil(threads * PASS_TOKENS))
    };
    Passes { texts, apart }
}

/// Deals texts out to `hands` groups of nearly equal token counts: the longest first, each to the group with least.
fn deal_evenly<T: AsRef<[u32]>>(texts: &[T], hands: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&text| std::cmp::Reverse(texts[text].as_ref().len()));
    let mut groups = vec![(0_usize, Vec::new()); hands.max(1)];
    for text in order {
        if let Some(least) = groups.iter_mut().min_by_key(|(tokens, _)| *tokens) {
            least.0 += texts[text].as_ref().len();
            least.1.push(text);
        }
    }
    groups
        .into_iter()
        .map(|(_, group)| group)
        .filter(|group| !group.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_dealt_out_evenly_and_completely() {
        let texts: Vec<Vec<u32>> = [5, 1, 9, 3, 3, 7, 2].iter().map(|n| vec![0; *n]).collect();
        let groups = deal_evenly(&texts, 2);
        let mut all: Vec<usize> = groups.iter().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..7).collect::<Vec<_>>());
        let tokens: Vec<usize> = groups.iter().map(|g| g.iter().map(|&t| texts[t].len()).sum()).collect();
        assert_eq!(tokens.iter().sum::<usize>(), 30);
        assert!(tokens.iter().all(|t| (14..=16).contains(t)), "{tokens:?}");
    }
}
