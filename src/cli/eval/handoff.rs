//! `kefu eval handoff`: who is not satisfied, turn by turn, and whether a person takes over in time.

use super::classes::with;
use super::intent::show;
use super::statistics::auc;
use crate::app::head_bytes;
use crate::cli::Common;
use crate::cli::heads::Encoder;
use crate::cli::output::{self, interval};
use crate::domain::sha256_hex;
use crate::understanding::heads::{Head, prepared};
use crate::understanding::mood::{Exchange, Signals, TURNS, Weights};
use crate::understanding::wants_person;
use anyhow::{Context, ensure};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

/// Errors that are listed.
const LISTED: usize = 20;

/// See from dialogues who is not satisfied, and when a person should take over
#[derive(Debug, Args)]
pub struct Handoff {
    /// Dialogues, one JSON object a line: `{"dialog_id", "turns": [{"user", "reply", "satisfaction"}]}` with 0 for not satisfied (null:
    /// not labelled), or `{"history": [{"user", "reply"}], "satisfaction"}` for the last turn alone
    #[arg(long, value_name = "FILE")]
    dialogs: PathBuf,
    /// When a person should take over: `{"dialog_id", "n_dissatisfied", "first_turn_of_3_in_a_row_dissatisfied"}`
    #[arg(long, value_name = "FILE")]
    gold: Option<PathBuf>,
    /// Take so many of the dialogues, evenly spread over the file
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// From which dissatisfaction on a person takes over; the setting if not given
    #[arg(long, value_name = "X")]
    threshold: Option<f32>,
}

#[derive(Debug, Deserialize)]
struct Line {
    #[serde(default)]
    dialog_id: String,
    #[serde(default)]
    turns: Vec<Turn>,
    #[serde(default)]
    history: Vec<Exchange>,
    satisfaction: Option<u8>,
}

#[derive(Debug, Deserialize)]
struct Turn {
    user: String,
    #[serde(default)]
    reply: String,
    satisfaction: Option<u8>,
    /// Whether a person is asked for; where it is not said, the words tell.
    wants_person: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Gold {
    dialog_id: String,
    n_dissatisfied: Option<usize>,
    first_turn_of_3_in_a_row_dissatisfied: Option<usize>,
}

/// A dialogue with what was computed for each turn.
struct Seen {
    id: String,
    turns: Vec<Turn>,
    /// Dissatisfaction after each turn.
    mood: Vec<f32>,
    /// How it was over the last turns, by which a person is called.
    lasting: Vec<f32>,
}

impl Line {
    fn turns(self) -> (String, Vec<Turn>) {
        if !self.turns.is_empty() {
            return (self.dialog_id, self.turns);
        }
        let last = self.history.len().saturating_sub(1);
        let turn = |(at, exchange): (usize, Exchange)| Turn {
            user: exchange.user,
            reply: exchange.reply,
            satisfaction: self.satisfaction.filter(|_| at == last),
            wants_person: None,
        };
        (self.dialog_id, self.history.into_iter().enumerate().map(turn).collect())
    }
}

/// The heads that moods are made of.
struct Heads {
    satisfaction: Head,
    emotion: Head,
}

impl Handoff {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let began = Instant::now();
        let encoder = Encoder::load(common).await?;
        let settings = &encoder.config.understanding;
        let threshold = self.threshold.unwrap_or(settings.handoff_dissatisfaction);
        let load = |task: &str| -> anyhow::Result<Head> {
            let bytes = head_bytes(&encoder.config, &common.models, task)?;
            let bytes =
                bytes.with_context(|| format!("there is no head for {task}: make one with kefu train {task}"))?;
            let head = Head::from_bytes(&bytes)?;
            head.check(task, &encoder.base().sha256)?;
            Ok(head)
        };
        let heads = Heads {
            satisfaction: load("satisfaction")?,
            emotion: load("emotion")?,
        };
        let lines: Vec<Line> = super::retrieval::spread(super::lines(&self.dialogs)?, self.limit);
        ensure!(!lines.is_empty(), "{}: no dialogues", self.dialogs.display());
        let mut seen = Vec::new();
        for line in lines {
            let (id, turns) = line.turns();
            let (mood, lasting) = moods(&turns, &heads, &encoder).await?;
            seen.push(Seen {
                id,
                turns,
                mood,
                lasting,
            });
        }
        let gold: Vec<Gold> = match &self.gold {
            Some(path) => super::lines(path)?,
            None => Vec::new(),
        };
        let turns: usize = seen.iter().map(|dialogue| dialogue.turns.len()).sum();
        let seconds = began.elapsed().as_secs_f64();
        let base = encoder.base();
        let report = json!({
            "task": "handoff", "n": seen.len(), "turns": turns, "seconds": seconds,
            "ms_per_item": seconds * 1e3 / turns.max(1) as f64, "threshold": threshold,
            "model": {"name": base.model, "sha256": base.sha256},
            "heads": {"satisfaction": sha256_hex(&heads.satisfaction.to_bytes()), "emotion": sha256_hex(&heads.emotion.to_bytes())},
            "machine": output::machine(),
        });
        let report = with(with(report, dissatisfied(&seen)), handoffs(&seen, &gold, threshold));
        show(&report, common);
        Ok(())
    }
}

/// Dissatisfaction after each turn, and how it was over the last ones.
async fn moods(turns: &[Turn], heads: &Heads, encoder: &Encoder) -> anyhow::Result<(Vec<f32>, Vec<f32>)> {
    let history: Vec<Exchange> = (turns.iter())
        .map(|turn| Exchange {
            user: turn.user.clone(),
            reply: turn.reply.clone(),
        })
        .collect();
    let texts: Vec<String> = history.iter().map(|exchange| prepared(&exchange.user)).collect();
    let numbers = encoder.quietly(&texts).await?;
    let width = numbers.len() / texts.len().max(1);
    let row = |at: usize| &numbers[at * width..(at + 1) * width];
    let signals: Vec<Signals> = (0..history.len())
        .map(|at| {
            let satisfaction = heads.satisfaction.predict(row(at), &texts[at]);
            let emotion = heads.emotion.predict(row(at), &texts[at]);
            Signals::of(
                &history[..=at],
                (&heads.satisfaction, &satisfaction),
                Some((&heads.emotion, &emotion)),
            )
        })
        .collect();
    let weights: Weights = heads.satisfaction.about().mood.unwrap_or_default();
    let seen = |end: usize| &signals[end.saturating_sub(TURNS)..end];
    Ok((1..=signals.len())
        .map(|end| (weights.dissatisfaction(seen(end)), weights.lasting(seen(end))))
        .unzip())
}

/// How well labelled turns are told apart.
fn dissatisfied(seen: &[Seen]) -> Value {
    let labelled: Vec<(f64, bool, &str)> = (seen.iter())
        .flat_map(|dialogue| dialogue.turns.iter().zip(&dialogue.mood))
        .filter_map(|(turn, mood)| Some((f64::from(*mood), turn.satisfaction? == 0, turn.user.as_str())))
        .collect();
    let scores: Vec<f64> = labelled.iter().map(|(score, _, _)| *score).collect();
    let labels: Vec<bool> = labelled.iter().map(|(_, label, _)| *label).collect();
    let f1 = |threshold: f64| {
        let said = scores.iter().filter(|score| **score >= threshold).count();
        let both = scores
            .iter()
            .zip(&labels)
            .filter(|(score, label)| **score >= threshold && **label)
            .count();
        let is = labels.iter().filter(|label| **label).count();
        2.0 * both as f64 / (said + is).max(1) as f64
    };
    let mut missed: Vec<&(f64, bool, &str)> = labelled
        .iter()
        .filter(|(score, label, _)| (*score >= 0.5) != *label)
        .collect();
    missed.sort_by(|a, b| (b.0 - 0.5).abs().total_cmp(&(a.0 - 0.5).abs()));
    let errors: Vec<Value> = (missed.iter().take(LISTED))
        .map(|(score, label, text)| json!({"text": text, "dissatisfied": label, "score": score}))
        .collect();
    json!({"labelled": labels.len(), "auc": auc(&scores, &labels), "f1": f1(0.5), "errors": errors})
}

/// Whether a person takes over when that is due, and only then.
fn handoffs(seen: &[Seen], gold: &[Gold], threshold: f32) -> Value {
    let gold: HashMap<&str, &Gold> = gold.iter().map(|gold| (gold.dialog_id.as_str(), gold)).collect();
    let (mut due, mut on_time, mut calm, mut alarms) = (0, 0, 0, 0);
    let (mut explicit, mut honoured) = (0, 0);
    for dialogue in seen {
        let fires = dialogue.lasting.iter().map(|lasting| *lasting >= threshold);
        let fires: Vec<bool> = fires.collect();
        for turn in &dialogue.turns {
            if turn.wants_person.unwrap_or_else(|| asks_plainly(&turn.user)) {
                explicit += 1;
                honoured += usize::from(wants_person(&turn.user));
            }
        }
        let Some(gold) = gold.get(dialogue.id.as_str()) else {
            continue;
        };
        let counted = gold.n_dissatisfied.unwrap_or_else(|| {
            dialogue
                .turns
                .iter()
                .filter(|turn| turn.satisfaction == Some(0))
                .count()
        });
        if let Some(turn) = gold.first_turn_of_3_in_a_row_dissatisfied {
            due += 1;
            // A person who is already there is in time.
            let first = fires.iter().position(|fires| *fires);
            on_time += usize::from(first.is_some_and(|first| first <= turn + 1));
        } else if counted == 0 {
            calm += 1;
            alarms += usize::from(fires.contains(&true));
        }
    }
    let share = |hits: usize, n: usize| (n > 0).then(|| hits as f64 / n as f64);
    json!({
        "on_time": share(on_time, due), "on_time_interval": interval(on_time, due), "due": due,
        "false_handoff": share(alarms, calm), "false_handoff_interval": interval(alarms, calm), "calm": calm,
        "explicit_honoured": share(honoured, explicit), "explicit": explicit,
    })
}

/// Whether somebody plainly asks for a person, read more widely than the rule that is measured.
fn asks_plainly(text: &str) -> bool {
    let text = text.to_lowercase();
    let person = ["人工", "真人", "human", "real person", "live agent"]
        .iter()
        .any(|word| text.contains(word));
    let wish = [
        "转", "找", "要", "接", "换", "叫", "帮我", "speak", "talk", "get me", "want", "connect",
    ];
    person && wish.iter().any(|word| text.contains(word)) && !text.contains(['?', '？']) && text.chars().count() < 60
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialogue(id: &str, mood: &[f32], satisfaction: &[u8]) -> Seen {
        let turn = |label: &u8| Turn {
            user: "x".into(),
            reply: String::new(),
            satisfaction: Some(*label),
            wants_person: None,
        };
        Seen {
            id: id.into(),
            turns: satisfaction.iter().map(turn).collect(),
            mood: mood.to_vec(),
            lasting: mood.to_vec(),
        }
    }

    #[test]
    fn a_handover_is_due_in_time_and_not_where_all_is_calm() {
        let seen = [
            dialogue("late", &[0.1, 0.2, 0.3, 0.4, 0.9], &[0, 0, 0, 1, 1]),
            dialogue("soon", &[0.1, 0.9, 0.9, 0.9], &[0, 0, 0, 0]),
            dialogue("calm", &[0.1, 0.2], &[1, 2]),
        ];
        let gold: Vec<Gold> = [("late", Some(2), 3), ("soon", Some(2), 4), ("calm", None, 0)]
            .into_iter()
            .map(|(id, turn, n)| Gold {
                dialog_id: id.into(),
                n_dissatisfied: Some(n),
                first_turn_of_3_in_a_row_dissatisfied: turn,
            })
            .collect();
        let report = handoffs(&seen, &gold, 0.5);
        assert_eq!(
            (report["on_time"].as_f64(), report["false_handoff"].as_f64()),
            (Some(0.5), Some(0.0))
        );
        assert_eq!(dissatisfied(&seen)["labelled"], 11);
    }
}
