//! Addresses of the Internet protocol. A version number has four parts as well, and a word before it.

use super::super::Kind;
use super::super::scan::Scan;
use super::{Hit, Weight};
use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    let mut place = 0;
    while place < scan.chars.len() {
        if !scan.chars[place].is_ascii_hexdigit() && scan.chars[place] != ':' {
            place += 1;
            continue;
        }
        let part = |c: &&char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':');
        let mut end = place + scan.slice(place..).iter().take_while(part).take(46).count();
        while end > place
            && matches!(scan.chars[end - 1], '.' | ':')
            && !(end - place >= 2 && scan.chars[end - 2] == ':')
        {
            end -= 1;
        }
        let token: String = scan.slice(place..end).iter().collect();
        if let Some(length) = address(&token)
            && !scan
                .before(place)
                .is_some_and(|c| c.is_ascii_alphanumeric() || c == '.')
            && !scan.cue(place, 8, &["版本", "version", "固件", "系统", "v"])
        {
            hits.push(Hit {
                kind: Kind::Ip,
                span: place..place + length,
                weight: Weight::Proven,
            });
        }
        place = end.max(place + 1);
    }
}

/// The length of the address at the beginning, without a port.
fn address(token: &str) -> Option<usize> {
    let bare = token.split(':').next().unwrap_or_default();
    if bare.parse::<Ipv4Addr>().is_ok() {
        return Some(bare.len());
    }
    let groups = token.split(':').filter(|group| !group.is_empty()).count();
    (groups >= 3 && token.parse::<Ipv6Addr>().is_ok()).then_some(token.len())
}
