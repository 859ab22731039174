//! The words of a layer by their sound.

use crate::domain::is_han;
use crate::retrieval::terms::is_word;
use crate::understanding::sounds;
use std::collections::HashMap;

/// Characters of a word that is looked up by its sound.
pub(in crate::retrieval) const LEAST_CHARS: usize = 2;
/// As above, the most.
pub(in crate::retrieval) const MOST_CHARS: usize = 5;
/// Words of one sound that are kept.
const MAX_ALIKE: usize = 16;

/// Words by their sound.
#[derive(Default)]
pub(in crate::retrieval) struct Sounds {
    words: HashMap<u64, Vec<Box<str>>>,
}

impl Sounds {
    /// Takes up those of `terms` that the dictionary has, and all of `names`: what the base calls its own things.
    pub(in crate::retrieval) fn of<'a>(
        terms: impl Iterator<Item = String>,
        names: impl Iterator<Item = &'a str>,
    ) -> Self {
        let mut sounds = Self::default();
        for term in terms.filter(|term| is_candidate(term) && is_word(term)) {
            sounds.add(&term);
        }
        for name in names.filter(|name| is_candidate(name)) {
            sounds.add(name);
        }
        sounds
    }

    fn add(&mut self, word: &str) {
        for sound in sounds(word) {
            let alike = self.words.entry(sound).or_default();
            if alike.len() < MAX_ALIKE && !alike.iter().any(|known| known.as_ref() == word) {
                alike.push(word.into());
            }
        }
    }

    /// The words that may sound like `piece`, itself too where it is one, in no order; one may come twice.
    pub(in crate::retrieval) fn alike(&self, piece: &str) -> impl Iterator<Item = &str> {
        let all = sounds(piece).into_iter().filter_map(|sound| self.words.get(&sound));
        all.flatten().map(AsRef::as_ref)
    }

    /// About how many bytes it takes.
    pub(in crate::retrieval) fn bytes(&self) -> usize {
        // A list with its place in the map, and each word with what points to it.
        self.words.values().map(|words| 48 + words.len() * 28).sum()
    }
}

fn is_candidate(term: &str) -> bool {
    let mut chars = 0;
    for c in term.chars() {
        chars += 1;
        if chars > MOST_CHARS || !is_han(c) {
            return false;
        }
    }
    chars >= LEAST_CHARS
}

#[cfg(test)]
mod tests {
    use super::Sounds;

    #[test]
    fn words_are_found_by_their_sound() {
        let terms = ["信用卡", "用卡", "银行", "账单", "card", "卡"];
        let sounds = Sounds::of(terms.into_iter().map(str::to_owned), ["金葵卡"].into_iter());
        let alike = |piece: &str| {
            let mut alike: Vec<&str> = sounds.alike(piece).collect();
            alike.dedup();
            alike
        };
        assert_eq!(alike("信用咔"), ["信用卡"]);
        assert_eq!(alike("帐单"), ["账单"]);
        assert_eq!(alike("金魁卡"), ["金葵卡"]);
        // No word of the dictionary, and no name.
        assert!(alike("用咔").is_empty());
        assert!(alike("信用").is_empty() && alike("card").is_empty());
    }
}
