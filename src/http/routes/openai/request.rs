//! A chat request, read and checked.

use super::fields::Fields;
use super::messages;
use super::tools::{self, Tools};
use super::unsupported;
use crate::http::error::ApiError;
use crate::inference::{ChatMessage, Constraint, Sampling};
use serde::Serialize;
use serde_json::{Value, json};
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
pub(super) const WITHOUT_MEANING: [&str; 6] = [
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
];

/// A chat request.
#[derive(Debug)]
pub(super) struct ChatRequest {
    pub(super) model: String,
    pub(super) messages: Vec<ChatMessage>,
    pub(super) max_completion_tokens: Option<usize>,
    pub(super) logprobs: bool,
    pub(super) top_logprobs: Option<usize>,
    pub(super) response_format: Option<Constraint>,
    pub(super) tools: Tools,
    pub(super) parameters: Parameters,
}

/// What chats and completions have in common.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Parameters {
    /// Whose request it is: where requests wait, those of one user do not hold up those of others.
    pub(super) user: Option<String>,
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
    /// -2 to 2.
    pub(super) presence_penalty: Option<f32>,
    /// -2 to 2.
    pub(super) frequency_penalty: Option<f32>,
    /// Whether to send the answer piece by piece.
    pub(super) stream: bool,
    /// More of the stream.
    pub(super) stream_options: StreamOptions,
}

/// More of the stream.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct StreamOptions {
    /// Whether the last chunk reports the cost.
    pub(super) include_usage: bool,
}

impl ChatRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// 400 that names the field.
    pub(super) fn read(mut fields: Fields) -> Result<Self, ApiError> {
        let model = model_name(&mut fields)?;
        let messages = messages::read(&mut fields)?;
        let tools = tools::read(&mut fields)?;
        let response_format = response_format(&mut fields)?;
        let logprobs = fields.boolean("logprobs")?;
        let top_logprobs = fields.integer("top_logprobs", 0..=MAX_TOP_LOGPROBS)?;
        if top_logprobs.is_some() && !logprobs {
            return Err(ApiError::parameter(
                "top_logprobs",
                "'top_logprobs' needs 'logprobs' to be true",
            ));
        }
        let old_name = max_tokens(&mut fields, "max_tokens")?;
        let request = Self {
            model,
            messages,
            max_completion_tokens: max_tokens(&mut fields, "max_completion_tokens")?.or(old_name),
            logprobs,
            top_logprobs: top_logprobs.map(size),
            response_format,
            tools,
            parameters: Parameters::read(&mut fields)?,
        };
        if fields.take("modalities").is_some_and(|value| value != json!(["text"])) {
            return Err(unsupported("modalities", "only text is supported"));
        }
        fields.ignore(&WITHOUT_MEANING);
        fields.finish()?;
        Ok(request)
    }
}

impl Parameters {
    /// Reads them.
    ///
    /// # Errors
    /// 400 that names the field.
    pub(super) fn read(fields: &mut Fields) -> Result<Self, ApiError> {
        fields.integer("n", 1..=1)?;
        if fields
            .take("logit_bias")
            .is_some_and(|value| value.as_object().is_none_or(|bias| !bias.is_empty()))
        {
            return Err(unsupported("logit_bias", "'logit_bias' is not supported"));
        }
        let stream = fields.boolean("stream")?;
        Ok(Self {
            temperature: fields.number("temperature", 0.0..=2.0)?,
            top_p: fields.number("top_p", 0.0..=1.0)?,
            top_k: fields.integer("top_k", 0..=MAX_TOP_K)?.map(size),
            min_p: fields.number("min_p", 0.0..=1.0)?,
            seed: fields.integer("seed", i64::MIN..=i64::MAX)?,
            stop: stops(fields)?,
            user: fields.string("user")?,
            presence_penalty: fields.number("presence_penalty", -2.0..=2.0)?,
            frequency_penalty: fields.number("frequency_penalty", -2.0..=2.0)?,
            stream_options: stream_options(fields, stream)?,
            stream,
        })
    }

    /// How tokens are chosen, with OpenAI's defaults.
    pub(super) fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature.unwrap_or(1.0),
            top_p: self.top_p.unwrap_or(1.0).max(f32::MIN_POSITIVE),
            top_k: self.top_k.unwrap_or(0),
            min_p: self.min_p.unwrap_or(0.0),
            repetition_penalty: 1.0,
            presence_penalty: self.presence_penalty.unwrap_or(0.0),
            frequency_penalty: self.frequency_penalty.unwrap_or(0.0),
            seed: self.seed.map_or_else(rand::random, i64::cast_unsigned),
        }
    }
}

/// A number whose range was checked.
pub(super) fn size(number: i64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

/// A number of tokens.
pub(super) fn max_tokens(fields: &mut Fields, param: &str) -> Result<Option<usize>, ApiError> {
    Ok(fields.integer(param, 1..=MAX_TOKENS)?.map(size))
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

/// Reads `response_format`.
fn response_format(fields: &mut Fields) -> Result<Option<Constraint>, ApiError> {
    let Some(value) = fields.take("response_format") else {
        return Ok(None);
    };
    let mut format = Fields::of("response_format", value)?;
    let within = |error: ApiError| error.with_param("response_format");
    let constraint = match format.string("type").map_err(within)?.as_deref() {
        Some("text") => None,
        Some("json_object") => Some(Constraint::JsonObject),
        Some("json_schema") => Some(json_schema(format.need("json_schema").map_err(within)?)?),
        _ => {
            let message = "'response_format.type' must be 'text', 'json_object' or 'json_schema'";
            return Err(ApiError::parameter("response_format", message));
        }
    };
    format.finish().map_err(within)?;
    Ok(constraint)
}

fn json_schema(value: Value) -> Result<Constraint, ApiError> {
    let param = "response_format.json_schema";
    let within = |error: ApiError| error.with_param(param);
    let mut fields = Fields::of(param, value)?;
    tools::name(&mut fields, "response_format.json_schema.name")?;
    fields.string("description").map_err(within)?;
    let strict = fields.boolean("strict").map_err(within)?;
    let schema = fields.take("schema").unwrap_or_else(|| json!({"type": "object"}));
    fields.finish().map_err(within)?;
    let Value::Object(mut schema) = schema else {
        return Err(ApiError::parameter(
            "response_format.json_schema.schema",
            "the schema must be a JSON object",
        ));
    };
    if strict {
        schema.shift_remove("x-guidance");
    } else {
        schema.insert("x-guidance".to_owned(), json!({"lenient": true}));
    }
    Ok(Constraint::JsonSchema(Value::Object(schema)))
}

#[cfg(test)]
mod tests {
    use super::ChatRequest;
    use crate::inference::{ChatRole, Constraint};
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
            (
                request.parameters.stop.len(),
                request.max_completion_tokens,
                request.parameters.temperature
            ),
            (1, Some(5), Some(0.0))
        );
        assert!(request.parameters.stream_options.include_usage);
    }

    #[test]
    fn formats_and_calls_are_read() {
        let schema = |strict: bool| {
            let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": strict}});
            read(&json!({"response_format": format})).unwrap().response_format
        };
        assert_eq!(schema(true), Some(Constraint::JsonSchema(json!({"type": "object"}))));
        let lenient = json!({"type": "object", "x-guidance": {"lenient": true}});
        assert_eq!(schema(false), Some(Constraint::JsonSchema(lenient)));
        let object = read(&json!({"response_format": {"type": "json_object"}})).unwrap();
        assert_eq!(object.response_format, Some(Constraint::JsonObject));

        let call = json!({"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}});
        let messages = read(&json!({"messages": [
            {"role": "assistant", "content": null, "tool_calls": [call]},
            {"role": "tool", "content": "done", "tool_call_id": "call_1"},
        ]}))
        .unwrap()
        .messages;
        assert_eq!(messages[0].tool_calls[0].arguments, json!({"a": 1}));
        assert_eq!(
            (messages[1].role, messages[1].content.as_str()),
            (ChatRole::Tool, "done")
        );
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
            (json!({"tools": [{}]}), "tools[0].type", "unsupported_parameter"),
            (json!({"tool_choice": "required"}), "tool_choice", "invalid_parameter"),
            (
                json!({"response_format": {"type": "xml"}}),
                "response_format",
                "invalid_parameter",
            ),
            (
                json!({"response_format": {"type": "json_schema"}}),
                "response_format",
                "missing_required_parameter",
            ),
            (
                json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}),
                "response_format.json_schema.name",
                "invalid_parameter",
            ),
            (
                json!({"messages": [{"role": "tool", "content": "x", "tool_call_id": "none"}]}),
                "messages[0].tool_call_id",
                "invalid_parameter",
            ),
            (
                json!({"messages": [{"role": "user", "content": "x", "tool_calls": [{}]}]}),
                "messages[0].tool_calls",
                "invalid_parameter",
            ),
            (
                json!({"messages": [{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "[]"}}]}]}),
                "messages[0].tool_calls[0]",
                "invalid_parameter",
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
