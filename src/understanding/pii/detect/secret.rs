//! Passwords, PINs, card verification values, one-time codes and tokens: what nobody may be told, whole or in part.

use super::super::Kind;
use super::super::scan::Scan;
use super::{Hit, Weight};
use crate::domain::is_han;
use crate::understanding::normalise::is_emoji;
use crate::understanding::normalise::numerals::digit;

/// Words for secrets, longer before shorter.
const WORDS: [&str; 46] = [
    "支付密码",
    "登录密码",
    "交易密码",
    "取款密码",
    "查询密码",
    "密码",
    "密 码",
    "蜜码",
    "米码",
    "口令",
    "验证码",
    "验 证 码",
    "验证吗",
    "校验码",
    "动态码",
    "动态密码",
    "短信码",
    "确认码",
    "激活码",
    "授权码",
    "安全码",
    "cvv2",
    "cvv",
    "cvc2",
    "cvc",
    "cvn",
    "背面三位",
    "背面3位",
    "背面后三位",
    "pin码",
    "pin",
    "password",
    "passwd",
    "pwd",
    "passcode",
    "passphrase",
    "otp",
    "verification code",
    "security code",
    "one-time code",
    "密钥",
    "私钥",
    "秘钥",
    "secret",
    "token",
    "api key",
];
/// Words of whose value any form is believed; after the others it has digits.
const FREE: [&str; 12] = [
    "密码",
    "口令",
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "密钥",
    "秘钥",
    "token",
    "secret",
    "api key",
    "蜜码",
];
/// What stands between a word and its value.
const LINKS: [&str; 52] = [
    "前三位是",
    "前两位是",
    "前四位是",
    "后三位是",
    "后两位是",
    "后四位是",
    "前三位",
    "前两位",
    "前四位",
    "后三位",
    "后两位",
    "后四位",
    "前3位",
    "后3位",
    "前2位",
    "后2位",
    "前4位",
    "后4位",
    "开头是",
    "结尾是",
    "设置为",
    "设置成",
    "设成",
    "设为",
    "改成了",
    "改成",
    "改为",
    "应该是",
    "好像是",
    "可能是",
    "告诉你是",
    "收到的是",
    "收到了",
    "收到",
    "就是",
    "都是",
    "是",
    "为",
    "叫",
    "你",
    "我",
    "了",
    "的",
    "发给你",
    "给你",
    "is",
    "was",
    "number",
    "are",
    "code",
    "你记一下",
    "中间是",
];
const MARKS: [char; 16] = [
    ' ', ':', '=', '"', '\'', '`', ',', '-', '>', '(', '[', '{', '\n', '“', '”', '「',
];
/// What a password is made of, beside letters and digits.
const SIGNS: [char; 20] = [
    '!', '@', '#', '$', '%', '^', '&', '*', '_', '-', '+', '.', '~', '?', '/', '=', '<', '>', '|', '\\',
];

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    let mut place = 0;
    while place < scan.chars.len() {
        let word = WORDS
            .iter()
            .filter_map(|word| scan.starts(place, word).map(|length| (length, *word)))
            .max_by_key(|(length, _)| *length);
        if let Some((length, word)) = word {
            let end = place + length;
            let free = FREE.iter().any(|free| word.ends_with(free));
            let mut next = end;
            if let Some((start, stop)) = value(scan, end, free) {
                push(start, stop, hits);
                next = stop.max(end);
                // "abc123 或者 abc456": as long as one follows the other.
                while let Some((start, stop)) = another(scan, next, free) {
                    push(start, stop, hits);
                    next = stop;
                }
            } else if let Some((start, stop)) = value_before(scan, place) {
                push(start, stop, hits);
            }
            place = next;
            continue;
        }
        if let Some(end) = token(scan, place) {
            push(place, end, hits);
            place = end;
            continue;
        }
        place += 1;
    }
    expiry(scan, hits);
}

fn push(start: usize, end: usize, hits: &mut Vec<Hit>) {
    hits.push(Hit {
        kind: Kind::Secret,
        span: start..end,
        weight: Weight::Secret,
    });
}

/// The value after a word that ends at `end`.
fn value(scan: &Scan<'_>, end: usize, free: bool) -> Option<(usize, usize)> {
    let mut place = end;
    let mut linked = false;
    loop {
        let marked = scan.skip(place, &MARKS);
        linked |= scan
            .slice(place..marked)
            .iter()
            .any(|c| matches!(c, ':' | '=' | '"' | '\n' | '“' | '「' | '\''));
        let link = LINKS.iter().filter_map(|link| scan.starts(marked, link)).max();
        linked |= link.is_some();
        let next = marked + link.unwrap_or(0);
        if next == place || next - end > 16 {
            place = marked;
            break;
        }
        place = next;
    }
    shaped(scan, place, free && linked)
}

fn another(scan: &Scan<'_>, end: usize, free: bool) -> Option<(usize, usize)> {
    const JOINTS: [&str; 8] = ["或者是", "或者", "或", "和", "还有", "、", "/", " or "];
    let place = scan.skip(end, &[' ', ',']);
    let joint = JOINTS.iter().filter_map(|joint| scan.starts(place, joint)).max()?;
    shaped(scan, scan.skip(place + joint, &MARKS), free)
}

/// 123456 是我的验证码: the value before the word.
fn value_before(scan: &Scan<'_>, word: usize) -> Option<(usize, usize)> {
    const TAILS: [&str; 9] = [
        "是我的",
        "这是我的",
        "这个是",
        "这是",
        "是支付",
        "是登录",
        "就是",
        "是",
        " is my ",
    ];
    let tail = TAILS.iter().find_map(|tail| {
        let start = word.checked_sub(tail.chars().count())?;
        scan.starts(start, tail).map(|_| start)
    })?;
    let mut end = tail;
    while scan.before(end).is_some_and(|c| MARKS.contains(&c)) && tail - end < 3 {
        end -= 1;
    }
    let length = scan
        .slice(..end)
        .iter()
        .rev()
        .take_while(|c| c.is_ascii_alphanumeric() || SIGNS.contains(c))
        .count();
    let digits = scan
        .slice(end - length..end)
        .iter()
        .filter(|c| c.is_ascii_digit())
        .count();
    (digits >= 3 && (3..=64).contains(&length)).then_some((end - length, end))
}

/// Where a value begins at `place`, its bounds. Digits (also Chinese ones and spaced ones), or, where `free`, anything that is no word.
fn shaped(scan: &Scan<'_>, place: usize, free: bool) -> Option<(usize, usize)> {
    let signs = |c: &&char| c.is_ascii_alphanumeric() || SIGNS.contains(c);
    let mut end = place
        + scan
            .slice(place.min(scan.chars.len())..)
            .iter()
            .take_while(signs)
            .take(128)
            .count();
    while end > place
        && matches!(scan.chars[end - 1], '.' | '?' | '!' | '~' | '-')
        && !scan.at(end).is_some_and(|c| c.is_ascii_alphanumeric())
    {
        end -= 1;
    }
    let body = scan.slice(place..end);
    let digits = body.iter().filter(|c| c.is_ascii_digit()).count();
    if digits == body.len() || body.len() <= 1 {
        return spaced_digits(scan, place);
    }
    let begins_well = body
        .first()
        .is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '!' | '@' | '#' | '$' | '_'));
    let mixed = digits > 0 && body.len() >= 3;
    let plain = free && body.len() >= 4 && !question(scan.lower_slice(place..end));
    (begins_well && (mixed && !date_like(body) || plain) && !counted(scan, end)).then_some((place, end))
}

/// English words that follow "password is" without being one.
fn question(word: &[char]) -> bool {
    const WORDS: [&str; 30] = [
        "what",
        "wrong",
        "reset",
        "expired",
        "not",
        "incorrect",
        "forgotten",
        "locked",
        "invalid",
        "required",
        "lost",
        "changed",
        "correct",
        "safe",
        "needed",
        "sent",
        "being",
        "still",
        "never",
        "always",
        "this",
        "that",
        "there",
        "here",
        "only",
        "also",
        "been",
        "used",
        "same",
        "weak",
    ];
    let word: String = word.iter().collect();
    WORDS.contains(&word.trim_matches(|c: char| !c.is_ascii_alphabetic()))
}

fn date_like(body: &[char]) -> bool {
    body.iter().all(|c| c.is_ascii_digit() || matches!(c, '-' | '/' | '.'))
        && body.iter().filter(|c| !c.is_ascii_digit()).count() == 2
        && body.len() >= 8
}

/// 482 913, 四八二九幺三, 4-8-2-9.
fn spaced_digits(scan: &Scan<'_>, place: usize) -> Option<(usize, usize)> {
    // Where each group ends, with the digits up to there.
    let mut ends: Vec<(usize, usize)> = Vec::new();
    let mut at = place;
    let mut count = 0;
    loop {
        let group = scan
            .slice(at..)
            .iter()
            .take_while(|c| digit(**c).is_some())
            .take(33)
            .count();
        if group == 0 || count + group > 32 {
            break;
        }
        count += group;
        at += group;
        ends.push((at, count));
        let marks = scan.slice(at..at + 3).iter().take_while(|c| joins(**c)).count();
        if marks == 0 {
            break;
        }
        at += marks;
    }
    // "1234，5分钟内有效": what counts something is no part of it.
    while ends.last().is_some_and(|(end, _)| counted(scan, *end)) {
        ends.pop();
    }
    let (end, count) = *ends.last()?;
    let figures = scan.slice(place..end).iter().any(char::is_ascii_digit);
    (count >= 2 && (figures || count >= 3)).then_some((place, end))
}

/// Whether a character may stand between the digits of a code.
fn joins(c: char) -> bool {
    matches!(
        c,
        ' ' | '-' | '.' | ',' | '、' | '·' | '_' | '/' | '\n' | '•' | '|' | '~' | '*'
    ) || is_emoji(c)
}

/// 密码6位数, 验证码60秒, 输错3次: a number that counts something.
fn counted(scan: &Scan<'_>, end: usize) -> bool {
    const UNITS: [char; 22] = [
        '位', '次', '秒', '分', '个', '天', '小', '遍', '条', '元', '块', '年', '月', '日', '号', '种', '回', '层',
        '点', '时', '家', '款',
    ];
    let next = scan.skip(end, &[' ']);
    scan.at(next).is_some_and(|c| UNITS.contains(&c))
}

/// What is a secret by its form alone: a signed token, keys with a known beginning.
fn token(scan: &Scan<'_>, place: usize) -> Option<usize> {
    const STARTS: [(&str, usize); 9] = [
        ("eyj", 30),
        ("sk-", 20),
        ("akia", 16),
        ("ghp_", 20),
        ("gho_", 20),
        ("xox", 20),
        ("kefu_", 24),
        ("bearer ", 24),
        ("-----begin", 20),
    ];
    if scan.before(place).is_some_and(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    STARTS.iter().find_map(|(start, shortest)| {
        let begins = start
            .chars()
            .enumerate()
            .all(|(step, c)| scan.lower.get(place + step) == Some(&c));
        if !begins {
            return None;
        }
        let from = place + start.chars().count();
        let end = scan
            .token_end(from, &['-', '_', '.', '/', '+', '=', ' '])
            .min(from + 4096);
        let end = if *start == "-----begin" {
            end
        } else {
            scan.token_end(from, &['-', '_', '.', '/', '+', '=']).min(from + 4096)
        };
        let digits = scan.slice(place..end).iter().any(char::is_ascii_digit);
        (end - place >= *shortest && (digits || *start == "-----begin")).then_some(end)
    })
}

/// The date of expiry of a card: half of what pays with it.
fn expiry(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    for place in 0..scan.chars.len() {
        let card = || scan.cue(place, 60, &["卡", "card"]) || scan.cue_after(place, 60, &["cvv", "cvc", "安全码"]);
        let word = ["有效期至", "有效期", "exp date", "expiry", "valid thru", "expires"]
            .iter()
            .filter_map(|word| scan.starts(place, word))
            .max();
        let Some(length) = word else { continue };
        let from = scan.skip(place + length, &[' ', ':', '是', '到', '为']);
        let digits: Vec<char> = scan
            .slice(from..)
            .iter()
            .take(7)
            .take_while(|c| c.is_ascii_digit() || matches!(c, '/' | '-' | ' '))
            .copied()
            .collect();
        let count = digits.iter().filter(|c| c.is_ascii_digit()).count();
        let end = from + digits.len() - digits.iter().rev().take_while(|c| !c.is_ascii_digit()).count();
        if matches!(count, 4 | 6)
            && card()
            && !scan
                .at(end)
                .is_some_and(|c| c.is_ascii_digit() || matches!(c, '年' | '-' | '/' | '元') || is_han(c) && c == '个')
        {
            push(from, end, hits);
        }
    }
}
