//! `OpenDocument` texts and spreadsheets (ISO/IEC 26300): cells hold the text that is shown.

use super::archive::Archive;
use super::builder::Builder;
use super::sheet_layout::{Area, MAX_CELLS, Sheet, write};
use super::xml::{Node, Tree};
use super::{DocumentFault, ParsedDocument};

/// Cells and rows that one repeated cell or row may stand for: what is repeated more often is blank space.
const MAX_REPEATED: u32 = 100;

/// Parses a text.
///
/// # Errors
/// `Broken`, `Encrypted`, `TooLarge`, `Empty`.
pub(super) fn parse_odt(bytes: &[u8]) -> Result<ParsedDocument, DocumentFault> {
    let mut archive = open(bytes)?;
    let content = Tree::parse(&archive.read("content.xml")?)?;
    let mut builder = Builder::default();
    if let Some(bytes) = archive.read_if_there("meta.xml")?
        && let Ok(meta) = Tree::parse(&bytes)
        && let Some(title) = meta.root().find("title")
    {
        builder.title(&title.text());
    }
    let body = content.root().child("body").and_then(|body| body.child("text"));
    if let Some(body) = body {
        blocks(body, &mut builder);
    }
    builder.finish()
}

/// Parses a spreadsheet.
///
/// # Errors
/// `Broken`, `Encrypted`, `TooLarge`, `Empty`.
pub(super) fn parse_ods(bytes: &[u8]) -> Result<ParsedDocument, DocumentFault> {
    let mut archive = open(bytes)?;
    let content = Tree::parse(&archive.read("content.xml")?)?;
    let mut left = MAX_CELLS;
    let mut sheets = Vec::new();
    let body = content.root().child("body").and_then(|body| body.child("spreadsheet"));
    for table in body
        .iter()
        .flat_map(|body| body.children())
        .filter(|node| node.name() == "table")
    {
        let mut sheet = Sheet {
            name: table.attribute("name").unwrap_or_default().to_owned(),
            ..Sheet::default()
        };
        let mut row = 0;
        read_rows(table, &mut row, &mut sheet, &mut left)?;
        sheets.push(sheet);
    }
    let mut builder = Builder::default();
    write(&sheets, &mut builder);
    builder.finish()
}

fn open(bytes: &[u8]) -> Result<Archive<'_>, DocumentFault> {
    let mut archive = Archive::open(bytes)?;
    if let Some(manifest) = archive.read_if_there("META-INF/manifest.xml")?
        && Tree::parse(&manifest)?.root().find("encryption-data").is_some()
    {
        return Err(DocumentFault::Encrypted);
    }
    Ok(archive)
}

fn blocks(node: Node<'_>, builder: &mut Builder) {
    for child in node.children() {
        if builder.is_full() {
            return;
        }
        match child.name() {
            "h" => {
                let level = child
                    .attribute("outline-level")
                    .and_then(|level| level.parse().ok())
                    .unwrap_or(1);
                builder.heading(level, &inline(child));
            }
            "p" => {
                let style = child.attribute("style-name").unwrap_or_default();
                let text = inline(child);
                if style == "Title" {
                    builder.title(&text);
                    builder.heading(1, &text);
                } else {
                    builder.paragraph(&text);
                }
                boxes(child, builder);
            }
            "list" => list(child, 0, builder),
            "table" => builder.table(&rows(child)),
            "section" | "index-body" | "text-box" => blocks(child, builder),
            _ => {}
        }
    }
}

/// Frames with text that hang on a paragraph follow it.
fn boxes(paragraph: Node<'_>, builder: &mut Builder) {
    for frame in paragraph.descendants().filter(|node| node.name() == "text-box") {
        for node in frame.children().filter(|node| matches!(node.name(), "p" | "h")) {
            builder.paragraph(&inline(node));
        }
    }
}

fn list(node: Node<'_>, depth: usize, builder: &mut Builder) {
    for item in node
        .children()
        .filter(|node| matches!(node.name(), "list-item" | "list-header"))
    {
        for child in item.children() {
            match child.name() {
                "p" => builder.item(depth, "-", &inline(child)),
                "h" => builder.heading(1, &inline(child)),
                "list" => list(child, depth + 1, builder),
                _ => {}
            }
        }
    }
}

fn inline(node: Node<'_>) -> String {
    let mut text = String::new();
    write_inline(node, &mut text);
    text
}

fn write_inline(node: Node<'_>, text: &mut String) {
    for child in node.children() {
        if let Some(words) = child.as_text() {
            // White space in the file is formatting of the file.
            let mut folded = words.replace(['\n', '\t', '\r'], " ");
            if text.is_empty() {
                folded = folded.trim_start().to_owned();
            }
            text.push_str(&folded);
            continue;
        }
        match child.name() {
            "s" | "tab" => text.push(' '),
            "line-break" => text.push('\n'),
            "note" => {
                if let Some(body) = child.child("note-body") {
                    text.push_str(" (");
                    text.push_str(body.text().trim());
                    text.push(')');
                }
            }
            "annotation" | "annotation-end" | "tracked-changes" | "text-box" | "bookmark" | "desc" | "title" => {}
            _ => write_inline(child, text),
        }
    }
}

fn rows(table: Node<'_>) -> Vec<Vec<String>> {
    let mut sheet = Sheet::default();
    let (mut row, mut left) = (0, MAX_CELLS);
    if read_rows(table, &mut row, &mut sheet, &mut left).is_err() {
        return Vec::new();
    }
    // A cell that spans rows is repeated, so that each row can be understood alone.
    for area in &sheet.merged {
        let text = sheet
            .rows
            .get(&area.top)
            .and_then(|cells| cells.get(&area.left))
            .cloned();
        for row in area.top + 1..=area.bottom.min(area.top + MAX_REPEATED) {
            if let (Some(text), Some(cells)) = (&text, sheet.rows.get_mut(&row)) {
                cells.entry(area.left).or_insert_with(|| text.clone());
            }
        }
    }
    sheet
        .rows
        .values()
        .map(|cells| {
            let last = cells.keys().next_back().copied().unwrap_or(0).min(63);
            (0..=last)
                .map(|column| cells.get(&column).cloned().unwrap_or_default())
                .collect()
        })
        .collect()
}

fn read_rows(node: Node<'_>, row: &mut u32, sheet: &mut Sheet, left: &mut usize) -> Result<(), DocumentFault> {
    for child in node.children() {
        match child.name() {
            "table-header-rows" | "table-rows" | "table-row-group" => read_rows(child, row, sheet, left)?,
            "table-row" => {
                let repeated = number(child, "number-rows-repeated");
                if child
                    .attribute("visibility")
                    .is_none_or(|visibility| visibility == "visible")
                {
                    for offset in 0..repeated.min(MAX_REPEATED) {
                        read_cells(child, row.saturating_add(offset), sheet, left)?;
                    }
                }
                *row = row.saturating_add(repeated);
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_cells(node: Node<'_>, row: u32, sheet: &mut Sheet, left: &mut usize) -> Result<(), DocumentFault> {
    let mut column = 0_u32;
    for cell in node.children() {
        if !matches!(cell.name(), "table-cell" | "covered-table-cell") {
            continue;
        }
        let repeated = number(cell, "number-columns-repeated");
        let text: Vec<String> = cell
            .children()
            .filter(|node| matches!(node.name(), "p" | "h" | "list"))
            .map(|node| {
                if node.name() == "list" {
                    node.text()
                } else {
                    inline(node)
                }
            })
            .collect();
        let text = text.join("\n");
        if !text.trim().is_empty() && cell.name() == "table-cell" {
            for offset in 0..repeated.min(MAX_REPEATED) {
                sheet.put(row, column.saturating_add(offset), &text, left)?;
            }
        }
        let (rows, columns) = (
            number(cell, "number-rows-spanned"),
            number(cell, "number-columns-spanned"),
        );
        if rows > 1 || columns > 1 {
            sheet.merged.push(Area {
                top: row,
                left: column,
                bottom: row.saturating_add(rows - 1),
                right: column.saturating_add(columns - 1),
            });
        }
        column = column.saturating_add(repeated);
    }
    Ok(())
}

/// A count, at least 1.
fn number(node: Node<'_>, name: &str) -> u32 {
    node.attribute(name).and_then(|n| n.parse().ok()).unwrap_or(1).max(1)
}
