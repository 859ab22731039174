//! What a viewer may not be told is not found, by any stage, and takes no place of what is.

use super::live_tests::document;
use super::tests::{anybody, faq, open, query};
use super::*;
use crate::domain::{DocumentId, Faq, Scope};
use crate::retrieval::testing::store;
use jiff::{SignedDuration, Timestamp};

const MODES: [SearchMode; 3] = [SearchMode::Hybrid, SearchMode::Dense, SearchMode::Lexical];

fn now() -> Timestamp {
    Timestamp::from_second(1_790_000_000).unwrap()
}

fn days(days: i64) -> Timestamp {
    now() + SignedDuration::from_hours(days * 24)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Each scope with the viewers that it admits and does not.
fn cases() -> Vec<(Scope, Viewer, Viewer)> {
    let viewer = Viewer::anybody(now());
    let at = |now| Viewer { now, ..viewer.clone() };
    let of = |audience: &str| Viewer {
        audiences: words(&[audience]),
        ..viewer.clone()
    };
    let on = |channel: &str| Viewer {
        channel: Some(channel.to_owned()),
        ..viewer.clone()
    };
    let open = Scope::default();
    vec![
        (
            Scope {
                effective_from: Some(days(1)),
                ..open.clone()
            },
            at(days(2)),
            viewer.clone(),
        ),
        (
            Scope {
                expires_at: Some(days(-1)),
                ..open.clone()
            },
            at(days(-2)),
            viewer.clone(),
        ),
        (
            Scope {
                audiences: words(&["vip"]),
                ..open.clone()
            },
            of("vip"),
            of("staff"),
        ),
        (
            Scope {
                channels: words(&["web"]),
                ..open
            },
            on("web"),
            on("phone"),
        ),
    ]
}

/// Three open texts about fees, and a hundred that match the question better and have the scope.
async fn fill(store: &dyn Store, scope: &Scope) {
    for number in 0..25 {
        let texts: Vec<String> = (0..4)
            .map(|n| format!("金卡年费多少：每年二百元，编号{number}之{n}。"))
            .collect();
        let (document, passages) = document(DocumentId::new(), &format!("年费{number}"), &texts, scope.clone());
        store.put_document(&document, &passages).await.unwrap();
    }
    for text in ["普卡的年费", "年费的减免办法", "各种费用一览，包括年费"] {
        let (document, passages) = document(DocumentId::new(), text, &[text.to_owned()], Scope::default());
        store.put_document(&document, &passages).await.unwrap();
    }
    let scoped = |key: &str, question: &str| Faq {
        scope: scope.clone(),
        ..faq(key, question, &["金卡年费是多少"])
    };
    let mut faqs = vec![
        scoped("a", "金卡年费多少"),
        faq("b", "金卡年费多少", &[]),
        faq("c", "年费怎么交", &[]),
    ];
    faqs.extend((0..30).map(|n| scoped(&format!("x{n}"), &format!("金卡年费多少呢{n}"))));
    store.put_faqs(&faqs, "").await.unwrap();
}

#[tokio::test]
async fn each_stage_finds_only_what_may_be_told() {
    for (number, (scope, admitted, refused)) in cases().into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path()).await;
        fill(store.as_ref(), &scope).await;
        let retriever = open(&store, "a", directory.path()).await;
        let ids: Vec<_> = {
            let page = store.documents(&crate::storage::PageRequest::first(100)).await.unwrap();
            page.items
                .into_iter()
                .filter(|d| !d.scope.is_open())
                .map(|d| d.id)
                .collect()
        };
        let is_scoped = |hit: &Hit| match &hit.source {
            Source::Passage(passage) => ids.contains(&passage.document_id),
            Source::Faq(faq) => !faq.scope.is_open(),
        };
        for mode in MODES {
            let ask = |viewer: &Viewer| Query {
                viewer: viewer.clone(),
                ..query("金卡年费多少", mode)
            };
            let found = retriever.search(&ask(&refused)).await.unwrap();
            assert_eq!(found.hits.len(), 3, "{number} {mode:?}: {found:?}");
            assert!(!found.hits.iter().any(is_scoped), "{number} {mode:?}");
            assert!(
                found.faqs.iter().all(|hit| hit.faq.scope.is_open()),
                "{number} {mode:?}"
            );
            assert_eq!(found.faqs[0].faq.key, "b", "{number} {mode:?}");
            assert_eq!(found.faqs.len(), 2, "{number} {mode:?}");
            let found = retriever.search(&ask(&admitted)).await.unwrap();
            assert!(found.hits.iter().all(is_scoped), "{number} {mode:?}: {found:?}");
            assert_eq!(found.faqs[0].faq.key, "a", "{number} {mode:?}");
        }
        let exact = |text: &str, viewer: &Viewer| retriever.exact_faq(text, viewer).map(|(hit, _)| hit.faq.key);
        assert_eq!(exact("金卡年费多少", &admitted).as_deref(), Some("a"));
        assert_eq!(exact("金卡年费多少", &refused).as_deref(), Some("b"));
        assert_eq!(exact("金卡年费是多少", &refused), None);
        // None of this needed another index.
        assert_eq!(retriever.status().layers, 1);
    }
}

#[tokio::test]
async fn a_document_changes_its_scope_without_changing_its_text() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    let retriever = open(&store, "a", directory.path()).await;
    let (mut document, passages) = document(
        DocumentId::new(),
        "年费",
        &["年费二百元。".to_owned()],
        Scope::default(),
    );
    for (audiences, expected) in [(words(&[]), 1), (words(&["vip"]), 0), (words(&[]), 1)] {
        document.scope.audiences = audiences;
        store.put_document(&document, &passages).await.unwrap();
        retriever.refresh().await.unwrap();
        for mode in MODES {
            let ask = Query {
                viewer: anybody(),
                ..query("年费", mode)
            };
            assert_eq!(retriever.search(&ask).await.unwrap().hits.len(), expected);
        }
    }
}

#[tokio::test]
async fn a_viewer_who_may_be_told_nothing_finds_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    let scope = Scope {
        expires_at: Some(days(-9)),
        ..Scope::default()
    };
    let (document, passages) = document(DocumentId::new(), "年费", &["年费二百元。".to_owned()], scope);
    store.put_document(&document, &passages).await.unwrap();
    let retriever = open(&store, "a", directory.path()).await;
    for mode in MODES {
        let ask = Query {
            viewer: Viewer::anybody(now()),
            ..query("年费", mode)
        };
        let found = retriever.search(&ask).await.unwrap();
        assert!(found.hits.is_empty() && found.faqs.is_empty());
    }
}
