//! Rich Text Format 1.9: paragraphs, headings by outline level, tables by rows and cells; text in the code page of its
//! font or as Unicode.

use super::builder::Builder;
use super::{DocumentFault, ParsedDocument};
use encoding_rs::{BIG5, EUC_KR, Encoding, GBK, SHIFT_JIS, WINDOWS_1252};
use std::collections::HashMap;

/// Groups within groups.
const MAX_DEPTH: usize = 1000;
/// Styles and fonts that are remembered.
const MAX_REMEMBERED: usize = 10_000;

/// Parses rich text.
///
/// # Errors
/// `Broken`, `TooLarge`, `Empty`.
pub(super) fn parse_rtf(bytes: &[u8]) -> Result<ParsedDocument, DocumentFault> {
    if !bytes.trim_ascii_start().starts_with(b"{\\rtf") {
        return Err(DocumentFault::broken("it does not begin as rich text does"));
    }
    let mut reader = Reader {
        bytes,
        at: 0,
        groups: vec![Group {
            skip_after_unicode: 1,
            ..Group::default()
        }],
        builder: Builder::default(),
        code_page: WINDOWS_1252,
        fonts: HashMap::new(),
        levels: HashMap::new(),
        pending: Vec::new(),
        text: String::new(),
        to_skip: 0,
        row: Vec::new(),
        rows: Vec::new(),
        high: None,
    };
    reader.read()?;
    reader.end_paragraph();
    reader.end_table();
    reader.builder.finish()
}

/// What holds to the end of a group.
#[derive(Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the format")]
struct Group {
    /// Whether its text is no text of the document.
    hidden: bool,
    /// Whether it is an entry of the table of fonts, of styles.
    in_fonts: bool,
    in_styles: bool,
    in_info_title: bool,
    font: i32,
    /// Bytes that stand behind a Unicode character for readers that do not know it.
    skip_after_unicode: usize,
    style: i32,
    level: Option<u8>,
    in_table: bool,
    in_list: bool,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    groups: Vec<Group>,
    builder: Builder,
    code_page: &'static Encoding,
    fonts: HashMap<i32, &'static Encoding>,
    /// Outline levels of styles.
    levels: HashMap<i32, u8>,
    /// Bytes of text whose encoding is that of the font.
    pending: Vec<u8>,
    text: String,
    to_skip: usize,
    row: Vec<String>,
    rows: Vec<Vec<String>>,
    /// The first half of a character outside the basic plane.
    high: Option<u16>,
}

impl Reader<'_> {
    fn group(&mut self) -> &mut Group {
        if self.groups.is_empty() {
            self.groups.push(Group::default());
        }
        let last = self.groups.len() - 1;
        &mut self.groups[last]
    }

    fn read(&mut self) -> Result<(), DocumentFault> {
        while let Some(byte) = self.bytes.get(self.at).copied() {
            self.at += 1;
            match byte {
                b'{' => {
                    if self.groups.len() >= MAX_DEPTH {
                        return Err(DocumentFault::broken(format!(
                            "its groups are nested more than {MAX_DEPTH} deep"
                        )));
                    }
                    self.flush();
                    let group = self.group().clone();
                    self.groups.push(group);
                }
                b'}' => {
                    self.flush();
                    if self.group().in_info_title {
                        let title = std::mem::take(&mut self.text);
                        self.builder.title(&title);
                    }
                    self.groups.pop();
                }
                b'\\' => self.control(),
                b'\r' | b'\n' => {}
                byte => self.byte(byte),
            }
            if self.builder.is_full() {
                break;
            }
        }
        self.flush();
        Ok(())
    }

    /// A control word or symbol.
    fn control(&mut self) {
        let Some(first) = self.bytes.get(self.at).copied() else {
            return;
        };
        if !first.is_ascii_alphabetic() {
            self.at += 1;
            match first {
                b'\'' => {
                    let hex = self
                        .bytes
                        .get(self.at..self.at + 2)
                        .and_then(|hex| std::str::from_utf8(hex).ok());
                    self.at = (self.at + 2).min(self.bytes.len());
                    if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                        self.byte(byte);
                    }
                }
                b'*' => {
                    // What follows may be passed over by who does not know it.
                    let rest = &self.bytes[self.at..];
                    if !rest.starts_with(b"\\shppict") {
                        self.group().hidden = true;
                    }
                }
                b'~' => self.write(" "),
                b'_' => self.write("-"),
                b'\\' | b'{' | b'}' => self.byte(first),
                b'\r' | b'\n' => self.end_paragraph(),
                _ => {}
            }
            return;
        }
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_alphabetic) && self.at - start < 32 {
            self.at += 1;
        }
        let word = &self.bytes[start..self.at];
        let number_start = self.at;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) && self.at - number_start < 11 {
            self.at += 1;
        }
        let number = std::str::from_utf8(&self.bytes[number_start..self.at])
            .ok()
            .and_then(|number| number.parse::<i64>().ok())
            .map(|number| number.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32);
        if self.bytes.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
        self.word(word, number);
    }

    fn word(&mut self, word: &[u8], number: Option<i32>) {
        match word {
            b"u" => return self.unicode(number.unwrap_or(0)),
            b"bin" => {
                let length = number.unwrap_or(0).max(0) as usize;
                self.at = self.at.saturating_add(length).min(self.bytes.len());
                return;
            }
            _ => {}
        }
        self.flush();
        match word {
            b"par" | b"sect" | b"page" => self.end_paragraph(),
            b"line" | b"softline" => self.write("\n"),
            b"tab" => self.write("\t"),
            b"emdash" => self.write("—"),
            b"endash" => self.write("–"),
            b"bullet" => self.write("•"),
            b"lquote" => self.write("‘"),
            b"rquote" => self.write("’"),
            b"ldblquote" => self.write("“"),
            b"rdblquote" => self.write("”"),
            b"emspace" | b"enspace" => self.write(" "),
            b"cell" | b"nestcell" if self.group().hidden => {}
            b"cell" | b"nestcell" => {
                let text = std::mem::take(&mut self.text);
                self.row.push(text);
            }
            b"row" | b"nestrow" => {
                if !self.row.is_empty() {
                    let row = std::mem::take(&mut self.row);
                    self.rows.push(row);
                }
                self.text.clear();
            }
            b"intbl" => self.group().in_table = true,
            b"pard" => {
                let group = self.group();
                group.in_table = false;
                group.in_list = false;
                group.level = None;
                group.style = 0;
            }
            b"ls" => self.group().in_list = number.is_some_and(|list| list > 0),
            b"outlinelevel" => {
                let level = number
                    .filter(|level| (0..9).contains(level))
                    .map(|level| level as u8 + 1);
                let group = self.group();
                group.level = level;
                let (style, in_styles) = (group.style, group.in_styles);
                if let Some(level) = level
                    && in_styles
                    && self.levels.len() < MAX_REMEMBERED
                {
                    self.levels.insert(style, level);
                }
            }
            b"s" => self.group().style = number.unwrap_or(0),
            b"f" => self.group().font = number.unwrap_or(0),
            b"fcharset" => {
                let (font, in_fonts) = (self.group().font, self.group().in_fonts);
                if in_fonts
                    && self.fonts.len() < MAX_REMEMBERED
                    && let Some(encoding) = by_character_set(number.unwrap_or(0))
                {
                    self.fonts.insert(font, encoding);
                }
            }
            b"ansicpg" => {
                if let Some(encoding) = by_code_page(number.unwrap_or(0)) {
                    self.code_page = encoding;
                }
            }
            b"uc" => self.group().skip_after_unicode = number.unwrap_or(1).clamp(0, 16) as usize,
            b"v" => self.group().hidden |= number != Some(0),
            b"title" if self.group().hidden => {
                let group = self.group();
                group.in_info_title = true;
                self.text.clear();
            }
            b"fonttbl" => {
                let group = self.group();
                group.hidden = true;
                group.in_fonts = true;
            }
            b"stylesheet" => {
                let group = self.group();
                group.hidden = true;
                group.in_styles = true;
            }
            b"colortbl" | b"info" | b"pict" | b"object" | b"header" | b"headerl" | b"headerr" | b"headerf"
            | b"footer" | b"footerl" | b"footerr" | b"footerf" | b"fldinst" | b"listtext" | b"pntext" | b"revtbl"
            | b"rsidtbl" | b"generator" | b"themedata" | b"datastore" | b"xmlnstbl" | b"latentstyles" | b"deleted"
            | b"nonesttables" => {
                self.group().hidden = true;
            }
            _ => {}
        }
    }

    fn unicode(&mut self, number: i32) {
        self.flush();
        // Numbers above 32767 are written as negative ones.
        let unit = number as u16;
        let c = match (self.high.take(), unit) {
            (_, 0xd800..0xdc00) => {
                self.high = Some(unit);
                None
            }
            (Some(high), 0xdc00..0xe000) => char::decode_utf16([high, unit]).next().and_then(Result::ok),
            _ => char::from_u32(u32::from(unit)),
        };
        if let Some(c) = c {
            self.write(c.encode_utf8(&mut [0; 4]));
        }
        self.to_skip = self.group().skip_after_unicode;
    }

    /// A byte of text.
    fn byte(&mut self, byte: u8) {
        if self.to_skip > 0 {
            self.to_skip -= 1;
            return;
        }
        if !self.group().hidden || self.group().in_info_title {
            self.pending.push(byte);
        }
    }

    /// Decodes the bytes that were collected.
    fn flush(&mut self) {
        self.to_skip = 0;
        if self.pending.is_empty() {
            return;
        }
        let font = self.group().font;
        let encoding = self.fonts.get(&font).copied().unwrap_or(self.code_page);
        let pending = std::mem::take(&mut self.pending);
        // Programs that write Chinese often name a Western font.
        let encoding = if encoding == WINDOWS_1252 {
            self.code_page
        } else {
            encoding
        };
        let (text, _) = encoding.decode_without_bom_handling(&pending);
        self.text.push_str(&text);
    }

    fn write(&mut self, text: &str) {
        if !self.group().hidden || self.group().in_info_title {
            self.text.push_str(text);
        }
    }

    fn end_paragraph(&mut self) {
        self.flush();
        let group = self.group().clone();
        if group.hidden {
            return;
        }
        if group.in_table {
            self.text.push('\n');
            return;
        }
        let text = std::mem::take(&mut self.text);
        if text.trim().is_empty() {
            return;
        }
        self.end_table();
        match group.level.or_else(|| self.levels.get(&group.style).copied()) {
            Some(level) => self.builder.heading(level, &text),
            None if group.in_list => self.builder.item(0, "-", &text),
            None => self.builder.paragraph(&text),
        }
    }

    fn end_table(&mut self) {
        if !self.row.is_empty() {
            let row = std::mem::take(&mut self.row);
            self.rows.push(row);
        }
        if !self.rows.is_empty() {
            let rows = std::mem::take(&mut self.rows);
            self.builder.table(&rows);
        }
    }
}

fn by_character_set(number: i32) -> Option<&'static Encoding> {
    match number {
        134 => Some(GBK),
        136 => Some(BIG5),
        128 => Some(SHIFT_JIS),
        129 => Some(EUC_KR),
        161 => Some(encoding_rs::WINDOWS_1253),
        162 => Some(encoding_rs::WINDOWS_1254),
        204 => Some(encoding_rs::WINDOWS_1251),
        238 => Some(encoding_rs::WINDOWS_1250),
        _ => None,
    }
}

fn by_code_page(number: i32) -> Option<&'static Encoding> {
    match number {
        936 => Some(GBK),
        950 => Some(BIG5),
        932 => Some(SHIFT_JIS),
        949 => Some(EUC_KR),
        65001 => Some(encoding_rs::UTF_8),
        1250..=1258 => Encoding::for_label(format!("windows-{number}").as_bytes()),
        _ => None,
    }
}
