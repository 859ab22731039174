//! The SQLite file under crashes, a full disk and another process: the other process is this binary, started again for
//! one ignored test.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use super::store_contract::document;
use super::store_sqlite::{error_of, file, open, whole};
use kefu::domain::DocumentId;
use kefu::storage::{KnowledgeStore, PageRequest, SqliteStore, StorageError, Store};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tokio::signal::unix::SignalKind;

/// Where a child process finds its data directory.
const CHILD_DIR: &str = "KEFU_TEST_STORE_DIR";

/// The signal of a write beyond the limit on file sizes. With a handler for it the write fails with EFBIG.
const SIGXFSZ: i32 = 25;

/// Starts this binary again to run only the ignored test `name` on `directory`; `limit_kib` limits the size of files.
fn child(name: &str, directory: &Path, limit_kib: Option<u32>) -> Child {
    let mut command = Command::new("sh");
    let limit = limit_kib.map_or(String::new(), |kib| format!("ulimit -S -f {};", kib * 2));
    command
        .arg("-c")
        .arg(format!("{limit} exec \"$0\" \"$@\""))
        .arg(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("store_crash::{name}"), "--ignored", "--nocapture"]);
    command
        .env(CHILD_DIR, directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// The directory of a child; `None` when the test is run by hand.
fn child_directory() -> Option<PathBuf> {
    std::env::var_os(CHILD_DIR).map(PathBuf::from)
}

/// Tells the parent; in one write, so that a line is there whole or not at all.
fn tell(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// What generation `generation` of a document says: its size differs from one to the next.
fn generation_lines(generation: u64) -> Vec<String> {
    let count = 20 + generation * 7 % 40;
    (0..count)
        .map(|line| format!("generation {generation} line {line} {}", "文字".repeat(100)))
        .collect()
}

#[tokio::test]
#[ignore = "the child of `a_killed_process_loses_nothing_acknowledged` and `two_processes_take_turns`"]
async fn child_writes_without_end() {
    let Some(directory) = child_directory() else { return };
    let store = open(&directory).await.unwrap();
    let first = store.kb_version().await.unwrap().0;
    // New documents, and every other time a new content for one that is there.
    for generation in first.. {
        let source = format!("kb/{}-{}.md", std::process::id() % 7, generation / 2 % 40);
        let (mut document, mut passages) = document(&source, &generation_lines(generation));
        if let Some(present) = store.document_by_source(&source).await.unwrap() {
            document.id = present.id;
            for passage in &mut passages {
                passage.document_id = present.id;
            }
        }
        let version = store.put_document(&document, &passages).await.unwrap();
        tell(&format!("ack {} {generation} {version}", document.id));
    }
}

fn acknowledged(line: &str) -> Option<(DocumentId, u64, u64)> {
    let mut words = line.strip_prefix("ack ")?.split(' ');
    Some((
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
    ))
}

/// Every document has exactly the passages of its own text; the generation of each.
async fn generations(store: &SqliteStore) -> HashMap<DocumentId, u64> {
    let mut found = HashMap::new();
    for summary in store.documents(&PageRequest::first(1000)).await.unwrap().items {
        let document = store.document(summary.id).await.unwrap().unwrap();
        let generation = document.text.split(' ').nth(1).unwrap().parse().unwrap();
        let texts: Vec<_> = store
            .document_passages(summary.id)
            .await
            .unwrap()
            .into_iter()
            .map(|passage| passage.text)
            .collect();
        assert!(
            texts == generation_lines(generation),
            "document {} is half there",
            summary.source
        );
        found.insert(summary.id, generation);
    }
    found
}

#[tokio::test]
async fn a_killed_process_loses_nothing_acknowledged() {
    const ROUNDS: u64 = 24;
    let directory = tempfile::tempdir().unwrap();
    let (mut last, mut promised) = (0, HashMap::new());
    for round in 0..ROUNDS {
        let mut child = child("child_writes_without_end", directory.path(), None);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut keep = |line: std::io::Result<String>| {
            let line = line.unwrap();
            if let Some((id, generation, version)) = acknowledged(&line) {
                promised.insert(id, generation);
                last = last.max(version);
                return true;
            }
            assert!(!line.contains("panicked"), "{line}");
            false
        };
        // The first rounds end during the creation of the database or soon after; later ones anywhere in a change.
        let mut wanted = round * 5 % 17;
        while wanted > 0 {
            let line = lines.next().expect("the child writes until it is killed");
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

        let store = open(directory.path()).await.unwrap();
        let version = store.kb_version().await.unwrap().0;
        assert!(
            version >= last && version <= last + 1,
            "{last} acknowledged, {version} stored"
        );
        let found = generations(&store).await;
        for (id, generation) in &promised {
            assert!(
                found.get(id) >= Some(generation),
                "round {round}: document {id} of generation {generation}"
            );
        }
        store.close().await;
        whole(directory.path()).await;
    }
    assert!(last > 100, "only {last} changes were made: the test tests little");
}

#[tokio::test]
async fn a_process_killed_while_it_creates_the_file_leaves_one_that_opens() {
    for round in 0..12_u32 {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("data");
        let mut child = child("child_writes_without_end", &directory, None);
        // From the first sign of a file through the creation of the schema.
        while !file(&directory).exists() {
            std::thread::yield_now();
        }
        for _ in 0..round * 300 {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(&directory).await.unwrap();
        generations(&store).await;
        store.close().await;
        whole(&directory).await;
    }
}

#[tokio::test]
async fn two_processes_take_turns() {
    let directory = tempfile::tempdir().unwrap();
    // Both create the database at once.
    let mut child = child("child_writes_without_end", directory.path(), None);
    let store = open(directory.path()).await.unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut theirs = 0;
    for number in 0..40 {
        let (document, passages) = document(&format!("ours/{number}.md"), &generation_lines(number));
        store.put_document(&document, &passages).await.unwrap();
        let line = lines.next().expect("the other process goes on").unwrap();
        assert!(!line.contains("panicked"), "{line}");
        theirs += u64::from(acknowledged(&line).is_some());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(theirs > 10, "the other process wrote {theirs}");
    assert_eq!(
        store
            .documents(&PageRequest::first(1000))
            .await
            .unwrap()
            .items
            .iter()
            .filter(|document| document.source.starts_with("ours/"))
            .count(),
        40
    );
    assert!(store.kb_version().await.unwrap().0 >= 40 + theirs);
    generations(&store).await;
    store.close().await;
    whole(directory.path()).await;
}

#[tokio::test]
#[ignore = "the child of `a_full_disk_stops_writes_only`"]
async fn child_meets_the_limit() {
    let Some(directory) = child_directory() else { return };
    let _signal = tokio::signal::unix::signal(SignalKind::from_raw(SIGXFSZ)).unwrap();
    let store = open(&directory).await.unwrap();
    let (mut stored, mut full) = (Vec::new(), 0);
    // Ten refusals in a row: the first may come from anywhere, the store must stay usable through all.
    for number in 0..10_000 {
        let (document, passages) = document(&format!("kb/{number}.md"), &generation_lines(number));
        match store.put_document(&document, &passages).await {
            Ok(_) => stored.push(document.id),
            Err(StorageError::Full) => full += 1,
            Err(error) => panic!("{error:?}"),
        }
        if full == 10 {
            break;
        }
    }
    assert_eq!(full, 10, "the limit was never met");
    assert!(stored.len() > 3, "{} stored", stored.len());
    assert_eq!(
        generations(&store).await.len(),
        stored.len(),
        "reads go on, refused changes left nothing"
    );
    assert_eq!(store.kb_version().await.unwrap().0, stored.len() as u64);
    store.ping().await.unwrap();

    tell("full");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    for number in 0..20 {
        let (document, passages) = document(&format!("more/{number}.md"), &generation_lines(number));
        store.put_document(&document, &passages).await.unwrap();
    }
    assert_eq!(generations(&store).await.len(), stored.len() + 20);
    store.close().await;
    tell("recovered");
}

#[tokio::test]
async fn a_full_disk_stops_writes_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = child("child_meets_the_limit", directory.path(), Some(1024));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<_> = lines.by_ref().take_while(|line| line != "full").collect();
    let pid = child.id().to_string();
    // Space comes back while the program runs.
    let lifted = Command::new("prlimit")
        .args(["--pid", &pid, "--fsize=unlimited:unlimited"])
        .status();
    assert!(lifted.unwrap().success(), "{said:?}");
    // If the child has ended, what it said tells why.
    let _ = child.stdin.take().unwrap().write_all(b"go on\n");
    let rest: Vec<_> = lines.collect();
    assert!(rest.iter().any(|line| line == "recovered"), "{said:?} {rest:?}");
    assert!(child.wait().unwrap().success());
    whole(directory.path()).await;
}

#[tokio::test]
async fn no_space_at_the_first_start_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = child("child_cannot_create", directory.path(), Some(16));
    let lines: Vec<_> = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .collect();
    assert!(child.wait().unwrap().success(), "{lines:?}");
    assert!(lines.iter().any(|line| line == "full"), "{lines:?}");
    open(directory.path()).await.unwrap().close().await;
    whole(directory.path()).await;
}

#[tokio::test]
#[ignore = "the child of `no_space_at_the_first_start_is_named`"]
async fn child_cannot_create() {
    let Some(directory) = child_directory() else { return };
    let _signal = tokio::signal::unix::signal(SignalKind::from_raw(SIGXFSZ)).unwrap();
    let error = error_of(&directory).await;
    assert!(matches!(error, StorageError::Full), "{error:?}");
    tell("full");
}
