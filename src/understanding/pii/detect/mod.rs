//! One detector a file. Each looks at a [`Scan`] and reports places; which of overlapping reports count is decided here.

mod account;
mod address;
mod address_en;
mod bank_card;
mod email;
mod id_card;
mod ip;
mod landline;
mod messenger;
mod mobile;
mod name;
mod name_en;
mod order;
mod permit;
mod plate;
mod secret;
mod social_credit;

use super::Kind;
use super::scan::Scan;
use std::ops::Range;

pub(super) use address::district;

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) kind: Kind,
    /// The characters of the view.
    pub(super) span: Range<usize>,
    /// How sure; of hits that overlap the surest counts.
    pub(super) weight: Weight,
}

/// How sure a detector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// It looks like one.
    Shape,
    /// It looks like one and a word before says so.
    Cue,
    /// A checksum proves it, or nothing else looks like it.
    Proven,
    /// Nothing may be more important.
    Secret,
}

type Detector = fn(&Scan<'_>, &mut Vec<Hit>);

const DETECTORS: [Detector; 17] = [
    secret::find,
    email::find,
    ip::find,
    id_card::find,
    social_credit::find,
    bank_card::find,
    mobile::find,
    landline::find,
    permit::find,
    plate::find,
    messenger::find,
    order::find,
    account::find,
    address::find,
    address_en::find,
    name::find,
    name_en::find,
];

/// All that is found, in order and without overlaps.
pub(super) fn find(scan: &Scan<'_>) -> Vec<Hit> {
    let mut hits = Vec::new();
    for detector in DETECTORS {
        detector(scan, &mut hits);
    }
    hits.retain(|hit| !hit.span.is_empty());
    hits.sort_by_key(|hit| std::cmp::Reverse((hit.weight, hit.span.len())));
    let mut chosen: Vec<Hit> = Vec::new();
    for hit in hits {
        if let Some(rest) = free(hit, &chosen) {
            chosen.push(rest);
        }
    }
    chosen.sort_by_key(|hit| hit.span.start);
    chosen
}

/// What the chosen ones leave of a hit, at its longest: an address goes on before the telephone number it swallowed.
fn free(mut hit: Hit, chosen: &[Hit]) -> Option<Hit> {
    for other in chosen {
        let (a, b) = (&hit.span, &other.span);
        if a.start < b.end && b.start < a.end {
            if hit.kind != Kind::Address {
                return None;
            }
            let before = a.start..b.start.max(a.start);
            let after = b.end.min(a.end)..a.end;
            hit.span = if before.len() >= after.len() { before } else { after };
            if hit.span.len() < 4 {
                return None;
            }
        }
    }
    Some(hit)
}
