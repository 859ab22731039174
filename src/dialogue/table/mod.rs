//! Questions that a table answers: differences, comparisons, the highest and the lowest, conditions, counts, lists, values.
//!
//! Worked out by code over the parsed table, exactly, and only where every word of the question is understood against that very
//! table; else there is no answer, and the question goes its other way. An answer names the values it was worked out
//! from, shows their rows, and marks what was computed.

mod amount;
mod asked;
mod compute;
mod cue;
mod decimal;
mod fold;
mod parse;
mod say;
#[cfg(test)]
mod tests;
mod view;

use asked::Asked;
use compute::{Found, Result};
use say::Script;
use view::View;

pub use decimal::difference;
pub use parse::{Place, Table, begins_within, cell_at, ends_within, tables};

/// Rows that an answer shows at most.
const MAX_ROWS_SHOWN: usize = 12;

/// Texts of one document that follow each other.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Title of the document and headings above, outermost first.
    pub titles: &'a [String],
    /// The texts, in order.
    pub parts: &'a [&'a str],
    /// Whether a table that reaches the end of the last text may go on behind it.
    pub open_end: bool,
}

/// What kind of answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What stands in cells.
    Values,
    /// Two or more things that the question names, compared.
    Compared,
    /// Something about all the rows.
    Overview,
}

/// What a table says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableAnswer {
    /// One sentence in the question's language.
    pub sentence: String,
    /// What kind of answer it is.
    pub kind: Kind,
    /// The lines of the table's head.
    pub head: Vec<Place>,
    /// Columns of the table.
    pub columns: usize,
    /// The rows that prove it, in the table's order.
    pub rows: Vec<Place>,
    /// The cells that it was worked out from, as they are shown.
    pub values: Vec<String>,
    /// What the question names, things before attributes.
    pub names: Vec<String>,
}

/// The answer of the tables in `source` to `question`; `None` where any word of the question is not understood, where cells cannot be
/// compared, or where two tables answer differently.
#[must_use]
pub fn answer(question: &str, source: &Source<'_>) -> Option<TableAnswer> {
    let titles = asked::titles(source.titles);
    let mut found: Option<TableAnswer> = None;
    for table in tables(source.parts) {
        let last = table.rows.last()?;
        let is_last = last.place.part + 1 == source.parts.len()
            && source.parts[last.place.part][last.place.bytes.end..].trim().is_empty();
        let whole = !(source.open_end && is_last);
        match (of_table(question, &table, &titles, whole), &found) {
            (Some(answer), None) => found = Some(answer),
            (Some(answer), Some(other)) if answer.sentence != other.sentence => return None,
            _ => {}
        }
    }
    found
}

fn of_table(question: &str, table: &Table, titles: &[Vec<String>], whole: bool) -> Option<TableAnswer> {
    let mut found: Option<(Found, View<'_>, Asked)> = None;
    for view in View::of(table, titles) {
        let Some(asked) = asked::read(question, &view, titles) else {
            continue;
        };
        let Some(one) = compute::work_out(&asked, &view).filter(|found| whole || !found.whole) else {
            continue;
        };
        match &found {
            // Both ways to look at the table lead to the same cells: the first says it as well.
            Some((other, ..)) if !same_cells(other, &one) => return None,
            Some(_) => {}
            None => found = Some((one, view, asked)),
        }
    }
    let (found, view, asked) = found?;
    let mut rows: Vec<usize> = found.cells.iter().map(|(row, _)| *row).collect();
    rows.sort_unstable();
    rows.dedup();
    if rows.len() > MAX_ROWS_SHOWN {
        return None;
    }
    let script = match (asked::is_han(question), fold::is_traditional(question)) {
        (false, _) => Script::English,
        (true, false) => Script::Simplified,
        (true, true) => Script::Traditional,
    };
    let things = asked.things.iter().map(|(_, _, shown)| shown.clone());
    let attributes = asked
        .attributes
        .iter()
        .map(|attribute| view.attributes[*attribute].name.shown.clone());
    Some(TableAnswer {
        sentence: say::sentence(&found, &view, script),
        kind: match found.result {
            Result::Values(_) if !found.whole => Kind::Values,
            Result::Compared { .. } => Kind::Compared,
            _ => Kind::Overview,
        },
        head: table.head_lines.clone(),
        columns: table.head.len(),
        rows: rows.into_iter().map(|row| table.rows[row].place.clone()).collect(),
        values: found
            .cells
            .iter()
            .map(|(row, column)| table.rows[*row].cells[*column].text.clone())
            .collect(),
        names: things.chain(attributes).collect(),
    })
}

fn same_cells(a: &Found, b: &Found) -> bool {
    let sorted = |found: &Found| {
        let mut cells = found.cells.clone();
        cells.sort_unstable();
        cells
    };
    sorted(a) == sorted(b)
}
