//! Readers of containers: what documents become, and what hostile ones do not.

use super::fixtures::{compound, docx, relations, xlsx, zip};
use super::*;

fn text(bytes: &[u8], format: DocumentFormat) -> String {
    let parsed = parse_any(bytes, format).unwrap();
    parsed.check().unwrap();
    parsed.text
}

fn fault(bytes: &[u8], format: DocumentFormat) -> DocumentFault {
    parse_any(bytes, format).unwrap_err()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn word_documents_keep_headings_lists_and_tables() {
    let styles = "<w:style w:styleId=\"a1\"><w:name w:val=\"heading 1\"/></w:style><w:style w:styleId=\"a2\"><w:name \
                  w:val=\"我的\"/><w:basedOn w:val=\"a1\"/></w:style>";
    let body = "<w:p><w:pPr><w:pStyle w:val=\"a2\"/></w:pPr><w:r><w:t>退货</w:t></w:r><w:r><w:t>政策</w:t></w:r></w:p>\
        <w:p><w:r><w:t xml:space=\"preserve\">七天内 </w:t><w:tab/><w:t>可退 &amp; 换。</w:t></w:r>\
        <w:del><w:r><w:delText>删掉</w:delText></w:r></w:del><w:r><w:rPr><w:vanish/></w:rPr><w:t>隐藏</w:t></w:r></w:p>\
        <w:p><w:pPr><w:numPr><w:ilvl w:val=\"0\"/><w:numId w:val=\"1\"/></w:numPr></w:pPr><w:r><w:t>申请</w:t></w:r></w:p>\
        <w:p><w:pPr><w:numPr><w:ilvl w:val=\"0\"/><w:numId w:val=\"1\"/></w:numPr></w:pPr><w:r><w:t>寄回</w:t></w:r></w:p>\
        <w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val=\"2\"/></w:tcPr><w:p><w:r><w:t>地区</w:t></w:r></w:p></w:tc>\
        <w:tc><w:p><w:r><w:t>运费</w:t></w:r></w:p></w:tc></w:tr>\
        <w:tr><w:tc><w:tcPr><w:vMerge w:val=\"restart\"/></w:tcPr><w:p><w:r><w:t>华东</w:t></w:r></w:p></w:tc>\
        <w:tc><w:p><w:r><w:t>上海</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>8 元</w:t></w:r></w:p></w:tc></w:tr>\
        <w:tr><w:tc><w:tcPr><w:vMerge/></w:tcPr><w:p/></w:tc>\
        <w:tc><w:p><w:r><w:t>南京</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>10 元</w:t></w:r></w:p></w:tc></w:tr></w:tbl>";
    let parsed = parse_any(&docx(body, styles), DocumentFormat::Docx).unwrap();
    assert_eq!(
        parsed.text,
        "退货政策\n\n七天内 可退 & 换。\n\n1. 申请\n2. 寄回\n\n| 地区 |  | 运费 |\n| --- | --- | --- |\n\
         | 华东 | 上海 | 8 元 |\n| 华东 | 南京 | 10 元 |"
    );
    assert_eq!(parsed.title.as_deref(), Some("退货政策"));
    assert_eq!(parsed.blocks[2].kind, BlockKind::List);
}

#[test]
fn sheets_show_what_excel_shows() {
    let strings = "<sst count=\"3\" uniqueCount=\"900000000000\"><si><t>产品</t></si><si><r><t>费</t></r><r><t>率</t></r>\
                   <rPh><t>feilv</t></rPh></si><si><t>活期 &lt;A&gt;</t></si></sst>";
    let rows = "<row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c><c r=\"B1\" t=\"s\"><v>1</v></c><c r=\"C1\" t=\"inlineStr\">\
                <is><t>起始</t></is></c></row><row r=\"2\"><c r=\"A2\" t=\"s\"><v>2</v></c><c r=\"B2\" s=\"1\"><v>0.125</v></c>\
                <c r=\"C2\" s=\"2\"><f>1+1</f><v>45352</v></c></row>";
    let parsed = parse_any(&xlsx(rows, strings), DocumentFormat::Xlsx).unwrap();
    assert_eq!(
        parsed.text,
        "费率\n\n| 产品 | 费率 | 起始 |\n| --- | --- | --- |\n| 活期 <A> | 12.50% | 2024-03-01 |"
    );
    // The first and the last cell of a sheet alone: nothing is made between them.
    let corners =
        "<row r=\"1\"><c r=\"A1\"><v>1</v></c></row><row r=\"1048576\"><c r=\"XFD1048576\"><v>2</v></c></row>";
    assert_eq!(text(&xlsx(corners, "<sst/>"), DocumentFormat::Xlsx), "费率\n\n1\n\n2");
    // A web page under the name of a workbook.
    assert_eq!(
        text(
            "<table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>".as_bytes(),
            DocumentFormat::Xls
        ),
        "| a | b |\n| --- | --- |\n| c | d |"
    );
}

#[test]
fn slides_are_pages() {
    let main = relations(&[("rId1", "officeDocument", "ppt/presentation.xml")]);
    let parts = relations(&[
        ("rId1", "slide", "slides/slide1.xml"),
        ("rId2", "slide", "slides/slide2.xml"),
    ]);
    let presentation = "<p:presentation xmlns:r=\"r\" xmlns:p=\"p\"><p:sldIdLst><p:sldId id=\"256\" r:id=\"rId2\"/><p:sldId \
                        id=\"257\" r:id=\"rId1\"/></p:sldIdLst></p:presentation>";
    let slide = |title: &str, body: &str| {
        format!(
            "<p:sld xmlns:p=\"p\" xmlns:a=\"a\"><p:cSld><p:spTree><p:sp><p:nvSpPr><p:nvPr><p:ph type=\"body\"/></p:nvPr>\
             </p:nvSpPr><p:txBody>{body}</p:txBody></p:sp><p:sp><p:nvSpPr><p:nvPr><p:ph type=\"title\"/></p:nvPr></p:nvSpPr>\
             <p:txBody><a:p><a:r><a:t>{title}</a:t></a:r></a:p></p:txBody></p:sp></p:spTree></p:cSld></p:sld>"
        )
    };
    let line = |text: &str| format!("<a:p><a:r><a:t>{text}</a:t></a:r></a:p>");
    let bytes = zip(&[
        ("_rels/.rels", main.as_bytes()),
        ("ppt/_rels/presentation.xml.rels", parts.as_bytes()),
        ("ppt/presentation.xml", presentation.as_bytes()),
        ("ppt/slides/slide1.xml", slide("第二张", &line("结尾")).as_bytes()),
        (
            "ppt/slides/slide2.xml",
            slide("第一张", &(line("甲") + &line("乙"))).as_bytes(),
        ),
    ]);
    let parsed = parse_any(&bytes, DocumentFormat::Pptx).unwrap();
    assert_eq!(parsed.text, "第一张\n\n- 甲\n- 乙\n\n第二张\n\n结尾");
    assert_eq!(parsed.page_of(parsed.blocks[3].range.start), Some(2));
}

#[test]
fn open_documents_are_read() {
    let content = "<office:document-content xmlns:office=\"o\" xmlns:text=\"t\" xmlns:table=\"b\"><office:body><office:text>\
        <text:h text:outline-level=\"1\">章程</text:h><text:p>第一<text:s text:c=\"1\"/>条\n  内容</text:p>\
        <text:list><text:list-item><text:p>甲</text:p></text:list-item></text:list>\
        <table:table><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell><table:table-cell>\
        <text:p>b</text:p></table:table-cell></table:table-row><table:table-row><table:table-cell \
        table:number-columns-repeated=\"2\"><text:p>c</text:p></table:table-cell></table:table-row></table:table>\
        </office:text></office:body></office:document-content>";
    assert_eq!(
        text(&zip(&[("content.xml", content.as_bytes())]), DocumentFormat::Odt),
        "章程\n\n第一 条 内容\n\n- 甲\n\n| a | b |\n| --- | --- |\n| c | c |"
    );
    let sheet = "<office:document-content xmlns:office=\"o\" xmlns:text=\"t\" xmlns:table=\"b\"><office:body>\
        <office:spreadsheet><table:table table:name=\"价\"><table:table-row><table:table-cell><text:p>品名</text:p>\
        </table:table-cell><table:table-cell><text:p>价格</text:p></table:table-cell></table:table-row><table:table-row>\
        <table:table-cell><text:p>茶</text:p></table:table-cell><table:table-cell office:value=\"0.125\"><text:p>12.50%</text:p>\
        </table:table-cell></table:table-row><table:table-row table:number-rows-repeated=\"1048574\"><table:table-cell \
        table:number-columns-repeated=\"16384\"/></table:table-row></table:table></office:spreadsheet></office:body>\
        </office:document-content>";
    assert_eq!(
        text(&zip(&[("content.xml", sheet.as_bytes())]), DocumentFormat::Ods),
        "价\n\n| 品名 | 价格 |\n| --- | --- |\n| 茶 | 12.50% |"
    );
    let manifest = "<manifest xmlns=\"m\"><file-entry><encryption-data/></file-entry></manifest>";
    let locked = zip(&[
        ("META-INF/manifest.xml", manifest.as_bytes()),
        ("content.xml", b"\x00\x01"),
    ]);
    assert_eq!(fault(&locked, DocumentFormat::Odt), DocumentFault::Encrypted);
}

#[test]
fn books_are_read_in_the_order_of_their_spine() {
    let container = "<container><rootfiles><rootfile full-path=\"OEBPS/b.opf\"/></rootfiles></container>";
    let package = "<package><metadata><dc:title xmlns:dc=\"d\">手册</dc:title></metadata><manifest><item id=\"n\" href=\"n.xhtml\" \
                   properties=\"nav\"/><item id=\"a\" href=\"a%20b.xhtml\"/><item id=\"z\" href=\"z.xhtml\"/></manifest><spine>\
                   <itemref idref=\"n\"/><itemref idref=\"z\"/><itemref idref=\"a\"/></spine></package>";
    let bytes = zip(&[
        ("META-INF/container.xml", container.as_bytes()),
        ("OEBPS/b.opf", package.as_bytes()),
        ("OEBPS/n.xhtml", b"<p>contents</p>"),
        ("OEBPS/a b.xhtml", "<h1>尾</h1><p>完。</p>".as_bytes()),
        ("OEBPS/z.xhtml", "<h1>首</h1><p>始。</p>".as_bytes()),
    ]);
    let parsed = parse_any(&bytes, DocumentFormat::Epub).unwrap();
    assert_eq!(parsed.text, "首\n\n始。\n\n尾\n\n完。");
    assert_eq!(parsed.title.as_deref(), Some("手册"));
}

#[test]
fn rich_text_is_decoded_by_its_fonts() {
    let source = b"{\\rtf1\\ansi\\ansicpg936{\\fonttbl{\\f0\\fcharset134 SimSun;}{\\f1\\fcharset0 Arial;}}\
        {\\stylesheet{\\s1\\outlinelevel0 heading 1;}}{\\info{\\title T}}{\\*\\generator x}\
        \\pard\\s1 \\f0\\'cd\\'cb\\'bb\\'f5\\par\\pard \\f1 caf\\u233? \\u36864?\\u-10179?\\u-8704? 5\\'a3\\'a5\\par\
        \\trowd\\intbl a\\cell b\\cell\\row\\trowd\\intbl c\\cell d\\cell\\row\\pard end\\par}";
    assert_eq!(
        text(source, DocumentFormat::Rtf),
        "退货\n\ncafé 退😀 5％\n\n| a | b |\n| --- | --- |\n| c | d |\n\nend"
    );
    let deep = [b"{\\rtf1".as_slice(), &b"{".repeat(1_000_000)].concat();
    assert!(matches!(
        fault(&deep, DocumentFormat::Rtf),
        DocumentFault::Broken { .. }
    ));
}

#[test]
fn messages_are_read_with_their_encodings() {
    let source = "From: =?GB2312?B?v823/g==?= <a@b.cn>\r\nTo: x@y.cn\r\nSubject: =?UTF-8?B?6YCA6LSn?=\r\nDate: Fri, 1 Mar 2024 \
                  10:00:00 +0800\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=gb18030\r\n\
                  Content-Transfer-Encoding: base64\r\n\r\nxePWrqGj\r\n";
    let parsed = parse_any(source.as_bytes(), DocumentFormat::Eml).unwrap();
    assert_eq!(parsed.title.as_deref(), Some("退货"));
    assert_eq!(
        parsed.text,
        format!(
            "退货\n\nFrom: 客服 <a@b.cn>\nTo: x@y.cn\nDate: 2024-03-01\n\n{}。",
            gb(b"\xc5\xe3\xd6\xae")
        )
    );
    let message = compound(&[
        ("/__substg1.0_0037001F", &utf16("到货通知")),
        ("/__substg1.0_1000001F", &utf16("您好：\r\n\r\n货已发出。")),
        (
            "/__attach_version1.0_#00000000/__substg1.0_3707001F",
            &utf16("发票.pdf"),
        ),
    ]);
    assert_eq!(
        text(&message, DocumentFormat::Msg),
        "到货通知\n\n您好：\n\n货已发出。\n\n- 附件 (attachment): 发票.pdf"
    );
}

fn gb(bytes: &[u8]) -> String {
    encoding_rs::GB18030.decode(bytes).0.into_owned()
}

/// A Word 97 file with these paragraphs, marks at their ends included, in one piece; each with its style and properties.
fn word97(paragraphs: &[(&str, u16, &[u8])], flags: u16) -> Vec<u8> {
    const TEXT: u32 = 1024;
    const PAGE: usize = 4;
    let text: String = paragraphs.iter().map(|(text, ..)| *text).collect();
    let units = utf16(&text);
    let count = (units.len() / 2) as u32;
    let mut main = vec![0; TEXT as usize];
    main[2..4].copy_from_slice(&0x00c1_u16.to_le_bytes());
    main[0x0a..0x0c].copy_from_slice(&flags.to_le_bytes());
    main[0x4c..0x50].copy_from_slice(&count.to_le_bytes());
    // The piece.
    let mut table = vec![2];
    table.extend(16_u32.to_le_bytes());
    table.extend(0_u32.to_le_bytes());
    table.extend(count.to_le_bytes());
    table.extend([0; 2]);
    table.extend(TEXT.to_le_bytes());
    table.extend([0; 2]);
    main[0x1a6..0x1aa].copy_from_slice(&(table.len() as u32).to_le_bytes());
    // Where the properties of paragraphs are, and the page that holds them.
    main[0x102..0x106].copy_from_slice(&(table.len() as u32).to_le_bytes());
    main[0x106..0x10a].copy_from_slice(&12_u32.to_le_bytes());
    table.extend(TEXT.to_le_bytes());
    table.extend((TEXT + 2 * count).to_le_bytes());
    table.extend((PAGE as u32).to_le_bytes());
    main.extend(units);
    main.resize(PAGE * 512, 0);
    let mut page = vec![0; 512];
    let runs = paragraphs.len();
    page[511] = runs as u8;
    let (mut place, mut free) = (TEXT, 510);
    page[..4].copy_from_slice(&place.to_le_bytes());
    for (number, (text, style, properties)) in paragraphs.iter().enumerate() {
        place += utf16(text).len() as u32;
        page[4 * (number + 1)..4 * (number + 2)].copy_from_slice(&place.to_le_bytes());
        let mut content = style.to_le_bytes().to_vec();
        content.extend(*properties);
        content.resize(content.len().next_multiple_of(2), 0);
        free -= content.len() + 2;
        page[free + 1] = (content.len() / 2) as u8;
        page[free + 2..free + 2 + content.len()].copy_from_slice(&content);
        page[(runs + 1) * 4 + number * 13] = (free / 2) as u8;
    }
    main.extend(page);
    compound(&[("/WordDocument", &main), ("/0Table", &table)])
}

#[test]
fn old_word_files_are_read() {
    let in_table: &[u8] = &[0x16, 0x24, 1];
    let row_end: &[u8] = &[0x16, 0x24, 1, 0x17, 0x24, 1];
    let in_list: &[u8] = &[0x0b, 0x46, 1, 0];
    let source = word97(
        &[
            ("退货政策\r", 1, &[]),
            ("见\u{13} HYPERLINK x \u{14}链接\u{15}后文。\r", 0, &[]),
            ("申请\r", 0, in_list),
            ("地区\u{7}", 0, in_table),
            ("运费\u{7}", 0, in_table),
            ("\u{7}", 0, row_end),
            ("华东\r上海\u{7}", 0, in_table),
            ("\u{7}", 0, in_table),
            ("\u{7}", 0, row_end),
            ("完。\r", 0, &[]),
        ],
        0,
    );
    let parsed = parse_any(&source, DocumentFormat::Doc).unwrap();
    assert_eq!(
        parsed.text,
        "退货政策\n\n见链接后文。\n\n- 申请\n\n| 地区 | 运费 |\n| --- | --- |\n| 华东 上海 |  |\n\n完。"
    );
    assert_eq!(parsed.title.as_deref(), Some("退货政策"));
    assert_eq!(
        fault(&word97(&[("x\r", 0, &[])], 0x0100), DocumentFormat::Doc),
        DocumentFault::Encrypted
    );
}

fn record(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes(), &(data.len() as u16).to_le_bytes(), data].concat()
}

#[test]
fn old_excel_files_are_read() {
    let cell = |row: u16, column: u16, style: u16, rest: &[u8]| {
        [&row.to_le_bytes(), &column.to_le_bytes(), &style.to_le_bytes(), rest].concat()
    };
    let begin = record(0x0809, &[0, 6, 5, 0]);
    let mut strings = [1_u32.to_le_bytes(), 0xffff_ffff_u32.to_le_bytes()].concat();
    strings.extend([4, 0, 1]);
    strings.extend(&utf16("产品")[..]);
    // The text goes on in the next record, in narrow characters.
    let globals = |place: u32| {
        let mut sheet = place.to_le_bytes().to_vec();
        sheet.extend([0, 0, 1, 0, b'S']);
        [
            begin.clone(),
            record(0x00e0, &[0, 0, 0, 0]),
            record(0x00e0, &[0, 0, 10, 0]),
            record(0x00e0, &[0, 0, 14, 0]),
            record(0x0085, &sheet),
            record(0x00fc, &strings),
            record(0x003c, &[0, b'A', b'B']),
            record(0x000a, &[]),
        ]
        .concat()
    };
    let place = globals(0).len() as u32;
    let sheet = [
        begin.clone(),
        record(0x00fd, &cell(0, 0, 0, &0_u32.to_le_bytes())),
        record(0x0204, &cell(0, 1, 0, &[2, 0, 0, b'o', b'k'])),
        record(0x0203, &cell(1, 0, 1, &0.125_f64.to_le_bytes())),
        record(0x027e, &cell(1, 1, 2, &((45352_u32 << 2) | 2).to_le_bytes())),
        record(0x000a, &[]),
    ]
    .concat();
    let book = [globals(place), sheet].concat();
    assert_eq!(
        text(&compound(&[("/Workbook", &book)]), DocumentFormat::Xls),
        "S\n\n| 产品AB | ok |\n| --- | --- |\n| 12.50% | 2024-03-01 |"
    );
    let locked = [begin, record(0x002f, &[1, 0])].concat();
    assert_eq!(
        fault(&compound(&[("/Workbook", &locked)]), DocumentFormat::Xls),
        DocumentFault::Encrypted
    );
    let modern = compound(&[("/EncryptedPackage", b"x"), ("/EncryptionInfo", b"x")]);
    assert_eq!(fault(&modern, DocumentFormat::Xlsx), DocumentFault::Encrypted);
}

#[test]
fn archives_keep_within_their_limits() {
    let members = archive::members(&zip(&[
        ("a/b.md", b"x"),
        ("../../etc/c.txt", b"y"),
        (".hidden", b""),
        ("__MACOSX/a", b""),
    ]))
    .unwrap();
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["a/b.md", "etc/c.txt"]);
    assert_eq!(archive::member(&zip(&[("a", b"x")]), 0).unwrap(), b"x");
    let bomb = zip(&[("bomb.txt", &vec![0; 64 << 20])]);
    assert!(bomb.len() < 100_000);
    assert!(matches!(archive::member(&bomb, 0), Err(DocumentFault::TooLarge { .. })));
    let names: Vec<String> = (0..2001).map(|number| number.to_string()).collect();
    let many: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    assert!(matches!(
        archive::members(&zip(&many)),
        Err(DocumentFault::TooLarge { .. })
    ));
    assert!(matches!(
        archive::members(b"PK\x03\x04 no"),
        Err(DocumentFault::Broken { .. })
    ));
}

#[test]
fn hostile_xml_does_not_grow() {
    let laughs = "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\"><!ENTITY c \
                  \"&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;\">]><w:document xmlns:w=\"w\"><w:body><w:p><w:r><w:t>x&c;y</w:t></w:r></w:p>\
                  </w:body></w:document>";
    let bytes = zip(&[("word/document.xml", laughs.as_bytes())]);
    assert_eq!(text(&bytes, DocumentFormat::Docx), "xy");
    let deep = format!("<w:document>{}</w:document>", "<w:p>".repeat(100_000));
    let bytes = zip(&[("word/document.xml", deep.as_bytes())]);
    assert!(matches!(
        fault(&bytes, DocumentFormat::Docx),
        DocumentFault::Broken { .. }
    ));
}

#[test]
fn damaged_files_end_in_an_error_or_in_what_is_left() {
    let good: Vec<(Vec<u8>, DocumentFormat)> = vec![
        (docx("<w:p><w:r><w:t>text</w:t></w:r></w:p>", ""), DocumentFormat::Docx),
        (
            xlsx("<row r=\"1\"><c r=\"A1\"><v>1</v></c></row>", "<sst/>"),
            DocumentFormat::Xlsx,
        ),
        (word97(&[("text\r", 0, &[])], 0), DocumentFormat::Doc),
        (
            compound(&[("/__substg1.0_1000001F", &utf16("text"))]),
            DocumentFormat::Msg,
        ),
        (b"{\\rtf1 text\\par}".to_vec(), DocumentFormat::Rtf),
    ];
    for (bytes, format) in &good {
        parse_any(bytes, *format).unwrap();
        for cut in (0..bytes.len()).step_by(1 + bytes.len() / 200) {
            let _ = parse_any(&bytes[..cut], *format);
        }
        for at in (0..bytes.len()).step_by(1 + bytes.len() / 500) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1 << (at % 8);
            let _ = parse_any(&bytes, *format);
        }
        assert_eq!(parse_any(b"", *format), Err(DocumentFault::Empty));
    }
}
