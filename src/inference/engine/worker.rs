//! The engine's thread: it alone touches the model.

use super::outbox::{Delivery, Outbox};
use super::prefix_cache::{PrefixCache, common};
use super::queue::{Idle, Job, Queue, Service};
use super::scheduler::{self, Work};
use super::sequence::{Progress, Sequence};
use crate::inference::InferenceError;
use crate::inference::models::CausalModel;
use crate::inference::tokenizer::Tokenizer;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The least beginning that is taken over from a sequence that is still running: its buffers are copied for that.
const LEAST_SHARED: usize = 32;

pub(super) struct Worker {
    pub(super) model: Box<dyn CausalModel>,
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) queue: Arc<Queue>,
    pub(super) context_tokens: usize,
    pub(super) stalled_client: Duration,
    pub(super) prefixes: PrefixCache,
    /// What is being served, the oldest first.
    pub(super) sequences: Vec<Sequence>,
    /// Events of finished sequences that a client has not read yet.
    pub(super) leaving: Vec<Outbox>,
    /// How many of those there may be.
    pub(super) most_leaving: usize,
}

impl Worker {
    /// Serves until the engine is shut down. A panic ends the requests under way with an error and the engine with
    /// them; it goes no further.
    pub(super) fn run(mut self) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.serve()));
        self.queue.restrict(Service::Closed);
        if let Err(panic) = outcome {
            let reason = describe(panic.as_ref());
            tracing::error!(%reason, "the engine failed and has stopped");
            for sequence in &mut self.sequences {
                let message = candle_core::Error::Msg("the engine failed; see the log".to_owned());
                sequence.outbox.fail(InferenceError::Compute(message));
            }
        }
        for sequence in &mut self.sequences {
            sequence.outbox.fail(InferenceError::Stopped);
        }
        self.leaving
            .extend(self.sequences.drain(..).map(|sequence| sequence.outbox));
        let now = Instant::now();
        for outbox in &mut self.leaving {
            outbox.flush(now);
        }
    }

    fn serve(&mut self) {
        loop {
            let idle = match (self.sequences.is_empty(), self.leaving.is_empty()) {
                (false, _) => Idle::No,
                (true, true) => Idle::Yes,
                (true, false) => Idle::Delivering,
            };
            let service = self.queue.wait(idle);
            if service == Service::Closed {
                return;
            }
            let now = Instant::now();
            for job in self.queue.take(now) {
                self.admit(job, now);
            }
            let done = self.sequences.is_empty() && self.leaving.is_empty();
            if service == Service::Draining && done {
                return;
            }
            self.step();
            self.deliver();
        }
    }

    /// Begins to serve a request, from the last cut of its prompt up to which keys and values are there.
    fn admit(&mut self, job: Job, now: Instant) {
        // The last token is always computed: its logits choose the first token of the answer.
        let last = job.prompt.len() - 1;
        let cut = |length: usize| {
            job.cuts
                .iter()
                .copied()
                .rfind(|&cut| cut <= length.min(last))
                .unwrap_or(0)
        };
        let running = (self.sequences.iter())
            .map(|sequence| (cut(common(sequence.reusable(), &job.prompt)), sequence))
            .max_by_key(|&(length, _)| length)
            .filter(|&(length, _)| length >= LEAST_SHARED);
        let kept = cut(self.prefixes.longest(&job.prompt));
        let cache = match running {
            Some((length, sequence)) if length > kept => sequence.cache.prefix(length),
            _ => (self.prefixes.continue_from(&job.prompt[..kept]))
                .unwrap_or_else(|| self.model.new_cache(self.context_tokens)),
        };
        self.sequences.push(Sequence::new(job, cache, self.context_tokens, now));
    }

    /// One step: a token for every answer and a chunk of one prompt.
    fn step(&mut self) {
        let phases: Vec<_> = self.sequences.iter().map(Sequence::phase).collect();
        let mut finished = vec![false; self.sequences.len()];
        for work in scheduler::plan(&phases) {
            let index = work.sequence();
            finished[index] = !self.may_go_on(index) || self.perform(work) == Progress::Finished;
        }
        // Those that had no work in this step may have been given up as well.
        for index in (0..self.sequences.len()).rev() {
            if finished[index] || !self.may_go_on(index) {
                let sequence = self.sequences.remove(index);
                self.leave(sequence);
            }
        }
    }

    /// Whether somebody still waits for sequence `index`, and may.
    fn may_go_on(&mut self, index: usize) -> bool {
        let now = Instant::now();
        let sequence = &mut self.sequences[index];
        if sequence.deadline.is_some_and(|deadline| deadline <= now) {
            sequence.outbox.fail(InferenceError::Deadline);
            return false;
        }
        !sequence.outbox.is_closed() && !sequence.outbox.is_stalled(now, self.stalled_client)
    }

    /// Computes a unit of work.
    fn perform(&mut self, work: Work) -> Progress {
        let count = match work {
            Work::Prefill { tokens, .. } => tokens,
            Work::Decode { .. } => 1,
        };
        let sequence = &mut self.sequences[work.sequence()];
        let input = sequence.input(count);
        let outcome = (self.model.forward(&input, &mut sequence.cache))
            .and_then(|logits| sequence.accept(input.len(), &logits, &self.tokenizer));
        match outcome {
            Ok(progress) => {
                // A client that is gone is noticed before the next unit of work.
                sequence.outbox.flush(Instant::now());
                progress
            }
            Err(error) => {
                tracing::warn!(%error, "a request failed");
                sequence.outbox.fail(error);
                Progress::Finished
            }
        }
    }

    /// Frees a sequence's place and keeps what it computed.
    fn leave(&mut self, sequence: Sequence) {
        let now = Instant::now();
        self.queue.finished(now.saturating_duration_since(sequence.began));
        let (tokens, cache, mut outbox) = sequence.into_parts();
        self.prefixes.keep(tokens, cache);
        if outbox.flush(now) == Delivery::Full {
            if self.leaving.len() == self.most_leaving {
                self.leaving.remove(0);
            }
            self.leaving.push(outbox);
        }
    }

    /// Offers clients what they have not read yet; gives up those that are gone or have not read for too long.
    fn deliver(&mut self) {
        let now = Instant::now();
        self.leaving
            .retain_mut(|outbox| outbox.flush(now) == Delivery::Full && !outbox.is_stalled(now, self.stalled_client));
    }
}

fn describe(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
