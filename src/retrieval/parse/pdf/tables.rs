//! Tables of a page: by their borders, or by words that stand below each other in columns.

use super::lines::{Row, Word, text};
use hayro_interpret::kurbo::Rect;

/// How far borders that meet may be apart.
const NEAR: f64 = 3.0;
/// Rows of a table without borders at least, and its columns.
const MIN_ROWS: usize = 3;
/// Borders of one table in one direction.
const MAX_LINES: usize = 400;

/// A table with borders.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    pub(super) area: Rect,
    columns: Vec<f64>,
    rows: Vec<f64>,
    /// Upright strokes.
    upright: Vec<Rect>,
    level: Vec<Rect>,
}

/// The tables whose borders are drawn.
pub(super) fn grids(rules: &[Rect]) -> Vec<Grid> {
    let rules: Vec<Rect> = rules
        .iter()
        .copied()
        .filter(|rule| rule.width().max(rule.height()) > 6.0)
        .collect();
    // Strokes that touch belong together.
    let mut group: Vec<usize> = (0..rules.len()).collect();
    let mut order: Vec<usize> = (0..rules.len()).collect();
    order.sort_by(|a, b| rules[*a].y0.total_cmp(&rules[*b].y0));
    let mut active: Vec<usize> = Vec::new();
    for index in order {
        let rule = rules[index].inflate(NEAR, NEAR);
        active.retain(|other| rules[*other].y1 + NEAR >= rule.y0);
        for other in &active {
            if rules[*other].inflate(NEAR, NEAR).overlaps(rule) {
                let (a, b) = (root(&mut group, index), root(&mut group, *other));
                group[a] = b;
            }
        }
        active.push(index);
    }
    let mut tables: std::collections::BTreeMap<usize, Vec<Rect>> = std::collections::BTreeMap::new();
    for (index, rule) in rules.iter().enumerate() {
        let root = root(&mut group, index);
        tables.entry(root).or_default().push(*rule);
    }
    tables.into_values().filter_map(|rules| grid(&rules)).collect()
}

fn root(group: &mut [usize], mut index: usize) -> usize {
    while group[index] != index {
        group[index] = group[group[index]];
        index = group[index];
    }
    index
}

fn grid(rules: &[Rect]) -> Option<Grid> {
    let upright: Vec<Rect> = rules
        .iter()
        .copied()
        .filter(|rule| rule.height() > rule.width())
        .collect();
    let level: Vec<Rect> = rules
        .iter()
        .copied()
        .filter(|rule| rule.width() >= rule.height())
        .collect();
    let columns = places(upright.iter().map(|rule| rule.center().x));
    let rows = places(level.iter().map(|rule| rule.center().y));
    let usable = (3..MAX_LINES).contains(&columns.len()) && (3..MAX_LINES).contains(&rows.len());
    if !usable {
        return None;
    }
    let area = Rect::new(columns[0], rows[0], columns[columns.len() - 1], rows[rows.len() - 1]);
    Some(Grid {
        area,
        columns,
        rows,
        upright,
        level,
    })
}

/// Numbers in order, those that are near each other once.
fn places(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers.dedup_by(|a, b| *a - *b < NEAR);
    numbers
}

impl Grid {
    /// Whether a word stands in the table.
    pub(super) fn holds(&self, word: &Word) -> bool {
        let middle = (f64::midpoint(word.left, word.right), word.base - 0.3 * word.size);
        self.area.contains(middle)
    }

    /// The cells with the words in them. A cell that spans rows is repeated in each; of one that spans columns the
    /// text stands in the first.
    pub(super) fn cells(&self, words: &[Word]) -> Vec<Vec<String>> {
        let (height, width) = (self.rows.len() - 1, self.columns.len() - 1);
        let mut cells: Vec<Vec<Vec<&Word>>> = vec![vec![Vec::new(); width]; height];
        for word in words {
            let x = f64::midpoint(word.left, word.right);
            let y = word.base - 0.3 * word.size;
            let row = self.rows.partition_point(|line| *line <= y).clamp(1, height) - 1;
            let column = self.columns.partition_point(|line| *line <= x).clamp(1, width) - 1;
            let (row, column) = self.origin(row, column);
            cells[row][column].push(word);
        }
        let mut texts: Vec<Vec<String>> = cells
            .iter()
            .map(|row| row.iter().map(|words| lines_of(words)).collect())
            .collect();
        for row in 1..height {
            let (above, below) = texts.split_at_mut(row);
            for (column, text) in below[0].iter_mut().enumerate() {
                let (from, at) = self.origin(row, column);
                if from < row && at == column && text.is_empty() {
                    text.clone_from(&above[from][column]);
                }
            }
        }
        texts
    }

    /// The first field of the cell that a field belongs to: a border that is missing joins two.
    fn origin(&self, mut row: usize, mut column: usize) -> (usize, usize) {
        while column > 0
            && !is_drawn(
                &self.upright,
                self.columns[column],
                self.rows[row],
                self.rows[row + 1],
                true,
            )
        {
            column -= 1;
        }
        while row > 0
            && !is_drawn(
                &self.level,
                self.rows[row],
                self.columns[column],
                self.columns[column + 1],
                false,
            )
        {
            row -= 1;
        }
        (row, column)
    }
}

/// Whether strokes cover the middle of a border.
fn is_drawn(strokes: &[Rect], at: f64, from: f64, to: f64, upright: bool) -> bool {
    let middle = f64::midpoint(from, to);
    strokes.iter().any(|stroke| {
        let (place, start, end) = if upright {
            (stroke.center().x, stroke.y0, stroke.y1)
        } else {
            (stroke.center().y, stroke.x0, stroke.x1)
        };
        (place - at).abs() < NEAR && start - NEAR <= middle && middle <= end + NEAR
    })
}

/// The words of a cell in lines.
fn lines_of(words: &[&Word]) -> String {
    let mut lines: Vec<Vec<&Word>> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if (line[0].base - word.base).abs() < 0.4 * word.size.max(line[0].size) => line.push(word),
            _ => lines.push(vec![word]),
        }
    }
    let mut all = String::new();
    for line in lines {
        super::layout::join(&mut all, &text(line));
    }
    all
}

/// The table that begins with the first of `rows` and has no borders: how many rows it has, and its cells.
pub(super) fn by_columns(rows: &[Row]) -> Option<(usize, Vec<Vec<String>>)> {
    let first = rows.first().filter(|row| row.segments.len() >= 2)?;
    // Columns are stretches of the page that rows fill without crossing between them.
    let mut columns: Vec<(f64, f64)> = first
        .segments
        .iter()
        .map(|segment| (segment.left, segment.right))
        .collect();
    let mut count = 1;
    let mut full = 1;
    for pair in rows.windows(2) {
        let (above, row) = (&pair[0], &pair[1]);
        if row.base - above.base > 3.5 * above.size.max(row.size) {
            break;
        }
        let mut next = columns.clone();
        for segment in &row.segments {
            let touched: Vec<usize> = (0..next.len())
                .filter(|at| segment.left < next[*at].1 + 1.0 && segment.right > next[*at].0 - 1.0)
                .collect();
            match touched.as_slice() {
                [] => next.push((segment.left, segment.right)),
                [at] => next[*at] = (next[*at].0.min(segment.left), next[*at].1.max(segment.right)),
                [first, .., last] => {
                    let joined = next[*first].0.min(segment.left)..next[*last].1.max(segment.right);
                    next.splice(*first..=*last, [(joined.start, joined.end)]);
                }
            }
            next.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        // A row that joins columns is a line of text, and ends the table.
        if next.len() < columns.len()
            || (row.segments.len() == 1
                && columns.len() < 3
                && count >= MIN_ROWS
                && row.segments[0].left > columns[0].1)
        {
            break;
        }
        columns = next;
        count += 1;
        full += usize::from(row.segments.len() >= 2);
    }
    while count > 1 && rows[count - 1].segments.len() < 2 {
        count -= 1;
    }
    let rows = &rows[..count];
    if full < MIN_ROWS || full * 3 < count * 2 || columns.len() < 2 || columns.len() > 40 || !is_tabular(rows, &columns)
    {
        return None;
    }
    let mut cells: Vec<Vec<String>> = Vec::new();
    for row in rows {
        let mut line = vec![String::new(); columns.len()];
        for segment in &row.segments {
            let middle = f64::midpoint(segment.left, segment.right);
            let at = columns
                .iter()
                .position(|(left, right)| (*left..=*right).contains(&middle))
                .unwrap_or(0);
            super::layout::join(&mut line[at], &text(&segment.words));
        }
        cells.push(line);
    }
    Some((count, cells))
}

/// Whether columns look like those of a table and not like those of a newspaper: their texts are short.
fn is_tabular(rows: &[Row], columns: &[(f64, f64)]) -> bool {
    let segments = || rows.iter().flat_map(|row| &row.segments);
    let count = segments().count().max(1);
    let letters: usize = segments()
        .flat_map(|segment| &segment.words)
        .map(|word| word.text.chars().count())
        .sum();
    let average = letters as f64 / count as f64;
    average < if columns.len() > 2 { 24.0 } else { 14.0 }
}
