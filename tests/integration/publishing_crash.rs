//! Imports, edits, publications, rollbacks and index snapshots under kill -9: what was acknowledged is there exactly once, the live tables
//! say what the revisions say, and an index holds what is live. The killed process is this binary, started again for one
//! ignored test.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use super::http::doubles::HashingEmbedder;
use super::store_contract::{document, faq};
use super::store_publishing::{agrees, by, faq_draft, removal};
use super::store_sqlite::{open, whole};
use jiff::Timestamp;
use kefu::config::{Overrides, RetrievalConfig, load};
use kefu::domain::{Content, DocumentContent, Faq, KbItem, KbVersion, RevisionId, Viewer};
use kefu::retrieval::{Query, Retriever, SearchMode, Source};
use kefu::storage::{KnowledgeStore, NewDraft, PageRequest, Publication, RevisionStore, SqliteStore, Store};
use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use uuid::Uuid;

/// Where the child process finds its data directory.
const CHILD_DIR: &str = "KEFU_TEST_PUBLISHING_DIR";

/// Kills. The first come while the database is created, later ones anywhere.
const KILLS: u64 = 100;

/// Documents and FAQs by name: few, so that everything that is live is within one search.
const NAMES: u64 = 5;

fn config() -> RetrievalConfig {
    load(&Overrides::default()).unwrap().retrieval
}

/// Tells the parent; in one write, so that a line is there whole or not at all.
fn tell(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

#[tokio::test]
#[ignore = "the child of `what_is_published_survives_kills`"]
async fn child_publishes_without_end() {
    let Some(directory) = std::env::var_os(CHILD_DIR).map(PathBuf::from) else {
        return;
    };
    let store = Arc::new(open(&directory).await.unwrap());
    let mut index = None;
    let first = store.kb_version().await.unwrap().0;
    for step in first.. {
        let note = format!("step {step} of {}", std::process::id());
        let version = match step % 7 {
            0 | 3 => import(&store, step).await,
            1 => edit(&store, step, &note).await,
            2 | 4 | 5 => publish(&store, step, &note).await,
            _ => rollback(&store, step, &note).await,
        };
        tell(&format!(
            "ack {version} {}",
            if step % 7 == 0 || step % 7 == 3 { "" } else { &note }
        ));
        if step % 5 == 0 {
            // Opening writes a snapshot, or reads the one there is.
            let shared: Arc<dyn Store> = store.clone();
            let opened = Retriever::open(
                shared,
                Arc::new(HashingEmbedder::new()),
                directory.join("index"),
                config(),
            );
            index = Some(opened.await.unwrap());
        } else if let Some(index) = &index {
            index.refresh().await.unwrap();
        }
    }
}

fn texts(step: u64) -> Vec<String> {
    (0..=step % 4)
        .map(|line| format!("第 {line} 条 step {step} 手续费"))
        .collect()
}

async fn import(store: &SqliteStore, step: u64) -> KbVersion {
    let (mut document, mut passages) = document(&format!("kb/{}.md", step % NAMES), &texts(step));
    if let Some(present) = store.document_by_source(&document.source).await.unwrap() {
        document.id = present.id;
        for passage in &mut passages {
            passage.document_id = present.id;
        }
    }
    store.put_document(&document, &passages).await.unwrap()
}

async fn changed_faq(store: &SqliteStore, step: u64) -> Faq {
    let key = format!("faq {}", step % NAMES);
    let present = store.faq_by_key(&key).await.unwrap();
    let new = faq(&key, &format!("step {step}"));
    Faq {
        id: present.map_or(new.id, |present| present.id),
        ..new
    }
}

async fn edit(store: &SqliteStore, step: u64, note: &str) -> KbVersion {
    let faq = changed_faq(store, step).await;
    assert_eq!(store.put_faqs(&[faq], note).await.unwrap(), 1);
    store.kb_version().await.unwrap()
}

/// A document, a FAQ and, now and then, a removal, as one version.
async fn publish(store: &SqliteStore, step: u64, note: &str) -> KbVersion {
    let faq = changed_faq(store, step + 1).await;
    let (mut document, mut passages) = document(&format!("kb/{}.md", (step + 2) % NAMES), &texts(step));
    if let Some(present) = store.document_by_source(&document.source).await.unwrap() {
        document.id = present.id;
        for passage in &mut passages {
            passage.document_id = present.id;
        }
    }
    let mut drafts = vec![
        faq_draft(&faq, "ann"),
        NewDraft {
            content: Some(Content::Document(DocumentContent::of(&document, &passages))),
            ..removal(KbItem::Document(document.id), &document.source, "ann")
        },
    ];
    let doomed = store
        .document_by_source(&format!("kb/{}.md", (step + 4) % NAMES))
        .await
        .unwrap();
    if let Some(doomed) = doomed.filter(|_| step.is_multiple_of(3)) {
        drafts.push(removal(KbItem::Document(doomed.id), &doomed.source, "ann"));
    }
    let added = store.add_drafts(&drafts).await.unwrap();
    store.submit_revision(added[0].id, "ann").await.unwrap();
    let ids: Vec<_> = added.iter().map(|draft| draft.id).collect();
    store.publish(&ids, &noted(note)).await.unwrap()
}

async fn rollback(store: &SqliteStore, step: u64, note: &str) -> KbVersion {
    let to = KbVersion(step.saturating_sub(1 + step % 6).max(1));
    let done = store.rollback(to, &noted(note)).await.unwrap();
    store.prune_revisions(12).await.unwrap();
    done
}

fn noted(note: &str) -> Publication {
    Publication {
        note: note.to_owned(),
        ..by("bob")
    }
}

/// What the parent knows of the knowledge base, by following its versions one by one.
#[derive(Default)]
struct Followed {
    version: u64,
    live: HashMap<KbItem, RevisionId>,
    notes: HashMap<String, u64>,
}

impl Followed {
    /// Reads the new versions: each begins where the one before ended.
    async fn follow(&mut self, store: &SqliteStore) {
        let now = store.kb_version().await.unwrap().0;
        for version in self.version + 1..=now {
            let entry = store
                .version(KbVersion(version))
                .await
                .unwrap()
                .expect("no version is missing");
            *self.notes.entry(entry.note).or_default() += 1;
            let page = store
                .version_changes(KbVersion(version), &PageRequest::first(100))
                .await
                .unwrap();
            assert!(
                !page.items.is_empty() && page.next.is_none(),
                "version {version} changed something"
            );
            for change in page.items {
                let before = self.live.insert(change.item, change.new.unwrap());
                assert_eq!(change.old, before, "version {version} replaces what was live before it");
            }
        }
        self.version = now;
    }

    /// The live tables say what the revisions say, and these are the last of the versions.
    async fn check(&self, store: &SqliteStore) {
        let (mut documents, mut faqs) = (0, 0);
        for (item, id) in &self.live {
            let revision = store.published_revision(*item).await.unwrap().unwrap();
            assert_eq!(revision.summary.id, *id);
            assert!(agrees(store, *item).await, "{item:?}");
            match item {
                KbItem::Document(_) => documents += u64::from(!revision.summary.removes),
                KbItem::Faq(_) => faqs += u64::from(!revision.summary.removes),
            }
        }
        let counts = store.knowledge_counts().await.unwrap();
        assert_eq!(
            (counts.documents, counts.faqs),
            (documents, faqs),
            "nothing else is live"
        );
    }
}

/// Identifiers of all that a search over everything finds.
async fn searched(store: &Arc<SqliteStore>, index: &Path) -> BTreeSet<Uuid> {
    let shared: Arc<dyn Store> = store.clone();
    let embedder = Arc::new(HashingEmbedder::new());
    let retriever = Retriever::open(shared, embedder, index.to_owned(), config())
        .await
        .unwrap();
    retriever.refresh().await.unwrap();
    let query = Query {
        text: "手续费".to_owned(),
        mode: SearchMode::Dense,
        top_k: 100,
        faq_top_k: 1,
        viewer: Viewer::anybody(Timestamp::UNIX_EPOCH),
    };
    let found = retriever.search(&query).await.unwrap();
    let id = |source: &Source| match source {
        Source::Passage(passage) => passage.id.0,
        Source::Faq(faq) => faq.id.0,
    };
    found.hits.iter().map(|hit| id(&hit.source)).collect()
}

/// Identifiers of the live passages and FAQs.
async fn live(store: &SqliteStore) -> BTreeSet<Uuid> {
    let passages = store.passages_after(None, 1000).await.unwrap();
    let faqs = store.faq_page(&PageRequest::first(1000)).await.unwrap().items;
    let passages = passages.iter().map(|passage| passage.id.0);
    passages.chain(faqs.iter().map(|faq| faq.id.0)).collect()
}

#[tokio::test]
async fn what_is_published_survives_kills() {
    let directory = tempfile::tempdir().unwrap();
    let mut followed = Followed::default();
    let (mut last, mut acknowledged) = (0, 0_u64);
    for round in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "publishing_crash::child_publishes_without_end",
                "--ignored",
                "--nocapture",
            ])
            .env(CHILD_DIR, directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut notes = Vec::new();
        let mut keep = |line: std::io::Result<String>| {
            let line = line.unwrap();
            assert!(!line.contains("panicked"), "{line}");
            let Some((version, note)) = line.strip_prefix("ack ").and_then(|rest| rest.split_once(' ')) else {
                return false;
            };
            last = last.max(version.parse().unwrap());
            notes.push(note.to_owned());
            true
        };
        let mut wanted = round * 5 % 11;
        while wanted > 0 {
            let line = lines.next().expect("the child works until it is killed");
            wanted -= u64::from(keep(line));
        }
        for _ in 0..round * 7919 % 4000 {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        lines.for_each(|line| {
            keep(line);
        });

        let store = Arc::new(open(directory.path()).await.unwrap());
        followed.follow(&store).await;
        assert!(
            (last..=last + 1).contains(&followed.version),
            "round {round}: {last} acknowledged, {} stored",
            followed.version
        );
        acknowledged += notes.len() as u64;
        for note in notes.iter().filter(|note| !note.is_empty()) {
            let times: u64 = followed
                .notes
                .iter()
                .filter(|(told, _)| *told == note || told.ends_with(&format!(": {note}")))
                .map(|(_, times)| times)
                .sum();
            // A rollback to where everything is as it was makes no version.
            let nothing = note
                .strip_prefix("step ")
                .and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok())
                .is_some_and(|step| step % 7 == 6);
            assert!(
                times == 1 || (nothing && times == 0),
                "round {round}: {note:?} is there {times} times"
            );
        }
        followed.check(&store).await;
        let wanted = live(&store).await;
        assert_eq!(
            searched(&store, &directory.path().join("index")).await,
            wanted,
            "round {round}: what the child left"
        );
        if round % 10 == 0 {
            let fresh = tempfile::tempdir().unwrap();
            assert_eq!(
                searched(&store, fresh.path()).await,
                wanted,
                "round {round}: built anew"
            );
        }
        store.close().await;
        whole(directory.path()).await;
    }
    assert!(
        acknowledged > 300,
        "only {acknowledged} changes were made: the test tests little"
    );
    assert!(followed.version > 250);
}
