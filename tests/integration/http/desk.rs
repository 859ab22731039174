//! What people see who take conversations over, customers over channels, and forgetting them.

use super::support::{FAQ_QUESTION, KEY, QUESTION, Server};
use jiff::SignedDuration;
use kefu::domain::{ConversationId, ConversationStatus, Hidden, Message, MessageId, Role, Route, StaffRole};
use kefu::jobs::Expired;
use kefu::people::NewUser;
use kefu::storage::PageRequest;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::Ordering;
use tokio_util::sync::CancellationToken;

const PASSWORD: &str = "correct horse battery";

/// Somebody who is signed in.
pub struct Staff<'s> {
    server: &'s Server,
    cookie: String,
}

impl<'s> Staff<'s> {
    pub async fn of(server: &'s Server, role: StaffRole) -> Self {
        let new = NewUser {
            name: role.name().to_owned(),
            display_name: None,
            role,
            password: Hidden(PASSWORD.to_owned()),
            must_change: false,
        };
        server.state.people().add(new, "command line").await.unwrap();
        let body = json!({"name": role.name(), "password": PASSWORD});
        let reply = server.post("/api/v1/auth/login", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let cookie = reply.header("set-cookie").unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { server, cookie }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.send(method, &format!("/api/v1/desk/{path}"), body).await
    }

    /// Status and body of the answer, whatever it is.
    pub async fn send(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let origin = format!("http://{}", self.server.host());
        let headers = [("Cookie", self.cookie.as_str()), ("Origin", origin.as_str())];
        let body = body.map(|body| body.to_string());
        let reply = self.server.request(method, path, &headers, body.as_deref()).await;
        let body = if reply.text().is_empty() {
            Value::Null
        } else {
            reply.json()
        };
        (reply.status, body)
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask("POST", path, Some(body)).await;
        assert!(status < 300, "{path}: {status} {answer}");
        answer
    }
}

fn events_named<'e>(events: &'e [(String, Value)], name: &str) -> Vec<&'e Value> {
    events
        .iter()
        .filter(|(event, _)| event == name)
        .map(|(_, data)| data)
        .collect()
}

#[tokio::test]
async fn the_person_who_takes_over_is_told_what_happened() {
    let server = Server::start().await;
    let agent = Staff::of(&server, StaffRole::Agent).await;
    let (first, other) = server.visitor().await;
    server.say(&first, &other, "转人工").await.rest().await;
    let (id, token) = server.visitor().await;
    for text in [FAQ_QUESTION, QUESTION, "我的手机号是13812345678"] {
        server.say(&id, &token, text).await.rest().await;
    }
    let events = server.say(&id, &token, "转人工").await.rest().await;
    assert_eq!(events_named(&events, "handoff")[0]["position"], 1);

    let queue = agent.get("queue").await;
    let waiting = queue["items"].as_array().unwrap();
    assert_eq!(waiting.len(), 2, "{queue}");
    assert_eq!((&waiting[0]["id"], &waiting[1]["id"]), (&json!(first), &json!(id)));
    let page = agent.get("queue?limit=1").await;
    assert_eq!(page["items"][0]["id"], json!(first));
    let next = page["next_cursor"].as_str().unwrap();
    let page = agent.get(&format!("queue?limit=1&cursor={next}")).await;
    assert_eq!(
        (&page["items"][0]["id"], &page["next_cursor"]),
        (&json!(id), &Value::Null)
    );

    let case = agent.get(&format!("conversations/{id}")).await;
    let summary = &case["summary"];
    assert_eq!(
        (&summary["reason"], &summary["messages"]),
        (&json!("requested"), &json!(4))
    );
    assert_eq!(summary["tried"][0]["route"], "faq");
    assert_eq!(summary["tried"][1]["question"], QUESTION);
    assert_eq!(summary["personal_data"], json!(["mobile"]));
    assert!(!summary.to_string().contains("12345678"), "{summary}");
    assert!(
        summary["text"].as_str().unwrap().contains("转接原因：客户要求人工服务"),
        "{summary}"
    );
    assert_eq!(case["messages"].as_array().unwrap().len(), 8);
    assert_eq!((&case["customer"], &case["history"]), (&Value::Null, &json!([])));
    assert_eq!(agent.ask("GET", "conversations/x", None).await.0, 404);
}

#[tokio::test]
async fn what_a_flow_gathered_is_handed_over_masked() {
    let (inner, address) = super::inner::Inner::start().await;
    let server = Server::start_with(|config| {
        config.dialogue.flows = concat!(env!("CARGO_MANIFEST_DIR"), "/kb/flows").to_owned();
        config.tools = super::inner::Inner::settings(address);
    })
    .await;
    let agent = Staff::of(&server, StaffRole::Agent).await;
    let (id, token) = server.visitor().await;
    for text in ["查一下我的账单", "13800138000", "转人工"] {
        server.say(&id, &token, text).await.rest().await;
    }
    let case = agent.get(&format!("conversations/{id}")).await;
    let task = &case["summary"]["tasks"][0];
    assert!(task["facts"].to_string().contains("8000"), "{case}");
    assert!(!case.to_string().contains("13800138000"), "{case}");
    assert!(task["missing"].is_string(), "{case}");
    drop(inner);
}

#[tokio::test]
async fn where_the_index_fails_a_person_is_called() {
    let server = Server::start().await;
    let agent = Staff::of(&server, StaffRole::Agent).await;
    let (id, token) = server.visitor().await;
    // What is only busy passes.
    server.embedder.overloaded.store(true, Ordering::SeqCst);
    let busy = server
        .request(
            "POST",
            &format!("/api/v1/conversations/{id}/messages"),
            &[("Authorization", &format!("Bearer {token}"))],
            Some(&json!({ "text": QUESTION }).to_string()),
        )
        .await;
    assert_eq!((busy.status, busy.code()), (503, "overloaded".to_owned()));
    assert_eq!(server.transcript(&id, &token).await["status"], "open");
    server.embedder.overloaded.store(false, Ordering::SeqCst);
    server.embedder.stopped.store(true, Ordering::SeqCst);
    let events = server.say(&id, &token, "另一个问题是什么？").await.rest().await;
    let handoff = events_named(&events, "handoff");
    assert_eq!(handoff.len(), 1, "{events:?}");
    assert_eq!(
        (&handoff[0]["reason"], &handoff[0]["position"]),
        (&json!("failure"), &json!(0))
    );
    let error = events_named(&events, "error")[0];
    assert!(
        error["message"].as_str().unwrap().contains("已为您转接人工客服"),
        "{error}"
    );
    let said = server.transcript(&id, &token).await;
    assert_eq!(said["status"], "waiting");
    let last = said["messages"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["role"], &last["route"]), (&json!("system"), &json!("handoff")));
    let queue = agent.get("queue").await;
    assert_eq!(queue["items"][0]["summary"]["reason"], "failure");
}

#[tokio::test]
async fn a_customer_is_known_again_on_any_channel_and_a_merge_is_undone_exactly() {
    let server = Server::start().await;
    let agent = Staff::of(&server, StaffRole::Agent).await;
    let supervisor = Staff::of(&server, StaffRole::Supervisor).await;
    let phone = json!({"channel": "phone", "address": "+86 138-1234-5678", "name": "王小明"});
    let (status, by_phone) = agent.ask("POST", "customers", Some(phone)).await;
    assert_eq!((status, &by_phone["name"]), (201, &json!("王**")));
    assert!(!by_phone.to_string().contains("12345678"), "{by_phone}");
    let same = json!({"channel": "phone", "address": "13812345678"});
    assert_eq!(
        agent.ask("POST", "customers", Some(same.clone())).await,
        (200, by_phone.clone())
    );
    assert_eq!(
        agent.ask("POST", "customers/lookup", Some(same)).await,
        (200, by_phone.clone())
    );
    let mail = json!({"channel": "email", "address": "wang@example.com"});
    assert_eq!(agent.ask("POST", "customers/lookup", Some(mail.clone())).await.0, 404);
    let by_mail = agent.post("customers", mail.clone()).await;
    let wrong = json!({"channel": "Phone!", "address": "1"});
    assert_eq!(agent.ask("POST", "customers", Some(wrong)).await.0, 400);

    // A conversation by each address, and one more by mail while they are one.
    let (a, b) = (by_phone["id"].as_str().unwrap(), by_mail["id"].as_str().unwrap());
    let (first, token) = server.visitor().await;
    server.say(&first, &token, FAQ_QUESTION).await.rest().await;
    let link = |id: &str| format!("conversations/{id}/customer");
    let by = json!({"customer_id": a});
    assert_eq!(agent.ask("PUT", &link(&first), Some(by)).await.0, 200);
    let before = (
        agent.get(&format!("customers/{a}")).await,
        agent.get(&format!("customers/{b}")).await,
    );
    let merge = json!({"into": a, "reason": "同一个人，电话13912345678确认"});
    assert_eq!(
        agent
            .ask("POST", &format!("customers/{b}/merge"), Some(merge.clone()))
            .await
            .0,
        403
    );
    let whole = supervisor.post(&format!("customers/{b}/merge"), merge.clone()).await;
    assert_eq!(
        (&whole["id"], whole["addresses"].as_array().unwrap().len()),
        (&json!(a), 2)
    );
    // In a circle, or twice, nothing is merged.
    let back = json!({"into": b, "reason": "the same person"});
    assert_eq!(
        supervisor
            .ask("POST", &format!("customers/{a}/merge"), Some(back))
            .await
            .0,
        409
    );
    assert_eq!(
        supervisor
            .ask("POST", &format!("customers/{b}/merge"), Some(merge))
            .await
            .0,
        409
    );
    assert_eq!(agent.post("customers/lookup", mail.clone()).await["id"], json!(a));
    assert_eq!(agent.get("customers").await["items"].as_array().unwrap().len(), 1);

    let (second, _) = server.visitor().await;
    assert_eq!(agent.ask("PUT", &link(&second), Some(mail.clone())).await.0, 200);
    let case = agent.get(&format!("conversations/{second}")).await;
    assert_eq!(case["customer"]["id"], json!(a));
    let history = case["history"].as_array().unwrap();
    assert_eq!((history.len(), &history[0]["text"]), (2, &json!(FAQ_QUESTION)));

    let why = json!({"reason": "zwei Personen"});
    supervisor.post(&format!("customers/{b}/unmerge"), why.clone()).await;
    assert_eq!(
        supervisor
            .ask("POST", &format!("customers/{b}/unmerge"), Some(why.clone()))
            .await
            .0,
        409
    );
    assert_eq!(agent.get(&format!("customers/{a}")).await, before.0);
    let mut after = agent.get(&format!("customers/{b}")).await;
    // What came in by mail meanwhile is the mail's.
    assert_eq!(after["conversations"][0]["id"], json!(second));
    after["conversations"] = json!([]);
    assert_eq!(after, before.1);

    assert_eq!(
        agent
            .ask("POST", &format!("customers/{a}/reveal"), Some(why.clone()))
            .await
            .0,
        403
    );
    let clear = supervisor.post(&format!("customers/{a}/reveal"), why).await;
    assert_eq!(
        clear,
        json!({"name": "王小明", "addresses": [{"channel": "phone", "address": "13812345678"}]})
    );
    let log = server.store.audit_page(&PageRequest::first(50)).await.unwrap().items;
    for action in [
        "customer.identify",
        "customer.merge",
        "customer.unmerge",
        "customer.reveal",
    ] {
        assert!(log.iter().any(|line| line.action == action), "{action}");
    }
    assert!(!log.iter().any(|line| line.detail.contains("13912345678")), "{log:?}");
}

#[tokio::test]
async fn a_program_with_a_key_says_who_the_customer_is() {
    let server = Server::start().await;
    let agent = Staff::of(&server, StaffRole::Agent).await;
    let body = json!({"channel": "api", "customer": {"channel": "wechat", "address": "oAbC"}}).to_string();
    let path = "/api/v1/conversations";
    let refused = server.request("POST", path, &[], Some(&body)).await;
    assert_eq!((refused.status, refused.code()), (401, "missing_api_key".to_owned()));
    let bearer = format!("Bearer {KEY}");
    let headers = [("Authorization", bearer.as_str())];
    let created = server.request("POST", path, &headers, Some(&body)).await;
    assert_eq!(created.status, 201, "{}", created.text());
    let id = created.json()["id"].as_str().unwrap().to_owned();
    let case = agent.get(&format!("conversations/{id}")).await;
    assert_eq!(case["customer"]["addresses"][0]["address"], "***");
    let wrong = json!({"customer": {"channel": "wechat", "address": ""}}).to_string();
    assert_eq!(server.request("POST", path, &headers, Some(&wrong)).await.status, 400);
}

#[tokio::test]
async fn a_known_customer_goes_on_where_the_settings_want_it() {
    for in_answers in [false, true] {
        let server = Server::start_with(|config| config.customers.history_in_answers = in_answers).await;
        let agent = Staff::of(&server, StaffRole::Agent).await;
        let address = json!({"channel": "wechat", "address": "oAbC"});
        let mut conversations = Vec::new();
        for _ in 0..2 {
            let (id, token) = server.visitor().await;
            let path = format!("conversations/{id}/customer");
            assert_eq!(agent.ask("PUT", &path, Some(address.clone())).await.0, 200);
            conversations.push((id, token));
        }
        let (id, token) = &conversations[0];
        server.say(id, token, QUESTION).await.rest().await;
        let (id, token) = &conversations[1];
        let events = server.say(id, token, FAQ_QUESTION).await.rest().await;
        let message: MessageId = events_named(&events, "done")[0]["message_id"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        let (record, _) = server.store.reply_record(message).await.unwrap().unwrap();
        assert_eq!(record.history.len(), if in_answers { 2 } else { 0 });
    }
}

/// All bytes below a directory.
fn files(directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

/// The files that hold these bytes.
fn holding(server: &Server, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    files(server.data(), &mut found);
    assert!(found.len() > 2);
    let holds = |text: &[u8]| text.windows(bytes.len()).any(|part| part == bytes);
    let holding = found.into_iter().filter(|(_, text)| holds(text));
    holding.map(|(name, _)| name).collect()
}

async fn said(server: &Server, id: ConversationId, role: Role, text: &str, route: Option<Route>) {
    let message = Message {
        id: MessageId::new(),
        conversation_id: id,
        role,
        text: text.to_owned(),
        route,
        confidence: None,
        citations: Vec::new(),
        kb_version: None,
        model: None,
        total_ms: None,
        stopped: false,
        rating: None,
        created_at: server.state.now(),
    };
    server.store.add_message(&message).await.unwrap();
}

#[tokio::test]
async fn nothing_of_an_erased_customer_is_left_in_any_file() {
    let server = Server::start().await;
    let admin = Staff::of(&server, StaffRole::Admin).await;
    let supervisor = Staff::of(&server, StaffRole::Supervisor).await;
    // Three customers, of whom the first two turn out to be one.
    let mut customers = Vec::new();
    let mut planted: Vec<Vec<String>> = Vec::new();
    let mut ids: Vec<ConversationId> = Vec::new();
    for (at, word) in ["ZQXVOTTER", "ZQXVHERON", "ZQXVBADGER"].into_iter().enumerate() {
        let mut values = Vec::new();
        let mut customer = String::new();
        for round in 0..2 {
            let (id, token) = server.visitor().await;
            let by = json!({"channel": "wechat", "address": format!("o{word}"), "name": "赵淑琴"});
            let path = format!("conversations/{id}/customer");
            let (status, body) = admin.ask("PUT", &path, Some(by)).await;
            assert_eq!(status, 200, "{body}");
            body["id"].as_str().unwrap().clone_into(&mut customer);
            let about = format!("{word}{round}问的海狸会员卡有没有年费");
            let text = format!("{about}，我的手机号是1381234567{at}");
            server.say(&id, &token, &text).await.rest().await;
            let bearer = format!("Bearer {token}");
            let body = json!({"score": 1, "comment": format!("{word}{round}评")}).to_string();
            let path = format!("/api/v1/conversations/{id}/rating");
            let headers = [("Authorization", bearer.as_str())];
            assert_eq!(server.request("POST", &path, &headers, Some(&body)).await.status, 204);
            server.say(&id, &token, "转人工").await.rest().await;
            let conversation: ConversationId = id.parse().unwrap();
            said(&server, conversation, Role::Visitor, &about, None).await;
            said(&server, conversation, Role::Assistant, "没有找到", Some(Route::Refuse)).await;
            let answer = format!("{word}{round}答：海狸会员卡免年费，终身有效，请放心使用。");
            said(&server, conversation, Role::Agent, &answer, None).await;
            let closed = ConversationStatus::Closed;
            let now = server.state.now();
            server
                .store
                .set_conversation_status(conversation, closed, now)
                .await
                .unwrap();
            values.extend([
                about,
                format!("{word}{round}评"),
                format!("{word}{round}答"),
                format!("{word}{round}"),
            ]);
            ids.push(conversation);
        }
        customers.push(customer);
        planted.push(values);
    }
    server.replies_are_stored().await;
    let learner = server.state.learner().unwrap();
    while learner.step().await.unwrap() != kefu::jobs::Learnt::default() {}
    let merge = json!({"into": customers[0], "reason": "one and the same"});
    supervisor
        .post(&format!("customers/{}/merge", customers[1]), merge)
        .await;
    for value in planted.concat().iter().filter(|value| value.starts_with("ZQXV")) {
        assert!(
            !holding(&server, value.as_bytes()).is_empty(),
            "{value} was not planted"
        );
    }
    let gaps = server.store.gaps(true, &PageRequest::first(50)).await.unwrap().items;
    assert!(format!("{gaps:?}").contains("ZQXVOTTER"), "{gaps:?}");

    let why = json!({"reason": "customer asked to be forgotten"});
    let path = format!("customers/{}/erase", customers[1]);
    assert_eq!(supervisor.ask("POST", &path, Some(why.clone())).await.0, 403);
    let erased = admin.post(&path, why.clone()).await;
    assert_eq!(
        (&erased["conversations"], &erased["vault_keys"], &erased["settled"]),
        (&json!(4), &json!(4), &json!(true)),
        "{erased}"
    );
    assert_eq!(admin.ask("POST", &path, Some(why)).await.0, 404);
    assert_eq!(
        admin.ask("GET", &format!("customers/{}", customers[0]), None).await.0,
        404
    );
    for value in planted[..2].concat() {
        assert_eq!(holding(&server, value.as_bytes()), Vec::<String>::new(), "{value}");
    }
    // As text an id stands in the audit log, which names nobody; as it is stored, nowhere.
    for id in &ids[..4] {
        assert_eq!(holding(&server, id.0.as_bytes()), Vec::<String>::new(), "{id}");
    }
    // The third one is as it was.
    for value in planted[2].iter().filter(|value| value.starts_with("ZQXV")) {
        assert!(!holding(&server, value.as_bytes()).is_empty(), "{value}");
    }
    let third = admin.get(&format!("customers/{}", customers[2])).await;
    assert_eq!(third["conversations"].as_array().unwrap().len(), 2);
    let verdict = server.store.verify_audit().await.unwrap();
    assert_eq!(verdict.broken_at, None);
    let log = server.store.audit_page(&PageRequest::first(100)).await.unwrap().items;
    let line = log.iter().find(|line| line.action == "customer.erase").unwrap();
    assert!(line.detail.contains("\"conversations\":4"), "{}", line.detail);
}

#[tokio::test]
async fn what_is_old_is_removed_batch_by_batch_and_counted() {
    let server = Server::start_with(|config| config.retention.batch = 2).await;
    let eraser = std::sync::Arc::clone(&server.state.services().unwrap().eraser);
    let mut retention = kefu::config::load(&kefu::config::Overrides::default())
        .unwrap()
        .retention;
    retention.batch = 2;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let (id, token) = server.visitor().await;
        server
            .say(&id, &token, "我的手机号是13812345678，怎么改？")
            .await
            .rest()
            .await;
        ids.push((id, token));
    }
    let (waits, token) = server.visitor().await;
    server.say(&waits, &token, "转人工").await.rest().await;
    server.replies_are_stored().await;
    let stop = CancellationToken::new();
    let run = async |dry_run, stop: &CancellationToken| eraser.expire(&retention, "test", dry_run, stop).await.unwrap();
    assert!(run(false, &stop).await.removed.is_nothing());
    assert!(
        server
            .store
            .audit_page(&PageRequest::first(5))
            .await
            .unwrap()
            .items
            .is_empty()
    );

    // Traces first: answers stay, and can no longer be replayed.
    server.clock.advance(SignedDuration::from_hours(24 * 91));
    let counted = run(true, &stop).await;
    assert_eq!((counted.removed.traces, counted.removed.messages), (6, 0));
    let done = run(false, &stop).await;
    assert_eq!((done.removed, done.batches), (counted.removed, 3));

    server.clock.advance(SignedDuration::from_hours(24 * 90));
    let stopped = CancellationToken::new();
    stopped.cancel();
    let interrupted = Expired {
        interrupted: true,
        settled: true,
        ..Expired::default()
    };
    assert_eq!(run(false, &stopped).await, interrupted);
    let counted = run(true, &stop).await;
    assert_eq!((counted.removed.conversations, counted.removed.vault_keys), (5, 5));
    let done = run(false, &stop).await;
    assert!(done.batches >= 3 && done.settled, "{done:?}");
    assert_eq!((done.removed.conversations, done.removed.vault_keys), (5, 5));
    for (id, _) in &ids {
        assert!(server.store.conversation(id.parse().unwrap()).await.unwrap().is_none());
    }
    // Whoever waits for a person is not forgotten, though what was said so long ago is.
    let waiting = server
        .store
        .conversation(waits.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(waiting.status, ConversationStatus::Waiting);
    let lines = server.store.audit_page(&PageRequest::first(50)).await.unwrap().items;
    assert_eq!(lines.len() as u32, 3 + done.batches);
    assert!(lines.iter().all(|line| line.action == "retention.expire"));
    assert_eq!(server.store.verify_audit().await.unwrap().broken_at, None);
}
