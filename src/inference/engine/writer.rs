//! Tokens to the text that a client sees: whole characters, nothing of a stop text, log-probabilities no earlier than
//! the text they belong to.

use crate::inference::TokenLogprob;
use crate::inference::stop::StopMatcher;
use crate::inference::tokenizer::Utf8Stream;
use std::collections::VecDeque;

/// What can be shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Written {
    pub(super) text: String,
    pub(super) logprobs: Vec<TokenLogprob>,
    /// Whether a stop text is complete.
    pub(super) stopped: bool,
}

#[derive(Debug)]
pub(super) struct Writer {
    utf8: Utf8Stream,
    stop: StopMatcher,
    /// Log-probabilities of tokens whose text is held back, with the bytes of that text.
    held: VecDeque<(TokenLogprob, usize)>,
}

impl Writer {
    pub(super) fn new(stop: StopMatcher) -> Self {
        Self {
            utf8: Utf8Stream::default(),
            stop,
            held: VecDeque::new(),
        }
    }

    /// Takes the bytes of the next token and, where they were asked for, its log-probabilities.
    pub(super) fn push(&mut self, bytes: &[u8], logprob: Option<TokenLogprob>) -> Written {
        self.held.extend(logprob.map(|logprob| (logprob, bytes.len())));
        let step = self.stop.push(&self.utf8.push(bytes));
        let unseen = self.stop.held() + self.utf8.held();
        if step.stopped {
            // What belongs to the stop text alone is no part of the answer.
            let covered = self.behind(unseen, |bytes, rest| bytes <= rest);
            self.held.truncate(covered);
            return Written {
                text: step.text,
                logprobs: self.release(self.held.len()),
                stopped: true,
            };
        }
        let ready = self.behind(unseen, |_, rest| rest > 0);
        Written {
            text: step.text,
            logprobs: self.release(ready),
            stopped: false,
        }
    }

    /// What was held back, when the answer ends otherwise than by a stop text.
    pub(super) fn finish(&mut self) -> Written {
        let step = self.stop.push(&self.utf8.finish());
        let text = if step.stopped {
            step.text
        } else {
            step.text + &self.stop.finish()
        };
        Written {
            text,
            logprobs: self.release(self.held.len()),
            stopped: step.stopped,
        }
    }

    /// How many held log-probabilities stand before the last `bytes` bytes, where `within` tells whether a token of
    /// some bytes belongs to the rest of them.
    fn behind(&self, bytes: usize, within: impl Fn(usize, usize) -> bool) -> usize {
        let mut rest = bytes;
        let mut count = self.held.len();
        while let Some(&(_, bytes)) = count.checked_sub(1).and_then(|last| self.held.get(last)) {
            if rest == 0 || !within(bytes, rest) {
                break;
            }
            rest = rest.saturating_sub(bytes);
            count -= 1;
        }
        count
    }

    fn release(&mut self, count: usize) -> Vec<TokenLogprob> {
        self.held.drain(..count).map(|(logprob, _)| logprob).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Writer;
    use crate::inference::TokenLogprob;
    use crate::inference::stop::StopMatcher;

    fn writer(stop: &[&str]) -> Writer {
        Writer::new(StopMatcher::new(stop.iter().map(|&stop| stop.to_owned()).collect()).unwrap())
    }

    /// The text that comes out for each token of `tokens` and at the end, with the tokens reported beside it.
    fn run(mut writer: Writer, tokens: &[&[u8]]) -> Vec<(String, Vec<Vec<u8>>)> {
        let mut out = Vec::new();
        for &token in tokens {
            let logprob = TokenLogprob {
                text: String::new(),
                bytes: token.to_vec(),
                logprob: 0.0,
                top: Vec::new(),
            };
            let written = writer.push(token, Some(logprob));
            let stopped = written.stopped;
            out.push((
                written.text,
                written.logprobs.into_iter().map(|logprob| logprob.bytes).collect(),
            ));
            if stopped {
                return out;
            }
        }
        let written = writer.finish();
        out.push((
            written.text,
            written.logprobs.into_iter().map(|logprob| logprob.bytes).collect(),
        ));
        out
    }

    fn event(text: &str, tokens: &[&[u8]]) -> (String, Vec<Vec<u8>>) {
        (text.to_owned(), tokens.iter().map(|token| token.to_vec()).collect())
    }

    #[test]
    fn a_character_cut_over_tokens_comes_with_all_of_them() {
        let tokens: [&[u8]; 3] = [b"a\xf0", b"\x9f\x91", b"\x8b!"];
        let expected = [event("a", &[]), event("", &[]), event("👋!", &tokens), event("", &[])];
        assert_eq!(run(writer(&[]), &tokens), expected);
    }

    #[test]
    fn tokens_of_a_stop_text_are_not_reported() {
        let tokens: [&[u8]; 4] = [b"ok", b". E", b"N", b"D."];
        let expected = [
            event("ok", &[b"ok"]),
            event(". ", &[]),
            event("", &[]),
            event("", &[b". E"]),
        ];
        assert_eq!(run(writer(&["END"]), &tokens), expected);
    }

    #[test]
    fn tokens_of_a_false_start_are_reported_with_its_text() {
        let expected = [
            event("", &[]),
            event("ENG", &[b"EN", b"G"]),
            event("", &[]),
            event("E", &[b"E"]),
        ];
        assert_eq!(run(writer(&["END"]), &[b"EN", b"G", b"E"]), expected);
    }

    #[test]
    fn what_never_became_a_character_comes_out_at_the_end() {
        assert_eq!(
            run(writer(&["x"]), &[b"\xe4"]),
            [event("", &[]), event("\u{fffd}", &[b"\xe4"])]
        );
    }
}
