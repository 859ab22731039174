//! Who may use which route: every route with every identity under every setting that changes the answer.

use super::support::{EMBEDDER, FAQ_QUESTION, KEY, MODEL, REVOKED, Server};
use axum::http::Method;
use jiff::SignedDuration;
use kefu::domain::{Clock, Hidden, Roles, StaffRole, UserId};
use kefu::http::{Policy, RoutePolicy};
use kefu::people::NewUser;
use kefu::storage::{AuditRecord, Session, User, UserChange};
use serde_json::json;
use sha2::{Digest, Sha256};

/// The password of every account here.
const PASSWORD: &str = "correct horse battery";
/// An account that is only signed in with a password.
const LOGIN: &str = "login";

/// Who asks. All come from the loopback address; behind a proxy that proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    Anonymous,
    Key,
    WrongKey,
    RevokedKey,
    KeyInAnotherHeader,
    KeyAsBasic,
    TwoKeys,
    Visitor,
    OtherVisitor,
    ForgedVisitor,
    CookieOfOwnPage,
    CookieWithoutOrigin,
    CookieOfOtherSite,
    AnonymousFromOtherSite,
    Agent,
    Supervisor,
    Admin,
    Auditor,
    /// An admin who must choose another password.
    MustChange,
    DisabledAdmin,
    /// An admin's session that was not used for half an hour.
    IdleAdmin,
    /// An admin's session that began yesterday and was used ever since.
    OldAdmin,
    ForgedSession,
    AdminWithoutOrigin,
    AdminOfOtherSite,
    /// An admin's session where a key belongs.
    SessionAsBearer,
}

const IDENTITIES: [Identity; 26] = [
    Identity::Anonymous,
    Identity::Key,
    Identity::WrongKey,
    Identity::RevokedKey,
    Identity::KeyInAnotherHeader,
    Identity::KeyAsBasic,
    Identity::TwoKeys,
    Identity::Visitor,
    Identity::OtherVisitor,
    Identity::ForgedVisitor,
    Identity::CookieOfOwnPage,
    Identity::CookieWithoutOrigin,
    Identity::CookieOfOtherSite,
    Identity::AnonymousFromOtherSite,
    Identity::Agent,
    Identity::Supervisor,
    Identity::Admin,
    Identity::Auditor,
    Identity::MustChange,
    Identity::DisabledAdmin,
    Identity::IdleAdmin,
    Identity::OldAdmin,
    Identity::ForgedSession,
    Identity::AdminWithoutOrigin,
    Identity::AdminOfOtherSite,
    Identity::SessionAsBearer,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    Default,
    KeyRequired,
    BehindProxy,
    BehindProxyWithPublicMetrics,
}

struct World {
    server: Server,
    password_hash: Hidden<String>,
    setting: Setting,
    id: String,
    token: String,
    other_token: String,
}

/// What the policy says: admitted, or refused with this status.
fn expected(policy: Policy, identity: Identity, setting: Setting, changes: bool) -> Option<u16> {
    use Identity as I;
    let cross_site = matches!(
        identity,
        I::CookieOfOtherSite | I::AnonymousFromOtherSite | I::AdminOfOtherSite
    );
    if changes && cross_site {
        return Some(403);
    }
    let malformed = matches!(identity, I::KeyInAnotherHeader | I::KeyAsBasic | I::TwoKeys);
    let local = matches!(setting, Setting::Default | Setting::KeyRequired);
    let without_key = if setting == Setting::Default { None } else { Some(401) };
    match policy {
        Policy::Public => None,
        Policy::LocalOnly => (!local && setting != Setting::BehindProxyWithPublicMetrics).then_some(403),
        Policy::SignedIn | Policy::Person(_) => person_expected(policy, identity, changes),
        Policy::ApiKey | Policy::Reader if malformed => Some(401),
        Policy::ApiKey | Policy::Reader if identity == I::Key => None,
        Policy::ApiKey | Policy::Reader if matches!(identity, I::WrongKey | I::RevokedKey) => Some(401),
        Policy::ApiKey => match identity {
            I::Visitor | I::OtherVisitor | I::ForgedVisitor | I::SessionAsBearer => Some(401),
            _ => without_key,
        },
        // The visitor of any conversation may read what was cited.
        Policy::Reader => match identity {
            I::Visitor | I::OtherVisitor | I::CookieOfOwnPage | I::CookieWithoutOrigin | I::CookieOfOtherSite => None,
            I::ForgedVisitor => Some(404),
            I::SessionAsBearer => Some(401),
            _ => without_key,
        },
        Policy::Visitor => match identity {
            // Reading changes nothing, and other sites cannot see the answer.
            I::Visitor | I::CookieOfOwnPage | I::CookieOfOtherSite => None,
            I::CookieWithoutOrigin => changes.then_some(403),
            I::Key | I::WrongKey | I::RevokedKey | I::OtherVisitor | I::ForgedVisitor | I::SessionAsBearer => Some(404),
            // Whoever works here is no visitor.
            _ => Some(401),
        },
    }
}

/// The same for routes of people.
fn person_expected(policy: Policy, identity: Identity, changes: bool) -> Option<u16> {
    use Identity as I;
    let role = match identity {
        I::Agent => StaffRole::Agent,
        I::Supervisor => StaffRole::Supervisor,
        I::Auditor => StaffRole::Auditor,
        I::AdminWithoutOrigin if changes => return Some(403),
        I::Admin | I::AdminOfOtherSite | I::MustChange | I::AdminWithoutOrigin => StaffRole::Admin,
        // A page of this server sent it, with a session that is none.
        _ => return Some(401),
    };
    match policy {
        Policy::Person(roles) => (identity == I::MustChange || !roles.contains(role)).then_some(403),
        _ => None,
    }
}

impl World {
    async fn begin(setting: Setting) -> Self {
        let server = Server::start_with(|config| match setting {
            Setting::Default => {}
            Setting::KeyRequired => config.http.require_api_key = true,
            Setting::BehindProxy => config.http.behind_proxy = true,
            Setting::BehindProxyWithPublicMetrics => {
                config.http.behind_proxy = true;
                config.http.public_metrics = true;
            }
        })
        .await;
        let new = NewUser {
            name: LOGIN.to_owned(),
            display_name: None,
            role: StaffRole::Agent,
            password: Hidden(PASSWORD.to_owned()),
            must_change: false,
        };
        let password_hash = server.state.people().add(new, "test").await.unwrap().password_hash;
        let (id, token) = server.visitor().await;
        let (_, other_token) = server.visitor().await;
        Self {
            server,
            password_hash,
            setting,
            id,
            token,
            other_token,
        }
    }

    /// A new account with a session; returns the session's token.
    async fn person(&self, role: StaffRole, identity: Identity) -> String {
        let now = self.server.clock.now();
        let id = UserId::new();
        let name = id.0.simple().to_string();
        let record = AuditRecord {
            at: now,
            actor: "test".to_owned(),
            action: "test".to_owned(),
            object: String::new(),
            detail: json!({}),
        };
        let user = User {
            id,
            display_name: name.clone(),
            role,
            password_hash: self.password_hash.clone(),
            totp_secret: None,
            created_at: now,
            disabled_at: None,
            password_changed_at: now,
            must_change: identity == Identity::MustChange,
            name,
        };
        let store = &self.server.store;
        assert!(store.add_user(&user, &record).await.unwrap());
        let token = format!("token-of-{}", user.name);
        let ago = |hours, minutes| {
            let span = SignedDuration::from_hours(hours) + SignedDuration::from_mins(minutes);
            now.checked_sub(span).unwrap()
        };
        let (created_at, last_seen_at) = match identity {
            Identity::IdleAdmin => (ago(1, 0), ago(0, 30)),
            Identity::OldAdmin => (ago(12, 0), ago(0, 1)),
            _ => (ago(11, 59), ago(0, 29)),
        };
        let session = Session {
            token_sha256: Sha256::digest(token.as_bytes()).into(),
            user: id,
            created_at,
            last_seen_at,
        };
        assert!(store.begin_session(&session, now, 10, &record).await.unwrap());
        if identity == Identity::DisabledAdmin {
            assert!(store.change_user(id, &UserChange::Disable, &record).await.unwrap());
            // Even a session that outlived it lets nobody in.
            assert!(!store.begin_session(&session, now, 10, &record).await.unwrap());
        }
        token
    }

    /// What a browser sends for somebody who is signed in.
    async fn person_headers(&self, identity: Identity) -> Vec<(&'static str, String)> {
        use Identity as I;
        let role = match identity {
            I::Agent => StaffRole::Agent,
            I::Supervisor => StaffRole::Supervisor,
            I::Auditor => StaffRole::Auditor,
            _ => StaffRole::Admin,
        };
        let proxied = !matches!(self.setting, Setting::Default | Setting::KeyRequired);
        let (name, scheme) = if proxied {
            ("__Host-kefu-session", "https")
        } else {
            ("kefu-session", "http")
        };
        let token = self.person(role, identity).await;
        let token = if identity == I::ForgedSession {
            format!("{token}x")
        } else {
            token
        };
        let cookie = ("Cookie", format!("theme=dark; {name}={token}"));
        match identity {
            I::SessionAsBearer => vec![("Authorization", format!("Bearer {token}"))],
            I::AdminWithoutOrigin => vec![cookie],
            I::AdminOfOtherSite => vec![cookie, ("Origin", "https://evil.example".to_owned())],
            _ => vec![cookie, ("Origin", format!("{scheme}://{}", self.server.host()))],
        }
    }

    fn headers(&self, identity: Identity) -> Option<Vec<(&'static str, String)>> {
        use Identity as I;
        let proxied = !matches!(self.setting, Setting::Default | Setting::KeyRequired);
        let name = if proxied { "__Host-kefu_visitor" } else { "kefu_visitor" };
        let cookie = ("Cookie", format!("theme=dark; {name}={}", self.token));
        let scheme = if proxied { "https" } else { "http" };
        let bearer = |word: &str| ("Authorization", format!("Bearer {word}"));
        Some(match identity {
            I::Anonymous => vec![],
            I::Key => vec![bearer(KEY)],
            I::WrongKey => vec![bearer("kefu_wrong_key")],
            I::RevokedKey => vec![bearer(REVOKED)],
            I::KeyInAnotherHeader => vec![("X-Api-Key", KEY.to_owned())],
            I::KeyAsBasic => vec![("Authorization", format!("Basic {KEY}"))],
            I::TwoKeys => vec![bearer(KEY), bearer(KEY)],
            I::Visitor => vec![bearer(&self.token)],
            I::OtherVisitor => vec![bearer(&self.other_token)],
            // The right conversation with the secret of another.
            I::ForgedVisitor => {
                let (id, _) = self.token.split_once('.').unwrap();
                let (_, secret) = self.other_token.split_once('.').unwrap();
                vec![bearer(&format!("{id}.{secret}"))]
            }
            I::CookieOfOwnPage => vec![cookie, ("Origin", format!("{scheme}://{}", self.server.host()))],
            I::CookieWithoutOrigin => vec![cookie],
            I::CookieOfOtherSite => vec![cookie, ("Origin", "https://evil.example".to_owned())],
            I::AnonymousFromOtherSite => vec![("Sec-Fetch-Site", "cross-site".to_owned())],
            _ => return None,
        })
    }

    async fn check(&self, route: &RoutePolicy) {
        let path = route
            .path
            .replace("/conversations/{id}", &format!("/conversations/{}", self.id))
            .replace("{id}", &self.server.passage.to_string())
            .replace("{model}", "kefu")
            .replace("{version}", "99")
            .replace("{*file}", "index.html")
            .replace("{*page}", "knowledge/faqs");
        let body = body_for(&route.path);
        let changes = route.method != "GET";
        for identity in IDENTITIES {
            let headers = match self.headers(identity) {
                Some(headers) => headers,
                None => self.person_headers(identity).await,
            };
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let body = changes.then_some(body.as_str());
            let reply = self.server.request(route.method.as_str(), &path, &headers, body).await;
            let case = format!("{} {} by {identity:?}, {:?}", route.method, route.path, self.setting);
            match expected(route.policy, identity, self.setting, changes) {
                Some(status) => {
                    assert_eq!(reply.status, status, "{case}: {}", reply.text());
                    assert_eq!(reply.header("www-authenticate").is_some(), status == 401, "{case}");
                }
                // The embedded pages may not have been built.
                None if route.path.starts_with("/assets") => assert_eq!(reply.status, 404, "{case}"),
                // Who may do it is told what is wrong with it.
                None if ["/api/v1/knowledge/", "/api/v1/desk/", "/api/v1/understanding/"]
                    .iter()
                    .any(|noun| route.path.starts_with(noun))
                    || route.path.ends_with("/reveal") =>
                {
                    assert!(
                        reply.status < 500 && !matches!(reply.status, 401 | 403),
                        "{case}: {} {}",
                        reply.status,
                        reply.text()
                    );
                }
                None => assert!(
                    reply.status < 400 || reply.status == 409,
                    "{case}: {} {}",
                    reply.status,
                    reply.text()
                ),
            }
        }
    }
}

/// A body that the route accepts.
fn body_for(path: &str) -> String {
    match path {
        "/api/v1/ask" => json!({"question": FAQ_QUESTION}),
        "/api/v1/auth/login" => json!({"name": LOGIN, "password": PASSWORD}),
        "/api/v1/auth/password" => json!({"old": PASSWORD, "new": "another long password"}),
        "/api/v1/search" => json!({"query": FAQ_QUESTION}),
        "/api/v1/understand" | "/api/v1/conversations/{id}/messages" => json!({"text": FAQ_QUESTION}),
        "/api/v1/conversations/{id}/rating" => json!({"score": 5}),
        "/v1/chat/completions" => json!({"model": "kefu", "messages": [{"role": "user", "content": FAQ_QUESTION}]}),
        "/v1/completions" => json!({"model": MODEL, "prompt": "x"}),
        "/v1/embeddings" => json!({"model": EMBEDDER, "input": "x"}),
        "/v1/rerank" => json!({"query": "x", "documents": ["y"]}),
        _ => json!({}),
    }
    .to_string()
}

#[tokio::test]
async fn every_route_keeps_its_policy_for_everybody() {
    for setting in [
        Setting::Default,
        Setting::KeyRequired,
        Setting::BehindProxy,
        Setting::BehindProxyWithPublicMetrics,
    ] {
        let world = World::begin(setting).await;
        let (_, mut table) = kefu::http::build(&world.server.state);
        assert!(table.len() >= 20, "{}", table.len());
        // What ends the conversation comes last.
        table.sort_by_key(|route| route.path.ends_with("/close"));
        for route in &table {
            world.check(route).await;
        }
    }
}

/// All may look and try, authors draft, editors decide.
fn knowledge(method: &Method, path: &str) -> Roles {
    let decides = [
        "/imports",
        "/publish",
        "/rollback",
        "/reject",
        "/gaps/",
        "/accept",
        "/dismiss",
    ]
    .iter()
    .any(|part| path.contains(part))
        || (path.contains("/golden") && method != Method::GET);
    if decides {
        Roles::EDITORS
    } else if method == Method::GET || path.ends_with("/try") {
        Roles::ALL
    } else {
        Roles::AUTHORS
    }
}

/// All may look, authors say who somebody is, editors decide that two are one; forgetting somebody is for admins.
fn desk(method: &Method, path: &str) -> Roles {
    let last = path.rsplit('/').next().unwrap_or_default();
    match last {
        "erase" => Roles::ADMINS,
        "merge" | "unmerge" | "reveal" => Roles::EDITORS,
        "lookup" => Roles::ALL,
        _ if method == Method::GET => Roles::ALL,
        _ => Roles::AUTHORS,
    }
}

#[tokio::test]
async fn routes_have_the_policies_that_the_design_gives_them() {
    let server = Server::start().await;
    let (_, table) = kefu::http::build(&server.state);
    for route in &table {
        let wanted = match route.path.as_str() {
            "/api/v1/auth/login" | "/admin" | "/admin/{*page}" => Policy::Public,
            "/api/v1/audit" => Policy::Person(Roles::REVIEWERS),
            path if path.starts_with("/api/v1/desk/") => Policy::Person(desk(&route.method, path)),
            path if path.starts_with("/api/v1/knowledge/") => Policy::Person(knowledge(&route.method, path)),
            path if path.starts_with("/api/v1/understanding/") => Policy::Person(if route.method == Method::GET {
                Roles::ALL
            } else {
                Roles::EDITORS
            }),
            "/api/v1/understand" => Policy::ApiKey,
            path if path.starts_with("/api/v1/auth/") => Policy::SignedIn,
            "/" | "/healthz" | "/readyz" | "/api/v1/conversations" | "/assets/{*file}" => Policy::Public,
            "/api/v1/passages/{id}" => Policy::Reader,
            path if path.ends_with("/personal-data") || path.ends_with("/reveal") => Policy::Person(Roles::EDITORS),
            path if path.starts_with("/api/v1/conversations/{id}") => Policy::Visitor,
            path if path.starts_with("/v1/") || path == "/api/v1/ask" || path == "/api/v1/search" => Policy::ApiKey,
            _ => Policy::LocalOnly,
        };
        assert_eq!(route.policy, wanted, "{}", route.path);
    }
}

#[tokio::test]
async fn another_visitors_conversation_does_not_exist() {
    let server = Server::start().await;
    let (mine, _) = server.visitor().await;
    let (theirs, token) = server.visitor().await;
    assert_ne!(mine, theirs);
    let bearer = format!("Bearer {token}");
    let missing = "0199aa00-0000-7000-8000-000000000000";
    for id in [mine.as_str(), missing, "x", "%00"] {
        let mut bodies = Vec::new();
        for (method, rest, body) in [
            ("GET", "", None),
            ("POST", "/messages", Some("{\"text\":\"x\"}")),
            ("POST", "/rating", Some("{\"score\":1}")),
            ("POST", "/handoff", Some("{}")),
            ("POST", "/close", None),
        ] {
            let path = format!("/api/v1/conversations/{id}{rest}");
            let reply = server.request(method, &path, &[("Authorization", &bearer)], body).await;
            assert_eq!(
                (reply.status, reply.code()),
                (404, "not_found".to_owned()),
                "{method} {path}"
            );
            bodies.push(reply.json()["error"]["message"].clone());
        }
        bodies.dedup();
        assert_eq!(
            bodies,
            [json!("there is no such conversation")],
            "nothing tells whether it exists"
        );
    }
}

#[tokio::test]
async fn only_listed_hosts_are_answered() {
    let server = Server::start().await;
    let port = server.address.port();
    for (host, status) in [
        (format!("localhost:{port}"), 200),
        (format!("LOCALHOST.:{port}"), 200),
        ("127.0.0.1".to_owned(), 200),
        (format!("[::1]:{port}"), 200),
        ("evil.example".to_owned(), 421),
        (format!("127.0.0.1.evil.example:{port}"), 421),
        ("169.254.169.254".to_owned(), 421),
        ("user@127.0.0.1".to_owned(), 400),
    ] {
        for path in ["/healthz", "/nowhere"] {
            let reply = server.request("GET", path, &[("Host", &host)], None).await;
            let wanted = if status == 200 && path == "/nowhere" {
                404
            } else {
                status
            };
            assert_eq!(reply.status, wanted, "{host} {path}: {}", reply.text());
        }
    }
    let two = [("Host", "127.0.0.1"), ("Host", "evil.example")];
    assert_eq!(server.request("GET", "/healthz", &two, None).await.status, 400);
    let absolute = server.request("GET", "http://evil.example/healthz", &[], None).await;
    assert_eq!(absolute.status, 421);
}
