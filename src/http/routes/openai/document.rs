//! Request bodies as the document describes them. They are read field by field, so that an error names the field.

#![allow(dead_code, reason = "these describe; nothing is read into them")]

use super::request::Parameters;
use super::tools::ToolCallBody;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A chat request.
#[derive(Serialize, ToSchema)]
#[schema(as = ChatRequest)]
pub(in crate::http) struct ChatBody {
    /// `kefu` for the knowledge base, or a name of `GET /v1/models`.
    #[schema(example = "kefu")]
    model: String,
    /// What was said, oldest first. For `kefu` the last one is the question and must be the user's.
    messages: Vec<MessageIn>,
    /// Tokens of the answer at most; `max_tokens` means the same.
    max_completion_tokens: Option<usize>,
    /// Whether to report log-probabilities.
    logprobs: Option<bool>,
    /// Alternatives to report for each token, up to 20.
    top_logprobs: Option<usize>,
    /// What the answer must be. The model is not told, so say it in a message too.
    response_format: Option<ResponseFormat>,
    /// Functions that the model may ask for.
    tools: Option<Vec<ToolIn>>,
    /// `none`, `auto`, `required`, or `{"type": "function", "function": {"name": ...}}`.
    #[schema(value_type = Option<Object>)]
    tool_choice: Option<Value>,
    /// Whether an answer may have several calls; yes where it is left out.
    parallel_tool_calls: Option<bool>,
    #[serde(flatten)]
    parameters: Parameters,
}

/// One message.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct MessageIn {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    role: String,
    /// The text, or an array of parts of type `text`; may be left out beside `tool_calls`.
    content: Option<String>,
    /// The functions that the assistant asked for.
    tool_calls: Option<Vec<ToolCallBody>>,
    /// The call whose result this is; for the role `tool`.
    tool_call_id: Option<String>,
}

/// A function that the model may ask for.
#[derive(Serialize, ToSchema)]
#[schema(as = Tool)]
pub(in crate::http) struct ToolIn {
    /// `function`.
    r#type: String,
    function: FunctionIn,
}

/// The function.
#[derive(Serialize, ToSchema)]
#[schema(as = Function)]
pub(in crate::http) struct FunctionIn {
    /// Letters, digits, `_` and `-`.
    name: String,
    /// What it does.
    description: Option<String>,
    /// JSON schema of its arguments; none means none.
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
    /// Whether a schema with keywords that cannot be enforced is refused. Where the model must call, its arguments fit
    /// the rest of the schema either way.
    strict: Option<bool>,
}

/// What an answer must be.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::http) enum ResponseFormat {
    /// Any text.
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that a schema describes.
    JsonSchema {
        /// The schema.
        json_schema: SchemaIn,
    },
}

/// A schema with its name.
#[derive(Serialize, ToSchema)]
#[schema(as = NamedSchema)]
pub(in crate::http) struct SchemaIn {
    /// Letters, digits, `_` and `-`.
    name: String,
    /// What it is for.
    description: Option<String>,
    /// The JSON schema.
    #[schema(value_type = Object)]
    schema: Value,
    /// Whether keywords that cannot be enforced are refused; otherwise they are overlooked.
    strict: Option<bool>,
}

/// A text to continue.
#[derive(Serialize, ToSchema)]
#[schema(as = CompletionRequest)]
pub(in crate::http) struct CompletionBody {
    /// The language model's name of `GET /v1/models`.
    model: String,
    /// A text, or an array of one.
    prompt: String,
    /// Tokens of the continuation at most; 16 where it is left out.
    max_tokens: Option<usize>,
    /// Whether the prompt is repeated before the continuation; not with `logprobs`.
    echo: Option<bool>,
    /// Alternatives to report for each token, up to 5; none where it is left out.
    logprobs: Option<usize>,
    #[serde(flatten)]
    parameters: Parameters,
}

/// Texts to order by how well they answer a query, in one of two forms: `documents`, as Jina and Cohere have it, or
/// `texts`, as Text Embeddings Inference has it.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = RerankRequest)]
pub(in crate::http) enum RerankBody {
    /// Answered by an object.
    Documents(RerankDocuments),
    /// Answered by an array.
    Texts(RerankTexts),
}

/// As Jina and Cohere have it.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RerankDocuments {
    /// `kefu-reader`, or nothing.
    #[schema(example = "kefu-reader")]
    model: Option<String>,
    /// The question, up to 96 tokens.
    query: String,
    /// Up to 100, each a text of up to 32 KB or `{"text": ...}`.
    documents: Vec<String>,
    /// How many results to return; all where it is left out.
    top_n: Option<usize>,
    /// Whether to repeat the texts; yes where it is left out.
    return_documents: Option<bool>,
}

/// As Text Embeddings Inference has it.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct RerankTexts {
    /// The question, up to 96 tokens.
    query: String,
    /// Up to 100 texts of up to 32 KB.
    texts: Vec<String>,
    /// Whether scores are log-odds rather than between 0 and 1.
    raw_scores: Option<bool>,
    /// Whether to repeat the texts.
    return_text: Option<bool>,
}
