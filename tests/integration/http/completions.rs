//! `POST /v1/completions`.

use super::client::Events;
use super::doubles::Script;
use super::support::{MODEL, Server};
use kefu::inference::Prompt;
use serde_json::{Value, json};

fn body(extra: &Value) -> Value {
    let mut body = json!({"model": MODEL, "prompt": "从前有"});
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_text_is_continued() {
    let server = Server::start().await;
    server.model.script(Script::Say(&["座山", "。"]));
    let extra = json!({"prompt": ["从前有"], "logprobs": 1, "temperature": 0, "seed": 3, "stop": "\n", "best_of": 1});
    let reply = server.post("/v1/completions", &body(&extra)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = reply.json();
    assert!(reply["id"].as_str().unwrap().starts_with("cmpl-"));
    assert_eq!(
        (&reply["object"], &reply["model"]),
        (&json!("text_completion"), &json!(MODEL))
    );
    let choice = &reply["choices"][0];
    assert_eq!(
        (&choice["text"], &choice["finish_reason"]),
        (&json!("座山。"), &json!("stop"))
    );
    assert_eq!(
        choice["logprobs"],
        json!({"tokens": ["座山", "。"], "token_logprobs": [-0.5, -0.5], "text_offset": [0, 2],
            "top_logprobs": [{"座山": -0.5}, {"。": -0.5}]})
    );
    assert_eq!(
        reply["usage"],
        json!({"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22, "prompt_tokens_details": {"cached_tokens": 8}})
    );
    let request = server.model.requests.lock().unwrap().pop().unwrap();
    assert_eq!(request.prompt, Prompt::Text("从前有".to_owned()));
    assert_eq!(
        (request.max_tokens, request.sampling.seed, request.top_logprobs),
        (16, 3, Some(1))
    );

    server.model.script(Script::Say(&["座山"]));
    let echoed = server
        .post("/v1/completions", &body(&json!({"echo": true, "max_tokens": 5})))
        .await
        .json();
    assert_eq!(echoed["choices"][0]["text"], "从前有座山");
    assert_eq!(echoed["choices"][0]["logprobs"], Value::Null);
}

#[tokio::test]
async fn a_continuation_is_streamed() {
    let server = Server::start().await;
    server.model.script(Script::Say(&["座", "山"]));
    let body = body(&json!({"stream": true, "echo": true, "stream_options": {"include_usage": true}}));
    let stream = server
        .open("POST", "/v1/completions", &[], Some(body.to_string().as_bytes()))
        .await;
    let events = Events::of(stream).await;
    assert_eq!(events.status, 200);
    let chunks: Vec<Value> = events.rest().await.into_iter().map(|(_, data)| data).collect();
    let texts: Vec<&str> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["text"].as_str())
        .collect();
    assert_eq!(texts, ["从前有", "座", "山", ""]);
    assert_eq!(chunks[3]["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        (&chunks[0]["usage"], &chunks[4]["usage"]["completion_tokens"]),
        (&Value::Null, &json!(2))
    );
    assert_eq!(chunks.last().unwrap(), "[DONE]");
    server.model.script(Script::FailAfter("座"));
    let stream = server
        .open("POST", "/v1/completions", &[], Some(body.to_string().as_bytes()))
        .await;
    let chunks = Events::of(stream).await.rest().await;
    assert_eq!(chunks.last().unwrap().1["error"]["code"], "engine_stopped");
}

#[tokio::test]
async fn what_cannot_be_continued_is_refused_by_name() {
    let server = Server::start().await;
    for (extra, status, param) in [
        (json!({"prompt": ["a", "b"]}), 400, "prompt"),
        (json!({"prompt": [1, 2]}), 400, "prompt"),
        (json!({"prompt": [[1, 2]]}), 400, "prompt"),
        (json!({"prompt": ""}), 400, "prompt"),
        (json!({"prompt": null}), 400, "prompt"),
        (json!({"suffix": "end"}), 400, "suffix"),
        (json!({"echo": true, "logprobs": 0}), 400, "echo"),
        (json!({"logprobs": 6}), 400, "logprobs"),
        (json!({"best_of": 2}), 400, "best_of"),
        (json!({"n": 2}), 400, "n"),
        (json!({"max_tokens": 5000}), 400, "max_tokens"),
        (json!({"messages": []}), 400, "messages"),
        (json!({"model": "kefu"}), 400, "model"),
        (json!({"model": "gpt-4"}), 404, "model"),
    ] {
        let reply = server.post("/v1/completions", &body(&extra)).await;
        let error = &reply.json()["error"];
        assert_eq!(
            (reply.status, &error["param"]),
            (status, &json!(param)),
            "{extra}: {error}"
        );
    }
}
