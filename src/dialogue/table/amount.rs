//! What a cell says, as far as it can be compared.

use super::decimal::Decimal;
use super::fold::{Kind, Token, tokens};

/// What a unit measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Money,
    Share,
    Time,
    Other,
}

/// Units in their folded words, each with the spelling that stands for it. Where one begins another the longer comes first.
const UNITS: &[(&[&str], &str, Measure)] = &[
    (&["nt", "$"], "twd", Measure::Money),
    (&["hk", "$"], "hkd", Measure::Money),
    (&["us", "$"], "usd", Measure::Money),
    (&["元", "人", "民", "币"], "yuan", Measure::Money),
    (&["人", "民", "币"], "yuan", Measure::Money),
    (&["元"], "yuan", Measure::Money),
    (&["块", "钱"], "yuan", Measure::Money),
    (&["块"], "yuan", Measure::Money),
    (&["圆"], "yuan", Measure::Money),
    (&["¥"], "yuan", Measure::Money),
    (&["yuan"], "yuan", Measure::Money),
    (&["cny"], "yuan", Measure::Money),
    (&["rmb"], "yuan", Measure::Money),
    (&["美", "元"], "usd", Measure::Money),
    (&["usd"], "usd", Measure::Money),
    (&["$"], "usd", Measure::Money),
    (&["dollar"], "usd", Measure::Money),
    (&["港", "元"], "hkd", Measure::Money),
    (&["港", "币"], "hkd", Measure::Money),
    (&["hkd"], "hkd", Measure::Money),
    (&["新", "台", "币"], "twd", Measure::Money),
    (&["台", "币"], "twd", Measure::Money),
    (&["twd"], "twd", Measure::Money),
    (&["欧", "元"], "eur", Measure::Money),
    (&["eur"], "eur", Measure::Money),
    (&["euro"], "eur", Measure::Money),
    (&["€"], "eur", Measure::Money),
    (&["英", "镑"], "gbp", Measure::Money),
    (&["gbp"], "gbp", Measure::Money),
    (&["£"], "gbp", Measure::Money),
    (&["日", "元"], "jpy", Measure::Money),
    (&["jpy"], "jpy", Measure::Money),
    (&["%"], "%", Measure::Share),
    (&["percent"], "%", Measure::Share),
    (&["个", "基", "点"], "bp", Measure::Share),
    (&["基", "点"], "bp", Measure::Share),
    (&["个", "工", "作", "日"], "workday", Measure::Time),
    (&["工", "作", "日"], "workday", Measure::Time),
    (&["working", "day"], "workday", Measure::Time),
    (&["business", "day"], "workday", Measure::Time),
    (&["个", "自", "然", "日"], "day", Measure::Time),
    (&["自", "然", "日"], "day", Measure::Time),
    (&["天"], "day", Measure::Time),
    (&["日"], "day", Measure::Time),
    (&["calendar", "day"], "day", Measure::Time),
    (&["day"], "day", Measure::Time),
    (&["个", "小", "时"], "hour", Measure::Time),
    (&["小", "时"], "hour", Measure::Time),
    (&["hour"], "hour", Measure::Time),
    (&["hr"], "hour", Measure::Time),
    (&["分", "钟"], "minute", Measure::Time),
    (&["minute"], "minute", Measure::Time),
    (&["min"], "minute", Measure::Time),
    (&["秒"], "second", Measure::Time),
    (&["second"], "second", Measure::Time),
    (&["个", "月"], "month", Measure::Time),
    (&["月"], "month", Measure::Time),
    (&["month"], "month", Measure::Time),
    (&["年"], "year", Measure::Time),
    (&["year"], "year", Measure::Time),
    (&["annum"], "year", Measure::Time),
    (&["周"], "week", Measure::Time),
    (&["星", "期"], "week", Measure::Time),
    (&["week"], "week", Measure::Time),
    (&["千", "克"], "kg", Measure::Other),
    (&["公", "斤"], "kg", Measure::Other),
    (&["kg"], "kg", Measure::Other),
    (&["克"], "g", Measure::Other),
    (&["g"], "g", Measure::Other),
    (&["厘", "米"], "cm", Measure::Other),
    (&["公", "分"], "cm", Measure::Other),
    (&["cm"], "cm", Measure::Other),
    (&["毫", "米"], "mm", Measure::Other),
    (&["mm"], "mm", Measure::Other),
    (&["公", "里"], "km", Measure::Other),
    (&["km"], "km", Measure::Other),
    (&["米"], "m", Measure::Other),
    (&["m"], "m", Measure::Other),
    (&["英", "寸"], "inch", Measure::Other),
    (&["寸"], "inch", Measure::Other),
    (&["inch"], "inch", Measure::Other),
    (&["毫", "升"], "ml", Measure::Other),
    (&["ml"], "ml", Measure::Other),
    (&["升"], "l", Measure::Other),
    (&["l"], "l", Measure::Other),
    (&["liter"], "l", Measure::Other),
    (&["litre"], "l", Measure::Other),
    (&["千", "瓦"], "kw", Measure::Other),
    (&["kw"], "kw", Measure::Other),
    (&["瓦"], "w", Measure::Other),
    (&["w"], "w", Measure::Other),
    (&["分", "贝"], "db", Measure::Other),
    (&["db"], "db", Measure::Other),
    (&["匹"], "hp", Measure::Other),
];

/// Units of counting: as units alike, and no more is known of them.
const COUNTERS: [&str; 22] = [
    "次", "个", "张", "笔", "份", "分", "倍", "台", "件", "人", "期", "条", "gb", "mb", "tb", "mbp", "time", "point",
    "piece", "item", "km/h", "kwh",
];

/// A unit with what it is counted per.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Unit {
    /// In its one spelling; empty where there is none.
    pub(super) name: String,
    /// "year" of "160元/年"; empty where there is none.
    pub(super) per: String,
    /// As it is written; for the numbers below a head.
    pub(super) written: String,
}

impl Unit {
    /// Whether amounts of both can be compared: the same unit, per the same.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.name == other.name && self.per == other.per
    }

    pub(super) fn measure(&self) -> Measure {
        UNITS
            .iter()
            .find(|(_, name, _)| *name == self.name)
            .map_or(Measure::Other, |(_, _, measure)| *measure)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.name.is_empty() && self.per.is_empty()
    }
}

/// A number with its unit, and how both are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) low: Decimal,
    /// Equal to `low` but in a range.
    pub(super) high: Decimal,
    pub(super) unit: Unit,
    /// What stands before the number ("CNY ", "每月") and after it ("元/年").
    before: String,
    after: String,
    /// The 万 or 萬 that it is written with.
    scaled: Option<char>,
}

/// What a cell says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Amount(Amount),
    /// It costs nothing.
    Free,
    /// There is none, or it does not apply: not comparable with anything.
    Absent,
    /// Words, or a number under conditions.
    Words,
}

impl Amount {
    /// Whether it is one number and no range.
    pub(super) fn is_exact(&self) -> bool {
        self.low == self.high
    }

    /// Another number in the same unit, without what it is per.
    pub(super) fn bare(&self, number: Decimal) -> String {
        let until = self.after.find(['/', '每']).unwrap_or(self.after.len());
        format!(
            "{}{number}{}",
            if self.before.contains('每') { "" } else { &self.before },
            &self.after[..until]
        )
    }

    /// Another number of the same kind, written like this one.
    pub(super) fn like(&self, number: Decimal) -> String {
        let scaled = number.ten_thousands().filter(|_| number != Decimal::ZERO);
        match scaled.zip(self.scaled) {
            Some((number, mark)) => format!("{}{number}{mark}{}", self.before, self.after),
            None => format!("{}{number}{}", self.before, self.after),
        }
    }
}

/// Reads a cell under a head whose unit is `head`. The whole cell must be a number with its unit, or it is words.
pub(super) fn value(cell: &str, head: &Unit) -> Value {
    let (text, tokens) = tokens(cell);
    let words: String = tokens
        .iter()
        .filter(|token| token.is_word())
        .map(|token| token.word.as_str())
        .collect();
    match words.as_str() {
        "免费" | "免" | "免收" | "全免" | "不收费" | "不收" | "不收取" | "free" | "freeofcharge" | "nocharge"
        | "nofee" | "waived" => {
            return Value::Free;
        }
        "" | "无" | "没有" | "不适用" | "不提供" | "不支持" | "不限" | "na" | "none" | "notavailable"
        | "notapplicable" | "nolimit" => {
            return Value::Absent;
        }
        _ => {}
    }
    match amount(&text, &tokens) {
        Some(amount) => match amount.under(head) {
            Some(amount)
                if amount.low == Decimal::ZERO && amount.is_exact() && amount.unit.measure() == Measure::Money =>
            {
                Value::Free
            }
            Some(amount) => Value::Amount(amount),
            None => Value::Words,
        },
        None => Value::Words,
    }
}

/// Whether money is named anywhere in a text.
pub(super) fn names_money(text: &str) -> bool {
    let (_, tokens) = tokens(text);
    (0..tokens.len()).any(|at| {
        unit_at(&tokens, at).is_some_and(|(unit, _)| {
            Unit {
                name: unit,
                ..Unit::default()
            }
            .measure()
                == Measure::Money
        })
    })
}

/// The unit that `text` is and nothing else: "元/年", "CNY per year".
pub(super) fn unit(text: &str) -> Option<Unit> {
    let (text, tokens) = tokens(text);
    // "单位：元" says the same as "元".
    let skip = if tokens.len() > 2 && tokens[0].is("单") && tokens[1].is("位") {
        2 + usize::from(tokens[2].is(":"))
    } else {
        0
    };
    let (name, mut at) = unit_at(&tokens, skip)?;
    let mut per = String::new();
    if at < tokens.len() {
        (per, at) = per_at(&tokens, at)?;
    }
    let written = text[tokens[skip].start..].to_owned();
    (at == tokens.len()).then_some(Unit { name, per, written })
}

impl Amount {
    /// It with the unit of its column's head; `None` where both have one and they differ.
    fn under(mut self, head: &Unit) -> Option<Self> {
        if head.is_empty() {
            return Some(self);
        }
        if self.unit.is_empty() {
            let latin = head.written.starts_with(|c: char| c.is_ascii_alphabetic());
            self.after = format!("{}{}", if latin { " " } else { "" }, head.written);
        }
        if self.unit.name.is_empty() {
            self.unit.name.clone_from(&head.name);
        } else if head.measure() == Measure::Time && head.per.is_empty() && self.unit.per.is_empty() {
            // "管理费（年）" over "0.15%": the time is what the fee is per.
            self.unit.per.clone_from(&head.name);
        } else if !head.name.is_empty() && self.unit.name != head.name {
            return None;
        }
        if self.unit.per.is_empty() {
            self.unit.per.clone_from(&head.per);
        } else if !head.per.is_empty() && self.unit.per != head.per {
            return None;
        }
        Some(self)
    }
}

fn amount(text: &str, tokens: &[Token]) -> Option<Amount> {
    let mut at = 0;
    let mut unit = Unit::default();
    if tokens.first()?.is("每") {
        (unit.per, at) = per_at(tokens, 0)?;
    }
    if let Some((name, end)) = unit_at(tokens, at) {
        (unit.name, at) = (name, end);
    }
    let first = tokens.get(at)?;
    let low = first.number()?;
    let mark = |token: &Token| {
        let written = &text[token.start..token.end];
        token.scaled.then(|| if written.contains('萬') { '萬' } else { '万' })
    };
    let mut scaled = mark(first);
    let (mut high, mut last) = (low, at);
    at += 1;
    // "5-10元", "5元-10元", "5至10元", "5 to 10 days"
    let before_range = at;
    if let Some((name, end)) = unit_at(tokens, at)
        && is_range_mark(tokens.get(end))
        && unit.name.is_empty()
    {
        (unit.name, at) = (name, end);
    }
    if is_range_mark(tokens.get(at)) {
        let mut end = at + 1;
        if let Some((name, after)) = unit_at(tokens, end)
            && name == unit.name
        {
            end = after;
        }
        high = tokens.get(end)?.number()?;
        scaled = scaled.and(mark(&tokens[end]));
        (last, at) = (end, end + 1);
        if high < low {
            return None;
        }
    } else {
        at = before_range;
    }
    let after = at;
    if let Some((name, end)) = unit_at(tokens, at) {
        if !unit.name.is_empty() && unit.name != name {
            return None;
        }
        (unit.name, at) = (name, end);
    }
    if at < tokens.len() {
        let (per, end) = per_at(tokens, at)?;
        if !unit.per.is_empty() {
            return None;
        }
        (unit.per, at) = (per, end);
    }
    let number = tokens[..=last].iter().position(|token| token.kind == Kind::Number)?;
    (at == tokens.len()).then(|| Amount {
        low,
        high,
        unit,
        before: text[..tokens[number].start].to_owned(),
        after: tokens
            .get(after)
            .map_or("", |token| &text[tokens[last].end.min(token.start)..])
            .to_owned(),
        scaled,
    })
}

fn is_range_mark(token: Option<&Token>) -> bool {
    token.is_some_and(|token| matches!(token.word.as_str(), "-" | "–" | "—" | "~" | "至" | "到" | "to"))
}

/// The unit whose words begin at `at`, and the place after them.
pub(super) fn unit_at(tokens: &[Token], at: usize) -> Option<(String, usize)> {
    let known = UNITS
        .iter()
        .filter(|(words, _, _)| {
            words
                .iter()
                .enumerate()
                .all(|(n, word)| tokens.get(at + n).is_some_and(|token| token.is(word)))
        })
        .max_by_key(|(words, _, _)| words.len());
    if let Some((words, name, _)) = known {
        return Some(((*name).to_owned(), at + words.len()));
    }
    let counter = tokens.get(at).filter(|token| COUNTERS.contains(&token.word.as_str()))?;
    Some((counter.word.clone(), at + 1))
}

/// What follows "/", "每", "per" or "a", in its one spelling, and the place after it.
fn per_at(tokens: &[Token], at: usize) -> Option<(String, usize)> {
    if !matches!(tokens.get(at)?.word.as_str(), "/" | "每" | "per" | "a" | "an" | "each") {
        return None;
    }
    let first = at + 1;
    if let Some((name, end)) = unit_at(tokens, first) {
        return Some((name, end));
    }
    // What is counted per need not be known, only the same.
    let noun: Vec<&Token> = tokens[first..]
        .iter()
        .take(2)
        .take_while(|token| matches!(token.kind, Kind::Han | Kind::Latin))
        .collect();
    let word: String = noun.iter().map(|token| token.word.as_str()).collect();
    (!noun.is_empty()).then(|| (word, first + noun.len()))
}

#[cfg(test)]
mod tests {
    use super::{Amount, Unit, Value, unit, value};

    fn amount(cell: &str) -> Amount {
        match value(cell, &Unit::default()) {
            Value::Amount(amount) => amount,
            other => panic!("{cell}: {other:?}"),
        }
    }

    #[test]
    fn numbers_with_their_units() {
        for (cell, low, high, name, per) in [
            ("160元/年", "160", "160", "yuan", "year"),
            ("每月5元", "5", "5", "yuan", "month"),
            ("１，２００元", "1200", "1200", "yuan", ""),
            ("5万元", "50000", "50000", "yuan", ""),
            ("CNY 8", "8", "8", "yuan", ""),
            ("$12.50 per month", "12.5", "12.5", "usd", "month"),
            ("1.25%", "1.25", "1.25", "%", ""),
            ("2–3天", "2", "3", "day", ""),
            ("5-10元/件", "5", "10", "yuan", "件"),
            ("3 to 5 business days", "3", "5", "workday", ""),
            ("30元/孔", "30", "30", "yuan", "孔"),
            ("十二个月", "12", "12", "month", ""),
            ("1000", "1000", "1000", "", ""),
            ("每台60元", "60", "60", "yuan", "台"),
        ] {
            let got = amount(cell);
            let said = (
                got.low.to_string(),
                got.high.to_string(),
                got.unit.name.as_str(),
                got.unit.per.as_str(),
            );
            assert_eq!(said, (low.to_owned(), high.to_owned(), name, per), "{cell}");
        }
    }

    #[test]
    fn what_is_under_conditions_is_words() {
        for cell in [
            "首张免费，第二张起300元/年",
            "满99元",
            "1元起",
            "约3天",
            "3,000-8,000",
            "金额的1%，最低10元",
            "T+1",
            "商品价格的4%",
            "5元（含税）",
        ] {
            let got = value(cell, &Unit::default());
            assert!(matches!(got, Value::Words) || cell == "3,000-8,000", "{cell}: {got:?}");
        }
        assert_eq!(value("免费", &Unit::default()), Value::Free);
        assert_eq!(value("0元", &Unit::default()), Value::Free);
        assert_eq!(value("Free", &Unit::default()), Value::Free);
        for cell in ["", "—", "-", "无", "N/A", "不限"] {
            assert_eq!(value(cell, &Unit::default()), Value::Absent, "{cell}");
        }
    }

    #[test]
    fn the_head_gives_the_unit() {
        let head = unit("元/年").unwrap();
        let Value::Amount(got) = value("160", &head) else {
            panic!()
        };
        assert_eq!((got.unit.name.as_str(), got.unit.per.as_str()), ("yuan", "year"));
        assert_eq!(value("160美元", &head), Value::Words);
        let Value::Amount(yearly) = value("0.15%", &unit("年").unwrap()) else {
            panic!()
        };
        assert_eq!((yearly.unit.name.as_str(), yearly.unit.per.as_str()), ("%", "year"));
        assert!(unit("CNY per year").is_some_and(|unit| unit.is_like(&head)));
        assert_eq!(got.like(got.low), "160元/年");
        assert_eq!(unit("单位：元").unwrap().name, "yuan");
        assert_eq!(unit("在校学生"), None);
        assert_eq!(unit("元起"), None);
    }

    #[test]
    fn what_is_computed_is_written_like_its_sources() {
        let number = |text| super::Decimal::parse(text).unwrap();
        assert_eq!(amount("160元/年").like(number("440")), "440元/年");
        assert_eq!(amount("CNY 8").like(number("2")), "CNY 2");
        assert_eq!(amount("5万元").like(number("40000")), "4万元");
        assert_eq!(amount("$12.50 per month").like(number("2.5")), "$2.5 per month");
    }
}
