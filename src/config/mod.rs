//! Settings: one struct a room, documented in `default.toml`. Loaded in the order defaults, file, environment, flags;
//! an unknown key or a wrong value refuses the start, with every fault named at once.

mod device;
mod load;
mod secret;
mod tools;
mod validate;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub use device::Device;
pub use load::{ConfigError, Overrides, load, proxied, server_key, storage_password};
pub use secret::Secret;
pub use tools::{ToolConfig, ToolKind, tool_headers};

/// The documented defaults, as `kefu doctor --print-config` shows them.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// All settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The HTTP server.
    pub http: HttpConfig,
    /// Models and the engine.
    pub inference: InferenceConfig,
    /// Documents and indexes.
    pub retrieval: RetrievalConfig,
    /// How questions are answered.
    pub dialogue: DialogueConfig,
    /// What is understood of messages beside what they ask.
    pub understanding: UnderstandingConfig,
    /// How knowledge is published.
    pub knowledge: KnowledgeConfig,
    /// What task flows may call, by name.
    pub tools: BTreeMap<String, ToolConfig>,
    /// What becomes of personal data.
    pub privacy: PrivacyConfig,
    /// Where everything is kept.
    pub storage: StorageConfig,
    /// How customers are known again.
    pub customers: CustomersConfig,
    /// How long things are kept.
    pub retention: RetentionConfig,
}

impl Config {
    /// The same over an embedded database, whatever the settings name: for knowledge bases of a moment.
    #[must_use]
    pub fn with_embedded_database(mut self) -> Self {
        self.storage.url.clear();
        self
    }
}

/// `[http]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Address to listen on.
    pub listen: String,
    /// Whether a proxy that ends TLS stands before the server.
    pub behind_proxy: bool,
    /// Values of the Host header that are served, without port.
    pub allowed_hosts: Vec<String>,
    /// Connections at once.
    pub max_connections: usize,
    /// For the request line and headers.
    pub header_timeout_ms: u64,
    /// For the request body.
    pub body_timeout_ms: u64,
    /// A stream that the client does not read is closed after this.
    pub stalled_client_timeout_ms: u64,
    /// For replies under way at shutdown.
    pub drain_timeout_ms: u64,
    /// Bytes of all headers.
    pub max_header_bytes: usize,
    /// Bytes of a JSON body.
    pub max_json_bytes: usize,
    /// Bytes of one chat message.
    pub max_message_bytes: usize,
    /// Replies at once and waiting, for one visitor.
    pub max_replies_per_visitor: usize,
    /// Whether `/v1` and the other API routes need a key.
    pub require_api_key: bool,
    /// Whether `/metrics` and `/api/docs` answer clients that are not on this machine.
    pub public_metrics: bool,
    /// Seconds after which an idle conversation's cookie expires.
    pub visitor_cookie_seconds: u64,
}

/// `[inference]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InferenceConfig {
    /// Name of the language model in the manifest; `auto` chooses by memory.
    pub language_model: String,
    /// Name of the embedding model in the manifest.
    pub embedding_model: String,
    /// File of the reader; empty for the one that comes with the program.
    pub reader: String,
    /// Where the language model computes; a [`Device`] in words.
    pub device: String,
    /// Compute threads; 0 takes the machine's cores.
    pub threads: usize,
    /// Longest prompt and answer together, in tokens.
    pub context_tokens: usize,
    /// Requests that wait for the engine.
    pub queue_length: usize,
    /// Requests that generate at once.
    pub parallel_requests: usize,
    /// Milliseconds a running answer may wait for its next token while prompts of others are read.
    pub pause_ms: u64,
    /// The most prompt tokens computed in a step.
    pub prefill_chunk_tokens: usize,
    /// Megabytes (of 2^20 bytes) for keys and values.
    pub kv_cache_mb: usize,
    /// Megabytes for keys and values of passages that come again in other places; 0 reads them anew each time.
    pub passage_cache_mb: usize,
    /// First tokens of such a passage that are read anew.
    pub passage_seam_tokens: usize,
    /// Whether to guess what follows from what stood before; answers are the same.
    pub speculation: bool,
    /// Whether matrices of more than four bits are rounded to four when the model is loaded.
    pub four_bit_weights: bool,
    /// Texts that wait for the embedder.
    pub embed_queue_length: usize,
    /// Tokens embedded in one pass.
    pub embed_batch_tokens: usize,
    /// A model server that answers in place of the engine in this process.
    pub server: ServerConfig,
}

/// `[inference.server]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Its address, with or without `/v1`; empty for the engine in this process.
    pub url: String,
    /// The model's name there.
    pub model: String,
    /// Environment variable that holds the key; empty for none.
    pub api_key_env: String,
    /// File that holds the key; empty for none.
    pub api_key_file: String,
    /// File (PEM) of the authorities that sign its certificate; empty for the system's.
    pub ca_file: String,
    /// Whether it may stand outside private networks.
    pub allow_public: bool,
    /// For a connection.
    pub connect_timeout_ms: u64,
    /// The longest silence: before the answer begins, and within it.
    pub timeout_ms: u64,
    /// Failures in a row after which it is left alone.
    pub breaker_failures: u32,
    /// How long it is left alone; chance adds up to half.
    pub breaker_pause_ms: u64,
}

impl ServerConfig {
    /// Whether a model server is used.
    #[must_use]
    pub fn is_set(&self) -> bool {
        !self.url.is_empty()
    }
}

/// The defaults of `default.toml`.
impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            model: String::new(),
            api_key_env: String::new(),
            api_key_file: String::new(),
            ca_file: String::new(),
            allow_public: false,
            connect_timeout_ms: 2000,
            timeout_ms: 60_000,
            breaker_failures: 5,
            breaker_pause_ms: 10_000,
        }
    }
}

/// `[retrieval]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RetrievalConfig {
    /// Largest file that is imported.
    pub max_file_bytes: u64,
    /// Tokens (of the embedding model) a passage aims at.
    pub passage_tokens: usize,
    /// The most tokens a passage may have.
    pub max_passage_tokens: usize,
    /// HNSW: neighbours a node keeps (M in arXiv:1603.09320).
    pub hnsw_neighbours: usize,
    /// HNSW: candidates while building.
    pub ef_construction: usize,
    /// HNSW: candidates while searching.
    pub ef_search: usize,
    /// Candidates each stage gives to the fusion.
    pub candidates: usize,
    /// Milliseconds between two looks at the knowledge base's version.
    pub refresh_interval_ms: u64,
    /// Whether questions are searched by words that sound or mean the same, too.
    pub expand: bool,
    /// Whether what is related, and what there is to choose from, is shown.
    pub graph: bool,
    /// Whether other names that the knowledge base gives a thing are searched too.
    pub other_names: bool,
    /// A file of synonyms; empty for none.
    pub synonyms: std::path::PathBuf,
}

/// `[dialogue]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "settings that are on or off, each on its own"
)]
#[serde(deny_unknown_fields)]
pub struct DialogueConfig {
    /// Hits the reader reads before anything is decided.
    pub read_top_k: usize,
    /// Passages an answer is written from, at most.
    pub top_k: usize,
    /// Tokens of the prompt that passages may take.
    pub passage_budget_tokens: usize,
    /// Tokens of an answer.
    pub answer_tokens: usize,
    /// Milliseconds for an answer; what is proven by then is sent.
    pub answer_timeout_ms: u64,
    /// Characters of a question.
    pub max_question_chars: usize,
    /// Calibration of the confidences (`kefu eval calibrate --out`); empty for the one that comes with the program.
    pub calibration: String,
    /// Share of the answers sent that may be wrong, by the calibration.
    pub wrong_answers: f32,
    /// Probability, from which on a question that can be answered gets the approved answer of the best FAQ; negative for what
    /// `wrong_answers` allows.
    pub faq_confidence: f32,
    /// Probability that the first hit is the answer, from which on it is sent; negative likewise.
    pub answer_confidence: f32,
    /// Probability that what was found answers the question, from which on the customer is shown what may be related; below, the
    /// question is refused.
    pub clarify_confidence: f32,
    /// Directory of task flows; empty for none.
    pub flows: String,
    /// Cosine of a message with a wording, from which on it begins the wording's flow; 1 for wordings alone.
    pub flow_similarity: f32,
    /// Minutes by which the customers' clocks are ahead of UTC: what "tomorrow" means.
    pub utc_offset_minutes: i32,
    /// Whether the language model, where there is one, judges the hits that were read, and what is quoted is chosen with it.
    pub judging: bool,
    /// Milliseconds for it; later, the decision is made without it.
    pub judging_timeout_ms: u64,
    /// Whether the language model, where there is one, reads too: what is quoted then has to stand where both readers see the
    /// answer.
    pub second_reading: bool,
    /// Probability that what was found answers the question, from which on it is answered if the second reader agrees.
    pub confirmed_confidence: f32,
    /// Share of the second reader's words that must stand in the quotation, 0 to 1, for the two to agree.
    pub agreement: f32,
    /// Tokens of the passages that the second reader gets.
    pub second_reading_tokens: usize,
    /// Milliseconds for the second reading; later, the decision is made without it.
    pub second_reading_timeout_ms: u64,
    /// Whether the language model writes answers, each sentence checked, instead of quoting.
    pub written_answers: bool,
    /// The turn in a row that is refused or asked back and goes to a person; 0: none does.
    pub handoff_after_unresolved: usize,
    /// Whether a person is called where a model, the index or an inner part failed.
    pub handoff_on_failure: bool,
}

/// `[understanding]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct UnderstandingConfig {
    /// Directory of the heads for emotion, satisfaction and risk; empty for `heads` beside the models, `none` for no heads.
    pub heads: String,
    /// Dissatisfaction, from which on a person is called; above 1 never.
    pub handoff_dissatisfaction: f32,
    /// Probability of a risk, from which on it is noted.
    pub risk_confidence: f32,
    /// Risks for which a person is called.
    pub handoff_risks: Vec<String>,
}

/// `[knowledge]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KnowledgeConfig {
    /// Whether nobody may publish what they wrote themselves.
    pub four_eyes: bool,
    /// Whether the golden questions are asked before anything is published or rolled back.
    pub golden_gate: bool,
    /// Earlier revisions that are kept of each document and FAQ.
    pub keep_revisions: u32,
    /// Bytes of one upload.
    pub max_upload_bytes: u64,
}

/// `[storage]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// Address of a PostgreSQL database, without a password; empty for the embedded one in the data directory.
    pub url: String,
    /// Environment variable that holds the password; empty for none.
    pub password_env: String,
    /// File that holds the password; empty for none.
    pub password_file: String,
    /// Connections to the server at once, but for the one that listens.
    pub max_connections: u32,
}

/// `[privacy]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacyConfig {
    /// File with the rules for each kind of personal data; empty for the built-in ones.
    pub policy_file: String,
    /// File with the master key of the vault; empty for `vault.key` in the data directory.
    pub key_file: String,
    /// Whether clear values are kept in the vault at all.
    pub vault: bool,
}

/// `[customers]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CustomersConfig {
    /// Messages of a customer's other conversations that people are shown beside a conversation.
    pub history_messages: u32,
    /// Whether these also count as what was said before in a new conversation.
    pub history_in_answers: bool,
}

/// `[retention]`: days, from the last change; 0 keeps for ever.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionConfig {
    /// Conversations in which nothing was said since, with all that hangs on them.
    pub conversations_days: u32,
    /// Messages, also of conversations that go on.
    pub messages_days: u32,
    /// How replies came to be.
    pub traces_days: u32,
    /// Conversations, messages and traces that one transaction removes.
    pub batch: u32,
}
