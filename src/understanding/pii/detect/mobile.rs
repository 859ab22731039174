//! Mobile telephones of the mainland: eleven digits that begin with 13 to 19, however they are grouped.

use super::super::Kind;
use super::super::scan::{Run, Scan};
use super::{Hit, Weight, order};

/// Words before a telephone number, with the spellings that dodge a filter.
pub(super) const CUES: [&str; 30] = [
    "手机",
    "手 机",
    "电话",
    "联系方式",
    "联系我",
    "联系电",
    "号码",
    "拨打",
    "致电",
    "来电",
    "回电",
    "座机",
    "手叽",
    "手击",
    "守机",
    "手鸡",
    "电花",
    "店话",
    "联糸",
    "微信",
    "tel",
    "phone",
    "mobile",
    "cell",
    "call",
    "telephone",
    "number is",
    "desk",
    "fax",
    "whatsapp",
];

const DIGITS: usize = 11;

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    for run in &scan.runs {
        let mut group = 0;
        while group < run.groups.len() {
            match number(scan, run, group) {
                Some((hit, next)) => {
                    hits.push(hit);
                    group = next;
                }
                None => group += 1,
            }
        }
    }
}

/// The number that begins in a group, and the group after it.
fn number(scan: &Scan<'_>, run: &Run, group: usize) -> Option<(Hit, usize)> {
    let range = run.groups.get(group)?.clone();
    let place = run.at[range.start];
    let cue = scan.cue(place, 14, &CUES) && !order::announced(scan, place);
    let plus = scan.before(place) == Some('+');
    let skip = country_code(&run.digits[range.clone()])
        .filter(|skip| plus || cue || range.len() == skip + DIGITS || range.len() == *skip);
    // 86 in a group of its own: the number begins with the next.
    if let Some(skip) = skip
        && skip == range.len()
    {
        let (mut hit, next) = number(scan, run, group + 1)?;
        hit.span.start = place - usize::from(plus);
        return Some((hit, next));
    }
    let start = range.start + skip.unwrap_or(0);
    let digits = run.digits.get(start..start + DIGITS);
    if !digits.is_some_and(|digits| digits[0] == 1 && (3..=9).contains(&digits[1]) && digits[10] < 10) {
        return partial(scan, run, start, group, cue);
    }
    let end = start + DIGITS;
    let last = run.groups.iter().position(|group| group.end >= end)?;
    let whole = run.groups[last].end == end;
    let glued = scan.before(place).is_some_and(|c| c.is_ascii_alphabetic());
    let mut shape = run.shape(group..last + 1);
    shape[0] -= skip.unwrap_or(0);
    let alone = run.digits.len() == end - range.start || run.groups.len() == last + 1 - group;
    let fits = if whole {
        (cue || !glued) && (cue || plus || usual(&shape, alone))
    } else {
        // Something was written on without a space: believed after a word for it or where it is grouped as one,
        // and only a little of it.
        let grouped = shape.len() == 3 && shape[..2] == [3, 4];
        ((cue || plus) && shape.len() == 1 || grouped) && run.groups[last].end - end <= 2
    };
    if !fits || order::announced(scan, place) && shape.len() == 1 {
        return None;
    }
    let mut span = run.span(range.start..end);
    span.start -= usize::from(plus);
    let weight = if shape.len() == 1 || cue {
        Weight::Proven
    } else {
        Weight::Cue
    };
    Some((
        Hit {
            kind: Kind::Mobile,
            span,
            weight,
        },
        last + 1,
    ))
}

/// How many digits 86 or 0086 takes.
fn country_code(digits: &[u8]) -> Option<usize> {
    [&[0, 0, 8, 6][..], &[8, 6]]
        .into_iter()
        .find(|code| digits.starts_with(code))
        .map(<[u8]>::len)
}

/// Whether people group a telephone number like this; digit by digit is a way around a filter.
fn usual(shape: &[usize], alone: bool) -> bool {
    matches!(
        shape,
        [11] | [3, 4, 4]
            | [3, 8]
            | [7, 4]
            | [4, 3, 4]
            | [4, 4, 3]
            | [3, 3, 5]
            | [5, 6]
            | [6, 5]
            | [3, 5, 3]
            | [5, 3, 3]
            | [3, 4, 2, 2]
    ) || (alone && shape.len() >= 6)
        || shape.len() >= 9
}

/// Seven to ten digits of a number after a word for it: the rest comes in the next message, or is left out.
fn partial(scan: &Scan<'_>, run: &Run, start: usize, group: usize, cue: bool) -> Option<(Hit, usize)> {
    let rest = run.digits.len() - start;
    let begins = run.digits[start] == 1 && run.digits.get(start + 1).is_some_and(|digit| (3..=9).contains(digit));
    let near = scan.cue(run.at[start], 8, &["手机", "电话", "phone", "mobile"]);
    (cue && near && begins && (7..DIGITS).contains(&rest)).then(|| {
        let span = run.span(start..run.digits.len());
        (
            Hit {
                kind: Kind::Mobile,
                span,
                weight: Weight::Cue,
            },
            group + run.groups.len(),
        )
    })
}
