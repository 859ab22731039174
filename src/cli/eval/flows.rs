//! `kefu eval flows`: whether scripted dialogues fill the right slots and come to the right end.

use super::retrieval::lines;
use crate::app::{self, EmbedderSimilarity};
use crate::cli::{Common, output};
use crate::dialogue::flow::machine::{End, State};
use crate::dialogue::flow::slots::Value;
use crate::dialogue::flow::{self, Flow, Triggers, rehearse};
use crate::domain::Language;
use anyhow::{Context, ensure};
use clap::Args;
use jiff::civil::DateTime;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

/// Dialogues that are listed.
const LISTED: usize = 20;

/// Lead scripted dialogues through task flows
#[derive(Debug, Args)]
pub struct Flows {
    /// Dialogues, one JSON object a line: {"flow", "now", "turns": [{"user"}], "expect": {"slots", "done"}, "tools"?}
    #[arg(long, value_name = "FILE")]
    dialogs: PathBuf,
    /// Directory of flows
    #[arg(long, value_name = "DIR")]
    flows: PathBuf,
    /// Messages that are for no flow, one JSON object a line with "question" or "text": how many would begin one
    #[arg(long, value_name = "FILE")]
    others: Option<PathBuf>,
    /// Let messages begin flows by their meaning too, from this cosine on (loads the embedding model)
    #[arg(long, value_name = "COSINE")]
    similarity: Option<f32>,
}

#[derive(Debug, Deserialize)]
struct Dialogue {
    #[serde(default)]
    id: String,
    flow: String,
    now: DateTime,
    turns: Vec<Said>,
    expect: Expected,
    /// Results of tools by name, in order; else the samples of the flow's file.
    #[serde(default)]
    tools: BTreeMap<String, Vec<Json>>,
}

#[derive(Debug, Deserialize)]
struct Said {
    user: String,
}

#[derive(Debug, Deserialize)]
struct Expected {
    #[serde(default)]
    slots: BTreeMap<String, Json>,
    done: bool,
}

#[derive(Debug, Deserialize)]
struct Other {
    #[serde(alias = "text")]
    question: String,
}

/// Shares of a part of the dialogues.
#[derive(Default)]
struct Tally {
    dialogues: usize,
    slots: usize,
    slots_right: usize,
    ends_right: usize,
    turns: usize,
    triggered: usize,
}

impl Tally {
    fn json(&self) -> Json {
        let share = |hits: usize, n: usize| hits as f64 / n.max(1) as f64;
        json!({
            "n": self.dialogues,
            "slots_right": share(self.slots_right, self.slots),
            "slots_right_interval": output::interval(self.slots_right, self.slots),
            "task_done": share(self.ends_right, self.dialogues),
            "task_done_interval": output::interval(self.ends_right, self.dialogues),
            "turns": share(self.turns, self.dialogues),
            "triggered": share(self.triggered, self.dialogues),
        })
    }
}

/// The flow that a message begins, by wording and, where a model is there, by meaning.
struct Beginnings<'f> {
    flows: &'f [Flow],
    triggers: Triggers,
    similarity: Option<(EmbedderSimilarity, f32)>,
}

impl Beginnings<'_> {
    async fn of(&self, message: &str) -> Option<&str> {
        let found = match (self.triggers.by_wording(message), &self.similarity) {
            (None, Some((similarity, threshold))) => self.triggers.by_meaning(message, similarity, *threshold).await,
            (found, _) => found,
        };
        found.map(|found| self.flows[found.flow].name.as_str())
    }
}

impl Flows {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let began = Instant::now();
        let dialogues: Vec<Dialogue> = lines(&self.dialogs)?;
        ensure!(!dialogues.is_empty(), "{}: no dialogues", self.dialogs.display());
        let flows = flow::load(&self.flows)?;
        let mut model = Json::Null;
        let similarity = match self.similarity {
            Some(threshold) => {
                let embedder = app::load_embedder(&common.settings(None)?, &common.models).await?;
                let info = crate::inference::Embedder::info(embedder.as_ref());
                model = json!({"name": info.name, "sha256": info.sha256});
                Some((EmbedderSimilarity(embedder), threshold))
            }
            None => None,
        };
        let beginnings = Beginnings {
            flows: &flows,
            triggers: Triggers::new(&flows),
            similarity,
        };
        let (mut all, mut parts) = (Tally::default(), BTreeMap::<String, Tally>::new());
        let mut errors = Vec::new();
        let mut stepping = 0.0;
        for (index, dialogue) in dialogues.iter().enumerate() {
            let found = flows.iter().find(|flow| flow.name == dialogue.flow);
            let flow = found.with_context(|| format!("line {}: there is no flow {}", index + 1, dialogue.flow))?;
            let messages: Vec<String> = dialogue.turns.iter().map(|said| said.user.clone()).collect();
            let start = Instant::now();
            let rehearsed = rehearse(flow, dialogue.now, &messages, &dialogue.tools);
            stepping += start.elapsed().as_secs_f64();
            let wrong = wrong_slots(&dialogue.expect.slots, &rehearsed.state);
            let done = rehearsed.state.end() == Some(End::Completed);
            let first = messages.first().map_or("", String::as_str);
            let triggered = beginnings.of(first).await == Some(flow.name.as_str());
            let language = Language::detect(&messages.concat()).tag();
            count(&mut all, dialogue, wrong.len(), done, rehearsed.turns.len(), triggered);
            for part in [flow.name.as_str(), language] {
                let tally = parts.entry(part.to_owned()).or_default();
                count(tally, dialogue, wrong.len(), done, rehearsed.turns.len(), triggered);
            }
            if (!wrong.is_empty() || done != dialogue.expect.done) && errors.len() < LISTED {
                errors.push(json!({
                    "id": dialogue.id, "line": index + 1, "flow": dialogue.flow, "wrong": wrong, "done": done,
                    "waits_for": rehearsed.state.asking(),
                }));
            }
        }
        let others = self.others_begun(&beginnings).await?;
        let mut report = json!({
            "task": "flows", "n": dialogues.len(), "seconds": began.elapsed().as_secs_f64(),
            "ms_per_item": stepping * 1e3 / all.turns.max(1) as f64, "model": model, "heads": {}, "machine": output::machine(),
            "others": others, "errors": errors,
        });
        if let (Json::Object(report), Json::Object(figures)) = (&mut report, all.json()) {
            report.extend(figures);
            report.insert(
                "parts".to_owned(),
                parts.iter().map(|(name, tally)| (name.clone(), tally.json())).collect(),
            );
        }
        if common.json {
            output::print_json(&report);
        } else {
            print(&report);
        }
        Ok(())
    }

    /// How many of the other messages would begin a flow.
    async fn others_begun(&self, beginnings: &Beginnings<'_>) -> anyhow::Result<Json> {
        let Some(path) = &self.others else {
            return Ok(Json::Null);
        };
        let others: Vec<Other> = lines(path)?;
        let mut begun = Vec::new();
        for other in &others {
            if let Some(flow) = beginnings.of(&other.question).await {
                begun.push(json!({"question": other.question, "flow": flow}));
            }
        }
        Ok(json!({
            "n": others.len(), "begun": begun.len(), "interval": output::interval(begun.len(), others.len()),
            "which": begun.into_iter().take(LISTED).collect::<Vec<_>>(),
        }))
    }
}

fn count(tally: &mut Tally, dialogue: &Dialogue, wrong: usize, done: bool, turns: usize, triggered: bool) {
    tally.dialogues += 1;
    tally.slots += dialogue.expect.slots.len();
    tally.slots_right += dialogue.expect.slots.len() - wrong;
    tally.ends_right += usize::from(done == dialogue.expect.done);
    tally.turns += turns;
    tally.triggered += usize::from(triggered);
}

/// Expected slots with another value, or none.
fn wrong_slots(expected: &BTreeMap<String, Json>, state: &State) -> Vec<Json> {
    expected
        .iter()
        .filter_map(|(slot, wanted)| {
            let got = state.slots.get(slot).map(Value::canonical);
            let wanted = wanted.as_str().map_or_else(|| wanted.to_string(), str::to_owned);
            let same = got
                .as_ref()
                .is_some_and(|got| *got == wanted || numbers_equal(got, &wanted));
            (!same).then(|| json!({"slot": slot, "expected": wanted, "got": got}))
        })
        .collect()
}

/// 35000 and 35000.00 are one amount; numbers with zeros before them are no amounts.
fn numbers_equal(a: &str, b: &str) -> bool {
    let amount = |text: &str| {
        let plain = !text.starts_with('0') || text.starts_with("0.") || text == "0";
        text.parse::<f64>().ok().filter(|_| plain)
    };
    match (amount(a), amount(b)) {
        (Some(a), Some(b)) => (a - b).abs() < 1e-9,
        _ => false,
    }
}

fn print(report: &Json) {
    let figure = |json: &Json, name: &str| json[name].as_f64().unwrap_or(f64::NAN);
    println!(
        "{} dialogues: slots right {:.3}, task done {:.3}, {:.1} turns, begun by their first message {:.3}",
        report["n"],
        figure(report, "slots_right"),
        figure(report, "task_done"),
        figure(report, "turns"),
        figure(report, "triggered"),
    );
    for (name, part) in report["parts"].as_object().into_iter().flatten() {
        println!(
            "  {name}: {} dialogues, slots right {:.3}, task done {:.3}, begun {:.3}",
            part["n"],
            figure(part, "slots_right"),
            figure(part, "task_done"),
            figure(part, "triggered")
        );
    }
    if let Some(n) = report["others"]["n"].as_u64() {
        println!("of {n} other messages {} would begin a flow", report["others"]["begun"]);
        for which in report["others"]["which"].as_array().into_iter().flatten() {
            println!("  {} {}", which["flow"], which["question"]);
        }
    }
    for error in report["errors"].as_array().into_iter().flatten() {
        println!("  {error}");
    }
}
