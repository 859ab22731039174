//! The adapter for several nodes, on a server of the tests' own.

use super::postgres::{PATIENCE, Postgres, shared};
use super::store_contract::{at, contract, document, faq};
use futures::future::join_all;
use kefu::domain::{
    Channel, Conversation, ConversationId, ConversationStatus, Hidden, KbVersion, Message, MessageId, Role, StaffRole,
    UserId,
};
use kefu::storage::{
    AuditRecord, AuditStore, ConversationStore, Job, KnowledgeStore, PageRequest, PostgresStore, SessionStore,
    StorageError, Store, User, UserStore,
};
use sqlx::{Connection, Executor};
use std::sync::Arc;
use std::time::Duration;

/// Two nodes on an empty database.
async fn nodes() -> (PostgresStore, PostgresStore, String) {
    let server = shared().await;
    let database = server.database("").await;
    // Both make the schema; one waits for the other.
    let (one, two) = tokio::join!(server.open(&database), server.open(&database));
    (one.unwrap(), two.unwrap(), database)
}

async fn error_of(database: &str) -> StorageError {
    match shared().await.open(database).await {
        Err(error) => error,
        Ok(_) => panic!("it was opened"),
    }
}

fn conversation() -> Conversation {
    Conversation {
        id: ConversationId::new(),
        channel: Channel::Web,
        status: ConversationStatus::Open,
        token_sha256: "ab".repeat(32),
        created_at: at(0),
        updated_at: at(0),
    }
}

fn message(conversation: ConversationId, text: &str) -> Message {
    Message {
        id: MessageId::new(),
        conversation_id: conversation,
        role: Role::Visitor,
        text: text.to_owned(),
        route: None,
        confidence: None,
        citations: Vec::new(),
        kb_version: None,
        model: None,
        total_ms: None,
        stopped: false,
        rating: None,
        created_at: at(1),
    }
}

fn record(number: usize) -> AuditRecord {
    AuditRecord {
        at: at(0),
        actor: "li".to_owned(),
        action: "test".to_owned(),
        object: format!("object:{number}"),
        detail: serde_json::json!({ "number": number }),
    }
}

fn user(name: &str) -> User {
    User {
        id: UserId::new(),
        name: name.to_owned(),
        display_name: name.to_owned(),
        role: StaffRole::Admin,
        password_hash: Hidden("$argon2id$".to_owned()),
        totp_secret: None,
        created_at: at(0),
        disabled_at: None,
        password_changed_at: at(0),
        must_change: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let server = shared().await;
    // The order of texts is ours, whatever the language of the database.
    let database = server.database("LOCALE_PROVIDER icu ICU_LOCALE 'zh'").await;
    let store = Arc::new(server.open(&database).await.unwrap());
    contract(store.clone()).await;
    assert!(store.describe().starts_with("PostgreSQL 1"));
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_stores_the_other_reads_and_a_restart_keeps() {
    let (one, two, database) = nodes().await;
    let (document, passages) = document("kb/a.md", &["一".to_owned(), "二".to_owned()]);
    one.put_document(&document, &passages).await.unwrap();
    two.put_faqs(&[faq("k", "v")], "faq").await.unwrap();
    assert_eq!(two.document(document.id).await.unwrap(), Some(document.clone()));
    one.close().await;
    two.close().await;
    let store = shared().await.open(&database).await.unwrap();
    assert_eq!(store.kb_version().await.unwrap(), KbVersion(2));
    assert_eq!(store.document_passages(document.id).await.unwrap(), passages);
    assert_eq!(store.faq_by_key("k").await.unwrap().unwrap().answer, "v");
    assert_eq!(store.kb_versions(9).await.unwrap()[0].created_at, at(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_lines_of_the_log_follow_each_other_over_nodes() {
    let (one, two, _) = nodes().await;
    let work = (0..40).map(|number| {
        let store = if number % 2 == 0 { &one } else { &two };
        async move {
            let (document, passages) = document(&format!("kb/{number}.md"), &["x".to_owned()]);
            let version = loop {
                // On a slow machine who waits too long is told to try again.
                match store.put_document(&document, &passages).await {
                    Err(StorageError::Busy | StorageError::Unavailable { .. }) => {}
                    done => break done.unwrap(),
                }
            };
            store.append_audit(&record(number)).await.unwrap();
            version.0
        }
    });
    let mut versions = join_all(work).await;
    versions.sort_unstable();
    assert_eq!(versions, (1..=40).collect::<Vec<_>>());
    let verdict = one.verify_audit().await.unwrap();
    assert_eq!((verdict.entries, verdict.broken_at), (40, None));
    assert_eq!(one.knowledge_counts().await.unwrap().documents, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_does_not_wait_for_who_publishes() {
    let (one, _, database) = nodes().await;
    // Another node is in the middle of a long publication.
    let mut hand = shared().await.connect(&database).await.unwrap();
    hand.execute("BEGIN; SELECT pg_advisory_xact_lock(1801807477, 1)")
        .await
        .unwrap();
    let (document, passages) = document("kb/a.md", &["x".to_owned()]);
    // More than there are connections.
    let waiting = join_all((0..20).map(|_| one.put_document(&document, &passages)));
    let reading = async {
        for _ in 0..20 {
            assert_eq!(one.kb_version().await.unwrap(), KbVersion(0));
        }
        hand.execute("ROLLBACK").await.unwrap();
    };
    let (stored, ()) = tokio::join!(waiting, reading);
    for stored in stored {
        assert!(matches!(stored, Ok(_) | Err(StorageError::Busy)), "{stored:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_twice_over_two_nodes_is_stored_once() {
    let (one, two, _) = nodes().await;
    let talk = conversation();
    one.create_conversation(&talk).await.unwrap();
    let said: Vec<Message> = (0..20).map(|number| message(talk.id, &format!("{number}"))).collect();
    let adding = said
        .iter()
        .flat_map(|message| [one.add_message(message), two.add_message(message)]);
    for added in join_all(adding).await {
        added.unwrap();
    }
    let mut texts: Vec<_> = two
        .messages(talk.id, 100)
        .await
        .unwrap()
        .into_iter()
        .map(|m| m.id)
        .collect();
    let mut ids: Vec<_> = said.iter().map(|message| message.id).collect();
    texts.sort_unstable();
    ids.sort_unstable();
    assert_eq!(texts, ids);

    // Of one name there is one person, whatever the capitals.
    let names = ["Zhang", "ZHANG", "zhang", "zHANG"].map(user);
    let records: Vec<_> = (0..4).map(record).collect();
    let adding = names.iter().zip(&records).enumerate().map(|(number, (user, record))| {
        let store = if number % 2 == 0 { &one } else { &two };
        store.add_user(user, record)
    });
    let added: Vec<bool> = join_all(adding).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(added.iter().filter(|added| **added).count(), 1);
    assert_eq!(one.users(&PageRequest::first(10)).await.unwrap().items.len(), 1);
    assert_eq!(one.verify_audit().await.unwrap().entries, 1, "a refusal leaves no line");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_hears_of_a_version() {
    let (one, two, database) = nodes().await;
    let (first, passages) = document("kb/a.md", &["x".to_owned()]);
    for round in 1..=5 {
        let known = two.kb_version().await.unwrap();
        // Longer than the test may take: nothing but the news ends the wait.
        let heard = two.kb_moved(known, PATIENCE * 10);
        let (version, heard) = tokio::join!(
            one.put_document(&first, &passages),
            tokio::time::timeout(Duration::from_secs(2), heard)
        );
        heard.expect("the news come within two seconds");
        assert_eq!(version.unwrap(), KbVersion(round));
    }
    // A lost connection is made anew, and what was missed is caught up with.
    let mut hand = shared().await.connect(&database).await.unwrap();
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'kefu listens' AND datname = current_database()";
    let cut: i64 = sqlx::query_scalar(cut).fetch_one(&mut hand).await.unwrap();
    assert_eq!(cut, 2);
    let known = one.put_document(&first, &passages).await.unwrap();
    let heard = two.kb_moved(KbVersion(known.0 - 1), PATIENCE * 10);
    tokio::time::timeout(PATIENCE, heard).await.expect("it listens again");
    // Without news the wait ends by itself.
    two.kb_moved(known, Duration::from_millis(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_at_a_time_does_a_job() {
    let (one, two, _) = nodes().await;
    let claim = one.claim(Job::Learn).await.unwrap().expect("nobody does it");
    assert!(two.claim(Job::Learn).await.unwrap().is_none());
    assert!(one.claim(Job::Learn).await.unwrap().is_none());
    drop(claim);
    let free = async { while two.claim(Job::Learn).await.unwrap().is_none() {} };
    tokio::time::timeout(PATIENCE, free)
        .await
        .expect("the job is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_shut_out_has_no_session_whichever_comes_first() {
    let (one, two, _) = nodes().await;
    for round in 0..20 {
        let person = user(&format!("p{round}"));
        one.add_user(&person, &record(0)).await.unwrap();
        let session = kefu::storage::Session {
            token_sha256: [round; 32],
            user: person.id,
            created_at: at(1),
            last_seen_at: at(1),
        };
        let (first, second) = (record(1), record(2));
        let (began, shut) = tokio::join!(
            one.begin_session(&session, at(0), 5, &first),
            two.change_user(person.id, &kefu::storage::UserChange::Disable, &second)
        );
        began.unwrap();
        assert!(shut.unwrap());
        assert!(one.session(&[round; 32]).await.unwrap().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_dropped_midway_leaves_nothing() {
    let (store, _, _) = nodes().await;
    let lines: Vec<_> = (0..500).map(|line| format!("line {line}")).collect();
    let mut version = 0;
    for polls in [1, 2, 5, 20, 100] {
        let (document, passages) = document("kb/dropped.md", &lines);
        let mut change = Box::pin(store.put_document(&document, &passages));
        for _ in 0..polls {
            tokio::select! {
                biased;
                done = &mut change => {
                    // On a machine at work much happens between two polls. The first finds nothing done.
                    assert!(polls > 1, "stored by one poll");
                    version += 1;
                    assert_eq!(done.unwrap(), KbVersion(version));
                    break;
                }
                () = tokio::task::yield_now() => {}
            }
        }
        drop(change);
        let stored = store.document(document.id).await.unwrap().is_some();
        assert_eq!(store.kb_version().await.unwrap(), KbVersion(version));
        assert_eq!(
            stored,
            store.document_by_source("kb/dropped.md").await.unwrap().is_some()
        );
        if version > 0 {
            break;
        }
        assert!(!stored);
    }
    let (document, passages) = document("kb/kept.md", &lines);
    let now = store.put_document(&document, &passages).await.unwrap();
    assert_eq!(now, KbVersion(version + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_make_no_sense_are_named() {
    let (store, _, database) = nodes().await;
    let (document, passages) = document("a", &["one".to_owned()]);
    store.put_document(&document, &passages).await.unwrap();
    store.put_faqs(&[faq("k", "v")], "faq").await.unwrap();
    store.put_embeddings("m", &[([1; 32], vec![0.5])]).await.unwrap();
    let mut hand = shared().await.connect(&database).await.unwrap();
    let edits = "ALTER TABLE passages DROP CONSTRAINT passages_title_path_check; \
                 ALTER TABLE embeddings DROP CONSTRAINT embeddings_check; \
                 UPDATE documents SET format = 'scroll'; UPDATE passages SET title_path = '{'; \
                 UPDATE faqs SET imported_at = 9223372036854775807; UPDATE embeddings SET vector = '\\x00'";
    hand.execute(edits).await.unwrap();
    let table = |error: StorageError| match error {
        StorageError::Corrupt { table, .. } => table,
        other => panic!("{other}"),
    };
    assert_eq!(table(store.document(document.id).await.unwrap_err()), "documents");
    assert_eq!(
        table(store.document_passages(document.id).await.unwrap_err()),
        "passages"
    );
    assert_eq!(table(store.faq_by_key("k").await.unwrap_err()), "faqs");
    assert_eq!(
        table(store.embeddings("m", &[[1; 32]]).await.unwrap_err()),
        "embeddings"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_is_not_changed() {
    let (store, _, database) = nodes().await;
    for number in 0..3 {
        store.append_audit(&record(number)).await.unwrap();
    }
    let mut hand = shared().await.connect(&database).await.unwrap();
    for edit in ["UPDATE audit SET actor = 'x'", "DELETE FROM audit", "TRUNCATE audit"] {
        let refused = hand.execute(edit).await.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{refused}");
    }
    hand.execute("ALTER TABLE audit DISABLE TRIGGER ALL; UPDATE audit SET actor = 'x' WHERE seq = 2")
        .await
        .unwrap();
    assert_eq!(store.verify_audit().await.unwrap().broken_at, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_postgresql_cannot_hold_are_refused_or_written_otherwise() {
    let (store, _, _) = nodes().await;
    let talk = conversation();
    store.create_conversation(&talk).await.unwrap();
    store.add_message(&message(talk.id, "a\0b")).await.unwrap();
    assert_eq!(store.messages(talk.id, 1).await.unwrap()[0].text, "a\u{fffd}b");
    let refused = store.put_faqs(&[faq("a\0b", "v")], "faq").await.unwrap_err();
    assert!(matches!(refused, StorageError::Invalid { .. }), "{refused}");
    // An index holds no row of a third of a page: such a key is refused, too.
    let noise: String = (0..4000_u32)
        .map(|n| char::from_u32(0x4e00 + n.wrapping_mul(2_654_435_761) % 20_000).unwrap())
        .collect();
    let refused = store.put_faqs(&[faq(&noise, "v")], "faq").await.unwrap_err();
    assert!(matches!(refused, StorageError::Invalid { .. }), "{refused}");
    assert_eq!(store.kb_version().await.unwrap(), KbVersion(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_of_others_and_of_later_programs_are_refused_and_left_alone() {
    let server = shared().await;
    let foreign = server.database("").await;
    let mut hand = server.connect(&foreign).await.unwrap();
    hand.execute("CREATE TABLE accounts (id int)").await.unwrap();
    let error = error_of(&foreign).await;
    assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        .fetch_one(&mut hand)
        .await
        .unwrap();
    assert_eq!(tables, 1);

    let latin = server.database("ENCODING 'LATIN1'").await;
    assert!(error_of(&latin).await.to_string().contains("UTF8"));

    let (one, two, database) = nodes().await;
    one.close().await;
    two.close().await;
    let mut hand = server.connect(&database).await.unwrap();
    hand.execute("UPDATE _sqlx_migrations SET checksum = '\\x00'")
        .await
        .unwrap();
    let error = error_of(&database).await;
    assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
    hand.execute("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 1")
        .await
        .unwrap();
    let error = error_of(&database).await;
    assert!(matches!(error, StorageError::Newer { found: 9999, .. }), "{error}");
    hand.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_cut_off_is_unavailable_and_comes_back() {
    let mut server = Postgres::start();
    server.answers().await;
    let database = server.database("").await;
    let store = Arc::new(server.open(&database).await.unwrap());
    let talk = conversation();
    store.create_conversation(&talk).await.unwrap();
    let mut kept = Vec::new();
    for _ in 0..3 {
        // Eight write on, and the server is cut off in the middle of it.
        let writers = (0..8).map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut kept = Vec::new();
                loop {
                    let message = message(talk.id, "还在吗");
                    match store.add_message(&message).await {
                        Ok(()) => kept.push(message.id),
                        Err(error) => return (kept, error),
                    }
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        let stored = async { while store.messages(talk.id, 10_000).await.unwrap().len() < kept.len() + 20 {} };
        tokio::time::timeout(PATIENCE, stored).await.unwrap();
        server.kill();
        for writer in writers {
            let (acknowledged, error) = tokio::time::timeout(PATIENCE, writer).await.unwrap().unwrap();
            assert!(matches!(error, StorageError::Unavailable { .. }), "{error}");
            kept.extend(acknowledged);
        }
        // Nobody waits long for it, however many ask.
        let asked = join_all((0..50).map(|_| store.conversation(talk.id)));
        for answer in tokio::time::timeout(Duration::from_secs(4), asked)
            .await
            .expect("an answer soon")
        {
            assert!(matches!(answer, Err(StorageError::Unavailable { .. })));
        }
        server.run();
        server.answers().await;
        // The same store goes on.
        let there: Vec<MessageId> = store
            .messages(talk.id, 100_000)
            .await
            .unwrap()
            .iter()
            .map(|m| m.id)
            .collect();
        assert!(
            kept.iter().all(|id| there.contains(id)),
            "what was acknowledged is there"
        );
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_sent_and_never_told() {
    let server = shared().await;
    let database = server.database("").await;
    let mut hand = server.connect(&database).await.unwrap();
    hand.execute("CREATE ROLE guarded LOGIN PASSWORD 'right-s3cret'; GRANT ALL ON SCHEMA public TO guarded")
        .await
        .unwrap();
    server.guard("guarded").await;
    let url = server.url(&database).replace("user=kefu", "user=guarded");
    let open = async |password| {
        let options = kefu::storage::PostgresOptions::new(&url, password, 4).unwrap();
        PostgresStore::open(&options, Arc::new(kefu::domain::SystemClock)).await
    };
    for password in [None, Some("wrong-s3cret")] {
        let Err(error) = open(password).await else {
            panic!("it was opened")
        };
        assert!(matches!(error, StorageError::Unavailable { .. }), "{error}");
        assert!(!format!("{error:?}{error}").contains("s3cret"));
    }
    open(Some("right-s3cret")).await.unwrap().ping().await.unwrap();
}
