//! Files for tests, written as the programs do that make them.

use std::io::{Cursor, Write};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A zip archive of these members.
pub(super) fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in members {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// The relationships of a part.
pub(super) fn relations(relations: &[(&str, &str, &str)]) -> String {
    let relations: Vec<String> = relations
        .iter()
        .map(|(id, kind, target)| format!("<Relationship Id=\"{id}\" Type=\"http://x/{kind}\" Target=\"{target}\"/>"))
        .collect();
    let relations = relations.concat();
    format!("<?xml version=\"1.0\"?><Relationships xmlns=\"x\">{relations}</Relationships>")
}

/// A Word document with this body.
pub(super) fn docx(body: &str, styles: &str) -> Vec<u8> {
    let main = relations(&[("rId1", "officeDocument", "word/document.xml")]);
    let parts = relations(&[("rId1", "styles", "styles.xml"), ("rId2", "numbering", "numbering.xml")]);
    let document = format!("<w:document xmlns:w=\"w\"><w:body>{body}</w:body></w:document>");
    let styles = format!("<w:styles xmlns:w=\"w\">{styles}</w:styles>");
    let numbering = "<w:numbering xmlns:w=\"w\"><w:abstractNum w:abstractNumId=\"0\"><w:lvl w:ilvl=\"0\"><w:start \
                     w:val=\"1\"/><w:numFmt w:val=\"decimal\"/><w:lvlText w:val=\"%1.\"/></w:lvl></w:abstractNum><w:num \
                     w:numId=\"1\"><w:abstractNumId w:val=\"0\"/></w:num></w:numbering>";
    zip(&[
        ("_rels/.rels", main.as_bytes()),
        ("word/_rels/document.xml.rels", parts.as_bytes()),
        ("word/document.xml", document.as_bytes()),
        ("word/styles.xml", styles.as_bytes()),
        ("word/numbering.xml", numbering.as_bytes()),
    ])
}

/// A workbook with one sheet of these rows, and these shared strings.
pub(super) fn xlsx(rows: &str, strings: &str) -> Vec<u8> {
    let main = relations(&[("rId1", "officeDocument", "xl/workbook.xml")]);
    let parts = relations(&[
        ("rId1", "worksheet", "worksheets/sheet1.xml"),
        ("rId2", "sharedStrings", "sharedStrings.xml"),
        ("rId3", "styles", "styles.xml"),
    ]);
    let workbook =
        "<workbook xmlns:r=\"r\"><sheets><sheet name=\"费率\" sheetId=\"1\" r:id=\"rId1\"/></sheets></workbook>";
    let sheet = format!("<worksheet><sheetData>{rows}</sheetData></worksheet>");
    let styles = "<styleSheet><numFmts><numFmt numFmtId=\"164\" formatCode=\"yyyy\\-mm\\-dd\"/></numFmts><cellXfs><xf \
                  numFmtId=\"0\"/><xf numFmtId=\"10\"/><xf numFmtId=\"164\"/></cellXfs></styleSheet>";
    zip(&[
        ("_rels/.rels", main.as_bytes()),
        ("xl/_rels/workbook.xml.rels", parts.as_bytes()),
        ("xl/workbook.xml", workbook.as_bytes()),
        ("xl/worksheets/sheet1.xml", sheet.as_bytes()),
        ("xl/sharedStrings.xml", strings.as_bytes()),
        ("xl/styles.xml", styles.as_bytes()),
    ])
}

/// A compound file of these streams.
pub(super) fn compound(streams: &[(&str, &[u8])]) -> Vec<u8> {
    let mut file = cfb::CompoundFile::create(Cursor::new(Vec::new())).unwrap();
    for (path, content) in streams {
        if let Some((storage, _)) = path.trim_start_matches('/').rsplit_once('/') {
            file.create_storage_all(storage).unwrap();
        }
        file.create_stream(path).unwrap().write_all(content).unwrap();
    }
    file.flush().unwrap();
    file.into_inner().into_inner()
}

/// A PDF file of these objects, the first of them the catalogue.
pub(super) fn pdf(objects: &[&[u8]]) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut places = Vec::new();
    for (number, object) in (1..).zip(objects) {
        places.push(file.len());
        file.extend(format!("{number} 0 obj\n").bytes());
        file.extend(*object);
        file.extend(b"\nendobj\n");
    }
    let table = file.len();
    file.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).bytes());
    for place in places {
        file.extend(format!("{place:010} 00000 n \n").bytes());
    }
    let size = objects.len() + 1;
    file.extend(format!("trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n").bytes());
    file
}

/// A stream object.
pub(super) fn stream(dictionary: &str, content: &[u8]) -> Vec<u8> {
    let mut object = format!("<< {dictionary} /Length {} >>\nstream\n", content.len()).into_bytes();
    object.extend(content);
    object.extend(b"\nendstream");
    object
}

/// A PDF file with a page for each of these contents, in Helvetica as `F1` and a Chinese font as `F2` (its codes are
/// UTF-16).
pub(super) fn pdf_pages(contents: &[&str]) -> Vec<u8> {
    let kids: Vec<String> = (0..contents.len())
        .map(|page| format!("{} 0 R ", 6 + 2 * page))
        .collect();
    let kids = kids.concat();
    let count = contents.len();
    let mut objects: Vec<Vec<u8>> = vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        format!("<< /Type /Pages /Count {count} /Kids [{kids}] >>").into_bytes(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_vec(),
        b"<< /Type /Font /Subtype /Type0 /BaseFont /STSong /Encoding /UniGB-UCS2-H /DescendantFonts [5 0 R] >>"
            .to_vec(),
        b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /STSong /CIDSystemInfo << /Registry (Adobe) /Ordering (GB1) \
          /Supplement 2 >> /DW 1000 >>"
            .to_vec(),
    ];
    for (page, content) in contents.iter().enumerate() {
        objects.push(
            format!(
                "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents {} 0 R /Resources << /Font << /F1 3 0 R \
                 /F2 4 0 R >> >> >>",
                7 + 2 * page
            )
            .into_bytes(),
        );
        objects.push(stream("", content.as_bytes()));
    }
    pdf(&objects.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// The operators that set `text` at a place, in a size.
pub(super) fn set(x: u32, y: u32, size: u32, text: &str) -> String {
    if text.is_ascii() {
        return format!("BT /F1 {size} Tf {x} {y} Td ({text}) Tj ET\n");
    }
    let codes: Vec<String> = text.encode_utf16().map(|unit| format!("{unit:04x}")).collect();
    let codes = codes.concat();
    format!("BT /F2 {size} Tf {x} {y} Td <{codes}> Tj ET\n")
}
