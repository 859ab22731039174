//! What to compute next: a pure decision, apart from computing it.
//!
//! Each step gives every answer under way one token and then at most one chunk of one prompt, so that a long prompt
//! never holds up running answers for longer than a chunk takes. Prompts are read in order of arrival: the first is
//! then answered soonest, and none waits longer than if they took turns.

/// Where a sequence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// `remaining` tokens of its prompt are not computed yet.
    Prefill {
        /// At least 1.
        remaining: usize,
    },
    /// Its answer is being generated.
    Decode,
}

/// A unit of work of one sequence, named by its place in the list that was planned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Compute the next `tokens` tokens of the prompt.
    Prefill {
        /// The sequence.
        sequence: usize,
        /// How many.
        tokens: usize,
    },
    /// Generate one token.
    Decode {
        /// The sequence.
        sequence: usize,
    },
}

impl Work {
    /// The sequence it is for.
    #[must_use]
    pub fn sequence(self) -> usize {
        match self {
            Self::Prefill { sequence, .. } | Self::Decode { sequence } => sequence,
        }
    }
}

/// The work of the next step for sequences in `phases`, the oldest first; empty only if there are none. A prompt
/// advances by at most `chunk` tokens.
#[must_use]
pub fn plan(phases: &[Phase], chunk: usize) -> Vec<Work> {
    let decodes = (0..).zip(phases).filter(|(_, phase)| **phase == Phase::Decode);
    let mut work: Vec<Work> = decodes.map(|(sequence, _)| Work::Decode { sequence }).collect();
    let prompt = (0..).zip(phases).find_map(|(sequence, phase)| match *phase {
        Phase::Prefill { remaining } => Some(Work::Prefill {
            sequence,
            tokens: remaining.min(chunk.max(1)),
        }),
        Phase::Decode => None,
    });
    work.extend(prompt);
    work
}

#[cfg(test)]
mod tests {
    use super::Phase::{Decode, Prefill};
    use super::{Work, plan};

    #[test]
    fn running_answers_go_first_and_the_oldest_prompt_takes_one_chunk() {
        let phases = [Decode, Prefill { remaining: 300 }, Decode, Prefill { remaining: 5 }];
        let expected = [
            Work::Decode { sequence: 0 },
            Work::Decode { sequence: 2 },
            Work::Prefill {
                sequence: 1,
                tokens: 128,
            },
        ];
        assert_eq!(plan(&phases, 128), expected);
        assert!(expected.iter().map(|work| work.sequence()).eq([0, 2, 1]));
    }

    #[test]
    fn a_chunk_ends_with_the_prompt() {
        assert_eq!(
            plan(&[Prefill { remaining: 5 }], 128),
            [Work::Prefill { sequence: 0, tokens: 5 }]
        );
        assert_eq!(
            plan(&[Prefill { remaining: 5 }], 0),
            [Work::Prefill { sequence: 0, tokens: 1 }]
        );
        assert_eq!(plan(&[], 128), []);
    }

    #[test]
    fn every_sequence_is_finished_whatever_the_chunk() {
        for chunk in 1..7 {
            let mut remaining = [9_usize, 1, 4];
            for _ in 0..20 {
                let phases = remaining.map(|remaining| if remaining == 0 { Decode } else { Prefill { remaining } });
                for work in plan(&phases, chunk) {
                    if let Work::Prefill { sequence, tokens } = work {
                        assert!((1..=chunk).contains(&tokens));
                        remaining[sequence] -= tokens;
                    }
                }
            }
            assert_eq!(remaining, [0; 3]);
        }
    }
}
