//! How satisfied a customer is, turn by turn: from what heads say of the messages, from words that announce a complaint, from
//! asking the same again, and from how it was a moment ago. The weights are fitted (`kefu train satisfaction`), not chosen.

use super::heads::{Head, Prediction};
use super::normalise::letters;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Turns that are looked at, this one included.
pub const TURNS: usize = 3;
/// How much of the mood a new turn makes up; the rest is from before.
const NEW_SHARE: f32 = 0.8;
/// Signals of a turn.
const SIGNALS: usize = 5;

/// Labels of emotions that speak against a service. A head without them says nothing here.
const NEGATIVE: [&str; 4] = ["angry", "impatient", "disappointed", "threatening"];

/// What announces a complaint to others, in letters alone. How much that means is fitted.
const COMPLAINT: [&str; 22] = [
    "投诉",
    "12315",
    "12378",
    "12345",
    "银保监",
    "金融监管局",
    "消协",
    "消费者协会",
    "工商局",
    "律师",
    "起诉",
    "法院",
    "曝光",
    "举报",
    "媒体",
    "维权",
    "lawyer",
    "sue",
    "ombudsman",
    "chargeback",
    "complaint",
    "regulator",
];

/// What a customer wrote and what was replied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// What the customer wrote.
    pub user: String,
    /// What was replied; empty where nothing was yet.
    #[serde(default)]
    pub reply: String,
}

/// A dialogue whose last message is labelled.
#[derive(Clone, Debug, Deserialize)]
pub struct Dialogue {
    /// What was said.
    pub history: Vec<Exchange>,
    /// 0 not satisfied, 1 neither, 2 satisfied.
    pub satisfaction: u8,
}

impl Dialogue {
    /// The last message.
    #[must_use]
    pub fn said(&self) -> &str {
        self.history.last().map_or("", |exchange| exchange.user.as_str())
    }

    /// The label's name.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self.satisfaction {
            0 => DISSATISFIED,
            1 => "neutral",
            _ => "satisfied",
        }
    }
}

/// The label of who is not satisfied, in a head for satisfaction.
pub const DISSATISFIED: &str = "dissatisfied";

/// What a head for satisfaction learns from: the last messages alone. With the exchange before them heads told less
/// (`benches/README.md`).
#[must_use]
pub fn examples(dialogues: &[Dialogue]) -> Vec<(String, String)> {
    let example = |dialogue: &Dialogue| (dialogue.said().to_owned(), dialogue.label().to_owned());
    dialogues.iter().map(example).collect()
}

/// What is known of a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Signals(pub [f32; SIGNALS]);

impl Signals {
    /// Of the last message of `history`, of which `satisfaction` and `emotion` are what heads say.
    #[must_use]
    pub fn of(history: &[Exchange], satisfaction: (&Head, &Prediction), emotion: Option<(&Head, &Prediction)>) -> Self {
        let last = history.last().map_or("", |exchange| exchange.user.as_str());
        let p = |(head, said): (&Head, &Prediction), labels: &[&str]| -> f32 {
            let places = labels.iter().filter_map(|label| head.about().place(label));
            places.map(|place| said.probabilities[place]).sum()
        };
        let dissatisfied = p(satisfaction, &[DISSATISFIED]);
        let key = letters(last);
        let complains = COMPLAINT.iter().any(|word| key.contains(word));
        let earlier = history.iter().rev().skip(1).take(TURNS * 2);
        let again = earlier.map(|exchange| alike(last, &exchange.user)).fold(0.0, f32::max);
        let loud = last.matches(['!', '！', '?', '？']).count() >= 2;
        Self([
            log_odds(dissatisfied),
            emotion.map_or(0.0, |emotion| p(emotion, &NEGATIVE)),
            f32::from(u8::from(complains)),
            again,
            f32::from(u8::from(loud)),
        ])
    }
}

fn log_odds(p: f32) -> f32 {
    let p = p.clamp(2e-3, 1.0 - 2e-3);
    (p / (1.0 - p)).ln()
}

/// How alike two messages are: the share of pairs of characters that both have (Jaccard).
fn alike(a: &str, b: &str) -> f32 {
    let pairs = |text: &str| -> HashSet<(char, char)> {
        let letters: Vec<char> = letters(text).chars().collect();
        letters.windows(2).map(|pair| (pair[0], pair[1])).collect()
    };
    let (a, b) = (pairs(a), pairs(b));
    let both = a.intersection(&b).count() as f32;
    both / (a.len() + b.len()).max(1) as f32 * 2.0
}

/// How signals are weighed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    /// Of each signal.
    pub signals: [f32; SIGNALS],
    /// Of nothing.
    pub bias: f32,
}

impl Default for Weights {
    /// What the head for satisfaction says, and nothing else.
    fn default() -> Self {
        let mut signals = [0.0; SIGNALS];
        signals[0] = 1.0;
        Self { signals, bias: 0.0 }
    }
}

impl Weights {
    /// Weights under which the labels (whether not satisfied) are likeliest, held towards 0; by gradient descent.
    #[must_use]
    pub fn fit(examples: &[(Signals, bool)]) -> Self {
        const STEPS: usize = 3000;
        const RATE: f64 = 0.2;
        const HELD: f64 = 1e-3;
        let (mut weights, mut bias) = ([0.0_f64; SIGNALS], 0.0_f64);
        let n = examples.len().max(1) as f64;
        for _ in 0..STEPS {
            let (mut slope, mut bias_slope) = (weights.map(|w| w * HELD), 0.0);
            for (signals, label) in examples {
                let sum = bias
                    + weights
                        .iter()
                        .zip(signals.0)
                        .map(|(w, s)| w * f64::from(s))
                        .sum::<f64>();
                let error = 1.0 / (1.0 + (-sum).exp()) - f64::from(u8::from(*label));
                bias_slope += error / n;
                slope
                    .iter_mut()
                    .zip(signals.0)
                    .for_each(|(g, s)| *g += error * f64::from(s) / n);
            }
            weights.iter_mut().zip(slope).for_each(|(w, g)| *w -= RATE * g);
            bias -= RATE * bias_slope;
        }
        Self {
            signals: weights.map(|w| w as f32),
            bias: bias as f32,
        }
    }

    /// How likely the customer is not satisfied at this turn alone: 0 to 1.
    #[must_use]
    pub fn turn(&self, signals: &Signals) -> f32 {
        let sum: f32 = self.signals.iter().zip(signals.0).map(|(w, s)| w * s).sum();
        1.0 / (1.0 + (-(sum + self.bias)).exp())
    }

    /// How dissatisfied the customer is after these turns, oldest first: 0 to 1; 0 without a turn. One word weighs less than a mood
    /// that lasts.
    #[must_use]
    pub fn dissatisfaction(&self, turns: &[Signals]) -> f32 {
        let turns = &turns[turns.len().saturating_sub(TURNS)..];
        let each = turns.iter().map(|signals| self.turn(signals));
        each.reduce(|mood, now| mood + NEW_SHARE * (now - mood))
            .unwrap_or_default()
    }

    /// How likely the customer was dissatisfied in each of the last [`TURNS`] turns, on the average: 0 to 1; 0 where there were
    /// fewer. A person is called by this, not for one message.
    #[must_use]
    pub fn lasting(&self, turns: &[Signals]) -> f32 {
        match turns.len().checked_sub(TURNS) {
            Some(first) => turns[first..].iter().map(|signals| self.turn(signals)).sum::<f32>() / TURNS as f32,
            None => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_again_is_seen() {
        assert!(alike("我的退款怎么还没到", "退款怎么还没到啊？") > 0.7);
        assert!(alike("我的退款怎么还没到", "谢谢") < 0.1);
        assert!(alike("", "").abs() < 1e-6);
    }

    #[test]
    fn weights_are_learnt_from_examples() {
        let signals = |a: f32, b: f32| Signals([a, b, 0.0, 0.0, 0.0]);
        let examples: Vec<(Signals, bool)> = (0..200)
            .map(|n| {
                let bad = n % 2 == 0;
                let a = if bad { 1.0 } else { -1.0 } + ((n * 37 % 100) as f32 / 25.0 - 2.0);
                (signals(a, (n * 13 % 7) as f32 / 7.0), bad)
            })
            .collect();
        let weights = Weights::fit(&examples);
        assert!(
            weights.signals[0] > 0.5 && weights.signals[1].abs() < 0.6,
            "{weights:?}"
        );
        assert!(weights.turn(&signals(3.0, 0.5)) > 0.8 && weights.turn(&signals(-3.0, 0.5)) < 0.2);
    }

    #[test]
    fn a_mood_lasts_and_passes() {
        let weights = Weights::default();
        let (bad, good) = (Signals([3.0, 0.0, 0.0, 0.0, 0.0]), Signals([-3.0, 0.0, 0.0, 0.0, 0.0]));
        let once = weights.dissatisfaction(&[good, good, bad]);
        let always = weights.dissatisfaction(&[bad, bad, bad]);
        let over = weights.dissatisfaction(&[bad, good, good]);
        assert!(over < once && once < always, "{over} {once} {always}");
        assert!(weights.dissatisfaction(&[]).abs() < 1e-6);
    }

    #[test]
    fn a_person_is_called_for_what_lasts() {
        let weights = Weights::default();
        let (bad, good) = (Signals([3.0, 0.0, 0.0, 0.0, 0.0]), Signals([-3.0, 0.0, 0.0, 0.0, 0.0]));
        assert!(weights.lasting(&[good, bad, bad, bad]) > 0.9);
        assert!(weights.lasting(&[bad, bad, good]) < 0.7);
        assert!(weights.lasting(&[bad, bad]).abs() < 1e-6);
    }
}
