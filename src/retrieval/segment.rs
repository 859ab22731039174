//! Segments: what of a passage a single question is about. A vector of a whole passage is the mean of all it says, so a
//! question about one row of a table or one sentence is nearer to that row or sentence than to the passage. Segments
//! are searched; the passage is what is found.
//!
//! Measured once, in a prototype outside the program, with multilingual-e5-small on the calibration questions of the sample base (R@1 / R@3): vectors of passages
//! 0.57 / 0.78, of segments 0.68 / 0.85, both with the words of the segments (see [`super::rank`]) 0.73 / 0.89.

use super::searchable::{plain, searchable_passage};
use crate::domain::Passage;

/// Characters from which a segment is long enough to stand alone; shorter sentences are joined with the next.
const ENOUGH_CHARS: usize = 30;
/// Titles, from the innermost, that are put before each segment: they say what it is about.
const TITLES: usize = 2;

/// The segments of a passage, at least one: rows of tables with the heads of their columns, and sentences or short
/// groups of them, each under the passage's innermost titles.
#[must_use]
pub fn segments(passage: &Passage) -> Vec<String> {
    let body = plain(&passage.text);
    let titles = &passage.title_path[passage.title_path.len().saturating_sub(TITLES)..];
    let title = titles.join(" ");
    let mut found = Vec::new();
    let mut add = |text: &str| {
        let text = text.trim();
        if text.chars().filter(|c| c.is_alphanumeric()).count() >= 4 && !titles.iter().any(|title| title == text) {
            found.push(format!("{title}\n{text}"));
        }
    };
    let mut head: Option<Vec<&str>> = None;
    for line in body.lines() {
        let line = line.trim();
        if let Some(row) = line.strip_prefix('|') {
            let cells: Vec<&str> = row.trim_end_matches('|').split('|').map(str::trim).collect();
            match &head {
                None => head = Some(cells),
                Some(head) => add(&row_text(head, &cells)),
            }
        } else {
            head = None;
            sentences(line, &mut add);
        }
    }
    if found.is_empty() {
        found.push(searchable_passage(passage));
    }
    found
}

/// A row of a table in words: each cell after the head of its column.
fn row_text(head: &[&str], cells: &[&str]) -> String {
    let named = |(place, cell): (usize, &&str)| match head.get(place) {
        Some(name) if !name.is_empty() => format!("{name}：{cell}"),
        _ => (*cell).to_owned(),
    };
    cells
        .iter()
        .enumerate()
        .filter(|(_, cell)| !cell.is_empty())
        .map(named)
        .collect::<Vec<_>>()
        .join("；")
}

/// Groups the sentences of a line.
fn sentences(line: &str, add: &mut impl FnMut(&str)) {
    let line = line.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '-' | '*' | '>' | '•'));
    let mut start = 0;
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let end = at + c.len_utf8();
        let stops = match c {
            '。' | '！' | '？' | '；' | ';' => true,
            '.' | '!' | '?' => chars.peek().is_some_and(|(_, next)| next.is_whitespace()),
            _ => false,
        };
        if stops && line[start..end].chars().count() >= ENOUGH_CHARS {
            add(&line[start..end]);
            start = end;
        }
    }
    add(&line[start..]);
}

#[cfg(test)]
mod tests {
    use super::segments;
    use crate::domain::{DocumentId, Passage, PassageId};

    fn passage(text: &str) -> Passage {
        Passage {
            id: PassageId::new(),
            document_id: DocumentId::new(),
            ordinal: 0,
            title_path: vec!["青禾银行".to_owned(), "信用卡".to_owned(), "年费".to_owned()],
            text: text.to_owned(),
            page: None,
            start: 0,
            end: text.len(),
        }
    }

    #[test]
    fn rows_carry_their_heads_and_sentences_their_titles() {
        let text = "### 年费\n\n每年收取一次。| 不是表格\n\n| 卡种 | 年费 |\n| --- | --- |\n| 金卡 | 160元 |\n| 白金卡 | 600元 |\n\n\
                    首年免收年费，第二年起按上表于每年开卡月的账单日收取，逾期不予退还。刷满六笔免次年年费。";
        assert_eq!(
            segments(&passage(text)),
            [
                "信用卡 年费\n每年收取一次。| 不是表格",
                "信用卡 年费\n卡种：金卡；年费：160元",
                "信用卡 年费\n卡种：白金卡；年费：600元",
                "信用卡 年费\n首年免收年费，第二年起按上表于每年开卡月的账单日收取，逾期不予退还。",
                "信用卡 年费\n刷满六笔免次年年费。",
            ]
        );
    }

    #[test]
    fn every_passage_has_a_segment() {
        assert_eq!(segments(&passage("…")).len(), 1);
        assert_eq!(segments(&passage("")).len(), 1);
    }
}
