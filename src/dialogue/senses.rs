//! What is sensed of a message: what the customer wants, how they feel, how satisfied the conversation leaves them, and what is
//! dangerous or forbidden.

use super::Ask;
use crate::config::UnderstandingConfig;
use crate::domain::Role;
use crate::inference::{Features, InferenceError};
use crate::understanding::heads::{Head, HeadError, Prediction, prepared};
use crate::understanding::mood::{Exchange, Signals, TURNS};
use std::sync::{Arc, PoisonError, RwLock};

/// The harmless label of a head for risk.
const NORMAL: &str = "normal";

/// Other intents that are told beside the likeliest.
const ALTERNATIVES: usize = 3;

/// Heads over an encoder.
pub struct Senses {
    features: Arc<dyn Features>,
    moods: Option<Moods>,
    intents: RwLock<Option<Arc<IntentHead>>>,
    config: UnderstandingConfig,
}

/// The heads for moods and dangers.
struct Moods {
    emotion: Head,
    satisfaction: Head,
    risk: Head,
}

/// The head for intents in use.
#[derive(Debug)]
pub struct IntentHead {
    /// Its version in the database; 0 for one from a file.
    pub version: u64,
    /// The head.
    pub head: Head,
}

/// What a customer wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Intent {
    /// The likeliest intent; `None` where the message belongs to none that is known.
    pub name: Option<String>,
    /// How likely the likeliest is, 0 to 1.
    pub confidence: f32,
    /// The likeliest three with their probabilities, the likeliest first.
    pub alternatives: Vec<(String, f32)>,
}

/// What was sensed of a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sensed {
    /// What the customer wants, where there is a head for that.
    pub intent: Option<Intent>,
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
        let moods = Moods {
            emotion: head("emotion", emotion)?,
            satisfaction: head("satisfaction", satisfaction)?,
            risk: head("risk", risk)?,
        };
        Ok(Self {
            moods: Some(moods),
            ..Self::without_moods(features, config)
        })
    }

    /// Senses without heads for moods and dangers.
    #[must_use]
    pub fn without_moods(features: Arc<dyn Features>, config: UnderstandingConfig) -> Self {
        Self {
            features,
            moods: None,
            intents: RwLock::new(None),
            config,
        }
    }

    /// What the heads stand on.
    #[must_use]
    pub fn features(&self) -> &Arc<dyn Features> {
        &self.features
    }

    /// The head for intents in use.
    #[must_use]
    pub fn intent_head(&self) -> Option<Arc<IntentHead>> {
        self.intents.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Uses this head for intents from now on, unless a newer one is in use. Messages under way are finished with the one before.
    ///
    /// # Errors
    /// A head that is damaged, for something else, or made for another embedding model.
    pub fn use_intents(&self, version: u64, bytes: &[u8]) -> Result<(), HeadError> {
        let head = Head::from_bytes(bytes)?;
        head.check("intent", &self.features.info().sha256)?;
        let mut present = self.intents.write().unwrap_or_else(PoisonError::into_inner);
        if present.as_ref().is_none_or(|present| present.version <= version) {
            *present = Some(Arc::new(IntentHead { version, head }));
        }
        Ok(())
    }

    /// What a message wants; `None` without a head for that. Costs one pass of the encoder, or none where the message was looked at
    /// a moment ago.
    ///
    /// # Errors
    /// What the encoder reports.
    pub async fn intent(&self, text: &str) -> Result<Option<Intent>, InferenceError> {
        let Some(intents) = self.intent_head() else {
            return Ok(None);
        };
        let text = prepared(text);
        let numbers = self.features.features(vec![text.clone()]).await?;
        Ok(Some(intents.intent(&numbers.data, &text)))
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
        let last = texts.len() - 1;
        let intent = self
            .intent_head()
            .map(|intents| intents.intent(row(last), &texts[last]));
        let Some(moods) = &self.moods else {
            return Ok(Sensed {
                intent,
                ..Sensed::default()
            });
        };
        let said = |head: &Head, at: usize| head.predict(row(at), &texts[at]);
        let signals: Vec<Signals> = (0..texts.len())
            .map(|at| {
                let (emotion, satisfaction) = (said(&moods.emotion, at), said(&moods.satisfaction, at));
                Signals::of(
                    &history[..=first + at],
                    (&moods.satisfaction, &satisfaction),
                    Some((&moods.emotion, &emotion)),
                )
            })
            .collect();
        let weights = moods.satisfaction.about().mood.unwrap_or_default();
        let (emotion, risk) = (said(&moods.emotion, last), said(&moods.risk, last));
        let mood = (weights.dissatisfaction(&signals), weights.lasting(&signals));
        Ok(Sensed {
            intent,
            ..moods.judged(&self.config, mood, &emotion, &risk)
        })
    }
}

impl IntentHead {
    fn intent(&self, numbers: &[f32], text: &str) -> Intent {
        let said = self.head.predict(numbers, text);
        let labels = &self.head.about().labels;
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by(|a, b| said.probabilities[*b].total_cmp(&said.probabilities[*a]));
        order.truncate(ALTERNATIVES);
        Intent {
            name: said.in_scope.then(|| labels[said.best].clone()),
            confidence: said.confidence(),
            alternatives: order
                .into_iter()
                .map(|at| (labels[at].clone(), said.probabilities[at]))
                .collect(),
        }
    }
}

impl Moods {
    fn judged(
        &self,
        config: &UnderstandingConfig,
        (dissatisfaction, lasting): (f32, f32),
        emotion: &Prediction,
        risk: &Prediction,
    ) -> Sensed {
        let labels = self.risk.about().labels.iter().zip(&risk.probabilities);
        let likely = labels.filter(|(label, p)| *label != NORMAL && **p >= config.risk_confidence);
        let risks: Vec<(String, f32)> = likely.map(|(label, p)| (label.clone(), *p)).collect();
        let handoff = if risks.iter().any(|(risk, _)| config.handoff_risks.contains(risk)) {
            Some("risk")
        } else {
            (lasting >= config.handoff_dissatisfaction).then_some("emotion")
        };
        Sensed {
            intent: None,
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
