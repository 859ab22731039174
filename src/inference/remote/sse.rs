//! Server-sent events out of bytes that come in any pieces.
//!
//! Source: WHATWG HTML, section 9.2.6 (interpreting an event stream). Names and ids of events are left out: chat servers
//! send none.

/// Longest line and longest event, in bytes: a token with twenty alternatives takes some thousand.
pub(super) const MAX_EVENT_BYTES: usize = 1 << 20;

/// A line or an event longer than [`MAX_EVENT_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// Takes bytes, gives the data of events.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a carriage return: a newline after it belongs to it.
    after_return: bool,
    begun: bool,
}

impl Parser {
    /// Takes the next bytes and appends the data of each event they complete, invalid UTF-8 replaced.
    ///
    /// # Errors
    /// [`TooLarge`]; nothing can be made of the stream afterwards.
    pub(super) fn push(&mut self, bytes: &[u8], events: &mut Vec<String>) -> Result<(), TooLarge> {
        for &byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => self.end_line(events)?,
                _ => {
                    if self.line.len() >= MAX_EVENT_BYTES {
                        return Err(TooLarge);
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self, events: &mut Vec<String>) -> Result<(), TooLarge> {
        let mut line = self.line.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                events.push(String::from_utf8_lossy(&self.data).into_owned());
                self.data.clear();
            }
        } else if let Some(value) = line.strip_prefix(b"data") {
            // `data` alone is a field with an empty value; `database: x` is another field.
            let value = match value {
                [] => Some(value),
                [b':', b' ', rest @ ..] | [b':', rest @ ..] => Some(rest),
                _ => None,
            };
            if let Some(value) = value {
                if self.data.len() + value.len() >= MAX_EVENT_BYTES {
                    return Err(TooLarge);
                }
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value);
            }
        }
        self.line.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_EVENT_BYTES, Parser, TooLarge};
    use rand::{Rng, SeedableRng, rngs::StdRng};

    fn parse(pieces: &[&[u8]]) -> Vec<String> {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.push(piece, &mut events).unwrap();
        }
        events
    }

    const STREAM: &str = "\u{feff}: a comment\r\ndata: {\"问\": 1}\r\n\r\nevent: x\ndata:no space\n\ndata: two\ndata:  lines\n\n\n\
                          data\n\ndatabase: no\n\ndata: by return\r\rid: 7\nretry: 1\n\ndata: [DONE]\n\ndata: never ended";

    #[test]
    fn events_are_what_the_standard_says() {
        let expected = ["{\"问\": 1}", "no space", "two\n lines", "", "by return", "[DONE]"];
        assert_eq!(parse(&[STREAM.as_bytes()]), expected);
    }

    #[test]
    fn any_cutting_of_the_bytes_gives_the_same_events() {
        let whole = parse(&[STREAM.as_bytes()]);
        let bytes = STREAM.as_bytes();
        for cut in 0..=bytes.len() {
            assert_eq!(parse(&[&bytes[..cut], &bytes[cut..]]), whole, "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(parse(&single), whole);
        let mut random = StdRng::seed_from_u64(7);
        for _ in 0..200 {
            // Random streams too: lines, returns, letters and broken UTF-8 in any order.
            let alphabet: &[u8] = b"data: :x\n\r\n\n\xe9\x97\xae\xff";
            let bytes: Vec<u8> = (0..random.random_range(0..200))
                .map(|_| alphabet[random.random_range(0..alphabet.len())])
                .collect();
            let whole = parse(&[&bytes]);
            let (mut rest, mut pieces) = (bytes.as_slice(), Vec::new());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(random.random_range(1..=rest.len().min(9)));
                pieces.push(piece);
                rest = after;
            }
            assert_eq!(parse(&pieces), whole, "{bytes:?}");
        }
    }

    #[test]
    fn long_lines_and_long_events_are_refused() {
        let mut parser = Parser::default();
        let long = vec![b'x'; MAX_EVENT_BYTES + 1];
        assert_eq!(parser.push(&long, &mut Vec::new()), Err(TooLarge));
        let mut parser = Parser::default();
        let line = [b"data:".as_slice(), &vec![b'x'; MAX_EVENT_BYTES / 3], b"\n"].concat();
        let mut result = Ok(());
        for _ in 0..4 {
            result = result.and_then(|()| parser.push(&line, &mut Vec::new()));
        }
        assert_eq!(result, Err(TooLarge));
    }
}
