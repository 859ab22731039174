//! What every store promises of examples and trained heads: part of the contract.

use super::store_contract::{at, conversation, message};
use kefu::domain::{Channel, ConversationId, ExampleId, ExampleOrigin, IntentCount, IntentExample, MessageId, Role};
use kefu::storage::{KEPT_HEADS, MAX_EXAMPLES, PageRequest, StorageError, Store};
use serde_json::json;

fn example(text: &str, intent: &str, message: Option<MessageId>) -> IntentExample {
    IntentExample {
        id: ExampleId::new(),
        text: text.to_owned(),
        intent: intent.to_owned(),
        origin: message.map_or(ExampleOrigin::Given, |_| ExampleOrigin::Corrected),
        message,
        author: "ann".to_owned(),
        created_at: at(3),
    }
}

/// Runs every promise in turn. The store holds no examples.
pub async fn contract(store: &dyn Store) {
    examples(store).await;
    heads(store).await;
}

async fn examples(store: &dyn Store) {
    let talk = conversation(store, Channel::Web).await.id;
    let [kept, gone] = [said(store, talk).await, said(store, talk).await];
    let both = [
        example("卡丢了", "card/lost", None),
        example("card is gone", "card/lost", Some(gone)),
        example("年费多少", "card/fee", Some(kept)),
    ];
    assert_eq!(store.put_examples(&both).await.unwrap(), 3);
    let first = store.examples(None, &PageRequest::first(2)).await.unwrap();
    assert_eq!(first.items, both[..2]);
    let rest = PageRequest {
        cursor: first.next,
        ..PageRequest::first(2)
    };
    let rest = store.examples(None, &rest).await.unwrap();
    assert_eq!((rest.items.as_slice(), rest.next), (&both[2..], None));
    let bad = PageRequest {
        cursor: Some("no cursor".to_owned()),
        ..PageRequest::first(2)
    };
    assert!(matches!(
        store.examples(None, &bad).await,
        Err(StorageError::Invalid { .. })
    ));
    let counts = [("card/fee", 0, 1), ("card/lost", 1, 1)].map(|(intent, given, corrected)| IntentCount {
        intent: intent.to_owned(),
        given,
        corrected,
    });
    assert_eq!(store.intents().await.unwrap(), counts);

    // The same words again: another intent, the same row; what was given by itself no longer goes with a message.
    let again = example("card is gone", "card/theft", None);
    assert_eq!(store.put_examples(&[again, both[0].clone()]).await.unwrap(), 1);
    let changed = store
        .examples(Some("card/theft"), &PageRequest::first(9))
        .await
        .unwrap();
    assert_eq!(
        (changed.items.len(), changed.items[0].id, changed.items[0].message),
        (1, both[1].id, None)
    );
    assert_eq!(
        store.labelled_texts().await.unwrap(),
        [
            ("card is gone", "card/theft"),
            ("卡丢了", "card/lost"),
            ("年费多少", "card/fee")
        ]
        .map(|(text, intent)| (text.to_owned(), intent.to_owned())),
    );
    // What is said of a message changes no example that was given.
    let other = example("卡丢了", "card/fee", Some(kept));
    assert_eq!(store.put_examples(&[other]).await.unwrap(), 0);
    // Given with the same intent as a correction has: it stays when the message goes.
    assert_eq!(store.put_examples(&[example("z", "y", Some(gone))]).await.unwrap(), 1);
    assert_eq!(store.put_examples(&[example("z", "y", None)]).await.unwrap(), 1);
    // What turns out to be personal is not learnt from.
    assert!(store.remask_message(kept, "[masked]").await.unwrap());
    assert_eq!(store.labelled_texts().await.unwrap().len(), 3);
    // A correction goes when its conversation goes.
    assert_eq!(store.put_examples(&[example("x", "y", Some(gone))]).await.unwrap(), 1);
    store.erase_conversations(&[talk]).await.unwrap();
    assert_eq!(store.labelled_texts().await.unwrap().len(), 3);

    let many: Vec<_> = (0..=MAX_EXAMPLES)
        .map(|n| example(&format!("example {n}"), "many", None))
        .collect();
    assert!(matches!(
        store.put_examples(&many).await,
        Err(StorageError::Invalid { .. })
    ));
    assert_eq!(store.labelled_texts().await.unwrap().len(), 3, "all or none");
    assert!(store.remove_example(both[0].id, "bob").await.unwrap());
    assert!(!store.remove_example(both[0].id, "bob").await.unwrap());
    assert!(store.remove_example(both[1].id, "bob").await.unwrap());
    let last = store.examples(None, &PageRequest::first(9)).await.unwrap().items;
    assert_eq!((last.len(), last[0].text.as_str()), (1, "z"));
    assert!(store.remove_example(last[0].id, "bob").await.unwrap());
}

async fn said(store: &dyn Store, talk: ConversationId) -> MessageId {
    let message = message(talk, Role::Visitor, 30);
    store.add_message(&message).await.unwrap();
    message.id
}

async fn heads(store: &dyn Store) {
    assert_eq!(store.newer_head("intent", 0).await.unwrap(), None);
    let mut versions = Vec::new();
    for n in 0..=KEPT_HEADS {
        let head = n.to_le_bytes();
        versions.push(
            store
                .put_head("intent", &head, "ann", at(4), json!({"examples": n}))
                .await
                .unwrap(),
        );
    }
    assert!(versions.is_sorted() && versions[0] > 0);
    let newest = store.newer_head("intent", versions[2]).await.unwrap().unwrap();
    assert_eq!(
        (newest.version, newest.head.as_slice(), newest.author.as_str()),
        (*versions.last().unwrap(), KEPT_HEADS.to_le_bytes().as_slice(), "ann")
    );
    assert_eq!(store.newer_head("intent", newest.version).await.unwrap(), None);
    assert_eq!(store.newer_head("risk", 0).await.unwrap(), None);
}
