//! One script for both of Chinese: traditional characters become the simplified ones they are written as. Used for matching
//! alone: what is stored, shown and cited stays as written.
//!
//! Characters are replaced one by one, without a dictionary of phrases: where a traditional character has two simplified
//! forms, question and text get the same one, which is all that matching asks for.

use std::borrow::Cow;
use std::sync::LazyLock;

const PAIRS: &str = include_str!("traditional.txt");
/// The first character that may be in the table, and how many there are: CJK extension A to the compatibility ideographs.
const FIRST: u32 = 0x3400;
const COUNT: usize = 0xfb00 - 0x3400;

static TABLE: LazyLock<Box<[u16]>> = LazyLock::new(|| {
    let mut table = vec![0; COUNT].into_boxed_slice();
    for line in PAIRS.lines().filter(|line| !line.starts_with('#')) {
        let mut chars = line.chars();
        while let (Some(from), Some(to)) = (chars.next(), chars.next()) {
            if let (Some(place), Ok(to)) = (place(from), u16::try_from(u32::from(to))) {
                table[place] = to;
            }
        }
    }
    table
});

fn place(c: char) -> Option<usize> {
    let place = u32::from(c).checked_sub(FIRST)? as usize;
    (place < COUNT).then_some(place)
}

/// The simplified form of a traditional character; any other character as it is. The form has none itself.
#[must_use]
pub fn simplified(c: char) -> char {
    match place(c).map(|place| TABLE[place]) {
        Some(to) if to > 0 => char::from_u32(u32::from(to)).unwrap_or(c),
        _ => c,
    }
}

/// `text` with all traditional characters simplified; the number of characters stays.
#[must_use]
pub fn simplify(text: &str) -> Cow<'_, str> {
    if text.chars().any(|c| simplified(c) != c) {
        Cow::Owned(text.chars().map(simplified).collect())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_scripts_become_one() {
        assert_eq!(
            simplify("信用卡遺失後請立即掛失，國際漫遊資費"),
            "信用卡遗失后请立即挂失，国际漫游资费"
        );
        assert!(matches!(simplify("著名的台湾电脑 ABC 1"), Cow::Borrowed(_)));
        assert_eq!(simplify("關於臺灣電腦"), "关于台湾电脑");
    }

    #[test]
    fn every_form_is_final() {
        let mut pairs = 0;
        for c in (FIRST..FIRST + COUNT as u32).filter_map(char::from_u32) {
            let once = simplified(c);
            pairs += usize::from(once != c);
            assert_eq!(simplified(once), once, "{c}");
        }
        assert!(pairs > 2900, "{pairs}");
    }
}
