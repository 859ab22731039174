//! A FAQ from a conversation that a person resolved.

use crate::domain::{Message, Role, Route};
use crate::understanding::{match_key, smalltalk, wants_person};

/// Characters of an answer that is worth keeping.
const LEAST_ANSWER: usize = 8;
/// Characters of a question that means something by itself.
const LEAST_QUESTION: usize = 4;
/// Characters of a suggested answer.
const MOST_ANSWER: usize = 4000;
/// Wordings beside the question.
const VARIANTS: usize = 5;

/// What a conversation teaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learnt {
    /// What the customer wanted to know.
    pub question: String,
    /// How the customer said it besides.
    pub variants: Vec<String>,
    /// What the person answered.
    pub answer: String,
}

/// What was asked in vain and then answered by a person; `None` if nobody did.
#[must_use]
pub fn learn(messages: &[Message]) -> Option<Learnt> {
    let first = messages.iter().position(answers)?;
    let (before, after) = messages.split_at(first);
    let question = question_before(before)?;
    let mut answer: Vec<&str> = Vec::new();
    for message in after {
        match message.role {
            Role::Agent if answers(message) => answer.push(message.text.trim()),
            // The customer goes on: what the person says then answers something else.
            Role::Visitor if asks(&message.text) => break,
            _ => {}
        }
    }
    let mut seen = vec![match_key(&question)];
    let mut variants = Vec::new();
    for message in before.iter().rev().filter(|message| message.role == Role::Visitor) {
        let key = match_key(&message.text);
        if asks(&message.text) && unresolved_after(before, message) && !seen.contains(&key) {
            seen.push(key);
            variants.push(message.text.trim().to_owned());
        }
    }
    variants.truncate(VARIANTS);
    Some(Learnt {
        question,
        variants,
        answer: answer.join("\n").chars().take(MOST_ANSWER).collect(),
    })
}

/// Whether a person says something of substance.
fn answers(message: &Message) -> bool {
    message.role == Role::Agent
        && message.text.chars().filter(|c| c.is_alphanumeric()).count() >= LEAST_ANSWER
        && smalltalk(&message.text).is_none()
        && !message.text.trim_end().ends_with(['？', '?'])
}

/// Whether a customer's words ask something, rather than greet or call for a person.
#[must_use]
pub fn asks(text: &str) -> bool {
    text.chars().filter(|c| c.is_alphanumeric()).count() >= LEAST_QUESTION
        && smalltalk(text).is_none()
        && !wants_person(text)
}

/// The last question that the program could not answer, or else the last one at all.
fn question_before(before: &[Message]) -> Option<String> {
    let asked = || {
        let visitors = before.iter().rev().filter(|message| message.role == Role::Visitor);
        visitors.filter(|message| asks(&message.text))
    };
    let found = asked()
        .find(|message| unresolved_after(before, message))
        .or_else(|| asked().next())?;
    Some(found.text.trim().to_owned())
}

/// Whether the program's reply to this message resolved nothing.
fn unresolved_after(messages: &[Message], question: &Message) -> bool {
    let place = messages.iter().position(|message| message.id == question.id);
    let reply = place.and_then(|place| {
        let replies = messages[place + 1..].iter();
        replies
            .take_while(|next| next.role != Role::Visitor)
            .find(|next| next.role == Role::Assistant)
    });
    reply.is_some_and(|reply| matches!(reply.route, Some(Route::Refuse | Route::Clarify | Route::Handoff)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ConversationId, MessageId};

    fn said(role: Role, text: &str, route: Option<Route>) -> Message {
        Message {
            id: MessageId::new(),
            conversation_id: ConversationId::new(),
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
            created_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_unanswered_question_and_the_persons_words_are_learnt() {
        let messages = [
            said(Role::Visitor, "你好", None),
            said(Role::Assistant, "您好", Some(Route::Smalltalk)),
            said(Role::Visitor, "年费多少", None),
            said(Role::Assistant, "80元", Some(Route::Faq)),
            said(Role::Visitor, "钻石卡有没有机场接送", None),
            said(Role::Assistant, "没有找到", Some(Route::Refuse)),
            said(Role::Visitor, "钻石卡能不能接机啊", None),
            said(Role::Assistant, "没有找到", Some(Route::Refuse)),
            said(Role::Visitor, "转人工", None),
            said(Role::Assistant, "正在转接", Some(Route::Handoff)),
            said(Role::Agent, "您好，请问是哪一种钻石卡？", None),
            said(Role::Visitor, "白金钻石卡", None),
            said(Role::Agent, "白金钻石卡每年有两次机场接送。", None),
            said(Role::Agent, "需提前一天在App预约。", None),
            said(Role::Visitor, "谢谢", None),
            said(Role::Agent, "不客气", None),
        ];
        let learnt = learn(&messages).unwrap();
        assert_eq!(learnt.question, "钻石卡能不能接机啊");
        assert_eq!(learnt.variants, ["钻石卡有没有机场接送"]);
        assert_eq!(learnt.answer, "白金钻石卡每年有两次机场接送。\n需提前一天在App预约。");
    }

    #[test]
    fn nothing_is_learnt_where_no_person_answered() {
        assert_eq!(learn(&[]), None);
        let messages = [
            said(Role::Visitor, "钻石卡年费", None),
            said(Role::Assistant, "没有找到", Some(Route::Refuse)),
            said(Role::Agent, "稍等", None),
        ];
        assert_eq!(learn(&messages), None);
        assert_eq!(learn(&[said(Role::Agent, "本周六系统升级，暂停服务。", None)]), None);
    }
}
