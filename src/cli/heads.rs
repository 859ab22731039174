//! Sets of labelled texts, what the encoder says of them, and heads trained on them: shared by `kefu train` and `kefu eval`.

use crate::app;
use crate::cli::Common;
use crate::config::Config;
use crate::inference::{Features, LayerFeatures};
pub use crate::jobs::Set;
use crate::jobs::fit;
use crate::understanding::heads::{Base, Head, Training};
use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

/// A line of a set: a text and its label, whatever the label is called.
#[derive(Clone, Debug, Deserialize)]
pub struct Line {
    /// The text.
    pub text: String,
    intent: Option<Value>,
    emotion: Option<Value>,
    category: Option<Value>,
    label: Option<Value>,
}

impl Line {
    /// Its label.
    fn value(&self) -> Option<&Value> {
        let names = [&self.intent, &self.emotion, &self.category, &self.label];
        names.into_iter().flatten().find(|value| !value.is_null())
    }

    /// The text with its label.
    pub fn labelled(&self) -> (String, String) {
        (self.text.clone(), self.label())
    }

    /// The label in words.
    fn label(&self) -> String {
        let label = self.value().cloned().unwrap_or_default();
        label.as_str().map_or_else(|| label.to_string(), str::to_owned)
    }
}

/// At most `shots` lines of each label, drawn by `seed`.
pub fn few<T>(lines: Vec<T>, shots: usize, seed: u64, label: impl Fn(&T) -> String) -> Vec<T> {
    let mut lines = lines;
    lines.shuffle(&mut rand::rngs::StdRng::seed_from_u64(seed));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    lines.retain(|line| {
        let count = seen.entry(label(line)).or_default();
        *count += 1;
        *count <= shots
    });
    lines
}

/// The lines of a file of labelled texts, each text once for each label.
pub fn read(path: &Path) -> anyhow::Result<Vec<Line>> {
    let mut lines: Vec<Line> = super::eval::lines(path)?;
    let mut seen = std::collections::HashSet::new();
    lines.retain(|line| line.value().is_some() && seen.insert((line.text.clone(), line.label())));
    ensure!(
        !lines.is_empty(),
        "{}: no line has a text and an \"intent\", \"emotion\", \"category\" or \"label\"",
        path.display()
    );
    Ok(lines)
}

/// The encoder, with the settings it was loaded by.
pub struct Encoder {
    features: LayerFeatures,
    /// The settings.
    pub config: Config,
    quiet: bool,
}

impl Encoder {
    /// Loads the embedding model.
    pub async fn load(common: &Common) -> anyhow::Result<Self> {
        let config = common.settings(None)?;
        let embedder = app::load_embedder(&config, &common.models).await?;
        let features = LayerFeatures::over(&embedder, &config.inference)?;
        Ok(Self {
            features,
            config,
            quiet: common.json,
        })
    }

    /// What heads are trained over.
    pub fn base(&self) -> Base {
        let info = self.features.info();
        Base {
            model: info.model.clone(),
            sha256: info.sha256.clone(),
            width: info.width,
            layers: info.layers,
        }
    }

    /// What it says of texts, without showing how far it is: for few.
    pub async fn quietly(&self, texts: &[String]) -> anyhow::Result<Vec<f32>> {
        Ok(self.features.features(texts.to_vec()).await?.data)
    }

    /// What it says of one text, as of a customer's.
    pub async fn one(&self, text: &str) -> anyhow::Result<Vec<f32>> {
        Ok(self.features.features(vec![text.to_owned()]).await?.data)
    }

    /// Texts with their labels and what it says of them.
    pub async fn set(&self, texts: &[(String, String)]) -> anyhow::Result<Set> {
        let bar = self.bar(texts.len() as u64, "encoding");
        let set = Set::of(&self.features, texts, &|done| bar.set_position(done as u64)).await?;
        bar.finish_and_clear();
        Ok(set)
    }

    /// The lines of files as a set; of each label at most `shots`, where given.
    pub async fn read(&self, path: &Path, shots: Option<usize>, seed: u64) -> anyhow::Result<Set> {
        let mut lines = read(path)?;
        if let Some(shots) = shots {
            lines = few(lines, shots, seed, Line::label);
        }
        let texts: Vec<(String, String)> = lines.iter().map(Line::labelled).collect();
        self.set(&texts).await
    }

    /// Trains a head; returns it with the seconds that took.
    pub async fn train(&self, task: &str, set: &Set, training: Training) -> anyhow::Result<(Head, f64)> {
        let began = Instant::now();
        let bar = self.bar(1000, "training");
        let told = bar.clone();
        let told = move |share: f32| told.set_position((share * 1000.0) as u64);
        let threads = self.config.inference.threads;
        let head = fit(task, &self.features, set.clone(), training, threads, told).await;
        bar.finish_and_clear();
        let head = head.context("training")?;
        Ok((head, began.elapsed().as_secs_f64()))
    }

    fn bar(&self, length: u64, what: &'static str) -> ProgressBar {
        if self.quiet {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{msg} {wide_bar} {percent}%")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(length).with_style(style).with_message(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_many_names() {
        let label = |text: &str| serde_json::from_str::<Line>(text).unwrap().label();
        assert_eq!(label(r#"{"text": "a", "intent": "x/y", "lang": "zh"}"#), "x/y");
        assert_eq!(label(r#"{"text": "a", "label": 1}"#), "1");
        assert_eq!(label(r#"{"text": "a", "category": "normal"}"#), "normal");
    }

    #[test]
    fn so_many_of_each_label_are_drawn_and_the_same_by_the_same_seed() {
        let lines: Vec<(u32, String)> = (0..40).map(|n| (n, (n % 4).to_string())).collect();
        let draw = |seed| few(lines.clone(), 3, seed, |line| line.1.clone());
        assert_eq!(draw(1).len(), 12);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
