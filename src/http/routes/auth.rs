//! Signing in and out.

use crate::config::HttpConfig;
use crate::domain::{Hidden, StaffRole};
use crate::http::auth::{ClientAddress, clear_session, session_cookie};
use crate::http::body::{JsonBody, RequestBody};
use crate::http::error::{ApiError, ErrorBody};
use crate::http::state::AppState;
use crate::people::{Credentials, Person, SignedIn};
use axum::Json;
use axum::extract::State;
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Bytes of a body that holds names and passwords.
const MAX_BODY_BYTES: usize = 8192;

/// What somebody signs in with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginBody {
    /// The account's name.
    name: String,
    /// Its password.
    password: String,
    /// The one-time code, where the account has such.
    code: Option<String>,
}

impl RequestBody for LoginBody {
    fn limit(_config: &HttpConfig) -> usize {
        MAX_BODY_BYTES
    }
}

/// Somebody who is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MeBody {
    /// Who.
    user: UserBody,
}

/// An account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserBody {
    /// Its identifier.
    #[schema(format = Uuid)]
    id: String,
    /// What it signs in with.
    name: String,
    /// What others see.
    display_name: String,
    /// What it may do.
    #[schema(value_type = String, example = "supervisor")]
    role: StaffRole,
    /// Whether it must choose another password before anything else.
    must_change_password: bool,
}

impl MeBody {
    fn of(person: Person) -> Self {
        Self {
            user: UserBody {
                id: person.id.to_string(),
                name: person.name,
                display_name: person.display_name,
                role: person.role,
                must_change_password: person.must_change,
            },
        }
    }
}

fn signed_in(state: &AppState, session: SignedIn) -> Response {
    let mut headers = HeaderMap::new();
    if let Some(cookie) = session_cookie(state.config(), &session.token.0) {
        headers.insert(SET_COOKIE, cookie);
    }
    (headers, Json(MeBody::of(session.person))).into_response()
}

/// Signs somebody in; a cookie holds the session.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "people", request_body = LoginBody,
    responses(
        (status = 200, body = MeBody, headers(("set-cookie", description = "The session"))),
        (status = 401, body = ErrorBody, description = "`wrong_credentials`, `code_needed` or `wrong_code`"),
        (status = 429, body = ErrorBody, description = "Too many failures; Retry-After says when to try again"),
    )
)]
pub(crate) async fn login(
    State(state): State<AppState>,
    ClientAddress(address): ClientAddress,
    JsonBody(body): JsonBody<LoginBody>,
) -> Result<Response, ApiError> {
    let credentials = Credentials {
        name: body.name,
        password: Hidden(body.password),
        code: body.code,
    };
    let session = state.people().sign_in(credentials, address).await?;
    Ok(signed_in(&state, session))
}

/// Ends the session.
#[utoipa::path(
    post, path = "/api/v1/auth/logout", tag = "people",
    responses((status = 204, description = "Ended"), (status = 401, body = ErrorBody, description = "Nobody is signed in"))
)]
pub(crate) async fn logout(State(state): State<AppState>, person: Person) -> Result<Response, ApiError> {
    state.people().sign_out(&person).await?;
    let mut headers = HeaderMap::new();
    if let Some(cookie) = clear_session(state.config()) {
        headers.insert(SET_COOKIE, cookie);
    }
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

/// Tells who is signed in.
#[utoipa::path(
    get, path = "/api/v1/auth/me", tag = "people",
    responses((status = 200, body = MeBody), (status = 401, body = ErrorBody, description = "Nobody is signed in"))
)]
pub(crate) async fn me(person: Person) -> Json<MeBody> {
    Json(MeBody::of(person))
}

/// Another password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordBody {
    /// The present one.
    old: String,
    /// The new one: at least 12 characters, without the account's name.
    new: String,
}

impl RequestBody for PasswordBody {
    fn limit(_config: &HttpConfig) -> usize {
        MAX_BODY_BYTES
    }
}

/// Changes the person's own password. All its sessions end; the cookie holds a new one.
#[utoipa::path(
    post, path = "/api/v1/auth/password", tag = "people", request_body = PasswordBody,
    responses(
        (status = 200, body = MeBody, headers(("set-cookie", description = "The new session"))),
        (status = 400, body = ErrorBody, description = "`wrong_password` or `weak_password`"),
        (status = 429, body = ErrorBody, description = "Too many failures; Retry-After says when to try again"),
    )
)]
pub(crate) async fn password(
    State(state): State<AppState>,
    ClientAddress(address): ClientAddress,
    person: Person,
    JsonBody(body): JsonBody<PasswordBody>,
) -> Result<Response, ApiError> {
    let (old, new) = (Hidden(body.old), Hidden(body.new));
    let session = state.people().change_password(&person, old, new, address).await?;
    Ok(signed_in(&state, session))
}
