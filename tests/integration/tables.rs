//! Answers from tables and from sources that disagree, with the real embedding model and the real reader, without a writer.
#![allow(clippy::unwrap_used)]

use crate::embedder::load as load_embedder;
use futures::StreamExt;
use jiff::Timestamp;
use kefu::config::{Overrides, load};
use kefu::dialogue::{Ask, Assistant, Confidence, ReplyEvent, unsupported};
use kefu::domain::{Citation, Clock, ManualClock, Route, Scope, Viewer};
use kefu::inference::{CrossReader, Embedder};
use kefu::retrieval::{Ingester, Retriever};
use kefu::storage::{SqliteStore, Store};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const CARDS: &str = "# 海岸银行信用卡收费\n\n## 年费\n\n年费按下表收取。\n\n| 卡种 | 年费 | 挂失费 |\n| --- | --- | --- |\n\
    | 海岸普卡 | 90元/年 | 40元/次 |\n| 海岸金卡 | 180元/年 | 40元/次 |\n| 海岸白金卡 | 680元/年 | 免费 |\n";
const PARCELS: &str = "# 包裹寄送\n\n## 运费\n\n寄往北区的包裹运费为8元。\n\n## 保价\n\n保价费为声明价值的1%。\n";
const NEW_PARCELS: &str = "# 包裹寄送\n\n## 运费\n\n寄往北区的包裹运费为12元。\n";

struct Said {
    route: Route,
    text: String,
    citations: Vec<Citation>,
}

struct Base {
    _directory: tempfile::TempDir,
    assistant: Arc<Assistant>,
    store: Arc<dyn Store>,
}

/// A base of these files, each imported at its second and with its scope.
async fn base(files: &[(&str, &str, i64, Scope)]) -> Base {
    let config = load(&Overrides::default()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let clock = |second| -> Arc<dyn Clock> { Arc::new(ManualClock::new(Timestamp::from_second(second).unwrap())) };
    let store: Arc<dyn Store> = Arc::new(
        SqliteStore::open(&directory.path().join("data"), clock(0))
            .await
            .unwrap(),
    );
    let embedder = Arc::new(load_embedder(""));
    let as_embedder: Arc<dyn Embedder> = embedder.clone();
    for (name, text, second, scope) in files {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        let ingester = Ingester::new(
            store.clone(),
            as_embedder.clone(),
            clock(*second),
            config.retrieval.clone(),
        );
        let report = ingester.import(&[path], &(), &CancellationToken::new()).await.unwrap();
        assert_eq!(report.failures(), 0, "{report:?}");
        if !scope.is_open() {
            let page = store.documents(&kefu::storage::PageRequest::first(100)).await.unwrap();
            let summary = page
                .items
                .iter()
                .find(|document| document.source.ends_with(name))
                .unwrap();
            let mut document = store.document(summary.id).await.unwrap().unwrap();
            document.scope = scope.clone();
            let passages = store.document_passages(summary.id).await.unwrap();
            store.put_document(&document, &passages).await.unwrap();
        }
    }
    let index = directory.path().join("index");
    let retriever = Retriever::open(store.clone(), as_embedder, index, config.retrieval.clone())
        .await
        .unwrap();
    let reader = CrossReader::built_in(&embedder, &config.inference).unwrap();
    let assistant = Assistant::new(
        Arc::new(retriever),
        Arc::new(reader),
        None,
        Confidence::built_in().unwrap(),
        config.dialogue,
    );
    Base {
        _directory: directory,
        assistant: Arc::new(assistant),
        store,
    }
}

impl Base {
    async fn ask(&self, question: &str) -> Said {
        let viewer = Viewer::anybody(Timestamp::from_second(1_900_000_000).unwrap());
        let mut events = self.assistant.reply(Ask::new(question, viewer)).unwrap();
        let mut said = Said {
            route: Route::Refuse,
            text: String::new(),
            citations: Vec::new(),
        };
        while let Some(event) = events.next().await {
            match event {
                ReplyEvent::Route { route, .. } => said.route = route,
                ReplyEvent::Token { text } => said.text.push_str(&text),
                ReplyEvent::Citation(citation) => said.citations.push(citation),
                ReplyEvent::Error { message, .. } => panic!("{message}"),
                _ => {}
            }
        }
        // What is cited stands there, byte for byte, and nothing is said that no source says.
        let mut sources = vec![question.to_owned()];
        for citation in &said.citations {
            let document = self
                .store
                .document(kefu::domain::DocumentId(citation.document_id))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(&document.text[citation.start..citation.end], citation.quote);
            assert!(said.text.contains(&format!("[{}]", citation.n)), "{}", said.text);
            sources.extend([document.text, citation.title.clone()]);
        }
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        let missing = unsupported(&said.text, &sources);
        assert!(missing.is_empty(), "{missing:?} in {}", said.text);
        said
    }
}

#[tokio::test]
async fn a_difference_is_computed_from_the_rows_it_shows() {
    let base = base(&[
        ("cards.md", CARDS, 0, Scope::default()),
        ("parcels.md", PARCELS, 0, Scope::default()),
    ])
    .await;
    let said = base.ask("金卡和白金卡年费差多少").await;
    assert_eq!(said.route, Route::Passages);
    for words in [
        "海岸银行信用卡收费",
        "680 − 180 = 500",
        "500元/年",
        "| 海岸白金卡 | 680元/年 | 免费 |",
        "| 卡种 | 年费 | 挂失费 |",
    ] {
        assert!(said.text.contains(words), "{words}: {}", said.text);
    }
    let quotes: Vec<&str> = said.citations.iter().map(|citation| citation.quote.as_str()).collect();
    assert_eq!(
        quotes,
        ["| 海岸金卡 | 180元/年 | 40元/次 |", "| 海岸白金卡 | 680元/年 | 免费 |"]
    );
    // A card that the table does not know is no card of the table.
    let said = base.ask("金卡和黑金卡年费差多少").await;
    assert!(!said.text.contains('−'), "{}", said.text);
}

#[tokio::test]
async fn the_newer_source_answers_and_the_older_is_named() {
    let day = 24 * 60 * 60;
    let effective = |second| Scope {
        effective_from: Some(Timestamp::from_second(second).unwrap()),
        ..Scope::default()
    };
    let question = "寄往北区的包裹运费是多少";
    for (old, new, decided) in [
        ((0, Scope::default()), (100 * day, Scope::default()), true),
        // The date from which a source holds says more than the date of its import.
        ((200 * day, effective(day)), (0, effective(2 * day)), true),
        ((0, Scope::default()), (60, Scope::default()), false),
    ] {
        let base = base(&[("old.md", PARCELS, old.0, old.1), ("new.md", NEW_PARCELS, new.0, new.1)]).await;
        let said = base.ask(question).await;
        assert_eq!(said.route, Route::Passages, "{}", said.text);
        assert!(said.text.contains("8元") && said.text.contains("12元"), "{}", said.text);
        assert_eq!(said.citations.len(), 2, "{}", said.text);
        if decided {
            assert!(said.citations[0].quote.contains("12元"), "{}", said.text);
            assert!(said.text.contains("较旧的资料"), "{}", said.text);
        } else {
            assert!(said.text.contains("从日期看不出"), "{}", said.text);
        }
    }
}

#[tokio::test]
async fn tables_that_disagree_are_both_named() {
    let newer = CARDS.replace("680元/年", "720元/年");
    let day = 24 * 60 * 60;
    let base = base(&[
        ("old.md", CARDS, 0, Scope::default()),
        ("new.md", &newer, 100 * day, Scope::default()),
    ])
    .await;
    let said = base.ask("金卡和白金卡年费差多少").await;
    let first = said
        .text
        .find("720 − 180 = 540")
        .unwrap_or_else(|| panic!("{}", said.text));
    let second = said
        .text
        .find("680 − 180 = 500")
        .unwrap_or_else(|| panic!("{}", said.text));
    assert!(first < second && said.text.contains("较旧的资料"), "{}", said.text);
}
