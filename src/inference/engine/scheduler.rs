//! What to compute next: a pure decision, apart from computing it.
//!
//! Each step gives every answer under way one token and then at most one chunk of one prompt, so that a long prompt
//! never holds up running answers for longer than a chunk takes. Prompts are read in order of arrival: the first is
//! then answered soonest, and none waits longer than if they took turns.

/// Fewest tokens of a chunk that ends with a turn: shorter ones cost more than they are worth to the next prompt.
pub const LEAST_CHUNK: usize = 16;

/// Where a sequence stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its prompt is not computed yet.
    Prefill {
        /// Tokens of the next chunk; at least 1.
        chunk: usize,
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

/// The work of the next step for sequences in `phases`, the oldest first; empty only if there are none.
#[must_use]
pub fn plan(phases: &[Phase]) -> Vec<Work> {
    let decodes = (0..).zip(phases).filter(|(_, phase)| **phase == Phase::Decode);
    let mut work: Vec<Work> = decodes.map(|(sequence, _)| Work::Decode { sequence }).collect();
    let prompt = (0..).zip(phases).find_map(|(sequence, phase)| match *phase {
        Phase::Prefill { chunk } => Some(Work::Prefill {
            sequence,
            tokens: chunk,
        }),
        Phase::Decode => None,
    });
    work.extend(prompt);
    work
}

/// Where a prompt is cut into chunks, in ascending order: after `chunk` tokens, or after a token that `ends_turn` once
/// there are [`LEAST_CHUNK`]; what follows the last cut is a chunk too.
///
/// Whether a cut is made depends on nothing behind it. Prompts that begin alike are therefore cut alike, and a cache
/// that ends at a cut is continued with the very calls by which it would have been computed: kernels round differently
/// for different numbers of rows, so any other cache would make an answer depend on what was asked before it.
#[must_use]
pub fn cuts(prompt: &[u32], chunk: usize, ends_turn: impl Fn(u32) -> bool) -> Vec<usize> {
    let mut cuts = Vec::new();
    let mut begin = 0;
    for (end, &token) in (1..).zip(prompt) {
        let length = end - begin;
        if length >= chunk || (length >= LEAST_CHUNK && ends_turn(token)) {
            cuts.push(end);
            begin = end;
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::Phase::{Decode, Prefill};
    use super::{LEAST_CHUNK, Work, cuts, plan};

    #[test]
    fn running_answers_go_first_and_the_oldest_prompt_takes_one_chunk() {
        let phases = [Decode, Prefill { chunk: 128 }, Decode, Prefill { chunk: 5 }];
        let expected = [
            Work::Decode { sequence: 0 },
            Work::Decode { sequence: 2 },
            Work::Prefill {
                sequence: 1,
                tokens: 128,
            },
        ];
        assert_eq!(plan(&phases), expected);
        assert!(expected.iter().map(|work| work.sequence()).eq([0, 2, 1]));
        assert_eq!(plan(&[]), []);
    }

    #[test]
    fn prompts_are_cut_by_length_and_after_turns() {
        let mut prompt = vec![0; 300];
        prompt[3] = 7;
        prompt[LEAST_CHUNK + 9] = 7;
        assert_eq!(cuts(&prompt, 128, |token| token == 7), [26, 154, 282]);
        assert_eq!(cuts(&prompt, 128, |_| false), [128, 256]);
        assert_eq!(cuts(&prompt[..128], 128, |_| false), [128]);
        assert_eq!(cuts(&[], 128, |_| true), [0; 0]);
        assert_eq!(cuts(&prompt[..3], 1, |_| false), [1, 2, 3]);
    }

    #[test]
    fn prompts_that_begin_alike_are_cut_alike() {
        let prompt: Vec<u32> = (0..400).map(|token| token * 7919 % 23).collect();
        let whole = cuts(&prompt, 40, |token| token == 5);
        for length in 0..prompt.len() {
            let expected: Vec<usize> = whole.iter().copied().filter(|&cut| cut <= length).collect();
            assert_eq!(cuts(&prompt[..length], 40, |token| token == 5), expected);
        }
    }
}
