//! The regular expressions by which byte-level BPE models cut text into words before merging. A GGUF file names them
//! (`tokenizer.ggml.pre`); what the names mean is fixed by the models' own tokenizer files and llama.cpp's table
//! (`llama-vocab.cpp`). Each expression cuts what the one before it left.

use crate::inference::InferenceError;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

/// Radford et al. 2019, `encoder.py`.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const DIGIT: &str = r"\p{N}";
/// Llama 3's `tokenizer.json`.
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen2's `tokenizer.json`: Llama 3's, but digits stand alone.
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// llama.cpp's choice for files that name none.
const DEFAULT: [&str; 4] = [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"];

/// The cutting rule of a byte-level BPE model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    expressions: &'static [&'static str],
    /// Whether a word that is a token is taken whole, whatever the merges say.
    pub(super) whole_words: bool,
}

impl Rule {
    /// The rule a GGUF file calls `name`; empty counts as `default`.
    pub(super) fn named(name: &str) -> Result<Self, InferenceError> {
        let expressions: &'static [&'static str] = match name {
            "" | "default" => &DEFAULT,
            "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "pixtral" | "dbrx" | "smaug-bpe" => &[LLAMA3],
            "qwen2" | "deepseek-r1-qwen" | "stablelm2" | "megrez" => &[QWEN2],
            "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b" => &[DIGIT, GPT2],
            "gpt-2" | "phi-2" | "mpt" | "olmo" | "jais" | "jina-es" | "jina-de" | "roberta-bpe" => &[GPT2],
            _ => {
                return Err(InferenceError::Tokenizer(format!(
                    "the file names the pre-tokenizer `{name}`, which is not known here; take a file of a qwen2, qwen3, \
                     llama or gemma3 model"
                )));
            }
        };
        let whole_words = is_llama3(name);
        Ok(Self {
            expressions,
            whole_words,
        })
    }

    /// The rule as a pre-tokenizer that ends in byte-level spelling.
    pub(super) fn build(self) -> Result<PreTokenizerWrapper, InferenceError> {
        let mut steps = Vec::with_capacity(self.expressions.len() + 1);
        for expression in self.expressions {
            let pattern = SplitPattern::Regex((*expression).to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                .map_err(|error| InferenceError::Tokenizer(error.to_string()))?;
            steps.push(PreTokenizerWrapper::Split(split));
        }
        steps.push(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, false)));
        Ok(PreTokenizerWrapper::Sequence(Sequence::new(steps)))
    }
}

/// Whether texts of a model with this rule begin with `bos` unless the file says otherwise.
pub(super) fn begins_with_bos(name: &str) -> bool {
    is_llama3(name)
}

/// Llama 3's `tokenizer.json` sets `ignore_merges` and begins every text with `<|begin_of_text|>`.
fn is_llama3(name: &str) -> bool {
    matches!(name, "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "pixtral")
}

#[cfg(test)]
mod tests {
    use super::Rule;

    #[test]
    fn an_unknown_name_is_refused_by_name() {
        let error = Rule::named("tekken").unwrap_err().to_string();
        assert!(error.contains("`tekken`"), "{error}");
    }

    #[test]
    fn every_expression_compiles() {
        for name in ["default", "llama-bpe", "qwen2", "smollm", "gpt-2"] {
            Rule::named(name).and_then(Rule::build).unwrap();
        }
    }
}
