//! A text as a reader sees it, character by character, each with its place in what was written.

use super::lookalikes::{is_invisible, latin};
use std::ops::Range;
use unicode_normalization::UnicodeNormalization;

/// The folded characters of a text with the way back to the original.
///
/// Full-width forms, circled, superscript and mathematical letters and digits are plain ones; look-alikes of other
/// scripts are the Latin letters and digits they look like; zero-width and bidirectional controls are gone; all white
/// space is a space, a line break a line break. Nothing is joined or reordered over the bounds of a character of the
/// original, so that every range of the view is a range of the original.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    chars: Vec<char>,
    /// For each character of the view: the character of the original it comes from.
    origins: Vec<u32>,
    /// Where each character of the original begins, in bytes, and the length of the whole.
    bytes: Vec<u32>,
}

impl View {
    /// The view of `text`. Cost: linear.
    ///
    /// Texts of more than 2^32 bytes are read up to there.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut view = Self {
            chars: Vec::with_capacity(text.len()),
            origins: Vec::with_capacity(text.len()),
            bytes: Vec::with_capacity(text.len() + 1),
        };
        let limit = u32::MAX as usize;
        let mut end = 0;
        for (place, (byte, c)) in text
            .char_indices()
            .take_while(|(byte, c)| byte + c.len_utf8() <= limit)
            .enumerate()
        {
            view.bytes.push(byte as u32);
            end = byte + c.len_utf8();
            view.fold(c, place as u32);
        }
        view.bytes.push(end as u32);
        view
    }

    fn fold(&mut self, c: char, place: u32) {
        if c.is_ascii() && !c.is_ascii_control() {
            return self.push(c, place);
        }
        if c == '\n' || c == '\u{2028}' || c == '\u{2029}' {
            return self.push('\n', place);
        }
        if is_invisible(c) {
            return;
        }
        if let Some(plain) = latin(c) {
            return self.push(plain, place);
        }
        for part in std::iter::once(c).nfkc() {
            if part.is_whitespace() {
                self.push(' ', place);
            } else if let Some(plain) = latin(part) {
                self.push(plain, place);
            } else if !part.is_control() && !is_invisible(part) {
                self.push(part, place);
            }
        }
    }

    fn push(&mut self, c: char, place: u32) {
        self.chars.push(c);
        self.origins.push(place);
    }

    /// The folded characters.
    #[must_use]
    pub fn chars(&self) -> &[char] {
        &self.chars
    }

    /// The folded text.
    #[must_use]
    pub fn text(&self) -> String {
        self.chars.iter().collect()
    }

    /// The characters of the original that a range of the view stands for, counted from 0. What is invisible
    /// between them and directly after them belongs to it.
    #[must_use]
    pub fn chars_of(&self, range: Range<usize>) -> Range<usize> {
        let whole = self.bytes.len().saturating_sub(1);
        let start = self.origins.get(range.start).map_or(whole, |place| *place as usize);
        if range.is_empty() {
            return start..start;
        }
        let last = range.end.min(self.origins.len());
        let end = last
            .checked_sub(1)
            .map_or(start, |last| self.origins[last] as usize + 1);
        let next = self.origins.get(last).map_or(whole, |place| *place as usize);
        start..end.max(next).max(start)
    }

    /// The bytes of the original that a range of the view stands for.
    #[must_use]
    pub fn bytes_of(&self, range: Range<usize>) -> Range<usize> {
        let chars = self.chars_of(range);
        self.byte(chars.start)..self.byte(chars.end)
    }

    fn byte(&self, place: usize) -> usize {
        let last = self.bytes.len().saturating_sub(1);
        self.bytes.get(place.min(last)).map_or(0, |byte| *byte as usize)
    }

    /// The first place in the view that comes from character `place` of the original or a later one.
    #[must_use]
    pub fn from_char(&self, place: usize) -> usize {
        self.origins.partition_point(|origin| (*origin as usize) < place)
    }
}

#[cfg(test)]
mod tests {
    use super::View;

    #[test]
    fn what_looks_alike_is_alike_and_finds_its_way_back() {
        let text = "电话１３８\u{200b}①⁰𝟏 З️⃣ okаy";
        let view = View::of(text);
        assert_eq!(view.text(), "电话138101 3 okay");
        let at = view.text().chars().position(|c| c == '8').unwrap();
        assert_eq!(&text[view.bytes_of(at..at + 2)], "８\u{200b}①");
        assert_eq!(view.chars_of(at..at + 2), 4..7);
        assert_eq!(&text[view.bytes_of(at..at + 1)], "８\u{200b}");
        assert_eq!(view.from_char(6), at + 1);
    }

    #[test]
    fn a_character_that_becomes_several_stays_one() {
        let text = "⑫㎏½";
        let view = View::of(text);
        assert_eq!(view.text(), "12kg1⁄2");
        assert_eq!(view.chars_of(0..1), 0..1);
        assert_eq!(view.chars_of(1..2), 0..1);
        assert_eq!(&text[view.bytes_of(2..4)], "㎏");
    }

    #[test]
    fn every_range_is_within_the_text() {
        for text in ["", "\u{200b}", "a\u{202e}", "\u{feff}一", "e\u{301}\r\n"] {
            let view = View::of(text);
            let count = view.chars().len();
            for start in 0..=count {
                for end in start..=count {
                    assert!(text.get(view.bytes_of(start..end)).is_some(), "{text:?} {start} {end}");
                }
            }
        }
    }
}
