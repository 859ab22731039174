//! Functions in a chat request, and calls of them in an answer.

use super::fields::Fields;
use super::unsupported;
use crate::http::error::ApiError;
use crate::inference::Tool;
use crate::inference::constraint::MAX_CALLS;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

/// Functions in one request, as many as OpenAI takes.
const MAX_TOOLS: usize = 128;

/// Characters of a function's or a schema's name, as OpenAI has them.
const MAX_NAME_CHARS: usize = 64;

/// A call in an answer or a history.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ToolCall)]
pub(in crate::http) struct ToolCallBody {
    pub(super) id: String,
    pub(super) r#type: &'static str,
    pub(super) function: FunctionCallBody,
}

/// What is called.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = FunctionCall)]
pub(in crate::http) struct FunctionCallBody {
    pub(super) name: String,
    /// A JSON object. Check it before use: only a model that must call keeps to the schema.
    pub(super) arguments: String,
}

impl ToolCallBody {
    pub(super) fn new(name: String, arguments: String) -> Self {
        Self {
            id: format!("call_{}", Uuid::now_v7().simple()),
            r#type: "function",
            function: FunctionCallBody { name, arguments },
        }
    }
}

/// Whether the model may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum ToolChoice {
    /// There are no functions, or the model must not call.
    #[default]
    None,
    /// As it likes.
    Auto,
    /// It must.
    Required,
    /// It must call this one.
    Named(String),
}

/// The functions of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tools {
    /// The functions that the model is shown.
    pub(super) list: Vec<Tool>,
    pub(super) choice: ToolChoice,
    /// Calls in one answer at most.
    pub(super) most: usize,
}

/// Reads `tools`, `tool_choice` and `parallel_tool_calls`.
pub(super) fn read(fields: &mut Fields) -> Result<Tools, ApiError> {
    for param in ["functions", "function_call"] {
        if fields
            .take(param)
            .is_some_and(|value| value != json!([]) && value != json!("none"))
        {
            return Err(unsupported(
                param,
                format!("'{param}' is not supported; use 'tools' and 'tool_choice'"),
            ));
        }
    }
    let parallel = fields.boolean_or("parallel_tool_calls", true)?;
    let list = match fields.take("tools") {
        None => Vec::new(),
        Some(Value::Array(values)) => tools(values)?,
        Some(_) => return Err(ApiError::parameter("tools", "'tools' must be an array").with_code("invalid_type")),
    };
    let choice = choice(fields, &list)?;
    let list = match &choice {
        ToolChoice::None => Vec::new(),
        ToolChoice::Named(name) => list.into_iter().filter(|tool| tool.name == *name).collect(),
        ToolChoice::Auto | ToolChoice::Required => list,
    };
    let one = !parallel || matches!(choice, ToolChoice::Named(_));
    Ok(Tools {
        list,
        choice,
        most: if one { 1 } else { MAX_CALLS },
    })
}

fn tools(values: Vec<Value>) -> Result<Vec<Tool>, ApiError> {
    if values.len() > MAX_TOOLS {
        return Err(ApiError::parameter(
            "tools",
            format!("'tools' may hold at most {MAX_TOOLS} functions"),
        ));
    }
    let mut list: Vec<Tool> = Vec::with_capacity(values.len());
    for (at, value) in values.into_iter().enumerate() {
        let tool = tool(at, value)?;
        if list.iter().any(|other| other.name == tool.name) {
            let message = format!("two functions have the name '{}'", tool.name);
            return Err(ApiError::parameter(format!("tools[{at}].function.name"), message));
        }
        list.push(tool);
    }
    Ok(list)
}

fn tool(at: usize, value: Value) -> Result<Tool, ApiError> {
    let param = |name: &str| format!("tools[{at}]{name}");
    let within = |error: ApiError| error.with_param(param(".function"));
    let mut fields = Fields::of(&param(""), value)?;
    if fields
        .string("type")
        .map_err(|error| error.with_param(param(".type")))?
        .as_deref()
        != Some("function")
    {
        return Err(unsupported(
            &param(".type"),
            "only tools of type 'function' are supported",
        ));
    }
    let function = fields
        .need("function")
        .map_err(|error| error.with_param(param(".function")))?;
    fields.finish().map_err(|error| error.with_param(param("")))?;
    let mut function = Fields::of(&param(".function"), function)?;
    let name = name(&mut function, &param(".function.name"))?;
    let description = function.string("description").map_err(within)?;
    let strict = function.boolean("strict").map_err(within)?;
    let parameters = function
        .take("parameters")
        .unwrap_or_else(|| json!({"type": "object", "properties": {}}));
    if !parameters.is_object() {
        return Err(ApiError::parameter(
            param(".function.parameters"),
            "'parameters' must be a JSON schema of type object",
        ));
    }
    function.finish().map_err(within)?;
    Ok(Tool {
        name,
        description,
        parameters,
        strict,
    })
}

/// A name as OpenAI takes it.
pub(super) fn name(fields: &mut Fields, param: &str) -> Result<String, ApiError> {
    let name = fields.string("name").map_err(|error| error.with_param(param))?;
    let sound = |name: &String| {
        (1..=MAX_NAME_CHARS).contains(&name.len())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    name.filter(sound).ok_or_else(|| {
        let message = format!("a name must have 1 to {MAX_NAME_CHARS} letters, digits, '_' and '-'");
        ApiError::parameter(param, message)
    })
}

fn choice(fields: &mut Fields, list: &[Tool]) -> Result<ToolChoice, ApiError> {
    let wrong = |message: String| Err(ApiError::parameter("tool_choice", message));
    let choice = match fields.take("tool_choice") {
        None if list.is_empty() => ToolChoice::None,
        None => ToolChoice::Auto,
        Some(Value::String(word)) => match word.as_str() {
            "none" => ToolChoice::None,
            "auto" if list.is_empty() => ToolChoice::None,
            "auto" => ToolChoice::Auto,
            "required" => ToolChoice::Required,
            _ => return wrong("'tool_choice' must be 'none', 'auto', 'required' or name a function".to_owned()),
        },
        Some(value) => match (value["type"].as_str(), value["function"]["name"].as_str()) {
            (Some("function"), Some(name)) if list.iter().any(|tool| tool.name == name) => {
                ToolChoice::Named(name.to_owned())
            }
            (Some("function"), Some(name)) => {
                return wrong(format!("'tool_choice' names '{name}', which is not among 'tools'"));
            }
            _ => {
                return wrong(
                    "'tool_choice' must be a word or {\"type\": \"function\", \"function\": {\"name\": ...}}"
                        .to_owned(),
                );
            }
        },
    };
    if list.is_empty() && choice != ToolChoice::None {
        return wrong("'tool_choice' needs 'tools'".to_owned());
    }
    Ok(choice)
}

#[cfg(test)]
mod tests {
    use super::{ToolChoice, read};
    use crate::inference::constraint::MAX_CALLS;
    use serde_json::{Value, json};

    fn function(name: &str) -> Value {
        json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}})
    }

    #[test]
    fn the_choice_decides_what_the_model_is_shown() {
        let shown = |extra: Value| {
            let mut body = json!({"tools": [function("a"), function("b")]});
            for (name, value) in extra.as_object().unwrap() {
                body[name] = value.clone();
            }
            let tools = read(&mut serde_json::from_value(body).unwrap()).unwrap();
            let names: Vec<String> = tools.list.into_iter().map(|tool| tool.name).collect();
            (names.join(" "), tools.choice, tools.most)
        };
        assert_eq!(shown(json!({})), ("a b".to_owned(), ToolChoice::Auto, MAX_CALLS));
        assert_eq!(
            shown(json!({"tool_choice": "none"})),
            (String::new(), ToolChoice::None, MAX_CALLS)
        );
        assert_eq!(
            shown(json!({"tool_choice": "required", "parallel_tool_calls": false})),
            ("a b".to_owned(), ToolChoice::Required, 1)
        );
        assert_eq!(
            shown(json!({"tool_choice": {"type": "function", "function": {"name": "b"}}})),
            ("b".to_owned(), ToolChoice::Named("b".to_owned()), 1)
        );
    }

    #[test]
    fn wrong_functions_are_named() {
        for (body, param) in [
            (json!({"tools": {}}), "tools"),
            (json!({"tools": [{"type": "retrieval"}]}), "tools[0].type"),
            (json!({"tools": [{"type": "function"}]}), "tools[0].function"),
            (json!({"tools": [function("a b")]}), "tools[0].function.name"),
            (
                json!({"tools": [function("a"), function("a")]}),
                "tools[1].function.name",
            ),
            (json!({"tools": [function("a")], "tool_choice": "any"}), "tool_choice"),
            (json!({"tool_choice": "required"}), "tool_choice"),
            (
                json!({"tools": [function("a")], "tool_choice": {"type": "function", "function": {"name": "b"}}}),
                "tool_choice",
            ),
            (json!({"functions": [{}]}), "functions"),
        ] {
            let error = read(&mut serde_json::from_value(body).unwrap()).unwrap_err();
            assert_eq!(
                (error.status().as_u16(), error.openai().param.as_deref()),
                (400, Some(param))
            );
        }
    }
}
