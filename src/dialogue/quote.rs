//! An answer without a writer: the sentences of a passage that hold the answer, word for word.

use super::sentences::segments;
use std::ops::Range;

/// Characters that a quotation aims at: two or three sentences.
const QUOTE_CHARS: usize = 160;

/// What is quoted of a text, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// The head of the table that `part` is a row of.
    pub table_head: Option<Range<usize>>,
    /// The words.
    pub part: Range<usize>,
}

impl Quote {
    /// Words that are no row of a table.
    #[must_use]
    pub fn part(part: Range<usize>) -> Self {
        Self { table_head: None, part }
    }
}

impl Quote {
    /// The part with the head of its table, if it is a row of one.
    #[must_use]
    pub fn at(text: &str, part: Range<usize>) -> Self {
        if !is_row(&text[part.clone()]) {
            return Self::part(part);
        }
        let mut head = None;
        let mut start = text[..part.start].rfind('\n').map_or(0, |at| at + 1);
        while start > 0 {
            let before = text[..start - 1].rfind('\n').map_or(0, |at| at + 1);
            let line = &text[before..start - 1];
            if !is_row(line) {
                break;
            }
            head = Some(before..before + line.trim_end().len());
            start = before;
        }
        Self {
            table_head: head.filter(|head| !is_rule(&text[head.clone()])),
            part,
        }
    }

    /// Whether it is a row of a table.
    #[must_use]
    pub fn is_row(&self, text: &str) -> bool {
        is_row(&text[self.part.clone()])
    }

    /// The words as an answer shows them: a row as a table of its own, with its head.
    #[must_use]
    pub fn shown(&self, text: &str) -> String {
        let part = &text[self.part.clone()];
        match &self.table_head {
            Some(head) => {
                let head = text[head.clone()].trim();
                let columns = head.matches('|').count().saturating_sub(1).max(1);
                format!("{head}\n|{}\n{part}\n", " --- |".repeat(columns))
            }
            None if is_row(part) => format!("{part}\n"),
            None => part.to_owned(),
        }
    }
}

/// The part of `text` around `answer`, the bytes that the reader marked: the sentences it touches, and their neighbours
/// as long as the whole stays short. A row of a table takes the table's head along.
#[must_use]
pub fn quote_around(text: &str, answer: &Range<usize>) -> Quote {
    let parts: Vec<Range<usize>> = segments(text)
        .into_iter()
        .filter(|range| !is_rule(&text[range.clone()]) && !is_table_head(text, range) && !is_heading(text, range))
        .collect();
    let touched = |range: &Range<usize>| range.start < answer.end && answer.start < range.end;
    // Where only a heading is marked, what stands under it is meant.
    let below = || parts.iter().position(|range| range.start >= answer.start);
    let Some(first) = parts.iter().position(touched).or_else(below) else {
        let whole = text.len() - text.trim_start().len()..text.trim_end().len();
        return Quote::part(whole);
    };
    let last = parts.iter().rposition(touched).unwrap_or(first);
    grow(text, &parts, first, last)
}

/// The parts from `first` to `last` with their neighbours; a table's row with the table's head.
fn grow(text: &str, parts: &[Range<usize>], mut first: usize, mut last: usize) -> Quote {
    let row = |part: usize| is_row(&text[parts[part].clone()]);
    if row(first) {
        let last = (first..=last).take_while(|part| row(*part)).last().unwrap_or(first);
        return Quote {
            part: parts[first].start..parts[last].end,
            ..Quote::at(text, parts[first].clone())
        };
    }
    let length = |range: Range<usize>| text[range].chars().count();
    loop {
        // What follows explains more often than what precedes.
        let after = Some(last + 1).filter(|part| *part < parts.len() && !row(*part));
        let before = first.checked_sub(1).filter(|part| !row(*part));
        let fits = |part: &usize| {
            let (first, last) = (first.min(*part), last.max(*part));
            length(parts[first].start..parts[last].end) <= QUOTE_CHARS
        };
        let Some(next) = after.filter(fits).or(before.filter(fits)) else {
            break;
        };
        first = first.min(next);
        last = last.max(next);
    }
    Quote::part(parts[first].start..parts[last].end)
}

/// Whether the part is the head of a table: a row with the rule below it.
#[must_use]
pub fn is_table_head(text: &str, part: &Range<usize>) -> bool {
    let next = text[part.end..]
        .split_once('\n')
        .map_or("", |(_, rest)| rest.lines().next().unwrap_or(""));
    is_row(&text[part.clone()]) && next.contains('-') && is_rule(next.trim())
}

/// A heading of Markdown.
fn is_heading(text: &str, part: &Range<usize>) -> bool {
    let line = text[..part.start].rfind('\n').map_or(0, |at| at + 1);
    text[line..part.start].trim_start().starts_with('#')
}

/// A row of a pipe table.
fn is_row(part: &str) -> bool {
    part.trim_start().starts_with('|')
}

/// The line between a table's head and body.
fn is_rule(part: &str) -> bool {
    part.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

#[cfg(test)]
mod tests {
    use super::{Quote, quote_around};

    #[test]
    fn a_row_takes_its_head_along_and_sentences_their_neighbours() {
        let text = "收费如下。\n| 卡 | 年费 |\n| --- | --- |\n| 金卡 | 200元 |\n| 白金卡 | 600元 |\n以上为标准价。";
        let around = |words: &str| {
            let at = text.find(words).unwrap();
            quote_around(text, &(at..at + words.len()))
        };
        let got = around("600元");
        assert_eq!(&text[got.table_head.clone().unwrap()], "| 卡 | 年费 |");
        assert_eq!(&text[got.part.clone()], "| 白金卡 | 600元 |");
        assert_eq!(got.shown(text), "| 卡 | 年费 |\n| --- | --- |\n| 白金卡 | 600元 |\n");
        assert_eq!(
            around("金卡 | 200元 |\n| 白金卡").shown(text),
            "| 卡 | 年费 |\n| --- | --- |\n| 金卡 | 200元 |\n| 白金卡 | 600元 |\n"
        );
        assert_eq!(&text[around("标准价").part], "以上为标准价。");

        let headed = "## 提前支取\n\n可提前支取1次。";
        assert_eq!(&headed[quote_around(headed, &(0..9)).part], "可提前支取1次。");
        let at = headed.find("1次").unwrap();
        assert_eq!(&headed[quote_around(headed, &(at..at + 1)).part], "可提前支取1次。");

        let prose = "甲。乙。丙。";
        assert_eq!(quote_around(prose, &(6..9)), Quote::part(0..prose.len()));
        assert_eq!(quote_around(prose, &(0..0)), Quote::part(0..prose.len()));
        let long = format!("{}。正是这句。{}。", "前".repeat(200), "后".repeat(200));
        let at = long.find("正是").unwrap();
        assert_eq!(&long[quote_around(&long, &(at..at + 3)).part], "正是这句。");
    }
}
