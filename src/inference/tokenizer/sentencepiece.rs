//! `SentencePiece` models as GGUF files hold them (`llama`): neighbours are merged while their union is a token, the
//! best score first; what is left and no token is spelled in bytes.
//! Source: Kudo and Richardson 2018, arXiv:1808.06226; the order of merges is llama.cpp's `llm_tokenizer_spm`.

use super::vocabulary::{TokenKind, Vocabulary};
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

/// Stands for a space, U+2581.
pub(super) const SPACE: char = '▁';

#[derive(Debug)]
pub(super) struct SentencePiece {
    ids: HashMap<String, u32>,
    scores: Vec<f32>,
    /// The tokens of single bytes.
    bytes: Box<[Option<u32>; 256]>,
    unknown: Option<u32>,
}

/// A run of the text that is one symbol by now; `end == start` once it was merged into its left neighbour.
struct Symbol {
    start: usize,
    end: usize,
    previous: Option<usize>,
    next: Option<usize>,
}

/// Two neighbours that may be merged.
struct Candidate {
    score: f32,
    left: usize,
    right: usize,
    /// Bytes of the union when it was found; another length means that it is out of date.
    length: usize,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

impl SentencePiece {
    pub(super) fn new(vocabulary: &Vocabulary) -> Self {
        let mut bytes = Box::new([None; 256]);
        let mut ids = HashMap::with_capacity(vocabulary.tokens.len());
        for (token, id) in vocabulary.tokens.iter().zip(0_u32..) {
            match vocabulary.kind(id) {
                TokenKind::Byte => {
                    if let Some(byte) = byte_of(token) {
                        bytes[usize::from(byte)] = Some(id);
                    }
                }
                TokenKind::Normal | TokenKind::UserDefined => {
                    ids.insert(token.clone(), id);
                }
                // Control tokens must not arise from merging, whatever the customer types.
                TokenKind::Control | TokenKind::Unknown | TokenKind::Unused => {}
            }
        }
        Self {
            ids,
            scores: vocabulary.scores.clone(),
            bytes,
            unknown: vocabulary.unk,
        }
    }

    /// Appends the tokens of `text`, in which spaces are already spelled [`SPACE`].
    pub(super) fn encode(&self, text: &str, output: &mut Vec<u32>) {
        let mut symbols: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(index, (start, character))| Symbol {
                start,
                end: start + character.len_utf8(),
                previous: index.checked_sub(1),
                next: Some(index + 1),
            })
            .collect();
        let Some(last) = symbols.last_mut() else { return };
        last.next = None;
        let mut queue = BinaryHeap::new();
        for right in 1..symbols.len() {
            self.consider(text, &symbols, right - 1, right, &mut queue);
        }
        while let Some(Candidate {
            left, right, length, ..
        }) = queue.pop()
        {
            let (l, r) = (&symbols[left], &symbols[right]);
            if l.start == l.end || r.start == r.end || r.end - l.start != length {
                continue;
            }
            let (end, next) = (r.end, r.next);
            symbols[right].end = symbols[right].start;
            symbols[left].end = end;
            symbols[left].next = next;
            if let Some(next) = next {
                symbols[next].previous = Some(left);
                self.consider(text, &symbols, left, next, &mut queue);
            }
            if let Some(previous) = symbols[left].previous {
                self.consider(text, &symbols, previous, left, &mut queue);
            }
        }
        for symbol in symbols.iter().filter(|symbol| symbol.start < symbol.end) {
            self.spell(&text[symbol.start..symbol.end], output);
        }
    }

    fn consider(&self, text: &str, symbols: &[Symbol], left: usize, right: usize, queue: &mut BinaryHeap<Candidate>) {
        let (start, end) = (symbols[left].start, symbols[right].end);
        if let Some(&id) = self.ids.get(&text[start..end]) {
            let score = self.scores.get(id as usize).copied().unwrap_or(0.0);
            queue.push(Candidate {
                score,
                left,
                right,
                length: end - start,
            });
        }
    }

    fn spell(&self, piece: &str, output: &mut Vec<u32>) {
        if let Some(&id) = self.ids.get(piece) {
            output.push(id);
            return;
        }
        for byte in piece.bytes() {
            output.extend(self.bytes[usize::from(byte)].or(self.unknown));
        }
    }
}

/// The byte that a token like `<0x0A>` stands for.
pub(super) fn byte_of(token: &str) -> Option<u8> {
    u8::from_str_radix(token.strip_prefix("<0x")?.strip_suffix('>')?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{SentencePiece, byte_of};
    use crate::inference::tokenizer::vocabulary::Vocabulary;

    fn model() -> SentencePiece {
        let tokens = [
            "<unk>", "<0xE4>", "a", "b", "c", "ab", "bc", "abc", "</s>", "<", "/", "s", ">", "</", "s>",
        ];
        SentencePiece::new(&Vocabulary {
            tokens: tokens.map(str::to_owned).to_vec(),
            scores: vec![
                0.0, 0.0, 0.0, 0.0, 0.0, -2.0, -1.0, -3.0, 9.0, 0.0, 0.0, 0.0, 0.0, -1.0, -1.0,
            ],
            types: vec![2, 6, 1, 1, 1, 1, 1, 1, 3, 1, 1, 1, 1, 1, 1],
            unk: Some(0),
            ..Vocabulary::default()
        })
    }

    fn encode(text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        model().encode(text, &mut ids);
        ids
    }

    #[test]
    fn the_best_score_is_merged_first_and_ties_go_left() {
        assert_eq!(encode("abc"), [7]);
        assert_eq!(encode("abbc"), [5, 6]);
        assert_eq!(encode("abab"), [5, 5]);
        assert_eq!(encode(""), [] as [u32; 0]);
    }

    #[test]
    fn what_is_no_token_becomes_bytes_or_unknown() {
        // 中 is E4 B8 AD; only E4 has a byte token.
        assert_eq!(encode("a中"), [2, 1, 0, 0]);
        assert_eq!(byte_of("<0x0A>"), Some(b'\n'));
        assert_eq!(byte_of("<0xZZ>"), None);
    }

    #[test]
    fn control_tokens_never_arise_from_merging() {
        assert_eq!(encode("</s>"), [13, 14]);
    }
}
