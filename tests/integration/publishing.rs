//! From files to drafts, to what is published, and back to files.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use super::http::doubles::{HashingEmbedder, OverlapReader};
use super::store_sqlite::connect;
use kefu::config::{Config, Overrides, load};
use kefu::dialogue::{Assistant, Confidence};
use kefu::domain::{Clock, Expectation, GoldenId, GoldenQuestion, KbItem, KbVersion, RevisionState, SystemClock};
use kefu::jobs::{PublishError, PublishRequest, Publisher, export};
use kefu::retrieval::{FileOutcome, ImportReport, Ingester, Retriever};
use kefu::storage::{PageRequest, RevisionFilter, SqliteStore, StorageError, Store};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const FEES: &str =
    "---\naudience: vip; staff\nexpires_at: 2030-01-01T00:00:00Z\n---\n# 年费\n\n金卡年费每年 200 元。\n";
const FAQ: &str = "id,question,answer,channel\nloss,卡丢了怎么办,请立即挂失。,web|phone\nfee,年费多少,200 元。,\n";

struct Bench {
    directory: tempfile::TempDir,
    store: Arc<dyn Store>,
    config: Config,
}

impl Bench {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("kb/docs")).unwrap();
        let store = SqliteStore::open(&directory.path().join("data"), Arc::new(SystemClock)).await;
        Self {
            store: Arc::new(store.unwrap()),
            directory,
            config: load(&Overrides::default()).unwrap(),
        }
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.directory.path().join("kb").join(name), content).unwrap();
    }

    async fn import(&self, path: &Path, author: Option<&str>) -> ImportReport {
        let embedder = Arc::new(HashingEmbedder::new());
        let retrieval = self.config.retrieval.clone();
        let mut ingester = Ingester::new(Arc::clone(&self.store), embedder, Arc::new(SystemClock), retrieval);
        if let Some(author) = author {
            ingester = ingester.with_drafts(author);
        }
        let report = ingester
            .import(&[path.to_owned()], &(), &CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(report.failures(), 0, "{report:?}");
        report
    }

    async fn import_kb(&self, author: Option<&str>) -> ImportReport {
        self.import(&self.directory.path().join("kb"), author).await
    }

    async fn open_drafts(&self) -> usize {
        let filter = RevisionFilter {
            states: vec![RevisionState::Draft],
            item: None,
        };
        self.store
            .revisions(&filter, &PageRequest::first(100))
            .await
            .unwrap()
            .items
            .len()
    }

    async fn publisher(&self) -> Publisher {
        let index = self.directory.path().join("index");
        let embedder = Arc::new(HashingEmbedder::new());
        let retrieval = self.config.retrieval.clone();
        let retriever = Retriever::open(Arc::clone(&self.store), embedder, index, retrieval)
            .await
            .unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let (reader, confidence) = (Arc::new(OverlapReader), Confidence::built_in().unwrap());
        let dialogue = self.config.dialogue.clone();
        let assistant = Assistant::new(Arc::new(retriever), reader, None, confidence, dialogue);
        Publisher::new(Arc::clone(&self.store), clock, self.config.knowledge.clone()).with_trial(Arc::new(assistant))
    }
}

fn by(person: &str, force: bool) -> PublishRequest {
    PublishRequest {
        by: person.to_owned(),
        note: String::new(),
        force,
    }
}

#[tokio::test]
async fn an_import_makes_drafts_once() {
    let bench = Bench::new().await;
    bench.write("docs/fees.md", FEES);
    bench.write("faq.csv", FAQ);
    let report = bench.import_kb(Some("ann")).await;
    let drafts: Vec<_> = report.files.iter().flat_map(|file| file.drafts.clone()).collect();
    assert_eq!(
        (drafts.len(), bench.store.kb_version().await.unwrap()),
        (3, KbVersion(0))
    );
    // The same again makes no second drafts.
    let again = bench.import_kb(Some("ann")).await;
    assert!(
        again
            .files
            .iter()
            .any(|file| file.outcome == FileOutcome::Unchanged && file.drafts.len() == 1)
    );
    assert_eq!(bench.open_drafts().await, 3);
    let drafts: Vec<_> = again.files.iter().flat_map(|file| file.drafts.clone()).collect();
    let done = bench
        .publisher()
        .await
        .publish(&drafts, &by("bob", false))
        .await
        .unwrap();
    assert_eq!((done.kb_version, bench.open_drafts().await), (KbVersion(1), 0));
    let document = bench
        .store
        .document_by_source("kb/docs/fees.md")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(document.scope.audiences, ["vip", "staff"]);
    let loss = bench.store.faq_by_key("loss").await.unwrap().unwrap();
    assert_eq!(loss.scope.channels, ["web", "phone"]);

    // A file that says nothing of it keeps the scope that is there.
    bench.write("docs/fees.md", "# 年费\n\n金卡年费每年 300 元。\n");
    bench.write("faq.csv", "id,question,answer\nloss,卡丢了怎么办,请致电挂失。\n");
    bench.import_kb(None).await;
    let changed = bench
        .store
        .document_by_source("kb/docs/fees.md")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((changed.id, &changed.scope), (document.id, &document.scope));
    let loss = bench.store.faq_by_key("loss").await.unwrap().unwrap();
    assert_eq!(
        (loss.answer.as_str(), &loss.scope.channels[..]),
        ("请致电挂失。", &["web".to_owned(), "phone".to_owned()][..])
    );
    // Nothing new, nothing drafted.
    let none = bench.import_kb(Some("ann")).await;
    assert!(none.files.iter().all(|file| file.drafts.is_empty()), "{none:?}");
}

#[tokio::test]
async fn an_export_comes_back_as_it_was() {
    let bench = Bench::new().await;
    bench.write("docs/fees.md", FEES);
    bench.write("docs/plain.txt", "转账限额说明\n\n单笔最高五万元。\n");
    bench.write(
        "docs/page.html",
        "<html><head><title>退货</title></head><body><p>七天内可以退货。</p></body></html>",
    );
    bench.write("faq.csv", FAQ);
    bench.import_kb(None).await;
    // A scope that no file says.
    let plain = bench
        .store
        .document_by_source("kb/docs/plain.txt")
        .await
        .unwrap()
        .unwrap();
    let mut document = bench.store.document(plain.id).await.unwrap().unwrap();
    document.scope.channels = vec!["web".to_owned()];
    let passages = bench.store.document_passages(plain.id).await.unwrap();
    bench.store.put_document(&document, &passages).await.unwrap();

    let out = bench.directory.path().join("out");
    let report = export(bench.store.as_ref(), &out).await.unwrap();
    assert_eq!((report.documents, report.faqs), (3, 2));
    assert_eq!(fs::read_to_string(out.join("kb/docs/fees.md")).unwrap(), FEES);
    assert!(
        export(bench.store.as_ref(), &out).await.is_err(),
        "nothing is written over"
    );

    let other = Bench::new().await;
    other.import(&out, None).await;
    let counts = (
        bench.store.knowledge_counts().await.unwrap(),
        other.store.knowledge_counts().await.unwrap(),
    );
    assert_eq!((counts.0.documents, counts.0.faqs), (counts.1.documents, counts.1.faqs));
    for (source, exported) in [
        ("kb/docs/fees.md", "out/kb/docs/fees.md"),
        ("kb/docs/plain.txt", "out/kb/docs/plain.txt"),
        ("kb/docs/page.html", "out/kb/docs/page.html.txt"),
    ] {
        let before = bench.store.document_by_source(source).await.unwrap().unwrap();
        let after = other.store.document_by_source(exported).await.unwrap().unwrap();
        assert_eq!((before.title, before.scope), (after.title, after.scope), "{source}");
        let texts = async |store: &Arc<dyn Store>, id| {
            let passages = store.document_passages(id).await.unwrap();
            passages.into_iter().map(|passage| passage.text).collect::<Vec<_>>()
        };
        assert_eq!(
            texts(&bench.store, before.id).await,
            texts(&other.store, after.id).await,
            "{source}"
        );
    }
    for key in ["loss", "fee"] {
        let before = bench.store.faq_by_key(key).await.unwrap().unwrap();
        let after = other.store.faq_by_key(key).await.unwrap().unwrap();
        assert_eq!(
            (before.question, before.answer, before.scope),
            (after.question, after.answer, after.scope)
        );
    }
}

#[tokio::test]
async fn golden_questions_stop_what_makes_answers_wrong() {
    let bench = Bench::new().await;
    bench.write("faq.csv", FAQ.replace("web|phone", "").as_str());
    bench.import_kb(None).await;
    let golden = GoldenQuestion {
        id: GoldenId::new(),
        question: "卡丢了怎么办？".to_owned(),
        expect: Expectation {
            faq_key: Some("loss".to_owned()),
            contains: vec!["挂失".to_owned()],
            ..Expectation::default()
        },
        author: "ann".to_owned(),
        created_at: SystemClock.now(),
    };
    bench.store.put_golden(&[golden]).await.unwrap();
    let publisher = bench.publisher().await;
    bench.write("faq.csv", "id,question,answer\nloss,卡丢了怎么办,请耐心等待。\n");
    let drafts = bench.import_kb(Some("ann")).await.files.remove(0).drafts;
    let stopped = publisher.publish(&drafts, &by("bob", false)).await.unwrap_err();
    let PublishError::GoldenWorse(report) = stopped else {
        panic!("{stopped}")
    };
    assert_eq!(
        (
            report.asked,
            report.right_before,
            report.right_after,
            report.worse.len()
        ),
        (1, 1, 0, 1)
    );
    assert_eq!(report.worse[0].before.cited, ["loss"]);
    assert!(report.worse[0].after.answer.contains("耐心等待"));
    assert_eq!(bench.store.kb_version().await.unwrap(), KbVersion(1));

    let forced = publisher.publish(&drafts, &by("bob", true)).await.unwrap();
    assert_eq!((forced.kb_version, forced.golden.worse.len()), (KbVersion(2), 1));
    let note = bench.store.version(KbVersion(2)).await.unwrap().unwrap().note;
    assert!(note.contains("forced: 1"), "{note}");
    // Back: wrong before, right after.
    let back = publisher.rollback(KbVersion(1), &by("bob", false)).await.unwrap();
    assert_eq!((back.golden.right_before, back.golden.right_after), (0, 1));
    // Without models questions cannot be asked, and nothing is published past them.
    let blind = Publisher::new(
        Arc::clone(&bench.store),
        Arc::new(SystemClock),
        bench.config.knowledge.clone(),
    );
    assert!(blind.is_gated().await.unwrap());
    let error = blind.rollback(KbVersion(2), &by("bob", false)).await.unwrap_err();
    assert!(matches!(error, PublishError::NotTried), "{error}");
}

#[tokio::test]
async fn what_was_there_before_revisions_comes_back_too() {
    let bench = Bench::new().await;
    bench.write("docs/fees.md", "# 年费\n\n金卡年费每年 200 元。\n");
    bench.write("faq.csv", "id,question,answer\nfee,年费多少,200 元。\n");
    bench.import_kb(None).await;
    let document = bench
        .store
        .document_by_source("kb/docs/fees.md")
        .await
        .unwrap()
        .unwrap();
    let passages = bench.store.document_passages(document.id).await.unwrap();
    // As an older program left it.
    let mut hand = connect(&bench.directory.path().join("data/kefu.sqlite3")).await;
    let edits = "DELETE FROM revisions; UPDATE kb_changes SET old_revision = NULL, new_revision = NULL";
    sqlx::raw_sql(edits).execute(&mut hand).await.unwrap();
    assert_eq!(
        bench
            .store
            .published_revision(KbItem::Document(document.id))
            .await
            .unwrap(),
        None
    );
    let before = bench.store.kb_version().await.unwrap();

    bench.write("docs/fees.md", "# 年费\n\n金卡年费每年 300 元。\n");
    bench.import_kb(None).await;
    let filter = RevisionFilter {
        states: Vec::new(),
        item: Some(KbItem::Document(document.id)),
    };
    let kept = bench
        .store
        .revisions(&filter, &PageRequest::first(9))
        .await
        .unwrap()
        .items;
    assert_eq!(
        kept.iter().map(|one| (one.number, one.state)).collect::<Vec<_>>(),
        [(2, RevisionState::Published), (1, RevisionState::Retired)]
    );
    let publisher = bench.publisher().await;
    publisher.rollback(before, &by("bob", false)).await.unwrap();
    assert_eq!(bench.store.document_passages(document.id).await.unwrap(), passages);
    let error = publisher.rollback(KbVersion(1), &by("bob", false)).await.unwrap_err();
    assert!(
        matches!(&error, PublishError::Storage(StorageError::UnknownHistory { .. })),
        "{error}"
    );
}
