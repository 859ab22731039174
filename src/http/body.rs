//! Reading JSON bodies: bounded in size, depth and time, refused with words that say where the fault is.

use super::error::ApiError;
use super::state::AppState;
use crate::config::HttpConfig;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use futures::StreamExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use std::time::Duration;

/// Objects and arrays within each other.
const MAX_DEPTH: usize = 64;

/// A body that handlers take.
pub(super) trait RequestBody: DeserializeOwned {
    /// Whether the body may be left out.
    const OPTIONAL: bool = false;

    /// Bytes at most.
    fn limit(config: &HttpConfig) -> usize {
        config.max_json_bytes
    }
}

/// A JSON body, read and checked against its type.
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: RequestBody> FromRequest<AppState> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let config = state.config();
        let (parts, body) = request.into_parts();
        let limit = T::limit(config);
        let declared = parts
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|bytes| bytes > limit as u64) {
            return Err(too_large(limit));
        }
        let patience = Duration::from_millis(config.body_timeout_ms);
        let bytes = match tokio::time::timeout(patience, collect(body, limit)).await {
            Ok(bytes) => bytes?,
            Err(_elapsed) => {
                let message = "the body did not arrive in time";
                return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message));
            }
        };
        if T::OPTIONAL && bytes.is_empty() {
            return parse("{}").map(Self);
        }
        check_content_type(&parts.headers)?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let message = format!("the body is not UTF-8: byte {} is wrong", error.valid_up_to() + 1);
            ApiError::bad_request("invalid_utf8", message)
        })?;
        parse(text).map(Self)
    }
}

async fn collect(body: axum::body::Body, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| ApiError::bad_request("broken_body", "the body ended before its end"))?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large(limit: usize) -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        format!("the body is too large: at most {limit} bytes"),
    )
}

fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let json = kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"));
    let utf8 = parts
        .filter_map(|part| part.strip_prefix("charset="))
        .all(|charset| matches!(charset.trim_matches('"'), "utf-8" | "utf8"));
    if json && utf8 {
        return Ok(());
    }
    let message = "send the body as Content-Type: application/json, in UTF-8";
    Err(ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        message,
    ))
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    if let Some(column) = too_deep(text) {
        let message = format!("more than {MAX_DEPTH} objects and arrays within each other (byte {column})");
        return Err(ApiError::bad_request("malformed_json", message));
    }
    // A struct can also be read from an array of its fields, which nobody means: the order would be part of the API.
    if !text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok() {
        return Err(ApiError::bad_request(
            "invalid_request",
            "the body must be a JSON object",
        ));
    }
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => ApiError::bad_request("invalid_request", error.to_string()),
        Category::Syntax | Category::Eof | Category::Io => {
            ApiError::bad_request("malformed_json", format!("the body is not JSON: {error}"))
        }
    })
}

/// The byte where the text is nested too deeply, counted from 1.
fn too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Some(at + 1);
                }
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{check_content_type, parse, too_deep};
    use axum::http::HeaderMap;
    use axum::http::header::CONTENT_TYPE;

    #[test]
    fn depth_counts_brackets_outside_strings_alone() {
        assert_eq!(too_deep(&"[".repeat(65)), Some(65));
        assert_eq!(too_deep(&"[".repeat(64)), None);
        assert_eq!(too_deep(&format!("\"{}\\\"{}\"", "[".repeat(40), "[".repeat(40))), None);
    }

    #[test]
    fn faults_are_named_with_their_place() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code, reason = "only its reading is tested")]
        struct Small {
            n: u32,
        }
        let words = |text: &str| {
            let error = parse::<Small>(text).unwrap_err();
            (error.code(), error.message().to_owned())
        };
        let (code, message) = words("{\"n\":1,}");
        assert!(
            code == "malformed_json" && message.contains("line 1 column 8"),
            "{message}"
        );
        let (code, message) = words("{\"n\":1,\"m\":2}");
        assert!(
            code == "invalid_request" && message.contains("unknown field `m`"),
            "{message}"
        );
        for wrong in [
            "{\"n\":-1}",
            "{\"n\":1e308}",
            "{\"n\":9223372036854775808}",
            "{\"n\":\"1\"}",
            "{}",
            "[]",
        ] {
            assert_eq!(words(wrong).0, "invalid_request", "{wrong}");
        }
        for wrong in ["", "{\"n\":NaN}", "{\"n\":1}}", "\u{feff}{\"n\":1}"] {
            assert_eq!(words(wrong).0, "malformed_json", "{wrong}");
        }
    }

    #[test]
    fn json_in_utf8_is_taken_and_nothing_else() {
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            check_content_type(&headers).is_ok()
        };
        assert!(check("application/json") && check("Application/JSON; charset=\"UTF-8\""));
        assert!(
            !check("text/plain")
                && !check("application/json; charset=gbk")
                && !check("application/x-www-form-urlencoded")
        );
        assert!(check_content_type(&HeaderMap::new()).is_err());
    }
}
