//! Telephones with an area code, local numbers after a word for them, and numbers of other countries.
//!
//! Public service numbers (95588, 12315, 400 and 800) are nobody's: they have no area code, and after a word for a telephone
//! they are left alone by their beginning.

use super::super::Kind;
use super::super::scan::{Run, Scan};
use super::{Hit, Weight, mobile, order};

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    for run in &scan.runs {
        let mut group = 0;
        while group < run.groups.len() {
            let found = area(scan, run, group)
                .or_else(|| foreign(scan, run, group))
                .or_else(|| local(scan, run, group));
            match found {
                Some((hit, next)) => {
                    hits.push(hit);
                    group = next;
                }
                None => group += 1,
            }
        }
    }
}

/// The length of the area code that digits begin with.
fn area_code(digits: &[u8]) -> Option<usize> {
    match digits {
        [0, 1, 0, ..] | [0, 2, 0..=5 | 7..=9, ..] => Some(3),
        [0, 3..=9, 1..=9, _, ..] => Some(4),
        _ => None,
    }
}

fn area(scan: &Scan<'_>, run: &Run, group: usize) -> Option<(Hit, usize)> {
    let start = run.groups[group].start;
    let place = run.at[start];
    if scan.before(place).is_some_and(|c| c.is_ascii_alphabetic()) || order::announced(scan, place) {
        return None;
    }
    let code = area_code(&run.digits[start..])?;
    let first = run.groups[group].len();
    let lengths: &[usize] = if code == 3 { &[11, 10] } else { &[11, 12] };
    // The code stands alone, or everything in one.
    let (last, end) = (group..run.groups.len().min(group + 4))
        .map(|last| (last, run.groups[last].end))
        .find(|(_, end)| lengths.contains(&(end - start)))?;
    let shape = run.shape(group..last + 1);
    if !(shape.len() == 1 || (first == code && shape.len() <= 4))
        || (end - start == 10 && !scan.cue(place, 14, &mobile::CUES))
    {
        return None;
    }
    // In one piece it may be any number: local numbers begin with 2 to 8, and a word for a telephone stands before.
    let cue = scan.cue(place, 14, &mobile::CUES);
    if shape.len() == 1 && !(cue && (2..=8).contains(&run.digits[start + code])) {
        return None;
    }
    let mut span = run.span(start..end);
    if scan.before(span.start) == Some('(') {
        span.start -= 1;
    }
    let (end, next) = extension(scan, run, span.end, last + 1);
    span.end = end;
    let weight = Weight::Proven;
    Some((
        Hit {
            kind: Kind::Landline,
            span,
            weight,
        },
        next,
    ))
}

/// -801, 转801, x801.
fn extension(scan: &Scan<'_>, run: &Run, end: usize, next: usize) -> (usize, usize) {
    let marks = match (scan.at(end), scan.at(end + 1)) {
        (Some('-' | 'x' | 'X' | '转'), _) => 1,
        (Some(' '), Some('x' | '转')) => 2,
        _ => 0,
    };
    let digits = scan
        .slice((end + marks).min(scan.chars.len())..)
        .iter()
        .take_while(|c| c.is_ascii_digit())
        .count();
    if marks == 0 || !(1..=6).contains(&digits) {
        return (end, next);
    }
    let within = run
        .groups
        .get(next)
        .is_some_and(|group| run.at[group.start] == end + marks);
    (end + marks + digits, next + usize::from(within))
}

/// Numbers of other countries: after a plus, grouped as in North America, or after a word for a telephone.
fn foreign(scan: &Scan<'_>, run: &Run, group: usize) -> Option<(Hit, usize)> {
    let range = run.groups[group].clone();
    let place = run.at[range.start];
    let plus = scan.before(place) == Some('+');
    let cue = scan.last_cue(place, 24, &mobile::CUES).is_some_and(|end| {
        // Nothing but small words between the cue and the number.
        place - end <= 14 && !scan.slice(end..place).iter().any(|c| c.is_ascii_digit() || *c == '元')
    });
    let cue = cue && !order::announced(scan, place);
    let joined = joined(scan, run, group);
    let shape = run.shape(group..joined);
    let digits: usize = shape.iter().sum();
    let american = matches!(&shape[..], [3, 3, 4] | [1, 3, 3, 4]) && !spaced(scan, run, group, joined);
    let public = public(&run.digits[range.start..]);
    if public || !(7..=17).contains(&digits) || !(plus || american || (cue && digits >= 7)) {
        return None;
    }
    // One group of digits after a Chinese word is an area number, a mobile or nothing.
    if !plus && !american && shape.len() == 1 && !(7..=10).contains(&digits) {
        return None;
    }
    let end = run.groups[joined - 1].end;
    let mut span = run.span(range.start..end);
    if plus || scan.before(span.start) == Some('(') {
        span.start -= 1;
    }
    let (end, next) = extension(scan, run, span.end, joined);
    span.end = end;
    Some((
        Hit {
            kind: Kind::Landline,
            span,
            weight: Weight::Cue,
        },
        next,
    ))
}

/// The group after the last that is joined to this one by what stands in telephone numbers.
fn joined(scan: &Scan<'_>, run: &Run, group: usize) -> usize {
    let mut next = group + 1;
    let mut digits = run.groups[group].len();
    while let Some(range) = run.groups.get(next) {
        let between = scan.slice(run.at[range.start - 1] + 1..run.at[range.start]);
        digits += range.len();
        if digits > 17 || !between.iter().all(|c| matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')) {
            break;
        }
        next += 1;
    }
    next
}

fn spaced(scan: &Scan<'_>, run: &Run, group: usize, next: usize) -> bool {
    let bare = |range: &std::ops::Range<usize>| scan.slice(run.at[range.start - 1] + 1..run.at[range.start]) == [' '];
    run.groups[group + 1..next].iter().all(bare)
}

/// Seven or eight digits after a word for a telephone on the desk.
fn local(scan: &Scan<'_>, run: &Run, group: usize) -> Option<(Hit, usize)> {
    let range = run.groups[group].clone();
    let place = run.at[range.start];
    let fits = matches!(range.len(), 7 | 8)
        && (2..=8).contains(&run.digits[range.start])
        && !public(&run.digits[range.clone()])
        && scan.cue(place, 8, &["电话", "座机", "固话", "tel", "phone"]);
    fits.then(|| {
        let hit = Hit {
            kind: Kind::Landline,
            span: run.span(range),
            weight: Weight::Cue,
        };
        (hit, group + 1)
    })
}

/// Numbers that everybody may call: 400 and 800 (ten digits), 95 (banks and carriers), 12345 and the like.
fn public(digits: &[u8]) -> bool {
    matches!(digits, [4 | 8, 0, 0, ..] | [9, 5, ..] | [1, 0..=2, ..])
}
