//! Training of a [`Network`]: Adam with decoupled weight decay, dropout and smoothed labels, in small batches.
//!
//! Sources: Kingma and Ba, arXiv:1412.6980; Loshchilov and Hutter, arXiv:1711.05101; Srivastava et al., JMLR 15 (2014); Szegedy
//! et al., arXiv:1512.00567, section 7. The weights of grams, of which a text has few, are trained by Adagrad (Duchi et al., JMLR 12
//! (2011)). The same seed gives the same network on the same machine with as many threads.

use super::lexicon::{Grams, Lexicon};
use super::matrix::{Matrix, Side};
use super::network::{Network, Rows, gelu, gelu_slope, softmax, standardised};
use crate::kernels::pool;

/// With fewer examples of a label than this, on the average, only the last block of numbers is learnt from: of five examples of each of 77
/// intents the others made a linear head find .66 of the rest, in place of .73 (`benches/README.md`).
const FEW: usize = 20;
/// Examples in a batch.
const BATCH: usize = 64;
/// Adam's memory of gradients and of their squares, and what keeps it from dividing by nothing.
const MOMENTS: (f32, f32, f32) = (0.9, 0.999, 1e-8);

/// How a head is trained.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Training {
    /// Width of the hidden layer.
    pub hidden: usize,
    /// Times that all examples are seen.
    pub epochs: usize,
    /// Times that a batch is computed at least, however few examples there are.
    pub least_steps: usize,
    /// The first step's rate; it falls to 0 in a line.
    pub rate: f32,
    /// How fast weights that nothing needs fall to 0.
    pub decay: f32,
    /// Share of the encoder's numbers that each step does without.
    pub input_dropout: f32,
    /// Share of hidden units that each step does without.
    pub hidden_dropout: f32,
    /// Probability that is spread over the other labels.
    pub smoothing: f32,
    /// How much the grams of a text weigh beside the encoder's numbers; 0 leaves them out.
    pub grams: f32,
    /// The rate of the grams' weights.
    pub grams_rate: f32,
    /// Texts that a gram must occur in.
    pub least_texts: u32,
    /// The most grams.
    pub most_grams: usize,
    /// What chance begins with.
    pub seed: u64,
}

impl Default for Training {
    /// Chosen on halves of the training files of three public sets of intents, two English and one Chinese.
    fn default() -> Self {
        Self {
            hidden: 512,
            epochs: 20,
            least_steps: 600,
            rate: 1e-3,
            decay: 0.05,
            input_dropout: 0.3,
            hidden_dropout: 0.5,
            smoothing: 0.1,
            grams: 1.0,
            grams_rate: 0.005,
            least_texts: 2,
            most_grams: 40_000,
            seed: 1,
        }
    }
}

/// A text to learn from.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The text.
    pub text: &'a str,
    /// What the encoder says of it.
    pub numbers: &'a [f32],
    /// Its label's place.
    pub label: u32,
}

/// `SplitMix64` (Steele et al., OOPSLA 2014): chance that is the same in every version of the program.
pub(super) struct Chance(pub u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    fn share(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 24) as f32
    }

    /// Deals `items` anew (Fisher and Yates).
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = (self.next() % (last as u64 + 1)) as usize;
            items.swap(last, other);
        }
    }
}

/// A layer of weights, `[units, width]`, with a bias for each unit, and Adam's memory of both.
struct Layer {
    weights: Matrix,
    biases: Vec<f32>,
    memory: [Vec<f32>; 4],
}

/// The step under way.
#[derive(Clone, Copy)]
struct Step {
    rate: f32,
    decay: f32,
    /// Corrections of Adam's memory, which begins with nothing.
    corrections: (f32, f32),
}

impl Layer {
    fn new(units: usize, width: usize, chance: &mut Chance) -> Self {
        // Uniform within 1 / sqrt(width), as is usual for such layers.
        let bound = 1.0 / (width.max(1) as f32).sqrt();
        let weights: Vec<f32> = (0..units * width)
            .map(|_| (2.0 * chance.share() - 1.0) * bound)
            .collect();
        let nothing = |count: usize| vec![0.0; count];
        Self {
            memory: [
                nothing(units * width),
                nothing(units * width),
                nothing(units),
                nothing(units),
            ],
            biases: nothing(units),
            weights: Matrix::new(units, width, weights),
        }
    }

    /// The layer's output for `inputs` (`[count, width]`), as `[count, units]`.
    fn apply(&self, inputs: &Matrix) -> Matrix {
        let mut out = inputs.times(Side::Same, &self.weights, Side::Turned);
        for row in out.data.chunks_exact_mut(self.biases.len()) {
            row.iter_mut().zip(&self.biases).for_each(|(x, bias)| *x += bias);
        }
        out
    }

    /// Adam's step by what the outputs should have been (`errors`, `[count, units]`) for `inputs`.
    fn learn(&mut self, errors: &Matrix, inputs: &Matrix, step: Step) {
        let gradient = errors.times(Side::Turned, inputs, Side::Same);
        let mut biases = vec![0.0; self.biases.len()];
        for row in errors.data.chunks_exact(biases.len()) {
            biases.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        let [mean, square, bias_mean, bias_square] = &mut self.memory;
        adam(&mut self.weights.data, (mean, square), &gradient.data, step);
        adam(&mut self.biases, (bias_mean, bias_square), &biases, step);
    }
}

/// One step of Adam for each weight.
fn adam(weights: &mut [f32], memory: (&mut [f32], &mut [f32]), gradient: &[f32], step: Step) {
    let (first, second, epsilon) = MOMENTS;
    let scale = (step.rate / step.corrections.0, 1.0 / step.corrections.1.sqrt());
    let kept = 1.0 - step.rate * step.decay;
    let rows = weights.iter_mut().zip(memory.0).zip(memory.1);
    for (((weight, mean), square), g) in rows.zip(gradient) {
        *mean = first * *mean + (1.0 - first) * g;
        *square = second * *square + (1.0 - second) * g * g;
        *weight = kept * *weight - scale.0 * *mean / (square.sqrt() * scale.1 + epsilon);
    }
}

/// The weights of one gram for each label, and the sum of their squared gradients.
struct GramRow {
    weights: Vec<f32>,
    squares: Vec<f32>,
}

/// Layers under training.
struct Learner<'a> {
    training: &'a Training,
    labels: usize,
    inputs: &'a Rows,
    grams: &'a [Grams],
    answers: Vec<u32>,
    hidden: Layer,
    output: Layer,
    words: Vec<GramRow>,
}

impl Learner<'_> {
    /// One step over the examples `batch`.
    fn step(&mut self, batch: &[u32], step: Step, chance: &mut Chance) {
        let inputs = self.dropped_inputs(batch, chance);
        let before = self.hidden.apply(&inputs);
        let keep = 1.0 - self.training.hidden_dropout;
        let kept: Vec<f32> = (0..before.data.len())
            .map(|_| if chance.share() < keep { 1.0 / keep } else { 0.0 })
            .collect();
        let mut after = before.clone();
        for (x, kept) in after.data.iter_mut().zip(&kept) {
            *x = if *kept > 0.0 { gelu(*x) * kept } else { 0.0 };
        }
        let errors = self.errors(batch, &after);
        // Back through the output layer, before that learns.
        let mut back = errors.times(Side::Same, &self.output.weights, Side::Same);
        for ((back, before), kept) in back.data.iter_mut().zip(&before.data).zip(&kept) {
            *back *= if *kept > 0.0 { kept * gelu_slope(*before) } else { 0.0 };
        }
        self.learn_words(batch, &errors.data, step.rate / self.training.rate);
        self.output.learn(&errors, &after, step);
        self.hidden.learn(&back, &inputs, step);
    }

    /// The examples' numbers, `[count, width]`, some of them 0.
    fn dropped_inputs(&self, batch: &[u32], chance: &mut Chance) -> Matrix {
        let width = self.inputs.width;
        let keep = 1.0 - self.training.input_dropout;
        let seeds: Vec<u64> = batch.iter().map(|_| chance.next()).collect();
        let mut inputs = vec![0.0; batch.len() * width];
        pool::run_chunks(&mut inputs, width, &|example, out| {
            let mut chance = Chance(seeds[example]);
            let row = self.inputs.row(batch[example] as usize);
            for (out, x) in out.iter_mut().zip(row) {
                *out = if chance.share() < keep { x / keep } else { 0.0 };
            }
        });
        Matrix::new(batch.len(), width, inputs)
    }

    /// How far the probabilities are from the answers, `[count, labels]`, divided by the count.
    fn errors(&self, batch: &[u32], hidden: &Matrix) -> Matrix {
        let labels = self.labels;
        let mut errors = self.output.apply(hidden);
        let smoothing = self.training.smoothing;
        pool::run_chunks(&mut errors.data, labels, &|place, scores| {
            let example = batch[place] as usize;
            for &(gram, weight) in &self.grams[example] {
                let weights = &self.words[gram as usize].weights;
                let weight = weight * self.training.grams;
                scores
                    .iter_mut()
                    .zip(weights)
                    .for_each(|(score, x)| *score += weight * x);
            }
            let probabilities = softmax(scores, 1.0);
            for (label, (out, p)) in scores.iter_mut().zip(probabilities).enumerate() {
                let right = if label == self.answers[example] as usize {
                    1.0 - smoothing
                } else {
                    0.0
                };
                *out = (p - right - smoothing / labels as f32) / batch.len() as f32;
            }
        });
        errors
    }

    /// Adagrad on the grams of the batch; `share` of the first step's rate.
    fn learn_words(&mut self, batch: &[u32], errors: &[f32], share: f32) {
        if self.words.is_empty() {
            return;
        }
        let mut used: Vec<(u32, u32, f32)> = Vec::new();
        for (place, example) in batch.iter().enumerate() {
            let grams = &self.grams[*example as usize];
            used.extend(grams.iter().map(|&(gram, weight)| (gram, place as u32, weight)));
        }
        used.sort_unstable_by_key(|&(gram, place, _)| (gram, place));
        let rate = self.training.grams_rate * share;
        let (labels, scale) = (self.labels, self.training.grams);
        let pieces = self.words.len().div_ceil(pool::threads() * 4).max(1);
        pool::run_chunks(&mut self.words, pieces, &|piece, rows| {
            let first = (piece * pieces) as u32;
            let begin = used.partition_point(|(gram, _, _)| *gram < first);
            let end = used.partition_point(|(gram, _, _)| (*gram as usize) < piece * pieces + rows.len());
            let mut gradient = vec![0.0; labels];
            for group in used[begin..end].chunk_by(|a, b| a.0 == b.0) {
                gradient.fill(0.0);
                for &(_, place, weight) in group {
                    let errors = &errors[place as usize * labels..(place as usize + 1) * labels];
                    gradient
                        .iter_mut()
                        .zip(errors)
                        .for_each(|(g, e)| *g += weight * scale * e);
                }
                let row = &mut rows[(group[0].0 - first) as usize];
                let states = row.weights.iter_mut().zip(&mut row.squares);
                for ((weight, square), g) in states.zip(&gradient) {
                    *square += g * g;
                    *weight -= rate * g / (square.sqrt() + 1e-6);
                }
            }
        });
    }
}

/// What all the samples have in common is taken out, block by block.
fn means(samples: &[Sample<'_>], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0_f64; width];
    for sample in samples {
        sums.iter_mut()
            .zip(sample.numbers)
            .for_each(|(sum, x)| *sum += f64::from(*x));
    }
    sums.into_iter()
        .map(|sum| (sum / samples.len().max(1) as f64) as f32)
        .collect()
}

/// Trains a network on `samples` (at least one, all of the same number of numbers), whose blocks have `block` numbers. `done` is
/// called with the share of the work that is done.
pub(super) fn train(
    samples: &[Sample<'_>],
    labels: usize,
    block: usize,
    training: &Training,
    done: &dyn Fn(f32),
) -> Network {
    let width = samples.first().map_or(0, |sample| sample.numbers.len());
    let means = means(samples, width);
    let mut inputs = Rows {
        width,
        data: vec![0.0; samples.len() * width],
    };
    pool::run_chunks(&mut inputs.data, width.max(1), &|at, out| {
        out.copy_from_slice(&standardised(samples[at].numbers, &means, block));
    });
    let first = if samples.len() < FEW * labels {
        width.saturating_sub(block)
    } else {
        0
    };
    pool::run_chunks(&mut inputs.data, width.max(1), &|_, out| out[..first].fill(0.0));
    let lexicon = if training.grams > 0.0 {
        let texts = samples.iter().map(|sample| sample.text);
        Lexicon::of(texts, training.least_texts, training.most_grams)
    } else {
        Lexicon::default()
    };
    let grams: Vec<Grams> = samples.iter().map(|sample| lexicon.grams(sample.text)).collect();
    let mut chance = Chance(training.seed);
    let mut hidden = Layer::new(training.hidden, width, &mut chance);
    // What is not learnt from weighs nothing.
    for row in hidden.weights.data.chunks_mut(width.max(1)) {
        row[..first].fill(0.0);
    }
    let output = Layer::new(labels, training.hidden, &mut chance);
    let mut learner = Learner {
        training,
        labels,
        inputs: &inputs,
        grams: &grams,
        answers: samples.iter().map(|sample| sample.label).collect(),
        hidden,
        output,
        words: (lexicon.hashes.iter())
            .map(|_| GramRow {
                weights: vec![0.0; labels],
                squares: vec![0.0; labels],
            })
            .collect(),
    };
    let each = samples.len().div_ceil(BATCH).max(1);
    let steps = (each * training.epochs).max(training.least_steps);
    let mut order: Vec<u32> = (0..samples.len() as u32).collect();
    let (mut step, mut decayed) = (0, (1.0, 1.0));
    'epochs: loop {
        chance.shuffle(&mut order);
        for batch in order.chunks(BATCH) {
            if step == steps {
                break 'epochs;
            }
            decayed = (decayed.0 * MOMENTS.0, decayed.1 * MOMENTS.1);
            let now = Step {
                rate: training.rate * (1.0 - step as f32 / steps as f32),
                decay: training.decay,
                corrections: (1.0 - decayed.0, 1.0 - decayed.1),
            };
            learner.step(batch, now, &mut chance);
            step += 1;
            if step % 16 == 0 {
                done(step as f32 / steps as f32);
            }
        }
    }
    let Learner {
        hidden, output, words, ..
    } = learner;
    let rows = |layer: &Layer| Rows {
        width: layer.weights.columns,
        data: layer.weights.data.clone(),
    };
    Network {
        block,
        hidden: rows(&hidden),
        hidden_bias: hidden.biases,
        output: rows(&output),
        output_bias: output.biases,
        grams: Rows {
            width: labels,
            data: words
                .iter()
                .flat_map(|row| &row.weights)
                .map(|x| x * training.grams)
                .collect(),
        },
        lexicon,
        means,
    }
}
