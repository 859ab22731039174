//! The one place that knows which failure has which status code, and what a client is told of it.

use crate::desk::DeskError;
use crate::dialogue::DialogueError;
use crate::inference::InferenceError;
use crate::jobs::{EraseError, ImportsError, LearnError, PublishError};
use crate::people::PeopleError;
use crate::retrieval::RetrievalError;
use crate::storage::{StorageError, VaultError};
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use std::error::Error;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

/// When to try again where nothing better is known.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(2);

/// Characters of a message that quotes what the client sent.
const MESSAGE_CHARS: usize = 500;

/// A refusal or a failure, as the client is told of it.
#[derive(Clone, Debug)]
pub struct ApiError(Box<Fault>);

#[derive(Clone, Debug)]
struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
    param: Option<String>,
    retry_after: Option<Duration>,
    /// More facts for the client.
    details: Option<Value>,
    /// For the log alone.
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl ApiError {
    /// A refusal with words for the client.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let mut message: String = message.into();
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS) {
            message.truncate(end);
            message.push('…');
        }
        let retry = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        Self(Box::new(Fault {
            status,
            code,
            message,
            param: None,
            retry_after: retry.then_some(RETRY_AFTER_DEFAULT),
            details: None,
            source: None,
        }))
    }

    /// 400.
    #[must_use]
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 400 for one parameter.
    #[must_use]
    pub fn parameter(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::bad_request("invalid_parameter", message).with_param(param)
    }

    /// 404. What belongs to somebody else and what does not exist look alike.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no such {what}"))
    }

    /// 401.
    #[must_use]
    pub fn unauthorized(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, message)
    }

    /// 500; the cause goes to the log alone.
    #[must_use]
    pub fn internal(source: impl Error + Send + Sync + 'static) -> Self {
        Self::failure(StatusCode::INTERNAL_SERVER_ERROR, "internal", source)
    }

    /// 500 without a cause that is an error.
    #[must_use]
    pub fn panicked() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", INTERNAL)
    }

    /// 503 while the models are read.
    #[must_use]
    pub fn not_ready() -> Self {
        let message = "the models and the index are still being loaded; /readyz says when they are there";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", message)
    }

    /// The failure that a reply's `error` event tells of, for a client that has not been sent anything yet.
    #[must_use]
    pub fn of_event(code: &'static str, message: &str) -> Self {
        let status = match code {
            "overloaded" | "server_shutdown" => StatusCode::SERVICE_UNAVAILABLE,
            "storage_full" => StatusCode::INSUFFICIENT_STORAGE,
            "deadline" => StatusCode::GATEWAY_TIMEOUT,
            "invalid_question" => StatusCode::BAD_REQUEST,
            "conversation_closed" => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, code, message)
    }

    /// What stands for a status code that a library answered with.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        let (code, message) = match status {
            StatusCode::NOT_FOUND => ("not_found", "there is no such address; /api/docs lists those there are"),
            StatusCode::METHOD_NOT_ALLOWED => (
                "method_not_allowed",
                "this address knows other methods; the Allow header names them",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "the body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ("unsupported_media_type", "send application/json"),
            _ if status.is_server_error() => ("internal", INTERNAL),
            _ => ("bad_request", "the request cannot be understood"),
        };
        Self::new(status, code, message)
    }

    fn failure(status: StatusCode, code: &'static str, source: impl Error + Send + Sync + 'static) -> Self {
        let mut error = Self::new(status, code, INTERNAL);
        error.0.source = Some(Arc::new(source));
        error
    }

    /// Names the parameter at fault.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.0.param = Some(param.into());
        self
    }

    /// More facts for the client.
    #[must_use]
    pub fn with_details(mut self, details: impl Serialize) -> Self {
        self.0.details = serde_json::to_value(details).ok();
        self
    }

    /// Another code, for OpenAI's names.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.0.code = code;
        self
    }

    /// When to try again.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable name.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// What the client is told.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What went wrong, for the log.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }

    /// The answer, in the form that clients of this address know.
    #[must_use]
    pub fn render(&self, dialect: Dialect, request_id: &str) -> Response {
        let body = match dialect {
            Dialect::Kefu => serde_json::to_vec(&ErrorBody {
                error: ErrorDetail {
                    code: self.0.code.to_owned(),
                    message: self.0.message.clone(),
                    request_id: request_id.to_owned(),
                    details: self.0.details.clone(),
                },
            }),
            Dialect::OpenAi => serde_json::to_vec(&OpenAiErrorBody { error: self.openai() }),
        };
        let mut response = Response::new(Body::from(body.unwrap_or_default()));
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(wait) = self.0.retry_after {
            // Rounded up: a client that comes back a moment too early is refused again.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.0.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    /// The error as OpenAI's clients read it.
    #[must_use]
    pub fn openai(&self) -> OpenAiError {
        let kind = match self.0.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        OpenAiError {
            message: self.0.message.clone(),
            kind: kind.to_owned(),
            param: self.0.param.clone(),
            code: Some(self.0.code.to_owned()),
        }
    }
}

/// All that a client is told of a failure within.
const INTERNAL: &str = "the server failed to answer; its operator finds the cause in the log under the request id";

impl IntoResponse for ApiError {
    /// A response without a body: `middleware` writes the body, because it knows the request's id and address.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.0.status;
        response.extensions_mut().insert(self);
        response
    }
}

/// The form of an error body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `{"error":{"code","message","request_id"}}`
    Kefu,
    /// OpenAI's error object.
    OpenAi,
}

impl Dialect {
    /// The form for a path.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        if path == "/v1" || path.starts_with("/v1/") {
            Self::OpenAi
        } else {
            Self::Kefu
        }
    }
}

/// The body of every error outside `/v1`.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorDetail {
    /// A stable name, in snake case.
    #[schema(example = "invalid_parameter")]
    pub code: String,
    /// What to do, in words.
    pub message: String,
    /// What to tell the operator.
    pub request_id: String,
    /// More facts, where the code has such: `golden_worse` has what the golden questions said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub details: Option<Value>,
}

/// The body of every error under `/v1`.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAiErrorBody {
    /// What went wrong.
    pub error: OpenAiError,
}

/// What went wrong, as OpenAI's clients read it.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAiError {
    /// What to do, in words.
    pub message: String,
    /// The kind of error.
    #[serde(rename = "type")]
    pub kind: String,
    /// The parameter at fault.
    pub param: Option<String>,
    /// A stable name.
    pub code: Option<String>,
}

impl From<DialogueError> for ApiError {
    fn from(error: DialogueError) -> Self {
        match error {
            DialogueError::Empty => Self::bad_request("empty_question", error.to_string()),
            DialogueError::TooLong { .. } => Self::bad_request("question_too_long", error.to_string()),
            DialogueError::Busy { retry_after } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", error.to_string()).with_retry_after(retry_after)
            }
            DialogueError::Closed => Self::new(StatusCode::CONFLICT, "conversation_closed", error.to_string()),
            DialogueError::Inference(error) => error.into(),
            DialogueError::Retrieval(error) => error.into(),
            DialogueError::Storage(error) | DialogueError::Vault(VaultError::Storage(error)) => error.into(),
            DialogueError::Vault(error) => Self::internal(error),
        }
    }
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Full => {
                let message = "no space is left to store this; the operator must free some";
                let mut full = Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", message);
                full.0.source = Some(Arc::new(error));
                full
            }
            StorageError::Busy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "database_busy",
                "the database is busy; try again",
            ),
            StorageError::Unavailable { .. } => {
                let message = "the database cannot be reached at the moment; try again";
                let mut away = Self::new(StatusCode::SERVICE_UNAVAILABLE, "database_unavailable", message);
                away.0.source = Some(Arc::new(error));
                away
            }
            StorageError::Missing { what, .. } => Self::not_found(what),
            StorageError::Conflict { .. } => Self::new(StatusCode::CONFLICT, "conflict", error.to_string()),
            StorageError::FourEyes { .. } => Self::new(StatusCode::FORBIDDEN, "four_eyes", error.to_string()),
            StorageError::WrongState { .. } => Self::new(StatusCode::CONFLICT, "wrong_state", error.to_string()),
            StorageError::UnknownHistory { .. } => {
                Self::new(StatusCode::CONFLICT, "unknown_history", error.to_string())
            }
            StorageError::Invalid { .. }
            | StorageError::Damaged { .. }
            | StorageError::Newer { .. }
            | StorageError::Io { .. }
            | StorageError::Address { .. }
            | StorageError::OldLibrary { .. }
            | StorageError::Corrupt { .. }
            | StorageError::Database(_) => Self::internal(error),
        }
    }
}

impl From<DeskError> for ApiError {
    fn from(error: DeskError) -> Self {
        let message = error.to_string();
        match error {
            DeskError::Invalid { field, detail } => Self::parameter(field, detail),
            DeskError::NoVault => Self::new(StatusCode::CONFLICT, "no_vault", message),
            DeskError::Storage(error) | DeskError::Vault(VaultError::Storage(error)) => error.into(),
            DeskError::Vault(error) => Self::internal(error),
        }
    }
}

impl From<EraseError> for ApiError {
    fn from(error: EraseError) -> Self {
        match error {
            EraseError::Reason => Self::parameter("reason", error.to_string()),
            EraseError::Storage(error) => error.into(),
        }
    }
}

impl From<PublishError> for ApiError {
    fn from(error: PublishError) -> Self {
        let message = error.to_string();
        match error {
            PublishError::GoldenWorse(report) => {
                Self::new(StatusCode::CONFLICT, "golden_worse", message).with_details(report)
            }
            PublishError::NotTried => Self::not_ready(),
            PublishError::Storage(error) => error.into(),
            PublishError::Retrieval(error) => error.into(),
        }
    }
}

impl From<ImportsError> for ApiError {
    fn from(error: ImportsError) -> Self {
        let message = error.to_string();
        match error {
            ImportsError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message),
            ImportsError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message),
            ImportsError::BadName { .. } | ImportsError::Empty => Self::parameter("file", message),
            ImportsError::Io(error) => match error.kind() {
                ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                    Self::parameter("file", "two files of one upload have the same name")
                }
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StorageError::Full.into(),
                _ => Self::internal(error),
            },
        }
    }
}

impl From<PeopleError> for ApiError {
    fn from(error: PeopleError) -> Self {
        match error {
            PeopleError::WrongCredentials => Self::unauthorized("wrong_credentials", error.to_string()),
            PeopleError::CodeNeeded => Self::unauthorized("code_needed", error.to_string()),
            PeopleError::WrongCode => Self::unauthorized("wrong_code", error.to_string()),
            PeopleError::Throttled { retry_after } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", error.to_string())
                    .with_retry_after(retry_after)
            }
            PeopleError::Overloaded => Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", error.to_string()),
            PeopleError::WrongPassword => Self::bad_request("wrong_password", error.to_string()).with_param("old"),
            PeopleError::WeakPassword(_) => Self::bad_request("weak_password", error.to_string()).with_param("new"),
            PeopleError::BadName => Self::parameter("name", error.to_string()),
            PeopleError::BadDisplayName => Self::parameter("display_name", error.to_string()),
            PeopleError::NameTaken { .. } => Self::new(StatusCode::CONFLICT, "name_taken", error.to_string()),
            PeopleError::NoSuchUser { .. } => Self::not_found("account"),
            PeopleError::Hashing(detail) => Self::internal(std::io::Error::other(detail)),
            PeopleError::Storage(error) => error.into(),
        }
    }
}

impl From<LearnError> for ApiError {
    fn from(error: LearnError) -> Self {
        match error {
            LearnError::Storage(error) => error.into(),
            LearnError::Retrieval(error) => error.into(),
            LearnError::Dialogue(error) => error.into(),
        }
    }
}

impl From<InferenceError> for ApiError {
    fn from(error: InferenceError) -> Self {
        match error {
            InferenceError::Overloaded { retry_after, .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", error.to_string())
                    .with_retry_after(retry_after)
            }
            InferenceError::TooLong { .. } => Self::bad_request("context_length_exceeded", error.to_string()),
            InferenceError::BadParameter { name, .. } => Self::parameter(name, error.to_string()),
            InferenceError::Unsupported(_) => Self::bad_request("unsupported", error.to_string()),
            InferenceError::Deadline => Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline", error.to_string()),
            InferenceError::Stopped => Self::failure(StatusCode::SERVICE_UNAVAILABLE, "engine_stopped", error)
                .with_retry_after(RETRY_AFTER_DEFAULT),
            InferenceError::Remote { retry_after, .. } => {
                Self::failure(StatusCode::SERVICE_UNAVAILABLE, "model_unavailable", error)
                    .with_retry_after(retry_after.unwrap_or(RETRY_AFTER_DEFAULT))
            }
            InferenceError::Io { .. }
            | InferenceError::BadModel { .. }
            | InferenceError::Template(_)
            | InferenceError::Tokenizer(_)
            | InferenceError::Device { .. }
            | InferenceError::Compute(_) => Self::internal(error),
        }
    }
}

impl From<RetrievalError> for ApiError {
    fn from(error: RetrievalError) -> Self {
        match error {
            RetrievalError::Storage(error) => error.into(),
            RetrievalError::Inference(error) => error.into(),
            RetrievalError::Overloaded { .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "too many questions at once; try again",
            ),
            RetrievalError::Io { .. }
            | RetrievalError::NotAFile { .. }
            | RetrievalError::TooMany { .. }
            | RetrievalError::TooLarge { .. }
            | RetrievalError::UnsupportedFormat { .. }
            | RetrievalError::NotText(_)
            | RetrievalError::BadMarkup { .. }
            | RetrievalError::BadScope { .. }
            | RetrievalError::Synonyms(_)
            | RetrievalError::Document(_)
            | RetrievalError::Empty
            | RetrievalError::FaqHeader { .. }
            | RetrievalError::Dimension { .. }
            | RetrievalError::Cancelled
            | RetrievalError::Internal { .. }
            | RetrievalError::Lexical(_) => Self::internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ApiError, Dialect};
    use crate::inference::InferenceError;
    use crate::storage::StorageError;
    use axum::http::StatusCode;
    use axum::http::header::RETRY_AFTER;
    use std::time::Duration;

    #[test]
    fn a_failure_within_tells_the_client_nothing() {
        let error = ApiError::from(StorageError::Corrupt {
            table: "messages",
            detail: "secret".to_owned(),
        });
        assert_eq!(error.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!error.message().contains("secret") && !error.message().contains("messages"));
        assert!(error.source().is_some());
        assert_eq!(
            ApiError::from(StorageError::Full).status(),
            StatusCode::INSUFFICIENT_STORAGE
        );
    }

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        let error = InferenceError::Overloaded {
            queued: 3,
            retry_after: Duration::from_millis(1200),
        };
        let response = ApiError::from(error).render(Dialect::OpenAi, "id");
        assert_eq!(
            (response.status(), &response.headers()[RETRY_AFTER]),
            (StatusCode::SERVICE_UNAVAILABLE, &"2".parse().unwrap())
        );
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let error = ApiError::bad_request("x", "问".repeat(2000));
        assert_eq!(error.message().chars().count(), 501);
    }
}
