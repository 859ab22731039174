//! What an operator writes: a task flow as a file, and what it may hold.

use super::slots::{Choice, Direction, Wanted};
use super::text::Text;
use regex::Regex;
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// The most tries of a one-time code.
pub const MAX_TRIES: u8 = 5;

/// A task flow that was checked.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Its name, unique among all flows.
    pub name: String,
    /// What customers read.
    pub title: Text,
    /// For people who work with flows.
    pub description: String,
    /// Wordings that begin it.
    pub triggers: Vec<String>,
    /// Intents that begin it, where a head for intents is trained.
    pub intents: Vec<String>,
    /// After so long without a word it is over.
    pub expires_minutes: u32,
    /// Failures in a row at one slot after which a person is called.
    pub max_failures: u8,
    /// What is asked, in order.
    pub slots: Vec<Slot>,
    /// What is done, in order.
    pub actions: Vec<Action>,
    /// Words for values of results.
    pub words: BTreeMap<String, Text>,
    /// SHA-256 of the file: a conversation that began with another one does not go on with this.
    pub digest: String,
}

/// One step on the way through a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask for the slot of that index.
    Slot(usize),
    /// Do the action of that index.
    Action(usize),
}

impl Flow {
    /// The way through: each slot with the actions before it, then the rest.
    #[must_use]
    pub fn plan(&self) -> Vec<Step> {
        let mut plan = Vec::with_capacity(self.slots.len() + self.actions.len());
        for (index, slot) in self.slots.iter().enumerate() {
            let before = self
                .actions
                .iter()
                .enumerate()
                .filter(|(_, action)| action.before.as_deref() == Some(slot.name.as_str()));
            plan.extend(before.map(|(action, _)| Step::Action(action)));
            plan.push(Step::Slot(index));
        }
        plan.extend(
            self.actions
                .iter()
                .enumerate()
                .filter(|(_, action)| action.before.is_none())
                .map(|(action, _)| Step::Action(action)),
        );
        plan
    }

    /// The slot of that name.
    #[must_use]
    pub fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.name == name)
    }

    /// The action of that name.
    #[must_use]
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.actions.iter().find(|action| action.name == name)
    }

    /// The slot of the one-time code, where there is one.
    #[must_use]
    pub fn code_slot(&self) -> Option<&Slot> {
        self.slots.iter().find(|slot| slot.kind == SlotKind::OneTimeCode)
    }

    /// The tools that it calls.
    pub fn tools(&self) -> impl Iterator<Item = &str> {
        let codes = self.slots.iter().flat_map(|slot| {
            [
                slot.send.as_ref().map(|call| call.tool.as_str()),
                slot.verify.as_ref().map(|call| call.tool.as_str()),
            ]
        });
        self.actions
            .iter()
            .map(|action| action.tool.as_str())
            .chain(codes.flatten())
    }
}

/// The type of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotKind {
    /// A day.
    Date,
    /// A time of day.
    Time,
    /// A day with a time.
    Datetime,
    /// Money.
    Amount,
    /// A number.
    Number,
    /// What a pattern matches.
    OrderNumber,
    /// A telephone number.
    Phone,
    /// An address.
    Address,
    /// One of several.
    Choice,
    /// Free words, bounded.
    Text,
    /// Yes or no.
    YesNo,
    /// A code that an inner system sends and checks.
    OneTimeCode,
}

/// One thing to ask for.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: SlotKind,
    /// What customers call it.
    pub label: Text,
    /// The question.
    pub prompt: Text,
    /// What is said when the answer was not understood; empty for a fixed sentence.
    pub error: Text,
    /// Whether it may be skipped.
    pub optional: bool,
    /// It is asked only where this holds.
    pub when: Option<Condition>,
    /// For an order number.
    pub pattern: Option<Regex>,
    /// For a choice; empty where an action gives them.
    pub options: Vec<Choice>,
    /// What a value must be.
    pub checks: Vec<Check>,
    /// For a one-time code: how it is sent.
    pub send: Option<Send>,
    /// For a one-time code: how it is checked.
    pub verify: Option<Verify>,
    /// For a one-time code: wrong ones until it is over.
    pub tries: u8,
    /// For a one-time code: how long what it showed holds.
    pub valid_minutes: u32,
}

impl Slot {
    /// What to look for; `None` for a one-time code, which is no value.
    #[must_use]
    pub fn wanted<'f>(&'f self, choices: &'f [Choice]) -> Option<Wanted<'f>> {
        let past = self.checks.iter().any(|check| check.rule == Rule::NotFuture);
        let direction = if past { Direction::Past } else { Direction::Future };
        Some(match self.kind {
            SlotKind::Date => Wanted::Date(direction),
            SlotKind::Time => Wanted::Time,
            SlotKind::Datetime => Wanted::Datetime(direction),
            SlotKind::Amount => Wanted::Amount,
            SlotKind::Number => Wanted::Number,
            SlotKind::OrderNumber => Wanted::OrderNumber(self.pattern.as_ref()?),
            SlotKind::Phone => Wanted::Phone,
            SlotKind::Address => Wanted::Address,
            SlotKind::Choice => Wanted::Choice(if self.options.is_empty() {
                choices
            } else {
                &self.options
            }),
            SlotKind::Text => Wanted::Text,
            SlotKind::YesNo => Wanted::YesNo,
            SlotKind::OneTimeCode => return None,
        })
    }

    /// Characters that a text may have.
    #[must_use]
    pub fn max_chars(&self) -> usize {
        let said = self
            .checks
            .iter()
            .find_map(|check| (check.rule == Rule::MaxChars).then_some(check.number));
        said.map_or(200, |chars| chars as usize)
    }
}

/// What a value must be.
#[derive(Clone, Debug)]
pub struct Check {
    /// The rule.
    pub rule: Rule,
    /// Its number: a bound, days, characters. For times of day minutes from midnight.
    pub number: f64,
    /// Its expression.
    pub pattern: Option<Regex>,
    /// What is said when it does not hold; empty for a fixed sentence.
    pub error: Text,
}

/// A rule for values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// A number or an amount of at least.
    Min,
    /// A number or an amount of at most.
    Max,
    /// Not before now.
    NotPast,
    /// Not after now.
    NotFuture,
    /// So many days from today at least.
    MinDaysAhead,
    /// So many days from today at most.
    MaxDaysAhead,
    /// A time of day not before.
    NotBefore,
    /// A time of day not after.
    NotAfter,
    /// The expression matches the whole.
    Pattern,
    /// So many characters at most.
    MaxChars,
}

/// Something that must hold.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// The slot.
    pub slot: String,
    /// Its value, in its one spelling.
    pub equals: Json,
}

impl Condition {
    /// Whether a slot with that value, in its one spelling, fulfils it.
    #[must_use]
    pub fn holds(&self, canonical: Option<&str>) -> bool {
        let wanted = match &self.equals {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        };
        canonical == Some(wanted.as_str())
    }
}

/// How a one-time code is sent.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// The tool.
    pub tool: String,
    /// What it is given.
    #[serde(default)]
    pub args: BTreeMap<String, Json>,
    /// A result for measuring without the tool.
    #[serde(default)]
    pub sample: Json,
}

/// How a one-time code is checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// The tool.
    pub tool: String,
    /// What it is given beside the code.
    #[serde(default)]
    pub args: BTreeMap<String, Json>,
    /// The argument that holds the code.
    #[serde(default = "code")]
    pub code: String,
    /// The field of the result that is `true` for a right code.
    #[serde(default = "verified")]
    pub field: String,
    /// A result for measuring without the tool.
    #[serde(default)]
    pub sample: Json,
}

fn code() -> String {
    "code".to_owned()
}

fn verified() -> String {
    "verified".to_owned()
}

/// One thing to do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// Its name.
    pub name: String,
    /// The slot before which it is done; without one, at the end.
    pub before: Option<String>,
    /// The tool.
    pub tool: String,
    /// What it is given: texts with placeholders, or values.
    #[serde(default)]
    pub args: BTreeMap<String, Json>,
    /// It is done only where this holds.
    pub when: Option<Condition>,
    /// Whether it changes something: then it is confirmed before.
    #[serde(default)]
    pub changes: bool,
    /// Whether it needs the one-time code.
    #[serde(default)]
    pub protected: bool,
    /// What is to be confirmed.
    #[serde(default)]
    pub confirm: Text,
    /// A list of its result, row by row.
    pub each: Option<Each>,
    /// The choices of a slot, from its result.
    pub options: Option<Options>,
    /// What becomes of its result; the first that fits.
    #[serde(default)]
    pub outcomes: Vec<Outcome>,
    /// A result for measuring without the tool.
    #[serde(default)]
    pub sample: Json,
}

/// A list of a result as text.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Each {
    /// The field that holds it.
    pub list: String,
    /// The text of a row, with `{item.FIELD}`.
    pub text: Text,
}

/// Choices from a result.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The slot that they are for.
    pub slot: String,
    /// The field that holds the list.
    pub list: String,
    /// The field of a row that names it.
    pub value: String,
    /// The field of a row that customers read.
    pub label: String,
}

/// What becomes of a result.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// Which results it is for; without one, all.
    pub when: Option<ResultTest>,
    /// What is said.
    #[serde(default)]
    pub say: Text,
    /// How it goes on.
    #[serde(default)]
    pub then: Then,
    /// The slot that is asked again.
    pub ask: Option<String>,
}

/// How it goes on after a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// With the next step.
    #[default]
    Continue,
    /// The flow is over.
    Done,
    /// A person takes over.
    Handoff,
}

/// A test of a field of a result.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResultTest {
    /// The field, with points between the names.
    pub field: String,
    /// It equals this.
    pub equals: Option<Json>,
    /// It is missing, or an empty list or text (`true`), or not (`false`).
    pub empty: Option<bool>,
}

impl ResultTest {
    /// Whether `result` passes.
    #[must_use]
    pub fn passes(&self, result: &Json) -> bool {
        let found = field(result, &self.field);
        let empty = match found {
            None | Some(Json::Null) => true,
            Some(Json::String(text)) => text.is_empty(),
            Some(Json::Array(list)) => list.is_empty(),
            Some(_) => false,
        };
        self.equals
            .as_ref()
            .is_none_or(|wanted| found.is_some_and(|found| found == wanted))
            && self.empty.is_none_or(|wanted| wanted == empty)
    }
}

/// The field of `json` at `path`, names with points between them.
#[must_use]
pub fn field<'j>(json: &'j Json, path: &str) -> Option<&'j Json> {
    path.split('.').try_fold(json, |json, name| match json {
        Json::Array(list) => list.get(name.parse::<usize>().ok()?),
        json => json.get(name),
    })
}
