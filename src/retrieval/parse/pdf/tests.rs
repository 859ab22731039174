use super::*;
use crate::retrieval::parse::fixtures::{pdf, pdf_pages, set, stream};
use crate::retrieval::parse::{BlockKind, DocumentFault};
use std::fmt::Write;

fn text_of(pages: &[String]) -> String {
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    parse_pdf(&pdf_pages(&pages)).unwrap().text
}

#[test]
fn lines_become_headings_and_paragraphs_with_their_pages() {
    let first = [
        set(100, 740, 20, "退货政策"),
        set(
            100,
            700,
            10,
            "自签收之日起七天内，商品完好的可以申请退货，运费由买家承担，质量问题除外，",
        ),
        set(100, 686, 10, "由卖家承担。"),
        set(
            100,
            650,
            10,
            "Refunds are paid within five working days to the card that was charged for the pur-",
        ),
        set(100, 636, 10, "chase of the goods."),
    ]
    .concat();
    let second = set(100, 740, 10, "第二页的内容。");
    let parsed = parse_pdf(&pdf_pages(&[&first, &second])).unwrap();
    assert_eq!(
        parsed.text,
        "退货政策\n\n自签收之日起七天内，商品完好的可以申请退货，运费由买家承担，质量问题除外，由卖家承担。\n\n\
         Refunds are paid within five working days to the card that was charged for the purchase of the goods.\n\n\
         第二页的内容。"
    );
    assert!(matches!(parsed.blocks[0].kind, BlockKind::Heading { level: 1, .. }));
    assert_eq!(parsed.title.as_deref(), Some("退货政策"));
    let page = |block: usize| parsed.page_of(parsed.blocks[block].range.start);
    assert_eq!((page(0), page(2), page(3)), (Some(1), Some(1), Some(2)));
    parsed.check().unwrap();
}

#[test]
fn columns_are_read_one_after_the_other() {
    let mut page = set(200, 760, 18, "Title over both columns");
    for line in 0..8 {
        let y = 700 - line * 14;
        page += &set(60, y, 10, &format!("left column line {line} runs to its border and on"));
        page += &set(
            330,
            y,
            10,
            &format!("right column line {line} runs to its border and on"),
        );
    }
    let text = text_of(&[page]);
    let place = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words} in {text}"));
    assert!(place("Title") < place("left column line 0"));
    assert!(place("left column line 7") < place("right column line 0"), "{text}");
}

#[test]
fn tables_keep_their_rows_with_borders_and_without() {
    let rows = [
        ["产品", "费率", "期限"],
        ["活期", "0.20%", "无"],
        ["定期", "1.50%", "一年"],
        ["大额", "2.10%", "三年"],
    ];
    let mut plain = String::new();
    for (row, cells) in rows.iter().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            plain += &set(80 + 150 * column as u32, 700 - 20 * row as u32, 10, cell);
        }
    }
    let mut ruled = plain.clone();
    for line in 0..=4 {
        let y = 714 - 20 * line;
        writeln!(ruled, "70 {y} m 520 {y} l S").unwrap();
    }
    for x in [70, 220, 370, 520] {
        writeln!(ruled, "{x} 714 m {x} 634 l S").unwrap();
    }
    let want = "| 产品 | 费率 | 期限 |\n| --- | --- | --- |\n| 活期 | 0.20% | 无 |\n| 定期 | 1.50% | 一年 |\n\
                | 大额 | 2.10% | 三年 |";
    assert_eq!(text_of(&[plain]), want);
    assert_eq!(text_of(&[ruled]), want);
}

#[test]
fn a_page_that_is_a_picture_is_named() {
    let picture = "q 100 0 0 100 0 0 cm BI /W 1 /H 1 /BPC 8 /CS /G ID \u{1} EI Q".to_owned();
    let text = text_of(&[set(100, 700, 10, "第一页。"), picture.clone(), picture.clone()]);
    assert!(
        text.contains("第一页") && text.contains("第 2–3 页是扫描图片"),
        "{text}"
    );
    assert_eq!(
        parse_pdf(&pdf_pages(&[&picture, &picture])),
        Err(DocumentFault::Scanned { pages: 2 })
    );
    assert_eq!(parse_pdf(&pdf_pages(&[""])), Err(DocumentFault::Empty));
}

#[test]
fn titles_that_run_through_all_pages_are_left_out() {
    let pages: Vec<String> = (1..=4)
        .map(|page| {
            [
                set(100, 780, 9, "Handbook 2024"),
                set(100, 700, 10, &format!("Text of page {page}, which says something.")),
                set(300, 20, 9, &format!("{page} / 4")),
            ]
            .concat()
        })
        .collect();
    let text = text_of(&pages);
    assert!(!text.contains("Handbook") && !text.contains("/ 4"), "{text}");
    assert!(text.contains("Text of page 3"), "{text}");
}

#[test]
fn hostile_and_damaged_files_end_in_an_error_or_in_what_is_left() {
    let deep = [b"[".repeat(10_000), b"]".repeat(10_000)].concat();
    let file = pdf(&[
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        &[b"<< /Type /Page /Parent 2 0 R /MediaBox ", deep.as_slice(), b" >>"].concat(),
    ]);
    assert!(parse_pdf(&file).is_err());
    let endless = pdf(&[
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count 1 /Kids [2 0 R] >>",
    ]);
    assert!(parse_pdf(&endless).is_err());
    assert!(parse_pdf(b"%PDF-1.7\n").is_err());
    let good = pdf_pages(&[&set(100, 700, 10, "Some text that can be read.")]);
    for cut in (0..good.len()).step_by(37) {
        let _ = parse_pdf(&good[..cut]);
    }
    for at in (0..good.len()).step_by(11) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        let _ = parse_pdf(&bytes);
    }
    let _ = stream("", b"");
}
