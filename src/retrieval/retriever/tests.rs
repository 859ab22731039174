use super::*;
use crate::domain::{Document, DocumentFormat, DocumentId, Faq, FaqId};
use crate::retrieval::testing::{HashEmbedder, clock, config, store};
use std::path::{Path, PathBuf};

const TOPICS: [(&str, &str); 6] = [
    (
        "信用卡挂失",
        "信用卡遗失后请立即致电客服热线办理挂失，挂失手续费五十元。",
    ),
    ("信用卡年费", "普卡免年费，金卡每年收取年费二百元，刷满六次免次年年费。"),
    ("退货政策", "签收后七天内可以退货，退货运费由买家承担。"),
    ("发票开具", "电子发票在订单完成后自动开具，发送到预留邮箱。"),
    (
        "贷款提前还款",
        "贷款发放满一年后可以提前还款，违约金为剩余本金的百分之一。",
    ),
    (
        "Return policy",
        "Items can be returned within seven days of delivery at the buyer's cost.",
    ),
];

async fn fill(store: &dyn Store) {
    for (title, text) in TOPICS {
        let document = Document {
            id: DocumentId::new(),
            source: format!("kb/{title}.md"),
            title: title.to_owned(),
            format: DocumentFormat::Markdown,
            sha256: String::new(),
            text: text.to_owned(),
            imported_at: clock().now(),
            scope: crate::domain::Scope::default(),
        };
        let passage = Passage {
            id: PassageId::new(),
            document_id: document.id,
            ordinal: 0,
            title_path: vec![title.to_owned()],
            text: text.to_owned(),
            page: None,
            start: 0,
            end: text.len(),
        };
        store.put_document(&document, &[passage]).await.unwrap();
    }
    store
        .put_faqs(
            &[
                faq("loss", "信用卡丢了怎么办", &["卡丢失如何挂失"]),
                faq("limit", "转账限额是多少", &[]),
            ],
            "",
        )
        .await
        .unwrap();
}

pub(super) fn faq(key: &str, question: &str, variants: &[&str]) -> Faq {
    Faq {
        id: FaqId::new(),
        key: key.to_owned(),
        question: question.to_owned(),
        variants: variants.iter().map(|text| (*text).to_owned()).collect(),
        answer: "请致电客服热线。".to_owned(),
        category: String::new(),
        source: "kb/faq.csv".to_owned(),
        imported_at: clock().now(),
        scope: crate::domain::Scope::default(),
    }
}

pub(super) async fn open(store: &Arc<dyn Store>, model: &str, directory: &Path) -> Retriever {
    Retriever::open(
        store.clone(),
        HashEmbedder::new(model),
        directory.join("index"),
        config(),
    )
    .await
    .unwrap()
}

pub(super) fn anybody() -> Viewer {
    Viewer::anybody(clock().now())
}

pub(super) fn query(text: &str, mode: SearchMode) -> Query {
    Query {
        text: text.to_owned(),
        mode,
        top_k: 3,
        faq_top_k: 2,
        viewer: anybody(),
    }
}

type Damage = fn(&mut Vec<u8>);

/// Everything a search gives but its times.
async fn results(retriever: &Retriever) -> Vec<String> {
    let mut results = Vec::new();
    for text in [
        "信用卡丢了",
        "年费多少",
        "运费谁承担",
        "returned items",
        "转账限额",
        "天气",
    ] {
        for mode in [SearchMode::Hybrid, SearchMode::Dense, SearchMode::Lexical] {
            let found = retriever.search(&query(text, mode)).await.unwrap();
            results.push(format!("{:?} {:?}", found.hits, found.faqs));
        }
    }
    results
}

#[tokio::test]
async fn each_mode_finds_with_its_own_scores() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    fill(store.as_ref()).await;
    let retriever = open(&store, "a", directory.path()).await;
    let title = |hit: &Hit| match &hit.source {
        Source::Passage(passage) => passage.title(),
        Source::Faq(faq) => faq.question.clone(),
    };
    for mode in [SearchMode::Hybrid, SearchMode::Dense, SearchMode::Lexical] {
        let found = retriever.search(&query("金卡年费要多少", mode)).await.unwrap();
        assert_eq!(title(&found.hits[0]), "信用卡年费", "{mode:?}");
        assert_eq!(found.hits.len().min(3), found.hits.len());
        let scores = found.hits[0].scores;
        assert_eq!(scores.dense.is_some(), mode != SearchMode::Lexical);
        assert_eq!(scores.lexical.is_some(), mode != SearchMode::Dense);
        assert!(scores.coverage > 0.6 && scores.fused > 0.9, "{scores:?}");
        assert_eq!(found.kb_version, store.kb_version().await.unwrap());
    }
    let partly = retriever
        .search(&query("年费能用外星货币缴纳吗", SearchMode::Hybrid))
        .await
        .unwrap();
    assert!(partly.hits[0].scores.coverage < 0.6);
    assert!(
        retriever
            .search(&query(" 　\u{200b}", SearchMode::Hybrid))
            .await
            .unwrap()
            .hits
            .is_empty()
    );
}

#[tokio::test]
async fn faqs_are_found_by_meaning_by_words_and_exactly() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    fill(store.as_ref()).await;
    let retriever = open(&store, "a", directory.path()).await;
    let near = retriever
        .search(&query("信用卡丢失了怎么挂失", SearchMode::Hybrid))
        .await
        .unwrap();
    assert_eq!((near.faqs[0].faq.key.as_str(), near.faqs[0].exact), ("loss", false));
    assert!(near.faqs[0].similarity > near.faqs[1].similarity && near.faqs[0].overlap > near.faqs[1].overlap);
    let words = retriever.search(&query("丢失挂失", SearchMode::Lexical)).await.unwrap();
    assert_eq!((words.faqs[0].faq.key.as_str(), words.faqs[0].wording), ("loss", 1));

    let asked = "您好，请问 卡丢失如何挂失？谢谢";
    let (exact, version) = retriever.exact_faq(asked, &anybody()).unwrap();
    assert_eq!(version, retriever.status().kb_version);
    assert_eq!((exact.faq.key.as_str(), exact.wording, exact.exact), ("loss", 1, true));
    let found = retriever.search(&query(asked, SearchMode::Hybrid)).await.unwrap();
    assert_eq!(found.faqs[0], exact);
    assert_eq!(found.faqs.iter().filter(|hit| hit.faq.key == "loss").count(), 1);
    assert!(retriever.exact_faq("卡丢失如何", &anybody()).is_none());
}

#[tokio::test]
async fn the_same_question_is_embedded_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    fill(store.as_ref()).await;
    let embedder = HashEmbedder::new("a");
    let retriever = Retriever::open(store, embedder.clone(), directory.path().join("index"), config())
        .await
        .unwrap();
    let before = embedder.count();
    for text in ["年费多少", " 年费多少 ", "年费\u{200b}多少"] {
        retriever.search(&query(text, SearchMode::Hybrid)).await.unwrap();
    }
    assert_eq!(embedder.count(), before + 1);
    let long = "年费 ".repeat(5_000);
    assert!(
        !retriever
            .search(&query(&long, SearchMode::Hybrid))
            .await
            .unwrap()
            .hits
            .is_empty()
    );
}

#[tokio::test]
async fn changes_are_followed_and_removed_text_is_not_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    let retriever = open(&store, "a", directory.path()).await;
    assert_eq!(retriever.status().passages, 0);
    assert!(
        retriever
            .search(&query("年费", SearchMode::Hybrid))
            .await
            .unwrap()
            .hits
            .is_empty()
    );
    fill(store.as_ref()).await;
    assert!(retriever.refresh().await.unwrap());
    assert!(!retriever.refresh().await.unwrap());
    let status = retriever.status();
    assert_eq!(
        (status.passages, status.faq_wordings, status.from_snapshot),
        (6, 3, false)
    );

    let fees = store.document_by_source("kb/信用卡年费.md").await.unwrap().unwrap().id;
    store.remove_document(fees).await.unwrap();
    for refreshed in [false, true] {
        if refreshed {
            assert!(retriever.refresh().await.unwrap());
        }
        let found = retriever
            .search(&query("信用卡年费", SearchMode::Hybrid))
            .await
            .unwrap();
        let quoted = found
            .hits
            .iter()
            .any(|hit| matches!(&hit.source, Source::Passage(p) if p.document_id == fees));
        assert!(!quoted && found.hits.len() == 3, "refreshed: {refreshed}");
    }
}

#[tokio::test]
async fn a_sound_snapshot_is_used_and_any_other_is_rebuilt() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    fill(store.as_ref()).await;
    let built = open(&store, "a", directory.path()).await;
    assert!(!built.status().from_snapshot);
    let expected = results(&built).await;
    let loaded = open(&store, "a", directory.path()).await;
    assert!(loaded.status().from_snapshot);
    assert_eq!(results(&loaded).await, expected);

    let files = || {
        let snapshot = std::fs::read_dir(directory.path().join("index"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let mut files: Vec<PathBuf> = std::fs::read_dir(&snapshot)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        // The lexical index names its files at random, but not their endings.
        files.sort_by_key(|file| {
            (
                file.extension().map(ToOwned::to_owned),
                file.file_name().map(ToOwned::to_owned),
            )
        });
        files
    };
    let damages: [(&str, Damage); 5] = [
        ("flipped at the start", |bytes| bytes[0] ^= 1),
        ("flipped in the middle", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
        }),
        ("cut off", |bytes| bytes.truncate(bytes.len() - 1)),
        ("zeroed", |bytes| bytes.fill(0)),
        ("longer", |bytes| bytes.push(b'\n')),
    ];
    let count = files().len();
    assert!(count > 6, "{count}");
    for number in 0..count {
        for (what, damage) in damages {
            let file = files()[number].clone();
            let mut bytes = std::fs::read(&file).unwrap();
            assert!(!bytes.is_empty());
            damage(&mut bytes);
            std::fs::write(&file, bytes).unwrap();
            let rebuilt = open(&store, "a", directory.path()).await;
            assert!(!rebuilt.status().from_snapshot, "{} {what}", file.display());
            assert_eq!(results(&rebuilt).await, expected, "{} {what}", file.display());
        }
    }
    std::fs::remove_file(&files()[0]).unwrap();
    assert!(!open(&store, "a", directory.path()).await.status().from_snapshot);
    std::fs::remove_dir_all(directory.path().join("index")).unwrap();
    assert_eq!(results(&open(&store, "a", directory.path()).await).await, expected);
}

#[tokio::test]
async fn a_snapshot_of_another_model_version_or_database_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let first = store(&directory.path().join("one")).await;
    fill(first.as_ref()).await;
    let index = directory.path();
    open(&first, "a", index).await;
    assert!(!open(&first, "b", index).await.status().from_snapshot);
    assert!(open(&first, "b", index).await.status().from_snapshot);
    // The other model's was removed.
    assert_eq!(std::fs::read_dir(index.join("index")).unwrap().count(), 1);

    // What changed since is followed.
    first.put_faqs(&[faq("new", "怎么开发票", &[])], "").await.unwrap();
    let followed = open(&first, "b", index).await;
    let status = followed.status();
    assert_eq!(
        (status.from_snapshot, status.delta_rows, status.faq_wordings),
        (true, 1, 4)
    );
    assert_eq!(status.kb_version, first.kb_version().await.unwrap());
    assert!(followed.exact_faq("怎么开发票", &anybody()).is_some());

    // The same number of changes, in another database: before, at and after the version of the snapshot.
    let second = store(&directory.path().join("two")).await;
    assert!(!open(&second, "b", index).await.status().from_snapshot);
    open(&first, "b", index).await;
    fill(second.as_ref()).await;
    assert!(!open(&second, "b", index).await.status().from_snapshot);
    open(&first, "b", index).await;
    second.put_faqs(&[faq("new", "怎么开发票", &[])], "").await.unwrap();
    assert_eq!(first.kb_version().await.unwrap(), second.kb_version().await.unwrap());
    assert!(!open(&second, "b", index).await.status().from_snapshot);
}

#[tokio::test]
async fn an_index_that_cannot_be_saved_still_serves() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    fill(store.as_ref()).await;
    std::fs::write(directory.path().join("index"), "a file where a directory should be").unwrap();
    let retriever = open(&store, "a", directory.path()).await;
    assert!(
        !retriever
            .search(&query("年费", SearchMode::Hybrid))
            .await
            .unwrap()
            .hits
            .is_empty()
    );
}

#[tokio::test]
async fn the_graph_takes_over_when_it_is_built() {
    let directory = tempfile::tempdir().unwrap();
    let store = store(directory.path()).await;
    fill(store.as_ref()).await;
    let exact = open(&store, "a", directory.path()).await;
    let graph = Retriever::open_with(
        store.clone(),
        HashEmbedder::new("a"),
        directory.path().join("index"),
        config(),
        Tuning {
            exact_vectors: 2,
            ..Tuning::default()
        },
    )
    .await
    .unwrap();
    while !graph.status().graph || graph.0.current().layers[0].layer.wordings.graph.get().is_none() {
        tokio::task::yield_now().await;
    }
    for text in ["信用卡丢了", "年费多少"] {
        let query = query(text, SearchMode::Hybrid);
        let (a, b) = (exact.search(&query).await.unwrap(), graph.search(&query).await.unwrap());
        let sources = |found: &Found| found.hits.iter().map(|hit| hit.source.clone()).collect::<Vec<_>>();
        assert_eq!(sources(&a), sources(&b));
        assert_eq!(a.faqs[0].faq, b.faqs[0].faq);
    }
}
