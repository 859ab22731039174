//! `kefu eval intent` and `kefu eval emotion`: heads trained on one file and tried on another.

use super::classes::{Said, above, figures, with};
use super::statistics::auc;
use crate::cli::heads::{Encoder, Set};
use crate::cli::train::How;
use crate::cli::{Common, output};
use crate::domain::sha256_hex;
use crate::understanding::heads::{Head, Prediction, prepared};
use anyhow::{Context, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

/// Texts whose time is taken one by one.
const TIMED: usize = 100;

/// Tell what customers want, and what is none of it
#[derive(Debug, Args)]
pub struct Intent {
    #[command(flatten)]
    set: Files,
    /// Texts that belong to no label, one JSON object a line: {"text"}; what the examples have no label for in --test counts as such too
    #[arg(long, value_name = "FILE")]
    oos: Option<PathBuf>,
    /// Take so many examples of each label
    #[arg(long, value_name = "N")]
    shots: Option<usize>,
}

/// Tell how customers feel
#[derive(Debug, Args)]
pub struct Emotion {
    #[command(flatten)]
    set: Files,
}

/// Where the examples and the texts are.
#[derive(Debug, Args)]
pub struct Files {
    /// Examples, one JSON object a line: {"text", "intent"} (or "emotion", "label", "category")
    #[arg(long, value_name = "FILE", required_unless_present = "head", conflicts_with = "head")]
    train: Option<PathBuf>,
    /// A trained head in place of examples
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// Texts to try it on, likewise
    #[arg(long, value_name = "FILE")]
    test: PathBuf,
    #[command(flatten)]
    how: How,
}

/// A head with how it came about.
pub struct Trained {
    /// The head.
    pub head: Head,
    /// Seconds of its training; `None` where it comes from a file.
    pub seconds: Option<f64>,
    /// Examples it was trained on.
    pub n: usize,
}

/// A head from a file, fit for what is loaded.
pub fn load_head(path: &std::path::Path, task: &str, encoder: &Encoder) -> anyhow::Result<Head> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let head = Head::from_bytes(&bytes).with_context(|| path.display().to_string())?;
    head.check(task, &encoder.base().sha256)
        .with_context(|| path.display().to_string())?;
    Ok(head)
}

impl Files {
    async fn trained(&self, task: &str, shots: Option<usize>, encoder: &Encoder) -> anyhow::Result<Trained> {
        if let Some(path) = &self.head {
            let head = load_head(path, task, encoder)?;
            let n = head.about().examples.iter().sum();
            return Ok(Trained { head, seconds: None, n });
        }
        let train = self.train.as_deref().context("--train or --head is needed")?;
        let set = encoder.read(train, shots, self.how.seed()).await?;
        let (head, seconds) = encoder.train(task, &set, self.how.training()?).await?;
        let n = set.len();
        Ok(Trained {
            head,
            seconds: Some(seconds),
            n,
        })
    }
}

/// What a head says of every text of a set.
pub fn predictions(head: &Head, set: &Set) -> Vec<Prediction> {
    (0..set.len())
        .map(|at| head.predict(set.row(at), &set.texts[at]))
        .collect()
}

/// Milliseconds for one text at a time, encoder included: the median and the 99th percentile.
async fn timed(head: &Head, encoder: &Encoder, texts: &[String]) -> anyhow::Result<Value> {
    let mut times = Vec::new();
    for text in texts.iter().take(TIMED) {
        let began = Instant::now();
        let numbers = encoder.one(text).await?;
        std::hint::black_box(head.predict(&numbers, text));
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(json!({"p50": output::percentile(&mut times, 0.5), "p99": output::percentile(&mut times, 0.99)}))
}

/// Accuracy where labels of one group count as one; `None` where there are no groups.
fn by_group(all: &[Said<'_>]) -> Option<f64> {
    let group = |label: &str| label.split('/').next().unwrap_or_default().to_owned();
    let grouped = all.iter().any(|said| said.is.contains('/'));
    let right = all.iter().filter(|said| group(said.is) == group(said.said)).count();
    grouped.then(|| right as f64 / all.len().max(1) as f64)
}

impl Intent {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        run("intent", &self.set, self.oos, self.shots, common).await
    }
}

impl Emotion {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        run("emotion", &self.set, None, None, common).await
    }
}

async fn run(
    task: &'static str,
    files: &Files,
    oos: Option<PathBuf>,
    shots: Option<usize>,
    common: &Common,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let encoder = Encoder::load(common).await?;
    let trained = files.trained(task, shots, &encoder).await?;
    let (head, about) = (&trained.head, trained.head.about());
    let test = encoder.read(&files.test, None, 0).await?;
    let known: BTreeSet<&str> = about.labels.iter().map(String::as_str).collect();
    let (inside, outside): (Vec<usize>, Vec<usize>) =
        (0..test.len()).partition(|&at| known.contains(test.labels[at].as_str()));
    ensure!(
        !inside.is_empty(),
        "{}: none of its labels is among those of the examples",
        files.test.display()
    );
    let mut strange = test.part(&outside);
    if let Some(path) = &oos {
        let texts: Vec<(String, String)> = texts_alone(path)?
            .into_iter()
            .map(|text| (text, String::new()))
            .collect();
        strange = strange.and(&encoder.set(&texts).await?);
    }
    let test = test.part(&inside);
    let said = predictions(head, &test);
    let all: Vec<Said<'_>> = (said.iter().enumerate())
        .map(|(at, said)| Said {
            text: &test.texts[at],
            is: &test.labels[at],
            said: &about.labels[said.best],
            sure: said.confidence(),
        })
        .collect();
    let times = timed(head, &encoder, &test.texts).await?;
    let seconds = began.elapsed().as_secs_f64();
    let mut report = json!({
        "task": task, "n": test.len(), "seconds": seconds, "ms_per_item": times["p50"], "ms": times,
        "model": {"name": about.base.model, "sha256": about.base.sha256},
        "heads": {task: sha256_hex(&head.to_bytes())}, "machine": output::machine(),
        "examples": trained.n, "shots": shots, "seed": files.how.seed(), "train_seconds": trained.seconds, "calibration": about.calibration,
        "group_accuracy": by_group(&all),
    });
    report = with(report, figures(&all));
    if task == "intent" {
        report = with(report, out_of_scope(head, &said, &strange));
    }
    show(&report, common);
    Ok(())
}

/// How well what belongs to no label is told from what does.
fn out_of_scope(head: &Head, inside: &[Prediction], strange: &Set) -> Value {
    if strange.is_empty() {
        return json!({"oos_recall": null, "oos_auroc": null, "oos_n": 0});
    }
    let outside = predictions(head, strange);
    let unsure = |said: &Prediction| 1.0 - f64::from(said.confidence());
    let scores: Vec<f64> = inside.iter().chain(&outside).map(unsure).collect();
    let labels: Vec<bool> = (0..scores.len()).map(|at| at >= inside.len()).collect();
    let threshold = above(&scores[..inside.len()], 0.05);
    let found = scores[inside.len()..]
        .iter()
        .filter(|score| **score > threshold)
        .count();
    let share = |all: &[Prediction]| all.iter().filter(|said| !said.in_scope).count() as f64 / all.len() as f64;
    let missed: Vec<Value> = (outside.iter().zip(&strange.texts))
        .filter(|(said, _)| said.in_scope)
        .map(|(said, text)| json!({"text": text, "said": head.about().labels[said.best], "sure": said.confidence()}))
        .take(20)
        .collect();
    json!({
        "oos_recall": found as f64 / outside.len() as f64, "oos_recall_interval": output::interval(found, outside.len()),
        "oos_auroc": auc(&scores, &labels), "oos_n": outside.len(),
        // At the threshold that the head has from its examples alone.
        "oos_calibrated": {"recall": share(&outside), "false_alarms": share(inside)}, "oos_missed": missed,
    })
}

/// The texts of a file, whatever their labels.
pub fn texts_alone(path: &std::path::Path) -> anyhow::Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Text {
        text: String,
    }
    let lines: Vec<Text> = super::lines(path)?;
    ensure!(!lines.is_empty(), "{}: no lines of {{\"text\"}}", path.display());
    let mut seen = BTreeSet::new();
    Ok(lines
        .into_iter()
        .map(|line| prepared(&line.text))
        .filter(|text| seen.insert(text.clone()))
        .collect())
}

/// The report, as JSON or in words.
pub fn show(report: &Value, common: &Common) {
    if common.json {
        output::print_json(report);
        return;
    }
    let lists: BTreeMap<&str, &Value> = (report.as_object().into_iter().flatten())
        .filter(|(_, value)| value.is_array() && value[0].is_object())
        .map(|(key, value)| (key.as_str(), value))
        .collect();
    for (key, value) in report.as_object().into_iter().flatten() {
        if !lists.contains_key(key.as_str()) && key != "machine" {
            println!("{key}: {value}");
        }
    }
    for (key, list) in lists {
        println!("{key}:");
        for item in list.as_array().into_iter().flatten() {
            println!("  {item}");
        }
    }
}
