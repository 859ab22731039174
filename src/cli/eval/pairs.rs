//! `kefu eval pairs`: whether two questions are the same one: by the embedding that finds FAQs, by the reader that compares them and,
//! where asked for, by the language model.

use super::retrieval::{lines, spread};
use super::statistics::{auc, best_accuracy, spearman};
use crate::app;
use crate::cli::{Common, output};
use crate::inference::{ChatMessage, ChatRole, Embedder, LanguageModel, Prompt, Reader, Score, ScoreRequest, TextKind};
use anyhow::ensure;
use clap::Args;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
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
    /// Ask the language model, too: whether the two mean the same, and how likely the one is said for the other
    #[arg(long)]
    judge: bool,
}

/// One way to tell, as numbers: greater means more alike.
type Scored = (&'static str, Vec<f64>);

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
        let settings = common.settings(None)?;
        let embedder = app::load_embedder(&settings, &common.models).await?;
        let reader = app::load_reader(&settings, Arc::clone(&embedder)).await?;
        let bar = if common.json {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(pairs.len() as u64)
        };
        let mut scores = Vec::with_capacity(pairs.len());
        let mut all = Vec::with_capacity(pairs.len());
        for batch in pairs.chunks(BATCH) {
            let texts: Vec<String> = batch
                .iter()
                .flat_map(|pair| [pair.q1.clone(), pair.q2.clone()])
                .collect();
            let vectors = embedder.embed(TextKind::Query, texts).await?;
            for pair in vectors.data.chunks_exact(2 * vectors.dim) {
                let (a, b) = pair.split_at(vectors.dim);
                scores.push(cosine(a, b));
                all.push((a.to_vec(), b.to_vec()));
            }
            bar.inc(if self.judge { 0 } else { batch.len() as u64 });
        }
        let mut ways: Vec<Scored> = vec![("cosine", scores), ("cosine_centred", centred(&all))];
        ways.push(("reader", compared(reader.as_ref(), &pairs).await?));
        if self.judge {
            let model = app::load_model(&settings, &common.models).await?;
            ways.extend(judged(model.as_ref(), &pairs, &bar).await?);
        }
        let standard: Vec<Vec<f64>> = ways.iter().map(|way| standardised(&way.1)).collect();
        let together = |at: usize| standard.iter().map(|way| way[at]).sum();
        ways.push(("together", (0..pairs.len()).map(together).collect()));
        bar.finish_and_clear();
        let by = |(name, scores): &Scored| {
            let figures = json!({"auc": auc(scores, &labels), "spearman": spearman(scores, &labels), "accuracy": best_accuracy(scores, &labels).0});
            ((*name).to_owned(), figures)
        };
        let ways_told: serde_json::Map<String, Value> = ways.iter().map(by).collect();
        // What the product goes by: it finds by the embedding, and decides by the reader with it.
        let scores = ways.swap_remove(ways.len() - 1).1;
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
            "threshold": threshold, "by": ways_told, "model": {"name": info.name, "sha256": info.sha256},
            "heads": {"reader": reader.version()},
            "machine": output::machine(), "errors": errors,
        });
        if common.json {
            output::print_json(&report);
        } else {
            let figure = |name: &str| report[name].as_f64().unwrap_or(f64::NAN);
            println!(
                "{} pairs: AUC {:.3}, Spearman {:.3}, accuracy {:.3} at {:.3}",
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

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum()
}

/// Cosines of vectors from which the mean of all was taken: what all questions of a trade have in common tells nothing.
fn centred(pairs: &[(Vec<f32>, Vec<f32>)]) -> Vec<f64> {
    let all = || pairs.iter().flat_map(|(a, b)| [a, b]);
    let dim = all().next().map_or(0, Vec::len);
    let n = (2 * pairs.len()).max(1) as f32;
    let mut mean = vec![0.0; dim];
    for vector in all() {
        for (sum, x) in mean.iter_mut().zip(vector) {
            *sum += x / n;
        }
    }
    let less = |vector: &[f32]| -> Vec<f32> {
        let rest: Vec<f32> = vector.iter().zip(&mean).map(|(x, mean)| x - mean).collect();
        let length = rest.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        rest.iter().map(|x| x / length).collect()
    };
    pairs.iter().map(|(a, b)| cosine(&less(a), &less(b))).collect()
}

/// The log-odds of the reader that both ask the same.
async fn compared(reader: &dyn Reader, pairs: &[Pair]) -> anyhow::Result<Vec<f64>> {
    let mut scores = Vec::with_capacity(pairs.len());
    for pair in pairs {
        scores.extend(reader.same(&pair.q1, &[&pair.q2]).await?.into_iter().map(f64::from));
    }
    Ok(scores)
}

/// With mean 0 and deviation 1.
fn standardised(scores: &[f64]) -> Vec<f64> {
    let n = scores.len().max(1) as f64;
    let mean = scores.iter().sum::<f64>() / n;
    let deviation = (scores.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n)
        .sqrt()
        .max(1e-9);
    scores.iter().map(|x| (x - mean) / deviation).collect()
}

/// What the language model says: the log-odds of "yes" to whether both mean the same, and the mean log-probability of the one
/// after the other, both ways round.
async fn judged(model: &dyn LanguageModel, pairs: &[Pair], bar: &ProgressBar) -> anyhow::Result<[Scored; 2]> {
    let (mut yes, mut likely) = (Vec::new(), Vec::new());
    for pair in pairs {
        let (mut odds, mut likelihood) = (0.0, 0.0);
        for (a, b) in [(&pair.q1, &pair.q2), (&pair.q2, &pair.q1)] {
            let same = format!("问题一：{a}\n问题二：{b}\n\n这两个问题问的是不是同一件事？只回答“是”或“不是”。");
            let said = score(model, same, vec!["是".to_owned(), "不是".to_owned()]).await?;
            let total = |at: usize| said.get(at).map_or(0.0, Score::total);
            odds += f64::from(total(0) - total(1));
            let again = format!("换一种说法问同一件事：{a}");
            let said = score(model, again, vec![b.clone()]).await?;
            likelihood += said
                .first()
                .map_or(0.0, |s| f64::from(s.total()) / s.logprobs.len().max(1) as f64);
        }
        yes.push(odds);
        likely.push(likelihood);
        bar.inc(1);
    }
    Ok([("model_yes", yes), ("model_likelihood", likely)])
}

async fn score(model: &dyn LanguageModel, words: String, continuations: Vec<String>) -> anyhow::Result<Vec<Score>> {
    let request = ScoreRequest {
        prompt: Prompt::Chat(vec![ChatMessage::new(ChatRole::User, words)]),
        continuations,
        deadline: None,
    };
    Ok(model.score(request).await?)
}

#[cfg(test)]
mod tests {
    use super::{centred, standardised};

    #[test]
    fn what_all_have_in_common_tells_nothing() {
        // Both pairs share a great first part; they differ in the others.
        let pairs = [
            (vec![0.9, 0.3, 0.0], vec![0.9, 0.3, 0.0]),
            (vec![0.9, -0.3, 0.3], vec![0.9, -0.3, -0.3]),
        ];
        let found = centred(&pairs);
        assert!(found[0] > 0.99 && found[1] < 0.1, "{found:?}");
        let standard = standardised(&[1.0, 3.0]);
        assert!((standard[0] + 1.0).abs() < 1e-9 && (standard[1] - 1.0).abs() < 1e-9);
    }
}
