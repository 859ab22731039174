//! From characters to words, and from words to the rows of a page.

use super::Glyph;
use crate::domain::is_han;

/// Characters that belong together: no gap between them.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) base: f64,
    pub(super) size: f64,
    /// Whether a space stands before it.
    pub(super) spaced: bool,
}

/// Words of one row with no wide gap between: a line of a column, or a cell.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) words: Vec<Word>,
    pub(super) left: f64,
    pub(super) right: f64,
}

/// What stands at one height.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) base: f64,
    pub(super) size: f64,
    pub(super) segments: Vec<Segment>,
}

/// The words of a page by rows from above, each row from left to right.
pub(super) fn words(glyphs: &[Glyph]) -> Vec<Vec<Word>> {
    let mut order: Vec<&Glyph> = glyphs.iter().collect();
    order.sort_by(|a, b| a.base.total_cmp(&b.base));
    let mut rows: Vec<GlyphRow<'_>> = Vec::new();
    for glyph in order {
        // Great letters behind small ones are a row of their own, though they stand at the same height.
        let own = rows.iter_mut().rev().take(OPEN_ROWS).find(|row| {
            (0.4..2.5).contains(&(glyph.size / row.size)) && glyph.base - row.base < 0.35 * glyph.size.max(row.size)
        });
        match own {
            Some(row) => {
                row.glyphs.push(glyph);
                row.size = row.size.max(glyph.size);
            }
            None => rows.push(GlyphRow {
                base: glyph.base,
                size: glyph.size,
                glyphs: vec![glyph],
            }),
        }
    }
    join_raised(rows)
        .into_iter()
        .map(|row| row_words(row.glyphs))
        .filter(|row: &Vec<Word>| !row.is_empty())
        .collect()
}

/// Rows above the present one that a character may still belong to.
const OPEN_ROWS: usize = 6;

struct GlyphRow<'a> {
    base: f64,
    size: f64,
    glyphs: Vec<&'a Glyph>,
}

/// Puts small characters that are raised or lowered into the row that they belong to.
fn join_raised(rows: Vec<GlyphRow<'_>>) -> Vec<GlyphRow<'_>> {
    let mut joined: Vec<GlyphRow<'_>> = Vec::new();
    for row in rows {
        if let Some(last) = joined.last_mut() {
            let (small, great) = if last.size < row.size {
                (&*last, &row)
            } else {
                (&row, &*last)
            };
            let (base, size) = (great.base, great.size);
            let is_raised = small.size < 0.8 * great.size && small.glyphs.len() <= great.glyphs.len();
            if is_raised && small.size > 0.4 * great.size && row.base - last.base < 0.62 * great.size {
                (last.base, last.size) = (base, size);
                last.glyphs.extend(row.glyphs);
                continue;
            }
        }
        joined.push(row);
    }
    joined
}

fn row_words(mut row: Vec<&Glyph>) -> Vec<Word> {
    row.sort_by(|a, b| a.left.total_cmp(&b.left));
    let mut words: Vec<Word> = Vec::new();
    let mut spaced = false;
    for glyph in row {
        if glyph.text.trim().is_empty() {
            spaced = true;
            continue;
        }
        match words.last_mut() {
            Some(word) if !spaced && glyph.left - word.right < 0.18 * glyph.size.max(word.size) => {
                word.text.push_str(&glyph.text);
                word.right = word.right.max(glyph.right);
                word.size = word.size.max(glyph.size);
            }
            _ => words.push(Word {
                text: glyph.text.clone(),
                left: glyph.left,
                right: glyph.right,
                base: glyph.base,
                size: glyph.size,
                spaced,
            }),
        }
        spaced = false;
    }
    words
}

/// Puts words together until a gap is wide.
pub(super) fn segments(words: &[Word]) -> Row {
    let mut segments: Vec<Segment> = Vec::new();
    for word in words {
        match segments.last_mut() {
            Some(segment) if word.left - segment.right < 1.1 * word.size => {
                segment.right = segment.right.max(word.right);
                segment.words.push(word.clone());
            }
            _ => segments.push(Segment {
                left: word.left,
                right: word.right,
                words: vec![word.clone()],
            }),
        }
    }
    // The height of a row is that of most of its text.
    let longest = words.iter().max_by_key(|word| word.text.len());
    Row {
        base: longest.map_or(0.0, |word| word.base),
        size: longest.map_or(0.0, |word| word.size),
        segments,
    }
}

/// Words as text. Between Chinese characters there is no space, however they are set.
pub(super) fn text<'a>(words: impl IntoIterator<Item = &'a Word>) -> String {
    let mut text = String::new();
    let mut right = f64::INFINITY;
    for word in words {
        let joint = (text.chars().next_back(), word.text.chars().next());
        let wide_both = matches!(joint, (Some(a), Some(b)) if is_wide(a) && is_wide(b));
        let gap = word.left - right > 0.18 * word.size || word.spaced;
        if !text.is_empty() && gap && (!wide_both || word.left - right > 0.8 * word.size) {
            text.push(' ');
        }
        text.push_str(&word.text);
        right = word.right;
    }
    text
}

/// Characters that are set without spaces between words.
pub(super) fn is_wide(c: char) -> bool {
    is_han(c) || matches!(c, '\u{3000}'..='\u{30ff}' | '\u{ff00}'..='\u{ffef}' | '\u{2014}'..='\u{201d}')
}
