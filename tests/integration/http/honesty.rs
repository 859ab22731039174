//! A model that says whatever it likes: what reaches the customer is still only what a source says.

use super::doubles::Script;
use super::support::{PASSAGE, QUESTION, Server};
use serde_json::{Value, json};

/// What the customer is told when the model says `pieces`.
async fn told(pieces: &'static [&'static str]) -> Value {
    let server = Server::start().await;
    server.model.script(Script::Say(pieces));
    let reply = server.post("/api/v1/ask", &json!({"question": QUESTION})).await;
    assert_eq!(reply.status, 200);
    let body = reply.json();
    assert_eq!(body["route"], "passages", "{body}");
    body
}

/// Whether every citation is in its source, word for word.
fn quotes_are_exact(body: &Value) -> bool {
    let citations = body["citations"].as_array().unwrap();
    !citations.is_empty() && citations.iter().all(|c| PASSAGE.contains(c["quote"].as_str().unwrap()))
}

#[tokio::test]
async fn what_the_source_says_is_sent_with_its_place() {
    let body = told(&["信用卡挂失", "手续费每卡40元。", "补发新卡工本费每卡10元。"]).await;
    assert_eq!(body["answer"], "信用卡挂失手续费每卡40元。补发新卡工本费每卡10元。[1]");
    assert!(quotes_are_exact(&body), "{body}");
}

#[tokio::test]
async fn inventions_never_arrive_whatever_they_are() {
    for pieces in [
        &["信用卡挂失手续费每卡50元。"] as &[&str],
        &["信用卡挂失手续费每卡四十五元。"],
        &["信用卡挂失手续费每卡40美元。"],
        &["信用卡挂失手续费每卡 ４００ 元。"],
        &["信用卡遗失后请在3天内挂失。"],
        &["信用卡挂失请用 PayPal 支付手续费。"],
        &["信用卡挂失不收手续费。"],
        &["请致电客服热线，我们的员工会竭诚为您服务，祝您生活愉快，万事如意。"],
        &["<script>alert(1)</script>"],
        &[""],
    ] {
        let body = told(pieces).await;
        let answer = body["answer"].as_str().unwrap();
        // Nothing of it is sent: the passage itself is quoted instead.
        let quoted = answer
            .strip_suffix("[1]")
            .and_then(|text| text.split_once('\n'))
            .unwrap()
            .1;
        assert!(PASSAGE.contains(quoted.trim()), "{pieces:?} gave {answer}");
        assert!(quotes_are_exact(&body), "{body}");
    }
}

#[tokio::test]
async fn an_answer_ends_before_its_first_invention() {
    let body = told(&["信用卡挂失手续费每卡40元。", "补发新卡免费，", "三天内寄到。"]).await;
    assert_eq!(body["answer"], "信用卡挂失手续费每卡40元。[1]");
}

/// What is told when the model reads as well, and copies `pieces` as the answer.
async fn told_by_two_readers(pieces: &'static [&'static str]) -> Value {
    let server = Server::start_with(|config| {
        config.dialogue.second_reading = true;
        config.dialogue.written_answers = false;
    })
    .await;
    server.model.script(Script::Say(pieces));
    let reply = server.post("/api/v1/ask", &json!({"question": QUESTION})).await;
    assert_eq!(reply.status, 200);
    reply.json()
}

#[tokio::test]
async fn where_two_readers_see_the_answer_in_one_place_it_is_quoted() {
    let body = told_by_two_readers(&["信用卡挂失", "手续费每卡40元"]).await;
    assert_eq!(body["route"], "passages", "{body}");
    assert!(body["answer"].as_str().unwrap().contains("手续费每卡40元"), "{body}");
    assert!(quotes_are_exact(&body), "{body}");
    // Who confirmed it is part of how it came about.
    assert!(!body["model"].is_null(), "{body}");
}

#[tokio::test]
async fn where_the_second_reader_sees_none_nothing_is_answered() {
    for pieces in [&["没有"] as &[&str], &["请以柜台公布的为准"], &[""]] {
        let body = told_by_two_readers(pieces).await;
        let route = body["route"].as_str().unwrap();
        assert!(["clarify", "refuse"].contains(&route), "{pieces:?}: {body}");
    }
}

#[tokio::test]
async fn a_second_reader_that_fails_is_done_without() {
    let server = Server::start_with(|config| {
        config.dialogue.second_reading = true;
        config.dialogue.written_answers = false;
    })
    .await;
    server.model.script(Script::FailAfter("信用"));
    let body = server.post("/api/v1/ask", &json!({"question": QUESTION})).await.json();
    assert_eq!(body["route"], "passages", "{body}");
    assert!(quotes_are_exact(&body), "{body}");
}
