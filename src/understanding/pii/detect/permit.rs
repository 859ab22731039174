//! Passports, and permits and identity cards of Hong Kong, Macao and Taiwan.

use super::super::Kind;
use super::super::scan::Scan;
use super::{Hit, Weight, order};

const PASSPORT: [&str; 5] = ["护照", "passport", "护罩", "旅行证", "passport no"];
const PERMIT: [&str; 12] = [
    "通行证",
    "回乡证",
    "台胞证",
    "港澳",
    "台湾",
    "香港",
    "澳门",
    "居住证",
    "身份证",
    "证件",
    "permit",
    "hkid",
];

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    let mut place = 0;
    while place < scan.chars.len() {
        if !scan.chars[place].is_ascii_alphanumeric() {
            place += 1;
            continue;
        }
        let end = scan.token_end(place, &[]);
        if let Some((kind, end, weight)) = document(scan, place, end) {
            hits.push(Hit {
                kind,
                span: place..end,
                weight,
            });
        }
        place = end.max(place + 1);
    }
}

fn document(scan: &Scan<'_>, place: usize, token: usize) -> Option<(Kind, usize, Weight)> {
    let letters = scan
        .slice(place..token)
        .iter()
        .take_while(|c| c.is_ascii_alphabetic())
        .count();
    if letters > 2 {
        return None;
    }
    // E 1234 5678: after a word for it the digits may be grouped.
    let passport = scan.cue(place, 12, &PASSPORT);
    let permit = scan.cue(place, 14, &PERMIT);
    let loose = passport || permit;
    let end = if loose {
        grouped(scan, place + letters, token)
    } else {
        token
    };
    let digits: Vec<u8> = scan
        .slice(place + letters..end)
        .iter()
        .filter_map(|c| c.to_digit(10).map(|d| d as u8))
        .collect();
    let others = scan.slice(place + letters..end).iter().any(char::is_ascii_alphabetic);
    if others {
        return None;
    }
    let first = scan.lower[place];
    if let Some(end) = taiwan_or_hong_kong(scan, place, letters, end, &digits) {
        return Some((Kind::Permit, end, Weight::Proven));
    }
    let count = digits.len();
    match letters {
        1 if permit && matches!(first, 'h' | 'm') && matches!(count, 8 | 10) => Some((Kind::Permit, end, Weight::Cue)),
        1 if permit && matches!(first, 'c' | 'w' | 'l' | 't') && count == 8 => Some((Kind::Permit, end, Weight::Cue)),
        2 if permit && matches!(first, 'c' | 'w' | 'l') && count == 7 => Some((Kind::Permit, end, Weight::Cue)),
        1 | 2 if passport && (6..=9).contains(&count) => Some((Kind::Passport, end, Weight::Cue)),
        0 if passport && matches!(count, 8 | 9) => Some((Kind::Passport, end, Weight::Cue)),
        0 if count == 8 && scan.cue(place, 12, &["台胞证", "台湾居民"]) => {
            Some((Kind::Permit, end, Weight::Cue))
        }
        // Ordinary passports of the mainland, without any word: E or G and eight digits.
        1 if matches!(first, 'e' | 'g') && count == 8 && alone(scan, place, end) => {
            Some((Kind::Passport, end, Weight::Shape))
        }
        _ => None,
    }
}

fn alone(scan: &Scan<'_>, place: usize, end: usize) -> bool {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '.'));
    !joins(scan.before(place))
        && !joins(scan.at(end))
        && !order::announced(scan, place)
        && !scan.cue(place, 10, &["型号", "编号", "货号", "款"])
}

/// The end of digits that spaces and dashes group.
fn grouped(scan: &Scan<'_>, from: usize, token: usize) -> usize {
    let mut end = token;
    let mut place = scan.skip(from.max(end), &[' ', '-', '.']);
    while place > end && place - end <= 2 {
        let next = scan.token_end(place, &[]);
        let digits = scan.slice(place..next).iter().all(char::is_ascii_digit);
        if next == place || !digits || next - from > 14 {
            break;
        }
        end = next;
        place = scan.skip(end, &[' ', '-', '.']);
    }
    end
}

/// A123456789 of Taiwan and A123456(3) of Hong Kong, with their check digits.
fn taiwan_or_hong_kong(scan: &Scan<'_>, place: usize, letters: usize, end: usize, digits: &[u8]) -> Option<usize> {
    let letter = |place: usize| scan.lower[place];
    if letters == 1 && digits.len() == 9 && matches!(digits[0], 1 | 2 | 8 | 9) && alone(scan, place, end) {
        const ORDER: &str = "abcdefghjklmnpqrstuvxywzio";
        let code = 10 + ORDER.find(letter(place))? as u32;
        let weights = [8, 7, 6, 5, 4, 3, 2, 1, 1];
        let sum: u32 = digits
            .iter()
            .zip(weights)
            .map(|(digit, weight)| u32::from(*digit) * weight)
            .sum();
        return (code / 10 + code % 10 * 9 + sum).is_multiple_of(10).then_some(end);
    }
    if !(1..=2).contains(&letters) || digits.len() != 6 || scan.at(end) != Some('(') || scan.at(end + 2) != Some(')') {
        return None;
    }
    let check = match scan.lower[end + 1] {
        'a' => 10,
        c => c.to_digit(10)?,
    };
    let value = |c: char| u32::from(c) - u32::from('a') + 10;
    let first = if letters == 2 { value(letter(place)) * 9 } else { 36 * 9 };
    let second = value(letter(place + letters - 1)) * 8;
    let sum: u32 = digits
        .iter()
        .zip([7, 6, 5, 4, 3, 2])
        .map(|(digit, weight)| u32::from(*digit) * weight)
        .sum();
    (first + second + sum + check).is_multiple_of(11).then_some(end + 3)
}
