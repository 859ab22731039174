//! What people do with the knowledge base, from a draft to a version and back.

use super::client::Reply;
use super::support::{FAQ_ANSWER, FAQ_QUESTION, QUESTION, Server};
use kefu::config::Config;
use kefu::domain::{Hidden, StaffRole};
use kefu::people::NewUser;
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery";
const BASE: &str = "/api/v1/knowledge";

/// A server with one person of each role, signed in.
struct Office {
    server: Server,
    agent: String,
    supervisor: String,
    admin: String,
    auditor: String,
}

impl Office {
    async fn open(change: impl FnOnce(&mut Config)) -> Self {
        let server = Server::start_with(change).await;
        let mut cookies = Vec::new();
        for role in [
            StaffRole::Agent,
            StaffRole::Supervisor,
            StaffRole::Admin,
            StaffRole::Auditor,
        ] {
            let new = NewUser {
                name: role.name().to_owned(),
                display_name: None,
                role,
                password: Hidden(PASSWORD.to_owned()),
                must_change: false,
            };
            server.state.people().add(new, "command line").await.unwrap();
            let reply = server
                .post(
                    "/api/v1/auth/login",
                    &json!({"name": role.name(), "password": PASSWORD}),
                )
                .await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap();
            cookies.push(cookie.to_owned());
        }
        let mut cookies = cookies.into_iter();
        let mut next = || cookies.next().unwrap();
        let (agent, supervisor, admin, auditor) = (next(), next(), next(), next());
        Self {
            server,
            agent,
            supervisor,
            admin,
            auditor,
        }
    }

    async fn send(&self, cookie: &str, method: &str, path: &str, body: Option<Value>) -> Reply {
        let origin = format!("http://{}", self.server.host());
        let headers = [("Cookie", cookie), ("Origin", origin.as_str())];
        let body = body.map(|body| body.to_string());
        let path = format!("{BASE}{path}");
        self.server.request(method, &path, &headers, body.as_deref()).await
    }

    /// The answer's body, of a request that is right.
    async fn ok(&self, cookie: &str, method: &str, path: &str, body: Option<Value>) -> Value {
        let reply = self.send(cookie, method, path, body).await;
        assert!((200..300).contains(&reply.status), "{method} {path}: {}", reply.text());
        if reply.body.is_empty() {
            Value::Null
        } else {
            reply.json()
        }
    }

    /// Status and code of a refusal.
    async fn refused(&self, cookie: &str, method: &str, path: &str, body: Option<Value>) -> (u16, String) {
        let reply = self.send(cookie, method, path, body).await;
        (reply.status, reply.code())
    }

    async fn publish(&self, cookie: &str, drafts: &[&Value], force: bool) -> Reply {
        let ids: Vec<&Value> = drafts.iter().map(|draft| &draft["id"]).collect();
        let body = json!({"revisions": ids, "note": "test", "force": force});
        self.send(cookie, "POST", "/publish", Some(body)).await
    }
}

#[tokio::test]
async fn a_suggestion_becomes_a_draft_and_a_gap_is_closed() {
    let office = Office::open(|_| {}).await;
    let form =
        json!({"question": "钻石卡有机场接送吗？", "answer": "每年两次，提前一天预约。", "variants": ["钻石卡接机"]});
    let suggested = office.ok(&office.agent, "POST", "/suggestions", Some(form)).await;
    assert_eq!(
        (&suggested["state"], &suggested["origin"]["kind"]),
        (&json!("open"), &json!("written"))
    );
    let overview = office.ok(&office.agent, "GET", "/overview", None).await;
    assert_eq!((&overview["suggestions"], &overview["gaps"]), (&json!(1), &json!(0)));
    let path = format!("/suggestions/{}", suggested["id"].as_str().unwrap());
    let edited =
        json!({"question": "钻石卡有机场接送吗？", "answer": "每年两次，须提前一天预约。", "key": "diamond-pickup"});
    let denied = office
        .refused(&office.agent, "POST", &format!("{path}/accept"), Some(edited.clone()))
        .await;
    assert_eq!(denied.0, 403, "an agent suggests, an editor accepts");
    let accepted = office
        .ok(
            &office.supervisor,
            "POST",
            &format!("{path}/accept"),
            Some(edited.clone()),
        )
        .await;
    let again = office
        .refused(&office.supervisor, "POST", &format!("{path}/accept"), Some(edited))
        .await;
    assert_eq!(again, (404, "not_found".to_owned()));
    let revision = format!("/revisions/{}", accepted["revision_id"].as_str().unwrap());
    let draft = office.ok(&office.auditor, "GET", &revision, None).await;
    assert_eq!(draft["state"], json!("draft"));
    let reply = office.publish(&office.admin, &[&draft], false).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let asked = office
        .server
        .post("/api/v1/ask", &json!({"question": "钻石卡有机场接送吗"}))
        .await;
    assert_eq!(
        asked.json()["answer"],
        json!("每年两次，须提前一天预约。"),
        "told from now on"
    );
    for wrong in [
        json!({}),
        json!({"question": "只有问题"}),
        json!({"question": "", "answer": "x"}),
        json!({"conversation_id": "0199aa00-0000-7000-8000-000000000000", "question": "q", "answer": "a"}),
    ] {
        let refused = office
            .send(&office.agent, "POST", "/suggestions", Some(wrong.clone()))
            .await;
        assert_eq!(refused.status, 400, "{wrong}: {}", refused.text());
    }
    let nobody = json!({"conversation_id": "0199aa00-0000-7000-8000-000000000000"});
    assert_eq!(
        office
            .refused(&office.agent, "POST", "/suggestions", Some(nobody))
            .await
            .0,
        404
    );

    let dismissed = json!({"question": "第二个问题是什么", "answer": "不重要的答复"});
    let dismissed = office.ok(&office.agent, "POST", "/suggestions", Some(dismissed)).await;
    let path = format!("/suggestions/{}/dismiss", dismissed["id"].as_str().unwrap());
    office
        .ok(&office.admin, "POST", &path, Some(json!({"reason": "不需要"})))
        .await;
    let list = office
        .ok(&office.auditor, "GET", "/suggestions?state=dismissed", None)
        .await;
    assert_eq!(list["items"][0]["reason"], json!("不需要"));
    assert_eq!(
        office
            .refused(&office.admin, "GET", "/suggestions?state=what", None)
            .await
            .0,
        400
    );

    let gaps = office.ok(&office.auditor, "GET", "/gaps?state=open", None).await;
    assert_eq!(gaps["items"], json!([]));
    let missing = "/gaps/0199aa00-0000-7000-8000-000000000000/close";
    assert_eq!(office.refused(&office.admin, "POST", missing, None).await.0, 404);
}

#[tokio::test]
async fn a_faq_is_drafted_reviewed_and_published() {
    let office = Office::open(|_| {}).await;
    let form = json!({"key": "loss", "question": "卡丢了怎么办？", "variants": ["卡片遗失"], "answer": "请立即挂失。", "category": "卡"});
    for (cookie, status) in [(&office.auditor, 403), (&"none".to_owned(), 401)] {
        assert_eq!(
            office.send(cookie, "POST", "/faqs", Some(form.clone())).await.status,
            status
        );
    }
    let draft = office.ok(&office.agent, "POST", "/faqs", Some(form)).await;
    assert_eq!(
        (&draft["state"], &draft["author"], &draft["number"]),
        (&json!("draft"), &json!("agent"), &json!(1))
    );
    let path = format!("/revisions/{}", draft["id"].as_str().unwrap());
    let overview = office.ok(&office.auditor, "GET", "/overview", None).await;
    assert_eq!(
        (&overview["drafts"], &overview["faqs"], &overview["four_eyes"]),
        (&json!(1), &json!(1), &json!(false))
    );
    office.ok(&office.agent, "POST", &format!("{path}/submit"), None).await;
    assert_eq!(
        office
            .refused(&office.agent, "POST", &format!("{path}/submit"), None)
            .await,
        (409, "wrong_state".to_owned())
    );
    let listed = office
        .ok(&office.supervisor, "GET", "/revisions?state=review", None)
        .await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let shown = office.ok(&office.supervisor, "GET", &path, None).await;
    assert_eq!(
        (&shown["content"]["answer"], &shown["published"]),
        (&json!("请立即挂失。"), &Value::Null)
    );
    assert_eq!(office.publish(&office.agent, &[&draft], false).await.status, 403);
    let published = office.publish(&office.supervisor, &[&draft], false).await.json();
    assert_eq!(
        (&published["kb_version"], &published["golden"]["asked"]),
        (&json!(3), &json!(0))
    );
    let answer = office
        .server
        .post("/api/v1/ask", &json!({"question": "卡片遗失"}))
        .await
        .json();
    assert_eq!(answer["answer"], "请立即挂失。", "the index has followed");

    let found = office
        .ok(&office.auditor, "GET", "/faqs?q=%E6%8C%82%E5%A4%B1", None)
        .await;
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    let faq = format!("/faqs/{}", found["items"][0]["id"].as_str().unwrap());
    let versions = office.ok(&office.auditor, "GET", "/versions?limit=1", None).await;
    assert_eq!(
        (&versions["items"][0]["note"], &versions["items"][0]["author"]),
        (&json!("test"), &json!("supervisor"))
    );
    let version = office.ok(&office.auditor, "GET", "/versions/3", None).await;
    assert_eq!(
        (&version["changes"][0]["name"], &version["changes"][0]["old"]),
        (&json!("loss"), &Value::Null)
    );

    // A card that somebody pasted into an answer is nobody's to read, in drafts and in what is suggested.
    let pasted = json!({"question": "卡丢了怎么办？", "answer": "如卡号6222021234567890128，请致电400-000-8600挂失。"});
    let draft = office.ok(&office.agent, "PUT", &faq, Some(pasted.clone())).await;
    let path = format!("/revisions/{}", draft["id"].as_str().unwrap());
    let shown = office.ok(&office.supervisor, "GET", &path, None).await;
    let suggested = office.ok(&office.agent, "POST", "/suggestions", Some(pasted)).await;
    for answer in [&shown["content"]["answer"], &suggested["answer"]] {
        let answer = answer.as_str().unwrap();
        assert!(
            !answer.contains("123456789") && answer.contains("400-000-8600"),
            "{answer}"
        );
    }

    // Two drafts of one thing: the second was made of what is live no more.
    let change = |answer: &str| Some(json!({"question": "卡丢了怎么办？", "answer": answer}));
    let one = office.ok(&office.agent, "PUT", &faq, change("一")).await;
    let two = office.ok(&office.admin, "PUT", &faq, change("二")).await;
    assert_eq!(office.publish(&office.supervisor, &[&one], false).await.status, 200);
    let late = office.publish(&office.supervisor, &[&two], false).await;
    assert_eq!((late.status, late.code().as_str()), (409, "conflict"));
    let path = format!("/revisions/{}", two["id"].as_str().unwrap());
    let note = Some(json!({"note": "too late"}));
    assert_eq!(
        office
            .refused(&office.agent, "POST", &format!("{path}/reject"), note.clone())
            .await
            .0,
        403
    );
    let rejected = office
        .ok(&office.supervisor, "POST", &format!("{path}/reject"), note)
        .await;
    assert_eq!(
        (&rejected["state"], &rejected["reviewer"]),
        (&json!("rejected"), &json!("supervisor"))
    );
    assert_eq!(
        office.refused(&office.agent, "DELETE", &path, None).await,
        (403, "forbidden".to_owned())
    );
    office.ok(&office.admin, "DELETE", &path, None).await;
    assert_eq!(
        office.refused(&office.admin, "GET", &path, None).await,
        (404, "not_found".to_owned())
    );
}

#[tokio::test]
async fn four_eyes_golden_questions_and_the_way_back() {
    let office = Office::open(|config| config.knowledge.four_eyes = true).await;
    let golden = json!({"question": FAQ_QUESTION, "expect": {"faq_key": "password", "contains": ["忘记密码"]}});
    assert_eq!(
        office
            .refused(&office.agent, "POST", "/golden", Some(golden.clone()))
            .await
            .0,
        403
    );
    let golden = office.ok(&office.supervisor, "POST", "/golden", Some(golden)).await;
    let faq = format!("/faqs/{}", office.server.faq);
    let mine = office.ok(&office.supervisor, "DELETE", &faq, None).await;
    let own = office.publish(&office.supervisor, &[&mine], false).await;
    assert_eq!((own.status, own.code().as_str()), (403, "four_eyes"));
    let worse = office.publish(&office.admin, &[&mine], false).await;
    assert_eq!((worse.status, worse.code().as_str()), (409, "golden_worse"));
    let details = &worse.json()["error"]["details"];
    assert_eq!(
        (&details["right_before"], &details["worse"][0]["question"]),
        (&json!(1), &json!(FAQ_QUESTION))
    );
    let theirs = office.ok(&office.agent, "DELETE", &faq, None).await;
    let forced = office.publish(&office.supervisor, &[&theirs], true).await;
    assert_eq!(
        (forced.status, forced.code().as_str()),
        (403, "forbidden"),
        "force is an admin's"
    );
    assert_eq!(office.publish(&office.admin, &[&theirs], true).await.status, 200);
    assert_eq!(office.refused(&office.agent, "GET", &faq, None).await.0, 404);
    let back = office
        .ok(
            &office.supervisor,
            "POST",
            "/versions/2/rollback",
            Some(json!({"note": "wrong"})),
        )
        .await;
    assert_eq!(
        (&back["kb_version"], &back["golden"]["right_after"]),
        (&json!(4), &json!(1))
    );
    let answer = office
        .server
        .post("/api/v1/ask", &json!({"question": FAQ_QUESTION}))
        .await
        .json();
    assert_eq!(answer["answer"], FAQ_ANSWER);
    assert_eq!(
        office
            .refused(&office.supervisor, "POST", "/versions/99/rollback", None)
            .await
            .0,
        404
    );
    office
        .ok(
            &office.admin,
            "DELETE",
            &format!("/golden/{}", golden["id"].as_str().unwrap()),
            None,
        )
        .await;
    let audit = office
        .server
        .store
        .audit_page(&kefu::storage::PageRequest::first(50))
        .await
        .unwrap()
        .items;
    for action in [
        "knowledge.draft",
        "knowledge.publish",
        "knowledge.rollback",
        "golden.put",
        "golden.remove",
    ] {
        assert!(audit.iter().any(|line| line.action == action), "{action}");
    }
}

#[tokio::test]
async fn a_question_is_tried_on_drafts() {
    let office = Office::open(|_| {}).await;
    let documents = office.ok(&office.agent, "GET", "/documents", None).await;
    let path = format!("/documents/{}", documents["items"][0]["id"].as_str().unwrap());
    let shown = office.ok(&office.auditor, "GET", &path, None).await;
    let place = &shown["passages"][0];
    let (start, end) = (
        place["start"].as_u64().unwrap() as usize,
        place["end"].as_u64().unwrap() as usize,
    );
    assert_eq!(
        &shown["text"].as_str().unwrap()[start..end],
        place["text"].as_str().unwrap()
    );
    let wrong = json!({"effective_from": "2027-01-01T00:00:00Z", "expires_at": "2026-01-01T00:00:00Z"});
    assert_eq!(
        office
            .refused(&office.agent, "PUT", &format!("{path}/scope"), Some(wrong))
            .await
            .0,
        400
    );
    let scope = json!({"audiences": ["vip"]});
    let draft = office
        .ok(&office.agent, "PUT", &format!("{path}/scope"), Some(scope))
        .await;
    let tried = async |revisions: Value, audiences: Value| {
        let body = json!({"question": QUESTION, "revisions": revisions, "audiences": audiences});
        office.ok(&office.auditor, "POST", "/try", Some(body)).await
    };
    let found = |tried: &Value| {
        tried["stages"]
            .as_array()
            .unwrap()
            .iter()
            .any(|stage| stage["id"] == place["id"])
    };
    let live = tried(json!([]), json!([])).await;
    assert!(
        found(&live) && live["stages"][0]["scores"]["fused"].is_number(),
        "{live}"
    );
    assert!(
        !found(&tried(json!([draft["id"]]), json!([])).await),
        "for others it is not there"
    );
    assert!(found(&tried(json!([draft["id"]]), json!(["vip"])).await));
    assert!(found(&tried(json!([]), json!([])).await), "nothing was published");
    let removal = office.ok(&office.agent, "DELETE", &path, None).await;
    assert!(!found(&tried(json!([removal["id"]]), json!(["vip"])).await));
}

fn multipart(parts: &[(&str, &str, &str)]) -> String {
    let mut body = String::new();
    for (name, file, content) in parts {
        let file = if file.is_empty() {
            String::new()
        } else {
            format!("; filename=\"{file}\"")
        };
        let head = format!("--frontier\r\nContent-Disposition: form-data; name=\"{name}\"{file}");
        body += &head;
        body += "\r\n\r\n";
        body += content;
        body += "\r\n";
    }
    body + "--frontier--\r\n"
}

#[tokio::test]
async fn uploads_become_drafts_or_are_published() {
    let office = Office::open(|config| config.knowledge.max_upload_bytes = 10_000).await;
    let origin = format!("http://{}", office.server.host());
    let upload = async |cookie: &str, parts: &[(&str, &str, &str)]| {
        let headers = [
            ("Cookie", cookie),
            ("Origin", origin.as_str()),
            ("Content-Type", "multipart/form-data; boundary=frontier"),
        ];
        let body = multipart(parts);
        office
            .server
            .request("POST", "/api/v1/knowledge/imports", &headers, Some(&body))
            .await
    };
    let fees = ("file", "kb/docs/fees.md", "# 年费\n\n金卡年费每年 200 元。\n");
    assert_eq!(upload(&office.agent, &[fees]).await.status, 403);
    assert_eq!(upload(&office.supervisor, &[]).await.status, 400);
    assert_eq!(upload(&office.supervisor, &[("other", "x", "y")]).await.status, 400);
    let large = "字".repeat(4000);
    assert_eq!(
        upload(&office.supervisor, &[("file", "large.txt", &large)])
            .await
            .code(),
        "too_large"
    );
    assert_eq!(upload(&office.supervisor, &[fees, fees]).await.status, 400);

    let broken = ("file", "photo.webp", "RIFF");
    let started = upload(&office.supervisor, &[fees, broken, ("publish", "", "true")]).await;
    assert_eq!(started.status, 202, "{}", started.text());
    office.server.tasks.close();
    office.server.tasks.wait().await;
    let path = format!("/imports/{}", started.json()["id"].as_str().unwrap());
    let job = office.ok(&office.supervisor, "GET", &path, None).await;
    assert_eq!(
        (&job["state"], &job["files_done"], &job["files_total"]),
        (&json!("done"), &json!(2), &json!(2)),
        "{job}"
    );
    assert_eq!(
        (&job["files"][0]["outcome"], &job["files"][1]["outcome"]),
        (&json!("added"), &json!("failed"))
    );
    assert_eq!(job["published"]["kb_version"], 3);
    let stored = office.server.store.document_by_source("kb/docs/fees.md").await.unwrap();
    assert!(stored.is_some());
    office.ok(&office.supervisor, "DELETE", &path, None).await;
    let none = format!("/imports/{}", uuid::Uuid::nil());
    assert_eq!(office.refused(&office.supervisor, "GET", &none, None).await.0, 404);
}
