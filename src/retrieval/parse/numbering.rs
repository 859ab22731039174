//! The numbers that Word puts before list items and headings: "第三条" stands in no text of the file.

use super::xml::Node;
use std::collections::HashMap;

/// Levels of a list.
const LEVELS: usize = 9;

#[derive(Clone, Default)]
struct Level {
    format: String,
    /// What is shown, with `%1` for the number of the outermost level.
    text: String,
    start: u32,
}

/// The lists of a document with how far each has counted.
#[derive(Default)]
pub(super) struct Numbering {
    /// For each list, which definition it follows.
    lists: HashMap<String, String>,
    definitions: HashMap<String, Vec<Level>>,
    counters: HashMap<String, [u32; LEVELS]>,
}

impl Numbering {
    /// Reads `numbering.xml`.
    pub(super) fn read(root: Node<'_>) -> Self {
        let mut numbering = Self::default();
        for node in root.children() {
            match node.name() {
                "abstractNum" => {
                    let mut levels = vec![Level::default(); LEVELS];
                    for level in node.children().filter(|node| node.name() == "lvl") {
                        let at = level
                            .attribute("ilvl")
                            .and_then(|n| n.parse::<usize>().ok())
                            .unwrap_or(0);
                        let value = |name| level.child(name).and_then(|node| node.attribute("val"));
                        if let Some(slot) = levels.get_mut(at) {
                            *slot = Level {
                                format: value("numFmt").unwrap_or("decimal").to_owned(),
                                text: value("lvlText").unwrap_or_default().to_owned(),
                                start: value("start").and_then(|n| n.parse().ok()).unwrap_or(1),
                            };
                        }
                    }
                    let id = node.attribute("abstractNumId").unwrap_or_default();
                    numbering.definitions.insert(id.to_owned(), levels);
                }
                "num" => {
                    let definition = node.child("abstractNumId").and_then(|node| node.attribute("val"));
                    let id = node.attribute("numId").unwrap_or_default();
                    numbering
                        .lists
                        .insert(id.to_owned(), definition.unwrap_or_default().to_owned());
                }
                _ => {}
            }
        }
        numbering
    }

    /// The mark of the next item of `list` at `level` (from 0); `None` if the item has no mark.
    pub(super) fn next(&mut self, list: &str, level: usize) -> Option<String> {
        let level = level.min(LEVELS - 1);
        let definition = self.lists.get(list)?;
        let levels = self.definitions.get(definition)?;
        let counters = self.counters.entry(definition.clone()).or_default();
        counters[level] = if counters[level] == 0 {
            levels[level].start.max(1)
        } else {
            counters[level].saturating_add(1)
        };
        counters[level + 1..].fill(0);
        let own = &levels[level];
        if own.format == "none" {
            return None;
        }
        if own.format == "bullet" {
            return Some("-".to_owned());
        }
        let mut mark = own.text.clone();
        for (at, definition) in levels.iter().enumerate().take(level + 1) {
            let place = format!("%{}", at + 1);
            if mark.contains(&place) {
                let number = counters[at].max(1);
                mark = mark.replace(&place, &formatted(number, &definition.format));
            }
        }
        let mark = mark.trim().to_owned();
        (!mark.is_empty()).then_some(mark)
    }
}

/// A number in one of the formats of ECMA-376, 17.18.59.
fn formatted(number: u32, format: &str) -> String {
    match format {
        "lowerLetter" => letters(number, b'a'),
        "upperLetter" => letters(number, b'A'),
        "lowerRoman" => roman(number).to_lowercase(),
        "upperRoman" => roman(number),
        "chineseCounting"
        | "chineseCountingThousand"
        | "japaneseCounting"
        | "taiwaneseCounting"
        | "taiwaneseCountingThousand"
        | "ideographDigital" => chinese(number),
        "decimalEnclosedCircle" | "decimalEnclosedCircleChinese" if (1..=20).contains(&number) => {
            char::from_u32(0x245f + number).map_or_else(|| number.to_string(), String::from)
        }
        "decimalZero" => format!("{number:02}"),
        _ => number.to_string(),
    }
}

fn letters(number: u32, first: u8) -> String {
    let index = number.saturating_sub(1);
    let letter = char::from(first + (index % 26) as u8);
    letter.to_string().repeat((index / 26 + 1).min(8) as usize)
}

fn roman(number: u32) -> String {
    const SIGNS: [(u32, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    if number >= 4000 {
        return number.to_string();
    }
    let mut left = number;
    let mut roman = String::new();
    for (value, sign) in SIGNS {
        while left >= value {
            roman.push_str(sign);
            left -= value;
        }
    }
    roman
}

/// A number below ten thousand as it is read in Chinese.
fn chinese(number: u32) -> String {
    const DIGITS: [&str; 10] = ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九"];
    if number >= 10_000 {
        return number.to_string();
    }
    let mut words = String::new();
    let mut gap = false;
    for (unit, word) in [(1000, "千"), (100, "百"), (10, "十"), (1, "")] {
        let digit = (number / unit % 10) as usize;
        if digit == 0 {
            gap = !words.is_empty();
            continue;
        }
        if gap {
            words.push('零');
            gap = false;
        }
        if !(unit == 10 && digit == 1 && words.is_empty()) {
            words.push_str(DIGITS[digit]);
        }
        words.push_str(word);
    }
    if words.is_empty() { DIGITS[0].to_owned() } else { words }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retrieval::parse::xml::Tree;

    #[test]
    fn numbers_are_those_that_word_shows() {
        assert_eq!(
            [1, 10, 11, 20, 21, 105, 110, 1001].map(chinese),
            ["一", "十", "十一", "二十", "二十一", "一百零五", "一百一十", "一千零一"]
        );
        assert_eq!([4, 9, 14, 1994].map(roman), ["IV", "IX", "XIV", "MCMXCIV"]);
        assert_eq!([1, 26, 27].map(|n| letters(n, b'a')), ["a", "z", "aa"]);
    }

    #[test]
    fn levels_count_on_and_begin_anew() {
        let tree = Tree::parse(
            r#"<w:numbering xmlns:w="x"><w:abstractNum w:abstractNumId="5">
            <w:lvl w:ilvl="0"><w:start w:val="1"/><w:numFmt w:val="chineseCounting"/><w:lvlText w:val="第%1章"/></w:lvl>
            <w:lvl w:ilvl="1"><w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1.%2"/></w:lvl>
            <w:lvl w:ilvl="2"><w:numFmt w:val="bullet"/><w:lvlText w:val="&#xf0b7;"/></w:lvl>
            </w:abstractNum><w:num w:numId="2"><w:abstractNumId w:val="5"/></w:num></w:numbering>"#
                .as_bytes(),
        )
        .unwrap();
        let mut numbering = Numbering::read(tree.root());
        let marks: Vec<Option<String>> = [0, 1, 1, 2, 0, 1].map(|level| numbering.next("2", level)).into();
        assert_eq!(
            marks.into_iter().flatten().collect::<Vec<_>>(),
            ["第一章", "一.1", "一.2", "-", "第二章", "二.1"]
        );
        assert_eq!(numbering.next("7", 0), None);
    }
}
