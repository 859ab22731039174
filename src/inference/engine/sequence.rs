//! A request that is being served: what it has computed, generated and told its client.

use super::outbox::Outbox;
use super::queue::Job;
use super::scheduler::Phase;
use super::writer::{Writer, Written};
use crate::inference::constraint::Constrained;
use crate::inference::kv_cache::KvCache;
use crate::inference::sampler::{Sampler, logprobs};
use crate::inference::tokenizer::Tokenizer;
use crate::inference::{FinishReason, InferenceError, TokenLogprob, Usage};
use std::time::Instant;

#[derive(Debug)]
pub(super) struct Sequence {
    /// The prompt and what was generated.
    tokens: Vec<u32>,
    prompt_tokens: usize,
    /// Where the prompt is cut into chunks.
    cuts: Vec<usize>,
    cached_tokens: usize,
    /// Keys and values of the first `computed` tokens.
    pub(super) cache: KvCache,
    computed: usize,
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

impl Sequence {
    /// Begins to serve `job`. `cache` holds keys and values of its prompt up to a cut, but not of all of it.
    pub(super) fn new(job: Job, cache: KvCache, context_tokens: usize, now: Instant) -> Self {
        let computed = cache.len();
        Self {
            prompt_tokens: job.prompt.len(),
            cached_tokens: computed,
            tokens: job.prompt,
            cuts: job.cuts,
            cache,
            computed,
            max_tokens: job.max_tokens,
            context_tokens,
            sampler: job.sampler,
            constraint: job.constraint,
            writer: Writer::new(job.stop),
            top_logprobs: job.top_logprobs,
            deadline: job.deadline,
            outbox: Outbox::new(job.events),
            began: now,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        if self.computed >= self.prompt_tokens {
            return Phase::Decode;
        }
        let next = self.cuts.iter().copied().find(|&cut| cut > self.computed);
        Phase::Prefill {
            chunk: next.unwrap_or(self.prompt_tokens) - self.computed,
        }
    }

    /// The tokens that another prompt may take over: those of whole chunks.
    pub(super) fn reusable(&self) -> &[u32] {
        let last = self.cuts.iter().copied().rfind(|&cut| cut <= self.computed);
        &self.tokens[..last.unwrap_or(0)]
    }

    /// The next tokens to compute, at most `count`.
    pub(super) fn input(&self, count: usize) -> Vec<u32> {
        let end = self.tokens.len().min(self.computed + count);
        self.tokens[self.computed..end].to_vec()
    }

    /// Takes the logits after `count` more tokens were computed: chooses the next token, unless the prompt goes on.
    pub(super) fn accept(
        &mut self,
        count: usize,
        logits: &[f32],
        tokenizer: &Tokenizer,
    ) -> Result<Progress, InferenceError> {
        self.computed += count;
        if self.computed < self.prompt_tokens {
            return Ok(Progress::Unfinished);
        }
        if self.tokens.len() == self.prompt_tokens {
            self.outbox.started(self.prompt_tokens, self.cached_tokens);
        }
        let token = match &mut self.constraint {
            Some(constraint) => self.sampler.sample(constraint.mask(logits)?, &self.tokens)?,
            None => self.sampler.sample(logits, &self.tokens)?,
        };
        if tokenizer.is_end(token) {
            return Ok(self.finish(FinishReason::Stop));
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
            return Ok(Progress::Finished);
        }
        if self.constraint.as_ref().is_some_and(Constrained::is_finished) {
            return Ok(self.finish(FinishReason::Stop));
        }
        if self.generated() == self.max_tokens || self.tokens.len() == self.context_tokens {
            return Ok(self.finish(FinishReason::Length));
        }
        Ok(Progress::Unfinished)
    }

    /// The tokens that another prompt may take over, their keys and values, and what is still to be told.
    pub(super) fn into_parts(mut self) -> (Vec<u32>, KvCache, Outbox) {
        let reusable = self.reusable().len();
        self.tokens.truncate(reusable);
        self.cache.truncate(reusable);
        (self.tokens, self.cache, self.outbox)
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
