//! Personal data in what customers write: found in every spelling, and masked by rules that are data.
//!
//! [`Masker::mask`] reads a text (folded by [`View`], so that full-width digits, look-alikes and invisible characters are
//! seen through), takes what the detectors find and puts masks in its place. What is kept for the vault is a
//! [`Clear`], which shows itself to nobody. Masking what is masked changes nothing.

mod detect;
mod kind;
mod lexicon;
mod policy;
mod scan;
mod stream;

use super::normalise::View;
use crate::domain::Language;
use detect::{Hit, Weight};
use scan::Scan;
use std::fmt;
use std::ops::Range;

pub use kind::Kind;
pub use policy::{Action, BANK_POLICY, DEFAULT_POLICY, Policy, PolicyError, Rule};
pub use stream::StreamMasker;

/// Characters of what was said before that are read together with a message.
const TAIL: usize = 120;

/// A value in the clear, on its way to the vault. Shows itself neither in logs nor in messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Clear(String);

impl Clear {
    /// A value.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself, for the vault and for whom it is revealed to.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Clear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Something that was found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// What became of it.
    pub action: Action,
    /// Its characters in the text as it was written.
    pub span: Range<usize>,
    /// Its bytes in the text as it was written.
    pub bytes: Range<usize>,
    /// The characters of its mask in the masked text (of the value itself where it is kept).
    pub masked_span: Range<usize>,
    /// What took its place; empty where it is kept.
    pub mask: String,
    /// The value as it was written; `None` where it is kept or must be forgotten.
    pub clear: Option<Clear>,
}

/// A text without personal data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// The text with masks.
    pub text: String,
    /// What was found, in order.
    pub found: Vec<Finding>,
    /// How many characters at the end of what was said before belong to a value that goes on in this text: that text wants
    /// to be masked anew, together with this one.
    pub reaches_back: usize,
}

impl Masked {
    /// Whether a secret (password, code) was in it.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.found.iter().any(|finding| finding.kind == Kind::Secret)
    }

    /// Whether anything was masked or dropped.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.found.iter().any(|finding| finding.action != Action::Keep)
    }
}

/// Whether a masked text says that a secret was dropped from it.
#[must_use]
pub fn tells_of_secret(text: &str) -> bool {
    [Language::Zh, Language::En]
        .iter()
        .any(|language| text.contains(&Kind::Secret.dropped(*language)))
}

/// Finds and masks by a policy.
#[derive(Clone, Debug, Default)]
pub struct Masker {
    policy: Policy,
    /// Only what a checksum proves.
    proven: bool,
}

impl Masker {
    /// A masker by `policy`.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, proven: false }
    }

    /// Its policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A masker for documents and FAQs (see [`Policy::for_documents`]). It masks what a checksum proves alone: of a manual no number
    /// may be lost that only looks like somebody's.
    #[must_use]
    pub fn for_documents(&self) -> Self {
        Self {
            policy: self.policy.for_documents(),
            proven: true,
        }
    }

    /// `text` with masks. Cost: linear in its length.
    #[must_use]
    pub fn mask(&self, text: &str) -> Masked {
        self.mask_after("", "", text)
    }

    /// `text` with masks, where `said` is what the same person said directly before, as it is stored, and `asked` what was answered to
    /// that: a number that goes on from one message to the next is found, and so is a name that was asked for.
    #[must_use]
    pub fn mask_after(&self, said: &str, asked: &str, text: &str) -> Masked {
        let (mut found, mut reaches_back) = (self.find(text), 0);
        if !said.is_empty() {
            let tail = tail(said);
            let (more, back) = self.beyond(tail, text);
            reaches_back = back;
            merge(&mut found, more);
        }
        if !asked.is_empty() {
            merge(&mut found, self.beyond(tail(asked), text).0);
        }
        let mut masked = apply(text, found);
        masked.reaches_back = reaches_back;
        masked
    }

    /// What is found in `text` together with what stands before: its parts within `text`, and how far the first of them reaches
    /// back.
    fn beyond(&self, before: &str, text: &str) -> (Vec<Found>, usize) {
        let joined = format!("{before}\n{text}");
        let seam = before.chars().count() + 1;
        let mut back = 0;
        let found = self
            .find(&joined)
            .into_iter()
            .filter(|found| found.span.end > seam)
            .map(|mut found| {
                if found.span.start < seam && found.action != Action::Keep {
                    back = seam.saturating_sub(1 + found.span.start);
                }
                found.span = found.span.start.saturating_sub(seam)..found.span.end - seam;
                found
            })
            .collect();
        (found, back)
    }

    fn find(&self, text: &str) -> Vec<Found> {
        let view = View::of(text);
        let scan = Scan::of(&view);
        let masks = masks(&scan);
        let hidden = |hit: &Hit| {
            masks
                .iter()
                .any(|mask| hit.span.start < mask.end && mask.start < hit.span.end)
        };
        let hits = detect::find(&scan)
            .into_iter()
            .filter(|hit| !(is_word(hit.kind) && hidden(hit)))
            .filter(|hit| !self.proven || hit.weight >= Weight::Proven);
        let language = Language::detect(text);
        hits.filter_map(|hit| self.found(&view, &scan, hit, language)).collect()
    }

    fn found(&self, view: &View, scan: &Scan<'_>, hit: Hit, language: Language) -> Option<Found> {
        let value: String = scan.chars[hit.span.clone()].iter().collect();
        let telephone = matches!(hit.kind, Kind::Mobile | Kind::Landline);
        if telephone && self.policy.is_public(&value) {
            return None;
        }
        let district = if hit.kind == Kind::Address {
            detect::district(scan, hit.span.start, hit.span.end)
        } else {
            0
        };
        let action = self.policy.action(hit.kind);
        let mask = if action == Action::Keep {
            String::new()
        } else {
            self.policy.mask(hit.kind, &value, district, language)
        };
        let span = view.chars_of(hit.span);
        Some(Found {
            kind: hit.kind,
            action,
            span,
            mask,
        })
    }
}

/// Puts the masks in their places.
fn apply(text: &str, found: Vec<Found>) -> Masked {
    let bytes: Vec<usize> = text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect();
    let mut masked = Masked {
        text: String::with_capacity(text.len()),
        ..Masked::default()
    };
    let (mut done, mut length) = (0, 0);
    for Found {
        kind,
        action,
        span,
        mask,
    } in found
    {
        let range = bytes[span.start]..bytes[span.end];
        masked.text.push_str(&text[bytes[done]..range.start]);
        length += span.start - done;
        let value = &text[range.clone()];
        let shown = if action == Action::Keep { value } else { &mask };
        masked.text.push_str(shown);
        let shown = shown.chars().count();
        masked.found.push(Finding {
            kind,
            action,
            clear: (action == Action::Mask).then(|| Clear::new(value.to_owned())),
            masked_span: length..length + shown,
            bytes: range,
            mask,
            span: span.clone(),
        });
        length += shown;
        done = span.end;
    }
    masked.text.push_str(&text[bytes[done]..]);
    masked
}

/// A hit with its place in the original and its mask.
#[derive(Clone, Debug)]
struct Found {
    kind: Kind,
    action: Action,
    span: Range<usize>,
    mask: String,
}

/// Whether values of a kind are words: what is left of them in a mask may look like one again.
fn is_word(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Name | Kind::Address | Kind::WeChat | Kind::Account | Kind::Ip
    )
}

/// The masks that name their kind: from bracket to bracket, with stars and hardly a digit.
fn masks(scan: &Scan<'_>) -> Vec<Range<usize>> {
    let mut masks = Vec::new();
    for start in (0..scan.chars.len()).filter(|place| scan.chars[*place] == '[') {
        let inner = scan.slice(start + 1..start + 60);
        let Some(end) = inner.iter().position(|c| *c == ']') else {
            continue;
        };
        let inner = &inner[..end];
        let digits = inner.iter().filter(|c| c.is_ascii_digit()).count();
        let text: String = inner.iter().collect();
        let named = |language| {
            Kind::ALL.iter().any(|kind| {
                text.strip_prefix(kind.word(language))
                    .is_some_and(|rest| rest.starts_with(':'))
            })
        };
        let dropped = text.ends_with("已删除") || text.ends_with(" removed");
        if digits < 5 && (dropped || text.contains("**") && (named(Language::Zh) || named(Language::En))) {
            masks.push(start..start + end + 2);
        }
    }
    masks
}

/// Adds what was found in another reading. Where two overlap, what hides more stands.
fn merge(found: &mut Vec<Found>, more: Vec<Found>) {
    for other in more {
        let hides = |found: &Found| {
            if found.action == Action::Keep {
                0
            } else {
                found.span.len()
            }
        };
        let overlaps = |one: &Found| one.span.start < other.span.end && other.span.start < one.span.end;
        let rivals: usize = found.iter().filter(|one| overlaps(one)).map(hides).sum();
        if !found.iter().any(overlaps) || hides(&other) > rivals {
            found.retain(|one| !overlaps(one));
            found.push(other);
        }
    }
    found.sort_by_key(|found| found.span.start);
}

/// The last characters of a text.
fn tail(text: &str) -> &str {
    let start = text.char_indices().rev().nth(TAIL - 1).map_or(0, |(byte, _)| byte);
    &text[start..]
}

#[cfg(test)]
mod tests;
