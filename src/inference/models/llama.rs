//! Llama and its like: Llama 1 to 3.3, `SmolLM`, Mistral 7B (arXiv:2302.13971, arXiv:2407.21783). The converter of
//! llama.cpp permutes query and key weights so that neighbours are rotated. Llama 3.1 divides frequencies by the factors
//! in `rope_freqs.weight`.

use super::Source;
use super::decoder::{Blueprint, Presence};
use crate::inference::InferenceError;
use crate::inference::layers::RopeStyle;

pub(super) const ARCHITECTURE: &str = "llama";

pub(super) fn blueprint(source: &Source<'_>) -> Result<Blueprint, InferenceError> {
    const FACTORS: &str = "rope_freqs.weight";
    let factors = if source.tensors.contains(FACTORS) {
        Some(source.tensors.numbers(FACTORS, source.sizes.rope_dim / 2)?)
    } else {
        None
    };
    let rope = source.sizes.rope(RopeStyle::Neighbours, factors.as_deref());
    Ok(Blueprint {
        qkv_bias: Presence::IfThere,
        ..Blueprint::plain(source.sizes, rope)
    })
}
