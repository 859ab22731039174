//! Bad input: each fault has its status, its words and no detail of the inside; none is ever a 5xx.

use super::client::Reply;
use super::support::{EMBEDDER, MODEL, QUESTION, Server};
use serde_json::{Value, json};

/// Every route that takes a body, with a body that it accepts. `{c}` stands for the conversation.
fn bodies() -> Vec<(&'static str, Value)> {
    vec![
        ("/api/v1/ask", json!({"question": QUESTION})),
        ("/api/v1/search", json!({"query": QUESTION})),
        ("/api/v1/conversations", json!({"channel": "web"})),
        ("/api/v1/conversations/{c}/messages", json!({"text": QUESTION})),
        ("/api/v1/conversations/{c}/rating", json!({"score": 3})),
        ("/api/v1/conversations/{c}/handoff", json!({"language": "zh"})),
        (
            "/v1/chat/completions",
            json!({"model": MODEL, "messages": [{"role": "user", "content": "x"}]}),
        ),
        ("/v1/embeddings", json!({"model": EMBEDDER, "input": "x"})),
    ]
}

struct Visit {
    server: Server,
    id: String,
    bearer: String,
}

impl Visit {
    async fn begin() -> Self {
        let server = Server::start_with(|config| {
            config.http.max_json_bytes = 4096;
            config.http.max_message_bytes = 2048;
        })
        .await;
        let (id, token) = server.visitor().await;
        Self {
            server,
            id,
            bearer: format!("Bearer {token}"),
        }
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut all = headers.to_vec();
        if path.contains("{c}") {
            all.push(("Authorization", &self.bearer));
        }
        let path = path.replace("{c}", &self.id);
        let mut stream = self.server.open("POST", &path, &all, Some(body)).await;
        super::client::read_reply(&mut stream).await
    }
}

/// The form of an error: a code, words, and (outside `/v1`) the request's id.
fn check_form(path: &str, reply: &Reply) {
    let error = &reply.json()["error"];
    assert!(
        error["code"].is_string() && error["message"].is_string(),
        "{path}: {error}"
    );
    assert_eq!(reply.header("content-type"), Some("application/json"), "{path}");
    if path.starts_with("/v1") {
        assert!(
            error["type"].is_string() && error.get("param").is_some(),
            "{path}: {error}"
        );
    } else {
        assert_eq!(
            error["request_id"].as_str(),
            reply.header("x-request-id"),
            "{path}: {error}"
        );
    }
}

#[tokio::test]
async fn every_body_is_checked_on_every_route() {
    let visit = Visit::begin().await;
    for (path, good) in bodies() {
        let good = good.to_string();
        let accepted = visit.post(path, &[], good.as_bytes()).await;
        assert!(accepted.status < 300, "{path}: {}", accepted.text());
        let mut unknown: Value = serde_json::from_str(&good).unwrap();
        unknown["no_such_field"] = json!(1);
        let deep = format!("{{\"question\":{}", "[".repeat(100));
        let large = format!("{{\"question\":\"{}\"}}", "x".repeat(5000));
        let mut broken = good.clone().into_bytes();
        broken[2] = 0xff;
        for (name, body, status) in [
            ("malformed", b"{\"a\":".as_slice(), 400),
            ("trailing comma", b"{\"a\":1,}", 400),
            ("two values", b"{} {}", 400),
            ("NaN", b"{\"a\":NaN}", 400),
            ("an array", b"[]", 400),
            ("a string", b"\"x\"", 400),
            ("null", b"null", 400),
            ("invalid UTF-8", &broken, 400),
            ("a lone surrogate", b"{\"question\":\"\\ud800\"}", 400),
            ("unknown field", unknown.to_string().as_bytes(), 400),
            ("too deep", deep.as_bytes(), 400),
            ("too large", large.as_bytes(), 413),
        ] {
            let reply = visit.post(path, &[], body).await;
            assert_eq!(reply.status, status, "{path}, {name}: {}", reply.text());
            check_form(path, &reply);
        }
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/json; charset=gbk",
            "",
        ] {
            let reply = visit.post(path, &[("Content-Type", kind)], good.as_bytes()).await;
            assert_eq!(
                (reply.status, reply.code()),
                (415, "unsupported_media_type".to_owned()),
                "{path}, {kind}"
            );
        }
    }
}

#[tokio::test]
async fn a_fault_is_named_with_its_place() {
    let visit = Visit::begin().await;
    for (path, body, code, words) in [
        (
            "/api/v1/ask",
            "{\"question\": \"x\",}",
            "malformed_json",
            "line 1 column 18",
        ),
        ("/api/v1/ask", "{}", "invalid_request", "missing field `question`"),
        ("/api/v1/ask", "{\"question\":1}", "invalid_request", "line 1 column 13"),
        ("/api/v1/ask", "{\"question\":\"  \"}", "empty_question", "empty"),
        (
            "/api/v1/ask",
            "{\"question\":\"x\",\"history\":[{\"role\":\"root\",\"content\":\"\"}]}",
            "invalid_request",
            "unknown variant `root`",
        ),
        (
            "/api/v1/ask",
            "{\"question\":\"x\",\"question\":\"y\"}",
            "invalid_request",
            "duplicate field",
        ),
        (
            "/api/v1/search",
            "{\"query\":\"x\",\"mode\":\"magic\"}",
            "invalid_request",
            "unknown variant `magic`",
        ),
        (
            "/api/v1/conversations/{c}/messages",
            "{\"text\":\"\"}",
            "empty_question",
            "empty",
        ),
        (
            "/api/v1/conversations/{c}/rating",
            "{\"score\":6}",
            "invalid_parameter",
            "between 1 and 5",
        ),
        (
            "/api/v1/conversations/{c}/rating",
            "{\"score\":5,\"message_id\":\"x\"}",
            "invalid_request",
            "UUID",
        ),
    ] {
        let reply = visit.post(path, &[], body.as_bytes()).await;
        assert_eq!(
            (reply.status, reply.code()),
            (400, code.to_owned()),
            "{body}: {}",
            reply.text()
        );
        assert!(reply.text().contains(words), "{body}: {}", reply.text());
    }
    let long = json!({"question": "长".repeat(2001)}).to_string();
    let server = Server::start().await;
    let reply = server.request("POST", "/api/v1/ask", &[], Some(&long)).await;
    assert_eq!((reply.status, reply.code()), (400, "question_too_long".to_owned()));
    let turns: Vec<Value> = (0..51).map(|_| json!({"role": "user", "content": "x"})).collect();
    let reply = server
        .post("/api/v1/ask", &json!({"question": "x", "history": turns}))
        .await;
    assert_eq!((reply.status, reply.code()), (400, "invalid_parameter".to_owned()));
}

#[tokio::test]
async fn numbers_out_of_range_are_refused_wherever_they_stand() {
    let visit = Visit::begin().await;
    let chat = |field: &str| {
        format!("{{\"model\":\"{MODEL}\",\"messages\":[{{\"role\":\"user\",\"content\":\"x\"}}],\"{field}\":@}}")
    };
    let mut cases: Vec<(&str, String, &[&str])> = vec![
        ("/api/v1/ask", "{\"question\":\"x\",\"top_k\":@}".to_owned(), &[]),
        ("/api/v1/search", "{\"query\":\"x\",\"top_k\":@}".to_owned(), &[]),
        ("/api/v1/conversations/{c}/rating", "{\"score\":@}".to_owned(), &[]),
        (
            "/v1/embeddings",
            format!("{{\"model\":\"{EMBEDDER}\",\"input\":\"x\",\"dimensions\":@}}"),
            &[],
        ),
    ];
    for field in [
        "temperature",
        "top_p",
        "min_p",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "top_logprobs",
    ] {
        cases.push(("/v1/chat/completions", chat(field), &[]));
    }
    cases.push(("/v1/chat/completions", chat("top_k"), &["0"]));
    // Penalties reach from -2 to 2, and any 64-bit integer is a seed.
    for field in ["presence_penalty", "frequency_penalty"] {
        cases.push(("/v1/chat/completions", chat(field), &["-1", "0"]));
    }
    cases.push(("/v1/chat/completions", chat("seed"), &["-1", "0", "2147483648"]));
    for (path, template, allowed) in cases {
        for literal in [
            "-1",
            "2147483648",
            "9223372036854775808",
            "-9223372036854775809",
            "1e308",
            "1e999",
            "NaN",
            "\"1\"",
            "[1]",
            "true",
        ] {
            if allowed.contains(&literal) {
                continue;
            }
            let reply = visit.post(path, &[], template.replace('@', literal).as_bytes()).await;
            assert_eq!(reply.status, 400, "{path} {template} {literal}: {}", reply.text());
            check_form(path, &reply);
        }
        for literal in allowed {
            let reply = visit.post(path, &[], template.replace('@', literal).as_bytes()).await;
            assert_eq!(reply.status, 200, "{path} {template} {literal}: {}", reply.text());
        }
    }
    for path in ["/api/v1/ask", "/api/v1/search"] {
        let field = if path.ends_with("ask") { "question" } else { "query" };
        let reply = visit
            .post(path, &[], format!("{{\"{field}\":\"x\",\"top_k\":0}}").as_bytes())
            .await;
        assert_eq!(reply.status, 400, "{path}");
    }
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_told_in_json() {
    let server = Server::start().await;
    for path in [
        "/nowhere",
        "/api/v1/nowhere",
        "/v1/nowhere",
        "/api/v1/conversations/x/y/z",
        "/assets/../Cargo.toml",
        "/%ff",
    ] {
        let reply = server.get(path).await;
        assert_eq!((reply.status, reply.code()), (404, "not_found".to_owned()), "{path}");
        check_form(path, &reply);
    }
    for (method, path, allow) in [
        ("DELETE", "/api/v1/ask", "POST"),
        ("GET", "/api/v1/ask", "POST"),
        ("POST", "/healthz", "GET,HEAD"),
        ("PUT", "/v1/models", "GET,HEAD"),
        ("OPTIONS", "/api/v1/ask", "POST"),
    ] {
        let reply = server.request(method, path, &[], None).await;
        assert_eq!(
            (reply.status, reply.header("allow")),
            (405, Some(allow)),
            "{method} {path}"
        );
        assert_eq!(reply.code(), "method_not_allowed");
    }
}

#[tokio::test]
async fn a_failure_within_is_told_by_its_id_alone() {
    let server = Server::start().await;
    server.store.close().await;
    let reply = server.get(&format!("/api/v1/passages/{}", server.passage)).await;
    assert_eq!((reply.status, reply.code()), (500, "internal".to_owned()));
    check_form("/api", &reply);
    let text = reply.text().to_lowercase();
    for inside in ["sqlite", "pool", "closed", "storage", "/tmp"] {
        assert!(!text.contains(inside), "{text}");
    }
    let ready = server.get("/readyz").await;
    assert_eq!(
        (ready.status, &ready.json()["database"]["status"]),
        (503, &json!("failed"))
    );
}
