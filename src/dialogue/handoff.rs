//! What the person who takes over is told. Put together from what is stored; no model writes any of it, so it is there at once and
//! says nothing that did not happen.

use crate::domain::{Gathered, HandoffSummary, Language, Message, Role, Route, Tried};
use crate::understanding::pii::Masker;
use std::fmt::Write as _;

/// Messages of the customer that are told: the first and the newest.
const ASKED: usize = 8;
/// Replies that are told.
const TRIED: usize = 8;
/// Characters of a message that are told.
const CLIPPED: usize = 200;
/// Messages of the customer that the summary in words has, beside the first.
const IN_WORDS: usize = 3;

/// What a summary is made of.
pub(super) struct Parts<'a> {
    /// Why: `requested`, `unresolved` or `failure`.
    pub reason: &'a str,
    /// What was said, oldest first.
    pub messages: &'a [Message],
    /// What task flows gathered.
    pub tasks: Vec<Gathered>,
    /// How the customer feels, where that is known.
    pub mood: Option<String>,
    /// Kinds of personal data in the vault.
    pub personal_data: Vec<String>,
    /// Masks what flows gathered: an address or a name may be among it.
    pub masker: &'a Masker,
}

/// The summary.
#[must_use]
pub(super) fn summarise(parts: Parts<'_>) -> HandoffSummary {
    let said: Vec<&Message> = (parts.messages.iter())
        .filter(|message| message.role == Role::Visitor)
        .collect();
    let language = said.last().map_or(Language::Zh, |last| Language::detect(&last.text));
    let newest = said.len().saturating_sub(ASKED - 1).max(1);
    let asked = said.iter().take(1).chain(said.iter().skip(newest));
    let mut personal_data = parts.personal_data;
    personal_data.sort();
    personal_data.dedup();
    let tasks = parts.tasks.into_iter().map(|task| masked(task, parts.masker));
    let mut summary = HandoffSummary {
        reason: parts.reason.to_owned(),
        language,
        asked: asked.map(|message| clipped(&message.text)).collect(),
        messages: said.len(),
        tried: tried(parts.messages),
        tasks: tasks.collect(),
        mood: parts.mood,
        personal_data,
        text: String::new(),
    };
    summary.text = in_words(&summary);
    summary
}

fn masked(task: Gathered, masker: &Masker) -> Gathered {
    let facts = task.facts.into_iter().map(|(name, value)| {
        // A mask is found by what stands before it, too: "姓名: 王小明".
        let line = format!("{name}：{value}");
        let whole = masker.mask(&line).text;
        let value = match whole.strip_prefix(&format!("{name}：")) {
            Some(value) => value.to_owned(),
            None => masker.mask(&value).text,
        };
        (name, value)
    });
    Gathered {
        facts: facts.collect(),
        ..task
    }
}

/// The replies that were meant to help, each with what was asked before it.
fn tried(messages: &[Message]) -> Vec<Tried> {
    let mut asked = "";
    let mut all = Vec::new();
    for message in messages {
        match (message.role, message.route) {
            (Role::Visitor, _) => asked = &message.text,
            (Role::Assistant, Some(route @ (Route::Faq | Route::Passages | Route::Clarify | Route::Refuse))) => {
                let mut sources: Vec<String> = Vec::new();
                for citation in &message.citations {
                    if !sources.contains(&citation.title) {
                        sources.push(citation.title.clone());
                    }
                }
                all.push(Tried {
                    question: clipped(asked),
                    route,
                    confidence: message.confidence,
                    sources,
                    rating: message.rating,
                    stopped: message.stopped,
                });
            }
            _ => {}
        }
    }
    all.drain(..all.len().saturating_sub(TRIED));
    all
}

fn clipped(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(CLIPPED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Everything in words, in the customer's language.
fn in_words(summary: &HandoffSummary) -> String {
    let zh = summary.language == Language::Zh;
    let mut text = String::new();
    let reason = match (summary.reason.as_str(), zh) {
        ("requested", true) => "客户要求人工服务",
        ("requested", false) => "the customer asked for a person",
        ("unresolved", true) => "多次未能解决",
        ("unresolved", false) => "not resolved after several turns",
        ("failure", true) => "系统故障，未能回答",
        ("failure", false) => "a part of the system failed",
        (other, _) => other,
    };
    let label = |chinese: &'static str, english: &'static str| if zh { chinese } else { english };
    line(&mut text, label("转接原因：", "Reason: "), reason);
    if let Some(mood) = &summary.mood {
        line(&mut text, label("客户情绪：", "Mood: "), mood);
    }
    if let Some(first) = summary.asked.first() {
        line(&mut text, label("最初的问题：", "First message: "), first);
    }
    let newest = &summary.asked[1.min(summary.asked.len())..];
    for said in &newest[newest.len().saturating_sub(IN_WORDS)..] {
        line(&mut text, label("后来说：", "Later: "), said);
    }
    for task in &summary.tasks {
        line(&mut text, label("办理中：", "Task: "), &task.task);
        for (name, value) in &task.facts {
            line(&mut text, "- ", &format!("{name}{}{value}", label("：", ": ")));
        }
        if let Some(missing) = &task.missing {
            line(&mut text, label("- 还缺：", "- still missing: "), missing);
        }
        if !task.done.is_empty() {
            line(&mut text, label("- 已完成：", "- done: "), &task.done.join(", "));
        }
    }
    for tried in &summary.tried {
        let how = match (tried.route, zh) {
            (Route::Faq, true) => "已给标准答案",
            (Route::Faq, false) => "approved answer",
            (Route::Passages, true) => "已引用资料回答",
            (Route::Passages, false) => "quoted",
            (Route::Clarify, true) => "不确定，给出了可能相关的资料",
            (Route::Clarify, false) => "not sure, showed what may be related",
            (_, true) => "没有找到答案",
            (_, false) => "no answer found",
        };
        let mut words = format!("“{}” → {how}", tried.question);
        if !tried.sources.is_empty() {
            let _ = write!(words, "{}", label("：", ": "));
            words.push_str(&tried.sources.join(label("；", "; ")));
        }
        if let Some(rating) = tried.rating {
            let _ = write!(words, "{}{rating}", label("；客户评分 ", "; rated "));
        }
        if tried.stopped {
            words.push_str(label("；未完成", "; not finished"));
        }
        line(&mut text, label("已尝试：", "Tried: "), &words);
    }
    if !summary.personal_data.is_empty() {
        line(
            &mut text,
            label("保险箱中的个人信息：", "Personal data in the vault: "),
            &summary.personal_data.join(", "),
        );
    }
    text.truncate(text.trim_end().len());
    text
}

fn line(text: &mut String, label: &str, words: &str) {
    text.push_str(label);
    text.push_str(words);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Citation, ConversationId, KbVersion, MessageId, PassageId};
    use jiff::Timestamp;

    fn message(role: Role, text: &str, route: Option<Route>) -> Message {
        Message {
            id: MessageId::new(),
            conversation_id: ConversationId::new(),
            role,
            text: text.to_owned(),
            route,
            confidence: route.map(|_| 0.5),
            citations: Vec::new(),
            kb_version: None,
            model: None,
            total_ms: None,
            stopped: false,
            rating: None,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn summary(messages: &[Message], tasks: Vec<Gathered>) -> HandoffSummary {
        summarise(Parts {
            reason: "unresolved",
            messages,
            tasks,
            mood: None,
            personal_data: vec!["name".to_owned(), "mobile".to_owned(), "name".to_owned()],
            masker: &Masker::default(),
        })
    }

    #[test]
    fn what_was_asked_and_tried_is_told_in_order() {
        let citation = Citation {
            n: 1,
            document_id: uuid::Uuid::nil(),
            title: "信用卡收费".to_owned(),
            passage_id: PassageId::new(),
            quote: String::new(),
            start: 0,
            end: 0,
            kb_version: KbVersion(1),
        };
        let mut quoted = message(Role::Assistant, "……", Some(Route::Passages));
        quoted.citations = vec![citation.clone(), citation];
        quoted.rating = Some(2);
        let said = [
            message(Role::Visitor, "你好", None),
            message(Role::Assistant, "您好", Some(Route::Smalltalk)),
            message(Role::Visitor, "年费多少", None),
            quoted,
            message(Role::Visitor, "不是这个", None),
            message(Role::Assistant, "抱歉", Some(Route::Refuse)),
        ];
        let summary = summary(&said, Vec::new());
        assert_eq!(summary.asked, ["你好", "年费多少", "不是这个"]);
        assert_eq!(summary.messages, 3);
        let [first, second] = &summary.tried[..] else {
            panic!("{summary:?}")
        };
        assert_eq!(
            (first.question.as_str(), first.route, first.rating),
            ("年费多少", Route::Passages, Some(2))
        );
        assert_eq!(first.sources, ["信用卡收费"]);
        assert_eq!((second.question.as_str(), second.route), ("不是这个", Route::Refuse));
        assert_eq!(summary.personal_data, ["mobile", "name"]);
        assert_eq!(
            summary.text,
            "转接原因：多次未能解决\n最初的问题：你好\n后来说：年费多少\n后来说：不是这个\n\
             已尝试：“年费多少” → 已引用资料回答：信用卡收费；客户评分 2\n\
             已尝试：“不是这个” → 没有找到答案\n保险箱中的个人信息：mobile, name"
        );
    }

    #[test]
    fn facts_are_masked_and_what_is_missing_is_named() {
        let task = Gathered {
            task: "查询账单".to_owned(),
            facts: vec![
                ("手机号".to_owned(), "13812345678".to_owned()),
                ("期间".to_owned(), "本期".to_owned()),
            ],
            missing: Some("验证码".to_owned()),
            done: vec!["send_code".to_owned()],
        };
        let summary = summary(&[message(Role::Visitor, "查账单", None)], vec![task]);
        assert!(!format!("{summary:?}").contains("13812345678"), "{summary:?}");
        assert_eq!(summary.tasks[0].facts[1].1, "本期");
        assert!(
            summary.text.contains("办理中：查询账单\n- 手机号："),
            "{}",
            summary.text
        );
        assert!(
            summary.text.contains("- 还缺：验证码\n- 已完成：send_code"),
            "{}",
            summary.text
        );
    }

    #[test]
    fn a_long_conversation_keeps_its_beginning_and_its_end() {
        let said: Vec<Message> = (0..50)
            .flat_map(|n| {
                [
                    message(Role::Visitor, &format!("question {n} {}", "x".repeat(300)), None),
                    message(Role::Assistant, "?", Some(Route::Clarify)),
                ]
            })
            .collect();
        let summary = summary(&said, Vec::new());
        assert_eq!(
            (summary.asked.len(), summary.tried.len(), summary.messages),
            (ASKED, TRIED, 50)
        );
        assert!(summary.asked[0].starts_with("question 0 ") && summary.asked[0].chars().count() == CLIPPED + 1);
        assert!(summary.asked[ASKED - 1].starts_with("question 49 "));
        assert_eq!(summary.language, Language::En);
        assert!(
            super::summarise(Parts {
                reason: "requested",
                messages: &[],
                tasks: Vec::new(),
                mood: None,
                personal_data: Vec::new(),
                masker: &Masker::default(),
            })
            .asked
            .is_empty()
        );
    }
}
