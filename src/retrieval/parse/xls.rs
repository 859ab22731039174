//! Excel 97 to 2003 ([MS-XLS]), record by record: only cells with content are held, numbers are shown by their formats.

use super::builder::Builder;
use super::compound::{Compound, utf16};
use super::number_format::{built_in, show};
use super::sheet_layout::{Area, MAX_CELLS, Sheet, write};
use super::{DocumentFault, ParsedDocument};
use std::collections::HashMap;

/// The version whose records are read (BIFF 8).
const VERSION: u16 = 0x0600;

/// Parses a workbook.
///
/// # Errors
/// `Broken`, `Encrypted`, `TooLarge`, `Empty`; `Unsupported` for versions before Excel 97.
pub(super) fn parse_xls(bytes: &[u8]) -> Result<ParsedDocument, DocumentFault> {
    let mut file = Compound::open(bytes)?;
    let old = || DocumentFault::Unsupported {
        what: "a workbook of Excel 95 or older".to_owned(),
        instead: ".xlsx".to_owned(),
    };
    let stream = match file.read("Workbook")? {
        Some(stream) => stream,
        None if file.read("Book")?.is_some() => return Err(old()),
        None => return Err(DocumentFault::broken("no workbook is in it")),
    };
    let mut globals = Globals::default();
    let mut records = Records { bytes: &stream, at: 0 };
    let mut in_strings = false;
    let mut strings: Vec<&[u8]> = Vec::new();
    for (kind, data) in records.by_ref() {
        match kind {
            0x0809 if u16_at(data, 0) != Some(VERSION) => return Err(old()),
            0x002f => return Err(DocumentFault::Encrypted),
            0x000a => break,
            0x003c if in_strings => strings.push(data),
            0x00fc => strings.push(data),
            _ => globals.take(kind, data),
        }
        in_strings = kind == 0x00fc || (kind == 0x003c && in_strings);
    }
    let strings = shared_strings(&strings)?;
    let mut left = MAX_CELLS;
    let mut sheets = Vec::new();
    for (place, name) in &globals.sheets {
        let mut reader = SheetReader {
            globals: &globals,
            strings: &strings,
            sheet: Sheet {
                name: name.clone(),
                ..Sheet::default()
            },
            waiting: None,
        };
        let mut records = Records {
            bytes: &stream,
            at: *place as usize,
        };
        let mut depth = 0_u32;
        for (kind, data) in records.by_ref() {
            match kind {
                // A chart within a sheet is a stream of its own.
                0x0809 => depth += 1,
                0x000a if depth <= 1 => break,
                0x000a => depth -= 1,
                _ if depth == 1 => reader.take(kind, data, &mut left)?,
                _ => {}
            }
        }
        sheets.push(reader.sheet);
    }
    let mut builder = Builder::default();
    write(&sheets, &mut builder);
    builder.finish()
}

struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = (u16, &'a [u8]);

    /// The next record's kind and content.
    fn next(&mut self) -> Option<Self::Item> {
        let kind = u16_at(self.bytes, self.at)?;
        let length = usize::from(u16_at(self.bytes, self.at + 2)?);
        let data = self.bytes.get(self.at + 4..self.at + 4 + length)?;
        self.at += 4 + length;
        Some((kind, data))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes([bytes[0], bytes[1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from(u16_at(bytes, at)?) | u32::from(u16_at(bytes, at + 2)?) << 16)
}

fn f64_at(bytes: &[u8], at: usize) -> Option<f64> {
    let bytes: [u8; 8] = bytes.get(at..at.checked_add(8)?)?.try_into().ok()?;
    Some(f64::from_le_bytes(bytes))
}

/// A text with its length before it, of `length_bytes` bytes (2.5.294, 2.5.240).
fn string_at(bytes: &[u8], at: usize, length_bytes: usize) -> Option<String> {
    let count = match length_bytes {
        1 => usize::from(*bytes.get(at)?),
        _ => usize::from(u16_at(bytes, at)?),
    };
    let flags = *bytes.get(at + length_bytes)?;
    let from = at + length_bytes + 1;
    if flags & 1 == 0 {
        Some(
            bytes
                .get(from..from + count)?
                .iter()
                .map(|byte| char::from(*byte))
                .collect(),
        )
    } else {
        Some(utf16(bytes.get(from..from + count * 2)?))
    }
}

/// What holds for the whole workbook.
#[derive(Default)]
struct Globals {
    from_1904: bool,
    formats: HashMap<u16, String>,
    /// The format of each style of cells.
    styles: Vec<u16>,
    /// Where sheets that are shown begin, and what they are called.
    sheets: Vec<(u32, String)>,
}

impl Globals {
    fn take(&mut self, kind: u16, data: &[u8]) {
        match kind {
            0x0022 => self.from_1904 = u16_at(data, 0) == Some(1),
            0x041e => {
                if let (Some(id), Some(code)) = (u16_at(data, 0), string_at(data, 2, 2)) {
                    self.formats.insert(id, code);
                }
            }
            0x00e0 => self.styles.push(u16_at(data, 2).unwrap_or(0)),
            0x0085 => {
                let visible = data.get(4).is_some_and(|state| state.trailing_zeros() >= 2);
                let is_sheet = data.get(5) == Some(&0);
                if let (true, true, Some(place), Some(name)) =
                    (visible, is_sheet, u32_at(data, 0), string_at(data, 6, 1))
                {
                    self.sheets.push((place, name));
                }
            }
            _ => {}
        }
    }

    fn show(&self, value: f64, style: u16) -> String {
        let format = self.styles.get(usize::from(style)).copied().unwrap_or(0);
        let code = self
            .formats
            .get(&format)
            .map_or_else(|| built_in(u32::from(format)), String::as_str);
        show(value, code, self.from_1904)
    }
}

/// The texts that cells point to (2.4.265): they run on over records, and a record that goes on within a text says anew
/// how wide its characters are.
fn shared_strings(records: &[&[u8]]) -> Result<Vec<String>, DocumentFault> {
    let mut reader = Continued {
        records,
        record: 0,
        at: 8,
    };
    let mut strings = Vec::new();
    let count = records.first().and_then(|first| u32_at(first, 4)).unwrap_or(0);
    // The count is what the file says: it ends the loop early and reserves nothing.
    for _ in 0..count {
        let Some(string) = reader.string() else { break };
        strings.push(string);
        if strings.len() > MAX_CELLS {
            return Err(DocumentFault::too_large("texts", MAX_CELLS as u64));
        }
    }
    Ok(strings)
}

struct Continued<'a> {
    records: &'a [&'a [u8]],
    record: usize,
    at: usize,
}

impl Continued<'_> {
    fn byte(&mut self) -> Option<u8> {
        while self.at >= self.records.get(self.record)?.len() {
            self.record += 1;
            self.at = 0;
        }
        let byte = self.records[self.record][self.at];
        self.at += 1;
        Some(byte)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([self.byte()?, self.byte()?]))
    }

    fn skip(&mut self, mut count: usize) -> Option<()> {
        while count > 0 {
            let left = self.records.get(self.record)?.len().saturating_sub(self.at);
            let step = count.min(left);
            self.at += step;
            count -= step;
            if count > 0 {
                self.record += 1;
                self.at = 0;
            }
        }
        Some(())
    }

    fn string(&mut self) -> Option<String> {
        let count = usize::from(self.u16()?);
        let flags = self.byte()?;
        let runs = if flags & 8 == 0 { 0 } else { usize::from(self.u16()?) };
        let more = if flags & 4 == 0 {
            0
        } else {
            let low = u32::from(self.u16()?);
            (low | u32::from(self.u16()?) << 16) as usize
        };
        let mut wide = flags & 1 != 0;
        let mut units = Vec::with_capacity(count.min(1 << 15));
        while units.len() < count {
            if self.at >= self.records.get(self.record)?.len() {
                self.record += 1;
                self.at = 0;
                wide = self.byte()? & 1 != 0;
            }
            units.push(if wide { self.u16()? } else { u16::from(self.byte()?) });
        }
        self.skip(runs * 4 + more)?;
        Some(String::from_utf16_lossy(&units))
    }
}

struct SheetReader<'a> {
    globals: &'a Globals,
    strings: &'a [String],
    sheet: Sheet,
    /// The cell of a formula whose result is a text that the next record holds.
    waiting: Option<(u16, u16)>,
}

impl SheetReader<'_> {
    fn take(&mut self, kind: u16, data: &[u8], left: &mut usize) -> Result<(), DocumentFault> {
        if kind == 0x0207 {
            if let (Some((row, column)), Some(text)) = (self.waiting.take(), string_at(data, 0, 2)) {
                self.sheet.put(u32::from(row), u32::from(column), &text, left)?;
            }
            return Ok(());
        }
        if kind == 0x00e5 {
            self.merged(data);
            return Ok(());
        }
        let (Some(row), Some(column), Some(style)) = (u16_at(data, 0), u16_at(data, 2), u16_at(data, 4)) else {
            return Ok(());
        };
        let text = match kind {
            0x00fd => u32_at(data, 6)
                .and_then(|index| self.strings.get(index as usize))
                .cloned(),
            0x0204 | 0x00d6 => string_at(data, 6, 2),
            0x0203 => f64_at(data, 6).map(|value| self.globals.show(value, style)),
            0x027e => u32_at(data, 6).map(|rk| self.globals.show(rk_number(rk), style)),
            0x00bd => {
                // Cells beside each other, each with its style and number.
                for (offset, cell) in data.get(4..).unwrap_or_default().as_chunks::<6>().0.iter().enumerate() {
                    let style = u16::from_le_bytes([cell[0], cell[1]]);
                    let rk = u32::from_le_bytes([cell[2], cell[3], cell[4], cell[5]]);
                    let shown = self.globals.show(rk_number(rk), style);
                    self.sheet
                        .put(u32::from(row), u32::from(column) + offset as u32, &shown, left)?;
                }
                None
            }
            0x0205 => match data.get(6..8) {
                Some([value, 0]) => Some(if *value == 0 { "FALSE" } else { "TRUE" }.to_owned()),
                _ => None,
            },
            0x0006 => match data.get(6..14) {
                Some([0, .., 0xff, 0xff]) => {
                    self.waiting = Some((row, column));
                    None
                }
                Some([1, _, value, .., 0xff, 0xff]) => Some(if *value == 0 { "FALSE" } else { "TRUE" }.to_owned()),
                Some([.., 0xff, 0xff]) => None,
                _ => f64_at(data, 6).map(|value| self.globals.show(value, style)),
            },
            _ => None,
        };
        match text {
            Some(text) => self.sheet.put(u32::from(row), u32::from(column), &text, left),
            None => Ok(()),
        }
    }

    fn merged(&mut self, data: &[u8]) {
        for area in data.get(2..).unwrap_or_default().as_chunks::<8>().0.iter().take(2000) {
            let at = |at: usize| u32::from(u16::from_le_bytes([area[at], area[at + 1]]));
            let (top, bottom, left, right) = (at(0), at(2), at(4), at(6));
            if top <= bottom && left <= right && self.sheet.merged.len() < 10_000 {
                self.sheet.merged.push(Area {
                    top,
                    left,
                    bottom,
                    right,
                });
            }
        }
    }
}

/// A number in four bytes (2.5.122).
fn rk_number(rk: u32) -> f64 {
    let value = if rk & 2 == 0 {
        f64::from_bits(u64::from(rk & !3) << 32)
    } else {
        f64::from(rk.cast_signed() >> 2)
    };
    if rk & 1 == 0 { value } else { value / 100.0 }
}
