//! Language models: one file an architecture, over shared layers.

mod decoder;
mod device;
mod gemma3;
mod hyperparameters;
mod llama;
mod pass;
mod qwen2;
mod qwen3;
#[cfg(test)]
mod tests;

use super::InferenceError;
use super::gguf::{Fault, Gguf};
use super::kv_cache::{KvCache, KvPiece, KvPool, KvShape, PAGE};
use super::requantise::Precision;
use super::weights::{Tensors, Weights};
use candle_core::Device;
use decoder::{Blueprint, Decoder};
use hyperparameters::Hyperparameters;

/// Whose logits are wanted of a sequence's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Nobody's.
    None,
    /// The last token's.
    Last,
    /// Those of the last so many tokens.
    Newest(usize),
    /// All tokens'.
    All,
}

impl Rows {
    /// How many of `tokens` tokens.
    #[must_use]
    pub fn of(self, tokens: usize) -> usize {
        match self {
            Self::None => 0,
            Self::Last => tokens.min(1),
            Self::Newest(count) => count.min(tokens),
            Self::All => tokens,
        }
    }
}

/// Where tokens stand between others whose keys and values are already there.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The position of each token, ascending, none of them before the end of what the cache counts.
    pub positions: &'a [usize],
    /// How many tokens the cache counts after the pass: keys and values of all that were not computed by then were put
    /// there.
    pub end: usize,
}

/// A sequence's part of a pass.
#[derive(Debug)]
pub struct Span<'a> {
    /// What is appended.
    pub tokens: &'a [u32],
    /// To what.
    pub cache: &'a mut KvCache,
    /// Where the tokens stand, if they do not simply follow one another.
    pub places: Option<Places<'a>>,
    /// Which logits are wanted.
    pub rows: Rows,
}

impl Span<'_> {
    /// The position of each token, and how many tokens the cache counts after the pass.
    #[must_use]
    pub fn places(&self) -> (Vec<usize>, usize) {
        if let Some(Places { positions, end }) = self.places {
            return (positions.to_vec(), end);
        }
        let end = self.cache.len() + self.tokens.len();
        ((self.cache.len()..end).collect(), end)
    }
}

/// A model that predicts the next token.
pub trait CausalModel: Send {
    /// Numbers in a row of logits; tokens are below it.
    fn vocabulary(&self) -> usize;

    /// The longest sequence: what the model was trained on, or what was asked for at loading if that is less.
    fn context_tokens(&self) -> usize;

    /// What it keeps of a token.
    fn kv_shape(&self) -> KvShape;

    /// Appends the tokens of each span to its cache and returns the logits that are wanted, one row after another,
    /// `[rows, vocabulary]`. A span's logits do not depend on the other spans. They may not be finite if weights are
    /// damaged.
    ///
    /// # Errors
    /// `TooLong` if a cache has no room, `BadParameter` for no tokens, a token outside the vocabulary or another
    /// model's cache, `Compute`. The caches are then as before.
    fn forward(&mut self, spans: &mut [Span<'_>]) -> Result<Vec<f32>, InferenceError>;

    /// Keys and values as they would be if their tokens stood from position `to` on, what they attend to unchanged.
    fn moved(&self, piece: &KvPiece, to: usize) -> KvPiece;

    /// Memory for the keys and values of its sequences, at most `pages` pages, where it computes.
    ///
    /// # Errors
    /// `Compute` if a device has no room.
    fn new_pool(&self, pages: usize) -> Result<KvPool, InferenceError> {
        Ok(KvPool::new(self.kv_shape(), pages))
    }

    /// An empty cache for one sequence of at most `max_tokens` tokens (and at most the context), with a pool of its own
    /// that has room for some copies.
    ///
    /// # Errors
    /// As [`CausalModel::new_pool`].
    fn new_cache(&self, max_tokens: usize) -> Result<KvCache, InferenceError> {
        let max_tokens = max_tokens.min(self.context_tokens());
        let pages = 4 * max_tokens.div_ceil(PAGE);
        Ok(KvCache::new(&self.new_pool(pages)?, max_tokens))
    }
}

/// What an architecture builds its blueprint from.
struct Source<'a> {
    gguf: &'a Gguf,
    tensors: &'a Tensors<'a>,
    sizes: &'a Hyperparameters,
}

type MakeBlueprint = fn(&Source<'_>) -> Result<Blueprint, InferenceError>;

const ARCHITECTURES: [(&str, MakeBlueprint); 4] = [
    (gemma3::ARCHITECTURE, gemma3::blueprint),
    (llama::ARCHITECTURE, llama::blueprint),
    (qwen2::ARCHITECTURE, qwen2::blueprint),
    (qwen3::ARCHITECTURE, qwen3::blueprint),
];

/// Loads the model of a file for sequences of at most `context_tokens` (0: as long as it was trained on). Matrices are
/// packed for the kernels into memory of their own, about their size in the file; the embedding table stays in the
/// mapped file. Cost: about a second for 0.5 GB, some more to round them to four bits.
///
/// # Errors
/// `BadModel` for an architecture that is not built in (the message names those that are), and for metadata or tensors
/// that are missing, of the wrong shape, or not used by the architecture.
pub fn load(gguf: &Gguf, context_tokens: usize, precision: Precision) -> Result<Box<dyn CausalModel>, InferenceError> {
    build(gguf, context_tokens, &|tensors, sizes, blueprint, context| {
        // With a head of its own the embedding table is only looked up.
        let headed = tensors.contains(decoder::HEAD);
        let weights = Weights::new(tensors, headed.then_some(decoder::EMBEDDING), precision)?;
        Ok(Box::new(Decoder::load(&weights, sizes, blueprint, context)?))
    })
}

/// The same, to be computed on a device of the tensor library, where the weights go as they are quantised in the file. The
/// kernels of this program are not used; on `Device::Cpu` it is slow, and there to be compared with them.
///
/// # Errors
/// As [`load`]; `Compute` if the device has no room.
pub fn load_on_device(
    gguf: &Gguf,
    context_tokens: usize,
    device: &Device,
) -> Result<Box<dyn CausalModel>, InferenceError> {
    build(gguf, context_tokens, &|tensors, sizes, blueprint, context| {
        Ok(Box::new(device::Decoder::load(
            tensors, sizes, blueprint, context, device,
        )?))
    })
}

type Load<'a> =
    &'a dyn Fn(&Tensors<'_>, &Hyperparameters, Blueprint, usize) -> Result<Box<dyn CausalModel>, InferenceError>;

fn build(gguf: &Gguf, context_tokens: usize, load: Load<'_>) -> Result<Box<dyn CausalModel>, InferenceError> {
    let name = gguf.metadata().str("general.architecture")?;
    let Some((_, make)) = ARCHITECTURES.iter().find(|(known, _)| *known == name) else {
        let fault = Fault::Architecture {
            name: name.to_owned(),
            supported: ARCHITECTURES.map(|(known, _)| known).join(", "),
        };
        return Err(gguf.error(fault).into());
    };
    let sizes = Hyperparameters::read(gguf, name)?;
    let tensors = Tensors::new(gguf);
    let blueprint = make(&Source {
        gguf,
        tensors: &tensors,
        sizes: &sizes,
    })?;
    let context = match context_tokens {
        0 => sizes.context,
        wanted => wanted.min(sizes.context),
    };
    load(&tensors, &sizes, blueprint, context)
}
