//! An angry conversation goes to a person, with the reason; a calm one with the same question does not.

use super::doubles::HashingEmbedder;
use super::support::{QUESTION, Server};
use async_trait::async_trait;
use kefu::config::UnderstandingConfig;
use kefu::dialogue::Senses;
use kefu::inference::{Embedder, Embeddings, Features, FeaturesInfo, InferenceError, TextKind};
use kefu::understanding::heads::{Base, Head, HeadError, Sample, Training, prepared};
use std::sync::Arc;

/// The hashing embedder as an encoder of one layer.
struct Hashed(HashingEmbedder, FeaturesInfo);

impl Hashed {
    fn new() -> Self {
        let embedder = HashingEmbedder::new();
        let known = embedder.info();
        let info = FeaturesInfo {
            model: known.name.clone(),
            sha256: known.sha256.clone(),
            width: known.dim,
            layers: 1,
        };
        Self(embedder, info)
    }
}

#[async_trait]
impl Features for Hashed {
    fn info(&self) -> &FeaturesInfo {
        &self.1
    }

    async fn features(&self, texts: Vec<String>) -> Result<Embeddings, InferenceError> {
        self.0.embed(TextKind::Query, texts).await
    }
}

const ANGRY: [&str; 6] = [
    "你们太差劲了，气死我了",
    "什么破服务，气死人了",
    "太差劲了，骗子公司",
    "气死我了，没人管吗",
    "破服务，太差劲",
    "骗子，没人管",
];
const CALM: [&str; 6] = [
    "信用卡挂失手续费是多少",
    "请问怎么补发新卡",
    "密码忘了怎么办",
    "新卡多久寄到",
    "手续费怎么收",
    "请问网点几点开门",
];
const DANGER: [&str; 6] = [
    "我不想活了",
    "活着没意思，想死",
    "不想活下去了",
    "想死，没意思",
    "我想结束生命",
    "不如死了算了",
];

/// A head for `task` that tells these two kinds of text apart, as a file.
async fn head(task: &str, labels: [&str; 2], texts: [&[&str]; 2], features: &Hashed) -> Vec<u8> {
    let all: Vec<(String, u32)> = (0..2_u32)
        .flat_map(|label| texts[label as usize].iter().map(move |text| (prepared(text), label)))
        .collect();
    let numbers = features
        .features(all.iter().map(|(text, _)| text.clone()).collect())
        .await
        .unwrap();
    let samples: Vec<Sample<'_>> = (all.iter().zip(numbers.rows()))
        .map(|((text, label), numbers)| Sample {
            text,
            numbers,
            label: *label,
        })
        .collect();
    let base = Base {
        model: features.info().model.clone(),
        sha256: features.info().sha256.clone(),
        width: features.info().width,
        layers: 1,
    };
    let training = Training {
        hidden: 16,
        least_steps: 200,
        epochs: 1,
        rate: 5e-3,
        grams_rate: 0.02,
        least_texts: 1,
        ..Training::default()
    };
    let head = Head::train(
        task,
        labels.map(str::to_owned).to_vec(),
        &samples,
        base,
        training,
        &|_| (),
    );
    head.unwrap().to_bytes()
}

/// Senses over the hashing embedder.
pub async fn senses(config: &UnderstandingConfig) -> Senses {
    let features = Hashed::new();
    let emotion = head("emotion", ["angry", "neutral"], [&ANGRY, &CALM], &features).await;
    let satisfaction = head("satisfaction", ["dissatisfied", "neutral"], [&ANGRY, &CALM], &features).await;
    let risk = head(
        "risk",
        ["self_harm", "normal"],
        [&DANGER, &[ANGRY, CALM].concat()],
        &features,
    )
    .await;
    Senses::new(Arc::new(features), [&emotion, &satisfaction, &risk], config.clone()).unwrap()
}

async fn server() -> Server {
    Server::start_with(|config| {
        config.understanding.heads = "of the test".into();
        config.understanding.handoff_dissatisfaction = 0.5;
        config.understanding.risk_confidence = 0.7;
        config.understanding.handoff_risks = vec!["self_harm".into()];
    })
    .await
}

/// The reason for which each of these messages of one conversation is handed over.
async fn reasons(server: &Server, messages: &[&str]) -> Vec<Option<String>> {
    let (id, token) = server.visitor().await;
    let mut reasons = Vec::new();
    for text in messages {
        let events = server.say(&id, &token, text).await.rest().await;
        assert_eq!(events.last().unwrap().0, "done", "{events:?}");
        let handoff = events.iter().find(|(name, _)| name == "handoff");
        reasons.push(handoff.map(|(_, data)| data["reason"].as_str().unwrap().to_owned()));
    }
    reasons
}

#[tokio::test]
async fn an_angry_conversation_goes_to_a_person_once_and_a_calm_one_does_not() {
    let server = server().await;
    let calm = reasons(&server, &[QUESTION, "信用卡补发要多少钱？"]).await;
    assert_eq!(calm, [None, None]);
    let angry = reasons(
        &server,
        &[
            QUESTION,
            "什么破服务，太差劲了，气死我了",
            "骗子公司，没人管吗",
            QUESTION,
        ],
    )
    .await;
    assert_eq!(angry[0], None, "{angry:?}");
    // In the second or, as one word does not make a mood, the third turn; and only once.
    let handed: Vec<&str> = angry.iter().flatten().map(String::as_str).collect();
    assert_eq!(handed, ["emotion"], "{angry:?}");
    assert!(angry[1].is_some() || angry[2].is_some(), "{angry:?}");
}

#[tokio::test]
async fn who_is_in_danger_goes_to_a_person_at_once() {
    let server = server().await;
    assert_eq!(
        reasons(&server, &["我不想活了，活着没意思"]).await,
        [Some("risk".to_owned())]
    );
}

#[tokio::test]
async fn a_damaged_head_is_named_with_what_to_do() {
    let features = Arc::new(Hashed::new());
    let config = UnderstandingConfig {
        heads: String::new(),
        handoff_dissatisfaction: 0.7,
        risk_confidence: 0.7,
        handoff_risks: Vec::new(),
    };
    let emotion = head("emotion", ["angry", "neutral"], [&ANGRY, &CALM], &features).await;
    let error = |heads: [&[u8]; 3]| Senses::new(features.clone(), heads, config.clone()).err().unwrap();
    let (task, cause) = error([&emotion[..100], &emotion, &emotion]);
    assert!(task == "emotion" && cause.to_string().contains("kefu train"), "{cause}");
    let (task, cause) = error([&emotion, &emotion, &emotion]);
    assert!(
        task == "satisfaction" && matches!(cause, HeadError::OtherTask { .. }),
        "{cause}"
    );
}
