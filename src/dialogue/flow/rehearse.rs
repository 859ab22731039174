//! A dialogue without inner systems: tools answer from a script, or with the samples of the flow's file. For measuring and tests.

use super::definition::Flow;
use super::machine::{Effect, Input, State, step};
use crate::domain::Language;
use jiff::civil::DateTime;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Calls of tools that one message may cause.
const MAX_CALLS: usize = 10;

/// What a dialogue came to.
#[derive(Clone, Debug)]
pub struct Rehearsed {
    /// The state at its end.
    pub state: State,
    /// Effects by message.
    pub turns: Vec<Vec<Effect>>,
}

/// Says `messages` to `flow`, the first to begin it, all at `now`. `scripted` are results of tools by their names, in order; the last
/// one stays. Messages after the end are not said.
#[must_use]
pub fn rehearse(flow: &Flow, now: DateTime, messages: &[String], scripted: &BTreeMap<String, Vec<Json>>) -> Rehearsed {
    let mut scripts: HashMap<&str, VecDeque<Json>> = scripted
        .iter()
        .map(|(tool, results)| (tool.as_str(), results.iter().cloned().collect()))
        .collect();
    let language = messages.first().map_or(Language::Zh, |first| Language::detect(first));
    let mut state = State::begin(flow, "rehearsal".to_owned(), language, now, 0);
    let mut turns = Vec::with_capacity(messages.len());
    for (index, message) in messages.iter().enumerate() {
        if state.end().is_some() {
            break;
        }
        let mut input = if index == 0 {
            Input::Start(message.clone())
        } else {
            Input::User(message.clone())
        };
        let mut effects = Vec::new();
        for _ in 0..MAX_CALLS {
            let (next, done) = step(flow, state, now, &input);
            state = next;
            let called = done.iter().find_map(|effect| match effect {
                Effect::CallTool { tool, .. } => Some(tool.clone()),
                _ => None,
            });
            effects.extend(done);
            let Some(tool) = called else { break };
            let result = match scripts.get_mut(tool.as_str()) {
                Some(results) if results.len() > 1 => results.pop_front(),
                Some(results) => results.front().cloned(),
                None => None,
            };
            input = Input::Tool(Ok(result.unwrap_or_else(|| sample(flow, &tool))));
        }
        turns.push(effects);
    }
    Rehearsed { state, turns }
}

/// The sample result of a tool in a flow's file; an empty object where there is none.
#[must_use]
pub fn sample(flow: &Flow, tool: &str) -> Json {
    let actions = flow
        .actions
        .iter()
        .filter(|action| action.tool == tool)
        .map(|action| &action.sample);
    let sent = flow
        .slots
        .iter()
        .filter_map(|slot| slot.send.as_ref())
        .filter(|send| send.tool == tool)
        .map(|send| &send.sample);
    let checked = flow
        .slots
        .iter()
        .filter_map(|slot| slot.verify.as_ref())
        .filter(|verify| verify.tool == tool)
        .map(|verify| &verify.sample);
    actions
        .chain(sent)
        .chain(checked)
        .find(|sample| !sample.is_null())
        .cloned()
        .unwrap_or_else(|| json!({}))
}
