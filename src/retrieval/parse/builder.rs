//! Writes the text of a document together with the places of its parts: what every reader of a format ends in.

use super::{Block, BlockKind, DocumentFault, ParsedDocument, title_line};

/// Bytes of text in one document: a book of four thousand pages.
const MAX_TEXT_BYTES: usize = 12 << 20;
/// Columns of a table; the rest is left out, as in HTML.
const MAX_COLUMNS: usize = 64;
/// Characters of a heading; what is longer is a paragraph in a heading's dress.
const MAX_HEADING_CHARS: usize = 200;

/// A document in the making.
#[derive(Default)]
pub(super) struct Builder {
    title: Option<String>,
    text: String,
    blocks: Vec<Block>,
    pages: Vec<usize>,
    /// Whether the last block is a list that the next item goes on with.
    in_list: bool,
}

impl Builder {
    /// Sets the title if it says anything and none is set.
    pub(super) fn title(&mut self, title: &str) {
        let title = title_line(title);
        if self.title.is_none() && !title.is_empty() {
            self.title = Some(title);
        }
    }

    /// The next page, slide or sheet begins here.
    pub(super) fn page(&mut self) {
        self.in_list = false;
        self.pages.push(self.text.len());
    }

    /// A heading; the first one of the outermost level is the title, if there is no other.
    pub(super) fn heading(&mut self, level: u8, text: &str) {
        let text = fold_lines(text).replace('\n', " ");
        if text.chars().nth(MAX_HEADING_CHARS).is_some() {
            return self.paragraph(&text);
        }
        let plain = title_line(&text);
        if !plain.is_empty() {
            self.block(
                BlockKind::Heading {
                    level: level.clamp(1, 9),
                    text: plain,
                },
                &text,
            );
        }
    }

    /// A paragraph; its line breaks stay.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.block(BlockKind::Paragraph, &fold_lines(text));
    }

    /// An item of a list, nested `depth` deep. Items that follow each other are one list.
    pub(super) fn item(&mut self, depth: usize, marker: &str, text: &str) {
        let text = fold_lines(text);
        if text.is_empty() {
            return;
        }
        let indent = "  ".repeat(depth.min(8));
        let marker = if marker.is_empty() { "-" } else { marker };
        let line = format!("{indent}{marker} {}", text.replace('\n', " "));
        if self.in_list
            && let Some(last) = self.blocks.last_mut()
        {
            self.text.push('\n');
            self.text.push_str(&line);
            last.range.end = self.text.len();
        } else {
            self.block(BlockKind::List, line.trim_start());
            self.in_list = true;
        }
    }

    /// A table, its first row the header. What has one row or one column is running text.
    pub(super) fn table(&mut self, rows: &[Vec<String>]) {
        let mut rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.iter().take(MAX_COLUMNS).map(|cell| cell_text(cell)).collect())
            .filter(|row: &Vec<String>| row.iter().any(|cell| !cell.is_empty()))
            .collect();
        // A first row with one cell is the table's title, and its header comes below.
        let filled = |row: &Vec<String>| row.iter().filter(|cell| !cell.is_empty()).count();
        while rows.len() > 2 && filled(&rows[0]) == 1 && !rows[0][0].is_empty() && filled(&rows[1]) > 1 {
            let title = rows.remove(0);
            self.paragraph(&title[0].replace("\\|", "|"));
        }
        let used = |column: usize| {
            rows.iter()
                .any(|row| row.get(column).is_some_and(|cell| !cell.is_empty()))
        };
        let width = rows.iter().map(Vec::len).max().unwrap_or(0);
        let columns: Vec<usize> = (0..width).filter(|column| used(*column)).collect();
        if rows.len() < 2 || columns.len() < 2 {
            for row in &rows {
                let cells: Vec<&str> = row.iter().map(String::as_str).filter(|cell| !cell.is_empty()).collect();
                self.paragraph(&cells.join("  ").replace("\\|", "|"));
            }
            return;
        }
        let mut lines = String::new();
        for (number, row) in rows.iter().enumerate() {
            lines.push('|');
            for column in &columns {
                lines.push(' ');
                lines.push_str(row.get(*column).map_or("", String::as_str));
                lines.push_str(" |");
            }
            if number == 0 {
                lines.push_str("\n|");
                lines.push_str(&" --- |".repeat(columns.len()));
            }
            if number + 1 < rows.len() {
                lines.push('\n');
            }
        }
        self.block(BlockKind::Table, &lines);
    }

    /// Adds the blocks of another document, its headings `below` levels deeper.
    pub(super) fn append(&mut self, other: &ParsedDocument, below: u8) {
        for block in &other.blocks {
            let text = &other.text[block.range.clone()];
            match &block.kind {
                BlockKind::Heading { level, text: heading } => self.heading(level.saturating_add(below), heading),
                kind => self.block(kind.clone(), text),
            }
        }
    }

    /// Whether nothing was written yet.
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Whether more was written than a document may hold: a reader in a loop asks, so that it ends early.
    pub(super) fn is_full(&self) -> bool {
        self.text.len() > MAX_TEXT_BYTES
    }

    /// The document.
    ///
    /// # Errors
    /// [`DocumentFault::Empty`], `TooLarge`.
    pub(super) fn finish(self) -> Result<ParsedDocument, DocumentFault> {
        if self.is_full() {
            return Err(DocumentFault::too_large("bytes of text", MAX_TEXT_BYTES as u64));
        }
        if self.blocks.is_empty() {
            return Err(DocumentFault::Empty);
        }
        let outermost = self.blocks.iter().find_map(|block| match &block.kind {
            BlockKind::Heading { level: 1, text } => Some(text.clone()),
            _ => None,
        });
        Ok(ParsedDocument {
            title: self.title.or(outermost),
            text: self.text,
            blocks: self.blocks,
            pages: self.pages,
        })
    }

    fn block(&mut self, kind: BlockKind, text: &str) {
        self.in_list = false;
        if text.is_empty() || self.is_full() {
            return;
        }
        if !self.blocks.is_empty() {
            self.text.push_str("\n\n");
        }
        let start = self.text.len();
        self.text.push_str(text);
        self.blocks.push(Block {
            kind,
            range: start..self.text.len(),
        });
    }
}

/// Lines without white space at their ends and without empty ones; runs of spaces become one.
fn fold_lines(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for line in text.lines() {
        let before = folded.len();
        for word in line.split(|c: char| c.is_whitespace() || is_invisible(c)) {
            if word.is_empty() {
                continue;
            }
            if folded.len() > before {
                folded.push(' ');
            } else if before > 0 {
                folded.push('\n');
            }
            folded.push_str(word);
        }
    }
    folded
}

/// What a cell says, in one line, with the separator escaped.
fn cell_text(text: &str) -> String {
    fold_lines(text).replace('\n', " ").replace('|', "\\|")
}

/// Controls, and marks that a document's makers put where nothing is to be seen.
fn is_invisible(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t') || matches!(c, '\u{feff}' | '\u{fffc}' | '\u{200b}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_where_the_ranges_say() {
        let mut builder = Builder::default();
        builder.page();
        builder.heading(1, " 退货\u{b}政策 ");
        builder.paragraph("七天内 \n\n 可退。");
        builder.item(0, "1.", "申请");
        builder.item(1, "", "填表");
        builder.page();
        builder.table(&[
            vec!["地区".into(), String::new(), "运费".into()],
            vec!["华东".into(), String::new(), "8|9\n元".into()],
        ]);
        builder.table(&[vec!["只有".into(), "一行".into()]]);
        let parsed = builder.finish().unwrap();
        let parts: Vec<&str> = parsed.blocks.iter().map(|b| &parsed.text[b.range.clone()]).collect();
        assert_eq!(
            parts,
            [
                "退货 政策",
                "七天内\n可退。",
                "1. 申请\n  - 填表",
                "| 地区 | 运费 |\n| --- | --- |\n| 华东 | 8\\|9 元 |",
                "只有 一行",
            ]
        );
        assert_eq!(parsed.title.as_deref(), Some("退货 政策"));
        assert_eq!(parsed.page_of(parsed.blocks[2].range.start), Some(1));
        assert_eq!(parsed.page_of(parsed.blocks[3].range.start), Some(2));
        parsed.check().unwrap();
    }

    #[test]
    fn a_document_has_an_end() {
        let mut builder = Builder::default();
        for _ in 0..100 {
            builder.paragraph(&"字".repeat(100_000));
        }
        assert!(matches!(builder.finish(), Err(DocumentFault::TooLarge { .. })));
        assert_eq!(Builder::default().finish(), Err(DocumentFault::Empty));
    }
}
