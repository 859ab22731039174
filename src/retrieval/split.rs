//! Where text may be cut.

use std::ops::Range;

/// What a text is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grain {
    /// Items of a list, with what belongs to them.
    Item,
    /// Lines.
    Line,
    /// Sentences.
    Sentence,
}

/// Cuts `range` at all borders of the grain. The parts follow each other without a gap. Neighbours that together have
/// at most `together` bytes stay one part.
pub(super) fn split(text: &str, range: Range<usize>, grain: Grain, together: usize) -> Vec<Range<usize>> {
    let part = &text[range.clone()];
    let borders = match grain {
        Grain::Line => lines(part),
        Grain::Item => lines(part).into_iter().filter(|at| begins_item(&part[*at..])).collect(),
        Grain::Sentence => sentences(part),
    };
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for end in borders.into_iter().chain([part.len()]) {
        if end <= start {
            continue;
        }
        let next = range.start + start..range.start + end;
        match parts.last_mut() {
            Some(last) if next.end - last.start <= together => last.end = next.end,
            _ => parts.push(next),
        }
        start = end;
    }
    parts
}

/// Cuts `range` in two: near its middle, after a clause if there is one there, else at white space, else between any
/// two characters. `None` if it has one character.
pub(super) fn halve(text: &str, range: Range<usize>) -> Option<(Range<usize>, Range<usize>)> {
    let part = &text[range.clone()];
    let (low, high) = (part.len() / 4, part.len() * 3 / 4);
    let near = |is_border: fn(char) -> bool| {
        let (low, high) = (part.floor_char_boundary(low), part.ceil_char_boundary(high));
        part[low..high]
            .char_indices()
            .filter(|(_, c)| is_border(*c))
            .map(|(at, c)| low + at + c.len_utf8())
            .filter(|at| *at < part.len())
            .min_by_key(|at| at.abs_diff(part.len() / 2))
    };
    let middle = near(|c| c == '\n')
        .or_else(|| near(|c| matches!(c, '；' | ';')))
        .or_else(|| near(ends_clause))
        .or_else(|| near(char::is_whitespace))
        .unwrap_or_else(|| {
            let middle = part.ceil_char_boundary(part.len() / 2);
            if middle < part.len() {
                middle
            } else {
                part.floor_char_boundary(part.len() / 2)
            }
        });
    (middle > 0 && middle < part.len()).then(|| (range.start..range.start + middle, range.start + middle..range.end))
}

fn ends_clause(c: char) -> bool {
    matches!(c, '，' | '、' | '；' | '：' | ',' | ';' | '|' | '）' | ')')
}

/// Byte offsets at which lines begin, but the first.
fn lines(text: &str) -> Vec<usize> {
    text.bytes()
        .enumerate()
        .filter(|(_, byte)| *byte == b'\n')
        .map(|(at, _)| at + 1)
        .collect()
}

/// Whether a line begins an item of the outermost list.
fn begins_item(line: &str) -> bool {
    let line = line.split('\n').next().unwrap_or_default();
    let item = line.trim_start_matches(' ');
    if line.len() - item.len() > 1 {
        return false;
    }
    let after_number = item.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = after_number.len() < item.len() && item.len() - after_number.len() < 10;
    item.starts_with(['-', '*', '+', '•', '·']) || (numbered && after_number.starts_with(['.', ')', '、', '．']))
}

/// Byte offsets at which sentences begin, but the first: after 。！？… with what closes behind them, after .!? before
/// white space, and after a blank line. A single line break ends no sentence: writers wrap lines. Nor does anything between
/// brackets: "(Hey! Say! JUMP)".
fn sentences(text: &str) -> Vec<usize> {
    let mut borders = Vec::new();
    let mut bracketed = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if at >= bracketed {
            bracketed = end_of_brackets(&text[at..]).map_or(at, |len| at + len);
        }
        if at < bracketed {
            continue;
        }
        let ends = match c {
            '。' | '！' | '？' | '…' => true,
            '.' | '!' | '?' => {
                chars
                    .peek()
                    .is_none_or(|(_, next)| next.is_whitespace() || closes(*next))
                    && !is_number_before(text, at)
            }
            '\n' => text[at + 1..].trim_start_matches([' ', '\t', '\r']).starts_with('\n'),
            _ => false,
        };
        if !ends {
            continue;
        }
        // Closing quotes, repeated marks and the white space after them belong to the sentence before.
        while let Some((_, next)) = chars.peek()
            && (closes(*next) || next.is_whitespace() || matches!(next, '。' | '！' | '？' | '…' | '!' | '?'))
        {
            chars.next();
        }
        borders.push(chars.peek().map_or(text.len(), |(at, _)| *at));
    }
    borders
}

/// Characters between brackets that are kept together at most.
const BRACKETED_CHARS: usize = 120;

/// The bytes up to the bracket that closes the one which `text` begins with, if it is near and in the same line.
fn end_of_brackets(text: &str) -> Option<usize> {
    let close = match text.chars().next()? {
        '（' => '）',
        '(' => ')',
        _ => return None,
    };
    let near = text.char_indices().take(BRACKETED_CHARS);
    near.take_while(|(_, c)| *c != '\n')
        .find(|(_, c)| *c == close)
        .map(|(at, _)| at)
}

fn closes(c: char) -> bool {
    matches!(c, '”' | '’' | '」' | '』' | '）' | ')' | '】' | '》' | '"' | '\'')
}

/// Whether the full stop at `at` follows a number that begins its line: "1. Open the app" is one sentence.
fn is_number_before(text: &str, at: usize) -> bool {
    let line = text[..at].rsplit('\n').next().unwrap_or_default().trim_start();
    !line.is_empty() && line.len() <= 3 && line.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str, grain: Grain) -> Vec<&str> {
        split(text, 0..text.len(), grain, 0)
            .into_iter()
            .map(|range| &text[range])
            .collect()
    }

    #[test]
    fn sentences_keep_what_closes_them() {
        assert_eq!(
            parts(
                "他说：“可以。”然后呢？！1. Open it. Fee is 3.5 yuan\nper day. Ok!  Next",
                Grain::Sentence
            ),
            [
                "他说：“可以。”",
                "然后呢？！",
                "1. ",
                "Open it. ",
                "Fee is 3.5 yuan\nper day. ",
                "Ok!  ",
                "Next"
            ]
        );
        assert_eq!(
            parts("1. Open the app. Done.", Grain::Sentence),
            ["1. Open the app. ", "Done."]
        );
        assert_eq!(parts("标题\n\n正文", Grain::Sentence), ["标题\n\n", "正文"]);
        assert_eq!(
            parts("两家：甲（Hey! Say! A）；乙。其他。", Grain::Sentence),
            ["两家：甲（Hey! Say! A）；乙。", "其他。"]
        );
    }

    #[test]
    fn items_keep_their_sublists() {
        assert_eq!(
            parts("- a\n  - b\n- c\n  d\n", Grain::Item),
            ["- a\n  - b\n", "- c\n  d\n"]
        );
        assert_eq!(parts("1. a\n2. b", Grain::Item), ["1. a\n", "2. b"]);
    }

    #[test]
    fn halves_join_to_the_whole() {
        for text in [
            "字",
            "字字",
            "a，b",
            "一二三四，五六七八九十",
            "aaaa bbbb",
            "😀😀😀",
            "ab\ncd",
        ] {
            match halve(text, 0..text.len()) {
                Some((first, second)) => {
                    assert_eq!([&text[first.clone()], &text[second.clone()]].concat(), text);
                    assert!(!first.is_empty() && !second.is_empty());
                }
                None => assert_eq!(text.chars().count(), 1),
            }
        }
    }
}
