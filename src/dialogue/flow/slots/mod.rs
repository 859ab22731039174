//! Values in what a customer writes: rules alone, each with the place where it was found. Nothing here reads a clock.

mod amounts;
mod answers;
mod dates;
mod numerals;
mod patterns;
mod times;

use crate::domain::Language;
use crate::understanding::normalise;
pub use answers::yes_no;
use answers::{Candidate, Chosen};
pub use dates::Direction;
use jiff::civil::{Date, DateTime, Time};
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::ops::Range;

/// The traditional forms that slots are written with, and the simplified ones (both three bytes long).
const SIMPLER: [(char, char); 22] = [
    ('週', '周'),
    ('點', '点'),
    ('號', '号'),
    ('時', '时'),
    ('後', '后'),
    ('兩', '两'),
    ('萬', '万'),
    ('塊', '块'),
    ('錢', '钱'),
    ('禮', '礼'),
    ('個', '个'),
    ('這', '这'),
    ('對', '对'),
    ('電', '电'),
    ('話', '话'),
    ('訂', '订'),
    ('單', '单'),
    ('過', '过'),
    ('選', '选'),
    ('確', '确'),
    ('認', '认'),
    ('區', '区'),
];

/// A message, normalised; `folded` is the same in lower case and simplified characters, byte for byte as long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// As it was written, normalised.
    pub text: String,
    /// For matching.
    pub folded: String,
}

impl Heard {
    /// Normalises `message`.
    #[must_use]
    pub fn new(message: &str) -> Self {
        let text = normalise(message);
        let folded = text
            .chars()
            .map(|c| {
                let simple = SIMPLER.iter().find(|(from, _)| *from == c).map_or(c, |(_, to)| *to);
                let lower = simple.to_lowercase().next().unwrap_or(simple);
                if lower.len_utf8() == c.len_utf8() { lower } else { c }
            })
            .collect();
        Self { text, folded }
    }

    /// The same with `places` blanked out, so that nothing is read there again.
    #[must_use]
    pub fn without(&self, places: &[Range<usize>]) -> Self {
        let mut bytes = self.folded.clone().into_bytes();
        for place in places {
            // Semicolons and not spaces: what stood before and after must not grow together.
            bytes[place.clone()].fill(b';');
        }
        Self {
            text: self.text.clone(),
            folded: String::from_utf8(bytes).unwrap_or_default(),
        }
    }
}

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", content = "value")]
pub enum Value {
    /// A day.
    Date(Date),
    /// A time of day.
    Time(Time),
    /// A day with a time.
    Datetime(DateTime),
    /// Money, in cents.
    Amount(i64),
    /// A number.
    Number(f64),
    /// An order number and the like, in capitals.
    OrderNumber(String),
    /// A telephone number, digits alone.
    Phone(String),
    /// An address as it was written.
    Address(String),
    /// One of several: its stable name and the word for it.
    Choice {
        /// The stable name.
        name: String,
        /// In Chinese.
        zh: String,
        /// In English.
        en: String,
    },
    /// Free words.
    Text(String),
    /// Yes or no.
    YesNo(bool),
}

impl Value {
    /// In one spelling, for comparisons: `2026-11-25`, `15:00`, `35000.00`, `KF20261101`, `true`.
    #[must_use]
    pub fn canonical(&self) -> String {
        match self {
            Self::Date(date) => date.to_string(),
            Self::Time(time) => time.strftime("%H:%M").to_string(),
            Self::Datetime(moment) => moment.strftime("%Y-%m-%dT%H:%M").to_string(),
            Self::Amount(cents) => format!("{}.{:02}", cents / 100, cents % 100),
            Self::Number(number) => number.to_string(),
            Self::OrderNumber(text) | Self::Phone(text) | Self::Address(text) | Self::Text(text) => text.clone(),
            Self::Choice { name, .. } => name.clone(),
            Self::YesNo(yes) => yes.to_string(),
        }
    }

    /// As tools get it.
    #[must_use]
    pub fn json(&self) -> Json {
        match self {
            Self::Number(number) => json!(number),
            Self::YesNo(yes) => json!(yes),
            other => json!(other.canonical()),
        }
    }

    /// As customers read it.
    #[must_use]
    pub fn shown(&self, language: Language) -> String {
        let chinese = language == Language::Zh;
        let day = |date: Date| {
            let weekday = dates::weekday_name(date.weekday(), chinese);
            if chinese {
                format!("{}月{}日（{weekday}）", date.month(), date.day())
            } else {
                format!("{weekday}, {}", date.strftime("%B %-d"))
            }
        };
        match self {
            Self::Date(date) => day(*date),
            Self::Datetime(moment) => format!("{} {}", day(moment.date()), moment.time().strftime("%H:%M")),
            Self::Choice { zh, en, .. } => {
                if chinese {
                    zh.clone()
                } else {
                    en.clone()
                }
            }
            Self::YesNo(yes) => match (yes, chinese) {
                (true, true) => "是".to_owned(),
                (false, true) => "否".to_owned(),
                (true, false) => "yes".to_owned(),
                (false, false) => "no".to_owned(),
            },
            other => other.canonical(),
        }
    }

    /// The same with all but the end hidden, for summaries.
    #[must_use]
    pub fn masked(&self) -> String {
        match self {
            Self::Phone(digits) => format!(
                "***{}",
                digits.get(digits.len().saturating_sub(4)..).unwrap_or_default()
            ),
            Self::Address(_) => "***".to_owned(),
            other => other.canonical(),
        }
    }
}

/// One of several, as a flow or a tool names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Its stable name.
    pub name: String,
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
    /// Other words for it.
    #[serde(default)]
    pub synonyms: Vec<String>,
}

impl Choice {
    fn value(&self) -> Value {
        Value::Choice {
            name: self.name.clone(),
            zh: self.zh.clone(),
            en: self.en.clone(),
        }
    }

    fn candidate(&self) -> Candidate {
        let mut words: Vec<String> = [&self.zh, &self.en]
            .into_iter()
            .chain(&self.synonyms)
            .map(|word| Heard::new(word).folded)
            .filter(|word| !word.is_empty())
            .collect();
        words.dedup();
        Candidate { words }
    }
}

/// What kind of value is looked for.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'f> {
    /// A day.
    Date(Direction),
    /// A time of day.
    Time,
    /// A day with a time.
    Datetime(Direction),
    /// Money.
    Amount,
    /// A number.
    Number,
    /// What the expression matches.
    OrderNumber(&'f Regex),
    /// A telephone number.
    Phone,
    /// An address.
    Address,
    /// One of these.
    Choice(&'f [Choice]),
    /// Free words.
    Text,
    /// Yes or no.
    YesNo,
}

/// Why something was found and cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclear {
    /// A day that is not computed (a holiday of the moon calendar, 周末), or that no calendar has.
    Day,
    /// More than one of the choices.
    Several,
}

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// A value and its place.
    Value(Range<usize>, Value),
    /// A day without a time, or a time without a day.
    Half(Range<usize>, Value),
    /// Something that cannot be taken.
    Unclear(Range<usize>, Unclear),
    /// Nothing of that kind.
    Nothing,
}

/// Looks for a value of the kind `wanted` in `heard`. `asked`: it was just asked for, so that a bare number or 第二个 is meant for it.
#[must_use]
pub fn read(wanted: Wanted<'_>, heard: &Heard, today: Date, asked: bool) -> Reading {
    let text = heard.folded.as_str();
    let first = |hits: Vec<(Range<usize>, Value)>| {
        hits.into_iter()
            .next()
            .map_or(Reading::Nothing, |(place, value)| Reading::Value(place, value))
    };
    match wanted {
        Wanted::Date(direction) => match day(text, today, direction) {
            Some((place, Some(date))) => Reading::Value(place, Value::Date(date)),
            Some((place, None)) => Reading::Unclear(place, Unclear::Day),
            None => Reading::Nothing,
        },
        Wanted::Time => first(
            times::all(text)
                .into_iter()
                .map(|(place, time)| (place, Value::Time(time)))
                .collect(),
        ),
        Wanted::Datetime(direction) => datetime(text, today, direction),
        Wanted::Amount => first(
            amounts::all(text)
                .into_iter()
                .filter(|(_, _, money)| *money || asked)
                .map(|(place, cents, _)| (place, Value::Amount(cents)))
                .collect(),
        ),
        Wanted::Number if asked => first(numbers(text)),
        Wanted::OrderNumber(pattern) => first(
            patterns::orders(text, pattern)
                .into_iter()
                .map(|(place, number)| (place, Value::OrderNumber(number)))
                .collect(),
        ),
        Wanted::Phone => first(
            patterns::phones(text)
                .into_iter()
                .map(|(place, digits)| (place, Value::Phone(digits)))
                .collect(),
        ),
        Wanted::Address => first(
            patterns::address(text, &heard.text, if asked { 2 } else { 3 })
                .map(|(place, words)| (place, Value::Address(words)))
                .into_iter()
                .collect(),
        ),
        Wanted::Choice(choices) => {
            let candidates: Vec<Candidate> = choices.iter().map(Choice::candidate).collect();
            match answers::choose(text, &candidates, asked) {
                Chosen::One(place, index) => Reading::Value(place, choices[index].value()),
                Chosen::Several => Reading::Unclear(0..text.len(), Unclear::Several),
                Chosen::None => Reading::Nothing,
            }
        }
        Wanted::YesNo if asked => {
            yes_no(text).map_or(Reading::Nothing, |yes| Reading::Value(0..text.len(), Value::YesNo(yes)))
        }
        Wanted::Text if asked => {
            let words = heard
                .text
                .trim_matches(|c: char| c.is_whitespace() || "，。！？,.!;；".contains(c));
            let blank = heard.folded.chars().all(|c| !c.is_alphanumeric());
            if words.is_empty() || blank {
                Reading::Nothing
            } else {
                Reading::Value(0..text.len(), Value::Text(words.to_owned()))
            }
        }
        Wanted::Number | Wanted::YesNo | Wanted::Text => Reading::Nothing,
    }
}

fn day(text: &str, today: Date, direction: Direction) -> Option<(Range<usize>, Option<Date>)> {
    let all = dates::all(text, today, direction);
    // A day that can be computed wins over one that cannot: 周末吧，周六.
    all.iter()
        .find(|named| named.date.is_some())
        .or(all.first())
        .map(|named| (named.place.clone(), named.date))
}

fn datetime(text: &str, today: Date, direction: Direction) -> Reading {
    let date = day(text, today, direction);
    let time = times::all(text).into_iter().next();
    match (date, time) {
        (Some((place, None)), _) => Reading::Unclear(place, Unclear::Day),
        (Some((day, Some(date))), Some((place, time))) => {
            // 晚上12点 is the midnight that ends the day.
            let late = time == Time::midnight() && text[place.clone()].contains('晚');
            let date = if late { date.tomorrow().unwrap_or(date) } else { date };
            Reading::Value(
                day.start.min(place.start)..day.end.max(place.end),
                Value::Datetime(date.to_datetime(time)),
            )
        }
        (Some((place, Some(date))), None) => Reading::Half(place, Value::Date(date)),
        (None, Some((place, time))) => Reading::Half(place, Value::Time(time)),
        (None, None) => Reading::Nothing,
    }
}

fn numbers(text: &str) -> Vec<(Range<usize>, Value)> {
    numerals::all(text)
        .into_iter()
        .map(|(place, number)| (place, Value::Number(number)))
        .collect()
}

/// One-time codes in `heard`: digits that stand alone.
#[must_use]
pub fn codes(heard: &Heard) -> Vec<(Range<usize>, String)> {
    patterns::codes(&heard.folded)
}

/// `message` with every run of four to eight digits replaced by as many zeros: a code is never stored.
#[must_use]
pub fn without_codes(message: &str) -> String {
    let heard = Heard::new(message);
    let mut text = heard.text.clone();
    for (place, _) in codes(&heard).into_iter().rev() {
        let zeros: String = text[place.clone()]
            .chars()
            .map(|c| {
                if c.is_ascii_digit() || c.is_alphabetic() {
                    '0'
                } else {
                    c
                }
            })
            .collect();
        text.replace_range(place, &zeros);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Direction, Heard, Reading, Unclear, Value, Wanted, read, without_codes};
    use jiff::civil::{Date, date};

    const MONDAY: Date = date(2026, 11, 23);

    #[test]
    fn days_with_times() {
        let read = |text: &str| read(Wanted::Datetime(Direction::Future), &Heard::new(text), MONDAY, true);
        let value = |reading: Reading| match reading {
            Reading::Value(_, value) => value.canonical(),
            other => panic!("{other:?}"),
        };
        assert_eq!(value(read("下周三下午三点")), "2026-12-02T15:00");
        assert_eq!(value(read("后天上午十点半可以吗")), "2026-11-25T10:30");
        assert_eq!(value(read("next Tuesday 3pm")), "2026-12-01T15:00");
        assert_eq!(value(read("下週三下午兩點")), "2026-12-02T14:00");
        assert!(matches!(read("后天"), Reading::Half(_, Value::Date(_))));
        assert!(matches!(read("下午三点"), Reading::Half(_, Value::Time(_))));
        assert!(matches!(read("大年三十"), Reading::Unclear(_, Unclear::Day)));
    }

    #[test]
    fn what_was_read_is_not_read_again() {
        let heard = Heard::new("后天 13812345678");
        let Reading::Value(place, _) = read(Wanted::Date(Direction::Future), &heard, MONDAY, false) else {
            panic!()
        };
        let rest = heard.without(&[place]);
        assert_eq!(
            read(Wanted::Date(Direction::Future), &rest, MONDAY, false),
            Reading::Nothing
        );
        assert!(matches!(read(Wanted::Phone, &rest, MONDAY, false), Reading::Value(..)));
    }

    #[test]
    fn codes_are_wiped() {
        assert_eq!(without_codes("验证码 482 913 谢谢"), "验证码 000 000 谢谢");
        assert_eq!(without_codes("一二三四五六"), "000000");
        assert_eq!(without_codes("13812345678"), "13812345678");
    }
}
