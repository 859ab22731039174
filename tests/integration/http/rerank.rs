//! `POST /v1/rerank` in the forms of Jina, Cohere and Text Embeddings Inference.

use super::support::{PASSAGE, QUESTION, Server};
use serde_json::{Value, json};

const OTHER: &str = "今天天气很好。";

#[tokio::test]
async fn documents_are_ordered_the_best_first() {
    let server = Server::start().await;
    let body = json!({"model": "kefu-reader", "query": QUESTION, "documents": [OTHER, {"text": PASSAGE}, "信用卡"]});
    let reply = server.post("/v1/rerank", &body).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = reply.json();
    let order: Vec<u64> = (reply["results"].as_array().unwrap().iter())
        .map(|result| result["index"].as_u64().unwrap())
        .collect();
    assert_eq!(order, [1, 2, 0]);
    let scores: Vec<f64> = (reply["results"].as_array().unwrap().iter())
        .map(|result| result["relevance_score"].as_f64().unwrap())
        .collect();
    assert!(
        scores[0] > 0.5 && scores[2] < 0.01 && scores.iter().all(|score| (0.0..=1.0).contains(score)),
        "{scores:?}"
    );
    assert_eq!(reply["results"][0]["document"], json!({"text": PASSAGE}));
    assert_eq!(reply["model"], "kefu-reader");
    let (query, documents) = (
        QUESTION.chars().count() + 2,
        OTHER.chars().count() + PASSAGE.chars().count() + 3 + 6,
    );
    assert_eq!(reply["usage"]["total_tokens"], json!(3 * query + documents));

    let body = json!({"query": QUESTION, "documents": [OTHER, PASSAGE], "top_n": 1, "return_documents": false});
    let reply = server.post("/v1/rerank", &body).await.json();
    assert_eq!(reply["results"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&reply["results"][0]["index"], reply["results"][0].get("document")),
        (&json!(1), None)
    );
}

#[tokio::test]
async fn texts_are_scored_as_by_text_embeddings_inference() {
    let server = Server::start().await;
    let body = json!({"query": QUESTION, "texts": [OTHER, PASSAGE], "raw_scores": true, "return_text": true});
    let raw = server.post("/v1/rerank", &body).await.json();
    assert_eq!(
        (&raw[0]["index"], &raw[0]["text"], &raw[1]["text"]),
        (&json!(1), &json!(PASSAGE), &json!(OTHER))
    );
    let body = json!({"query": QUESTION, "texts": [OTHER, PASSAGE], "truncate": false});
    let scored = server.post("/v1/rerank", &body).await.json();
    for (raw, scored) in raw.as_array().unwrap().iter().zip(scored.as_array().unwrap()) {
        let (log_odds, score) = (raw["score"].as_f64().unwrap(), scored["score"].as_f64().unwrap());
        assert!(
            (score - 1.0 / (1.0 + (-log_odds).exp())).abs() < 1e-9,
            "{log_odds} {score}"
        );
        assert_eq!(scored.get("text"), None);
    }
}

#[tokio::test]
async fn what_cannot_be_ordered_is_refused_by_name() {
    let server = Server::start().await;
    for (body, status, param) in [
        (json!({"documents": ["a"]}), 400, "query"),
        (json!({"query": " ", "documents": ["a"]}), 400, "query"),
        (json!({"query": "长".repeat(200), "documents": ["a"]}), 400, "query"),
        (json!({"query": "q"}), 400, "documents"),
        (
            json!({"query": "q", "documents": ["a"], "texts": ["a"]}),
            400,
            "documents",
        ),
        (json!({"query": "q", "documents": []}), 400, "documents"),
        (json!({"query": "q", "documents": vec!["a"; 101]}), 400, "documents"),
        (json!({"query": "q", "documents": ["a", 5]}), 400, "documents[1]"),
        (json!({"query": "q", "texts": ["a".repeat(40_000)]}), 400, "texts[0]"),
        (json!({"query": "q", "texts": ["a"], "truncate": true}), 400, "truncate"),
        (json!({"query": "q", "documents": ["a"], "top_n": 0}), 400, "top_n"),
        (
            json!({"query": "q", "documents": ["a"], "raw_scores": true}),
            400,
            "raw_scores",
        ),
        (json!({"query": "q", "documents": ["a"], "model": "x"}), 404, "model"),
    ] {
        let reply = server.post("/v1/rerank", &body).await;
        let error: &Value = &reply.json()["error"];
        assert_eq!((reply.status, &error["param"]), (status, &json!(param)), "{error}");
    }
}
