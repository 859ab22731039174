//! What to compute next: a pure decision, apart from computing it.
//!
//! Each step goes once through the network with a token for every answer under way (and what is guessed to follow it),
//! and then with as many tokens of prompts as fit into the time that running answers may be held up (Agrawal et al.,
//! arXiv:2308.16369). Prompts are read in order of arrival: the first is then answered soonest, and none waits longer
//! than if they took turns.

use std::time::Duration;

/// Where a sequence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// `left` tokens of its prompt are not computed yet; at least 1.
    Prefill {
        /// How many.
        left: usize,
    },
    /// Its answer is being generated.
    Decode,
}

/// Tokens to compute in the next step for each of the sequences in `phases`, the oldest first: 1 for each that decodes,
/// and `budget` in all for prompts. 0: it waits.
#[must_use]
pub fn plan(phases: &[Phase], budget: usize) -> Vec<usize> {
    let mut budget = budget.max(1);
    phases
        .iter()
        .map(|phase| match *phase {
            Phase::Decode => 1,
            Phase::Prefill { left } => {
                let tokens = left.min(budget);
                budget -= tokens;
                tokens
            }
        })
        .collect()
}

/// Guesses that each of `decoding` sequences may add, so that a step has at most `rows` rows for them.
#[must_use]
pub fn guesses(decoding: usize, rows: usize) -> usize {
    rows.checked_div(decoding).map_or(0, |rows| rows.saturating_sub(1))
}

/// How long prompts take here, and so how many of their tokens fit into a pause.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The longest a running answer may wait for its next token.
    pause: Duration,
    /// The most tokens of prompts in a step.
    most: usize,
    seconds_a_token: f64,
}

/// Fewest tokens of prompts in a step: fewer cost nearly as much.
const LEAST: usize = 16;
/// Pauses that a step may last when no answer waits: how soon a new request is seen.
const IDLE_PAUSES: f64 = 3.0;
/// Share of the newest step in the running mean.
const NEWEST: f64 = 0.3;
/// Seconds a token before any was measured.
const FIRST_GUESS: f64 = 2e-3;

impl Pace {
    /// A pace for pauses of at most `pause` and steps of at most `most` tokens of prompts.
    #[must_use]
    pub fn new(pause: Duration, most: usize) -> Self {
        Self {
            pause,
            most: most.max(1),
            seconds_a_token: FIRST_GUESS,
        }
    }

    /// Tokens of prompts for the next step, beside `decoding` answers.
    #[must_use]
    pub fn budget(&self, decoding: usize) -> usize {
        let pause = self.pause.as_secs_f64() * if decoding == 0 { IDLE_PAUSES } else { 1.0 };
        // A step's cost is taken to be that of its prompt tokens; the answers' own is small beside it.
        let tokens = (pause / self.seconds_a_token) as usize;
        tokens.max(LEAST).min(self.most)
    }

    /// Learns that a step with `tokens` tokens of prompts took `time`.
    pub fn learn(&mut self, tokens: usize, time: Duration) {
        if tokens >= LEAST {
            let newest = time.as_secs_f64() / tokens as f64;
            self.seconds_a_token += NEWEST * (newest - self.seconds_a_token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Phase::{Decode, Prefill};
    use super::{LEAST, Pace, guesses, plan};
    use std::time::Duration;

    #[test]
    fn every_answer_gets_a_token_and_the_oldest_prompts_the_rest() {
        let phases = [
            Decode,
            Prefill { left: 100 },
            Decode,
            Prefill { left: 50 },
            Prefill { left: 5 },
        ];
        assert_eq!(plan(&phases, 128), [1, 100, 1, 28, 0]);
        assert_eq!(plan(&phases, 40), [1, 40, 1, 0, 0]);
        assert_eq!(plan(&[Prefill { left: 3 }], 0), [1], "something is always done");
        assert_eq!(plan(&[], 128), [0; 0]);
    }

    #[test]
    fn guesses_share_the_rows() {
        assert_eq!(
            [0, 1, 2, 4, 8, 20].map(|decoding| guesses(decoding, 8)),
            [0, 7, 3, 1, 0, 0]
        );
    }

    #[test]
    fn the_budget_follows_the_machine() {
        let mut pace = Pace::new(Duration::from_millis(100), 512);
        for _ in 0..50 {
            pace.learn(100, Duration::from_millis(100));
        }
        assert!((98..=102).contains(&pace.budget(1)), "{}", pace.budget(1));
        assert!((290..=310).contains(&pace.budget(0)));
        for _ in 0..50 {
            pace.learn(100, Duration::from_secs(10));
        }
        assert_eq!(pace.budget(1), LEAST);
        for _ in 0..50 {
            pace.learn(100, Duration::ZERO);
        }
        assert_eq!(pace.budget(1), 512);
    }
}
