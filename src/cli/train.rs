//! `kefu train`: heads from examples.

use super::heads::{Encoder, Line, few, read};
use super::{Common, output};
use crate::understanding::heads::{Head, Training};
use crate::understanding::mood::{DISSATISFIED, Dialogue, Signals, Weights, examples};
use anyhow::{Context, ensure};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Train heads of understanding
#[derive(Debug, Subcommand)]
pub enum Train {
    /// What customers want
    Intent(Examples),
    /// How customers feel
    Emotion(Examples),
    /// What is dangerous or forbidden; the harmless label is `normal`
    Risk(Examples),
    /// Whether customers are satisfied, from dialogues whose last message shows it
    Satisfaction(Examples),
}

/// Where the examples come from, and where the head goes.
#[derive(Debug, Args)]
pub struct Examples {
    /// Examples, one JSON object a line: {"text", "intent"} (or "label", "emotion", "category"); for satisfaction {"history":
    /// [{"user", "reply"}], "satisfaction": 0 (not satisfied), 1 or 2}
    #[arg(long, value_name = "FILE", required = true)]
    train: Vec<PathBuf>,
    /// The head
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Take so many examples of each label
    #[arg(long, value_name = "N")]
    shots: Option<usize>,
    /// For satisfaction: other dialogues of the same form, on which it is fitted how the head's word weighs beside other signs of a
    /// mood; without them it stands alone
    #[arg(long, value_name = "FILE")]
    mood: Option<PathBuf>,
    /// For satisfaction with --mood: the head for emotion, one of these signs
    #[arg(long, value_name = "FILE")]
    emotion: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// How heads are trained.
#[derive(Clone, Copy, Debug, Args)]
pub struct How {
    /// What chance begins with
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Width of the hidden layer
    #[arg(long, value_name = "N")]
    hidden: Option<usize>,
    /// Times that all examples are seen
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// How much the grams of a text weigh beside what the encoder says; 0 leaves them out
    #[arg(long, value_name = "X")]
    grams: Option<f32>,
}

impl How {
    /// The settings of a training.
    pub fn training(self) -> anyhow::Result<Training> {
        let usual = Training::default();
        let training = Training {
            seed: self.seed,
            hidden: self.hidden.unwrap_or(usual.hidden),
            epochs: self.epochs.unwrap_or(usual.epochs),
            grams: self.grams.unwrap_or(usual.grams),
            ..usual
        };
        ensure!(
            (1..=4096).contains(&training.hidden),
            "--hidden must lie between 1 and 4096"
        );
        ensure!(
            (1..=1000).contains(&training.epochs),
            "--epochs must lie between 1 and 1000"
        );
        ensure!(
            (0.0..=100.0).contains(&training.grams),
            "--grams must lie between 0 and 100"
        );
        Ok(training)
    }

    /// What chance begins with.
    pub fn seed(self) -> u64 {
        self.seed
    }
}

impl Train {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let (task, examples) = match self {
            Self::Intent(examples) => ("intent", examples),
            Self::Emotion(examples) => ("emotion", examples),
            Self::Risk(examples) => ("risk", examples),
            Self::Satisfaction(examples) => ("satisfaction", examples),
        };
        examples.run(task, common).await
    }
}

impl Examples {
    async fn run(self, task: &str, common: &Common) -> anyhow::Result<()> {
        let training = self.how.training()?;
        let mut texts = self.texts(task)?;
        if let Some(shots) = self.shots {
            texts = few(texts, shots, self.how.seed, |(_, label)| label.clone());
        }
        let encoder = Encoder::load(common).await?;
        let set = encoder.set(&texts).await?;
        let (mut head, seconds) = encoder.train(task, &set, training).await?;
        if let Some(dialogues) = self.mood.as_ref().filter(|_| task == "satisfaction") {
            let weights = self.mood_of(dialogues, &head, &encoder).await?;
            head = head.with_mood(weights);
        }
        let bytes = head.to_bytes();
        std::fs::write(&self.out, &bytes).with_context(|| self.out.display().to_string())?;
        let about = head.about();
        let report = json!({
            "task": task, "out": self.out, "bytes": bytes.len(), "n": set.len(), "labels": about.labels.len(),
            "train_seconds": seconds, "calibration": about.calibration, "mood": about.mood,
            "model": {"name": about.base.model, "sha256": about.base.sha256}, "machine": output::machine(),
        });
        if common.json {
            output::print_json(&report);
        } else {
            let calibration = about.calibration;
            println!(
                "{}: {} labels, {} examples, {} KB, {seconds:.1} s; on {} examples left out: accuracy {:.3}, macro-F1 {:.3}",
                self.out.display(),
                about.labels.len(),
                set.len(),
                bytes.len() / 1000,
                calibration.n,
                calibration.accuracy,
                calibration.macro_f1
            );
        }
        Ok(())
    }

    /// The weights of a mood, fitted on what `head` says of dialogues that it was not trained on.
    async fn mood_of(&self, path: &Path, head: &Head, encoder: &Encoder) -> anyhow::Result<Weights> {
        let emotion = match &self.emotion {
            Some(path) => Some(super::eval::load_head(path, "emotion", encoder)?),
            None => None,
        };
        let mut dialogues: Vec<Dialogue> = super::eval::lines(path)?;
        dialogues.retain(|dialogue| !dialogue.history.is_empty());
        ensure!(!dialogues.is_empty(), "{}: no dialogues", path.display());
        let set = encoder.set(&examples(&dialogues)).await?;
        let mut seen = Vec::new();
        for (at, dialogue) in dialogues.iter().enumerate() {
            let satisfaction = head.predict(set.row(at), &set.texts[at]);
            let emotion = (emotion.as_ref()).map(|head| (head, head.predict(set.row(at), &set.texts[at])));
            let emotion = emotion.as_ref().map(|(head, said)| (*head, said));
            let signals = Signals::of(&dialogue.history, (head, &satisfaction), emotion);
            seen.push((signals, dialogue.label() == DISSATISFIED));
        }
        Ok(Weights::fit(&seen))
    }

    /// All examples with their labels.
    fn texts(&self, task: &str) -> anyhow::Result<Vec<(String, String)>> {
        let mut all = Vec::new();
        for path in &self.train {
            if task == "satisfaction" {
                let dialogues: Vec<Dialogue> = super::eval::lines(path)?;
                all.extend(examples(&dialogues));
            } else {
                all.extend(read(path)?.iter().map(Line::labelled));
            }
        }
        ensure!(!all.is_empty(), "no examples");
        Ok(all)
    }
}
