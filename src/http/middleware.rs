//! What happens around every request: an identifier, the host and header checks, the body of an error, headers that
//! browsers obey, one line of log without personal data.

use super::error::{ApiError, Dialect};
use super::state::AppState;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use std::panic::AssertUnwindSafe;
use std::time::Instant;
use uuid::Uuid;

/// The policy of the pages: nothing from elsewhere, no inline script or style, no markup from strings.
pub(super) const PAGE_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'";

/// The policy of everything that is no page.
const DATA_CSP: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Headers that every answer has, unless the handler set them itself.
const ALWAYS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, DATA_CSP),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("x-content-type-options"), "nosniff"),
    (HeaderName::from_static("referrer-policy"), "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), microphone=(), payment=(), usb=()",
    ),
];

/// Wraps every request, unknown addresses included.
pub(super) async fn envelope(
    State(state): State<AppState>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    // The client's own identifier is not taken over: it would let it write into the log.
    let id = Uuid::now_v7().to_string();
    let method = known_method(request.method());
    let route = matched
        .as_ref()
        .map_or("unmatched", |matched| matched.as_str())
        .to_owned();
    let dialect = Dialect::of_path(request.uri().path());

    let mut response = match admit(&request, &state) {
        Err(refusal) => refusal.into_response(),
        Ok(()) => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(_panic) => ApiError::panicked().into_response(),
        },
    };
    if is_unexplained(&response) {
        response = explain(response, dialect, &id, &state);
    }
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    let took = began.elapsed();
    state
        .metrics()
        .request(method, &route, response.status().as_u16(), took);
    let elapsed_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let status = response.status().as_u16();
    if matches!(route.as_ref(), "/healthz" | "/readyz" | "/metrics") {
        // Asked every few seconds by machines: seen only by who looks for it.
        tracing::debug!(request.id = %id, method, route, status, elapsed_ms, "request");
    } else {
        tracing::info!(request.id = %id, method, route, status, elapsed_ms, "request");
    }
    response
}

/// Whether a failed response still lacks its body. A handler may have written one itself (`/readyz` does).
fn is_unexplained(response: &Response) -> bool {
    let failed = response.status().is_client_error() || response.status().is_server_error();
    let json = response
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|kind| kind == "application/json");
    failed && !json
}

/// Gives an error its body, and the log its cause.
fn explain(response: Response, dialect: Dialect, id: &str, state: &AppState) -> Response {
    let (parts, _body) = response.into_parts();
    let error = match parts.extensions.get::<ApiError>() {
        Some(error) => error.clone(),
        None => ApiError::of_status(parts.status),
    };
    if let Some(cause) = error.source() {
        tracing::error!(request.id = %id, code = error.code(), error = cause as &dyn std::error::Error, "request failed");
    }
    if matches!(
        parts.status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        state.metrics().rejected(error.code());
    }
    let mut rendered = error.render(dialect, id);
    if let Some(methods) = parts.headers.get(ALLOW) {
        rendered.headers_mut().insert(ALLOW, methods.clone());
    }
    rendered
}

/// Methods that become a label: a client can invent others.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn admit(request: &Request, state: &AppState) -> Result<(), ApiError> {
    let config = state.config();
    check_host(request.headers(), request.uri(), &config.allowed_hosts)
}

/// Stops DNS rebinding: a page of another name that resolves to this machine sends that name as Host.
fn check_host(headers: &HeaderMap, uri: &Uri, allowed: &[String]) -> Result<(), ApiError> {
    let mut sent = headers.get_all(HOST).iter();
    let (Some(host), None) = (sent.next(), sent.next()) else {
        return Err(ApiError::bad_request("bad_host", "exactly one Host header is needed"));
    };
    let host = host.to_str().ok().and_then(host_name);
    // A request line with a whole address overrides the header (RFC 9112, section 3.2.2): both must be allowed.
    let target = uri.authority().map(|authority| host_name(authority.as_str()));
    let known = |name: &str| {
        allowed
            .iter()
            .any(|one| one.trim_matches(['[', ']']).eq_ignore_ascii_case(name))
    };
    let Some(host) = host.filter(|_| target != Some(None)) else {
        return Err(ApiError::bad_request("bad_host", "the Host header is no host and port"));
    };
    if known(host) && target.flatten().is_none_or(known) {
        return Ok(());
    }
    let message = "this server is not asked for under that name; http.allowed_hosts lists the names it answers to";
    Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, "unknown_host", message))
}

/// The name or address in `host[:port]`, without brackets and the root's dot.
fn host_name(authority: &str) -> Option<&str> {
    let (name, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (name, after) = rest.split_once(']')?;
            (name, after.strip_prefix(':').or_else(|| after.is_empty().then_some("")))
        }
        None => match authority.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (authority, Some("")),
        },
    };
    let plain = !name.is_empty() && !name.contains(['@', '/', ' ', '[', ']']);
    (plain && port?.bytes().all(|byte| byte.is_ascii_digit())).then_some(name.strip_suffix('.').unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::{check_host, host_name};
    use axum::http::header::HOST;
    use axum::http::{HeaderMap, Uri};

    #[test]
    fn hosts_are_read_without_port_and_brackets() {
        for (given, name) in [
            ("localhost", Some("localhost")),
            ("localhost:8787", Some("localhost")),
            ("localhost.:1", Some("localhost")),
            ("[::1]:8787", Some("::1")),
            ("[::1]", Some("::1")),
            ("[::1]x", None),
            ("a:b:c", None),
            ("user@localhost", None),
            ("", None),
            (":80", None),
        ] {
            assert_eq!(host_name(given), name, "{given}");
        }
    }

    #[test]
    fn only_listed_hosts_pass_wherever_they_stand() {
        let allowed = ["localhost".to_owned(), "::1".to_owned()];
        let check = |host: &str, uri: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            check_host(&headers, &uri.parse::<Uri>().unwrap(), &allowed).map_err(|error| error.status().as_u16())
        };
        assert_eq!(check("LOCALHOST:1", "/"), Ok(()));
        assert_eq!(check("[::1]:1", "/"), Ok(()));
        assert_eq!(check("evil.example", "/"), Err(421));
        assert_eq!(check("localhost.evil.example", "/"), Err(421));
        assert_eq!(check("localhost", "http://evil.example/"), Err(421));
        assert_eq!(check("a b", "/"), Err(400));
        assert_eq!(
            check_host(&HeaderMap::new(), &Uri::from_static("/"), &allowed)
                .unwrap_err()
                .status(),
            400
        );
    }
}
