//! An encoder's queue: two bounded lanes, served in slices. A text is anything with token ids.

use crate::inference::InferenceError;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long a slice of bulk work may keep a customer waiting; the slices' size follows the measured speed.
const SLICE: Duration = Duration::from_millis(80);

/// Tokens of the first slice, before any speed is known, and the least later: the longest text.
const FIRST_SLICE_TOKENS: usize = 512;

/// After this many slices of the express lane the bulk lane gets one, so that an import always advances.
const EXPRESS_IN_A_ROW: usize = 32;

/// Which requests go first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Lane {
    /// A customer waits.
    Express,
    /// Imports and measurements.
    Bulk,
}

type Reply = oneshot::Sender<Result<Vec<f32>, InferenceError>>;

/// A request: its texts in order, computed over one slice or several, in turn with other requests.
struct Job<T> {
    texts: VecDeque<T>,
    /// Texts that are in the slice under way.
    taken: usize,
    vectors: Vec<f32>,
    reply: Reply,
}

struct Line<T> {
    jobs: VecDeque<Job<T>>,
    texts: usize,
    tokens: usize,
}

struct State<T> {
    express: Line<T>,
    bulk: Line<T>,
    express_in_a_row: usize,
    tokens_per_second: f64,
    closed: bool,
}

/// See the module.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    work: Condvar,
    max_texts: usize,
    batch_tokens: usize,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            jobs: VecDeque::new(),
            texts: 0,
            tokens: 0,
        }
    }
}

impl<T: AsRef<[u32]>> Queue<T> {
    /// `max_texts` wait in each lane at most (one longer request is taken when its lane is empty); a slice has at most
    /// `batch_tokens`, or one text.
    pub(super) fn new(max_texts: usize, batch_tokens: usize) -> Self {
        let state = State {
            express: Line::default(),
            bulk: Line::default(),
            express_in_a_row: 0,
            tokens_per_second: FIRST_SLICE_TOKENS as f64 / SLICE.as_secs_f64(),
            closed: false,
        };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            max_texts,
            batch_tokens,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it holds the lock; if it did, every field would still be usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a request of at least one text; its vectors, or an error, come through what is returned.
    pub(super) fn push(
        &self,
        lane: Lane,
        texts: Vec<T>,
    ) -> Result<oneshot::Receiver<Result<Vec<f32>, InferenceError>>, InferenceError> {
        let mut state = self.lock();
        if state.closed {
            return Err(InferenceError::Stopped);
        }
        let speed = state.tokens_per_second;
        let line = state.line(lane);
        if line.texts > 0 && line.texts + texts.len() > self.max_texts {
            line.forget_dropped();
        }
        if line.texts > 0 && line.texts + texts.len() > self.max_texts {
            let seconds = (line.tokens as f64 / speed).clamp(1.0, 3600.0).ceil();
            let retry_after = Duration::from_secs(seconds as u64);
            return Err(InferenceError::Overloaded {
                queued: line.jobs.len(),
                retry_after,
            });
        }
        line.texts += texts.len();
        line.tokens += tokens_of(&texts);
        let (reply, receiver) = oneshot::channel();
        line.jobs.push_back(Job {
            texts: texts.into(),
            taken: 0,
            vectors: Vec::new(),
            reply,
        });
        drop(state);
        self.work.notify_one();
        Ok(receiver)
    }

    /// No more requests; what waits is answered `Stopped`, and [`Queue::serve`] returns after its slice.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        // Dropping a reply tells its receiver.
        state.express = Line::default();
        state.bulk = Line::default();
        drop(state);
        self.work.notify_all();
    }

    /// Serves until the queue is closed or `compute` panics, which closes it.
    pub(super) fn serve(&self, compute: impl Fn(&[T]) -> Result<Vec<f32>, InferenceError>) {
        while let Some((lane, texts)) = self.next_slice() {
            let started = Instant::now();
            let Ok(result) = catch_unwind(AssertUnwindSafe(|| compute(&texts))) else {
                tracing::error!(texts = texts.len(), "an encoder panicked and has stopped");
                self.close();
                return;
            };
            self.finish(lane, &texts, result, started.elapsed());
        }
    }

    /// Waits for work and takes a slice of it: whole texts, in order, of as many jobs as fit.
    fn next_slice(&self) -> Option<(Lane, Vec<T>)> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            state.express.forget_dropped();
            state.bulk.forget_dropped();
            if let Some(lane) = state.choose() {
                let budget = state.slice_tokens(self.batch_tokens);
                return Some((lane, state.line(lane).take(budget)));
            }
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finish(&self, lane: Lane, texts: &[T], result: Result<Vec<f32>, InferenceError>, elapsed: Duration) {
        let mut state = self.lock();
        let tokens = tokens_of(texts);
        state.learn_speed(tokens, elapsed);
        let line = state.line(lane);
        match result {
            Ok(vectors) => line.give(&vectors, vectors.len() / texts.len().max(1)),
            Err(error) => line.fail(&error),
        }
    }
}

fn tokens_of<'a, T: AsRef<[u32]> + 'a>(texts: impl IntoIterator<Item = &'a T>) -> usize {
    texts.into_iter().map(|text| text.as_ref().len()).sum()
}

impl<T: AsRef<[u32]>> State<T> {
    fn line(&mut self, lane: Lane) -> &mut Line<T> {
        match lane {
            Lane::Express => &mut self.express,
            Lane::Bulk => &mut self.bulk,
        }
    }

    fn choose(&mut self) -> Option<Lane> {
        let lane = match (self.express.jobs.is_empty(), self.bulk.jobs.is_empty()) {
            (true, true) => return None,
            (false, false) if self.express_in_a_row >= EXPRESS_IN_A_ROW => Lane::Bulk,
            (false, _) => Lane::Express,
            (true, false) => Lane::Bulk,
        };
        self.express_in_a_row = if lane == Lane::Express {
            self.express_in_a_row + 1
        } else {
            0
        };
        Some(lane)
    }

    fn slice_tokens(&self, most: usize) -> usize {
        let tokens = (self.tokens_per_second * SLICE.as_secs_f64()) as usize;
        tokens.max(FIRST_SLICE_TOKENS).min(most.max(1))
    }

    /// A moving average over slices that are large enough to tell.
    fn learn_speed(&mut self, tokens: usize, elapsed: Duration) {
        if tokens >= FIRST_SLICE_TOKENS / 2 {
            let speed = tokens as f64 / elapsed.as_secs_f64().max(1e-6);
            self.tokens_per_second += (speed - self.tokens_per_second) * 0.3;
        }
    }
}

impl<T: AsRef<[u32]>> Line<T> {
    /// Forgets jobs that nobody waits for, but for those in the slice under way: their vectors must be counted off.
    fn forget_dropped(&mut self) {
        self.jobs.retain(|job| job.taken > 0 || !job.reply.is_closed());
        self.count();
    }

    fn count(&mut self) {
        self.texts = self.jobs.iter().map(|job| job.texts.len()).sum();
        self.tokens = tokens_of(self.jobs.iter().flat_map(|job| &job.texts));
    }

    fn take(&mut self, budget: usize) -> Vec<T> {
        let mut slice = Vec::new();
        let mut tokens = 0;
        for job in &mut self.jobs {
            job.taken = 0;
            while let Some(text) = job.texts.front() {
                if !slice.is_empty() && tokens + text.as_ref().len() > budget {
                    break;
                }
                tokens += text.as_ref().len();
                slice.extend(job.texts.pop_front());
                job.taken += 1;
            }
            if !job.texts.is_empty() {
                break;
            }
        }
        self.count();
        slice
    }

    /// Deals the vectors of the slice out to its jobs, which are still at the front in the same order. One that is not
    /// done goes behind the others: a long request does not keep short ones waiting for more than a slice.
    fn give(&mut self, vectors: &[f32], dim: usize) {
        let mut rest = vectors;
        let mut unfinished = false;
        for job in &mut self.jobs {
            let (own, others) = rest.split_at((job.taken * dim).min(rest.len()));
            job.vectors.extend_from_slice(own);
            unfinished |= job.taken > 0 && !job.texts.is_empty();
            job.taken = 0;
            rest = others;
        }
        while let Some(job) = self.jobs.pop_front_if(|job| job.texts.is_empty()) {
            // The caller may have gone meanwhile.
            let _ = job.reply.send(Ok(job.vectors));
        }
        if unfinished && let Some(job) = self.jobs.pop_front() {
            self.jobs.push_back(job);
        }
    }

    /// Every job of the slice gets the error.
    fn fail(&mut self, error: &InferenceError) {
        let failed = self.jobs.iter().take_while(|job| job.taken > 0).count();
        for job in self.jobs.drain(..failed) {
            let error = match error {
                InferenceError::BadModel { path, detail } => InferenceError::BadModel {
                    path: path.clone(),
                    detail: detail.clone(),
                },
                _ => InferenceError::Stopped,
            };
            let _ = job.reply.send(Err(error));
        }
        self.count();
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
