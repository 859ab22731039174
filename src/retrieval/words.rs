//! Search by words: BM25 (Robertson and Zaragoza 2009) over the living texts of several indexes, scored as if they were one
//! index that never held anything else.
//!
//! How rare a word is, and how long texts are on the average, is counted over all living texts, of all scopes: it is a
//! property of the language of the knowledge base. What a viewer may not be told is not found.

use super::RetrievalError;
use super::expand::Wanted;
use super::lexical::{Gone, LexicalIndex};
use std::cell::RefCell;
use std::collections::HashMap;
use tantivy::Term;
use tantivy::query::{Bm25StatisticsProvider, BooleanQuery, BoostQuery, EnableScoring, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption};

/// How much more a word in a title counts than one in the body.
const TITLE_BOOST: f32 = 2.0;
/// Terms of a question that are searched; the rarest, where it has more.
const MAX_QUERY_TERMS: usize = 96;

/// A text that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FoundText {
    /// The index it is in, by its place among the parts.
    pub(super) part: usize,
    /// Its place in that index.
    pub(super) text: u32,
    /// Its BM25 score.
    pub(super) score: f32,
}

/// Several indexes of words, for one question.
pub(super) struct Words<'a> {
    parts: Vec<(&'a LexicalIndex, &'a Gone)>,
    texts: u64,
    /// In how many texts a term is, once it was asked for.
    frequencies: RefCell<HashMap<Term, u64>>,
}

impl<'a> Words<'a> {
    /// The texts of all `parts` that are not gone.
    pub(super) fn new(parts: Vec<(&'a LexicalIndex, &'a Gone)>) -> Self {
        let texts = parts
            .iter()
            .map(|(index, gone)| (index.texts() - gone.texts.count()) as u64)
            .sum();
        Self {
            parts,
            texts,
            frequencies: RefCell::default(),
        }
    }

    /// The `limit` best of the texts that are not gone and that `allowed` admits (part and place), with their BM25 scores,
    /// best first, equal ones in order of part and place.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn search(
        &self,
        wanted: &Wanted,
        limit: usize,
        allowed: &dyn Fn(usize, u32) -> bool,
    ) -> Result<Vec<FoundText>, RetrievalError> {
        let Some(query) = self.query(wanted)?.filter(|_| limit > 0) else {
            return Ok(Vec::new());
        };
        let mut best: Vec<FoundText> = Vec::with_capacity(limit + 1);
        for (part, (index, gone)) in self.parts.iter().enumerate() {
            let Some(searcher) = index.searcher() else { continue };
            let weight = query.weight(EnableScoring::enabled_from_statistics_provider(self, searcher))?;
            let least = |best: &[FoundText]| match best.last() {
                Some(last) if best.len() == limit => last.score,
                _ => f32::MIN,
            };
            // What scores no more than the least of a full list is not even looked at, which is what makes it fast.
            weight.for_each_pruning(least(&best), searcher.segment_reader(0), &mut |text, score| {
                if !gone.texts.contains(text) && allowed(part, text) {
                    let place = best.partition_point(|other| other.score >= score);
                    best.insert(place, FoundText { part, text, score });
                    best.truncate(limit);
                }
                least(&best)
            })?;
        }
        Ok(best)
    }

    fn query(&self, wanted: &Wanted) -> Result<Option<BooleanQuery>, RetrievalError> {
        let Some((index, _)) = self.parts.first() else {
            return Ok(None);
        };
        let mut terms: Vec<(u64, &str, f32)> = Vec::new();
        for term in &wanted.own {
            let frequency = self.frequency(term)?;
            if frequency > 0 {
                terms.push((frequency, term, 1.0));
            }
        }
        terms.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        terms.truncate(MAX_QUERY_TERMS);
        for (term, weight) in &wanted.added {
            if self.frequency(term)? > 0 {
                terms.push((0, term, *weight));
            }
        }
        let mut clauses: Vec<Box<dyn Query>> = Vec::with_capacity(terms.len() * 2);
        for (_, term, weight) in &terms {
            let of = |field, boost: f32| -> Box<dyn Query> {
                let term = Term::from_field_text(field, term);
                Box::new(BoostQuery::new(
                    Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)),
                    boost,
                ))
            };
            clauses.push(of(index.fields().title, TITLE_BOOST * weight));
            clauses.push(of(index.fields().body, *weight));
        }
        Ok((!clauses.is_empty()).then(|| BooleanQuery::union(clauses)))
    }

    /// How rare a word is: ln(1 + (N - n + 0.5) / (n + 0.5)) for a word in n of N texts (the weight in BM25). A word
    /// that no text was cut into counts as the rarest of its pairs of characters that occur.
    ///
    /// # Errors
    /// What tantivy says.
    pub(super) fn rarity(&self, word: &str) -> Result<f32, RetrievalError> {
        if self.texts == 0 {
            return Ok(1.0);
        }
        let mut frequency = self.frequency(word)?;
        let ends: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
        if frequency == 0 && ends.len() > 3 && word.chars().all(crate::domain::is_han) {
            let mut rarest = u64::MAX;
            for pair in ends.windows(3) {
                let pair = self.frequency(&word[pair[0]..pair[2]])?;
                rarest = if pair > 0 { rarest.min(pair) } else { rarest };
            }
            frequency = if rarest == u64::MAX { 0 } else { rarest };
        }
        let (all, with) = (self.texts as f32, frequency as f32);
        Ok(((all - with).max(0.0) + 0.5).mul_add(1.0 / (with + 0.5), 1.0).ln())
    }

    /// In how many texts a term occurs, in title or body, whichever is more.
    pub(super) fn frequency(&self, term: &str) -> Result<u64, RetrievalError> {
        let Some((index, _)) = self.parts.first() else {
            return Ok(0);
        };
        let of = |field| self.doc_freq(&Term::from_field_text(field, term));
        Ok(of(index.fields().title)?.max(of(index.fields().body)?))
    }
}

impl Bm25StatisticsProvider for Words<'_> {
    fn total_num_tokens(&self, field: Field) -> tantivy::Result<u64> {
        let parts = self.parts.iter();
        Ok(parts.map(|(index, gone)| index.living_tokens(field, gone)).sum())
    }

    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.texts)
    }

    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        if let Some(frequency) = self.frequencies.borrow().get(term) {
            return Ok(*frequency);
        }
        let mut frequency = 0;
        for (index, gone) in &self.parts {
            frequency += index.living_frequency(term, gone)?;
        }
        self.frequencies.borrow_mut().insert(term.clone(), frequency);
        Ok(frequency)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lexical::Entry;
    use super::super::mask::Mask;
    use super::*;

    const TEXTS: [(&str, &str); 4] = [
        ("信用卡 挂失", "信用卡遗失后请立即致电客服热线办理挂失。"),
        ("信用卡 年费", "普卡免年费，金卡每年 200 元，刷满六次免次年年费。"),
        ("退货政策", "签收后七天内可以退货，运费由买家承担。"),
        ("Return policy", "Items can be returned within 7 days of delivery."),
    ];

    fn index(texts: &[(&str, &str)]) -> LexicalIndex {
        let entry = |(title, body): &(&str, &str)| Entry {
            title: (*title).to_owned(),
            body: (*body).to_owned(),
        };
        LexicalIndex::build(&texts.iter().map(entry).collect::<Vec<_>>()).unwrap()
    }

    fn best(index: &LexicalIndex, query: &str) -> Option<u32> {
        let gone = Gone::default();
        let words = Words::new(vec![(index, &gone)]);
        words
            .search(&Wanted::of(query), 3, &|_, _| true)
            .unwrap()
            .first()
            .map(|found| found.text)
    }

    #[test]
    fn words_find_their_text_in_both_languages() {
        let index = index(&TEXTS);
        assert_eq!(best(&index, "卡丢了，怎么办理挂失呢"), Some(0));
        assert_eq!(best(&index, "年费多少"), Some(1));
        assert_eq!(best(&index, "七天退货"), Some(2));
        assert_eq!(best(&index, "returning an item: policies?"), Some(3));
        assert_eq!(best(&index, "天气"), None);
        assert_eq!(best(&index, "，"), None);
    }

    #[test]
    fn rare_words_weigh_more() {
        let index = index(&TEXTS);
        let gone = Gone::default();
        let words = Words::new(vec![(&index, &gone)]);
        let rarity = |word| words.rarity(word).unwrap();
        assert!(rarity("信用卡") < rarity("挂失"));
        assert!(rarity("挂失") < rarity("天气"));
        // Never a word of its own here, but its characters occur.
        assert!(rarity("信用卡年费") < rarity("天气预报"));
    }

    #[test]
    fn a_very_long_question_is_searched_by_its_rarest_words() {
        let query = format!("{} 挂失", "信用卡办理业务流程".repeat(400));
        assert_eq!(best(&index(&TEXTS), &query), Some(0));
    }

    #[test]
    fn parts_score_as_one_index_of_what_is_living() {
        let whole = index(&TEXTS);
        let before = index(&[TEXTS[0], ("信用卡 年费", "旧的年费，信用卡信用卡。"), TEXTS[1]]);
        let mut mask = Mask::new(3);
        mask.insert(1);
        let gone = before.gone(mask).unwrap();
        let after = index(&TEXTS[2..]);
        let none = Gone::default();
        let one = Words::new(vec![(&whole, &none)]);
        let parts = Words::new(vec![(&before, &gone), (&after, &none)]);
        for query in ["信用卡年费", "信用卡退货运费", "return 信用卡", "挂失"] {
            let wanted = one.search(&Wanted::of(query), 4, &|_, _| true).unwrap();
            let found = parts.search(&Wanted::of(query), 4, &|_, _| true).unwrap();
            let number = |found: &FoundText| [[0, 9, 1], [2, 3, 9]][found.part][found.text as usize];
            assert_eq!(
                found.iter().map(number).collect::<Vec<_>>(),
                wanted.iter().map(|f| f.text).collect::<Vec<_>>()
            );
            for (a, b) in found.iter().zip(&wanted) {
                assert!((a.score - b.score).abs() < 1e-5, "{query}: {a:?} {b:?}");
            }
            let only = parts.search(&Wanted::of(query), 1, &|part, _| part == 1).unwrap();
            assert!(only.iter().all(|found| found.part == 1));
        }
        for word in ["信用卡", "年费", "天气", "退货政策"] {
            assert!(
                (one.rarity(word).unwrap() - parts.rarity(word).unwrap()).abs() < 1e-6,
                "{word}"
            );
        }
    }
}
