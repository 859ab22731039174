//! Excel workbooks (ECMA-376, `SpreadsheetML`), cell by cell: what a file declares about its size is not believed, and
//! numbers are shown by the formats of their cells.

use super::archive::{Archive, relationships};
use super::builder::Builder;
use super::number_format::{built_in, show};
use super::sheet_layout::{Area, MAX_CELLS, Sheet, write};
use super::xml::{Tree, as_text, reference};
use super::{DocumentFault, ParsedDocument};
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use std::collections::HashMap;
use std::path::Path;

/// Sheets of a workbook that are read.
const MAX_SHEETS: usize = 256;
/// Rows and columns of a sheet.
const MAX_ROW: u32 = 1 << 20;
const MAX_COLUMN: u32 = 1 << 14;
/// Merged areas of a sheet that are looked at.
const MAX_MERGED: usize = 10_000;

/// Parses a workbook.
///
/// # Errors
/// `Broken`, `TooLarge`, `Empty`; `Unsupported` for the binary kind of Excel.
pub(super) fn parse_xlsx(bytes: &[u8]) -> Result<ParsedDocument, DocumentFault> {
    let mut archive = Archive::open(bytes)?;
    let main = relationships(&mut archive, "")?
        .into_values()
        .find(|(_, kind)| kind == "officeDocument")
        .map_or_else(|| "xl/workbook.xml".to_owned(), |(target, _)| target);
    if Path::new(&main)
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("bin"))
    {
        return Err(DocumentFault::Unsupported {
            what: "a binary workbook (.xlsb)".to_owned(),
            instead: ".xlsx".to_owned(),
        });
    }
    let parts = relationships(&mut archive, &main)?;
    let target = |kind: &str| {
        parts
            .values()
            .find(|(_, k)| k == kind)
            .map(|(target, _)| target.clone())
    };
    let strings = match target("sharedStrings") {
        Some(target) => archive
            .read_if_there(&target)?
            .map(|bytes| shared_strings(&bytes))
            .transpose()?,
        None => None,
    };
    let formats = match target("styles") {
        Some(target) => archive
            .read_if_there(&target)?
            .map(|bytes| cell_formats(&bytes))
            .transpose()?,
        None => None,
    };
    let workbook = Tree::parse(&archive.read(&main)?)?;
    let from_1904 = workbook
        .root()
        .child("workbookPr")
        .and_then(|node| node.attribute("date1904"))
        .is_some_and(|value| matches!(value, "1" | "true"));
    let mut left = MAX_CELLS;
    let mut sheets = Vec::new();
    let listed = workbook.root().child("sheets");
    for entry in listed.iter().flat_map(|node| node.children()).take(MAX_SHEETS) {
        // What is hidden is not meant to be read.
        if entry.attribute("state").is_some_and(|state| state != "visible") {
            continue;
        }
        let id = entry
            .attributes()
            .filter(|(name, _)| *name == "id")
            .last()
            .map(|(_, id)| id);
        let Some((target, kind)) = id.and_then(|id| parts.get(id)) else {
            continue;
        };
        if kind != "worksheet" {
            continue;
        }
        let Some(bytes) = archive.read_if_there(target)? else {
            continue;
        };
        let reader = SheetReader {
            strings: strings.as_deref().unwrap_or_default(),
            formats: formats.as_deref().unwrap_or_default(),
            from_1904,
        };
        let name = entry.attribute("name").unwrap_or_default();
        sheets.push(reader.read(&bytes, name, &mut left)?);
    }
    let mut builder = Builder::default();
    write(&sheets, &mut builder);
    builder.finish()
}

fn broken(error: &quick_xml::Error) -> DocumentFault {
    DocumentFault::broken(format!("its XML is malformed ({error})"))
}

fn reader(text: &str) -> Reader<&[u8]> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_end_names = false;
    reader.config_mut().allow_dangling_amp = true;
    reader
}

/// The texts that cells point to. How many there are is what is found, not what the file says.
fn shared_strings(bytes: &[u8]) -> Result<Vec<String>, DocumentFault> {
    let text = as_text(bytes);
    let mut reader = reader(&text);
    let mut strings = Vec::new();
    let mut string = String::new();
    // The reading aids (rPh) of a text are no part of it.
    let (mut in_text, mut in_phonetic) = (false, false);
    loop {
        match reader.read_event().map_err(|error| broken(&error))? {
            Event::Start(start) => match start.local_name().as_ref() {
                "t" => in_text = !in_phonetic,
                "rPh" => in_phonetic = true,
                _ => {}
            },
            Event::End(end) => match end.local_name().as_ref() {
                "t" => in_text = false,
                "rPh" => in_phonetic = false,
                "si" => {
                    if strings.len() >= MAX_CELLS {
                        return Err(DocumentFault::too_large("texts", MAX_CELLS as u64));
                    }
                    strings.push(std::mem::take(&mut string));
                }
                _ => {}
            },
            Event::Empty(start) if start.local_name().as_ref() == "si" => strings.push(String::new()),
            Event::Text(text) if in_text => string.push_str(&text.xml10_content()),
            Event::CData(text) if in_text => string.push_str(&text.xml10_content()),
            Event::GeneralRef(entity) if in_text => string.extend(reference(&entity)),
            Event::Eof => return Ok(strings),
            _ => {}
        }
    }
}

/// The format code of each style of cells.
fn cell_formats(bytes: &[u8]) -> Result<Vec<String>, DocumentFault> {
    let tree = Tree::parse(bytes)?;
    let root = tree.root();
    let declared: HashMap<u32, &str> = root
        .child("numFmts")
        .iter()
        .flat_map(|node| node.children())
        .filter_map(|node| Some((node.attribute("numFmtId")?.parse().ok()?, node.attribute("formatCode")?)))
        .collect();
    Ok(root
        .child("cellXfs")
        .iter()
        .flat_map(|node| node.children())
        .filter(|node| node.name() == "xf")
        .map(|node| {
            let id = node.attribute("numFmtId").and_then(|id| id.parse().ok()).unwrap_or(0);
            declared.get(&id).copied().unwrap_or_else(|| built_in(id)).to_owned()
        })
        .collect())
}

struct SheetReader<'a> {
    strings: &'a [String],
    formats: &'a [String],
    from_1904: bool,
}

/// The cell that is being read.
#[derive(Default)]
struct Cell {
    kind: String,
    style: usize,
    value: String,
}

impl SheetReader<'_> {
    fn read(&self, bytes: &[u8], name: &str, left: &mut usize) -> Result<Sheet, DocumentFault> {
        let text = as_text(bytes);
        let mut reader = reader(&text);
        let mut sheet = Sheet {
            name: name.to_owned(),
            ..Sheet::default()
        };
        let (mut row, mut column) = (0_u32, 0_u32);
        let mut cell: Option<Cell> = None;
        let mut in_value = false;
        let mut hidden = false;
        loop {
            match reader.read_event().map_err(|error| broken(&error))? {
                Event::Start(start) => match start.local_name().as_ref() {
                    "row" => {
                        row = attribute(&start, "r")
                            .and_then(|r| r.parse::<u32>().ok())
                            .map_or(row, |r| r.saturating_sub(1));
                        column = 0;
                        hidden = attribute(&start, "hidden").is_some_and(|value| value == "1" || value == "true");
                    }
                    "c" => {
                        if let Some((r, c)) = attribute(&start, "r").and_then(|name| place(&name)) {
                            (row, column) = (r, c);
                        }
                        cell = Some(Cell {
                            kind: attribute(&start, "t").unwrap_or_default(),
                            style: attribute(&start, "s").and_then(|s| s.parse().ok()).unwrap_or(0),
                            value: String::new(),
                        });
                    }
                    "v" | "t" => in_value = cell.is_some(),
                    _ => {}
                },
                Event::Empty(start) => match start.local_name().as_ref() {
                    "c" => column += 1,
                    "row" => row += 1,
                    "mergeCell" if sheet.merged.len() < MAX_MERGED => {
                        sheet
                            .merged
                            .extend(attribute(&start, "ref").and_then(|name| area(&name)));
                    }
                    _ => {}
                },
                Event::End(end) => match end.local_name().as_ref() {
                    "c" => {
                        if let Some(cell) = cell.take()
                            && !hidden
                            && row < MAX_ROW
                            && column < MAX_COLUMN
                        {
                            sheet.put(row, column, &self.shown(&cell), left)?;
                        }
                        column += 1;
                    }
                    "row" => row += 1,
                    "v" | "t" => in_value = false,
                    _ => {}
                },
                Event::Text(text) if in_value => {
                    if let Some(cell) = &mut cell {
                        cell.value.push_str(&text.xml10_content());
                    }
                }
                Event::GeneralRef(entity) if in_value => {
                    if let Some(cell) = &mut cell {
                        cell.value.extend(reference(&entity));
                    }
                }
                Event::Eof => return Ok(sheet),
                _ => {}
            }
        }
    }

    /// What the cell shows.
    fn shown(&self, cell: &Cell) -> String {
        match cell.kind.as_str() {
            "s" => {
                let index = cell.value.trim().parse::<usize>().ok();
                index
                    .and_then(|index| self.strings.get(index))
                    .cloned()
                    .unwrap_or_default()
            }
            "b" => if cell.value.trim() == "1" { "TRUE" } else { "FALSE" }.to_owned(),
            "str" | "inlineStr" => cell.value.clone(),
            // A formula's fault says nothing to a reader.
            "e" => String::new(),
            "d" => cell.value.replace('T', " ").trim_end_matches(" 00:00:00").to_owned(),
            _ => match cell.value.trim().parse::<f64>() {
                Ok(number) => {
                    let format = self.formats.get(cell.style).map_or("General", String::as_str);
                    show(number, format, self.from_1904)
                }
                Err(_) => cell.value.clone(),
            },
        }
    }
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    start
        .attributes()
        .with_checks(false)
        .flatten()
        .find(|attribute| attribute.key.as_ref() == name)
        .map(|attribute| attribute.value.to_string())
}

/// Row and column, from 0, of a name such as `B3`.
fn place(name: &str) -> Option<(u32, u32)> {
    let letters = name.bytes().take_while(u8::is_ascii_alphabetic).count();
    let mut column = 0_u32;
    for letter in name.get(..letters)?.bytes() {
        column = column
            .checked_mul(26)?
            .checked_add(u32::from(letter.to_ascii_uppercase() - b'A') + 1)?;
    }
    let row = name.get(letters..)?.parse::<u32>().ok()?;
    Some((row.checked_sub(1)?, column.checked_sub(1)?))
}

fn area(name: &str) -> Option<Area> {
    let (from, to) = name.split_once(':')?;
    let ((top, left), (bottom, right)) = (place(from)?, place(to)?);
    (top <= bottom && left <= right).then_some(Area {
        top,
        left,
        bottom,
        right,
    })
}
