//! What the conversations show: questions that are asked in vain, and answers of people worth keeping.

pub mod cluster;
mod gaps;
mod suggest;

pub use gaps::{Asked, KnownGap, assign};
pub use suggest::{Learnt, asks, learn};
