//! Going on: the next question, the next call, and what becomes of results.

use super::super::definition::{Action, Outcome, Slot, SlotKind, Step, Then, field};
use super::super::slots::Choice;
use super::super::text;
use super::{Call, Effect, End, MAX_ASKED, MAX_ROUNDS, Phase, Reason, ToolFault, Turn, wording};
use crate::domain::sha256_hex;
use jiff::ToSpan;
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// Choices that a result may give.
const MAX_OPTIONS: usize = 20;
/// Rows of a result that are shown.
const MAX_ROWS: usize = 20;
/// Characters of a field of a result.
const MAX_FIELD_CHARS: usize = 300;
/// Times that a one-time code is sent.
const MAX_SENDS: u8 = 3;

impl Turn<'_> {
    /// Goes to the first step that is not done.
    pub(super) fn advance(&mut self) {
        self.state.rounds = self.state.rounds.saturating_add(1);
        if self.state.rounds > MAX_ROUNDS {
            return self.hand_off(Reason::NotUnderstood);
        }
        for step in self.flow.plan() {
            match step {
                Step::Slot(index) => {
                    let slot = &self.flow.slots[index];
                    let open = match slot.kind {
                        SlotKind::OneTimeCode => !self.verified(),
                        _ => !self.state.slots.contains_key(&slot.name) && !self.state.skipped.contains(&slot.name),
                    };
                    if open && self.applies(slot.when.as_ref()) {
                        return self.ask_slot(index);
                    }
                }
                Step::Action(index) => {
                    let action = &self.flow.actions[index];
                    if self.applies(action.when.as_ref()) && !self.is_done(action) {
                        return self.act(action);
                    }
                }
            }
        }
        self.end(End::Completed);
    }

    fn applies(&self, condition: Option<&super::super::definition::Condition>) -> bool {
        condition.is_none_or(|condition| {
            let value = self.state.slots.get(&condition.slot).map(super::Value::canonical);
            condition.holds(value.as_deref())
        })
    }

    /// What changes something is done once; what only looks is done again when it is given something else.
    fn is_done(&self, action: &Action) -> bool {
        self.state
            .done
            .get(&action.name)
            .is_some_and(|given| action.changes || *given == digest(&self.args(&action.args)))
    }

    /// Asks for a slot: says its prompt, or sends the code first.
    pub(super) fn ask_slot(&mut self, index: usize) {
        let slot = &self.flow.slots[index];
        if self.state.asking() != Some(slot.name.as_str()) {
            self.state.failures = 0;
        }
        self.state.phase = Phase::Asking {
            slot: slot.name.clone(),
        };
        if self.state.asked.last() != Some(&slot.name) {
            if self.state.asked.len() >= MAX_ASKED {
                self.state.asked.remove(0);
            }
            self.state.asked.push(slot.name.clone());
        }
        if slot.kind == SlotKind::OneTimeCode {
            if self.state.code.wrong >= slot.tries {
                return self.hand_off(Reason::WrongCode);
            }
            let subject = self.subject(slot);
            if self.state.code.sent_for.as_ref() != Some(&subject) {
                return self.send(index);
            }
        }
        if let Some(half) = self.state.halves.get(&slot.name) {
            let text = wording::other_half(self.state.language, matches!(half, super::Value::Date(_)));
            return self.say(text);
        }
        let text = self.prompt_text(slot);
        self.say(text);
    }

    /// What a code is for: the digest of what it is checked with.
    fn subject(&self, slot: &Slot) -> String {
        slot.verify
            .as_ref()
            .map_or_else(String::new, |verify| digest(&self.args(&verify.args)))
    }

    /// Whether a right code was given, for what stands in the slots now, and not too long ago.
    pub(super) fn verified(&self) -> bool {
        let Some(slot) = self.flow.code_slot() else {
            return false;
        };
        self.state
            .code
            .verified
            .as_ref()
            .is_some_and(|(until, subject)| self.now <= *until && *subject == self.subject(slot))
    }

    fn send(&mut self, index: usize) {
        let slot = &self.flow.slots[index];
        if self.state.code.sent >= MAX_SENDS {
            return self.say(wording::sent_enough(self.state.language));
        }
        let Some(send) = &slot.send else { return };
        let args = self.args(&send.args);
        self.call(Call::Send, &send.tool, args);
    }

    /// Sends the code once more.
    pub(super) fn send_again(&mut self, index: usize) {
        self.send(index);
    }

    /// Has a code checked. It goes into the call and nowhere else.
    pub(super) fn verify(&mut self, index: usize, code: &str) {
        let slot = &self.flow.slots[index];
        let Some(verify) = &slot.verify else { return };
        if self.state.code.wrong >= slot.tries {
            return self.hand_off(Reason::WrongCode);
        }
        let mut args = self.args(&verify.args);
        args.insert(verify.code.clone(), json!(code));
        self.call(Call::Verify, &verify.tool, args);
    }

    fn act(&mut self, action: &Action) {
        // The plan puts the code before what it protects; this is the gate itself.
        if action.protected && !self.verified() {
            if let Some(index) = self
                .flow
                .slots
                .iter()
                .position(|slot| slot.kind == SlotKind::OneTimeCode)
            {
                return self.ask_slot(index);
            }
            return self.hand_off(Reason::ToolFailed);
        }
        let args = self.args(&action.args);
        if action.changes && self.state.confirmed.as_ref() != Some(&(action.name.clone(), digest(&args))) {
            self.state.phase = Phase::Confirming {
                action: action.name.clone(),
            };
            self.state.failures = 0;
            let text = self.confirm_text(&action.name);
            return self.say(text);
        }
        self.call(
            Call::Action {
                name: action.name.clone(),
            },
            &action.tool,
            args,
        );
    }

    /// The customer said yes to an action as it stands.
    pub(super) fn confirm(&mut self, name: &str) {
        if let Some(action) = self.flow.action(name) {
            self.state.confirmed = Some((action.name.clone(), digest(&self.args(&action.args))));
        }
        self.advance();
    }

    fn call(&mut self, call: Call, tool: &str, args: Map<String, Json>) {
        let key = sha256_hex(
            format!(
                "{}\n{call:?}\n{}\n{}",
                self.state.instance,
                digest(&args),
                self.state.attempts
            )
            .as_bytes(),
        );
        self.state.phase = Phase::Calling { call };
        self.effects.push(Effect::CallTool {
            tool: tool.to_owned(),
            args: Json::Object(args),
            idempotency_key: key[..32].to_owned(),
        });
    }

    /// Makes a call again that has no result.
    pub(super) fn call_again(&mut self, call: &Call) {
        match call {
            Call::Action { name } => match self.flow.action(name) {
                Some(action) => self.act(action),
                None => self.advance(),
            },
            // The code of a check is not kept: it is asked for again.
            Call::Send | Call::Verify => self.advance(),
        }
    }

    /// The result of the call under way.
    pub(super) fn result(&mut self, result: &Result<Json, ToolFault>) {
        let Phase::Calling { call } = self.state.phase.clone() else {
            return;
        };
        let result = match result {
            Ok(result) => result,
            Err(fault) => return self.call_failed(call, *fault),
        };
        self.state.attempts = self.state.attempts.saturating_add(1);
        self.state.tool_failures = 0;
        match call {
            Call::Send => {
                self.state.code.sent += 1;
                if let Some(slot) = self.flow.code_slot() {
                    self.state.code.sent_for = Some(self.subject(slot));
                    self.state.phase = Phase::Asking {
                        slot: slot.name.clone(),
                    };
                    let text = self.prompt_text(slot);
                    self.say(text);
                }
            }
            Call::Verify => self.code_checked(result),
            Call::Action { name } => match self.flow.action(&name) {
                Some(action) => self.action_done(action, result),
                None => self.advance(),
            },
        }
    }

    fn call_failed(&mut self, call: Call, fault: ToolFault) {
        self.state.tool_failures += 1;
        if fault == ToolFault::Refused || self.state.tool_failures >= 2 {
            return self.hand_off(Reason::ToolFailed);
        }
        self.state.phase = Phase::Retrying { call };
        self.say(wording::tool_failed(self.state.language));
    }

    fn code_checked(&mut self, result: &Json) {
        let Some(slot) = self.flow.code_slot() else { return };
        let Some(verify) = &slot.verify else { return };
        if field(result, &verify.field) == Some(&Json::Bool(true)) {
            let until = self
                .now
                .checked_add(i64::from(slot.valid_minutes).minutes())
                .unwrap_or(self.now);
            self.state.code.verified = Some((until, self.subject(slot)));
            self.state.code.wrong = 0;
            // It is spent: where it holds no more, another one is sent.
            self.state.code.sent_for = None;
            self.state.code.sent = 0;
            self.state.failures = 0;
            self.keep(&slot.name, result);
            self.say(wording::verified(self.state.language));
            return self.advance();
        }
        self.state.code.wrong += 1;
        if self.state.code.wrong >= slot.tries {
            return self.hand_off(Reason::WrongCode);
        }
        self.state.phase = Phase::Asking {
            slot: slot.name.clone(),
        };
        let text = wording::not_understood(self.state.language, slot);
        self.effects.push(Effect::AskAgain { text });
    }

    fn action_done(&mut self, action: &Action, result: &Json) {
        self.keep(&action.name, result);
        if let Some(options) = &action.options {
            let list = field(result, &options.list).and_then(Json::as_array);
            let choices: Vec<Choice> = list
                .into_iter()
                .flatten()
                .filter_map(|row| {
                    let label = shown(field(row, &options.label)?);
                    Some(Choice {
                        name: shown(field(row, &options.value)?),
                        zh: label.clone(),
                        en: label,
                        synonyms: Vec::new(),
                    })
                })
                .take(MAX_OPTIONS)
                .collect();
            // What was chosen among others holds no more.
            let chosen = self.state.slots.get(&options.slot).map(super::Value::canonical);
            if chosen.is_some_and(|chosen| choices.iter().all(|choice| choice.name != chosen)) {
                self.state.slots.remove(&options.slot);
                self.state.confirmed = None;
            }
            self.state.options.insert(options.slot.clone(), choices);
        }
        let Some(outcome) = action
            .outcomes
            .iter()
            .find(|outcome| outcome.when.as_ref().is_none_or(|test| test.passes(result)))
        else {
            if action.outcomes.is_empty() {
                self.state
                    .done
                    .insert(action.name.clone(), digest(&self.args(&action.args)));
                return self.advance();
            }
            return self.hand_off(Reason::Result);
        };
        let text = self.outcome_text(action, outcome, result);
        self.say(text);
        if let Some(ask) = &outcome.ask {
            // The same value again is looked up again.
            self.state.done.remove(&action.name);
            return self.ask_anew(ask);
        }
        self.state
            .done
            .insert(action.name.clone(), digest(&self.args(&action.args)));
        match outcome.then {
            Then::Continue => self.advance(),
            Then::Done => self.end(End::Completed),
            Then::Handoff => self.hand_off(Reason::Result),
        }
    }

    /// A result wants another value of a slot: what was looked up for it is looked up again.
    fn ask_anew(&mut self, name: &str) {
        self.state.slots.remove(name);
        self.state.skipped.remove(name);
        self.state.confirmed = None;
        self.state.phase = Phase::Begun;
        for action in &self.flow.actions {
            if action.before.as_deref() == Some(name) && !action.changes {
                self.state.done.remove(&action.name);
            }
        }
        self.advance();
    }

    /// Keeps the fields of a result that texts and calls elsewhere use.
    fn keep(&mut self, name: &str, result: &Json) {
        for path in self.used_paths() {
            if let Some((owner, rest)) = path.split_once('.')
                && owner == name
            {
                let value = field(result, rest).map(shown).unwrap_or_default();
                self.state.results.insert(path.clone(), value);
            }
        }
    }

    /// Every placeholder with a point in it.
    fn used_paths(&self) -> BTreeSet<String> {
        let flow = self.flow;
        let mut paths = BTreeSet::new();
        let mut add = |template: &str| {
            paths.extend(
                text::names(template)
                    .filter(|name| name.contains('.'))
                    .map(str::to_owned),
            );
        };
        for slot in &flow.slots {
            add(&slot.prompt.zh);
            add(&slot.prompt.en);
            let calls = [
                slot.send.as_ref().map(|send| &send.args),
                slot.verify.as_ref().map(|verify| &verify.args),
            ];
            for value in calls.into_iter().flatten().flat_map(BTreeMap::values) {
                add(value.as_str().unwrap_or_default());
            }
        }
        for action in &flow.actions {
            for value in action.args.values() {
                add(value.as_str().unwrap_or_default());
            }
            for text in std::iter::once(&action.confirm)
                .chain(action.each.iter().map(|each| &each.text))
                .chain(action.outcomes.iter().map(|outcome| &outcome.say))
            {
                add(&text.zh);
                add(&text.en);
            }
        }
        paths
    }

    /// What a call is given. A text that is one placeholder becomes the slot's value with its type; a slot without a value is left out.
    fn args(&self, args: &BTreeMap<String, Json>) -> Map<String, Json> {
        let mut given = Map::new();
        for (name, template) in args {
            let Json::String(template) = template else {
                given.insert(name.clone(), template.clone());
                continue;
            };
            let single = template
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'))
                .filter(|inner| !inner.contains('{'));
            let value = match single {
                Some(inner) => match (self.state.slots.get(inner), self.state.results.get(inner)) {
                    (Some(value), _) => Some(value.json()),
                    (None, Some(text)) => Some(json!(text)),
                    (None, None) => None,
                },
                None => Some(json!(text::fill(template, |inner| {
                    self.state
                        .slots
                        .get(inner)
                        .map(super::Value::canonical)
                        .or_else(|| self.state.results.get(inner).cloned())
                }))),
            };
            if let Some(value) = value {
                given.insert(name.clone(), value);
            }
        }
        given
    }

    /// What a placeholder stands for in a text for the customer.
    fn known(&self, name: &str) -> Option<String> {
        let language = self.state.language;
        if let Some(value) = self.state.slots.get(name) {
            return Some(value.shown(language));
        }
        let value = self.state.results.get(name)?;
        Some(self.word(value))
    }

    fn word(&self, value: &str) -> String {
        self.flow
            .words
            .get(value)
            .map_or_else(|| value.to_owned(), |word| word.get(self.state.language).to_owned())
    }

    /// The question for a slot.
    pub(super) fn prompt_text(&self, slot: &Slot) -> String {
        text::fill(slot.prompt.get(self.state.language), |name| {
            if name == "options" {
                Some(self.options_text(slot))
            } else {
                self.known(name)
            }
        })
    }

    /// The choices of a slot, where a tool gave them, numbered.
    pub(super) fn options_text(&self, slot: &Slot) -> String {
        let choices = self
            .state
            .options
            .get(&slot.name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let lines: Vec<String> = choices
            .iter()
            .enumerate()
            .map(|(index, choice)| format!("{}. {}", index + 1, choice.zh))
            .collect();
        lines.join("\n")
    }

    /// What an action asks the customer to confirm.
    pub(super) fn confirm_text(&self, action: &str) -> String {
        self.flow.action(action).map_or_else(String::new, |action| {
            text::fill(action.confirm.get(self.state.language), |name| self.known(name))
        })
    }

    fn outcome_text(&self, action: &Action, outcome: &Outcome, result: &Json) -> String {
        let language = self.state.language;
        let in_result = |path: &str| field(result, path).map(shown).map(|value| self.word(&value));
        text::fill(outcome.say.get(language), |name| match name.split_once('.') {
            Some(("result", path)) => in_result(path),
            None if name == "each" => action.each.as_ref().map(|each| {
                let rows = field(result, &each.list).and_then(Json::as_array);
                let lines = rows.into_iter().flatten().take(MAX_ROWS).map(|row| {
                    text::fill(each.text.get(language), |name| match name.split_once('.') {
                        Some(("item", path)) => field(row, path).map(shown).map(|value| self.word(&value)),
                        Some(("result", path)) => in_result(path),
                        _ => self.known(name),
                    })
                });
                lines.collect::<Vec<_>>().join("\n")
            }),
            _ => self.known(name),
        })
        .trim()
        .to_owned()
    }
}

/// A value of a result as text, bounded; lists and objects are none.
fn shown(value: &Json) -> String {
    let text = match value {
        Json::String(text) => text.clone(),
        Json::Number(number) => number.to_string(),
        Json::Bool(yes) => yes.to_string(),
        Json::Null | Json::Array(_) | Json::Object(_) => String::new(),
    };
    text.chars().filter(|c| !c.is_control()).take(MAX_FIELD_CHARS).collect()
}

fn digest(args: &Map<String, Json>) -> String {
    sha256_hex(Json::Object(args.clone()).to_string().as_bytes())[..32].to_owned()
}
