//! The reader: an encoder trained to say whether a passage answers a question, and where; and whether two questions ask the same.
//!
//! It sees `<s> query: QUESTION </s></s> passage: TITLE TEXT </s>`. A linear head over the first token and the mean of all
//! gives the log-odds that the passage answers (Rajpurkar et al., arXiv:1806.03822, who added the unanswerable); two more
//! give every token's score as the beginning and the end of the answer (Devlin et al., arXiv:1810.04805, section 4.2). Of
//! `<s> query: QUESTION </s></s> query: OTHER </s>` another linear head gives the log-odds that one answer serves both.

use super::embedder::E5Embedder;
use super::head::HeadFile;
use super::model::{Encoded, Encoder};
use super::queue::{Lane, Queue};
use super::tokenizer::PieceTokenizer;
use super::weights::{Fault, Weights};
use super::{all_finite, start};
use crate::config::InferenceConfig;
use crate::inference::gguf::{Gguf, GgufError};
use crate::inference::{AnswerPlace, Embedder, InferenceError, ReadPassage, Reader, Reading, TokenShare};
use async_trait::async_trait;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// The reader that comes with the program; `models/reader/README.md` says how it was made.
const BUILT_IN: &[u8] = include_bytes!("../../../models/reader/reader.gguf");

/// Tokens of the longest input it was trained with.
const MAX_TOKENS: usize = 384;
/// Tokens of a question and of a title that are read; the rest is passed over.
const MAX_QUESTION_TOKENS: usize = 96;
const MAX_TITLE_TOKENS: usize = 48;
/// Bytes of a text and of a title that are read: passages are far shorter, but the answer of a FAQ may have any length,
/// and a customer waits.
const MAX_TEXT_BYTES: usize = 32 << 10;
const MAX_TITLE_BYTES: usize = 4 << 10;
/// Tokens of the longest answer that is marked.
const MAX_ANSWER_TOKENS: usize = 64;
/// Numbers that one input gives: log-odds, first and last token of the answer, and for each token of the text how likely
/// the answer begins and ends there.
const OUTPUTS: usize = 3 + 2 * MAX_TOKENS;
/// The least share of a token that is told.
const LEAST_SHARE: f32 = 1e-3;

/// The heads over the encoder's output.
struct Heads {
    answers: Vec<f32>,
    answers_bias: f32,
    /// Two rows: beginning, end. Their biases change nothing in a comparison.
    span: Vec<f32>,
    same: Vec<f32>,
    same_bias: f32,
}

/// One input: a question, and a part of a passage or another question.
struct Input {
    ids: Vec<u32>,
    /// Where the passage's text begins in `ids`; the mark at the end does not belong to it. `None` for another question.
    text: Option<usize>,
}

impl AsRef<[u32]> for Input {
    fn as_ref(&self) -> &[u32] {
        &self.ids
    }
}

/// A part of a passage that is read at once, with the bytes of the passage that each token stands for.
struct Part {
    input: Input,
    bytes: Vec<Range<usize>>,
}

/// A reader in this process; one thread owns it, and dropping the reader ends the thread.
pub struct CrossReader {
    tokenizer: Arc<PieceTokenizer>,
    queue: Arc<Queue<Input>>,
    version: String,
}

impl std::fmt::Debug for CrossReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CrossReader")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl CrossReader {
    /// The reader that comes with the program, over the vocabulary of `embedder`.
    ///
    /// # Errors
    /// `BadModel` if it was trained over another vocabulary; `BadParameter` if the thread pool cannot be built.
    pub fn built_in(embedder: &E5Embedder, config: &InferenceConfig) -> Result<Self, InferenceError> {
        let path = Path::new("reader.gguf (built in)");
        Self::new(Gguf::from_bytes(path, BUILT_IN), path, embedder, config)
    }

    /// A reader from a file.
    ///
    /// # Errors
    /// As [`Self::built_in`], and `Io`.
    pub fn load(path: &Path, embedder: &E5Embedder, config: &InferenceConfig) -> Result<Self, InferenceError> {
        Self::new(Gguf::open(path), path, embedder, config)
    }

    fn new(
        file: Result<Gguf, GgufError>,
        path: &Path,
        embedder: &E5Embedder,
        config: &InferenceConfig,
    ) -> Result<Self, InferenceError> {
        let bad = |detail| InferenceError::BadModel {
            path: path.to_owned(),
            detail,
        };
        let file = HeadFile(file?);
        let base = file.text("kefu-reader.encoder_sha256").map_err(bad)?;
        let has = &embedder.info().sha256;
        if !has.is_empty() && base != *has {
            return Err(bad(format!(
                "it belongs to the embedding model with the SHA-256 {base}, and {has} is loaded; set [inference] \
                 embedding_model to the one it was trained over, or train a reader over this one"
            )));
        }
        let version = file.text("general.version").map_err(bad)?;
        let encoder = embedder.encoder.sibling(&file).map_err(bad)?;
        let heads = Heads::read(&file, encoder.shape.hidden).map_err(bad)?;
        let queue = Arc::new(Queue::new(config.embed_queue_length, config.embed_batch_tokens));
        let path = path.to_owned();
        start("reader", &queue, config.threads, move |inputs: &[Input]| {
            all_finite(read(&encoder, &heads, inputs), &path)
        })?;
        Ok(Self {
            tokenizer: Arc::clone(&embedder.tokenizer),
            queue,
            version,
        })
    }

    /// A question as the first half of an input.
    fn asked(&self, question: &str) -> Result<Vec<u32>, InferenceError> {
        let mut asked = vec![self.tokenizer.begin()];
        let pieces = self.tokenizer.pieces(&format!("query: {question}"))?;
        asked.extend(pieces.iter().take(MAX_QUESTION_TOKENS).map(|(id, _)| id));
        asked.extend([self.tokenizer.end(); 2]);
        Ok(asked)
    }

    /// What the network gives for each input: [`OUTPUTS`] numbers.
    async fn outputs(&self, inputs: Vec<Input>) -> Result<Vec<f32>, InferenceError> {
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let reply = self.queue.push(Lane::Express, inputs)?;
        reply.await.map_err(|_| InferenceError::Stopped)?
    }

    /// The parts of one passage: one, or several that overlap where it is long.
    fn parts(&self, question: &[u32], passage: &ReadPassage) -> Result<Vec<Part>, InferenceError> {
        let mut head = question.to_vec();
        let title = format!("passage: {}", clipped(&passage.title, MAX_TITLE_BYTES));
        let title = self.tokenizer.pieces(&title)?;
        head.extend(title.iter().take(MAX_TITLE_TOKENS).map(|(id, _)| id));
        let pieces = self.tokenizer.pieces(clipped(&passage.text, MAX_TEXT_BYTES))?;
        let room = MAX_TOKENS - head.len() - 1;
        let mut parts = Vec::new();
        let mut first = 0;
        loop {
            let part = &pieces[first..pieces.len().min(first + room)];
            let mut ids = head.clone();
            ids.extend(part.iter().map(|(id, _)| id));
            ids.push(self.tokenizer.end());
            parts.push(Part {
                input: Input {
                    ids,
                    text: Some(head.len()),
                },
                bytes: part.iter().map(|(_, bytes)| bytes.clone()).collect(),
            });
            if first + room >= pieces.len() {
                return Ok(parts);
            }
            first += room * 3 / 4;
        }
    }
}

impl Drop for CrossReader {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[async_trait]
impl Reader for CrossReader {
    fn version(&self) -> &str {
        &self.version
    }

    async fn read(&self, question: &str, passages: &[ReadPassage]) -> Result<Vec<Reading>, InferenceError> {
        let asked = self.asked(question)?;
        let (mut inputs, mut places) = (Vec::new(), Vec::new());
        for (number, passage) in passages.iter().enumerate() {
            for part in self.parts(&asked, passage)? {
                inputs.push(part.input);
                places.push((number, part.bytes));
            }
        }
        let none = Reading {
            log_odds: f32::NEG_INFINITY,
            place: AnswerPlace::default(),
        };
        let mut readings = vec![none; passages.len()];
        let outputs = self.outputs(inputs).await?;
        for ((number, bytes), output) in places.iter().zip(outputs.as_chunks::<OUTPUTS>().0) {
            let reading = &mut readings[*number];
            // Of a long passage the part counts that answers best.
            if output[0] > reading.log_odds {
                *reading = Reading {
                    log_odds: output[0],
                    place: place(&output[1..], bytes),
                };
            }
        }
        Ok(readings)
    }

    async fn same(&self, question: &str, others: &[&str]) -> Result<Vec<f32>, InferenceError> {
        let asked = self.asked(question)?;
        let input = |other: &&str| {
            let mut ids = asked.clone();
            let other = format!("query: {}", clipped(other, MAX_TITLE_BYTES));
            ids.extend(
                self.tokenizer
                    .pieces(&other)?
                    .iter()
                    .take(MAX_QUESTION_TOKENS)
                    .map(|(id, _)| id),
            );
            ids.push(self.tokenizer.end());
            Ok(Input { ids, text: None })
        };
        let inputs = others.iter().map(input).collect::<Result<_, InferenceError>>()?;
        let outputs = self.outputs(inputs).await?;
        Ok(outputs
            .as_chunks::<OUTPUTS>()
            .0
            .iter()
            .map(|output| output[0])
            .collect())
    }
}

impl Heads {
    fn read(file: &HeadFile, hidden: usize) -> Result<Self, Fault> {
        Ok(Self {
            answers: file.numbers("head.w", 2 * hidden)?,
            answers_bias: file.numbers("head.b", 1)?[0],
            span: file.numbers("span.w", 2 * hidden)?,
            same: file.numbers("same.w", 2 * hidden).map_err(|fault| {
                format!(
                    "{fault}; a reader of an earlier version cannot compare questions: train it on with scripts/train-reader.py --init, \
                     or take [inference] reader out of the settings"
                )
            })?,
            same_bias: file.numbers("same.b", 1)?[0],
        })
    }

    fn of(&self, input: &Input, encoded: &Encoded<'_>) -> Vec<f32> {
        let mut out = vec![0.0; OUTPUTS];
        let both = |bias: f32, weights: &[f32]| {
            let (first, mean) = weights.split_at(weights.len() / 2);
            bias + dot(encoded.token(0), first) + dot(&encoded.mean(), mean)
        };
        let Some(text) = input.text else {
            out[0] = both(self.same_bias, &self.same);
            return out;
        };
        let log_odds = both(self.answers_bias, &self.answers);
        let (begin, end) = self.span.split_at(self.span.len() / 2);
        let tokens = text..encoded.tokens() - 1;
        let begins: Vec<f32> = tokens.clone().map(|t| dot(encoded.token(t), begin)).collect();
        let ends: Vec<f32> = tokens.map(|t| dot(encoded.token(t), end)).collect();
        let (from, to) = best_span(&begins, &ends);
        out[..3].copy_from_slice(&[log_odds, from as f32, to as f32]);
        for (token, (begin, end)) in shares(&begins, &ends).into_iter().enumerate() {
            out[3 + 2 * token..5 + 2 * token].copy_from_slice(&[begin, end]);
        }
        out
    }
}

fn read(encoder: &Encoder, heads: &Heads, inputs: &[Input]) -> Vec<f32> {
    encoder.run(inputs, OUTPUTS, |input, encoded| heads.of(input, &encoded))
}

/// The beginning of `text`, at most `bytes` long, in whole characters.
fn clipped(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// What the numbers behind the log-odds say of a text whose tokens stand for these bytes.
fn place(output: &[f32], bytes: &[Range<usize>]) -> AnswerPlace {
    let at = |token: f32| bytes.get(token as usize).cloned().unwrap_or(0..0);
    let (first, last) = (at(output[0]), at(output[1]));
    let (shares, _) = output[2..].as_chunks::<2>();
    let token = |(bytes, [begins, ends]): (&Range<usize>, &[f32; 2])| TokenShare {
        bytes: bytes.clone(),
        begins: *begins,
        ends: *ends,
    };
    AnswerPlace {
        span: first.start..last.end.max(first.start),
        tokens: bytes
            .iter()
            .zip(shares)
            .map(token)
            .filter(|token| token.begins.max(token.ends) >= LEAST_SHARE)
            .collect(),
    }
}

/// For each token how likely the answer begins and ends there: the sums over all spans of at most [`MAX_ANSWER_TOKENS`],
/// each of which is as likely as the exponential of its two scores.
fn shares(begins: &[f32], ends: &[f32]) -> Vec<(f32, f32)> {
    let likely = |scores: &[f32]| -> Vec<f64> {
        let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        scores.iter().map(|score| f64::from(score - highest).exp()).collect()
    };
    let (begins, ends) = (likely(begins), likely(ends));
    let window = |token: usize, length: usize| token..(token + MAX_ANSWER_TOKENS).min(length);
    let mut found = vec![(0.0, 0.0); begins.len()];
    let mut whole = 0.0;
    for (from, begin) in begins.iter().enumerate() {
        for to in window(from, ends.len()) {
            let share = begin * ends[to];
            found[from].0 += share;
            found[to].1 += share;
            whole += share;
        }
    }
    let part = |share: f64| if whole > 0.0 { (share / whole) as f32 } else { 0.0 };
    found.into_iter().map(|(begin, end)| (part(begin), part(end))).collect()
}

/// First and last token of the span with the highest sum of scores, at most [`MAX_ANSWER_TOKENS`] long.
fn best_span(begins: &[f32], ends: &[f32]) -> (usize, usize) {
    let mut best = (f32::NEG_INFINITY, 0, 0);
    for (from, begin) in begins.iter().enumerate() {
        for (to, end) in ends.iter().enumerate().skip(from).take(MAX_ANSWER_TOKENS) {
            if begin + end > best.0 {
                best = (begin + end, from, to);
            }
        }
    }
    (best.1, best.2)
}

#[cfg(test)]
mod tests {
    use super::{best_span, clipped, shares};

    #[test]
    fn a_text_is_clipped_between_characters() {
        assert_eq!(clipped("年费80元", 7), "年费8");
        assert_eq!(clipped("年费80元", 5), "年");
        assert_eq!(clipped("年费", 100), "年费");
    }

    #[test]
    fn shares_are_those_of_all_spans() {
        let found = shares(&[3.0, 0.0, 1.0], &[0.0, 2.0, 2.5]);
        let (begins, ends) = found
            .iter()
            .fold((0.0, 0.0), |sum, share| (sum.0 + share.0, sum.1 + share.1));
        assert!((begins - 1.0_f32).abs() < 1e-6 && (ends - 1.0_f32).abs() < 1e-6);
        // Nothing ends before it begins: the first token ends only what it began itself.
        let spans = [(3.0, 0.0), (3.0, 2.0), (3.0, 2.5), (0.0, 2.0), (0.0, 2.5), (1.0, 2.5)];
        let whole: f32 = spans.iter().map(|(b, e): &(f32, f32)| (b + e).exp()).sum();
        assert!((found[0].1 - 3.0_f32.exp() / whole).abs() < 1e-6);
        assert!((found[2].0 - 3.5_f32.exp() / whole).abs() < 1e-6);
        assert!(shares(&[], &[]).is_empty());
    }

    #[test]
    fn a_span_never_ends_before_it_begins() {
        assert_eq!(best_span(&[0.0, 5.0, 1.0], &[4.0, 0.0, 3.0]), (1, 2));
        assert_eq!(best_span(&[9.0, 0.0], &[0.5, 0.0]), (0, 0));
        assert_eq!(best_span(&[], &[]), (0, 0));
        let mut ends = vec![0.0; 200];
        ends[150] = 9.0;
        let mut begins = vec![0.0; 200];
        begins[10] = 9.5;
        assert_eq!(best_span(&begins, &ends), (10, 10));
    }
}
