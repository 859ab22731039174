//! Unified social credit codes (GB 32100-2015, MOD 31-3) and tax numbers after a word for them.

use super::super::Kind;
use super::super::scan::Scan;
use super::{Hit, Weight};

const CUES: [&str; 8] = [
    "信用代码",
    "税号",
    "纳税人识别号",
    "识别号",
    "税务登记",
    "统一代码",
    "组织机构代码",
    "tax id",
];
const ALPHABET: &str = "0123456789ABCDEFGHJKLMNPQRTUWXY";

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    let mut place = 0;
    while place < scan.chars.len() {
        if !scan.chars[place].is_ascii_alphanumeric() {
            place += 1;
            continue;
        }
        let end = scan.token_end(place, &[]);
        let token = scan.slice(place..end);
        let digits = token.iter().filter(|c| c.is_ascii_digit()).count();
        let cue = scan.cue(place, 12, &CUES);
        if token.len() == 18 && checksum(token) {
            // A number of 18 digits with this check digit may be anything else as well.
            let weight = if digits < 18 || cue {
                Weight::Proven
            } else {
                Weight::Shape
            };
            hits.push(Hit {
                kind: Kind::SocialCredit,
                span: place..end,
                weight,
            });
        } else if cue && digits >= 3 && fields(scan, place) {
            // Whatever stands in the field, mistyped or grouped, is somebody's number.
            let end = grouped(scan, end);
            if (8..=24).contains(&(end - place)) {
                hits.push(Hit {
                    kind: Kind::SocialCredit,
                    span: place..end,
                    weight: Weight::Cue,
                });
            }
        }
        place = end;
    }
}

/// Whether a place is directly after one of the words.
fn fields(scan: &Scan<'_>, place: usize) -> bool {
    let end = scan.last_cue(place, 12, &CUES);
    end.is_some_and(|end| {
        scan.slice(end..place)
            .iter()
            .all(|c| matches!(c, ' ' | ':' | '是' | '为' | '号' | '码' | '=' | '+' | '\n'))
    })
}

/// 9111 0105-1234: more groups of it.
fn grouped(scan: &Scan<'_>, mut end: usize) -> usize {
    loop {
        let place = scan.skip(end, &[' ', '-']);
        let next = scan.token_end(place, &[]);
        let group = scan.slice(place..next);
        if place != end + 1 || group.len() < 3 || !group.iter().any(char::is_ascii_digit) {
            return end;
        }
        end = next;
    }
}

fn checksum(token: &[char]) -> bool {
    let begins =
        matches!(token[0].to_ascii_uppercase(), '1' | '5' | '9' | 'Y') && token[2..8].iter().all(char::is_ascii_digit);
    let mut weight = 1;
    let mut sum = 0;
    for c in &token[..17] {
        let Some(value) = ALPHABET.find(c.to_ascii_uppercase()) else {
            return false;
        };
        sum += value * weight;
        weight = weight * 3 % 31;
    }
    begins && ALPHABET.find(token[17].to_ascii_uppercase()) == Some((31 - sum % 31) % 31)
}
