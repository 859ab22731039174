//! Trying a question on the knowledge base as it is, or as it would be.

use super::publish::revisions;
use crate::dialogue::Ask;
use crate::domain::KbVersion;
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::routes::ask::{collect, viewer};
use crate::http::sse;
use crate::http::state::AppState;
use crate::http::wire::{Citation, TimingsMs};
use crate::retrieval::{Hit, Source};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Revisions that a question can be tried with.
const MAX_REVISIONS: usize = 1000;

/// A question to try.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TryForm {
    /// The customer's words.
    question: String,
    /// Drafts as if they were published; at most 1000.
    #[serde(default)]
    revisions: Vec<String>,
    /// Groups of customers that the asker belongs to.
    #[serde(default)]
    audiences: Vec<String>,
    /// The channel that the answer goes to.
    channel: Option<String>,
}

impl RequestBody for TryForm {}

/// An answer with what led to it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tried {
    /// `faq`, `flow`, `passages`, `smalltalk`, `clarify`, `refuse` or `handoff`.
    route: &'static str,
    /// How sure, 0 to 1.
    confidence: f32,
    /// The words; `[n]` points to a citation.
    answer: String,
    /// What the answer rests on.
    citations: Vec<Citation>,
    /// What was found, best first, with the scores of each stage.
    stages: Vec<Stage>,
    /// Milliseconds.
    timings_ms: TimingsMs,
    /// The knowledge base that was asked, without the drafts.
    kb_version: u64,
}

/// One thing that was found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stage {
    /// `passage` or `faq`.
    kind: &'static str,
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// Titles in one line.
    title: String,
    /// The text.
    text: String,
    /// Scores by stage.
    scores: StageScores,
}

/// Scores by stage; null where the stage did not find it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StageScores {
    /// Cosine, -1 to 1.
    dense: Option<f32>,
    /// BM25.
    lexical: Option<f32>,
    /// Cosine of the nearest sentence or row of a table, -1 to 1.
    segment: Option<f32>,
    /// BM25 of the best sentence or row.
    segment_words: Option<f32>,
    /// The share among all candidates, 0 to 1.
    fused: f32,
    /// Share of the question's informative words in the text, 0 to 1.
    coverage: f32,
    /// Log-odds that the text answers the question, by the reader.
    reading: Option<f32>,
    /// Log-odds that the language model answers "yes" to whether the text answers the question.
    yes: Option<f32>,
    /// Mean natural logarithm of the probability of the question's tokens after the text, by the language model.
    likelihood: Option<f32>,
}

impl From<Hit> for Stage {
    fn from(hit: Hit) -> Self {
        let scores = StageScores {
            dense: hit.scores.dense,
            lexical: hit.scores.lexical,
            segment: hit.scores.segment,
            segment_words: hit.scores.segment_words,
            fused: hit.scores.fused,
            coverage: hit.scores.coverage,
            reading: hit.scores.reading,
            yes: hit.scores.yes,
            likelihood: hit.scores.likelihood,
        };
        match hit.source {
            Source::Passage(passage) => Self {
                kind: "passage",
                id: passage.id.to_string(),
                title: passage.cited_title(),
                text: passage.text,
                scores,
            },
            Source::Faq(faq) => Self {
                kind: "faq",
                id: faq.id.to_string(),
                title: faq.question,
                text: faq.answer,
                scores,
            },
        }
    }
}

/// Answers a question from the knowledge base as it is, or as it would be with these revisions.
#[utoipa::path(
    post, path = "/api/v1/knowledge/try", tag = "knowledge", request_body = TryForm,
    responses(
        (status = 200, body = Tried),
        (status = "4XX", body = ErrorBody, description = "The question cannot be answered as it is, or there is no such revision"),
        (status = 503, body = ErrorBody, description = "Not ready or overloaded; Retry-After says when to try again"),
    )
)]
pub(crate) async fn try_question(
    State(state): State<AppState>,
    JsonBody(form): JsonBody<TryForm>,
) -> Result<Json<Tried>, ApiError> {
    if form.revisions.len() > MAX_REVISIONS {
        let message = format!("at most {MAX_REVISIONS} revisions at once");
        return Err(ApiError::parameter("revisions", message));
    }
    let ids = revisions(&form.revisions)?;
    let mut assistant = state.assistant()?;
    assistant.check(&form.question)?;
    if !ids.is_empty() {
        let publisher = &state.services()?.publisher;
        let preview = Arc::new(publisher.preview(&ids).await?);
        assistant = Arc::new(publisher.assistant_over(preview, assistant.model().cloned())?);
    }
    let ask = Ask::new(form.question, viewer(&state, form.audiences, form.channel)?);
    let (found, _) = assistant.find(&ask).await?;
    let events = sse::follow(&state, assistant.reply(ask)?).await?;
    let answer = collect(events).await?;
    let KbVersion(kb_version) = found.kb_version;
    Ok(Json(Tried {
        route: answer.route,
        confidence: answer.confidence,
        answer: answer.words,
        citations: answer.citations,
        stages: found.hits.into_iter().map(Stage::from).collect(),
        timings_ms: answer.timings_ms,
        kb_version,
    }))
}
