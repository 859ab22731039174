//! A task flow under way: state and input give the next state and what is to be done. No I/O, no clock, no chance: the same inputs
//! give the same effects, so a turn can be replayed.

mod act;
mod hear;
#[cfg(test)]
mod tests;
mod wording;

use super::definition::Flow;
use super::slots::{Choice, Heard, Value};
use crate::domain::{Gathered, Language};
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

/// Slots remembered for going back.
const MAX_ASKED: usize = 64;
/// Effects of one message: tools one after another, and questions asked again by their results.
const MAX_ROUNDS: u16 = 100;

/// A flow under way. It holds what the customer said for its slots, so it is kept as personal data is; a one-time code is never in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The flow's name.
    pub flow: String,
    /// The digest of its file.
    pub digest: String,
    /// What tells this run from all others; part of each idempotency key.
    pub instance: String,
    /// The language it speaks.
    pub language: Language,
    /// When the customer last wrote.
    pub touched: DateTime,
    /// The slots that are filled.
    pub slots: BTreeMap<String, Value>,
    /// Days without a time, and times without a day.
    pub halves: BTreeMap<String, Value>,
    /// Slots that the customer skipped.
    pub skipped: BTreeSet<String>,
    /// Slots in the order in which they were asked.
    pub asked: Vec<String>,
    /// Actions that are done, with the digest of what they were given.
    pub done: BTreeMap<String, String>,
    /// Fields of results that are used later.
    pub results: BTreeMap<String, String>,
    /// Choices from results.
    pub options: BTreeMap<String, Vec<Choice>>,
    /// The action that was confirmed, with the digest of what it is given.
    pub confirmed: Option<(String, String)>,
    /// What it waits for.
    pub phase: Phase,
    /// Answers in a row that were not understood.
    pub failures: u8,
    /// Calls of tools in a row that failed.
    pub tool_failures: u8,
    /// Calls of tools that came to an end.
    pub attempts: u32,
    /// Calls and questions so far.
    pub rounds: u16,
    /// The one-time code.
    pub code: Code,
}

/// How it stands with the one-time code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Code {
    /// How often it was sent.
    pub sent: u8,
    /// The digest of what it was sent for.
    pub sent_for: Option<String>,
    /// Wrong codes so far.
    pub wrong: u8,
    /// Until when a right one holds, and for what.
    pub verified: Option<(DateTime, String)>,
}

/// What a flow waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    /// Nothing was asked yet.
    Begun,
    /// A value for a slot.
    Asking {
        /// The slot.
        slot: String,
    },
    /// A yes to an action.
    Confirming {
        /// The action.
        action: String,
    },
    /// What is to be changed before an action.
    Changing {
        /// The action.
        action: String,
    },
    /// The result of a tool.
    Calling {
        /// What was called.
        call: Call,
    },
    /// A word of the customer to try a tool again.
    Retrying {
        /// What was called.
        call: Call,
    },
    /// Nothing: it is over.
    Ended {
        /// How.
        end: End,
    },
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "call")]
pub enum Call {
    /// An action's tool.
    Action {
        /// The action.
        name: String,
    },
    /// What sends a one-time code.
    Send,
    /// What checks a one-time code.
    Verify,
}

/// How a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Everything is done.
    Completed,
    /// The customer wanted it no more.
    Cancelled,
    /// The customer was silent too long.
    Expired,
    /// Its file was changed meanwhile.
    Replaced,
    /// A person takes over.
    Handoff,
}

/// Why a person takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Answers were not understood again and again.
    NotUnderstood,
    /// A tool failed again and again.
    ToolFailed,
    /// A result asks for a person.
    Result,
    /// Too many wrong one-time codes.
    WrongCode,
}

/// What happens to a flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "input", content = "value")]
pub enum Input {
    /// The message that began it.
    Start(String),
    /// A message.
    User(String),
    /// The result of the tool that was called.
    Tool(Result<Json, ToolFault>),
    /// The customer is to be reminded of what was asked.
    Remind,
}

/// How a tool failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolFault {
    /// It cannot be reached, or not in time: trying again may help.
    Unavailable,
    /// It refused: trying again does not help.
    Refused,
}

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "effect")]
pub enum Effect {
    /// Say this.
    Say {
        /// The text.
        text: String,
    },
    /// Call a tool and give its result back as the next input.
    CallTool {
        /// The tool.
        tool: String,
        /// What it is given.
        args: Json,
        /// The same for every try of the same thing.
        idempotency_key: String,
    },
    /// Say this: the answer was not understood or cannot be taken.
    AskAgain {
        /// The text.
        text: String,
    },
    /// Answer this question by the knowledge base.
    Digress {
        /// The question.
        question: String,
    },
    /// Call a person.
    Handoff {
        /// Why.
        reason: Reason,
        /// What was gathered, for that person.
        summary: String,
    },
    /// The flow is over.
    Done {
        /// How.
        end: End,
    },
}

impl State {
    /// A run of `flow`. `wrong_codes` are those of the same customer that still count.
    #[must_use]
    pub fn begin(flow: &Flow, instance: String, language: Language, now: DateTime, wrong_codes: u8) -> Self {
        Self {
            flow: flow.name.clone(),
            digest: flow.digest.clone(),
            instance,
            language,
            touched: now,
            slots: BTreeMap::new(),
            halves: BTreeMap::new(),
            skipped: BTreeSet::new(),
            asked: Vec::new(),
            done: BTreeMap::new(),
            results: BTreeMap::new(),
            options: BTreeMap::new(),
            confirmed: None,
            phase: Phase::Begun,
            failures: 0,
            tool_failures: 0,
            attempts: 0,
            rounds: 0,
            code: Code {
                wrong: wrong_codes,
                ..Code::default()
            },
        }
    }

    /// How it ended, if it did.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        match self.phase {
            Phase::Ended { end } => Some(end),
            _ => None,
        }
    }

    /// The slot that was asked for.
    #[must_use]
    pub fn asking(&self) -> Option<&str> {
        match &self.phase {
            Phase::Asking { slot } => Some(slot),
            _ => None,
        }
    }

    /// What the customer said so far, for a person who takes over: telephone numbers and addresses are hidden.
    #[must_use]
    pub fn summary(&self, flow: &Flow) -> String {
        let gathered = self.gathered(flow);
        let filled = gathered.facts.iter().map(|(name, value)| format!("{name}: {value}"));
        let mut lines: Vec<String> = std::iter::once(gathered.task).chain(filled).collect();
        lines.extend(gathered.missing.map(|name| format!("{name} ?")));
        if !gathered.done.is_empty() {
            lines.push(format!("({})", gathered.done.join(", ")));
        }
        lines.join("; ")
    }

    /// What was gathered, with all but the end of telephone numbers hidden and addresses left out.
    #[must_use]
    pub fn gathered(&self, flow: &Flow) -> Gathered {
        let facts = flow.slots.iter().filter_map(|slot| {
            let value = self.slots.get(&slot.name)?.masked();
            Some((slot.label.get(self.language).to_owned(), value))
        });
        let missing = self.asking().and_then(|name| flow.slot(name));
        Gathered {
            task: flow.title.get(self.language).to_owned(),
            facts: facts.collect(),
            missing: missing.map(|slot| slot.label.get(self.language).to_owned()),
            done: self.done.keys().cloned().collect(),
        }
    }
}

/// The next state and what is to be done. Never fails: what makes no sense in a state changes nothing.
#[must_use]
pub fn step(flow: &Flow, state: State, now: DateTime, input: &Input) -> (State, Vec<Effect>) {
    let mut turn = Turn {
        flow,
        state,
        now,
        effects: Vec::new(),
    };
    turn.run(input);
    (turn.state, turn.effects)
}

/// One step.
struct Turn<'f> {
    flow: &'f Flow,
    state: State,
    now: DateTime,
    effects: Vec<Effect>,
}

impl Turn<'_> {
    fn run(&mut self, input: &Input) {
        if self.state.end().is_some() {
            return;
        }
        if self.state.digest != self.flow.digest {
            self.say(wording::replaced(self.state.language));
            return self.end(End::Replaced);
        }
        let silent = self.now.duration_since(self.state.touched).as_secs();
        if silent > i64::from(self.flow.expires_minutes) * 60 {
            return self.end(End::Expired);
        }
        self.state.touched = self.state.touched.max(self.now);
        match input {
            Input::Start(message) => {
                let heard = Heard::new(message);
                self.take_first(&heard);
                self.advance();
            }
            Input::User(message) => {
                if let Some(language) = hear::language(message) {
                    self.state.language = language;
                }
                let heard = Heard::new(message);
                self.user(&heard);
            }
            Input::Tool(result) => self.result(result),
            Input::Remind => self.remind(),
        }
    }

    fn say(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.effects.push(Effect::Say { text });
        }
    }

    fn end(&mut self, end: End) {
        self.state.phase = Phase::Ended { end };
        self.effects.push(Effect::Done { end });
    }

    fn hand_off(&mut self, reason: Reason) {
        let summary = self.state.summary(self.flow);
        self.effects.push(Effect::Handoff { reason, summary });
        self.end(End::Handoff);
    }

    /// One more answer that could not be taken; `text` says why.
    fn ask_again(&mut self, text: String) {
        self.state.failures += 1;
        if self.state.failures >= self.flow.max_failures {
            return self.hand_off(Reason::NotUnderstood);
        }
        self.effects.push(Effect::AskAgain { text });
    }
}
