//! What is sensed of a message beside what it asks: how the customer feels, how satisfied the conversation leaves them, and
//! what is dangerous or forbidden.

use super::Ask;
use crate::config::UnderstandingConfig;
use crate::domain::Role;
use crate::inference::{Features, InferenceError};
use crate::understanding::heads::{Head, HeadError, Prediction, prepared};
use crate::understanding::mood::{Exchange, Signals, TURNS, context};
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

    /// What is sensed of a message and of the turns before it. Costs one pass of the encoder over six short texts at most.
    ///
    /// # Errors
    /// What the encoder reports.
    pub async fn sense(&self, ask: &Ask) -> Result<Sensed, InferenceError> {
        let history = exchanges(ask);
        let first = history.len().saturating_sub(TURNS);
        let mut texts = vec![prepared(&ask.question)];
        // The emotion of earlier turns is looked at again: nothing of it is stored.
        texts.extend(
            history[first..history.len() - 1]
                .iter()
                .map(|exchange| prepared(&exchange.user)),
        );
        let own = texts.len();
        texts.extend((first + 1..=history.len()).map(|end| prepared(&context(&history[..end]))));
        let numbers = self.features.features(texts.clone()).await?;
        let row = |at: usize| &numbers.data[at * numbers.dim..(at + 1) * numbers.dim];
        let said = |head: &Head, at: usize| head.predict(row(at), &texts[at]);
        let signals: Vec<Signals> = (first..history.len())
            .enumerate()
            .map(|(place, turn)| {
                let message = if turn + 1 == history.len() { 0 } else { 1 + place };
                let emotion = said(&self.emotion, message);
                let satisfaction = said(&self.satisfaction, own + place);
                Signals::of(
                    &history[..=turn],
                    (&self.satisfaction, &satisfaction),
                    Some((&self.emotion, &emotion)),
                )
            })
            .collect();
        let weights = self.satisfaction.about().mood.unwrap_or_default();
        let (emotion, risk) = (said(&self.emotion, 0), said(&self.risk, 0));
        Ok(self.judged(weights.dissatisfaction(&signals), &emotion, &risk))
    }

    fn judged(&self, dissatisfaction: f32, emotion: &Prediction, risk: &Prediction) -> Sensed {
        let labels = self.risk.about().labels.iter().zip(&risk.probabilities);
        let likely = labels.filter(|(label, p)| *label != NORMAL && **p >= self.config.risk_confidence);
        let risks: Vec<(String, f32)> = likely.map(|(label, p)| (label.clone(), *p)).collect();
        let handoff = if risks.iter().any(|(risk, _)| self.config.handoff_risks.contains(risk)) {
            Some("risk")
        } else {
            (dissatisfaction >= self.config.handoff_dissatisfaction).then_some("emotion")
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
