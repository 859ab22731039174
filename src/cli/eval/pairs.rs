//! `kefu eval pairs`: whether two questions are the same one, by the embedding that finds FAQs.

use super::retrieval::{lines, spread};
use super::statistics::{auc, best_accuracy, spearman};
use crate::app;
use crate::cli::{Common, output};
use crate::inference::{Embedder, TextKind};
use anyhow::ensure;
use clap::Args;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Instant;

/// Pairs that are embedded at once.
const BATCH: usize = 64;
/// Errors that are listed.
const LISTED: usize = 20;

/// Tell pairs of questions that mean the same from those that do not
#[derive(Debug, Args)]
pub struct Pairs {
    /// Pairs, one JSON object a line: {"q1", "q2", "label"} with label 1 or 0
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Take so many of them, evenly spread over the file
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Pair {
    q1: String,
    q2: String,
    label: Value,
}

impl Pair {
    fn same(&self) -> anyhow::Result<bool> {
        match self.label.as_f64().or_else(|| self.label.as_str()?.parse().ok()) {
            Some(label) => Ok(label > 0.5),
            None => self
                .label
                .as_bool()
                .ok_or_else(|| anyhow::anyhow!("label {} is neither 1 nor 0", self.label)),
        }
    }
}

impl Pairs {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let began = Instant::now();
        let pairs: Vec<Pair> = spread(lines(&self.data)?, self.limit);
        ensure!(!pairs.is_empty(), "{}: no pairs", self.data.display());
        let labels: Vec<bool> = pairs.iter().map(Pair::same).collect::<Result<_, _>>()?;
        let embedder = app::load_embedder(&common.settings(None)?, &common.models).await?;
        let bar = if common.json {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(pairs.len() as u64)
        };
        let mut scores = Vec::with_capacity(pairs.len());
        for batch in pairs.chunks(BATCH) {
            let texts: Vec<String> = batch
                .iter()
                .flat_map(|pair| [pair.q1.clone(), pair.q2.clone()])
                .collect();
            let vectors = embedder.embed(TextKind::Query, texts).await?;
            for pair in vectors.data.chunks_exact(2 * vectors.dim) {
                let (a, b) = pair.split_at(vectors.dim);
                scores.push(a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>());
            }
            bar.inc(batch.len() as u64);
        }
        bar.finish_and_clear();
        let (accuracy, threshold) = best_accuracy(&scores, &labels);
        // How far each is on the wrong side.
        let mut wrong: Vec<(f64, usize)> = (scores.iter().zip(&labels).enumerate())
            .filter(|(_, (score, label))| (**score >= threshold) != **label)
            .map(|(index, (score, _))| ((score - threshold).abs(), index))
            .collect();
        wrong.sort_by(|a, b| b.0.total_cmp(&a.0));
        let errors: Vec<Value> = (wrong.iter().take(LISTED))
            .map(|&(_, index)| {
                let pair = &pairs[index];
                json!({"q1": pair.q1, "q2": pair.q2, "label": labels[index], "score": scores[index]})
            })
            .collect();
        let seconds = began.elapsed().as_secs_f64();
        let info = embedder.info();
        let report = json!({
            "task": "pairs", "n": pairs.len(), "seconds": seconds, "ms_per_item": seconds * 1e3 / pairs.len() as f64,
            "auc": auc(&scores, &labels), "spearman": spearman(&scores, &labels), "accuracy": accuracy,
            "threshold": threshold, "model": {"name": info.name, "sha256": info.sha256}, "heads": {},
            "machine": output::machine(), "errors": errors,
        });
        if common.json {
            output::print_json(&report);
        } else {
            let figure = |name: &str| report[name].as_f64().unwrap_or(f64::NAN);
            println!(
                "{} pairs: AUC {:.3}, Spearman {:.3}, accuracy {:.3} at a cosine of {:.3}",
                pairs.len(),
                figure("auc"),
                figure("spearman"),
                figure("accuracy"),
                threshold
            );
            for error in &errors {
                println!(
                    "  {:.3} {}  {}  {}",
                    error["score"].as_f64().unwrap_or_default(),
                    error["label"],
                    error["q1"],
                    error["q2"]
                );
            }
        }
        Ok(())
    }
}
