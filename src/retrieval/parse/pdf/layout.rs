//! Reading order: columns one after the other, tables whole, lines put together to paragraphs.

use super::lines::{Row, Segment, Word, is_wide, segments, text, words};
use super::tables::{Grid, by_columns, grids};
use super::{Builder, Shown, Sizes};
use crate::retrieval::parse::text::numbered_heading;
use std::collections::HashMap;

/// Lines that two columns beside each other have at least: the shorter one and the longer one.
const MIN_COLUMN_LINES: (usize, usize) = (2, 5);
/// Columns within columns.
const MAX_DEPTH: usize = 3;

/// A line of a page in reading order, or a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) size: f64,
    pub(super) table: Option<Vec<Vec<String>>>,
    left: f64,
    right: f64,
    pub(super) base: f64,
    /// Borders of the column it stands in.
    column: (f64, f64),
}

impl Line {
    fn column_key(&self) -> (u64, u64) {
        (self.column.0.to_bits(), self.column.1.to_bits())
    }
}

/// What a page shows, in reading order.
pub(super) fn lines(shown: &Shown, width: f64) -> Vec<Line> {
    let rows = words(&shown.glyphs);
    let mut tables: Vec<(Grid, Vec<Word>)> = grids(&shown.rules).into_iter().map(|grid| (grid, Vec::new())).collect();
    let mut free: Vec<Row> = Vec::new();
    for row in rows {
        let mut rest = Vec::new();
        for word in row {
            match tables.iter_mut().find(|(grid, _)| grid.holds(&word)) {
                Some((_, words)) => words.push(word),
                None => rest.push(word),
            }
        }
        if !rest.is_empty() {
            free.push(segments(&rest));
        }
    }
    let mut lines = Vec::new();
    // Tables with borders divide the page: what stands above one is read before it.
    tables.retain(|(_, words)| !words.is_empty());
    tables.sort_by(|a, b| a.0.area.y0.total_cmp(&b.0.area.y0));
    for (grid, words) in &tables {
        let above = free.partition_point(|row| row.base < grid.area.y0 + 0.5 * row.size);
        let above: Vec<Row> = free.drain(..above).collect();
        region(&above, (0.0, width), 0, &mut lines);
        lines.push(Line {
            table: Some(grid.cells(words)),
            size: words[0].size,
            ..Line::default()
        });
    }
    region(&free, (0.0, width), 0, &mut lines);
    lines
}

/// Reads rows that stand between `borders`: where a gap runs down through several rows, what is left of it first.
fn region(rows: &[Row], borders: (f64, f64), depth: usize, lines: &mut Vec<Line>) {
    let mut at = 0;
    let mut plain = 0;
    while at < rows.len() {
        let columns = (depth < MAX_DEPTH).then(|| columns(&rows[at..], borders)).flatten();
        if let Some((count, gutter)) = columns {
            flat(&rows[plain..at], borders, lines);
            let (left, right) = divide(&rows[at..at + count], gutter);
            region(&left, (borders.0, gutter), depth + 1, lines);
            region(&right, (gutter, borders.1), depth + 1, lines);
            at += count;
            plain = at;
        } else {
            at += 1;
        }
    }
    flat(&rows[plain..], borders, lines);
}

/// The rows from the first on that a gap divides into two columns of running text, and the middle of the gap.
fn columns(rows: &[Row], borders: (f64, f64)) -> Option<(usize, f64)> {
    let mut gaps: Vec<(f64, f64)> = vec![borders];
    let mut count = 0;
    let mut best = None;
    for row in rows {
        let mut next = Vec::new();
        for gap in &gaps {
            let mut from = gap.0;
            for segment in &row.segments {
                if segment.right <= from {
                    continue;
                }
                if segment.left >= gap.1 {
                    break;
                }
                next.push((from, segment.left.min(gap.1)));
                from = segment.right;
            }
            next.push((from, gap.1));
        }
        next.retain(|(from, to)| to - from > 0.8 * row.size);
        if next.is_empty() {
            break;
        }
        gaps = next;
        count += 1;
        let found = gaps.iter().find(|gap| is_gutter(&rows[..count], **gap, borders));
        if let Some((from, to)) = found {
            best = Some((count, f64::midpoint(*from, *to)));
        }
    }
    best
}

/// Whether running text stands on both sides of a gap.
fn is_gutter(rows: &[Row], gap: (f64, f64), borders: (f64, f64)) -> bool {
    let mut sides = [(0_usize, 0_usize, f64::INFINITY, f64::NEG_INFINITY); 2];
    for segment in rows.iter().flat_map(|row| &row.segments) {
        let side = &mut sides[usize::from(segment.left >= gap.1 - 0.1)];
        side.0 += 1;
        side.1 += segment
            .words
            .iter()
            .map(|word| word.text.chars().map(|c| 1 + usize::from(is_wide(c))).sum::<usize>())
            .sum::<usize>();
        side.2 = side.2.min(segment.left);
        side.3 = side.3.max(segment.right);
    }
    let whole = borders.1 - borders.0;
    let (least, most) = (sides[0].0.min(sides[1].0), sides[0].0.max(sides[1].0));
    least >= MIN_COLUMN_LINES.0
        && most >= MIN_COLUMN_LINES.1
        && sides
            .iter()
            .all(|(count, letters, left, right)| letters / count >= 18 && right - left > 0.15 * whole)
}

fn divide(rows: &[Row], gutter: f64) -> (Vec<Row>, Vec<Row>) {
    let side = |is_left: bool| {
        rows.iter()
            .map(|row| {
                let mine = |segment: &&Segment| (segment.left < gutter) == is_left;
                let segments: Vec<Segment> = row.segments.iter().filter(mine).cloned().collect();
                let longest = segments
                    .iter()
                    .flat_map(|s| &s.words)
                    .max_by_key(|word| word.text.len());
                Row {
                    base: longest.map_or(row.base, |word| word.base),
                    size: longest.map_or(row.size, |word| word.size),
                    segments,
                }
            })
            .filter(|row| !row.segments.is_empty())
            .collect()
    };
    (side(true), side(false))
}

/// Rows of one column: tables without borders, and lines.
fn flat(rows: &[Row], column: (f64, f64), lines: &mut Vec<Line>) {
    let mut at = 0;
    while at < rows.len() {
        if let Some((count, cells)) = by_columns(&rows[at..]) {
            lines.push(Line {
                table: Some(cells),
                size: rows[at].size,
                ..Line::default()
            });
            at += count;
            continue;
        }
        let row = &rows[at];
        let words = row.segments.iter().flat_map(|segment| &segment.words);
        lines.push(Line {
            text: text(words),
            size: row.size,
            table: None,
            left: row.segments.first().map_or(0.0, |segment| segment.left),
            right: row.segments.last().map_or(0.0, |segment| segment.right),
            base: row.base,
            column,
        });
        at += 1;
    }
}

/// Adds a line to a text: a word cut at the end of a line is put together, Chinese needs no space.
pub(super) fn join(text: &mut String, line: &str) {
    let (last, first) = (text.chars().next_back(), line.chars().next());
    match (last, first) {
        (None, _) | (_, None) => {}
        (Some('-'), Some(first))
            if first.is_lowercase() && text.chars().rev().nth(1).is_some_and(char::is_alphabetic) =>
        {
            text.pop();
        }
        (Some('\u{ad}'), _) => {
            text.pop();
        }
        (Some(last), Some(first)) if is_wide(last) && is_wide(first) => {}
        _ => text.push(' '),
    }
    text.push_str(line);
}

/// Writes lines as headings, paragraphs and items.
pub(super) fn write(lines: &[Line], sizes: &Sizes, builder: &mut Builder) {
    let gap = usual_gap(lines);
    // How far the lines of each column reach.
    let mut borders: HashMap<(u64, u64), f64> = HashMap::new();
    for line in lines.iter().filter(|line| line.table.is_none()) {
        let border = borders.entry(line.column_key()).or_default();
        *border = border.max(line.right);
    }
    let mut paragraph = String::new();
    let mut last: Option<&Line> = None;
    let mut in_item = false;
    for line in lines {
        if let Some(table) = &line.table {
            end(&mut paragraph, last, sizes, builder);
            builder.table(table);
            last = None;
            continue;
        }
        let right = borders.get(&line.column_key()).copied().unwrap_or(0.0);
        if last.is_some_and(|last| begins_anew(last, line, gap, right, in_item)) {
            end(&mut paragraph, last, sizes, builder);
        }
        if paragraph.is_empty() {
            in_item = marker(&line.text).is_some();
        }
        join(&mut paragraph, line.text.trim());
        last = Some(line);
    }
    end(&mut paragraph, last, sizes, builder);
}

fn end(paragraph: &mut String, last: Option<&Line>, sizes: &Sizes, builder: &mut Builder) {
    let text = std::mem::take(paragraph);
    let Some(last) = last.filter(|_| !text.is_empty()) else {
        return;
    };
    let short = text.chars().count() <= 80 && text.chars().any(char::is_alphabetic);
    let level = sizes
        .level(last.size)
        .filter(|_| short)
        .or_else(|| numbered_heading(&text));
    match (level, marker(&text)) {
        (Some(level), _) => builder.heading(level, &text),
        (None, Some(mark)) if !mark.is_empty() => {
            let (mark, rest) = text.split_at(mark.len());
            let mark = mark.trim();
            let is_bullet = mark.chars().all(|c| !c.is_alphanumeric());
            builder.item(0, if is_bullet { "-" } else { mark }, rest);
        }
        _ => builder.paragraph(&text),
    }
}

/// Whether a line begins a paragraph.
fn begins_anew(last: &Line, line: &Line, gap: f64, right: f64, in_item: bool) -> bool {
    let size = last.size.max(line.size);
    let step = line.base - last.base;
    let resized = (last.size - line.size).abs() > 0.12 * size;
    // The next column begins higher up; a paragraph may go on there.
    let moved = step < -size;
    let apart = !moved && step > gap * 1.35 && step > 1.25 * size;
    // The lines of an item hang behind its mark.
    let indented = !in_item
        && !moved
        && line.left > last.left + 0.8 * size
        && line.left < last.left + 4.5 * size
        && is_full(last, right);
    let ended = last.right < right - 0.12 * (right - last.left).max(0.0) - size
        && last
            .text
            .trim_end()
            .ends_with(['。', '.', '！', '？', '!', '?', ':', '：', '；', ';']);
    let short = last.right < last.column.0 + 0.6 * (right - last.column.0);
    resized
        || apart
        || indented
        || ended
        || (short && !moved)
        || marker(&line.text).is_some()
        || (moved && !runs_on(last))
}

fn is_full(line: &Line, right: f64) -> bool {
    line.right > right - 6.0 * line.size
}

fn runs_on(line: &Line) -> bool {
    !line
        .text
        .trim_end()
        .ends_with(['。', '.', '！', '？', '!', '?', ':', '：'])
}

/// The distance of lines within a paragraph: the commonest.
fn usual_gap(lines: &[Line]) -> f64 {
    let mut gaps: Vec<f64> = lines
        .windows(2)
        .map(|pair| pair[1].base - pair[0].base)
        .filter(|gap| *gap > 1.0)
        .collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 3).copied().unwrap_or(f64::INFINITY)
}

/// What stands before an item of a list: a bullet, or a number with a mark behind it.
fn marker(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let first = text.chars().next()?;
    if matches!(
        first,
        '•' | '●' | '○' | '■' | '□' | '◆' | '▪' | '‣' | '∙' | '·' | '\u{f0b7}' | '\u{f06c}' | '\u{f0a7}' | '\u{f0d8}'
    ) {
        return text.get(..first.len_utf8());
    }
    if matches!(first, '-' | '–' | '*') && text[first.len_utf8()..].starts_with(' ') {
        return text.get(..first.len_utf8());
    }
    if matches!(first, '①'..='⑳') {
        return text.get(..first.len_utf8());
    }
    let inner = text.trim_start_matches(['(', '（']);
    let open = text.len() - inner.len();
    let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 || digits > 2 || open > 3 {
        return None;
    }
    let mark = inner[digits..].chars().next()?;
    let fits = if open > 0 {
        matches!(mark, ')' | '）')
    } else {
        matches!(mark, '.' | '、' | ')' | '）' | '．')
    };
    let end = open + digits + mark.len_utf8();
    // 3.5% is no item.
    let number_goes_on = text[end..].starts_with(|c: char| c.is_ascii_digit());
    (fits && !number_goes_on).then(|| &text[..end])
}
