//! Answers where sources disagree: the newer one is answered from, and the other named.

use super::assistant::{Assistant, Gone, Sink};
use super::disagree::{Claim, Dated, Newer, newer, same_subject};
use super::evidence::Evidence;
use super::quote::Detail;
use super::{DialogueError, ReplyEvent, replies};
use crate::domain::{KbVersion, Language};
use crate::retrieval::{Found, Source};

/// Log-odds from which a source is taken to answer: more likely than not.
const ANSWERS: f32 = 0.0;
/// Sources named beside the one that is answered from.
const NAMED: usize = 2;

/// Sources that say different things to one question.
pub(super) struct Disagreement {
    /// What is answered from.
    best: Evidence,
    /// The others with what they say, and whether they are known to be older.
    others: Vec<(Evidence, Claim, bool)>,
}

impl Assistant {
    /// How old a source is, as far as it is known.
    pub(super) async fn date(&self, source: &Source) -> Result<Option<Dated>, DialogueError> {
        let date = self.retriever.source_date(source).await?;
        Ok(date.map(|date| (date.since, date.effective)))
    }

    /// The best hit with those that contradict it; `None` if none does. The newest of them comes first.
    pub(super) async fn disagreement(
        &self,
        question: &str,
        found: &Found,
    ) -> Result<Option<Disagreement>, DialogueError> {
        let hits = found.hits.iter().take(self.config.read_top_k);
        let mut claims = hits
            .filter(|hit| hit.scores.reading.is_some_and(|odds| odds > ANSWERS))
            .map(|hit| (hit, Evidence::of(hit)));
        let Some((best_hit, best)) = claims.next() else {
            return Ok(None);
        };
        // Only against what would be quoted: the first hit of all.
        if !found.hits.first().is_some_and(|first| std::ptr::eq(first, best_hit)) {
            return Ok(None);
        }
        let Some(claim) = Claim::at(&best.text, &best.answer) else {
            return Ok(None);
        };
        let mut others = Vec::new();
        for (hit, other) in claims {
            let differs = other.document_id != best.document_id && same_subject(&best.title, &other.title, question);
            let Some(says) =
                Claim::at(&other.text, &other.answer).filter(|says| differs && says.contradicts(&claim, question))
            else {
                continue;
            };
            others.push((other, says, self.date(&hit.source).await?));
        }
        if others.is_empty() {
            return Ok(None);
        }
        let own = (best, claim, self.date(&best_hit.source).await?);
        let mut all: Vec<(Evidence, Claim, Option<Dated>)> = std::iter::once(own).chain(others).collect();
        let newest = (1..all.len()).fold(0, |newest, at| {
            if newer(all[newest].2, all[at].2) == Newer::Second {
                at
            } else {
                newest
            }
        });
        let (best, claim, date) = all.remove(newest);
        let others: Vec<_> = all
            .into_iter()
            .filter(|(_, says, _)| says.contradicts(&claim, question))
            .map(|(other, says, other_date)| (other, says, newer(date, other_date) == Newer::First))
            .take(NAMED)
            .collect();
        Ok((!others.is_empty()).then_some(Disagreement { best, others }))
    }

    /// Quotes the newest source, and says what the others say.
    pub(super) async fn answer_disagreement(
        &self,
        of: &Disagreement,
        language: Language,
        kb_version: KbVersion,
        sink: &mut Sink,
    ) -> Result<(), Gone> {
        self.quote(&of.best, None, Detail::Fact, language, kb_version, sink)
            .await?;
        for (n, (other, says, older)) in (2_u32..).zip(&of.others) {
            let citation = other.cite(n, says.quote.clone(), kb_version);
            sink.send(ReplyEvent::Citation(citation)).await?;
            sink.say(replies::disagreement(language, &other.title, says.said(), n, *older))
                .await?;
        }
        Ok(())
    }
}
