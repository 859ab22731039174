//! Reading what was found: the last and dearest stage. A reader says of each hit whether it answers the question; the
//! hits are put into the order of search and reading together.

use super::{FaqHit, Found, Hit, RetrievalError, Scores, Source};
use crate::inference::{ReadPassage, Reader};

/// What the logarithm of a hit's share in the search and the reader's log-odds count, and the same with a language model's
/// "yes" and the likelihood of the question: conditional logistic models, fitted on the calibration questions outside the program.
/// Right source first, cross-validated: .71 by search and reader (.69 without the reader), .81 with the language model.
const READ: [f32; 2] = [0.75, 0.375];
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

/// Reads one FAQ under the wording that is nearest to the question.
///
/// # Errors
/// What the reader reports.
pub async fn read_faq(reader: &dyn Reader, question: &str, hit: &mut FaqHit) -> Result<(), RetrievalError> {
    let wording = hit.faq.wordings().nth(hit.wording);
    let passage = ReadPassage {
        title: wording.unwrap_or(&hit.faq.question).to_owned(),
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
