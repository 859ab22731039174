//! From a model file to a running engine.

use super::{Engine, EngineSettings};
use crate::config::InferenceConfig;
use crate::inference::gguf::Gguf;
use crate::inference::tokenizer::{Tokenizer, Vocabulary};
use crate::inference::{InferenceError, ModelInfo, Precision, device, models};
use crate::kernels::pool;
use std::path::Path;

/// Loads the GGUF file at `path` and starts an engine on it. `name` is what clients call the model, `sha256` what the
/// manifest says of the file (empty for one outside it). Cost: a second or two for 0.5 GB; it blocks.
///
/// # Errors
/// `Io` or `BadModel` naming the file, `Tokenizer`, `Template`; `Device` if the one that the settings name cannot be had.
pub fn load_language_model(
    path: &Path,
    name: &str,
    sha256: &str,
    config: &InferenceConfig,
) -> Result<Engine, InferenceError> {
    let gguf = Gguf::open(path)?;
    let tokenizer = Tokenizer::new(Vocabulary::from_gguf(&gguf)?)?;
    let precision = if config.four_bit_weights {
        Precision::FourBits
    } else {
        Precision::AsStored
    };
    let place = device::open(&config.device)?;
    tracing::info!(device = %config.device, "the language model computes on {}", device::describe(place.as_ref()));
    let model = match &place {
        Some(place) => models::load_on_device(&gguf, config.context_tokens, place)?,
        None => pool::with_threads(config.threads, || models::load(&gguf, config.context_tokens, precision))?,
    };
    let info = ModelInfo {
        name: name.to_owned(),
        architecture: gguf.metadata().str("general.architecture")?.to_owned(),
        context_tokens: model.context_tokens(),
        sha256: sha256.to_owned(),
    };
    Engine::start(model, tokenizer, info, &EngineSettings::from(config))
}
