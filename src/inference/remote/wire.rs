//! The OpenAI protocol as vLLM and llama.cpp's server speak it: requests out, chunks of a stream in.

use crate::inference::{
    ChatRole, Constraint, FinishReason, GenerateRequest, InferenceError, Prompt, TokenLogprob, Usage,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// When to try again where the server does not say.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Characters of a server's message that are kept: enough for its reason, too few to fill a log.
const MESSAGE_CHARS: usize = 300;

/// The route of a request and its body.
pub(super) fn body(request: &GenerateRequest, model: &str, context_tokens: usize) -> (&'static str, Value) {
    let sampling = &request.sampling;
    let mut body = json!({
        "model": model,
        "stream": true,
        "stream_options": {"include_usage": true},
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    });
    let fields = body.as_object_mut().expect("an object was written above");
    // Who asks for the whole context means as much as there is room for: that is what a server does without the field.
    if request.max_tokens < context_tokens {
        fields.insert("max_tokens".to_owned(), request.max_tokens.into());
    }
    if !request.stop.is_empty() {
        fields.insert("stop".to_owned(), json!(request.stop));
    }
    // Not all servers know all of these: what changes nothing is left out.
    let mut number = |name: &str, value: f32, neutral: f32| {
        if (value - neutral).abs() > f32::EPSILON {
            fields.insert(name.to_owned(), value.into());
        }
    };
    number("presence_penalty", sampling.presence_penalty, 0.0);
    number("frequency_penalty", sampling.frequency_penalty, 0.0);
    number("min_p", sampling.min_p, 0.0);
    // vLLM's name and llama.cpp's.
    number("repetition_penalty", sampling.repetition_penalty, 1.0);
    number("repeat_penalty", sampling.repetition_penalty, 1.0);
    if sampling.top_k > 0 {
        fields.insert("top_k".to_owned(), sampling.top_k.into());
    }
    if sampling.temperature > 0.0 {
        // llama.cpp takes 32 bits.
        fields.insert("seed".to_owned(), (sampling.seed & u64::from(u32::MAX)).into());
    }
    // Both servers take OpenAI's forms.
    match &request.constraint {
        Some(Constraint::JsonObject) => {
            fields.insert("response_format".to_owned(), json!({"type": "json_object"}));
        }
        Some(Constraint::JsonSchema(schema)) => {
            let schema = json!({"name": "answer", "schema": schema, "strict": true});
            let format = json!({"type": "json_schema", "json_schema": schema});
            fields.insert("response_format".to_owned(), format);
        }
        _ => {}
    }
    if let Some(visitor) = &request.visitor {
        fields.insert("user".to_owned(), visitor.as_str().into());
    }
    (prompt(request, fields), body)
}

/// What a request asks for that is not sent on: nothing of it may be overlooked.
pub(super) fn unsupported(request: &GenerateRequest) -> Option<&'static str> {
    let called = match &request.prompt {
        Prompt::Chat(messages) => messages
            .iter()
            .any(|message| message.role == ChatRole::Tool || !message.tool_calls.is_empty()),
        Prompt::Text(_) => false,
    };
    if called || !request.tools.is_empty() {
        return Some("functions, because it is another server's");
    }
    match request.constraint {
        None | Some(Constraint::JsonObject | Constraint::JsonSchema(_)) => None,
        Some(_) => Some("this form of answers, because it is another server's"),
    }
}

fn prompt(request: &GenerateRequest, fields: &mut Map<String, Value>) -> &'static str {
    match &request.prompt {
        Prompt::Chat(messages) => {
            let plain = messages
                .iter()
                .map(|message| json!({"role": message.role, "content": message.content}));
            fields.insert("messages".to_owned(), plain.collect());
            if let Some(top) = request.top_logprobs {
                fields.insert("logprobs".to_owned(), true.into());
                fields.insert("top_logprobs".to_owned(), top.into());
            }
            "/v1/chat/completions"
        }
        Prompt::Text(text) => {
            fields.insert("prompt".to_owned(), text.as_str().into());
            if let Some(top) = request.top_logprobs {
                fields.insert("logprobs".to_owned(), top.into());
            }
            "/v1/completions"
        }
    }
}

/// A chunk of a stream: of a chat, or of plain text.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Chunk {
    #[serde(default)]
    pub(super) choices: Vec<Choice>,
    #[serde(default)]
    pub(super) usage: Option<WireUsage>,
    #[serde(default)]
    pub(super) error: Option<Value>,
}

/// What is new in the one answer that was asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    logprobs: Option<Logprobs>,
    #[serde(default)]
    pub(super) finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Logprobs {
    content: Option<Vec<ChatLogprob>>,
    tokens: Vec<String>,
    token_logprobs: Vec<Option<f32>>,
    top_logprobs: Option<Vec<Option<Map<String, Value>>>>,
}

#[derive(Debug, Deserialize)]
struct ChatLogprob {
    token: String,
    logprob: f32,
    #[serde(default)]
    bytes: Option<Vec<u8>>,
    #[serde(default)]
    top_logprobs: Vec<ChatLogprob>,
}

/// Tokens that were read and written.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireUsage {
    prompt_tokens: usize,
    completion_tokens: usize,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Option<usize>,
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        let cached = usage.prompt_tokens_details.and_then(|details| details.cached_tokens);
        Self {
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: cached.unwrap_or(0).min(usage.prompt_tokens),
            completion_tokens: usage.completion_tokens,
        }
    }
}

impl Choice {
    /// The new text and its log-probabilities.
    pub(super) fn take(&mut self) -> (String, Vec<TokenLogprob>) {
        let text = self.delta.take().and_then(|delta| delta.content).or(self.text.take());
        let logprobs = self.logprobs.take().map(token_logprobs);
        (text.unwrap_or_default(), logprobs.unwrap_or_default())
    }
}

fn token_logprobs(logprobs: Logprobs) -> Vec<TokenLogprob> {
    if let Some(content) = logprobs.content {
        let alternative = |of: ChatLogprob| {
            (
                of.bytes.unwrap_or_else(|| of.token.clone().into_bytes()),
                of.token,
                of.logprob,
            )
        };
        return content
            .into_iter()
            .map(|mut one| {
                let top = std::mem::take(&mut one.top_logprobs).into_iter().map(alternative);
                let top = top.map(|(bytes, text, logprob)| (text, bytes, logprob)).collect();
                let (bytes, text, logprob) = alternative(one);
                TokenLogprob {
                    text,
                    bytes,
                    logprob,
                    top,
                }
            })
            .collect();
    }
    let mut tops = logprobs.top_logprobs.unwrap_or_default().into_iter();
    let with_numbers = logprobs.tokens.into_iter().zip(logprobs.token_logprobs);
    with_numbers
        .map(|(text, logprob)| {
            let mut top: Vec<(String, Vec<u8>, f32)> = tops
                .next()
                .flatten()
                .unwrap_or_default()
                .into_iter()
                .filter_map(|(text, number)| Some((text.clone(), text.into_bytes(), number.as_f64()? as f32)))
                .collect();
            top.sort_by(|a, b| b.2.total_cmp(&a.2));
            TokenLogprob {
                bytes: text.clone().into_bytes(),
                text,
                logprob: logprob.unwrap_or(f32::NEG_INFINITY),
                top,
            }
        })
        .collect()
}

/// Why an answer ended, by the server's word.
pub(super) fn finish_reason(word: &str) -> Result<FinishReason, InferenceError> {
    match word {
        "length" => Ok(FinishReason::Length),
        "abort" | "error" => Err(remote("the model server gave the answer up".to_owned())),
        _ => Ok(FinishReason::Stop),
    }
}

/// An error without a time to retry.
pub(super) fn remote(detail: String) -> InferenceError {
    InferenceError::Remote {
        detail,
        retry_after: None,
    }
}

/// What a refusal of the server means. `body` is what it said, an OpenAI error object where it keeps to the protocol;
/// `limit` is the context by the settings.
pub(super) fn refusal(status: u16, retry_after: Option<Duration>, body: &[u8], limit: usize) -> InferenceError {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    refusal_of(status, retry_after, value.get("error").unwrap_or(&value), limit)
}

/// The same for an error object that came within a stream.
pub(super) fn refusal_in_stream(error: &Value, limit: usize) -> InferenceError {
    let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    refusal_of(status.unwrap_or(500), None, error, limit)
}

fn refusal_of(status: u16, retry_after: Option<Duration>, error: &Value, limit: usize) -> InferenceError {
    // vLLM's older servers put the message beside, newer ones and llama.cpp into the error object.
    let message: String = error["message"]
        .as_str()
        .or(error.as_str())
        .unwrap_or("")
        .chars()
        .filter(|c| !c.is_control())
        .take(MESSAGE_CHARS)
        .collect();
    let said = if message.is_empty() {
        String::new()
    } else {
        format!(": {message}")
    };
    match status {
        429 | 503 => InferenceError::Overloaded {
            queued: 0,
            retry_after: retry_after.unwrap_or(RETRY_AFTER),
        },
        400 | 413 | 422 => too_long(error, &message, limit)
            .unwrap_or_else(|| remote(format!("the model server refuses the request (status {status}){said}"))),
        401 | 403 => remote(format!(
            "the model server refuses the key (status {status}): check api_key_env or api_key_file in [inference.server]"
        )),
        404 => remote(format!(
            "the model server knows no such model or route (status 404): check url and model in [inference.server]{said}"
        )),
        _ => remote(format!(
            "the model server failed (status {status}): look into its log{said}"
        )),
    }
}

/// Whether the server says that the prompt is too long, with the numbers where it gives them.
fn too_long(error: &Value, message: &str, limit: usize) -> Option<InferenceError> {
    let is = |word: &Value, name: &str| word.as_str() == Some(name);
    let known = is(&error["code"], "context_length_exceeded")
        || is(&error["type"], "exceed_context_size_error")
        || message.contains("maximum context length")
        || message.contains("maximum model length")
        || message.contains("exceeds the available context");
    if !known {
        return None;
    }
    let number = |name: &str| error[name].as_u64().map(|number| number as usize);
    // vLLM: "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (...)".
    let mut numbers = message
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse::<usize>().ok());
    let limit = number("n_ctx").or_else(|| numbers.next()).unwrap_or(limit);
    let tokens = number("n_prompt_tokens").or_else(|| numbers.next());
    Some(InferenceError::TooLong {
        tokens: tokens.unwrap_or(limit + 1).max(limit + 1),
        limit,
    })
}

#[cfg(test)]
mod tests {
    use super::{Chunk, body, refusal, unsupported};
    use crate::inference::{ChatMessage, ChatRole, Constraint, GenerateRequest, InferenceError, Prompt, Sampling};
    use serde_json::json;
    use std::time::Duration;

    fn request() -> GenerateRequest {
        GenerateRequest::chat(vec![ChatMessage::new(ChatRole::User, "问")], 32)
    }

    #[test]
    fn only_what_changes_something_is_sent() {
        let (path, greedy) = body(&request(), "m", 4096);
        assert_eq!(path, "/v1/chat/completions");
        let expected = json!({
            "model": "m", "stream": true, "stream_options": {"include_usage": true}, "temperature": 0.0, "top_p": 1.0,
            "max_tokens": 32, "messages": [{"role": "user", "content": "问"}],
        });
        assert_eq!(greedy, expected);
        let full = GenerateRequest {
            prompt: Prompt::Text("a".to_owned()),
            sampling: Sampling {
                temperature: 0.5,
                top_p: 0.5,
                top_k: 40,
                min_p: 0.25,
                repetition_penalty: 1.5,
                presence_penalty: -1.0,
                frequency_penalty: 0.5,
                seed: (1 << 40) + 7,
            },
            max_tokens: 4096,
            stop: vec!["\n".to_owned()],
            top_logprobs: Some(3),
            visitor: Some("v".to_owned()),
            constraint: Some(Constraint::JsonSchema(json!({"type": "object"}))),
            ..request()
        };
        assert_eq!(unsupported(&full), None);
        let (path, full) = body(&full, "m", 4096);
        assert_eq!(path, "/v1/completions");
        let expected = json!({
            "model": "m", "stream": true, "stream_options": {"include_usage": true}, "temperature": 0.5, "top_p": 0.5,
            "stop": ["\n"], "presence_penalty": -1.0, "frequency_penalty": 0.5, "min_p": 0.25, "repetition_penalty": 1.5,
            "repeat_penalty": 1.5, "top_k": 40, "seed": 7, "prompt": "a", "logprobs": 3, "user": "v",
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": true},
            },
        });
        assert_eq!(full, expected);
    }

    #[test]
    fn what_is_not_sent_on_is_refused() {
        let regex = GenerateRequest {
            constraint: Some(Constraint::Regex("a+".to_owned())),
            ..request()
        };
        let result = GenerateRequest::chat(vec![ChatMessage::new(ChatRole::Tool, "12")], 8);
        for request in [regex, result] {
            assert!(unsupported(&request).is_some(), "{request:?}");
        }
        assert_eq!(unsupported(&request()), None);
    }

    #[test]
    fn both_forms_of_logprobs_are_read() {
        let chat = r#"{"choices":[{"delta":{"content":"是"},"logprobs":{"content":[{"token":"是","bytes":[230,152,175],
            "logprob":-0.5,"top_logprobs":[{"token":"是","logprob":-0.5},{"token":"不","logprob":-1.5}]}]}}]}"#;
        let mut chunk: Chunk = serde_json::from_str(chat).unwrap();
        let (text, logprobs) = chunk.choices[0].take();
        assert_eq!((text.as_str(), logprobs.len(), logprobs[0].logprob), ("是", 1, -0.5));
        assert_eq!(logprobs[0].top[1], ("不".to_owned(), "不".as_bytes().to_vec(), -1.5));
        let plain = r#"{"choices":[{"text":"b","logprobs":{"tokens":["b"],"token_logprobs":[-0.25],
            "top_logprobs":[{"a":-2.0,"b":-0.25}]}}]}"#;
        let mut chunk: Chunk = serde_json::from_str(plain).unwrap();
        let (text, logprobs) = chunk.choices[0].take();
        assert_eq!((text.as_str(), logprobs[0].logprob), ("b", -0.25));
        assert_eq!(logprobs[0].top[0].0, "b");
    }

    #[test]
    fn refusals_become_the_right_errors() {
        let wait = Some(Duration::from_secs(9));
        assert!(matches!(
            refusal(429, wait, b"", 10),
            InferenceError::Overloaded { retry_after, .. } if Some(retry_after) == wait
        ));
        let vllm = br#"{"error":{"message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."}}"#;
        assert!(matches!(
            refusal(400, None, vllm, 10),
            InferenceError::TooLong {
                tokens: 5000,
                limit: 4096
            }
        ));
        let llama =
            br#"{"error":{"type":"exceed_context_size_error","message":"x","n_prompt_tokens":900,"n_ctx":512}}"#;
        assert!(matches!(
            refusal(400, None, llama, 10),
            InferenceError::TooLong {
                tokens: 900,
                limit: 512
            }
        ));
        for (status, word) in [
            (401, "api_key_env"),
            (404, "model in [inference.server]"),
            (500, "log"),
            (400, "no \"x\""),
        ] {
            let error = refusal(status, None, br#"{"error":{"message":"no \"x\"\u0000"}}"#, 10);
            assert!(matches!(error, InferenceError::Remote { .. }));
            assert!(error.to_string().contains(word), "{status}: {error}");
        }
        assert!(refusal(502, None, b"<html>", 10).to_string().contains("502"));
    }
}
