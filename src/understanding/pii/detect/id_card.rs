//! Identity cards of the mainland. Source: GB 11643-1999 (ISO 7064, MOD 11-2); fifteen digits before 1999.

use super::super::Kind;
use super::super::scan::{Run, Scan};
use super::{Hit, Weight, order};
use crate::understanding::normalise::quantities::is_date;

const CUES: [&str; 12] = [
    "身份证",
    "身份号",
    "身份正",
    "身fen证",
    "证件",
    "证号",
    "公民身份",
    "身证",
    "实名",
    "id card",
    "id number",
    "identity",
];

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    for run in &scan.runs {
        let mut start = 0;
        while start + 15 <= run.digits.len() {
            match card(scan, run, start) {
                Some((hit, end)) => {
                    hits.push(hit);
                    start = end;
                }
                None => start += 1,
            }
        }
        security_number(scan, run, hits);
    }
}

fn card(scan: &Scan<'_>, run: &Run, start: usize) -> Option<(Hit, usize)> {
    let place = run.at[start];
    let begins = run.groups.iter().any(|group| group.start == start);
    let ends = |end: usize| run.groups.iter().any(|group| group.end == end);
    let hit = |end: usize, weight| {
        Some((
            Hit {
                kind: Kind::IdCard,
                span: run.span(start..end),
                weight,
            },
            end,
        ))
    };
    if let Some(digits) = run.digits.get(start..start + 18)
        && is_region(digits)
        && born(&digits[6..14])
    {
        let cue = scan.cue(place, 20, &CUES);
        let exact = begins && ends(start + 18);
        if checksum(digits) {
            return hit(start + 18, Weight::Proven);
        }
        // One digit mistyped is still nearly all of somebody's number.
        if exact && (cue || !order::announced(scan, place)) && digits[17] <= 10 {
            return hit(start + 18, Weight::Cue);
        }
    }
    let digits = run.digits.get(start..start + 15)?;
    let old = is_region(digits)
        && is_date(
            1900 + number(&digits[6..8]),
            number(&digits[8..10]),
            number(&digits[10..12]),
        );
    if old && begins && ends(start + 15) && scan.cue(place, 20, &CUES) {
        return hit(start + 15, Weight::Cue);
    }
    None
}

/// The first two digits of a division (GB/T 2260).
fn is_region(digits: &[u8]) -> bool {
    matches!(
        (digits[0], digits[1]),
        (1 | 6, 1..=5) | (2 | 8, 1..=3) | (3, 1..=7) | (4, 1..=6) | (5, 0..=4) | (7 | 9, 1)
    ) && digits[..15].iter().all(|digit| *digit < 10)
}

fn born(digits: &[u8]) -> bool {
    let year = number(&digits[..4]);
    (1880..=2099).contains(&year) && is_date(year, number(&digits[4..6]), number(&digits[6..8]))
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(*digit))
}

fn checksum(digits: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = digits
        .iter()
        .zip(WEIGHTS)
        .map(|(digit, weight)| u32::from(*digit) * weight)
        .sum();
    (12 - sum % 11) % 11 == u32::from(digits[17])
}

/// 594-62-0140, the United States' number that serves as one.
fn security_number(scan: &Scan<'_>, run: &Run, hits: &mut Vec<Hit>) {
    for (index, groups) in run.groups.windows(3).enumerate() {
        let lengths: Vec<usize> = groups.iter().map(std::iter::ExactSizeIterator::len).collect();
        let dashes = |place: usize| scan.at(place) == Some('-');
        let end = run.at[groups[2].end - 1] + 1;
        if lengths == [3, 2, 4]
            && dashes(run.at[groups[0].end - 1] + 1)
            && dashes(run.at[groups[1].end - 1] + 1)
            && run.digits[groups[0].start] != 9
            && (run.groups.len() == 3 || index == 0 || scan.before(run.at[groups[0].start]) != Some('-'))
            && scan.at(end) != Some('-')
        {
            let span = run.span(groups[0].start..groups[2].end);
            hits.push(Hit {
                kind: Kind::IdCard,
                span,
                weight: Weight::Proven,
            });
        }
    }
}
