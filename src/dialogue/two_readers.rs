//! Two readers of one question: what the second makes of what was found.

use super::Ask;
use super::assistant::{Assistant, Written};
use super::evidence::Evidence;
use super::quote::Detail;
use super::second_reading::{Limits, SecondReading};
use crate::domain::Language;
use crate::retrieval::{Found, Hit, Source};
use std::ops::Range;
use std::time::Duration;

/// Hits that the second reader may get.
const SECOND_READS: usize = 5;

/// What a second reader made of what was found.
pub(super) struct Second {
    /// How much of what it copied stands in the quotation: 0 to 1.
    pub(super) agreement: f32,
    /// Where it sees the answer: the hit and the part of its text.
    pub(super) place: Option<(usize, Range<usize>)>,
    pub(super) written: Written,
}

/// Places of the hits that the second reader gets: the best one, the others of its document, the rest. What stands beside the best
/// passage is what a wrong part of the right document is told by.
fn neighbours_first(hits: &[Hit]) -> Vec<usize> {
    let document = |hit: &Hit| match &hit.source {
        Source::Passage(passage) => passage.document_id.0,
        Source::Faq(faq) => faq.id.0,
    };
    let best = hits.first().map(document);
    let (mut own, others): (Vec<usize>, Vec<usize>) =
        (0..hits.len()).partition(|at| Some(document(&hits[*at])) == best);
    own.extend(others);
    own.truncate(SECOND_READS);
    own
}

/// The hit that holds most of what the second reader copied (of equals the first), and where.
fn likeliest(evidence: &[Evidence], reading: &SecondReading) -> Option<(usize, Range<usize>)> {
    let mut best: Option<(usize, Range<usize>, f32)> = None;
    for (at, evidence) in evidence.iter().enumerate() {
        if let Some((place, share)) = reading.place(&evidence.text)
            && best.as_ref().is_none_or(|(_, _, most)| share > *most)
        {
            best = Some((at, place, share));
        }
    }
    best.map(|(at, place, _)| (at, place))
}

impl Assistant {
    /// Lets the language model read what would be quoted, if there is one to ask. A model that is too busy or too slow is
    /// done without: the decision then asks for more confidence.
    pub(super) async fn read_again(&self, question: &str, found: &Found, ask: &Ask) -> Option<Second> {
        let model = self.model.as_ref().filter(|_| self.config.second_reading)?;
        let hits = neighbours_first(&found.hits);
        let evidence: Vec<Evidence> = hits.iter().map(|at| Evidence::of(&found.hits[*at])).collect();
        let best = evidence.first()?;
        let quoted = best.quoted(None, Detail::of(question)).shown(&best.text);
        let limits = Limits {
            budget_tokens: self.config.second_reading_tokens,
            time: Duration::from_millis(self.config.second_reading_timeout_ms),
        };
        let passages = evidence.iter().map(|e| (e.title.as_str(), e.text.as_str()));
        let language = Language::detect(question);
        let read = SecondReading::read(
            model.as_ref(),
            question,
            passages,
            language,
            limits,
            ask.visitor.clone(),
        )
        .await;
        match read {
            Ok(reading) => Some(Second {
                agreement: reading.agreement(&quoted),
                place: likeliest(&evidence, &reading).map(|(at, place)| (hits[at], place)),
                written: Written::by(model.as_ref(), reading.usage),
            }),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "deciding without a second reading"
                );
                None
            }
        }
    }
}
