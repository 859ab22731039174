//! A table as text whose header does not name questions and answers: a document with one table.

use super::builder::Builder;
use super::{DocumentFault, ParsedDocument};

/// Rows at whose field counts a separator is judged.
const SAMPLE: usize = 20;

/// Parses a table; separated by commas, tabs, semicolons or bars. Its first row is the header.
///
/// # Errors
/// `Empty`, `TooLarge`.
pub fn parse_csv_table(text: &str) -> Result<ParsedDocument, DocumentFault> {
    let rows = |separator: u8| {
        csv::ReaderBuilder::new()
            .delimiter(separator)
            .flexible(true)
            .has_headers(false)
            .from_reader(text.as_bytes())
            .into_records()
            .filter_map(Result::ok)
    };
    // The separator that gives most rows the same number of fields, and more than one.
    let agreement = |separator: u8| {
        let widths: Vec<usize> = rows(separator).take(SAMPLE).map(|row| row.len()).collect();
        let first = widths.first().copied().unwrap_or(0);
        if first < 2 {
            return (0, 0);
        }
        (widths.iter().filter(|width| **width == first).count(), first)
    };
    let separator = [b'|', b';', b'\t', b',']
        .into_iter()
        .max_by_key(|separator| agreement(*separator))
        .unwrap_or(b',');
    let mut builder = Builder::default();
    let mut table = Vec::new();
    let mut bytes = 0;
    for row in rows(separator) {
        bytes += row.as_slice().len();
        table.push(row.iter().map(str::to_owned).collect());
    }
    if bytes == 0 {
        return Err(DocumentFault::Empty);
    }
    builder.table(&table);
    builder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_keeps_its_header_and_its_cells() {
        for text in [
            "网点,电话,地址\n东区,95500,\"人民路 1 号, 一楼\"\n西区,95501,\n",
            "网点\t电话\t地址\n东区\t95500\t人民路 1 号, 一楼\n西区\t95501\t\n",
            "网点;电话;地址\n东区;95500;人民路 1 号, 一楼\n西区;95501;\n",
        ] {
            assert_eq!(
                parse_csv_table(text).unwrap().text,
                "| 网点 | 电话 | 地址 |\n| --- | --- | --- |\n| 东区 | 95500 | 人民路 1 号, 一楼 |\n| 西区 | 95501 |  |"
            );
        }
        assert_eq!(parse_csv_table(" \n"), Err(DocumentFault::Empty));
        assert_eq!(parse_csv_table("一行字\n又一行\n").unwrap().text, "一行字\n\n又一行");
    }
}
