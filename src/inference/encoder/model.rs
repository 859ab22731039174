//! The encoder: BERT (Devlin et al., arXiv:1810.04805) over packed texts. Matrices are in panels of 32 columns, see
//! [`crate::kernels::panel`]; a head is one panel wide, so a head's queries, keys and values are used where they lie.
//!
//! Weights stay in 4 (or 8) bits and are unpacked panel by panel into the processor's first cache, just before they are
//! used: a query of 14 tokens is bound by reading weights, and 13 MB of them come seven times faster than the same in
//! f32. Sums are f32 throughout; nothing is quantised again.

use super::container::{BLOCK, BLOCK_BYTES, Container, Shape, unpack_block};
use super::linear::{Activation, Linear, Spread};
use super::weights::{Fault, Weights};
use crate::kernels::panel::{Kernels, LayerNorm, Left, WIDTH};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// Tokens that one thread takes through the layers together. More would not fit the second-level cache (with a
/// feed-forward width of 1536 it is 1.5 MB), fewer would unpack the weights more often.
const PASS_TOKENS: usize = 256;

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
    kernels: Kernels,
    pub(super) shape: Shape,
    embeddings: Arc<Embeddings>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
}

/// One text's part of the last layer's output.
pub(super) struct Encoded<'a> {
    hidden: &'a [f32],
    rows: usize,
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
}

/// What one head's attention needs beside its input.
#[derive(Default)]
struct HeadBuffers {
    keys: Vec<f32>,
    weights: Vec<f32>,
}

impl Encoder {
    /// Takes the weights out of `file`.
    pub(super) fn read(file: &Container<'_>, kernels: Kernels) -> Result<Self, Fault> {
        let shape = file.shape;
        let hidden = shape.hidden;
        if shape.heads * WIDTH != hidden || !shape.feed_forward.is_multiple_of(WIDTH) {
            return Err(format!(
                "{} heads over a width of {hidden} and a feed-forward width of {} are not supported: heads must be \
                 {WIDTH} wide and the feed-forward width a multiple of {WIDTH}",
                shape.heads, shape.feed_forward
            ));
        }
        let words = file.q4_blocks("emb.word", shape.vocabulary * hidden)?.to_vec();
        let mut positions = file.numbers("emb.pos", shape.positions * hidden)?;
        let types = file.numbers("emb.type", shape.token_types * hidden)?;
        for row in positions.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&types).for_each(|(x, t)| *x += t);
        }
        Self::over(Arc::new(Embeddings { words, positions }), shape, file, kernels)
    }

    /// Another encoder of the same shape over the same vocabulary, its layers from `file`.
    pub(super) fn sibling(&self, file: &impl Weights) -> Result<Self, Fault> {
        Self::over(Arc::clone(&self.embeddings), self.shape, file, self.kernels)
    }

    fn over(embeddings: Arc<Embeddings>, shape: Shape, file: &impl Weights, kernels: Kernels) -> Result<Self, Fault> {
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
            kernels,
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
    /// Works on the rayon pool it is called in: texts are dealt out to the threads where there are enough of them, else
    /// the threads share each product. What a text gives does not depend on the texts beside it.
    pub(super) fn run<T: AsRef<[u32]> + Sync>(
        &self,
        texts: &[T],
        width: usize,
        finish: impl Fn(&T, Encoded<'_>) -> Vec<f32> + Sync,
    ) -> Vec<f32> {
        let threads = rayon::current_num_threads();
        let groups = deal(texts, threads);
        let tokens = |group: &[usize]| group.iter().map(|&text| texts[text].as_ref().len()).sum::<usize>();
        let total: usize = texts.iter().map(|text| text.as_ref().len()).sum();
        let longest = groups.iter().map(|group| tokens(group)).max().unwrap_or(0);
        let mut out = vec![0.0; texts.len() * width];
        let results: Vec<(usize, Vec<f32>)> = if threads == 1 || longest * threads * 4 > total * 5 {
            // One thread would have 5/4 of its share or more.
            let all: Vec<usize> = (0..texts.len()).collect();
            self.run_group(texts, &all, Spread::Panels, &finish)
        } else {
            let parts = groups.par_iter().with_max_len(1);
            parts
                .flat_map_iter(|group| self.run_group(texts, group, Spread::Nothing, &finish))
                .collect()
        };
        for (text, row) in results {
            out[text * width..(text + 1) * width].copy_from_slice(&row);
        }
        out
    }

    /// Computes the texts of `group` in passes of about [`PASS_TOKENS`].
    fn run_group<T: AsRef<[u32]>>(
        &self,
        texts: &[T],
        group: &[usize],
        spread: Spread,
        finish: &impl Fn(&T, Encoded<'_>) -> Vec<f32>,
    ) -> Vec<(usize, Vec<f32>)> {
        let mut results = Vec::with_capacity(group.len());
        let mut buffers = Buffers::default();
        let mut rest = group;
        while !rest.is_empty() {
            let mut tokens = 0;
            let fit = rest.iter().take_while(|&&text| {
                tokens += texts[text].as_ref().len();
                tokens <= PASS_TOKENS
            });
            let (pass, later) = rest.split_at(fit.count().max(1));
            rest = later;
            let ids: Vec<&[u32]> = pass.iter().map(|&text| texts[text].as_ref()).collect();
            self.forward(&ids, &mut buffers, spread);
            let rows = ids.iter().map(|ids| ids.len()).sum();
            let mut first = 0;
            for (&text, ids) in pass.iter().zip(&ids) {
                let encoded = Encoded {
                    hidden: &buffers.hidden,
                    rows,
                    text: first..first + ids.len(),
                };
                results.push((text, finish(&texts[text], encoded)));
                first += ids.len();
            }
        }
        results
    }

    /// Leaves the last layer's output in `buffers.hidden`: the texts' tokens one after another.
    fn forward(&self, texts: &[&[u32]], buffers: &mut Buffers, spread: Spread) {
        let rows = texts.iter().map(|ids| ids.len()).sum();
        let kernels = self.kernels;
        let Buffers {
            hidden,
            attended,
            added,
            wide,
        } = buffers;
        for buffer in [&mut *hidden, attended, added] {
            buffer.resize(rows * self.shape.hidden, 0.0);
        }
        wide.resize(rows * self.shape.feed_forward.max(3 * self.shape.hidden), 0.0);
        self.look_up(texts, rows, hidden, added);
        kernels.add_layer_norm(hidden, added, rows, self.norm(&self.embedding_norm));
        for layer in &self.layers {
            let combined = &mut wide[..rows * layer.queries_keys_values.columns()];
            layer
                .queries_keys_values
                .apply(kernels, (hidden, rows), combined, Activation::None, spread);
            self.attend(texts, rows, combined, attended, spread);
            layer
                .attention_out
                .apply(kernels, (attended, rows), added, Activation::None, spread);
            kernels.add_layer_norm(hidden, added, rows, self.norm(&layer.attention_norm));
            let inner = &mut wide[..rows * self.shape.feed_forward];
            layer.up.apply(kernels, (hidden, rows), inner, Activation::Gelu, spread);
            layer
                .down
                .apply(kernels, (inner, rows), added, Activation::None, spread);
            kernels.add_layer_norm(hidden, added, rows, self.norm(&layer.out_norm));
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
    fn look_up(&self, texts: &[&[u32]], rows: usize, words: &mut [f32], places: &mut [f32]) {
        let panels = self.shape.hidden / WIDTH;
        let ids = texts.iter().flat_map(|ids| ids.iter().enumerate());
        for (row, (position, &id)) in ids.enumerate() {
            let blocks = &self.embeddings.words[id as usize * panels..(id as usize + 1) * panels];
            for (panel, block) in blocks.iter().enumerate() {
                let at = (panel * rows + row) * WIDTH;
                let mut numbers = [0.0; BLOCK];
                unpack_block(block, &mut numbers);
                words[at..at + WIDTH].copy_from_slice(&numbers);
                let place = position * self.shape.hidden + panel * WIDTH;
                places[at..at + WIDTH].copy_from_slice(&self.embeddings.positions[place..place + WIDTH]);
            }
        }
    }

    /// Attention of every token to its own text, head by head.
    ///
    /// Source: Vaswani et al., arXiv:1706.03762, section 3.2.
    fn attend(&self, texts: &[&[u32]], rows: usize, combined: &[f32], out: &mut [f32], spread: Spread) {
        let size = rows * WIDTH;
        let head = |buffers: &mut HeadBuffers, (head, out): (usize, &mut [f32])| {
            let part = |kind: usize| {
                &combined[(kind * self.shape.heads + head) * size..(kind * self.shape.heads + head + 1) * size]
            };
            let mut first = 0;
            for ids in texts {
                let range = first * WIDTH..(first + ids.len()) * WIDTH;
                let (queries, keys, values) = (
                    &part(0)[range.clone()],
                    &part(1)[range.clone()],
                    &part(2)[range.clone()],
                );
                attend_text(self.kernels, (queries, keys, values), &mut out[range], buffers);
                first += ids.len();
            }
        };
        match spread {
            Spread::Panels => out
                .par_chunks_mut(size)
                .enumerate()
                .for_each_init(HeadBuffers::default, head),
            Spread::Nothing => {
                let mut buffers = HeadBuffers::default();
                out.chunks_mut(size)
                    .enumerate()
                    .for_each(|chunk| head(&mut buffers, chunk));
            }
        }
    }
}

impl Encoded<'_> {
    /// Tokens of the text.
    pub(super) fn tokens(&self) -> usize {
        self.text.len()
    }

    /// The output of one token, panel after panel.
    pub(super) fn token(&self, token: usize) -> impl Iterator<Item = f32> {
        let row = (self.text.start + token) * WIDTH;
        self.hidden
            .chunks_exact(self.rows * WIDTH)
            .flat_map(move |panel| panel[row..row + WIDTH].iter().copied())
    }

    /// The mean of the tokens.
    pub(super) fn mean(&self) -> Vec<f32> {
        let mut mean = Vec::new();
        for panel in self.hidden.chunks_exact(self.rows * WIDTH) {
            let mut sums = [0.0_f32; WIDTH];
            for row in panel[self.text.start * WIDTH..self.text.end * WIDTH]
                .as_chunks::<WIDTH>()
                .0
            {
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            mean.extend(sums.map(|sum| sum / self.text.len() as f32));
        }
        mean
    }

    /// The mean of the tokens, of norm 1 (Wang et al., arXiv:2402.05672: average pooling).
    fn pooled(&self) -> Vec<f32> {
        let mut vector = self.mean();
        let norm = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
        for x in &mut vector {
            *x /= norm;
        }
        vector
    }
}

/// One head's attention within one text: `[n, WIDTH]` each.
fn attend_text(
    kernels: Kernels,
    (queries, keys, values): (&[f32], &[f32], &[f32]),
    out: &mut [f32],
    buffers: &mut HeadBuffers,
) {
    let n = queries.len() / WIDTH;
    let panels = n.div_ceil(WIDTH);
    buffers.weights.clear();
    buffers.weights.resize(panels * n * WIDTH, 0.0);
    buffers.keys.resize(WIDTH * WIDTH, 0.0);
    let left = Left {
        data: queries,
        rows: n,
        stride: n * WIDTH,
    };
    for (keys, weights) in keys
        .chunks(WIDTH * WIDTH)
        .zip(buffers.weights.chunks_exact_mut(n * WIDTH))
    {
        buffers.keys.fill(0.0);
        for (j, key) in keys.as_chunks::<WIDTH>().0.iter().enumerate() {
            for (d, x) in key.iter().enumerate() {
                buffers.keys[d * WIDTH + j] = *x;
            }
        }
        kernels.add_product(left, WIDTH, &buffers.keys, weights);
    }
    kernels.softmax(&mut buffers.weights, n, n, 1.0 / (WIDTH as f32).sqrt());
    out.fill(0.0);
    kernels.add_product(
        Left {
            data: &buffers.weights,
            rows: n,
            stride: n * WIDTH,
        },
        n,
        values,
        out,
    );
}

/// Deals texts out to `hands` groups of nearly equal token counts: the longest first, each to the group with least.
fn deal<T: AsRef<[u32]>>(texts: &[T], hands: usize) -> Vec<Vec<usize>> {
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
        let groups = deal(&texts, 2);
        let mut all: Vec<usize> = groups.iter().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..7).collect::<Vec<_>>());
        let tokens: Vec<usize> = groups.iter().map(|g| g.iter().map(|&t| texts[t].len()).sum()).collect();
        assert_eq!(tokens.iter().sum::<usize>(), 30);
        assert!(tokens.iter().all(|t| (14..=16).contains(t)), "{tokens:?}");
    }
}
