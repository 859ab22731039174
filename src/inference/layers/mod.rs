//! The parts that all architectures are made of. Activations are `[tokens, width]` in `f32`, row-major.

mod attention;
mod embedding;
mod linear;
mod mlp;
mod norm;
mod rope;
mod scratch;

pub(crate) use crate::kernels::vector::Activation;
pub(crate) use attention::{Attention, Step, Window};
pub(crate) use embedding::Embedding;
pub(crate) use linear::{Linear, products};
pub(crate) use mlp::Mlp;
pub(crate) use norm::RmsNorm;
pub(crate) use rope::{Rope, RopeStyle};
pub(crate) use scratch::{Scratch, room};
