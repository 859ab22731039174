//! An answer without a writer: the sentences of a passage that are nearest to the question, word for word.

use super::sentences::segments;
use crate::domain::{Passage, is_han};
use crate::inference::{Embedder, InferenceError, TextKind};
use std::collections::HashSet;
use std::ops::Range;

/// Characters that a quotation aims at: two or three sentences.
const QUOTE_CHARS: usize = 160;

/// The most sentences of one passage that are compared with the question.
const MAX_SEGMENTS: usize = 40;

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

/// The part of `passage` that answers `question` best, as a byte range of its text: the nearest sentence, and its
/// neighbours as long as they are near too and the whole stays short. A row of a table takes the table's head along.
///
/// # Errors
/// What the embedder reports.
pub async fn best_quote(question: &str, passage: &Passage, embedder: &dyn Embedder) -> Result<Quote, InferenceError> {
    let text = &passage.text;
    let parts: Vec<Range<usize>> = segments(text)
        .into_iter()
        .filter(|range| !is_rule(&text[range.clone()]) && !is_table_head(text, range))
        .take(MAX_SEGMENTS)
        .collect();
    if parts.len() <= 1 || text.chars().count() <= QUOTE_CHARS {
        let whole = text.len() - text.trim_start().len()..text.trim_end().len();
        return Ok(Quote::part(whole));
    }
    let question_row = embedder.embed(TextKind::Query, vec![question.to_owned()]).await?.data;
    let texts = parts.iter().map(|range| clipped(&text[range.clone()])).collect();
    let embedded = embedder.embed(TextKind::Passage, texts).await?;
    let own = super::grounding::terms(question);
    let scores: Vec<f32> = embedded
        .rows()
        .zip(&parts)
        .map(|(row, range)| {
            let cosine: f32 = row.iter().zip(&question_row).map(|(a, b)| a * b).sum();
            cosine + 0.1 * shared(&own, &text[range.clone()])
        })
        .collect();
    Ok(grow(text, &parts, &scores))
}

/// The best part with its neighbours; a table's row with the table's head.
fn grow(text: &str, parts: &[Range<usize>], scores: &[f32]) -> Quote {
    let best = (0..parts.len())
        .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
        .unwrap_or(0);
    if is_row(&text[parts[best].clone()]) {
        return Quote::at(text, parts[best].clone());
    }
    let length = |range: &Range<usize>| text[range.clone()].chars().count();
    let (mut first, mut last) = (best, best);
    loop {
        let before = first.checked_sub(1).filter(|i| !is_row(&text[parts[*i].clone()]));
        let after = Some(last + 1).filter(|i| *i < parts.len() && !is_row(&text[parts[*i].clone()]));
        // What follows explains more often than what precedes, so a tie goes forward.
        let next = match (before, after) {
            (Some(b), Some(a)) => {
                if scores[b] > scores[a] + 0.01 {
                    b
                } else {
                    a
                }
            }
            (Some(b), None) => b,
            (None, Some(a)) => a,
            (None, None) => break,
        };
        let grown = parts[first.min(next)].start..parts[last.max(next)].end;
        if length(&grown) > QUOTE_CHARS {
            break;
        }
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

/// A row of a pipe table.
fn is_row(part: &str) -> bool {
    part.trim_start().starts_with('|')
}

/// The line between a table's head and body.
fn is_rule(part: &str) -> bool {
    part.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

fn clipped(part: &str) -> String {
    part.chars().take(400).collect()
}

fn shared(own: &HashSet<String>, part: &str) -> f32 {
    let words = super::grounding::terms(part);
    own.iter()
        .filter(|word| words.contains(*word) && word.chars().any(|c| is_han(c) || c.is_alphanumeric()))
        .count() as f32
        / own.len().max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::grow;
    use crate::dialogue::sentences::segments;

    #[test]
    fn a_row_takes_its_head_along_and_sentences_their_neighbours() {
        let text = "收费如下。\n| 卡 | 年费 |\n| --- | --- |\n| 金卡 | 200元 |\n| 白金卡 | 600元 |\n以上为标准价。";
        let parts: Vec<_> = segments(text)
            .into_iter()
            .filter(|r| !super::is_rule(&text[r.clone()]))
            .collect();
        let mut scores = vec![0.0; parts.len()];
        scores[3] = 1.0;
        let got = grow(text, &parts, &scores);
        assert_eq!(&text[got.table_head.clone().unwrap()], "| 卡 | 年费 |");
        assert_eq!(&text[got.part.clone()], "| 白金卡 | 600元 |");
        assert_eq!(got.shown(text), "| 卡 | 年费 |\n| --- | --- |\n| 白金卡 | 600元 |\n");
        assert_eq!(
            super::Quote::at(text, parts[3].clone()),
            super::grow(text, &parts, &scores)
        );

        let prose = "甲。乙。丙。";
        let parts = segments(prose);
        assert_eq!(
            grow(prose, &parts, &[0.1, 0.9, 0.2]),
            super::Quote::part(0..prose.len())
        );
    }
}
