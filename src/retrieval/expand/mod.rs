//! What a question is searched by beside its own terms: what it may have meant (words of the knowledge base that sound like
//! something it says and the base does not have), and what means the same (the operator's synonyms, other names that the base
//! itself gives).
//!
//! What is added counts less than what was said: it may be wrong, and where a text has both, the same thing would count twice.
//! It is bounded, and there is none where nothing fits: such a question is searched exactly as without.

mod question;
mod sound;
mod synonyms;

use super::terms;
use std::collections::HashSet;

pub(super) use sound::Sounds;
pub(super) use synonyms::SynonymsFile;
pub use synonyms::{Synonyms, SynonymsError};

/// How much a term of a word that sounds alike counts. The word that was typed is not in the base, so nothing counts twice, but what
/// sounds alike may be another word, and the rest of the question is surely meant: less than one. It was set and not tuned.
const SOUND_WEIGHT: f32 = 0.7;
/// How much a term of a synonym or of another name counts. A text that has both would count the same thing twice: half, so that
/// it never counts more than a text with the question's own word in the title. It was set and not tuned.
const SYNONYM_WEIGHT: f32 = 0.5;
/// Terms that are added to a question at most.
const MAX_ADDED: usize = 32;

/// What a text is searched by.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    /// Its own terms.
    pub(super) own: Vec<String>,
    /// Others, with what they count beside the own ones, 0 to 1.
    pub(super) added: Vec<(String, f32)>,
}

impl Wanted {
    /// The terms of the text alone.
    pub(super) fn of(text: &str) -> Self {
        Self {
            own: terms::query_terms(text),
            added: Vec::new(),
        }
    }

    /// Adds the terms of `text` that are not there yet.
    pub(super) fn add(&mut self, text: &str, weight: f32) {
        let known: HashSet<&str> = (self.own.iter())
            .chain(self.added.iter().map(|(term, _)| term))
            .map(String::as_str)
            .collect();
        let new: Vec<String> = (terms::query_terms(text).into_iter())
            .filter(|term| !known.contains(term.as_str()))
            .take(MAX_ADDED - self.added.len().min(MAX_ADDED))
            .collect();
        self.added.extend(new.into_iter().map(|term| (term, weight)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_is_there_once_and_there_are_not_too_many() {
        let mut wanted = Wanted::of("信用年费");
        let own = wanted.own.clone();
        wanted.add("信用卡", 0.5);
        wanted.add("信用卡", 0.7);
        assert_eq!(wanted.own, own);
        assert_eq!(wanted.added, [("用卡".to_owned(), 0.5), ("信用卡".to_owned(), 0.5)]);
        for number in 0..100 {
            wanted.add(&format!("model{number}"), 0.5);
        }
        assert_eq!(wanted.added.len(), MAX_ADDED);
    }
}
