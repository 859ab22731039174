//! Task flows: files that an operator writes (`definition`, `load`), values in what customers write (`slots`), a pure machine that asks,
//! checks, confirms and calls (`machine`), the inner systems that are called (`tools`), and which flow a message begins (`trigger`).
//! `machine` decides; `super::driver_flow` does.

pub mod definition;
mod load;
pub mod machine;
mod rehearse;
mod replay;
pub mod slots;
mod text;
pub mod tools;
mod trigger;

pub use definition::Flow;
pub use load::{Fault, FlowsError, load, parse_all};
pub use rehearse::{Rehearsed, rehearse, sample};
pub use replay::{Difference, Trace, replay, storable};
pub use trigger::{Similarity, Triggered, Triggers};
