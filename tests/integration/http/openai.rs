//! What OpenAI's clients rely on.

use super::client::Events;
use super::doubles::Script;
use super::support::{EMBEDDER, FAQ_ANSWER, FAQ_QUESTION, MODEL, QUESTION, SENTENCE, Server};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

fn chat(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

fn with(mut body: Value, extra: &Value) -> Value {
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

async fn chunks(server: &Server, body: &Value) -> Vec<Value> {
    let stream = server
        .open("POST", "/v1/chat/completions", &[], Some(body.to_string().as_bytes()))
        .await;
    let events = Events::of(stream).await;
    assert_eq!(events.status, 200);
    events
        .rest()
        .await
        .into_iter()
        .map(|(name, data)| {
            assert_eq!(name, "", "OpenAI's chunks have no event name");
            data
        })
        .collect()
}

#[tokio::test]
async fn the_knowledge_base_answers_under_its_name() {
    let server = Server::start().await;
    let reply = server.post("/v1/chat/completions", &chat("kefu", FAQ_QUESTION)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    assert_eq!(
        (&body["object"], &body["model"]),
        (&json!("chat.completion"), &json!("kefu"))
    );
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-") && body["created"].is_u64());
    let choice = &body["choices"][0];
    assert_eq!(choice["message"]["content"], FAQ_ANSWER);
    assert_eq!(
        (&choice["message"]["role"], &choice["finish_reason"]),
        (&json!("assistant"), &json!("stop"))
    );
    assert_eq!(choice["message"]["citations"][0]["quote"], FAQ_ANSWER);
    assert_eq!(
        (&body["kefu"]["route"], &body["kefu"]["kb_version"]),
        (&json!("faq"), &json!(2))
    );
    assert_eq!(body["usage"]["total_tokens"], 0, "no model wrote");

    // Earlier messages are the context; the system's are not taken.
    let follow_up = json!({"model": "kefu", "temperature": 0.2, "messages": [
        {"role": "system", "content": "你是海盗"},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": SENTENCE},
        {"role": "user", "content": "那补发新卡呢？"},
    ]});
    let body = server.post("/v1/chat/completions", &follow_up).await.json();
    assert_eq!(body["kefu"]["route"], "passages", "{body}");
    let request = server.model.requests.lock().unwrap().pop().unwrap();
    let prompt = format!("{:?}", request.prompt);
    assert!(
        prompt.contains("挂失手续费是多少") && !prompt.contains("海盗"),
        "{prompt}"
    );
}

#[tokio::test]
async fn the_knowledge_base_streams_in_chunks() {
    let server = Server::start().await;
    let body = with(
        chat("kefu", QUESTION),
        &json!({"stream": true, "stream_options": {"include_usage": true}}),
    );
    let all = chunks(&server, &body).await;
    assert_eq!(all[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(all.last().unwrap(), "[DONE]");
    let usage = &all[all.len() - 2];
    assert_eq!(
        (&usage["choices"], &usage["usage"]["prompt_tokens"]),
        (&json!([]), &json!(20))
    );
    assert_eq!(usage["usage"]["prompt_tokens_details"]["cached_tokens"], 8);
    let last = &all[all.len() - 3];
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert_eq!(last["choices"][0]["delta"]["citations"].as_array().unwrap().len(), 1);
    assert_eq!(last["kefu"]["route"], "passages");
    let text: String = all
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(text, format!("{SENTENCE}[1]"));
    let id = &all[0]["id"];
    for chunk in &all[..all.len() - 1] {
        assert_eq!((&chunk["object"], &chunk["id"]), (&json!("chat.completion.chunk"), id));
        assert!(chunk.as_object().unwrap().contains_key("usage"));
    }
    let all = chunks(&server, &with(chat("kefu", QUESTION), &json!({"stream": true}))).await;
    assert!(all.iter().all(|chunk| chunk.get("usage").is_none()), "not asked for");
}

#[tokio::test]
async fn a_loaded_model_answers_under_its_own_name() {
    let server = Server::start().await;
    server.model.script(Script::Say(&["Hel", "lo"]));
    let body = with(
        chat(MODEL, "hi"),
        &json!({
            "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "seed": 7, "stop": ["END", "\n"],
            "max_tokens": 8, "presence_penalty": 0.1, "frequency_penalty": -0.2, "logprobs": true, "top_logprobs": 2,
        }),
    );
    let reply = server.post("/v1/chat/completions", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    let choice = &body["choices"][0];
    assert_eq!(
        choice["message"],
        json!({"role": "assistant", "content": "Hello", "refusal": null})
    );
    assert_eq!(
        body["usage"],
        json!({
            "prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22, "prompt_tokens_details": {"cached_tokens": 8},
        })
    );
    let token = &choice["logprobs"]["content"][0];
    assert_eq!(
        (&token["token"], &token["bytes"]),
        (&json!("Hel"), &json!([72, 101, 108]))
    );
    assert_eq!(token["top_logprobs"].as_array().unwrap().len(), 2);
    assert_eq!(body["system_fingerprint"], "fp_abcdef012345");
    assert!(body.get("kefu").is_none() && choice["message"].get("citations").is_none());

    let request = server.model.requests.lock().unwrap().pop().unwrap();
    let sampling = request.sampling;
    assert!((sampling.temperature - 0.5).abs() < 1e-6 && (sampling.min_p - 0.05).abs() < 1e-6);
    assert_eq!((sampling.top_k, sampling.seed, request.max_tokens), (40, 7, 8));
    assert!((sampling.presence_penalty - 0.1).abs() < 1e-6 && (sampling.frequency_penalty + 0.2).abs() < 1e-6);
    assert_eq!(
        (request.stop, request.top_logprobs),
        (vec!["END".to_owned(), "\n".to_owned()], Some(2))
    );
    assert!(request.deadline.is_some());
}

#[tokio::test]
async fn a_loaded_model_streams_and_a_failure_midway_is_told() {
    let server = Server::start().await;
    server.model.script(Script::Say(&["Hel", "lo"]));
    let body = with(chat(MODEL, "hi"), &json!({"stream": true}));
    let all = chunks(&server, &body).await;
    let contents: Vec<&str> = all
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(contents, ["", "Hel", "lo"]);
    assert_eq!(all[all.len() - 2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(all.last().unwrap(), "[DONE]");

    server.model.script(Script::FailAfter("Hel"));
    let all = chunks(&server, &body).await;
    let error = &all.last().unwrap()["error"];
    assert_eq!(
        (&error["code"], &error["type"]),
        (&json!("engine_stopped"), &json!("server_error"))
    );
    server.model.script(Script::FailAfter("Hel"));
    let reply = server.post("/v1/chat/completions", &chat(MODEL, "hi")).await;
    assert_eq!((reply.status, reply.code()), (503, "engine_stopped".to_owned()));
}

#[tokio::test]
async fn wrong_requests_get_openais_error_object() {
    let server = Server::start().await;
    for (extra, status, param, code) in [
        (json!({"model": "gpt-4"}), 404, json!("model"), "model_not_found"),
        (json!({"temperature": 9}), 400, json!("temperature"), "invalid_value"),
        (json!({"n": 2}), 400, json!("n"), "invalid_value"),
        (json!({"max_tokens": -1}), 400, json!("max_tokens"), "invalid_value"),
        (
            json!({"max_completion_tokens": 4097}),
            400,
            json!("max_completion_tokens"),
            "invalid_parameter",
        ),
        (
            json!({"tools": [{"type": "function"}]}),
            400,
            json!("tools[0].function"),
            "missing_required_parameter",
        ),
        (
            json!({"tool_choice": "required"}),
            400,
            json!("tool_choice"),
            "invalid_parameter",
        ),
        (
            json!({"response_format": {"type": "yaml"}}),
            400,
            json!("response_format"),
            "invalid_parameter",
        ),
        (
            json!({"model": "kefu", "response_format": {"type": "json_object"}}),
            400,
            json!("response_format"),
            "unsupported_parameter",
        ),
        (
            json!({"model": "kefu", "tools": [{"type": "function", "function": {"name": "f"}}]}),
            400,
            json!("tools"),
            "unsupported_parameter",
        ),
        (
            json!({"response_format": {"type": "json_object"}, "tools": [{"type": "function", "function": {"name": "f"}}]}),
            400,
            json!("response_format"),
            "unsupported_parameter",
        ),
        (json!({"nonsense": 1}), 400, json!("nonsense"), "unknown_parameter"),
        (
            json!({"messages": null}),
            400,
            json!("messages"),
            "missing_required_parameter",
        ),
        (
            json!({"model": "kefu", "logprobs": true}),
            400,
            json!("logprobs"),
            "unsupported_parameter",
        ),
        (
            json!({"model": "kefu", "messages": [{"role": "assistant", "content": "x"}]}),
            400,
            json!("messages"),
            "invalid_parameter",
        ),
        (
            json!({"model": "kefu", "messages": [{"role": "user", "content": " "}]}),
            400,
            json!("messages"),
            "empty_question",
        ),
    ] {
        let reply = server
            .post("/v1/chat/completions", &with(chat(MODEL, "hi"), &extra))
            .await;
        let error = &reply.json()["error"];
        assert_eq!(
            (reply.status, &error["param"], &error["code"]),
            (status, &param, &json!(code)),
            "{extra}: {error}"
        );
        assert_eq!(error["type"], "invalid_request_error");
        assert!(error["message"].as_str().is_some_and(|words| !words.is_empty()));
    }
}

#[tokio::test]
async fn embeddings_come_as_numbers_and_as_bytes() {
    let server = Server::start().await;
    let reply = server
        .post(
            "/v1/embeddings",
            &json!({"model": EMBEDDER, "input": ["年费", "利率"], "dimensions": 32}),
        )
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    let rows = body["data"].as_array().unwrap();
    assert_eq!(
        (rows.len(), &rows[1]["index"], &body["object"]),
        (2, &json!(1), &json!("list"))
    );
    let floats: Vec<f32> = serde_json::from_value(rows[0]["embedding"].clone()).unwrap();
    assert_eq!(floats.len(), 32);
    assert!((floats.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-3);
    assert_eq!(body["usage"], json!({"prompt_tokens": 8, "total_tokens": 8}));

    let body = server
        .post(
            "/v1/embeddings",
            &json!({"model": EMBEDDER, "input": "年费", "encoding_format": "base64"}),
        )
        .await
        .json();
    let bytes = BASE64_STANDARD
        .decode(body["data"][0]["embedding"].as_str().unwrap())
        .unwrap();
    let decoded: Vec<f32> = bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect();
    assert_eq!(decoded, floats);

    // Fewer numbers are the first ones, of norm 1 again.
    let body = server
        .post(
            "/v1/embeddings",
            &json!({"model": EMBEDDER, "input": "年费", "dimensions": 16}),
        )
        .await
        .json();
    let short: Vec<f32> = serde_json::from_value(body["data"][0]["embedding"].clone()).unwrap();
    let norm = floats[..16].iter().map(|x| x * x).sum::<f32>().sqrt();
    assert_eq!(short.len(), 16);
    assert!(
        norm < 0.999
            && short
                .iter()
                .zip(&floats)
                .all(|(short, long)| (short - long / norm).abs() < 1e-6)
    );

    for (body, param) in [
        (json!({"model": EMBEDDER, "input": "x", "dimensions": 33}), "dimensions"),
        (json!({"model": EMBEDDER, "input": [[1, 2], [3]]}), "input"),
        (json!({"model": EMBEDDER, "input": []}), "input"),
        (json!({"model": EMBEDDER, "input": ""}), "input"),
        (json!({"model": EMBEDDER, "input": [1, 2]}), "input"),
        (json!({"model": EMBEDDER, "input": vec!["x"; 257]}), "input"),
        (json!({"model": EMBEDDER, "input": "长".repeat(600)}), "input"),
        (
            json!({"model": EMBEDDER, "input": "x", "encoding_format": "int8"}),
            "encoding_format",
        ),
        (json!({"model": EMBEDDER}), "input"),
    ] {
        let reply = server.post("/v1/embeddings", &body).await;
        assert_eq!(
            (reply.status, &reply.json()["error"]["param"]),
            (400, &json!(param)),
            "{}",
            reply.text()
        );
    }
    assert_eq!(
        server
            .post("/v1/embeddings", &json!({"model": "kefu", "input": "x"}))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn the_models_are_listed() {
    let server = Server::start().await;
    let body = server.get("/v1/models").await.json();
    let ids: Vec<&str> = body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["kefu", MODEL, EMBEDDER, "kefu-reader"]);
    assert_eq!(server.get("/v1/models/kefu").await.json()["object"], "model");
    let missing = server.get("/v1/models/gpt-4").await;
    assert_eq!((missing.status, missing.code()), (404, "model_not_found".to_owned()));
}
