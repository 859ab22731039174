//! From the cells of a sheet to what stands on it: several tables with blank rows or columns between, lines of text above
//! and below them, headers of more than one row.

use super::DocumentFault;
use super::builder::Builder;
use std::collections::{BTreeMap, BTreeSet};

/// Cells with content of all sheets of a file.
pub(super) const MAX_CELLS: usize = 2_000_000;
/// Rows over which a merged cell is repeated.
const MAX_SPAN: u32 = 500;
/// Longer texts are not repeated.
const MAX_REPEATED_BYTES: usize = 200;
/// Bytes that merged cells may add to a sheet.
const MAX_REPEATED_IN_ALL: usize = 1 << 20;
/// Rows of a header.
const MAX_HEADER: u32 = 3;

/// A rectangle of cells; all borders belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) top: u32,
    pub(super) left: u32,
    pub(super) bottom: u32,
    pub(super) right: u32,
}

/// A sheet: only cells with content are held, so that a sheet with its first and its last cell filled is small.
#[derive(Default)]
pub(super) struct Sheet {
    pub(super) name: String,
    pub(super) rows: BTreeMap<u32, BTreeMap<u32, String>>,
    pub(super) merged: Vec<Area>,
}

impl Sheet {
    /// Adds a cell if it says anything; `left` counts down what a file may still hold.
    ///
    /// # Errors
    /// `TooLarge`.
    pub(super) fn put(&mut self, row: u32, column: u32, text: &str, left: &mut usize) -> Result<(), DocumentFault> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(());
        }
        *left = left
            .checked_sub(1)
            .ok_or_else(|| DocumentFault::too_large("cells", MAX_CELLS as u64))?;
        self.rows.entry(row).or_default().insert(column, text.to_owned());
        Ok(())
    }
}

/// Rows and columns of a part of a sheet, in order; where a cell has none, nothing is written.
type Part<'a> = BTreeMap<u32, BTreeMap<u32, &'a str>>;

/// Writes sheets, each under its name.
pub(super) fn write(sheets: &[Sheet], builder: &mut Builder) {
    for sheet in sheets {
        builder.page();
        if sheet.rows.is_empty() {
            continue;
        }
        builder.heading(1, &sheet.name);
        let whole: Part<'_> = sheet
            .rows
            .iter()
            .map(|(row, cells)| {
                (
                    *row,
                    cells.iter().map(|(column, text)| (*column, text.as_str())).collect(),
                )
            })
            .collect();
        let mut writer = Writer {
            merged: &sheet.merged,
            header: None,
            builder,
            repeated: 0,
        };
        writer.part(&whole, 0);
    }
}

struct Writer<'a> {
    merged: &'a [Area],
    /// The columns of the table before, and in which of them its last row had numbers: a part that has the same goes on
    /// with that table after a blank row.
    header: Option<(Vec<u32>, Vec<String>)>,
    builder: &'a mut Builder,
    repeated: usize,
}

impl Writer<'_> {
    fn part(&mut self, part: &Part<'_>, depth: usize) {
        let bands = bands(part, self.merged);
        for band in bands {
            if self.builder.is_full() {
                return;
            }
            match (depth < 4).then(|| beside(&band)).flatten() {
                Some(groups) => {
                    for group in groups {
                        self.header = None;
                        self.part(&group, depth + 1);
                    }
                }
                None => self.band(&band),
            }
        }
    }

    /// Rows without a blank one between: lines of text, a table, lines of text.
    fn band(&mut self, band: &Part<'_>) {
        let mut rows: Vec<(u32, &BTreeMap<u32, &str>)> = band.iter().map(|(row, cells)| (*row, cells)).collect();
        while let Some((_, cells)) = rows.first()
            && cells.len() == 1
        {
            if let Some(text) = cells.values().next() {
                self.builder.paragraph(text);
            }
            rows.remove(0);
            self.header = None;
        }
        let mut below = Vec::new();
        while let Some((_, cells)) = rows.last()
            && cells.len() == 1
            && rows.len() > 2
            && cells.values().next().is_some_and(|text| text.chars().count() > 20)
        {
            below.extend(cells.values().next().copied());
            rows.pop();
        }
        if !rows.is_empty() {
            self.table(&rows);
        }
        for text in below.iter().rev() {
            self.builder.paragraph(text);
        }
    }

    fn table(&mut self, rows: &[(u32, &BTreeMap<u32, &str>)]) {
        let columns: Vec<u32> = rows
            .iter()
            .flat_map(|(_, cells)| cells.keys().copied())
            .collect::<BTreeSet<u32>>()
            .into_iter()
            .collect();
        let mut lines: Vec<Vec<String>> = rows
            .iter()
            .map(|(_, cells)| {
                let text = |column: &u32| cells.get(column).copied().unwrap_or_default().to_owned();
                columns.iter().map(text).collect()
            })
            .collect();
        let header = self
            .spread(rows, &columns, &mut lines)
            .min(lines.len().saturating_sub(1));
        if header > 1 {
            let joined = (0..columns.len())
                .map(|column| {
                    let mut parts: Vec<&str> = Vec::new();
                    for line in &lines[..header] {
                        if !line[column].is_empty() && parts.last() != Some(&line[column].as_str()) {
                            parts.push(&line[column]);
                        }
                    }
                    parts.join(" ")
                })
                .collect();
            lines.splice(..header, [joined]);
        }
        // After a blank row a table may go on: the same columns, and numbers at once.
        let goes_on = match &self.header {
            Some((before, _)) => *before == columns && lines[0].iter().any(|cell| is_number(cell)),
            None => false,
        };
        if goes_on && let Some((_, names)) = &self.header {
            lines.insert(0, names.clone());
        } else {
            self.header =
                (lines.len() > 1 && !lines[0].iter().any(|cell| is_number(cell))).then(|| (columns, lines[0].clone()));
        }
        self.builder.table(&lines);
    }

    /// Repeats what is merged over rows, and in the header over columns too; returns how many rows the header has.
    fn spread(&mut self, rows: &[(u32, &BTreeMap<u32, &str>)], columns: &[u32], lines: &mut [Vec<String>]) -> usize {
        let Some((first, _)) = rows.first() else { return 1 };
        let mut header = 1;
        let last_column = columns.last().copied().unwrap_or(0);
        for area in self.merged.iter().filter(|area| area.top == *first) {
            if area.left > last_column || columns.first().is_some_and(|column| area.right < *column) {
                continue;
            }
            let extra = u32::from(area.right > area.left && area.bottom == area.top);
            header = header.max((area.bottom - area.top + 1 + extra).min(MAX_HEADER));
        }
        // A header that is as high as the table is none.
        if header as usize >= rows.len() {
            header = 1;
        }
        for area in self.merged {
            let Some(from) = rows.iter().position(|(row, _)| *row == area.top) else {
                continue;
            };
            let Some(column) = columns.iter().position(|column| *column == area.left) else {
                continue;
            };
            let text = lines[from][column].clone();
            if text.is_empty() || text.len() > MAX_REPEATED_BYTES {
                continue;
            }
            let in_header = (from as u32) < header;
            for (line, (row, _)) in lines.iter_mut().zip(rows).skip(from) {
                if *row > area.bottom.min(area.top.saturating_add(MAX_SPAN)) {
                    break;
                }
                for (at, number) in columns.iter().enumerate().skip(column) {
                    let wanted = *number == area.left || (in_header && *number <= area.right);
                    if wanted && line[at].is_empty() && self.repeated < MAX_REPEATED_IN_ALL {
                        line[at].clone_from(&text);
                        self.repeated += text.len();
                    }
                }
            }
        }
        header as usize
    }
}

/// Rows that follow each other without a blank one between; a row that a merged cell covers is not blank.
fn bands<'a>(part: &Part<'a>, merged: &[Area]) -> Vec<Part<'a>> {
    let mut bands: Vec<Part<'a>> = Vec::new();
    let mut reach = 0;
    for (row, cells) in part {
        let starts = cells.keys().copied();
        let covered = merged
            .iter()
            .filter(|area| area.top == *row)
            .filter(|area| starts.clone().any(|column| column == area.left))
            .map(|area| area.bottom)
            .max();
        match bands.last_mut() {
            Some(band) if *row <= reach + 1 => {
                band.insert(*row, cells.clone());
            }
            _ => bands.push(BTreeMap::from([(*row, cells.clone())])),
        }
        reach = reach
            .max(*row)
            .max(covered.unwrap_or(0).min(row.saturating_add(MAX_SPAN)));
    }
    bands
}

/// Tables that stand beside each other with a blank column between; `None` if it is one. A blank column within a table is
/// common, so that each part has to look like a table of its own.
fn beside<'a>(band: &Part<'a>) -> Option<Vec<Part<'a>>> {
    let columns: BTreeSet<u32> = band.values().flat_map(|cells| cells.keys().copied()).collect();
    let mut groups: Vec<(u32, u32)> = Vec::new();
    for column in columns {
        match groups.last_mut() {
            Some((_, last)) if column <= *last + 1 => *last = column,
            _ => groups.push((column, column)),
        }
    }
    if groups.len() < 2 || groups.iter().any(|(first, last)| first == last) {
        return None;
    }
    let parts: Vec<Part<'a>> = groups
        .iter()
        .map(|(first, last)| {
            band.iter()
                .map(|(row, cells)| (*row, cells.range(*first..=*last).map(|(c, text)| (*c, *text)).collect()))
                .filter(|(_, cells): &(u32, BTreeMap<u32, &str>)| !cells.is_empty())
                .collect()
        })
        .collect();
    parts.iter().all(|part: &Part<'a>| part.len() > 1).then_some(parts)
}

fn is_number(text: &str) -> bool {
    let mut digits = 0;
    let mut other = 0;
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits += 1;
        } else if !matches!(
            c,
            '.' | ',' | '%' | '-' | '+' | '¥' | '￥' | '$' | '€' | ' ' | '/' | ':'
        ) {
            other += 1;
        }
    }
    digits > other
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(rows: &[(u32, &[(u32, &str)])], merged: &[Area]) -> String {
        let mut sheet = Sheet {
            name: "费率".to_owned(),
            merged: merged.to_vec(),
            ..Sheet::default()
        };
        let mut left = MAX_CELLS;
        for (row, cells) in rows {
            for (column, text) in *cells {
                sheet.put(*row, *column, text, &mut left).unwrap();
            }
        }
        let mut builder = Builder::default();
        write(&[sheet], &mut builder);
        builder.finish().unwrap().text
    }

    #[test]
    fn tables_and_the_lines_around_them_are_told_apart() {
        let text = sheet(
            &[
                (0, &[(0, "2024 年费率表")]),
                (2, &[(0, "产品"), (1, "费率")]),
                (3, &[(0, "甲"), (1, "1%")]),
                (5, &[(0, "乙"), (1, "2%")]),
                (8, &[(0, "网点"), (1, "电话"), (4, "城市"), (5, "邮编")]),
                (9, &[(0, "东"), (1, "95500"), (4, "上海"), (5, "200000")]),
            ],
            &[],
        );
        assert_eq!(
            text,
            "费率\n\n2024 年费率表\n\n| 产品 | 费率 |\n| --- | --- |\n| 甲 | 1% |\n\n\
             | 产品 | 费率 |\n| --- | --- |\n| 乙 | 2% |\n\n\
             | 网点 | 电话 |\n| --- | --- |\n| 东 | 95500 |\n\n| 城市 | 邮编 |\n| --- | --- |\n| 上海 | 200000 |"
        );
    }

    #[test]
    fn headers_of_two_rows_and_merged_cells_are_spread() {
        let area = |top, left, bottom, right| Area {
            top,
            left,
            bottom,
            right,
        };
        let text = sheet(
            &[
                (0, &[(0, "地区"), (1, "2024"), (3, "2025")]),
                (1, &[(1, "上"), (2, "下"), (3, "上"), (4, "下")]),
                (2, &[(0, "华东"), (1, "1"), (2, "2"), (3, "3"), (4, "4")]),
                (3, &[(1, "5"), (2, "6"), (3, "7"), (4, "8")]),
            ],
            &[area(0, 0, 1, 0), area(0, 1, 0, 2), area(0, 3, 0, 4), area(2, 0, 3, 0)],
        );
        assert_eq!(
            text,
            "费率\n\n| 地区 | 2024 上 | 2024 下 | 2025 上 | 2025 下 |\n| --- | --- | --- | --- | --- |\n\
             | 华东 | 1 | 2 | 3 | 4 |\n| 华东 | 5 | 6 | 7 | 8 |"
        );
    }
}
