//! What the knowledge base holds about a text, with the scores of every stage.

use crate::domain::KbVersion;
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::routes::ask::viewer;
use crate::http::state::AppState;
use crate::retrieval::{Found, Hit, Query, SearchMode, Source};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Hits where the request names no number.
const DEFAULT_TOP_K: u32 = 8;

/// Hits at most.
const MAX_TOP_K: u32 = 50;

/// FAQs that are compared.
const FAQS: usize = 5;

/// What to search for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchBody {
    /// Words or a question.
    #[schema(example = "异地转账手续费")]
    query: String,
    /// Hits, 1 to 50; 8 where it is left out.
    #[schema(minimum = 1, maximum = 50)]
    top_k: Option<u32>,
    /// Which stages; both where it is left out.
    #[serde(default)]
    mode: Mode,
    /// Groups of customers that the asker belongs to; at most 32.
    #[serde(default)]
    audiences: Vec<String>,
    /// The channel that what is found goes to; `api` where it is left out.
    #[schema(example = "web")]
    channel: Option<String>,
}

/// Stages of a search.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Vectors and words, fused.
    #[default]
    Hybrid,
    /// Vectors alone.
    Dense,
    /// Words alone.
    Lexical,
}

impl From<Mode> for SearchMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Hybrid => Self::Hybrid,
            Mode::Dense => Self::Dense,
            Mode::Lexical => Self::Lexical,
        }
    }
}

impl RequestBody for SearchBody {}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SearchResult {
    /// Passages and approved answers, best first.
    passages: Vec<FoundPassage>,
    /// Approved questions that resemble the query, best first.
    faqs: Vec<FoundFaq>,
    /// The knowledge base that was searched.
    kb_version: u64,
    /// Milliseconds.
    timings_ms: SearchTimings,
}

/// One hit.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FoundPassage {
    /// `passage` or `faq`.
    kind: &'static str,
    /// As `GET /api/v1/passages/{id}` takes it.
    #[schema(format = Uuid)]
    passage_id: String,
    /// The document, or the FAQ itself.
    #[schema(format = Uuid)]
    document_id: String,
    /// Titles in one line.
    title: String,
    /// Title of the document and headings, outermost first.
    title_path: Vec<String>,
    /// The text.
    text: String,
    /// First byte in the document's text.
    start: usize,
    /// One past the last byte.
    end: usize,
    /// Scores by stage.
    scores: ScoresBody,
}

/// Scores by stage; null where the stage did not find it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScoresBody {
    /// Cosine, -1 to 1.
    dense: Option<f32>,
    /// BM25.
    lexical: Option<f32>,
    /// Cosine of the nearest sentence or row of a table, -1 to 1.
    segment: Option<f32>,
    /// BM25 of the best sentence or row.
    segment_words: Option<f32>,
    /// The share of this passage among all candidates, 0 to 1.
    fused: f32,
    /// Share of the query's informative words in the text, 0 to 1.
    coverage: f32,
}

/// One approved question.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FoundFaq {
    /// As `GET /api/v1/passages/{id}` takes it.
    #[schema(format = Uuid)]
    faq_id: String,
    /// The standard wording.
    question: String,
    /// The approved answer.
    answer: String,
    /// Cosine of query and nearest wording.
    similarity: f32,
    /// Share of rarer words in common, 0 to 1.
    overlap: f32,
    /// Whether the wordings are the same after normalising.
    exact: bool,
}

/// Milliseconds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SearchTimings {
    /// To embed the query.
    embed: f64,
    /// To search.
    search: f64,
}

/// Searches the knowledge base.
#[utoipa::path(
    post, path = "/api/v1/search", tag = "questions", request_body = SearchBody,
    responses(
        (status = 200, body = SearchResult),
        (status = "4XX", body = ErrorBody, description = "The query cannot be searched for as it is"),
        (status = 503, body = ErrorBody, description = "Not ready or overloaded; Retry-After says when to try again"),
    )
)]
pub(crate) async fn search(
    State(state): State<AppState>,
    JsonBody(body): JsonBody<SearchBody>,
) -> Result<Json<SearchResult>, ApiError> {
    let top_k = body.top_k.unwrap_or(DEFAULT_TOP_K);
    if !(1..=MAX_TOP_K).contains(&top_k) {
        return Err(ApiError::parameter(
            "top_k",
            format!("top_k must lie between 1 and {MAX_TOP_K}"),
        ));
    }
    let assistant = state.assistant()?;
    assistant.check(&body.query)?;
    let viewer = viewer(&state, body.audiences, body.channel)?;
    let query = Query {
        text: body.query,
        mode: body.mode.into(),
        top_k: top_k as usize,
        faq_top_k: FAQS,
        viewer,
    };
    let found = assistant.retriever().search(&query).await?;
    Ok(Json(SearchResult::from(found)))
}

impl From<Found> for SearchResult {
    fn from(found: Found) -> Self {
        let KbVersion(kb_version) = found.kb_version;
        let faqs = found.faqs.into_iter().map(|hit| FoundFaq {
            faq_id: hit.faq.id.to_string(),
            question: hit.faq.question,
            answer: hit.faq.answer,
            similarity: hit.similarity,
            overlap: hit.overlap,
            exact: hit.exact,
        });
        Self {
            faqs: faqs.collect(),
            passages: found.hits.into_iter().map(FoundPassage::from).collect(),
            kb_version,
            timings_ms: SearchTimings {
                embed: found.embed_ms,
                search: found.search_ms,
            },
        }
    }
}

impl From<Hit> for FoundPassage {
    fn from(hit: Hit) -> Self {
        let scores = ScoresBody {
            dense: hit.scores.dense,
            lexical: hit.scores.lexical,
            segment: hit.scores.segment,
            segment_words: hit.scores.segment_words,
            fused: hit.scores.fused,
            coverage: hit.scores.coverage,
        };
        match hit.source {
            Source::Passage(passage) => Self {
                kind: "passage",
                passage_id: passage.id.to_string(),
                document_id: passage.document_id.to_string(),
                title: passage.cited_title(),
                title_path: passage.title_path,
                text: passage.text,
                start: passage.start,
                end: passage.end,
                scores,
            },
            Source::Faq(faq) => Self {
                kind: "faq",
                passage_id: faq.id.to_string(),
                document_id: faq.id.to_string(),
                title: faq.question.clone(),
                title_path: vec![faq.question],
                end: faq.answer.len(),
                text: faq.answer,
                start: 0,
                scores,
            },
        }
    }
}
