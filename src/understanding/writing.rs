//! In which language and script a message is written.

use super::script::simplified;
use crate::domain::is_han;

/// In which language and script something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// Chinese in simplified characters, or in characters that both scripts share.
    Simplified,
    /// Chinese in traditional characters.
    Traditional,
    /// English, and anything else in Latin script.
    English,
    /// Chinese and English by turns.
    Mixed,
}

/// Characters that a Latin word counts as: a Chinese word has about two.
const WORD: usize = 2;
/// The share of the less frequent language from which on both are spoken, in hundredths.
const BOTH: usize = 25;

impl Writing {
    /// How `text` is written. Names of products and abbreviations (with capitals or digits, of one letter) are of no language.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let han = text.chars().filter(|c| is_han(*c)).count();
        let words = text.split(|c: char| !c.is_alphanumeric() || is_han(c));
        let spoken = |word: &&str| {
            // A sentence begins with a capital letter; any other word that does is a name.
            let rest = usize::from(text.trim_start().starts_with(word));
            word.chars().count() >= 2 && word.chars().skip(rest).all(char::is_lowercase)
        };
        let latin = words.filter(spoken).count() * WORD;
        if han == 0 {
            return Self::English;
        }
        let less = han.min(latin);
        if less * 100 >= BOTH * (han + latin) {
            return Self::Mixed;
        }
        if latin > han {
            return Self::English;
        }
        if text.chars().any(|c| is_han(c) && simplified(c) != c) {
            Self::Traditional
        } else {
            Self::Simplified
        }
    }

    /// `zh`, `zh-Hant`, `en` (BCP 47) or `mixed`.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::Simplified => "zh",
            Self::Traditional => "zh-Hant",
            Self::English => "en",
            Self::Mixed => "mixed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Writing;

    #[test]
    fn names_of_products_are_of_no_language() {
        for (text, tag) in [
            ("信用卡丢了怎么办", "zh"),
            ("信用卡遺失了怎麼辦", "zh-Hant"),
            ("how much is the annual fee?", "en"),
            ("我的 iPhone 15 Pro 登不上 App，ETC 也绑不了", "zh"),
            ("我想 cancel 那张 card 可以吗", "mixed"),
            ("please help me 查一下 balance", "mixed"),
            ("Please help me 查一下 balance", "mixed"),
            ("", "en"),
            ("12345", "en"),
            ("is 青苗卡 free for a child of eight years, or do we have to pay", "en"),
        ] {
            assert_eq!(Writing::of(text).tag(), tag, "{text}");
        }
    }
}
