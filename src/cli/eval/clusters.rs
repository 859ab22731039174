//! `kefu eval clusters`: whether repeated questions are found, by the code that finds knowledge gaps.

use super::retrieval::{lines, spread};
use crate::app;
use crate::cli::{Common, output};
use crate::inference::{Embedder, TextKind};
use crate::insight::cluster::{Pair, agreement, centre, groups};
use crate::retrieval::index::{FlatIndex, GraphSettings, HnswIndex, Matrix, VectorIndex};
use anyhow::{Context, ensure};
use clap::Args;
use indicatif::ProgressBar;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rayon::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

/// Questions that are embedded at once.
const BATCH: usize = 64;
/// Nearest questions that each is compared with.
const NEIGHBOURS: usize = 20;
/// From so many questions on the graph finds the nearest; below, all are compared.
const GRAPH_FROM: usize = 16_384;
/// From so many on their mean is taken away; of fewer it is none to speak of.
const CENTRE_FROM: usize = 200;
/// The mean cosine from which on groups are joined, after the mean was taken away. Chosen on half of the intents of a bank's questions
/// (2,302 questions of 38 intents): V-measure .790 and .794, adjusted Rand index .515 and .499 at .30 and .36; from .24 to .42 the V-measure
/// stays above .77.
const SAME: f32 = 0.33;
/// Groups that are listed.
const LISTED: usize = 20;

/// Group questions that mean the same
#[derive(Debug, Args)]
pub struct Clusters {
    /// Questions, one JSON object a line: {"text", "cluster"}
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Take so many of them, evenly spread over the file
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// The mean cosine from which on groups are joined (after the mean vector was taken away)
    #[arg(long, value_name = "COSINE", default_value_t = SAME)]
    same: f32,
    /// Also group so many vectors, made of these by a little chance, and tell how long it takes
    #[arg(long, value_name = "N")]
    scale: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Question {
    text: String,
    #[serde(alias = "intent")]
    cluster: Value,
}

impl Clusters {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let began = Instant::now();
        let questions: Vec<Question> = spread(lines(&self.data)?, self.limit);
        ensure!(!questions.is_empty(), "{}: no questions", self.data.display());
        let config = common.settings(None)?;
        let embedder = app::load_embedder(&config, &common.models).await?;
        let bar = if common.json {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(questions.len() as u64)
        };
        let mut data = Vec::new();
        for batch in questions.chunks(BATCH) {
            let texts = batch.iter().map(|question| question.text.clone()).collect();
            data.extend(embedder.embed(TextKind::Query, texts).await?.data);
            bar.inc(batch.len() as u64);
        }
        bar.finish_and_clear();
        let dim = embedder.info().dim;
        let settings = GraphSettings {
            neighbours: config.retrieval.hnsw_neighbours,
            ef_construction: config.retrieval.ef_construction,
            ef_search: config.retrieval.ef_search,
        };
        let embedded = began.elapsed().as_secs_f64();
        let scale = self.scale.map(|rows| (rows, scaled(&data, dim, rows)));
        let grouping = Instant::now();
        let found = group(data, dim, settings, self.same)?;
        let seconds_grouping = grouping.elapsed().as_secs_f64();
        let mut names = HashMap::new();
        let truth: Vec<u32> = (questions.iter())
            .map(|question| {
                let next = names.len() as u32;
                *names.entry(question.cluster.to_string()).or_insert(next)
            })
            .collect();
        let figures = agreement(&found, &truth);
        let scale = match scale {
            Some((rows, data)) => {
                let began = Instant::now();
                let found = group(data, dim, settings, self.same)?;
                let groups = number_of(&found);
                json!({"questions": rows, "groups": groups, "seconds": began.elapsed().as_secs_f64()})
            }
            None => Value::Null,
        };
        let n = questions.len();
        let info = embedder.info();
        let report = json!({
            "task": "clusters", "n": n, "seconds": began.elapsed().as_secs_f64(),
            "ms_per_item": (embedded + seconds_grouping) * 1e3 / n as f64, "seconds_grouping": seconds_grouping,
            "clusters": names.len(), "found": number_of(&found), "v_measure": figures.v_measure,
            "homogeneity": figures.homogeneity, "completeness": figures.completeness, "ari": figures.ari,
            "pair_f1": figures.pair_f1, "pair_precision": figures.pair_precision, "pair_recall": figures.pair_recall,
            "same": self.same, "scale": scale, "model": {"name": info.name, "sha256": info.sha256}, "heads": {},
            "machine": output::machine(), "mixed": mixed(&questions, &found),
        });
        if common.json {
            output::print_json(&report);
        } else {
            println!(
                "{n} questions of {} clusters in {} groups: V-measure {:.3} (homogeneity {:.3}, completeness {:.3}), adjusted \
                 Rand index {:.3}, pairwise F1 {:.3}; grouped in {seconds_grouping:.2} s",
                names.len(),
                number_of(&found),
                figures.v_measure,
                figures.homogeneity,
                figures.completeness,
                figures.ari,
                figures.pair_f1,
            );
            if let Some(seconds) = scale["seconds"].as_f64() {
                println!(
                    "{} vectors in {} groups: {seconds:.1} s",
                    scale["questions"], scale["groups"]
                );
            }
        }
        Ok(())
    }
}

fn number_of(groups: &[u32]) -> usize {
    (groups.iter().enumerate())
        .filter(|(row, group)| *row == **group as usize)
        .count()
}

/// Groups vectors of `dim` numbers.
fn group(mut data: Vec<f32>, dim: usize, settings: GraphSettings, same: f32) -> anyhow::Result<Vec<u32>> {
    let rows = data.len() / dim.max(1);
    if rows >= CENTRE_FROM {
        centre(&mut data, dim);
    }
    let matrix = Matrix::new(dim, data);
    let index: Box<dyn VectorIndex> = if rows >= GRAPH_FROM {
        Box::new(HnswIndex::build(&matrix, settings, &|| true).context("the vectors are too long for the index")?)
    } else {
        Box::new(FlatIndex::new(matrix.clone()))
    };
    let near = |row: usize| -> Vec<Pair> {
        let found = index.search(matrix.row(row), NEIGHBOURS + 1);
        let near = found.into_iter().filter(|near| near.similarity >= same);
        near.map(|near| (row as u32, near.row)).collect()
    };
    let pairs: Vec<Pair> = (0..rows).into_par_iter().flat_map_iter(near).collect();
    Ok(groups(rows, |row| matrix.row(row), &pairs, |_| None, same))
}

/// So many vectors, each one of `data` with a little chance added: questions asked again in other words.
fn scaled(data: &[f32], dim: usize, rows: usize) -> Vec<f32> {
    let mut random = StdRng::seed_from_u64(17);
    let known = (data.len() / dim).max(1);
    let mut all = Vec::with_capacity(rows * dim);
    for row in 0..rows {
        let from = &data[row % known * dim..][..dim];
        let mut made: Vec<f32> = from
            .iter()
            .map(|value| value + random.random_range(-0.02..0.02))
            .collect();
        let norm = made.iter().map(|value| value * value).sum::<f32>().sqrt();
        made.iter_mut().for_each(|value| *value /= norm);
        all.extend(made);
    }
    all
}

/// The largest groups that hold more than one cluster, with some of their questions.
fn mixed(questions: &[Question], found: &[u32]) -> Vec<Value> {
    let mut groups: HashMap<u32, Vec<usize>> = HashMap::new();
    for (row, group) in found.iter().enumerate() {
        groups.entry(*group).or_default().push(row);
    }
    let mut mixed: Vec<(usize, Value)> = groups
        .into_values()
        .filter_map(|rows| {
            let mut counts: HashMap<String, (usize, &str)> = HashMap::new();
            for &row in &rows {
                let question = &questions[row];
                let entry = counts
                    .entry(question.cluster.to_string())
                    .or_insert((0, question.text.as_str()));
                entry.0 += 1;
            }
            let most = counts.values().map(|(count, _)| *count).max().unwrap_or_default();
            let strangers = rows.len() - most;
            let examples: Vec<Value> = (counts.iter().take(5))
                .map(|(cluster, (count, text))| json!({"cluster": cluster, "count": count, "question": text}))
                .collect();
            (strangers > 0).then(|| {
                (
                    strangers,
                    json!({"questions": rows.len(), "strangers": strangers, "of": examples}),
                )
            })
        })
        .collect();
    mixed.sort_by_key(|(strangers, _)| std::cmp::Reverse(*strangers));
    mixed.into_iter().take(LISTED).map(|(_, group)| group).collect()
}
