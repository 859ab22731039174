//! E-mail addresses, also where "at" and "dot" are written out.

use super::super::Kind;
use super::super::scan::Scan;
use super::{Hit, Weight};

const LOCAL: [char; 6] = ['.', '_', '-', '+', '%', '\''];

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    let mut place = 0;
    while place < scan.chars.len() {
        if let Some(after) = at_sign(scan, place)
            && let Some(start) = local(scan, place)
            && let Some(end) = domain(scan, after)
        {
            hits.push(Hit {
                kind: Kind::Email,
                span: start..end,
                weight: Weight::Proven,
            });
            place = end;
            continue;
        }
        place += 1;
    }
}

/// The place after an "at": @, (at), [at], 艾特, with spaces around.
fn at_sign(scan: &Scan<'_>, place: usize) -> Option<usize> {
    const SIGNS: [&str; 6] = ["@", "(at)", "[at]", "{at}", "艾特", "#"];
    let sign = SIGNS.iter().find_map(|sign| scan.starts(place, sign))?;
    Some(scan.skip(place + sign, &[' ']))
}

/// The beginning of what stands before the "at".
fn local(scan: &Scan<'_>, place: usize) -> Option<usize> {
    let spaces = scan.slice(..place).iter().rev().take_while(|c| **c == ' ').count();
    let end = place - spaces.min(2);
    let part = |c: &&char| c.is_ascii_alphanumeric() || LOCAL.contains(c);
    let length = scan.slice(..end).iter().rev().take_while(part).take(64).count();
    let start = end - length;
    let lead = scan
        .slice(start..end)
        .iter()
        .take_while(|c| !c.is_ascii_alphanumeric())
        .count();
    (start + lead < end).then_some(start + lead)
}

/// The end of a domain that begins at a place: labels, joined by dots (".", " dot ", "点", "(dot)"), with a name at the end.
fn domain(scan: &Scan<'_>, place: usize) -> Option<usize> {
    const DOTS: [&str; 7] = [".", "(dot)", "[dot]", " dot ", "点", "。", "·"];
    let mut end = scan.token_end(place, &['-']);
    let mut labels = usize::from(end > place);
    if labels == 0 {
        return None;
    }
    loop {
        // Spaces around a dot belong to it: 163 . com, example (dot) com.
        let dot = (end..=end + 1).find_map(|from| {
            DOTS.iter().find_map(|dot| {
                scan.starts(from, dot)
                    .map(|length| (from > end || length > 1, from + length))
            })
        });
        let Some((spaced, from)) = dot else { break };
        let from = if spaced { scan.skip(from, &[' ']) } else { from };
        let next = scan.token_end(from, &['-']);
        let letters = scan
            .slice(from.min(next)..next)
            .iter()
            .filter(|c| c.is_ascii_alphabetic())
            .count();
        if next == from || next - from > 63 || (labels > 0 && letters == 0) {
            break;
        }
        end = next;
        labels += 1;
    }
    let ends_in_letters = scan.before(end).is_some_and(|c| c.is_ascii_alphabetic());
    (labels >= 2 && ends_in_letters).then_some(end)
}
