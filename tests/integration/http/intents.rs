//! What customers want: understood, corrected at the desk, and learnt anew while the server answers.

use super::desk::Staff;
use super::moods;
use super::support::{QUESTION, Server};
use kefu::domain::{StaffRole, SystemClock};
use kefu::jobs::Trainer;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const LOST: [&str; 6] = [
    "卡丢了",
    "我的卡不见了",
    "卡被偷了怎么办",
    "找不到银行卡了",
    "卡掉在出租车上了",
    "卡片遗失",
];
const FEE: [&str; 6] = [
    "年费多少钱",
    "每年收多少年费",
    "年费怎么收",
    "金卡要交年费吗",
    "年费什么时候扣",
    "免年费的条件",
];

async fn trained(staff: &Staff<'_>) -> Value {
    assert_eq!(
        staff.send("POST", "/api/v1/understanding/intents/train", None).await.0,
        202
    );
    for _ in 0..600 {
        let (_, intents) = staff.send("GET", "/api/v1/understanding/intents", None).await;
        if intents["training"].is_null() {
            assert_eq!(intents["failed"], Value::Null);
            return intents;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the training does not end");
}

async fn understood(server: &Server, text: &str) -> Value {
    let reply = server.post("/api/v1/understand", &json!({ "text": text })).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[tokio::test]
async fn intents_are_learnt_from_examples_and_corrections() {
    let server = Server::start_with(|config| config.understanding.heads = "of the test".into()).await;
    let supervisor = Staff::of(&server, StaffRole::Supervisor).await;
    let agent = Staff::of(&server, StaffRole::Agent).await;
    let train = "/api/v1/understanding/intents/train";
    let (status, refused) = supervisor.send("POST", train, None).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("too_few")));
    assert_eq!(agent.send("POST", train, None).await.0, 403);
    assert_eq!(
        understood(&server, "卡丢了").await["intent"],
        Value::Null,
        "nothing is learnt yet"
    );

    let of = |texts: [&str; 6], intent: &str| texts.map(|text| json!({"text": text, "intent": intent})).to_vec();
    let mut examples = [of(LOST, "card/lost"), of(FEE, "card/fee")].concat();
    examples.push(json!({"text": "卡丢了，手机13800138000", "intent": "card/lost"}));
    let path = "/api/v1/understanding/examples";
    let (status, taken) = supervisor
        .send("POST", path, Some(json!({ "examples": examples })))
        .await;
    assert_eq!((status, &taken["changed"]), (200, &json!(13)));
    for wrong in [
        json!({"examples": []}),
        json!({"examples": [{"text": " ", "intent": "x"}]}),
        json!({"examples": [{"text": "x", "intent": ""}]}),
    ] {
        assert_eq!(supervisor.send("POST", path, Some(wrong)).await.0, 400);
    }
    let (_, listed) = agent
        .send("GET", &format!("{path}?intent=card%2Flost&limit=100"), None)
        .await;
    assert!(
        !listed.to_string().contains("13800138000"),
        "personal data is no example"
    );

    let intents = trained(&supervisor).await;
    assert_eq!(
        (&intents["head"]["labels"], &intents["items"][1]["given"]),
        (&json!(2), &json!(7))
    );
    let known = understood(&server, "银行卡不见了，我的手机是13912345678").await;
    assert_eq!(known["intent"]["alternatives"][0]["name"], "card/lost", "{known}");
    assert_eq!(
        (&known["language"], &known["personal_data"][0]["kind"]),
        (&json!("zh"), &json!("mobile"))
    );
    assert!(!known["masked_text"].as_str().unwrap().contains("13912345678"));

    let strange = understood(&server, "今天天气怎么样").await;
    assert!(strange["intent"]["confidence"].as_f64().unwrap() < 0.8, "{strange}");
    let answer = server
        .post("/api/v1/ask", &json!({"question": "卡片丢在车上了，怎么办"}))
        .await
        .json();
    let told = &answer["intent"]["alternatives"];
    assert_eq!(told[0]["name"], "card/lost", "{answer}");

    // What somebody at the desk says of a message is learnt by the next training.
    let (id, token) = server.visitor().await;
    server.say(&id, &token, QUESTION).await.rest().await;
    let (_, shown) = agent
        .send("GET", &format!("/api/v1/desk/conversations/{id}"), None)
        .await;
    let messages = shown["messages"].as_array().unwrap();
    let of_role = |role: &str| messages.iter().find(|message| message["role"] == role).unwrap()["id"].clone();
    let intent = |message: &Value| {
        format!(
            "/api/v1/desk/conversations/{id}/messages/{}/intent",
            message.as_str().unwrap()
        )
    };
    let correction = Some(json!({"intent": "card/loss_fee"}));
    let (status, _) = agent
        .send("PUT", &intent(&of_role("assistant")), correction.clone())
        .await;
    assert_eq!(status, 404, "of a customer's message");
    let (status, taken) = agent.send("PUT", &intent(&of_role("visitor")), correction).await;
    assert_eq!((status, &taken["changed"]), (200, &json!(1)));
    let version = intents["head"]["version"].as_u64().unwrap();
    let intents = trained(&supervisor).await;
    assert!(intents["head"]["version"].as_u64().unwrap() > version && intents["head"]["labels"] == 3);
    assert_eq!(intents["items"][1]["corrected"], 1, "{intents}");

    // Another node, or the next start, uses the same head.
    let senses = Arc::new(
        moods::senses(
            &kefu::config::load(&kefu::config::Overrides::default())
                .unwrap()
                .understanding,
        )
        .await,
    );
    let other = Trainer::new(Arc::clone(&senses), Arc::clone(&server.store), Arc::new(SystemClock), 1);
    assert_eq!(other.catch_up().await.unwrap(), intents["head"]["version"].as_u64());
    assert_eq!(other.catch_up().await.unwrap(), None);
    assert!(senses.intent("卡片遗失").await.unwrap().is_some());
}
