//! Finds the tokens that are cut out of a text before anything is merged: control tokens in templates, and
//! user-defined tokens everywhere.

use super::vocabulary::{TokenKind, Vocabulary};
use std::collections::HashMap;

/// Whether control tokens written in a text are read as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// They are plain text.
    Plain,
    /// They steer the model.
    Parsed,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fragment<'a> {
    /// Text to be merged.
    Text(&'a str),
    /// One token.
    Token(u32),
}

/// The tokens that are cut out, by their text.
#[derive(Debug, Default)]
pub(super) struct SpecialTokens {
    by_text: HashMap<String, (u32, TokenKind)>,
    /// For each first byte the lengths that occur, so that only few substrings are looked up.
    lengths: HashMap<u8, Vec<usize>>,
}

impl SpecialTokens {
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let mut special = Self::default();
        for (text, id) in vocabulary.tokens.iter().zip(0_u32..) {
            let kind = vocabulary.kind(id);
            let cut = matches!(kind, TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown);
            let Some(&first) = text.as_bytes().first().filter(|_| cut) else {
                continue;
            };
            special.by_text.insert(text.clone(), (id, kind));
            let lengths = special.lengths.entry(first).or_default();
            if !lengths.contains(&text.len()) {
                lengths.push(text.len());
            }
        }
        special
    }

    /// Cuts `text`. Longer tokens are cut out first, then those further left, as llama.cpp does.
    pub(super) fn cut<'a>(&self, text: &'a str, control: Control) -> Vec<Fragment<'a>> {
        let mut found = self.occurrences(text, control);
        found.sort_unstable_by_key(|&(start, end, _)| (std::cmp::Reverse(end - start), start));
        let mut taken: Vec<(usize, usize, u32)> = Vec::new();
        for (start, end, id) in found {
            // `taken` is sorted and free of overlaps, so only the neighbours can clash.
            let next = taken.partition_point(|&(other, _, _)| other < start);
            let clear_before = next == 0 || taken[next - 1].1 <= start;
            let clear_after = next == taken.len() || taken[next].0 >= end;
            if clear_before && clear_after {
                taken.insert(next, (start, end, id));
            }
        }
        let mut fragments = Vec::with_capacity(taken.len() * 2 + 1);
        let mut at = 0;
        for (start, end, id) in taken {
            if start > at {
                fragments.push(Fragment::Text(&text[at..start]));
            }
            fragments.push(Fragment::Token(id));
            at = end;
        }
        if at < text.len() {
            fragments.push(Fragment::Text(&text[at..]));
        }
        fragments
    }

    /// Every place where a token's text stands, overlapping ones too: (start, end, id).
    fn occurrences(&self, text: &str, control: Control) -> Vec<(usize, usize, u32)> {
        let mut found = Vec::new();
        for (start, byte) in text.bytes().enumerate() {
            for length in self.lengths.get(&byte).into_iter().flatten() {
                let Some(&(id, kind)) = text.get(start..start + length).and_then(|part| self.by_text.get(part)) else {
                    continue;
                };
                if control == Control::Parsed || kind == TokenKind::UserDefined {
                    found.push((start, start + length, id));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::{Control, Fragment, SpecialTokens};
    use crate::inference::tokenizer::vocabulary::Vocabulary;

    fn special() -> SpecialTokens {
        let tokens = ["a", "<|end|>", "  ", "    ", "<|end|><", "中文"]
            .map(str::to_owned)
            .to_vec();
        SpecialTokens::new(&Vocabulary {
            tokens,
            types: vec![1, 3, 4, 4, 4, 4],
            ..Vocabulary::default()
        })
    }

    #[test]
    fn control_tokens_are_cut_out_of_templates_only() {
        let text = "x<|end|>y";
        assert_eq!(special().cut(text, Control::Plain), [Fragment::Text(text)]);
        let parts = [Fragment::Text("x"), Fragment::Token(1), Fragment::Text("y")];
        assert_eq!(special().cut(text, Control::Parsed), parts);
    }

    #[test]
    fn the_longest_token_goes_first_then_the_leftmost() {
        // Seven spaces: four, two, one left.
        assert_eq!(
            special().cut("       ", Control::Plain),
            [Fragment::Token(3), Fragment::Token(2), Fragment::Text(" ")]
        );
        assert_eq!(
            special().cut("<|end|><|end|>", Control::Parsed),
            [Fragment::Token(4), Fragment::Text("|end|>")]
        );
    }

    #[test]
    fn wide_characters_are_not_split() {
        assert_eq!(
            special().cut("说中文", Control::Plain),
            [Fragment::Text("说"), Fragment::Token(5)]
        );
        assert_eq!(special().cut("", Control::Plain), []);
    }
}
