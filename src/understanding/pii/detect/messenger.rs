//! Names on `WeChat` and numbers on QQ, after a word for them.

use super::super::Kind;
use super::super::scan::Scan;
use super::{Hit, Weight};

const WECHAT: [&str; 18] = [
    "微信号",
    "微信",
    "威信",
    "薇信",
    "徽信",
    "维信",
    "卫星号",
    "wechat",
    "weixin",
    "wx号",
    "wx",
    "vx",
    "v信",
    "vx号",
    "加v",
    "加我v",
    "微 信",
    "wechat id",
];
const QQ: [&str; 6] = ["qq号", "qq", "扣扣", "企鹅号", "q号", "球球号"];

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    let mut place = 0;
    while place < scan.chars.len() {
        if !scan.chars[place].is_ascii_alphanumeric() {
            place += 1;
            continue;
        }
        let end = scan.token_end(place, &['-', '_']);
        if let Some(kind) = identifier(scan, place, end) {
            hits.push(Hit {
                kind,
                span: place..end,
                weight: Weight::Cue,
            });
        }
        place = end;
    }
    numbers(scan, hits);
}

/// Whether only small words stand between a cue and a place.
fn direct(scan: &Scan<'_>, cue: usize, place: usize) -> bool {
    place - cue <= 8
        && scan.slice(cue..place).iter().all(|c| {
            matches!(
                c,
                ' ' | ':'
                    | '是'
                    | '为'
                    | '号'
                    | '='
                    | '-'
                    | '"'
                    | '('
                    | '我'
                    | '的'
                    | '叫'
                    | 'i'
                    | 's'
                    | 'd'
                    | 'D'
                    | '\n'
                    | '码'
                    | '加'
                    | '也'
                    | '吧'
                    | ','
            )
        })
}

fn identifier(scan: &Scan<'_>, place: usize, end: usize) -> Option<Kind> {
    let token = scan.lower_slice(place..end);
    let length = token.len();
    let digits = token.iter().filter(|c| c.is_ascii_digit()).count();
    let near = |words: &[&str]| {
        scan.last_cue(place, 14, words)
            .is_some_and(|cue| direct(scan, cue, place))
    };
    if digits == length {
        return None;
    }
    let word: String = token.iter().collect();
    let own = WECHAT.contains(&word.as_str())
        || QQ.contains(&word.as_str())
        || matches!(word.as_str(), "iphone" | "android" | "windows" | "version");
    // Six to twenty, beginning with a letter; from six on a plain word needs a mark before it ("wechat support").
    let marked = scan.before(place) == Some(':')
        || digits > 0
        || token.iter().any(|c| matches!(c, '_' | '-'))
        || scan.cue(place, 4, &["号", "号是", "是"]);
    (!own && near(&WECHAT) && (6..=20).contains(&length) && token[0].is_ascii_alphabetic() && marked)
        .then_some(Kind::WeChat)
}

/// Digits after a word for QQ, or for `WeChat` where a number serves as its name.
fn numbers(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    for run in &scan.runs {
        for group in &run.groups {
            let place = run.at[group.start];
            let near = |words: &[&str]| {
                scan.last_cue(place, 14, words)
                    .is_some_and(|cue| direct(scan, cue, place))
            };
            // The digits after it may be grouped.
            let end = run
                .groups
                .iter()
                .rev()
                .map(|last| last.end)
                .find(|end| *end >= group.end && (5..=11).contains(&(end - group.start)));
            let Some(end) = end else { continue };
            let counted = scan
                .at(run.at[end - 1] + 1)
                .is_some_and(|c| matches!(c, '元' | '块' | '个' | '人' | '年' | '天'));
            if counted {
                continue;
            }
            if near(&QQ) {
                hits.push(Hit {
                    kind: Kind::Qq,
                    span: run.span(group.start..end),
                    weight: Weight::Cue,
                });
            } else if end - group.start >= 6 && near(&WECHAT) {
                hits.push(Hit {
                    kind: Kind::WeChat,
                    span: run.span(group.start..end),
                    weight: Weight::Cue,
                });
            }
        }
    }
}
