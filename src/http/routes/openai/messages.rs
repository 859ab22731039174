//! The messages of a chat request.

use super::fields::Fields;
use super::unsupported;
use crate::http::error::ApiError;
use crate::inference::{ChatMessage, ChatRole, ToolCall};
use serde_json::Value;
use std::collections::HashSet;

/// Reads `messages`.
pub(super) fn read(fields: &mut Fields) -> Result<Vec<ChatMessage>, ApiError> {
    let values = fields.array("messages")?;
    if values.is_empty() {
        return Err(ApiError::parameter(
            "messages",
            "'messages' must hold at least one message",
        ));
    }
    let mut asked = HashSet::new();
    values
        .into_iter()
        .enumerate()
        .map(|(at, value)| message(at, value, &mut asked))
        .collect()
}

/// Reads a message. `asked` holds the ids of the calls before it.
fn message(at: usize, value: Value, asked: &mut HashSet<String>) -> Result<ChatMessage, ApiError> {
    let param = |name: &str| format!("messages[{at}].{name}");
    let mut fields = Fields::of(&format!("messages[{at}]"), value)?;
    let role = role(&mut fields).map_err(|error| error.with_param(param("role")))?;
    let tool_calls = match fields.take("tool_calls") {
        Some(value) if role == ChatRole::Assistant => calls(&param("tool_calls"), value, asked)?,
        Some(Value::Array(list)) if list.is_empty() => Vec::new(),
        Some(_) => {
            let message = "only a message of the assistant has 'tool_calls'";
            return Err(ApiError::parameter(param("tool_calls"), message));
        }
        None => Vec::new(),
    };
    if role == ChatRole::Tool {
        let id = fields
            .string("tool_call_id")
            .map_err(|error| error.with_param(param("tool_call_id")))?;
        if !id.is_some_and(|id| asked.contains(&id)) {
            let message =
                "'tool_call_id' must name a call in the 'tool_calls' of an assistant's message before this one";
            return Err(ApiError::parameter(param("tool_call_id"), message));
        }
    }
    let content = match fields.take("content") {
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => parts
            .into_iter()
            .map(|part| {
                text_of(part).ok_or_else(|| unsupported(&param("content"), "only parts of type 'text' are read"))
            })
            .collect::<Result<Vec<_>, _>>()?
            .join("\n"),
        None if !tool_calls.is_empty() => String::new(),
        _ => {
            let message = "the content of a message must be a string or an array of parts";
            return Err(ApiError::parameter(param("content"), message).with_code("invalid_type"));
        }
    };
    for name in ["function_call", "audio"] {
        if fields.take(name).is_some() {
            return Err(unsupported(&param(name), format!("'{name}' is not supported")));
        }
    }
    // What this server added to its own answers comes back when a client sends them as history.
    fields.ignore(&["name", "refusal", "annotations", "citations"]);
    fields
        .finish()
        .map_err(|error| error.with_param(format!("messages[{at}]")))?;
    Ok(ChatMessage {
        tool_calls,
        ..ChatMessage::new(role, content)
    })
}

fn role(fields: &mut Fields) -> Result<ChatRole, ApiError> {
    match fields.string("role")?.as_deref() {
        Some("system" | "developer") => Ok(ChatRole::System),
        Some("user") => Ok(ChatRole::User),
        Some("assistant") => Ok(ChatRole::Assistant),
        Some("tool") => Ok(ChatRole::Tool),
        Some("function") => Err(unsupported("role", "the role 'function' is not supported; use 'tool'")),
        _ => {
            let message = "the role of a message must be 'system', 'developer', 'user', 'assistant' or 'tool'";
            Err(ApiError::parameter("role", message).with_code("invalid_value"))
        }
    }
}

/// The calls of an assistant's message; their ids join `asked`.
fn calls(param: &str, value: Value, asked: &mut HashSet<String>) -> Result<Vec<ToolCall>, ApiError> {
    let Value::Array(values) = value else {
        return Err(ApiError::parameter(param, format!("'{param}' must be an array")).with_code("invalid_type"));
    };
    let wrong = |at: usize| {
        let message = "a call must be {\"id\": ..., \"type\": \"function\", \"function\": {\"name\": ..., \"arguments\": a \
                       JSON object in a string}}";
        ApiError::parameter(format!("{param}[{at}]"), message)
    };
    let read = |(at, value): (usize, Value)| {
        let id = value["id"].as_str().ok_or_else(|| wrong(at))?.to_owned();
        let function = &value["function"];
        let name = function["name"].as_str().ok_or_else(|| wrong(at))?.to_owned();
        let text = function["arguments"].as_str().ok_or_else(|| wrong(at))?;
        // A function without arguments is often called with nothing.
        let arguments = serde_json::from_str(if text.trim().is_empty() { "{}" } else { text });
        let arguments: Value = arguments.ok().filter(Value::is_object).ok_or_else(|| wrong(at))?;
        asked.insert(id);
        Ok(ToolCall { name, arguments })
    };
    values.into_iter().enumerate().map(read).collect()
}

fn text_of(part: Value) -> Option<String> {
    let Value::Object(mut part) = part else { return None };
    match (part.shift_remove("type"), part.shift_remove("text")) {
        (Some(Value::String(kind)), Some(Value::String(text))) if kind == "text" => Some(text),
        _ => None,
    }
}
