//! What every store promises of drafts, versions and golden questions: part of the contract.

use super::store_contract::{at, document, faq};
use kefu::domain::{
    Content, DocumentContent, Expectation, Faq, FaqContent, FaqId, GoldenId, GoldenQuestion, KbItem, KbVersion,
    RevisionId, RevisionState, Scope,
};
use kefu::storage::{
    IMPORT_AUTHOR, MAX_GOLDEN, NewDraft, PageRequest, Publication, RevisionFilter, StorageError, Store,
};

/// Runs every promise in turn. The store holds no document and no FAQ at the beginning of each.
pub async fn contract(store: &dyn Store) {
    for promise in 0..9 {
        match promise {
            0 => imports_are_history(store).await,
            1 => drafts(store).await,
            2 => review(store).await,
            3 => publishing_is_one_version(store).await,
            4 => publishing_is_refused(store).await,
            5 => rollback(store).await,
            6 => pruning(store).await,
            7 => lists(store).await,
            _ => golden(store).await,
        }
        clear(store).await;
    }
}

async fn clear(store: &dyn Store) {
    for document in store.documents(&PageRequest::first(1000)).await.unwrap().items {
        store.remove_document(document.id).await.unwrap();
    }
    for faq in store.faq_page(&PageRequest::first(1000)).await.unwrap().items {
        store.remove_faq(faq.id).await.unwrap();
    }
    let open = RevisionFilter {
        states: vec![RevisionState::Draft, RevisionState::Review],
        item: None,
    };
    for revision in store.revisions(&open, &PageRequest::first(1000)).await.unwrap().items {
        store.discard_revision(revision.id, "clear").await.unwrap();
    }
    for question in store.golden().await.unwrap() {
        assert!(store.remove_golden(question.id, "clear").await.unwrap());
    }
}

/// A draft that puts this FAQ.
pub fn faq_draft(faq: &Faq, author: &str) -> NewDraft {
    NewDraft {
        item: KbItem::Faq(faq.id),
        name: faq.key.clone(),
        scope: faq.scope.clone(),
        content: Some(Content::Faq(FaqContent::of(faq))),
        author: author.to_owned(),
        note: String::new(),
    }
}

/// A draft that removes this item.
pub fn removal(item: KbItem, name: &str, author: &str) -> NewDraft {
    NewDraft {
        item,
        name: name.to_owned(),
        scope: Scope::default(),
        content: None,
        author: author.to_owned(),
        note: String::new(),
    }
}

/// A publication by that person.
pub fn by(person: &str) -> Publication {
    Publication {
        by: person.to_owned(),
        note: String::new(),
        four_eyes: false,
        expected: None,
    }
}

async fn draft(store: &dyn Store, draft: NewDraft) -> RevisionId {
    store.add_drafts(&[draft]).await.unwrap()[0].id
}

/// Whether what is live is what the published revision says.
pub async fn agrees(store: &dyn Store, item: KbItem) -> bool {
    let revision = store.published_revision(item).await.unwrap();
    match item {
        KbItem::Document(id) => {
            let live = store.document(id).await.unwrap();
            let passages = store.document_passages(id).await.unwrap();
            let said = revision.and_then(|revision| revision.document());
            live.map(|document| (document, passages)) == said
        }
        KbItem::Faq(id) => {
            let live = store.faqs(&[id]).await.unwrap().pop();
            live == revision.and_then(|revision| revision.faq())
        }
    }
}

fn words(count: usize) -> Vec<String> {
    (0..count).map(|line| format!("第 {line} 条 rule {line}")).collect()
}

async fn imports_are_history(store: &dyn Store) {
    let (document, passages) = document("kb/history.md", &words(3));
    let item = KbItem::Document(document.id);
    let first = store.put_document(&document, &passages).await.unwrap();
    let revision = store.published_revision(item).await.unwrap().unwrap();
    assert_eq!(revision.document(), Some((document.clone(), passages.clone())));
    let summary = &revision.summary;
    assert_eq!((summary.number, summary.state), (1, RevisionState::Published));
    assert_eq!((summary.author.as_str(), summary.base), (IMPORT_AUTHOR, None));
    assert_eq!(
        (summary.name.as_str(), summary.title.as_str()),
        ("kb/history.md", "手续费")
    );

    let changed = Faq {
        scope: Scope {
            audiences: vec!["vip".to_owned()],
            ..Scope::default()
        },
        ..faq("history", "one")
    };
    store.put_faqs(std::slice::from_ref(&changed), "faqs").await.unwrap();
    let second = Faq {
        answer: "two".to_owned(),
        ..changed.clone()
    };
    store
        .put_faqs(std::slice::from_ref(&second), "faqs again")
        .await
        .unwrap();
    let faq_item = KbItem::Faq(changed.id);
    let live = store.published_revision(faq_item).await.unwrap().unwrap();
    assert_eq!((live.faq(), live.summary.number), (Some(second), 2));
    let old = store.revision(live.summary.base.unwrap()).await.unwrap().unwrap();
    assert_eq!((old.faq(), old.summary.state), (Some(changed), RevisionState::Retired));

    // A removal is a revision too, and what comes after it another one.
    assert!(store.remove_document(document.id).await.unwrap());
    let gone = store.published_revision(item).await.unwrap().unwrap();
    assert!(gone.summary.removes && gone.content.is_none() && gone.document().is_none());
    assert_eq!((gone.summary.number, gone.summary.title.as_str()), (2, "手续费"));
    store.put_document(&document, &passages).await.unwrap();
    assert_eq!(store.published_revision(item).await.unwrap().unwrap().summary.number, 3);
    assert!(agrees(store, item).await && agrees(store, faq_item).await);

    let entry = store.version(first).await.unwrap().unwrap();
    assert_eq!(
        (entry.note.as_str(), entry.author.as_str()),
        ("import kb/history.md", IMPORT_AUTHOR)
    );
    let changes = store
        .version_changes(first, &PageRequest::first(10))
        .await
        .unwrap()
        .items;
    assert_eq!(changes.len(), 1);
    assert_eq!(
        (changes[0].item, changes[0].old, changes[0].new),
        (item, None, Some(summary.id))
    );
    assert_eq!(store.version(KbVersion(1 << 40)).await.unwrap(), None);
}

async fn drafts(store: &dyn Store) {
    let before = store.kb_version().await.unwrap();
    let new = faq("drafted", "one");
    let first = draft(store, faq_draft(&new, "ann")).await;
    assert_eq!(
        store.kb_version().await.unwrap(),
        before,
        "a draft changes nothing that is told"
    );
    assert_eq!(store.faq_by_key("drafted").await.unwrap(), None);
    let stored = store.revision(first).await.unwrap().unwrap();
    assert_eq!(
        (stored.faq().as_ref(), stored.summary.state),
        (Some(&new), RevisionState::Draft)
    );
    assert_eq!((stored.summary.base, stored.summary.number), (None, 1));

    // The same author's next draft takes the place of this one, another author's stands beside it.
    let better = Faq {
        answer: "better".to_owned(),
        ..new.clone()
    };
    let second = draft(store, faq_draft(&better, "ann")).await;
    assert_eq!(store.revision(first).await.unwrap(), None);
    draft(store, faq_draft(&better, "bob")).await;
    let counts = store.revision_counts().await.unwrap();
    assert_eq!((counts.drafts, counts.in_review), (2, 0));
    let open = store.open_revision("faq", "drafted").await.unwrap().unwrap();
    assert_eq!(open.item, KbItem::Faq(new.id));
    assert_eq!(store.open_revision("document", "drafted").await.unwrap(), None);

    let refused = |result: Result<_, StorageError>| match result {
        Err(StorageError::Invalid { detail, .. }) => detail,
        other => panic!("{other:?}"),
    };
    let nothing = removal(KbItem::Faq(FaqId::new()), "nothing", "ann");
    let error = store.add_drafts(&[faq_draft(&faq("with", "x"), "ann"), nothing]).await;
    assert!(matches!(error, Err(StorageError::Missing { .. })));
    assert_eq!(store.open_revision("faq", "with").await.unwrap(), None, "all or none");
    let (document, passages) = document("kb/drafted.md", &words(2));
    let mut content = DocumentContent::of(&document, &passages);
    content.passages[1].end += 1000;
    let bad = NewDraft {
        content: Some(Content::Document(content)),
        ..removal(KbItem::Document(document.id), "kb/drafted.md", "ann")
    };
    refused(store.add_drafts(&[bad]).await);
    let crossed = NewDraft {
        item: KbItem::Document(document.id),
        ..faq_draft(&new, "ann")
    };
    refused(store.add_drafts(&[crossed]).await);
    store.publish(&[second], &by("ann")).await.unwrap();
    let renamed = Faq {
        key: "renamed".to_owned(),
        ..new
    };
    refused(store.add_drafts(&[faq_draft(&renamed, "ann")]).await);
}

async fn review(store: &dyn Store) {
    let id = draft(store, faq_draft(&faq("reviewed", "x"), "ann")).await;
    let submitted = store.submit_revision(id, "ann").await.unwrap();
    assert_eq!((submitted.state, submitted.decided_at), (RevisionState::Review, None));
    assert!(matches!(
        store.submit_revision(id, "ann").await,
        Err(StorageError::WrongState {
            state: RevisionState::Review,
            ..
        })
    ));
    let rejected = store.reject_revision(id, "bob", "no such fee").await.unwrap();
    assert_eq!(rejected.state, RevisionState::Rejected);
    assert_eq!(
        (rejected.reviewer.as_deref(), rejected.note.as_str()),
        (Some("bob"), "no such fee")
    );
    assert_eq!(store.revision(id).await.unwrap().unwrap().summary, rejected);
    assert!(matches!(
        store.reject_revision(id, "bob", "").await,
        Err(StorageError::WrongState { .. })
    ));
    assert!(matches!(
        store.publish(&[id], &by("bob")).await,
        Err(StorageError::WrongState { .. })
    ));
    store.discard_revision(id, "bob").await.unwrap();
    for error in [
        store.discard_revision(id, "bob").await.unwrap_err(),
        store.submit_revision(id, "ann").await.unwrap_err(),
        store.publish(&[id], &by("bob")).await.unwrap_err(),
    ] {
        assert!(matches!(error, StorageError::Missing { .. }), "{error}");
    }
}

async fn publishing_is_one_version(store: &dyn Store) {
    let (old, passages) = document("kb/old.md", &words(2));
    store.put_document(&old, &passages).await.unwrap();
    let kept = faq("kept", "before");
    store.put_faqs(std::slice::from_ref(&kept), "import").await.unwrap();
    let before = store.kb_version().await.unwrap();

    let (new, more) = document("kb/new.md", &words(4));
    let changed = Faq {
        answer: "after".to_owned(),
        ..kept.clone()
    };
    let new_draft = NewDraft {
        content: Some(Content::Document(DocumentContent::of(&new, &more))),
        ..removal(KbItem::Document(new.id), "kb/new.md", "ann")
    };
    let drafts = [
        new_draft,
        faq_draft(&changed, "ann"),
        removal(KbItem::Document(old.id), "kb/old.md", "ann"),
    ];
    let ids: Vec<_> = store
        .add_drafts(&drafts)
        .await
        .unwrap()
        .iter()
        .map(|one| one.id)
        .collect();
    let publication = Publication {
        note: "new fees".to_owned(),
        four_eyes: true,
        expected: Some(before),
        ..by("bob")
    };
    let version = store.publish(&ids, &publication).await.unwrap();
    assert_eq!(version.0, before.0 + 1);
    let entry = store.version(version).await.unwrap().unwrap();
    assert_eq!((entry.note.as_str(), entry.author.as_str()), ("new fees", "bob"));
    assert_eq!(store.document(new.id).await.unwrap(), Some(new.clone()));
    assert_eq!(store.document_passages(new.id).await.unwrap(), more);
    assert_eq!(store.document(old.id).await.unwrap(), None);
    assert_eq!(store.faq_by_key("kept").await.unwrap(), Some(changed));
    for id in &ids {
        let summary = store.revision(*id).await.unwrap().unwrap().summary;
        assert_eq!(
            (summary.state, summary.reviewer.as_deref()),
            (RevisionState::Published, Some("bob"))
        );
        assert!(agrees(store, summary.item).await);
    }
    let items = store.kb_changes(before, 10).await.unwrap().unwrap();
    assert_eq!(items.len(), 3);
    assert!(items.contains(&KbItem::Document(old.id)) && items.contains(&KbItem::Faq(kept.id)));
    assert!(matches!(
        store.publish(&ids[..1], &by("bob")).await,
        Err(StorageError::WrongState { .. })
    ));
    // The audit log has it too: by whom, and which version.
    let line = store.audit_page(&PageRequest::first(1)).await.unwrap().items.remove(0);
    assert_eq!(
        (line.actor.as_str(), line.action.as_str()),
        ("bob", "knowledge.publish")
    );
    assert_eq!(line.object, format!("version:{version}"));
    // Without a note the version says what it has.
    let again = draft(store, faq_draft(&kept, "ann")).await;
    let version = store.publish(&[again, again], &by("ann")).await.unwrap();
    assert_eq!(store.version(version).await.unwrap().unwrap().note, "publish kept");
}

async fn publishing_is_refused(store: &dyn Store) {
    let one = faq("contested", "live");
    store.put_faqs(std::slice::from_ref(&one), "import").await.unwrap();
    let say = |answer: &str| Faq {
        answer: answer.to_owned(),
        ..one.clone()
    };
    let ann = draft(store, faq_draft(&say("ann"), "ann")).await;
    let bob = draft(store, faq_draft(&say("bob"), "bob")).await;
    let version = store.kb_version().await.unwrap();
    let conflict = |result: Result<KbVersion, StorageError>| match result {
        Err(StorageError::Conflict { item, .. }) => item,
        other => panic!("{other:?}"),
    };
    assert_eq!(conflict(store.publish(&[ann, bob], &by("eve")).await), "contested");
    let publication = Publication {
        four_eyes: true,
        ..by("ann")
    };
    let error = store.publish(&[ann], &publication).await.unwrap_err();
    assert!(matches!(&error, StorageError::FourEyes { item, author } if item == "contested" && author == "ann"));
    let publication = Publication {
        expected: Some(KbVersion(version.0 - 1)),
        ..by("eve")
    };
    conflict(store.publish(&[ann], &publication).await);
    assert!(matches!(
        store.publish(&[], &by("eve")).await,
        Err(StorageError::Invalid { .. })
    ));
    assert_eq!(
        store.kb_version().await.unwrap(),
        version,
        "nothing of all that was stored"
    );

    // The second draft was made of what is live no more.
    store.publish(&[ann], &by("eve")).await.unwrap();
    assert_eq!(conflict(store.publish(&[bob], &by("eve")).await), "contested");
    assert_eq!(store.faq_by_key("contested").await.unwrap().unwrap().answer, "ann");
    // A draft of a new item whose name somebody else's new item took.
    let (mine, theirs) = (faq("twice", "mine"), faq("twice", "theirs"));
    let mine_id = draft(store, faq_draft(&mine, "ann")).await;
    store.put_faqs(std::slice::from_ref(&theirs), "import").await.unwrap();
    assert_eq!(conflict(store.publish(&[mine_id], &by("eve")).await), "twice");
    // Where the other one goes in the same version there is room.
    let gone = draft(store, removal(KbItem::Faq(theirs.id), "twice", "ann")).await;
    store.publish(&[mine_id, gone], &by("eve")).await.unwrap();
    assert_eq!(store.faq_by_key("twice").await.unwrap(), Some(mine));
    assert!(agrees(store, KbItem::Faq(theirs.id)).await);
}

async fn rollback(store: &dyn Store) {
    let (fees, passages) = document("kb/fees.md", &words(3));
    store.put_document(&fees, &passages).await.unwrap();
    let (yes, no) = (faq("yes", "1"), faq("no", "2"));
    store.put_faqs(&[yes.clone(), no.clone()], "import").await.unwrap();
    let good = store.kb_version().await.unwrap();

    // Everything after it: another text, a removal, an addition, a change there and back, another item of the same source.
    let (mut other, mut others) = document("kb/fees.md", &words(5));
    other.id = fees.id;
    for passage in &mut others {
        passage.document_id = fees.id;
    }
    store.put_document(&other, &others).await.unwrap();
    store.remove_faq(yes.id).await.unwrap();
    let added = faq("added", "3");
    store.put_faqs(std::slice::from_ref(&added), "import").await.unwrap();
    let change = |answer: &str| Faq {
        answer: answer.to_owned(),
        ..no.clone()
    };
    store.put_faqs(&[change("other")], "import").await.unwrap();
    store.put_faqs(&[change("2")], "import").await.unwrap();
    let (thief, stolen) = document("kb/fees.md", &words(1));
    store.put_document(&thief, &stolen).await.unwrap();
    let bad = store.kb_version().await.unwrap();

    let plan = store.rollback_plan(good).await.unwrap();
    let planned = |item: KbItem| plan.iter().find(|step| step.item == item).unwrap();
    assert_eq!(plan.len(), 5, "{plan:?}");
    assert!(planned(KbItem::Faq(added.id)).removes && planned(KbItem::Document(thief.id)).removes);
    assert!(!planned(KbItem::Document(fees.id)).removes);
    let stale = Publication {
        expected: Some(good),
        ..by("eve")
    };
    assert!(matches!(
        store.rollback(good, &stale).await,
        Err(StorageError::Conflict { .. })
    ));
    let back = store.rollback(good, &by("eve")).await.unwrap();
    assert_eq!(back.0, bad.0 + 1, "a rollback is a version of its own");
    let entry = store.version(back).await.unwrap().unwrap();
    assert_eq!(
        (entry.note, entry.author),
        (format!("rollback to {good}"), "eve".to_owned())
    );
    assert_eq!(store.document(fees.id).await.unwrap(), Some(fees.clone()));
    assert_eq!(
        store.document_passages(fees.id).await.unwrap(),
        passages,
        "the very same passages, by id too"
    );
    assert_eq!(store.document(thief.id).await.unwrap(), None);
    assert_eq!(
        store.faqs(&[yes.id, no.id, added.id]).await.unwrap(),
        [yes.clone(), no.clone()]
    );
    for step in &plan {
        assert!(agrees(store, step.item).await, "{step:?}");
    }
    // All is as it was: nothing to do, no version.
    assert!(store.rollback_plan(good).await.unwrap().is_empty());
    assert_eq!(store.rollback(good, &by("eve")).await.unwrap(), back);
    // And forth again.
    let note = Publication {
        note: "it was right after all".to_owned(),
        ..by("eve")
    };
    let forth = store.rollback(bad, &note).await.unwrap();
    assert_eq!(store.document(thief.id).await.unwrap(), Some(thief.clone()));
    assert_eq!(store.document_passages(thief.id).await.unwrap(), stolen);
    assert_eq!(store.faq_by_key("yes").await.unwrap(), None);
    assert_eq!(store.faq_by_key("added").await.unwrap(), Some(added));
    assert_eq!(
        store.version(forth).await.unwrap().unwrap().note,
        format!("rollback to {bad}: it was right after all")
    );
    assert!(matches!(
        store.rollback_plan(KbVersion(1 << 40)).await,
        Err(StorageError::Missing { .. })
    ));
}

async fn pruning(store: &dyn Store) {
    let base = faq("pruned", "0");
    let mut versions = Vec::new();
    for answer in 0..6 {
        let next = Faq {
            answer: answer.to_string(),
            ..base.clone()
        };
        store.put_faqs(&[next], "import").await.unwrap();
        versions.push(store.kb_version().await.unwrap());
    }
    store.prune_revisions(3).await.unwrap();
    assert_eq!(store.prune_revisions(3).await.unwrap(), 0);
    let item = KbItem::Faq(base.id);
    let left = RevisionFilter {
        states: Vec::new(),
        item: Some(item),
    };
    let left = store.revisions(&left, &PageRequest::first(10)).await.unwrap().items;
    assert_eq!(left.iter().map(|one| one.number).collect::<Vec<_>>(), [6, 5, 4, 3]);
    // Over three versions it goes back, over four the revision is gone.
    for (version, answer) in versions.iter().zip(0..6).skip(2) {
        let plan = store.rollback_plan(*version).await.unwrap();
        assert_eq!(plan.len(), usize::from(answer != 5));
    }
    let error = store.rollback(versions[1], &by("eve")).await.unwrap_err();
    assert!(
        matches!(&error, StorageError::UnknownHistory { detail, .. } if detail.contains("pruned")),
        "{error}"
    );
    store.rollback(versions[2], &by("eve")).await.unwrap();
    assert_eq!(store.faq_by_key("pruned").await.unwrap().unwrap().answer, "2");
}

async fn lists(store: &dyn Store) {
    let drafts: Vec<_> = (0..7)
        .map(|number| faq_draft(&faq(&format!("list {number}"), "x"), "ann"))
        .collect();
    let added = store.add_drafts(&drafts).await.unwrap();
    store.submit_revision(added[3].id, "ann").await.unwrap();
    let filter = |state| RevisionFilter {
        states: vec![state],
        item: None,
    };
    let (mut met, mut request) = (Vec::new(), PageRequest::first(4));
    loop {
        let page = store.revisions(&filter(RevisionState::Draft), &request).await.unwrap();
        met.extend(page.items);
        let Some(next) = page.next else { break };
        request.cursor = Some(next);
    }
    let mut wanted: Vec<_> = added.clone();
    wanted.remove(3);
    wanted.reverse();
    assert_eq!(met, wanted, "the newest first");
    let reviewed = store
        .revisions(&filter(RevisionState::Review), &PageRequest::first(9))
        .await
        .unwrap();
    assert_eq!((reviewed.items.len(), reviewed.items[0].id), (1, added[3].id));

    let all: Vec<_> = added.iter().map(|one| one.id).collect();
    let version = store.publish(&all, &by("bob")).await.unwrap();
    let (mut changes, mut request) = (Vec::new(), PageRequest::first(3));
    loop {
        let page = store.version_changes(version, &request).await.unwrap();
        changes.extend(page.items);
        let Some(next) = page.next else { break };
        request.cursor = Some(next);
    }
    let mut names: Vec<_> = changes.iter().map(|change| change.name.clone()).collect();
    names.sort();
    assert_eq!(names, (0..7).map(|number| format!("list {number}")).collect::<Vec<_>>());
    let first = store.version_page(&PageRequest::first(2)).await.unwrap();
    let request = PageRequest {
        limit: 2,
        cursor: first.next.clone(),
    };
    let second = store.version_page(&request).await.unwrap();
    let numbers: Vec<_> = first
        .items
        .iter()
        .chain(&second.items)
        .map(|entry| entry.version.0)
        .collect();
    assert_eq!(numbers, [version.0, version.0 - 1, version.0 - 2, version.0 - 3]);
    for cursor in ["!", "YQ", "_w"] {
        let request = PageRequest {
            limit: 3,
            cursor: Some(cursor.to_owned()),
        };
        for error in [
            store.version_page(&request).await.unwrap_err(),
            store.revisions(&RevisionFilter::default(), &request).await.unwrap_err(),
        ] {
            assert!(matches!(error, StorageError::Invalid { .. }), "{error}");
        }
    }
}

async fn golden(store: &dyn Store) {
    let question = |text: &str, answer: &str| GoldenQuestion {
        id: GoldenId::new(),
        question: text.to_owned(),
        expect: Expectation {
            contains: vec![answer.to_owned()],
            ..Expectation::default()
        },
        author: "ann".to_owned(),
        created_at: at(3),
    };
    let both = [question("年费多少", "80"), question("how much?", "80")];
    assert_eq!(store.put_golden(&both).await.unwrap(), 2);
    assert_eq!(store.golden().await.unwrap(), both);
    let changed = question("年费多少", "90");
    assert_eq!(store.put_golden(&[changed.clone(), both[1].clone()]).await.unwrap(), 1);
    let stored = store.golden().await.unwrap();
    assert_eq!(
        (stored.len(), stored[0].id, &stored[0].expect),
        (2, both[0].id, &changed.expect)
    );
    let many: Vec<_> = (0..=MAX_GOLDEN)
        .map(|n| question(&format!("question {n}"), "x"))
        .collect();
    assert!(matches!(
        store.put_golden(&many).await,
        Err(StorageError::Invalid { .. })
    ));
    assert_eq!(store.golden().await.unwrap().len(), 2, "all or none");
    assert!(store.remove_golden(both[0].id, "bob").await.unwrap());
    assert!(!store.remove_golden(both[0].id, "bob").await.unwrap());
}
