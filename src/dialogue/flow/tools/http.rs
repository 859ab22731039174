//! An inner system over HTTP: the one address that the settings name, arguments out, JSON back, everything bounded.

use super::{Tool, ToolError, ToolSetupError};
use crate::config::{Secret, ToolConfig};
use crate::inference::remote::address::{Resolver, is_private, refused};
use crate::inference::remote::breaker::Breaker;
use crate::inference::remote::client::{causes, tls};
use async_trait::async_trait;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::Value as Json;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// Idle connections are closed after this, before common servers do.
const IDLE: Duration = Duration::from_secs(30);
/// Tries of one call: what failed on the way is sent once more, with its key.
const TRIES: usize = 2;
/// The header that names a wish (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// One inner system.
pub(super) struct HttpTool {
    name: String,
    pool: Pool<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
    url: String,
    method: Method,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
    max_answer_bytes: usize,
    breaker: Arc<Breaker>,
}

impl HttpTool {
    /// Connects to nothing yet.
    pub(super) fn new(name: &str, config: &ToolConfig, secrets: Vec<(String, Secret)>) -> Result<Self, ToolSetupError> {
        let fault = |setting: &'static str, detail: String| ToolSetupError::Setting {
            tool: name.to_owned(),
            setting,
            detail,
        };
        let section = format!("tools.{name}");
        check_url(&section, config).map_err(|detail| fault("url", detail))?;
        let mut headers = Vec::with_capacity(secrets.len());
        for (header, secret) in secrets {
            let unfit = |_| fault("header_env", format!("{header} cannot be a header"));
            let key = HeaderName::from_bytes(header.as_bytes())
                .map_err(|_| fault("header_env", format!("{header} is no header")))?;
            let mut value = HeaderValue::from_str(secret.reveal()).map_err(unfit)?;
            value.set_sensitive(true);
            headers.push((key, value));
        }
        let timeout = Duration::from_millis(config.timeout_ms);
        let mut http = HttpConnector::new_with_resolver(Resolver {
            section: section.into(),
            allow_public: config.allow_public,
        });
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(timeout));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(
                tls(&config.ca_file, config.url.starts_with("https:")).map_err(|detail| fault("ca_file", detail))?,
            )
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(Self {
            name: name.to_owned(),
            pool: Pool::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .build(https),
            url: config.url.clone(),
            method: if config.method == "GET" {
                Method::GET
            } else {
                Method::POST
            },
            headers,
            timeout,
            max_answer_bytes: config.max_answer_bytes,
            breaker: Breaker::new(config.breaker_failures, Duration::from_millis(config.breaker_pause_ms)),
        })
    }

    fn request(&self, args: &Json, key: &str) -> Result<Request<Full<Bytes>>, ToolError> {
        let (url, body) = if self.method == Method::GET {
            let joint = if self.url.contains('?') { '&' } else { '?' };
            let query = query(args);
            (
                if query.is_empty() {
                    self.url.clone()
                } else {
                    format!("{}{joint}{query}", self.url)
                },
                Bytes::new(),
            )
        } else {
            (self.url.clone(), Bytes::from(args.to_string()))
        };
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(url)
            .header(ACCEPT, "application/json")
            .header(IDEMPOTENCY_KEY, key);
        if self.method == Method::POST {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(body)).map_err(|_| ToolError::BadAnswer {
            tool: self.name.clone(),
            detail: "the request cannot be made of its arguments".to_owned(),
        })
    }

    async fn once(&self, args: &Json, key: &str) -> Result<Json, ToolError> {
        let unavailable = |detail: String| ToolError::Unavailable {
            tool: self.name.clone(),
            detail,
        };
        let response = self
            .pool
            .request(self.request(args, key)?)
            .await
            .map_err(|error| unavailable(causes(&error)))?;
        let status = response.status();
        if status.is_server_error() || status.as_u16() == 429 {
            return Err(unavailable(format!("status {status}")));
        }
        if !status.is_success() {
            return Err(ToolError::Refused {
                tool: self.name.clone(),
                status: status.as_u16(),
            });
        }
        let bad = |detail: String| ToolError::BadAnswer {
            tool: self.name.clone(),
            detail,
        };
        let body = Limited::new(response.into_body(), self.max_answer_bytes)
            .collect()
            .await
            .map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() {
                    bad(format!("more than {} bytes", self.max_answer_bytes))
                } else {
                    unavailable(causes(error.as_ref()))
                }
            })?
            .to_bytes();
        serde_json::from_slice(&body).map_err(|error| bad(format!("no JSON ({error})")))
    }
}

#[async_trait]
impl Tool for HttpTool {
    fn name(&self) -> &str {
        &self.name
    }

    fn timeout(&self) -> Duration {
        self.timeout
    }

    async fn call(&self, args: &Json, idempotency_key: &str, deadline: Instant) -> Result<Json, ToolError> {
        let end = deadline.min(Instant::now() + self.timeout);
        let mut last = ToolError::Timeout {
            tool: self.name.clone(),
            timeout: self.timeout,
        };
        for _ in 0..TRIES {
            let attempt = self
                .breaker
                .admit(Instant::now())
                .map_err(|retry_after| ToolError::Resting {
                    tool: self.name.clone(),
                    retry_after,
                })?;
            let answered = timeout_at(end.into(), self.once(args, idempotency_key)).await;
            match answered {
                Ok(Err(error @ ToolError::Unavailable { .. })) => {
                    attempt.failed(Instant::now(), rand::random());
                    last = error;
                }
                Ok(answer) => {
                    attempt.succeeded();
                    return answer;
                }
                Err(_) => {
                    attempt.failed(Instant::now(), rand::random());
                    return Err(ToolError::Timeout {
                        tool: self.name.clone(),
                        timeout: self.timeout,
                    });
                }
            }
        }
        Err(last)
    }
}

/// That the address is a URL without a password, in a private network where it is a number.
fn check_url(section: &str, config: &ToolConfig) -> Result<(), String> {
    let uri: Uri = config.url.parse().map_err(|_| format!("{} is no URL", config.url))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(format!("{} must begin with http:// or https://", config.url));
    }
    let authority = uri.authority().ok_or_else(|| format!("{} names no host", config.url))?;
    if authority.as_str().contains('@') {
        return Err("it must hold no password: use header_env".to_owned());
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) if !is_private(address) && !config.allow_public => Err(refused(section, host, None)),
        _ => Ok(()),
    }
}

/// The members of an object as a query, in percent-encoding (RFC 3986).
fn query(args: &Json) -> String {
    let mut query = String::new();
    for (name, value) in args.as_object().into_iter().flatten() {
        if !query.is_empty() {
            query.push('&');
        }
        encode(name, &mut query);
        query.push('=');
        encode(
            &value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            &mut query,
        );
    }
    query
}

fn encode(text: &str, into: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            into.push(char::from(byte));
        } else {
            let _ = write!(into, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{HttpTool, query};
    use crate::config::{Secret, ToolConfig};
    use serde_json::json;

    #[test]
    fn only_inner_addresses_are_allowed() {
        let tool = |url: &str| {
            HttpTool::new(
                "t",
                &ToolConfig {
                    url: url.to_owned(),
                    ..ToolConfig::default()
                },
                Vec::new(),
            )
            .map(|_| ())
            .map_err(|error| error.to_string())
        };
        assert!(tool("http://10.0.0.7/x").is_ok() && tool("http://inner.bank/x").is_ok());
        for (url, word) in [
            ("http://8.8.8.8/x", "allow_public"),
            ("http://a:b@10.0.0.1", "password"),
            ("ftp://10.0.0.1", "http://"),
        ] {
            let error = tool(url).unwrap_err();
            assert!(error.contains(word) && error.contains("tools.t"), "{error}");
        }
    }

    #[test]
    fn arguments_are_encoded() {
        assert_eq!(
            query(&json!({"a b": "1&2", "n": 3, "中": "文"})),
            "a%20b=1%262&n=3&%E4%B8%AD=%E6%96%87"
        );
        let secret = vec![("bad header".to_owned(), Secret::new("x".to_owned()))];
        let config = ToolConfig {
            url: "http://10.0.0.7".to_owned(),
            ..ToolConfig::default()
        };
        assert!(HttpTool::new("t", &config, secret).is_err());
    }
}
