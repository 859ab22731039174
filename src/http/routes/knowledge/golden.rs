//! Questions whose right answer is known.

use super::id;
use crate::domain::{Expectation, GoldenId, GoldenQuestion};
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::state::AppState;
use crate::people::Person;
use crate::storage::StorageError;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Characters of a question, of a source or key, and of words that are expected.
const MAX_CHARS: usize = 500;

/// Words that can be expected of one answer.
const MAX_CONTAINS: usize = 20;

/// What a right answer has. Of what is given all must hold; of source and FAQ one.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ExpectBody {
    /// The source of a document that it must cite; its end is enough.
    source: Option<String>,
    /// The key of a FAQ that it must cite.
    faq_key: Option<String>,
    /// Words that the answer must have.
    contains: Vec<String>,
    /// Whether the question must not be answered.
    refuse: bool,
}

/// A golden question.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GoldenRow {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// The customer's words.
    question: String,
    /// What a right answer has.
    expect: ExpectBody,
    /// Who gave it.
    author: String,
    /// When.
    #[schema(format = DateTime)]
    created_at: String,
}

/// All golden questions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GoldenList {
    /// At most 500.
    items: Vec<GoldenRow>,
    /// Always null: there is one page.
    next_cursor: Option<String>,
}

/// A golden question as somebody gives it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GoldenForm {
    /// The customer's words.
    question: String,
    /// What a right answer has.
    expect: ExpectBody,
}

impl RequestBody for GoldenForm {}

impl From<GoldenQuestion> for GoldenRow {
    fn from(from: GoldenQuestion) -> Self {
        Self {
            id: from.id.to_string(),
            question: from.question,
            expect: ExpectBody {
                source: from.expect.source,
                faq_key: from.expect.faq_key,
                contains: from.expect.contains,
                refuse: from.expect.refuse,
            },
            author: from.author,
            created_at: from.created_at.to_string(),
        }
    }
}

/// Lists golden questions, oldest first.
#[utoipa::path(
    get, path = "/api/v1/knowledge/golden", tag = "knowledge",
    responses((status = 200, body = GoldenList), (status = 401, body = ErrorBody, description = "Sign in first"))
)]
pub(crate) async fn list(State(state): State<AppState>) -> Result<Json<GoldenList>, ApiError> {
    let questions = state.store().golden().await?;
    Ok(Json(GoldenList {
        items: questions.into_iter().map(GoldenRow::from).collect(),
        next_cursor: None,
    }))
}

/// Adds a golden question, or changes what is expected of one in the same words.
#[utoipa::path(
    post, path = "/api/v1/knowledge/golden", tag = "knowledge", request_body = GoldenForm,
    responses(
        (status = 201, body = GoldenRow),
        (status = 409, body = ErrorBody, description = "There are too many"),
        (status = "4XX", body = ErrorBody, description = "It cannot be taken as it is"),
    )
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    person: Person,
    JsonBody(form): JsonBody<GoldenForm>,
) -> Result<(StatusCode, Json<GoldenRow>), ApiError> {
    let question = form.question.trim().to_owned();
    let given = [
        form.expect.source.as_ref(),
        form.expect.faq_key.as_ref(),
        Some(&question),
    ];
    let texts = given.into_iter().flatten().chain(&form.expect.contains);
    for text in texts {
        if text.trim().is_empty() || text.chars().nth(MAX_CHARS).is_some() {
            let message = format!("a question, source, key or expected word has 1 to {MAX_CHARS} characters");
            return Err(ApiError::parameter("question", message));
        }
    }
    if form.expect.contains.len() > MAX_CONTAINS {
        let message = format!("contains may have at most {MAX_CONTAINS} entries");
        return Err(ApiError::parameter("contains", message));
    }
    let expect = Expectation {
        source: form.expect.source,
        faq_key: form.expect.faq_key,
        contains: form.expect.contains,
        refuse: form.expect.refuse,
    };
    if let Some(fault) = expect.fault() {
        return Err(ApiError::parameter("expect", fault));
    }
    let golden = GoldenQuestion {
        id: GoldenId::new(),
        question,
        expect,
        author: person.name,
        created_at: state.now(),
    };
    match state.store().put_golden(std::slice::from_ref(&golden)).await {
        Err(StorageError::Invalid { detail, .. }) => {
            return Err(ApiError::new(StatusCode::CONFLICT, "too_many", detail));
        }
        other => other?,
    };
    let stored = state.store().golden().await?;
    let stored = stored.into_iter().find(|one| one.question == golden.question);
    Ok((StatusCode::CREATED, Json(stored.unwrap_or(golden).into())))
}

/// Removes a golden question.
#[utoipa::path(
    delete, path = "/api/v1/knowledge/golden/{id}", tag = "knowledge",
    params(("id" = Uuid, Path, description = "As the list names it")),
    responses((status = 204, description = "It is gone"), (status = 404, body = ErrorBody, description = "There is none"))
)]
pub(crate) async fn remove(
    State(state): State<AppState>,
    person: Person,
    Path(golden): Path<String>,
) -> Result<StatusCode, ApiError> {
    let golden: GoldenId = id(&golden, "golden question")?;
    if state.store().remove_golden(golden, &person.name).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("golden question"))
    }
}
