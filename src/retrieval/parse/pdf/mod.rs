//! PDF: the page is interpreted as for printing, and what would be printed is put back into lines, columns, tables and
//! paragraphs. A page that is only a picture is named.

mod layout;
mod lines;
mod tables;

use super::builder::Builder;
use super::{DocumentFault, ParsedDocument};
use hayro_interpret::font::{Glyph as PdfGlyph, GlyphRun};
use hayro_interpret::hayro_cmap::BfString;
use hayro_interpret::hayro_syntax::page::Page;
use hayro_interpret::hayro_syntax::{DecryptionError, LoadPdfError, Pdf};
use hayro_interpret::kurbo::{Affine, BezPath, Point, Rect, Shape};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache,
    InterpreterSettings, SoftMask, TransformExt, interpret_page,
};
use layout::Line;
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use unicode_normalization::UnicodeNormalization;

/// Pages that are read.
const MAX_PAGES: usize = 5000;
/// Characters of a page.
const MAX_GLYPHS: usize = 200_000;
/// Strokes of a page that may be borders of tables.
const MAX_RULES: usize = 20_000;

/// A character on a page; the origin is the upper left corner, the unit a point.
#[derive(Clone, Debug)]
struct Glyph {
    text: String,
    left: f64,
    right: f64,
    /// The line it stands on.
    base: f64,
    size: f64,
}

/// A page as it is read.
struct PageText {
    lines: Vec<Line>,
    turned: String,
    height: f64,
}

/// What a page shows.
#[derive(Default)]
struct Shown {
    glyphs: Vec<Glyph>,
    /// Text that does not run from left to right, in the order in which it is drawn.
    turned: String,
    /// Thin strokes, by their box.
    rules: Vec<Rect>,
    has_picture: bool,
    seen: HashSet<(String, i64, i64)>,
    unreadable: usize,
}

/// Parses a PDF file.
///
/// # Errors
/// `Encrypted`, `Broken`, `TooLarge`; `Scanned` if no page has text, `Empty` if none shows anything.
pub(super) fn parse_pdf(bytes: &[u8]) -> Result<ParsedDocument, DocumentFault> {
    let pdf = Pdf::new(bytes.to_vec()).map_err(|error| match error {
        LoadPdfError::Decryption(DecryptionError::PasswordProtected) => DocumentFault::Encrypted,
        LoadPdfError::Decryption(error) => DocumentFault::broken(format!("its encryption cannot be read ({error:?})")),
        LoadPdfError::Invalid => DocumentFault::broken("it is no PDF file that can be read"),
    })?;
    let count = pdf.pages().len();
    if count > MAX_PAGES {
        return Err(DocumentFault::too_large("pages", MAX_PAGES as u64));
    }
    let cache = InterpreterCache::new();
    let mut pages = Vec::with_capacity(count);
    let mut pictures = Vec::new();
    for (number, page) in pdf.pages().iter().enumerate() {
        // A page that its interpreter fails at takes no other one along.
        let shown = catch_unwind(AssertUnwindSafe(|| show(&pdf, page, &cache))).unwrap_or_default();
        let (width, height) = page.render_dimensions();
        let lines = layout::lines(&shown, f64::from(width));
        let is_blank = lines.is_empty() && shown.turned.trim().is_empty();
        if is_blank && (shown.has_picture || shown.unreadable > 0) {
            pictures.push(number + 1);
        }
        pages.push(PageText {
            lines,
            turned: shown.turned,
            height: f64::from(height),
        });
    }
    if pictures.len() == count && count > 0 {
        return Err(DocumentFault::Scanned { pages: count as u32 });
    }
    drop_running_titles(&mut pages);
    let mut builder = Builder::default();
    let sizes = Sizes::of(&pages);
    let mut scanned = pictures.chunk_by(|a, b| a + 1 == *b).peekable();
    for (number, page) in pages.iter().enumerate() {
        builder.page();
        if let Some(run) = scanned.next_if(|run| run.first() == Some(&(number + 1))) {
            let pages = match run {
                [page] => page.to_string(),
                [first, .., last] => format!("{first}–{last}"),
                [] => continue,
            };
            builder.paragraph(&format!(
                "（第 {pages} 页是扫描图片，没有可读取的文字。Page {pages}: scanned, no text could be read.）"
            ));
        }
        layout::write(&page.lines, &sizes, &mut builder);
        builder.paragraph(&page.turned);
        if builder.is_full() {
            break;
        }
    }
    builder.finish()
}

fn show<'a>(pdf: &'a Pdf, page: &'a Page<'a>, cache: &InterpreterCache<'a>) -> Shown {
    let (width, height) = page.render_dimensions();
    let mut context = Context::new(
        page.initial_transform(true).to_kurbo(),
        Rect::new(0.0, 0.0, f64::from(width), f64::from(height)),
        cache,
        pdf.xref(),
        InterpreterSettings::default(),
    );
    let mut shown = Shown::default();
    interpret_page(page, &mut context, &mut shown);
    shown
}

impl Shown {
    fn glyph(&mut self, glyph: &PdfGlyph<'_>, place: Affine) {
        let text = match glyph.as_unicode() {
            Some(BfString::Char(c)) => c.to_string(),
            Some(BfString::String(text)) => text,
            None => {
                self.unreadable += 1;
                return;
            }
        };
        let text: String = text.chars().filter(|c| !c.is_control()).flat_map(plain).collect();
        if text.is_empty() || self.glyphs.len() >= MAX_GLYPHS {
            return;
        }
        let width = match glyph {
            PdfGlyph::Outline(glyph) => glyph.advance_width(),
            PdfGlyph::Type3(glyph) => glyph.advance_width(),
        };
        let width = f64::from(width.unwrap_or(500.0)).clamp(0.0, 3000.0);
        let origin = place * Point::ZERO;
        let end = place * Point::new(width, 0.0);
        let up = place * Point::new(0.0, 1000.0) - origin;
        let size = up.hypot();
        let along = place * Point::new(1000.0, 0.0) - origin;
        if ![origin.x, origin.y, end.x, size]
            .iter()
            .all(|number| number.is_finite())
            || size < 0.5
        {
            return;
        }
        if along.y.abs() > 0.3 * along.x.abs() || along.x < 0.0 {
            if self.turned.len() < MAX_GLYPHS {
                self.turned.push_str(&text);
            }
            return;
        }
        // Bold is often the same character drawn twice, a hair apart.
        let grain = (size * 0.2).max(0.1);
        let key = (
            text.clone(),
            (origin.x / grain).round() as i64,
            (origin.y / grain).round() as i64,
        );
        if text.trim().is_empty() || self.seen.insert(key) {
            self.glyphs.push(Glyph {
                text,
                left: origin.x.min(end.x),
                right: origin.x.max(end.x),
                base: origin.y,
                size,
            });
        }
    }
}

/// The character that is meant: fonts give ligatures and the radicals of Chinese characters code points of their own,
/// which nobody searches for.
fn plain(c: char) -> impl Iterator<Item = char> {
    let is_shape = matches!(c, '\u{fb00}'..='\u{fb06}' | '\u{2e80}'..='\u{2fd5}' | '\u{f900}'..='\u{faff}');
    let (kept, changed) = if is_shape { (None, Some(c)) } else { (Some(c), None) };
    kept.into_iter().chain(changed.into_iter().nfkc())
}

impl<'a> Device<'a> for Shown {
    fn draw_path(&mut self, path: &BezPath, props: DrawProps<'a>, _: &DrawMode) {
        if self.rules.len() >= MAX_RULES {
            return;
        }
        // Borders come as one stroke, as many in one path, or as filled boxes.
        for part in path
            .elements()
            .split_inclusive(|element| matches!(element, hayro_interpret::kurbo::PathEl::ClosePath))
        {
            let mut last = None;
            let mut first = None;
            let area = part.bounding_box();
            let area = props.transform.transform_rect_bbox(area);
            if area.width().min(area.height()) < 2.5 {
                self.rules.push(area);
                continue;
            }
            for element in part {
                use hayro_interpret::kurbo::PathEl;
                let to = match element {
                    PathEl::MoveTo(point) => {
                        last = Some(*point);
                        first = Some(*point);
                        continue;
                    }
                    PathEl::LineTo(point) => Some(*point),
                    PathEl::ClosePath => first,
                    _ => {
                        last = None;
                        None
                    }
                };
                if let (Some(from), Some(to)) = (last, to) {
                    let rule = props.transform.transform_rect_bbox(Rect::from_points(from, to));
                    if rule.width().min(rule.height()) < 1.0 && self.rules.len() < MAX_RULES {
                        self.rules.push(rule);
                    }
                }
                last = to;
            }
        }
    }

    fn push_clip_path(&mut self, _: &ClipPath) {}

    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}

    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, _: &DrawMode) {
        for glyph in run.glyphs() {
            self.glyph(glyph, props.transform * glyph.transform());
        }
    }

    fn draw_image(&mut self, _: Image<'a, '_>, _: ImageDrawProps<'a>) {
        self.has_picture = true;
    }

    fn pop_clip(&mut self) {}

    fn pop_transparency_group(&mut self) {}
}

/// The sizes of letters in a document: that of running text, and those of headings, greatest first.
struct Sizes {
    body: f64,
    headings: Vec<f64>,
}

impl Sizes {
    fn of(pages: &[PageText]) -> Self {
        let mut count: HashMap<i64, usize> = HashMap::new();
        let key = |size: f64| (size * 2.0).round() as i64;
        for line in pages.iter().flat_map(|page| &page.lines) {
            *count.entry(key(line.size)).or_default() += line.text.chars().count();
        }
        let body = count
            .iter()
            .max_by_key(|(size, count)| (**count, -**size))
            .map_or(20, |(size, _)| *size);
        let mut headings: Vec<f64> = count
            .keys()
            .map(|size| *size as f64 / 2.0)
            .filter(|size| *size > body as f64 / 2.0 * 1.15)
            .collect();
        headings.sort_by(|a, b| b.total_cmp(a));
        headings.truncate(4);
        Self {
            body: body as f64 / 2.0,
            headings,
        }
    }

    /// The level of a heading in letters of this size.
    fn level(&self, size: f64) -> Option<u8> {
        if size <= self.body * 1.15 {
            return None;
        }
        let level = self.headings.iter().position(|heading| size >= heading - 0.3);
        Some(level.unwrap_or(self.headings.len()) as u8 + 1)
    }
}

/// Takes away lines that stand in the margin at the head or foot of most pages and differ in their numbers at most.
fn drop_running_titles(pages: &mut [PageText]) {
    if pages.len() < 3 {
        return;
    }
    let shape = |line: &Line| -> String { line.text.chars().filter(|c| !c.is_ascii_digit() && *c != ' ').collect() };
    for at_head in [true, false] {
        // Such titles have two lines at most.
        for _ in 0..2 {
            let outermost = |page: &PageText| {
                let line = if at_head { page.lines.first() } else { page.lines.last() }?;
                let margin = 0.1 * page.height;
                let is_outside = if at_head {
                    line.base < margin
                } else {
                    line.base > page.height - margin
                };
                (is_outside && line.table.is_none()).then(|| shape(line))
            };
            let mut count: HashMap<String, usize> = HashMap::new();
            for shape in pages.iter().filter_map(outermost) {
                *count.entry(shape).or_default() += 1;
            }
            let Some((common, _)) = count
                .into_iter()
                .find(|(_, count)| *count >= 3 && *count * 2 > pages.len())
            else {
                break;
            };
            for page in pages.iter_mut() {
                if outermost(page).as_ref() == Some(&common) {
                    if at_head {
                        page.lines.remove(0);
                    } else {
                        page.lines.pop();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
