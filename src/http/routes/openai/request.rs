//! A chat request, read and checked.

use super::fields::Fields;
use super::unsupported;
use crate::http::error::ApiError;
use crate::inference::{ChatMessage, ChatRole};
use serde_json::Value;
use utoipa::ToSchema;

/// The most tokens that any model here could be asked for; the model's own context is checked when it is known.
const MAX_TOKENS: i64 = 1_000_000;

/// More tokens than any vocabulary here has.
const MAX_TOP_K: i64 = 1_000_000;

/// Stop texts, as many as OpenAI takes.
const MAX_STOPS: usize = 4;

/// Characters of a stop text: the engine holds back as much text.
const MAX_STOP_CHARS: usize = 256;

/// Alternatives to each token, as many as OpenAI reports.
const MAX_TOP_LOGPROBS: i64 = 20;

/// Fields that concern OpenAI's service alone: they change nothing about an answer there either.
const WITHOUT_MEANING: [&str; 8] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "parallel_tool_calls",
];

/// A chat request.
#[derive(Debug, ToSchema)]
pub(in crate::http) struct ChatRequest {
    /// `kefu` for the knowledge base, or a name of `GET /v1/models`.
    #[schema(example = "kefu")]
    pub(super) model: String,
    /// What was said, oldest first. For `kefu` the last one is the question and must be the user's.
    #[schema(value_type = Vec<MessageIn>)]
    pub(super) messages: Vec<ChatMessage>,
    /// 0 to 2; 1 where it is left out. `kefu` takes it and answers the same way always.
    pub(super) temperature: Option<f32>,
    /// 0 to 1.
    pub(super) top_p: Option<f32>,
    /// 0 keeps all.
    pub(super) top_k: Option<usize>,
    /// 0 to 1.
    pub(super) min_p: Option<f32>,
    /// The same seed gives the same answer.
    pub(super) seed: Option<i64>,
    /// A text or up to 4 that end the answer.
    pub(super) stop: Vec<String>,
    /// Tokens of the answer at most; `max_tokens` means the same.
    pub(super) max_completion_tokens: Option<usize>,
    /// -2 to 2.
    pub(super) presence_penalty: Option<f32>,
    /// -2 to 2.
    pub(super) frequency_penalty: Option<f32>,
    /// Whether to report log-probabilities.
    pub(super) logprobs: bool,
    /// Alternatives to report for each token, up to 20.
    pub(super) top_logprobs: Option<usize>,
    /// Whether to send the answer piece by piece.
    pub(super) stream: bool,
    /// More of the stream.
    pub(super) stream_options: StreamOptions,
}

/// More of the stream.
#[derive(Debug, Default, ToSchema)]
pub(in crate::http) struct StreamOptions {
    /// Whether the last chunk reports the cost.
    pub(super) include_usage: bool,
}

/// One message.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "describes what `message` reads, for the document")]
pub(in crate::http) struct MessageIn {
    /// `system`, `developer`, `user` or `assistant`.
    role: String,
    /// The text, or an array of parts of type `text`.
    content: String,
}

impl ChatRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// 400 that names the field.
    pub(super) fn read(mut fields: Fields) -> Result<Self, ApiError> {
        let model = model_name(&mut fields)?;
        let messages = messages(&mut fields)?;
        refuse_what_is_not_there(&mut fields)?;
        let stop = stops(&mut fields)?;
        let logprobs = fields.boolean("logprobs")?;
        let top_logprobs = fields.integer("top_logprobs", 0..=MAX_TOP_LOGPROBS)?;
        if top_logprobs.is_some() && !logprobs {
            return Err(ApiError::parameter(
                "top_logprobs",
                "'top_logprobs' needs 'logprobs' to be true",
            ));
        }
        let old_name = fields.integer("max_tokens", 1..=MAX_TOKENS)?;
        let max_tokens = fields.integer("max_completion_tokens", 1..=MAX_TOKENS)?.or(old_name);
        let stream = fields.boolean("stream")?;
        let request = Self {
            model,
            messages,
            temperature: fields.number("temperature", 0.0..=2.0)?,
            top_p: fields.number("top_p", 0.0..=1.0)?,
            top_k: fields.integer("top_k", 0..=MAX_TOP_K)?.map(size),
            min_p: fields.number("min_p", 0.0..=1.0)?,
            seed: fields.integer("seed", i64::MIN..=i64::MAX)?,
            stop,
            max_completion_tokens: max_tokens.map(size),
            presence_penalty: fields.number("presence_penalty", -2.0..=2.0)?,
            frequency_penalty: fields.number("frequency_penalty", -2.0..=2.0)?,
            logprobs,
            top_logprobs: top_logprobs.map(size),
            stream_options: stream_options(&mut fields, stream)?,
            stream,
        };
        fields.ignore(&WITHOUT_MEANING);
        fields.finish()?;
        Ok(request)
    }
}

/// A number whose range was checked.
fn size(number: i64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

pub(super) fn model_name(fields: &mut Fields) -> Result<String, ApiError> {
    match fields.need("model")? {
        Value::String(name) => Ok(name),
        _ => Err(ApiError::parameter("model", "'model' must be a string").with_code("invalid_type")),
    }
}

fn stops(fields: &mut Fields) -> Result<Vec<String>, ApiError> {
    let stop = fields.strings("stop")?;
    if stop.len() > MAX_STOPS {
        return Err(ApiError::parameter(
            "stop",
            format!("'stop' may hold at most {MAX_STOPS} texts"),
        ));
    }
    if stop
        .iter()
        .any(|text| text.is_empty() || text.chars().count() > MAX_STOP_CHARS)
    {
        let message = format!("each text of 'stop' must have 1 to {MAX_STOP_CHARS} characters");
        return Err(ApiError::parameter("stop", message));
    }
    Ok(stop)
}

fn stream_options(fields: &mut Fields, stream: bool) -> Result<StreamOptions, ApiError> {
    let Some(value) = fields.take("stream_options") else {
        return Ok(StreamOptions::default());
    };
    if !stream {
        return Err(ApiError::parameter(
            "stream_options",
            "'stream_options' needs 'stream' to be true",
        ));
    }
    let mut options = Fields::of("stream_options", value)?;
    let include_usage = options.boolean("include_usage")?;
    options.ignore(&["include_obfuscation"]);
    options.finish()?;
    Ok(StreamOptions { include_usage })
}

/// Fields that would change the answer and that no model here can follow: overlooking them would be a wrong answer.
fn refuse_what_is_not_there(fields: &mut Fields) -> Result<(), ApiError> {
    fields.integer("n", 1..=1)?;
    if let Some(format) = fields.take("response_format") {
        match Fields::of("response_format", format)?.string("type")?.as_deref() {
            Some("text") => {}
            Some("json_object" | "json_schema") => {
                return Err(unsupported(
                    "response_format",
                    "only the response format 'text' is supported",
                ));
            }
            _ => {
                return Err(ApiError::parameter(
                    "response_format",
                    "'response_format.type' must be 'text'",
                ));
            }
        }
    }
    for param in ["tools", "functions"] {
        if fields
            .take(param)
            .is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty()))
        {
            return Err(unsupported(param, "tools are not supported"));
        }
    }
    for param in ["tool_choice", "function_call"] {
        if fields
            .take(param)
            .is_some_and(|value| !matches!(value.as_str(), Some("none" | "auto")))
        {
            return Err(unsupported(param, "tools are not supported"));
        }
    }
    if fields
        .take("logit_bias")
        .is_some_and(|value| value.as_object().is_none_or(|bias| !bias.is_empty()))
    {
        return Err(unsupported("logit_bias", "'logit_bias' is not supported"));
    }
    if fields
        .take("modalities")
        .is_some_and(|value| value != serde_json::json!(["text"]))
    {
        return Err(unsupported("modalities", "only text is supported"));
    }
    Ok(())
}

fn messages(fields: &mut Fields) -> Result<Vec<ChatMessage>, ApiError> {
    let values = fields.array("messages")?;
    if values.is_empty() {
        return Err(ApiError::parameter(
            "messages",
            "'messages' must hold at least one message",
        ));
    }
    values
        .into_iter()
        .enumerate()
        .map(|(at, value)| message(at, value))
        .collect()
}

fn message(at: usize, value: Value) -> Result<ChatMessage, ApiError> {
    let param = |name: &str| format!("messages[{at}].{name}");
    let mut fields = Fields::of(&format!("messages[{at}]"), value)?;
    let role = match fields
        .string("role")
        .map_err(|error| error.with_param(param("role")))?
        .as_deref()
    {
        Some("system" | "developer") => ChatRole::System,
        Some("user") => ChatRole::User,
        Some("assistant") => ChatRole::Assistant,
        Some("tool" | "function") => return Err(unsupported(&param("role"), "tools are not supported")),
        _ => {
            let message = "the role of a message must be 'system', 'developer', 'user' or 'assistant'";
            return Err(ApiError::parameter(param("role"), message).with_code("invalid_value"));
        }
    };
    let content = match fields.take("content") {
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => parts
            .into_iter()
            .map(|part| {
                text_of(part).ok_or_else(|| unsupported(&param("content"), "only parts of type 'text' are read"))
            })
            .collect::<Result<Vec<_>, _>>()?
            .join("\n"),
        _ => {
            let message = "the content of a message must be a string or an array of parts";
            return Err(ApiError::parameter(param("content"), message).with_code("invalid_type"));
        }
    };
    if ["tool_calls", "function_call", "audio"]
        .iter()
        .any(|name| fields.take(name).is_some())
    {
        return Err(unsupported(&param("tool_calls"), "tools and audio are not supported"));
    }
    // What this server added to its own answers comes back when a client sends them as history.
    fields.ignore(&["name", "refusal", "annotations", "citations"]);
    fields
        .finish()
        .map_err(|error| error.with_param(format!("messages[{at}]")))?;
    Ok(ChatMessage { role, content })
}

fn text_of(part: Value) -> Option<String> {
    let Value::Object(mut part) = part else { return None };
    match (part.shift_remove("type"), part.shift_remove("text")) {
        (Some(Value::String(kind)), Some(Value::String(text))) if kind == "text" => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::ChatRequest;
    use crate::inference::ChatRole;
    use serde_json::{Value, json};

    fn read(extra: &Value) -> Result<ChatRequest, (String, String)> {
        let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
        for (name, value) in extra.as_object().unwrap() {
            body[name] = value.clone();
        }
        ChatRequest::read(serde_json::from_value(body).unwrap()).map_err(|error| {
            assert_eq!(error.status(), 400);
            let error = error.openai();
            (error.param.unwrap(), error.code.unwrap())
        })
    }

    #[test]
    fn what_openai_clients_send_is_read() {
        let request = read(&json!({
            "messages": [
                {"role": "developer", "content": "be brief"},
                {"role": "user", "name": "x", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            ],
            "stop": "x", "max_tokens": 5, "temperature": 0, "user": "u", "tools": [], "tool_choice": "auto", "n": 1,
            "response_format": {"type": "text"}, "stream": true, "stream_options": {"include_usage": true}, "seed": -1,
        }))
        .unwrap();
        assert_eq!(
            (request.messages[0].role, request.messages[1].content.as_str()),
            (ChatRole::System, "a\nb")
        );
        assert_eq!(
            (request.stop.len(), request.max_completion_tokens, request.temperature),
            (1, Some(5), Some(0.0))
        );
        assert!(request.stream_options.include_usage);
    }

    #[test]
    fn every_wrong_value_is_named() {
        for (extra, param, code) in [
            (json!({"temperature": 2.1}), "temperature", "invalid_value"),
            (json!({"temperature": "hot"}), "temperature", "invalid_type"),
            (json!({"top_k": 1.5}), "top_k", "invalid_type"),
            (
                json!({"max_tokens": 9_223_372_036_854_775_808_u64}),
                "max_tokens",
                "invalid_value",
            ),
            (json!({"n": 2}), "n", "invalid_value"),
            (json!({"best_of": 2}), "best_of", "unknown_parameter"),
            (json!({"model": null}), "model", "missing_required_parameter"),
            (json!({"messages": []}), "messages", "invalid_parameter"),
            (
                json!({"messages": [{"role": "root", "content": "x"}]}),
                "messages[0].role",
                "invalid_value",
            ),
            (
                json!({"messages": [{"role": "user"}]}),
                "messages[0].content",
                "invalid_type",
            ),
            (
                json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
                "messages[0].content",
                "unsupported_parameter",
            ),
            (json!({"tools": [{}]}), "tools", "unsupported_parameter"),
            (
                json!({"tool_choice": "required"}),
                "tool_choice",
                "unsupported_parameter",
            ),
            (
                json!({"response_format": {"type": "json_object"}}),
                "response_format",
                "unsupported_parameter",
            ),
            (json!({"logit_bias": {"5": 1}}), "logit_bias", "unsupported_parameter"),
            (json!({"stop": ["a", "b", "c", "d", "e"]}), "stop", "invalid_parameter"),
            (json!({"stop": ""}), "stop", "invalid_parameter"),
            (json!({"top_logprobs": 2}), "top_logprobs", "invalid_parameter"),
            (
                json!({"stream_options": {"include_usage": true}}),
                "stream_options",
                "invalid_parameter",
            ),
        ] {
            assert_eq!(
                read(&extra).unwrap_err(),
                (param.to_owned(), code.to_owned()),
                "{extra}"
            );
        }
    }
}
