//! Answers that code works out from the tables among what was found.

use super::assistant::{Assistant, Gone, Sink};
use super::disagree::{Newer, newer, same_subject};
use super::evidence::Evidence;
use super::facts::Facts;
use super::grounding::unsupported;
use super::quote::{Detail, Quote};
use super::table::{self, Kind, Place, TableAnswer};
use super::{DialogueError, ReplyEvent, replies};
use crate::domain::{KbVersion, Language, Passage};
use crate::retrieval::{Found, Source};
use crate::understanding::normalise;

/// Passages that one table is read from at most.
const MAX_PARTS: usize = 24;
/// What speaks of a whole table (which is the cheapest, how many there are) is taken from one of the first hits alone: any table has a
/// cheapest row, and only the search tells which table is meant.
const OVERVIEW_HITS: usize = 3;

/// An answer from a table, with the passages that hold it.
pub(super) struct Tabled {
    answer: TableAnswer,
    /// What the places of the answer point into.
    parts: Vec<Evidence>,
    /// The place of its first passage among the hits.
    hit: usize,
    /// What another document's table says, and whether that one is older.
    other: Option<(Box<Tabled>, bool)>,
}

impl Assistant {
    /// What the tables among the hits that are read answer; `None` where none surely does, or where it is not known which does.
    pub(super) async fn tabled(&self, question: &str, found: &Found) -> Result<Option<Tabled>, DialogueError> {
        let mut all: Vec<Tabled> = Vec::new();
        for (hit, of) in found.hits.iter().enumerate().take(self.config.read_top_k) {
            let Source::Passage(passage) = &of.source else { continue };
            if !passage.text.contains('|') {
                continue;
            }
            let (parts, open_end) = self.whole_tables(passage).await?;
            let texts: Vec<&str> = parts.iter().map(|part| part.text.as_str()).collect();
            let source = table::Source {
                titles: &parts[0].title_path,
                parts: &texts,
                open_end,
            };
            let Some(answer) = table::answer(question, &source) else {
                continue;
            };
            if answer.kind == Kind::Overview && hit >= OVERVIEW_HITS {
                continue;
            }
            let tabled = Tabled {
                answer,
                parts: parts.iter().map(Evidence::of_passage).collect(),
                hit,
                other: None,
            };
            if tabled.is_supported(question) {
                all.push(tabled);
            }
        }
        self.settle(question, all, found).await
    }

    /// The passage with those beside it that its tables begin or go on in, and whether they may go on further still.
    async fn whole_tables(&self, passage: &Passage) -> Result<(Vec<Passage>, bool), DialogueError> {
        if !(table::begins_within(&passage.text) || table::ends_within(&passage.text)) {
            return Ok((vec![passage.clone()], false));
        }
        let all = self.retriever.document_passages(passage.document_id).await?;
        let Some(own) = all.iter().position(|other| other.id == passage.id) else {
            return Ok((vec![passage.clone()], true));
        };
        let (mut first, mut last) = (own, own);
        while first > 0
            && own - first < MAX_PARTS
            && table::begins_within(&all[first].text)
            && table::ends_within(&all[first - 1].text)
        {
            first -= 1;
        }
        let goes_on = |last: usize| {
            let next = all.get(last + 1);
            table::ends_within(&all[last].text) && next.is_some_and(|next| table::begins_within(&next.text))
        };
        while last - first < MAX_PARTS && goes_on(last) {
            last += 1;
        }
        let open_end = goes_on(last);
        Ok((all[first..=last].to_vec(), open_end))
    }

    /// The first of the answers; the others must say the same, or be another document's about the same.
    async fn settle(&self, question: &str, all: Vec<Tabled>, found: &Found) -> Result<Option<Tabled>, DialogueError> {
        let mut all = all.into_iter();
        let Some(mut first) = all.next() else { return Ok(None) };
        for other in all {
            if other.answer.values == first.answer.values {
                continue;
            }
            let (one, two) = (&first.parts[0], &other.parts[0]);
            if one.document_id == two.document_id || !same_subject(&one.title, &two.title, question) {
                return Ok(None);
            }
            // Two others that differ: more than one sentence can say.
            if first.other.is_some() {
                return Ok(None);
            }
            let [own_date, other_date] = [
                self.date(&found.hits[first.hit].source).await?,
                self.date(&found.hits[other.hit].source).await?,
            ];
            first = match newer(own_date, other_date) {
                Newer::First => first.contradicted_by(other, true),
                Newer::Second => other.contradicted_by(first, true),
                Newer::Neither => first.contradicted_by(other, false),
            };
        }
        Ok(Some(first))
    }

    /// Sends the sentence with the rows that prove it.
    pub(super) async fn answer_table(
        &self,
        tabled: &Tabled,
        language: Language,
        kb_version: KbVersion,
        sink: &mut Sink,
    ) -> Result<(), Gone> {
        let mut text = replies::table_frame(language, &tabled.parts[0].title);
        text.push_str(&tabled.answer.sentence);
        let mut n = 0;
        for place in &tabled.answer.rows {
            n += 1;
            let citation = tabled.parts[place.part].cite(n, place.bytes.clone(), kb_version);
            sink.send(ReplyEvent::Citation(citation)).await?;
            text.extend(["[", &n.to_string(), "]"]);
        }
        text.push('\n');
        text.push_str(&tabled.shown());
        if let Some((other, older)) = &tabled.other {
            n += 1;
            if let Some(place) = other.answer.rows.first() {
                let part = &other.parts[place.part];
                sink.send(ReplyEvent::Citation(part.cite(n, place.bytes.clone(), kb_version)))
                    .await?;
                let says = other.answer.sentence.trim_end_matches(['。', '.']);
                text.push_str(replies::disagreement(language, &part.title, says, n, *older).trim_start());
            }
        }
        sink.say(text).await
    }
}

impl Tabled {
    fn contradicted_by(mut self, other: Self, older: bool) -> Self {
        self.other = Some((Box::new(other), older));
        self
    }

    /// Whether the question names two things or more and the column, and nothing contradicts but an older source, which is named.
    pub(super) fn is_sure(&self) -> bool {
        let settled = self.other.as_ref().is_none_or(|(_, older)| *older);
        self.answer.kind == Kind::Compared && self.answer.names.len() > 2 && settled
    }

    /// Whether a FAQ that is surely meant may be left for it: it compares what the FAQ only states, and the values that it was worked
    /// out from are the FAQ's as well; one of them is enough where the question names all things and the column.
    pub(super) fn replaces_faq(&self, found: &Found) -> bool {
        let Some(best) = found.faqs.first().filter(|best| !best.exact) else {
            return false;
        };
        let facts = Facts::of(&best.faq.answer);
        let words = normalise(&best.faq.answer);
        let states = |value: &String| {
            let own = Facts::of(value).quantities;
            let said = own.is_empty() && words.contains(&normalise(value));
            said || (!own.is_empty() && own.iter().all(|quantity| facts.support(quantity)))
        };
        let mut values = self.answer.values.iter();
        if self.is_sure() {
            // A FAQ about one of the things answers half of the question.
            return values.any(states);
        }
        self.answer.kind == Kind::Overview && self.other.is_none() && values.all(states)
    }

    /// Whether what would be quoted instead does not say otherwise. A value that stands in a cell is left to the reader, unless that
    /// quotes the same document.
    pub(super) fn agrees_with(&self, found: &Found) -> bool {
        let Some(best) = found.hits.first().map(Evidence::of) else {
            return true;
        };
        if best.document_id == self.parts[0].document_id {
            return true;
        }
        if self.answer.kind == Kind::Values {
            return false;
        }
        let quoted = &best.text[best.quoted(None, Detail::Fact).part];
        let words = normalise(quoted);
        if !self.answer.names.iter().any(|name| words.contains(&normalise(name))) {
            return true;
        }
        let said = Facts::of(quoted);
        let own: Vec<_> = self
            .answer
            .values
            .iter()
            .flat_map(|value| Facts::of(value).quantities)
            .collect();
        let same_kind = said
            .quantities
            .iter()
            .any(|quantity| own.iter().any(|own| own.unit == quantity.unit));
        !same_kind || own.iter().any(|quantity| said.support(quantity))
    }

    /// Whether each number of the sentence stands in its source, in the question, or is the difference of two that do.
    fn is_supported(&self, question: &str) -> bool {
        let mut sources: Vec<&str> = vec![question];
        for part in &self.parts {
            sources.extend([part.text.as_str(), part.title.as_str()]);
        }
        unsupported(&self.answer.sentence, &sources).is_empty()
    }

    /// Head and rows as a table of its own.
    fn shown(&self) -> String {
        let line = |place: &Place| {
            let shown = Quote::part(place.bytes.clone()).shown(&self.parts[place.part].text);
            format!("{}\n", shown.trim())
        };
        let mut text: String = self.answer.head.iter().map(line).collect();
        text.extend(["|", &" --- |".repeat(self.answer.columns), "\n"]);
        text.extend(self.answer.rows.iter().map(line));
        text
    }
}
