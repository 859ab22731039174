//! Language models: one file an architecture, over shared layers.

mod decoder;
mod gemma3;
mod hyperparameters;
mod llama;
mod qwen2;
mod qwen3;
#[cfg(test)]
mod tests;

use super::InferenceError;
use super::gguf::{Fault, Gguf};
use super::kv_cache::KvCache;
use super::weights::Weights;
use decoder::{Blueprint, Decoder};
use hyperparameters::Hyperparameters;

/// A model that predicts the next token.
pub trait CausalModel: Send {
    /// Numbers in a row of logits; tokens are below it.
    fn vocabulary(&self) -> usize;

    /// The longest sequence: what the model was trained on, or what was asked for at loading if that is less.
    fn context_tokens(&self) -> usize;

    /// An empty cache for one sequence of at most `max_tokens` tokens (and at most the context).
    fn new_cache(&self, max_tokens: usize) -> KvCache;

    /// Appends `tokens` to `cache` and returns the logits of the last token, `[vocabulary]`.
    ///
    /// # Errors
    /// `TooLong` if the cache has no room, `BadParameter` for no tokens, a token outside the vocabulary or another
    /// model's cache, `Compute` if the logits are not finite. The cache is then as before.
    fn forward(&mut self, tokens: &[u32], cache: &mut KvCache) -> Result<Vec<f32>, InferenceError>;

    /// Appends `tokens` to `cache` and returns the logits of every token, row-major `[tokens.len(), vocabulary]`.
    ///
    /// # Errors
    /// As [`CausalModel::forward`].
    fn forward_all(&mut self, tokens: &[u32], cache: &mut KvCache) -> Result<Vec<f32>, InferenceError>;
}

/// What an architecture builds its blueprint from.
struct Source<'a> {
    gguf: &'a Gguf,
    weights: &'a Weights<'a>,
    sizes: &'a Hyperparameters,
}

type MakeBlueprint = fn(&Source<'_>) -> Result<Blueprint, InferenceError>;

const ARCHITECTURES: [(&str, MakeBlueprint); 4] = [
    (gemma3::ARCHITECTURE, gemma3::blueprint),
    (llama::ARCHITECTURE, llama::blueprint),
    (qwen2::ARCHITECTURE, qwen2::blueprint),
    (qwen3::ARCHITECTURE, qwen3::blueprint),
];

/// Loads the model of a file for sequences of at most `context_tokens` (0: as long as it was trained on). Weights in
/// formats that are slow to multiply are rewritten as 8-bit ones in memory of their own, about twice their size in the
/// file; all else stays in the mapped file. Cost: about a second for 0.5 GB.
///
/// # Errors
/// `BadModel` for an architecture that is not built in (the message names those that are), and for metadata or tensors
/// that are missing, of the wrong shape, or not used by the architecture.
pub fn load(gguf: &Gguf, context_tokens: usize) -> Result<Box<dyn CausalModel>, InferenceError> {
    let name = gguf.metadata().str("general.architecture")?;
    let Some((_, make)) = ARCHITECTURES.iter().find(|(known, _)| *known == name) else {
        let fault = Fault::Architecture {
            name: name.to_owned(),
            supported: ARCHITECTURES.map(|(known, _)| known).join(", "),
        };
        return Err(gguf.error(fault).into());
    };
    let sizes = Hyperparameters::read(gguf, name)?;
    // With a head of its own the embedding table is only looked up.
    let headed = gguf.optional_tensor(decoder::HEAD).is_some();
    let weights = Weights::new(gguf, headed.then_some(decoder::EMBEDDING))?;
    let blueprint = make(&Source {
        gguf,
        weights: &weights,
        sizes: &sizes,
    })?;
    let context = match context_tokens {
        0 => sizes.context,
        wanted => wanted.min(sizes.context),
    };
    Ok(Box::new(Decoder::load(&weights, &sizes, blueprint, context)?))
}
