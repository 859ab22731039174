//! `kefu bench engine --compare`: how far a device's log-probabilities are from the processor's, on the same texts.

use crate::inference::{LanguageModel, Prompt, Score, ScoreRequest};
use serde_json::{Value, json};

/// What is given, and what is scored behind it: answers of a service, right and wrong, in both languages.
const TEXTS: [(&str, [&str; 3]); 4] = [
    (
        "持卡人应在账单日后的到期还款日前全额还款。问：什么时候还款？答：",
        ["到期还款日前。", "账单日当天。", "不用还款，银行会自动减免所有的费用。"],
    ),
    (
        "信用卡年费每年200元，当年刷卡满六次免次年年费。问：年费多少？答：",
        ["每年200元。", "每年六元。", "刷卡满六次，次年免年费。"],
    ),
    (
        "Returns are free within 30 days of delivery. Question: who pays for the parcel? Answer:",
        [" Returns are free.", " The customer pays 30 yuan.", " Nobody knows."],
    ),
    (
        "The branch is open from 9:00 to 17:00, Monday to Friday. Question: is it open on Sunday? Answer:",
        [" No.", " Yes, from 9:00 to 17:00.", " Monday to Friday only."],
    ),
];

/// Scores all texts with both models and appends the mean and the largest difference of a token's log-probability, and
/// how often both prefer the same continuation.
///
/// # Errors
/// What the models report.
pub async fn measure(
    model: &dyn LanguageModel,
    reference: &dyn LanguageModel,
    rows: &mut Vec<Value>,
) -> anyhow::Result<()> {
    let (mut sum, mut largest, mut tokens, mut agreed) = (0f64, 0f64, 0usize, 0usize);
    for (prompt, continuations) in TEXTS {
        let (own, others) = (
            score(model, prompt, continuations).await?,
            score(reference, prompt, continuations).await?,
        );
        for (own, other) in own.iter().zip(&others) {
            for (a, b) in own.logprobs.iter().zip(&other.logprobs) {
                let off = f64::from((a - b).abs());
                (sum, largest, tokens) = (sum + off, largest.max(off), tokens + 1);
            }
        }
        agreed += usize::from(best(&own) == best(&others));
    }
    let name = format!("{}: log-probabilities against the processor's", model.info().name);
    let mut push = |what: &str, value: f64, unit: &str| {
        rows.push(json!({"name": format!("{name}, {what}"), "value": value, "unit": unit, "tokens": tokens}));
    };
    push("mean difference", sum / tokens.max(1) as f64, "nat");
    push("largest difference", largest, "nat");
    push("same best continuation", agreed as f64, &format!("of {}", TEXTS.len()));
    Ok(())
}

async fn score(model: &dyn LanguageModel, prompt: &str, continuations: [&str; 3]) -> anyhow::Result<Vec<Score>> {
    let request = ScoreRequest {
        prompt: Prompt::Text(prompt.to_owned()),
        continuations: continuations.map(str::to_owned).to_vec(),
        deadline: None,
    };
    Ok(model.score(request).await?)
}

/// The likeliest, by the mean of its tokens.
fn best(scores: &[Score]) -> Option<usize> {
    let mean = |score: &Score| score.total() / score.logprobs.len().max(1) as f32;
    (0..scores.len()).max_by(|&a, &b| mean(&scores[a]).total_cmp(&mean(&scores[b])))
}
