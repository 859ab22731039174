//! The web pages, from within the binary.

use crate::http::error::ApiError;
use crate::http::middleware::PAGE_CSP;
use crate::http::state::AppState;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use rust_embed::Embed;

/// What `scripts/build-ui.sh` leaves. A build without it works and says so.
#[derive(Embed)]
#[folder = "src/http/ui/dist"]
#[allow_missing = true]
struct Dist;

const MISSING: &str = "<!doctype html><html lang=\"zh-CN\"><meta charset=\"utf-8\"><title>kefu</title>\
     <p>网页尚未构建：请运行 <code>scripts/build-ui.sh</code>，然后重新构建 kefu。接口文档见 <a href=\"/api/docs/\">/api/docs</a>。</p>\
     <p lang=\"en\">The pages were not built: run <code>scripts/build-ui.sh</code>, then build kefu again. \
     The API is described at <a href=\"/api/docs/\">/api/docs</a>.</p></html>\n";

/// Whether the pages were built into this program.
#[must_use]
pub fn has_pages() -> bool {
    Dist::get("index.html").is_some()
}

/// `/`: the visitors' chat.
pub(crate) fn index() -> MethodRouter<AppState> {
    page("index.html")
}

/// `/admin` and all below it: one page, which asks the API for what its address names. It shows nothing to whoever is not
/// signed in, so it may be seen by everybody.
pub(crate) fn admin() -> MethodRouter<AppState> {
    page("admin.html")
}

fn page(name: &'static str) -> MethodRouter<AppState> {
    get(async move || {
        let page = Dist::get(name).map_or_else(|| MISSING.as_bytes().to_vec(), |file| file.data.into_owned());
        let headers = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CONTENT_SECURITY_POLICY, PAGE_CSP),
            (CACHE_CONTROL, "no-store"),
        ];
        (headers, page).into_response()
    })
}

/// `/assets/...`: names contain a hash of the content, so they can be kept for ever.
pub(crate) fn asset() -> MethodRouter<AppState> {
    get(async |Path(file): Path<String>| -> Result<Response, ApiError> {
        let found = Dist::get(&format!("assets/{file}")).ok_or_else(|| ApiError::not_found("file"))?;
        let kind = text_in_utf8(found.metadata.mimetype());
        let headers = [
            (CONTENT_TYPE, kind.as_str()),
            (CACHE_CONTROL, "public, max-age=31536000, immutable"),
        ];
        Ok((headers, found.data.into_owned()).into_response())
    })
}

fn text_in_utf8(kind: &str) -> String {
    if kind.starts_with("text/") && !kind.contains("charset") {
        format!("{kind}; charset=utf-8")
    } else {
        kind.to_owned()
    }
}
