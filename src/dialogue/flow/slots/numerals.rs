//! Numbers as people write them: 12,000; 三万五; 1.2万; 二零二六; fifteen.

use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// The characters of a Chinese or mixed number, for use in a bracket of a regular expression.
pub(super) const NUMERAL: &str = "0-9零〇一二两三四五六七八九十百千万亿廿卅";

static SPOKEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|(?:[0-9]+(?:\.[0-9]+)?|[零〇一二两三四五六七八九十百千万亿廿卅])+(?:点[零〇一二三四五六七八九]+)?").expect("a fixed pattern")
});

/// Words for small numbers in English.
const WORDS: [(&str, u32); 20] = [
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
    ("ten", 10),
    ("eleven", 11),
    ("twelve", 12),
    ("thirteen", 13),
    ("fourteen", 14),
    ("fifteen", 15),
    ("sixteen", 16),
    ("seventeen", 17),
    ("eighteen", 18),
    ("nineteen", 19),
    ("twenty", 20),
];

/// The number that an English word is, from one to twenty.
pub(super) fn word(text: &str) -> Option<u32> {
    WORDS.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
}

/// The value of one Chinese digit.
pub(super) fn digit(c: char) -> Option<u32> {
    Some(match c {
        '0' | '零' | '〇' => 0,
        '1' | '一' | '幺' => 1,
        '2' | '二' | '两' => 2,
        '3' | '三' => 3,
        '4' | '四' => 4,
        '5' | '五' => 5,
        '6' | '六' => 6,
        '7' | '七' => 7,
        '8' | '八' => 8,
        '9' | '九' => 9,
        _ => return None,
    })
}

fn unit(c: char) -> Option<f64> {
    Some(match c {
        '十' => 10.0,
        '百' => 100.0,
        '千' => 1000.0,
        '万' => 10_000.0,
        '亿' => 100_000_000.0,
        _ => return None,
    })
}

/// The number that `text` is, as a whole: digits with commas and a point, Chinese numerals with or without units, a mix of
/// both, and the spoken short form (三万五 is 35,000, 两百五 is 250).
pub(super) fn parse(text: &str) -> Option<f64> {
    let plain: String = text.chars().filter(|c| *c != ',').collect();
    if plain.starts_with(|c: char| c.is_ascii_digit()) && plain.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return plain.parse().ok();
    }
    if let Some((whole, fraction)) = plain.split_once('点') {
        let digits: Option<String> = fraction
            .chars()
            .map(|c| digit(c).and_then(|d| char::from_digit(d, 10)))
            .collect();
        let fraction: f64 = format!("0.{}", digits.filter(|d| !d.is_empty())?).parse().ok()?;
        return parse(whole).map(|whole| whole + fraction);
    }
    let chars: Vec<char> = plain.chars().collect();
    if chars.is_empty() {
        return None;
    }
    if chars.len() >= 2 && chars.iter().all(|c| digit(*c).is_some()) {
        // Said digit by digit: 二零二六.
        return chars
            .iter()
            .try_fold(0.0, |sum, c| digit(*c).map(|d| sum * 10.0 + f64::from(d)));
    }
    with_units(&chars)
}

fn with_units(chars: &[char]) -> Option<f64> {
    let (mut total, mut section, mut last_unit) = (0.0, 0.0, 1.0_f64);
    let mut current: Option<f64> = None;
    let mut zero = false;
    let mut single = false;
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if c.is_ascii_digit() {
            let end = chars[at..]
                .iter()
                .position(|c| !(c.is_ascii_digit() || *c == '.'))
                .map_or(chars.len(), |n| at + n);
            let number: String = chars[at..end].iter().collect();
            if current.is_some() {
                return None;
            }
            single = end - at == 1;
            current = Some(number.parse().ok()?);
            at = end;
            continue;
        }
        if matches!(c, '零' | '〇') {
            if current.is_some() {
                return None;
            }
            zero = true;
        } else if let Some(value) = digit(c) {
            if current.is_some() {
                return None;
            }
            single = true;
            current = Some(f64::from(value));
        } else if matches!(c, '廿' | '卅') {
            section += if c == '廿' { 20.0 } else { 30.0 };
            last_unit = 10.0;
        } else {
            let unit = unit(c)?;
            if unit >= 10_000.0 {
                section += current.take().unwrap_or(0.0);
                if section == 0.0 && total == 0.0 {
                    return None;
                }
                if unit > 10_000.0 {
                    total = (total + section) * unit;
                } else {
                    total += section * unit;
                }
                section = 0.0;
            } else {
                let count = match current.take() {
                    Some(count) => count,
                    None if c == '十' => 1.0,
                    None => return None,
                };
                section += count * unit;
            }
            last_unit = unit;
            zero = false;
        }
        at += 1;
    }
    if let Some(rest) = current {
        // 三万五 and 两百五: the last digit counts the next smaller unit.
        section += if last_unit >= 100.0 && !zero && single {
            rest * last_unit / 10.0
        } else {
            rest
        };
    }
    Some(total + section)
}

/// Every number in `text` (folded) with its place.
pub(super) fn all(text: &str) -> Vec<(Range<usize>, f64)> {
    SPOKEN
        .find_iter(text)
        .filter_map(|found| Some((found.range(), parse(found.as_str())?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{all, parse};

    #[test]
    fn numbers_in_every_spelling() {
        for (text, value) in [
            ("12,000", 12_000.0),
            ("1.2万", 12_000.0),
            ("三万五", 35_000.0),
            ("3万5千", 35_000.0),
            ("3万5", 35_000.0),
            ("两百五", 250.0),
            ("一百零五", 105.0),
            ("十五", 15.0),
            ("二十", 20.0),
            ("二零二六", 2026.0),
            ("一千零一", 1001.0),
            ("两千五", 2500.0),
            ("一亿两千万", 120_000_000.0),
            ("十", 10.0),
            ("廿三", 23.0),
            ("三点五", 3.5),
            ("5", 5.0),
            ("十万", 100_000.0),
            ("一万零五百", 10_500.0),
            ("二十五万", 250_000.0),
        ] {
            assert_eq!(parse(text), Some(value), "{text}");
        }
        for text in ["", "百", "万", "三四万", "x"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(
            all("要三万五，分12期").iter().map(|(_, v)| *v).collect::<Vec<_>>(),
            [35_000.0, 12.0]
        );
    }
}
