//! A passage with the sentences beside it. Where a paragraph is longer than a passage it is cut between two sentences, and an answer
//! may stand on both sides: what is read and quoted goes on to the end of the thought.

use super::split::{Grain, split};
use crate::domain::{Passage, PassageId};
use crate::storage::{StorageError, Store};

/// Characters that are taken from the end of the passage before, and from the beginning of the one after: whole sentences. With them
/// a passage of the usual length (`passage_tokens`) still fits what the reader reads at once.
const BEFORE_CHARS: usize = 60;
const AFTER_CHARS: usize = 120;

/// A stored passage as it is found and cited; `None` if it is gone.
///
/// # Errors
/// What the store says.
pub async fn cited_passage(store: &dyn Store, id: PassageId) -> Result<Option<Passage>, StorageError> {
    let Some(passage) = store.passages(&[id]).await?.pop() else {
        return Ok(None);
    };
    let beside = store.passages_beside(&passage).await?;
    Ok(Some(widened(&passage, &beside.iter().collect::<Vec<_>>())))
}

/// `passage` with the nearest sentences of those of `beside` that go on in the same paragraph. It stays exactly a stretch of its
/// document, but for a line break between two sentences, which becomes a space.
pub(super) fn widened(passage: &Passage, beside: &[&Passage]) -> Passage {
    let mut wide = passage.clone();
    for other in beside {
        if let Some(gap) = gap(other, passage).filter(|_| other.ordinal + 1 == passage.ordinal) {
            let sentences = split(&other.text, 0..other.text.len(), Grain::Sentence, 0);
            let from = |start: &usize| other.text[*start..].chars().count() <= BEFORE_CHARS;
            let starts = sentences.iter().map(|sentence| sentence.start);
            if let Some(start) = starts.filter(from).min() {
                wide.text = format!("{}{gap}{}", &other.text[start..], wide.text);
                wide.start = other.start + start;
            }
        } else if let Some(gap) = gap(passage, other).filter(|_| passage.ordinal + 1 == other.ordinal) {
            let sentences = split(&other.text, 0..other.text.len(), Grain::Sentence, 0);
            let up_to = |end: &usize| other.text[..*end].chars().count() <= AFTER_CHARS;
            let ends = sentences.iter().map(|sentence| sentence.end);
            if let Some(end) = ends.filter(up_to).max() {
                let more = other.text[..end].trim_end();
                wide.text = format!("{}{gap}{more}", wide.text);
                wide.end = other.start + more.len();
            }
        }
    }
    wide
}

/// What stands between two passages that were one paragraph: nothing, or a space. `None` where they were not. A passage does not say
/// what white space was cut away around it: a single one is between two sentences where the first has its stop and the second begins
/// like one; else it may be the line break of a list or a table.
fn gap(first: &Passage, second: &Passage) -> Option<&'static str> {
    if first.document_id != second.document_id || first.title_path != second.title_path {
        return None;
    }
    let prose = |line: Option<&str>| {
        line.is_some_and(|line| !line.trim_start().starts_with(['|', '#', '-', '*', '+', '•', '>']))
    };
    if !(prose(first.text.lines().last()) && prose(second.text.lines().next())) {
        return None;
    }
    match second.start.checked_sub(first.end)? {
        0 => Some(""),
        1 => {
            let stops = first.text.ends_with(['.', '!', '?', '"', '\u{201d}']);
            let begins = second
                .text
                .starts_with(|c: char| c.is_uppercase() || matches!(c, '"' | '\u{201c}'));
            (stops && begins).then_some(" ")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DocumentId, PassageId};

    /// Passages of one document, each a stretch of `text`.
    fn passages(text: &str, cuts: &[std::ops::Range<usize>]) -> Vec<Passage> {
        let document_id = DocumentId::new();
        (0..)
            .zip(cuts)
            .map(|(ordinal, cut)| Passage {
                id: PassageId::new(),
                document_id,
                ordinal,
                title_path: vec!["黄蝉".to_owned()],
                page: None,
                text: text[cut.clone()].to_owned(),
                start: cut.start,
                end: cut.end,
            })
            .collect()
    }

    #[test]
    fn a_cut_paragraph_is_read_on() {
        let sentence = |c: &str, chars: usize| format!("{}。", c.repeat(chars));
        let text = [("甲", 40), ("乙", 30), ("丙", 99), ("丁", 50), ("戊", 60), ("己", 30)]
            .map(|(c, n)| sentence(c, n))
            .concat();
        let at = |c: &str| text.find(c).unwrap();
        let cut = passages(&text, &[0..at("丙"), at("丙")..at("丁"), at("丁")..text.len()]);
        let wide = widened(&cut[1], &[&cut[0], &cut[2]]);
        assert_eq!((wide.start, wide.end), (at("乙"), at("己")));
        assert_eq!(wide.text, text[wide.start..wide.end]);
        assert_eq!(wide.id, cut[1].id);
        // What is not beside it, or stands under another heading, is nothing to it.
        assert_eq!(widened(&cut[0], &[&cut[2]]), cut[0]);
        let mut other = cut[2].clone();
        other.title_path.push("栽培".to_owned());
        assert_eq!(widened(&cut[1], &[&other]), cut[1]);
    }

    #[test]
    fn lists_tables_and_other_paragraphs_are_not_joined() {
        let text = "The card costs 5.\nIt is blue.\n- one\n- two\n\nNext.";
        let of = |part: &str| text.find(part).map(|at| at..at + part.len()).unwrap();
        let cut = passages(
            text,
            &[
                of("The card costs 5."),
                of("It is blue."),
                of("- one"),
                of("- two"),
                of("Next."),
            ],
        );
        let wide = widened(&cut[0], &[&cut[1]]);
        assert_eq!(wide.text, "The card costs 5. It is blue.");
        assert_eq!(wide.end - wide.start, wide.text.len());
        assert_eq!(widened(&cut[1], &[&cut[2]]), cut[1]);
        assert_eq!(widened(&cut[2], &[&cut[1], &cut[3]]), cut[2]);
        assert_eq!(widened(&cut[4], &[&cut[3]]), cut[4]);
    }
}
