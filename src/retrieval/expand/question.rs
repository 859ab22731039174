//! What a question is searched by, in the index as its viewer sees it.

use super::sound::{LEAST_CHARS, MOST_CHARS};
use super::{SOUND_WEIGHT, SYNONYM_WEIGHT, Wanted};
use crate::retrieval::RetrievalError;
use crate::retrieval::graph::MAX_UNITS;
use crate::retrieval::search::{Question, View};
use crate::retrieval::terms::{Named, pieces};

/// Stretches of a question that are looked up by their sound.
const MAX_PIECES: usize = 64;
/// Words of the base that one of them may have meant.
const MAX_ALIKE: usize = 2;

impl View<'_> {
    /// What the question is searched by.
    pub(in crate::retrieval) fn wanted(&self, question: &Question) -> Result<Wanted, RetrievalError> {
        let mut wanted = Wanted::of(&question.text);
        for word in question.expansion.synonyms.of(&question.text) {
            wanted.add(word, SYNONYM_WEIGHT);
        }
        if question.expansion.names {
            for name in self.other_names(&question.text) {
                wanted.add(name, SYNONYM_WEIGHT);
            }
        }
        if question.expansion.sounds {
            for word in self.alike(&question.text)? {
                wanted.add(&word, SOUND_WEIGHT);
            }
        }
        Ok(wanted)
    }

    /// What else the base calls what the text names, in what the viewer may be told.
    fn other_names(&self, text: &str) -> Vec<&str> {
        let named = Named::new(text);
        let aliases = |name: &str| {
            let found: Vec<&str> = (self.layers.iter())
                .flat_map(|seen| {
                    let aliases = seen.layer().graph.aliases(name).iter();
                    aliases
                        .filter(|(row, _)| seen.row(*row))
                        .map(|(_, alias)| alias.as_ref())
                })
                .collect();
            (!found.is_empty()).then_some(found)
        };
        let mut found: Vec<&str> = named
            .names(MAX_UNITS, aliases)
            .into_iter()
            .flat_map(|(_, names)| names)
            .collect();
        // The same from one layer or from several.
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Words of the base that sound like something in the text that the base does not have, at most [`MAX_ALIKE`] for each.
    fn alike(&self, text: &str) -> Result<Vec<String>, RetrievalError> {
        let mut found = Vec::new();
        let mut pieces = pieces(text, LEAST_CHARS, MOST_CHARS);
        pieces.truncate(MAX_PIECES);
        for piece in pieces {
            // What has all its pairs in texts of the base was meant as it was typed.
            let mut known = true;
            for pair in &piece.pairs {
                known = known && self.words.frequency(pair)? > 0;
            }
            if known {
                continue;
            }
            let mut alike: Vec<(u64, &str)> = Vec::new();
            for seen in &self.layers {
                for word in seen.layer().sounds.alike(&piece.text) {
                    let frequency = self.living(word)?;
                    if frequency > 0 && !alike.iter().any(|(_, other)| *other == word) {
                        alike.push((frequency, word));
                    }
                }
            }
            alike.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
            found.extend(alike.iter().take(MAX_ALIKE).map(|(_, word)| (*word).to_owned()));
        }
        Ok(found)
    }

    /// In how many living texts a word is; for one that the dictionary does not have, at most: in how many its rarest pair of
    /// characters is.
    fn living(&self, word: &str) -> Result<u64, RetrievalError> {
        let whole = self.words.frequency(word)?;
        let ends: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
        let mut rarest = u64::MAX;
        for pair in ends.windows(3).filter(|_| whole == 0) {
            rarest = rarest.min(self.words.frequency(&word[pair[0]..pair[2]])?);
        }
        Ok(if whole == 0 && rarest < u64::MAX { rarest } else { whole })
    }
}
