//! Pipe tables with the place of every cell.

use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// Rows of a table that are read at most; a longer one is left alone.
const MAX_ROWS: usize = 400;
/// Columns likewise.
const MAX_COLUMNS: usize = 24;

/// Where something stands: in which of the texts given, and its bytes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which text, from 0.
    pub part: usize,
    /// Its bytes in that text.
    pub bytes: Range<usize>,
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// Its words as they are shown: without markup, line breaks as spaces.
    pub(super) text: String,
    pub(super) place: Place,
}

/// A row below the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// As many as the head has.
    pub(super) cells: Vec<Cell>,
    /// The whole line.
    pub(super) place: Place,
}

/// A table: a head, a rule, and rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The names of the columns: the lines above the rule joined.
    pub(super) head: Vec<Cell>,
    /// The lines of the head.
    pub(super) head_lines: Vec<Place>,
    pub(super) rows: Vec<Row>,
}

/// The tables of `parts`, texts that follow each other in one document: a table whose rows go on at the beginning of the
/// next part is one. Tables that are damaged (a row with another number of cells than the head) or larger than
/// 400 rows or 24 columns are left out.
#[must_use]
pub fn tables(parts: &[&str]) -> Vec<Table> {
    let mut found = Vec::new();
    let mut block: Vec<(Place, &str)> = Vec::new();
    for (part, text) in parts.iter().enumerate() {
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let bytes = start..start + line.trim_end().len();
            start += line.len();
            let continues = block.last().is_some_and(|(place, _)| place.part != part);
            if line.trim_start().starts_with('|') {
                block.push((Place { part, bytes }, line.trim_end()));
            } else if !(line.trim().is_empty() && continues) {
                found.extend(table(&std::mem::take(&mut block)));
            }
        }
    }
    found.extend(table(&block));
    found
}

/// A cell with what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellAt {
    /// The first cell of its row.
    pub thing: String,
    /// The head of its column.
    pub attribute: String,
    /// What it says.
    pub value: String,
    /// The bytes of its row.
    pub row: Range<usize>,
}

/// The cell of a table in `text` in which the byte `at` lies; not those of the first column.
#[must_use]
pub fn cell_at(text: &str, at: usize) -> Option<CellAt> {
    let tables = tables(&[text]);
    let (table, row) = tables.iter().find_map(|table| {
        table
            .rows
            .iter()
            .find(|row| row.place.bytes.contains(&at))
            .map(|row| (table, row))
    })?;
    let column = row.cells.iter().position(|cell| at < cell.place.bytes.end)?;
    (column > 0).then(|| CellAt {
        thing: row.cells[0].text.clone(),
        attribute: table.head[column].text.clone(),
        value: row.cells[column].text.clone(),
        row: row.place.bytes.clone(),
    })
}

/// Whether the first line of `text` that says anything is a row of a table that began before it.
#[must_use]
pub fn begins_within(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let row = lines.next().is_some_and(|line| line.trim_start().starts_with('|'));
    row && !lines.next().is_some_and(is_rule)
}

/// Whether the last line of `text` that says anything is a row of a table, which may go on after it.
#[must_use]
pub fn ends_within(text: &str) -> bool {
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.is_some_and(|line| line.trim_start().starts_with('|'))
}

fn is_rule(line: &str) -> bool {
    line.contains('-')
        && line.trim().starts_with('|')
        && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' ' | '\t' | '\r'))
}

fn table(lines: &[(Place, &str)]) -> Option<Table> {
    let rule = lines.iter().position(|(_, line)| is_rule(line))?;
    let heads: Vec<Vec<Cell>> = lines[..rule].iter().map(|(place, line)| cells(place, line)).collect();
    let columns = heads.first()?.len();
    let fits = (2..=MAX_COLUMNS).contains(&columns) && lines.len() - rule - 1 <= MAX_ROWS && lines.len() > rule + 1;
    if !fits || heads.iter().any(|cells| cells.len() != columns) {
        return None;
    }
    let mut head = heads[0].clone();
    for (column, cell) in head.iter_mut().enumerate() {
        for more in &heads[1..] {
            // A cell that spans lines is written in each of them.
            if !cell.text.ends_with(more[column].text.as_str()) {
                let joined = format!("{} {}", cell.text, more[column].text);
                joined.trim().clone_into(&mut cell.text);
            }
        }
    }
    let mut rows = Vec::new();
    for (place, line) in &lines[rule + 1..] {
        let cells = cells(place, line);
        if cells.len() != columns || is_rule(line) {
            return None;
        }
        rows.push(Row {
            cells,
            place: place.clone(),
        });
    }
    Some(Table {
        head,
        head_lines: lines[..rule].iter().map(|(place, _)| place.clone()).collect(),
        rows,
    })
}

/// The cells of a line that begins with a bar.
fn cells(place: &Place, line: &str) -> Vec<Cell> {
    let mut found = Vec::new();
    let mut start = line.find('|').map_or(0, |at| at + 1);
    let mut escaped = false;
    let cell = |bytes: Range<usize>| {
        let raw = &line[bytes.clone()];
        let from = place.bytes.start + bytes.start + (raw.len() - raw.trim_start().len());
        Cell {
            text: shown(raw),
            place: Place {
                part: place.part,
                bytes: from..from + raw.trim().len(),
            },
        }
    };
    let first = start;
    for (at, c) in line.char_indices().skip_while(|(at, _)| *at < first) {
        match c {
            '|' if !escaped => {
                found.push(cell(start..at));
                start = at + 1;
            }
            _ => escaped = c == '\\' && !escaped,
        }
        if c == '|' {
            escaped = false;
        }
    }
    if !line[start..].trim().is_empty() {
        found.push(cell(start..line.len()));
    }
    found
}

static MARKUP: LazyLock<[(Regex, &'static str); 4]> = LazyLock::new(|| {
    let regex = |pattern: &str| Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"));
    [
        (regex(r"!?\[([^\[\]]{0,300})\]\([^()]{0,1000}\)"), "$1"),
        (regex(r"</?[A-Za-z][^<>]{0,300}>"), " "),
        (regex(r"\*\*|__|`+"), ""),
        (regex(r"\\([\\`*_{}\[\]()#+.!|<>~-])"), "$1"),
    ]
});

/// A cell's words without markup.
fn shown(raw: &str) -> String {
    let mut text = raw.to_owned();
    for (pattern, replacement) in MARKUP.iter() {
        if let std::borrow::Cow::Owned(changed) = pattern.replace_all(&text, *replacement) {
            text = changed;
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::{begins_within, ends_within, tables};

    #[test]
    fn cells_point_to_where_they_stand() {
        let text = "前文。\n\n| 卡 | **年费**<br>（元） |\n| --- | ---: |\n| 金\\|卡 | 160 |\n| 白金卡 |  |\n\n后文。";
        let [table] = tables(&[text]).try_into().unwrap();
        assert_eq!(table.head[1].text, "年费 （元）");
        assert_eq!(table.rows[0].cells[0].text, "金|卡");
        assert_eq!(&text[table.rows[0].cells[0].place.bytes.clone()], "金\\|卡");
        assert_eq!(&text[table.rows[0].cells[1].place.bytes.clone()], "160");
        assert_eq!(table.rows[1].cells[1].text, "");
        assert_eq!(&text[table.rows[1].place.bytes.clone()], "| 白金卡 |  |");
        assert_eq!(&text[table.head_lines[0].bytes.clone()], "| 卡 | **年费**<br>（元） |");
    }

    #[test]
    fn a_table_goes_on_in_the_next_part() {
        let parts = [
            "| 卡 | 年费 |\n| --- | --- |\n| 金卡 | 160 |",
            "| 白金卡 | 600 |\n\n尾",
            "| a | b |\n|-|-|\n| 1 | 2 |",
        ];
        assert!(!begins_within(parts[0]) && ends_within(parts[0]));
        assert!(begins_within(parts[1]) && !ends_within(parts[1]));
        let found = tables(&parts);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].rows.len(), 2);
        assert_eq!(found[0].rows[1].place.part, 1);
    }

    #[test]
    fn a_head_of_two_lines_is_joined() {
        let text = "| 卡种 | 年费 | 年费 |\n| 卡种 | 主卡 | 附属卡 |\n| --- | --- | --- |\n| 金卡 | 160 | 80 |";
        let [table] = tables(&[text]).try_into().unwrap();
        let names: Vec<&str> = table.head.iter().map(|cell| cell.text.as_str()).collect();
        assert_eq!(names, ["卡种", "年费 主卡", "年费 附属卡"]);
    }

    #[test]
    fn damaged_tables_are_left_alone() {
        for text in [
            "| a | b |\n| --- | --- |\n| 1 | 2 | 3 |",
            "| a | b |\n| 1 | 2 |",
            "| a |\n| --- |\n| 1 |",
            "| a | b |\n| --- | --- |",
            "|",
            "",
        ] {
            assert_eq!(tables(&[text]), [], "{text}");
        }
    }
}
