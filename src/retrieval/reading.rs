//! Reading what was found: the last and dearest stage. A reader says of each hit whether it answers the question; the
//! hits are put into the order of search and reading together.

use super::{FaqHit, Found, Hit, RetrievalError, Scores, Source};
use crate::inference::{ReadPassage, Reader};

/// What the logarithm of a hit's share in the search and the reader's log-odds count, and the same with a language model's
/// "yes" and the likelihood of the question: conditional logistic models, fitted on the calibration questions outside the program.
/// Right source first, cross-validated: .71 by search and reader (.69 without the reader), .81 with the language model.
const READ: [f32; 2] = [0.815, 0.692];
const JUDGED: [f32; 4] = [0.43, 0.32, 2.6, 1.48];

/// What of a hit is read.
fn passage(source: &Source) -> ReadPassage {
    match source {
        Source::Passage(passage) => ReadPassage {
            title: passage.title(),
            text: passage.text.clone(),
        },
        Source::Faq(faq) => ReadPassage {
            title: faq.question.clone(),
            text: faq.answer.clone(),
        },
    }
}

/// How many of the best FAQs are compared with the question.
const COMPARED: usize = 4;

/// What the log-odds that a FAQ's wording asks the same as the question count beside its rank by search.
const SAME: f32 = 0.68;

/// Compares the best FAQs with the question, each by the wording that is nearest to it, and puts these into the order of search and
/// comparison together; the others stay behind them.
///
/// # Errors
/// What the reader reports.
pub async fn compare_faqs(reader: &dyn Reader, question: &str, hits: &mut [FaqHit]) -> Result<(), RetrievalError> {
    let count = hits.len().min(COMPARED);
    let hits = &mut hits[..count];
    let wordings: Vec<&str> = hits.iter().map(FaqHit::nearest_wording).collect();
    let same = reader.same(question, &wordings).await?;
    for (hit, same) in hits.iter_mut().zip(same) {
        hit.same = Some(same);
    }
    let rank = |hit: &FaqHit| hit.rank + SAME * hit.same.unwrap_or_default();
    hits.sort_by(|a, b| b.exact.cmp(&a.exact).then_with(|| rank(b).total_cmp(&rank(a))));
    Ok(())
}

/// Reads one FAQ under the wording that is nearest to the question.
///
/// # Errors
/// What the reader reports.
pub async fn read_faq(reader: &dyn Reader, question: &str, hit: &mut FaqHit) -> Result<(), RetrievalError> {
    let passage = ReadPassage {
        title: hit.nearest_wording().to_owned(),
        text: hit.faq.answer.clone(),
    };
    let readings = reader.read(question, &[passage]).await?;
    hit.reading = readings.first().map(|reading| reading.log_odds);
    Ok(())
}

/// Reads the first `count` hits and puts these into the order of search and reading together; the others stay behind
/// them.
///
/// # Errors
/// What the reader reports.
pub async fn read_hits(
    reader: &dyn Reader,
    question: &str,
    found: &mut Found,
    count: usize,
) -> Result<(), RetrievalError> {
    let count = count.min(found.hits.len());
    let hits = &mut found.hits[..count];
    let passages: Vec<ReadPassage> = hits.iter().map(|hit| passage(&hit.source)).collect();
    let readings = reader.read(question, &passages).await?;
    for (hit, reading) in hits.iter_mut().zip(readings) {
        hit.scores.reading = Some(reading.log_odds);
        hit.answer = Some(reading.place);
    }
    order_read(hits);
    Ok(())
}

/// Puts hits that were read into the order of search and reading together.
pub fn order_read(hits: &mut [Hit]) {
    hits.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
}

/// The logarithm of how likely a hit is to be the best, but for what all hits of a question have in common.
#[must_use]
pub fn rank(hit: &Hit) -> f32 {
    let Scores {
        fused,
        reading,
        yes,
        likelihood,
        ..
    } = hit.scores;
    let (share, reading) = (fused.max(f32::MIN_POSITIVE).ln(), reading.unwrap_or_default());
    match (yes, likelihood) {
        (Some(yes), Some(likelihood)) => {
            JUDGED[0] * share + JUDGED[1] * reading + JUDGED[2] * yes + JUDGED[3] * likelihood
        }
        _ => READ[0] * share + READ[1] * reading,
    }
}

#[cfg(test)]
mod tests {
    use super::compare_faqs;
    use crate::domain::{Faq, FaqId, Scope};
    use crate::inference::{InferenceError, ReadPassage, Reader, Reading};
    use crate::retrieval::FaqHit;
    use async_trait::async_trait;

    /// Takes questions for the same that begin with the same character.
    struct Beginnings;

    #[async_trait]
    impl Reader for Beginnings {
        fn version(&self) -> &'static str {
            "beginnings"
        }

        async fn read(&self, _: &str, _: &[ReadPassage]) -> Result<Vec<Reading>, InferenceError> {
            Err(InferenceError::Unsupported("reading"))
        }

        async fn same(&self, question: &str, others: &[&str]) -> Result<Vec<f32>, InferenceError> {
            let alike = |other: &&str| other.chars().next() == question.chars().next();
            Ok(others
                .iter()
                .map(|other| if alike(other) { 3.0 } else { -3.0 })
                .collect())
        }
    }

    fn hit(question: &str, rank: f32, exact: bool) -> FaqHit {
        FaqHit {
            faq: Faq {
                id: FaqId::new(),
                key: question.to_owned(),
                question: question.to_owned(),
                variants: Vec::new(),
                answer: String::new(),
                category: String::new(),
                source: String::new(),
                imported_at: jiff::Timestamp::UNIX_EPOCH,
                scope: Scope::default(),
            },
            wording: 0,
            similarity: 0.9,
            overlap: 0.0,
            exact,
            rank,
            same: None,
            reading: None,
        }
    }

    #[tokio::test]
    async fn what_asks_the_same_comes_first_unless_another_is_what_was_asked() {
        let mut hits = ["x0", "a1", "x2", "x3", "a4"].map(|key| hit(key, 0.0, false));
        compare_faqs(&Beginnings, "a?", &mut hits).await.unwrap();
        let order: Vec<&str> = hits.iter().map(|hit| hit.faq.key.as_str()).collect();
        assert_eq!(order, ["a1", "x0", "x2", "x3", "a4"]);
        assert!(
            hits[3].same.is_some() && hits[4].same.is_none(),
            "the best are compared"
        );
        let mut hits = [hit("x0", 0.0, true), hit("a1", 0.0, false)];
        compare_faqs(&Beginnings, "a?", &mut hits).await.unwrap();
        assert_eq!(hits[0].faq.key, "x0");
        compare_faqs(&Beginnings, "a?", &mut []).await.unwrap();
    }
}
