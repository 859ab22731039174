//! What every store promises. Each adapter runs [`contract`] on an empty database; nothing here knows which.
#![allow(clippy::unwrap_used, reason = "a test may fail by panic")]

use jiff::Timestamp;
use kefu::domain::{
    ApiKeyId, Channel, Citation, Conversation, ConversationId, ConversationStatus, Decision, Document, DocumentFormat,
    DocumentId, Faq, FaqId, Gap, GapId, KbItem, KbVersion, Message, MessageId, Origin, Passage, PassageId, Role, Route,
    SimilarFaq, Suggestion, SuggestionId, SuggestionState,
};
use kefu::storage::{ApiKey, FlowTurn, GapChange, KnowledgeCounts, MAX_FLOW_BYTES, PageRequest, StorageError, Store};
use std::sync::Arc;
use uuid::Uuid;

/// Runs every promise in turn. `store` is empty.
pub async fn contract(store: Arc<dyn Store>) {
    let store = store.as_ref();
    store.ping().await.unwrap();
    assert!(!store.describe().is_empty());
    empty(store).await;
    documents(store).await;
    bad_documents(store).await;
    passages(store).await;
    document_pages(store).await;
    faqs(store).await;
    changes(store).await;
    faq_pages(store).await;
    super::store_publishing::contract(store).await;
    embeddings(store).await;
    conversations(store).await;
    messages(store).await;
    ratings(store).await;
    waiting(store).await;
    keys(store).await;
    learning(store).await;
    flows(store).await;
    super::store_intents::contract(store).await;
    super::store_people::contract(store).await;
}

/// The moment `seconds` after a fixed one.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_microsecond(1_767_225_600_123_456 + seconds * 1_000_000).unwrap()
}

/// A document of these lines, each of which is a passage.
pub fn document(source: &str, lines: &[String]) -> (Document, Vec<Passage>) {
    let id = DocumentId::new();
    let mut text = String::new();
    let mut passages = Vec::new();
    for (ordinal, line) in lines.iter().enumerate() {
        let start = text.len();
        text.push_str(line);
        passages.push(Passage {
            id: PassageId::new(),
            document_id: id,
            ordinal: ordinal as u32,
            title_path: vec!["手续费".to_owned(), "Line \"quoted\" › 第二".to_owned()],
            text: line.clone(),
            page: None,
            start,
            end: text.len(),
        });
        text.push('\n');
    }
    let document = Document {
        id,
        source: source.to_owned(),
        title: "手续费".to_owned(),
        format: DocumentFormat::Markdown,
        sha256: "ab".repeat(32),
        text,
        imported_at: at(0),
        scope: kefu::domain::Scope::default(),
    };
    (document, passages)
}

fn lines(count: usize) -> Vec<String> {
    (0..count)
        .map(|line| format!("第 {line} 行：转账手续费 {line}.50 元 🏦"))
        .collect()
}

/// A FAQ with two more wordings.
pub fn faq(key: &str, answer: &str) -> Faq {
    Faq {
        id: FaqId::new(),
        key: key.to_owned(),
        question: format!("{key}？"),
        variants: vec!["怎么\"退\"货".to_owned(), "return?".to_owned()],
        answer: answer.to_owned(),
        category: String::new(),
        source: "kb/faq.csv".to_owned(),
        imported_at: at(1),
        scope: kefu::domain::Scope::default(),
    }
}

async fn empty(store: &dyn Store) {
    assert_eq!(store.kb_version().await.unwrap(), KbVersion(0));
    assert_eq!(store.knowledge_counts().await.unwrap(), KnowledgeCounts::default());
    assert!(store.kb_versions(10).await.unwrap().is_empty());
    assert!(store.documents(&PageRequest::first(10)).await.unwrap().items.is_empty());
    assert!(store.faq_page(&PageRequest::first(10)).await.unwrap().items.is_empty());
    assert!(store.keys().await.unwrap().is_empty());
    assert_eq!(store.document(DocumentId::new()).await.unwrap(), None);
    assert_eq!(store.document_by_source("nowhere").await.unwrap(), None);
    assert_eq!(store.faq_by_key("nothing").await.unwrap(), None);
    assert_eq!(store.conversation(ConversationId::new()).await.unwrap(), None);
    assert!(!store.remove_document(DocumentId::new()).await.unwrap());
    assert!(!store.remove_faq(FaqId::new()).await.unwrap());
    assert_eq!(store.put_faqs(&[], "nothing").await.unwrap(), 0);
    assert_eq!(store.kb_version().await.unwrap(), KbVersion(0), "nothing was changed");
}

async fn documents(store: &dyn Store) {
    let (mut fees, passages) = document("kb/fees.md", &lines(3));
    assert_eq!(store.put_document(&fees, &passages).await.unwrap(), KbVersion(1));
    assert_eq!(store.document(fees.id).await.unwrap().as_ref(), Some(&fees));
    assert_eq!(store.document_passages(fees.id).await.unwrap(), passages);
    for (place, beside) in [
        (0, &passages[1..2]),
        (1, &[passages[0].clone(), passages[2].clone()]),
        (2, &passages[1..2]),
    ] {
        assert_eq!(store.passages_beside(&passages[place]).await.unwrap(), beside);
    }
    let summary = store.document_by_source("kb/fees.md").await.unwrap().unwrap();
    assert_eq!(
        (summary.id, summary.passages, summary.bytes),
        (fees.id, 3, fees.text.len() as u64)
    );
    assert_eq!((&summary.sha256, summary.imported_at), (&fees.sha256, fees.imported_at));

    // The same again is stored again: whether that is worthwhile is the caller's to know.
    assert_eq!(store.put_document(&fees, &passages).await.unwrap(), KbVersion(2));
    assert_eq!(store.document_passages(fees.id).await.unwrap(), passages);

    // Another content of the same source replaces the passages, all of them.
    let (shorter, mut replaced) = document("kb/fees.md", &lines(2));
    for passage in &mut replaced {
        passage.document_id = fees.id;
    }
    fees = Document {
        id: fees.id,
        title: "费用".to_owned(),
        format: DocumentFormat::Html,
        ..shorter
    };
    assert_eq!(store.put_document(&fees, &replaced).await.unwrap(), KbVersion(3));
    assert_eq!(store.document(fees.id).await.unwrap().as_ref(), Some(&fees));
    assert_eq!(store.document_passages(fees.id).await.unwrap(), replaced);
    assert!(
        store.passages(&[passages[0].id]).await.unwrap().is_empty(),
        "the old passages are gone"
    );
    let counts = KnowledgeCounts {
        documents: 1,
        passages: 2,
        faqs: 0,
    };
    assert_eq!(store.knowledge_counts().await.unwrap(), counts);

    // An empty document has no passages.
    let (blank, none) = document("kb/空.txt", &[]);
    assert_eq!(store.put_document(&blank, &none).await.unwrap(), KbVersion(4));
    assert!(store.document_passages(blank.id).await.unwrap().is_empty());

    assert!(store.remove_document(fees.id).await.unwrap());
    assert!(!store.remove_document(fees.id).await.unwrap());
    assert!(store.remove_document(blank.id).await.unwrap());
    assert_eq!(
        store.knowledge_counts().await.unwrap(),
        KnowledgeCounts::default(),
        "the passages went with it"
    );
    let versions = store.kb_versions(3).await.unwrap();
    let notes: Vec<_> = versions
        .iter()
        .map(|entry| (entry.version.0, entry.note.as_str()))
        .collect();
    assert_eq!(
        notes,
        [
            (6, "remove kb/空.txt"),
            (5, "remove kb/fees.md"),
            (4, "import kb/空.txt")
        ]
    );
}

async fn bad_documents(store: &dyn Store) {
    let version = store.kb_version().await.unwrap();
    let (bad, good) = document("kb/bad.md", &lines(2));
    let mut moved = good.clone();
    moved[1].start += 1;
    let mut inside_a_character = good.clone();
    inside_a_character[0].end = 1;
    let mut beyond = good.clone();
    beyond[1].end = 1 << 40;
    let mut anothers = good.clone();
    anothers[1].document_id = DocumentId::new();
    for passages in [moved, inside_a_character, beyond, anothers] {
        let error = store.put_document(&bad, &passages).await.unwrap_err();
        assert!(
            matches!(error, StorageError::Invalid { table: "passages", .. }),
            "{error}"
        );
    }
    // This one is found by the database, in the middle of the transaction.
    let mut twice = good.clone();
    twice[1].ordinal = 0;
    store.put_document(&bad, &twice).await.unwrap_err();
    assert_eq!(store.document(bad.id).await.unwrap(), None, "nothing of it was stored");
    assert_eq!(store.kb_version().await.unwrap(), version);
}

async fn passages(store: &dyn Store) {
    let (long, all) = document("kb/long.md", &lines(1200));
    let (other, more) = document("kb/other.md", &lines(5));
    store.put_document(&other, &more).await.unwrap();
    store.put_document(&long, &all).await.unwrap();

    // The order asked for, what is gone left out, what is asked twice given twice; more ids than a statement may have
    // variables.
    let mut ids: Vec<_> = all.iter().rev().map(|passage| passage.id).collect();
    ids.insert(1, PassageId::new());
    ids.push(all[7].id);
    ids.extend((0..40_000).map(|_| PassageId::new()));
    ids.push(more[2].id);
    let mut wanted: Vec<_> = all.iter().rev().cloned().collect();
    wanted.extend([all[7].clone(), more[2].clone()]);
    assert!(store.passages(&ids).await.unwrap() == wanted);
    assert!(store.passages(&[]).await.unwrap().is_empty());

    // A walk meets each once, in order of id.
    let (mut met, mut last) = (Vec::new(), None);
    loop {
        let step = store.passages_after(last, 500).await.unwrap();
        let Some(passage) = step.last() else { break };
        last = Some(passage.id);
        met.extend(step.into_iter().map(|passage| passage.id));
    }
    let mut every: Vec<_> = all.iter().chain(&more).map(|passage| passage.id).collect();
    every.sort();
    assert_eq!(met, every);

    assert!(store.remove_document(long.id).await.unwrap());
    assert!(store.remove_document(other.id).await.unwrap());
}

async fn document_pages(store: &dyn Store) {
    // In order of bytes, whatever the database's language settings are.
    let sources = ["B.md", "a.md", "a/b.md", "Ä.md", "中.md", "文.md", "🏦.md"];
    for source in sources.iter().rev() {
        let (document, passages) = document(source, &lines(1));
        store.put_document(&document, &passages).await.unwrap();
    }
    let (mut met, mut request) = (Vec::new(), PageRequest::first(3));
    loop {
        let page = store.documents(&request).await.unwrap();
        assert!(page.items.len() <= 3);
        met.extend(page.items.into_iter().map(|document| (document.source, document.id)));
        let Some(next) = page.next else { break };
        request.cursor = Some(next);
    }
    assert_eq!(
        met.iter().map(|(source, _)| source.as_str()).collect::<Vec<_>>(),
        sources
    );
    let whole = store.documents(&PageRequest::first(7)).await.unwrap();
    assert_eq!(
        (whole.items.len(), whole.next),
        (7, None),
        "a page that holds all has none after it"
    );
    for cursor in ["!", "YQ==", "_w"] {
        let request = PageRequest {
            limit: 3,
            cursor: Some(cursor.to_owned()),
        };
        assert!(matches!(
            store.documents(&request).await.unwrap_err(),
            StorageError::Invalid { .. }
        ));
        assert!(matches!(
            store.faq_page(&request).await.unwrap_err(),
            StorageError::Invalid { .. }
        ));
    }
    for (_, id) in met {
        assert!(store.remove_document(id).await.unwrap());
    }
}

async fn faqs(store: &dyn Store) {
    let before = store.kb_version().await.unwrap().0;
    let (lost, fee) = (faq("挂失", "请致电 400-000-0000。"), faq("fee", "No fee."));
    assert_eq!(
        store
            .put_faqs(&[lost.clone(), fee.clone()], "import faq.csv")
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        store.kb_version().await.unwrap().0,
        before + 1,
        "one version for all of them"
    );
    assert_eq!(store.kb_versions(1).await.unwrap()[0].note, "import faq.csv");
    assert_eq!(store.faq_by_key("挂失").await.unwrap().as_ref(), Some(&lost));

    // Equal in all but id and time: nothing changes.
    let again = Faq {
        imported_at: at(99),
        ..faq("挂失", "请致电 400-000-0000。")
    };
    assert_eq!(store.put_faqs(&[again, fee.clone()], "again").await.unwrap(), 0);
    assert_eq!(store.kb_version().await.unwrap().0, before + 1);
    assert_eq!(store.faq_by_key("挂失").await.unwrap().as_ref(), Some(&lost));

    // A changed one keeps its id.
    let changed = Faq {
        variants: Vec::new(),
        imported_at: at(100),
        ..faq("挂失", "App 内挂失。")
    };
    assert_eq!(
        store.put_faqs(&[fee.clone(), changed.clone()], "change").await.unwrap(),
        1
    );
    assert_eq!(store.kb_version().await.unwrap().0, before + 2);
    let changed = Faq { id: lost.id, ..changed };
    assert_eq!(store.faq_by_key("挂失").await.unwrap().as_ref(), Some(&changed));

    let ids = [fee.id, FaqId::new(), changed.id];
    assert_eq!(store.faqs(&ids).await.unwrap(), [fee.clone(), changed.clone()]);
    assert_eq!(store.knowledge_counts().await.unwrap().faqs, 2);

    // One that cannot be stored (its id is taken) takes the others with it.
    let clash = Faq {
        id: fee.id,
        ..faq("clash", "x")
    };
    store.put_faqs(&[faq("new", "x"), clash], "clash").await.unwrap_err();
    assert_eq!(store.faq_by_key("new").await.unwrap(), None);

    assert!(store.remove_faq(fee.id).await.unwrap());
    assert!(!store.remove_faq(fee.id).await.unwrap());
    assert!(store.remove_faq(changed.id).await.unwrap());
    assert_eq!(store.kb_version().await.unwrap().0, before + 4);
    assert_eq!(store.kb_versions(1).await.unwrap()[0].note, "remove FAQ 挂失");
}

/// What follows the knowledge base learns what changed, and to whom it may be told.
async fn changes(store: &dyn Store) {
    let before = store.kb_version().await.unwrap();
    assert_eq!(store.kb_changes(before, 10).await.unwrap(), Some(Vec::new()));
    let (mut document, passages) = document("kb/changes.md", &lines(2));
    document.scope.audiences = vec!["vip".to_owned()];
    document.scope.expires_at = Some(at(500));
    let after = store.put_document(&document, &passages).await.unwrap();
    assert_eq!(store.document(document.id).await.unwrap().as_ref(), Some(&document));
    let summary = store.document_summary(document.id).await.unwrap().unwrap();
    assert_eq!(summary.scope, document.scope);
    let mut changed = faq("changes", "yes");
    changed.scope.channels = vec!["web".to_owned()];
    store.put_faqs(&[changed.clone()], "put").await.unwrap();
    assert_eq!(store.faqs(&[changed.id]).await.unwrap(), [changed.clone()]);
    store.remove_faq(changed.id).await.unwrap();
    // Each item once, whatever became of it.
    let faq = KbItem::Faq(changed.id);
    assert_eq!(store.kb_changes(after, 10).await.unwrap(), Some(vec![faq]));
    let both = store.kb_changes(before, 10).await.unwrap().unwrap();
    assert_eq!(both.len(), 2);
    assert!(both.contains(&faq) && both.contains(&KbItem::Document(document.id)));
    assert_eq!(store.kb_changes(before, 1).await.unwrap(), None, "more than asked for");

    // A document that takes another one's source takes it away.
    let (other, passages) = self::document("kb/changes.md", &lines(1));
    let before = store.kb_version().await.unwrap();
    store.put_document(&other, &passages).await.unwrap();
    let both = store.kb_changes(before, 10).await.unwrap().unwrap();
    assert!(both.contains(&KbItem::Document(document.id)) && both.contains(&KbItem::Document(other.id)));
    assert!(store.remove_document(other.id).await.unwrap());
}

async fn faq_pages(store: &dyn Store) {
    let all: Vec<_> = (0..25).map(|number| faq(&format!("k{number:02}"), "a")).collect();
    assert_eq!(store.put_faqs(&all, "many").await.unwrap(), 25);
    let (mut met, mut request) = (Vec::new(), PageRequest::first(10));
    loop {
        let page = store.faq_page(&request).await.unwrap();
        met.extend(page.items);
        let Some(next) = page.next else { break };
        request.cursor = Some(next);
    }
    assert_eq!(met, all);
    for faq in all {
        assert!(store.remove_faq(faq.id).await.unwrap());
    }
}

async fn embeddings(store: &dyn Store) {
    let version = store.kb_version().await.unwrap();
    let key = |number: u32| {
        let mut key = [0xff; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        key
    };
    let rows: Vec<_> = (0..1300)
        .map(|n| (key(n), vec![n as f32 / 3.0, -0.0, f32::MIN_POSITIVE, f32::MAX]))
        .collect();
    store.put_embeddings("model-a", &rows).await.unwrap();
    store
        .put_embeddings("model-b", &[(key(0), vec![1.0; 384])])
        .await
        .unwrap();
    let mut keys: Vec<_> = rows.iter().rev().map(|(key, _)| *key).collect();
    keys.push(key(9999));
    keys.push(key(3));
    let mut wanted: Vec<_> = rows.iter().rev().map(|(_, vector)| Some(vector.clone())).collect();
    wanted.extend([None, Some(rows[3].1.clone())]);
    assert_eq!(store.embeddings("model-a", &keys).await.unwrap(), wanted);
    assert_eq!(
        store.embeddings("model-b", &[key(1), key(0)]).await.unwrap(),
        [None, Some(vec![1.0; 384])]
    );
    assert!(store.embeddings("model-a", &[]).await.unwrap().is_empty());

    store.put_embeddings("model-a", &[(key(0), vec![2.0])]).await.unwrap();
    assert_eq!(store.embeddings("model-a", &[key(0)]).await.unwrap(), [Some(vec![2.0])]);
    for bad in [Vec::new(), vec![f32::NAN], vec![0.0, f32::INFINITY]] {
        let error = store
            .put_embeddings("model-a", &[(key(1), vec![7.0]), (key(2), bad)])
            .await
            .unwrap_err();
        assert!(matches!(
            error,
            StorageError::Invalid {
                table: "embeddings",
                ..
            }
        ));
    }
    assert_eq!(
        store.embeddings("model-a", &[key(1)]).await.unwrap(),
        [Some(rows[1].1.clone())]
    );
    assert_eq!(store.kb_version().await.unwrap(), version, "vectors change no answer");
}

/// A conversation that is stored.
pub async fn conversation(store: &dyn Store, channel: Channel) -> Conversation {
    let conversation = Conversation {
        id: ConversationId::new(),
        channel,
        status: ConversationStatus::Open,
        token_sha256: "cd".repeat(32),
        created_at: at(10),
        updated_at: at(10),
    };
    store.create_conversation(&conversation).await.unwrap();
    conversation
}

/// A message that is not stored yet.
pub fn message(conversation: ConversationId, role: Role, seconds: i64) -> Message {
    Message {
        id: MessageId::new(),
        conversation_id: conversation,
        role,
        text: format!("你好 {seconds}"),
        route: None,
        confidence: None,
        citations: Vec::new(),
        kb_version: None,
        model: None,
        total_ms: None,
        stopped: false,
        rating: None,
        created_at: at(seconds),
    }
}

fn reply(conversation: ConversationId, route: Route, seconds: i64) -> Message {
    let citation = Citation {
        n: 1,
        document_id: Uuid::now_v7(),
        title: "手续费 › 跨行".to_owned(),
        passage_id: PassageId::new(),
        quote: "每笔 \"2\" 元".to_owned(),
        start: 12,
        end: 27,
        kb_version: KbVersion(3),
    };
    Message {
        text: "每笔 2 元。[1]".to_owned(),
        route: Some(route),
        confidence: Some(0.1),
        citations: vec![citation.clone(), Citation { n: 2, ..citation }],
        kb_version: Some(KbVersion(3)),
        model: Some("qwen 0123456789ab".to_owned()),
        total_ms: Some(1234),
        stopped: true,
        ..message(conversation, Role::Assistant, seconds)
    }
}

async fn flows(store: &dyn Store) {
    let id = conversation(store, Channel::Web).await.id;
    assert_eq!(store.flow_session(id).await.unwrap(), None);
    store.put_flow_session(id, 0, "{\"a\":1}", None, at(20)).await.unwrap();
    let session = store.flow_session(id).await.unwrap().unwrap();
    assert_eq!((session.revision, session.state.as_str()), (1, "{\"a\":1}"));
    let turn = FlowTurn {
        message_id: MessageId::new(),
        trace: "[\"明天\"]".to_owned(),
    };
    store.put_flow_session(id, 1, "{}", Some(&turn), at(21)).await.unwrap();
    assert_eq!(store.flow_turn(turn.message_id).await.unwrap(), Some(turn));
    assert_eq!(store.flow_turn(MessageId::new()).await.unwrap(), None);
    // Who read an older one may not write, and nothing of it is stored.
    let late = FlowTurn {
        message_id: MessageId::new(),
        trace: "[]".to_owned(),
    };
    for before in [0, 1, 3] {
        let error = store
            .put_flow_session(id, before, "{}", Some(&late), at(22))
            .await
            .unwrap_err();
        assert!(matches!(error, StorageError::Conflict { .. }), "{error}");
    }
    assert_eq!(store.flow_turn(late.message_id).await.unwrap(), None);
    assert_eq!(store.flow_session(id).await.unwrap().unwrap().revision, 2);
    let nobody = store
        .put_flow_session(ConversationId::new(), 0, "{}", None, at(22))
        .await;
    assert!(matches!(nobody, Err(StorageError::Conflict { .. })));
    for bad in ["no json".to_owned(), format!("\"{}\"", "x".repeat(MAX_FLOW_BYTES))] {
        let refused = store.put_flow_session(id, 2, &bad, None, at(22)).await;
        assert!(matches!(refused, Err(StorageError::Invalid { .. })));
    }
}

async fn conversations(store: &dyn Store) {
    for channel in [Channel::Web, Channel::Api] {
        let made = conversation(store, channel).await;
        assert_eq!(store.conversation(made.id).await.unwrap().as_ref(), Some(&made));
        store.create_conversation(&made).await.unwrap_err();
        assert!(
            store
                .set_conversation_status(made.id, ConversationStatus::Closed, at(20))
                .await
                .unwrap()
        );
        let closed = Conversation {
            status: ConversationStatus::Closed,
            ..made
        };
        assert_eq!(store.conversation(closed.id).await.unwrap(), Some(closed));
    }
    let nobody = ConversationId::new();
    assert!(
        !store
            .set_conversation_status(nobody, ConversationStatus::Closed, at(20))
            .await
            .unwrap()
    );
}

async fn messages(store: &dyn Store) {
    let talk = conversation(store, Channel::Web).await;
    let other = conversation(store, Channel::Web).await;
    let mut said = vec![message(talk.id, Role::Visitor, 30)];
    said.extend(Route::ALL.into_iter().map(|route| reply(talk.id, route, 31)));
    // The clock may go back; what was said later stands later.
    said.push(message(talk.id, Role::Agent, 5));
    said.push(Message {
        rating: Some(4),
        ..reply(talk.id, Route::Faq, 40)
    });
    said.push(message(talk.id, Role::System, 35));
    for message in &said {
        store.add_message(message).await.unwrap();
    }
    store.add_message(&message(other.id, Role::Visitor, 33)).await.unwrap();
    assert_eq!(store.messages(talk.id, 100).await.unwrap(), said);
    assert_eq!(store.messages(talk.id, 2).await.unwrap(), said[said.len() - 2..]);
    assert!(store.messages(talk.id, 0).await.unwrap().is_empty());
    assert!(store.messages(ConversationId::new(), 10).await.unwrap().is_empty());
    assert_eq!(
        store.conversation(talk.id).await.unwrap().unwrap().updated_at,
        at(40),
        "it never goes back"
    );

    // Once, even if it is sent twice.
    store.add_message(&said[0]).await.unwrap();
    store
        .add_message(&Message {
            text: "other".to_owned(),
            ..said[9].clone()
        })
        .await
        .unwrap();
    assert_eq!(store.messages(talk.id, 100).await.unwrap(), said);

    let lost = store
        .add_message(&message(ConversationId::new(), Role::Visitor, 1))
        .await
        .unwrap_err();
    assert!(
        matches!(lost, StorageError::Invalid { table: "messages", .. }),
        "{lost}"
    );
    let unsure = Message {
        confidence: Some(f32::NAN),
        ..reply(talk.id, Route::Faq, 50)
    };
    assert!(matches!(
        store.add_message(&unsure).await.unwrap_err(),
        StorageError::Invalid { .. }
    ));
    let endless = Message {
        total_ms: Some(u64::MAX),
        ..reply(talk.id, Route::Faq, 50)
    };
    assert!(matches!(
        store.add_message(&endless).await.unwrap_err(),
        StorageError::Invalid { .. }
    ));
    assert_eq!(store.messages(talk.id, 100).await.unwrap(), said);
    assert_eq!(
        store.conversation(talk.id).await.unwrap().unwrap().updated_at,
        at(40),
        "all or nothing"
    );
}

async fn ratings(store: &dyn Store) {
    let talk = conversation(store, Channel::Web).await;
    let other = conversation(store, Channel::Web).await;
    let (question, answer) = (message(talk.id, Role::Visitor, 60), reply(talk.id, Route::Faq, 61));
    store.add_message(&question).await.unwrap();
    store.add_message(&answer).await.unwrap();
    assert!(
        store
            .rate_message(talk.id, answer.id, 1, "答非所问", at(62))
            .await
            .unwrap()
    );
    assert!(
        store.rate_message(talk.id, answer.id, 5, "", at(63)).await.unwrap(),
        "the visitor may think again"
    );
    assert_eq!(store.messages(talk.id, 1).await.unwrap()[0].rating, Some(5));
    assert!(
        !store.rate_message(talk.id, question.id, 5, "", at(63)).await.unwrap(),
        "only replies are rated"
    );
    assert!(
        !store.rate_message(other.id, answer.id, 1, "", at(63)).await.unwrap(),
        "not from elsewhere"
    );
    assert!(
        !store
            .rate_message(talk.id, MessageId::new(), 1, "", at(63))
            .await
            .unwrap()
    );
    assert_eq!(store.messages(talk.id, 1).await.unwrap()[0].rating, Some(5));

    assert!(store.rate_conversation(talk.id, 4, "还行", at(64)).await.unwrap());
    assert!(store.rate_conversation(talk.id, 2, "", at(65)).await.unwrap());
    assert!(
        !store
            .rate_conversation(ConversationId::new(), 4, "", at(64))
            .await
            .unwrap()
    );
    for score in [0, 6, 255] {
        let error = store
            .rate_message(talk.id, answer.id, score, "", at(66))
            .await
            .unwrap_err();
        assert!(matches!(error, StorageError::Invalid { table: "ratings", .. }));
        assert!(store.rate_conversation(talk.id, score, "", at(66)).await.is_err());
    }
}

async fn waiting(store: &dyn Store) {
    let first = conversation(store, Channel::Web).await.id;
    let second = conversation(store, Channel::Web).await.id;
    let third = conversation(store, Channel::Web).await.id;
    let wait = ConversationStatus::Waiting;
    assert_eq!(store.waiting_position(first).await.unwrap(), 0);
    // Not in the order in which they began.
    assert!(store.set_conversation_status(second, wait, at(70)).await.unwrap());
    assert!(store.set_conversation_status(first, wait, at(71)).await.unwrap());
    assert_eq!(store.waiting_position(second).await.unwrap(), 0);
    assert_eq!(store.waiting_position(first).await.unwrap(), 1);
    assert_eq!(store.waiting_position(third).await.unwrap(), 2, "it does not wait yet");
    assert_eq!(store.waiting_position(ConversationId::new()).await.unwrap(), 2);
    assert!(store.set_conversation_status(second, wait, at(80)).await.unwrap());
    assert_eq!(
        store.waiting_position(second).await.unwrap(),
        0,
        "asking again keeps the place"
    );
    assert!(store.set_conversation_status(third, wait, at(71)).await.unwrap());
    assert_eq!(
        store.waiting_position(third).await.unwrap(),
        2,
        "at the same moment the older one is first"
    );
    assert!(
        store
            .set_conversation_status(second, ConversationStatus::Open, at(90))
            .await
            .unwrap()
    );
    assert_eq!(store.waiting_position(first).await.unwrap(), 0);
    assert_eq!(store.waiting_position(third).await.unwrap(), 1);
    for id in [first, third] {
        assert!(
            store
                .set_conversation_status(id, ConversationStatus::Closed, at(91))
                .await
                .unwrap()
        );
    }
    assert_eq!(store.waiting_position(second).await.unwrap(), 0);
}

async fn keys(store: &dyn Store) {
    let key = |name: &str, sha256: &str, seconds| ApiKey {
        id: ApiKeyId::new(),
        name: name.to_owned(),
        sha256: sha256.repeat(32),
        created_at: at(seconds),
        revoked_at: None,
    };
    let (late, early) = (key("门户", "01", 5), key("batch", "02", 4));
    store.add_key(&late).await.unwrap();
    store.add_key(&early).await.unwrap();
    store
        .add_key(&ApiKey {
            id: ApiKeyId::new(),
            ..late.clone()
        })
        .await
        .unwrap_err();
    assert_eq!(store.keys().await.unwrap(), [early.clone(), late.clone()]);
    assert_eq!(store.active_key(&late.sha256).await.unwrap().as_ref(), Some(&late));
    assert_eq!(store.active_key("").await.unwrap(), None);
    assert!(store.revoke_key(late.id, at(9)).await.unwrap());
    assert!(!store.revoke_key(late.id, at(10)).await.unwrap());
    assert!(!store.revoke_key(ApiKeyId::new(), at(10)).await.unwrap());
    assert_eq!(store.active_key(&late.sha256).await.unwrap(), None);
    assert_eq!(store.active_key(&early.sha256).await.unwrap().as_ref(), Some(&early));
    let revoked = ApiKey {
        revoked_at: Some(at(9)),
        ..late
    };
    assert_eq!(store.keys().await.unwrap(), [early, revoked]);
}

/// What was asked in vain is counted once, and what people answered becomes one suggestion a conversation.
async fn learning(store: &dyn Store) {
    let conversation = conversation(store, Channel::Web).await;
    let say = |role, text: &str, route, second| {
        let text = text.to_owned();
        async move {
            let message = Message {
                id: MessageId::new(),
                conversation_id: conversation.id,
                role,
                text,
                route,
                confidence: None,
                citations: Vec::new(),
                kb_version: None,
                model: None,
                total_ms: None,
                stopped: false,
                rating: None,
                created_at: at(second),
            };
            store.add_message(&message).await.unwrap();
            message.id
        }
    };
    // Other promises may have left unresolved replies behind.
    let before = store.unresolved(1000).await.unwrap();
    let nothing: Vec<GapChange> = before
        .iter()
        .map(|reply| GapChange::Nothing {
            message: reply.message_id,
        })
        .collect();
    store.count_gaps(&nothing).await.unwrap();
    assert_eq!(store.unresolved(10).await.unwrap(), []);

    say(Role::Visitor, "钻石卡年费", None, 1).await;
    let refused = say(Role::Assistant, "没有找到", Some(Route::Refuse), 2).await;
    say(Role::Visitor, "普卡年费", None, 3).await;
    let answered = say(Role::Assistant, "80元", Some(Route::Faq), 4).await;
    let [reply] = &store.unresolved(10).await.unwrap()[..] else {
        panic!("one reply helped nobody")
    };
    assert_eq!(
        (reply.message_id, reply.question.as_str(), reply.at),
        (refused, "钻石卡年费", at(2))
    );
    // A bad rating makes an answer one of them.
    assert!(
        store
            .rate_message(conversation.id, answered, 2, "", at(5))
            .await
            .unwrap()
    );
    let both: Vec<MessageId> = store
        .unresolved(10)
        .await
        .unwrap()
        .iter()
        .map(|r| r.message_id)
        .collect();
    assert_eq!(both, [refused, answered]);

    let gap = |question: &str, count| Gap {
        id: GapId::new(),
        question: question.to_owned(),
        examples: Vec::new(),
        count,
        first_at: at(2),
        last_at: at(2),
        closed: None,
    };
    let diamond = gap("钻石卡年费", 1);
    let new = GapChange::New {
        gap: diamond.clone(),
        messages: vec![refused],
    };
    store.count_gaps(&[new]).await.unwrap();
    assert_eq!(store.unresolved(10).await.unwrap().len(), 1);
    let again = GapChange::Again {
        id: diamond.id,
        examples: vec!["普卡年费".to_owned()],
        last_at: at(4),
        messages: vec![answered, refused],
    };
    store.count_gaps(std::slice::from_ref(&again)).await.unwrap();
    // The same a second time counts nothing.
    store.count_gaps(&[again]).await.unwrap();
    let found = store.gaps(true, &PageRequest::first(10)).await.unwrap().items.remove(0);
    assert_eq!((found.count, found.last_at), (2, at(4)));
    assert_eq!(found.examples, ["普卡年费"]);
    assert!(store.unresolved(10).await.unwrap().is_empty());

    // Pages, the most asked first.
    let rare = gap("能寄到海南吗", 1);
    store
        .count_gaps(&[GapChange::New {
            gap: rare.clone(),
            messages: Vec::new(),
        }])
        .await
        .unwrap();
    let first = store.gaps(true, &PageRequest::first(1)).await.unwrap();
    assert_eq!(first.items[0].id, diamond.id);
    let request = PageRequest {
        limit: 1,
        cursor: first.next,
    };
    let second = store.gaps(true, &request).await.unwrap();
    assert_eq!((second.items[0].id, second.next), (rare.id, None));
    let nonsense = PageRequest {
        limit: 1,
        cursor: Some("bm9uc2Vuc2U".to_owned()),
    };
    assert!(store.gaps(true, &nonsense).await.is_err());
    let decision = Decision {
        at: at(9),
        by: "li".to_owned(),
        reason: "写好了".to_owned(),
    };
    assert!(store.close_gap(diamond.id, &decision).await.unwrap());
    assert!(!store.close_gap(diamond.id, &decision).await.unwrap(), "it is closed");
    let closed = store.gaps(false, &PageRequest::first(10)).await.unwrap().items;
    assert_eq!(closed[0].closed.as_ref(), Some(&decision));
    assert_eq!(store.open_gaps().await.unwrap(), 1);
    suggestions(store, conversation.id, say(Role::Agent, "年费3600元。", None, 6).await).await;
}

async fn suggestions(store: &dyn Store, conversation: ConversationId, _said: MessageId) {
    assert!(store.answered_by_people(10).await.unwrap().is_empty(), "it goes on");
    store
        .set_conversation_status(conversation, ConversationStatus::Closed, at(7))
        .await
        .unwrap();
    assert_eq!(store.answered_by_people(10).await.unwrap(), [conversation]);
    let suggestion = Suggestion {
        id: SuggestionId::new(),
        question: "钻石卡年费".to_owned(),
        variants: vec!["钻石卡一年多少".to_owned()],
        answer: "年费3600元。".to_owned(),
        origin: Origin::Conversation,
        conversation_id: Some(conversation),
        similar: vec![SimilarFaq {
            faq_id: FaqId::new(),
            question: "普卡年费".to_owned(),
            similarity: 0.5,
        }],
        state: SuggestionState::Open,
        created_at: at(8),
        decided: None,
    };
    assert!(store.add_suggestion(&suggestion).await.unwrap());
    let twin = Suggestion {
        id: SuggestionId::new(),
        ..suggestion.clone()
    };
    assert!(!store.add_suggestion(&twin).await.unwrap(), "one a conversation");
    assert!(store.answered_by_people(10).await.unwrap().is_empty());
    assert_eq!(
        store.suggestion(suggestion.id).await.unwrap().as_ref(),
        Some(&suggestion)
    );
    let written = Suggestion {
        id: SuggestionId::new(),
        origin: Origin::Written,
        conversation_id: None,
        ..suggestion.clone()
    };
    assert!(store.add_suggestion(&written).await.unwrap());
    let page = store
        .suggestions(SuggestionState::Open, &PageRequest::first(1))
        .await
        .unwrap();
    assert_eq!(page.items[0].id, written.id, "newest first");
    let request = PageRequest {
        limit: 1,
        cursor: page.next,
    };
    let page = store.suggestions(SuggestionState::Open, &request).await.unwrap();
    assert_eq!((page.items[0].id, page.next), (suggestion.id, None));
    assert_eq!(store.open_suggestions().await.unwrap(), 2);
    let decision = Decision {
        at: at(10),
        by: "li".to_owned(),
        reason: String::new(),
    };
    let decide = |state| store.decide_suggestion(suggestion.id, state, &decision);
    assert!(decide(SuggestionState::Accepted).await.unwrap());
    assert!(!decide(SuggestionState::Dismissed).await.unwrap(), "it is decided");
    let decided = store.suggestion(suggestion.id).await.unwrap().unwrap();
    assert_eq!(
        (decided.state, decided.decided),
        (SuggestionState::Accepted, Some(decision))
    );
}
