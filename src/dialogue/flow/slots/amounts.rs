//! Amounts of money: 三万五, 1.2万元, 500块, ¥88.50, 五块五.

use super::numerals::{self, NUMERAL};
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

static SIGNED: LazyLock<Regex> = LazyLock::new(|| {
    let n = format!(r"(?P<n>[{NUMERAL}][{NUMERAL},]*(?:\.[0-9]+)?[万亿千百k]*[{NUMERAL}]*)");
    Regex::new(&format!(
        r"(?P<sign>¥|rmb|cny)? ?{n}(?P<unit> ?(?:元|圆|块钱|块|人民币|yuan(?-u:\b)|rmb(?-u:\b)|cny(?-u:\b)))?(?P<small>[0-9一二两三四五六七八九]{{1,2}}(?:[毛角](?:[0-9一二三四五六七八九]分?)?)?)?"
    ))
    .expect("a fixed pattern")
});

/// The largest amount, in cents: a trillion yuan.
const LARGEST: f64 = 1e14;

/// The amounts in `text` (folded), in cents, with their places and whether a unit or sign says that it is money.
pub(super) fn all(text: &str) -> Vec<(Range<usize>, i64, bool)> {
    SIGNED
        .captures_iter(text)
        .filter_map(|captures| {
            let whole = captures.get(0)?;
            let unit = captures.name("unit").map_or("", |unit| unit.as_str().trim());
            let number = captures["n"].trim_end_matches(',');
            let (number, times) = match number.strip_suffix('k') {
                Some(rest) => (rest, 1000.0),
                None => (number, 1.0),
            };
            let mut value = numerals::parse(number)? * times;
            let mut end = captures.name("small").map_or(whole.end(), |small| small.start());
            // What follows 块 are tenths (五块五), and hundredths after them.
            if let Some(small) = captures.name("small")
                && (small.as_str().contains(['毛', '角'])
                    || (unit == "块" && !text[small.end()..].starts_with(char::is_alphanumeric)))
            {
                let digits: Vec<f64> = small
                    .as_str()
                    .chars()
                    .filter_map(numerals::digit)
                    .map(f64::from)
                    .collect();
                if digits.len() <= 2 {
                    value += digits.first().unwrap_or(&0.0) / 10.0 + digits.get(1).unwrap_or(&0.0) / 100.0;
                    end = small.end();
                }
            }
            let cents = (value * 100.0).round();
            let money = !unit.is_empty() || captures.name("sign").is_some();
            (cents <= LARGEST).then_some((whole.start()..end, cents as i64, money))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::all;

    #[test]
    fn amounts_in_every_spelling() {
        for (text, cents) in [
            ("三万五", 3_500_000),
            ("1.2万元", 1_200_000),
            ("500块", 50_000),
            ("¥88.50", 8850),
            ("五块五", 550),
            ("三块八毛", 380),
            ("12,000元", 1_200_000),
            ("两千五百元", 250_000),
            ("3万5", 3_500_000),
            ("500块钱", 50_000),
            ("rmb 300", 30_000),
            ("3k", 300_000),
            ("一百二十块", 12_000),
            ("10万", 10_000_000),
            ("3,500 yuan", 350_000),
            ("500块12期", 50_000),
        ] {
            let found = all(text);
            assert!(!found.is_empty(), "{text}");
            assert_eq!(found[0].1, cents, "{text}: {found:?}");
        }
        assert!(all("hello").is_empty());
        assert!(!all("第2个")[0].2, "no unit, no money");
    }
}
