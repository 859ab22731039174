//! Two servers over one PostgreSQL database: one conversation, one knowledge base, one desk; and what they do while the database is
//! away.

use super::client::Reply;
use super::support::{QUESTION, SENTENCE, Server, fill, within};
use crate::postgres::{Postgres, shared};
use kefu::domain::{Hidden, ManualClock, StaffRole};
use kefu::people::NewUser;
use kefu::storage::PostgresStore;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const PASSWORD: &str = "correct horse battery";

/// The longest time from a publication until another node answers by it.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(2);

/// The longest wait for a refusal while the database is away, with some time for a slow machine.
const REFUSES_WITHIN: Duration = Duration::from_secs(4);

/// Two servers over an empty database of `server`.
async fn two_nodes(server: &Postgres) -> (Server, Server) {
    let database = server.database("").await;
    let open = async || {
        let clock = Arc::new(ManualClock::new("2026-05-28T20:26:40Z".parse().unwrap()));
        Arc::new(PostgresStore::open(&server.options(&database), clock).await.unwrap())
    };
    let (one, two) = (open().await, open().await);
    fill(one.as_ref()).await;
    let key = vault_key();
    (Server::node(one, &key).await, Server::node(two, &key).await)
}

/// A key file, as an operator copies it to every node.
fn vault_key() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("vault.key");
    kefu::storage::Vault::open(&file).unwrap();
    std::fs::read(&file).unwrap()
}

async fn sign_in(node: &Server) -> String {
    let new = NewUser {
        name: "wangfang".to_owned(),
        display_name: None,
        role: StaffRole::Admin,
        password: Hidden(PASSWORD.to_owned()),
        must_change: false,
    };
    node.state.people().add(new, "command line").await.unwrap();
    let form = json!({"name": "wangfang", "password": PASSWORD});
    let reply = node.post("/api/v1/auth/login", &form).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned()
}

async fn as_person(node: &Server, cookie: &str, method: &str, path: &str, body: Option<Value>) -> Reply {
    let origin = format!("http://{}", node.host());
    let headers = [("Cookie", cookie), ("Origin", origin.as_str())];
    let body = body.map(|body| body.to_string());
    node.request(method, path, &headers, body.as_deref()).await
}

/// Publishes a FAQ on `node`.
async fn publish(node: &Server, cookie: &str, key: &str, question: &str, answer: &str) {
    let form = json!({"key": key, "question": question, "variants": [], "answer": answer, "category": ""});
    let draft = as_person(node, cookie, "POST", "/api/v1/knowledge/faqs", Some(form)).await;
    assert_eq!(draft.status, 201, "{}", draft.text());
    let what = json!({"revisions": [draft.json()["id"]], "note": "", "force": false});
    let published = as_person(node, cookie, "POST", "/api/v1/knowledge/publish", Some(what)).await;
    assert_eq!(published.status, 200, "{}", published.text());
}

/// Asks until `answer` comes.
async fn answers(node: &Server, question: &str, answer: &str) {
    let asked = async {
        loop {
            let reply = node.post("/api/v1/ask", &json!({ "question": question })).await;
            if reply.status == 200 && reply.json()["answer"] == answer {
                return;
            }
        }
    };
    let in_time = tokio::time::timeout(FOLLOWS_WITHIN, asked).await;
    in_time.expect("the other node answers by it in time");
}

async fn said(node: &Server, id: &str, token: &str, text: &str) -> Vec<(String, Value)> {
    let events = node.say(id, token, text).await;
    assert_eq!(events.status, 200);
    within(events.rest()).await
}

fn texts(transcript: &Value) -> Vec<String> {
    let messages = transcript["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|m| m["text"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_serve_one_conversation_and_one_desk() {
    let (one, two) = two_nodes(shared().await).await;
    let (id, token) = one.visitor().await;
    said(&one, &id, &token, QUESTION).await;
    // A number that goes on in the next message is found, though another node hears the rest.
    said(&two, &id, &token, "我的手机号是13812345678").await;
    let last = said(&one, &id, &token, "还要多久").await;
    assert!(last.iter().any(|(name, _)| name == "done"), "{last:?}");
    let (seen, same) = (one.transcript(&id, &token).await, two.transcript(&id, &token).await);
    assert_eq!(seen["messages"], same["messages"]);
    let texts = texts(&seen);
    assert_eq!(texts.len(), 6, "{texts:?}");
    assert!(texts[1].contains(SENTENCE.trim_end_matches('。')), "{texts:?}");
    assert!(!texts[2].contains("13812345678"), "masked on either node");

    // Who waits, waits everywhere.
    let bearer = format!("Bearer {token}");
    let call = format!("/api/v1/conversations/{id}/handoff");
    let called = two.request("POST", &call, &[("Authorization", &bearer)], None).await;
    assert!((200..300).contains(&called.status), "{}", called.text());
    assert_eq!(one.transcript(&id, &token).await["status"], "waiting");

    // A session of one node is one of the other, until it ends on either.
    let cookie = sign_in(&one).await;
    let overview = "/api/v1/knowledge/overview";
    assert_eq!(as_person(&two, &cookie, "GET", overview, None).await.status, 200);
    assert_eq!(
        as_person(&two, &cookie, "POST", "/api/v1/auth/logout", None)
            .await
            .status,
        204
    );
    assert_eq!(as_person(&one, &cookie, "GET", overview, None).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_publishes_the_other_answers_by_within_two_seconds() {
    let (one, two) = two_nodes(shared().await).await;
    let cookie = sign_in(&one).await;
    for (key, answer) in [("lounge", "有两间。"), ("snow", "下雪时停运。")] {
        let question = format!("{key} 在哪里");
        publish(&one, &cookie, key, &question, answer).await;
        answers(&two, &question, answer).await;
    }
    // And the other way round.
    publish(&two, &cookie, "tide", "涨潮几点", "六点。").await;
    answers(&one, "涨潮几点", "六点。").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_all_is_refused_soon_and_nothing_acknowledged_is_lost() {
    let mut server = Postgres::start();
    server.answers().await;
    let (one, two) = two_nodes(&server).await;
    let cookie = sign_in(&one).await;
    let (id, token) = one.visitor().await;
    said(&one, &id, &token, QUESTION).await;
    let before = texts(&two.transcript(&id, &token).await);
    let bearer = format!("Bearer {token}");
    let conversation = format!("/api/v1/conversations/{id}");

    server.kill();
    for node in [&one, &two] {
        let words = json!({"text": "还在吗"}).to_string();
        let headers = [("Authorization", bearer.as_str())];
        let messages = format!("{conversation}/messages");
        let refused = async {
            tokio::join!(
                node.request("GET", &conversation, &headers, None),
                node.request("POST", &messages, &headers, Some(&words)),
                node.request("POST", "/api/v1/conversations", &[], None),
                as_person(node, &cookie, "GET", "/api/v1/knowledge/overview", None),
            )
        };
        let (read, write, begin, person) = tokio::time::timeout(REFUSES_WITHIN, refused)
            .await
            .expect("a refusal soon");
        for reply in [read, write, begin, person] {
            assert_eq!((reply.status, reply.code().as_str()), (503, "database_unavailable"));
            assert!(reply.header("retry-after").is_some());
            assert!(
                !reply.text().contains("/tmp"),
                "where it is is nobody's business: {}",
                reply.text()
            );
        }
        let ready = tokio::time::timeout(REFUSES_WITHIN, node.get("/readyz"))
            .await
            .expect("an answer soon");
        assert_eq!(ready.status, 503);
        assert_eq!(node.get("/healthz").await.status, 200);
    }

    server.run();
    server.answers().await;
    for node in [&one, &two] {
        assert_eq!(texts(&node.transcript(&id, &token).await), before);
    }
    said(&two, &id, &token, QUESTION).await;
    assert_eq!(
        one.transcript(&id, &token).await["messages"].as_array().unwrap().len(),
        before.len() + 2
    );
    // They hear of each other again.
    let listening = async {
        publish(&one, &cookie, "tide", "涨潮几点", "六点。").await;
        answers(&two, "涨潮几点", "六点。").await;
    };
    within(listening).await;
}
