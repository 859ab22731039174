//! Live FAQs, and drafts of new, changed and removed ones.

use super::wire::{FaqBody, RevisionBody, ScopeBody, content_of_faq};
use super::{add_draft, id, newest_open};
use crate::domain::{Faq, FaqId, KbItem, Scope, sha256_hex};
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::paging::{List, PageParams};
use crate::http::state::AppState;
use crate::people::Person;
use crate::retrieval::parse::faq_row;
use crate::storage::NewDraft;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

/// Characters of what is looked for.
const MAX_QUERY_CHARS: usize = 200;

/// Characters of a note.
pub(super) const MAX_NOTE_CHARS: usize = 1000;

/// What is looked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchParam {
    /// Words that key, question, wordings, answer or category contain; all FAQs where it is left out.
    q: Option<String>,
}

/// A FAQ as somebody writes it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaqForm {
    /// The company's key; made of the question where it is left out. It cannot be changed later.
    key: Option<String>,
    /// The standard wording.
    #[schema(example = "信用卡丢了怎么办？")]
    question: String,
    /// Other wordings.
    #[serde(default)]
    variants: Vec<String>,
    /// The approved answer.
    answer: String,
    /// A label.
    #[serde(default)]
    category: String,
    /// Who may be told; what it was before where it is left out.
    scope: Option<ScopeBody>,
    /// What its author says of it.
    #[serde(default)]
    note: String,
}

impl RequestBody for FaqForm {}

/// Lists live FAQs in order of their key.
#[utoipa::path(
    get, path = "/api/v1/knowledge/faqs", tag = "knowledge", params(PageParams, SearchParam),
    responses((status = 200, body = List<FaqBody>), (status = 401, body = ErrorBody, description = "Sign in first"))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    Query(search): Query<SearchParam>,
    page: PageParams,
) -> Result<Json<List<FaqBody>>, ApiError> {
    let words = search.q.unwrap_or_default();
    let words = words.trim();
    if words.chars().nth(MAX_QUERY_CHARS).is_some() {
        let message = format!("q may have at most {MAX_QUERY_CHARS} characters");
        return Err(ApiError::parameter("q", message));
    }
    let found = if words.is_empty() {
        state.store().faq_page(&page.request()).await
    } else {
        state.store().find_faqs(words, &page.request()).await
    };
    List::of(found, FaqBody::from).map(Json)
}

/// Shows a live FAQ.
#[utoipa::path(
    get, path = "/api/v1/knowledge/faqs/{id}", tag = "knowledge",
    params(("id" = Uuid, Path, description = "As the list names it")),
    responses((status = 200, body = FaqBody), (status = 404, body = ErrorBody, description = "There is none"))
)]
pub(crate) async fn show(State(state): State<AppState>, Path(faq): Path<String>) -> Result<Json<FaqBody>, ApiError> {
    let faq: FaqId = id(&faq, "FAQ")?;
    let found = state.store().faqs(&[faq]).await?.pop();
    let found = found.ok_or_else(|| ApiError::not_found("FAQ"))?;
    Ok(Json(found.into()))
}

/// Drafts a new FAQ. Numbers that belong to one person are masked as in imported documents, by policy: the draft shows it.
#[utoipa::path(
    post, path = "/api/v1/knowledge/faqs", tag = "knowledge", request_body = FaqForm,
    responses(
        (status = 201, body = RevisionBody, description = "The draft"),
        (status = 409, body = ErrorBody, description = "There is a FAQ of this key: change that one"),
        (status = "4XX", body = ErrorBody, description = "The FAQ cannot be taken as it is"),
    )
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    person: Person,
    JsonBody(form): JsonBody<FaqForm>,
) -> Result<(StatusCode, Json<RevisionBody>), ApiError> {
    let given = form.key.as_deref().map(str::trim).filter(|key| !key.is_empty());
    let key = given.map_or_else(|| sha256_hex(form.question.trim().as_bytes()), str::to_owned);
    let store = state.store();
    if store.faq_by_key(&key).await?.is_some() {
        let message = format!("there is a FAQ of the key {key}: change that one");
        return Err(ApiError::new(StatusCode::CONFLICT, "conflict", message));
    }
    // Two drafts of one key are of one item, so that only one of them can be published.
    let faq = match store.open_revision("faq", &key).await?.map(|draft| draft.item) {
        Some(KbItem::Faq(faq)) => faq,
        _ => FaqId::new(),
    };
    draft(&state, person, form, faq, key, Scope::default()).await
}

/// Drafts a change of a FAQ that is live, or drafted. What belongs to one person is masked, as in a new one.
#[utoipa::path(
    put, path = "/api/v1/knowledge/faqs/{id}", tag = "knowledge", request_body = FaqForm,
    params(("id" = Uuid, Path, description = "As the list, or a draft's item, names it")),
    responses(
        (status = 201, body = RevisionBody, description = "The draft"),
        (status = "4XX", body = ErrorBody, description = "There is none, or the FAQ cannot be taken as it is"),
    )
)]
pub(crate) async fn change(
    State(state): State<AppState>,
    person: Person,
    Path(faq): Path<String>,
    JsonBody(form): JsonBody<FaqForm>,
) -> Result<(StatusCode, Json<RevisionBody>), ApiError> {
    let faq: FaqId = id(&faq, "FAQ")?;
    let (key, scope) = if let Some(live) = state.store().faqs(&[faq]).await?.pop() {
        (live.key, live.scope)
    } else {
        let open = newest_open(state.store(), KbItem::Faq(faq)).await?;
        let open = open.ok_or_else(|| ApiError::not_found("FAQ"))?;
        (open.name, open.scope)
    };
    if form.key.as_deref().is_some_and(|given| given.trim() != key) {
        return Err(ApiError::parameter(
            "key",
            "the key of a FAQ cannot change: add a new one and remove this one",
        ));
    }
    draft(&state, person, form, faq, key, scope).await
}

async fn draft(
    state: &AppState,
    person: Person,
    form: FaqForm,
    faq: FaqId,
    key: String,
    scope: Scope,
) -> Result<(StatusCode, Json<RevisionBody>), ApiError> {
    let variants = form.variants.iter().map(String::as_str);
    let mut row = faq_row(&key, &form.question, variants, &form.answer, &form.category)
        .map_err(|fault| ApiError::bad_request("invalid_faq", fault))?;
    row.mask(&state.assistant()?.masker().for_documents());
    if form.note.chars().nth(MAX_NOTE_CHARS).is_some() {
        let message = format!("note may have at most {MAX_NOTE_CHARS} characters");
        return Err(ApiError::parameter("note", message));
    }
    let scope = form.scope.map_or(Ok(scope), ScopeBody::check)?;
    let faq = Faq {
        id: faq,
        key,
        question: row.question,
        variants: row.variants,
        answer: row.answer,
        category: row.category,
        source: String::new(),
        imported_at: state.now(),
        scope,
    };
    let draft = NewDraft {
        item: KbItem::Faq(faq.id),
        name: faq.key.clone(),
        scope: faq.scope.clone(),
        content: Some(content_of_faq(&faq)),
        author: person.name,
        note: form.note,
    };
    let added = add_draft(state.store(), draft).await?;
    Ok((StatusCode::CREATED, Json(added.into())))
}

/// Drafts the removal of a FAQ.
#[utoipa::path(
    delete, path = "/api/v1/knowledge/faqs/{id}", tag = "knowledge",
    params(("id" = Uuid, Path, description = "As the list names it")),
    responses(
        (status = 201, body = RevisionBody, description = "The draft"),
        (status = 404, body = ErrorBody, description = "There is none"),
    )
)]
pub(crate) async fn remove(
    State(state): State<AppState>,
    person: Person,
    Path(faq): Path<String>,
) -> Result<(StatusCode, Json<RevisionBody>), ApiError> {
    let faq: FaqId = id(&faq, "FAQ")?;
    let live = state.store().faqs(&[faq]).await?.pop();
    let live = live.ok_or_else(|| ApiError::not_found("FAQ"))?;
    let draft = NewDraft {
        item: KbItem::Faq(faq),
        name: live.key,
        scope: Scope::default(),
        content: None,
        author: person.name,
        note: String::new(),
    };
    let added = add_draft(state.store(), draft).await?;
    Ok((StatusCode::CREATED, Json(added.into())))
}
