//! Replies are given again: the same answer, or exactly what is different.

use super::inner::Inner;
use super::support::{FAQ_ANSWER, FAQ_QUESTION, QUESTION, Server};
use kefu::config::{Overrides, load};
use kefu::dialogue::flow::tools::{tools_of, zone};
use kefu::dialogue::{Assistant, Confidence, Difference, FlowDriver, FlowParts, Replayed, Replayer, flow};
use kefu::domain::{Clock, MessageId, Route, SystemClock};
use kefu::storage::Vault;
use kefu::understanding::normalise;
use std::sync::Arc;

async fn say(server: &Server, (id, token): &(String, String), text: &str) -> MessageId {
    let events = server.say(id, token, text).await.rest().await;
    let done = events.iter().find(|(name, _)| name == "done").unwrap();
    done.1["message_id"].as_str().unwrap().parse().unwrap()
}

fn replayer(server: &Server) -> Replayer {
    Replayer::new(server.state.assistant().unwrap(), Arc::clone(&server.store), None)
}

fn causes(replayed: &Replayed) -> Vec<&Difference> {
    let of_the_rest = replayed
        .differences
        .iter()
        .filter(|difference| !difference.is_of_the_answer());
    of_the_rest.collect()
}

#[tokio::test]
async fn the_same_answer_comes_again_until_something_moves() {
    let server = Server::start().await;
    let visitor = server.visitor().await;
    let mut replies = Vec::new();
    for text in [
        "你好",
        FAQ_QUESTION,
        "我叫王小明，手机13812345678，信用卡挂失手续费是多少？",
        QUESTION,
        "转人工",
    ] {
        replies.push(say(&server, &visitor, text).await);
    }
    let replay = replayer(&server);
    let mut routes = Vec::new();
    for reply in &replies {
        let replayed = replay.replay(*reply).await.unwrap();
        assert!(replayed.same && replayed.differences.is_empty(), "{replayed:#?}");
        assert!(!replayed.question.contains("12345678"));
        let (message, _) = server.store.messages_by_id(&[*reply]).await.unwrap().remove(0);
        routes.push(message.route.unwrap());
    }
    assert_eq!(
        routes,
        [
            Route::Smalltalk,
            Route::Faq,
            Route::Passages,
            Route::Passages,
            Route::Handoff
        ]
    );
    let (record, environment) = server.store.reply_record(replies[3]).await.unwrap().unwrap();
    assert_eq!(
        (record.basis.understood.as_str(), record.history.len()),
        (normalise(QUESTION).as_str(), 6)
    );
    assert!(!record.basis.hits.is_empty() && record.basis.answer_confidence.is_some());
    assert!(environment.json.contains("scripted-model") && environment.json.contains("hashing-embedder"));

    // The approved answer is another one now.
    let mut faq = server.store.faqs(&[server.faq]).await.unwrap().remove(0);
    faq.answer = FAQ_ANSWER.replace("预留手机号", "身份证号");
    server.store.put_faqs(&[faq], "another answer").await.unwrap();
    server.state.assistant().unwrap().retriever().refresh().await.unwrap();
    let replayed = replay.replay(replies[1]).await.unwrap();
    assert!(!replayed.same);
    let text = replayed
        .differences
        .iter()
        .find(|difference| matches!(difference, Difference::Text { .. }));
    assert!(matches!(text, Some(Difference::Text { was, now, .. }) if was.contains("预留") && now.contains("身份")));
    assert!(
        matches!(
            &causes(&replayed)[..],
            [
                Difference::KnowledgeVersion { .. },
                Difference::Source { change: "changed", .. }
            ]
        ),
        "{replayed:#?}"
    );
    // What rests on other sources is the same, and the version is named.
    let replayed = replay.replay(replies[3]).await.unwrap();
    assert!(replayed.same, "{replayed:#?}");
    // Other scores may have moved with it.
    let version = |difference: &&Difference| matches!(difference, Difference::KnowledgeVersion { .. });
    assert!(causes(&replayed).iter().any(version), "{replayed:#?}");
    // Removed altogether.
    assert!(server.store.remove_faq(server.faq).await.unwrap());
    server.state.assistant().unwrap().retriever().refresh().await.unwrap();
    let replayed = replay.replay(replies[1]).await.unwrap();
    let gone = |difference: &&Difference| matches!(difference, Difference::Source { change: "gone", .. });
    assert!(!replayed.same && causes(&replayed).iter().any(gone), "{replayed:#?}");
}

#[tokio::test]
async fn another_setting_is_named_and_so_is_what_was_masked_since() {
    let server = Server::start().await;
    let visitor = server.visitor().await;
    let reply = say(&server, &visitor, QUESTION).await;
    let mut settings = load(&Overrides::default()).unwrap().dialogue;
    settings.faq_confidence = 1.0;
    settings.second_reading = false;
    settings.answer_confidence = 1.0;
    settings.clarify_confidence = 0.0;
    let retriever = Arc::clone(server.state.assistant().unwrap().retriever());
    let reader = Arc::clone(&server.state.services().unwrap().reader);
    let assistant = Arc::new(Assistant::new(
        retriever,
        reader,
        None,
        Confidence::built_in().unwrap(),
        settings,
    ));
    let strict = Replayer::new(assistant, Arc::clone(&server.store), None);
    let replayed = strict.replay(reply).await.unwrap();
    assert!(
        replayed.differences.iter().any(|difference| matches!(
            difference,
            Difference::Route {
                was: Some(Route::Passages),
                now: Some(Route::Clarify)
            }
        )),
        "{replayed:#?}"
    );
    let named: Vec<&str> = (causes(&replayed).into_iter())
        .filter_map(|difference| match difference {
            Difference::Environment { name, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(
        named,
        [
            "dialogue.answer_confidence",
            "dialogue.clarify_confidence",
            "dialogue.confirmed_confidence",
            "dialogue.written_answers",
            "model",
            "model.name",
            "model.sampling",
            "model.sha256"
        ]
    );

    // A number that went on in the next message is masked in the first one then.
    let reply = say(&server, &visitor, "我的手机号是138").await;
    let (record, _) = server.store.reply_record(reply).await.unwrap().unwrap();
    assert!(!record.basis.understood.is_empty());
    say(&server, &visitor, "12345678，请尽快").await;
    let (record, _) = server.store.reply_record(reply).await.unwrap().unwrap();
    assert_eq!(record.basis.understood, "");
    let replayed = replayer(&server).replay(reply).await.unwrap();
    assert!(
        causes(&replayed)
            .iter()
            .any(|difference| matches!(difference, Difference::Remasked { .. })),
        "{replayed:#?}"
    );
    let question = server.store.reply_record(reply).await.unwrap().unwrap().0.question;
    let refused = replayer(&server).replay(question).await.unwrap_err();
    assert!(refused.to_string().contains("written by the visitor"), "{refused}");
    let missing = replayer(&server).replay(MessageId::new()).await.unwrap_err();
    assert!(missing.to_string().contains("there is no message"), "{missing}");
}

#[tokio::test]
async fn a_reply_of_a_flow_is_computed_again_without_calling_anybody() {
    const FLOWS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kb/flows");
    let (inner, address) = Inner::start().await;
    let server = Server::start_with(|config| {
        FLOWS.clone_into(&mut config.dialogue.flows);
        config.tools = Inner::settings(address);
    })
    .await;
    let visitor = server.visitor().await;
    let mut replies = Vec::new();
    for text in ["我的快递到哪了", "SF1234567890", "8812"] {
        replies.push(say(&server, &visitor, text).await);
    }
    let calls = inner.calls("parcel_status").len();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let assistant = server.state.assistant().unwrap();
    let with = |flows: Vec<flow::Flow>| {
        let parts = FlowParts {
            flows,
            tools: tools_of(&Inner::settings(address), &clock, 480).unwrap(),
            similarity: None,
            zone: zone(480),
            vault: Arc::new(Vault::open(&server.data().join("vault.key")).unwrap()),
        };
        let driver = FlowDriver::new(
            parts,
            Arc::clone(&assistant),
            Arc::clone(&server.store),
            Arc::clone(&clock),
        );
        Replayer::new(
            Arc::clone(&assistant),
            Arc::clone(&server.store),
            Some(Arc::new(driver.unwrap())),
        )
    };
    let flows = flow::load(std::path::Path::new(FLOWS)).unwrap();
    let same = with(flows.clone());
    for reply in &replies {
        let replayed = same.replay(*reply).await.unwrap();
        assert!(replayed.same && replayed.differences.is_empty(), "{replayed:#?}");
    }
    assert_eq!(inner.calls("parcel_status").len(), calls, "nothing is called");
    let mut changed = flows;
    for flow in &mut changed {
        flow.digest.push('x');
    }
    let replayed = with(changed).replay(replies[1]).await.unwrap();
    assert!(
        matches!(&replayed.differences[..], [Difference::Flow { detail }] if detail.contains("was changed since")),
        "{replayed:#?}"
    );
    assert!(replayer(&server).replay(replies[1]).await.is_err(), "without flows");
    // Its key is gone, as when the customer is erased.
    server.store.erase_vault(visitor.0.parse().unwrap()).await.unwrap();
    let replayed = same.replay(replies[1]).await.unwrap();
    assert!(!replayed.same && format!("{replayed:?}").contains("key was erased"));
}
