//! Reading flows from a directory. Every fault of every file is reported at once, with its line.

use super::definition::{Action, Check, Condition, Flow, MAX_TRIES, Rule, Send, Slot, SlotKind, Step, Verify};
use super::slots::Choice;
use super::text::{self, Text};
use crate::domain::sha256_hex;
use crate::understanding::match_key;
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Bytes of a flow's file.
const MAX_FILE_BYTES: u64 = 256 << 10;
/// Files of a directory.
const MAX_FILES: usize = 200;
/// Slots, and actions, of a flow.
const MAX_STEPS: usize = 40;
/// Wordings of a flow, and options of a slot.
const MAX_WORDINGS: usize = 200;
/// Characters of an expression.
const MAX_PATTERN: usize = 300;
/// Names that placeholders have for other things.
const RESERVED: [&str; 4] = ["result", "item", "each", "options"];

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub detail: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.detail)
    }
}

/// Why flows cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FlowsError {
    /// The directory or a file cannot be read.
    #[error("flows {path}: {source}")]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Files are wrong, in all these places.
    #[error("flows: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Faults(Vec<Fault>),
}

/// Reads every `*.toml` of `directory`, in order of name.
///
/// # Errors
/// `Io`, and `Faults` with everything that is wrong in any file.
pub fn load(directory: &Path) -> Result<Vec<Flow>, FlowsError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| FlowsError::Io { path, source }
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(io(directory))? {
        let path = entry.map_err(io(directory))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut faults = Vec::new();
    let mut fault = |file: &Path, detail: String| {
        faults.push(Fault {
            file: file.to_owned(),
            line: 1,
            detail,
        });
    };
    if paths.is_empty() {
        fault(directory, "there is no *.toml here".to_owned());
    }
    if paths.len() > MAX_FILES {
        fault(
            directory,
            format!("there are {} files, at most {MAX_FILES} are read", paths.len()),
        );
        paths.truncate(MAX_FILES);
    }
    let mut texts = Vec::new();
    for path in paths {
        let bytes = std::fs::metadata(&path).map_err(io(&path))?.len();
        if bytes > MAX_FILE_BYTES {
            fault(&path, format!("{bytes} bytes are more than {MAX_FILE_BYTES}"));
        } else {
            let text = std::fs::read_to_string(&path).map_err(io(&path))?;
            texts.push((path, text));
        }
    }
    match parse_all(&texts) {
        Ok(flows) if faults.is_empty() => Ok(flows),
        Ok(_) => Err(FlowsError::Faults(faults)),
        Err(more) => Err(FlowsError::Faults(faults.into_iter().chain(more).collect())),
    }
}

/// Reads flows from texts with the names of their files.
///
/// # Errors
/// Everything that is wrong in any of them.
pub fn parse_all(texts: &[(PathBuf, String)]) -> Result<Vec<Flow>, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut flows: Vec<(PathBuf, Flow)> = Vec::new();
    for (path, text) in texts {
        let mut reader = Reader {
            path,
            text,
            faults: &mut faults,
        };
        if let Some(flow) = reader.flow() {
            flows.push((path.clone(), flow));
        }
    }
    let mut names: HashMap<String, PathBuf> = HashMap::new();
    let mut wordings: HashMap<String, PathBuf> = HashMap::new();
    for (path, flow) in &flows {
        let mut twice = |detail: String| {
            faults.push(Fault {
                file: path.clone(),
                line: 1,
                detail,
            });
        };
        if let Some(other) = names.insert(flow.name.clone(), path.clone()) {
            twice(format!("the flow {} is in {} too", flow.name, other.display()));
        }
        for wording in &flow.triggers {
            if let Some(other) = wordings.insert(match_key(wording), path.clone())
                && other != *path
            {
                twice(format!("\"{wording}\" begins the flow of {} too", other.display()));
            }
        }
    }
    if faults.is_empty() {
        Ok(flows.into_iter().map(|(_, flow)| flow).collect())
    } else {
        Err(faults)
    }
}

/// The file beside its lists.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    name: String,
    title: Text,
    #[serde(default)]
    description: String,
    triggers: Triggers,
    #[serde(default = "expires")]
    expires_minutes: u32,
    #[serde(default = "failures")]
    max_failures: u8,
    #[serde(default)]
    words: BTreeMap<String, Text>,
}

fn expires() -> u32 {
    30
}

fn failures() -> u8 {
    3
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Triggers {
    #[serde(default)]
    zh: Vec<String>,
    #[serde(default)]
    en: Vec<String>,
    #[serde(default)]
    intents: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSlot {
    name: String,
    #[serde(rename = "type")]
    kind: SlotKind,
    label: Text,
    prompt: Text,
    #[serde(default)]
    error: Text,
    #[serde(default)]
    optional: bool,
    when: Option<Condition>,
    pattern: Option<String>,
    #[serde(default)]
    options: Vec<RawChoice>,
    #[serde(default)]
    checks: Vec<RawCheck>,
    send: Option<Send>,
    verify: Option<Verify>,
    #[serde(default = "tries")]
    tries: u8,
    #[serde(default = "valid")]
    valid_minutes: u32,
}

fn tries() -> u8 {
    MAX_TRIES
}

fn valid() -> u32 {
    10
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChoice {
    value: String,
    label: Text,
    #[serde(default)]
    zh: Vec<String>,
    #[serde(default)]
    en: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCheck {
    rule: Rule,
    value: Option<Json>,
    #[serde(default)]
    error: Text,
}

struct Reader<'t, 'f> {
    path: &'t Path,
    text: &'t str,
    faults: &'f mut Vec<Fault>,
}

/// What was read, with the line where it stands.
struct At<T> {
    line: usize,
    item: T,
}

impl Reader<'_, '_> {
    fn line(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or(self.text).matches('\n').count() + 1
    }

    fn fault(&mut self, line: usize, detail: impl Into<String>) {
        self.faults.push(Fault {
            file: self.path.to_owned(),
            line,
            detail: detail.into(),
        });
    }

    fn toml_fault(&mut self, error: &toml::de::Error, otherwise: usize) {
        let line = error.span().map_or(otherwise, |span| self.line(span.start));
        self.fault(line, error.message().trim().replace('\n', " "));
    }

    fn read<T: DeserializeOwned>(&mut self, value: Spanned<DeValue<'_>>) -> Option<At<T>> {
        let line = self.line(value.span().start);
        match T::deserialize(toml::de::ValueDeserializer::from(value)) {
            Ok(item) => Some(At { line, item }),
            Err(error) => {
                self.toml_fault(&error, line);
                None
            }
        }
    }

    /// The tables of a list, taken out of `table`.
    fn list<T: DeserializeOwned>(&mut self, table: &mut DeTable<'_>, name: &str) -> Vec<At<T>> {
        let Some(value) = table.remove(name) else {
            return Vec::new();
        };
        let line = self.line(value.span().start);
        let DeValue::Array(list) = value.into_inner() else {
            self.fault(line, format!("{name} must be a list: [[{name}]]"));
            return Vec::new();
        };
        if list.len() > MAX_STEPS {
            self.fault(
                line,
                format!("there are {} {name}, at most {MAX_STEPS} are allowed", list.len()),
            );
        }
        list.into_iter().filter_map(|value| self.read(value)).collect()
    }

    fn flow(&mut self) -> Option<Flow> {
        let before = self.faults.len();
        let (parsed, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            self.toml_fault(error, 1);
        }
        if !errors.is_empty() {
            return None;
        }
        let mut table = parsed.into_inner();
        let slots: Vec<At<RawSlot>> = self.list(&mut table, "slots");
        let actions: Vec<At<Action>> = self.list(&mut table, "actions");
        let head: Option<At<Head>> = self.read(Spanned::new(0..0, DeValue::Table(table)));
        let slots: Vec<At<Slot>> = slots
            .into_iter()
            .map(|At { line, item }| At {
                line,
                item: self.slot(line, item),
            })
            .collect();
        let Head {
            name,
            title,
            description,
            triggers,
            expires_minutes,
            max_failures,
            words,
        } = head?.item;
        let flow = Flow {
            name,
            title,
            description,
            triggers: triggers.zh.into_iter().chain(triggers.en).collect(),
            intents: triggers.intents,
            expires_minutes,
            max_failures,
            slots: Vec::new(),
            actions: Vec::new(),
            words,
            digest: sha256_hex(self.text.as_bytes()),
        };
        self.check_head(&flow);
        self.check_names(&slots, &actions);
        let lines: (Vec<usize>, Vec<usize>) = (
            slots.iter().map(|at| at.line).collect(),
            actions.iter().map(|at| at.line).collect(),
        );
        let flow = Flow {
            slots: slots.into_iter().map(|at| at.item).collect(),
            actions: actions.into_iter().map(|at| at.item).collect(),
            ..flow
        };
        // References are worth checking only where everything could be read.
        if self.faults.len() == before {
            self.check_steps(&flow, &lines.0, &lines.1);
        }
        (self.faults.len() == before).then_some(flow)
    }

    fn regex(&mut self, line: usize, source: &str) -> Option<Regex> {
        if source.len() > MAX_PATTERN {
            self.fault(line, format!("a pattern has more than {MAX_PATTERN} characters"));
            return None;
        }
        match RegexBuilder::new(source).size_limit(1 << 20).build() {
            Ok(regex) => Some(regex),
            Err(error) => {
                self.fault(
                    line,
                    format!(
                        "the pattern {source} is no regular expression: {}",
                        error.to_string().replace('\n', " ")
                    ),
                );
                None
            }
        }
    }

    fn slot(&mut self, line: usize, raw: RawSlot) -> Slot {
        let kind = raw.kind;
        let name = raw.name.clone();
        let mut needs = |holds: bool, detail: &str| {
            if !holds {
                self.fault(line, format!("slot {name}: {detail}"));
            }
        };
        needs(
            (kind == SlotKind::OrderNumber) == raw.pattern.is_some(),
            "an order_number, and nothing else, has a pattern",
        );
        needs(
            kind == SlotKind::Choice || raw.options.is_empty(),
            "only a choice has options",
        );
        needs(raw.options.len() <= MAX_WORDINGS, "too many options");
        let code = kind == SlotKind::OneTimeCode;
        needs(
            code == raw.send.is_some() && code == raw.verify.is_some(),
            "a one_time_code, and nothing else, has send and verify",
        );
        needs(
            !code || (!raw.optional && raw.when.is_none()),
            "a one_time_code cannot be optional or depend on a condition",
        );
        needs((1..=MAX_TRIES).contains(&raw.tries), "tries must be 1 to 5");
        needs((1..=60).contains(&raw.valid_minutes), "valid_minutes must be 1 to 60");
        let pattern = raw.pattern.and_then(|source| self.regex(line, &source));
        let checks = raw
            .checks
            .into_iter()
            .filter_map(|check| self.check(line, &name, kind, check))
            .collect();
        let mut seen = BTreeSet::new();
        for option in &raw.options {
            if !seen.insert(option.value.clone()) {
                self.fault(
                    line,
                    format!("slot {name}: two options have the value {}", option.value),
                );
            }
        }
        for text in [&raw.label, &raw.prompt, &raw.error] {
            self.check_text(line, text);
        }
        Slot {
            name,
            kind,
            label: raw.label,
            prompt: raw.prompt,
            error: raw.error,
            optional: raw.optional,
            when: raw.when,
            pattern,
            options: raw
                .options
                .into_iter()
                .map(|option| Choice {
                    name: option.value,
                    zh: option.label.zh,
                    en: option.label.en,
                    synonyms: option.zh.into_iter().chain(option.en).collect(),
                })
                .collect(),
            checks,
            send: raw.send,
            verify: raw.verify,
            tries: raw.tries,
            valid_minutes: raw.valid_minutes,
        }
    }

    fn check(&mut self, line: usize, slot: &str, kind: SlotKind, raw: RawCheck) -> Option<Check> {
        use SlotKind::{Address, Amount, Date, Datetime, Number, OrderNumber, Phone, Text, Time};
        let kinds: &[SlotKind] = match raw.rule {
            Rule::Min | Rule::Max => &[Number, Amount],
            Rule::NotPast | Rule::NotFuture | Rule::MinDaysAhead | Rule::MaxDaysAhead => &[Date, Datetime],
            Rule::NotBefore | Rule::NotAfter => &[Time, Datetime],
            Rule::Pattern | Rule::MaxChars => &[Text, Address, OrderNumber, Phone],
        };
        let rule = format!("{:?}", raw.rule);
        if !kinds.contains(&kind) {
            self.fault(
                line,
                format!("slot {slot}: the check {rule} does not fit the type {kind:?}"),
            );
            return None;
        }
        self.check_text(line, &raw.error);
        let value = raw.value.unwrap_or(Json::Null);
        let number = match (raw.rule, &value) {
            (Rule::NotPast | Rule::NotFuture, Json::Null) | (Rule::Pattern, Json::String(_)) => Some(0.0),
            (Rule::NotBefore | Rule::NotAfter, Json::String(text)) => minutes(text),
            (Rule::MinDaysAhead | Rule::MaxDaysAhead, Json::Number(number)) => {
                number.as_f64().filter(|days| (-36_500.0..=36_500.0).contains(days))
            }
            (Rule::MaxChars, Json::Number(number)) => number.as_f64().filter(|chars| (1.0..=500.0).contains(chars)),
            (Rule::Min | Rule::Max, Json::Number(number)) => number.as_f64(),
            _ => None,
        };
        let Some(number) = number else {
            self.fault(
                line,
                format!("slot {slot}: the check {rule} cannot have the value {value}"),
            );
            return None;
        };
        let pattern = match (raw.rule, &value) {
            (Rule::Pattern, Json::String(source)) => Some(self.regex(line, source)?),
            _ => None,
        };
        Some(Check {
            rule: raw.rule,
            number,
            pattern,
            error: raw.error,
        })
    }

    fn check_text(&mut self, line: usize, text: &Text) {
        for fault in [text::fault(&text.zh), text::fault(&text.en)]
            .into_iter()
            .flatten()
            .take(1)
        {
            self.fault(line, fault);
        }
    }

    fn check_head(&mut self, flow: &Flow) {
        if !is_name(&flow.name) {
            self.fault(
                1,
                format!("the name \"{}\" must be small letters, digits and _", flow.name),
            );
        }
        if flow.triggers.is_empty() {
            self.fault(1, "triggers must have at least one wording");
        }
        if flow.triggers.len() > MAX_WORDINGS {
            self.fault(1, format!("at most {MAX_WORDINGS} triggers are allowed"));
        }
        if flow
            .triggers
            .iter()
            .any(|wording| match_key(wording).chars().count() < 2)
        {
            self.fault(1, "a trigger has fewer than two letters");
        }
        if !(1..=1440).contains(&flow.expires_minutes) {
            self.fault(1, "expires_minutes must be 1 to 1440");
        }
        if !(1..=10).contains(&flow.max_failures) {
            self.fault(1, "max_failures must be 1 to 10");
        }
        self.check_text(1, &flow.title);
        for word in flow.words.values() {
            self.check_text(1, word);
        }
    }

    fn check_names(&mut self, slots: &[At<Slot>], actions: &[At<Action>]) {
        let mut seen: BTreeSet<String> = BTreeSet::new();
        let all = slots
            .iter()
            .map(|at| (at.line, at.item.name.clone()))
            .chain(actions.iter().map(|at| (at.line, at.item.name.clone())));
        for (line, name) in all.collect::<Vec<_>>() {
            if !is_name(&name) || RESERVED.contains(&name.as_str()) {
                self.fault(
                    line,
                    format!(
                        "the name \"{name}\" must be small letters, digits and _, and none of {}",
                        RESERVED.join(", ")
                    ),
                );
            }
            if !seen.insert(name.clone()) {
                self.fault(line, format!("the name {name} is taken"));
            }
        }
        let codes = slots.iter().filter(|at| at.item.kind == SlotKind::OneTimeCode).count();
        if codes > 1 {
            self.fault(slots[0].line, "a flow has at most one one_time_code");
        }
        if slots.is_empty() && actions.is_empty() {
            self.fault(1, "a flow needs [[slots]] or [[actions]]");
        }
    }

    /// What steps say of each other: nothing is used before it is there.
    fn check_steps(&mut self, flow: &Flow, slot_lines: &[usize], action_lines: &[usize]) {
        for (action, line) in flow.actions.iter().zip(action_lines) {
            if let Some(before) = action.before.as_deref().filter(|before| flow.slot(before).is_none()) {
                self.fault(
                    *line,
                    format!("action {}: before = \"{before}\" is no slot", action.name),
                );
            }
        }
        let mut known: BTreeSet<&str> = BTreeSet::new();
        let mut code_known = false;
        for step in flow.plan() {
            match step {
                Step::Slot(index) => {
                    let (slot, line) = (&flow.slots[index], slot_lines[index]);
                    self.check_slot_step(flow, slot, line, &known);
                    known.insert(&slot.name);
                    code_known |= slot.kind == SlotKind::OneTimeCode;
                }
                Step::Action(index) => {
                    let (action, line) = (&flow.actions[index], action_lines[index]);
                    self.check_action_step(flow, action, line, &known);
                    if action.protected && !code_known {
                        self.fault(
                            line,
                            format!(
                                "action {}: it is protected, and no one_time_code stands before it",
                                action.name
                            ),
                        );
                    }
                    known.insert(&action.name);
                }
            }
        }
    }

    fn check_known(&mut self, line: usize, of: &str, placeholder: &str, known: &BTreeSet<&str>, also: &[&str]) {
        let first = placeholder.split('.').next().unwrap_or_default();
        if !known.contains(first) && !also.contains(&first) {
            self.fault(
                line,
                format!("{of}: {{{placeholder}}} is not known there: it must be a slot or an action before"),
            );
        }
    }

    fn check_slot_step(&mut self, flow: &Flow, slot: &Slot, line: usize, known: &BTreeSet<&str>) {
        let of = format!("slot {}", slot.name);
        for placeholder in slot.prompt.placeholders() {
            self.check_known(line, &of, placeholder, known, &["options"]);
        }
        if let Some(condition) = slot
            .when
            .as_ref()
            .filter(|condition| !known.contains(condition.slot.as_str()))
        {
            self.fault(
                line,
                format!("{of}: when.slot = \"{}\" is no slot before it", condition.slot),
            );
        }
        let calls = [
            slot.send.as_ref().map(|send| &send.args),
            slot.verify.as_ref().map(|verify| &verify.args),
        ];
        for placeholder in calls
            .into_iter()
            .flatten()
            .flat_map(placeholders_of)
            .collect::<Vec<_>>()
        {
            self.check_known(line, &of, &placeholder, known, &[]);
        }
        let given = flow
            .actions
            .iter()
            .filter(|action| action.options.as_ref().is_some_and(|options| options.slot == slot.name))
            .count();
        if slot.kind == SlotKind::Choice && (given > 0) != slot.options.is_empty() {
            self.fault(
                line,
                format!("{of}: a choice needs either options of its own or an action with options for it"),
            );
        }
    }

    fn check_action_step(&mut self, flow: &Flow, action: &Action, line: usize, known: &BTreeSet<&str>) {
        let of = format!("action {}", action.name);
        for placeholder in placeholders_of(&action.args)
            .chain(action.confirm.placeholders().map(str::to_owned))
            .collect::<Vec<_>>()
        {
            self.check_known(line, &of, &placeholder, known, &[]);
        }
        if action.changes && action.confirm.is_empty() {
            self.fault(line, format!("{of}: what changes something needs a text to confirm"));
        }
        if let Some(condition) = action
            .when
            .as_ref()
            .filter(|condition| !known.contains(condition.slot.as_str()))
        {
            self.fault(
                line,
                format!("{of}: when.slot = \"{}\" is no slot before it", condition.slot),
            );
        }
        if let Some(options) = &action.options {
            let fits = action.before.as_deref() == Some(options.slot.as_str())
                && flow
                    .slot(&options.slot)
                    .is_some_and(|slot| slot.kind == SlotKind::Choice);
            if !fits {
                self.fault(
                    line,
                    format!("{of}: options.slot must be the choice that it stands before"),
                );
            }
        }
        let texts = [Some(&action.confirm), action.each.as_ref().map(|each| &each.text)];
        for text in texts
            .into_iter()
            .flatten()
            .chain(action.outcomes.iter().map(|outcome| &outcome.say))
        {
            self.check_text(line, text);
        }
        for placeholder in action.each.iter().flat_map(|each| each.text.placeholders()) {
            self.check_known(line, &of, placeholder, known, &["item", "result"]);
        }
        for outcome in &action.outcomes {
            for placeholder in outcome.say.placeholders() {
                self.check_known(line, &of, placeholder, known, &["result", "each"]);
            }
            if let Some(ask) = &outcome.ask
                && (outcome.then != super::definition::Then::Continue
                    || !flow
                        .slots
                        .iter()
                        .any(|slot| slot.name == *ask && known.contains(ask.as_str())))
            {
                self.fault(
                    line,
                    format!("{of}: ask = \"{ask}\" must be a slot before it, and alone"),
                );
            }
        }
    }
}

fn placeholders_of(args: &BTreeMap<String, Json>) -> impl Iterator<Item = String> {
    args.values()
        .filter_map(Json::as_str)
        .flat_map(|template| text::names(template).map(str::to_owned).collect::<Vec<_>>())
}

fn is_name(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// `09:30` in minutes from midnight.
fn minutes(text: &str) -> Option<f64> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour < 24 && minute < 60).then(|| f64::from(hour * 60 + minute))
}

#[cfg(test)]
mod tests {
    use super::{load, parse_all};
    use std::path::{Path, PathBuf};

    #[test]
    fn the_sample_flows_are_sound() {
        let flows =
            load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("kb/flows")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            flows.iter().map(|flow| flow.name.as_str()).collect::<Vec<_>>(),
            ["bill", "installation", "lost_card", "parcel"]
        );
    }

    const GOOD: &str = r#"
name = "good"
title = "Good"
triggers = { zh = ["开始办理"] }
[[slots]]
name = "day"
type = "date"
label = "day"
prompt = "which day"
[[actions]]
name = "do"
tool = "t"
changes = true
confirm = "ok for {day}?"
args = { day = "{day}" }
"#;

    fn faults(text: &str) -> Vec<String> {
        parse_all(&[(PathBuf::from("a.toml"), text.to_owned())])
            .err()
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn every_fault_of_every_file_is_told_with_its_line() {
        assert!(faults(GOOD).is_empty(), "{:?}", faults(GOOD));
        let wrong = GOOD
            .replace("type = \"date\"", "type = \"dat\"")
            .replace("tool = \"t\"", "tool = \"t\"\nchange = true")
            .replace("title =", "titel =");
        let found = faults(&wrong);
        assert_eq!(found.len(), 3, "{found:#?}");
        assert!(found.iter().any(|fault| fault.starts_with("a.toml:7:")), "{found:#?}");
        let both = parse_all(&[("a.toml".into(), wrong), ("b.toml".into(), "name = ".into())]).unwrap_err();
        assert!(both.iter().any(|fault| fault.file == Path::new("b.toml")), "{both:?}");
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        for (from, to, word) in [
            ("{day}?", "{dya}?", "not known"),
            ("confirm = \"ok for {day}?\"", "", "confirm"),
            ("changes = true", "changes = true\nprotected = true", "one_time_code"),
            ("changes = true", "changes = true\nbefore = \"night\"", "no slot"),
            ("type = \"date\"", "type = \"order_number\"", "pattern"),
            ("type = \"date\"", "type = \"choice\"", "options"),
            (
                "type = \"date\"",
                "type = \"order_number\"\npattern = \"(\"",
                "expression",
            ),
            (
                "type = \"date\"",
                "type = \"date\"\nchecks = [{ rule = \"min\", value = 3 }]",
                "does not fit",
            ),
            (
                "type = \"date\"",
                "type = \"date\"\nchecks = [{ rule = \"min_days_ahead\" }]",
                "cannot have",
            ),
            ("name = \"do\"", "name = \"day\"", "taken"),
            ("name = \"do\"", "name = \"result\"", "none of"),
            ("\"which day\"", "\"which {day\"", "brace"),
            ("[\"开始办理\"]", "[]", "at least one"),
        ] {
            let found = faults(&GOOD.replace(from, to));
            assert!(found.iter().any(|fault| fault.contains(word)), "{word}: {found:?}");
        }
        let twice = parse_all(&[("a.toml".into(), GOOD.to_owned()), ("b.toml".into(), GOOD.to_owned())]).unwrap_err();
        assert_eq!(twice.len(), 2, "{twice:?}");
    }
}
