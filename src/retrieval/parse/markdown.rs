//! Markdown (CommonMark with pipe tables). The text is the decoded file itself, so that a citation's offsets point
//! into what the author wrote; markup is taken out only where text is embedded or indexed.

use super::front_matter::{FrontMatter, front_matter};
use super::{Block, BlockKind, ParsedDocument, fill_gaps, title_line, trim};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use std::ops::Range;

/// Parses Markdown. Never fails: what is no markup is a paragraph.
///
/// The title is that of the front matter, else the first heading of level 1, else the first heading of all.
#[must_use]
pub fn parse_markdown(text: String) -> ParsedDocument {
    let FrontMatter {
        title: front_title,
        body_start,
        ..
    } = front_matter(&text);
    let body = &text[body_start..];
    let mut blocks = Vec::new();
    let mut open: Option<Open> = None;
    let mut depth = 0_usize;
    for (event, range) in Parser::new_ext(body, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(tag) => {
                if depth == 0 {
                    open = Some(Open::new(&tag, range));
                }
                depth += 1;
                if let (Tag::Link { dest_url, .. }, Some(open)) = (&tag, &mut open) {
                    open.in_page_link = dest_url.starts_with('#');
                }
            }
            Event::End(end) => {
                depth = depth.saturating_sub(1);
                if let (TagEnd::Link, Some(open)) = (end, &mut open) {
                    open.in_page_link = false;
                }
                if depth == 0
                    && let Some(open) = open.take()
                {
                    blocks.extend(open.close(body, body_start));
                }
            }
            Event::Text(piece) | Event::Code(piece) => {
                if let Some(open) = &mut open {
                    open.note(&piece);
                }
                if let Some(Open {
                    heading: Some((_, text)),
                    ..
                }) = &mut open
                {
                    text.push_str(&piece);
                }
            }
            Event::SoftBreak | Event::HardBreak => {
                if let Some(Open {
                    heading: Some((_, text)),
                    ..
                }) = &mut open
                {
                    text.push(' ');
                }
            }
            _ => {}
        }
    }
    // What is a table of contents alone is better than nothing.
    let says_more = |block: &Block| !matches!(block.kind, BlockKind::Heading { .. } | BlockKind::Navigation);
    if !blocks.iter().any(says_more) {
        for block in blocks.iter_mut().filter(|block| block.kind == BlockKind::Navigation) {
            block.kind = BlockKind::List;
        }
    }
    let blocks = fill_gaps(&text, body_start, blocks);
    let title = front_title.or_else(|| first_heading(&blocks));
    ParsedDocument {
        title,
        text,
        blocks,
        pages: Vec::new(),
    }
}

/// How many times as many letters of a table of contents are in links as are not.
const LINKED: usize = 4;

/// A top-level block whose end has not come yet.
struct Open {
    kind: BlockKind,
    range: Range<usize>,
    heading: Option<(u8, String)>,
    /// Within a link to another place of the document.
    in_page_link: bool,
    /// Letters in such links.
    linked: usize,
    /// Letters besides.
    unlinked: usize,
}

impl Open {
    fn new(tag: &Tag<'_>, range: Range<usize>) -> Self {
        let kind = match tag {
            Tag::List(_) => BlockKind::List,
            Tag::Table(_) => BlockKind::Table,
            Tag::CodeBlock(_) => BlockKind::Code,
            _ => BlockKind::Paragraph,
        };
        let heading = match tag {
            Tag::Heading { level, .. } => Some((*level as u8, String::new())),
            _ => None,
        };
        Self {
            kind,
            range,
            heading,
            in_page_link: false,
            linked: 0,
            unlinked: 0,
        }
    }

    fn note(&mut self, words: &str) {
        let letters = words.chars().filter(|c| c.is_alphanumeric()).count();
        if self.in_page_link {
            self.linked += letters;
        } else {
            self.unlinked += letters;
        }
    }

    fn close(self, body: &str, offset: usize) -> Option<Block> {
        let range = trim(body, self.range)?;
        let range = range.start + offset..range.end + offset;
        let kind = match self.heading {
            // An entry or two that somebody forgot to link make it no other thing.
            None if self.linked > 0 && self.unlinked * LINKED <= self.linked => BlockKind::Navigation,
            None => self.kind,
            Some((level, text)) => match title_line(without_anchor(&text)) {
                // A heading of markup alone (an image, an anchor) is text that heads nothing.
                text if text.is_empty() => BlockKind::Paragraph,
                text => BlockKind::Heading { level, text },
            },
        };
        Some(Block { kind, range })
    }
}

/// The heading without the `{#id .class}` that many exporters put behind it.
pub(super) fn without_anchor(heading: &str) -> &str {
    let trimmed = heading.trim_end();
    match trimmed.rfind('{') {
        Some(at) if trimmed.ends_with('}') && trimmed[at + 1..].trim_start().starts_with(['#', '.', ':']) => {
            trimmed[..at].trim_end()
        }
        _ => trimmed,
    }
}

fn first_heading(blocks: &[Block]) -> Option<String> {
    let headings = || {
        blocks.iter().filter_map(|block| match &block.kind {
            BlockKind::Heading { level, text } => Some((*level, text)),
            _ => None,
        })
    };
    headings()
        .find(|(level, _)| *level == 1)
        .or_else(|| headings().next())
        .map(|(_, text)| text.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(parsed: &ParsedDocument) -> Vec<(String, &str)> {
        parsed
            .blocks
            .iter()
            .map(|block| {
                let kind = match &block.kind {
                    BlockKind::Heading { level, text } => format!("h{level} {text}"),
                    other => format!("{other:?}"),
                };
                (kind, &parsed.text[block.range.clone()])
            })
            .collect()
    }

    #[test]
    fn structure_with_exact_ranges() {
        let source = "---\ntitle: \"费率表\"\n---\n# 费率 {#fees .topic}\n\n正文一。\n第二行。\n\n- 甲\n  - 乙\n\n\
                      | 项 | 价 |\n|---|---|\n| a | 1 |\n\n```\ncode\n```\n\n[link]: http://x\n\n> 引\n";
        let parsed = parse_markdown(source.to_owned());
        assert_eq!(parsed.title.as_deref(), Some("费率表"));
        assert_eq!(parsed.text, source);
        assert_eq!(
            outline(&parsed),
            [
                ("h1 费率".to_owned(), "# 费率 {#fees .topic}"),
                ("Paragraph".to_owned(), "正文一。\n第二行。"),
                ("List".to_owned(), "- 甲\n  - 乙"),
                ("Table".to_owned(), "| 项 | 价 |\n|---|---|\n| a | 1 |"),
                ("Code".to_owned(), "```\ncode\n```"),
                ("Paragraph".to_owned(), "[link]: http://x"),
                ("Paragraph".to_owned(), "> 引"),
            ]
        );
    }

    #[test]
    fn the_title_is_the_first_heading_of_level_one() {
        let title = |source: &str| parse_markdown(source.to_owned()).title;
        assert_eq!(title("## 概述\n\n# 信用卡 `A`\n"), Some("信用卡 A".to_owned()));
        assert_eq!(title("## 概述\n"), Some("概述".to_owned()));
        assert_eq!(title("---\n\n一条线之后的正文\n\n---\n"), None);
        assert_eq!(title("text {#not-a-heading}\n"), None);
    }

    #[test]
    fn ten_megabytes_of_nesting_end() {
        for unit in [
            "> ",
            "- ",
            "[",
            "*a ",
            "`",
            "<div>\n",
            "| a ",
            "![](",
            "# ",
            "\u{5b57}_",
            "1. ",
        ] {
            let source = unit.repeat(10_000_000 / unit.len());
            let parsed = parse_markdown(source);
            assert!(!parsed.blocks.is_empty(), "{unit:?}");
        }
    }
}
