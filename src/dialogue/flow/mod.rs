//! Task flows.

pub mod definition;
mod load;
pub mod machine;
mod rehearse;
pub mod slots;
mod text;

pub use load::{Fault, FlowsError, load, parse_all};
pub use rehearse::{Rehearsed, rehearse};
