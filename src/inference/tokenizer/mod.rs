//! Text to tokens and back, built from what the model file itself says. Ids are those of llama.cpp for the same file:
//! the fixtures under `tests/fixtures/tokenize` prove it.
//!
//! Two ways in: what a customer wrote is plain text to the model, whatever control tokens are typed in it; what the chat
//! template wrote steers the model.

mod byte_level;
mod pretokenize;
mod sentencepiece;
mod special;
mod utf8;
mod vocabulary;

pub use utf8::Utf8Stream;
pub use vocabulary::{TokenKind, Vocabulary};

use super::InferenceError;
use pretokenize::Rule;
use sentencepiece::SentencePiece;
use special::{Control, Fragment, SpecialTokens};
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use tokenizers::models::bpe::{BPE, Vocab};

/// Tokens that end an answer, by name, for files that name only one of them (Qwen's chat ends in `<|im_end|>`, its base
/// model in `<|endoftext|>`; gemma's turns in `<end_of_turn>`; llama 3's in `<|eot_id|>`). They are control tokens even
/// where a file calls them text, as llama.cpp has it.
const END_TOKENS: [&str; 13] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<end_of_turn>",
    "<eos>",
    "</s>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<EOT>",
    // A code model that begins another file has nothing more to say.
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
];
/// The number of control tokens in `tokenizer.ggml.token_type`.
const CONTROL: i32 = 3;

/// A part of a prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Written by the chat template: control tokens in it steer the model.
    Template(String),
    /// Written by a person or taken from a document: control tokens in it are plain text.
    Content(String),
}

impl Piece {
    /// The text, whoever wrote it.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Template(text) | Self::Content(text) => text,
        }
    }
}

/// How text without special tokens is merged.
enum Merger {
    BytePairs(Box<tokenizers::Tokenizer>),
    SentencePiece { model: SentencePiece, space_prefix: bool },
}

/// A model's tokenizer. Cheap to share (`Arc`), safe to use from many threads.
pub struct Tokenizer {
    merger: Merger,
    special: SpecialTokens,
    /// All tokens' bytes one after the other, and where each begins.
    bytes: Vec<u8>,
    offsets: Vec<usize>,
    vocabulary: Vocabulary,
    end: Vec<u32>,
    longest: usize,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("model", &self.vocabulary.model)
            .field("pre", &self.vocabulary.pre)
            .field("tokens", &self.len())
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Builds the tokenizer; a second or so for 150,000 tokens in an unoptimised build.
    ///
    /// # Errors
    /// [`InferenceError::Tokenizer`] for a model or pre-tokenizer that is not known, and for a table that contradicts
    /// itself.
    pub fn new(mut vocabulary: Vocabulary) -> Result<Self, InferenceError> {
        check(&vocabulary)?;
        let end = mark_end_tokens(&mut vocabulary);
        let merger = match vocabulary.model.as_str() {
            "gpt2" => Merger::BytePairs(Box::new(byte_pairs(&vocabulary)?)),
            "llama" => Merger::SentencePiece {
                model: SentencePiece::new(&vocabulary),
                space_prefix: vocabulary.add_space_prefix,
            },
            other => {
                return Err(InferenceError::Tokenizer(format!(
                    "tokenizer model `{other}` is not supported, only `gpt2` and `llama`"
                )));
            }
        };
        let (bytes, offsets) = spellings(&vocabulary);
        let longest = offsets
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .max()
            .unwrap_or(1)
            .max(1);
        let special = SpecialTokens::new(&vocabulary);
        // What only the merger needs is not kept twice.
        vocabulary.merges = Vec::new();
        vocabulary.scores = Vec::new();
        Ok(Self {
            merger,
            special,
            bytes,
            offsets,
            vocabulary,
            end,
            longest,
        })
    }

    /// Number of tokens in the vocabulary.
    #[must_use]
    pub fn len(&self) -> usize {
        self.vocabulary.tokens.len()
    }

    /// Whether the vocabulary is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The tokens of what a customer or a document says, without a beginning-of-text token. Control tokens in it are
    /// plain text.
    ///
    /// # Errors
    /// [`InferenceError::Tokenizer`].
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>, InferenceError> {
        let mut ids = Vec::new();
        self.encode_part(text, Control::Plain, true, &mut ids)?;
        Ok(ids)
    }

    /// The tokens of what a chat template says, without a beginning-of-text token. Control tokens in it are control
    /// tokens.
    ///
    /// # Errors
    /// [`InferenceError::Tokenizer`].
    pub fn encode_template(&self, text: &str) -> Result<Vec<u32>, InferenceError> {
        let mut ids = Vec::new();
        self.encode_part(text, Control::Parsed, true, &mut ids)?;
        Ok(ids)
    }

    /// The tokens of a prompt, each piece encoded by itself, with the beginning-of-text token where the model expects
    /// one.
    ///
    /// # Errors
    /// [`InferenceError::Tokenizer`].
    pub fn encode_prompt(&self, pieces: &[Piece]) -> Result<Vec<u32>, InferenceError> {
        Ok(self.encode_pieces(pieces)?.0)
    }

    /// As [`Tokenizer::encode_prompt`], and where the tokens of each piece stand.
    ///
    /// # Errors
    /// The same.
    pub fn encode_pieces(&self, pieces: &[Piece]) -> Result<(Vec<u32>, Vec<Range<usize>>), InferenceError> {
        let mut ids = Vec::new();
        let mut places = Vec::with_capacity(pieces.len());
        let mut at_start = true;
        for piece in pieces {
            let control = match piece {
                Piece::Template(_) => Control::Parsed,
                Piece::Content(_) => Control::Plain,
            };
            let start = ids.len();
            at_start = self.encode_part(piece.text(), control, at_start, &mut ids)?;
            places.push(start..ids.len());
        }
        if let Some(bos) = self.vocabulary.bos.filter(|_| self.vocabulary.add_bos)
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
            for place in &mut places {
                *place = place.start + 1..place.end + 1;
            }
        }
        Ok((ids, places))
    }

    /// Fewest tokens that a text of `bytes` bytes can have.
    #[must_use]
    pub fn fewest_tokens(&self, bytes: usize) -> usize {
        bytes.div_ceil(self.longest)
    }

    /// The bytes a token stands for (a control token's are its name); empty for unused and unknown ids.
    #[must_use]
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        match (self.offsets.get(id), self.offsets.get(id + 1)) {
            (Some(&start), Some(&end)) => &self.bytes[start..end],
            _ => &[],
        }
    }

    /// Whether a token is no part of the text: control, unknown and unused tokens.
    #[must_use]
    pub fn is_control(&self, id: u32) -> bool {
        matches!(
            self.vocabulary.kind(id),
            TokenKind::Control | TokenKind::Unknown | TokenKind::Unused
        )
    }

    /// Whether a token ends the answer.
    #[must_use]
    pub fn is_end(&self, id: u32) -> bool {
        self.end.contains(&id)
    }

    /// The tokens that end an answer.
    #[must_use]
    pub fn end_tokens(&self) -> &[u32] {
        &self.end
    }

    /// Whether text is spelled by bytes, so that a piece of it has the same tokens wherever it stands.
    #[must_use]
    pub fn is_byte_level(&self) -> bool {
        matches!(self.merger, Merger::BytePairs(_))
    }

    /// The chat template of the file.
    #[must_use]
    pub fn chat_template(&self) -> Option<&str> {
        self.vocabulary.chat_template.as_deref()
    }

    /// The beginning-of-text token as the template spells it; empty if there is none.
    #[must_use]
    pub fn bos_text(&self) -> &str {
        self.vocabulary
            .bos
            .and_then(|id| self.vocabulary.token(id))
            .unwrap_or_default()
    }

    /// The end-of-text token as the template spells it; empty if there is none.
    #[must_use]
    pub fn eos_text(&self) -> &str {
        self.vocabulary
            .eos
            .and_then(|id| self.vocabulary.token(id))
            .unwrap_or_default()
    }

    /// Appends the tokens of `text`. `at_start` tells whether a control token or nothing stands before it (where
    /// `SentencePiece` models with a space prefix want one); returns the same for what comes next.
    fn encode_part(
        &self,
        text: &str,
        control: Control,
        mut at_start: bool,
        ids: &mut Vec<u32>,
    ) -> Result<bool, InferenceError> {
        for fragment in self.special.cut(text, control) {
            match fragment {
                Fragment::Token(id) => {
                    ids.push(id);
                    at_start = true;
                }
                Fragment::Text(text) => {
                    self.merge(text, at_start, ids)?;
                    at_start = false;
                }
            }
        }
        Ok(at_start)
    }

    fn merge(&self, text: &str, at_start: bool, ids: &mut Vec<u32>) -> Result<(), InferenceError> {
        match &self.merger {
            Merger::BytePairs(bpe) => {
                let encoding = bpe
                    .encode_fast(text, false)
                    .map_err(|error| InferenceError::Tokenizer(error.to_string()))?;
                ids.extend_from_slice(encoding.get_ids());
            }
            Merger::SentencePiece { model, space_prefix } => {
                let mut spelled = String::with_capacity(text.len() + 8);
                if *space_prefix && at_start {
                    spelled.push(sentencepiece::SPACE);
                }
                spelled.extend(text.chars().map(|c| if c == ' ' { sentencepiece::SPACE } else { c }));
                model.encode(&spelled, ids);
            }
        }
        Ok(())
    }
}

fn check(vocabulary: &Vocabulary) -> Result<(), InferenceError> {
    let count = vocabulary.tokens.len();
    let fault = |text: String| Err(InferenceError::Tokenizer(text));
    if count == 0 {
        return fault("the file holds no tokens (`tokenizer.ggml.tokens`)".to_owned());
    }
    for (name, length) in [
        ("token_type", vocabulary.types.len()),
        ("scores", vocabulary.scores.len()),
    ] {
        if length != 0 && length != count {
            return fault(format!(
                "`tokenizer.ggml.{name}` has {length} entries for {count} tokens"
            ));
        }
    }
    if vocabulary.model == "llama" && vocabulary.scores.is_empty() {
        return fault("a `llama` tokenizer needs `tokenizer.ggml.scores`".to_owned());
    }
    for (name, id) in [
        ("bos", vocabulary.bos),
        ("eos", vocabulary.eos),
        ("eot", vocabulary.eot),
        ("unknown", vocabulary.unk),
        ("padding", vocabulary.pad),
    ] {
        if let Some(id) = id.filter(|&id| id as usize >= count) {
            return fault(format!(
                "`tokenizer.ggml.{name}_token_id` is {id}, but there are {count} tokens"
            ));
        }
    }
    Ok(())
}

/// Byte-level BPE without any special token: those are cut out before.
fn byte_pairs(vocabulary: &Vocabulary) -> Result<tokenizers::Tokenizer, InferenceError> {
    let rule = Rule::named(&vocabulary.pre)?;
    let ids: HashMap<&str, u32> = vocabulary.tokens.iter().map(String::as_str).zip(0..).collect();
    // Control tokens are left out, so that no merge can ever make one from a customer's text.
    let text = |id: u32| {
        matches!(
            vocabulary.kind(id),
            TokenKind::Normal | TokenKind::UserDefined | TokenKind::Byte
        )
    };
    let mut merges = Vec::with_capacity(vocabulary.merges.len());
    for merge in &vocabulary.merges {
        // The separator is the first space after the first character: a token may itself begin with a space.
        let cut = merge
            .char_indices()
            .skip(1)
            .find(|&(_, character)| character == ' ')
            .map(|(index, _)| index);
        let Some((left, right)) = cut.map(|index| (&merge[..index], &merge[index + 1..])) else {
            return Err(InferenceError::Tokenizer(format!(
                "merge {merge:?} does not name two tokens"
            )));
        };
        let union = format!("{left}{right}");
        let mut plain = true;
        for part in [left, right, &union] {
            let Some(&id) = ids.get(part) else {
                return Err(InferenceError::Tokenizer(format!(
                    "merge {merge:?} names {part:?}, which is no token"
                )));
            };
            plain &= text(id);
        }
        if plain {
            merges.push((left.to_owned(), right.to_owned()));
        }
    }
    let vocab: Vocab = ids
        .into_iter()
        .filter(|&(_, id)| text(id))
        .map(|(token, id)| (token.to_owned(), id))
        .collect();
    let bpe = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .ignore_merges(rule.whole_words)
        .build()
        .map_err(|error| InferenceError::Tokenizer(error.to_string()))?;
    let mut tokenizer = tokenizers::Tokenizer::new(bpe);
    tokenizer.with_pre_tokenizer(Some(rule.build()?));
    Ok(tokenizer)
}

/// What each token stands for: all bytes one after the other, and `tokens + 1` offsets into them.
fn spellings(vocabulary: &Vocabulary) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = Vec::new();
    let mut offsets = vec![0];
    for (token, id) in vocabulary.tokens.iter().zip(0_u32..) {
        match (vocabulary.kind(id), vocabulary.model.as_str()) {
            (TokenKind::Normal | TokenKind::Byte, "gpt2") => byte_level::decode(token, &mut bytes),
            (TokenKind::Byte, _) => match sentencepiece::byte_of(token) {
                Some(byte) => bytes.push(byte),
                None => bytes.extend_from_slice(token.as_bytes()),
            },
            (TokenKind::Normal, _) => {
                bytes.extend_from_slice(token.replace(sentencepiece::SPACE, " ").as_bytes());
            }
            (TokenKind::Unused, _) => {}
            _ => bytes.extend_from_slice(token.as_bytes()),
        }
        offsets.push(bytes.len());
    }
    (bytes, offsets)
}

/// Makes the tokens that end an answer control tokens and returns them.
fn mark_end_tokens(vocabulary: &mut Vocabulary) -> Vec<u32> {
    let named = (vocabulary.tokens.iter().zip(0_u32..))
        .filter(|(token, _)| END_TOKENS.contains(&token.as_str()))
        .map(|(_, id)| id);
    let mut end: Vec<u32> = named.chain(vocabulary.eos).chain(vocabulary.eot).collect();
    end.sort_unstable();
    end.dedup();
    vocabulary.types.resize(vocabulary.tokens.len(), 1);
    for &id in &end {
        vocabulary.types[id as usize] = CONTROL;
    }
    end
}

#[cfg(test)]
pub(crate) mod tests;
