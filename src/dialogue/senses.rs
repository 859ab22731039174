//! What is sensed of a message beside what it asks: how the customer feels, how satisfied the conversation leaves them, and
//! what is dangerous or forbidden.

use super::Ask;
use crate::config::UnderstandingConfig;
use crate::domain::Role;
use crate::inference::{Features, InferenceError};
use crate::understanding::heads::{Head, HeadError, Prediction, prepared};
use crate::understanding::mood::{Exchange, Signals, TURNS};
use std::sync::Arc;

/// The harmless label of a head for risk.
const NORMAL: &str = "normal";

/// Heads over an encoder.
pub struct Senses {
    features: Arc<dyn Features>,
    emotion: Head,
    satisfaction: Head,
    risk: Head,
    config: UnderstandingConfig,
}

/// What was sensed of a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sensed {
    /// How the customer feels, and how likely that is.
    pub emotion: Option<(String, f32)>,
    /// How dissatisfied they are by now, 0 to 1.
    pub dissatisfaction: f32,
    /// Risks that are likely enough to be noted.
    pub risks: Vec<(String, f32)>,
    /// Whether a person is called for what was sensed: `risk` or `emotion`.
    pub handoff: Option<&'static str>,
}

impl Senses {
    /// Senses of these heads, as `kefu train` wrote them.
    ///
    /// # Errors
    /// A head that is damaged, for something else, or made for another embedding model; it is named.
    pub fn new(
        features: Arc<dyn Features>,
        [emotion, satisfaction, risk]: [&[u8]; 3],
        config: UnderstandingConfig,
    ) -> Result<Self, (&'static str, HeadError)> {
        let sha256 = features.info().sha256.clone();
        let head = |task: &'static str, bytes: &[u8]| {
            let head = Head::from_bytes(bytes).map_err(|error| (task, error))?;
            head.check(task, &sha256).map_err(|error| (task, error))?;
            Ok(head)
        };
        Ok(Self {
            emotion: head("emotion", emotion)?,
            satisfaction: head("satisfaction", satisfaction)?,
            risk: head("risk", risk)?,
            features,
            config,
        })
    }

    /// What is sensed of a message and of the turns before it. Costs one pass of the encoder over one text, and over three at most where the turns before were not looked at lately.
    ///
    /// # Errors
    /// What the encoder reports.
    pub async fn sense(&self, ask: &Ask) -> Result<Sensed, InferenceError> {
        let history = exchanges(ask);
        let first = history.len().saturating_sub(TURNS);
        // Earlier turns are looked at again: nothing of it is stored.
        let texts: Vec<String> = history[first..]
            .iter()
            .map(|exchange| prepared(&exchange.user))
            .collect();
        let numbers = self.features.features(texts.clone()).await?;
        let row = |at: usize| &numbers.data[at * numbers.dim..(at + 1) * numbers.dim];
        let said = |head: &Head, at: usize| head.predict(row(at), &texts[at]);
        let signals: Vec<Signals> = (0..texts.len())
            .map(|at| {
                let (emotion, satisfaction) = (said(&self.emotion, at), said(&self.satisfaction, at));
                Signals::of(
                    &history[..=first + at],
                    (&self.satisfaction, &satisfaction),
                    Some((&self.emotion, &emotion)),
                )
            })
            .collect();
        let weights = self.satisfaction.about().mood.unwrap_or_default();
        let last = texts.len() - 1;
        let (emotion, risk) = (said(&self.emotion, last), said(&self.risk, last));
        let mood = (weights.dissatisfaction(&signals), weights.lasting(&signals));
        Ok(self.judged(mood, &emotion, &risk))
    }

    fn judged(&self, (dissatisfaction, lasting): (f32, f32), emotion: &Prediction, risk: &Prediction) -> Sensed {
        let labels = self.risk.about().labels.iter().zip(&risk.probabilities);
        let likely = labels.filter(|(label, p)| *label != NORMAL && **p >= self.config.risk_confidence);
        let risks: Vec<(String, f32)> = likely.map(|(label, p)| (label.clone(), *p)).collect();
        let handoff = if risks.iter().any(|(risk, _)| self.config.handoff_risks.contains(risk)) {
            Some("risk")
        } else {
            (lasting >= self.config.handoff_dissatisfaction).then_some("emotion")
        };
        Sensed {
            emotion: self
                .emotion
                .about()
                .labels
                .get(emotion.best)
                .map(|label| (label.clone(), emotion.confidence())),
            dissatisfaction,
            risks,
            handoff,
        }
    }
}

/// What was said as exchanges, the question last.
fn exchanges(ask: &Ask) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for turn in &ask.history {
        match (turn.role, exchanges.last_mut()) {
            (Role::Visitor, _) => exchanges.push(Exchange {
                user: turn.text.clone(),
                reply: String::new(),
            }),
            (Role::Assistant | Role::Agent, Some(last)) => last.reply.push_str(&turn.text),
            (Role::System, _) | (_, None) => {}
        }
    }
    exchanges.push(Exchange {
        user: ask.question.clone(),
        reply: String::new(),
    });
    exchanges
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Turn, Viewer};

    #[test]
    fn what_was_said_becomes_exchanges() {
        let turn = |role, text: &str| Turn {
            role,
            text: text.to_owned(),
        };
        let ask = Ask {
            history: vec![
                turn(Role::Assistant, "您好"),
                turn(Role::Visitor, "退款"),
                turn(Role::Assistant, "请"),
                turn(Role::Assistant, "等待"),
            ],
            ..Ask::new("还没到", Viewer::anybody(jiff::Timestamp::UNIX_EPOCH))
        };
        let exchanges = exchanges(&ask);
        let pairs: Vec<(&str, &str)> = exchanges.iter().map(|e| (e.user.as_str(), e.reply.as_str())).collect();
        assert_eq!(pairs, [("退款", "请等待"), ("还没到", "")]);
    }
}
