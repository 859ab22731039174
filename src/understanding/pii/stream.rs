//! Masking a text that comes in pieces: nothing is let go of before what follows is known.

use super::{Masked, Masker};

/// Characters that are held back at the least. No telephone, card or code with its cue is longer; security.md asks for 32.
const HELD: usize = 64;
/// Characters held back at the most: a name or a number goes no further.
const MOST: usize = 512;
/// Characters of what was let go of that are read again, for the words that announce a value.
const CONTEXT: usize = 64;

/// Masks a stream of text. What went in comes out masked, later: at most [`StreamMasker::finish`] has the last of it.
#[derive(Debug)]
pub struct StreamMasker {
    masker: Masker,
    /// What was let go of last, as it came.
    context: String,
    held: String,
    secret: bool,
}

impl StreamMasker {
    /// A stream masked as `masker` does.
    #[must_use]
    pub fn new(masker: Masker) -> Self {
        Self {
            masker,
            context: String::new(),
            held: String::new(),
            secret: false,
        }
    }

    /// Takes a piece; returns what is certain by now.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        let count = self.held.chars().count();
        if count <= HELD {
            String::new()
        } else {
            self.release(count - HELD)
        }
    }

    /// The rest.
    pub fn finish(&mut self) -> String {
        let count = self.held.chars().count();
        self.release(count)
    }

    /// Whether a secret went by.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.secret
    }

    /// Lets go of up to `wanted` characters, but of no part of a value that reaches further.
    fn release(&mut self, wanted: usize) -> String {
        let before = self.context.chars().count();
        let all = format!("{}{}", self.context, self.held);
        let Masked { found, .. } = self.masker.mask(&all);
        let count = self.held.chars().count();
        let whole = wanted == count;
        let mut cut = before + wanted;
        if !whole {
            for finding in found.iter().rev() {
                if finding.span.start < cut && finding.span.end >= cut {
                    cut = finding.span.start.max(before);
                }
            }
            // Not within a number or a word, which the next piece may complete.
            let chars: Vec<char> = all.chars().collect();
            let joined = |place: usize| {
                chars[place - 1].is_alphanumeric()
                    && chars[place].is_alphanumeric()
                    && !(crate::domain::is_han(chars[place]) || crate::domain::is_han(chars[place - 1]))
            };
            while cut > before && cut < chars.len() && joined(cut) {
                cut -= 1;
            }
            if cut == before && count > MOST {
                cut = before + wanted;
            }
        }
        let mut out = String::new();
        let mut place = before;
        let chars: Vec<char> = all.chars().collect();
        for finding in found
            .iter()
            .filter(|finding| finding.span.end > before && finding.span.start < cut)
        {
            let start = finding.span.start.max(place);
            out.extend(&chars[place..start]);
            if finding.mask.is_empty() {
                out.extend(&chars[start..finding.span.end.min(cut)]);
            } else {
                out.push_str(&finding.mask);
            }
            self.secret |= finding.kind == super::Kind::Secret;
            place = finding.span.end.max(start);
        }
        let cut = cut.max(place);
        out.extend(&chars[place..cut.max(place)]);
        self.held = chars[cut..].iter().collect();
        self.context = chars[cut.saturating_sub(CONTEXT)..cut].iter().collect();
        out
    }
}
