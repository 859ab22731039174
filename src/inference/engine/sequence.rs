//! A request that is being served: what it has computed, generated and told its client.

use super::lookup::Lookup;
use super::outbox::Outbox;
use super::passage_cache::PassageCache;
use super::queue::Answer;
use super::scheduler::Phase;
use super::writer::{Writer, Written};
use crate::inference::constraint::Constrained;
use crate::inference::kv_cache::KvCache;
use crate::inference::models::{Places, Rows, Span};
use crate::inference::sampler::{Sampler, logprobs};
use crate::inference::tokenizer::Tokenizer;
use crate::inference::{FinishReason, InferenceError, TokenLogprob, Usage};
use std::ops::Range;
use std::time::Instant;

#[derive(Debug)]
pub(super) struct Sequence {
    /// The prompt and what was generated.
    tokens: Vec<u32>,
    prompt_tokens: usize,
    cached_tokens: usize,
    /// Keys and values of the first tokens.
    cache: KvCache,
    /// Positions of the prompt whose keys and values were taken from where they stood before, ascending.
    skipped: Vec<Range<usize>>,
    /// Where passages stand in the prompt, until it is read.
    passages: Vec<Range<usize>>,
    /// What the step at hand computes: the next tokens, and what is guessed to follow them.
    input: Vec<u32>,
    /// Where those stand, and how many tokens are there after the step.
    positions: Vec<usize>,
    end: usize,
    lookup: Lookup,
    max_tokens: usize,
    context_tokens: usize,
    sampler: Sampler,
    constraint: Option<Constrained>,
    writer: Writer,
    top_logprobs: Option<usize>,
    pub(super) deadline: Option<Instant>,
    pub(super) outbox: Outbox,
    pub(super) began: Instant,
}

/// Whether a sequence goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Unfinished,
    Finished,
}

/// Refuses logits that damaged weights give.
///
/// # Errors
/// `Compute` if one is not finite.
pub(super) fn check_finite(logits: &[f32]) -> Result<(), InferenceError> {
    if logits.iter().all(|logit| logit.is_finite()) {
        return Ok(());
    }
    let detail = "the logits are not finite; the model's weights are damaged or overflow";
    Err(candle_core::Error::Msg(detail.to_owned()).into())
}

impl Sequence {
    /// Begins to answer `prompt`. `cache` holds keys and values of a beginning of it and of what is `skipped`, but not of
    /// its last token.
    pub(super) fn new(
        prompt: Vec<u32>,
        deadline: Option<Instant>,
        answer: Answer,
        (cache, skipped): (KvCache, Vec<Range<usize>>),
        context_tokens: usize,
        now: Instant,
    ) -> Self {
        Self {
            prompt_tokens: prompt.len(),
            cached_tokens: cache.len() + skipped.iter().map(Range::len).sum::<usize>(),
            tokens: prompt,
            cache,
            skipped,
            passages: answer.passages,
            input: Vec::new(),
            positions: Vec::new(),
            end: 0,
            lookup: Lookup::default(),
            max_tokens: answer.max_tokens,
            context_tokens,
            sampler: answer.sampler,
            constraint: answer.constraint,
            writer: Writer::new(answer.stop),
            top_logprobs: answer.top_logprobs,
            deadline,
            outbox: Outbox::new(answer.events),
            began: now,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        let begin = self.cache.len();
        if begin >= self.prompt_tokens {
            return Phase::Decode;
        }
        let there = self.skipped.iter().filter(|range| range.start >= begin);
        Phase::Prefill {
            left: self.prompt_tokens - begin - there.map(Range::len).sum::<usize>(),
        }
    }

    /// The first position from `at` on that must be computed.
    fn next_position(&self, mut at: usize) -> usize {
        for range in &self.skipped {
            if range.contains(&at) {
                at = range.end;
            }
        }
        at
    }

    /// Takes the next `count` tokens for a step and, behind the last of them, at most `guesses` that may follow.
    pub(super) fn prepare(&mut self, count: usize, guesses: usize) {
        self.input.clear();
        self.positions.clear();
        let mut at = self.next_position(self.cache.len());
        while self.input.len() < count && at < self.tokens.len() {
            self.input.push(self.tokens[at]);
            self.positions.push(at);
            at = self.next_position(at + 1);
        }
        self.end = at;
        if self.phase() == Phase::Decode && at == self.tokens.len() {
            // A guess whose successor may not be generated any more would be computed for nothing.
            let left = (self.max_tokens - self.generated()).min(self.context_tokens - self.tokens.len());
            let guessed = self.lookup.guess(&self.tokens, guesses.min(left.saturating_sub(1)));
            self.end += guessed.len();
            self.positions.extend(at..self.end);
            self.input.extend(guessed);
        }
    }

    /// Pages that what was prepared takes.
    pub(super) fn pages_for(&self) -> usize {
        self.cache.pages_for(self.end - self.cache.len())
    }

    /// The prepared part of a pass.
    pub(super) fn span(&mut self) -> Span<'_> {
        let rows = match self.phase() {
            Phase::Decode => Rows::All,
            Phase::Prefill { .. } if self.end == self.prompt_tokens => Rows::Last,
            Phase::Prefill { .. } => Rows::None,
        };
        Span {
            rows,
            places: Some(Places {
                positions: &self.positions,
                end: self.end,
            }),
            tokens: &self.input,
            cache: &mut self.cache,
        }
    }

    /// Takes the rows of logits, of `vocabulary` each, that the prepared tokens gave: chooses the next tokens, as far as
    /// what was guessed is right.
    ///
    /// # Errors
    /// If the logits are not finite.
    pub(super) fn accept(
        &mut self,
        logits: &[f32],
        vocabulary: usize,
        tokenizer: &Tokenizer,
    ) -> Result<Progress, InferenceError> {
        let rows = logits.len() / vocabulary;
        if rows == 0 {
            return Ok(Progress::Unfinished);
        }
        if self.tokens.len() == self.prompt_tokens {
            self.outbox.started(self.prompt_tokens, self.cached_tokens);
        }
        let before = self.cache.len() - rows;
        let guessed = self.input.split_off(self.input.len() - (rows - 1));
        for (right, row) in logits.chunks_exact(vocabulary).enumerate() {
            check_finite(row)?;
            let (token, progress) = self.next_token(row, tokenizer)?;
            let goes_on = progress == Progress::Unfinished && guessed.get(right) == Some(&token);
            if !goes_on {
                self.lookup.learn(guessed.len(), right);
                self.cache.truncate(before + right + 1);
                return Ok(progress);
            }
        }
        Ok(Progress::Unfinished)
    }

    /// Chooses a token and tells the client.
    fn next_token(&mut self, logits: &[f32], tokenizer: &Tokenizer) -> Result<(u32, Progress), InferenceError> {
        let token = match &mut self.constraint {
            Some(constraint) => self.sampler.sample(constraint.mask(logits)?, &self.tokens)?,
            None => self.sampler.sample(logits, &self.tokens)?,
        };
        if tokenizer.is_end(token) {
            return Ok((token, self.finish(FinishReason::Stop)));
        }
        if let Some(constraint) = &mut self.constraint {
            constraint.accept(token)?;
        }
        self.tokens.push(token);
        let logprob = self.top_logprobs.map(|top| describe(logits, token, top, tokenizer));
        // Control tokens that do not end the answer are not part of its text.
        let bytes = if tokenizer.is_control(token) {
            &[]
        } else {
            tokenizer.token_bytes(token)
        };
        let Written {
            text,
            logprobs,
            stopped,
        } = self.writer.push(bytes, logprob);
        self.outbox.text(&text, logprobs);
        if stopped {
            self.done(FinishReason::Stop);
            return Ok((token, Progress::Finished));
        }
        if self.constraint.as_ref().is_some_and(Constrained::is_finished) {
            return Ok((token, self.finish(FinishReason::Stop)));
        }
        if self.generated() == self.max_tokens || self.tokens.len() == self.context_tokens {
            return Ok((token, self.finish(FinishReason::Length)));
        }
        Ok((token, Progress::Unfinished))
    }

    /// What it was given and has generated, as far as it was computed and nothing was put into it, with keys and values.
    pub(super) fn computed(&self) -> (&[u32], &KvCache) {
        let exact = self.skipped.first().map_or(usize::MAX, |range| range.start);
        let len = self.cache.len().min(self.tokens.len()).min(exact);
        (&self.tokens[..len], &self.cache)
    }

    /// Once the prompt is read: keeps the passages in it that were computed.
    pub(super) fn keep_passages(&mut self, passages: &mut PassageCache) {
        if self.cache.len() < self.prompt_tokens {
            return;
        }
        for range in std::mem::take(&mut self.passages) {
            let computed = !self.skipped.iter().any(|skipped| range.contains(&skipped.start));
            let tokens = &self.tokens[range.clone()];
            if computed && !passages.contains(tokens) {
                match self.cache.piece(range) {
                    Ok(piece) => passages.keep(tokens, piece),
                    Err(error) => tracing::warn!(%error, "a passage is not kept"),
                }
            }
        }
    }

    /// What is still to be told.
    pub(super) fn into_outbox(self) -> Outbox {
        self.outbox
    }

    fn generated(&self) -> usize {
        self.tokens.len() - self.prompt_tokens
    }

    /// Ends the answer and lets go of what was held back.
    fn finish(&mut self, reason: FinishReason) -> Progress {
        let Written {
            text,
            logprobs,
            stopped,
        } = self.writer.finish();
        self.outbox.text(&text, logprobs);
        self.done(if stopped { FinishReason::Stop } else { reason });
        Progress::Finished
    }

    fn done(&mut self, reason: FinishReason) {
        let usage = Usage {
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            completion_tokens: self.generated(),
        };
        self.outbox.done(reason, usage);
    }
}

fn describe(logits: &[f32], token: u32, top: usize, tokenizer: &Tokenizer) -> TokenLogprob {
    let found = logprobs(logits, token, top);
    let spell = |id| {
        let bytes = tokenizer.token_bytes(id);
        (String::from_utf8_lossy(bytes).into_owned(), bytes.to_vec())
    };
    let (text, bytes) = spell(token);
    let top = found.top.into_iter().map(|(id, logprob)| {
        let (text, bytes) = spell(id);
        (text, bytes, logprob)
    });
    TokenLogprob {
        text,
        bytes,
        logprob: found.chosen,
        top: top.collect(),
    }
}
