//! One spelling for what looks or means the same. Used for matching alone: what is stored and shown stays as written.
//!
//! [`normalise`] and [`match_key`] give a text to compare. [`View`] folds more (look-alikes of other scripts) and knows where each
//! character came from; `numerals` and `quantities` read numbers, amounts and dates in it. Traditional characters and
//! typing errors by sound are matters of the search, which folds them over [`normalise`].

mod lookalikes;
pub(crate) mod numerals;
pub(crate) mod quantities;
mod view;

use super::simplified;
use lookalikes::is_invisible;
use unicode_normalization::UnicodeNormalization;

pub use lookalikes::is_emoji;
pub use numerals::number;
pub use quantities::{Amount, DateMention, amounts, dates};
pub use view::View;

/// `text` in NFKC (full-width forms become ASCII, ligatures and circled digits their parts), without zero-width and
/// control characters, white space folded to single spaces and trimmed.
/// Source: Unicode Standard Annex 15.
#[must_use]
pub fn normalise(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut space = false;
    for c in text.nfkc() {
        if c.is_whitespace() {
            space = !folded.is_empty();
        } else if !(c.is_control() || is_invisible(c)) {
            if space {
                folded.push(' ');
                space = false;
            }
            folded.push(c);
        }
    }
    folded
}

/// Only the letters and digits of `text`, normalised, in lower case (and `%`, which changes what a number means).
pub(super) fn letters(text: &str) -> String {
    normalise(text)
        .chars()
        .flat_map(char::to_lowercase)
        .filter(|c| c.is_alphanumeric() || *c == '%')
        .collect()
}

/// The key under which two wordings count as the same: normalised, lower case, in simplified characters, without punctuation
/// and white space, and without the courtesies that surround a question.
#[must_use]
pub fn match_key(text: &str) -> String {
    const COURTESIES: [&str; 12] = [
        "请问一下",
        "请问",
        "你好",
        "您好",
        "麻烦问下",
        "麻烦问一下",
        "想问一下",
        "想问下",
        "我想问",
        "谢谢",
        "please",
        "hello",
    ];
    let mut key: String = normalise(text)
        .chars()
        .map(simplified)
        .flat_map(char::to_lowercase)
        .filter(|c| c.is_alphanumeric() || *c == '%')
        .collect();
    loop {
        let trimmed = COURTESIES.iter().find_map(|courtesy| {
            let rest = key.strip_prefix(courtesy).or_else(|| key.strip_suffix(courtesy))?;
            // A greeting alone is a greeting, not an empty question.
            (!rest.is_empty()).then(|| rest.to_owned())
        });
        match trimmed {
            Some(rest) => key = rest,
            None => return key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{match_key, normalise};

    #[test]
    fn looks_alike_is_alike() {
        assert_eq!(normalise("  ＡＢＣ　１２３\u{200b}４\n ok "), "ABC 1234 ok");
        assert_eq!(
            match_key("您好，请问 信用卡丢了怎么挂失？？"),
            match_key("信用卡丢了怎么挂失")
        );
        assert_eq!(match_key("How do I RETURN an item?"), "howdoireturnanitem");
        assert_eq!(match_key("請問信用卡丟了怎麼掛失"), match_key("信用卡丢了怎么挂失"));
        assert_eq!(match_key("你好"), "你好");
        assert_ne!(match_key("利率 3.5%"), match_key("利率 3.5"));
    }
}
