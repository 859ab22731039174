//! Who may speak to the server now, and who waits: bounded, first come first served.

use super::Reply;
use crate::inference::{GenerationEvent, InferenceError};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// What a request is taken to last before any has been measured.
const FIRST_GUESS: f64 = 4.0;
/// Share of the newest request in the running mean of their lengths.
const NEWEST: f64 = 0.2;
/// Bounds of the time after which a refused client is told to try again, in seconds.
const RETRY: (f64, f64) = (1.0, 60.0);

struct Waiter {
    turn: oneshot::Sender<Turn>,
    events: mpsc::Sender<Reply>,
    announced: usize,
}

struct State {
    active: usize,
    waiting: VecDeque<Waiter>,
    mean_seconds: f64,
}

/// The places and the queue before them.
pub(super) struct Turns {
    state: Mutex<State>,
    parallel: usize,
    length: usize,
}

/// A place; it is free again when this is dropped.
pub(super) struct Turn {
    turns: Arc<Turns>,
    began: Option<Instant>,
}

impl Turn {
    /// From now on the time is measured that this request takes.
    pub(super) fn begin(&mut self, now: Instant) {
        self.began = Some(now);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.leave(self.began.map(|began| began.elapsed()));
    }
}

impl Turns {
    /// `parallel` requests at once, `length` that wait.
    pub(super) fn new(parallel: usize, length: usize) -> Arc<Self> {
        let state = State {
            active: 0,
            waiting: VecDeque::new(),
            mean_seconds: FIRST_GUESS,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            parallel: parallel.max(1),
            length,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, now or later; who waits is told its position through `events`. Dropping the receiver gives it up.
    ///
    /// # Errors
    /// `Overloaded` where the queue is full.
    pub(super) fn enter(
        self: &Arc<Self>,
        events: &mpsc::Sender<Reply>,
    ) -> Result<oneshot::Receiver<Turn>, InferenceError> {
        let (turn, receiver) = oneshot::channel();
        let mut state = self.lock();
        state.waiting.retain(|waiter| !waiter.turn.is_closed());
        let queued = state.waiting.len();
        if state.active < self.parallel {
            state.active += 1;
            drop(state);
            // The receiver is here still, so this cannot fail.
            let _ = turn.send(self.turn());
        } else if queued < self.length {
            let position = state.active + queued;
            tell(events, position);
            state.waiting.push_back(Waiter {
                turn,
                events: events.clone(),
                announced: position,
            });
        } else {
            let seconds = state.mean_seconds * (state.active + queued) as f64 / self.parallel as f64;
            let retry_after = Duration::from_secs_f64(seconds.ceil().clamp(RETRY.0, RETRY.1));
            return Err(InferenceError::Overloaded { queued, retry_after });
        }
        Ok(receiver)
    }

    fn turn(self: &Arc<Self>) -> Turn {
        Turn {
            turns: Arc::clone(self),
            began: None,
        }
    }

    /// Gives the place to the next one that still waits.
    fn leave(self: &Arc<Self>, took: Option<Duration>) {
        let mut state = self.lock();
        if let Some(took) = took {
            state.mean_seconds += NEWEST * (took.as_secs_f64() - state.mean_seconds);
        }
        state.active -= 1;
        state.waiting.retain(|waiter| !waiter.turn.is_closed());
        let next = state.waiting.pop_front();
        if next.is_some() {
            state.active += 1;
        }
        let active = state.active;
        for (place, waiter) in state.waiting.iter_mut().enumerate() {
            let position = active + place;
            if waiter.announced != position {
                waiter.announced = position;
                tell(&waiter.events, position);
            }
        }
        drop(state);
        if let Some(next) = next {
            // One that has just gone leaves in its turn: the place is dropped and given on.
            drop(next.turn.send(self.turn()));
        }
    }
}

/// Says a position. A client that does not read learns it later or not at all; nothing waits for it.
fn tell(events: &mpsc::Sender<Reply>, position: usize) {
    if events.capacity() > 1 {
        let _ = events.try_send(Ok(GenerationEvent::Queued { position }));
    }
}

#[cfg(test)]
mod tests {
    use super::Turns;
    use crate::inference::{GenerationEvent, InferenceError};
    use tokio::sync::mpsc;

    #[test]
    fn places_are_given_in_order_and_positions_told() {
        let turns = Turns::new(1, 2);
        let (events, mut told) = mpsc::channel(8);
        let first = turns.enter(&events).unwrap().try_recv().unwrap();
        let mut second = turns.enter(&events).unwrap();
        let mut third = turns.enter(&events).unwrap();
        let Err(InferenceError::Overloaded { queued: 2, retry_after }) = turns.enter(&events) else {
            panic!()
        };
        assert_eq!(retry_after.as_secs(), 12);
        assert!(second.try_recv().is_err());
        drop(first);
        let turn = second.try_recv().unwrap();
        assert!(third.try_recv().is_err());
        drop(turn);
        third.try_recv().unwrap();
        let mut positions = Vec::new();
        while let Ok(Ok(GenerationEvent::Queued { position })) = told.try_recv() {
            positions.push(position);
        }
        assert_eq!(positions, [1, 2, 1]);
    }

    #[test]
    fn those_that_have_gone_hold_no_place() {
        let turns = Turns::new(1, 2);
        let (events, _told) = mpsc::channel(8);
        let first = turns.enter(&events).unwrap().try_recv().unwrap();
        drop(turns.enter(&events).unwrap());
        drop(turns.enter(&events).unwrap());
        let mut last = turns.enter(&events).unwrap();
        drop(first);
        drop(last.try_recv().unwrap());
        assert_eq!(turns.lock().active, 0);
        // Given, but never taken.
        drop(turns.enter(&events).unwrap());
        assert_eq!(turns.lock().active, 0);
    }
}
