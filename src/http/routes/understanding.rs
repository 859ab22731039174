//! What is understood of a message; and the examples that intents are learnt from, with the head that is trained on them.

use super::ask::{HistoryTurn, check_history, viewer};
use crate::dialogue::Ask;
use crate::domain::{ConversationId, ExampleId, ExampleOrigin, IntentExample, Message, MessageId, Role, Turn};
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::paging::{List, PageParams, QueryParams};
use crate::http::state::AppState;
use crate::http::wire::SensedBody;
use crate::jobs::{TrainError, Trainer};
use crate::people::Person;
use crate::storage::StorageError;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Characters of an example.
const MAX_TEXT_CHARS: usize = 1000;
/// Characters of an intent's name.
const MAX_INTENT_CHARS: usize = 100;
/// Examples of one request.
const MAX_EXAMPLES: usize = 5000;
/// Messages of a conversation among which one is looked for.
const MAX_MESSAGES: u32 = 10_000;

/// A message to understand.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnderstandBody {
    /// The customer's words.
    #[schema(example = "我的卡丢了，手机是13800138000")]
    text: String,
    /// What was said before, oldest first; at most 50 turns.
    #[serde(default)]
    history: Vec<HistoryTurn>,
}

impl RequestBody for UnderstandBody {}

/// What is understood.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UnderstandingBody {
    /// `zh`, `zh-Hant`, `en` or `mixed`.
    language: &'static str,
    /// What was sensed of it.
    #[serde(flatten)]
    sensed: SensedBody,
    /// How dissatisfied the customer is by now, 0 to 1.
    dissatisfaction: f32,
    /// Personal data, in order.
    personal_data: Vec<PersonalDataBody>,
    /// The message with masks.
    masked_text: String,
}

/// Something personal.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PersonalDataBody {
    /// What it is.
    kind: &'static str,
    /// Its first character.
    start: usize,
    /// The character after its last.
    end: usize,
    /// What takes its place; empty where the policy keeps it.
    mask: String,
}

/// Understands a message without answering it. Nothing is kept.
#[utoipa::path(
    post, path = "/api/v1/understand", tag = "questions", request_body = UnderstandBody,
    responses(
        (status = 200, body = UnderstandingBody),
        (status = "4XX", body = ErrorBody, description = "The message cannot be looked at as it is"),
        (status = 503, body = ErrorBody, description = "Not ready or overloaded; Retry-After says when to try again"),
    )
)]
pub(crate) async fn understand(
    State(state): State<AppState>,
    JsonBody(body): JsonBody<UnderstandBody>,
) -> Result<Json<UnderstandingBody>, ApiError> {
    check_history(body.history.len(), body.history.iter().map(HistoryTurn::words))?;
    let ask = Ask {
        history: body.history.into_iter().map(Turn::from).collect(),
        ..Ask::new(body.text, viewer(&state, Vec::new(), None)?)
    };
    let understood = state.assistant()?.understand(ask).await?;
    let sensed = understood.sensed;
    Ok(Json(UnderstandingBody {
        language: understood.language,
        dissatisfaction: sensed.dissatisfaction,
        sensed: sensed.into(),
        personal_data: (understood.personal.into_iter())
            .map(|found| PersonalDataBody {
                kind: found.kind,
                start: found.span.start,
                end: found.span.end,
                mask: found.mask,
            })
            .collect(),
        masked_text: understood.masked,
    }))
}

/// Intents, the head that tells them, and its training.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IntentsBody {
    /// Every intent with its examples, in order of its name.
    items: Vec<IntentRow>,
    /// The head in use; null where none is.
    head: Option<HeadBody>,
    /// The training under way; null where none is.
    training: Option<TrainingBody>,
    /// Why the last training failed; null where it did not.
    failed: Option<String>,
}

/// An intent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IntentRow {
    /// Its name.
    intent: String,
    /// Examples that were given.
    given: u64,
    /// Examples from the desk.
    corrected: u64,
}

/// The head in use.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeadBody {
    /// Its version; 0 for one from a file.
    version: u64,
    /// Intents that it tells.
    labels: usize,
    /// Examples that it was trained on.
    examples: usize,
    /// Share of examples left out of training whose intent it found, by cross-validation.
    accuracy: f64,
    /// The mean over intents of their F1, likewise.
    macro_f1: f64,
}

/// A training.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrainingBody {
    /// Since when.
    #[schema(format = DateTime)]
    since: String,
    /// Who began it.
    by: String,
    /// Which share is done, 0 to 1.
    done: f32,
}

fn trainer(state: &AppState) -> Result<Arc<Trainer>, ApiError> {
    state.services()?.trainer.clone().ok_or_else(|| {
        let message = "nothing is sensed of messages: take [understanding] heads = \"none\" out of the settings";
        ApiError::new(StatusCode::CONFLICT, "no_heads", message)
    })
}

/// Shows all intents, the head in use, and how the training stands.
#[utoipa::path(
    get, path = "/api/v1/understanding/intents", tag = "understanding",
    responses((status = 200, body = IntentsBody), (status = 401, body = ErrorBody, description = "Sign in first"))
)]
pub(crate) async fn intents(State(state): State<AppState>) -> Result<Json<IntentsBody>, ApiError> {
    let trainer = trainer(&state)?;
    let items = state.store().intents().await?;
    let standing = trainer.standing();
    let head = trainer.senses().intent_head().map(|head| {
        let about = head.head.about();
        HeadBody {
            version: head.version,
            labels: about.labels.len(),
            examples: about.calibration.n,
            accuracy: about.calibration.accuracy,
            macro_f1: about.calibration.macro_f1,
        }
    });
    Ok(Json(IntentsBody {
        items: (items.into_iter())
            .map(|count| IntentRow {
                intent: count.intent,
                given: count.given,
                corrected: count.corrected,
            })
            .collect(),
        head,
        training: standing.running.map(|(since, by)| TrainingBody {
            since: since.to_string(),
            by,
            done: standing.done,
        }),
        failed: standing.failed,
    }))
}

/// Trains a head on all examples. It is in use from its end on, on every node; answers go on meanwhile.
#[utoipa::path(
    post, path = "/api/v1/understanding/intents/train", tag = "understanding",
    responses(
        (status = 202, description = "It has begun; `GET /api/v1/understanding/intents` tells how it goes on"),
        (status = 409, body = ErrorBody, description = "`training`: one is under way; `too_few`: there are not two intents with examples"),
    )
)]
pub(crate) async fn train(State(state): State<AppState>, person: Person) -> Result<StatusCode, ApiError> {
    match trainer(&state)?.begin(&person.name).await {
        Ok(()) => Ok(StatusCode::ACCEPTED),
        Err(TrainError::Storage(error)) => Err(error.into()),
        Err(error @ TrainError::Busy) => Err(ApiError::new(StatusCode::CONFLICT, "training", error.to_string())),
        Err(error) => Err(ApiError::new(StatusCode::CONFLICT, "too_few", error.to_string())),
    }
}

/// Which examples.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExampleParams {
    /// Of this intent; all where it is left out.
    intent: Option<String>,
}

/// An example.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExampleBody {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// The words, masked.
    text: String,
    /// The intent.
    intent: String,
    /// `given` or `corrected`.
    origin: &'static str,
    /// Who said so.
    author: String,
    /// When.
    #[schema(format = DateTime)]
    created_at: String,
}

impl From<IntentExample> for ExampleBody {
    fn from(from: IntentExample) -> Self {
        Self {
            id: from.id.to_string(),
            text: from.text,
            intent: from.intent,
            origin: from.origin.name(),
            author: from.author,
            created_at: from.created_at.to_string(),
        }
    }
}

/// Lists examples, oldest first.
#[utoipa::path(
    get, path = "/api/v1/understanding/examples", tag = "understanding", params(PageParams, ExampleParams),
    responses((status = 200, body = List<ExampleBody>), (status = 401, body = ErrorBody, description = "Sign in first"))
)]
pub(crate) async fn examples(
    State(state): State<AppState>,
    QueryParams(params): QueryParams<ExampleParams>,
    page: PageParams,
) -> Result<Json<List<ExampleBody>>, ApiError> {
    let found = state.store().examples(params.intent.as_deref(), &page.request()).await;
    List::of(found, ExampleBody::from).map(Json)
}

/// Examples to learn from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExamplesForm {
    /// At most 5000, and 1 MiB in all unless the settings allow more.
    examples: Vec<ExampleForm>,
}

/// A text with its intent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExampleForm {
    /// The words; personal data in them is masked.
    #[schema(example = "卡不见了帮我停掉")]
    text: String,
    /// The intent; a group and a name may have a slash between.
    #[schema(example = "card/lost")]
    intent: String,
}

impl RequestBody for ExamplesForm {}

/// How many examples were taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TakenBody {
    /// Examples that are new or have another intent than before. What is said of a message changes none that was given with the same words.
    changed: usize,
}

/// An intent's name, if it can be one.
fn intent_name(name: &str) -> Result<String, ApiError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_INTENT_CHARS || name.chars().any(char::is_control) {
        let message = format!("an intent has 1 to {MAX_INTENT_CHARS} characters");
        return Err(ApiError::parameter("intent", message));
    }
    Ok(name.to_owned())
}

/// Adds examples, or changes the intent of those that are there.
#[utoipa::path(
    post, path = "/api/v1/understanding/examples", tag = "understanding", request_body = ExamplesForm,
    responses(
        (status = 200, body = TakenBody),
        (status = 409, body = ErrorBody, description = "`too_many`: there would be more than 100,000"),
        (status = "4XX", body = ErrorBody, description = "They cannot be taken as they are; none was"),
    )
)]
pub(crate) async fn add_examples(
    State(state): State<AppState>,
    person: Person,
    JsonBody(form): JsonBody<ExamplesForm>,
) -> Result<Json<TakenBody>, ApiError> {
    if form.examples.is_empty() || form.examples.len() > MAX_EXAMPLES {
        return Err(ApiError::parameter("examples", format!("1 to {MAX_EXAMPLES} examples")));
    }
    let assistant = state.assistant()?;
    let mut examples = Vec::with_capacity(form.examples.len());
    for example in form.examples {
        let text = example.text.trim();
        if text.is_empty() || text.chars().count() > MAX_TEXT_CHARS || text.contains('\0') {
            let message = format!("a text has 1 to {MAX_TEXT_CHARS} characters");
            return Err(ApiError::parameter("text", message));
        }
        examples.push(IntentExample {
            id: ExampleId::new(),
            text: assistant.masker().mask(text).text,
            intent: intent_name(&example.intent)?,
            origin: ExampleOrigin::Given,
            message: None,
            author: person.name.clone(),
            created_at: state.now(),
        });
    }
    let changed = put(&state, &examples).await?;
    Ok(Json(TakenBody { changed }))
}

async fn put(state: &AppState, examples: &[IntentExample]) -> Result<usize, ApiError> {
    match state.store().put_examples(examples).await {
        Err(StorageError::Invalid { detail, .. }) => Err(ApiError::new(StatusCode::CONFLICT, "too_many", detail)),
        other => Ok(other?),
    }
}

/// Removes an example.
#[utoipa::path(
    delete, path = "/api/v1/understanding/examples/{id}", tag = "understanding",
    params(("id" = Uuid, Path, description = "As the list names it")),
    responses((status = 204, description = "It is gone"), (status = 404, body = ErrorBody, description = "There is none"))
)]
pub(crate) async fn remove_example(
    State(state): State<AppState>,
    person: Person,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let id: ExampleId = id.parse().map_err(|_| ApiError::not_found("example"))?;
    if state.store().remove_example(id, &person.name).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("example"))
    }
}

/// What a message was about.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CorrectionForm {
    /// The intent.
    #[schema(example = "card/lost")]
    intent: String,
}

impl RequestBody for CorrectionForm {}

/// Says what a customer's message was about: an example for the next training, which goes when the message goes.
#[utoipa::path(
    put, path = "/api/v1/desk/conversations/{id}/messages/{message}/intent", tag = "understanding",
    request_body = CorrectionForm,
    params(("id" = Uuid, Path, description = "The conversation"), ("message" = Uuid, Path, description = "A message of the customer")),
    responses(
        (status = 200, body = TakenBody),
        (status = 404, body = ErrorBody, description = "There is no such message of the customer there"),
    )
)]
pub(crate) async fn correct(
    State(state): State<AppState>,
    person: Person,
    Path((conversation, message)): Path<(String, String)>,
    JsonBody(form): JsonBody<CorrectionForm>,
) -> Result<Json<TakenBody>, ApiError> {
    let none = || ApiError::not_found("message");
    let conversation: ConversationId = conversation.parse().map_err(|_| none())?;
    let id: MessageId = message.parse().map_err(|_| none())?;
    let intent = intent_name(&form.intent)?;
    let messages = state.store().messages(conversation, MAX_MESSAGES).await?;
    let learnable =
        |message: &Message| message.id == id && message.role == Role::Visitor && !message.text.trim().is_empty();
    let said = messages.into_iter().find(learnable);
    let said = said.ok_or_else(none)?;
    let example = IntentExample {
        id: ExampleId::new(),
        text: said.text.chars().take(MAX_TEXT_CHARS).collect(),
        intent,
        origin: ExampleOrigin::Corrected,
        message: Some(id),
        author: person.name,
        created_at: state.now(),
    };
    let changed = put(&state, &[example]).await?;
    Ok(Json(TakenBody { changed }))
}
