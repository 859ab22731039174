//! Uploads of documents and FAQs, imported beside the server's answers.

use super::id;
use super::publish::{PublishedBody, request};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::state::AppState;
use crate::jobs::{ImportJob, Upload};
use crate::people::Person;
use crate::retrieval::{FileOutcome, FileReport};
use axum::Json;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{Multipart, Path, State};
use axum::http::StatusCode;
use serde::Serialize;
use std::fmt::Write;
use std::time::Duration;
use utoipa::ToSchema;

/// Characters of what is said of faulty lines.
const MAX_FAULT_CHARS: usize = 2000;

/// What is uploaded.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes the parts of the body")]
pub(crate) struct ImportForm {
    /// A document, FAQs, or an archive of them; several times for several.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// `true` publishes the drafts when all files are read; `false` where it is left out.
    publish: Option<bool>,
}

/// An import that has begun.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportStarted {
    /// What to ask after.
    #[schema(format = Uuid)]
    id: String,
}

/// One file of an import.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportedFile {
    /// What its document is called.
    source: String,
    /// `added`, `updated`, `unchanged`, `faqs`, `skipped` or `failed`.
    outcome: &'static str,
    /// Passages of a document.
    passages: Option<usize>,
    /// FAQs that were read.
    faqs: Option<usize>,
    /// Why it failed, or which lines are faulty.
    error: Option<String>,
    /// The draft that was made of it; of several the first.
    #[schema(format = Uuid)]
    revision_id: Option<String>,
    /// Drafts that were made of it.
    drafts: usize,
    /// Numbers of persons that were masked in it.
    masked: usize,
}

/// What is known of an import.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportBody {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// Who started it.
    author: String,
    /// `running`, `done`, `failed` or `cancelled`.
    state: &'static str,
    /// Files that are done.
    files_done: usize,
    /// Files known of.
    files_total: usize,
    /// Texts of the present file that have their vector.
    embedded: usize,
    /// Texts of the present file.
    embed_total: usize,
    /// The files that are done.
    files: Vec<ImportedFile>,
    /// What was published, where that was asked for.
    published: Option<PublishedBody>,
    /// Why it failed. Drafts that were made before stay.
    error: Option<String>,
}

impl From<FileReport> for ImportedFile {
    fn from(from: FileReport) -> Self {
        let (mut passages, mut faqs, mut error) = (None, None, None);
        let outcome = match from.outcome {
            FileOutcome::Added { passages: count } => {
                passages = Some(count);
                "added"
            }
            FileOutcome::Updated { passages: count } => {
                passages = Some(count);
                "updated"
            }
            FileOutcome::Unchanged => "unchanged",
            FileOutcome::Skipped => "skipped",
            FileOutcome::Faqs {
                read, errors, faults, ..
            } => {
                faqs = Some(read);
                if faults > 0 {
                    let mut words = format!("{faults} faulty lines");
                    for fault in errors {
                        let _ = write!(words, "; line {}: {}", fault.line, fault.detail);
                    }
                    if let Some((end, _)) = words.char_indices().nth(MAX_FAULT_CHARS) {
                        words.truncate(end);
                        words.push('…');
                    }
                    error = Some(words);
                }
                "faqs"
            }
            FileOutcome::Failed { error: why } => {
                error = Some(why);
                "failed"
            }
        };
        Self {
            source: from.source,
            outcome,
            passages,
            faqs,
            error,
            revision_id: from.drafts.first().map(ToString::to_string),
            drafts: from.drafts.len(),
            masked: from.masked,
        }
    }
}

impl From<ImportJob> for ImportBody {
    fn from(from: ImportJob) -> Self {
        Self {
            id: from.id.to_string(),
            author: from.author,
            state: from.state.name(),
            files_done: from.files.len(),
            files_total: from.files_total,
            embedded: from.embedded,
            embed_total: from.embed_total,
            files: from.files.into_iter().map(ImportedFile::from).collect(),
            published: from.published.map(PublishedBody::from),
            error: from.error,
        }
    }
}

/// Imports files as drafts; or, with `publish`, publishes them when all are read.
#[utoipa::path(
    post, path = "/api/v1/knowledge/imports", tag = "knowledge",
    request_body(content = ImportForm, content_type = "multipart/form-data"),
    responses(
        (status = 202, body = ImportStarted),
        (status = 413, body = ErrorBody, description = "The upload is too large"),
        (status = 503, body = ErrorBody, description = "Too many imports are under way"),
        (status = "4XX", body = ErrorBody, description = "The upload cannot be taken as it is"),
    )
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    person: Person,
    mut parts: Multipart,
) -> Result<(StatusCode, Json<ImportStarted>), ApiError> {
    let imports = &state.services()?.imports;
    let mut upload = imports.receive().await?;
    let patience = Duration::from_millis(state.config().body_timeout_ms);
    let mut publish = false;
    while let Some(part) = in_time(patience, parts.next_field()).await? {
        match part.name() {
            Some("file") => receive(&mut upload, part, patience).await?,
            Some("publish") => {
                let value = in_time(patience, part.text()).await?;
                publish = match value.trim() {
                    "true" => true,
                    "false" | "" => false,
                    _ => return Err(ApiError::parameter("publish", "publish is true or false")),
                };
            }
            other => {
                let message = format!("a part is called \"file\" or \"publish\", not {other:?}");
                return Err(ApiError::parameter("file", message));
            }
        }
    }
    let request = if publish {
        Some(request(&person, String::new(), false)?)
    } else {
        None
    };
    let id = imports.start(upload, &person.name, request)?;
    Ok((StatusCode::ACCEPTED, Json(ImportStarted { id: id.to_string() })))
}

async fn receive(upload: &mut Upload, mut part: Field<'_>, patience: Duration) -> Result<(), ApiError> {
    let name = part.file_name().map(str::to_owned);
    let name = name.ok_or_else(|| ApiError::parameter("file", "each file needs its name (filename=\"...\")"))?;
    let mut file = upload.file(&name).await?;
    while let Some(bytes) = in_time(patience, part.chunk()).await? {
        file.write(&bytes).await?;
    }
    Ok(file.end().await?)
}

/// What is read of a body, if it comes in time.
async fn in_time<T>(patience: Duration, read: impl Future<Output = Result<T, MultipartError>>) -> Result<T, ApiError> {
    match tokio::time::timeout(patience, read).await {
        Ok(read) => read.map_err(|error| ApiError::bad_request("invalid_multipart", error.body_text())),
        Err(_elapsed) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            "the body did not arrive in time",
        )),
    }
}

/// Shows how an import goes on.
#[utoipa::path(
    get, path = "/api/v1/knowledge/imports/{id}", tag = "knowledge",
    params(("id" = Uuid, Path, description = "As its start named it")),
    responses(
        (status = 200, body = ImportBody),
        (status = 404, body = ErrorBody, description = "There is none, or it was before the server's last start"),
    )
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    Path(import): Path<String>,
) -> Result<Json<ImportBody>, ApiError> {
    let job = state.services()?.imports.job(id(&import, "import")?);
    let job = job.ok_or_else(|| ApiError::not_found("import"))?;
    Ok(Json(job.into()))
}

/// Stops an import after what it is at. Drafts that were made stay.
#[utoipa::path(
    delete, path = "/api/v1/knowledge/imports/{id}", tag = "knowledge",
    params(("id" = Uuid, Path, description = "As its start named it")),
    responses(
        (status = 204, description = "It stops"),
        (status = 404, body = ErrorBody, description = "There is none, or it was before the server's last start"),
    )
)]
pub(crate) async fn cancel(State(state): State<AppState>, Path(import): Path<String>) -> Result<StatusCode, ApiError> {
    if state.services()?.imports.cancel(id(&import, "import")?) {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(ApiError::not_found("import"))
    }
}
