//! What a model file says about its tokens, before anything is built from it.

use crate::inference::InferenceError;
use crate::inference::gguf::Gguf;

/// How a token may arise. The numbers are those of GGUF's `tokenizer.ggml.token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Text.
    Normal,
    /// Stands for what the vocabulary lacks.
    Unknown,
    /// Steers the model; never made from customers' text.
    Control,
    /// Text that is always one token.
    UserDefined,
    /// Fills the table up.
    Unused,
    /// One byte.
    Byte,
}

impl TokenKind {
    /// The kind of a GGUF number; an unknown number is plain text.
    #[must_use]
    pub fn from_gguf(number: i32) -> Self {
        match number {
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Normal,
        }
    }
}

/// The tokens of a model with everything the tokenizer and the chat template need to know of them, as a GGUF file
/// holds it under `tokenizer.*`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vocabulary {
    /// `gpt2` (byte-level BPE) or `llama` (`SentencePiece`).
    pub model: String,
    /// Name of the pre-tokenizer of a `gpt2` model.
    pub pre: String,
    /// The tokens by id.
    pub tokens: Vec<String>,
    /// Scores of a `llama` model, one a token; higher is merged earlier.
    pub scores: Vec<f32>,
    /// Numbers for [`TokenKind::from_gguf`], one a token, or empty.
    pub types: Vec<i32>,
    /// Merges of a `gpt2` model, best first, as `left right`.
    pub merges: Vec<String>,
    /// Begins a text.
    pub bos: Option<u32>,
    /// Ends a text.
    pub eos: Option<u32>,
    /// Ends a turn, where the file tells it apart from `eos`.
    pub eot: Option<u32>,
    /// Stands for what the vocabulary lacks.
    pub unk: Option<u32>,
    /// Fills batches up.
    pub pad: Option<u32>,
    /// Whether a text begins with `bos`.
    pub add_bos: bool,
    /// Whether a `llama` model expects a space before the text.
    pub add_space_prefix: bool,
    /// The chat template.
    pub chat_template: Option<String>,
}

impl Vocabulary {
    /// What `gguf` says under `tokenizer.*`. Defaults are llama.cpp's: `llama` models begin with `bos` and a space
    /// unless the file says otherwise, `gpt2` models do not (but those of llama 3 begin with `bos`).
    ///
    /// # Errors
    /// [`InferenceError::BadModel`] for keys that are missing or of the wrong type.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, InferenceError> {
        let metadata = gguf.metadata();
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let id = |name: &str| metadata.optional_u32(&format!("tokenizer.ggml.{name}_token_id"));
        let flag = |name: &str| metadata.optional_bool(&format!("tokenizer.ggml.{name}"));
        let model = metadata.str("tokenizer.ggml.model")?.to_owned();
        let pre = metadata
            .optional_str("tokenizer.ggml.pre")?
            .unwrap_or_default()
            .to_owned();
        let scores = "tokenizer.ggml.scores";
        let types = "tokenizer.ggml.token_type";
        let merges = "tokenizer.ggml.merges";
        let sentencepiece = model == "llama";
        Ok(Self {
            tokens: owned(metadata.strings("tokenizer.ggml.tokens")?),
            scores: if metadata.contains(scores) {
                metadata.f32s(scores)?
            } else {
                Vec::new()
            },
            types: if metadata.contains(types) {
                metadata.i32s(types)?
            } else {
                Vec::new()
            },
            merges: if metadata.contains(merges) {
                owned(metadata.strings(merges)?)
            } else {
                Vec::new()
            },
            bos: id("bos")?,
            eos: id("eos")?,
            eot: id("eot")?,
            unk: id("unknown")?,
            pad: id("padding")?,
            add_bos: flag("add_bos_token")?.unwrap_or(sentencepiece || super::pretokenize::begins_with_bos(&pre)),
            add_space_prefix: flag("add_space_prefix")?.unwrap_or(sentencepiece),
            chat_template: metadata.optional_str("tokenizer.chat_template")?.map(str::to_owned),
            model,
            pre,
        })
    }

    /// The kind of token `id`.
    #[must_use]
    pub fn kind(&self, id: u32) -> TokenKind {
        self.types
            .get(id as usize)
            .map_or(TokenKind::Normal, |&number| TokenKind::from_gguf(number))
    }

    /// The text of token `id` as the file spells it.
    #[must_use]
    pub fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize).map(String::as_str)
    }
}
