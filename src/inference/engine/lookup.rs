//! Speculation by prompt lookup (Saxena 2023; Yang et al., arXiv:2304.04487): answers repeat their passages, so what
//! followed the last tokens where they stood before is likely to follow again. It is computed beside the next token and
//! kept as far as the answer goes that way; the answer is the same as without.

/// Tokens that must agree for a guess; longer agreements are tried first.
const AGREEING: [usize; 2] = [3, 2];
/// The most tokens that are guessed: with the next token, the rows that cost little more than one.
pub(super) const MOST: usize = 7;
/// Tokens after which guessing is tried again once it failed.
const PAUSE: usize = 6;

/// How guesses have fared in one sequence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lookup {
    /// How many tokens to guess.
    length: usize,
    /// Tokens to generate before the next guess.
    pause: usize,
}

impl Default for Lookup {
    fn default() -> Self {
        Self {
            length: MOST / 2,
            pause: 0,
        }
    }
}

impl Lookup {
    /// What is likely to follow `tokens`, at most `most`.
    pub(super) fn guess(&self, tokens: &[u32], most: usize) -> Vec<u32> {
        let most = most.min(self.length);
        if most == 0 || self.pause > 0 {
            return Vec::new();
        }
        for count in AGREEING {
            let Some(start) = tokens.len().checked_sub(count) else {
                continue;
            };
            let last = &tokens[start..];
            let found = tokens[..tokens.len() - 1]
                .windows(count)
                .rposition(|window| window == last);
            if let Some(at) = found {
                let follow = &tokens[at + count..];
                return follow[..follow.len().min(most)].to_vec();
            }
        }
        Vec::new()
    }

    /// Learns that of `guessed` tokens `right` were right.
    pub(super) fn learn(&mut self, guessed: usize, right: usize) {
        if guessed == 0 {
            self.pause = self.pause.saturating_sub(1);
        } else if right == guessed {
            self.length = (self.length * 2).min(MOST);
        } else if right == 0 {
            if self.length == 1 {
                self.pause = PAUSE;
            }
            self.length = (self.length / 2).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Lookup, MOST, PAUSE};

    #[test]
    fn what_followed_before_is_guessed() {
        let lookup = Lookup::default();
        assert_eq!(lookup.guess(&[1, 2, 3, 4, 5, 6, 7, 1, 2, 3], MOST), [4, 5, 6]);
        assert_eq!(lookup.guess(&[1, 2, 3, 4, 5, 9, 2, 3], 2), [4, 5]);
        assert_eq!(
            lookup.guess(&[8, 8, 1, 5, 8, 8, 2, 8, 8], 1),
            [2],
            "the last place counts"
        );
        assert_eq!(lookup.guess(&[7, 7, 7], MOST), [7], "it may overlap itself");
        for none in [&[][..], &[1], &[1, 2], &[1, 2, 3, 4]] {
            assert!(lookup.guess(none, MOST).is_empty());
        }
        assert!(lookup.guess(&[1, 2, 1, 2], 0).is_empty());
    }

    #[test]
    fn guesses_grow_with_success_and_stop_with_failure() {
        let again = [1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3];
        let mut lookup = Lookup::default();
        lookup.learn(3, 3);
        assert_eq!(lookup.guess(&again, 100).len(), 6);
        lookup.learn(6, 6);
        assert_eq!(lookup.guess(&again, 100).len(), MOST);
        for _ in 0..4 {
            lookup.learn(1, 0);
        }
        assert!(lookup.guess(&again, 100).is_empty());
        for _ in 0..PAUSE {
            lookup.learn(0, 0);
        }
        assert_eq!(lookup.guess(&again, 100), [4]);
    }
}
