//! Numbers of accounts, policies and memberships: only after a word for them. International bank account numbers by their
//! check digits (ISO 13616).

use super::super::Kind;
use super::super::scan::Scan;
use super::{Hit, Weight};

/// Countries with international bank account numbers (registry of ISO 13616).
const COUNTRIES: &str = "AD AE AL AT AZ BA BE BG BH BR CH CY CZ DE DK DO EE ES FI FO FR GB GE GI GL GR HR HU IE IL IS IT JO KW KZ LB LI LT LU LV MC MD ME MK MT NL NO PK PL PS PT QA RO RS SA SE SI SK SM TN TR UA VG XK";

const CUES: [&str; 26] = [
    "账号",
    "帐号",
    "账户",
    "帐户",
    "户号",
    "客户号",
    "会员号",
    "会员卡号",
    "保单号",
    "社保号",
    "社保卡号",
    "公积金号",
    "医保号",
    "医保卡号",
    "学号",
    "工号",
    "驾驶证号",
    "档案编号",
    "合同号",
    "account",
    "account no",
    "account number",
    "acct",
    "policy number",
    "member id",
    "license number",
];

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    let mut place = 0;
    while place < scan.chars.len() {
        if !scan.chars[place].is_ascii_alphanumeric() {
            place += 1;
            continue;
        }
        let end = scan.token_end(place, &[]);
        if let Some(end) = iban(scan, place) {
            hits.push(Hit {
                kind: Kind::Account,
                span: place..end,
                weight: Weight::Proven,
            });
        } else if let Some(cue) = scan.last_cue(place, 20, &CUES) {
            let between = scan.slice(cue..place);
            let direct = between.len() <= 6
                && between.iter().all(|c| {
                    matches!(
                        c,
                        ' ' | ':' | '是' | '为' | '-' | '=' | '\n' | '(' | '"' | '#' | 'i' | 's' | '码' | '号'
                    )
                });
            let end = grouped(scan, end);
            let digits = scan.slice(place..end).iter().filter(|c| c.is_ascii_digit()).count();
            let counted = scan
                .at(end)
                .is_some_and(|c| matches!(c, '元' | '块' | '个' | '年' | '月' | '天' | '万'));
            if direct && digits >= 4 && (5..=32).contains(&(end - place)) && !counted {
                hits.push(Hit {
                    kind: Kind::Account,
                    span: place..end,
                    weight: Weight::Cue,
                });
            }
        }
        place = end;
    }
}

/// 6222 0200 1234: more groups of digits belong to it.
fn grouped(scan: &Scan<'_>, mut end: usize) -> usize {
    loop {
        let place = scan.skip(end, &[' ', '-']);
        let next = scan.token_end(place, &[]);
        let group = scan.slice(place..next);
        if place != end + 1 || group.len() < 3 || !group.iter().all(char::is_ascii_digit) {
            return end;
        }
        end = next;
    }
}

fn iban(scan: &Scan<'_>, place: usize) -> Option<usize> {
    let head = scan.chars.get(place..place + 4)?;
    let fits = head[..2].iter().all(char::is_ascii_uppercase) && head[2..].iter().all(char::is_ascii_digit);
    let country: String = head[..2].iter().collect();
    if !fits || !COUNTRIES.contains(&country) || scan.before(place).is_some_and(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let mut end = place;
    let mut all = Vec::new();
    while let Some(c) = scan.at(end) {
        if c.is_ascii_digit() || c.is_ascii_uppercase() {
            all.push(c);
        } else if c != ' ' || all.len() % 4 != 0 || all.len() >= 34 {
            break;
        }
        end += 1;
    }
    while scan.before(end) == Some(' ') {
        end -= 1;
    }
    if !(15..=34).contains(&all.len()) {
        return None;
    }
    all.rotate_left(4);
    let rest = all.iter().fold(0_u32, |rest, c| match c.to_digit(36) {
        Some(value) if value < 10 => (rest * 10 + value) % 97,
        Some(value) => (rest * 100 + value) % 97,
        None => rest,
    });
    (rest == 1).then_some(end)
}
