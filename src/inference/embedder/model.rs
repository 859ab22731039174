//! The encoder: BERT (Devlin et al., arXiv:1810.04805) over packed texts. Matrices are in panels of 32 columns, see
//! [`crate::kernels::panel`]; a head is one panel wide, so a head's queries, keys and values are used where they lie.
//!
//! Weights stay in 4 bits and are unpacked panel by panel into the processor's first cache, just before they are
//! used: a query of 14 tokens is bound by reading weights, and 13 MB of them come seven times faster than the same in
//! f32. Sums are f32 throughout; nothing is quantised again.

use super::container::{BLOCK, BLOCK_BYTES, Container, Fault, block_scale, unpack_block};
use crate::kernels::panel::{BLOCK_BYTES as PANEL_BLOCK_BYTES, Kernels, LayerNorm, Left, WIDTH};
use rayon::prelude::*;

/// Rows of weights unpacked at a time: with 32 columns 48 KB, the size of a first-level cache.
const UNPACKED_ROWS: usize = 384;

/// Tokens that one thread takes through the layers together. More would not fit the second-level cache (with a
/// feed-forward width of 1536 it is 1.5 MB), fewer would unpack the weights more often.
const PASS_TOKENS: usize = 256;

/// `out = in · W + b`, 4-bit weights.
struct Linear {
    inner: usize,
    /// By output panel, then by block of 32 rows: see [`Kernels::unpack_q4`].
    packed: Vec<u8>,
    scales: Vec<f32>,
    bias: Vec<f32>,
}

/// What follows a product.
#[derive(Clone, Copy, PartialEq)]
enum Activation {
    None,
    Gelu,
}

/// Whether one text's work is spread over the pool or stays on this thread.
#[derive(Clone, Copy, PartialEq)]
enum Spread {
    Panels,
    Nothing,
}

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

/// The encoder's weights.
pub(super) struct Encoder {
    kernels: Kernels,
    pub(super) hidden: usize,
    pub(super) max_tokens: usize,
    heads: usize,
    feed_forward: usize,
    epsilon: f32,
    /// 4-bit rows of the vocabulary.
    words: Vec<[u8; BLOCK_BYTES]>,
    /// Position and token type 0 together, `[positions, hidden]`.
    positions: Vec<f32>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
}

impl Linear {
    /// Products with the same left side side by side. Each part: name, columns.
    fn read(file: &Container<'_>, parts: &[(String, usize)], inner: usize) -> Result<Self, Fault> {
        let mut linear = Self {
            inner,
            packed: Vec::new(),
            scales: Vec::new(),
            bias: Vec::new(),
        };
        for (name, columns) in parts {
            let blocks = file.blocks(&format!("{name}.w"), columns * inner)?;
            linear.bias.extend(file.numbers(&format!("{name}.b"), *columns)?);
            // In the file a column of W is a row of `inner` weights, so blocks of one column follow one another.
            let in_column = inner / BLOCK;
            for panel in blocks.chunks_exact(in_column * WIDTH) {
                for block in 0..in_column {
                    let column = |c: usize| &panel[c * in_column + block];
                    linear.scales.extend((0..WIDTH).map(|c| block_scale(column(c))));
                    for j in 2..BLOCK_BYTES {
                        linear.packed.extend((0..WIDTH).map(|c| column(c)[j]));
                    }
                }
            }
        }
        Ok(linear)
    }

    fn columns(&self) -> usize {
        self.bias.len()
    }

    /// `out` is `[rows, columns]` in panels.
    fn apply(
        &self,
        kernels: Kernels,
        (input, rows): (&[f32], usize),
        out: &mut [f32],
        activation: Activation,
        spread: Spread,
    ) {
        let panel = |unpacked: &mut Vec<f32>, (index, out): (usize, &mut [f32])| {
            self.panel(kernels, (input, rows), index, out, unpacked);
            if activation == Activation::Gelu {
                kernels.gelu(out);
            }
        };
        let buffer = || vec![0.0; UNPACKED_ROWS * WIDTH];
        match spread {
            Spread::Panels => out
                .par_chunks_mut(rows * WIDTH)
                .enumerate()
                .for_each_init(buffer, panel),
            Spread::Nothing => {
                let mut unpacked = buffer();
                out.chunks_mut(rows * WIDTH)
                    .enumerate()
                    .for_each(|chunk| panel(&mut unpacked, chunk));
            }
        }
    }

    fn panel(
        &self,
        kernels: Kernels,
        (input, rows): (&[f32], usize),
        index: usize,
        out: &mut [f32],
        unpacked: &mut [f32],
    ) {
        let bias = &self.bias[index * WIDTH..(index + 1) * WIDTH];
        for row in out.chunks_exact_mut(WIDTH) {
            row.copy_from_slice(bias);
        }
        let blocks = self.inner / WIDTH;
        let packed = &self.packed[index * blocks * PANEL_BLOCK_BYTES..(index + 1) * blocks * PANEL_BLOCK_BYTES];
        let scales = &self.scales[index * self.inner..(index + 1) * self.inner];
        let at_once = UNPACKED_ROWS / WIDTH;
        for first in (0..blocks).step_by(at_once) {
            let count = at_once.min(blocks - first);
            let weights = &mut unpacked[..count * WIDTH * WIDTH];
            kernels.unpack_q4(
                &packed[first * PANEL_BLOCK_BYTES..(first + count) * PANEL_BLOCK_BYTES],
                &scales[first * WIDTH..(first + count) * WIDTH],
                weights,
            );
            let left = Left {
                data: &input[first * rows * WIDTH..],
                rows,
                stride: rows * WIDTH,
            };
            kernels.add_product(left, count * WIDTH, weights, out);
        }
    }
}

impl Norm {
    fn read(file: &Container<'_>, name: &str, width: usize) -> Result<Self, Fault> {
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
        let words = file.blocks("emb.word", shape.vocabulary * hidden)?.to_vec();
        let mut positions = file.numbers("emb.pos", shape.positions * hidden)?;
        let types = file.numbers("emb.type", shape.token_types * hidden)?;
        for row in positions.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&types).for_each(|(x, t)| *x += t);
        }
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
            hidden,
            max_tokens: shape.positions,
            heads: shape.heads,
            feed_forward: shape.feed_forward,
            epsilon: shape.epsilon,
            words,
            positions,
            embedding_norm: Norm::read(file, "emb.ln", hidden)?,
            layers,
        })
    }

    /// The vectors of `texts` (ids below the vocabulary, 1 to `max_tokens` each), `[texts, hidden]`, each of norm 1.
    /// Works on the rayon pool it is called in: texts are dealt out to the threads where there are enough of them, else
    /// the threads share each product. A text's vector does not depend on the texts beside it.
    pub(super) fn embed(&self, texts: &[Vec<u32>]) -> Vec<f32> {
        let threads = rayon::current_num_threads();
        let groups = deal(texts, threads);
        let tokens = |group: &[usize]| group.iter().map(|&text| texts[text].len()).sum::<usize>();
        let total: usize = texts.iter().map(Vec::len).sum();
        let longest = groups.iter().map(|group| tokens(group)).max().unwrap_or(0);
        let mut out = vec![0.0; texts.len() * self.hidden];
        if threads == 1 || longest * threads * 4 > total * 5 {
            // One thread would have 5/4 of its share or more.
            let all: Vec<usize> = (0..texts.len()).collect();
            self.embed_group(texts, &all, Spread::Panels, |text, vector| {
                out[text * self.hidden..(text + 1) * self.hidden].copy_from_slice(vector);
            });
            return out;
        }
        let results: Vec<Vec<(usize, Vec<f32>)>> = groups
            .par_iter()
            .with_max_len(1)
            .map(|group| {
                let mut rows = Vec::with_capacity(group.len());
                self.embed_group(texts, group, Spread::Nothing, |text, vector| {
                    rows.push((text, vector.to_vec()));
                });
                rows
            })
            .collect();
        for (text, vector) in results.into_iter().flatten() {
            out[text * self.hidden..(text + 1) * self.hidden].copy_from_slice(&vector);
        }
        out
    }

    /// Embeds the texts of `group` in passes of about [`PASS_TOKENS`].
    fn embed_group(&self, texts: &[Vec<u32>], group: &[usize], spread: Spread, mut give: impl FnMut(usize, &[f32])) {
        let mut buffers = Buffers::default();
        let mut rest = group;
        while !rest.is_empty() {
            let mut tokens = 0;
            let fit = rest.iter().take_while(|&&text| {
                tokens += texts[text].len();
                tokens <= PASS_TOKENS
            });
            let (pass, later) = rest.split_at(fit.count().max(1));
            rest = later;
            let ids: Vec<&[u32]> = pass.iter().map(|&text| texts[text].as_slice()).collect();
            self.forward(&ids, &mut buffers, spread);
            let rows = ids.iter().map(|ids| ids.len()).sum();
            let mut first = 0;
            for (&text, ids) in pass.iter().zip(&ids) {
                give(text, &self.pool(&buffers.hidden, rows, first..first + ids.len()));
                first += ids.len();
            }
        }
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
            buffer.resize(rows * self.hidden, 0.0);
        }
        wide.resize(rows * self.feed_forward.max(3 * self.hidden), 0.0);
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
            let inner = &mut wide[..rows * self.feed_forward];
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
            epsilon: self.epsilon,
        }
    }

    /// Word vectors into `words`, those of position and token type into `places`.
    fn look_up(&self, texts: &[&[u32]], rows: usize, words: &mut [f32], places: &mut [f32]) {
        let panels = self.hidden / WIDTH;
        let ids = texts.iter().flat_map(|ids| ids.iter().enumerate());
        for (row, (position, &id)) in ids.enumerate() {
            let blocks = &self.words[id as usize * panels..(id as usize + 1) * panels];
            for (panel, block) in blocks.iter().enumerate() {
                let at = (panel * rows + row) * WIDTH;
                let mut numbers = [0.0; BLOCK];
                unpack_block(block, &mut numbers);
                words[at..at + WIDTH].copy_from_slice(&numbers);
                let place = position * self.hidden + panel * WIDTH;
                places[at..at + WIDTH].copy_from_slice(&self.positions[place..place + WIDTH]);
            }
        }
    }

    /// Attention of every token to its own text, head by head.
    ///
    /// Source: Vaswani et al., arXiv:1706.03762, section 3.2.
    fn attend(&self, texts: &[&[u32]], rows: usize, combined: &[f32], out: &mut [f32], spread: Spread) {
        let size = rows * WIDTH;
        let head = |buffers: &mut HeadBuffers, (head, out): (usize, &mut [f32])| {
            let part =
                |kind: usize| &combined[(kind * self.heads + head) * size..(kind * self.heads + head + 1) * size];
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

    /// The mean of the rows, of norm 1 (Wang et al., arXiv:2402.05672: average pooling).
    fn pool(&self, hidden: &[f32], rows: usize, text: std::ops::Range<usize>) -> Vec<f32> {
        let mut vector = Vec::with_capacity(self.hidden);
        for panel in hidden.chunks_exact(rows * WIDTH) {
            let mut sums = [0.0_f32; WIDTH];
            for row in panel[text.start * WIDTH..text.end * WIDTH].as_chunks::<WIDTH>().0 {
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            vector.extend(sums);
        }
        // The number of rows cancels out.
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
fn deal(texts: &[Vec<u32>], hands: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&text| std::cmp::Reverse(texts[text].len()));
    let mut groups = vec![(0_usize, Vec::new()); hands.max(1)];
    for text in order {
        if let Some(least) = groups.iter_mut().min_by_key(|(tokens, _)| *tokens) {
            least.0 += texts[text].len();
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
