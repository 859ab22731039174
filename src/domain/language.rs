use serde::{Deserialize, Serialize};

/// The language of a text, as far as answers depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Chinese, simplified or traditional.
    Zh,
    /// English (and anything else in Latin script).
    En,
}

impl Language {
    /// The language in which `text` wants to be answered: Chinese as soon as Han characters make up a fifth of the
    /// letters (customers mix English product names into Chinese), else English.
    #[must_use]
    pub fn detect(text: &str) -> Self {
        let (mut han, mut other) = (0_usize, 0_usize);
        for c in text.chars() {
            if is_han(c) {
                han += 1;
            } else if c.is_alphabetic() {
                other += 1;
            }
        }
        // A Latin word has about five letters where a Chinese word has two characters.
        if han > 0 && han * 8 >= other {
            Self::Zh
        } else {
            Self::En
        }
    }

    /// `zh` or `en`, as in BCP 47.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::Zh => "zh",
            Self::En => "en",
        }
    }
}

/// Whether `c` is a Han character (unified ideographs, extension A and the compatibility block).
#[must_use]
pub fn is_han(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2fa1f}')
}

#[cfg(test)]
mod tests {
    use super::Language;

    #[test]
    fn mixed_chinese_is_chinese() {
        assert_eq!(Language::detect("我的 iPhone 15 Pro Max 怎么退货"), Language::Zh);
        assert_eq!(Language::detect("How do I return an item?"), Language::En);
        assert_eq!(Language::detect("12345"), Language::En);
    }
}
