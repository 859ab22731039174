//! Judging what was read: a language model says of each of the best hits whether it answers, and how likely the question is to
//! be asked about it. Both together with search and reader put the right source first more often than any of them alone.

use super::reading::order_read;
use super::{Found, Hit, RetrievalError, Source};
use crate::domain::Language;
use crate::inference::{ChatMessage, ChatRole, InferenceError, LanguageModel, Prompt, Score, ScoreRequest};
use futures::future::try_join_all;
use std::time::Instant;

/// Lets `model` judge the hits that were read, and puts these into the order of search, reader and model together. The
/// hits' texts are computed once each: what is asked about a text comes after it.
///
/// # Errors
/// What the model reports: `Deadline`, `Overloaded`, `Unsupported` from one that cannot score. Nothing has changed then.
pub async fn judge_hits(
    model: &dyn LanguageModel,
    question: &str,
    found: &mut Found,
    deadline: Option<Instant>,
) -> Result<(), RetrievalError> {
    let read = found.hits.iter().take_while(|hit| hit.scores.reading.is_some()).count();
    let hits = &mut found.hits[..read];
    let judged = try_join_all(hits.iter().map(|hit| judge(model, question, hit, deadline))).await?;
    for (hit, (yes, likelihood)) in hits.iter_mut().zip(judged) {
        hit.scores.yes = Some(yes);
        hit.scores.likelihood = Some(likelihood);
    }
    order_read(hits);
    Ok(())
}

/// The log-odds of "yes", and how likely the question is: the latter after Sachan et al., "Improving Passage Retrieval with
/// Zero-Shot Question Generation", 2022.
async fn judge(
    model: &dyn LanguageModel,
    question: &str,
    hit: &Hit,
    deadline: Option<Instant>,
) -> Result<(f32, f32), InferenceError> {
    let language = Language::detect(question);
    let ask = match language {
        Language::Zh => "请根据这份资料写一个客户会问的问题。",
        Language::En => "Write a question that a customer would ask and this text answers.",
    };
    let likelihood = score(model, prompt(hit, ask, language), vec![question.to_owned()], deadline).await?;
    let (ask, words) = match language {
        Language::Zh => (
            format!("问题：{question}\n\n这份资料里有没有这个问题的答案？只回答“有”或“没有”。"),
            ["有", "没有"],
        ),
        Language::En => (
            format!(
                "Question: {question}\n\nDoes this text have the answer to the question? Say only \"yes\" or \"no\"."
            ),
            ["yes", "no"],
        ),
    };
    let yes = score(
        model,
        prompt(hit, &ask, language),
        words.map(str::to_owned).to_vec(),
        deadline,
    )
    .await?;
    let total = |place: usize| yes.get(place).map_or(0.0, Score::total);
    let mean = likelihood
        .first()
        .map_or(0.0, |score| score.total() / score.logprobs.len().max(1) as f32);
    Ok((total(0) - total(1), mean))
}

async fn score(
    model: &dyn LanguageModel,
    prompt: Prompt,
    continuations: Vec<String>,
    deadline: Option<Instant>,
) -> Result<Vec<Score>, InferenceError> {
    let request = ScoreRequest {
        prompt,
        continuations,
        deadline,
    };
    model.score(request).await
}

/// A prompt about a hit: its text, then what is asked.
fn prompt(hit: &Hit, ask: &str, language: Language) -> Prompt {
    let (title, text) = match &hit.source {
        Source::Passage(passage) => (passage.title(), passage.text.as_str()),
        Source::Faq(faq) => (faq.question.clone(), faq.answer.as_str()),
    };
    let words = match language {
        Language::Zh => format!("资料《{title}》：\n{text}\n\n{ask}"),
        Language::En => format!("Text \"{title}\":\n{text}\n\n{ask}"),
    };
    Prompt::Chat(vec![ChatMessage::new(ChatRole::User, words)])
}
