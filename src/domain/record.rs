//! What a reply came from, so that it can be computed again.

use super::{MessageId, Route};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What was understood and found for a reply, and how sure each part was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Basis {
    /// The question with what it depends on from before, masked. Stored apart from the rest, so that it can be forgotten.
    #[serde(skip)]
    pub understood: String,
    /// It is an approved wording.
    pub exact: bool,
    /// What the customer wants, `None` for nothing that is known, with the probability of the likeliest intent; `None` without a head
    /// for intents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<(Option<String>, f32)>,
    /// The features of the best FAQ; empty where nothing was searched.
    pub faq_features: Vec<f32>,
    /// The features of what was found.
    pub passage_features: Vec<f32>,
    /// The probability that the best FAQ is what was asked.
    pub faq_confidence: Option<f32>,
    /// The features of the first hit.
    pub first_features: Vec<f32>,
    /// What a language model says of the first hit; empty where none has judged.
    pub judged: Vec<f32>,
    /// The probability that anything that was found answers.
    pub answerable: Option<f32>,
    /// The probability that the first hit is the answer.
    pub answer_confidence: Option<f32>,
    /// How far the second reader agrees, 0 to 1; `None` where none has looked.
    pub agreement: Option<f32>,
    /// Whether a table answered.
    pub table: bool,
    /// What was found, best first, the first ten.
    pub hits: Vec<BasisHit>,
    /// The FAQs nearest to the question, best first.
    pub faqs: Vec<BasisHit>,
    /// Milliseconds: understanding, searching, until the first words, until the end.
    pub timings_ms: [u64; 4],
}

/// One thing found, with its scores; a stage that did not find it has `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BasisHit {
    /// The passage or the FAQ.
    pub id: Uuid,
    /// Whether it is a FAQ.
    pub faq: bool,
    /// Cosine of question and text, or of question and wording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dense: Option<f32>,
    /// BM25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lexical: Option<f32>,
    /// Its share among all candidates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fused: Option<f32>,
    /// Log-odds that it answers, by the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<f32>,
}

/// How a stored reply came to be. It names messages and holds none of their words: what is masked later is masked here too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplyRecord {
    /// The message that was answered.
    pub question: MessageId,
    /// The messages before it that were taken into account, oldest first.
    pub history: Vec<MessageId>,
    /// The routes of replies before, oldest first.
    pub past_routes: Vec<Route>,
    /// The channel that the answer went to.
    pub channel: Option<String>,
    /// The groups of customers that the asker belonged to.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// When it was asked: what a document's dates are compared with.
    pub asked_at: Timestamp,
    /// What was understood and found.
    pub basis: Basis,
}

/// What answers rest on beside the knowledge base: models and settings. Replies of one program share one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// SHA-256 of `json`, in hexadecimal.
    pub sha256: String,
    /// Models with their hashes, and the settings that matter, as a JSON object.
    pub json: String,
}
