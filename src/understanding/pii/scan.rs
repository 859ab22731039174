//! What all detectors look at: the folded characters, and the numbers among them.

use crate::understanding::normalise::numerals::{digit, is_doubtful_digit};
use crate::understanding::normalise::{View, is_emoji};
use std::ops::{Bound, Range, RangeBounds};

/// Characters that may stand between two digits of one number, at most.
const GAP: usize = 3;

/// A text, prepared.
pub(super) struct Scan<'v> {
    /// The folded characters.
    pub(super) chars: &'v [char],
    /// The same in lower case, one for one.
    pub(super) lower: Vec<char>,
    /// Digits that may be one number.
    pub(super) runs: Vec<Run>,
}

/// Digits with no more between them than what people put into numbers.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// Their values; 10 is the X at the end of an identity card's number.
    pub(super) digits: Vec<u8>,
    /// Their places.
    pub(super) at: Vec<usize>,
    /// The digits that stand side by side, by index.
    pub(super) groups: Vec<Range<usize>>,
}

impl Run {
    /// The places of the digits from `start` to `end` (indexes of digits), with what lies between.
    pub(super) fn span(&self, digits: Range<usize>) -> Range<usize> {
        self.at[digits.start]..self.at[digits.end - 1] + 1
    }

    /// The lengths of the groups from `first` to `last`.
    pub(super) fn shape(&self, groups: Range<usize>) -> Vec<usize> {
        self.groups[groups].iter().map(Range::len).collect()
    }

    fn push(&mut self, value: u8, place: usize) {
        let index = self.digits.len();
        match self.groups.last_mut() {
            Some(group) if self.at.last() == Some(&(place - 1)) && place > 0 => group.end = index + 1,
            _ => self.groups.push(index..index + 1),
        }
        self.digits.push(value);
        self.at.push(place);
    }
}

impl<'v> Scan<'v> {
    pub(super) fn of(view: &'v View) -> Self {
        let chars = view.chars();
        let lower = chars.iter().map(|c| c.to_lowercase().next().unwrap_or(*c)).collect();
        Self {
            chars,
            lower,
            runs: runs(chars),
        }
    }

    /// The characters of a range, as far as the text goes.
    pub(super) fn slice(&self, range: impl RangeBounds<usize>) -> &[char] {
        within(self.chars, range)
    }

    /// The same in small letters.
    pub(super) fn lower_slice(&self, range: impl RangeBounds<usize>) -> &[char] {
        within(&self.lower, range)
    }

    /// The character at a place.
    pub(super) fn at(&self, place: usize) -> Option<char> {
        self.chars.get(place).copied()
    }

    /// The character before a place.
    pub(super) fn before(&self, place: usize) -> Option<char> {
        place.checked_sub(1).and_then(|place| self.at(place))
    }

    /// Whether one of `words` (in small letters) stands wholly within the `within` characters before a place, on the same
    /// line or at the end of the one before.
    pub(super) fn cue(&self, place: usize, within: usize, words: &[&str]) -> bool {
        self.last_cue(place, within, words).is_some()
    }

    /// Where the last of `words` before a place ends.
    pub(super) fn last_cue(&self, place: usize, within: usize, words: &[&str]) -> Option<usize> {
        let from = place.saturating_sub(within);
        (from..place).rev().find_map(|start| {
            let longest = words.iter().filter_map(|word| self.starts(start, word)).max()?;
            (start + longest <= place).then_some(start + longest)
        })
    }

    /// Whether one of `words` stands within the `within` characters after a place.
    pub(super) fn cue_after(&self, place: usize, within: usize, words: &[&str]) -> bool {
        (place..(place + within).min(self.chars.len()))
            .any(|start| words.iter().any(|word| self.starts(start, word).is_some()))
    }

    /// The length of `word` (in small letters) if it stands at a place. A Latin word stands alone.
    pub(super) fn starts(&self, place: usize, word: &str) -> Option<usize> {
        let mut length = 0;
        for c in word.chars() {
            if self.lower.get(place + length) != Some(&c) {
                return None;
            }
            length += 1;
        }
        let latin = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphabetic());
        let alone = !word.starts_with(|c: char| c.is_ascii_alphabetic())
            || (!latin(self.before(place)) && !latin(self.at(place + length)));
        alone.then_some(length)
    }

    /// The end of the Latin letters, digits and `marks` from a place on.
    pub(super) fn token_end(&self, place: usize, marks: &[char]) -> usize {
        let token = |c: &&char| c.is_ascii_alphanumeric() || marks.contains(c);
        place
            + self.chars[place.min(self.chars.len())..]
                .iter()
                .take_while(token)
                .count()
    }

    /// The place after any of `marks` from a place on.
    pub(super) fn skip(&self, place: usize, marks: &[char]) -> usize {
        place
            + self.chars[place.min(self.chars.len())..]
                .iter()
                .take_while(|c| marks.contains(c))
                .count()
    }
}

fn within(chars: &[char], range: impl RangeBounds<usize>) -> &[char] {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => chars.len(),
    };
    chars.get(start..end.min(chars.len())).unwrap_or_default()
}

/// What people write between the digits of a number.
fn separates(c: char) -> bool {
    matches!(
        c,
        ' ' | '-'
            | '_'
            | '.'
            | '·'
            | '•'
            | '—'
            | '–'
            | '‐'
            | '−'
            | '~'
            | '/'
            | '\\'
            | '、'
            | ','
            | '。'
            | '|'
            | '#'
            | '*'
            | '('
            | ')'
            | '\n'
            | '\''
            | '"'
            | '`'
            | '^'
            | '…'
            | 'ー'
            | '='
            | '['
            | ']'
            | '<'
            | '>'
            | ';'
            | '!'
            | '&'
            | '%'
            | '$'
            | '@'
            | '+'
    ) || is_emoji(c)
}

fn runs(chars: &[char]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut run = Run::default();
    for place in 0..chars.len() {
        if let Some(value) = value(chars, place, &run) {
            if run.at.last().is_some_and(|last| !one_number(&chars[last + 1..place])) {
                runs.push(std::mem::take(&mut run));
            }
            run.push(value, place);
            if value == 10 {
                runs.push(std::mem::take(&mut run));
            }
        }
    }
    runs.push(run);
    runs.retain(|run| run.digits.len() >= 3);
    runs
}

fn one_number(between: &[char]) -> bool {
    between.len() <= GAP
        && between.iter().all(|c| separates(*c))
        && between.iter().filter(|c| **c == '*').count() < 2
        && between.iter().filter(|c| **c == '\n').count() < 2
}

/// The digit at a place: ASCII, Chinese, a letter that stands for one among digits, or the X after seventeen.
fn value(chars: &[char], place: usize, run: &Run) -> Option<u8> {
    let c = chars[place];
    if let Some(digit) = c.to_digit(10) {
        return Some(digit as u8);
    }
    let near = |c: Option<&char>| c.is_some_and(|c| digit(*c).is_some());
    let before = place.checked_sub(1).and_then(|before| chars.get(before));
    let after = chars.get(place + 1);
    match c {
        'x' | 'X' => {
            let ends = !after.is_some_and(char::is_ascii_alphabetic);
            (run.digits.len() >= 17 && run.at.last().is_some_and(|last| one_number(&chars[last + 1..place])) && ends)
                .then_some(10)
        }
        'o' | 'O' => (near(before) && (near(after) || matches!(after, Some('o' | 'O')))
            || matches!(before, Some('o' | 'O')) && near(after))
        .then_some(0),
        'l' | 'I' => (near(before) && near(after)).then_some(1),
        _ if is_doubtful_digit(c) => digit(c).filter(|_| near(before) || near(after)),
        _ => digit(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<(String, usize)> {
        let view = View::of(text);
        let scan = Scan::of(&view);
        let word = |run: &Run| {
            run.digits
                .iter()
                .map(|d| if *d == 10 { 'X' } else { char::from(b'0' + d) })
                .collect()
        };
        scan.runs.iter().map(|run| (word(run), run.groups.len())).collect()
    }

    #[test]
    fn digits_are_gathered_over_what_people_write_between() {
        let one = |digits: &str, groups| vec![(digits.to_owned(), groups)];
        assert_eq!(numbers("１３８-1234 5678"), one("13812345678", 3));
        assert_eq!(numbers("幺三八壹贰三四①②③④"), one("13812341234", 1));
        assert_eq!(numbers("13oO1234😀5678"), one("130012345678", 2));
        assert_eq!(numbers("11010119900307123 x。"), one("11010119900307123X", 2));
        assert_eq!(
            numbers("138****5678"),
            vec![("138".to_owned(), 1), ("5678".to_owned(), 1)]
        );
        assert!(numbers("一个三星，二十五块").is_empty());
        assert_eq!(numbers("上午10:30 到 11:45"), vec![]);
    }

    #[test]
    fn cues_are_words() {
        let view = View::of("my phone 13812345678 smartphones 1");
        let scan = Scan::of(&view);
        assert!(scan.cue(9, 10, &["phone"]));
        assert!(!scan.cue(34, 12, &["phone"]));
    }
}
