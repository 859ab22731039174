//! Plain text: headings by the cues that writers of plain text use, paragraphs by blank lines.

use super::front_matter::front_matter;
use super::markdown::without_anchor;
use super::{Block, BlockKind, ParsedDocument, title_line, trim};
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// Characters of a line that may still be a heading.
const MAX_HEADING_CHARS: usize = 40;

/// Parses plain text. Never fails.
///
/// The title is the first line if it is short and stands alone.
#[must_use]
pub fn parse_text(text: String) -> ParsedDocument {
    // A line of hyphens is common in plain text: only a block with keys of ours is front matter.
    let front = front_matter(&text);
    let body_start = if front.is_ours() { front.body_start } else { 0 };
    let lines: Vec<_> = lines(&text)
        .into_iter()
        .filter(|line| line.start >= body_start)
        .collect();
    let mut blocks: Vec<Block> = Vec::new();
    let mut title = None;
    let mut previous = Line::Blank;
    for (number, range) in lines.iter().enumerate() {
        let line = &text[range.clone()];
        let Some(trimmed) = trim(&text, range.clone()) else {
            previous = Line::Blank;
            continue;
        };
        let next = lines.get(number + 1).map_or("", |range| text[range.clone()].trim());
        let level = match heading_level(line.trim(), next, previous) {
            None if blocks.is_empty() && next.is_empty() && could_head(line.trim()) => Some(1),
            level => level,
        };
        // Markdown saved as plain text: its marks are no part of a title, and alone they are none.
        let heading = title_line(without_anchor(line.trim().trim_start_matches('#')));
        if let Some(level) = level.filter(|_| !heading.is_empty()) {
            if blocks.is_empty() {
                title = Some(heading.clone());
            }
            blocks.push(Block {
                kind: BlockKind::Heading { level, text: heading },
                range: trimmed,
            });
            previous = Line::Heading;
        } else {
            match blocks.last_mut() {
                Some(Block {
                    kind: BlockKind::Paragraph,
                    range,
                }) if previous == Line::Text => range.end = trimmed.end,
                _ => blocks.push(Block {
                    kind: BlockKind::Paragraph,
                    range: trimmed,
                }),
            }
            previous = Line::Text;
        }
    }
    ParsedDocument {
        title: front.title.filter(|_| body_start > 0).or(title),
        text,
        blocks,
        pages: Vec::new(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Blank,
    Heading,
    Text,
}

fn lines(text: &str) -> Vec<Range<usize>> {
    let mut at = 0;
    text.split_inclusive('\n')
        .map(|line| {
            at += line.len();
            at - line.len()..at
        })
        .collect()
}

/// Numbering at the beginning of a line, outermost first: 第一章, 第一节 or 一、, （一）, 1.1.
static NUMBERING: LazyLock<[(u8, Regex); 5]> = LazyLock::new(|| {
    let regex = |pattern: &str| Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"));
    [
        (1, regex(r"^第[一二三四五六七八九十百零〇\d]{1,5}[章编部篇]")),
        (
            2,
            regex(r"^(第[一二三四五六七八九十百零〇\d]{1,5}节|[一二三四五六七八九十]{1,3}、)"),
        ),
        (3, regex(r"^[（(][一二三四五六七八九十]{1,3}[）)]")),
        (2, regex(r"^\d{1,2}[.、．]\s*[^\d\s.]")),
        (3, regex(r"^\d{1,2}(\.\d{1,2}){1,3}[.、．]?\s+\S")),
    ]
});

/// The level of a line that is numbered like a heading. A run of such lines is a list: its lines are followed by the
/// next number at once, a heading by its text.
fn heading_level(line: &str, next: &str, previous: Line) -> Option<u8> {
    if !could_head(line) {
        return None;
    }
    let cue = |line: &str| NUMBERING.iter().position(|(_, regex)| regex.is_match(line));
    let own = cue(line)?;
    // "1." is the commonest bullet of all: only where a paragraph of its own begins may it be a heading.
    let is_item = cue(next) == Some(own) || (own >= 3 && previous == Line::Text);
    (!is_item).then(|| NUMBERING[own].0)
}

/// The level of a line that stands alone and is numbered as only headings are: 第一章, 第一节, 一、.
pub(super) fn numbered_heading(line: &str) -> Option<u8> {
    let line = line.trim();
    could_head(line)
        .then(|| {
            NUMBERING[..2]
                .iter()
                .find(|(_, regex)| regex.is_match(line))
                .map(|(level, _)| *level)
        })
        .flatten()
}

/// Whether a line is short and does not end like a sentence.
fn could_head(line: &str) -> bool {
    !line.is_empty()
        && line.chars().nth(MAX_HEADING_CHARS).is_none()
        && !line.ends_with(['。', '，', '；', '.', ',', ';', '：', ':', '!', '！', '、', '|'])
        && line.chars().any(char::is_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_headings_and_paragraphs() {
        let source = "信用卡章程\n\n第一章 总则\n\n为规范管理，制定本章程。\n仍是同一段。\n\n一、申请条件\n年满十八周岁。\n\
                      （一）收入证明\n近六个月流水。\n\n办理步骤：\n1. 打开手机银行\n2. 点击申请\n\r\n2.1 费用说明\n年费 200 元。\n";
        let parsed = parse_text(source.to_owned());
        assert_eq!(parsed.title.as_deref(), Some("信用卡章程"));
        let outline: Vec<(Option<u8>, &str)> = parsed
            .blocks
            .iter()
            .map(|block| {
                let level = match &block.kind {
                    BlockKind::Heading { level, .. } => Some(*level),
                    _ => None,
                };
                (level, &source[block.range.clone()])
            })
            .collect();
        assert_eq!(
            outline,
            [
                (Some(1), "信用卡章程"),
                (Some(1), "第一章 总则"),
                (None, "为规范管理，制定本章程。\n仍是同一段。"),
                (Some(2), "一、申请条件"),
                (None, "年满十八周岁。"),
                (Some(3), "（一）收入证明"),
                (None, "近六个月流水。"),
                (None, "办理步骤：\n1. 打开手机银行\n2. 点击申请"),
                (Some(3), "2.1 费用说明"),
                (None, "年费 200 元。"),
            ]
        );
    }

    #[test]
    fn a_plain_note_has_no_title() {
        let markdown = parse_text("# 退款 {#concept .concept}\n\n不支持退款。\n".to_owned());
        assert_eq!(markdown.title.as_deref(), Some("退款"));
        assert_eq!(parse_text("# {#only}\n\n正文。\n".to_owned()).title, None);
        let parsed = parse_text("请在工作日联系我们。\n谢谢".to_owned());
        assert_eq!((parsed.title, parsed.blocks.len()), (None, 1));
    }
}
