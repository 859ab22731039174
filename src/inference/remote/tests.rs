//! Against a server in this process that plays vLLM, and one that breaks every rule.

use super::RemoteModel;
use crate::config::{Config, InferenceConfig, Overrides, Secret};
use crate::inference::{
    ChatMessage, ChatRole, FinishReason, GenerateRequest, GenerationEvent, GenerationStream, InferenceError,
    LanguageModel, Prompt, Usage,
};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// What the server does with one request.
enum Act {
    /// Sends these pieces of a stream, then ends it.
    Say(Vec<Vec<u8>>),
    /// Sends what comes through the channel; the stream ends with it.
    Follow(mpsc::UnboundedReceiver<Vec<u8>>),
    /// Sends one piece over and over.
    Forever(Vec<u8>),
    /// Sends these pieces, then breaks the connection.
    Break(Vec<Vec<u8>>),
    /// Never answers.
    Hang,
    /// Refuses.
    Refuse(u16, &'static str, &'static str),
}

#[derive(Clone, Default)]
struct Server {
    acts: Arc<Mutex<VecDeque<Act>>>,
    seen: Arc<Mutex<Vec<(String, HeaderMap, Value)>>>,
    peers: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Server {
    /// Starts on a free port with a script of what to do.
    async fn start(acts: impl IntoIterator<Item = Act>) -> (Self, String) {
        let server = Self::default();
        server.acts.lock().unwrap().extend(acts);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(server.clone());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        (server, url)
    }
}

async fn answer(
    State(server): State<Server>,
    axum::extract::ConnectInfo(peer): axum::extract::ConnectInfo<SocketAddr>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    server.peers.lock().unwrap().push(peer);
    let body = serde_json::from_slice(&body).unwrap_or_default();
    server.seen.lock().unwrap().push((uri.path().to_owned(), headers, body));
    let act = server
        .acts
        .lock()
        .unwrap()
        .pop_front()
        .unwrap_or(Act::Refuse(500, "", ""));
    let pieces = |pieces: Vec<Vec<u8>>| futures::stream::iter(pieces.into_iter().map(Ok::<_, Infallible>));
    match act {
        Act::Say(said) => Body::from_stream(pieces(said)).into_response(),
        Act::Follow(receiver) => {
            Body::from_stream(UnboundedReceiverStream::new(receiver).map(Ok::<_, Infallible>)).into_response()
        }
        Act::Forever(piece) => {
            Body::from_stream(futures::stream::repeat(piece).map(Ok::<_, Infallible>)).into_response()
        }
        Act::Break(said) => {
            let broken = futures::stream::once(async { Err(std::io::Error::other("gone")) });
            Body::from_stream(pieces(said).map(|piece| Ok(piece.unwrap_or_default())).chain(broken)).into_response()
        }
        Act::Hang => std::future::pending().await,
        Act::Refuse(status, retry, body) => {
            let status = StatusCode::from_u16(status).unwrap();
            (status, [("retry-after", retry)], body).into_response()
        }
    }
}

fn settings(url: &str) -> InferenceConfig {
    let Config { mut inference, .. } = crate::config::load(&Overrides::default()).unwrap();
    url.clone_into(&mut inference.server.url);
    inference.server.model = "qwen".to_owned();
    inference
}

fn model(url: &str) -> RemoteModel {
    RemoteModel::new(&settings(url), Some(&Secret::new("sk-7".to_owned()))).unwrap()
}

fn chat() -> GenerateRequest {
    GenerateRequest::chat(vec![ChatMessage::new(ChatRole::User, "你好")], 16)
}

fn event(value: &Value) -> Vec<u8> {
    format!("data: {value}\n\n").into_bytes()
}

fn words(text: &str) -> Vec<u8> {
    event(&json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]}))
}

/// A stream as vLLM sends it.
fn vllm(texts: &[&str]) -> Vec<Vec<u8>> {
    let mut said = vec![event(
        &json!({"choices": [{"delta": {"role": "assistant", "content": ""}}]}),
    )];
    said.extend(texts.iter().map(|text| words(text)));
    said.push(event(&json!({"choices": [{"delta": {}, "finish_reason": "stop"}]})));
    said.push(event(&json!({"choices": [], "usage": {
        "prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 3}}})));
    said.push(b"data: [DONE]\n\n".to_vec());
    said
}

/// The text and the end of a generation.
async fn all(mut stream: GenerationStream) -> (String, Result<(FinishReason, Usage), InferenceError>) {
    let mut said = String::new();
    while let Some(next) = stream.next().await {
        match next {
            Ok(GenerationEvent::Text { text, .. }) => said.push_str(&text),
            Ok(GenerationEvent::Done { reason, usage }) => return (said, Ok((reason, usage))),
            Ok(_) => {}
            Err(error) => return (said, Err(error)),
        }
    }
    panic!("the stream ended without an end: {said}");
}

async fn error_of(model: &RemoteModel) -> InferenceError {
    match model.generate(chat()) {
        Ok(stream) => all(stream).await.1.unwrap_err(),
        Err(error) => error,
    }
}

#[tokio::test]
async fn an_answer_comes_whole_however_its_bytes_are_cut() {
    let whole = vllm(&["您", "好，", "🙂"]).concat();
    let cuts = [1, 2, 7, 100, whole.len()];
    let acts = cuts.map(|size| Act::Say(whole.chunks(size).map(<[u8]>::to_vec).collect()));
    let (server, url) = Server::start(acts).await;
    let model = model(&url);
    for _ in cuts {
        let mut stream = model.generate(chat()).unwrap();
        let first = stream.next().await.unwrap().unwrap();
        assert!(matches!(first, GenerationEvent::Started { .. }), "{first:?}");
        let (text, end) = all(stream).await;
        let usage = Usage {
            prompt_tokens: 9,
            cached_tokens: 3,
            completion_tokens: 4,
        };
        assert_eq!((text.as_str(), end.unwrap()), ("您好，🙂", (FinishReason::Stop, usage)));
    }
    let seen = server.seen.lock().unwrap();
    let (path, headers, body) = &seen[0];
    assert_eq!(
        (path.as_str(), &headers["authorization"]),
        ("/v1/chat/completions", &"Bearer sk-7".parse().unwrap())
    );
    assert_eq!(
        (&body["model"], &body["messages"][0]["content"]),
        (&json!("qwen"), &json!("你好"))
    );
}

#[tokio::test]
async fn plain_text_goes_to_the_other_route() {
    let said = vec![
        event(&json!({"choices": [{"text": "b", "finish_reason": null}]})),
        event(&json!({"choices": [{"text": "c", "finish_reason": "length"}]})),
        b"data: [DONE]\n\n".to_vec(),
    ];
    let (server, url) = Server::start([Act::Say(said)]).await;
    let request = GenerateRequest {
        prompt: Prompt::Text("a".to_owned()),
        ..chat()
    };
    let (text, end) = all(model(&url).generate(request).unwrap()).await;
    let (reason, usage) = end.unwrap();
    assert_eq!(
        (text.as_str(), reason, usage.completion_tokens),
        ("bc", FinishReason::Length, 2)
    );
    assert_eq!(server.seen.lock().unwrap()[0].0, "/v1/completions");
}

#[tokio::test]
async fn connections_are_used_again() {
    const REQUESTS: usize = 50;
    let (server, url) = Server::start((0..REQUESTS).map(|_| Act::Say(vllm(&["a"])))).await;
    let model = model(&url);
    for _ in 0..REQUESTS {
        all(model.generate(chat()).unwrap()).await.1.unwrap();
    }
    let peers: std::collections::HashSet<SocketAddr> = server.peers.lock().unwrap().iter().copied().collect();
    // The end of an answer is read beside the next request, so not each finds a connection that is free already.
    assert!(peers.len() < REQUESTS, "{}", peers.len());
}

#[tokio::test]
async fn a_stop_text_ends_the_answer_even_where_the_server_ignores_it() {
    let said = words("一二。三").into_iter().chain(words("四")).collect();
    let (_server, url) = Server::start([Act::Forever(said)]).await;
    let request = GenerateRequest {
        stop: vec!["。三四".to_owned()],
        ..chat()
    };
    let (text, end) = all(model(&url).generate(request).unwrap()).await;
    assert_eq!((text.as_str(), end.unwrap().0), ("一二", FinishReason::Stop));
}

#[tokio::test]
async fn refusals_and_failures_have_their_names() {
    let long = r#"{"error":{"code":"context_length_exceeded","message":"maximum context length is 64 tokens, you requested 90"}}"#;
    let acts = [
        Act::Refuse(429, "7", ""),
        Act::Refuse(503, "", "<html>"),
        Act::Refuse(400, "", long),
        Act::Refuse(401, "", "{}"),
        Act::Say(vec![b"data: <html>\n\n".to_vec()]),
        Act::Say(vec![b"<html>nothing to see</html>".to_vec()]),
        Act::Say(vec![event(&json!({"error": {"code": 503, "message": "full"}}))]),
        Act::Break(vec![words("半")]),
        Act::Say(vec![words("半"), b"data: [DONE]\n\n".to_vec()]),
        Act::Say(vec![vec![b'x'; 2 << 20]]),
    ];
    let (_server, url) = Server::start(acts).await;
    let mut settings = settings(&url);
    settings.server.breaker_failures = 100;
    let model = RemoteModel::new(&settings, None).unwrap();
    let error = error_of(&model).await;
    assert!(matches!(error, InferenceError::Overloaded { retry_after, .. } if retry_after == Duration::from_secs(7)));
    assert!(matches!(error_of(&model).await, InferenceError::Overloaded { .. }));
    assert!(matches!(
        error_of(&model).await,
        InferenceError::TooLong { tokens: 90, limit: 64 }
    ));
    for word in ["key", "protocol", "in the middle"] {
        let error = error_of(&model).await;
        assert!(
            matches!(error, InferenceError::Remote { .. }) && error.to_string().contains(word),
            "{error}"
        );
    }
    assert!(matches!(error_of(&model).await, InferenceError::Overloaded { .. }));
    for word in ["broke off", "without a reason", "sends"] {
        let error = error_of(&model).await;
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_bounded() {
    let comment = [b": ".as_slice(), &[b'x'; 8192], b"\n"].concat();
    let (_server, url) = Server::start([Act::Forever(words(&"长".repeat(500))), Act::Forever(comment)]).await;
    let model = model(&url);
    let (text, end) = all(model.generate(chat()).unwrap()).await;
    assert!(text.len() <= 16 * 512, "{}", text.len());
    assert!(end.unwrap_err().to_string().contains("more words"));
    assert!(error_of(&model).await.to_string().contains("sends more than"));
}

#[tokio::test]
async fn a_deadline_ends_a_stalled_answer() {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (_server, url) = Server::start([Act::Follow(receiver), Act::Hang]).await;
    let model = model(&url);
    sender.send(words("半")).unwrap();
    for (words, milliseconds) in [("半", 2000), ("", 50)] {
        let request = GenerateRequest {
            deadline: Some(Instant::now() + Duration::from_millis(milliseconds)),
            ..chat()
        };
        let (text, end) = all(model.generate(request).unwrap()).await;
        assert_eq!(text, words);
        assert!(matches!(end.unwrap_err(), InferenceError::Deadline));
    }
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection_and_frees_the_place() {
    let (sender, receiver) = mpsc::unbounded_channel();
    let (_server, url) = Server::start([Act::Follow(receiver), Act::Say(vllm(&["next"]))]).await;
    let mut settings = settings(&url);
    settings.parallel_requests = 1;
    settings.queue_length = 1;
    let model = RemoteModel::new(&settings, None).unwrap();
    let mut first = model.generate(chat()).unwrap();
    sender.send(words("一")).unwrap();
    while !matches!(first.next().await.unwrap().unwrap(), GenerationEvent::Text { .. }) {}
    let mut second = model.generate(chat()).unwrap();
    assert_eq!(
        second.next().await.unwrap().unwrap(),
        GenerationEvent::Queued { position: 1 }
    );
    let refused = model.generate(chat()).unwrap_err();
    assert!(matches!(refused, InferenceError::Overloaded { queued: 1, .. }));
    drop(first);
    // The server's stream is dropped when the connection is: the sender sees it.
    sender.closed().await;
    assert_eq!(all(second).await.0, "next");
}

#[tokio::test]
async fn the_breaker_refuses_at_once_and_tries_again_after_the_pause() {
    let acts = [
        Act::Refuse(500, "", ""),
        Act::Refuse(502, "", ""),
        Act::Say(vllm(&["back"])),
    ];
    let (server, url) = Server::start(acts).await;
    let mut settings = settings(&url);
    settings.server.breaker_failures = 2;
    let time = Arc::new(Mutex::new(Instant::now()));
    let clock = Arc::clone(&time);
    let model = RemoteModel::with_clock(&settings, None, Arc::new(move || *clock.lock().unwrap())).unwrap();
    for _ in 0..2 {
        error_of(&model).await;
    }
    let error = model.generate(chat()).unwrap_err();
    assert!(
        matches!(
            error,
            InferenceError::Remote {
                retry_after: Some(_),
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(server.seen.lock().unwrap().len(), 2, "the server is left alone");
    *time.lock().unwrap() += Duration::from_millis(settings.server.breaker_pause_ms * 2);
    assert_eq!(all(model.generate(chat()).unwrap()).await.0, "back");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let model = model(&url);
    for error in [error_of(&model).await, model.check().await.unwrap_err()] {
        assert!(
            error.to_string().contains(&url) && error.to_string().contains("is it running"),
            "{error}"
        );
    }
    let (_server, url) = Server::start([Act::Say(Vec::new()), Act::Refuse(500, "", "")]).await;
    let model = self::model(&url);
    model.check().await.unwrap();
    assert!(model.check().await.unwrap_err().to_string().contains("500"));
}

#[tokio::test]
async fn bad_requests_never_reach_the_server() {
    let (server, url) = Server::start([]).await;
    let model = model(&url);
    let mut hot = chat();
    hot.sampling.temperature = 9.0;
    let nothing = GenerateRequest {
        max_tokens: 0,
        ..chat()
    };
    let greedy = GenerateRequest {
        top_logprobs: Some(21),
        ..chat()
    };
    for request in [hot, nothing, greedy] {
        assert!(matches!(
            model.generate(request).unwrap_err(),
            InferenceError::BadParameter { .. }
        ));
    }
    assert_eq!(model.count_tokens("问a").unwrap(), 4);
    assert!(server.seen.lock().unwrap().is_empty());
}
