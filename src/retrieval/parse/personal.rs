//! Personal data in documents and FAQs: a list of customers among the manuals, an example that is somebody's card.
//!
//! Everybody may be told what the knowledge base says, so numbers that belong to one person are masked before anything of a document is
//! stored. Which kinds these are is policy: names, addresses and telephones of a company's own people belong into its documents.

use super::{BlockKind, FaqRow, ParsedDocument};
use crate::understanding::pii::Masker;
use std::ops::Range;

/// A part with fewer digits holds no such number: most parts need not be looked at.
const LEAST_DIGITS: usize = 7;

/// `text` with masks, if it changes.
fn masked(text: &str, masker: &Masker, count: &mut usize) -> Option<String> {
    let found = changes(text, masker);
    if found.is_empty() {
        return None;
    }
    *count += found.len();
    Some(replaced(text, &found))
}

/// `text` with the masks in their places.
fn replaced(text: &str, found: &[(Range<usize>, String)]) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for (range, mask) in found {
        out.push_str(&text[at..range.start]);
        out.push_str(mask);
        at = range.end;
    }
    out.push_str(&text[at..]);
    out
}

/// The bytes of `text` that a mask replaces, in order.
fn changes(text: &str, masker: &Masker) -> Vec<(Range<usize>, String)> {
    // Chinese numerals and other ways around a filter are for chats: nobody hides a number in a manual.
    if text.chars().filter(|c| c.is_numeric()).count() < LEAST_DIGITS {
        return Vec::new();
    }
    let found = masker.mask(text).found.into_iter();
    found
        .filter(|finding| !finding.mask.is_empty())
        .map(|finding| (finding.bytes, finding.mask))
        .collect()
}

impl ParsedDocument {
    /// The document with masks in place of what `masker` finds, and how many there are.
    pub(in crate::retrieval) fn masked(mut self, masker: &Masker) -> (Self, usize) {
        let mut count = 0;
        if let Some(title) = self.title.as_ref().and_then(|title| masked(title, masker, &mut count)) {
            self.title = Some(title);
        }
        // Before the first block stands the front matter, which is kept with the text.
        let first = self.blocks.first().map_or(self.text.len(), |block| block.range.start);
        let mut found = changes(&self.text[..first], masker);
        for block in &mut self.blocks {
            let start = block.range.start;
            let here = changes(&self.text[block.range.clone()], masker);
            if !here.is_empty()
                && let BlockKind::Heading { text, .. } = &mut block.kind
                && let Some(heading) = masked(text, masker, &mut 0)
            {
                *text = heading;
            }
            found.extend(
                here.into_iter()
                    .map(|(range, mask)| (range.start + start..range.end + start, mask)),
            );
        }
        if found.is_empty() {
            return (self, count);
        }
        // Where each replaced part ended, and how far what follows moves.
        let mut by = 0;
        let moves: Vec<(usize, isize)> = found
            .iter()
            .map(|(range, mask)| {
                by += mask.len() as isize - range.len() as isize;
                (range.end, by)
            })
            .collect();
        let moved = |place: usize| -> usize {
            let before = moves.partition_point(|(end, _)| *end <= place);
            let by = before.checked_sub(1).map_or(0, |last| moves[last].1);
            place.saturating_add_signed(by)
        };
        for block in &mut self.blocks {
            block.range = moved(block.range.start)..moved(block.range.end);
        }
        for page in &mut self.pages {
            *page = moved(*page);
        }
        self.text = replaced(&self.text, &found);
        count += found.len();
        (self, count)
    }
}

impl FaqRow {
    /// Puts masks in place of what `masker`, one for documents, finds; how many.
    pub fn mask(&mut self, masker: &Masker) -> usize {
        let mut count = 0;
        for text in [&mut self.question, &mut self.answer]
            .into_iter()
            .chain(&mut self.variants)
        {
            if let Some(masked) = masked(text, masker, &mut count) {
                *text = masked;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::DocumentFormat;
    use crate::retrieval::parse::parse_document;
    use crate::understanding::pii::Masker;

    const CARD: &str = "6222021234567890128";
    const ID: &str = "310115198504032911";

    #[test]
    fn places_follow_what_is_masked() {
        let source = format!(
            "---\nauthor: {ID}\n---\n# 名单 {ID}\n\n客服电话400-000-8600，网点经理张伟 13800138000。\n\n| 姓名 | 卡号 | 额度 |\n| --- | --- | --- |\n| 王芳 | {CARD} | 5000 |\n| 李雷 | {CARD} | 6000 |\n\n结束语。\n"
        );
        let parsed = parse_document(source.as_bytes(), DocumentFormat::Markdown).unwrap();
        let parts: Vec<String> = parsed
            .blocks
            .iter()
            .map(|block| parsed.text[block.range.clone()].to_owned())
            .collect();
        let (masked, count) = parsed.masked(&Masker::default().for_documents());
        masked.check().unwrap();
        assert!(
            !masked.text.contains(CARD) && !masked.text.contains(ID),
            "{}",
            masked.text
        );
        assert!(count >= 3, "{count}");
        assert!(masked.text.contains("13800138000") && masked.text.contains("王芳") && masked.text.contains("5000"));
        let now: Vec<&str> = masked
            .blocks
            .iter()
            .map(|block| &masked.text[block.range.clone()])
            .collect();
        assert_eq!(now.len(), parts.len());
        assert_eq!(now.last().copied(), Some("结束语。"));
        for (was, is) in parts.iter().zip(now) {
            assert_eq!(was.lines().count(), is.lines().count(), "{was} {is}");
        }
    }

    #[test]
    fn a_document_without_any_is_left_as_it_is() {
        // A line of the sample base, which was masked at first.
        let line = "银行客服400-000-8600（24小时），信用卡400-000-8611（24小时），商城400-000-8700（8:00–22:00）。护照号如E12345678。";
        assert_eq!(super::masked(line, &Masker::default().for_documents(), &mut 0), None);
        let parsed = parse_document(
            "订单号 20261122000123456789 的发票\n\n费率 0.05%".as_bytes(),
            DocumentFormat::Text,
        )
        .unwrap();
        let (masked, count) = parsed.clone().masked(&Masker::default().for_documents());
        assert_eq!((masked, count), (parsed, 0));
    }
}
