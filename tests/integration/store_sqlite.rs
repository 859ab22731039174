//! What the SQLite file promises beyond the contract: it survives crashes, a full disk, other processes and other
//! programs' files.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use super::store_contract::{at, contract, document, faq};
use kefu::domain::{DocumentId, KbVersion, ManualClock};
use kefu::storage::{KnowledgeStore, PageRequest, SqliteStore, StorageError, Store};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;

/// Where a child process finds its data directory.
const CHILD_DIR: &str = "KEFU_TEST_STORE_DIR";

async fn open(directory: &Path) -> Result<SqliteStore, StorageError> {
    SqliteStore::open(directory, Arc::new(ManualClock::new(at(0)))).await
}

fn file(directory: &Path) -> PathBuf {
    directory.join("kefu.sqlite3")
}

/// A connection of our own, to look at and into the file.
async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap()
}

async fn error_of(directory: &Path) -> StorageError {
    match open(directory).await {
        Ok(_) => panic!("the store opened: {:?}", fs::metadata(file(directory))),
        Err(error) => error,
    }
}

#[tokio::test]
async fn keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(open(directory.path()).await.unwrap());
    contract(store.clone()).await;
    store.close().await;
    whole(directory.path()).await;
}

#[tokio::test]
async fn only_the_owner_may_read_what_is_created() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("deep/data");
    let store = open(&directory).await.unwrap();
    let (document, passages) = document("a", &["a".to_owned()]);
    store.put_document(&document, &passages).await.unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for name in ["kefu.sqlite3", "kefu.sqlite3-wal", "kefu.sqlite3-shm"] {
        assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
    }
    assert!(store.describe().starts_with("SQLite 3."));
    store.close().await;
    assert!(
        !directory.join("kefu.sqlite3-wal").exists(),
        "a clean end leaves one file"
    );
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    let (document, passages) = document("kb/a.md", &["一".to_owned(), "二".to_owned()]);
    store.put_document(&document, &passages).await.unwrap();
    store.put_faqs(&[faq("k", "v")], "faq").await.unwrap();
    store.put_embeddings("m", &[([1; 32], vec![0.5])]).await.unwrap();
    store.close().await;

    let store = open(directory.path()).await.unwrap();
    assert_eq!(store.kb_version().await.unwrap(), KbVersion(2));
    assert_eq!(store.document(document.id).await.unwrap(), Some(document.clone()));
    assert_eq!(store.document_passages(document.id).await.unwrap(), passages);
    assert_eq!(store.faq_by_key("k").await.unwrap().unwrap().answer, "v");
    assert_eq!(store.embeddings("m", &[[1; 32]]).await.unwrap(), [Some(vec![0.5])]);
    assert_eq!(store.kb_versions(9).await.unwrap()[0].created_at, at(0));
}

#[tokio::test]
async fn a_change_that_is_dropped_midway_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    let lines: Vec<_> = (0..500).map(|line| format!("line {line}")).collect();
    for polls in [1, 2, 5, 20, 100] {
        let (document, passages) = document("kb/dropped.md", &lines);
        let mut change = Box::pin(store.put_document(&document, &passages));
        for _ in 0..polls {
            tokio::select! {
                biased;
                done = &mut change => panic!("stored already: {done:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        drop(change);
        assert_eq!(store.document(document.id).await.unwrap(), None);
        assert_eq!(store.kb_version().await.unwrap(), KbVersion(0));
    }
    let (document, passages) = document("kb/kept.md", &lines);
    assert_eq!(store.put_document(&document, &passages).await.unwrap(), KbVersion(1));
}

#[tokio::test]
async fn rows_that_make_no_sense_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    let (document, passages) = document("a", &["one".to_owned()]);
    store.put_document(&document, &passages).await.unwrap();
    store.put_faqs(&[faq("k", "v")], "faq").await.unwrap();
    store.put_embeddings("m", &[([1; 32], vec![0.5])]).await.unwrap();

    // As a hand or a disk that errs might leave them: past the checks of the schema.
    let mut hand = connect(store.path()).await;
    let edits = "PRAGMA ignore_check_constraints = ON; \
                 UPDATE documents SET format = 'scroll'; UPDATE passages SET title_path = '{'; \
                 UPDATE faqs SET imported_at = 9223372036854775807; UPDATE embeddings SET vector = x'00'";
    sqlx::raw_sql(edits).execute(&mut hand).await.unwrap();
    let table = |error: StorageError| match error {
        StorageError::Corrupt { table, .. } => table,
        other => panic!("{other}"),
    };
    assert_eq!(table(store.document(document.id).await.unwrap_err()), "documents");
    assert_eq!(
        table(store.documents(&PageRequest::first(1)).await.unwrap_err()),
        "documents"
    );
    assert_eq!(
        table(store.document_passages(document.id).await.unwrap_err()),
        "passages"
    );
    assert_eq!(table(store.faq_by_key("k").await.unwrap_err()), "faqs");
    assert_eq!(
        table(store.embeddings("m", &[[1; 32]]).await.unwrap_err()),
        "embeddings"
    );
    sqlx::raw_sql("UPDATE passages SET title_path = '[]', id = x'00'")
        .execute(&mut hand)
        .await
        .unwrap();
    assert_eq!(table(store.passages_after(None, 5).await.unwrap_err()), "passages");
}

#[tokio::test]
async fn garbage_is_refused_and_left_alone() {
    let mut noise = Vec::new();
    let mut state = 1_u64;
    while noise.len() < 10_000_000 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        noise.extend_from_slice(&state.to_be_bytes());
    }
    let mut headed = noise[..100_000].to_vec();
    headed[..16].copy_from_slice(b"SQLite format 3\0");
    for bytes in [
        &noise,
        &headed,
        &b"x".to_vec(),
        &b"SQLite format 3\0".to_vec(),
        &vec![0; 4096],
    ] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(file(directory.path()), bytes).unwrap();
        let error = error_of(directory.path()).await;
        assert!(
            matches!(error, StorageError::Damaged { .. }),
            "{} bytes: {error}",
            bytes.len()
        );
        assert!(fs::read(file(directory.path())).unwrap() == *bytes);
    }
}

#[tokio::test]
async fn another_programs_database_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = file(directory.path());
    for mark in [0, 0x1234] {
        let mut other = connect(&path).await;
        let sql = sqlx::AssertSqlSafe(format!(
            "CREATE TABLE IF NOT EXISTS documents (id INTEGER); PRAGMA application_id = {mark}"
        ));
        sqlx::raw_sql(sql).execute(&mut other).await.unwrap();
        other.close().await.unwrap();
        let before = fs::read(&path).unwrap();
        let error = error_of(directory.path()).await;
        assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("another program"), "{error}");
        assert!(fs::read(&path).unwrap() == before);
    }
}

#[tokio::test]
async fn a_newer_schema_and_an_edited_one_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    open(directory.path()).await.unwrap().close().await;
    let mut hand = connect(&file(directory.path())).await;
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (9000, 'later', TRUE, x'00', 0)";
    sqlx::raw_sql(newer).execute(&mut hand).await.unwrap();
    let error = error_of(directory.path()).await;
    assert!(
        matches!(error, StorageError::Newer { found: 9000, known } if known < 9000),
        "{error}"
    );

    let edited = "DELETE FROM _sqlx_migrations WHERE version = 9000; \
                  UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1";
    sqlx::raw_sql(edited).execute(&mut hand).await.unwrap();
    let error = error_of(directory.path()).await;
    assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    let lines: Vec<_> = (0..300)
        .map(|line| format!("line {line}: {}", "text ".repeat(100)))
        .collect();
    let (document, passages) = document("a", &lines);
    store.put_document(&document, &passages).await.unwrap();
    store.close().await;
    let whole = fs::read(file(directory.path())).unwrap();
    assert!(whole.len() > 300_000);
    for length in [
        1,
        50,
        100,
        512,
        4096,
        5000,
        whole.len() / 2,
        whole.len() - 4096,
        whole.len() - 1,
    ] {
        fs::write(file(directory.path()), &whole[..length]).unwrap();
        let error = error_of(directory.path()).await;
        assert!(matches!(error, StorageError::Damaged { .. }), "{length} bytes: {error}");
    }
}

#[tokio::test]
async fn a_directory_that_cannot_be_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = directory.path().join("taken");
    fs::write(&taken, "").unwrap();
    for path in [taken.clone(), taken.join("below")] {
        let error = error_of(&path).await;
        assert!(matches!(error, StorageError::Io { .. }), "{error}");
        assert!(error.to_string().contains("taken"), "{error}");
    }
}

/// Starts this binary again to run only the ignored test `name` on `directory`; `limit_kib` limits the size of files.
fn child(name: &str, directory: &Path, limit_kib: Option<u32>) -> Child {
    let mut command = Command::new("sh");
    let limit = limit_kib.map_or(String::new(), |kib| format!("ulimit -S -f {};", kib * 2));
    command
        .arg("-c")
        .arg(format!("{limit} exec \"$0\" \"$@\""))
        .arg(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("store_sqlite::{name}"), "--ignored", "--nocapture"]);
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
            passages.iter_mut().for_each(|passage| passage.document_id = present.id);
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

/// The file is whole, by SQLite's own word.
async fn whole(directory: &Path) {
    let mut hand = connect(&file(directory)).await;
    let verdict: String = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_one(&mut hand)
        .await
        .unwrap();
    assert_eq!(verdict, "ok");
    let orphans = sqlx::query("PRAGMA foreign_key_check")
        .fetch_all(&mut hand)
        .await
        .unwrap();
    assert!(orphans.is_empty());
    let settings = sqlx::query("SELECT count(*), coalesce(max(version), 0) FROM kb_versions");
    let versions = settings.fetch_one(&mut hand).await.unwrap();
    assert_eq!(
        versions.get::<i64, _>(0),
        versions.get::<i64, _>(1),
        "no version is missing"
    );
    hand.close().await.unwrap();
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
    // With a handler for the signal the write fails with EFBIG, as it fails with ENOSPC on a full disk.
    let too_long = tokio::signal::unix::SignalKind::from_raw(25);
    let _signal = tokio::signal::unix::signal(too_long).unwrap();
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
    let mut stdin: ChildStdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let said: Vec<_> = lines.by_ref().take_while(|line| line != "full").collect();
    let pid = child.id().to_string();
    // Space comes back while the program runs.
    let lifted = Command::new("prlimit")
        .args(["--pid", &pid, "--fsize=unlimited:unlimited"])
        .status();
    assert!(lifted.unwrap().success(), "{said:?}");
    stdin.write_all(b"go on\n").unwrap();
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
    let _signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(25)).unwrap();
    let error = error_of(&directory).await;
    assert!(matches!(error, StorageError::Full), "{error:?}");
    tell("full");
}
