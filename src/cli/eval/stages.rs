//! Where the right one stands in the lists of each stage of the search, and how long each stage takes.

use super::statistics::{Ranks, auc};
use crate::app::App;
use crate::cli::output;
use crate::inference::{ChatMessage, ChatRole, LanguageModel, Prompt, Score, ScoreRequest};
use crate::retrieval::{Found, Hit, Query, SearchMode, Source, order_read, read_hits};
use serde_json::{Value, json};
use std::time::Instant;

/// Places that are looked at.
pub const DEPTH: usize = 10;
/// The stages, in the order of their cost.
///
/// `judged` is a candidate that the product does not use: the language model's log-odds of "yes" against "no" for each of the
/// hits that the reader reads, in place of the reader's.
pub const STAGES: [&str; 5] = ["lexical", "dense", "fused", "reranked", "judged"];

/// What was measured so far.
#[derive(Debug, Default)]
pub struct Stages {
    ranks: [Ranks; 5],
    ms: [f64; 5],
    asked: usize,
    /// Log-odds of the best hit by reader and by judge, and whether it is the right one.
    best: Vec<(f64, f64, bool)>,
}

impl Stages {
    /// Asks each stage. `place` says where in what was found the right one stands, from 1. Returns what the last stage
    /// found, and its place if that is among the first [`DEPTH`].
    pub async fn ask(
        &mut self,
        app: &App,
        question: &str,
        place: impl Fn(&Found) -> Option<usize>,
    ) -> anyhow::Result<(Found, Option<usize>)> {
        let search = |mode| Query {
            text: question.to_owned(),
            mode,
            top_k: 2 * DEPTH,
            faq_top_k: 0,
            viewer: app.viewer(),
        };
        let near = |found: &Found| place(found).filter(|rank| *rank <= DEPTH);
        for (stage, mode) in [SearchMode::Lexical, SearchMode::Dense].into_iter().enumerate() {
            let found = app.retriever.search(&search(mode)).await?;
            // The vector of a question is computed once and remembered: both stages that need it would count it.
            self.ms[stage] += found.search_ms + found.embed_ms;
            self.ranks[stage].push(near(&found));
        }
        let mut found = app.retriever.search(&search(SearchMode::Hybrid)).await?;
        let fused = found.clone();
        self.ms[2] += found.search_ms + found.embed_ms;
        self.ranks[2].push(near(&found));
        let started = Instant::now();
        let count = app.config.dialogue.read_top_k;
        read_hits(app.reader.as_ref(), question, &mut found, count).await?;
        self.ms[3] += started.elapsed().as_secs_f64() * 1e3;
        let rank = near(&found);
        self.ranks[3].push(rank);
        self.asked += 1;
        if let Some(model) = app.assistant.model() {
            let started = Instant::now();
            let mut judged = fused;
            let log_odds = judge(model.as_ref(), question, &judged.hits[..count.min(judged.hits.len())]).await?;
            for (hit, log_odds) in judged.hits.iter_mut().zip(&log_odds) {
                hit.scores.reading = Some(*log_odds);
            }
            order_read(&mut judged.hits[..log_odds.len()]);
            self.ms[4] += started.elapsed().as_secs_f64() * 1e3;
            self.ranks[4].push(near(&judged));
            let by_judge = judged.hits.first().and_then(|hit| hit.scores.reading);
            let by_reader = found.hits.first().and_then(|hit| hit.scores.reading);
            if let (Some(judge), Some(reader)) = (by_judge, by_reader) {
                self.best.push((f64::from(reader), f64::from(judge), rank == Some(1)));
            }
        }
        Ok((found, rank))
    }

    /// The figures by stage.
    pub fn report(&self) -> Value {
        let rows = STAGES
            .iter()
            .zip(self.ranks.iter().zip(self.ms))
            .filter(|(_, (ranks, _))| !ranks.is_empty())
            .map(|(name, (ranks, ms))| {
                let row = json!({
                    "r1": ranks.recall(1), "r5": ranks.recall(5), "r10": ranks.recall(DEPTH), "mrr": ranks.mrr(),
                    "ndcg10": ranks.ndcg(DEPTH), "ms": ms / self.asked.max(1) as f64,
                    "r1_interval": output::interval(ranks.within(1), self.asked),
                });
                ((*name).to_owned(), row)
            });
        Value::Object(rows.collect())
    }

    /// How well the log-odds of the best hit tell whether it is the right one: the area under the ROC curve of reader and
    /// judge, where both were asked.
    pub fn best(&self) -> Value {
        let labels: Vec<bool> = self.best.iter().map(|(.., right)| *right).collect();
        let area = |pick: fn(&(f64, f64, bool)) -> f64| auc(&self.best.iter().map(pick).collect::<Vec<_>>(), &labels);
        json!({"reader": area(|best| best.0), "judge": area(|best| best.1), "both": area(|best| best.0 + best.1)})
    }
}

/// The log-odds of "yes" against "no" by the language model, for each hit: whether it answers the question.
async fn judge(model: &dyn LanguageModel, question: &str, hits: &[Hit]) -> anyhow::Result<Vec<f32>> {
    let mut found = Vec::with_capacity(hits.len());
    for hit in hits {
        found.push(says_yes(model, question, hit).await?);
    }
    Ok(found)
}

/// A prompt about a hit: what comes after its text is read anew, the text once.
fn about(hit: &Hit, what: &str) -> Prompt {
    let (title, text) = match &hit.source {
        Source::Passage(passage) => (passage.title(), passage.text.clone()),
        Source::Faq(faq) => (faq.question.clone(), faq.answer.clone()),
    };
    let asked = format!("资料《{title}》：\n{text}\n\n{what}");
    Prompt::Chat(vec![ChatMessage::new(ChatRole::User, asked)])
}

/// The log-odds that the language model says that the hit answers the question.
pub async fn says_yes(model: &dyn LanguageModel, question: &str, hit: &Hit) -> anyhow::Result<f32> {
    let what = format!("问题：{question}\n\n这份资料里有没有这个问题的答案？只回答“有”或“没有”。");
    let request = ScoreRequest {
        prompt: about(hit, &what),
        continuations: vec!["有".to_owned(), "没有".to_owned()],
        deadline: None,
    };
    let scores = model.score(request).await?;
    let total = |place: usize| scores.get(place).map_or(0.0, Score::total);
    Ok(total(0) - total(1))
}

/// How likely the language model holds the question to be asked about the hit: the mean log-probability of its tokens.
/// Source: Sachan et al., "Improving Passage Retrieval with Zero-Shot Question Generation", 2022.
pub async fn likelihood(model: &dyn LanguageModel, question: &str, hit: &Hit) -> anyhow::Result<f32> {
    let request = ScoreRequest {
        prompt: about(hit, "请根据这份资料写一个客户会问的问题。"),
        continuations: vec![question.to_owned()],
        deadline: None,
    };
    let scores = model.score(request).await?;
    let score = scores.first();
    Ok(score.map_or(0.0, |score| score.total() / score.logprobs.len().max(1) as f32))
}

/// The figures by stage, for people.
pub fn print(stages: &Value) {
    println!(
        "{:<10} {:>6} {:>6} {:>6} {:>6} {:>7} {:>8}",
        "", "R@1", "R@5", "R@10", "MRR", "nDCG@10", "ms"
    );
    for stage in STAGES {
        let row = &stages[stage];
        if row.is_null() {
            continue;
        }
        let figure = |name: &str| row[name].as_f64().unwrap_or_default();
        println!(
            "{stage:<10} {:>6.3} {:>6.3} {:>6.3} {:>6.3} {:>7.3} {:>8.1}",
            figure("r1"),
            figure("r5"),
            figure("r10"),
            figure("mrr"),
            figure("ndcg10"),
            figure("ms")
        );
    }
}
