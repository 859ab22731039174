//! The parts that all architectures are made of. Activations are `[tokens, width]` in `f32`, contiguous.

mod attention;
mod embedding;
mod linear;
mod mlp;
mod norm;
mod rope;

pub(crate) use attention::{Attention, Step, Window};
pub(crate) use embedding::Embedding;
pub(crate) use linear::{Linear, Weight};
pub(crate) use mlp::{Activation, Mlp};
pub(crate) use norm::RmsNorm;
pub(crate) use rope::{Rope, RopeStyle};
