//! The `OpenAPI` document, generated from the handlers, and a page to read it in.

use crate::http::error::ApiError;
use crate::http::state::AppState;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get};
use std::sync::{Arc, LazyLock};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, Info, License, OpenApi, OpenApiBuilder};
use utoipa_swagger_ui::Config;

/// What Swagger UI needs: no more than the chat page, but it writes its own markup from strings, so Trusted Types cannot
/// be required of it. The one inline style that it would add is decoration and stays blocked.
const DOCS_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static SETTINGS: LazyLock<Arc<Config<'static>>> =
    LazyLock::new(|| Arc::new(Config::new(["/api/openapi.json"]).validator_url("none")));

/// What stands above the routes.
pub(crate) fn document(state: &AppState) -> OpenApi {
    let mut info = Info::new("kefu", env!("CARGO_PKG_VERSION"));
    info.description = Some(env!("CARGO_PKG_DESCRIPTION").to_owned());
    let mut license = License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".to_owned());
    info.license = Some(license);
    let bearer = |words: &str| {
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(words))
                .build(),
        )
    };
    let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(crate::http::auth::cookie_name(
        state.config(),
    ))));
    let session = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(crate::http::auth::session_name(
        state.config(),
    ))));
    let mut components = Components::new();
    for (name, scheme) in [
        (
            "api_key",
            bearer("A key of `kefu key new NAME`. Clients on the server's own machine need none by default."),
        ),
        (
            "visitor_token",
            bearer("The token that POST /api/v1/conversations returned."),
        ),
        ("visitor_cookie", cookie),
        ("session_cookie", session),
    ] {
        components.add_security_scheme(name, scheme);
    }
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

/// The document as it is sent.
#[derive(Clone)]
pub(crate) struct Document(Result<Bytes, String>);

impl Document {
    /// Written once: it does not change while the server runs.
    pub(crate) fn of(document: &OpenApi) -> Self {
        Self(document.to_json().map(Bytes::from).map_err(|error| error.to_string()))
    }
}

/// `/api/openapi.json`
pub(crate) fn json(document: Document) -> MethodRouter<AppState> {
    get(async move || match document.0 {
        Ok(bytes) => ([(CONTENT_TYPE, "application/json")], bytes).into_response(),
        Err(error) => ApiError::internal(std::io::Error::other(error)).into_response(),
    })
}

/// `/api/docs`
pub(crate) fn redirect() -> MethodRouter<AppState> {
    get(async || Redirect::permanent("/api/docs/"))
}

/// `/api/docs/`
pub(crate) fn index() -> MethodRouter<AppState> {
    get(async || file("index.html"))
}

/// `/api/docs/...`
pub(crate) fn asset() -> MethodRouter<AppState> {
    get(async |Path(name): Path<String>| file(&name))
}

fn file(name: &str) -> Result<Response, ApiError> {
    let found = utoipa_swagger_ui::serve(name, Arc::clone(&SETTINGS))
        .map_err(|error| ApiError::internal(std::io::Error::other(error.to_string())))?
        .ok_or_else(|| ApiError::not_found("file"))?;
    let mut response = (StatusCode::OK, found.bytes.into_owned()).into_response();
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(&found.content_type) {
        headers.insert(CONTENT_TYPE, kind);
    }
    if found.gzpipped {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_CSP));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
