//! Answers in OpenAI's forms.

use super::tools::ToolCallBody;
use crate::http::wire::{Citation, UsageBody};
use crate::inference::{FinishReason, ModelInfo, TokenLogprob};
use axum::response::sse::Event;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// What all chunks of one answer have in common.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) model: String,
    pub(super) system_fingerprint: Option<String>,
    /// Whether chunks have the field `usage`.
    pub(super) include_usage: bool,
}

impl Head {
    /// The head of an answer of a language model.
    pub(super) fn new(model: &ModelInfo, created: jiff::Timestamp, include_usage: bool) -> Self {
        Self {
            system_fingerprint: model.sha256.get(..12).map(|short| format!("fp_{short}")),
            ..Self::named(&model.name, created, include_usage)
        }
    }

    /// The head of an answer under `name`.
    pub(super) fn named(name: &str, created: jiff::Timestamp, include_usage: bool) -> Self {
        Self {
            id: format!("chatcmpl-{}", Uuid::now_v7().simple()),
            created: created.as_second(),
            model: name.to_owned(),
            system_fingerprint: None,
            include_usage,
        }
    }

    pub(super) fn completion(self, choice: Choice, usage: UsageBody, kefu: Option<Kefu>) -> Completion {
        Completion {
            id: self.id,
            object: "chat.completion",
            created: self.created,
            model: self.model,
            system_fingerprint: self.system_fingerprint,
            choices: vec![choice],
            usage,
            kefu,
        }
    }

    /// A chunk that says something.
    pub(super) fn chunk(&self, choice: ChunkChoice, kefu: Option<Kefu>) -> Result<Event, axum::Error> {
        self.event(vec![choice], ChunkUsage::beside_words(self.include_usage), kefu)
    }

    /// The chunk after the last that says something, where it was asked for.
    pub(super) fn usage(&self, usage: UsageBody) -> Option<Result<Event, axum::Error>> {
        self.include_usage
            .then(|| self.event(Vec::new(), ChunkUsage::Cost(usage), None))
    }

    fn event(&self, choices: Vec<ChunkChoice>, usage: ChunkUsage, kefu: Option<Kefu>) -> Result<Event, axum::Error> {
        Event::default().json_data(Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            system_fingerprint: self.system_fingerprint.as_deref(),
            choices,
            usage,
            kefu,
        })
    }
}

/// The end of every stream that came to its end.
pub(super) fn end_of_stream() -> Event {
    Event::default().data("[DONE]")
}

/// A whole answer.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Completion {
    id: String,
    object: &'static str,
    created: i64,
    model: String,
    system_fingerprint: Option<String>,
    choices: Vec<Choice>,
    usage: UsageBody,
    /// How the knowledge base answered; for the model `kefu` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    kefu: Option<Kefu>,
}

/// The answer itself: there is one.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Choice {
    pub(super) index: u32,
    pub(super) message: MessageOut,
    pub(super) logprobs: Option<Logprobs>,
    pub(super) finish_reason: &'static str,
}

/// The message.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct MessageOut {
    pub(super) role: &'static str,
    /// Null where the model only calls functions.
    pub(super) content: Option<String>,
    pub(super) refusal: Option<String>,
    /// The functions that the model asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<ToolCallBody>,
    /// What the answer rests on; for the model `kefu` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) citations: Option<Vec<Citation>>,
}

/// How the knowledge base answered.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct Kefu {
    /// `faq`, `flow`, `passages`, `smalltalk`, `clarify`, `refuse` or `handoff`.
    pub(super) route: &'static str,
    /// How sure, 0 to 1.
    pub(super) confidence: f32,
    /// The knowledge base that was asked.
    pub(super) kb_version: u64,
    /// The language model that wrote it.
    pub(super) model: Option<String>,
}

#[derive(Debug, Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    system_fingerprint: Option<&'a str>,
    choices: Vec<ChunkChoice>,
    #[serde(skip_serializing_if = "ChunkUsage::is_left_out")]
    usage: ChunkUsage,
    #[serde(skip_serializing_if = "Option::is_none")]
    kefu: Option<Kefu>,
}

/// The field `usage` of a chunk, as `stream_options.include_usage` asks for it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum ChunkUsage {
    /// Not asked for.
    LeftOut,
    /// `null`: the last chunk has it.
    ToCome,
    /// What the answer cost.
    Cost(UsageBody),
}

impl ChunkUsage {
    /// What a chunk that says something has.
    pub(super) fn beside_words(asked: bool) -> Self {
        if asked { Self::ToCome } else { Self::LeftOut }
    }

    pub(super) fn is_left_out(&self) -> bool {
        matches!(self, Self::LeftOut)
    }
}

#[derive(Debug, Default, Serialize)]
pub(super) struct ChunkChoice {
    index: u32,
    delta: Delta,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
}

#[derive(Debug, Default, Serialize)]
struct Delta {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCallDelta>,
    #[serde(skip_serializing_if = "Option::is_none")]
    citations: Option<Vec<Citation>>,
}

/// A part of a call: the first has its id and name, the second its arguments.
#[derive(Debug, Default, Serialize)]
struct ToolCallDelta {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    function: FunctionDelta,
}

#[derive(Debug, Default, Serialize)]
struct FunctionDelta {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    arguments: String,
}

impl ChunkChoice {
    /// The first chunk: who speaks.
    pub(super) fn role() -> Self {
        let delta = Delta {
            role: Some("assistant"),
            content: Some(String::new()),
            ..Delta::default()
        };
        Self {
            delta,
            ..Self::default()
        }
    }

    /// The next words.
    pub(super) fn words(text: String, logprobs: Option<Logprobs>) -> Self {
        Self {
            delta: Delta {
                content: Some(text),
                ..Delta::default()
            },
            logprobs,
            ..Self::default()
        }
    }

    /// Call number `index`, in two parts.
    pub(super) fn call(index: usize, call: ToolCallBody) -> [Self; 2] {
        let head = ToolCallDelta {
            index,
            id: Some(call.id),
            r#type: Some(call.r#type),
            function: FunctionDelta {
                name: Some(call.function.name),
                arguments: String::new(),
            },
        };
        let arguments = ToolCallDelta {
            index,
            function: FunctionDelta {
                name: None,
                arguments: call.function.arguments,
            },
            ..ToolCallDelta::default()
        };
        [head, arguments].map(|part| Self {
            delta: Delta {
                tool_calls: vec![part],
                ..Delta::default()
            },
            ..Self::default()
        })
    }

    /// The last chunk.
    pub(super) fn finish(reason: &'static str, citations: Option<Vec<Citation>>) -> Self {
        Self {
            delta: Delta {
                citations,
                ..Delta::default()
            },
            finish_reason: Some(reason),
            ..Self::default()
        }
    }
}

/// Log-probabilities of an answer, or of a piece.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(in crate::http) struct Logprobs {
    pub(super) content: Vec<LogprobOut>,
    refusal: Option<String>,
}

/// One token.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct LogprobOut {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
    top_logprobs: Vec<TopLogprob>,
}

/// One alternative.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct TopLogprob {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

/// JSON has no infinity: a token that cannot be drawn is reported as OpenAI reports it.
pub(super) fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { -9999.0 }
}

impl From<Vec<TokenLogprob>> for Logprobs {
    fn from(tokens: Vec<TokenLogprob>) -> Self {
        let content = tokens.into_iter().map(|token| LogprobOut {
            token: token.text,
            logprob: finite(token.logprob),
            bytes: token.bytes,
            top_logprobs: token
                .top
                .into_iter()
                .map(|(token, bytes, logprob)| TopLogprob {
                    token,
                    logprob: finite(logprob),
                    bytes,
                })
                .collect(),
        });
        Self {
            content: content.collect(),
            refusal: None,
        }
    }
}

pub(super) fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop => "stop",
        FinishReason::Length => "length",
    }
}
