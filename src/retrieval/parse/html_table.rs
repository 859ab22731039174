//! HTML tables as pipe tables. Cells that span rows are repeated in each, so that every line can be understood alone.

use super::html::{NodeRef, Visitor, is_hidden, push_folded, walk};
use scraper::Node;

/// Columns of a table; the rest is left out.
const MAX_COLUMNS: usize = 64;
/// Rows that one cell spans at most.
const MAX_SPAN: usize = 500;
/// Longer cells are not repeated.
const MAX_REPEATED_BYTES: usize = 200;

/// What a `<table>` is.
pub(super) enum Table {
    /// Rows of data, one a line, with its caption (may be empty).
    Data {
        /// The caption.
        caption: String,
        /// The rows as a pipe table.
        lines: String,
    },
    /// A frame for the page's layout: to be read as running text.
    Layout,
}

/// Bytes that spanning cells may add to a page in all: one small cell could otherwise be made to fill the memory.
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(1 << 20)
    }
}

impl Budget {
    fn take(&mut self, bytes: usize) -> bool {
        let enough = self.0 >= bytes;
        if enough {
            self.0 -= bytes;
        }
        enough
    }
}

/// Reads the table at `table`.
pub(super) fn read(table: NodeRef<'_>, budget: &mut Budget) -> Table {
    let mut reader = Reader::default();
    walk(table, &mut reader);
    reader.end_cell();
    if reader.is_layout {
        return Table::Layout;
    }
    let rows = lay_out(reader.rows, budget);
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    if rows.len() < 2 || columns < 2 {
        return Table::Layout;
    }
    let mut lines = String::new();
    for (number, row) in rows.iter().enumerate() {
        lines.push('|');
        for column in 0..row.len().max(if number == 0 { columns } else { 0 }) {
            lines.push(' ');
            lines.push_str(row.get(column).map_or("", String::as_str));
            lines.push_str(" |");
        }
        lines.push('\n');
        if number == 0 {
            lines.push('|');
            lines.push_str(&" --- |".repeat(columns));
            lines.push('\n');
        }
    }
    Table::Data {
        caption: reader.caption,
        lines,
    }
}

/// All text below `node` that a reader sees, on one line.
pub(super) fn flat_text(node: NodeRef<'_>) -> String {
    struct Text(String);
    impl Visitor for Text {
        fn enter(&mut self, node: NodeRef<'_>) -> bool {
            if let Node::Text(text) = node.value() {
                push_folded(&mut self.0, text);
            }
            !matches!(node.value(), Node::Element(element) if is_hidden(element))
        }
        fn leave(&mut self, _: NodeRef<'_>) {}
    }
    let mut text = Text(String::new());
    walk(node, &mut text);
    text.0.trim().to_owned()
}

struct Cell {
    text: String,
    columns: usize,
    rows: usize,
}

/// Puts cells in their columns.
fn lay_out(rows: Vec<Vec<Cell>>, budget: &mut Budget) -> Vec<Vec<String>> {
    // For each column: the text that still spans it, and for how many rows.
    let mut spanning: Vec<(String, usize)> = Vec::new();
    let mut table = Vec::with_capacity(rows.len());
    for cells in rows {
        let mut row = Vec::new();
        let mut cells = cells.into_iter();
        let mut next = cells.next();
        while row.len() < MAX_COLUMNS {
            let column = row.len();
            match spanning.get_mut(column) {
                Some((text, left)) if *left > 0 => {
                    *left -= 1;
                    row.push(if budget.take(text.len() + 3) {
                        text.clone()
                    } else {
                        String::new()
                    });
                    continue;
                }
                _ => {}
            }
            let Some(cell) = next.take() else {
                // A cell from above may still span a column further right.
                if spanning.iter().skip(column).any(|(_, left)| *left > 0) {
                    row.push(String::new());
                    continue;
                }
                break;
            };
            next = cells.next();
            spanning.resize_with(
                spanning.len().max((column + cell.columns).min(MAX_COLUMNS)),
                Default::default,
            );
            let repeated = if cell.text.len() <= MAX_REPEATED_BYTES {
                cell.text.as_str()
            } else {
                ""
            };
            for offset in 0..cell.columns.min(MAX_COLUMNS - column) {
                let text = if offset == 0 {
                    repeated.to_owned()
                } else {
                    String::new()
                };
                spanning[column + offset] = (text, cell.rows - 1);
                if offset > 0 && budget.take(3) {
                    row.push(String::new());
                }
            }
            row.insert(column.min(row.len()), cell.text);
        }
        if row.iter().any(|cell| !cell.is_empty()) {
            table.push(row);
        }
    }
    table
}

/// Collects the cells.
#[derive(Default)]
struct Reader {
    /// Whether the table's own element was met.
    inside: bool,
    rows: Vec<Vec<Cell>>,
    cell: Option<Cell>,
    caption: String,
    is_layout: bool,
}

impl Reader {
    fn end_cell(&mut self) {
        if let Some(mut cell) = self.cell.take() {
            cell.text.truncate(cell.text.trim_end().len());
            if self.rows.is_empty() {
                self.rows.push(Vec::new());
            }
            if let Some(row) = self.rows.last_mut() {
                row.push(cell);
            }
        }
    }
}

impl Visitor for Reader {
    fn enter(&mut self, node: NodeRef<'_>) -> bool {
        match node.value() {
            Node::Text(text) => {
                if let Some(cell) = &mut self.cell {
                    push_folded(&mut cell.text, &text.replace('|', "\\|"));
                }
                false
            }
            Node::Element(element) => {
                if is_hidden(element) || self.is_layout {
                    return false;
                }
                let span = |name, limit: usize| {
                    element
                        .attr(name)
                        .and_then(|n| n.trim().parse::<usize>().ok())
                        .unwrap_or(1)
                        .clamp(1, limit)
                };
                match element.name() {
                    "table" if !self.inside => self.inside = true,
                    "table" | "h1" | "h2" | "h3" | "pre" => self.is_layout = true,
                    "caption" => {
                        self.caption = flat_text(node);
                        return false;
                    }
                    "tr" => {
                        self.end_cell();
                        self.rows.push(Vec::new());
                    }
                    "td" | "th" => {
                        self.end_cell();
                        self.cell = Some(Cell {
                            text: String::new(),
                            columns: span("colspan", MAX_COLUMNS),
                            rows: span("rowspan", MAX_SPAN),
                        });
                    }
                    "br" | "p" | "div" | "li" => {
                        if let Some(cell) = &mut self.cell {
                            push_folded(&mut cell.text, " ");
                        }
                    }
                    _ => {}
                }
                true
            }
            _ => false,
        }
    }

    fn leave(&mut self, node: NodeRef<'_>) {
        if let Node::Element(element) = node.value()
            && matches!(element.name(), "td" | "th")
        {
            self.end_cell();
        }
    }
}
