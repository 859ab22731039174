//! Number plates of the mainland. Source: GA 36-2018.

use super::super::Kind;
use super::super::scan::Scan;
use super::{Hit, Weight};

const PROVINCES: &str = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼";
/// Provinces whose character is an ordinary word.
const WORDS: &str = "新云青黑吉贵藏宁甘川";
const CUES: [&str; 6] = ["车牌", "牌照", "车号", "plate", "车是", "车辆"];

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    for place in 0..scan.chars.len().saturating_sub(6) {
        if PROVINCES.contains(scan.chars[place])
            && let Some(end) = plate(scan, place)
        {
            hits.push(Hit {
                kind: Kind::Plate,
                span: place..end,
                weight: Weight::Proven,
            });
        }
    }
}

fn plate(scan: &Scan<'_>, place: usize) -> Option<usize> {
    let letter = scan.skip(place + 1, &[' ']);
    let office = scan.at(letter)?.to_ascii_uppercase();
    if !office.is_ascii_uppercase() || office == 'I' {
        return None;
    }
    let mut end = scan.skip(letter + 1, &[' ', '·', '.', '-', '•']);
    let (mut count, mut digits) = (0, 0);
    while let Some(c) = scan.at(end) {
        if c.is_ascii_alphanumeric() {
            (count, digits) = (count + 1, digits + usize::from(c.is_ascii_digit()));
        } else if count == 4 && matches!(c, '挂' | '学' | '警' | '港' | '澳' | '使' | '领' | '试' | '超') {
            count += 1;
            end += 1;
            break;
        } else if !matches!(c, ' ' | '-') || count == 0 || !scan.at(end + 1).is_some_and(|c| c.is_ascii_digit()) {
            break;
        }
        if count > 6 {
            return None;
        }
        end += 1;
    }
    let cue = scan.cue(place, 10, &CUES);
    let word = WORDS.contains(scan.chars[place]) && scan.before(place).is_some_and(crate::domain::is_han);
    let joined = scan
        .before(place)
        .is_some_and(|c| matches!(c, '是' | '为' | '车' | '牌' | '号' | '的' | '我'));
    (matches!(count, 5 | 6) && digits >= 2 && (cue || joined || !word)).then_some(end)
}
