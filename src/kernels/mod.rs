//! Safe functions over quantised blocks and vectors, one folder a subject: the scalar file is the specification, one
//! file an instruction set beside it, chosen at run time. The only room besides memory mapping where `unsafe` is allowed.

pub mod attention;
pub mod bidirectional;
pub mod inner;
pub mod level;
pub mod matmul;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod pool;
pub mod vector;

pub use level::Level;
