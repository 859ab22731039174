//! What a customer means: normalising now; intent, emotion, risk and personal data have their place here.

mod followup;
mod normalise;
mod smalltalk;

pub use followup::standalone;
pub use normalise::{match_key, normalise};
pub use smalltalk::{Smalltalk, smalltalk, wants_person};
