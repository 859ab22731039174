//! Signing in and out: who is let in, for how long, and what is written down of it.

use super::client::Reply;
use super::support::Server;
use jiff::SignedDuration;
use kefu::domain::{Hidden, StaffRole};
use kefu::people::NewUser;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PASSWORD: &str = "correct horse battery";
const ANOTHER: &str = "another long password";

async fn server(users: &[(&str, StaffRole)]) -> Server {
    let server = Server::start_loading(|_| {}).await;
    for (name, role) in users {
        add(&server, name, *role, false).await;
    }
    server
}

async fn add(server: &Server, name: &str, role: StaffRole, must_change: bool) {
    let new = NewUser {
        name: name.to_owned(),
        display_name: None,
        role,
        password: Hidden(PASSWORD.to_owned()),
        must_change,
    };
    server.state.people().add(new, "command line").await.unwrap();
}

async fn login(server: &Server, body: Value) -> Reply {
    server.post("/api/v1/auth/login", &body).await
}

/// Signs in; returns the cookie as the browser sends it back.
async fn cookie(server: &Server, name: &str, password: &str) -> String {
    let reply = login(server, json!({"name": name, "password": password})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    pair(&reply)
}

fn pair(reply: &Reply) -> String {
    reply
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned()
}

async fn ask(server: &Server, method: &str, path: &str, cookie: &str, body: Option<Value>) -> Reply {
    let origin = format!("http://{}", server.host());
    let body = body.map(|body| body.to_string());
    let headers = [("Cookie", cookie), ("Origin", origin.as_str())];
    server.request(method, path, &headers, body.as_deref()).await
}

async fn me(server: &Server, cookie: &str) -> u16 {
    ask(server, "GET", "/api/v1/auth/me", cookie, None).await.status
}

async fn actions(server: &Server, cookie: &str) -> Vec<(String, String, String)> {
    let reply = ask(server, "GET", "/api/v1/audit?limit=200", cookie, None).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = |line: &Value, field: &str| line[field].as_str().unwrap().to_owned();
    let lines = reply.json()["items"].as_array().unwrap().clone();
    let line = |line: &Value| (text(line, "actor"), text(line, "action"), text(line, "object"));
    lines.iter().rev().map(line).collect()
}

#[tokio::test]
async fn a_session_lasts_until_it_is_ended() {
    let server = server(&[("王芳", StaffRole::Admin)]).await;
    let reply = login(&server, json!({"name": " 王芳 ", "password": PASSWORD})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let user = &reply.json()["user"];
    assert_eq!((&user["name"], &user["role"]), (&json!("王芳"), &json!("admin")));
    let set = reply.header("set-cookie").unwrap().to_owned();
    for part in ["kefu-session=", "HttpOnly", "SameSite=Strict", "Path=/api/v1"] {
        assert!(set.contains(part), "{set}");
    }
    let cookie = pair(&reply);
    assert!(cookie.len() > 40 && !reply.text().contains(cookie.split_once('=').unwrap().1));
    let shown = ask(&server, "GET", "/api/v1/auth/me", &cookie, None).await;
    assert_eq!(shown.json()["user"], *user);
    let out = ask(&server, "POST", "/api/v1/auth/logout", &cookie, None).await;
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(me(&server, &cookie).await, 401);
    assert_eq!(
        ask(&server, "POST", "/api/v1/auth/logout", &cookie, None).await.status,
        401
    );
}

#[tokio::test]
async fn sessions_end_when_idle_and_when_old() {
    let server = server(&[("a", StaffRole::Agent)]).await;
    let minutes = |n| server.clock.advance(SignedDuration::from_mins(n));
    let first = cookie(&server, "a", PASSWORD).await;
    minutes(29);
    assert_eq!(me(&server, &first).await, 200);
    minutes(29);
    assert_eq!(me(&server, &first).await, 200, "each use counts");
    minutes(30);
    assert_eq!(me(&server, &first).await, 401);
    let second = cookie(&server, "a", PASSWORD).await;
    for _ in 0..24 {
        minutes(29);
        assert_eq!(me(&server, &second).await, 200);
    }
    minutes(24);
    assert_eq!(me(&server, &second).await, 401, "twelve hours are over");
    // A clock that is set back a little shuts nobody out; one that is set back a day makes nobody immortal.
    let third = cookie(&server, "a", PASSWORD).await;
    minutes(-4);
    assert_eq!(me(&server, &third).await, 200);
    minutes(-24 * 60);
    assert_eq!(me(&server, &third).await, 401);
}

#[tokio::test]
async fn shutting_somebody_out_and_another_password_end_sessions_at_once() {
    let server = server(&[("a", StaffRole::Agent), ("b", StaffRole::Admin)]).await;
    let people = server.state.people();
    let other = cookie(&server, "b", PASSWORD).await;
    let (one, two) = (
        cookie(&server, "a", PASSWORD).await,
        cookie(&server, "A", PASSWORD).await,
    );
    people.disable("a", "b").await.unwrap();
    assert_eq!((me(&server, &one).await, me(&server, &two).await), (401, 401));
    let refused = login(&server, json!({"name": "a", "password": PASSWORD})).await;
    assert_eq!((refused.status, refused.code()), (401, "wrong_credentials".to_owned()));
    people.enable("a", "b").await.unwrap();
    assert_eq!(me(&server, &one).await, 401, "what ended stays ended");
    let one = cookie(&server, "a", PASSWORD).await;
    people
        .reset_password("a", Hidden(ANOTHER.to_owned()), false, "b")
        .await
        .unwrap();
    assert_eq!(me(&server, &one).await, 401);
    let one = cookie(&server, "a", ANOTHER).await;
    people.set_role("a", StaffRole::Supervisor, "b").await.unwrap();
    assert_eq!(me(&server, &one).await, 401);
    assert_eq!(me(&server, &other).await, 200, "nobody else is signed out");
}

#[tokio::test]
async fn a_person_changes_its_password_and_stays() {
    let server = server(&[("auditor", StaffRole::Auditor)]).await;
    add(&server, "new", StaffRole::Admin, true).await;
    let (here, there) = (
        cookie(&server, "new", PASSWORD).await,
        cookie(&server, "new", PASSWORD).await,
    );
    let waits = ask(&server, "GET", "/api/v1/audit", &here, None).await;
    assert_eq!((waits.status, waits.code()), (403, "password_change_needed".to_owned()));
    let change = async |old: &str, new: &str| {
        let body = json!({"old": old, "new": new});
        ask(&server, "POST", "/api/v1/auth/password", &here, Some(body)).await
    };
    for (old, new, code) in [
        ("wrong password", ANOTHER, "wrong_password"),
        (PASSWORD, PASSWORD, "weak_password"),
        (PASSWORD, "short", "weak_password"),
        (PASSWORD, "it is NEW and long", "weak_password"),
    ] {
        let refused = change(old, new).await;
        assert_eq!((refused.status, refused.code()), (400, code.to_owned()), "{new}");
    }
    let changed = change(PASSWORD, ANOTHER).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(changed.json()["user"]["must_change_password"], false);
    let now = pair(&changed);
    assert_eq!(ask(&server, "GET", "/api/v1/audit", &now, None).await.status, 200);
    assert_eq!((me(&server, &here).await, me(&server, &there).await), (401, 401));
    assert_eq!(
        login(&server, json!({"name": "new", "password": PASSWORD}))
            .await
            .status,
        401
    );
    let auditor = cookie(&server, "auditor", PASSWORD).await;
    let lines = actions(&server, &auditor).await;
    let named = |actor: &str, action: &str, object: &str| (actor.to_owned(), action.to_owned(), object.to_owned());
    assert_eq!(lines[0], named("command line", "user.add", "user:auditor"));
    assert_eq!(lines[4], named("(not signed in)", "session.refuse", "user:new"));
    assert!(lines.contains(&named("new", "user.password", "user:new")), "{lines:?}");
    assert_eq!(
        lines.last().unwrap(),
        &named("auditor", "session.begin", "user:auditor")
    );
    assert_eq!(server.store.verify_audit().await.unwrap().broken_at, None);
}

#[tokio::test]
async fn nothing_tells_whether_an_account_exists() {
    let server = server(&[
        ("known", StaffRole::Agent),
        ("disabled", StaffRole::Agent),
        ("admin", StaffRole::Admin),
    ])
    .await;
    server.state.people().disable("disabled", "admin").await.unwrap();
    let mut answers = Vec::new();
    for name in ["known", "unknown", "disabled", "", "x y", &"n".repeat(300)] {
        let reply = login(&server, json!({"name": name, "password": "wrong password!"})).await;
        let error = reply.json()["error"].clone();
        answers.push((reply.status, error["code"].clone(), error["message"].clone()));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    // The audit log names accounts that exist, and no word that was typed into the wrong field.
    let admin = cookie(&server, "admin", PASSWORD).await;
    let refused: Vec<String> = actions(&server, &admin)
        .await
        .into_iter()
        .filter(|(_, action, _)| action == "session.refuse")
        .map(|(_, _, object)| object)
        .collect();
    assert_eq!(
        refused,
        [
            "user:known",
            "user:(unknown)",
            "user:disabled",
            "user:(unknown)",
            "user:(unknown)"
        ]
    );
}

/// Unknown names cost a hash too. Each side's fastest of several is compared, so that a busy machine does not decide.
#[tokio::test]
async fn unknown_names_cost_the_same_work() {
    let server = server(&[("known", StaffRole::Agent)]).await;
    let fastest = async |prefix: &str, same: bool| {
        let mut best = Duration::MAX;
        for n in 0..6 {
            let name = if same {
                prefix.to_owned()
            } else {
                format!("{prefix}{n}")
            };
            let begun = Instant::now();
            assert_eq!(
                login(&server, json!({"name": name, "password": "wrong password!"}))
                    .await
                    .status,
                401
            );
            best = best.min(begun.elapsed());
            server.clock.advance(SignedDuration::from_mins(20));
        }
        best
    };
    let (known, unknown) = (fastest("known", true).await, fastest("unknown", false).await);
    // Without the hash an unknown name would be answered some twenty times as fast.
    assert!(
        unknown * 3 > known && known * 3 > unknown,
        "known {known:?}, unknown {unknown:?}"
    );
}

#[tokio::test]
async fn guessing_is_slowed_down_and_the_right_password_waits_too() {
    let server = server(&[("a", StaffRole::Agent)]).await;
    for _ in 0..5 {
        assert_eq!(
            login(&server, json!({"name": "a", "password": "wrong password!"}))
                .await
                .status,
            401
        );
    }
    let wait = login(&server, json!({"name": "A", "password": PASSWORD})).await;
    assert_eq!((wait.status, wait.code()), (429, "too_many_attempts".to_owned()));
    assert_eq!(wait.header("retry-after"), Some("1"));
    server.clock.advance(SignedDuration::from_secs(1));
    assert_eq!(
        login(&server, json!({"name": "a", "password": "wrong password!"}))
            .await
            .status,
        401
    );
    let wait = login(&server, json!({"name": "a", "password": PASSWORD})).await;
    assert_eq!(wait.header("retry-after"), Some("2"));
    server.clock.advance(SignedDuration::from_secs(2));
    let cookie = cookie(&server, "a", PASSWORD).await;
    assert_eq!(me(&server, &cookie).await, 200);
}

#[tokio::test]
async fn one_time_codes_are_asked_for_and_taken_once() {
    let server = server(&[("a", StaffRole::Admin)]).await;
    let (_, secret) = server.state.people().require_codes("a", "command line").await.unwrap();
    let with = async |code: Option<String>| {
        let mut body = json!({"name": "a", "password": PASSWORD});
        if let Some(code) = code {
            body["code"] = code.into();
        }
        login(&server, body).await
    };
    assert_eq!(with(None).await.code(), "code_needed");
    let right = secret.code_at(server.state.now()).unwrap();
    let wrong = if right == "000000" { "000001" } else { "000000" };
    assert_eq!(with(Some(wrong.to_owned())).await.code(), "wrong_code");
    assert_eq!(with(Some(right.clone())).await.status, 200);
    assert_eq!(with(Some(right)).await.code(), "wrong_code", "no code is taken twice");
    server.clock.advance(SignedDuration::from_secs(30));
    let next = secret.code_at(server.state.now()).unwrap();
    assert_eq!(with(Some(next)).await.status, 200);
    let without = login(
        &server,
        json!({"name": "a", "password": "wrong password!", "code": "1"}),
    )
    .await;
    assert_eq!(
        without.code(),
        "wrong_credentials",
        "nothing is said of codes before the password is right"
    );
}

#[tokio::test]
async fn a_cursor_that_no_list_gave_is_refused() {
    let server = server(&[("a", StaffRole::Auditor)]).await;
    let cookie = cookie(&server, "a", PASSWORD).await;
    for query in ["limit=0", "limit=201", "limit=x", "cursor=!", "cursor=eA"] {
        let reply = ask(&server, "GET", &format!("/api/v1/audit?{query}"), &cookie, None).await;
        assert_eq!(
            (reply.status, reply.code()),
            (400, "invalid_parameter".to_owned()),
            "{query}"
        );
    }
    let first = ask(&server, "GET", "/api/v1/audit?limit=1", &cookie, None).await.json();
    let cursor = first["next_cursor"].as_str().unwrap().to_owned();
    let second = ask(
        &server,
        "GET",
        &format!("/api/v1/audit?limit=1&cursor={cursor}"),
        &cookie,
        None,
    )
    .await
    .json();
    assert_eq!(
        (&first["items"][0]["seq"], &second["items"][0]["seq"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(second["next_cursor"], Value::Null);
}
