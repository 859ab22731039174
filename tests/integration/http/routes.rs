//! Every route does what it says.

use super::support::{FAQ_ANSWER, FAQ_QUESTION, PASSAGE, QUESTION, SENTENCE, Server};
use kefu::domain::{Document, DocumentFormat, DocumentId, Faq, FaqId, Passage, PassageId, Scope};
use kefu::http::{Part, PartState};
use serde_json::{Value, json};

#[tokio::test]
async fn an_approved_question_gets_its_approved_answer() {
    let server = Server::start().await;
    let reply = server.post("/api/v1/ask", &json!({"question": FAQ_QUESTION})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let answer = reply.json();
    assert_eq!(
        (answer["answer"].as_str(), answer["route"].as_str()),
        (Some(FAQ_ANSWER), Some("faq"))
    );
    assert_eq!(answer["confidence"], 1.0);
    assert_eq!(answer["citations"][0]["passage_id"], server.faq.to_string());
    assert_eq!(answer["citations"][0]["quote"], FAQ_ANSWER);
    assert_eq!(answer["kb_version"], 2);
    assert_eq!(answer["model"], Value::Null);
    for part in ["understand", "retrieve", "first_token", "total"] {
        assert!(answer["timings_ms"][part].is_u64(), "{answer}");
    }
}

#[tokio::test]
async fn a_question_is_answered_from_passages_with_its_history() {
    let server = Server::start().await;
    let body = json!({
        "question": QUESTION,
        "history": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "您好"}],
        "top_k": 1,
    });
    let answer = server.post("/api/v1/ask", &body).await.json();
    assert_eq!(answer["route"], "passages", "{answer}");
    assert_eq!(answer["answer"], format!("{SENTENCE}[1]"));
    let citation = &answer["citations"][0];
    assert_eq!(citation["passage_id"], server.passage.to_string());
    assert!(PASSAGE.contains(citation["quote"].as_str().unwrap()));
    assert_eq!(answer["model"], "scripted-model@abcdef012345");
    assert_eq!(answer["usage"]["prompt_tokens"], 20);
    assert_eq!(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 8);
}

#[tokio::test]
async fn a_search_shows_the_scores_of_every_stage() {
    let server = Server::start().await;
    for mode in ["hybrid", "dense", "lexical"] {
        let reply = server
            .post("/api/v1/search", &json!({"query": QUESTION, "top_k": 2, "mode": mode}))
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let found = reply.json();
        let hits = found["passages"].as_array().unwrap();
        let passage = hits
            .iter()
            .find(|hit| hit["kind"] == "passage")
            .unwrap_or_else(|| panic!("{mode}: {found}"));
        assert_eq!(passage["text"], PASSAGE);
        assert_eq!(passage["title_path"], json!(["信用卡安全", "挂失"]));
        assert!(
            passage["scores"]["fused"].is_number() && passage["scores"]["coverage"].is_number(),
            "{found}"
        );
        assert!(hits.len() <= 2 && found["timings_ms"]["search"].is_number());
    }
    let found = server
        .post("/api/v1/search", &json!({"query": FAQ_QUESTION}))
        .await
        .json();
    assert_eq!(
        (&found["faqs"][0]["answer"], &found["faqs"][0]["exact"]),
        (&json!(FAQ_ANSWER), &json!(true))
    );
}

#[tokio::test]
async fn what_is_meant_for_others_is_not_told() {
    const ANSWER: &str = "贵宾热线全天有人接听。";
    let server = Server::start_loading(|_| {}).await;
    let mut ids = Vec::new();
    for (question, scope) in [
        ("贵宾热线几点开", json!({"audiences": ["vip"]})),
        ("网页上怎么预约", json!({"channels": ["web"]})),
        ("旧的活动还在吗", json!({"expires_at": "2026-01-01T00:00:00Z"})),
    ] {
        let faq = Faq {
            id: FaqId::new(),
            key: question.to_owned(),
            question: question.to_owned(),
            variants: Vec::new(),
            answer: ANSWER.to_owned(),
            category: String::new(),
            source: String::new(),
            imported_at: server.state.now(),
            scope: serde_json::from_value(scope).unwrap(),
        };
        ids.push(faq.id);
        server.store.put_faqs(&[faq], "").await.unwrap();
    }
    server.finish_loading().await;
    let told = async |body: serde_json::Value| {
        let reply = server.post("/api/v1/ask", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["answer"].as_str().unwrap().contains(ANSWER)
    };
    assert!(!told(json!({"question": "贵宾热线几点开？"})).await);
    assert!(!told(json!({"question": "贵宾热线几点开？", "audiences": ["staff"]})).await);
    assert!(told(json!({"question": "贵宾热线几点开？", "audiences": ["staff", "vip"]})).await);
    assert!(!told(json!({"question": "网页上怎么预约？"})).await);
    assert!(told(json!({"question": "网页上怎么预约？", "channel": "web"})).await);
    assert!(!told(json!({"question": "旧的活动还在吗？", "audiences": ["vip"], "channel": "web"})).await);
    for (audiences, expected) in [(json!([]), 0), (json!(["vip"]), 1)] {
        let body = json!({"query": "贵宾热线几点开", "audiences": audiences});
        let found = server.post("/api/v1/search", &body).await.json();
        let faqs = found["faqs"].as_array().unwrap();
        assert_eq!(
            faqs.iter().filter(|faq| faq["answer"] == ANSWER).count(),
            expected,
            "{found}"
        );
    }
    for body in [
        json!({"question": "x", "audiences": vec!["vip"; 33]}),
        json!({"question": "x", "audiences": [""]}),
        json!({"question": "x", "channel": "x".repeat(101)}),
    ] {
        assert_eq!(server.post("/api/v1/ask", &body).await.status, 400, "{body}");
    }

    // A conversation is on the web, and its visitor in no group.
    let (_, token) = server.visitor().await;
    let bearer = format!("Bearer {token}");
    for (id, expected) in ids.iter().zip([404, 200, 404]) {
        let path = format!("/api/v1/passages/{id}");
        let headers = [("Authorization", bearer.as_str())];
        assert_eq!(
            server.request("GET", &path, &headers, None).await.status,
            expected,
            "{id}"
        );
        assert_eq!(server.get(&path).await.status, 200);
    }
}

#[tokio::test]
async fn a_citation_leads_to_its_source() {
    let server = Server::start().await;
    let passage = server.get(&format!("/api/v1/passages/{}", server.passage)).await;
    assert_eq!(passage.status, 200, "{}", passage.text());
    let passage = passage.json();
    assert_eq!(
        (&passage["text"], &passage["title"]),
        (&json!(PASSAGE), &json!("信用卡安全"))
    );
    assert_eq!(passage["source_uri"], "kb/cards.md");
    let length = passage["end"].as_u64().unwrap() - passage["start"].as_u64().unwrap();
    assert_eq!(usize::try_from(length).unwrap(), PASSAGE.len());

    let faq = server.get(&format!("/api/v1/passages/{}", server.faq)).await.json();
    assert_eq!(
        (&faq["text"], &faq["title"]),
        (&json!(FAQ_ANSWER), &json!(FAQ_QUESTION))
    );
    for unknown in ["0199aa00-0000-7000-8000-000000000000", "x", "..%2f..%2fetc"] {
        assert_eq!(
            server.get(&format!("/api/v1/passages/{unknown}")).await.status,
            404,
            "{unknown}"
        );
    }
}

#[tokio::test]
async fn a_passage_that_was_cut_within_a_paragraph_is_shown_as_it_is_cited() {
    let server = Server::start_loading(|_| {}).await;
    let halves = ["黄蝉是夹竹桃科的植物。", "它的花是鲜黄色的，像漏斗。"];
    let text = halves.concat();
    let document = Document {
        id: DocumentId::new(),
        source: "kb/flowers.md".to_owned(),
        title: "黄蝉".to_owned(),
        format: DocumentFormat::Markdown,
        sha256: "00".repeat(32),
        text: text.clone(),
        imported_at: server.state.now(),
        scope: Scope::default(),
    };
    let cut = halves[0].len();
    let passages: Vec<Passage> = (0..)
        .zip([0..cut, cut..text.len()])
        .map(|(ordinal, range)| Passage {
            id: PassageId::new(),
            document_id: document.id,
            ordinal,
            title_path: vec!["黄蝉".to_owned()],
            page: None,
            text: text[range.clone()].to_owned(),
            start: range.start,
            end: range.end,
        })
        .collect();
    server.store.put_document(&document, &passages).await.unwrap();
    server.finish_loading().await;
    for passage in &passages {
        let shown = server.get(&format!("/api/v1/passages/{}", passage.id.0)).await.json();
        assert_eq!(
            (&shown["text"], &shown["start"], &shown["end"]),
            (&json!(text), &json!(0), &json!(text.len()))
        );
    }
    let reply = server
        .post("/api/v1/search", &json!({"query": "黄蝉的花是什么颜色"}))
        .await
        .json();
    let found = reply["passages"].as_array().unwrap();
    let ours: Vec<&Value> = found
        .iter()
        .filter(|hit| hit["document_id"] == json!(document.id.0))
        .collect();
    assert!(
        !ours.is_empty() && ours.iter().all(|hit| hit["text"] == json!(text)),
        "{reply}"
    );
}

#[tokio::test]
async fn a_conversation_is_kept_rated_handed_over_and_closed() {
    let server = Server::start().await;
    let (id, token) = server.visitor().await;
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let path = |rest: &str| format!("/api/v1/conversations/{id}{rest}");

    let mut events = server.say(&id, &token, QUESTION).await;
    let done = events.until("done").await;
    let message = done["message_id"].as_str().unwrap();

    let rating = json!({"score": 5, "message_id": message, "comment": "好"}).to_string();
    assert_eq!(
        server
            .request("POST", &path("/rating"), &headers, Some(&rating))
            .await
            .status,
        204
    );
    assert_eq!(
        server
            .request("POST", &path("/rating"), &headers, Some("{\"score\":4}"))
            .await
            .status,
        204
    );
    let foreign = json!({"score": 5, "message_id": "0199aa00-0000-7000-8000-000000000000"}).to_string();
    assert_eq!(
        server
            .request("POST", &path("/rating"), &headers, Some(&foreign))
            .await
            .status,
        404
    );

    let transcript = server.transcript(&id, &token).await;
    let messages = transcript["messages"].as_array().unwrap();
    assert_eq!(
        (messages.len(), &messages[0]["role"], &messages[0]["text"]),
        (2, &json!("visitor"), &json!(QUESTION))
    );
    let kept = &messages[1];
    assert_eq!(
        (&kept["id"], &kept["route"], &kept["rating"]),
        (&json!(message), &json!("passages"), &json!(5))
    );
    assert_eq!(
        (&kept["stopped"], kept["citations"].as_array().unwrap().len()),
        (&json!(false), 1)
    );
    assert_eq!(
        (&transcript["status"], &transcript["channel"]),
        (&json!("open"), &json!("web"))
    );
    assert!(transcript["created_at"].as_str().unwrap().ends_with('Z'));

    for body in [Some("{}"), None] {
        let handoff = server.request("POST", &path("/handoff"), &headers, body).await;
        assert_eq!(handoff.status, 200, "{}", handoff.text());
        let handoff = handoff.json();
        assert_eq!(
            (&handoff["status"], &handoff["position"]),
            (&json!("waiting"), &json!(0))
        );
        assert!(
            handoff["message"].as_str().unwrap().contains("人工"),
            "the visitor writes Chinese"
        );
    }
    assert_eq!(server.transcript(&id, &token).await["status"], "waiting");

    assert_eq!(
        server.request("POST", &path("/close"), &headers, None).await.status,
        204
    );
    let body = json!({"text": QUESTION}).to_string();
    let refused = server.request("POST", &path("/messages"), &headers, Some(&body)).await;
    assert_eq!(
        (refused.status, refused.code()),
        (409, "conversation_closed".to_owned())
    );
    assert_eq!(
        server.request("POST", &path("/handoff"), &headers, None).await.status,
        409
    );
}

#[tokio::test]
async fn a_conversation_is_begun_with_a_cookie() {
    let server = Server::start().await;
    let created = server
        .post("/api/v1/conversations", &json!({"channel": "web", "language": "zh"}))
        .await;
    assert_eq!(created.status, 201);
    let token = created.json()["visitor_token"].as_str().unwrap().to_owned();
    let cookie = created.header("set-cookie").unwrap();
    for part in [
        &format!("kefu_visitor={token};"),
        "HttpOnly",
        "SameSite=Strict",
        "Path=/api/v1",
        "Max-Age=43200",
    ] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(
        created.header("location").unwrap(),
        format!("/api/v1/conversations/{}", created.json()["id"].as_str().unwrap())
    );

    let behind = Server::start_with(|config| config.http.behind_proxy = true).await;
    let created = behind.post("/api/v1/conversations", &json!({})).await;
    let cookie = created.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("__Host-kefu_visitor=") && cookie.contains("Path=/; Secure"),
        "{cookie}"
    );
}

#[tokio::test]
async fn a_server_that_loads_says_so_and_then_serves() {
    let server = Server::start_loading(|_| {}).await;
    assert_eq!(server.get("/healthz").await.status, 200);
    assert_eq!(server.get("/").await.status, 200);
    let ready = server.get("/readyz").await;
    assert_eq!(
        (ready.status, &ready.json()["model"]["status"]),
        (503, &json!("loading"))
    );
    assert_eq!(ready.json()["database"]["status"], "ok");
    for (path, body) in [
        ("/api/v1/ask", json!({"question": "x"})),
        ("/api/v1/search", json!({"query": "x"})),
        ("/api/v1/conversations", json!({})),
        (
            "/v1/chat/completions",
            json!({"model": "kefu", "messages": [{"role": "user", "content": "x"}]}),
        ),
        ("/v1/embeddings", json!({"model": "e", "input": "x"})),
    ] {
        let reply = server.post(path, &body).await;
        assert_eq!((reply.status, reply.code()), (503, "not_ready".to_owned()), "{path}");
        assert!(reply.header("retry-after").is_some(), "{path}");
    }
    server.finish_loading().await;
    let ready = server.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &json!(true)));
    assert_eq!(
        server
            .post("/api/v1/ask", &json!({"question": FAQ_QUESTION}))
            .await
            .status,
        200
    );

    server
        .state
        .set(Part::Model, PartState::Failed("no such file".to_owned()));
    let ready = server.get("/readyz").await;
    assert_eq!(
        (ready.status, &ready.json()["model"]),
        (503, &json!({"status": "failed", "detail": "no such file"}))
    );
}

#[tokio::test]
async fn the_metrics_count_requests_replies_and_knowledge() {
    let server = Server::start().await;
    server.post("/api/v1/ask", &json!({"question": FAQ_QUESTION})).await;
    server.get("/nowhere?secret=1").await;
    let metrics = server.get("/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    let text = metrics.text();
    for line in [
        "kefu_http_requests_total{method=\"POST\",route=\"/api/v1/ask\",status=\"200\"} 1",
        "kefu_http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"} 1",
        "kefu_replies_total{route=\"faq\"} 1",
        "kefu_knowledge{kind=\"passages\"} 1",
        "kefu_knowledge{kind=\"faqs\"} 1",
        "kefu_connections 1",
        "kefu_http_request_seconds_bucket",
        "# EOF",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("secret") && !text.contains("nowhere"));
}

#[tokio::test]
async fn the_document_describes_the_routes_and_its_page_needs_nothing_from_elsewhere() {
    let server = Server::start().await;
    let document = server.get("/api/openapi.json").await;
    assert_eq!(document.status, 200);
    let document = document.json();
    assert!(
        document["openapi"].as_str().unwrap().starts_with("3.1"),
        "{}",
        document["openapi"]
    );
    let (_, table) = kefu::http::build(&server.state);
    let described = document["paths"].as_object().unwrap();
    for path in described.keys() {
        assert!(
            table.iter().any(|route| route.path == *path),
            "{path} is described and not served"
        );
    }
    assert!(described.len() >= 15, "{}", described.len());
    assert!(document["components"]["schemas"]["Answer"]["properties"]["answer"].is_object());
    let needed = &document["paths"]["/api/v1/ask"]["post"]["security"];
    assert_eq!(needed, &json!([{"api_key": []}]));

    assert_eq!(server.get("/api/docs").await.header("location"), Some("/api/docs/"));
    let page = server.get("/api/docs/").await;
    assert_eq!(page.status, 200);
    assert!(
        !page.text().contains("https://") && !page.text().contains("<script>"),
        "{}",
        page.text()
    );
    let settings = server.get("/api/docs/swagger-initializer.js").await.text();
    assert!(
        settings.contains("/api/openapi.json") && !settings.contains("petstore"),
        "{settings}"
    );
    for file in ["swagger-ui-bundle.js", "swagger-ui.css"] {
        assert_eq!(server.get(&format!("/api/docs/{file}")).await.status, 200, "{file}");
    }
    assert_eq!(server.get("/api/docs/nothing.js").await.status, 404);
}

#[tokio::test]
async fn pages_and_data_carry_the_headers_that_browsers_obey() {
    let server = Server::start().await;
    let page = server.get("/").await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    assert_eq!(
        page.header("content-security-policy"),
        Some(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
             font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'"
        )
    );
    let docs = server.get("/api/docs/").await;
    let docs_policy = docs.header("content-security-policy").unwrap();
    assert!(
        docs_policy.contains("script-src 'self';") && docs_policy.contains("default-src 'none'"),
        "{docs_policy}"
    );
    let mut ids = Vec::new();
    for path in ["/", "/healthz", "/nowhere", "/api/docs/", "/v1/models"] {
        let reply = server.get(path).await;
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert!(
            reply.header("permissions-policy").unwrap().contains("camera=()"),
            "{path}"
        );
        assert!(
            reply
                .header("content-security-policy")
                .unwrap()
                .contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert!(
            reply.header("cache-control").is_some() && reply.header("access-control-allow-origin").is_none(),
            "{path}"
        );
        ids.push(reply.header("x-request-id").unwrap().parse::<uuid::Uuid>().unwrap());
    }
    assert!(ids.is_sorted() && ids.iter().all(|id| id.get_version_num() == 7));
    let own = server
        .request("GET", "/healthz", &[("X-Request-Id", "chosen-by-client")], None)
        .await;
    assert_ne!(own.header("x-request-id"), Some("chosen-by-client"));
}
