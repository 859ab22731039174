//! What every store promises of people, sessions and the audit log. Part of [`super::store_contract`].

use super::store_contract::at;
use jiff::SignedDuration;
use kefu::domain::{Hidden, StaffRole, UserId};
use kefu::storage::{AuditEntry, AuditRecord, AuditStore, PageRequest, Session, Store, User, UserChange};
use serde_json::json;

/// Runs every promise in turn.
pub async fn contract(store: &dyn Store) {
    users(store).await;
    changes(store).await;
    sessions(store).await;
    audit(store).await;
}

fn user(name: &str, role: StaffRole, seconds: i64) -> User {
    User {
        id: UserId::new(),
        name: name.to_owned(),
        display_name: format!("{name} 女士"),
        role,
        password_hash: Hidden(format!("$argon2id$of {name}")),
        totp_secret: None,
        created_at: at(seconds),
        disabled_at: None,
        password_changed_at: at(seconds),
        must_change: false,
    }
}

fn record(action: &str, seconds: i64) -> AuditRecord {
    AuditRecord {
        at: at(seconds),
        actor: "command line".to_owned(),
        action: action.to_owned(),
        object: "user:王芳".to_owned(),
        detail: json!({"seconds": seconds}),
    }
}

async fn entries(store: &dyn AuditStore) -> u64 {
    store.verify_audit().await.unwrap().entries
}

async fn users(store: &dyn Store) {
    let (first, second) = (
        user("WangFang", StaffRole::Admin, 1),
        user("李雷", StaffRole::Auditor, 2),
    );
    let before = entries(store).await;
    assert!(store.add_user(&first, &record("user.add", 1)).await.unwrap());
    assert!(store.add_user(&second, &record("user.add", 2)).await.unwrap());
    // The same name in other letters is taken, and a refusal leaves no line.
    let same = user("wANGfANG", StaffRole::Agent, 3);
    assert!(!store.add_user(&same, &record("user.add", 3)).await.unwrap());
    assert_eq!(entries(store).await, before + 2);
    for name in ["WangFang", "WANGFANG", "wangfang"] {
        assert_eq!(store.user_by_name(name).await.unwrap().as_ref(), Some(&first), "{name}");
    }
    assert_eq!(store.user_by_name("wang").await.unwrap(), None);
    assert_eq!(store.user(second.id).await.unwrap().as_ref(), Some(&second));
    assert_eq!(store.user(UserId::new()).await.unwrap(), None);
    let page = store.users(&PageRequest::first(1)).await.unwrap();
    assert_eq!(page.items, std::slice::from_ref(&first));
    let rest = PageRequest {
        limit: 5,
        cursor: page.next,
    };
    let page = store.users(&rest).await.unwrap();
    assert_eq!((page.items, page.next), (vec![second], None));
    assert_eq!(store.active_users(StaffRole::Admin).await.unwrap(), 1);
    assert_eq!(store.active_users(StaffRole::Supervisor).await.unwrap(), 0);
}

async fn changes(store: &dyn Store) {
    let mut wang = store.user_by_name("wangfang").await.unwrap().unwrap();
    let change = async |change: UserChange, action: &str, seconds| {
        assert!(
            store
                .change_user(wang.id, &change, &record(action, seconds))
                .await
                .unwrap()
        );
        store.user(wang.id).await.unwrap().unwrap()
    };
    let password = UserChange::Password {
        hash: Hidden("another".to_owned()),
        must_change: true,
    };
    let changed = change(password, "user.password", 20).await;
    let role = change(UserChange::Role(StaffRole::Supervisor), "user.role", 21).await;
    let disabled = change(UserChange::Disable, "user.disable", 22).await;
    // Shut out is shut out: the second time does not change since when.
    assert_eq!(change(UserChange::Disable, "user.disable", 23).await, disabled);
    assert_eq!(store.active_users(StaffRole::Supervisor).await.unwrap(), 0);
    let enabled = change(UserChange::Enable, "user.enable", 24).await;
    let secret = Some(Hidden(vec![0, 1, 255]));
    let codes = change(UserChange::Totp(secret.clone()), "user.totp", 25).await;
    wang.password_hash = Hidden("another".to_owned());
    (wang.must_change, wang.password_changed_at) = (true, at(20));
    assert_eq!(changed, wang);
    wang.role = StaffRole::Supervisor;
    assert_eq!(role, wang);
    wang.disabled_at = Some(at(22));
    assert_eq!(disabled, wang);
    wang.disabled_at = None;
    assert_eq!(enabled, wang);
    wang.totp_secret = secret;
    assert_eq!(codes, wang);
    assert!(store.use_totp_step(wang.id, 7).await.unwrap());
    assert!(!store.use_totp_step(wang.id, 7).await.unwrap(), "no code twice");
    assert!(!store.use_totp_step(wang.id, 6).await.unwrap());
    assert!(store.use_totp_step(wang.id, 8).await.unwrap());
    let before = entries(store).await;
    let nobody = store
        .change_user(UserId::new(), &UserChange::Enable, &record("user.enable", 26))
        .await;
    assert!(!nobody.unwrap());
    assert_eq!(entries(store).await, before);
}

async fn sessions(store: &dyn Store) {
    let wang = store.user_by_name("wangfang").await.unwrap().unwrap();
    let session = |n: u8, seconds| Session {
        token_sha256: [n; 32],
        user: wang.id,
        created_at: at(seconds),
        last_seen_at: at(seconds),
    };
    let begin = async |session: &Session, changed_at| {
        store
            .begin_session(session, changed_at, 3, &record("session.begin", 30))
            .await
            .unwrap()
    };
    assert!(
        !begin(&session(1, 30), at(19)).await,
        "the password was changed meanwhile"
    );
    for n in 1..=3 {
        assert!(begin(&session(n, 30 + i64::from(n)), at(20)).await);
    }
    let (found, person) = store.session(&[1; 32]).await.unwrap().unwrap();
    assert_eq!((found, &person), (session(1, 31), &wang));
    assert_eq!(store.session(&[9; 32]).await.unwrap(), None);
    // A fourth ends the oldest.
    assert!(begin(&session(4, 34), at(20)).await);
    assert_eq!(store.session(&[1; 32]).await.unwrap(), None);
    store.touch_session(&[2; 32], at(60)).await.unwrap();
    store.touch_session(&[2; 32], at(50)).await.unwrap();
    let (touched, _) = store.session(&[2; 32]).await.unwrap().unwrap();
    assert_eq!((touched.created_at, touched.last_seen_at), (at(32), at(60)));
    assert!(store.end_session(&[3; 32], &record("session.end", 61)).await.unwrap());
    assert!(!store.end_session(&[3; 32], &record("session.end", 61)).await.unwrap());
    // 4 was not used since; 2 was.
    assert_eq!(store.expire_sessions(at(40), at(0)).await.unwrap(), 1);
    assert!(store.session(&[2; 32]).await.unwrap().is_some());
    assert_eq!(
        store.expire_sessions(at(0), at(33)).await.unwrap(),
        1,
        "however much it is used"
    );
    for (n, change) in [
        (5, UserChange::Disable),
        (6, UserChange::Role(StaffRole::Admin)),
        (7, UserChange::Totp(None)),
    ] {
        store
            .change_user(wang.id, &UserChange::Enable, &record("user.enable", 62))
            .await
            .unwrap();
        assert!(begin(&session(n, 62), at(20)).await);
        store
            .change_user(wang.id, &change, &record("user.change", 63))
            .await
            .unwrap();
        assert_eq!(store.session(&[n; 32]).await.unwrap(), None, "{change:?} ends sessions");
    }
    store
        .change_user(wang.id, &UserChange::Disable, &record("user.disable", 64))
        .await
        .unwrap();
    assert!(
        !begin(&session(8, 65), at(20)).await,
        "nobody who is shut out begins one"
    );
}

async fn audit(store: &dyn Store) {
    let verdict = store.verify_audit().await.unwrap();
    assert_eq!(verdict.broken_at, None);
    let moment = at(70).checked_add(SignedDuration::from_nanos(999)).unwrap();
    let mut last = record("audit.test", 70);
    last.at = moment;
    last.detail = json!({"zh": "中文", "n": 1.5, "list": [1, null]});
    let entry = store.append_audit(&last).await.unwrap();
    assert_eq!((entry.seq, entry.prev_hash), (verdict.entries + 1, verdict.head));
    assert_eq!(entry.hash, entry.expected_hash());
    let page = store.audit_page(&PageRequest::first(2)).await.unwrap();
    assert_eq!(page.items[0], entry, "what is read is what was hashed");
    assert_eq!(page.items[1].seq, verdict.entries);
    let mut lines: Vec<AuditEntry> = page.items;
    let mut next = page.next;
    while let Some(cursor) = next {
        let request = PageRequest {
            limit: 3,
            cursor: Some(cursor),
        };
        let page = store.audit_page(&request).await.unwrap();
        lines.extend(page.items);
        next = page.next;
    }
    let numbers: Vec<u64> = lines.iter().map(|line| line.seq).collect();
    assert_eq!(numbers, (1..=entry.seq).rev().collect::<Vec<_>>());
    for wrong in ["x", "!", "\u{7}"] {
        let request = PageRequest {
            limit: 3,
            cursor: Some(wrong.to_owned()),
        };
        store.audit_page(&request).await.unwrap_err();
    }
}
