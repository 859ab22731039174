//! FAQs that somebody could approve: from conversations that people resolved, or written at the desk.

use super::gaps::ReasonBody;
use crate::domain::{
    Content, ConversationId, Decision, FaqContent, FaqId, KbItem, Origin, Scope, Suggestion, SuggestionId,
    SuggestionState, sha256_hex,
};
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::paging::{List, PageParams, QueryParams};
use crate::http::state::AppState;
use crate::people::Person;
use crate::retrieval::parse::{FaqRow, faq_row};
use crate::storage::NewDraft;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Characters of a question.
const MAX_QUESTION_CHARS: usize = 500;
/// Other wordings of a question.
const MAX_VARIANTS: usize = 100;
/// Characters of an answer.
const MAX_ANSWER_CHARS: usize = 20_000;
/// Characters of a key or a category.
const MAX_LABEL_CHARS: usize = 200;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SuggestionParams {
    /// `open`, `accepted` or `dismissed`.
    #[serde(default = "open")]
    #[param(value_type = String)]
    state: SuggestionState,
}

fn open() -> SuggestionState {
    SuggestionState::Open
}

/// A FAQ that somebody could approve.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SuggestionBody {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// The question.
    question: String,
    /// Other wordings.
    variants: Vec<String>,
    /// The answer.
    answer: String,
    /// Where it comes from.
    origin: OriginBody,
    /// What the knowledge base has that is like it.
    similar: Vec<SimilarBody>,
    /// `open`, `accepted` or `dismissed`.
    #[schema(value_type = String)]
    state: SuggestionState,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// Who decided.
    decided_by: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// Where a suggestion comes from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OriginBody {
    /// `conversation` (a person answered there), `correction` or `written`.
    #[schema(value_type = String)]
    kind: Origin,
    /// The conversation.
    #[schema(format = Uuid)]
    conversation_id: Option<String>,
}

/// A FAQ that is like a suggested one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SimilarBody {
    /// Which.
    #[schema(format = Uuid)]
    faq_id: String,
    /// Its question.
    question: String,
    /// The cosine of both questions.
    similarity: f32,
}

impl SuggestionBody {
    fn of(suggestion: Suggestion) -> Self {
        let (decided_by, reason) = suggestion.decided.map(|decided| (decided.by, decided.reason)).unzip();
        let similar = suggestion.similar.into_iter().map(|faq| SimilarBody {
            faq_id: faq.faq_id.to_string(),
            question: faq.question,
            similarity: faq.similarity,
        });
        Self {
            id: suggestion.id.to_string(),
            question: suggestion.question,
            variants: suggestion.variants,
            answer: suggestion.answer,
            origin: OriginBody {
                kind: suggestion.origin,
                conversation_id: suggestion.conversation_id.map(|id| id.to_string()),
            },
            similar: similar.collect(),
            state: suggestion.state,
            created_at: suggestion.created_at.to_string(),
            decided_by,
            reason,
        }
    }
}

/// What is suggested: a conversation to learn from, or a question with its answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSuggestionBody {
    /// A conversation in which a person answered.
    #[schema(value_type = Option<String>, format = Uuid)]
    conversation_id: Option<ConversationId>,
    /// The question.
    question: Option<String>,
    /// Other wordings.
    #[serde(default)]
    variants: Vec<String>,
    /// The answer.
    answer: Option<String>,
    /// Whether it corrects an answer that was given.
    #[serde(default)]
    correction: bool,
}

impl RequestBody for NewSuggestionBody {}

/// A suggestion as it is accepted, with what was edited.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AcceptBody {
    /// The question.
    question: String,
    /// Other wordings.
    #[serde(default)]
    variants: Vec<String>,
    /// The answer.
    answer: String,
    /// A label; may be empty.
    #[serde(default)]
    category: String,
    /// The company's key for it; made from the question where it is left out.
    key: Option<String>,
}

impl RequestBody for AcceptBody {}

/// The draft that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcceptedBody {
    /// The revision: a draft, to be reviewed and published.
    #[schema(format = Uuid)]
    revision_id: String,
}

/// Lists suggested FAQs, newest first.
#[utoipa::path(
    get, path = "/api/v1/knowledge/suggestions", tag = "knowledge", params(SuggestionParams, PageParams),
    responses((status = 200, body = List<SuggestionBody>), (status = "4XX", body = ErrorBody))
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    QueryParams(params): QueryParams<SuggestionParams>,
    page: PageParams,
) -> Result<Json<List<SuggestionBody>>, ApiError> {
    let suggestions = state.store().suggestions(params.state, &page.request()).await;
    List::of(suggestions, SuggestionBody::of).map(Json)
}

/// Suggests a FAQ: what a person answered in a conversation, or a question with its answer.
#[utoipa::path(
    post, path = "/api/v1/knowledge/suggestions", tag = "knowledge", request_body = NewSuggestionBody,
    responses(
        (status = 201, body = SuggestionBody),
        (status = 404, body = ErrorBody, description = "There is no such conversation"),
        (status = 409, body = ErrorBody, description = "`nothing_to_learn`: nobody answered there, or the knowledge base has it; `exists`"),
    )
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    JsonBody(body): JsonBody<NewSuggestionBody>,
) -> Result<(StatusCode, Json<SuggestionBody>), ApiError> {
    let learner = state.learner()?;
    let suggestion = match (body.conversation_id, body.question, body.answer) {
        (Some(id), None, None) => {
            if state.store().conversation(id).await?.is_none() {
                return Err(ApiError::not_found("conversation"));
            }
            learner.suggest(id).await?.ok_or_else(|| {
                let message = "no person answered in that conversation, or the knowledge base has the question already";
                ApiError::new(StatusCode::CONFLICT, "nothing_to_learn", message)
            })?
        }
        (None, Some(question), Some(answer)) => {
            let row = written(&state, &question, &body.variants, &answer, "")?;
            let origin = if body.correction {
                Origin::Correction
            } else {
                Origin::Written
            };
            learner
                .suggestion(row.question, row.variants, row.answer, origin)
                .await?
        }
        _ => {
            let message = "either conversation_id, or question and answer";
            return Err(ApiError::parameter("question", message));
        }
    };
    if !state.store().add_suggestion(&suggestion).await? {
        let message = "that conversation has its suggestion already";
        return Err(ApiError::new(StatusCode::CONFLICT, "exists", message));
    }
    Ok((StatusCode::CREATED, Json(SuggestionBody::of(suggestion))))
}

/// Makes a draft of a suggestion, as it was edited. It is told to nobody until it is published.
#[utoipa::path(
    post, path = "/api/v1/knowledge/suggestions/{id}/accept", tag = "knowledge", request_body = AcceptBody,
    params(("id" = String, Path, description = "The suggestion")),
    responses(
        (status = 201, body = AcceptedBody),
        (status = 404, body = ErrorBody, description = "There is no open suggestion of that id"),
    )
)]
pub(crate) async fn accept(
    State(state): State<AppState>,
    person: Person,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<AcceptBody>,
) -> Result<(StatusCode, Json<AcceptedBody>), ApiError> {
    let row = written(&state, &body.question, &body.variants, &body.answer, &body.category)?;
    for (name, label) in [("category", Some(&body.category)), ("key", body.key.as_ref())] {
        if label.is_some_and(|label| label.chars().count() > MAX_LABEL_CHARS) {
            return Err(ApiError::parameter(
                name,
                format!("at most {MAX_LABEL_CHARS} characters"),
            ));
        }
    }
    let suggestion = open_suggestion(&state, &id).await?;
    let key = body.key.map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
    let key = key.unwrap_or_else(|| sha256_hex(body.question.as_bytes()));
    let present = state.store().faq_by_key(&key).await?;
    let draft = NewDraft {
        item: KbItem::Faq(present.as_ref().map_or_else(FaqId::new, |faq| faq.id)),
        name: key,
        scope: present.map_or_else(Scope::default, |faq| faq.scope),
        content: Some(Content::Faq(FaqContent {
            question: row.question,
            variants: row.variants,
            answer: row.answer,
            category: row.category,
            source: String::new(),
            imported_at: state.now(),
        })),
        author: person.name.clone(),
        note: match suggestion.conversation_id {
            Some(id) => format!("suggested from conversation {id}"),
            None => "suggested".to_owned(),
        },
    };
    // First the draft: if the process ends here the suggestion is still open, and the draft is replaced next time.
    let made = state.store().add_drafts(&[draft]).await?;
    let decision = Decision {
        at: state.now(),
        by: person.name,
        reason: String::new(),
    };
    state
        .store()
        .decide_suggestion(suggestion.id, SuggestionState::Accepted, &decision)
        .await?;
    let revision_id = made.first().map(|revision| revision.id.to_string()).unwrap_or_default();
    Ok((StatusCode::CREATED, Json(AcceptedBody { revision_id })))
}

/// Turns a suggestion down.
#[utoipa::path(
    post, path = "/api/v1/knowledge/suggestions/{id}/dismiss", tag = "knowledge", request_body = ReasonBody,
    params(("id" = String, Path, description = "The suggestion")),
    responses((status = 204), (status = 404, body = ErrorBody, description = "There is no open suggestion of that id"))
)]
pub(crate) async fn dismiss(
    State(state): State<AppState>,
    person: Person,
    Path(id): Path<String>,
    JsonBody(body): JsonBody<ReasonBody>,
) -> Result<StatusCode, ApiError> {
    let suggestion = open_suggestion(&state, &id).await?;
    let decision = body.decision(&state, &person)?;
    if state
        .store()
        .decide_suggestion(suggestion.id, SuggestionState::Dismissed, &decision)
        .await?
    {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("open suggestion"))
    }
}

async fn open_suggestion(state: &AppState, id: &str) -> Result<Suggestion, ApiError> {
    let missing = || ApiError::not_found("open suggestion");
    let id: SuggestionId = id.parse().map_err(|_| missing())?;
    let found = state.store().suggestion(id).await?;
    found
        .filter(|suggestion| suggestion.state == SuggestionState::Open)
        .ok_or_else(missing)
}

/// A FAQ as somebody wrote it, with masks as in imported documents.
fn written(
    state: &AppState,
    question: &str,
    variants: &[String],
    answer: &str,
    category: &str,
) -> Result<FaqRow, ApiError> {
    check(question, variants, answer)?;
    let variants = variants.iter().map(String::as_str);
    let mut row = faq_row("", question, variants, answer, category)
        .map_err(|fault| ApiError::bad_request("invalid_faq", fault))?;
    row.mask(&state.assistant()?.masker().for_documents());
    Ok(row)
}

fn check(question: &str, variants: &[String], answer: &str) -> Result<(), ApiError> {
    let within = |text: &str, limit: usize| !text.trim().is_empty() && text.chars().count() <= limit;
    if !within(question, MAX_QUESTION_CHARS) {
        let message = format!("a question has 1 to {MAX_QUESTION_CHARS} characters");
        return Err(ApiError::parameter("question", message));
    }
    if variants.len() > MAX_VARIANTS || variants.iter().any(|variant| !within(variant, MAX_QUESTION_CHARS)) {
        let message = format!("at most {MAX_VARIANTS} wordings of 1 to {MAX_QUESTION_CHARS} characters");
        return Err(ApiError::parameter("variants", message));
    }
    if !within(answer, MAX_ANSWER_CHARS) {
        let message = format!("an answer has 1 to {MAX_ANSWER_CHARS} characters");
        return Err(ApiError::parameter("answer", message));
    }
    Ok(())
}
