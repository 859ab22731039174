//! Where the right one stands in the lists of each stage of the search, and how long each stage takes.

use super::statistics::Ranks;
use crate::app::App;
use crate::cli::output;
use crate::retrieval::{Found, Query, SearchMode, judge_hits, read_hits};
use serde_json::{Value, json};
use std::time::Instant;

/// Places that are looked at.
pub const DEPTH: usize = 10;
/// The stages, in the order of their cost.
pub const STAGES: [&str; 5] = ["lexical", "dense", "fused", "reranked", "judged"];

/// What was measured so far.
#[derive(Debug, Default)]
pub struct Stages {
    ranks: [Ranks; 5],
    ms: [f64; 5],
    asked: usize,
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
            let mut judged = found.clone();
            judge_hits(model.as_ref(), question, &mut judged, None).await?;
            self.ms[4] += started.elapsed().as_secs_f64() * 1e3;
            self.ranks[4].push(near(&judged));
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
