//! Requests that wait for the engine's thread: bounded, first come first served.

use super::Reply;
use crate::inference::constraint::Constrained;
use crate::inference::sampler::Sampler;
use crate::inference::stop::StopMatcher;
use crate::inference::{GenerationEvent, InferenceError};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;

/// What a request is taken to last before any has been measured.
const FIRST_GUESS: Duration = Duration::from_secs(4);
/// Share of the newest request in the running mean of their lengths.
const NEWEST: f64 = 0.2;
/// Bounds of the time after which a refused client is told to try again.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// How often a thread with nothing to compute offers undelivered events again.
const REDELIVERY: Duration = Duration::from_millis(20);

/// A request, checked and tokenised.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) prompt: Vec<u32>,
    /// Where the prompt is cut into chunks.
    pub(super) cuts: Vec<usize>,
    pub(super) max_tokens: usize,
    pub(super) sampler: Sampler,
    pub(super) constraint: Option<Constrained>,
    pub(super) stop: StopMatcher,
    pub(super) top_logprobs: Option<usize>,
    pub(super) deadline: Option<Instant>,
    pub(super) events: Sender<Reply>,
    /// The position the client was told last.
    pub(super) announced: Option<usize>,
}

impl Job {
    /// Tells the client its place, if that is news.
    fn announce(&mut self, position: usize) {
        // A client that does not read will learn its place later or not at all; nothing waits for it, and one place in
        // the channel stays free for the end.
        if self.announced != Some(position) && self.events.capacity() > 1 {
            self.announced = Some(position);
            let _ = self.events.try_send(Ok(GenerationEvent::Queued { position }));
        }
    }
}

/// Whether the engine takes and serves requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Service {
    /// Yes.
    Open,
    /// It serves what it has and takes nothing new.
    Draining,
    /// It gives everything up.
    Closed,
}

/// What the thread does when it has nothing to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    /// Nothing: there is something to compute.
    No,
    /// It sleeps until a request comes.
    Yes,
    /// It sleeps a little: events wait to be delivered.
    Delivering,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Job>,
    active: usize,
    service: Service,
    mean_seconds: f64,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    length: usize,
    parallel: usize,
}

impl Queue {
    pub(super) fn new(length: usize, parallel: usize) -> Self {
        let mean_seconds = FIRST_GUESS.as_secs_f64();
        let state = State {
            waiting: VecDeque::new(),
            active: 0,
            service: Service::Open,
            mean_seconds,
        };
        Self {
            state: Mutex::new(state),
            wake: Condvar::new(),
            length,
            parallel,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request, or refuses it at once.
    pub(super) fn submit(&self, mut job: Job) -> Result<(), InferenceError> {
        let mut state = self.lock();
        if state.service != Service::Open {
            return Err(InferenceError::Stopped);
        }
        state.waiting.retain(|job| !job.events.is_closed());
        let ahead = state.active + state.waiting.len();
        let waiting = ahead.saturating_sub(self.parallel);
        if ahead >= self.parallel + self.length {
            let seconds = state.mean_seconds * ahead as f64 / self.parallel as f64;
            let retry_after = Duration::from_secs_f64(seconds.ceil()).clamp(RETRY.0, RETRY.1);
            return Err(InferenceError::Overloaded {
                queued: waiting,
                retry_after,
            });
        }
        if ahead >= self.parallel {
            job.announce(ahead);
        }
        state.waiting.push_back(job);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits as `idle` says and returns whether the engine still serves.
    pub(super) fn wait(&self, idle: Idle) -> Service {
        let mut state = self.lock();
        let quiet = |state: &mut State| state.waiting.is_empty() && state.service == Service::Open;
        match idle {
            Idle::No => {}
            Idle::Yes => {
                state = self
                    .wake
                    .wait_while(state, quiet)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            Idle::Delivering => {
                let waited = self.wake.wait_timeout_while(state, REDELIVERY, quiet);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        state.service
    }

    /// Takes the next requests for all free places; those that nobody waits for any more are dropped, and those whose
    /// deadline has passed are told.
    pub(super) fn take(&self, now: Instant) -> Vec<Job> {
        let mut state = self.lock();
        state.waiting.retain(|job| {
            let late = job.deadline.is_some_and(|deadline| deadline <= now);
            if late {
                let _ = job.events.try_send(Err(InferenceError::Deadline));
            }
            !late && !job.events.is_closed()
        });
        let free = self.parallel.saturating_sub(state.active).min(state.waiting.len());
        let taken: Vec<Job> = state.waiting.drain(..free).collect();
        state.active += taken.len();
        let State { waiting, active, .. } = &mut *state;
        for (place, job) in waiting.iter_mut().enumerate() {
            job.announce(*active + place);
        }
        taken
    }

    /// Frees the place of a request that was served for `time`.
    pub(super) fn finished(&self, time: Duration) {
        let mut state = self.lock();
        state.active = state.active.saturating_sub(1);
        state.mean_seconds += NEWEST * (time.as_secs_f64() - state.mean_seconds);
    }

    /// Serves less from now on; never more.
    pub(super) fn restrict(&self, service: Service) {
        let mut state = self.lock();
        state.service = state.service.max(service);
        if state.service == Service::Closed {
            for job in state.waiting.drain(..) {
                let _ = job.events.try_send(Err(InferenceError::Stopped));
            }
        }
        drop(state);
        self.wake.notify_all();
    }
}
