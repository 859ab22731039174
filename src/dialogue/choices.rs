//! What is shown where nothing is sure enough to be the answer: the places where it may be, in the sources' own words, to
//! choose from.

use super::assistant::{Assistant, Gone, Sink};
use super::evidence::Evidence;
use super::quote::{Detail, Quote};
use super::two_readers::Second;
use super::{ReplyEvent, replies};
use crate::domain::Language;
use crate::retrieval::{Found, Hit, rank};
use std::ops::Range;

/// Places shown at most.
const PLACES: usize = 3;

/// How likely a hit must be the best beside the first to be shown, as a difference of logarithms: a seventh.
const LIKELY: f32 = -2.0;

/// What is said of the places.
#[derive(Clone, Copy, Debug)]
pub(super) enum Opening<'a> {
    /// The first is rather the answer than not.
    Likely,
    /// They may be related.
    Unsure,
    /// The question names a company that no source names.
    Stranger(&'a str),
}

/// One place.
struct Place {
    evidence: Evidence,
    quote: Quote,
}

impl Place {
    /// Where the first reader sees the answer in `hit`, or, where `at` is given, there.
    fn of(hit: &Hit, at: Option<&Range<usize>>) -> Self {
        let evidence = Evidence::of(hit);
        let quote = match (at, &evidence.passage) {
            (Some(at), Some(_)) => Quote::at(&evidence.text, at.clone()),
            _ => evidence.quoted(None, Detail::Fact),
        };
        Self { evidence, quote }
    }

    /// Whether all of `other` stands in it.
    fn holds(&self, other: &Self) -> bool {
        self.evidence.passage_id == other.evidence.passage_id
            && self.quote.part.start <= other.quote.part.start
            && other.quote.part.end <= self.quote.part.end
    }
}

/// Where the answer may be: the first hit, where a second reader sees it, and what of other documents is nearly as likely as the
/// first.
fn places(found: &Found, second: Option<&Second>) -> Vec<Place> {
    let Some(best) = found.hits.first() else {
        return Vec::new();
    };
    let mut places = vec![Place::of(best, None)];
    let mut show = |place: Place| {
        if places.len() < PLACES && places.iter().all(|shown| !shown.holds(&place)) {
            places.push(place);
        }
    };
    if let Some((at, part)) = second.and_then(|second| second.place.as_ref())
        && let Some(hit) = found.hits.get(*at)
    {
        show(Place::of(hit, Some(part)));
    }
    let likely = |hit: &&Hit| hit.scores.reading.is_some() && rank(hit) - rank(best) >= LIKELY;
    let mut documents = vec![Evidence::of(best).document_id];
    for hit in found.hits.iter().skip(1).filter(likely) {
        let place = Place::of(hit, None);
        if !documents.contains(&place.evidence.document_id) {
            documents.push(place.evidence.document_id);
            show(place);
        }
    }
    places
}

impl Assistant {
    /// Shows the places where the answer may be, each with its words.
    pub(super) async fn clarify(
        &self,
        found: &Found,
        second: Option<&Second>,
        opening: Opening<'_>,
        language: Language,
        sink: &mut Sink,
    ) -> Result<(), Gone> {
        let places = places(found, second);
        let opening = match opening {
            Opening::Likely => replies::clarify(places.len(), true, language).to_owned(),
            Opening::Unsure => replies::clarify(places.len(), false, language).to_owned(),
            Opening::Stranger(name) => replies::clarify_stranger(name, language),
        };
        sink.say(opening).await?;
        for (n, Place { evidence, quote }) in (1_u32..).zip(places) {
            sink.send(ReplyEvent::Citation(evidence.cite(
                n,
                quote.part.clone(),
                found.kb_version,
            )))
            .await?;
            let shown = quote.shown(&evidence.text);
            sink.say(format!("\n\n**{}**\n{}[{n}]", evidence.title, shown.trim_end()))
                .await?;
        }
        sink.say(format!("\n\n{}", replies::clarify_end(language))).await
    }
}

#[cfg(test)]
mod tests {
    use super::places;
    use crate::domain::{DocumentId, KbVersion, Passage, PassageId};
    use crate::inference::AnswerPlace;
    use crate::retrieval::{Found, Hit, Scores, Source};

    fn hit(document_id: DocumentId, text: &str, reading: f32) -> Hit {
        let passage = Passage {
            id: PassageId::new(),
            document_id,
            ordinal: 0,
            title_path: Vec::new(),
            page: None,
            text: text.to_owned(),
            start: 0,
            end: text.len(),
        };
        Hit {
            source: Source::Passage(passage),
            scores: Scores {
                fused: 0.2,
                reading: Some(reading),
                ..Scores::default()
            },
            answer: Some(AnswerPlace::default()),
        }
    }

    #[test]
    fn what_is_far_less_likely_and_what_was_shown_is_not_shown() {
        let (one, two, three) = (DocumentId::new(), DocumentId::new(), DocumentId::new());
        let found = Found {
            faqs: Vec::new(),
            hits: vec![
                hit(one, "金卡年费300元。", 4.0),
                hit(one, "金卡首年免年费。", 3.5),
                hit(two, "白金卡年费900元。", 3.0),
                hit(three, "营业时间九点到五点。", -6.0),
            ],
            kb_version: KbVersion(1),
            unknown: Vec::new(),
            embed_ms: 0.0,
            search_ms: 0.0,
        };
        let shown: Vec<String> = places(&found, None)
            .iter()
            .map(|place| place.evidence.text.clone())
            .collect();
        assert_eq!(shown, ["金卡年费300元。", "白金卡年费900元。"]);
    }
}
