use super::{Effect, End, Input, Phase, State, ToolFault, step};
use crate::dialogue::flow::definition::Flow;
use crate::dialogue::flow::{load, rehearse};
use crate::domain::Language;
use jiff::civil::{DateTime, date};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

fn flows() -> Vec<Flow> {
    load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("kb/flows")).unwrap()
}

fn flow(name: &str) -> Flow {
    flows().into_iter().find(|flow| flow.name == name).unwrap()
}

const NOW: DateTime = date(2026, 11, 23).at(9, 0, 0, 0);

#[derive(Deserialize)]
struct Dialogue {
    id: String,
    flow: String,
    now: DateTime,
    turns: Vec<Said>,
    expect: Expected,
    #[serde(default)]
    tools: BTreeMap<String, Vec<Json>>,
}

#[derive(Deserialize)]
struct Said {
    user: String,
}

#[derive(Deserialize)]
struct Expected {
    slots: BTreeMap<String, String>,
    done: bool,
}

/// Dialogues in which a slot or the end is wrong, in words.
fn wrong_in(file: &str) -> (usize, Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/flows").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let mut faults = Vec::new();
    let mut count = 0;
    for line in text.lines() {
        let dialogue: Dialogue = serde_json::from_str(line).unwrap();
        count += 1;
        let messages: Vec<String> = dialogue.turns.iter().map(|said| said.user.clone()).collect();
        let rehearsed = rehearse(&flow(&dialogue.flow), dialogue.now, &messages, &dialogue.tools);
        let mut fault = String::new();
        for (slot, wanted) in &dialogue.expect.slots {
            let got = rehearsed.state.slots.get(slot).map(super::Value::canonical);
            if got.as_ref() != Some(wanted) {
                let _ = write!(fault, "{slot}: {got:?} and not {wanted}; ");
            }
        }
        let done = rehearsed.state.end() == Some(End::Completed);
        if done != dialogue.expect.done {
            let _ = write!(fault, "done {done}, phase {:?}", rehearsed.state.phase);
        }
        if !fault.is_empty() {
            let _ = write!(fault, "\n");
            for (message, effects) in messages.iter().zip(&rehearsed.turns) {
                let _ = write!(fault, "    > {message}\n      {effects:?}\n");
            }
            faults.push(format!("{}: {fault}", dialogue.id));
        }
    }
    (count, faults)
}

#[test]
fn the_dialogues_of_development_end_as_they_should() {
    let (count, faults) = wrong_in("development.jsonl");
    assert!(count >= 30);
    assert!(faults.is_empty(), "{} of {count}:\n{}", faults.len(), faults.join("\n"));
}
