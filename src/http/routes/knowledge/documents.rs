//! Live documents, and drafts that change whom they are for, or remove them.

use super::wire::{DocumentBody, RevisionBody, ScopeBody, content_of};
use super::{add_draft, id};
use crate::domain::{Document, DocumentId, KbItem, Passage, RevisionId, Scope};
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::paging::{List, PageParams};
use crate::http::state::AppState;
use crate::people::Person;
use crate::storage::{DocumentSummary, NewDraft};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A document in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DocumentRow {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// Where it came from.
    source: String,
    /// Its title.
    title: String,
    /// How it was written.
    format: &'static str,
    /// Bytes of its text.
    bytes: u64,
    /// Its passages.
    passages: u64,
    /// When it was imported.
    #[schema(format = DateTime)]
    imported_at: String,
    /// Who may be told.
    scope: ScopeBody,
}

impl From<DocumentSummary> for DocumentRow {
    fn from(from: DocumentSummary) -> Self {
        Self {
            id: from.id.to_string(),
            source: from.source,
            title: from.title,
            format: from.format.name(),
            bytes: from.bytes,
            passages: from.passages,
            imported_at: from.imported_at.to_string(),
            scope: from.scope.into(),
        }
    }
}

/// Which revision of a document.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RevisionParam {
    /// A revision of it; what is live where it is left out.
    #[param(value_type = Option<String>, format = Uuid)]
    revision: Option<String>,
}

impl RequestBody for ScopeBody {}

/// Lists live documents in order of their source.
#[utoipa::path(
    get, path = "/api/v1/knowledge/documents", tag = "knowledge", params(PageParams),
    responses((status = 200, body = List<DocumentRow>), (status = 401, body = ErrorBody, description = "Sign in first"))
)]
pub(crate) async fn list(State(state): State<AppState>, page: PageParams) -> Result<Json<List<DocumentRow>>, ApiError> {
    let documents = state.store().documents(&page.request()).await;
    List::of(documents, DocumentRow::from).map(Json)
}

/// Shows a document with its text and the places of its passages.
#[utoipa::path(
    get, path = "/api/v1/knowledge/documents/{id}", tag = "knowledge",
    params(("id" = Uuid, Path, description = "As the list names it"), RevisionParam),
    responses((status = 200, body = DocumentBody), (status = 404, body = ErrorBody, description = "There is none"))
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    Path(document): Path<String>,
    Query(which): Query<RevisionParam>,
) -> Result<Json<DocumentBody>, ApiError> {
    let document: DocumentId = id(&document, "document")?;
    let found = match which.revision {
        None => live(&state, document).await?,
        Some(revision) => {
            let revision: RevisionId = id(&revision, "revision")?;
            let revision = state.store().revision(revision).await?;
            revision
                .filter(|revision| revision.summary.item == KbItem::Document(document))
                .and_then(|revision| revision.document())
        }
    };
    let (document, passages) = found.ok_or_else(|| ApiError::not_found("document"))?;
    Ok(Json(DocumentBody::of(document, passages)))
}

async fn live(state: &AppState, id: DocumentId) -> Result<Option<(Document, Vec<Passage>)>, ApiError> {
    match state.store().document(id).await? {
        Some(document) => Ok(Some((document, state.store().document_passages(id).await?))),
        None => Ok(None),
    }
}

/// Drafts another scope for a document.
#[utoipa::path(
    put, path = "/api/v1/knowledge/documents/{id}/scope", tag = "knowledge", request_body = ScopeBody,
    params(("id" = Uuid, Path, description = "As the list names it")),
    responses(
        (status = 201, body = RevisionBody, description = "The draft"),
        (status = "4XX", body = ErrorBody, description = "There is none, or the scope makes no sense"),
    )
)]
pub(crate) async fn set_scope(
    State(state): State<AppState>,
    person: Person,
    Path(document): Path<String>,
    JsonBody(scope): JsonBody<ScopeBody>,
) -> Result<(StatusCode, Json<RevisionBody>), ApiError> {
    let document: DocumentId = id(&document, "document")?;
    let scope = scope.check()?;
    let found = live(&state, document).await?;
    let (document, passages) = found.ok_or_else(|| ApiError::not_found("document"))?;
    let draft = NewDraft {
        item: KbItem::Document(document.id),
        name: document.source.clone(),
        scope,
        content: Some(content_of(&document, &passages)),
        author: person.name,
        note: String::new(),
    };
    let added = add_draft(state.store(), draft).await?;
    Ok((StatusCode::CREATED, Json(added.into())))
}

/// Drafts the removal of a document.
#[utoipa::path(
    delete, path = "/api/v1/knowledge/documents/{id}", tag = "knowledge",
    params(("id" = Uuid, Path, description = "As the list names it")),
    responses(
        (status = 201, body = RevisionBody, description = "The draft"),
        (status = 404, body = ErrorBody, description = "There is none"),
    )
)]
pub(crate) async fn remove(
    State(state): State<AppState>,
    person: Person,
    Path(document): Path<String>,
) -> Result<(StatusCode, Json<RevisionBody>), ApiError> {
    let document: DocumentId = id(&document, "document")?;
    let found = state.store().document_summary(document).await?;
    let found = found.ok_or_else(|| ApiError::not_found("document"))?;
    let draft = NewDraft {
        item: KbItem::Document(document),
        name: found.source,
        scope: Scope::default(),
        content: None,
        author: person.name,
        note: String::new(),
    };
    let added = add_draft(state.store(), draft).await?;
    Ok((StatusCode::CREATED, Json(added.into())))
}
