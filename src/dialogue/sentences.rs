//! Where sentences end: in sources (as byte ranges) and in a text that is still being written.

use std::ops::Range;

/// Characters of a quoted speech that is not cut. A longer one, or one whose end is missing, is cut like any other text.
const SPEECH_CHARS: usize = 240;

/// The sentences of `text` as byte ranges, in order: ended by a full stop, a line break, a semicolon between clauses
/// of Chinese text. A row of a table is a line, so it is one. Leading list marks and white space are left out. Sentences
/// between quotation marks or brackets are part of the one around them.
#[must_use]
pub fn segments(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut spoken = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if at >= spoken {
            spoken = end_of_speech(&text[at..]).map_or(at, |len| at + len);
        }
        if at < spoken {
            continue;
        }
        let next = chars.peek().map(|(_, c)| *c);
        // The number of an item ("1. ") is no sentence.
        let is_number = c == '.' && is_numeral(text[start..at].trim());
        if ends_sentence(c, next) && !is_number {
            push_trimmed(text, start..at + c.len_utf8(), &mut found);
            start = at + c.len_utf8();
        }
    }
    push_trimmed(text, start..text.len(), &mut found);
    found
}

/// The bytes up to the mark that closes the quotation or bracket which `text` begins with, if it is near and in the same line.
fn end_of_speech(text: &str) -> Option<usize> {
    let close = match text.chars().next()? {
        '“' => '”',
        '（' => '）',
        '「' => '」',
        '『' => '』',
        _ => return None,
    };
    text.char_indices()
        .take(SPEECH_CHARS)
        .take_while(|(_, c)| *c != '\n')
        .find(|(_, c)| *c == close)
        .map(|(at, _)| at)
}

/// Whether `c` ends a sentence when `next` follows it.
fn ends_sentence(c: char, next: Option<char>) -> bool {
    match c {
        '。' | '！' | '？' | '；' | '\n' => !matches!(next, Some('”' | '」' | '』' | '"')),
        // A Latin stop ends a sentence only before white space: not in 3.5 or www.example.
        '!' | '?' | '.' => next.is_none_or(char::is_whitespace),
        _ => false,
    }
}

fn is_numeral(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit())
}

fn push_trimmed(text: &str, range: Range<usize>, found: &mut Vec<Range<usize>>) {
    let part = &text[range.clone()];
    let body = part.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '*' | '>' | '#' | '•'));
    let start = range.start + (part.len() - body.len());
    let end = start + body.trim_end().len();
    if text[start..end].chars().any(char::is_alphanumeric) {
        found.push(start..end);
    }
}

/// Collects a text that arrives in pieces and gives it back sentence by sentence.
#[derive(Debug, Default)]
pub struct SentenceBuffer {
    pending: String,
}

impl SentenceBuffer {
    /// Adds a piece; returns the sentences that are now complete, each with its end mark and line break.
    pub fn push(&mut self, piece: &str) -> Vec<String> {
        self.pending.push_str(piece);
        let mut complete = Vec::new();
        loop {
            let mut chars = self.pending.char_indices().peekable();
            let mut end = None;
            while let Some((at, c)) = chars.next() {
                let next = chars.peek().map(|(_, c)| *c);
                // Without the next character a Latin stop or a quotation cannot be judged: wait for it.
                if (next.is_some() || c == '\n') && ends_sentence(c, next) {
                    end = Some(at + c.len_utf8());
                    break;
                }
            }
            let Some(end) = end else { return complete };
            let rest = self.pending.split_off(end);
            complete.push(std::mem::replace(&mut self.pending, rest));
        }
    }

    /// What is left at the end of the text.
    #[must_use]
    pub fn finish(self) -> Option<String> {
        (!self.pending.trim().is_empty()).then_some(self.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::{SentenceBuffer, segments};

    #[test]
    fn what_is_said_between_quotation_marks_is_not_cut() {
        let parts = |text: &'static str| segments(text).into_iter().map(|r| &text[r]).collect::<Vec<_>>();
        assert_eq!(
            parts("他说：“好。就这样办；明天见。”大家散了。第二天他没来。"),
            ["他说：“好。就这样办；明天见。”大家散了。", "第二天他没来。"]
        );
        assert_eq!(parts("「甲。乙」丙。丁。"), ["「甲。乙」丙。", "丁。"]);
        // A mark that nothing closes, in this line, holds nothing together.
        assert_eq!(parts("“甲。乙。\n”丙。"), ["“甲。", "乙。", "”丙。"]);
    }

    #[test]
    fn sentences_and_rows() {
        let text = "# 费用\n\n- 年费 3.5 元。首年免！\n| 卡 | 费 |\n| --- | --- |\n| 金卡 | 200元 |\nIt costs 3.5 yuan. Ask us.";
        let parts: Vec<_> = segments(text).into_iter().map(|r| &text[r]).collect();
        assert_eq!(
            parts,
            [
                "费用",
                "年费 3.5 元。",
                "首年免！",
                "| 卡 | 费 |",
                "| 金卡 | 200元 |",
                "It costs 3.5 yuan.",
                "Ask us."
            ]
        );
    }

    #[test]
    fn pieces_make_the_same_sentences_wherever_they_are_cut() {
        let text = "年费 3.5 元。首年免！Ask us. 就这样";
        for size in 1..8 {
            let mut buffer = SentenceBuffer::default();
            let chars: Vec<char> = text.chars().collect();
            let mut got = Vec::new();
            for piece in chars.chunks(size) {
                got.extend(buffer.push(&piece.iter().collect::<String>()));
            }
            got.extend(buffer.finish());
            assert_eq!(got.concat(), text);
            assert_eq!(got, ["年费 3.5 元。", "首年免！", "Ask us.", " 就这样"], "{size}");
        }
    }
}
