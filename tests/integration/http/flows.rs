//! Task flows from the customer's words over HTTP to an inner system over HTTP and back.

use super::inner::{Inner, TOOLS};
use super::support::{FAQ_ANSWER, FAQ_QUESTION, Server};
use kefu::dialogue::flow::{Trace, load, replay};
use kefu::domain::MessageId;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const FLOWS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kb/flows");

async fn serving() -> (Server, Inner) {
    let (inner, address) = Inner::start().await;
    let server = Server::start_with(|config| {
        FLOWS.clone_into(&mut config.dialogue.flows);
        config.tools = Inner::settings(address);
    })
    .await;
    (server, inner)
}

/// A visitor in a conversation.
struct Visitor<'s> {
    server: &'s Server,
    id: String,
    token: String,
}

/// A whole reply.
struct Said {
    text: String,
    route: String,
    message: String,
    events: Vec<(String, Value)>,
}

impl<'s> Visitor<'s> {
    async fn of(server: &'s Server) -> Self {
        let (id, token) = server.visitor().await;
        Self { server, id, token }
    }

    async fn say(&self, text: &str) -> Said {
        let events = self.server.say(&self.id, &self.token, text).await.rest().await;
        let of = |name: &str| -> Vec<&Value> {
            let named = events.iter().filter(|(event, _)| event == name);
            named.map(|(_, data)| data).collect()
        };
        let words: String = of("token").iter().filter_map(|data| data["text"].as_str()).collect();
        let field = |name: &str, field: &str| {
            let first = of(name).first().and_then(|data| data[field].as_str());
            first.unwrap_or_default().to_owned()
        };
        let (route, message) = (field("route", "route"), field("done", "message_id"));
        Said {
            text: words,
            route,
            message,
            events,
        }
    }

    /// Says all of it; the last reply.
    async fn says(&self, texts: &[&str]) -> Said {
        let mut last = None;
        for text in texts {
            last = Some(self.say(text).await);
        }
        last.unwrap()
    }
}

#[tokio::test]
async fn a_parcel_is_found_with_a_question_between() {
    let (server, inner) = serving().await;
    let visitor = Visitor::of(&server).await;
    let said = visitor.say("我的快递到哪了").await;
    assert_eq!(said.route, "flow");
    assert!(said.text.contains("运单号"), "{}", said.text);
    let said = visitor.say(FAQ_QUESTION).await;
    assert!(
        said.text.contains(FAQ_ANSWER) && said.text.contains("我们继续“查询快递”"),
        "{}",
        said.text
    );
    assert!(said.events.iter().any(|(name, _)| name == "citation"));
    let said = visitor.says(&["SF1234567899", "8812"]).await;
    assert!(said.text.contains("没有查到运单 SF1234567899"), "{}", said.text);
    let said = visitor.say("SF1234567890").await;
    assert!(
        said.text.contains("运输中") && said.text.contains("05-28 10:00 杭州转运中心"),
        "{}",
        said.text
    );
    assert_eq!(inner.calls("parcel_status").len(), 2);
    // It is over: what follows is answered from the knowledge base.
    assert_eq!(visitor.say(FAQ_QUESTION).await.route, "faq");
}

#[tokio::test]
async fn a_bill_needs_the_code_and_the_code_is_stored_nowhere() {
    let (server, inner) = serving().await;
    let visitor = Visitor::of(&server).await;
    let said = visitor.says(&["查一下我的账单", "13800138000", "本期"]).await;
    assert!(said.text.contains("验证码已发送"), "{}", said.text);
    let code = inner.code("13800138000");
    let said = visitor.say("000000").await;
    assert!(
        said.text.contains("不正确") && inner.calls("bill").is_empty(),
        "{}",
        said.text
    );
    let said = visitor.say(&format!("验证码是{code}")).await;
    assert!(
        said.text.contains("3250.80") && said.text.contains("2026-06-08") && said.text.contains("客户 C-13800138000"),
        "{}",
        said.text
    );
    let transcript = visitor.server.transcript(&visitor.id, &visitor.token).await.to_string();
    assert!(
        !transcript.contains(&code)
            && !transcript.contains("13800138000")
            && transcript.contains("验证码是[密码已删除]"),
        "{transcript}"
    );
    // The reply can be computed again from what is stored, and the code is not in it.
    let message: MessageId = said.message.parse().unwrap();
    let turn = server.store.flow_turn(message).await.unwrap().unwrap();
    let trace = server.unsealed(&visitor.id, &message.0.to_string(), &turn.trace).await;
    assert!(!trace.contains(&code), "{trace}");
    let traces: Vec<Trace> = serde_json::from_str(&trace).unwrap();
    let flows = load(std::path::Path::new(FLOWS)).unwrap();
    for trace in &traces {
        let flow = flows.iter().find(|flow| flow.name == trace.before.flow).unwrap();
        replay(flow, trace).unwrap();
    }
    assert!(!traces.is_empty());
    let session = server
        .store
        .flow_session(visitor.id.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    let state = server.unsealed(&visitor.id, "flow session", &session.state).await;
    assert!(
        !state.contains(&code) && !state.contains("13800138000"),
        "what is over is kept no longer"
    );
}

#[tokio::test]
async fn five_wrong_codes_call_a_person_and_count_for_the_next_flow() {
    let (server, inner) = serving().await;
    let visitor = Visitor::of(&server).await;
    let said = visitor
        .says(&[
            "查账单",
            "13800138000",
            "本期",
            "111111",
            "222222",
            "333333",
            "444444",
            "555555",
        ])
        .await;
    assert!(
        said.events
            .iter()
            .any(|(name, data)| name == "handoff" && data["reason"] == "unresolved"),
        "{:?}",
        said.events
    );
    let said = visitor.say("我的卡丢了，是信用卡，尾号1234，手机13800138000").await;
    assert!(
        said.events.iter().any(|(name, _)| name == "handoff"),
        "{:?}",
        said.events
    );
    assert_eq!(
        (
            inner.calls("verify_code").len(),
            inner.calls("bill").len(),
            inner.calls("report_loss").len()
        ),
        (5, 0, 0)
    );
}

async fn until_confirmation(visitor: &Visitor<'_>, order: &str) -> Said {
    visitor
        .says(&[
            "我要预约安装",
            order,
            "明天",
            "第一个",
            "13800138000",
            "杭州市西湖区文三路128号",
            "没有",
        ])
        .await
}

#[tokio::test]
async fn one_time_is_given_to_one_of_many() {
    let (server, inner) = serving().await;
    let mut visitors = Vec::new();
    for index in 0..6 {
        let visitor = Visitor::of(&server).await;
        let said = until_confirmation(&visitor, &format!("KF0000000{index}")).await;
        assert!(said.text.contains("确认预约吗"), "{}", said.text);
        visitors.push(visitor);
    }
    let replies = futures::future::join_all(visitors.iter().map(|visitor| visitor.say("确认"))).await;
    let booked = replies.iter().filter(|said| said.text.contains("预约成功")).count();
    let taken = replies
        .iter()
        .filter(|said| said.text.contains("刚刚被约走了") && !said.text.contains("09:00"))
        .count();
    assert_eq!((booked, taken), (1, 5));
    assert_eq!(inner.booked().len(), 1);
    // The others choose again, and again one gets each time.
    let mut waiting: Vec<&Visitor<'_>> = visitors
        .iter()
        .zip(&replies)
        .filter(|(_, said)| !said.text.contains("预约成功"))
        .map(|(visitor, _)| visitor)
        .collect();
    for left in [4, 3] {
        let said = futures::future::join_all(waiting.iter().map(|visitor| visitor.says(&["第一个", "确认"]))).await;
        let mut said = said.iter();
        waiting.retain(|_| said.next().is_some_and(|said| !said.text.contains("预约成功")));
        assert_eq!(waiting.len(), left);
    }
    let orders: BTreeSet<String> = inner.booked().into_values().collect();
    assert_eq!(
        (inner.booked().len(), orders.len()),
        (3, 3),
        "three times, three orders"
    );
    let said = waiting[0].say("明天").await;
    assert!(said.text.contains("已约满"), "{}", said.text);
}

#[tokio::test]
async fn an_answer_that_got_lost_books_once() {
    let (server, inner) = serving().await;
    let visitor = Visitor::of(&server).await;
    until_confirmation(&visitor, "KF00000001").await;
    inner.lose_next("book_installation");
    let said = visitor.say("确认").await;
    assert!(said.text.contains("预约成功，编号 A-1"), "{}", said.text);
    let calls = inner.calls("book_installation");
    assert_eq!((calls.len(), inner.booked().len()), (2, 1));
    assert_eq!(calls[0], calls[1], "the same wish with the same key");
    // Both tries get lost: the customer is asked, and it is still one booking.
    let visitor = Visitor::of(&server).await;
    until_confirmation(&visitor, "KF00000002").await;
    inner.lose_next("book_installation");
    inner.lose_next("book_installation");
    let said = visitor.say("确认").await;
    assert!(said.text.contains("重试"), "{}", said.text);
    let said = visitor.say("重试").await;
    assert!(said.text.contains("预约成功，编号 A-2"), "{}", said.text);
    assert_eq!(inner.booked().len(), 2);
}

#[tokio::test]
async fn a_lost_card_is_blocked_while_another_flow_waits() {
    let (server, inner) = serving().await;
    let visitor = Visitor::of(&server).await;
    visitor.says(&["查快递", "SF1234567890"]).await;
    let said = visitor.say("我的卡丢了").await;
    assert!(said.text.contains("哪种卡"), "{}", said.text);
    visitor.says(&["信用卡", "不记得", "13800138000"]).await;
    let code = inner.code("13800138000");
    let said = visitor.says(&[code.as_str(), "不用了"]).await;
    assert!(
        said.text.contains("立即挂失信用卡") && inner.blocked().is_empty(),
        "{}",
        said.text
    );
    let said = visitor.say("挂失以后可以撤销吗？").await;
    assert!(inner.blocked().is_empty(), "{}", said.text);
    let said = visitor.say("确认").await;
    assert!(
        said.text.contains("受理编号 L-1") && said.text.contains("我们继续“查询快递”"),
        "{}",
        said.text
    );
    assert_eq!(
        inner.blocked(),
        [json!({"card": "credit", "customer": "C-13800138000", "reissue": false})]
    );
    let said = visitor.say("8812").await;
    assert!(said.text.contains("运输中"), "{}", said.text);
}

#[tokio::test]
async fn a_system_that_is_down_calls_a_person_and_a_person_is_always_called() {
    let (server, inner) = serving().await;
    inner.break_down("parcel_status");
    let visitor = Visitor::of(&server).await;
    let said = visitor.says(&["查快递", "SF1234567890", "8812"]).await;
    assert!(said.text.contains("重试"), "{}", said.text);
    let said = visitor.say("重试").await;
    assert!(
        said.events
            .iter()
            .any(|(name, data)| name == "handoff" && data["reason"] == "failure"),
        "{:?}",
        said.events
    );

    let visitor = Visitor::of(&server).await;
    visitor.says(&["我要预约安装", "KF00000001"]).await;
    let said = visitor.say("转人工").await;
    assert_eq!(said.route, "handoff");
    let session = server
        .store
        .flow_session(visitor.id.parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert!(!session.state.contains("KF00000001"), "{}", session.state);
    let state = server.unsealed(&visitor.id, "flow session", &session.state).await;
    assert!(
        state.contains("订单号: KF00000001"),
        "what was gathered is kept for the person: {state}"
    );
}

#[test]
fn what_flows_call_is_in_the_settings() {
    let called: BTreeSet<String> = load(std::path::Path::new(FLOWS))
        .unwrap()
        .iter()
        .flat_map(|flow| flow.tools().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(called, TOOLS.iter().map(|tool| (*tool).to_owned()).collect());
}
