//! `kefu eval risk`: how much of what is dangerous is found while one in a hundred harmless texts is suspected.

use super::classes::{above, with};
use super::intent::{load_head, predictions, show, texts_alone};
use super::statistics::auc;
use crate::cli::Common;
use crate::cli::heads::{Encoder, Set};
use crate::cli::output::{self, interval};
use crate::cli::train::How;
use crate::domain::sha256_hex;
use crate::understanding::heads::Head;
use anyhow::{Context, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

/// The harmless label.
pub const NORMAL: &str = "normal";
/// Share of harmless texts that are suspected.
const FALSE_POSITIVES: f64 = 0.01;
/// Errors that are listed.
const LISTED: usize = 20;

/// Find what is dangerous or forbidden
#[derive(Debug, Args)]
pub struct Risk {
    /// Examples, one JSON object a line: {"text", "label"} (or "category"), `normal` for what is harmless; several files are several
    /// sources, and each is tried by what the others teach, too
    #[arg(long, value_name = "FILE", required_unless_present = "head", conflicts_with = "head")]
    train: Vec<PathBuf>,
    /// A trained head in place of examples
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// Texts to try it on, likewise
    #[arg(long, value_name = "FILE")]
    test: PathBuf,
    /// Harmless texts, one JSON object a line: {"text"}
    #[arg(long, value_name = "FILE")]
    normal: PathBuf,
    #[command(flatten)]
    how: How,
}

/// How far a head suspects each text of a set.
fn suspicions(head: &Head, set: &Set) -> Vec<f64> {
    let harmless = head.about().place(NORMAL);
    let suspicion = |probabilities: &[f32]| match harmless {
        Some(place) => 1.0 - f64::from(probabilities[place]),
        None => 1.0,
    };
    predictions(head, set)
        .iter()
        .map(|said| suspicion(&said.probabilities))
        .collect()
}

/// What a head finds among `risky` while [`FALSE_POSITIVES`] of `harmless` are suspected.
fn found(head: &Head, risky: &Set, harmless: &Set) -> Value {
    let (risk, calm) = (suspicions(head, risky), suspicions(head, harmless));
    let threshold = above(&calm, FALSE_POSITIVES);
    let hits = risk.iter().filter(|score| **score > threshold).count();
    let mut kinds: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (label, score) in risky.labels.iter().zip(&risk) {
        let kind = kinds.entry(label).or_default();
        kind.0 += usize::from(*score > threshold);
        kind.1 += 1;
    }
    let by_kind: BTreeMap<&str, Value> = (kinds.into_iter())
        .map(|(kind, (hits, n))| {
            (
                kind,
                json!({"recall": hits as f64 / n as f64, "n": n, "interval": interval(hits, n)}),
            )
        })
        .collect();
    let scores: Vec<f64> = risk.iter().chain(&calm).copied().collect();
    let labels: Vec<bool> = (0..scores.len()).map(|at| at < risk.len()).collect();
    let worst = |scores: &[f64], set: &Set, most: bool| -> Vec<Value> {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| {
            if most {
                scores[b].total_cmp(&scores[a])
            } else {
                scores[a].total_cmp(&scores[b])
            }
        });
        let item = |at: &usize| json!({"text": set.texts[*at], "score": scores[*at], "kind": set.labels[*at]});
        order.iter().take(LISTED).map(item).collect()
    };
    json!({
        "recall_at_1pct_fpr": hits as f64 / risk.len().max(1) as f64, "recall_interval": interval(hits, risk.len()),
        "auc": auc(&scores, &labels), "by_kind": by_kind, "risky": risk.len(), "harmless": calm.len(), "threshold": threshold,
        "missed": worst(&risk, risky, false), "suspected": worst(&calm, harmless, true),
    })
}

/// Of the harmless texts, how many would be noted for each risk as the settings have it.
fn noted(head: &Head, harmless: &Set, confidence: f32) -> Value {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for said in predictions(head, harmless) {
        let labels = head.about().labels.iter().zip(&said.probabilities);
        for (label, _) in labels.filter(|(label, p)| *label != NORMAL && **p >= confidence) {
            *counts.entry(label).or_default() += 1;
        }
    }
    json!({"from": confidence, "n": harmless.len(), "by_kind": counts})
}

/// The texts with a risk, or those without.
fn split(set: &Set, risky: bool) -> Set {
    let places: Vec<usize> = (0..set.len())
        .filter(|&at| (set.labels[at] != NORMAL) == risky)
        .collect();
    set.part(&places)
}

impl Risk {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let began = Instant::now();
        let encoder = Encoder::load(common).await?;
        let test = encoder.read(&self.test, None, 0).await?;
        let texts = texts_alone(&self.normal)?
            .into_iter()
            .map(|text| (text, NORMAL.to_owned()));
        let harmless = encoder.set(&texts.collect::<Vec<_>>()).await?;
        // What the test file calls harmless is harmless, too.
        let harmless = harmless.and(&split(&test, false));
        let risky = split(&test, true);
        ensure!(!risky.is_empty(), "{}: every label is {NORMAL}", self.test.display());
        let mut sources = Vec::new();
        for path in &self.train {
            sources.push(encoder.read(path, None, 0).await?);
        }
        let (head, seconds) = if let Some(path) = &self.head {
            (load_head(path, "risk", &encoder)?, None)
        } else {
            let all = sources.iter().skip(1).fold(sources[0].clone(), Set::and);
            let (head, seconds) = self.trained(&all, &encoder).await?;
            (head, Some(seconds))
        };
        ensure!(
            head.about().place(NORMAL).is_some(),
            "the examples have no label {NORMAL}: nothing tells what is harmless"
        );
        let cross = self.cross(&sources, &harmless, &encoder).await?;
        let n = risky.len() + harmless.len();
        let ran = began.elapsed().as_secs_f64();
        let about = head.about();
        let report = json!({
            "task": "risk", "n": n, "seconds": ran, "ms_per_item": ran * 1e3 / n as f64,
            "model": {"name": about.base.model, "sha256": about.base.sha256},
            "heads": {"risk": sha256_hex(&head.to_bytes())}, "machine": output::machine(),
            "train_seconds": seconds, "calibration": about.calibration, "cross_source": cross,
            "noted": noted(&head, &harmless, encoder.config.understanding.risk_confidence),
        });
        show(&with(report, found(&head, &risky, &harmless)), common);
        Ok(())
    }

    async fn trained(&self, set: &Set, encoder: &Encoder) -> anyhow::Result<(Head, f64)> {
        encoder
            .train("risk", set, self.how.training()?)
            .await
            .context("training on the examples")
    }

    /// Each source by what the others teach: the honest figure, since what one source has in common is not what makes it dangerous.
    async fn cross(&self, sources: &[Set], harmless: &Set, encoder: &Encoder) -> anyhow::Result<Value> {
        let mut figures = serde_json::Map::new();
        for (at, source) in sources.iter().enumerate().filter(|_| sources.len() > 1) {
            let others = sources.iter().enumerate().filter(|(other, _)| *other != at);
            let others = others.fold(Set::default(), |all, (_, more)| all.and(more));
            let labels: BTreeSet<&str> = others.labels.iter().map(String::as_str).collect();
            let risky = split(source, true);
            if !labels.contains(NORMAL) || labels.len() < 2 || risky.is_empty() {
                continue;
            }
            let (head, _) = self.trained(&others, encoder).await?;
            let found = found(&head, &risky, harmless);
            let name = self.train[at].display().to_string();
            figures.insert(
                name,
                json!({"recall_at_1pct_fpr": found["recall_at_1pct_fpr"], "auc": found["auc"], "risky": risky.len()}),
            );
        }
        Ok(Value::Object(figures))
    }
}
