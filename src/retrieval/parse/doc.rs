//! Word 97 to 2003 ([MS-DOC]): text by its pieces, tables and headings by the properties of paragraphs.

use super::builder::Builder;
use super::compound::Compound;
use super::{DocumentFault, ParsedDocument};

/// The first version whose files are built like this (Word 97).
const FIRST_VERSION: u16 = 0x00c1;
/// Properties of paragraphs that are looked at (2.6.2): in a table, end of a row, outline level, list.
const IN_TABLE: u16 = 0x2416;
const ROW_END: u16 = 0x2417;
const OUTLINE_LEVEL: u16 = 0x2640;
const LIST: u16 = 0x460b;
const LIST_LEVEL: u16 = 0x260a;

/// Parses a Word document.
///
/// # Errors
/// `Broken`, `Encrypted`, `TooLarge`, `Empty`; `Unsupported` for versions before Word 97.
pub(super) fn parse_doc(bytes: &[u8]) -> Result<ParsedDocument, DocumentFault> {
    let mut file = Compound::open(bytes)?;
    let main = file
        .read("WordDocument")?
        .ok_or_else(|| DocumentFault::broken("no Word document is in it"))?;
    let main = Bytes(&main);
    let flags = main.u16(0x0a)?;
    if flags & 0x0100 != 0 {
        return Err(DocumentFault::Encrypted);
    }
    if main.u16(2)? < FIRST_VERSION {
        return Err(DocumentFault::Unsupported {
            what: "a document of Word 6 or 95".to_owned(),
            instead: ".docx".to_owned(),
        });
    }
    let name = if flags & 0x0200 == 0 { "0Table" } else { "1Table" };
    let table = file
        .read(name)?
        .ok_or_else(|| DocumentFault::broken(format!("{name} is missing in it")))?;
    let characters = characters(main, Bytes(&table))?;
    let properties = Properties::read(main, Bytes(&table))?;
    // The document's own text, then that of its footnotes; headers and comments lie between and behind.
    let (text, notes) = (main.u32(0x4c)? as usize, main.u32(0x50)? as usize);
    let mut writer = Writer {
        builder: Builder::default(),
        properties,
        row: Vec::new(),
        rows: Vec::new(),
        paragraph: String::new(),
        cell: String::new(),
        fields: Vec::new(),
    };
    let end = text.saturating_add(notes).min(characters.len());
    for (c, place) in &characters[..end] {
        writer.take(*c, *place);
    }
    writer.end_table();
    let paragraph = std::mem::take(&mut writer.paragraph);
    writer.builder.paragraph(&paragraph);
    writer.builder.finish()
}

/// Bytes with checked access.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn part(self, from: usize, length: usize) -> Result<&'a [u8], DocumentFault> {
        from.checked_add(length)
            .and_then(|to| self.0.get(from..to))
            .ok_or_else(|| DocumentFault::broken("it ends too early"))
    }

    fn u16(self, at: usize) -> Result<u16, DocumentFault> {
        let bytes = self.part(at, 2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(self, at: usize) -> Result<u32, DocumentFault> {
        let bytes = self.part(at, 4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

/// All characters in order, each with its place in the main stream (2.4.1).
fn characters(main: Bytes<'_>, table: Bytes<'_>) -> Result<Vec<(char, u32)>, DocumentFault> {
    let clx = table.part(main.u32(0x1a2)? as usize, main.u32(0x1a6)? as usize)?;
    let clx = Bytes(clx);
    let mut at = 0;
    while clx.part(at, 1)?[0] == 1 {
        at += 3 + clx.u16(at + 1)? as usize;
    }
    let pieces = Bytes(clx.part(at + 5, clx.u32(at + 1)? as usize)?);
    let count = pieces.0.len().saturating_sub(4) / 12;
    let mut characters = Vec::new();
    for piece in 0..count {
        let from = pieces.u32(piece * 4)?;
        let length = pieces.u32(piece * 4 + 4)?.saturating_sub(from) as usize;
        let place = pieces.u32((count + 1) * 4 + piece * 8 + 2)?;
        let start = (place & 0x3fff_ffff) as usize;
        if place & 0x4000_0000 == 0 {
            let wide = main.part(start, length.saturating_mul(2))?;
            let units = wide.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit));
            let mut at = start as u32;
            for c in char::decode_utf16(units) {
                let c = c.unwrap_or('\u{fffd}');
                // Positions count units: the second half of a pair is a place too.
                for half in 0..c.len_utf16() {
                    characters.push((if half == 0 { c } else { '\u{0}' }, at));
                    at += 2;
                }
            }
        } else {
            let narrow = main.part(start / 2, length)?;
            for (offset, byte) in narrow.iter().enumerate() {
                let (c, _) = encoding_rs::WINDOWS_1252.decode_without_bom_handling(std::slice::from_ref(byte));
                let c = c.chars().next().unwrap_or('\u{fffd}');
                characters.push((c, (start / 2 + offset) as u32));
            }
        }
        if characters.len() > main.0.len() {
            return Err(DocumentFault::broken("its pieces overlap"));
        }
    }
    Ok(characters)
}

/// What is known of a paragraph.
#[derive(Clone, Copy, Debug, Default)]
struct Paragraph {
    /// The level of a heading, from 1.
    level: Option<u8>,
    /// The level of an item of a list, from 0.
    item: Option<u8>,
    in_table: bool,
    row_end: bool,
}

/// The properties of paragraphs by place, in order.
struct Properties(Vec<(u32, u32, Paragraph)>);

impl Properties {
    fn read(main: Bytes<'_>, table: Bytes<'_>) -> Result<Self, DocumentFault> {
        let pages = Bytes(table.part(main.u32(0x102)? as usize, main.u32(0x106)? as usize)?);
        let count = pages.0.len().saturating_sub(4) / 8;
        let mut found = Vec::new();
        for page in 0..count {
            let number = pages.u32((count + 1) * 4 + page * 4)? as usize & 0x3f_ffff;
            let Ok(page) = main.part(number * 512, 512) else {
                continue;
            };
            let runs = page[511] as usize;
            let page = Bytes(page);
            for run in 0..runs {
                let (Ok(from), Ok(to)) = (page.u32(run * 4), page.u32(run * 4 + 4)) else {
                    break;
                };
                let Ok(at) = page.part((runs + 1) * 4 + run * 13, 1) else {
                    break;
                };
                let at = at[0] as usize * 2;
                found.push((from, to, Self::paragraph(page, at).unwrap_or_default()));
            }
        }
        found.sort_by_key(|(from, ..)| *from);
        Ok(Self(found))
    }

    fn paragraph(page: Bytes<'_>, at: usize) -> Option<Paragraph> {
        if at == 0 {
            return None;
        }
        let short = page.part(at, 1).ok()?[0] as usize;
        let (at, length) = if short == 0 {
            (at + 2, page.part(at + 1, 1).ok()?[0] as usize * 2)
        } else {
            (at + 1, short * 2 - 1)
        };
        let content = Bytes(page.part(at, length).ok()?);
        // The first nine styles are the headings.
        let style = content.u16(0).ok()?;
        let mut paragraph = Paragraph {
            level: (1..=9).contains(&style).then_some(style as u8),
            ..Paragraph::default()
        };
        let mut at = 2;
        while let Ok(code) = content.u16(at) {
            let operand = at + 2;
            let size = match code >> 13 {
                0 | 1 => 1,
                2 | 4 | 5 => 2,
                3 => 4,
                7 => 3,
                _ if code == 0xd608 => content.u16(operand).ok()? as usize + 1,
                _ => content.part(operand, 1).ok()?[0] as usize + 1,
            };
            let value = content.part(operand, 1).ok().map_or(0, |value| value[0]);
            match code {
                IN_TABLE => paragraph.in_table = value != 0,
                ROW_END => paragraph.row_end = value != 0,
                OUTLINE_LEVEL if value < 9 => paragraph.level = Some(value + 1),
                LIST_LEVEL => paragraph.item = paragraph.item.map(|_| value),
                LIST if content.u16(operand).is_ok_and(|list| list != 0) => paragraph.item = Some(0),
                _ => {}
            }
            at = operand + size;
        }
        Some(paragraph)
    }

    fn at(&self, place: u32) -> Paragraph {
        let after = self.0.partition_point(|(from, ..)| *from <= place);
        match after.checked_sub(1).and_then(|at| self.0.get(at)) {
            Some((_, to, paragraph)) if place < *to => *paragraph,
            _ => Paragraph::default(),
        }
    }
}

struct Writer {
    builder: Builder,
    properties: Properties,
    rows: Vec<Vec<String>>,
    row: Vec<String>,
    cell: String,
    paragraph: String,
    /// Fields that are open, and whether what they show has begun.
    fields: Vec<bool>,
}

impl Writer {
    fn take(&mut self, c: char, place: u32) {
        match c {
            '\u{13}' => self.fields.push(false),
            '\u{14}' => {
                if let Some(field) = self.fields.last_mut() {
                    *field = true;
                }
            }
            '\u{15}' => {
                self.fields.pop();
            }
            // What a field computes from.
            _ if self.fields.last() == Some(&false) && !matches!(c, '\r' | '\u{7}') => {}
            '\u{7}' => {
                let paragraph = std::mem::take(&mut self.paragraph);
                self.cell.push_str(&paragraph);
                if self.properties.at(place).row_end {
                    self.rows.push(std::mem::take(&mut self.row));
                    self.cell.clear();
                } else {
                    self.row.push(std::mem::take(&mut self.cell));
                }
            }
            '\r' | '\u{c}' => self.end_paragraph(place),
            '\u{b}' => self.paragraph.push('\n'),
            '\u{1e}' => self.paragraph.push('-'),
            '\0'..'\u{20}' if c != '\t' => {}
            '\u{1f}' => {}
            _ => self.paragraph.push(c),
        }
    }

    fn end_paragraph(&mut self, place: u32) {
        let known = self.properties.at(place);
        let text = std::mem::take(&mut self.paragraph);
        self.fields.clear();
        if known.in_table {
            self.cell.push_str(&text);
            self.cell.push('\n');
            return;
        }
        self.end_table();
        match (known.level, known.item) {
            (Some(level), _) => self.builder.heading(level, &text),
            (None, Some(depth)) => self.builder.item(usize::from(depth), "-", &text),
            _ => self.builder.paragraph(&text),
        }
    }

    fn end_table(&mut self) {
        if !self.row.is_empty() {
            self.rows.push(std::mem::take(&mut self.row));
        }
        if !self.rows.is_empty() {
            self.builder.table(&std::mem::take(&mut self.rows));
        }
    }
}
