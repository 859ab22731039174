//! Stop texts: they end an answer and are not part of it, however tokens cut them.

use super::InferenceError;

/// The most stop texts a request may have (OpenAI's API takes 4).
const MAX_STOPS: usize = 16;
/// The most bytes of one: as many may be held back.
const MAX_STOP_BYTES: usize = 256;

/// What [`StopMatcher::push`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopStep {
    /// Text that can be shown.
    pub text: String,
    /// Whether a stop text is complete; nothing may be pushed after it.
    pub stopped: bool,
}

/// Watches a stream of text for stop texts and holds back whatever could be the beginning of one.
#[derive(Clone, Debug, Default)]
pub struct StopMatcher {
    stops: Vec<String>,
    held: String,
}

impl StopMatcher {
    /// A matcher for `stops`.
    ///
    /// # Errors
    /// [`InferenceError::BadParameter`] for more than 16 stop texts, an empty one, or one of more than 256 bytes.
    pub fn new(stops: Vec<String>) -> Result<Self, InferenceError> {
        let sound = stops.len() <= MAX_STOPS && stops.iter().all(|stop| (1..=MAX_STOP_BYTES).contains(&stop.len()));
        if !sound {
            return Err(InferenceError::BadParameter {
                name: "stop",
                detail: format!("give at most {MAX_STOPS} texts of 1 to {MAX_STOP_BYTES} bytes each"),
            });
        }
        Ok(Self {
            stops,
            held: String::new(),
        })
    }

    /// Takes the next piece of text.
    pub fn push(&mut self, text: &str) -> StopStep {
        if self.stops.is_empty() {
            return StopStep {
                text: text.to_owned(),
                stopped: false,
            };
        }
        self.held.push_str(text);
        let first = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(first) = first {
            let rest = self.held.split_off(first);
            return StopStep {
                text: std::mem::replace(&mut self.held, rest),
                stopped: true,
            };
        }
        let rest = self.held.split_off(self.held.len() - self.suspicious());
        StopStep {
            text: std::mem::replace(&mut self.held, rest),
            stopped: false,
        }
    }

    /// Bytes held back; after a stop text, those from its beginning on.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// The text held back when the answer ended otherwise: it began no stop text after all.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Length of the longest suffix that begins a stop text.
    fn suspicious(&self) -> usize {
        let longest = |stop: &String| {
            (1..stop.len().min(self.held.len() + 1))
                .rev()
                .find(|&length| self.held.as_bytes().ends_with(&stop.as_bytes()[..length]))
                .unwrap_or(0)
        };
        let bytes = self.stops.iter().map(longest).max().unwrap_or(0);
        // `held` and the stop texts are UTF-8, so a suffix that is a prefix of one begins at a character, but may end
        // within one only if `held` did, which it cannot.
        debug_assert!(self.held.is_char_boundary(self.held.len() - bytes));
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::StopMatcher;

    /// Text that comes out for `pieces`, and whether a stop text was found.
    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut matcher = StopMatcher::new(stops.iter().map(|&stop| stop.to_owned()).collect()).unwrap();
        let mut out = String::new();
        for piece in pieces {
            let step = matcher.push(piece);
            out += &step.text;
            if step.stopped {
                return (out, true);
            }
        }
        (out + &matcher.finish(), false)
    }

    #[test]
    fn a_stop_text_is_found_wherever_it_is_cut() {
        let text = "第一行。\n用户：第二行";
        let stop = "\n用户：";
        let marks: Vec<usize> = text
            .char_indices()
            .map(|(index, _)| index)
            .chain([text.len()])
            .collect();
        for &first in &marks {
            for &second in marks.iter().filter(|&&second| second >= first) {
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(run(&[stop], &pieces), ("第一行。".to_owned(), true));
            }
        }
    }

    #[test]
    fn character_by_character_nothing_of_a_stop_text_comes_out() {
        let pieces: Vec<String> = "aabaabaac".chars().map(String::from).collect();
        let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
        assert_eq!(run(&["aabaac"], &pieces), ("aab".to_owned(), true));
    }

    #[test]
    fn a_false_start_is_released() {
        let mut matcher = StopMatcher::new(vec!["END".to_owned()]).unwrap();
        assert_eq!(matcher.push("the E").text, "the ");
        assert_eq!(matcher.held(), 1);
        assert_eq!(matcher.push("N").text, "");
        assert_eq!(matcher.push("G").text, "ENG");
        assert_eq!(run(&["END"], &["the EN"]), ("the EN".to_owned(), false));
    }

    #[test]
    fn the_leftmost_of_several_wins() {
        assert_eq!(run(&["world", "o"], &["hello world"]), ("hell".to_owned(), true));
        assert_eq!(run(&[], &["hello"]), ("hello".to_owned(), false));
    }

    #[test]
    fn bad_stop_texts_are_refused() {
        for stops in [vec![String::new()], vec!["x".repeat(257)], vec!["x".to_owned(); 17]] {
            assert!(StopMatcher::new(stops).is_err());
        }
    }
}
