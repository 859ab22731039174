//! Addresses in English: a number and a street, or what follows a word for an address up to the end.

use super::super::Kind;
use super::super::scan::Scan;
use super::{Hit, Weight};

const STREETS: [&str; 30] = [
    "street",
    "st",
    "road",
    "rd",
    "avenue",
    "ave",
    "boulevard",
    "blvd",
    "lane",
    "ln",
    "drive",
    "dr",
    "court",
    "ct",
    "way",
    "square",
    "place",
    "terrace",
    "highway",
    "hwy",
    "parkway",
    "pkwy",
    "close",
    "crescent",
    "rue",
    "strasse",
    "platz",
    "via",
    "calle",
    "alley",
];
const CUES: [&str; 12] = [
    "address is",
    "address:",
    "address to",
    "address with",
    "addresses, here they are:",
    "live at",
    "lives at",
    "living at",
    "lived in",
    "return to",
    "ship to",
    "deliver to",
];
const ZIP: [&str; 4] = ["zip", "zip code", "postcode", "postal code"];
/// Characters that an address has at most.
const LONGEST: usize = 90;

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    for place in 0..scan.chars.len() {
        if let Some(length) = CUES.iter().filter_map(|cue| scan.starts(place, cue)).max() {
            after_cue(scan, place + length, hits);
        }
        if let Some(length) = ZIP.iter().filter_map(|cue| scan.starts(place, cue)).max() {
            let start = scan.skip(place + length, &[' ', ':']);
            let end = scan.token_end(start, &['-']);
            let digits = scan.slice(start..end).iter().filter(|c| c.is_ascii_digit()).count();
            if digits >= 4 && end - start <= 10 {
                hits.push(Hit {
                    kind: Kind::Address,
                    span: start..end,
                    weight: Weight::Cue,
                });
            }
        }
        if scan.chars[place].is_ascii_digit()
            && !scan
                .before(place)
                .is_some_and(|c| c.is_ascii_alphanumeric() || c == '.')
        {
            numbered(scan, place, hits);
        }
    }
}

/// What follows a cue: from its first number on to the end of the sentence, over short lines.
fn after_cue(scan: &Scan<'_>, cue: usize, hits: &mut Vec<Hit>) {
    let start = scan.skip(cue, &[' ', ':', '\n']);
    if !scan.at(start).is_some_and(|c| c.is_ascii_digit()) {
        return;
    }
    let mut end = start;
    let mut place = start;
    while place < scan.chars.len() && place - start < LONGEST {
        let c = scan.chars[place];
        let stop = matches!(c, '?' | '!' | ';')
            || crate::domain::is_han(c)
            || c == '.' && scan.at(place + 1).is_none_or(char::is_whitespace) && !abbreviated(scan, place);
        if stop
            || [" for ", " in case", " as ", " on ", " if ", " please", " and my", ". "]
                .iter()
                .any(|word| scan.starts(place, word).is_some() && place - start > 10 && *word != ". ")
        {
            break;
        }
        if c.is_alphanumeric() {
            end = place + 1;
        }
        place += 1;
    }
    if end - start >= 6 {
        hits.push(Hit {
            kind: Kind::Address,
            span: start..end,
            weight: Weight::Cue,
        });
    }
}

fn abbreviated(scan: &Scan<'_>, dot: usize) -> bool {
    let length = scan.slice(..dot).iter().rev().take_while(|c| c.is_alphabetic()).count();
    (1..=4).contains(&length)
}

/// 23 8 Wressle Road, Suite 771, Springfield, IL 62704.
fn numbered(scan: &Scan<'_>, place: usize, hits: &mut Vec<Hit>) {
    let mut at = scan.token_end(place, &['-']);
    if at - place > 6 {
        return;
    }
    let mut words = 0;
    while words < 6 {
        let start = scan.skip(at, &[' ', '.']);
        if start == at {
            return;
        }
        let length = scan
            .slice(start..)
            .iter()
            .take_while(|c| c.is_alphanumeric() && !crate::domain::is_han(**c) || matches!(c, '\'' | '-'))
            .count();
        if length == 0 {
            return;
        }
        at = start + length;
        words += 1;
        let word: String = scan.lower_slice(start..at).iter().collect();
        let capital = scan.chars[start].is_uppercase();
        let street = STREETS.contains(&word.as_str())
            || ["strasse", "straße", "straat", "gasse", "gata", "gatan", "vägen", "weg"]
                .iter()
                .any(|end| word.len() > end.len() + 2 && word.ends_with(end));
        if street && words >= 1 && (words > 1 || word.len() > 6) {
            let end = tail(scan, at);
            hits.push(Hit {
                kind: Kind::Address,
                span: place..end,
                weight: Weight::Cue,
            });
            return;
        }
        if !capital
            && !word.chars().all(|c| c.is_ascii_digit())
            && !scan.cue(place, 24, &["address", "live", "lives", "at", "to"])
        {
            return;
        }
    }
}

/// Apartment, town, state and code after a street.
fn tail(scan: &Scan<'_>, street: usize) -> usize {
    let mut end = street;
    for _ in 0..8 {
        let start = scan.skip(end, &[' ', ',', '.', '#', '\n']);
        let length = scan
            .slice(start..)
            .iter()
            .take_while(|c| c.is_alphanumeric() && !crate::domain::is_han(**c) || matches!(c, '-'))
            .count();
        let Some(first) = scan.at(start).filter(|_| length > 0) else {
            break;
        };
        let word: String = scan.lower_slice(start..start + length).iter().collect();
        let unit = matches!(
            word.as_str(),
            "apt" | "suite" | "unit" | "floor" | "flat" | "room" | "nan"
        );
        if !(unit || first.is_ascii_digit() || first.is_uppercase()) || start - end > 3 {
            break;
        }
        end = start + length;
    }
    end
}
