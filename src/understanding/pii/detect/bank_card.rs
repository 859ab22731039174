//! Bank cards: the issuer's range and the check digit. Source: ISO/IEC 7812-1, annex B (Luhn).

use super::super::Kind;
use super::super::scan::{Run, Scan};
use super::{Hit, Weight, order};

const CUES: [&str; 18] = [
    "卡号",
    "银行卡",
    "信用卡",
    "储蓄卡",
    "借记卡",
    "贷记卡",
    "工资卡",
    "卡片",
    "卡尾",
    "咔号",
    "收款卡",
    "打到",
    "card",
    "card no",
    "card number",
    "credit card",
    "debit card",
    "这张卡",
];

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    for run in &scan.runs {
        let mut group = 0;
        while group < run.groups.len() {
            match card(scan, run, group) {
                Some((hit, next)) => {
                    hits.push(hit);
                    group = next;
                }
                None => group += 1,
            }
        }
    }
}

fn card(scan: &Scan<'_>, run: &Run, group: usize) -> Option<(Hit, usize)> {
    let start = run.groups[group].start;
    let place = run.at[start];
    let cue = scan.cue(place, 16, &CUES);
    if scan.before(place).is_some_and(|c| c.is_ascii_alphabetic()) && !cue {
        return None;
    }
    // The longest that fits: a card of 19 digits begins like one of 16.
    let ends: Vec<(usize, usize)> = (group..run.groups.len())
        .map(|last| (last, run.groups[last].end))
        .take_while(|(_, end)| end - start <= 19)
        .filter(|(last, end)| end - start >= 8 && plausible(&run.shape(group..last + 1)))
        .collect();
    let hit = |last: usize, end: usize, weight| {
        Some((
            Hit {
                kind: Kind::BankCard,
                span: run.span(start..end),
                weight,
            },
            last + 1,
        ))
    };
    for &(last, end) in ends.iter().rev() {
        let digits = &run.digits[start..end];
        if digits.contains(&10) || !luhn(digits) {
            continue;
        }
        if issued(digits) && (cue || !order::announced(scan, place)) || cue && digits.len() >= 13 {
            return hit(last, end, Weight::Proven);
        }
    }
    // Mistyped, or only a part: believed after a word for it, if it begins like a card.
    let &(last, end) = ends.last()?;
    let digits = &run.digits[start..end];
    let near = scan.cue(place, 10, &CUES) && !order::announced(scan, place);
    let begins = matches!(digits, [3..=6 | 9, ..]) || digits.len() >= 15;
    let tail = scan.cue(place, 6, &["尾号", "后四位", "后4位", "末四位"]);
    // 信用卡400-000-8611（24小时）
    let service = matches!(digits, [4 | 8, 0, 0, ..]) && (group..=last).any(|at| run.groups[at].end == start + 10);
    if near && begins && !tail && !service && digits.len() >= 8 && !digits.contains(&10) {
        return hit(last, end, Weight::Cue);
    }
    None
}

/// Whether a card's number is written in such groups: a few, or digit by digit to get past a filter.
fn plausible(shape: &[usize]) -> bool {
    shape.len() == 1 || shape.len() >= 8 || shape.iter().all(|length| (1..=16).contains(length)) && shape.len() <= 6
}

/// Whether an issuer of the field gives out such numbers, told by beginning and length.
fn issued(digits: &[u8]) -> bool {
    let first = |count: usize| {
        digits[..count]
            .iter()
            .fold(0_u32, |sum, digit| sum * 10 + u32::from(*digit))
    };
    match digits.len() {
        16..=19 if first(2) == 62 => true,
        // Debit cards of before UnionPay's range: 9558, 6013, 4367 and the like.
        16 | 19 if matches!(first(4), 9558 | 6013 | 6227 | 6210..=6299 | 8888 | 9400 | 9559) => true,
        16 => {
            matches!(first(1), 4)
                || (51..=55).contains(&first(2))
                || (2221..=2720).contains(&first(4))
                || (3528..=3589).contains(&first(4))
                || matches!(first(2), 65)
                || first(4) == 6011
        }
        _ => false,
    }
}

pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(*digit) << (place % 2);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != 0)
}
