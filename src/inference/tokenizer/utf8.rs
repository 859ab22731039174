//! Text from bytes that arrive in pieces.

/// Turns pieces of bytes into text. A character whose bytes are not all there is held back (three bytes at most); bytes
/// that can never become a character come out as U+FFFD at once.
#[derive(Clone, Debug, Default)]
pub struct Utf8Stream {
    pending: Vec<u8>,
}

impl Utf8Stream {
    /// Takes `bytes` and returns the text that is complete by now.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.pending.len());
        let mut rest = self.pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    let Some(length) = error.error_len() else { break };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[length..];
                }
            }
        }
        self.pending = rest.to_vec();
        text
    }

    /// Bytes held back.
    #[must_use]
    pub fn held(&self) -> usize {
        self.pending.len()
    }

    /// What is left at the end: one U+FFFD for a character that never became complete, else nothing.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::Utf8Stream;

    #[test]
    fn any_cut_gives_the_whole_text() {
        let text = "退货👩‍👩‍👧 café";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut stream = Utf8Stream::default();
                let bytes = text.as_bytes();
                let mut out = stream.push(&bytes[..first]);
                out += &stream.push(&bytes[first..second]);
                out += &stream.push(&bytes[second..]);
                assert_eq!(out, text);
                assert_eq!(stream.finish(), "");
            }
        }
    }

    #[test]
    fn broken_bytes_are_replaced_and_do_not_hold_up_the_rest() {
        let mut stream = Utf8Stream::default();
        assert_eq!(stream.push(b"a\xff\xe4\xb8b"), "a\u{fffd}\u{fffd}b");
        assert_eq!(stream.push(b"\xf0\x9f"), "");
        assert_eq!(stream.held(), 2);
        assert_eq!(stream.finish(), "\u{fffd}");
        assert_eq!(stream.finish(), "");
    }
}
