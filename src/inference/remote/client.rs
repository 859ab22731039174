//! The connection to the server: kept open between requests, TLS where the URL says so, no proxy, everything bounded.

use super::address::{Resolver, is_private, refused};
use super::wire::remote;
use crate::config::{Secret, ServerConfig};
use crate::inference::InferenceError;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client as Pool, Error as PoolError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::error::Error as StdError;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Idle connections are closed after this: before common servers and firewalls do (vLLM's keeps them for 5 s, proxies for
/// 60 s and more); a request on one that was just closed is sent again by the pool.
const IDLE: Duration = Duration::from_secs(30);
/// Bytes of a refusal that are read.
const REFUSAL_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Client {
    pool: Pool<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
    base: String,
    authorization: Option<HeaderValue>,
}

fn setting(name: &'static str, detail: String) -> InferenceError {
    InferenceError::BadParameter { name, detail }
}

impl Client {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// `BadParameter` for settings that cannot work, `Io` for a file of certificates that cannot be read.
    pub(super) fn new(server: &ServerConfig, key: Option<&Secret>, connections: usize) -> Result<Self, InferenceError> {
        let base = base(server)?;
        let mut http = HttpConnector::new_with_resolver(Resolver {
            section: "inference.server".into(),
            allow_public: server.allow_public,
        });
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(Duration::from_millis(server.connect_timeout_ms)));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(
                tls(&server.ca_file, base.starts_with("https:")).map_err(|e| setting("inference.server.ca_file", e))?,
            )
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let authorization = key.map(authorization).transpose()?;
        Ok(Self {
            pool: Pool::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(connections)
                .build(https),
            base,
            authorization,
        })
    }

    /// The server's address without a route.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// Sends a request and returns the answer's head; the body is read as it comes.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, InferenceError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(ACCEPT, "text/event-stream, application/json")
            .header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| remote(format!("a request to {} cannot be made: {error}", self.base)))?;
        self.pool
            .request(request)
            .await
            .map_err(|error| self.unreachable(&error))
    }

    fn unreachable(&self, error: &PoolError) -> InferenceError {
        let what = if error.is_connect() {
            "cannot be reached: is it running, and is [inference.server] url right?"
        } else {
            "broke off"
        };
        remote(format!("the model server {} {what} ({})", self.base, causes(error)))
    }
}

fn authorization(key: &Secret) -> Result<HeaderValue, InferenceError> {
    let unfit = |_| {
        setting(
            "inference.server",
            "the key has characters that no header holds".to_owned(),
        )
    };
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.reveal())).map_err(unfit)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The last cause is the one that helps.
pub(crate) fn causes(error: &dyn StdError) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// The beginning of a refusal's body; what cannot be read is left out.
pub(super) async fn refusal_body(body: Incoming) -> Bytes {
    let limited = Limited::new(body, REFUSAL_BYTES).collect().await;
    limited.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

/// The URL without `/v1` and final slashes, checked.
fn base(server: &ServerConfig) -> Result<String, InferenceError> {
    let fault = |detail: &str| setting("inference.server.url", format!("{}: {detail}", server.url));
    let uri: Uri = server.url.parse().map_err(|_| fault("this is no URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(fault("it must begin with http:// or https://"));
    }
    let authority = uri.authority().ok_or_else(|| fault("it names no host"))?;
    if authority.as_str().contains('@') {
        return Err(fault("it must hold no password: use api_key_env or api_key_file"));
    }
    if uri.query().is_some() {
        return Err(fault("it must hold no query"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse::<IpAddr>()
        && !is_private(address)
        && !server.allow_public
    {
        return Err(setting("inference.server.url", refused("inference.server", host, None)));
    }
    let whole = server.url.trim_end_matches('/');
    Ok(whole.strip_suffix("/v1").unwrap_or(whole).to_owned())
}

/// The system's certificate authorities, or the company's own alone (`ca_file`). What is wrong with them comes in words.
pub(crate) fn tls(ca_file: &str, needed: bool) -> Result<rustls::ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if !ca_file.is_empty() {
        let unreadable = |detail: String| format!("{ca_file}: {detail}");
        let certificates = CertificateDer::pem_file_iter(ca_file).map_err(|e| unreadable(e.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|e| unreadable(e.to_string()))?;
            roots.add(certificate).map_err(|e| unreadable(e.to_string()))?;
        }
        if roots.is_empty() {
            return Err(unreadable("it holds no certificate in PEM".to_owned()));
        }
    } else if needed {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let detail = "the system has no certificates (package ca-certificates): name your authority's file here";
            return Err(detail.to_owned());
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::Client;
    use crate::config::{Secret, ServerConfig};

    fn server(url: &str) -> ServerConfig {
        ServerConfig {
            url: url.to_owned(),
            ..ServerConfig::default()
        }
    }

    #[test]
    fn urls_are_read_and_checked() {
        for (url, base) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://10.0.0.7:8000/v1/", "http://10.0.0.7:8000"),
            ("http://[fd00::7]/gpu/v1", "http://[fd00::7]/gpu"),
            ("http://vllm.internal", "http://vllm.internal"),
        ] {
            assert_eq!(Client::new(&server(url), None, 1).unwrap().base(), base);
        }
        for (url, word) in [
            ("http://8.8.8.8", "allow_public"),
            ("http://[2001:db8::1]:80/v1", "allow_public"),
            ("ftp://10.0.0.1", "http://"),
            ("10.0.0.1:8000", "http"),
            ("http://a:b@10.0.0.1", "password"),
            ("http://10.0.0.1/?x=1", "query"),
            ("http://10.0.0.1/ x", "no URL"),
        ] {
            let error = Client::new(&server(url), None, 1).unwrap_err().to_string();
            assert!(error.contains(word), "{url}: {error}");
        }
        let mut public = server("http://8.8.8.8");
        public.allow_public = true;
        Client::new(&public, None, 1).unwrap();
    }

    #[test]
    fn a_key_is_never_shown_and_a_bad_file_is_named() {
        let key = Secret::new("sk-very-secret".to_owned());
        let client = Client::new(&server("http://10.0.0.1"), Some(&key), 1).unwrap();
        assert!(!format!("{client:?} {key:?}").contains("very"));
        let bad = Secret::new("a\nb".to_owned());
        assert!(Client::new(&server("http://10.0.0.1"), Some(&bad), 1).is_err());
        let mut own = server("https://10.0.0.1");
        own.ca_file = "/nowhere/ca.pem".to_owned();
        let error = Client::new(&own, None, 1).unwrap_err().to_string();
        assert!(error.contains("/nowhere/ca.pem"), "{error}");
    }
}
