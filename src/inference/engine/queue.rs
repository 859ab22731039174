//! Requests that wait for the engine's thread: bounded, first come first served.

use super::Reply;
use crate::inference::constraint::Constrained;
use crate::inference::sampler::Sampler;
use crate::inference::stop::StopMatcher;
use crate::inference::{GenerationEvent, InferenceError, Score};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

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
    /// Pages of keys and values it may come to need.
    pub(super) pages: usize,
    pub(super) deadline: Option<Instant>,
    /// Whose it is.
    pub(super) visitor: Option<String>,
    pub(super) work: Work,
    /// The position the client was told last.
    pub(super) announced: Option<usize>,
}

/// What is wanted of the prompt.
#[derive(Debug)]
pub(super) enum Work {
    Answer(Box<Answer>),
    Score(ScoreWork),
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) max_tokens: usize,
    pub(super) sampler: Sampler,
    pub(super) constraint: Option<Constrained>,
    pub(super) stop: StopMatcher,
    pub(super) top_logprobs: Option<usize>,
    /// Where passages stand in the prompt that may be taken from where they stood before.
    pub(super) passages: Vec<Range<usize>>,
    pub(super) events: Sender<Reply>,
}

/// How likely continuations are.
#[derive(Debug)]
pub(super) struct ScoreWork {
    pub(super) continuations: Vec<Vec<u32>>,
    pub(super) reply: oneshot::Sender<Result<Vec<Score>, InferenceError>>,
}

impl Job {
    /// Tells the client its place, if that is news.
    fn announce(&mut self, position: usize) {
        // A client that does not read will learn its place later or not at all; nothing waits for it, and one place in
        // the channel stays free for the end.
        if let Work::Answer(answer) = &self.work
            && let events = &answer.events
            && self.announced != Some(position)
            && events.capacity() > 1
        {
            self.announced = Some(position);
            let _ = events.try_send(Ok(GenerationEvent::Queued { position }));
        }
    }

    /// Whether nobody waits for it any more.
    fn is_closed(&self) -> bool {
        match &self.work {
            Work::Answer(answer) => answer.events.is_closed(),
            Work::Score(score) => score.reply.is_closed(),
        }
    }

    fn fail(self, error: InferenceError) {
        match self.work {
            Work::Answer(answer) => drop(answer.events.try_send(Err(error))),
            Work::Score(score) => drop(score.reply.send(Err(error))),
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
    /// How many of those are each visitor's.
    visitors: HashMap<String, usize>,
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
            visitors: HashMap::new(),
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
        state.waiting.retain(|job| !job.is_closed());
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

    /// Takes the next requests for all free places, as long as their pages are within `pages`: in order, but those of
    /// visitors of whom fewer are served go first. Those that nobody waits for any more are dropped, and those whose
    /// deadline has passed are told.
    pub(super) fn take(&self, now: Instant, mut pages: usize) -> Vec<Job> {
        let mut state = self.lock();
        let State {
            waiting,
            active,
            visitors,
            ..
        } = &mut *state;
        for job in std::mem::take(waiting) {
            if job.deadline.is_some_and(|deadline| deadline <= now) {
                job.fail(InferenceError::Deadline);
            } else if !job.is_closed() {
                waiting.push_back(job);
            }
        }
        let mut taken = Vec::new();
        while *active < self.parallel {
            let served = |job: &Job| job.visitor.as_ref().and_then(|visitor| visitors.get(visitor)).copied();
            let next = (0..waiting.len()).min_by_key(|&place| served(&waiting[place]));
            let Some(job) = next
                .filter(|&place| waiting[place].pages <= pages)
                .and_then(|place| waiting.remove(place))
            else {
                break;
            };
            pages -= job.pages;
            *active += 1;
            if let Some(visitor) = &job.visitor {
                *visitors.entry(visitor.clone()).or_default() += 1;
            }
            taken.push(job);
        }
        for (place, job) in waiting.iter_mut().enumerate() {
            job.announce(*active + place);
        }
        taken
    }

    /// Frees the place of a request of `visitor` that was served for `time`.
    pub(super) fn finished(&self, visitor: Option<&str>, time: Duration) {
        let mut state = self.lock();
        if let Some(visitor) = visitor
            && let Some(count) = state.visitors.get_mut(visitor)
        {
            *count -= 1;
            if *count == 0 {
                state.visitors.remove(visitor);
            }
        }
        state.active = state.active.saturating_sub(1);
        state.mean_seconds += NEWEST * (time.as_secs_f64() - state.mean_seconds);
    }

    /// Serves less from now on; never more.
    pub(super) fn restrict(&self, service: Service) {
        let mut state = self.lock();
        state.service = state.service.max(service);
        if state.service == Service::Closed {
            for job in state.waiting.drain(..) {
                job.fail(InferenceError::Stopped);
            }
        }
        drop(state);
        self.wake.notify_all();
    }
}
