//! Sources that give different values for what was asked.
//!
//! Two claims are about the same thing only if nothing in them sets them apart: the words of either that the other lacks must be
//! numbers, dates or words that say nothing, and what their headings are about must not differ. "白金卡年费 600 元" does not
//! contradict "金卡年费 200 元", nor a fee for transfers within the bank one for those between banks.

use super::facts::Facts;
use super::qualifiers;
use super::sentences::segments;
use super::table;
use crate::domain::is_han;
use crate::inference::AnswerPlace;
use crate::understanding::normalise;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

/// What a source says to a question.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Claim {
    /// The words that say it.
    words: String,
    /// What in them is the answer.
    facts: Facts,
    /// Their bytes in the source's text: a clause, or a row of a table.
    pub(super) quote: Range<usize>,
}

impl Claim {
    /// The clause of `text`, or the cell of a table, in which a reader sees the answer; `None` where it has no number.
    pub(super) fn at(text: &str, place: &AnswerPlace) -> Option<Self> {
        let span = place.span.clone();
        if span.is_empty() || text.get(span.clone()).is_none() {
            return None;
        }
        if let Some(cell) = table::cell_at(text, span.start) {
            let facts = Facts::of(&cell.value);
            let words = format!("{} {} {}", cell.thing, cell.attribute, cell.value);
            return (!facts.quantities.is_empty()).then_some(Self {
                words,
                facts,
                quote: cell.row,
            });
        }
        let sentence = segments(text)
            .into_iter()
            .find(|part| part.start < span.end && span.start < part.end)?;
        let wanted = sentence.start.max(span.start)..sentence.end.min(span.end);
        let clause = clauses(text, &sentence)
            .into_iter()
            .filter(|clause| clause.start < wanted.end && wanted.start < clause.end)
            .find(|clause| !Facts::of(&text[clause.clone()]).quantities.is_empty())?;
        let answer = clause.start.max(wanted.start)..clause.end.min(wanted.end);
        let facts = Facts::of(&text[answer]);
        (!facts.quantities.is_empty()).then(|| Self {
            words: text[clause.clone()].to_owned(),
            facts,
            quote: clause,
        })
    }

    /// It in words: the clause, or the cell with the names of its row and column.
    pub(super) fn said(&self) -> &str {
        &self.words
    }

    /// Whether both say the same of different values: facts of the same kinds, one of which differs, and no other words that matter.
    pub(super) fn contradicts(&self, other: &Self, question: &str) -> bool {
        let (own, others) = (by_unit(&self.facts), by_unit(&other.facts));
        let comparable = own.keys().eq(others.keys()) && own.keys().any(|unit| !unit.is_empty());
        let sizes = own
            .iter()
            .all(|(unit, values)| others.get(unit).is_some_and(|others| others.len() == values.len()));
        comparable
            && sizes
            && own != others
            && residue(&self.words, &other.words, question).is_empty()
            && residue(&other.words, &self.words, question).is_empty()
    }
}

/// The values of each unit.
fn by_unit(facts: &Facts) -> BTreeMap<&'static str, BTreeSet<&str>> {
    let mut found: BTreeMap<&'static str, BTreeSet<&str>> = BTreeMap::new();
    for quantity in &facts.quantities {
        found.entry(quantity.unit).or_default().insert(&quantity.value);
    }
    found
}

/// The clauses of a sentence: what commas and semicolons divide, but not the commas in numbers.
fn clauses(text: &str, sentence: &Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut start = sentence.start;
    let mut chars = text[sentence.clone()].char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let divides = matches!(c, '，' | '；' | ';' | '。')
            || (c == ',' && chars.peek().is_some_and(|(_, next)| next.is_whitespace()));
        if divides {
            found.push(start..sentence.start + at);
            start = sentence.start + at + c.len_utf8();
        }
    }
    found.push(start..sentence.end);
    let trimmed = |range: Range<usize>| {
        let part = &text[range.clone()];
        range.start + (part.len() - part.trim_start().len())..range.start + part.trim_end().len()
    };
    found
        .into_iter()
        .map(trimmed)
        .filter(|range| range.start < range.end)
        .collect()
}

/// Words that set nothing apart. Chosen by hand; what is missing makes two claims differ, so nothing is said to disagree.
const PLAIN: &[&str] = &[
    "人民币",
    "工作日",
    "自然日",
    "个月",
    "小时",
    "分钟",
    "收费标准",
    "收费",
    "收取",
    "标准",
    "统一",
    "调整为",
    "调整",
    "变更",
    "执行",
    "实行",
    "现行",
    "目前",
    "现为",
    "现在",
    "最新",
    "公告",
    "通知",
    "手册",
    "说明",
    "规定",
    "规则",
    "办法",
    "价目表",
    "价目",
    "一览",
    "指南",
    "须知",
    "修订",
    "版",
    "关于",
    "服务",
    "需要",
    "需",
    "须",
    "应",
    "为",
    "是",
    "的",
    "了",
    "按",
    "自",
    "起",
    "从",
    "将",
    "至",
    "到",
    "即",
    "共",
    "均",
    "仅",
    "只",
    "在",
    "由",
    "以",
    "及",
    "和",
    "元",
    "年",
    "月",
    "日",
    "天",
    "个",
    "号",
    "新",
    "旧",
    "表",
    "本",
    "the",
    "a",
    "an",
    "of",
    "is",
    "are",
    "to",
    "be",
    "will",
    "now",
    "costs",
    "cost",
    "from",
    "as",
    "it",
    "at",
    "cny",
    "usd",
    "notice",
    "schedule",
];

/// A text without numbers (with the unit that follows), plain words and punctuation: what of it may set it apart.
fn telling(text: &str) -> Vec<char> {
    let text = normalise(text).to_lowercase();
    let mut chars: Vec<char> = text.chars().collect();
    let digit = |c: char| c.is_ascii_digit();
    let mut at = 0;
    while at < chars.len() {
        if digit(chars[at]) {
            while at < chars.len() && (digit(chars[at]) || matches!(chars[at], '.' | ',' | '%' | '万')) {
                chars[at] = ' ';
                at += 1;
            }
            // The unit belongs to the number: it was compared with it.
            if at < chars.len() && matches!(chars[at], '年' | '月' | '日' | '天' | '元' | '号' | '次' | '笔') {
                chars[at] = ' ';
            }
        }
        at += 1;
    }
    for word in PLAIN {
        // Single characters are plain only where they stand alone; "年" of "年费" is not.
        let pattern: Vec<char> = word.chars().collect();
        let latin = word.is_ascii();
        for start in 0..chars.len().saturating_sub(pattern.len() - 1) {
            let end = start + pattern.len();
            let alone = |at: Option<&char>| at.is_none_or(|c| !c.is_alphanumeric());
            let before = start.checked_sub(1).and_then(|at| chars.get(at));
            let whole = if latin || (pattern.len() == 1 && is_part(pattern[0])) {
                alone(before) && alone(chars.get(end))
            } else {
                true
            };
            if whole && chars[start..end] == pattern[..] {
                chars[start..end].fill(' ');
            }
        }
    }
    chars
        .into_iter()
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .collect()
}

/// Characters that are plain alone and part of words that are not.
fn is_part(c: char) -> bool {
    matches!(
        c,
        '年' | '月' | '日' | '天' | '号' | '新' | '旧' | '表' | '本' | '个' | '元' | '版'
    )
}

/// Pairs of neighbouring Han characters, single ones, and Latin words.
fn pairs(text: &str) -> HashSet<String> {
    super::grounding::terms(text)
}

/// What `text` says that neither `other` nor the question says.
fn residue(text: &str, other: &str, question: &str) -> Vec<String> {
    let chars = telling(text);
    let mut known = pairs(other);
    known.extend(pairs(question));
    let mut covered: Vec<bool> = chars.iter().map(|c| *c == ' ').collect();
    for at in 1..chars.len() {
        if is_han(chars[at - 1]) && is_han(chars[at]) && known.contains(&chars[at - 1..=at].iter().collect::<String>())
        {
            covered[at - 1] = true;
            covered[at] = true;
        }
    }
    let mut left = Vec::new();
    let mut word = String::new();
    for (c, covered) in chars.iter().chain([&' ']).zip(covered.iter().chain([&true])) {
        if is_han(*c) && !covered {
            left.push(c.to_string());
        }
        if c.is_alphanumeric() && !is_han(*c) {
            word.push(*c);
        } else if !word.is_empty() {
            let whole = std::mem::take(&mut word);
            left.extend(Some(whole).filter(|word| !known.contains(word)));
        }
    }
    left
}

/// Whether what two paths of headings are about does not differ: leaving out what the question says, the words of one are among
/// those of the other, or they share half.
pub(super) fn same_subject(one: &str, other: &str, question: &str) -> bool {
    if qualifiers::contradicts(one, other) {
        return false;
    }
    let asked = pairs(question);
    let of = |title: &str| -> HashSet<String> {
        let telling: String = telling(title).into_iter().collect();
        pairs(&telling).difference(&asked).cloned().collect()
    };
    let (one, other) = (of(one), of(other));
    let shared = one.intersection(&other).count();
    shared * 2 >= one.len().min(other.len())
}

/// What dates say of two sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newer {
    First,
    Second,
    /// Equally new, or too near to tell.
    Neither,
}

/// When a source came, and whether it says itself from when it holds.
pub(super) type Dated = (Timestamp, bool);

/// Seconds that imports must lie apart to count: the files of one import are not one newer than the other.
const APART_SECONDS: i64 = 24 * 60 * 60;

/// Which source is newer. Dates from which sources say that they hold are compared as they are.
pub(super) fn newer(first: Option<Dated>, second: Option<Dated>) -> Newer {
    let (Some((first, first_effective)), Some((second, second_effective))) = (first, second) else {
        return Newer::Neither;
    };
    let apart = first.as_second().saturating_sub(second.as_second());
    if apart.abs() < APART_SECONDS && !(first_effective && second_effective && first != second) {
        Newer::Neither
    } else if first > second {
        Newer::First
    } else {
        Newer::Second
    }
}

#[cfg(test)]
mod tests {
    use super::{Claim, Newer, newer, same_subject};
    use crate::inference::AnswerPlace;
    use jiff::Timestamp;

    fn claim(text: &str, answer: &str) -> Claim {
        let start = text.find(answer).unwrap();
        let place = AnswerPlace {
            span: start..start + answer.len(),
            tokens: Vec::new(),
        };
        Claim::at(text, &place).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn the_same_thing_with_another_value_disagrees() {
        let question = "金卡年费多少钱";
        for (one, answer, other, other_answer) in [
            (
                "金卡年费200元。",
                "200元",
                "自2026年1月1日起，金卡年费调整为300元，首年免收。",
                "300元",
            ),
            (
                "金卡年费为200元/年",
                "200元",
                "| 卡种 | 年费 |\n| --- | --- |\n| 金卡 | 300元/年 |",
                "300元",
            ),
            (
                "金卡年费：每年200元",
                "200元",
                "金卡的年费是每年人民币 300 元。",
                "300 元",
            ),
        ] {
            let (one, other) = (claim(one, answer), claim(other, other_answer));
            assert!(one.contradicts(&other, question), "{one:?} {other:?}");
            assert!(other.contradicts(&one, question));
        }
        let (one, other) = (
            claim("The delivery fee is CNY 8.", "CNY 8"),
            claim("Delivery fee: CNY 10", "CNY 10"),
        );
        assert!(one.contradicts(&other, "What is the delivery fee?"));
        let (one, other) = (
            claim("活动截止日期为2026年3月1日。", "2026年3月1日"),
            claim("活动截止日期为2026年4月1日。", "2026年4月1日"),
        );
        assert!(one.contradicts(&other, "活动什么时候截止"));
    }

    #[test]
    fn what_is_set_apart_by_a_word_does_not_disagree() {
        for (question, one, answer, other, other_answer) in [
            ("金卡年费多少", "金卡年费200元。", "200元", "白金卡年费600元。", "600元"),
            (
                "金卡年费多少",
                "金卡年费200元。",
                "200元",
                "学生金卡年费100元。",
                "100元",
            ),
            (
                "转账手续费多少",
                "同行转账手续费每笔1元。",
                "1元",
                "跨行转账手续费每笔2元。",
                "2元",
            ),
            ("金卡收多少", "金卡每年收200元。", "200元", "金卡每月收20元。", "20元"),
            ("金卡年费多少", "金卡年费200元。", "200元", "金卡年费200元。", "200元"),
            (
                "金卡年费多少",
                "金卡年费200元。",
                "200元",
                "金卡年费须在30天内交。",
                "30天",
            ),
            (
                "金卡年费多少",
                "金卡首年年费0元。",
                "0元",
                "金卡次年年费200元。",
                "200元",
            ),
        ] {
            let (one, other) = (claim(one, answer), claim(other, other_answer));
            assert!(!one.contradicts(&other, question), "{one:?} {other:?}");
            assert!(!other.contradicts(&one, question), "{one:?} {other:?}");
        }
    }

    #[test]
    fn headings_tell_subjects_apart() {
        let same = |one, other| same_subject(one, other, "金卡年费多少");
        assert!(same("信用卡收费标准（2025版） › 金卡", "信用卡年费调整公告"));
        assert!(same("公告", "信用卡收费"));
        assert!(!same("信用卡年费", "借记卡年费"));
        assert!(!same("商城会员 › 年费", "健身房 › 年费"));
    }

    #[test]
    fn a_date_of_effect_decides_and_minutes_between_imports_do_not() {
        let at = |second, effective| Some((Timestamp::from_second(second).unwrap(), effective));
        assert_eq!(newer(at(0, false), at(60, false)), Newer::Neither);
        assert_eq!(newer(at(0, false), at(200_000, false)), Newer::Second);
        assert_eq!(newer(at(60, true), at(0, true)), Newer::First);
        assert_eq!(newer(at(0, true), at(0, true)), Newer::Neither);
        assert_eq!(newer(at(200_000, true), at(0, false)), Newer::First);
        assert_eq!(newer(None, at(0, true)), Newer::Neither);
    }
}
