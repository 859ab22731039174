//! Functions that a model may call, and answers of a given form, as OpenAI's clients ask for them.

use super::client::Events;
use super::doubles::Script;
use super::support::{MODEL, Server};
use kefu::inference::{ChatRole, Constraint, Prompt};
use serde_json::{Value, json};

const CALL: &[&str] = &[
    "我来查。\n<tool",
    "_call>\n{\"name\": \"order_status\", \"argu",
    "ments\": {\"id\": 4711}}\n</tool_call>",
];

fn ask(extra: &Value) -> Value {
    let order = json!({"type": "function", "function": {"name": "order_status", "description": "查订单",
        "parameters": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}}});
    let refund = json!({"type": "function", "function": {"name": "refund", "strict": true}});
    let mut body = json!({"model": MODEL, "messages": [{"role": "user", "content": "订单 4711 到哪了？"}], "tools": [order, refund]});
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

async fn answer(server: &Server, body: &Value) -> Value {
    let reply = server.post("/v1/chat/completions", body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[tokio::test]
async fn a_call_that_the_model_chose_is_found_in_its_words() {
    let server = Server::start().await;
    server.model.script(Script::Say(CALL));
    let body = answer(&server, &ask(&json!({}))).await;
    let choice = &body["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("tool_calls"), &json!("我来查。"))
    );
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!(
        call["function"],
        json!({"name": "order_status", "arguments": "{\"id\": 4711}"})
    );
    assert!(call["type"] == "function" && call["id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(body["usage"]["prompt_tokens_details"]["cached_tokens"], 8);
    let request = server.model.requests.lock().unwrap().pop().unwrap();
    assert_eq!(request.tools.len(), 2);
    assert_eq!(request.tools[0].parameters["required"], json!(["id"]));
    assert!(request.tools[1].strict && request.constraint.is_none());

    // The result goes back with the call that it belongs to.
    server.model.script(Script::Say(&["在路上。"]));
    let history = json!([
        {"role": "user", "content": "订单 4711 到哪了？"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "在路上"},
    ]);
    let body = answer(&server, &ask(&json!({"messages": history}))).await;
    let message = &body["choices"][0]["message"];
    assert_eq!(
        (&message["content"], message.get("tool_calls")),
        (&json!("在路上。"), None)
    );
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
    let request = server.model.requests.lock().unwrap().pop().unwrap();
    let Prompt::Chat(messages) = request.prompt else {
        panic!()
    };
    assert_eq!(messages[1].tool_calls[0].arguments, json!({"id": 4711}));
    assert_eq!(
        (messages[2].role, messages[2].content.as_str()),
        (ChatRole::Tool, "在路上")
    );
}

#[tokio::test]
async fn calls_are_streamed_in_deltas() {
    let server = Server::start().await;
    server.model.script(Script::Say(CALL));
    let body = ask(&json!({"stream": true, "stream_options": {"include_usage": true}}));
    let stream = server
        .open("POST", "/v1/chat/completions", &[], Some(body.to_string().as_bytes()))
        .await;
    let chunks: Vec<Value> = Events::of(stream)
        .await
        .rest()
        .await
        .into_iter()
        .map(|(_, data)| data)
        .collect();
    let (mut content, mut arguments, mut heads) = (String::new(), String::new(), Vec::new());
    for delta in chunks.iter().map(|chunk| &chunk["choices"][0]["delta"]) {
        content += delta["content"].as_str().unwrap_or_default();
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            assert_eq!(call["index"], 0);
            arguments += call["function"]["arguments"].as_str().unwrap();
            heads.extend(call["id"].as_str().map(|_| call["function"]["name"].clone()));
        }
    }
    assert_eq!((content.as_str(), arguments.as_str()), ("我来查。", "{\"id\": 4711}"));
    assert_eq!(heads, [json!("order_status")]);
    let ends: Vec<&Value> = (chunks.iter().map(|chunk| &chunk["choices"][0]["finish_reason"]))
        .filter(|reason| reason.is_string())
        .collect();
    assert_eq!(ends, ["tool_calls"]);
    let usage = &chunks[chunks.len() - 2]["usage"];
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 8);
    assert_eq!(chunks.last().unwrap(), "[DONE]");
}

#[tokio::test]
async fn a_demanded_call_is_a_constraint() {
    let server = Server::start().await;
    let named = json!({"type": "function", "function": {"name": "refund"}});
    for (extra, names, most, end) in [
        (
            json!({"tool_choice": "required", "parallel_tool_calls": false}),
            vec!["order_status", "refund"],
            1,
            "tool_calls",
        ),
        (json!({"tool_choice": named}), vec!["refund"], 1, "stop"),
    ] {
        server.model.script(Script::Say(&[
            "<tool_call>\n{\"name\": \"refund\", \"arguments\": {}}\n</tool_call>",
        ]));
        let body = answer(&server, &ask(&extra)).await;
        let choice = &body["choices"][0];
        assert_eq!(
            (&choice["finish_reason"], &choice["message"]["content"]),
            (&json!(end), &Value::Null)
        );
        assert_eq!(choice["message"]["tool_calls"][0]["function"]["arguments"], "{}");
        let request = server.model.requests.lock().unwrap().pop().unwrap();
        let Some(Constraint::ToolCalls { tools, most: found }) = request.constraint else {
            panic!()
        };
        assert_eq!(tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), names);
        assert_eq!(found, most);
    }
    // Without a choice there is nothing to show and nothing to find.
    server.model.script(Script::Say(CALL));
    let body = answer(&server, &ask(&json!({"tool_choice": "none"}))).await;
    assert_eq!(body["choices"][0]["message"]["content"], CALL.concat());
    let request = server.model.requests.lock().unwrap().pop().unwrap();
    assert!(request.tools.is_empty() && request.constraint.is_none());
}

#[tokio::test]
async fn a_response_format_is_a_constraint() {
    let server = Server::start().await;
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false});
    for (format, want) in [
        (json!({"type": "text"}), None),
        (json!({"type": "json_object"}), Some(Constraint::JsonObject)),
        (
            json!({"type": "json_schema", "json_schema": {"name": "n", "strict": true, "schema": schema}}),
            Some(Constraint::JsonSchema(schema.clone())),
        ),
    ] {
        let body = json!({"model": MODEL, "messages": [{"role": "user", "content": "x"}], "response_format": format});
        answer(&server, &body).await;
        let request = server.model.requests.lock().unwrap().pop().unwrap();
        assert_eq!(request.constraint, want);
    }
}
