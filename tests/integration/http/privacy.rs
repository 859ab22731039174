//! What customers write about themselves lies nowhere in the clear: not in the database, the index, a prompt or a log.

use super::support::Server;
use kefu::config::Config;
use kefu::domain::{Hidden, StaffRole};
use kefu::people::NewUser;
use kefu::storage::PageRequest;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

const PASSWORD: &str = "correct horse battery";

/// Messages that are sent; each has four values and more.
const MESSAGES: usize = 250;
/// Messages of one conversation.
const EACH: usize = 25;

fn digits(count: usize, random: &mut StdRng) -> String {
    (0..count)
        .map(|_| char::from(b'0' + random.random_range(0..10_u8)))
        .collect()
}

fn id_card(random: &mut StdRng) -> String {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let born = format!(
        "{}{:02}{:02}",
        random.random_range(1950..2005),
        random.random_range(1..=12),
        random.random_range(1..=28)
    );
    let body = format!("310115{born}{}", digits(3, random));
    let sum: u32 = body
        .bytes()
        .zip(WEIGHTS)
        .map(|(digit, weight)| u32::from(digit - b'0') * weight)
        .sum();
    format!("{body}{}", char::from(b"10X98765432"[sum as usize % 11]))
}

fn bank_card(random: &mut StdRng) -> String {
    let body = format!("622{}", digits(15, random));
    let sum: u32 = (body.bytes().rev().enumerate())
        .map(|(at, digit)| {
            let value = u32::from(digit - b'0') << usize::from(at % 2 == 0);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

/// A message with values that must not be found anywhere.
fn message(random: &mut StdRng) -> (String, Vec<String>) {
    let mobile = format!("1{}{}", random.random_range(3..=9), digits(9, random));
    let (card, id) = (bank_card(random), id_card(random));
    let email = format!("mail{}@example.com", digits(7, random));
    let secret = format!("Pw{}x", digits(7, random));
    let house = digits(4, random);
    let name = format!(
        "{}{}{}",
        ["赵", "钱", "孙", "李", "欧阳"].choose(random).unwrap(),
        ["淑", "建", "晓", "雅", "俊"].choose(random).unwrap(),
        ["琴", "鹏", "燕", "婷", "辉"].choose(random).unwrap(),
    );
    let (text, values) = match random.random_range(0..4) {
        0 => (
            format!("我叫{name}，手机{mobile}，身份证{id}，卡号{card}，信用卡挂失手续费是多少？"),
            vec![name, mobile, id, card],
        ),
        1 => (
            format!("信用卡挂失手续费是多少？联系{mobile}或{email}，卡{card}，密码是{secret}"),
            vec![mobile, email, card, secret],
        ),
        2 => (
            format!("密码忘了怎么办？以前的密码是{secret}，实名{id}，手机号{mobile}，邮箱{email}"),
            vec![secret, id, mobile, email],
        ),
        _ => {
            let street = format!("长乐路{house}号");
            let spaced = format!("{} {} {}", &mobile[..3], &mobile[3..7], &mobile[7..]);
            (
                format!("收件人：{name}，地址：上海市徐汇区{street}，电话{spaced}，证件号{id}，能挂失吗"),
                vec![name, street, spaced, id],
            )
        }
    };
    (text, values)
}

/// What a thread logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn files(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
}

#[tokio::test]
async fn a_thousand_planted_values_are_found_nowhere() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let server = Server::start().await;
    let mut random = StdRng::seed_from_u64(1_000);
    let mut planted = Vec::new();
    let mut warned = 0;
    for _ in 0..MESSAGES / EACH {
        let (id, token) = server.visitor().await;
        for _ in 0..EACH {
            let (text, values) = message(&mut random);
            planted.extend(values);
            let events = server.say(&id, &token, &text).await.rest().await;
            let words: String = events
                .iter()
                .filter(|(name, _)| name == "token")
                .filter_map(|(_, data)| data["text"].as_str())
                .collect();
            assert!(events.iter().any(|(name, _)| name == "done"), "{events:?}");
            assert_eq!(
                words.contains("请不要发送密码"),
                text.contains("密码是"),
                "{text}: {words}"
            );
            warned += usize::from(words.contains("请不要发送密码"));
        }
        let body = json!({"score": 1, "comment": format!("打我电话{}", planted.iter().find(|value| value.len() == 11).unwrap())});
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str())];
        let path = format!("/api/v1/conversations/{id}/rating");
        let body = body.to_string();
        assert_eq!(server.request("POST", &path, &headers, Some(&body)).await.status, 204);
    }
    let question =
        json!({"question": format!("卡号{}怎么挂失", planted.iter().find(|value| value.len() == 19).unwrap())});
    assert_eq!(server.post("/api/v1/ask", &question).await.status, 200);
    assert!(planted.len() >= 1000 && warned > 50, "{} {warned}", planted.len());
    server.replies_are_stored().await;

    let mut found = Vec::new();
    files(server.data(), &mut found);
    assert!(found.iter().any(|(name, _)| name.ends_with("kefu.sqlite3")));
    found.push((
        "log".to_owned(),
        String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned(),
    ));
    let prompts: Vec<String> = server
        .model
        .requests
        .lock()
        .unwrap()
        .iter()
        .map(|request| format!("{request:?}"))
        .collect();
    found.push(("prompts".to_owned(), prompts.join("\n")));
    let metrics = server.request("GET", "/metrics", &[], None).await;
    found.push(("metrics".to_owned(), metrics.text()));
    let mut leaks = Vec::new();
    for value in &planted {
        for (name, text) in &found {
            if text.contains(value.as_str()) {
                leaks.push(format!("{value} in {name}"));
            }
        }
    }
    assert!(leaks.is_empty(), "{} of {}: {leaks:#?}", leaks.len(), planted.len());
    // The search itself works: what is no personal data is there.
    let database = found.iter().filter(|(name, _)| name.contains("kefu.sqlite3"));
    assert!(
        database
            .clone()
            .any(|(_, text)| text.contains("信用卡挂失手续费是多少"))
    );
}

#[tokio::test]
async fn a_number_in_two_messages_is_masked_in_both() {
    let server = Server::start().await;
    let (id, token) = server.visitor().await;
    server.say(&id, &token, "我的手机号是1387654").await.rest().await;
    server.say(&id, &token, "3210，请尽快").await.rest().await;
    server.say(&id, &token, "我的卡号是6222021").await.rest().await;
    server.say(&id, &token, "234567890128").await.rest().await;
    server.replies_are_stored().await;
    let said = server.transcript(&id, &token).await;
    let texts: Vec<&str> = said["messages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|message| message["role"] == "visitor")
        .map(|message| message["text"].as_str().unwrap())
        .collect();
    assert!(!texts.iter().any(|text| text.contains("1387654")), "{texts:?}");
    assert!(
        !texts
            .iter()
            .any(|text| text.contains("6222021") || text.contains("234567890128")),
        "{texts:?}"
    );
}

/// Signs somebody in; returns the cookie.
async fn sign_in(server: &Server, role: StaffRole) -> String {
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
    reply
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_value_is_revealed_with_a_role_a_reason_and_a_line_in_the_log() {
    let server = Server::start_with(|_: &mut Config| {}).await;
    let (id, token) = server.visitor().await;
    let text = "我叫王小明，打13876543210找我，密码是abc12345";
    server.say(&id, &token, text).await.rest().await;
    server.replies_are_stored().await;
    let (supervisor, agent) = (
        sign_in(&server, StaffRole::Supervisor).await,
        sign_in(&server, StaffRole::Agent).await,
    );
    let origin = format!("http://{}", server.host());
    let send = async |cookie: &str, method: &str, path: &str, body: Option<Value>| {
        let headers = [("Cookie", cookie), ("Origin", origin.as_str())];
        let path = format!("/api/v1/conversations/{id}/{path}");
        let body = body.map(|body| body.to_string());
        server.request(method, &path, &headers, body.as_deref()).await
    };
    let list = send(&supervisor, "GET", "personal-data", None).await.json();
    let items = list["items"].as_array().unwrap();
    let kinds: Vec<&str> = items.iter().map(|item| item["kind"].as_str().unwrap()).collect();
    // The password is not among them.
    assert_eq!(kinds, ["name", "mobile"]);
    let stored = server.transcript(&id, &token).await["messages"][0]["text"]
        .as_str()
        .unwrap()
        .to_owned();
    let place = |name: &str| usize::try_from(items[1][name].as_u64().unwrap()).unwrap();
    let mask: String = stored
        .chars()
        .skip(place("start"))
        .take(place("end") - place("start"))
        .collect();
    assert_eq!(mask, "138****3210");

    let value = items[1]["id"].as_str().unwrap();
    let ask = |reason: &str| Some(json!({"id": value, "reason": reason}));
    assert_eq!(send(&agent, "POST", "reveal", ask("回访客户")).await.status, 403);
    assert_eq!(send(&supervisor, "POST", "reveal", ask(" ")).await.status, 400);
    let revealed = send(&supervisor, "POST", "reveal", ask("回访客户 13912345678")).await;
    assert_eq!(revealed.json(), json!({"kind": "mobile", "value": "13876543210"}));
    let log = server.store.audit_page(&PageRequest::first(10)).await.unwrap();
    let line = log
        .items
        .iter()
        .find(|line| line.action == "personal_data.reveal")
        .unwrap();
    assert_eq!(
        (line.actor.as_str(), line.object.as_str()),
        ("supervisor", format!("conversation:{id}").as_str())
    );
    assert!(
        line.detail.contains("回访客户") && line.detail.contains(value),
        "{}",
        line.detail
    );
    assert!(!line.detail.contains("13912345678"), "{}", line.detail);

    assert!(server.store.erase_vault(id.parse().unwrap()).await.unwrap());
    assert_eq!(send(&supervisor, "POST", "reveal", ask("回访客户")).await.status, 404);
}
