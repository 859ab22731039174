//! Heads: what kind of text a text is (an intent, an emotion, a risk), learnt from examples.
//!
//! A head is a small network over what the layers of the embedding model's encoder say of a text, and over the text's own grams
//! (`network`). It is trained in seconds (`train`), says how sure it is in probabilities that hold on texts it has not seen, and from
//! which probability on a text belongs to its labels at all (`calibrate`); `file` is how it is kept.

mod calibrate;
mod file;
mod lexicon;
mod matrix;
mod network;
mod prepare;
mod train;

pub use prepare::{label_words, prepared};
pub use train::{Sample, Training};

use super::mood::Weights;
use crate::kernels::level::Level;
use crate::kernels::pool;
use network::Network;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most examples that a head is trained on: with the numbers of three layers these take about a gigabyte.
pub const MAX_SAMPLES: usize = 200_000;
/// The most labels.
pub const MAX_LABELS: usize = 4096;
/// Share of the texts that belong to a label and are taken for none.
pub const FALSE_ALARMS: f64 = 0.05;

/// What went wrong with a head.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// The file is not what was written.
    #[error("the head is damaged or not supported: {detail}; make it anew with kefu train")]
    Damaged {
        /// What is wrong with it.
        detail: String,
    },
    /// It stands on another embedding model than the one in use.
    #[error(
        "the head was trained over the embedding model with the SHA-256 {trained}, and {loaded} is loaded; train it anew with kefu \
         train, or set [inference] embedding_model to the one it was trained over"
    )]
    OtherModel {
        /// The model it was trained over.
        trained: String,
        /// The model in use.
        loaded: String,
    },
    /// It is for something else.
    #[error("the head is for {has}, and one for {wanted} is needed")]
    OtherTask {
        /// What it is for.
        has: String,
        /// What it should be for.
        wanted: String,
    },
    /// There is nothing to learn from.
    #[error(
        "{examples} examples of {labels} labels: at least two labels with examples are needed, and at most {MAX_LABELS} labels and {MAX_SAMPLES} examples"
    )]
    Examples {
        /// Examples.
        examples: usize,
        /// Labels among them.
        labels: usize,
    },
    /// An example does not fit.
    #[error(
        "example {place} has {got} numbers and label {label}; {expected} numbers and a label below {labels} are expected"
    )]
    Sample {
        /// Which example, from 0.
        place: usize,
        /// Its numbers.
        got: usize,
        /// The numbers it should have.
        expected: usize,
        /// Its label.
        label: u32,
        /// Labels.
        labels: usize,
    },
}

/// What the numbers of a text are: those that an encoder's layers give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The embedding model's name.
    pub model: String,
    /// SHA-256 of its file in hexadecimal; empty where it is not known.
    pub sha256: String,
    /// Numbers of one layer.
    pub width: usize,
    /// Layers.
    pub layers: usize,
}

/// How a head did on examples that it was not trained on, by cross-validation, and what follows from that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Examples that it was tried on.
    pub n: usize,
    /// Share of these whose label it found.
    pub accuracy: f64,
    /// The mean over labels of their F1.
    pub macro_f1: f64,
    /// What scores are divided by to give probabilities.
    pub temperature: f32,
    /// The probability of the likeliest label, from which on a text belongs to one of the labels; [`FALSE_ALARMS`] of those that do
    /// are below.
    pub in_scope: f32,
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    about: About,
    network: Network,
}

/// What a head is, without its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// What it is for: `intent`, `emotion`, `risk`, ...
    pub task: String,
    /// Its labels. A `/` in them separates a group from what is in it.
    pub labels: Vec<String>,
    /// Examples of each label.
    pub examples: Vec<usize>,
    /// What it stands on.
    pub base: Base,
    /// How it was trained.
    pub training: Training,
    /// How it did.
    pub calibration: Calibration,
    /// For a head that tells satisfaction: how what it says is weighed with what else shows a mood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mood: Option<Weights>,
}

/// What a head says of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// The probability of each label, in the order of [`About::labels`].
    pub probabilities: Vec<f32>,
    /// The place of the likeliest label.
    pub best: usize,
    /// Whether the text belongs to one of the labels at all.
    pub in_scope: bool,
}

impl Prediction {
    /// The probability of the likeliest label.
    #[must_use]
    pub fn confidence(&self) -> f32 {
        self.probabilities.get(self.best).copied().unwrap_or_default()
    }
}

impl About {
    /// The place of a label.
    #[must_use]
    pub fn place(&self, label: &str) -> Option<usize> {
        self.labels.iter().position(|known| known == label)
    }

    /// The groups of labels: what stands before the first `/`, with the labels' places.
    #[must_use]
    pub fn groups(&self) -> BTreeMap<&str, Vec<usize>> {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, label) in self.labels.iter().enumerate() {
            let group = label.split_once('/').map_or(label.as_str(), |(group, _)| group);
            groups.entry(group).or_default().push(place);
        }
        groups
    }
}

impl Head {
    /// Trains a head for `task` on `samples`, whose labels are places in `labels`. `done` is called now and then with the share of the
    /// work that is done.
    ///
    /// Works on the pool of the thread that calls. Takes about a second for a thousand examples on two cores.
    ///
    /// # Errors
    /// [`HeadError::Examples`], [`HeadError::Sample`].
    pub fn train(
        task: &str,
        labels: Vec<String>,
        samples: &[Sample<'_>],
        base: Base,
        training: Training,
        done: &dyn Fn(f32),
    ) -> Result<Self, HeadError> {
        let seen: BTreeSet<u32> = samples.iter().map(|sample| sample.label).collect();
        if seen.len() < 2 || labels.len() > MAX_LABELS || samples.len() > MAX_SAMPLES {
            return Err(HeadError::Examples {
                examples: samples.len(),
                labels: labels.len().max(seen.len()),
            });
        }
        let expected = base.width * base.layers;
        for (place, sample) in samples.iter().enumerate() {
            if sample.numbers.len() != expected || sample.label as usize >= labels.len() {
                return Err(HeadError::Sample {
                    place,
                    got: sample.numbers.len(),
                    expected,
                    label: sample.label,
                    labels: labels.len(),
                });
            }
        }
        let calibration =
            calibrate::calibrate(samples, labels.len(), base.width, &training, &|share| done(share / 2.0));
        let network = train::train(samples, labels.len(), base.width, &training, &|share| {
            done(0.5 + share / 2.0);
        });
        let mut examples = vec![0; labels.len()];
        for sample in samples {
            examples[sample.label as usize] += 1;
        }
        let about = About {
            task: task.to_owned(),
            labels,
            examples,
            base,
            training,
            calibration,
            mood: None,
        };
        // What is kept is what is computed with, so a head does after it is loaded what it did before.
        Ok(file::rounded(about, &network))
    }

    /// [`Self::train`] on a pool of so many threads of its own.
    ///
    /// # Errors
    /// As there.
    pub fn train_with_threads(
        threads: usize,
        task: &str,
        labels: Vec<String>,
        samples: &[Sample<'_>],
        base: Base,
        training: Training,
        done: &(dyn Fn(f32) + Sync),
    ) -> Result<Self, HeadError> {
        pool::with_threads(threads, || {
            Self::train(task, labels, samples, base, training, &|share| done(share))
        })
    }

    /// What it is.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The same head with weights of a mood.
    #[must_use]
    pub fn with_mood(mut self, weights: Weights) -> Self {
        self.about.mood = Some(weights);
        self
    }

    /// What it says of `text`, of which the encoder says `numbers` (as many as [`Base`] tells; else it says that every label is
    /// equally likely). Costs about a tenth of a millisecond.
    #[must_use]
    pub fn predict(&self, numbers: &[f32], text: &str) -> Prediction {
        let labels = self.about.labels.len();
        let probabilities = if numbers.len() == self.network.means.len() {
            let scores = self.network.scores(Level::detect(), numbers, text);
            network::softmax(&scores, self.about.calibration.temperature)
        } else {
            vec![1.0 / labels as f32; labels]
        };
        let best = calibrate::best(&probabilities);
        let in_scope = probabilities
            .get(best)
            .is_some_and(|p| *p >= self.about.calibration.in_scope);
        Prediction {
            probabilities,
            best,
            in_scope,
        }
    }

    /// Whether it can be used for `task` over the embedding model with this hash.
    ///
    /// # Errors
    /// [`HeadError::OtherTask`], [`HeadError::OtherModel`].
    pub fn check(&self, task: &str, sha256: &str) -> Result<(), HeadError> {
        if self.about.task != task {
            return Err(HeadError::OtherTask {
                has: self.about.task.clone(),
                wanted: task.to_owned(),
            });
        }
        let trained = &self.about.base.sha256;
        if !trained.is_empty() && !sha256.is_empty() && trained != sha256 {
            return Err(HeadError::OtherModel {
                trained: trained.clone(),
                loaded: sha256.to_owned(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
