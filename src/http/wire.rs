//! The forms in which replies and sources are sent.

use crate::dialogue::{Done, Sensed, Timings, TokenUsage};
use crate::domain;
use crate::retrieval::{Related, RelatedKind};
use serde::Serialize;
use utoipa::ToSchema;

/// A source of an answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct Citation {
    /// The number that stands in the answer as `[n]`.
    pub(super) n: u32,
    /// The document, or the FAQ for an approved answer.
    #[schema(format = Uuid)]
    pub(super) document_id: String,
    /// Title of the document, with the path of headings.
    pub(super) title: String,
    /// The passage, as `GET /api/v1/passages/{id}` takes it.
    #[schema(format = Uuid)]
    pub(super) passage_id: String,
    /// The words quoted, exactly as the source has them.
    pub(super) quote: String,
    /// First byte of the quote in the document's text (UTF-8).
    pub(super) start: usize,
    /// One past the last byte of the quote.
    pub(super) end: usize,
    /// The knowledge base that was asked.
    pub(super) kb_version: u64,
}

impl From<&domain::Citation> for Citation {
    fn from(from: &domain::Citation) -> Self {
        Self {
            n: from.n,
            document_id: from.document_id.to_string(),
            title: from.title.clone(),
            passage_id: from.passage_id.to_string(),
            quote: from.quote.clone(),
            start: from.start,
            end: from.end,
            kb_version: from.kb_version.0,
        }
    }
}

/// Milliseconds from the question's arrival.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(super) struct TimingsMs {
    /// Understanding.
    pub(super) understand: u64,
    /// Searching.
    pub(super) retrieve: u64,
    /// Until the first words.
    pub(super) first_token: u64,
    /// Until the end.
    pub(super) total: u64,
}

impl From<Timings> for TimingsMs {
    fn from(from: Timings) -> Self {
        Self {
            understand: from.understand,
            retrieve: from.retrieve,
            first_token: from.first_token,
            total: from.total,
        }
    }
}

/// What a reply cost, in tokens. All 0 where no model wrote.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(super) struct UsageBody {
    /// Tokens of the prompt.
    pub(super) prompt_tokens: usize,
    /// Tokens written.
    pub(super) completion_tokens: usize,
    /// Both.
    pub(super) total_tokens: usize,
    /// More of the prompt.
    pub(super) prompt_tokens_details: PromptTokens,
}

/// More of the prompt.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(super) struct PromptTokens {
    /// Tokens that were not computed again.
    pub(super) cached_tokens: usize,
}

impl From<TokenUsage> for UsageBody {
    fn from(from: TokenUsage) -> Self {
        Self {
            prompt_tokens: from.prompt_tokens,
            completion_tokens: from.completion_tokens,
            total_tokens: from.total_tokens,
            prompt_tokens_details: PromptTokens {
                cached_tokens: from.cached_tokens,
            },
        }
    }
}

/// Data of the event `route`: how the question will be answered; comes once, first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RouteEvent {
    /// `faq`, `flow`, `passages`, `smalltalk`, `clarify`, `refuse` or `handoff`.
    pub(super) route: &'static str,
    /// How sure, 0 to 1.
    pub(super) confidence: f32,
    /// Nothing where a customer reads along: what is thought of people is for those who serve them.
    #[serde(flatten)]
    pub(super) sensed: SensedBody,
}

/// What was sensed of a message.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct SensedBody {
    /// What the customer wants; null where no head for intents is trained, and where it was not needed.
    pub(crate) intent: Option<IntentBody>,
    /// How the customer feels; null where no heads are loaded, and where it was not needed.
    pub(crate) emotion: Option<EmotionBody>,
    /// What is dangerous or forbidden, where it is likely enough to be noted.
    pub(crate) risk: Vec<RiskBody>,
}

/// What a customer wants.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IntentBody {
    /// The intent; null where the message belongs to none that is known.
    name: Option<String>,
    /// How likely the likeliest is, 0 to 1.
    confidence: f32,
    /// The likeliest three.
    alternatives: Vec<AlternativeBody>,
}

/// An intent with its probability.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlternativeBody {
    /// The intent.
    name: String,
    /// 0 to 1.
    confidence: f32,
}

/// How a customer feels.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmotionBody {
    /// The emotion.
    label: String,
    /// How likely, 0 to 1.
    score: f32,
}

/// A risk.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RiskBody {
    /// What it is.
    kind: String,
    /// How likely, 0 to 1.
    score: f32,
}

impl From<Sensed> for SensedBody {
    fn from(sensed: Sensed) -> Self {
        Self {
            intent: sensed.intent.map(|intent| IntentBody {
                name: intent.name,
                confidence: intent.confidence,
                alternatives: (intent.alternatives.into_iter())
                    .map(|(name, confidence)| AlternativeBody { name, confidence })
                    .collect(),
            }),
            emotion: sensed.emotion.map(|(label, score)| EmotionBody { label, score }),
            risk: (sensed.risks.into_iter())
                .map(|(kind, score)| RiskBody { kind, score })
                .collect(),
        }
    }
}

/// Data of the event `token`: the next words.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenEvent<'a> {
    /// The words.
    pub(super) text: &'a str,
}

/// Data of the event `queue`: waiting for the language model.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct QueueEvent {
    /// Requests served first.
    pub(super) position: usize,
}

/// Data of the event `handoff`: a person takes over.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HandoffEvent {
    /// `requested`, `unresolved` or `failure`.
    pub(super) reason: &'static str,
    /// How many wait before.
    pub(super) position: u64,
}

/// Data of the event `done`: the end.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DoneEvent {
    /// The message, as a rating names it.
    #[schema(format = Uuid)]
    pub(super) message_id: String,
    /// Tokens.
    pub(super) usage: UsageBody,
    /// Milliseconds.
    pub(super) timings_ms: TimingsMs,
    /// The language model that wrote it, with the start of its SHA-256; null where no model wrote.
    pub(super) model: Option<String>,
    /// The knowledge base that was asked.
    pub(super) kb_version: u64,
    /// What one may ask next, best first.
    pub(super) related: Vec<RelatedBody>,
}

/// Something one may ask next.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RelatedBody {
    /// The question, to be asked as it stands.
    question: String,
    /// `faq`: an approved question about the same thing; `document`: what a document says of it beside, or the same of another;
    /// `choice`: one of several things, of which the question names none.
    kind: &'static str,
}

impl From<&Related> for RelatedBody {
    fn from(from: &Related) -> Self {
        Self {
            question: from.question.clone(),
            kind: match from.kind {
                RelatedKind::Faq => "faq",
                RelatedKind::Document => "document",
                RelatedKind::Choice => "choice",
            },
        }
    }
}

impl From<&Done> for DoneEvent {
    fn from(from: &Done) -> Self {
        Self {
            message_id: from.message_id.to_string(),
            usage: from.usage.into(),
            timings_ms: from.timings.into(),
            model: from.model.clone(),
            kb_version: from.kb_version.0,
            related: from.related.iter().map(RelatedBody::from).collect(),
        }
    }
}

/// Data of the event `error`: the reply failed; nothing follows.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorEvent<'a> {
    /// A stable name.
    pub(super) code: &'static str,
    /// What to tell the customer.
    pub(super) message: &'a str,
}
