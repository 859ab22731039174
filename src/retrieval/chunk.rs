//! Cutting documents into passages: along headings, then blocks, then sentences.
//!
//! A passage is exactly a stretch of the document's text, so that a citation can point into it. What a stretch lacks to
//! be understood alone stands in its title path: the headings above it and, for the later parts of a table that is too
//! long for one passage, the table's header row.

use super::RetrievalError;
use super::parse::{Block, BlockKind, ParsedDocument};
use super::searchable::{plain, searchable_passage};
use super::split::{self, Grain};
use crate::domain::{DocumentId, Passage, PassageId};
use crate::inference::InferenceError;
use std::ops::Range;
use std::sync::Arc;

/// How long passages are, in tokens of the embedding model, titles included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassageLimits {
    /// What a passage aims at.
    pub target: usize,
    /// What no passage exceeds.
    pub max: usize,
}

/// Tokens of a text as a passage, prefix and special tokens included.
pub type CountTokens<'a> = dyn Fn(&str) -> Result<usize, InferenceError> + 'a;

/// Cuts `parsed` into passages. Together they hold every character of all blocks but white space and tables of contents,
/// in order.
///
/// Cost: each character is tokenised about twice.
///
/// # Errors
/// What `count` says.
pub fn chunk(
    document_id: DocumentId,
    title: &str,
    parsed: &ParsedDocument,
    limits: PassageLimits,
    count: &CountTokens<'_>,
) -> Result<Vec<Passage>, RetrievalError> {
    let chunker = Chunker {
        parsed,
        text: &parsed.text,
        limits,
        count,
        overhead: count("")?,
    };
    let mut drafts: Vec<Draft> = Vec::new();
    for section in sections(title, &parsed.blocks) {
        let packed = chunker.pack(&section)?;
        drafts.extend(packed);
    }
    let mut passages = Vec::new();
    for draft in merge_short(drafts, limits, &parsed.text) {
        chunker.finish(document_id, draft, &mut passages)?;
    }
    Ok(passages)
}

/// The blocks under one heading, the heading first.
struct Section<'a> {
    path: Vec<String>,
    blocks: &'a [Block],
}

fn sections<'a>(title: &str, blocks: &'a [Block]) -> Vec<Section<'a>> {
    let mut sections = Vec::new();
    let mut above: Vec<(u8, &str)> = Vec::new();
    let mut start = 0;
    for end in 1..=blocks.len() {
        if end < blocks.len() && !matches!(blocks[end].kind, BlockKind::Heading { .. }) {
            continue;
        }
        if let BlockKind::Heading { level, text } = &blocks[start].kind {
            above.retain(|(other, _)| other < level);
            above.push((*level, text));
        }
        let mut path = vec![title.to_owned()];
        path.extend(
            above
                .iter()
                .map(|(_, text)| (*text).to_owned())
                .skip_while(|text| text == title),
        );
        sections.push(Section {
            path,
            blocks: &blocks[start..end],
        });
        start = end;
    }
    sections
}

/// A stretch of text that is not cut further.
#[derive(Clone)]
struct Piece {
    range: Range<usize>,
    tokens: usize,
    /// The header row of the table that this piece is a later part of.
    table_header: Option<Arc<str>>,
}

/// A passage in the making.
#[derive(Clone)]
struct Draft {
    path: Vec<String>,
    path_tokens: usize,
    pieces: Vec<Piece>,
    /// Tokens of the pieces.
    tokens: usize,
    /// Whether it is its section's only one.
    whole_section: bool,
    /// Whether there is more in it than headings.
    has_body: bool,
}

struct Chunker<'a> {
    parsed: &'a ParsedDocument,
    text: &'a str,
    limits: PassageLimits,
    count: &'a CountTokens<'a>,
    overhead: usize,
}

impl Chunker<'_> {
    fn tokens(&self, text: &str) -> Result<usize, InferenceError> {
        Ok((self.count)(text)?.saturating_sub(self.overhead))
    }

    /// Packs the blocks of a section into drafts of about the target's length.
    fn pack(&self, section: &Section<'_>) -> Result<Vec<Draft>, RetrievalError> {
        let path = self.fit_path(&section.path)?;
        let path_tokens = self.tokens(&path.join(" "))? + self.overhead;
        let target = self
            .limits
            .target
            .saturating_sub(path_tokens)
            .max(self.limits.target / 2);
        let max = self.limits.max.saturating_sub(path_tokens + 2).max(1);
        let empty = || Draft {
            path: path.clone(),
            path_tokens,
            pieces: Vec::new(),
            tokens: 0,
            whole_section: false,
            has_body: false,
        };
        let mut drafts = Vec::new();
        let mut open = empty();
        for block in section.blocks {
            if block.kind == BlockKind::Navigation {
                // A passage is one stretch of the text: what came before ends here. A heading alone is in the path.
                let before = std::mem::replace(&mut open, empty());
                drafts.extend(Some(before).filter(|before| before.has_body));
                continue;
            }
            let body = !matches!(block.kind, BlockKind::Heading { .. });
            for group in self.pieces(block, target, max, open.tokens)? {
                let fits = open.tokens + group.tokens <= target;
                // A heading does not stay behind alone, and a short rest takes the next piece along.
                let scanty = !open.has_body || open.tokens < target / 4;
                if !(open.pieces.is_empty() || fits || (scanty && open.tokens + group.tokens <= max)) {
                    drafts.push(std::mem::replace(&mut open, empty()));
                }
                open.tokens += group.tokens;
                open.has_body |= body;
                open.pieces.push(group);
            }
        }
        if let Some(last) = drafts.last_mut()
            && open.tokens < target / 4
            && last.tokens + open.tokens <= max
            && adjoin(self.text, last, &open)
        {
            last.tokens += open.tokens;
            last.pieces.append(&mut open.pieces);
        } else if !open.pieces.is_empty() {
            drafts.push(open);
        }
        if let [only] = drafts.as_mut_slice() {
            only.whole_section = true;
        }
        Ok(drafts)
    }

    /// A block as pieces: whole where it fits (what is open may still grow by `target - used`), else cut at its
    /// natural borders, finer where a part is still too long.
    fn pieces(&self, block: &Block, target: usize, max: usize, used: usize) -> Result<Vec<Piece>, RetrievalError> {
        let grains: &[Grain] = match block.kind {
            BlockKind::Heading { .. } | BlockKind::Paragraph => &[Grain::Sentence, Grain::Line],
            BlockKind::List | BlockKind::Navigation => &[Grain::Item, Grain::Line, Grain::Sentence],
            BlockKind::Table | BlockKind::Code => &[Grain::Line],
        };
        let whole = self.piece(block.range.clone(), max)?;
        if let Some(whole) = &whole {
            // Tables and code lose their sense when cut; text is cut at a sentence if it would overshoot much.
            let atomic = matches!(
                block.kind,
                BlockKind::Table | BlockKind::Code | BlockKind::Heading { .. }
            );
            if atomic || whole.tokens <= target || used + whole.tokens <= target {
                return Ok(vec![whole.clone()]);
            }
        }
        let mut pieces = Vec::new();
        self.cut(block.range.clone(), grains, target, max, &mut pieces)?;
        if block.kind == BlockKind::Table {
            let header = self.table_header(&block.range);
            for piece in pieces.iter_mut().skip(1) {
                piece.table_header.clone_from(&header);
            }
        }
        Ok(pieces)
    }

    /// The piece of that range if it has at most `max` tokens.
    fn piece(&self, range: Range<usize>, max: usize) -> Result<Option<Piece>, RetrievalError> {
        // A token of ordinary text has about four bytes: what is four times as long need not be counted.
        if range.len() > max.saturating_mul(16) {
            return Ok(None);
        }
        let tokens = self.tokens(&plain(&self.text[range.clone()]))?;
        Ok((tokens <= max).then_some(Piece {
            range,
            tokens,
            table_header: None,
        }))
    }

    fn cut(
        &self,
        range: Range<usize>,
        grains: &[Grain],
        target: usize,
        max: usize,
        pieces: &mut Vec<Piece>,
    ) -> Result<(), RetrievalError> {
        let (grain, finer) = match grains {
            [grain, finer @ ..] => (*grain, finer),
            [] => return self.cut_anywhere(range, max, pieces),
        };
        // Parts much shorter than a passage are counted together.
        let together = target.div_ceil(8) * 4;
        for part in split::split(self.text, range, grain, together) {
            match self.piece(part.clone(), max)? {
                Some(piece) => pieces.push(piece),
                None => self.cut(part, finer, target, max, pieces)?,
            }
        }
        Ok(())
    }

    /// Cuts what has no natural border left: after clauses, between words, at last between characters.
    fn cut_anywhere(&self, range: Range<usize>, max: usize, pieces: &mut Vec<Piece>) -> Result<(), RetrievalError> {
        let mut waiting = vec![range];
        while let Some(range) = waiting.pop() {
            match self.piece(range.clone(), max)? {
                Some(piece) => pieces.push(piece),
                None => match split::halve(self.text, range.clone()) {
                    Some((first, second)) => waiting.extend([second, first]),
                    // One character cannot be cut; whatever it counts, it has to go somewhere.
                    None => pieces.push(Piece {
                        range,
                        tokens: max,
                        table_header: None,
                    }),
                },
            }
        }
        Ok(())
    }

    /// The cells of the first row in one line.
    fn table_header(&self, table: &Range<usize>) -> Option<Arc<str>> {
        let line = self.text[table.clone()].lines().next()?;
        let header = plain(line)
            .split('|')
            .map(str::trim)
            .filter(|cell| !cell.is_empty())
            .collect::<Vec<_>>()
            .join(" | ");
        let header: String = header.chars().take(120).collect();
        (!header.is_empty()).then(|| header.into())
    }

    /// The path, with titles shortened where it would take more than a third of a passage.
    fn fit_path(&self, path: &[String]) -> Result<Vec<String>, RetrievalError> {
        let mut path = path.to_vec();
        while self.tokens(&path.join(" "))? > self.limits.max / 3 {
            let Some(longest) = path.iter_mut().max_by_key(|title| title.len()) else {
                break;
            };
            let chars = longest.chars().count();
            if chars > 8 {
                *longest = longest.chars().take(chars / 2).collect();
            } else {
                // Many short titles: the innermost say most.
                path.remove(0);
            }
        }
        Ok(path)
    }

    /// Makes passages of a draft; one, unless counting it as a whole shows that it is too long.
    fn finish(&self, document_id: DocumentId, draft: Draft, passages: &mut Vec<Passage>) -> Result<(), RetrievalError> {
        let mut waiting = vec![draft.pieces];
        while let Some(pieces) = waiting.pop() {
            let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
                continue;
            };
            let mut title_path = draft.path.clone();
            title_path.extend(first.table_header.as_deref().map(str::to_owned));
            let Some(range) = trimmed(self.text, first.range.start..last.range.end) else {
                continue;
            };
            let passage = Passage {
                id: PassageId::new(),
                document_id,
                ordinal: passages.len() as u32,
                title_path,
                text: self.text[range.clone()].to_owned(),
                page: self.parsed.page_of(range.start),
                start: range.start,
                end: range.end,
            };
            if (self.count)(&searchable_passage(&passage))? <= self.limits.max {
                passages.push(passage);
                continue;
            }
            let halves = if pieces.len() > 1 {
                let second = pieces[pieces.len() / 2..].to_vec();
                Some((pieces[..pieces.len() / 2].to_vec(), second))
            } else {
                let part = |range| vec![Piece { range, ..first.clone() }];
                split::halve(self.text, range).map(|(first, second)| (part(first), part(second)))
            };
            match halves {
                Some((first, second)) => waiting.extend([second, first]),
                None => passages.push(passage),
            }
        }
        Ok(())
    }
}

/// Joins neighbouring sections that are too short to be found well alone, if they stand under one heading: a list of
/// one-line sections becomes one passage under their common title.
fn merge_short(drafts: Vec<Draft>, limits: PassageLimits, text: &str) -> Vec<Draft> {
    let mut merged: Vec<Draft> = Vec::new();
    for draft in drafts {
        let Some(last) = merged.last_mut() else {
            merged.push(draft);
            continue;
        };
        let common = last.path.iter().zip(&draft.path).take_while(|(a, b)| a == b).count();
        let siblings = common + 1 >= last.path.len() && common + 1 >= draft.path.len();
        let together = last.tokens + draft.tokens + last.path_tokens.max(draft.path_tokens);
        let short = together <= limits.target / 2 || (!last.has_body && together <= limits.max);
        // A section that was itself cut begins with its own heading's text: it is no short neighbour, unless all that
        // stands before it is a heading.
        let whole = draft.whole_section || !last.has_body;
        if common > 0 && siblings && short && whole && last.whole_section && adjoin(text, last, &draft) {
            if last.has_body || common < last.path.len() {
                last.path.truncate(common);
            } else {
                // Headings alone above the first section that says something: that section's path is the passage's.
                last.path.clone_from(&draft.path);
            }
            last.tokens += draft.tokens;
            last.path_tokens = last.path_tokens.max(draft.path_tokens);
            last.whole_section = draft.whole_section;
            last.has_body |= draft.has_body;
            last.pieces.extend(draft.pieces);
        } else {
            merged.push(draft);
        }
    }
    merged
}

/// Whether nothing but white space stands between two drafts.
fn adjoin(text: &str, first: &Draft, second: &Draft) -> bool {
    match (first.pieces.last(), second.pieces.first()) {
        (Some(last), Some(next)) => text
            .get(last.range.end..next.range.start)
            .is_some_and(|between| between.trim().is_empty()),
        _ => true,
    }
}

fn trimmed(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
    let end = range.start + part.trim_end().len();
    (start < end).then_some(start..end)
}

#[cfg(test)]
mod tests;
