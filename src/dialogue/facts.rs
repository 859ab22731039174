//! The facts a text states that can be compared: numbers with their units, and Latin names.

use crate::understanding::normalise;
use std::collections::HashSet;

/// A number as it counts: its value, and the unit that follows it where there is a known one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quantity {
    /// The value in canonical decimal notation, 万 and 亿 multiplied out.
    pub value: String,
    /// The unit in one spelling for all its names; empty if none is recognised.
    pub unit: &'static str,
}

/// What a text states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its numbers.
    pub quantities: HashSet<Quantity>,
    /// Its Latin words, in lower case.
    pub latin: HashSet<String>,
    /// Of these, the ones that can only be names: written with a capital inside a sentence, or with digits in them.
    pub names: HashSet<String>,
}

/// Units, each with the spelling that stands for it. Longer spellings come first where one begins another.
const UNITS: [(&str, &str); 62] = [
    ("个工作日", "workday"),
    ("个自然日", "day"),
    ("个交易日", "tradeday"),
    ("工作日", "workday"),
    ("自然日", "day"),
    ("交易日", "tradeday"),
    ("working days", "workday"),
    ("working day", "workday"),
    ("business days", "workday"),
    ("business day", "workday"),
    ("calendar days", "day"),
    ("个小时", "hour"),
    ("小时", "hour"),
    ("hours", "hour"),
    ("hour", "hour"),
    ("分钟", "minute"),
    ("minutes", "minute"),
    ("minute", "minute"),
    ("秒", "second"),
    ("seconds", "second"),
    ("个月", "month"),
    ("months", "month"),
    ("month", "month"),
    ("月", "monthname"),
    ("周年", "year"),
    ("年", "year"),
    ("years", "year"),
    ("year", "year"),
    ("周", "week"),
    ("weeks", "week"),
    ("week", "week"),
    ("星期", "week"),
    ("天", "day"),
    ("日", "day"),
    ("days", "day"),
    ("day", "day"),
    ("号", "day"),
    ("人民币", "yuan"),
    ("元", "yuan"),
    ("块钱", "yuan"),
    ("块", "yuan"),
    ("yuan", "yuan"),
    ("cny", "yuan"),
    ("rmb", "yuan"),
    ("美元", "usd"),
    ("usd", "usd"),
    ("dollars", "usd"),
    ("港币", "hkd"),
    ("港元", "hkd"),
    ("欧元", "eur"),
    ("eur", "eur"),
    ("%", "%"),
    ("percent", "%"),
    ("个基点", "bp"),
    ("公里", "km"),
    ("km", "km"),
    ("千克", "kg"),
    ("公斤", "kg"),
    ("kg", "kg"),
    ("米", "m"),
    ("折", "discount"),
    ("倍", "times"),
];

impl Facts {
    /// The facts that `text` states. Markers such as `[2]` and the numbers of list items are no facts.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut facts = Self::default();
        for line in text.lines() {
            let line = normalise(&without_markers(line))
                .replace('¥', " yuan ")
                .replace('$', " usd ");
            let chars: Vec<char> = without_enumerator(&line).chars().collect();
            facts.read_numbers(&chars);
            facts.read_latin(&chars);
        }
        facts
    }

    /// Whether these facts support the quantity: the same value with the same unit, or where one of the two has no
    /// unit (a table cell under its heading), the same value.
    #[must_use]
    pub fn support(&self, quantity: &Quantity) -> bool {
        self.quantities.iter().any(|known| {
            known.value == quantity.value
                && (known.unit == quantity.unit || known.unit.is_empty() || quantity.unit.is_empty())
        })
    }

    /// Adds what `other` states.
    pub fn extend(&mut self, other: Self) {
        self.quantities.extend(other.quantities);
        self.latin.extend(other.latin);
        self.names.extend(other.names);
    }

    fn read_numbers(&mut self, chars: &[char]) {
        let mut at = 0;
        while at < chars.len() {
            let percent_word = starts_with(chars, at, "百分之");
            let from = if percent_word { at + 3 } else { at };
            // "A4" and "R2" are names; their digits are no number. "2G" is a number with a unit unknown here.
            let inside_word = from > 0 && chars[from - 1].is_ascii_alphabetic();
            let Some((value, mut end)) = number_at(chars, from) else {
                at += 1;
                continue;
            };
            if inside_word && !percent_word && chars[from].is_ascii_digit() {
                at = end;
                continue;
            }
            while end < chars.len() && chars[end] == ' ' {
                end += 1;
            }
            let unit = if percent_word { "%" } else { unit_at(chars, end) };
            let prefix_unit = if unit.is_empty() {
                unit_before(chars, from)
            } else {
                unit
            };
            self.quantities.insert(Quantity {
                value,
                unit: prefix_unit,
            });
            at = end.max(from + 1);
        }
    }

    fn read_latin(&mut self, chars: &[char]) {
        let mut at = 0;
        let mut sentence_start = true;
        while at < chars.len() {
            let c = chars[at];
            if !c.is_ascii_alphabetic() {
                if matches!(c, '.' | '!' | '?' | ':' | ';' | '。' | '"' | '“' | '(' | '|' | '\n') {
                    sentence_start = true;
                } else if !c.is_whitespace() {
                    sentence_start = false;
                }
                at += 1;
                continue;
            }
            let mut end = at;
            while end < chars.len()
                && (chars[end].is_ascii_alphanumeric() || (matches!(chars[end], '-' | '+' | '&' | '\'') && end > at))
            {
                end += 1;
            }
            let word: String = chars[at..end].iter().collect();
            let word = word.trim_end_matches(['-', '+', '&', '\'']).trim_end_matches("'s");
            let lower = word.to_lowercase();
            let named = word.chars().any(|c| c.is_ascii_digit())
                || word.chars().skip(1).any(|c| c.is_ascii_uppercase())
                || (!sentence_start && c.is_ascii_uppercase() && word.len() > 1);
            if named {
                self.names.insert(lower.clone());
            }
            self.latin.insert(lower);
            sentence_start = false;
            at = end;
        }
    }
}

/// The line without citation markers such as `[3]`.
fn without_markers(line: &str) -> String {
    let mut kept = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(open) = rest.find('[') {
        let inner = &rest[open + 1..];
        let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && inner[digits..].starts_with(']') {
            kept.push_str(&rest[..open]);
            rest = &inner[digits + 1..];
        } else {
            kept.push_str(&rest[..=open]);
            rest = inner;
        }
    }
    kept.push_str(rest);
    kept
}

/// The line without the number of a list item ("2. ", "3、", "(1) ").
fn without_enumerator(line: &str) -> &str {
    let body = line.trim_start_matches(['(', ' ']);
    let digits = body.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > 2 {
        return line;
    }
    let after = &body[digits..];
    for end in ["、", ")", ". "] {
        if let Some(rest) = after.strip_prefix(end) {
            return rest;
        }
    }
    match after.strip_prefix('.') {
        Some(rest) if rest.chars().next().is_some_and(|c| !c.is_ascii_digit()) => rest,
        _ => line,
    }
}

fn starts_with(chars: &[char], at: usize, text: &str) -> bool {
    text.chars()
        .zip(at..)
        .all(|(c, place)| chars.get(place).is_some_and(|have| have.eq_ignore_ascii_case(&c)))
}

fn unit_at(chars: &[char], at: usize) -> &'static str {
    UNITS
        .iter()
        .find(|(name, _)| starts_with(chars, at, name))
        .map_or("", |(_, unit)| unit)
}

/// A unit that stands before its number: "CNY 500", "人民币500".
fn unit_before(chars: &[char], at: usize) -> &'static str {
    let mut end = at;
    while end > 0 && chars[end - 1] == ' ' {
        end -= 1;
    }
    for name in ["人民币", "yuan", "cny", "rmb", "usd", "eur"] {
        let length = name.chars().count();
        if end >= length && starts_with(chars, end - length, name) {
            return UNITS
                .iter()
                .find(|(unit, _)| *unit == name)
                .map_or("", |(_, unit)| unit);
        }
    }
    ""
}

/// The number that begins at `at`, in canonical notation, and the place after it.
fn number_at(chars: &[char], at: usize) -> Option<(String, usize)> {
    let first = *chars.get(at)?;
    if first.is_ascii_digit() {
        let (value, end) = digits_at(chars, at);
        return Some(scale(&value, chars, end));
    }
    chinese_number_at(chars, at)
}

/// ASCII digits with separators of thousands and a decimal point.
fn digits_at(chars: &[char], at: usize) -> (String, usize) {
    let mut text = String::new();
    let mut end = at;
    let mut point = false;
    while end < chars.len() {
        let c = chars[end];
        let digit_follows = chars.get(end + 1).is_some_and(char::is_ascii_digit);
        if c.is_ascii_digit() {
            text.push(c);
        } else if c == ',' && !point && thousands_follow(chars, end + 1) {
            // A separator of thousands carries no value.
        } else if c == '.' && !point && digit_follows {
            point = true;
            text.push('.');
        } else {
            break;
        }
        end += 1;
    }
    (text, end)
}

fn thousands_follow(chars: &[char], at: usize) -> bool {
    (at..at + 3).all(|i| chars.get(i).is_some_and(char::is_ascii_digit))
        && chars.get(at + 3).is_none_or(|c| !c.is_ascii_digit())
}

/// Multiplies by a following 万, 亿, 千, 百万 ("5万", "1.5亿").
fn scale(text: &str, chars: &[char], mut end: usize) -> (String, usize) {
    let mut zeros = 0;
    while let Some(power) = chars.get(end).and_then(|c| match c {
        '百' => Some(2),
        '千' => Some(3),
        '万' | '萬' => Some(4),
        '亿' | '億' => Some(8),
        _ => None,
    }) {
        zeros += power;
        end += 1;
    }
    if zeros == 0 {
        // "million" and "k" occur in English texts about amounts.
        let mut word = end;
        while chars.get(word) == Some(&' ') {
            word += 1;
        }
        if starts_with(chars, word, "million") {
            return (canonical(text, 6), word + 7);
        }
    }
    (canonical(text, zeros), end)
}

/// `text` times ten to the power of `zeros`, without superfluous zeros: "1.50" and 4 give "15000".
fn canonical(text: &str, zeros: usize) -> String {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut fraction: Vec<char> = fraction.chars().collect();
    let mut whole = whole.to_owned();
    for _ in 0..zeros {
        whole.push(if fraction.is_empty() { '0' } else { fraction.remove(0) });
    }
    let fraction: String = fraction.into_iter().collect();
    let fraction = fraction.trim_end_matches('0');
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{fraction}")
    }
}

fn chinese_digit(c: char) -> Option<u64> {
    Some(match c {
        '零' | '〇' => 0,
        '一' | '壹' => 1,
        '二' | '两' | '贰' => 2,
        '三' | '叁' => 3,
        '四' | '肆' => 4,
        '五' | '伍' => 5,
        '六' | '陆' => 6,
        '七' | '柒' => 7,
        '八' | '捌' => 8,
        '九' | '玖' => 9,
        _ => return None,
    })
}

/// A number in Chinese numerals, where it certainly is one: with a multiplier (十五, 三百), or a single digit before a
/// unit of time, money or share (七天, 两年). 一 alone is too often a mere article, so it counts only before 万 and the like.
fn chinese_number_at(chars: &[char], at: usize) -> Option<(String, usize)> {
    let mut total: u64 = 0;
    let mut section: u64 = 0;
    let mut digit: Option<u64> = None;
    let mut end = at;
    let mut multiplied = false;
    let mut fraction = String::new();
    while let Some(&c) = chars.get(end) {
        if let Some(value) = chinese_digit(c) {
            digit = Some(value);
        } else if c == '点' && digit.is_some() && chars.get(end + 1).is_some_and(|c| chinese_digit(*c).is_some()) {
            end += 1;
            while let Some(value) = chars.get(end).and_then(|c| chinese_digit(*c)) {
                fraction.push_str(&value.to_string());
                end += 1;
            }
            break;
        } else {
            let (power, closes) = match c {
                '十' | '拾' => (10, false),
                '百' | '佰' => (100, false),
                '千' | '仟' => (1000, false),
                '万' | '萬' => (10_000, true),
                '亿' | '億' => (100_000_000, true),
                _ => break,
            };
            // A multiplier begins a number only as 十 ("十天"); 百, 千, 万 alone are parts of words.
            if digit.is_none() && section == 0 && total == 0 && power != 10 {
                return None;
            }
            multiplied = true;
            if closes {
                section = section.saturating_add(digit.unwrap_or(0));
                total = total.saturating_add(section).saturating_mul(power);
                section = 0;
            } else {
                section = section.saturating_add(digit.unwrap_or(1) * power);
            }
            digit = None;
        }
        end += 1;
    }
    if end == at {
        return None;
    }
    let counts = multiplied || !fraction.is_empty() || {
        let single = end - at == 1 && digit.is_some_and(|d| d > 1);
        single && !unit_at(chars, end).is_empty()
    };
    if !counts {
        return None;
    }
    let value = total.saturating_add(section).saturating_add(digit.unwrap_or(0));
    let text = if fraction.is_empty() {
        value.to_string()
    } else {
        format!("{value}.{fraction}")
    };
    Some((canonical(&text, 0), end))
}

#[cfg(test)]
mod tests {
    use super::{Facts, Quantity};

    fn quantities(text: &str) -> Vec<(String, &'static str)> {
        let mut all: Vec<_> = Facts::of(text)
            .quantities
            .into_iter()
            .map(|q| (q.value, q.unit))
            .collect();
        all.sort();
        all
    }

    fn one(text: &str) -> (String, &'static str) {
        let all = quantities(text);
        assert_eq!(all.len(), 1, "{text}: {all:?}");
        all[0].clone()
    }

    #[test]
    fn one_value_in_many_spellings() {
        for text in [
            "50000元",
            "5万元",
            "５０，０００元",
            "五万元",
            "50,000.00 元",
            "人民币50000",
            "CNY 50,000",
        ] {
            assert_eq!(one(text), ("50000".to_owned(), "yuan"), "{text}");
        }
        for text in ["3.5%", "百分之三点五", "3.50 percent", "3.5％"] {
            assert_eq!(one(text), ("3.5".to_owned(), "%"), "{text}");
        }
        assert_eq!(one("七天内"), ("7".to_owned(), "day"));
        assert_eq!(one("十五个工作日"), ("15".to_owned(), "workday"));
        assert_eq!(one("1.5亿"), ("150000000".to_owned(), ""));
    }

    #[test]
    fn what_is_no_number() {
        for text in [
            "一般情况",
            "万一丢失",
            "第[2]条",
            "千万不要",
            "R2 级",
            "统一办理",
            "1. 打开手机银行",
            "2、提交",
        ] {
            assert!(quantities(text).is_empty(), "{text}: {:?}", quantities(text));
        }
        assert_eq!(quantities("2025年3月1日").len(), 3);
        assert_eq!(one("1.5元起"), ("1.5".to_owned(), "yuan"));
    }

    #[test]
    fn a_unit_must_agree_where_both_have_one() {
        let source = Facts::of("手续费 3 元，到账 2 小时，上限 50");
        assert!(source.support(&Quantity {
            value: "3".to_owned(),
            unit: "yuan"
        }));
        assert!(!source.support(&Quantity {
            value: "3".to_owned(),
            unit: "day"
        }));
        assert!(source.support(&Quantity {
            value: "50".to_owned(),
            unit: "yuan"
        }));
        assert!(!source.support(&Quantity {
            value: "5".to_owned(),
            unit: ""
        }));
    }

    #[test]
    fn names_in_latin_letters() {
        let facts = Facts::of("支持 Apple Pay 与 ETC。Please call us. The Qinghe Bank app, R2 and PayPal.");
        for name in ["apple", "pay", "etc", "qinghe", "bank", "r2", "paypal"] {
            assert!(facts.names.contains(name), "{name}: {:?}", facts.names);
        }
        for word in ["please", "call", "the", "app"] {
            assert!(!facts.names.contains(word), "{word}");
            assert!(facts.latin.contains(word), "{word}");
        }
    }
}
