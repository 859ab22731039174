//! Functions in prompts: as chat templates read them, and in words for templates that know none.

use super::{PLACEHOLDERS, is_placeholder};
use crate::inference::{ChatMessage, ChatRole, InferenceError, Tool, ToolCall};
use minijinja::ErrorKind;
use minijinja::value::{Kwargs, Serde, Value as Template};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};
use serde_json::{Map, Serializer, Value, json};
use std::io;

/// The functions in OpenAI's form, which templates expect.
pub(super) fn of_tools(tools: &[Tool], contents: &mut Vec<String>) -> Result<Template, InferenceError> {
    let list: Vec<Value> = tools.iter().map(described).collect();
    shielded(Value::Array(list), contents).map(|value| Template::from(Serde(value)))
}

/// The calls of a message in OpenAI's form, but with arguments as an object, which templates expect.
pub(super) fn of_calls(calls: &[ToolCall], contents: &mut Vec<String>) -> Result<Template, InferenceError> {
    let list = calls.iter().map(|call| json!({"type": "function", "function": call}));
    shielded(Value::Array(list.collect()), contents).map(|value| Template::from(Serde(value)))
}

fn described(tool: &Tool) -> Value {
    let mut function = json!({"name": tool.name});
    if let Some(description) = &tool.description {
        function["description"] = Value::from(description.as_str());
    }
    function["parameters"] = tool.parameters.clone();
    json!({"type": "function", "function": function})
}

/// `value` with a placeholder for every text in it that could be read as a control token. What stands for the
/// placeholder is escaped as within JSON, since templates write these values as JSON.
fn shielded(value: Value, contents: &mut Vec<String>) -> Result<Value, InferenceError> {
    Ok(match value {
        Value::String(text) => Value::String(shield(text, contents)?),
        Value::Array(values) => {
            let values = values.into_iter().map(|value| shielded(value, contents));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let fields = fields
                .into_iter()
                .map(|(name, value)| Ok((shield(name, contents)?, shielded(value, contents)?)));
            Value::Object(fields.collect::<Result<Map<_, _>, InferenceError>>()?)
        }
        other => other,
    })
}

fn shield(text: String, contents: &mut Vec<String>) -> Result<String, InferenceError> {
    // No control token is made of these alone.
    if text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || " _-.,:;?!()/".contains(c))
    {
        return Ok(text);
    }
    let character = PLACEHOLDERS
        .clone()
        .nth(contents.len())
        .ok_or_else(|| InferenceError::BadParameter {
            name: "tools",
            detail: "there are too many texts in them".to_owned(),
        })?;
    let quoted = Value::String(text.replace(is_placeholder, "")).to_string();
    contents.push(quoted[1..quoted.len() - 1].to_owned());
    Ok(character.to_string())
}

/// The filter `tojson` as Hugging Face's `apply_chat_template` has it: Python's `json.dumps` with `ensure_ascii=False`,
/// not the filter of Jinja, which escapes for HTML.
#[allow(clippy::needless_pass_by_value, reason = "the form that filters have")]
pub(super) fn tojson(value: Template, options: Kwargs) -> Result<String, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    let mut out = Vec::new();
    let written = match indent {
        Some(indent) => {
            let blanks = " ".repeat(indent.min(16));
            value.serialize(&mut Serializer::with_formatter(
                &mut out,
                PrettyFormatter::with_indent(blanks.as_bytes()),
            ))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut out, Python)),
    };
    written.map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    String::from_utf8(out).map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))
}

/// One blank after each comma and colon.
struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// The same chat for a template that knows no functions: they join the instructions, calls and results the text, in the
/// words of Hermes 2 Pro, which most models with functions were trained on.
/// Source: the chat template of Qwen2.5.
pub(super) fn in_words(messages: &[ChatMessage], tools: &[Tool]) -> Vec<ChatMessage> {
    let mut spoken: Vec<ChatMessage> = messages.iter().map(spell).collect();
    if let Some(first) = spoken.first_mut().filter(|_| !tools.is_empty()) {
        first.content.push_str(
            "\n\n# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with \
             function signatures within <tools></tools> XML tags:\n<tools>",
        );
        for tool in tools {
            first.content.push('\n');
            first.content.push_str(&dumps(&described(tool)));
        }
        first.content.push_str(
            "\n</tools>\n\nFor each function call, return a json object with function name and arguments within \
             <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": \
             <args-json-object>}\n</tool_call>",
        );
    }
    spoken
}

fn spell(message: &ChatMessage) -> ChatMessage {
    if message.role == ChatRole::Tool {
        let content = format!("<tool_response>\n{}\n</tool_response>", message.content);
        return ChatMessage::new(ChatRole::User, content);
    }
    let mut parts = Vec::new();
    if !message.content.is_empty() {
        parts.push(message.content.clone());
    }
    for call in &message.tool_calls {
        parts.push(format!("<tool_call>\n{}\n</tool_call>", dumps(&json!(call))));
    }
    ChatMessage::new(message.role, parts.join("\n"))
}

fn dumps(value: &Value) -> String {
    let mut out = Vec::new();
    // Neither a value nor a vector can fail to be written.
    let _ = value.serialize(&mut Serializer::with_formatter(&mut out, Python));
    String::from_utf8(out).unwrap_or_default()
}
