//! Words as they are compared: one spelling for full-width and half-width, upper and lower case, simplified and traditional
//! characters, singular and plural, digits and Chinese numerals.

use super::decimal::Decimal;
use crate::domain::is_han;
use crate::understanding::{normalise, simplified};

/// One word: a Han character, a Latin word, a number or a symbol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// In its one spelling; a number in canonical decimal notation.
    pub(super) word: String,
    pub(super) kind: Kind,
    /// First byte in the normalised text.
    pub(super) start: usize,
    /// One past its last byte there.
    pub(super) end: usize,
    /// Whether the number was written with 万 or 亿: what is computed from it is shown so again.
    pub(super) scaled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Han,
    Latin,
    Number,
    Symbol,
}

/// The tokens of `text` after [`normalise`], which is given too: the tokens point into it.
pub(super) fn tokens(text: &str) -> (String, Vec<Token>) {
    let text = normalise(text);
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let place = |at: usize| chars.get(at).map_or(text.len(), |(byte, _)| *byte);
    let mut found = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at].1;
        let (word, kind, end, scaled) = if let Some((value, end, scaled)) = number_at(&chars, at) {
            (value, Kind::Number, end, scaled)
        } else if is_han(c) {
            (simplified(c).to_string(), Kind::Han, at + 1, false)
        } else if c.is_alphanumeric() {
            let end = (at..chars.len())
                .find(|place| {
                    let c = chars[*place].1;
                    let apostrophe = c == '\'' && chars.get(place + 1).is_some_and(|(_, next)| next.is_alphanumeric());
                    !(c.is_alphanumeric() || apostrophe) || is_han(c)
                })
                .unwrap_or(chars.len());
            let word: String = chars[at..end].iter().flat_map(|(_, c)| c.to_lowercase()).collect();
            (stem(&word), Kind::Latin, end, false)
        } else if c.is_whitespace() {
            at += 1;
            continue;
        } else {
            (c.to_string(), Kind::Symbol, at + 1, false)
        };
        found.push(Token {
            word,
            kind,
            start: place(at),
            end: place(end),
            scaled,
        });
        at = end;
    }
    (text, found)
}

/// The words of a name or a question: tokens without the symbols, except those that mean something.
pub(super) fn words(text: &str) -> Vec<String> {
    let (_, tokens) = tokens(text);
    tokens
        .into_iter()
        .filter(Token::is_word)
        .map(|token| token.word)
        .collect()
}

impl Token {
    /// Whether it is more than punctuation.
    pub(super) fn is_word(&self) -> bool {
        self.kind != Kind::Symbol
            || matches!(
                self.word.as_str(),
                "%" | "+" | "<" | ">" | "≤" | "≥" | "$" | "¥" | "€" | "£"
            )
    }

    pub(super) fn is(&self, word: &str) -> bool {
        self.word == word
    }

    /// The number it is.
    pub(super) fn number(&self) -> Option<Decimal> {
        (self.kind == Kind::Number)
            .then(|| Decimal::parse(&self.word))
            .flatten()
    }
}

/// The number that begins at `at` in canonical notation, the place after it, and whether it has 万 or 亿.
fn number_at(chars: &[(usize, char)], at: usize) -> Option<(String, usize, bool)> {
    let c = |place: usize| chars.get(place).map(|(_, c)| *c);
    let first = c(at)?;
    let (text, mut end) = if first.is_ascii_digit() {
        digits_at(chars, at)
    } else {
        chinese_at(chars, at)?
    };
    let mut zeros = 0;
    while let Some(power) = c(end).and_then(|c| match c {
        '百' if zeros > 0 || first.is_ascii_digit() => Some(2),
        '千' if zeros > 0 || first.is_ascii_digit() => Some(3),
        '万' | '萬' => Some(4),
        '亿' | '億' => Some(8),
        _ => None,
    }) {
        zeros += power;
        end += 1;
    }
    // 千克 and 千瓦 are units, 百分 begins a percentage.
    if zeros > 0 && matches!(c(end), Some('克' | '瓦' | '米' | '分')) && matches!(c(end - 1), Some('千' | '百')) {
        zeros -= if c(end - 1) == Some('千') { 3 } else { 2 };
        end -= 1;
    }
    // A part of a word such as "A4" or "4K" is no number; "10kg" is one with its unit.
    Some((Decimal::canonical(&text, zeros), end, zeros >= 4))
}

fn digits_at(chars: &[(usize, char)], at: usize) -> (String, usize) {
    let c = |place: usize| chars.get(place).map(|(_, c)| *c);
    let digit = |place: usize| c(place).is_some_and(|c| c.is_ascii_digit());
    let (mut text, mut end, mut point) = (String::new(), at, false);
    while let Some(next) = c(end) {
        if next.is_ascii_digit() {
            text.push(next);
        } else if next == '.' && !point && digit(end + 1) {
            point = true;
            text.push('.');
        } else if next == ',' && !point && (1..4).all(|n| digit(end + n)) && !digit(end + 4) {
            // A separator of thousands carries no value.
        } else {
            break;
        }
        end += 1;
    }
    (text, end)
}

fn chinese_at(chars: &[(usize, char)], at: usize) -> Option<(String, usize)> {
    let (mut total, mut digit, mut end) = (0_u32, None, at);
    while let Some((_, c)) = chars.get(end) {
        if let Some(value) = "零一二三四五六七八九".chars().position(|d| d == *c).or(match c {
            '〇' => Some(0),
            '两' | '兩' => Some(2),
            _ => None,
        }) {
            if digit.is_some_and(|digit| digit > 0) {
                return None;
            }
            digit = u32::try_from(value).ok();
        } else {
            let power = match c {
                '十' => 10,
                '百' if digit.is_some() => 100,
                '千' if digit.is_some() => 1000,
                _ => break,
            };
            total += digit.unwrap_or(1) * power;
            digit = None;
        }
        end += 1;
        if end - at > 8 {
            return None;
        }
    }
    (end > at).then(|| ((total + digit.unwrap_or(0)).to_string(), end))
}

/// The singular of an English word, and without a possessive.
fn stem(word: &str) -> String {
    let word = word.strip_suffix("'s").unwrap_or(word);
    let long = word.len() > 3 && word.bytes().all(|b| b.is_ascii_alphabetic());
    if !long {
        return word.to_owned();
    }
    if let Some(base) = word.strip_suffix("ies") {
        return format!("{base}y");
    }
    for ending in ["sses", "xes", "ches", "shes"] {
        if word.ends_with(ending) {
            return word[..word.len() - 2].to_owned();
        }
    }
    match word.strip_suffix('s') {
        Some(base) if !base.ends_with(['s', 'u', 'i']) => base.to_owned(),
        _ => word.to_owned(),
    }
}

/// Whether `text` has characters that only traditional writing has.
pub(super) fn is_traditional(text: &str) -> bool {
    text.chars().any(|c| simplified(c) != c)
}

#[cfg(test)]
mod tests {
    use super::{is_traditional, words};

    #[test]
    fn one_spelling_for_what_is_the_same() {
        assert_eq!(words("白金卡年費"), words("白金卡年费"));
        assert_eq!(words("十二期、１２期"), ["12", "期", "12", "期"]);
        assert_eq!(words("五万元"), ["50000", "元"]);
        assert_eq!(words("1,000元"), ["1000", "元"]);
        assert_eq!(words("两百五十"), ["250"]);
        assert_eq!(words("5千克"), ["5", "千", "克"]);
        assert_eq!(
            words("Annual Fees of the bank's boxes"),
            ["annual", "fee", "of", "the", "bank", "box"]
        );
        assert_eq!(words("1.5%"), ["1.5", "%"]);
        assert!(is_traditional("費用") && !is_traditional("费用"));
    }
}
