//! Finds calls of functions in what a model writes: `<tool_call>` and `</tool_call>` stand around a JSON object with
//! `name` and `arguments`, as the templates of Qwen and Hermes teach.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Deserializer, Value};

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

/// A part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Words.
    Text(String),
    /// A call, complete.
    Call {
        /// One of the functions that there are.
        name: String,
        /// A JSON object as the model wrote it.
        arguments: String,
    },
}

/// Watches a stream of text for calls and holds back whatever could be the beginning of one.
#[derive(Debug, Default)]
pub(super) struct CallReader {
    names: Vec<String>,
    /// How many calls there may be; more are passed over.
    most: usize,
    held: String,
    /// Whether `held` begins with [`OPEN`].
    within: bool,
    /// Calls found so far.
    calls: usize,
}

#[derive(Deserialize)]
struct Call {
    name: String,
    #[serde(alias = "parameters")]
    arguments: Option<Value>,
}

impl CallReader {
    /// A reader for at most `most` calls of the functions `names`. Without names all is text.
    pub(super) fn new(names: Vec<String>, most: usize) -> Self {
        Self {
            names,
            most,
            ..Self::default()
        }
    }

    /// How many calls were found.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// Takes the next piece of text.
    pub(super) fn push(&mut self, text: &str) -> Vec<Part> {
        if self.names.is_empty() {
            return words(text.to_owned());
        }
        self.held.push_str(text);
        let mut parts = Vec::new();
        loop {
            if self.within {
                let Some((call, end)) = self.complete() else { break };
                self.held.drain(..end);
                self.within = false;
                parts.extend(self.counted(call));
            } else if let Some(start) = self.held.find(OPEN) {
                let rest = self.held.split_off(start);
                let before = std::mem::replace(&mut self.held, rest);
                parts.extend(words(self.trimmed(before.trim_end())));
                self.within = true;
            } else {
                let rest = self.held.split_off(self.held.len() - suspicious(&self.held));
                let before = std::mem::replace(&mut self.held, rest);
                parts.extend(words(self.trimmed(&before)));
                break;
            }
        }
        parts
    }

    /// What is left when the answer has ended: a call whose closing mark is missing, or words.
    pub(super) fn finish(&mut self) -> Vec<Part> {
        let rest = std::mem::take(&mut self.held);
        if self.within {
            self.within = false;
            if let Some(call) = self.parsed(&rest[OPEN.len()..]) {
                return self.counted(call).into_iter().collect();
            }
            return words(rest);
        }
        words(self.trimmed(&rest))
    }

    /// The call, unless there were enough before it.
    fn counted(&mut self, call: Part) -> Option<Part> {
        (self.calls < self.most).then(|| {
            self.calls += 1;
            call
        })
    }

    /// The first call in `held` with the byte where it ends. What stands between marks but is no call is no end: the mark
    /// may be part of an argument.
    fn complete(&self) -> Option<(Part, usize)> {
        self.held.match_indices(CLOSE).find_map(|(at, _)| {
            let call = self.parsed(&self.held[OPEN.len()..at])?;
            Some((call, at + CLOSE.len()))
        })
    }

    fn parsed(&self, text: &str) -> Option<Part> {
        let text = text.trim();
        let call: Call = serde_json::from_str(text).ok()?;
        if !self.names.contains(&call.name) {
            return None;
        }
        let arguments = match call.arguments {
            None => "{}".to_owned(),
            Some(Value::Object(_)) => as_written(text)?,
            // Some models quote the object once more.
            Some(Value::String(quoted)) => {
                serde_json::from_str::<Value>(&quoted).ok().filter(Value::is_object)?;
                quoted
            }
            Some(_) => return None,
        };
        Some(Part::Call {
            name: call.name,
            arguments,
        })
    }

    /// Blank space around calls is no part of the words.
    fn trimmed(&self, text: &str) -> String {
        let text = if self.calls > 0 { text.trim_start() } else { text };
        text.to_owned()
    }
}

/// The arguments as they stand in the text: reading and writing them again would change long numbers.
fn as_written(call: &str) -> Option<String> {
    let key = ["\"arguments\"", "\"parameters\""]
        .into_iter()
        .find_map(|key| Some(call.find(key)? + key.len()))?;
    let value = call[key..].trim_start().strip_prefix(':')?.trim_start();
    let mut values = Deserializer::from_str(value).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some(value[..values.byte_offset()].to_owned())
}

fn words(text: String) -> Vec<Part> {
    if text.is_empty() {
        Vec::new()
    } else {
        vec![Part::Text(text)]
    }
}

/// Bytes at the end of `text` that a call may begin with: blank space, and a part of the mark.
fn suspicious(text: &str) -> usize {
    let mark = (1..OPEN.len())
        .rev()
        .find(|&length| text.ends_with(&OPEN[..length]))
        .unwrap_or(0);
    let before = &text[..text.len() - mark];
    text.len() - before.trim_end().len()
}

#[cfg(test)]
mod tests {
    use super::{CallReader, Part};

    const ANSWER: &str = "我来查。\n<tool_call>\n{\"name\": \"order\", \"arguments\": {\"id\": 12345678901234567890123, \
                          \"note\": \"</tool_call> 好\"}}\n</tool_call>\n<tool_call>\n{\"name\": \"bye\"}\n</tool_call>";

    fn reader() -> CallReader {
        CallReader::new(vec!["order".to_owned(), "bye".to_owned()], 2)
    }

    /// What comes out for `pieces`, texts joined.
    fn run(pieces: &[&str]) -> (String, Vec<(String, String)>) {
        let mut reader = reader();
        let mut parts: Vec<Part> = pieces.iter().flat_map(|piece| reader.push(piece)).collect();
        parts.extend(reader.finish());
        let (mut text, mut calls) = (String::new(), Vec::new());
        for part in parts {
            match part {
                Part::Text(words) => text += &words,
                Part::Call { name, arguments } => calls.push((name, arguments)),
            }
        }
        assert_eq!(calls.len(), reader.calls());
        (text, calls)
    }

    #[test]
    fn calls_are_found_wherever_the_text_is_cut() {
        let id = "{\"id\": 12345678901234567890123, \"note\": \"</tool_call> 好\"}";
        let want = (
            "我来查。".to_owned(),
            vec![("order".to_owned(), id.to_owned()), ("bye".to_owned(), "{}".to_owned())],
        );
        let marks: Vec<usize> = ANSWER.char_indices().map(|(at, _)| at).collect();
        for &cut in &marks {
            assert_eq!(run(&[&ANSWER[..cut], &ANSWER[cut..]]), want, "cut at {cut}");
        }
        let characters: Vec<String> = ANSWER.chars().map(String::from).collect();
        assert_eq!(run(&characters.iter().map(String::as_str).collect::<Vec<_>>()), want);
    }

    #[test]
    fn what_is_no_call_stays_text() {
        for text in [
            "a < b, <tool",
            "<tool_call>\n{\"name\": \"unknown\", \"arguments\": {}}\n</tool_call>",
            "<tool_call>not JSON</tool_call> and more",
            "<tool_call>{\"name\": \"order\", \"arguments\": [1]}</tool_call>",
            "words \n",
            "",
        ] {
            assert_eq!(run(&[text]), (text.to_owned(), Vec::new()));
        }
    }

    #[test]
    fn a_call_without_its_closing_mark_and_quoted_arguments_are_read() {
        let (text, calls) = run(&["<tool_call>{\"name\": \"order\", \"arguments\": \"{\\\"id\\\": 1}\"}"]);
        assert_eq!((text.as_str(), calls[0].1.as_str()), ("", "{\"id\": 1}"));
    }

    #[test]
    fn calls_beyond_the_most_are_passed_over() {
        let call = "<tool_call>{\"name\": \"bye\"}</tool_call>\n";
        let (text, calls) = run(&[&call.repeat(3)]);
        assert_eq!((text.as_str(), calls.len()), ("", 2));
    }

    #[test]
    fn words_come_out_as_soon_as_they_cannot_begin_a_call() {
        let mut reader = reader();
        assert_eq!(reader.push("你好 <to"), [Part::Text("你好".to_owned())]);
        assert_eq!(reader.push("ols>"), [Part::Text(" <tools>".to_owned())]);
        assert_eq!(
            CallReader::new(Vec::new(), 1).push("<tool_call>"),
            [Part::Text("<tool_call>".to_owned())]
        );
    }
}
