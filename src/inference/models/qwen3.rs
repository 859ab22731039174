//! Qwen3 (arXiv:2505.09388): no biases, query and key heads are normalised.

use super::Source;
use super::decoder::Blueprint;
use crate::inference::InferenceError;
use crate::inference::layers::RopeStyle;

pub(super) const ARCHITECTURE: &str = "qwen3";

#[expect(clippy::unnecessary_wraps, reason = "one signature for all architectures")]
pub(super) fn blueprint(source: &Source<'_>) -> Result<Blueprint, InferenceError> {
    let rope = source.sizes.rope(RopeStyle::Halves, None);
    Ok(Blueprint {
        qk_norm: true,
        ..Blueprint::plain(source.sizes, rope)
    })
}
