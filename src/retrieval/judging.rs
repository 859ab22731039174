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

#[cfg(test)]
mod tests {
    use super::judge_hits;
    use crate::domain::{DocumentId, KbVersion, Passage, PassageId};
    use crate::inference::{
        GenerateRequest, GenerationStream, InferenceError, LanguageModel, ModelInfo, Prompt, Score, ScoreRequest,
    };
    use crate::retrieval::{Found, Hit, RetrievalError, Scores, Source};
    use async_trait::async_trait;

    /// Says yes to a text with "年费", and finds the question likelier after it; or cannot score.
    struct Judge {
        info: ModelInfo,
        able: bool,
    }

    #[async_trait]
    impl LanguageModel for Judge {
        fn info(&self) -> &ModelInfo {
            &self.info
        }

        fn count_tokens(&self, text: &str) -> Result<usize, InferenceError> {
            Ok(text.len())
        }

        fn generate(&self, _: GenerateRequest) -> Result<GenerationStream, InferenceError> {
            Err(InferenceError::Unsupported("writing"))
        }

        async fn score(&self, request: ScoreRequest) -> Result<Vec<Score>, InferenceError> {
            let Prompt::Chat(messages) = &request.prompt else {
                unreachable!("a chat")
            };
            if !self.able {
                return Err(InferenceError::Unsupported("scoring of continuations"));
            }
            let about_fees = messages[0].content.contains("年费300元");
            let of = |first: bool| if about_fees == first { -0.1 } else { -2.0 };
            let scores = (0..request.continuations.len()).map(|at| Score {
                logprobs: vec![of(at == 0)],
            });
            Ok(scores.collect())
        }
    }

    fn found() -> Found {
        let hit = |text: &str, reading: Option<f32>| Hit {
            source: Source::Passage(Passage {
                id: PassageId::new(),
                document_id: DocumentId::new(),
                ordinal: 0,
                title_path: Vec::new(),
                page: None,
                text: text.to_owned(),
                start: 0,
                end: text.len(),
            }),
            scores: Scores {
                fused: 0.3,
                reading,
                ..Scores::default()
            },
            answer: None,
        };
        Found {
            faqs: Vec::new(),
            hits: vec![
                hit("挂失手续费40元。", Some(1.0)),
                hit("金卡年费300元。", Some(0.5)),
                hit("营业时间。", None),
            ],
            kb_version: KbVersion(1),
            unknown: Vec::new(),
            embed_ms: 0.0,
            search_ms: 0.0,
        }
    }

    /// What each hit is about, in order.
    fn texts(found: &Found) -> Vec<&'static str> {
        let about = |hit: &Hit| match &hit.source {
            Source::Passage(passage) if passage.text.contains("年费") => "年费",
            Source::Passage(passage) if passage.text.contains("挂失") => "挂失",
            _ => "时间",
        };
        found.hits.iter().map(about).collect()
    }

    #[tokio::test]
    async fn what_the_model_says_yes_to_comes_first_and_what_was_not_read_stays_behind() {
        let info = ModelInfo {
            name: "judge".to_owned(),
            architecture: String::new(),
            context_tokens: 4096,
            sha256: String::new(),
        };
        let mut told = found();
        let judge = Judge {
            info: info.clone(),
            able: true,
        };
        judge_hits(&judge, "金卡每年收多少钱", &mut told, None).await.unwrap();
        assert_eq!(texts(&told), ["年费", "挂失", "时间"]);
        assert!(told.hits[0].scores.yes.unwrap() > 1.0 && told.hits[2].scores.yes.is_none());
        // A model that cannot score changes nothing.
        let mut untold = found();
        let error = judge_hits(&Judge { info, able: false }, "金卡每年收多少钱", &mut untold, None).await;
        assert!(matches!(
            error,
            Err(RetrievalError::Inference(InferenceError::Unsupported(_)))
        ));
        assert_eq!(texts(&untold), ["挂失", "年费", "时间"]);
        assert!(untold.hits.iter().all(|hit| hit.scores.yes.is_none()));
    }
}
