//! Amounts of money and dates, in figures and in words, with their places.

use super::View;
use super::numerals::number;
use std::ops::Range;

/// An amount of money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amount {
    /// In hundredths of the currency's unit (fen of yuan).
    pub cents: u64,
    /// The characters of the view.
    pub span: Range<usize>,
}

/// A date that names its month and day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateMention {
    /// The year, where it was said.
    pub year: Option<u16>,
    /// From 1 to 12.
    pub month: u8,
    /// From 1 to 31.
    pub day: u8,
    /// The characters of the view.
    pub span: Range<usize>,
}

/// The amounts in a text: ¥120, 120元, 3.5万, 壹佰贰拾元整, 一百二十块五, 3块5毛, 50 USD.
#[must_use]
pub fn amounts(view: &View) -> Vec<Amount> {
    let chars = view.chars();
    let mut found = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        match amount(chars, at) {
            Some(amount) => {
                at = amount.span.end;
                found.push(amount);
            }
            None => at += run_of_digits(&chars[at..]).max(1),
        }
    }
    found
}

/// How many characters to pass over, so that the tail of a number is not taken for one.
fn run_of_digits(chars: &[char]) -> usize {
    chars.iter().take_while(|c| c.is_ascii_digit()).count()
}

fn amount(chars: &[char], at: usize) -> Option<Amount> {
    const SIGNS: [char; 5] = ['¥', '￥', '$', '€', '£'];
    let signed = SIGNS.contains(chars.get(at)?);
    let mut place = at + usize::from(signed);
    while signed && chars.get(place) == Some(&' ') {
        place += 1;
    }
    let (value, length) = number(&chars[place..])?;
    place += length;
    let mut cents = value.checked_mul(100)?;
    if chars.get(place) == Some(&'.') && chars.get(place + 1).is_some_and(char::is_ascii_digit) {
        let decimals = run_of_digits(&chars[place + 1..]);
        let digit = |step: usize| -> u64 {
            let c = (step < decimals).then(|| chars[place + 1 + step]);
            c.and_then(|c| c.to_digit(10)).map_or(0, u64::from)
        };
        cents = cents.checked_add(digit(0) * 10 + digit(1))?;
        let thousandths = digit(2) * 10 + digit(3);
        place += 1 + decimals;
        if matches!(chars.get(place), Some('万' | '萬')) {
            cents = cents.checked_mul(10_000)?.checked_add(thousandths * 100)?;
            place += 1;
        }
    }
    while chars.get(place) == Some(&' ') && chars.get(place + 1).is_some_and(|c| !c.is_ascii_digit()) {
        place += 1;
    }
    let unit = unit(&chars[place..]);
    if unit == 0 && !signed {
        return None;
    }
    place += unit;
    if unit > 0 {
        (cents, place) = change(chars, cents, place)?;
    }
    Some(Amount { cents, span: at..place })
}

/// The characters of a currency's name at the beginning.
fn unit(chars: &[char]) -> usize {
    const UNITS: [&str; 14] = [
        "人民币",
        "元钱",
        "块钱",
        "美元",
        "港币",
        "欧元",
        "日元",
        "圆",
        "元",
        "块",
        "rmb",
        "RMB",
        "yuan",
        "USD",
    ];
    let begins = |unit: &&&str| unit.chars().enumerate().all(|(step, c)| chars.get(step) == Some(&c));
    UNITS.iter().find(begins).map_or(0, |unit| unit.chars().count())
}

/// What follows a currency's name: 五角, 5毛2分, 整, or half a unit as in 三块五.
fn change(chars: &[char], mut cents: u64, mut place: usize) -> Option<(u64, usize)> {
    if matches!(chars.get(place), Some('整' | '正')) {
        return Some((cents, place + 1));
    }
    for (names, worth) in [(['角', '毛'], 10), (['分', '分'], 1)] {
        let Some((value, length)) = number(&chars[place..]).filter(|(value, _)| *value < 10) else {
            break;
        };
        let named = chars.get(place + length).is_some_and(|c| names.contains(c));
        // 三块五: the unit is left out at the end.
        let bare = worth == 10 && chars.get(place - 1) == Some(&'块');
        if named {
            place += length + 1;
        } else if bare && !chars.get(place + length).is_some_and(|c| c.is_alphanumeric()) {
            place += length;
        } else {
            break;
        }
        cents = cents.checked_add(value * worth)?;
    }
    Some((cents, place))
}

/// The dates in a text: 2024-03-05, 2024/3/5, 2024.03.05, 20240305 (not within a longer number), 2024年3月5日, 二〇二四年三月五号,
/// 3月5日.
#[must_use]
pub fn dates(view: &View) -> Vec<DateMention> {
    let chars = view.chars();
    let mut found = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let within_number = at > 0 && chars[at - 1].is_ascii_digit();
        match (!within_number).then(|| date(chars, at)).flatten() {
            Some(date) => {
                at = date.span.end;
                found.push(date);
            }
            None => at += run_of_digits(&chars[at..]).max(1),
        }
    }
    found
}

fn date(chars: &[char], at: usize) -> Option<DateMention> {
    if let Some(compact) = compact_date(chars, at) {
        return Some(compact);
    }
    let (first, length) = number(&chars[at..])?;
    let mut place = at + length;
    let (year, month) = match chars.get(place)? {
        '年' | '-' | '/' | '.' if (1900..=2100).contains(&first) => {
            let mark = chars[place];
            let (month, length) = number(&chars[place + 1..])?;
            place += 1 + length;
            let closed = if mark == '年' {
                chars.get(place)? == &'月'
            } else {
                chars.get(place)? == &mark
            };
            if !closed {
                return None;
            }
            (Some(first as u16), month)
        }
        '月' => (None, first),
        _ => return None,
    };
    let written = chars[place];
    let (day, length) = number(&chars[place + 1..])?;
    place += 1 + length;
    if written == '月' {
        if !matches!(chars.get(place), Some('日' | '号' | '號')) {
            return None;
        }
        place += 1;
    }
    valid(year, month, day, at..place)
}

fn compact_date(chars: &[char], at: usize) -> Option<DateMention> {
    if run_of_digits(&chars[at..]) != 8 {
        return None;
    }
    let value = |range: Range<usize>| {
        let digits = chars[at + range.start..at + range.end]
            .iter()
            .filter_map(|c| c.to_digit(10));
        digits.fold(0_u64, |sum, digit| sum * 10 + u64::from(digit))
    };
    let year = Some(value(0..4)).filter(|year| (1900..=2100).contains(year))?;
    valid(Some(year as u16), value(4..6), value(6..8), at..at + 8)
}

fn valid(year: Option<u16>, month: u64, day: u64, span: Range<usize>) -> Option<DateMention> {
    let fits = is_date(year.map_or(2000, u64::from), month, day);
    fits.then_some(DateMention {
        year,
        month: month as u8,
        day: day as u8,
        span,
    })
}

/// Whether the calendar (Gregorian) has this day.
pub(crate) fn is_date(year: u64, month: u64, day: u64) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=days).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::{View, amounts, dates};

    #[test]
    fn amounts_in_figures_and_words() {
        for (text, cents) in [
            ("¥120", 12_000),
            ("￥ 99.50", 9950),
            ("120元", 12_000),
            ("1,299元", 129_900),
            ("壹佰贰拾元整", 12_000),
            ("一百二十块五", 12_050),
            ("3块5毛2分", 352),
            ("三万五元", 3_500_000),
            ("3.5万元", 3_500_000),
            ("50 USD", 5000),
            ("叁拾元伍角", 3050),
        ] {
            let found = amounts(&View::of(text));
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!(
                (found[0].cents, found[0].span.clone()),
                (cents, 0..text.chars().count()),
                "{text}"
            );
        }
        assert!(amounts(&View::of("订单12345，三个，2024年")).is_empty());
        let found = amounts(&View::of("花了29块下单，退9.9块"));
        assert_eq!(found.iter().map(|found| found.cents).collect::<Vec<_>>(), [2900, 990]);
    }

    #[test]
    fn dates_in_figures_and_words() {
        for (text, year, month, day) in [
            ("2024-03-05", Some(2024), 3, 5),
            ("2024/3/5", Some(2024), 3, 5),
            ("20240229", Some(2024), 2, 29),
            ("2024年3月5日", Some(2024), 3, 5),
            ("二〇二四年三月五号", Some(2024), 3, 5),
            ("十二月二十五日", None, 12, 25),
            ("3月5日", None, 3, 5),
        ] {
            let found = dates(&View::of(text));
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            let date = &found[0];
            assert_eq!((date.year, date.month, date.day), (year, month, day), "{text}");
            assert_eq!(date.span, 0..text.chars().count(), "{text}");
        }
        for text in ["2024-13-05", "3月", "20230229", "120240305", "1.2.3"] {
            assert!(dates(&View::of(text)).is_empty(), "{text}");
        }
    }
}
