//! The source behind a citation.

use crate::domain::{Conversation, Faq, FaqId, KbVersion, Passage, PassageId, Scope, Viewer};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::state::AppState;
use crate::retrieval::cited_passage;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A passage of a document, or an approved answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PassageBody {
    /// Its identifier.
    #[schema(format = Uuid)]
    passage_id: String,
    /// The document, or the FAQ itself.
    #[schema(format = Uuid)]
    document_id: String,
    /// Title of the document, or the approved question.
    title: String,
    /// Title of the document and headings, outermost first.
    title_path: Vec<String>,
    /// The text.
    text: String,
    /// First byte in the document's text (UTF-8).
    start: usize,
    /// One past the last byte.
    end: usize,
    /// The knowledge base as it is now.
    kb_version: u64,
    /// Where the document came from.
    source_uri: String,
}

/// Shows a passage as answers cite it, or an approved answer. Where a paragraph was cut, the passage goes on to the end of the sentences
/// beside it. To a visitor, what may not be told on the conversation's channel at present does not exist.
#[utoipa::path(
    get, path = "/api/v1/passages/{id}", tag = "questions",
    params(("id" = Uuid, Path, description = "As a citation names it")),
    responses((status = 200, body = PassageBody), (status = 404, body = ErrorBody, description = "There is none"))
)]
pub(crate) async fn passage(
    State(state): State<AppState>,
    visitor: Option<Extension<Conversation>>,
    Path(id): Path<String>,
) -> Result<Json<PassageBody>, ApiError> {
    let may_read = |scope: &Scope| {
        visitor.as_ref().is_none_or(|Extension(conversation)| {
            scope.admits(&Viewer {
                channel: Some(conversation.channel.name().to_owned()),
                ..Viewer::anybody(state.now())
            })
        })
    };
    let id: Uuid = id.parse().map_err(|_| ApiError::not_found("passage"))?;
    let store = state.store();
    let kb_version = store.kb_version().await?;
    if let Some(passage) = cited_passage(store, PassageId(id)).await? {
        let document = store.document_summary(passage.document_id).await?;
        let Some(document) = document.filter(|document| may_read(&document.scope)) else {
            return Err(ApiError::not_found("passage"));
        };
        let (title, source) = (document.title, document.source);
        return Ok(Json(PassageBody::of_passage(passage, title, source, kb_version)));
    }
    match store.faqs(&[FaqId(id)]).await?.pop().filter(|faq| may_read(&faq.scope)) {
        Some(faq) => Ok(Json(PassageBody::of_faq(faq, kb_version))),
        None => Err(ApiError::not_found("passage")),
    }
}

impl PassageBody {
    fn of_passage(passage: Passage, title: String, source_uri: String, KbVersion(kb_version): KbVersion) -> Self {
        Self {
            passage_id: passage.id.to_string(),
            document_id: passage.document_id.to_string(),
            title,
            title_path: passage.title_path,
            text: passage.text,
            start: passage.start,
            end: passage.end,
            kb_version,
            source_uri,
        }
    }

    fn of_faq(faq: Faq, KbVersion(kb_version): KbVersion) -> Self {
        Self {
            passage_id: faq.id.to_string(),
            document_id: faq.id.to_string(),
            title_path: vec![faq.question.clone()],
            title: faq.question,
            start: 0,
            end: faq.answer.len(),
            text: faq.answer,
            kb_version,
            source_uri: faq.source,
        }
    }
}
