//! Language and embedding models. The ports [`LanguageModel`], [`Embedder`], [`Features`] and [`Reader`] stand here; the rest of the
//! program knows nothing else of this room.

pub mod constraint;
pub mod device;
pub mod encoder;
pub mod engine;
pub mod gguf;
pub mod kv_cache;
mod layers;
pub mod manifest;
mod mapped;
pub mod models;
mod packed;
pub mod prompt;
pub mod remote;
mod requantise;
pub mod sampler;
pub mod stop;
pub mod tokenizer;
mod vector_cache;
mod weights;

pub use encoder::{CrossReader, E5Embedder, LayerFeatures};
pub use engine::load_language_model;
pub use remote::RemoteModel;
pub use requantise::Precision;
pub use vector_cache::VectorCache;

use async_trait::async_trait;
use futures::Stream;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// What went wrong with a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferenceError {
    /// The model's file could not be read.
    #[error("model file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("model file {path} is damaged or not supported: {detail}")]
    BadModel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, in words.
        detail: String,
    },
    /// The input is longer than the model takes.
    #[error("the input has {tokens} tokens, the model takes {limit}")]
    TooLong {
        /// Tokens of the input (for a generation: of the prompt).
        tokens: usize,
        /// The most it takes.
        limit: usize,
    },
    /// A parameter is out of its range, or says what cannot be done.
    #[error("{name} cannot be used: {detail}")]
    BadParameter {
        /// The parameter's name as the API calls it.
        name: &'static str,
        /// The range or the fault, in words.
        detail: String,
    },
    /// The queue is full.
    #[error("overloaded: {queued} requests wait; try again in {} s", retry_after.as_secs())]
    Overloaded {
        /// Requests that wait.
        queued: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// The request's deadline passed.
    #[error("the deadline passed before the answer was complete")]
    Deadline,
    /// The device that the settings name cannot be had.
    #[error("inference.device = \"{device}\": {detail}")]
    Device {
        /// The setting.
        device: String,
        /// Why, and what to do.
        detail: String,
    },
    /// The engine's thread is gone.
    #[error("the engine has stopped")]
    Stopped,
    /// The model cannot do this.
    #[error("this model does not support {0}")]
    Unsupported(&'static str),
    /// The prompt could not be rendered.
    #[error("chat template: {0}")]
    Template(String),
    /// The tokenizer failed.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A model server that is not in this process failed, refuses, or cannot be reached.
    #[error("{detail}")]
    Remote {
        /// What happened and what to look at.
        detail: String,
        /// When to try again, where that is known.
        retry_after: Option<Duration>,
    },
    /// The tensor library failed.
    #[error("computing: {0}")]
    Compute(#[from] candle_core::Error),
}

/// What a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    /// The name in the manifest, as clients name it.
    pub name: String,
    /// The architecture (`qwen2`, `llama`, ...).
    pub architecture: String,
    /// The longest prompt and answer together, in tokens.
    pub context_tokens: usize,
    /// SHA-256 of the file in hexadecimal, as the manifest pins it; empty for a file outside the manifest.
    pub sha256: String,
}

/// Who says a message of a chat prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChatRole {
    /// Instructions.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
    /// A function that the model asked for.
    Tool,
}

impl ChatRole {
    /// The name chat templates use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// One message of a chat prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who says it.
    pub role: ChatRole,
    /// What is said. Control tokens in it are plain text to the model.
    pub content: String,
    /// The functions that the model asked for in this turn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
}

impl ChatMessage {
    /// A message of words alone.
    #[must_use]
    pub fn new(role: ChatRole, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
            tool_calls: Vec::new(),
        }
    }
}

/// A function that a model may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does, for the model.
    pub description: Option<String>,
    /// JSON schema of its arguments, an object.
    pub parameters: serde_json::Value,
    /// Whether a constraint refuses a schema with keywords that cannot be enforced, rather than overlook them.
    pub strict: bool,
}

/// A function that a model asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// Its name.
    pub name: String,
    /// Its arguments, an object.
    pub arguments: serde_json::Value,
}

/// What the text of an answer must be. Tokens that lead elsewhere are not drawn; log-probabilities stay the model's own.
/// An answer that `max_tokens`, the context or a stop text cuts short is the beginning of such a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constraint {
    /// Any JSON object.
    JsonObject,
    /// JSON that this schema describes, without blank space beyond one after `,` and `:`. Keywords that cannot be
    /// enforced are refused, unless `"x-guidance": {"lenient": true}` stands in the schema's root.
    JsonSchema(serde_json::Value),
    /// A text that this regular expression matches from beginning to end (syntax of the crate `regex`, without anchors
    /// and look-around).
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// At least one character that stand together in one of these texts.
    Substring(Vec<String>),
    /// Calls of these functions, each as `<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>`, one a line.
    ToolCalls {
        /// The functions.
        tools: Vec<Tool>,
        /// How many calls there may be; at least one is made.
        most: usize,
    },
}

/// What a generation continues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A chat, rendered by the model's own template.
    Chat(Vec<ChatMessage>),
    /// Plain text.
    Text(String),
}

/// How the next token is chosen. [`Sampling::greedy`] is the default.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0 takes the likeliest token always; up to 2.
    pub temperature: f32,
    /// Keeps the likeliest tokens that together reach this probability; above 0, up to 1.
    pub top_p: f32,
    /// Keeps this many of the likeliest tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps tokens at least this fraction as likely as the likeliest; 0 to 1.
    pub min_p: f32,
    /// Divides (or multiplies) the logits of tokens seen before (Keskar et al., arXiv:1909.05858); 1 changes nothing.
    pub repetition_penalty: f32,
    /// Subtracted from the logit of every token that was generated before; -2 to 2 (OpenAI's definition).
    pub presence_penalty: f32,
    /// Subtracted once for each time the token was generated before; -2 to 2 (OpenAI's definition).
    pub frequency_penalty: f32,
    /// The same seed gives the same answer.
    pub seed: u64,
}

impl Sampling {
    /// The likeliest token each time.
    #[must_use]
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: 0,
        }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self::greedy()
    }
}

/// A request to generate.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    /// What to continue.
    pub prompt: Prompt,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The most tokens to generate.
    pub max_tokens: usize,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// Alternatives with their log-probabilities to report for each token (0: none; `None`: no log-probabilities).
    pub top_logprobs: Option<usize>,
    /// Whose request it is: where requests wait, those of one do not hold up those of others.
    pub visitor: Option<String>,
    /// Texts within the prompt that come again in other prompts, elsewhere: a model may take what it computed for them
    /// from there, if its settings allow.
    pub passages: Vec<String>,
    /// When to give up.
    pub deadline: Option<Instant>,
    /// Functions that the chat template shows to the model; for chats alone.
    pub tools: Vec<Tool>,
    /// What the answer must be; `None` leaves it to the model.
    pub constraint: Option<Constraint>,
}

impl GenerateRequest {
    /// A greedy answer of at most `max_tokens` to a chat.
    #[must_use]
    pub fn chat(messages: Vec<ChatMessage>, max_tokens: usize) -> Self {
        Self {
            prompt: Prompt::Chat(messages),
            sampling: Sampling::greedy(),
            max_tokens,
            stop: Vec::new(),
            top_logprobs: None,
            visitor: None,
            passages: Vec::new(),
            deadline: None,
            tools: Vec::new(),
            constraint: None,
        }
    }
}

/// A request for how likely texts are to follow a prompt.
#[derive(Clone, Debug)]
pub struct ScoreRequest {
    /// What is followed.
    pub prompt: Prompt,
    /// What may follow it; each is scored alone.
    pub continuations: Vec<String>,
    /// When to give up.
    pub deadline: Option<Instant>,
}

/// How likely a text is to follow a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The natural logarithm of the probability of each of its tokens after those before it.
    pub logprobs: Vec<f32>,
}

impl Score {
    /// The natural logarithm of the probability of the whole text.
    #[must_use]
    pub fn total(&self) -> f32 {
        self.logprobs.iter().sum()
    }
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended its turn, or a stop text came.
    Stop,
    /// `max_tokens` were generated or the context is full.
    Length,
}

/// The log-probability of one token.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenLogprob {
    /// The token's text (invalid UTF-8 replaced).
    pub text: String,
    /// The token's bytes.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability, before sampling parameters.
    pub logprob: f32,
    /// The likeliest alternatives, likeliest first, as (text, bytes, log-probability).
    pub top: Vec<(String, Vec<u8>, f32)>,
}

/// What a generation cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens whose keys and values were still there from an earlier request.
    pub cached_tokens: usize,
    /// Tokens generated.
    pub completion_tokens: usize,
}

/// What happens during a generation, in this order: `Queued`*, `Started`, `Text`*, then `Done` or an error.
#[derive(Clone, Debug, PartialEq)]
pub enum GenerationEvent {
    /// Waiting; `position` requests are served first.
    Queued {
        /// How many are before this one.
        position: usize,
    },
    /// The prompt was read.
    Started {
        /// Tokens of the prompt; 0 where an adapter learns that at the end only.
        prompt_tokens: usize,
        /// Of these, not computed again.
        cached_tokens: usize,
    },
    /// The next piece of the answer: whole UTF-8 characters, never part of a stop text.
    Text {
        /// The piece; empty when a token's text is held back but its log-probability is reported.
        text: String,
        /// The tokens that this event accounts for, where log-probabilities were asked for.
        logprobs: Vec<TokenLogprob>,
    },
    /// The end.
    Done {
        /// Why.
        reason: FinishReason,
        /// What it cost.
        usage: Usage,
    },
}

/// A generation under way. Dropping it cancels the work within one step of the engine: a
/// token of an answer, a part of a prompt.
#[derive(Debug)]
pub struct GenerationStream {
    receiver: mpsc::Receiver<Result<GenerationEvent, InferenceError>>,
}

impl GenerationStream {
    /// A stream over what an engine sends to the other end of `receiver`. The engine must stop when a send fails.
    #[must_use]
    pub fn new(receiver: mpsc::Receiver<Result<GenerationEvent, InferenceError>>) -> Self {
        Self { receiver }
    }
}

impl Stream for GenerationStream {
    type Item = Result<GenerationEvent, InferenceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(cx)
    }
}

/// A language model: the engine in this process, or another adapter.
#[async_trait]
pub trait LanguageModel: Send + Sync {
    /// What it is.
    fn info(&self) -> &ModelInfo;

    /// Tokens of `text`, without a template. An adapter that cannot count gives an upper bound.
    ///
    /// # Errors
    /// [`InferenceError::Tokenizer`].
    fn count_tokens(&self, text: &str) -> Result<usize, InferenceError>;

    /// Queues a request and returns at once.
    ///
    /// # Errors
    /// `Overloaded` if the queue is full, `TooLong` if the prompt leaves no room for an answer, `BadParameter`,
    /// `Template`, `Stopped`.
    fn generate(&self, request: GenerateRequest) -> Result<GenerationStream, InferenceError>;

    /// How likely each of the continuations is to follow the prompt, in order. The prompt is computed once.
    ///
    /// # Errors
    /// As [`LanguageModel::generate`]; `Unsupported` from a model that cannot tell.
    async fn score(&self, request: ScoreRequest) -> Result<Vec<Score>, InferenceError> {
        drop(request);
        Err(InferenceError::Unsupported("scoring of continuations"))
    }

    /// Whether it could answer now. The engine in this process always can; an adapter of a server asks that.
    ///
    /// # Errors
    /// [`InferenceError::Remote`], with what to look at.
    fn check(&self) -> BoxFuture<'_, Result<(), InferenceError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What a text is to be found as: the two kinds are embedded differently (arXiv:2402.05672, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TextKind {
    /// A question, or a text compared with its like.
    Query,
    /// A text that answers.
    Passage,
}

/// Vectors of equal dimension, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// Numbers in a row.
    pub dim: usize,
    /// Row-major `[rows, dim]`.
    pub data: Vec<f32>,
    /// Tokens embedded in all.
    pub tokens: usize,
}

impl Embeddings {
    /// The rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.data.chunks_exact(self.dim.max(1))
    }
}

/// What an embedding model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedderInfo {
    /// The name in the manifest.
    pub name: String,
    /// Numbers in a vector.
    pub dim: usize,
    /// The longest text, prefix and special tokens included.
    pub max_tokens: usize,
    /// SHA-256 of the file: vectors of different models must never meet in one index.
    pub sha256: String,
}

/// An embedding model.
#[async_trait]
pub trait Embedder: Send + Sync {
    /// What it is.
    fn info(&self) -> &EmbedderInfo;

    /// Tokens of `text` as `kind`, prefix and special tokens included.
    ///
    /// # Errors
    /// [`InferenceError::Tokenizer`].
    fn count_tokens(&self, kind: TextKind, text: &str) -> Result<usize, InferenceError>;

    /// Embeds `texts`: row-major `[texts.len(), dim]`, each row of L2 norm 1 ± 1e-3.
    ///
    /// # Errors
    /// `TooLong` if a text exceeds `max_tokens` (nothing is cut silently), `Overloaded`, `Stopped`.
    async fn embed(&self, kind: TextKind, texts: Vec<String>) -> Result<Embeddings, InferenceError>;
}

/// What the numbers of a text are that [`Features`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeaturesInfo {
    /// The embedding model's name in the manifest.
    pub model: String,
    /// SHA-256 of its file: what was learnt over one model says nothing over another.
    pub sha256: String,
    /// Numbers of one layer.
    pub width: usize,
    /// Layers.
    pub layers: usize,
}

/// What several layers of an encoder say of a text: more than its embedding does, which is made for finding.
#[async_trait]
pub trait Features: Send + Sync {
    /// What the numbers are.
    fn info(&self) -> &FeaturesInfo;

    /// The numbers of `texts`, row-major `[texts.len(), layers * width]`. Costs as much as embedding them. Of a long text the beginning
    /// and the end are read.
    ///
    /// # Errors
    /// `Overloaded`, `Stopped`, `Tokenizer`, `BadModel`.
    async fn features(&self, texts: Vec<String>) -> Result<Embeddings, InferenceError>;
}

/// A passage to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadPassage {
    /// What it is about: its headings, or the question of a FAQ.
    pub title: String,
    /// Its words.
    pub text: String,
}

/// What reading a passage for a question showed.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Log-odds that the passage answers the question: above 0 it more likely does. Not calibrated.
    pub log_odds: f32,
    /// Where in the text the answer is, if there is one.
    pub place: AnswerPlace,
}

/// Where in a text an answer is, as far as a reader can tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerPlace {
    /// The bytes that hold it most likely.
    pub span: std::ops::Range<usize>,
    /// Where else it may begin and end, in the order of the text. What has almost no share is left out.
    pub tokens: Vec<TokenShare>,
}

/// How likely an answer begins and ends with one token of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenShare {
    /// The token's bytes.
    pub bytes: std::ops::Range<usize>,
    /// How likely the answer begins here, 0 to 1; over all tokens of a text they sum to 1.
    pub begins: f32,
    /// How likely it ends here, likewise.
    pub ends: f32,
}

impl AnswerPlace {
    /// How likely the answer touches this part of the text: 0 to 1. 0 where no reader looked.
    #[must_use]
    pub fn touching(&self, part: &std::ops::Range<usize>) -> f32 {
        let inside = |token: &&TokenShare| part.start < token.bytes.end && token.bytes.start < part.end;
        let share = |token: &TokenShare| f32::midpoint(token.begins, token.ends);
        self.tokens.iter().filter(inside).map(share).sum()
    }

    /// How likely the answer lies within these parts of the text, if the text has it: 0 to 1. 1 where no reader looked.
    #[must_use]
    pub fn within(&self, parts: &[std::ops::Range<usize>]) -> f32 {
        if self.tokens.is_empty() {
            return 1.0;
        }
        let inside = |token: &&TokenShare| {
            parts
                .iter()
                .any(|part| part.start < token.bytes.end && token.bytes.start < part.end)
        };
        let (begins, ends) = self
            .tokens
            .iter()
            .filter(inside)
            .fold((0.0, 0.0), |(begins, ends), token| {
                (begins + token.begins, ends + token.ends)
            });
        f32::min(begins, ends).min(1.0)
    }
}

/// A model that reads a passage for a question.
#[async_trait]
pub trait Reader: Send + Sync {
    /// Which reader it is.
    fn version(&self) -> &str;

    /// Reads each passage: one reading for each, in order. Costs as much as embedding the passages.
    ///
    /// # Errors
    /// `Overloaded` if the queue is full, `Stopped`, `BadModel`, `Tokenizer`.
    async fn read(&self, question: &str, passages: &[ReadPassage]) -> Result<Vec<Reading>, InferenceError>;

    /// For each of `others`, in order, the log-odds that it asks the same as `question`: that one answer serves both.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn same(&self, question: &str, others: &[&str]) -> Result<Vec<f32>, InferenceError>;
}
