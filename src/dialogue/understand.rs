//! What is understood of a message, without answering it.

use super::assistant::Assistant;
use super::senses::Sensed;
use super::{Ask, DialogueError};
use crate::understanding::Writing;
use std::ops::Range;

/// What is understood of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Understanding {
    /// The language and script: `zh`, `zh-Hant`, `en` or `mixed`.
    pub language: &'static str,
    /// What the customer wants and how they feel; nothing where no heads are loaded.
    pub sensed: Sensed,
    /// Personal data, in order.
    pub personal: Vec<PersonalData>,
    /// The message with masks.
    pub masked: String,
}

/// Something personal in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonalData {
    /// What it is, as the policy names it.
    pub kind: &'static str,
    /// Its characters in the message.
    pub span: Range<usize>,
    /// What takes its place; empty where it is kept.
    pub mask: String,
}

impl Assistant {
    /// What is understood of a message. What goes to the heads is masked, as in an answer.
    ///
    /// # Errors
    /// `Empty` and `TooLong`; what the encoder reports.
    pub async fn understand(&self, ask: Ask) -> Result<Understanding, DialogueError> {
        self.check(&ask.question)?;
        let language = Writing::of(&ask.question).tag();
        let (ask, masked) = self.masked(ask);
        let personal = (masked.found.iter())
            .map(|finding| PersonalData {
                kind: finding.kind.name(),
                span: finding.span.clone(),
                mask: finding.mask.clone(),
            })
            .collect();
        let sensed = match self.senses() {
            Some(senses) => senses.sense(&ask).await?,
            None => Sensed::default(),
        };
        Ok(Understanding {
            language,
            sensed,
            personal,
            masked: masked.text,
        })
    }
}
