//! The words of a text beside its meaning: n-grams of characters and words, weighed by how rare they are.
//!
//! Source: term frequency and inverse document frequency as in Salton and Buckley, Information Processing & Management 24
//! (1988), with `1 + ln(tf)`; a gram is known by the hash of its characters.

use super::prepare::prepared;
use crate::understanding::simplify;
use std::collections::HashMap;

/// The longest n-gram of characters of a script that writes words without spaces.
const LONGEST_CJK: usize = 4;
/// The longest n-gram of characters within a word.
const LONGEST_LATIN: usize = 5;
/// Characters of a text that are looked at: a head tells what a message is, and that is told early.
const MAX_CHARS: usize = 1000;
/// A number of more digits than this is a number like any other: which one it is says nothing of what is meant. Hotlines have at
/// most five.
const TELLING_DIGITS: usize = 5;

/// Which grams of a set of texts are looked at, with their weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Lexicon {
    /// Hashes, ascending.
    pub hashes: Vec<u64>,
    /// Logarithms of the inverse document frequency, in the order of the hashes.
    pub idf: Vec<f32>,
}

/// The grams of one text: places in a [`Lexicon`] with their weights, each kind (characters, words) of norm 1.
pub(super) type Grams = Vec<(u32, f32)>;

/// Hashes of the grams of a text with how often each occurs, characters and words apart.
#[derive(Default)]
struct Counts([HashMap<u64, u32>; 2]);

impl Lexicon {
    /// The grams that occur in at least `least` of `texts`, the `most` most frequent of them.
    pub(super) fn of<'a>(texts: impl Iterator<Item = &'a str>, least: u32, most: usize) -> Self {
        let mut documents: HashMap<u64, u32> = HashMap::new();
        let mut n = 0_u32;
        for text in texts {
            n += 1;
            for hash in counts(text).0.iter().flat_map(HashMap::keys) {
                *documents.entry(*hash).or_default() += 1;
            }
        }
        let mut known: Vec<(u64, u32)> = documents.into_iter().filter(|(_, count)| *count >= least).collect();
        known.sort_unstable_by_key(|&(hash, count)| (std::cmp::Reverse(count), hash));
        known.truncate(most);
        known.sort_unstable_by_key(|&(hash, _)| hash);
        let idf = |count: u32| ((1.0 + f64::from(n)) / (1.0 + f64::from(count))).ln() as f32 + 1.0;
        Self {
            idf: known.iter().map(|&(_, count)| idf(count)).collect(),
            hashes: known.into_iter().map(|(hash, _)| hash).collect(),
        }
    }

    /// Those of its grams that `text` has, by place.
    pub(super) fn grams(&self, text: &str) -> Grams {
        let mut grams = Grams::new();
        for counts in counts(text).0 {
            let first = grams.len();
            grams.extend(counts.into_iter().filter_map(|(hash, count)| {
                let place = self.hashes.binary_search(&hash).ok()?;
                Some((place as u32, (1.0 + (count as f32).ln()) * self.idf[place]))
            }));
            let kind = &mut grams[first..];
            // A sum of floats depends on its order, and a map has none.
            kind.sort_unstable_by_key(|&(place, _)| place);
            let norm = kind.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
            for (_, weight) in kind {
                *weight /= norm;
            }
        }
        grams.sort_unstable_by_key(|&(place, _)| place);
        grams
    }
}

/// FNV-1a (Fowler, Noll, Vo), with a mark for the kind of gram.
fn hash(kind: u8, characters: &[char]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(kind);
    for byte in characters.iter().flat_map(|c| u32::from(*c).to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

fn counts(text: &str) -> Counts {
    let text: String = text.chars().take(MAX_CHARS).collect();
    let folded = simplify(&prepared(&text)).to_lowercase();
    let mut counts = Counts::default();
    let mut words: Vec<Vec<char>> = Vec::new();
    for run in runs(&folded) {
        let cjk = run.iter().any(|c| is_unspaced(*c));
        let (longest, kind) = if cjk { (LONGEST_CJK, 1) } else { (LONGEST_LATIN, 2) };
        let padded: Vec<char> = [' '].into_iter().chain(run.iter().copied()).chain([' ']).collect();
        for length in 1..=longest {
            for gram in padded.windows(length) {
                // A single letter says nothing, a single Chinese character much.
                if gram != [' '] && (cjk || length > 1) {
                    *counts.0[0].entry(hash(kind, gram)).or_default() += 1;
                }
            }
        }
        if !cjk {
            words.push(run);
        }
    }
    for word in &words {
        *counts.0[1].entry(hash(3, word)).or_default() += 1;
    }
    for pair in words.windows(2) {
        let pair = [&pair[0][..], &[' '], &pair[1][..]].concat();
        *counts.0[1].entry(hash(3, &pair)).or_default() += 1;
    }
    counts
}

/// Words of letters and digits, stretches of a script without spaces, and marks that carry a mood.
fn runs(text: &str) -> Vec<Vec<char>> {
    let mut runs: Vec<Vec<char>> = Vec::new();
    for word in text.split(' ') {
        let mut last = Class::Gap;
        for c in word.chars() {
            let class = Class::of(c);
            if class != Class::Gap && class == last {
                if let Some(run) = runs.last_mut() {
                    run.push(c);
                }
            } else if class != Class::Gap {
                runs.push(vec![c]);
            }
            last = class;
        }
    }
    for run in &mut runs {
        if run.len() > TELLING_DIGITS && run.iter().all(char::is_ascii_digit) {
            *run = vec!['0'];
        } else if run.iter().all(|c| Class::of(*c) == Class::Mark) {
            run.truncate(3);
        }
    }
    runs
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Class {
    Unspaced,
    Letter,
    Digit,
    Mark,
    Gap,
}

impl Class {
    fn of(c: char) -> Self {
        if is_unspaced(c) {
            Self::Unspaced
        } else if c.is_ascii_digit() {
            Self::Digit
        } else if c.is_alphanumeric() || c == '\'' {
            Self::Letter
        } else if matches!(c, '!' | '?') || crate::understanding::is_emoji(c) {
            Self::Mark
        } else {
            Self::Gap
        }
    }
}

/// Whether words of this character's script stand together without spaces (Chinese, Japanese).
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c), 0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(a: &str, b: &str) -> usize {
        let (a, b) = (counts(a), counts(b));
        let keys = |counts: &Counts| counts.0.iter().flat_map(HashMap::keys).copied().collect::<Vec<_>>();
        let b = keys(&b);
        keys(&a).iter().filter(|hash| b.contains(hash)).count()
    }

    #[test]
    fn grams_are_of_one_spelling() {
        assert_eq!(shared("退貨", "退货"), counts("退货").0[0].len());
        assert!(shared("REFUND", "ｒｅｆｕｎｄ") > 10);
        assert_eq!(shared("退货", "refund"), 0);
    }

    #[test]
    fn long_numbers_and_links_are_alike_and_hotlines_are_not() {
        let all = counts("13800138000").0.iter().map(HashMap::len).sum::<usize>();
        assert_eq!(shared("13800138000", "6222021234567890"), all);
        assert_eq!(shared("12315", "96110"), 0);
        assert!(shared("看 https://a.example/x", "看 http://b.example/y") >= 4);
    }

    #[test]
    fn rare_grams_weigh_more_and_each_kind_has_norm_one() {
        let texts = ["card lost", "card stolen", "card", "lost"];
        let lexicon = Lexicon::of(texts.into_iter(), 1, 1000);
        let grams = lexicon.grams("card stolen unknown");
        let norm: f32 = grams.iter().map(|(_, weight)| weight * weight).sum();
        assert!((norm - 2.0).abs() < 1e-5, "{norm}");
        let weight = |word: &str| {
            let place = lexicon
                .hashes
                .binary_search(&hash(3, &word.chars().collect::<Vec<_>>()));
            lexicon.idf[place.unwrap()]
        };
        assert!(weight("stolen") > weight("card"));
        assert!(lexicon.grams("完全没有").is_empty());
        assert_eq!(Lexicon::of(texts.into_iter(), 1, 3).hashes.len(), 3);
    }
}
