//! How a reply of a flow came to be, so that it can be computed again.

use super::definition::Flow;
use super::machine::{Effect, Input, State, step};
use super::slots::without_codes;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// The inputs of one reply with what came of them. One-time codes are zeros in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The state before; its flow and the digest of its file are in it.
    pub before: State,
    /// The customer's clock.
    pub now: DateTime,
    /// Inputs in order, each with its effects.
    pub steps: Vec<(Input, Vec<Effect>)>,
}

/// Why a reply cannot be computed again, or is another one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Difference {
    /// The flow's file was changed since.
    #[error("the flow {flow} was changed since: its file had the digest {was}")]
    Changed {
        /// The flow.
        flow: String,
        /// The digest then.
        was: String,
    },
    /// An input has other effects now.
    #[error("input {index} has other effects now: {now:?} and not {was:?}")]
    Effects {
        /// Which input.
        index: usize,
        /// Then.
        was: Vec<Effect>,
        /// Now.
        now: Vec<Effect>,
    },
}

/// `input` and `effects` as they may be stored: where a one-time code is waited for, it becomes zeros.
#[must_use]
pub fn storable(flow: &Flow, input: &Input, effects: &[Effect]) -> (Input, Vec<Effect>) {
    let Some(verify) = flow.code_slot().and_then(|slot| slot.verify.as_ref()) else {
        return (input.clone(), effects.to_vec());
    };
    let verifies = |effect: &Effect| matches!(effect, Effect::CallTool { tool, .. } if *tool == verify.tool);
    let input = match input {
        Input::User(text) if effects.iter().any(verifies) => Input::User(without_codes(text)),
        other => other.clone(),
    };
    let effects = effects
        .iter()
        .map(|effect| match effect {
            Effect::CallTool { tool, args, .. } if *tool == verify.tool => {
                let mut args = args.clone();
                if let Some(code) = args.get_mut(&verify.code) {
                    *code = Json::String("0".repeat(code.as_str().map_or(0, str::len)));
                }
                // The key is made of the code too.
                Effect::CallTool {
                    tool: tool.clone(),
                    args,
                    idempotency_key: String::new(),
                }
            }
            other => other.clone(),
        })
        .collect();
    (input, effects)
}

/// Computes a reply again.
///
/// # Errors
/// What differs.
pub fn replay(flow: &Flow, trace: &Trace) -> Result<(), Difference> {
    if flow.digest != trace.before.digest {
        return Err(Difference::Changed {
            flow: flow.name.clone(),
            was: trace.before.digest.clone(),
        });
    }
    let mut state = trace.before.clone();
    for (index, (input, was)) in trace.steps.iter().enumerate() {
        let (next, effects) = step(flow, state, trace.now, input);
        state = next;
        let (_, now) = storable(flow, input, &effects);
        if now != *was {
            return Err(Difference::Effects {
                index,
                was: was.clone(),
                now,
            });
        }
    }
    Ok(())
}
