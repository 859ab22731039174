//! What a customer means: normalising now; intent, emotion, risk and personal data have their place here.

mod followup;
mod normalise;
mod pinyin;
mod script;
mod smalltalk;

pub use followup::standalone;
pub use normalise::{match_key, normalise};
pub use pinyin::{MAX_SOUNDED, sounds};
pub use script::{simplified, simplify};
pub use smalltalk::{Smalltalk, smalltalk, wants_person};
