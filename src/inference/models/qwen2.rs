//! Qwen2 and Qwen2.5 (arXiv:2407.10671, arXiv:2412.15115): biases on queries, keys and values.

use super::Source;
use super::decoder::{Blueprint, Presence};
use crate::inference::InferenceError;
use crate::inference::layers::RopeStyle;

pub(super) const ARCHITECTURE: &str = "qwen2";

#[expect(clippy::unnecessary_wraps, reason = "one signature for all architectures")]
pub(super) fn blueprint(source: &Source<'_>) -> Result<Blueprint, InferenceError> {
    let rope = source.sizes.rope(RopeStyle::Halves, None);
    Ok(Blueprint {
        qkv_bias: Presence::Always,
        ..Blueprint::plain(source.sizes, rope)
    })
}
