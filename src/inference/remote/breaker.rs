//! A circuit breaker: a server that fails again and again is left alone for a while, and its callers are told at once.
//!
//! Source: Nygard, Release It!, 2nd edition, section 5.2. Time and chance are inputs, so a test needs neither.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Longest part of the pause that chance adds: nodes that saw the same failure do not all come back at once.
const JITTER: f64 = 0.5;

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Requests go through; so many in a row failed.
    Closed { failures: u32 },
    /// Requests are refused until then.
    Open { until: Instant },
    /// One request tries whether the server is back; it was let through at this moment.
    Trying { since: Instant },
}

/// Counts failures and refuses while there are too many.
#[derive(Debug)]
pub(crate) struct Breaker {
    state: Mutex<State>,
    threshold: u32,
    pause: Duration,
}

/// A request that was let through. What became of it must be told; dropped untold, it counts for nothing.
#[derive(Debug)]
pub(crate) struct Attempt {
    breaker: Arc<Breaker>,
    told: bool,
}

impl Breaker {
    /// Opens after `threshold` failures in a row, for `pause` and up to half as long again.
    pub(crate) fn new(threshold: u32, pause: Duration) -> Arc<Self> {
        let state = Mutex::new(State::Closed { failures: 0 });
        Arc::new(Self {
            state,
            threshold: threshold.max(1),
            pause,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long requests are refused still; `None` where the next one is let through.
    pub(crate) fn refuses(&self, now: Instant) -> Option<Duration> {
        match *self.lock() {
            State::Closed { .. } => None,
            State::Open { until } if until <= now => None,
            State::Open { until } => Some(until.duration_since(now)),
            State::Trying { since } => Some(self.pause.saturating_sub(now.saturating_duration_since(since))),
        }
    }

    /// Lets a request through, or says when to come again.
    pub(crate) fn admit(self: &Arc<Self>, now: Instant) -> Result<Attempt, Duration> {
        let mut state = self.lock();
        match *state {
            State::Closed { .. } => {}
            State::Open { until } if until <= now => *state = State::Trying { since: now },
            State::Open { until } => return Err(until.duration_since(now)),
            State::Trying { since } => {
                return Err(self.pause.saturating_sub(now.saturating_duration_since(since)));
            }
        }
        drop(state);
        Ok(Attempt {
            breaker: Arc::clone(self),
            told: false,
        })
    }
}

impl Attempt {
    /// The server answered.
    pub(crate) fn succeeded(mut self) {
        self.told = true;
        *self.breaker.lock() = State::Closed { failures: 0 };
    }

    /// The server failed. `chance` between 0 and 1 lengthens the pause.
    pub(crate) fn failed(mut self, now: Instant, chance: f64) {
        self.told = true;
        let breaker = &self.breaker;
        let mut state = breaker.lock();
        let until = now + breaker.pause.mul_f64(1.0 + JITTER * chance.clamp(0.0, 1.0));
        *state = match *state {
            State::Closed { failures } if failures + 1 < breaker.threshold => State::Closed { failures: failures + 1 },
            State::Closed { .. } | State::Trying { .. } => State::Open { until },
            // A request from before it opened tells nothing new.
            open @ State::Open { .. } => open,
        };
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.told {
            let mut state = self.breaker.lock();
            // The one that tried gave up: the next may try at once.
            if let State::Trying { since } = *state {
                *state = State::Open { until: since };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Breaker;
    use std::time::{Duration, Instant};

    const PAUSE: Duration = Duration::from_secs(10);

    #[test]
    fn it_opens_after_failures_in_a_row_alone() {
        let (breaker, now) = (Breaker::new(3, PAUSE), Instant::now());
        for _ in 0..2 {
            breaker.admit(now).unwrap().failed(now, 0.0);
        }
        breaker.admit(now).unwrap().succeeded();
        for _ in 0..2 {
            breaker.admit(now).unwrap().failed(now, 0.0);
        }
        assert_eq!(breaker.refuses(now), None);
        breaker.admit(now).unwrap().failed(now, 0.0);
        assert_eq!(breaker.refuses(now), Some(PAUSE));
        assert_eq!(breaker.admit(now).unwrap_err(), PAUSE);
    }

    #[test]
    fn after_the_pause_one_request_tries() {
        let (breaker, now) = (Breaker::new(1, PAUSE), Instant::now());
        breaker.admit(now).unwrap().failed(now, 1.0);
        let later = now + PAUSE;
        assert_eq!(breaker.admit(later).unwrap_err(), PAUSE / 2, "chance made it longer");
        let later = now + PAUSE * 3 / 2;
        let trying = breaker.admit(later).unwrap();
        assert!(breaker.admit(later).is_err(), "one at a time");
        trying.failed(later, 0.0);
        assert_eq!(breaker.refuses(later), Some(PAUSE));
        let later = later + PAUSE;
        breaker.admit(later).unwrap().succeeded();
        let (_one, _two) = (breaker.admit(later).unwrap(), breaker.admit(later).unwrap());
    }

    #[test]
    fn one_that_gives_up_leaves_the_place_to_the_next() {
        let (breaker, now) = (Breaker::new(1, PAUSE), Instant::now());
        breaker.admit(now).unwrap().failed(now, 0.0);
        let later = now + PAUSE;
        drop(breaker.admit(later).unwrap());
        assert!(breaker.admit(later).is_ok());
    }

    #[test]
    fn late_failures_do_not_lengthen_the_pause() {
        let (breaker, now) = (Breaker::new(1, PAUSE), Instant::now());
        let (one, two) = (breaker.admit(now).unwrap(), breaker.admit(now).unwrap());
        one.failed(now, 0.0);
        two.failed(now + PAUSE / 2, 0.0);
        assert_eq!(breaker.refuses(now), Some(PAUSE));
    }
}
