//! Follow-up questions: "那运费呢？" after a question about returns means the freight of a return.

use super::matter::matter;
use super::normalise;
use crate::domain::{Role, Turn, is_han};

/// A message that can be searched without what was said before: the message itself where it stands alone, else the
/// customer's last standalone question followed by the message; both without what they say of the person.
///
/// Rules instead of a model: a small model that rewrites follow-ups gets the entity wrong. Joining keeps every word
/// that was said, and the search weighs the rare ones.
#[must_use]
pub fn standalone(message: &str, history: &[Turn]) -> String {
    let message = normalise(&matter(message));
    if !depends_on_history(&message) {
        return message;
    }
    let mut parts = vec![message];
    for turn in history.iter().rev().filter(|turn| turn.role == Role::Visitor).take(3) {
        let earlier = normalise(&matter(&turn.text));
        let stands_alone = !depends_on_history(&earlier);
        parts.push(earlier);
        if stands_alone {
            break;
        }
    }
    parts.reverse();
    parts.join(" ")
}

/// Whether a message points back: it begins with a connective, holds a pronoun for a thing, or is a fragment.
fn depends_on_history(message: &str) -> bool {
    const OPENINGS: [&str; 16] = [
        "那",
        "这个",
        "这种",
        "这张",
        "还有",
        "另外",
        "如果是",
        "要是",
        "换成",
        "同样",
        "它",
        "what about",
        "how about",
        "and ",
        "what if",
        "then ",
    ];
    const POINTERS: [&str; 12] = [
        "这个",
        "那个",
        "这种",
        "那种",
        "上面",
        "刚才",
        "刚刚",
        "前面说",
        " it ",
        " it?",
        " that?",
        " those",
    ];
    let lower = message.to_lowercase();
    let han = message.chars().filter(|c| is_han(*c)).count();
    let words = lower.split_whitespace().count();
    let ends_open = lower.trim_end_matches(['?', '!', '.', '?', '。']).ends_with('呢');
    let fragment = if han > 0 { han <= 3 } else { words <= 2 };
    fragment
        || ends_open
        || OPENINGS.iter().any(|opening| lower.starts_with(opening))
        || POINTERS.iter().any(|pointer| lower.contains(pointer))
}

#[cfg(test)]
mod tests {
    use super::standalone;
    use crate::domain::{Role, Turn};

    fn said(text: &str) -> Turn {
        Turn {
            role: Role::Visitor,
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_follow_up_takes_its_subject_along() {
        let history = [
            said("大家电退货要什么条件？"),
            Turn {
                role: Role::Assistant,
                text: "七天内未安装可退。".to_owned(),
            },
        ];
        assert_eq!(standalone("那运费呢？", &history), "大家电退货要什么条件? 那运费呢?");
        assert_eq!(standalone("信用卡年费是多少", &history), "信用卡年费是多少");
    }

    #[test]
    fn a_chain_goes_back_to_the_question_that_stands_alone() {
        let history = [said("挂失信用卡收费吗"), said("那借记卡呢"), said("多久能补好新卡呢")];
        assert_eq!(
            standalone("那快递费呢", &history),
            "挂失信用卡收费吗 那借记卡呢 多久能补好新卡呢 那快递费呢"
        );
    }

    #[test]
    fn without_history_a_fragment_stays_as_it_is() {
        assert_eq!(standalone("年费", &[]), "年费");
    }
}
