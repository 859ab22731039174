//! Replies as streams: their order, their end, what becomes of them when somebody leaves.

use super::doubles::Script;
use super::support::{FAQ_QUESTION, QUESTION, SENTENCE, Server, within};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::Notify;

/// A sentence that is certainly complete, because another one begins after it.
const BEGUN: &str = "信用卡挂失手续费每卡40元。补发新卡";

const NAMES: [&str; 7] = ["route", "citation", "token", "queue", "handoff", "done", "error"];

fn fields(data: &Value) -> Vec<&str> {
    data.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn events_come_in_order_and_from_the_closed_set() {
    let server = Server::start().await;
    server
        .model
        .script(Script::Say(&[SENTENCE, "补发新卡工本费每卡10元。"]));
    let (id, token) = server.visitor().await;
    let events = server.say(&id, &token, QUESTION).await;
    assert_eq!(events.status, 200);
    let header = |name: &str| {
        events
            .headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(
        (header("content-type"), header("cache-control")),
        (Some("text/event-stream"), Some("no-store"))
    );

    let all = events.rest().await;
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.iter().all(|name| NAMES.contains(name)), "{names:?}");
    assert_eq!((names.first(), names.last()), (Some(&"route"), Some(&"done")));
    assert_eq!(names.iter().filter(|name| ["route", "done"].contains(name)).count(), 2);
    let place = |wanted: &str| names.iter().position(|name| *name == wanted).unwrap();
    assert!(
        place("queue") < place("citation") && place("citation") < place("token"),
        "{names:?}"
    );

    let data = |wanted: &str| &all[place(wanted)].1;
    assert_eq!(
        fields(data("route")),
        ["route", "confidence", "intent", "emotion", "risk"]
    );
    assert_eq!(
        fields(data("citation")),
        [
            "n",
            "document_id",
            "title",
            "passage_id",
            "quote",
            "start",
            "end",
            "kb_version"
        ]
    );
    assert_eq!(fields(data("token")), ["text"]);
    assert_eq!(data("queue"), &json!({"position": 1}));
    assert_eq!(
        fields(data("done")),
        ["message_id", "usage", "timings_ms", "model", "kb_version", "related"]
    );
    assert!(data("done")["related"].is_array());
    let text: String = all
        .iter()
        .filter(|(name, _)| name == "token")
        .map(|(_, data)| data["text"].as_str().unwrap())
        .collect();
    assert!(
        text.starts_with(SENTENCE.trim_end_matches('。')) && text.contains("[1]"),
        "{text}"
    );
}

#[tokio::test]
async fn a_question_is_streamed_where_the_client_accepts_events() {
    let server = Server::start().await;
    let body = json!({"question": FAQ_QUESTION}).to_string();
    let accept = [("Accept", "text/event-stream;q=0.9, application/json;q=0.1")];
    let stream = server.open("POST", "/api/v1/ask", &accept, Some(body.as_bytes())).await;
    let all = super::client::Events::of(stream).await.rest().await;
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["route", "citation", "token", "done"]);
}

#[tokio::test]
async fn a_wish_for_a_person_hands_over() {
    let server = Server::start().await;
    let (id, token) = server.visitor().await;
    let all = server.say(&id, &token, "转人工").await.rest().await;
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["route", "handoff", "token", "done"]);
    assert_eq!(
        (&all[0].1["route"], &all[1].1),
        (&json!("handoff"), &json!({"reason": "requested", "position": 0}))
    );
    assert_eq!(server.transcript(&id, &token).await["status"], "waiting");
}

#[tokio::test]
async fn leaving_stops_the_model_and_what_was_said_is_kept_as_stopped() {
    let mut server = Server::start().await;
    server.model.script(Script::SayAndWait(BEGUN, Arc::new(Notify::new())));
    let (id, token) = server.visitor().await;
    let mut events = server.say(&id, &token, QUESTION).await;
    let said = events.until("token").await["text"].as_str().unwrap().to_owned();
    drop(events);
    server.model_was_cancelled().await;
    server.replies_are_stored().await;
    let transcript = server.transcript(&id, &token).await;
    let kept = &transcript["messages"][1];
    assert_eq!(
        (&kept["stopped"], kept["text"].as_str()),
        (&json!(true), Some(said.as_str())),
        "{transcript}"
    );
    // The place is free again.
    assert_eq!(
        server
            .say(&id, &token, FAQ_QUESTION)
            .await
            .rest()
            .await
            .last()
            .unwrap()
            .0,
        "done"
    );
}

#[tokio::test]
async fn leaving_before_the_answer_stops_a_question_that_is_not_streamed() {
    let mut server = Server::start().await;
    for (path, body) in [
        ("/api/v1/ask", json!({"question": QUESTION})),
        (
            "/v1/chat/completions",
            json!({"model": super::support::MODEL, "messages": [{"role": "user", "content": "x"}]}),
        ),
    ] {
        server.model.script(Script::SayAndWait(BEGUN, Arc::new(Notify::new())));
        let stream = server.open("POST", path, &[], Some(body.to_string().as_bytes())).await;
        // The model has the request before the client leaves.
        let before = server.model.requests.lock().unwrap().len();
        within(async {
            while server.model.requests.lock().unwrap().len() == before && before == 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        drop(stream);
        server.model_was_cancelled().await;
        server.model.requests.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn a_third_message_at_once_is_told_to_wait() {
    let server = Server::start().await;
    let gate = Arc::new(Notify::new());
    server.model.script(Script::SayAndWait(BEGUN, Arc::clone(&gate)));
    let (id, token) = server.visitor().await;
    let mut first = server.say(&id, &token, QUESTION).await;
    first.until("token").await;

    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let path = format!("/api/v1/conversations/{id}/messages");
    let second = json!({"text": FAQ_QUESTION}).to_string();
    let second = server.open("POST", &path, &headers, Some(second.as_bytes())).await;
    within(async {
        while server.transcript(&id, &token).await["messages"]
            .as_array()
            .unwrap()
            .len()
            < 2
        {
            tokio::task::yield_now().await;
        }
    })
    .await;

    let third = server
        .request("POST", &path, &headers, Some("{\"text\":\"你好\"}"))
        .await;
    assert_eq!((third.status, third.code()), (429, "busy".to_owned()));
    assert!(third.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    // Another visitor is not held up.
    let (other, other_token) = server.visitor().await;
    assert_eq!(
        server
            .say(&other, &other_token, FAQ_QUESTION)
            .await
            .rest()
            .await
            .last()
            .unwrap()
            .0,
        "done"
    );

    gate.notify_one();
    assert_eq!(first.rest().await.last().unwrap().0, "done");
    let second = super::client::Events::of(second).await.rest().await;
    assert_eq!(
        (second[0].1["route"].as_str(), second.last().unwrap().0.as_str()),
        (Some("faq"), "done")
    );
}

#[tokio::test]
async fn a_full_queue_is_answered_with_a_time_to_retry() {
    let server = Server::start().await;
    server.embedder.overloaded.store(true, Ordering::SeqCst);
    let question = json!({"question": "完全没有问过的问题"});
    let (id, token) = server.visitor().await;
    let bearer = format!("Bearer {token}");
    let message = json!({"text": "完全没有问过的问题"}).to_string();
    let path = format!("/api/v1/conversations/{id}/messages");
    for reply in [
        server.post("/api/v1/ask", &question).await,
        server
            .post("/api/v1/search", &json!({"query": "完全没有问过的问题"}))
            .await,
        server
            .post(
                "/v1/embeddings",
                &json!({"model": super::support::EMBEDDER, "input": "x"}),
            )
            .await,
        server
            .request("POST", &path, &[("Authorization", &bearer)], Some(&message))
            .await,
    ] {
        assert_eq!(
            (reply.status, reply.code()),
            (503, "overloaded".to_owned()),
            "{}",
            reply.text()
        );
        assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    }
    server.embedder.overloaded.store(false, Ordering::SeqCst);
    server.model.script(Script::Overloaded);
    let chat = json!({"model": super::support::MODEL, "messages": [{"role": "user", "content": "x"}]});
    let reply = server.post("/v1/chat/completions", &chat).await;
    assert_eq!(
        (reply.status, reply.header("retry-after")),
        (503, Some("5")),
        "{}",
        reply.text()
    );
    assert_eq!(reply.json()["error"]["type"], "server_error");
    // The knowledge base answers without its writer: by a quotation.
    server.model.script(Script::Overloaded);
    let answer = server.post("/api/v1/ask", &json!({"question": QUESTION})).await.json();
    assert!(
        answer["answer"].as_str().unwrap().contains("40元") && answer["model"].is_null(),
        "{answer}"
    );
}

#[tokio::test]
async fn shutdown_lets_replies_end_and_accepts_nothing_new() {
    let server = Server::start().await;
    let gate = Arc::new(Notify::new());
    server.model.script(Script::SayAndWait(BEGUN, Arc::clone(&gate)));
    let (id, token) = server.visitor().await;
    let mut events = server.say(&id, &token, QUESTION).await;
    events.until("token").await;
    server.shutdown.cancel();
    within(async {
        while tokio::net::TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gate.notify_one();
    assert_eq!(events.rest().await.last().unwrap().0, "done");
    within(server.served).await.unwrap();
}

#[tokio::test]
async fn shutdown_ends_what_takes_too_long_with_a_word() {
    let mut server = Server::start_with(|config| config.http.drain_timeout_ms = 30).await;
    for _ in 0..2 {
        server.model.script(Script::SayAndWait(BEGUN, Arc::new(Notify::new())));
    }
    let (id, token) = server.visitor().await;
    let mut events = server.say(&id, &token, QUESTION).await;
    events.until("token").await;
    let chat = json!({"model": super::support::MODEL, "stream": true, "messages": [{"role": "user", "content": "x"}]});
    let stream = server
        .open("POST", "/v1/chat/completions", &[], Some(chat.to_string().as_bytes()))
        .await;
    let mut chunks = super::client::Events::of(stream).await;
    chunks.next().await.unwrap();

    server.shutdown.cancel();
    let (name, data) = events.rest().await.pop().unwrap();
    assert_eq!((name.as_str(), &data["code"]), ("error", &json!("server_shutdown")));
    let (_, last) = chunks.rest().await.pop().unwrap();
    assert_eq!(last["error"]["code"], "server_shutdown");
    server.model_was_cancelled().await;
    server.model_was_cancelled().await;
    within(&mut server.served).await.unwrap();
}
