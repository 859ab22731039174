//! A request for how likely continuations of a prompt are: the prompt is computed once, and each continuation on a copy
//! of its last page.

use super::queue::ScoreWork;
use super::scheduler::Phase;
use super::sequence::{Progress, check_finite};
use crate::inference::kv_cache::KvCache;
use crate::inference::models::{Rows, Span};
use crate::inference::sampler::logprobs;
use crate::inference::{InferenceError, Score};
use std::time::Instant;
use tokio::sync::oneshot;

/// Rows of logits in a step at most: each is as long as the vocabulary.
const MOST_ROWS: usize = 64;

#[derive(Debug)]
pub(super) struct Scoring {
    prompt: Vec<u32>,
    cache: KvCache,
    /// Prompt tokens that the step at hand computes.
    input: Vec<u32>,
    continuations: Vec<Vec<u32>>,
    /// Log-probabilities so far; the first token's of every continuation come from the prompt's last row.
    scores: Vec<Score>,
    /// The first continuation whose further tokens are not computed, and those of the step at hand with their caches.
    next: usize,
    batch: Vec<(usize, KvCache)>,
    reply: Option<oneshot::Sender<Result<Vec<Score>, InferenceError>>>,
    pub(super) deadline: Option<Instant>,
    pub(super) began: Instant,
}

impl Scoring {
    /// Begins to score what may follow `prompt`. `cache` holds keys and values of a beginning of it, but not of all of it.
    pub(super) fn new(
        prompt: Vec<u32>,
        deadline: Option<Instant>,
        work: ScoreWork,
        cache: KvCache,
        now: Instant,
    ) -> Self {
        Self {
            prompt,
            cache,
            input: Vec::new(),
            continuations: work.continuations,
            scores: Vec::new(),
            next: 0,
            batch: Vec::new(),
            reply: Some(work.reply),
            deadline,
            began: now,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// The continuations are computed like prompts, some at a time.
    pub(super) fn phase(&self) -> Phase {
        let left = match self.prompt.len() - self.cache.len() {
            0 => self.continuations[self.next..]
                .iter()
                .map(|tokens| tokens.len().max(2) - 1)
                .sum(),
            left => left,
        };
        Phase::Prefill { left: left.max(1) }
    }

    /// Takes about `count` tokens for a step.
    pub(super) fn prepare(&mut self, count: usize) {
        self.input.clear();
        self.batch.clear();
        let begin = self.cache.len();
        if begin < self.prompt.len() {
            let end = self.prompt.len().min(begin + count);
            self.input.extend_from_slice(&self.prompt[begin..end]);
            return;
        }
        let mut rows = 0;
        while self.next < self.continuations.len() {
            // The last token's own successor is not asked for.
            let more = self.continuations[self.next].len() - 1;
            if more > 0 {
                if rows > 0 && rows + more > count.min(MOST_ROWS) {
                    break;
                }
                let cache = self.cache.prefix(usize::MAX);
                self.batch.push((self.next, cache));
                rows += more;
            }
            self.next += 1;
        }
    }

    /// Pages that what was prepared takes.
    pub(super) fn pages_for(&self) -> usize {
        let each = |(index, cache): &(usize, KvCache)| cache.pages_for(self.continuations[*index].len() - 1);
        self.cache.pages_for(self.input.len()) + self.batch.iter().map(each).sum::<usize>()
    }

    /// The prepared parts of a pass.
    pub(super) fn spans(&mut self) -> Vec<Span<'_>> {
        if !self.input.is_empty() {
            let whole = self.cache.len() + self.input.len() == self.prompt.len();
            return vec![Span {
                tokens: &self.input,
                cache: &mut self.cache,
                places: None,
                rows: if whole { Rows::Last } else { Rows::None },
            }];
        }
        let continuations = &self.continuations;
        (self.batch.iter_mut())
            .map(|(index, cache)| {
                let tokens = &continuations[*index];
                Span {
                    tokens: &tokens[..tokens.len() - 1],
                    cache,
                    places: None,
                    rows: Rows::All,
                }
            })
            .collect()
    }

    /// Takes the rows of logits that the prepared tokens gave.
    pub(super) fn accept(&mut self, logits: &[f32], vocabulary: usize) -> Result<Progress, InferenceError> {
        check_finite(logits)?;
        let mut rows = logits.chunks_exact(vocabulary);
        if !self.input.is_empty() {
            let Some(row) = rows.next() else {
                return Ok(Progress::Unfinished);
            };
            self.scores = (self.continuations.iter())
                .map(|tokens| Score {
                    logprobs: vec![logprobs(row, tokens[0], 0).chosen],
                })
                .collect();
        }
        for (index, _) in &self.batch {
            for (token, row) in self.continuations[*index][1..].iter().zip(&mut rows) {
                self.scores[*index].logprobs.push(logprobs(row, *token, 0).chosen);
            }
        }
        self.batch.clear();
        let complete =
            (self.scores.iter().zip(&self.continuations)).all(|(score, tokens)| score.logprobs.len() == tokens.len());
        if self.scores.len() < self.continuations.len() || !complete {
            return Ok(Progress::Unfinished);
        }
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Ok(std::mem::take(&mut self.scores)));
        }
        Ok(Progress::Finished)
    }

    pub(super) fn fail(&mut self, error: InferenceError) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Err(error));
        }
    }

    /// The prompt as far as it was computed, with keys and values.
    pub(super) fn computed(&self) -> (&[u32], &KvCache) {
        (&self.prompt[..self.cache.len()], &self.cache)
    }
}
