use super::*;
use crate::retrieval::testing::{HashEmbedder, clock, config, store};
use crate::storage::PageRequest;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

struct Bench {
    directory: tempfile::TempDir,
    store: Arc<dyn Store>,
    embedder: Arc<HashEmbedder>,
    config: RetrievalConfig,
}

impl Bench {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory.path().join("data")).await;
        std::fs::create_dir_all(directory.path().join("kb/docs")).unwrap();
        Self {
            directory,
            store,
            embedder: HashEmbedder::new("a"),
            config: config(),
        }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.directory.path().join("kb").join(name), content).unwrap();
    }

    async fn try_import(&self, cancel: &CancellationToken) -> Result<ImportReport, RetrievalError> {
        Ingester::new(self.store.clone(), self.embedder.clone(), clock(), self.config.clone())
            .import(&[self.directory.path().join("kb")], &(), cancel)
            .await
    }

    async fn import(&self) -> ImportReport {
        self.try_import(&CancellationToken::new()).await.unwrap()
    }
}

fn outcome<'a>(report: &'a ImportReport, source: &str) -> &'a FileOutcome {
    &report.files.iter().find(|file| file.source == source).unwrap().outcome
}

#[tokio::test]
async fn every_file_stands_for_itself() {
    let bench = Bench::new().await;
    bench.write("docs/fees.md", "# 年费\n\n金卡 200 元。\n");
    bench.write(
        "docs/gbk.txt",
        &encoding_rs::GBK
            .encode("挂失办法\n\n请致电客服热线办理挂失，挂失后原卡失效。")
            .0,
    );
    bench.write("docs/noise.txt", (0..=255_u8).cycle().take(4096).collect::<Vec<_>>());
    bench.write("docs/photo.webp", "RIFF");
    bench.write("docs/empty.html", "<html></html>");
    bench.write("faq.csv", "question,answer\n怎么挂失,致电 95500\n,没有问题\n");
    bench.write(
        "faq.jsonl",
        "{\"id\":\"a\",\"q\":\"年费多少\",\"a\":\"200 元\"}\n{\"id\":\"a\",\"q\":\"x\",\"a\":\"y\"}\n",
    );
    bench.write("questions.jsonl", "{\"question\":\"年费？\",\"answerable\":true}\n");
    let report = bench.import().await;
    assert_eq!(report.files.len(), 8);
    assert_eq!(outcome(&report, "kb/docs/fees.md"), &FileOutcome::Added { passages: 1 });
    assert_eq!(outcome(&report, "kb/docs/gbk.txt"), &FileOutcome::Added { passages: 1 });
    assert_eq!(outcome(&report, "kb/questions.jsonl"), &FileOutcome::Skipped);
    for (source, says) in [
        ("kb/docs/noise.txt", "not a text document"),
        ("kb/docs/photo.webp", "\"webp\""),
        ("kb/docs/empty.html", "no text"),
    ] {
        let FileOutcome::Failed { error } = outcome(&report, source) else {
            panic!("{source}")
        };
        assert!(error.contains(says), "{error}");
    }
    let FileOutcome::Faqs {
        read: 1,
        changed: 1,
        errors,
        faults: 1,
    } = outcome(&report, "kb/faq.csv")
    else {
        panic!()
    };
    assert_eq!(errors[0].line, 3);
    let FileOutcome::Faqs {
        read: 1,
        changed: 1,
        errors,
        faults: 1,
    } = outcome(&report, "kb/faq.jsonl")
    else {
        panic!()
    };
    assert_eq!(
        (errors[0].line, errors[0].detail.as_str()),
        (2, "the same id as in line 1")
    );
    assert_eq!(report.failures(), 5);
    let document = bench
        .store
        .document_by_source("kb/docs/gbk.txt")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(document.title, "挂失办法");
    assert_eq!(bench.store.knowledge_counts().await.unwrap().faqs, 2);
}

#[tokio::test]
async fn the_same_again_changes_and_embeds_nothing() {
    let bench = Bench::new().await;
    bench.write("docs/a.md", "# 甲\n\n正文一。\n");
    bench.write(
        "faq.csv",
        "id,question,variants,answer\n1,怎么挂失,卡丢了|如何挂失,致电 95500\n",
    );
    let first = bench.import().await;
    // The passage is so short that it is its own only segment: one vector serves both.
    assert_eq!(first.embedded, Embedded { computed: 5, reused: 1 });
    let (version, count) = (bench.store.kb_version().await.unwrap(), bench.embedder.count());
    let again = bench.import().await;
    assert_eq!(again.files[0].outcome, FileOutcome::Unchanged);
    assert!(matches!(
        again.files[1].outcome,
        FileOutcome::Faqs {
            read: 1,
            changed: 0,
            ..
        }
    ));
    assert_eq!(bench.store.kb_version().await.unwrap(), version);
    assert_eq!(bench.embedder.count(), count);
}

#[tokio::test]
async fn a_changed_document_keeps_its_id_and_embeds_what_changed() {
    let bench = Bench::new().await;
    let section = |name: &str, word: &str| format!("## {name}\n\n{}\n\n", format!("{word}说明文字若干。").repeat(20));
    bench.write(
        "docs/a.md",
        format!("# 书\n\n{}{}", section("一", "退货"), section("二", "换货")),
    );
    bench.import().await;
    let before = bench.store.document_by_source("kb/docs/a.md").await.unwrap().unwrap();
    let count = bench.embedder.count();
    bench.write(
        "docs/a.md",
        format!("# 书\n\n{}{}", section("一", "退货"), section("二", "维修")),
    );
    let report = bench.import().await;
    assert!(matches!(report.files[0].outcome, FileOutcome::Updated { passages } if passages >= 2));
    assert!(report.embedded.reused >= 1, "{:?}", report.embedded);
    assert_eq!(bench.embedder.count() - count, report.embedded.computed);
    let after = bench.store.document_by_source("kb/docs/a.md").await.unwrap().unwrap();
    assert_eq!(before.id, after.id);
    let passages = bench.store.document_passages(after.id).await.unwrap();
    let text = bench.store.document(after.id).await.unwrap().unwrap().text;
    assert!(
        passages
            .iter()
            .all(|passage| passage.text == text[passage.start..passage.end])
    );
}

#[tokio::test]
async fn an_interrupted_import_goes_on_without_embedding_again() {
    let bench = Bench::new().await;
    let sections: String = (0..60)
        .map(|n| {
            let sentences = (0..25)
                .map(|m| format!("内容{n}之{m}号说明。"))
                .collect::<Vec<_>>()
                .concat();
            format!("## 第{n}节\n\n{sentences}\n\n")
        })
        .collect::<Vec<_>>()
        .concat();
    bench.write("docs/long.md", format!("# 长文\n\n{sections}"));
    bench.embedder.stops_after.store(40, Ordering::SeqCst);
    let stopped = bench.try_import(&CancellationToken::new()).await;
    assert!(matches!(stopped, Err(RetrievalError::Inference(_))));
    assert_eq!(bench.store.knowledge_counts().await.unwrap().documents, 0);
    bench.embedder.stops_after.store(usize::MAX, Ordering::SeqCst);
    let report = bench.import().await;
    assert_eq!(report.embedded.reused, 48);
    assert!(report.embedded.computed >= 10);
}

#[tokio::test]
async fn a_cancelled_import_says_so_and_keeps_what_is_done() {
    struct CancelAfterFirst(CancellationToken, Mutex<Vec<String>>);
    impl ImportProgress for CancelAfterFirst {
        fn file_done(&self, report: &FileReport) {
            self.1.lock().unwrap().push(report.source.clone());
            self.0.cancel();
        }
    }
    let bench = Bench::new().await;
    bench.write("docs/a.md", "甲");
    bench.write("docs/b.md", "乙");
    let progress = CancelAfterFirst(CancellationToken::new(), Mutex::default());
    let report = Ingester::new(
        bench.store.clone(),
        bench.embedder.clone(),
        clock(),
        bench.config.clone(),
    )
    .import(&[bench.directory.path().join("kb")], &progress, &progress.0)
    .await
    .unwrap();
    assert!(report.cancelled);
    assert_eq!(*progress.1.lock().unwrap(), ["kb/docs/a.md"]);
    let documents = bench.store.documents(&PageRequest::first(9)).await.unwrap().items;
    assert_eq!(documents.len(), 1);
}

#[tokio::test]
async fn files_over_the_limit_and_long_answers() {
    let mut bench = Bench::new().await;
    bench.config.max_file_bytes = 20_000;
    bench.write("docs/large.txt", "字".repeat(7_000));
    let faq = serde_json::json!({"question": "章程全文", "answer": "本章程规定如下。".repeat(500)});
    bench.write("long.jsonl", faq.to_string());
    let report = bench.import().await;
    let FileOutcome::Failed { error } = outcome(&report, "kb/docs/large.txt") else {
        panic!()
    };
    assert!(error.contains("max_file_bytes"), "{error}");
    assert!(matches!(
        outcome(&report, "kb/long.jsonl"),
        FileOutcome::Faqs { changed: 1, .. }
    ));
    let missing = bench.directory.path().join("none");
    let ingester = Ingester::new(
        bench.store.clone(),
        bench.embedder.clone(),
        clock(),
        bench.config.clone(),
    );
    let error = ingester
        .import(&[missing], &(), &CancellationToken::new())
        .await
        .unwrap_err();
    assert!(matches!(error, RetrievalError::Io { .. }));
}
