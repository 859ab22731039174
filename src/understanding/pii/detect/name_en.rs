//! Names in English: after words that announce them, after titles, and frequent first names with a capital.

use super::super::Kind;
use super::super::scan::Scan;
use super::{Hit, Weight};
use std::collections::HashSet;
use std::sync::LazyLock;

const CUES: [&str; 17] = [
    "my name is",
    "name is",
    "name's",
    "name:",
    "i am called",
    "this is",
    "i am",
    "i'm",
    "signed,",
    "regards,",
    "sincerely,",
    "dear",
    "attn:",
    "recipient:",
    "contact:",
    "cardholder:",
    "partner's name",
];
/// Cues that other words follow as well: only capitals are believed.
const WEAK: [&str; 4] = ["this is", "i am", "i'm", "dear"];
const TITLES: [&str; 14] = [
    "mr.", "mrs.", "ms.", "dr.", "mr", "mrs", "ms", "dr", "miss", "prof.", "prof", "sir", "madam", "herr",
];
const STOPS: [&str; 40] = [
    "not",
    "a",
    "an",
    "the",
    "is",
    "sir",
    "madam",
    "customer",
    "team",
    "support",
    "on",
    "in",
    "at",
    "and",
    "my",
    "your",
    "from",
    "calling",
    "looking",
    "trying",
    "having",
    "very",
    "so",
    "happy",
    "sorry",
    "wrong",
    "incorrect",
    "appears",
    "still",
    "also",
    "here",
    "just",
    "going",
    "interested",
    "service",
    "please",
    "because",
    "about",
    "to",
    "it",
];
/// Frequent first names that are no ordinary words.
const FIRST: &str = "james john robert michael william david richard joseph thomas charles christopher daniel matthew anthony donald steven paul andrew joshua kenneth kevin brian george edward ronald timothy jason jeffrey ryan jacob gary nicholas eric jonathan stephen larry justin scott brandon benjamin samuel gregory frank alexander \
    raymond patrick jack dennis jerry tyler aaron jose henry adam douglas nathan peter zachary kyle walter harold jeremy ethan carl keith roger gerald christian terry sean arthur austin noah lawrence jesse joe bryan billy jordan albert dylan bruce willie gabriel alan juan logan wayne ralph roy eugene randy vincent russell louis philip \
    bobby johnny bradley mary patricia jennifer linda elizabeth barbara susan jessica sarah karen nancy lisa margaret betty sandra ashley dorothy kimberly emily donna michelle carol amanda melissa deborah stephanie rebecca laura sharon cynthia kathleen helen amy shirley angela anna ruth brenda pamela nicole katherine virginia catherine \
    christine samantha debra janet rachel carolyn emma maria heather diane julie joyce victoria kelly christina lauren joan evelyn olivia judith megan cheryl andrea hannah martha jacqueline frances gloria ann teresa kathryn sara janice jean alice madison doris abigail julia judy sophia tracy taylor frank filip dustin honore jakobine \
    kendra arne lucas oliver liam mia isabella charlotte amelia ava wei ming fang jing xiaoming xiaohong ivan igor olga marta pedro pablo carlos luis jorge miguel antonio diego fernando ricardo mohamed mohammed ahmed ali hassan fatima aisha yuki hiroshi kenji takashi priya rahul amit sanjay anita lars sven ingrid astrid bjorn hans klaus \
    jurgen gunter heinz francois pierre jacques marie claire giovanni marco luca paolo giulia";

static FIRST_NAMES: LazyLock<HashSet<&str>> = LazyLock::new(|| FIRST.split_whitespace().collect());

pub(super) fn find(scan: &Scan<'_>, hits: &mut Vec<Hit>) {
    let mut place = 0;
    while place < scan.chars.len() {
        let letter = scan.chars[place].is_alphabetic() && !crate::domain::is_han(scan.chars[place]);
        if !letter || scan.before(place).is_some_and(char::is_alphanumeric) {
            place += 1;
            continue;
        }
        if let Some(end) = announced(scan, place).or_else(|| frequent(scan, place)) {
            hits.push(end.clone());
            place = end.span.end.max(place + 1);
        } else {
            place = word_end(scan, place).max(place + 1);
        }
    }
}

fn word_end(scan: &Scan<'_>, place: usize) -> usize {
    let part = |c: &&char| c.is_alphabetic() && !crate::domain::is_han(**c) || matches!(c, '\'' | '-' | '’');
    let mut end = place + scan.slice(place..).iter().take_while(part).count();
    // Whose it is does not belong to it.
    if end >= place + 2 && scan.lower[end - 1] == 's' && matches!(scan.chars[end - 2], '\'' | '’') {
        end -= 2;
    }
    end
}

fn capital(scan: &Scan<'_>, place: usize) -> bool {
    scan.at(place).is_some_and(char::is_uppercase)
}

/// A name after a cue or a title that begins at a place.
fn announced(scan: &Scan<'_>, place: usize) -> Option<Hit> {
    let cue = CUES
        .iter()
        .filter_map(|cue| scan.starts(place, cue).map(|length| (length, *cue)))
        .max_by_key(|(length, _)| *length);
    let title = TITLES.iter().filter_map(|title| scan.starts(place, title)).max();
    let (length, weak) = match (cue, title) {
        (Some((length, cue)), _) => (length, WEAK.contains(&cue)),
        (None, Some(length)) => (length, false),
        (None, None) => return None,
    };
    let mut start = scan.skip(place + length, &[' ', ':', '\n', '"']);
    if start == place + length && title.is_none() && !matches!(scan.before(start), Some(':' | ',')) {
        return None;
    }
    // "my name is Mr. Smith"
    if let Some(title) = TITLES.iter().filter_map(|title| scan.starts(start, title)).max() {
        start = scan.skip(start + title, &[' ']);
    }
    let capitals = weak || title.is_some() && cue.is_none();
    let end = words(scan, start, capitals && scan.chars[place].is_uppercase() || weak);
    let known = !weak || word_is_first(scan, start) || capital(scan, start) && scan.starts(place, "dear").is_none();
    (end > start && known).then_some(Hit {
        kind: Kind::Name,
        span: start..end,
        weight: Weight::Cue,
    })
}

fn word_is_first(scan: &Scan<'_>, start: usize) -> bool {
    let word: String = scan.lower_slice(start..word_end(scan, start)).iter().collect();
    FIRST_NAMES.contains(word.as_str())
}

/// The end of up to three words of a name.
fn words(scan: &Scan<'_>, start: usize, capitals: bool) -> usize {
    let mut end = start;
    let mut at = start;
    for count in 0..3 {
        let next = word_end(scan, at);
        let word: String = scan.lower_slice(at.min(next)..next).iter().collect();
        let cased = capital(scan, at);
        // In small letters one word, then only what is not a word of a sentence.
        let stops = STOPS.contains(&word.as_str()) || (capitals || count > 0) && !cased;
        if next == at || stops {
            break;
        }
        end = next;
        let initial = next - at == 1 && scan.at(next) == Some('.');
        at = next + usize::from(initial);
        if scan.at(at) != Some(' ') {
            break;
        }
        at += 1;
    }
    end
}

/// A frequent first name with a capital, with the family name after it.
fn frequent(scan: &Scan<'_>, place: usize) -> Option<Hit> {
    if !capital(scan, place) || !word_is_first(scan, place) {
        return None;
    }
    let end = words(scan, place, true);
    Some(Hit {
        kind: Kind::Name,
        span: place..end,
        weight: Weight::Shape,
    })
}
