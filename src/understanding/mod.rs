//! What a customer means: normalising, personal data, and heads for intent, emotion and risk.

mod dictionary;
mod followup;
pub mod heads;
mod matter;
pub mod mood;
mod normalise;
pub mod pii;
mod pinyin;
mod script;
mod smalltalk;
mod writing;

pub use dictionary::dictionary;
pub use followup::standalone;
pub use normalise::{Amount, DateMention, View, amounts, dates, is_emoji, match_key, normalise, number};
pub use pinyin::{MAX_SOUNDED, sounds};
pub use script::{simplified, simplify};
pub use smalltalk::{Smalltalk, smalltalk, wants_person};
pub use writing::Writing;
