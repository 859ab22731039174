//! The engine's thread: it alone touches the model.

use super::lookup;
use super::outbox::{Delivery, Outbox};
use super::passage_cache::PassageCache;
use super::prefix_tree::PrefixTree;
use super::queue::{Idle, Job, Queue, Service, Work};
use super::scheduler::{self, Pace, Phase};
use super::scoring::Scoring;
use super::sequence::{Progress, Sequence};
use crate::inference::InferenceError;
use crate::inference::kv_cache::{KvCache, KvPool};
use crate::inference::models::{CausalModel, Span};
use crate::inference::tokenizer::Tokenizer;
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) struct Worker {
    pub(super) model: Box<dyn CausalModel>,
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) queue: Arc<Queue>,
    pub(super) context_tokens: usize,
    pub(super) stalled_client: Duration,
    /// Whether to guess what follows.
    pub(super) speculation: bool,
    pub(super) pace: Pace,
    pub(super) pool: KvPool,
    pub(super) prefixes: PrefixTree,
    pub(super) passages: PassageCache,
    /// First tokens of a passage that are always computed.
    pub(super) seam: usize,
    /// What is being served, the oldest first.
    pub(super) served: Vec<Served>,
    /// Events of finished sequences that a client has not read yet.
    pub(super) leaving: Vec<Outbox>,
    /// How many of those there may be.
    pub(super) most_leaving: usize,
}

/// A request under way, and the pages it may come to need.
#[derive(Debug)]
pub(super) struct Served {
    what: What,
    pages: usize,
    visitor: Option<String>,
}

#[derive(Debug)]
enum What {
    Answer(Box<Sequence>),
    Score(Box<Scoring>),
}

impl Served {
    fn phase(&self) -> Phase {
        match &self.what {
            What::Answer(sequence) => sequence.phase(),
            What::Score(scoring) => scoring.phase(),
        }
    }

    /// Pages that what was prepared takes.
    fn pages_for(&self) -> usize {
        match &self.what {
            What::Answer(sequence) => sequence.pages_for(),
            What::Score(scoring) => scoring.pages_for(),
        }
    }

    fn prepare(&mut self, count: usize, guesses: usize) {
        match &mut self.what {
            What::Answer(sequence) => sequence.prepare(count, guesses),
            What::Score(scoring) => scoring.prepare(count),
        }
    }

    fn spans(&mut self) -> Vec<Span<'_>> {
        match &mut self.what {
            What::Answer(sequence) => vec![sequence.span()],
            What::Score(scoring) => scoring.spans(),
        }
    }

    fn accept(&mut self, logits: &[f32], vocabulary: usize, tokenizer: &Tokenizer) -> Result<Progress, InferenceError> {
        match &mut self.what {
            What::Answer(sequence) => sequence.accept(logits, vocabulary, tokenizer),
            What::Score(scoring) => scoring.accept(logits, vocabulary),
        }
    }

    fn flush(&mut self, now: Instant) {
        if let What::Answer(sequence) = &mut self.what {
            sequence.outbox.flush(now);
        }
    }

    fn fail(&mut self, error: InferenceError) {
        match &mut self.what {
            What::Answer(sequence) => sequence.outbox.fail(error),
            What::Score(scoring) => scoring.fail(error),
        }
    }

    fn computed(&self) -> (&[u32], &KvCache) {
        match &self.what {
            What::Answer(sequence) => sequence.computed(),
            What::Score(scoring) => scoring.computed(),
        }
    }

    /// Whether somebody still waits for it, and may.
    fn may_go_on(&mut self, now: Instant, stalled_client: Duration) -> bool {
        let (deadline, wanted) = match &self.what {
            What::Answer(sequence) => {
                let outbox = &sequence.outbox;
                let wanted = !outbox.is_closed() && !outbox.is_stalled(now, stalled_client);
                (sequence.deadline, wanted)
            }
            What::Score(scoring) => (scoring.deadline, !scoring.is_closed()),
        };
        if deadline.is_some_and(|deadline| deadline <= now) {
            self.fail(InferenceError::Deadline);
            return false;
        }
        wanted
    }
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
            for served in &mut self.served {
                let message = candle_core::Error::Msg("the engine failed; see the log".to_owned());
                served.fail(InferenceError::Compute(message));
            }
        }
        for mut served in self.served.drain(..) {
            served.fail(InferenceError::Stopped);
            if let What::Answer(sequence) = served.what {
                self.leaving.push(sequence.into_outbox());
            }
        }
        let now = Instant::now();
        for outbox in &mut self.leaving {
            outbox.flush(now);
        }
    }

    fn serve(&mut self) {
        loop {
            let idle = match (self.served.is_empty(), self.leaving.is_empty()) {
                (false, _) => Idle::No,
                (true, true) => Idle::Yes,
                (true, false) => Idle::Delivering,
            };
            let service = self.queue.wait(idle);
            if service == Service::Closed {
                return;
            }
            let now = Instant::now();
            // What those under way may still need is theirs; all else can be had, by giving up what is only kept.
            let promised: usize = self.served.iter().map(|served| served.pages).sum();
            for job in self.queue.take(now, self.pool.pages().saturating_sub(promised)) {
                self.admit(job, now);
            }
            let done = self.served.is_empty() && self.leaving.is_empty();
            if service == Service::Draining && done {
                return;
            }
            self.step();
            self.deliver();
        }
    }

    /// Begins to serve a request, from where keys and values end that are there.
    fn admit(&mut self, job: Job, now: Instant) {
        // Requests that begin alike and come together share what the first of them has computed so far.
        for served in &self.served {
            let (tokens, cache) = served.computed();
            self.prefixes.keep(tokens, cache);
        }
        // The last token is always computed: its logits choose the first token of the answer.
        let known = &job.prompt[..job.prompt.len() - 1];
        let cache = self.prefixes.longest(known, self.context_tokens);
        let what = match job.work {
            Work::Answer(answer) => {
                let begun = self.put_passages(&job.prompt, &answer.passages, cache);
                let sequence = Sequence::new(job.prompt, job.deadline, *answer, begun, self.context_tokens, now);
                What::Answer(Box::new(sequence))
            }
            Work::Score(work) => What::Score(Box::new(Scoring::new(job.prompt, job.deadline, work, cache, now))),
        };
        self.served.push(Served {
            what,
            pages: job.pages,
            visitor: job.visitor,
        });
    }

    /// Puts the passages behind what `cache` holds of `prompt` into it, but for their first tokens; returns where.
    fn put_passages(
        &mut self,
        prompt: &[u32],
        passages: &[Range<usize>],
        mut cache: KvCache,
    ) -> (KvCache, Vec<Range<usize>>) {
        let mut skipped = Vec::new();
        for passage in passages {
            // The last token is always computed.
            let start = (passage.start + self.seam).max(cache.len());
            let range = start..passage.end.min(prompt.len() - 1);
            if range.is_empty() {
                continue;
            }
            let Some(piece) = self.passages.get(&prompt[passage.clone()]) else {
                continue;
            };
            let piece = self.model.moved(piece, passage.start);
            let more = range.end - cache.len();
            while self.pool.free() < cache.pages_for(more) && self.prefixes.give_up() {}
            match cache.make_room(more).and_then(|()| cache.put(&piece, range.clone())) {
                Ok(()) => skipped.push(range),
                Err(error) => tracing::warn!(%error, "a passage is read again"),
            }
        }
        (cache, skipped)
    }

    /// One step: a token for every answer and a part of the prompts.
    fn step(&mut self) {
        let now = Instant::now();
        for index in (0..self.served.len()).rev() {
            if !self.served[index].may_go_on(now, self.stalled_client) {
                self.leave(index);
            }
        }
        if self.served.is_empty() {
            return;
        }
        let phases: Vec<_> = self.served.iter().map(Served::phase).collect();
        let decoding = phases.iter().filter(|phase| **phase == Phase::Decode).count();
        let plan = scheduler::plan(&phases, self.pace.budget(decoding));
        let rows = if self.speculation { lookup::MOST + 1 } else { 0 };
        let guesses = scheduler::guesses(decoding, rows);
        let mut prompt_tokens = 0;
        for ((served, &count), phase) in self.served.iter_mut().zip(&plan).zip(&phases) {
            if count > 0 {
                served.prepare(count, guesses);
            }
            if *phase != Phase::Decode {
                prompt_tokens += count;
            }
        }
        let chosen: Vec<bool> = plan.iter().map(|&count| count > 0).collect();
        let list = || {
            self.served
                .iter()
                .zip(&chosen)
                .filter_map(|(served, chosen)| chosen.then_some(served))
        };
        // What was promised is there once nothing is only kept.
        while self.pool.free() < list().map(Served::pages_for).sum() && self.prefixes.give_up() {}
        let mut finished = vec![false; chosen.len()];
        self.compute(&chosen, &mut finished);
        self.pace.learn(prompt_tokens, now.elapsed());
        for index in (0..finished.len()).rev() {
            if finished[index] {
                self.leave(index);
            }
        }
    }

    /// Computes what the chosen ones have prepared, in one pass; where that fails, each alone, so that what is wrong
    /// with one does not end the others.
    fn compute(&mut self, chosen: &[bool], finished: &mut [bool]) {
        let vocabulary = self.model.vocabulary();
        let (mut spans, mut rows) = (Vec::new(), Vec::new());
        for (served, chosen) in self.served.iter_mut().zip(chosen) {
            let own = if *chosen { served.spans() } else { Vec::new() };
            rows.push(own.iter().map(|span| span.rows.of(span.tokens.len())).sum::<usize>());
            spans.extend(own);
        }
        let outcome = self.model.forward(&mut spans);
        let list = || (0..).zip(chosen).filter_map(|(index, chosen)| chosen.then_some(index));
        match outcome {
            Ok(logits) => {
                let now = Instant::now();
                let mut left = &logits[..];
                for index in list() {
                    let (own, others) = left.split_at(rows[index] * vocabulary);
                    left = others;
                    let served = &mut self.served[index];
                    let progress = served.accept(own, vocabulary, &self.tokenizer).unwrap_or_else(|error| {
                        tracing::warn!(%error, "a request failed");
                        served.fail(error);
                        Progress::Finished
                    });
                    finished[index] = progress == Progress::Finished;
                    if let What::Answer(sequence) = &mut served.what
                        && self.passages.is_on()
                    {
                        sequence.keep_passages(&mut self.passages);
                    }
                    // A client that is gone is noticed before the next step.
                    served.flush(now);
                }
            }
            Err(error) if list().count() < 2 => {
                tracing::warn!(%error, "a request failed");
                if let Some(index) = list().next() {
                    self.served[index].fail(error);
                    finished[index] = true;
                }
            }
            Err(_) => {
                for index in list() {
                    let mut alone = vec![false; chosen.len()];
                    alone[index] = true;
                    self.compute(&alone, finished);
                }
            }
        }
    }

    /// Frees the place of a request and keeps what it computed.
    fn leave(&mut self, index: usize) {
        let now = Instant::now();
        let served = self.served.remove(index);
        let (tokens, cache) = served.computed();
        self.prefixes.keep(tokens, cache);
        let began = match &served.what {
            What::Answer(sequence) => sequence.began,
            What::Score(scoring) => scoring.began,
        };
        self.queue
            .finished(served.visitor.as_deref(), now.saturating_duration_since(began));
        let What::Answer(sequence) = served.what else {
            return;
        };
        let mut outbox = sequence.into_outbox();
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
