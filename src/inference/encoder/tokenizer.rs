//! The tokenizer of XLM-R: characters normalised by a table, words marked by U+2581, each cut into the likeliest
//! sequence of pieces (Kudo, arXiv:1804.10959), between the marks of beginning and end.

use super::container::Pieces;
use super::weights::Fault;
use crate::inference::InferenceError;
use std::collections::HashMap;
use std::ops::Range;
use tokenizers::Model;
use tokenizers::models::unigram::Unigram;

/// Marks the beginning of a word.
const MARK: char = '\u{2581}';

/// Text to ids and nothing else.
pub(super) struct PieceTokenizer {
    model: Unigram,
    normaliser: HashMap<char, String>,
    begin: u32,
    end: u32,
}

impl PieceTokenizer {
    pub(super) fn new(pieces: Pieces) -> Result<Self, Fault> {
        let Pieces {
            mut vocabulary,
            begin,
            end,
            padding,
            unknown,
            normaliser,
        } = pieces;
        // Control pieces (they have no probability, so their score is 0) are never cut out of a text: a customer who
        // types `</s>` means these four characters. What stands in their place begins with NUL, which the normaliser
        // never lets through.
        for (id, (piece, score)) in vocabulary.iter_mut().enumerate() {
            if *score == 0.0 || [begin, end, padding, unknown].contains(&(id as u32)) {
                *piece = format!("\u{0}{id}");
            }
        }
        let model = Unigram::from(vocabulary, Some(unknown as usize), false)
            .map_err(|error| format!("the pieces make no tokenizer: {error}"))?;
        Ok(Self {
            model,
            normaliser,
            begin,
            end,
        })
    }

    /// The mark of the beginning.
    pub(super) fn begin(&self) -> u32 {
        self.begin
    }

    /// The mark of the end.
    pub(super) fn end(&self) -> u32 {
        self.end
    }

    /// The ids of `text` with the marks of beginning and end.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, InferenceError> {
        let mut ids = vec![self.begin];
        ids.extend(self.pieces(text)?.into_iter().map(|(id, _)| id));
        ids.push(self.end);
        Ok(ids)
    }

    /// The pieces of `text` without marks: id, and the bytes of `text` it stands for. A piece of what the normaliser
    /// made out of one character has that character's bytes.
    pub(super) fn pieces(&self, text: &str) -> Result<Vec<(u32, Range<usize>)>, InferenceError> {
        let (marked, origins) = self.normalise(text);
        let mut words = marked
            .char_indices()
            .filter(|(_, c)| *c == MARK)
            .map(|(at, _)| at)
            .peekable();
        let mut all = Vec::new();
        while let Some(from) = words.next() {
            let to = words.peek().copied().unwrap_or(marked.len());
            let pieces = self
                .model
                .tokenize(&marked[from..to])
                .map_err(|e| InferenceError::Tokenizer(e.to_string()))?;
            for piece in pieces {
                let bytes = &origins[from + piece.offsets.0..from + piece.offsets.1];
                let first = bytes.first().map_or(0, |origin| origin.start);
                let last = bytes.last().map_or(first, |origin| origin.end);
                all.push((piece.id, first..last));
            }
        }
        Ok(all)
    }

    /// Characters replaced by the table, runs of spaces by one mark, a mark before the first word. Nothing gives
    /// nothing. NUL never comes through: it stands for control pieces. For each byte, which bytes of `text` it is from.
    fn normalise(&self, text: &str) -> (String, Vec<Range<usize>>) {
        let mut out = String::with_capacity(text.len() + MARK.len_utf8());
        let mut origins = Vec::with_capacity(text.len() + MARK.len_utf8());
        let (mut space, mut begun) = (false, false);
        let mut push = |c: char, origin: &Range<usize>| {
            let mut put = |c: char| {
                out.push(c);
                origins.resize(out.len(), origin.clone());
            };
            if c == ' ' {
                if !space {
                    put(MARK);
                }
                space = true;
            } else if c != '\0' {
                if !begun && c != MARK {
                    put(MARK);
                }
                put(c);
                space = false;
            }
            begun = begun || c != '\0';
        };
        for (at, c) in text.char_indices() {
            let origin = at..at + c.len_utf8();
            match self.normaliser.get(&c) {
                Some(replacement) => replacement.chars().for_each(|c| push(c, &origin)),
                None => push(c, &origin),
            }
        }
        (out, origins)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tokenizer() -> PieceTokenizer {
        let vocabulary = [
            "<s>",
            "<pad>",
            "</s>",
            "<unk>",
            "\u{2581}",
            "\u{2581}a",
            "a",
            "b",
            "ab",
            "<",
            "s",
            ">",
        ]
        .iter()
        .enumerate()
        .map(|(i, piece)| ((*piece).to_owned(), if *piece == "ab" { -6.5 } else { -(i as f64) }))
        .collect();
        let normaliser = [('\n', " "), ('Ａ', "a"), ('\u{1}', "")]
            .map(|(c, s)| (c, s.to_owned()))
            .into();
        PieceTokenizer::new(Pieces {
            vocabulary,
            begin: 0,
            end: 2,
            padding: 1,
            unknown: 3,
            normaliser,
        })
        .unwrap()
    }

    #[test]
    fn likeliest_pieces_between_the_marks() {
        let t = tokenizer();
        assert_eq!(t.encode("a").unwrap(), [0, 5, 2]);
        assert_eq!(t.encode("ab a").unwrap(), [0, 4, 8, 5, 2]);
        assert_eq!(t.encode("").unwrap(), [0, 2]);
    }

    #[test]
    fn spaces_collapse_and_characters_are_replaced() {
        let t = tokenizer();
        assert_eq!(t.encode("  a \n\n a").unwrap(), t.encode("a a").unwrap());
        assert_eq!(t.encode("Ａ\u{1}").unwrap(), t.encode("a").unwrap());
        assert_eq!(t.encode("a ").unwrap(), [0, 5, 4, 2]);
    }

    #[test]
    fn control_pieces_in_a_text_are_plain_characters() {
        assert_eq!(tokenizer().encode("<s>").unwrap(), [0, 4, 9, 10, 11, 2]);
        assert_eq!(
            tokenizer().encode("\u{0}0\u{0}2").unwrap(),
            tokenizer().encode("02").unwrap()
        );
    }

    #[test]
    fn consecutive_unknown_characters_are_one_unknown_piece() {
        assert_eq!(tokenizer().encode("a龘靐").unwrap(), [0, 5, 3, 2]);
    }

    #[test]
    fn pieces_know_their_bytes() {
        let text = "Ａb\u{1} a龘靐b";
        let cut: Vec<(u32, &str)> = tokenizer()
            .pieces(text)
            .unwrap()
            .into_iter()
            .map(|(id, bytes)| (id, &text[bytes]))
            .collect();
        // The mark before the first word stands for no byte of its own, so it has those of what follows it.
        assert_eq!(cut, [(4, "Ａ"), (8, "Ａb"), (5, " a"), (3, "龘靐"), (7, "b")]);
    }
}
