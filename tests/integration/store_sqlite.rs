//! What the SQLite file promises beyond the contract: it keeps everything, and refuses what is damaged or not its own.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use super::store_contract::{at, contract, document, faq};
use kefu::domain::{KbVersion, ManualClock};
use kefu::storage::{KnowledgeStore, PageRequest, SqliteStore, StorageError, Store};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A store whose clock stands still.
pub async fn open(directory: &Path) -> Result<SqliteStore, StorageError> {
    SqliteStore::open(directory, Arc::new(ManualClock::new(at(0)))).await
}

/// The database in that directory.
pub fn file(directory: &Path) -> PathBuf {
    directory.join("kefu.sqlite3")
}

/// A connection of our own, to look at and into the file.
pub async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap()
}

/// Why the directory cannot be opened.
pub async fn error_of(directory: &Path) -> StorageError {
    match open(directory).await {
        Ok(_) => panic!("the store opened: {:?}", fs::metadata(file(directory))),
        Err(error) => error,
    }
}

/// The file is whole, by SQLite's own word.
pub async fn whole(directory: &Path) {
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

/// The table refuses to be changed by hand; where somebody goes around that, the chain shows it.
#[tokio::test]
async fn the_audit_log_shows_what_was_done_to_it() {
    use kefu::storage::{AuditRecord, AuditStore};
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    for n in 0..20 {
        let record = AuditRecord {
            at: at(n),
            actor: "王芳".to_owned(),
            action: "faq.publish".to_owned(),
            object: format!("faq:{n}"),
            detail: serde_json::json!({}),
        };
        store.append_audit(&record).await.unwrap();
    }
    let whole = store.verify_audit().await.unwrap();
    assert_eq!((whole.entries, whole.broken_at), (20, None));
    store.close().await;
    let mut hand = connect(&file(directory.path())).await;
    for refused in [
        "UPDATE audit SET actor = 'x' WHERE seq = 7",
        "DELETE FROM audit WHERE seq = 20",
    ] {
        let error = sqlx::query(refused).execute(&mut hand).await.unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
    for trigger in ["DROP TRIGGER audit_is_not_changed", "DROP TRIGGER audit_is_not_removed"] {
        sqlx::query(trigger).execute(&mut hand).await.unwrap();
    }
    for (change, broken_at) in [
        ("DELETE FROM audit WHERE seq = 20", None),
        ("UPDATE audit SET actor = '李雷' WHERE seq = 7", Some(7)),
        ("DELETE FROM audit WHERE seq = 4", Some(4)),
        ("UPDATE audit SET at = at + 1 WHERE seq = 1", Some(1)),
    ] {
        sqlx::query(change).execute(&mut hand).await.unwrap();
        let store = open(directory.path()).await.unwrap();
        let verdict = store.verify_audit().await.unwrap();
        assert_eq!(verdict.broken_at, broken_at, "{change}");
        // What was cut off at the end is seen by whoever noted the last hash.
        assert_ne!(verdict.head, whole.head);
        store.close().await;
    }
}
