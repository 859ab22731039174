//! What an answer rests on.

use super::quote::{Detail, Quote, quote_around};
use crate::domain::{Citation, KbVersion, Passage, PassageId};
use crate::inference::AnswerPlace;
use crate::retrieval::{Hit, Source};
use uuid::Uuid;

/// One source of an answer.
pub(super) struct Evidence {
    pub(super) document_id: Uuid,
    pub(super) passage_id: PassageId,
    pub(super) title: String,
    pub(super) text: String,
    /// First byte of `text` in the document.
    offset: usize,
    pub(super) passage: Option<Passage>,
    /// Where the reader sees the answer in `text`.
    pub(super) answer: AnswerPlace,
}

impl Evidence {
    pub(super) fn of(hit: &Hit) -> Self {
        let answer = hit.answer.clone().unwrap_or_default();
        match &hit.source {
            Source::Passage(passage) => Self {
                answer,
                ..Self::of_passage(passage)
            },
            Source::Faq(faq) => Self {
                document_id: faq.id.0,
                passage_id: PassageId(faq.id.0),
                title: faq.question.clone(),
                text: faq.answer.clone(),
                offset: 0,
                passage: None,
                answer,
            },
        }
    }

    /// A passage that no reader has looked at.
    pub(super) fn of_passage(passage: &Passage) -> Self {
        Self {
            document_id: passage.document_id.0,
            passage_id: passage.id,
            title: passage.title(),
            text: passage.text.clone(),
            offset: passage.start,
            passage: Some(passage.clone()),
            answer: AnswerPlace::default(),
        }
    }

    /// What is quoted of it; `also` is where a second reader sees the answer, and is quoted along where that is near.
    pub(super) fn quoted(&self, also: Option<&std::ops::Range<usize>>, detail: Detail) -> Quote {
        match &self.passage {
            None => Quote::part(0..self.text.len()),
            Some(_) => quote_around(&self.text, &self.answer, also, detail),
        }
    }

    /// Its words in these bytes, as the `n`th source of an answer.
    pub(super) fn cite(&self, n: u32, quote: std::ops::Range<usize>, kb_version: KbVersion) -> Citation {
        Citation {
            n,
            document_id: self.document_id,
            title: self
                .passage
                .as_ref()
                .map_or_else(|| self.title.clone(), Passage::cited_title),
            passage_id: self.passage_id,
            quote: self.text[quote.clone()].to_owned(),
            start: self.offset + quote.start,
            end: self.offset + quote.end,
            kb_version,
        }
    }
}
