//! Who may ask for what. Every route is registered with a [`Policy`] (`router.rs` knows no other way), which runs
//! before the handler.

use super::error::ApiError;
use super::state::AppState;
use crate::config::HttpConfig;
use crate::domain::{Conversation, ConversationId, Roles, sha256_hex};
use crate::people::Person;
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use axum::{RequestPartsExt, http};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The longest key or token that is looked up.
const MAX_CREDENTIAL_BYTES: usize = 512;

/// Other places where clients of other systems put a key. A key there is refused, not overlooked: else a limit tied to
/// keys could be stepped around by spelling it differently (CVE-2026-45339).
const OTHER_SPELLINGS: [&str; 4] = ["x-api-key", "api-key", "x-goog-api-key", "x-auth-token"];

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Everybody.
    Public,
    /// The visitor of the conversation named in the path; for all others it does not exist.
    Visitor,
    /// Holders of an API key; without one, clients on this machine unless the settings say otherwise.
    ApiKey,
    /// The visitor of any conversation, or whoever satisfies [`Policy::ApiKey`].
    Reader,
    /// Clients on this machine, unless the settings open it.
    LocalOnly,
    /// Whoever is signed in, even one who must choose another password first.
    SignedIn,
    /// Whoever is signed in with one of these roles.
    Person(Roles),
}

/// A visitor's credential: the conversation and its secret, as one word.
struct VisitorToken {
    id: ConversationId,
    secret: String,
}

/// The word a visitor gets for a conversation, as bearer token and as cookie.
pub(super) fn visitor_token(id: ConversationId, secret: &str) -> String {
    format!("{}.{secret}", id.0.simple())
}

impl VisitorToken {
    fn parse(word: &str) -> Option<Self> {
        let (id, secret) = word.split_once('.')?;
        let known_form = id.len() == 32 && !secret.is_empty();
        Some(Self {
            id: id.parse().ok().filter(|_| known_form)?,
            secret: secret.to_owned(),
        })
    }
}

/// What a policy needs while it runs.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) state: AppState,
    pub(super) policy: Policy,
}

/// Runs a route's policy. Puts the visitor's [`Conversation`] into the request where the policy is `Visitor`, and where it is
/// `Reader` and a visitor reads.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Result<Response, ApiError> {
    let Guard { state, policy } = guard;
    let (mut parts, body) = request.into_parts();
    same_origin(&parts, state.config(), false)?;
    match policy {
        Policy::Public => {}
        Policy::LocalOnly => local_only(&parts, state.config())?,
        Policy::ApiKey => api_key(&state, &parts).await?,
        Policy::Reader => {
            if let Some(conversation) = reader(&state, &parts).await? {
                parts.extensions.insert(conversation);
            }
        }
        Policy::Visitor => {
            let conversation = visitor_of_path(&state, &mut parts).await?;
            parts.extensions.insert(conversation);
        }
        Policy::SignedIn | Policy::Person(_) => {
            let person = signed_in(&state, &parts).await?;
            if let Policy::Person(roles) = policy {
                check_role(&person, roles)?;
            }
            parts.extensions.insert(person);
        }
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// Whether the request comes from this machine itself, as far as can be known.
pub(super) fn is_local(extensions: &http::Extensions, config: &HttpConfig) -> bool {
    // Behind a proxy everybody comes from the proxy's address.
    !config.behind_proxy && extensions.get::<Peer>().is_some_and(|peer| is_loopback(peer.0.ip()))
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn local_only(parts: &Parts, config: &HttpConfig) -> Result<(), ApiError> {
    if config.public_metrics || is_local(&parts.extensions, config) {
        return Ok(());
    }
    let message = "this address answers clients on the server's own machine; http.public_metrics opens it";
    Err(ApiError::new(StatusCode::FORBIDDEN, "local_only", message))
}

async fn api_key(state: &AppState, parts: &Parts) -> Result<(), ApiError> {
    match bearer(&parts.headers)? {
        Some(key) => check_key(state, key).await,
        None if !state.config().require_api_key && is_local(&parts.extensions, state.config()) => Ok(()),
        None => Err(ApiError::unauthorized(
            "missing_api_key",
            "an API key is needed: Authorization: Bearer KEY (kefu key new NAME makes one)",
        )),
    }
}

/// Whether an API key was sent, and a good one: for what a public route does for holders of a key alone.
///
/// # Errors
/// 401.
pub(super) async fn require_key(state: &AppState, headers: &HeaderMap) -> Result<(), ApiError> {
    match bearer(headers)? {
        Some(key) => check_key(state, key).await,
        None => Err(ApiError::unauthorized(
            "missing_api_key",
            "to say who the customer is needs an API key: Authorization: Bearer KEY (kefu key new NAME makes one)",
        )),
    }
}

async fn check_key(state: &AppState, key: &str) -> Result<(), ApiError> {
    // Compared as hashes: the time it takes tells nothing about the key.
    match state.store().active_key(&sha256_hex(key.as_bytes())).await? {
        Some(_) => Ok(()),
        None => Err(wrong_key()),
    }
}

fn wrong_key() -> ApiError {
    ApiError::unauthorized("invalid_api_key", "this API key is unknown or was revoked")
}

/// The conversation, where it is its visitor who reads.
async fn reader(state: &AppState, parts: &Parts) -> Result<Option<Conversation>, ApiError> {
    if let Some(word) = bearer(&parts.headers)? {
        return match VisitorToken::parse(word) {
            Some(token) => visitor(state, &token).await.map(Some),
            None => check_key(state, word).await.map(|()| None),
        };
    }
    if let Some(token) = cookie(&parts.headers, state.config())
        && let Ok(conversation) = visitor(state, &token).await
    {
        return Ok(Some(conversation));
    }
    api_key(state, parts).await.map(|()| None)
}

/// The conversation of a token; 404 where the token is nobody's.
async fn visitor(state: &AppState, token: &VisitorToken) -> Result<Conversation, ApiError> {
    let found = state.conversations()?.authorise(token.id, &token.secret).await?;
    found.ok_or_else(|| ApiError::not_found("conversation"))
}

async fn visitor_of_path(state: &AppState, parts: &mut Parts) -> Result<Conversation, ApiError> {
    let params = parts.extract::<RawPathParams>().await;
    let id = params.ok().and_then(|params| {
        let found = params
            .iter()
            .find(|(name, _)| *name == "id")
            .map(|(_, value)| value.to_owned());
        found.and_then(|value| value.parse::<ConversationId>().ok())
    });
    let token = if let Some(word) = bearer(&parts.headers)? {
        VisitorToken::parse(word)
    } else {
        let Some(token) = cookie(&parts.headers, state.config()) else {
            let message =
                "a visitor token is needed: Authorization: Bearer TOKEN, as POST /api/v1/conversations gave it";
            return Err(ApiError::unauthorized("missing_visitor_token", message));
        };
        // A browser sends the cookie by itself, whoever wrote the page: the page must be this server's.
        same_origin(parts, state.config(), true)?;
        Some(token)
    };
    match (id, token) {
        (Some(id), Some(token)) if token.id == id => visitor(state, &token).await,
        _ => Err(ApiError::not_found("conversation")),
    }
}

/// The word after `Authorization: Bearer`; `None` where no credential was sent at all.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    if OTHER_SPELLINGS.iter().any(|name| headers.contains_key(*name)) {
        return Err(ApiError::unauthorized(
            "invalid_credentials",
            "send the key as Authorization: Bearer KEY",
        ));
    }
    let mut sent = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = sent.next() else { return Ok(None) };
    let word = value.to_str().ok().and_then(|text| {
        let (scheme, word) = text.split_once(' ')?;
        let word = word.trim();
        let fits = !word.is_empty() && word.len() <= MAX_CREDENTIAL_BYTES && !word.contains(' ');
        (scheme.eq_ignore_ascii_case("bearer") && fits).then_some(word)
    });
    match (word, sent.next()) {
        (Some(word), None) => Ok(Some(word)),
        _ => Err(ApiError::unauthorized(
            "invalid_credentials",
            "send one header Authorization: Bearer KEY",
        )),
    }
}

/// Whoever the session cookie belongs to. Nothing else signs a person in: a key in a header is not looked at.
async fn signed_in(state: &AppState, parts: &Parts) -> Result<Person, ApiError> {
    let not_signed_in = || ApiError::unauthorized("not_signed_in", "sign in first: POST /api/v1/auth/login");
    let token = cookie_value(&parts.headers, session_name(state.config())).ok_or_else(not_signed_in)?;
    // A browser sends the cookie by itself, whoever wrote the page: the page must be this server's.
    same_origin(parts, state.config(), true)?;
    state.people().identify(token).await?.ok_or_else(not_signed_in)
}

fn check_role(person: &Person, roles: Roles) -> Result<(), ApiError> {
    if person.must_change {
        let message = "choose another password first: POST /api/v1/auth/password";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "password_change_needed", message));
    }
    if roles.contains(person.role) {
        return Ok(());
    }
    let message = format!("the role {} may not do this", person.role.name());
    Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", message))
}

impl FromRequestParts<AppState> for Person {
    type Rejection = ApiError;

    /// The person whom the route's policy let in.
    async fn from_request_parts(parts: &mut Parts, _state: &AppState) -> Result<Self, ApiError> {
        let missing = || ApiError::internal(std::io::Error::other("this route's policy signs nobody in"));
        parts.extensions.get::<Self>().cloned().ok_or_else(missing)
    }
}

/// The client's address. Behind a proxy it is the one that the proxy itself added, the last of the header; where it adds
/// none, all clients share the proxy's.
pub(super) struct ClientAddress(pub(super) IpAddr);

impl FromRequestParts<AppState> for ClientAddress {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let forwarded = || {
            let last = parts.headers.get_all("x-forwarded-for").iter().next_back()?;
            last.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
        };
        let own = parts
            .extensions
            .get::<Peer>()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let through_proxy = state.config().behind_proxy.then(forwarded).flatten();
        Ok(Self(through_proxy.unwrap_or(own)))
    }
}

/// The name of a person's session cookie; the prefix as for [`cookie_name`].
pub(super) fn session_name(config: &HttpConfig) -> &'static str {
    if config.behind_proxy {
        "__Host-kefu-session"
    } else {
        "kefu-session"
    }
}

/// The cookie that holds a session. It ends with the browser, and with the session before that.
pub(super) fn session_cookie(config: &HttpConfig, token: &str) -> Option<HeaderValue> {
    let (name, place) = (session_name(config), cookie_place(config));
    HeaderValue::from_str(&format!("{name}={token}; {place}; HttpOnly; SameSite=Strict")).ok()
}

/// What makes a browser forget a session.
pub(super) fn clear_session(config: &HttpConfig) -> Option<HeaderValue> {
    let (name, place) = (session_name(config), cookie_place(config));
    HeaderValue::from_str(&format!("{name}=; {place}; HttpOnly; SameSite=Strict; Max-Age=0")).ok()
}

/// Where cookies are sent, and how. The prefix demands the path "/"; without TLS there is neither.
fn cookie_place(config: &HttpConfig) -> &'static str {
    if config.behind_proxy {
        "Path=/; Secure"
    } else {
        "Path=/api/v1"
    }
}

/// The name of the visitor's cookie. The prefix makes browsers insist on TLS and refuse other hosts' cookies
/// (RFC 6265bis, section 4.1.3.2).
pub(super) fn cookie_name(config: &HttpConfig) -> &'static str {
    if config.behind_proxy {
        "__Host-kefu_visitor"
    } else {
        "kefu_visitor"
    }
}

/// The cookie that holds a visitor's token.
pub(super) fn set_cookie(config: &HttpConfig, token: &str) -> Option<HeaderValue> {
    let name = cookie_name(config);
    let seconds = config.visitor_cookie_seconds;
    let place = cookie_place(config);
    HeaderValue::from_str(&format!(
        "{name}={token}; {place}; HttpOnly; SameSite=Strict; Max-Age={seconds}"
    ))
    .ok()
}

fn cookie(headers: &HeaderMap, config: &HttpConfig) -> Option<VisitorToken> {
    cookie_value(headers, cookie_name(config)).and_then(VisitorToken::parse)
}

/// The first cookie of that name.
fn cookie_value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, value)| *key == name && value.len() <= MAX_CREDENTIAL_BYTES)
        .map(|(_, value)| value)
}

/// Refuses what a browser sends for another site's page. Without `strict`, a client that is no browser (it sends neither
/// header) passes; with it, one of the two headers must prove the page to be this server's.
fn same_origin(parts: &Parts, config: &HttpConfig, strict: bool) -> Result<(), ApiError> {
    let headers = &parts.headers;
    let changes = !matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if !changes || (!strict && headers.contains_key(AUTHORIZATION)) {
        return Ok(());
    }
    let proven = match (headers.get("sec-fetch-site"), headers.get(ORIGIN)) {
        (Some(site), _) => site == "same-origin" || (!strict && site == "none"),
        (None, Some(origin)) => is_own_origin(origin, headers.get(HOST), config),
        (None, None) => !strict,
    };
    if proven {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "cross_site",
        "requests from pages of other sites are refused",
    ))
}

fn is_own_origin(origin: &HeaderValue, host: Option<&HeaderValue>, config: &HttpConfig) -> bool {
    let scheme = if config.behind_proxy { "https://" } else { "http://" };
    let (Ok(origin), Some(Ok(host))) = (origin.to_str(), host.map(HeaderValue::to_str)) else {
        return false;
    };
    origin
        .strip_prefix(scheme)
        .is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::{VisitorToken, bearer, is_loopback, sha256_hex, visitor_token};
    use crate::domain::ConversationId;
    use axum::http::HeaderMap;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn one_spelling_is_read_and_all_others_are_refused() {
        assert_eq!(bearer(&headers(&[])).unwrap(), None);
        assert_eq!(
            bearer(&headers(&[("authorization", "bearer abc")])).unwrap(),
            Some("abc")
        );
        for refused in [
            &[("authorization", "Bearer")][..],
            &[("authorization", "Bearer ")],
            &[("authorization", "Bearer a b")],
            &[("authorization", "Basic YTpi")],
            &[("authorization", "abc")],
            &[("authorization", "Bearer a"), ("authorization", "Bearer b")],
            &[("x-api-key", "abc")],
            &[("authorization", "Bearer a"), ("api-key", "b")],
        ] {
            assert!(bearer(&headers(refused)).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_visitor_token_names_its_conversation() {
        let id = ConversationId::new();
        let token = VisitorToken::parse(&visitor_token(id, "s3cret")).unwrap();
        assert_eq!((token.id, token.secret.as_str()), (id, "s3cret"));
        for wrong in [
            "",
            ".",
            "abc.def",
            "kefu_key",
            &format!("{id}.x"),
            &visitor_token(id, ""),
        ] {
            assert!(VisitorToken::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn loopback_in_an_ipv6_coat_is_loopback() {
        assert!(is_loopback("::ffff:127.0.0.1".parse().unwrap()) && is_loopback("::1".parse().unwrap()));
        assert!(!is_loopback("::ffff:10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn hashes_are_written_as_they_are_stored() {
        assert_eq!(
            sha256_hex(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
