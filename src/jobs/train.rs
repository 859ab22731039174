//! Heads from examples: trained beside the server's answers, and used from the next message on.

use crate::dialogue::Senses;
use crate::domain::Clock;
use crate::inference::{Features, InferenceError};
use crate::storage::{StorageError, Store};
use crate::understanding::heads::{Base, Head, HeadError, Sample, Training, label_words, prepared};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the trained head is for.
const TASK: &str = "intent";
/// Intents of a head that is trained beside the answers: with more, its weights would take memory that these need.
const MOST_INTENTS: usize = 1000;
/// With fewer examples than this a label's name is an example too.
const FEW: usize = 20;
/// Texts that the encoder gets at once; more than a customer's, so that customers' come first.
const BATCH: usize = 64;

/// Labelled texts with what the encoder says of them.
#[derive(Clone, Debug, Default)]
pub struct Set {
    /// The texts, as heads see them.
    pub texts: Vec<String>,
    /// Their labels.
    pub labels: Vec<String>,
    /// `[texts, width]`.
    pub numbers: Vec<f32>,
    /// Numbers of a text.
    pub width: usize,
}

impl Set {
    /// The numbers of one text.
    #[must_use]
    pub fn row(&self, place: usize) -> &[f32] {
        &self.numbers[place * self.width..(place + 1) * self.width]
    }

    /// How many texts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Those of its texts that stand at `places`.
    #[must_use]
    pub fn part(&self, places: &[usize]) -> Self {
        Self {
            texts: places.iter().map(|&place| self.texts[place].clone()).collect(),
            labels: places.iter().map(|&place| self.labels[place].clone()).collect(),
            numbers: places.iter().flat_map(|&place| self.row(place)).copied().collect(),
            width: self.width,
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.texts.extend_from_slice(&other.texts);
        self.labels.extend_from_slice(&other.labels);
        self.numbers.extend_from_slice(&other.numbers);
        self.width = self.width.max(other.width);
        self
    }

    /// Labelled texts with what `features` says of them; `told` is told how many are done.
    ///
    /// # Errors
    /// What the encoder reports.
    pub async fn of(
        features: &dyn Features,
        texts: &[(String, String)],
        told: &(dyn Fn(usize) + Sync),
    ) -> Result<Self, InferenceError> {
        let info = features.info();
        let mut set = Self {
            texts: texts.iter().map(|(text, _)| prepared(text)).collect(),
            labels: texts.iter().map(|(_, label)| label.clone()).collect(),
            numbers: Vec::new(),
            width: info.width * info.layers,
        };
        for batch in set.texts.chunks(BATCH) {
            set.numbers.extend(features.features(batch.to_vec()).await?.data);
            told(set.numbers.len() / set.width.max(1));
        }
        Ok(set)
    }
}

/// Trains a head for `task` on `set` with so many threads. A label with few examples has its name as one more. `told` is told which
/// share is done.
///
/// # Errors
/// Examples that nothing can be learnt from; what the encoder reports.
pub async fn fit(
    task: &str,
    features: &dyn Features,
    set: Set,
    training: Training,
    threads: usize,
    told: impl Fn(f32) + Send + Sync + 'static,
) -> Result<Head, TrainError> {
    let mut examples: BTreeMap<String, usize> = BTreeMap::new();
    for label in &set.labels {
        *examples.entry(label.clone()).or_default() += 1;
    }
    let labels: Vec<String> = examples.keys().cloned().collect();
    let mut set = set;
    if examples.values().any(|count| *count < FEW) {
        let names: Vec<(String, String)> = (labels.iter())
            .map(|label| (label_words(label), label.clone()))
            .filter(|(words, _)| words.chars().any(char::is_alphabetic))
            .collect();
        let names = Set::of(features, &names, &|_| ()).await?;
        set = set.and(&names);
    }
    let info = features.info();
    let base = Base {
        model: info.model.clone(),
        sha256: info.sha256.clone(),
        width: info.width,
        layers: info.layers,
    };
    let task = task.to_owned();
    let head = tokio::task::spawn_blocking(move || {
        let place = |label: &String| labels.binary_search(label).unwrap_or_default() as u32;
        let samples: Vec<Sample<'_>> = (0..set.len())
            .map(|at| Sample {
                text: &set.texts[at],
                numbers: set.row(at),
                label: place(&set.labels[at]),
            })
            .collect();
        Head::train_with_threads(threads, &task, labels.clone(), &samples, base, training, &told)
    });
    head.await.map_err(|_| TrainError::Stopped)?.map_err(TrainError::Head)
}

/// Why no head was trained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// There are more intents than a server learns beside its answers.
    #[error(
        "{0} intents are more than {MOST_INTENTS}: were texts and intents exchanged? A head for more is made with kefu train intent"
    )]
    Many(usize),
    /// One is being trained.
    #[error("a head is being trained; wait for its end")]
    Busy,
    /// What the examples or a head are wrong in.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// What the encoder reports.
    #[error("the encoder: {0}")]
    Inference(#[from] InferenceError),
    /// What the database reports.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The computation ended without a result.
    #[error("the training ended without a result; see the log")]
    Stopped,
}

/// How the training stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainerState {
    /// Since when one is under way, and by whom.
    pub running: Option<(Timestamp, String)>,
    /// Which share of it is done, 0 to 1.
    pub done: f32,
    /// Why the last one failed, if it did.
    pub failed: Option<String>,
}

/// Learns what customers want from the examples that are stored.
pub struct Trainer {
    senses: Arc<Senses>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    threads: usize,
    state: Arc<Mutex<TrainerState>>,
    /// The newest version that was looked at, usable or not.
    looked_at: AtomicU64,
}

/// The right to train, until it is dropped.
struct Running<'a>(&'a Trainer);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.state().running = None;
    }
}

impl Trainer {
    /// Trains what `senses` uses. Of `threads` half are taken, one at least: customers are answered meanwhile.
    #[must_use]
    pub fn new(senses: Arc<Senses>, store: Arc<dyn Store>, clock: Arc<dyn Clock>, threads: usize) -> Self {
        Self {
            senses,
            store,
            clock,
            threads: (threads / 2).max(1),
            state: Arc::default(),
            looked_at: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, TrainerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> TrainerState {
        self.state().clone()
    }

    /// What uses the heads.
    #[must_use]
    pub fn senses(&self) -> &Arc<Senses> {
        &self.senses
    }

    /// Begins to train a head on all examples, in a task of its own; [`Self::standing`] tells how it goes on. The head is stored, and
    /// in use from the next message on.
    ///
    /// # Errors
    /// `Busy`; too few examples.
    pub async fn begin(self: &Arc<Self>, by: &str) -> Result<(), TrainError> {
        let intents = self.store.intents().await?;
        let examples = intents
            .iter()
            .map(|intent| intent.given + intent.corrected)
            .sum::<u64>();
        if intents.len() < 2 {
            return Err(TrainError::Head(HeadError::Examples {
                examples: usize::try_from(examples).unwrap_or(usize::MAX),
                labels: intents.len(),
            }));
        }
        if intents.len() > MOST_INTENTS {
            return Err(TrainError::Many(intents.len()));
        }
        {
            let mut state = self.state();
            if state.running.is_some() {
                return Err(TrainError::Busy);
            }
            *state = TrainerState {
                running: Some((self.clock.now(), by.to_owned())),
                ..TrainerState::default()
            };
        }
        let (trainer, by) = (Arc::clone(self), by.to_owned());
        tokio::spawn(async move {
            let running = Running(&trainer);
            let done = trainer.train(&by).await;
            if let Err(error) = done {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no head for intents was trained"
                );
                trainer.state().failed = Some(error.to_string());
            }
            drop(running);
        });
        Ok(())
    }

    async fn train(&self, by: &str) -> Result<u64, TrainError> {
        let texts = self.store.labelled_texts().await?;
        let features = self.senses.features().as_ref();
        let set = Set::of(features, &texts, &|_| ()).await?;
        let (examples, state) = (set.len(), Arc::clone(&self.state));
        let told = move |share: f32| state.lock().unwrap_or_else(PoisonError::into_inner).done = share;
        let head = fit(TASK, features, set, Training::default(), self.threads, told).await?;
        let about = head.about();
        let detail = json!({
            "examples": examples, "labels": about.labels.len(), "accuracy": about.calibration.accuracy,
            "macro_f1": about.calibration.macro_f1,
        });
        let bytes = head.to_bytes();
        let version = self.store.put_head(TASK, &bytes, by, self.clock.now(), detail).await?;
        self.senses.use_intents(version, &bytes)?;
        tracing::info!(version, examples, "a head for intents was trained");
        Ok(version)
    }

    /// Uses the newest head that is stored; its version, if it is another than before.
    ///
    /// # Errors
    /// A head that cannot be used; what the database reports.
    pub async fn catch_up(&self) -> Result<Option<u64>, TrainError> {
        let present = self.senses.intent_head().map_or(0, |head| head.version);
        // What cannot be used once will not be later.
        let after = present.max(self.looked_at.load(Ordering::Relaxed));
        let Some(newer) = self.store.newer_head(TASK, after).await? else {
            return Ok(None);
        };
        self.looked_at.fetch_max(newer.version, Ordering::Relaxed);
        let used = self.senses.use_intents(newer.version, &newer.head);
        if let Err(error) = &used {
            self.state().failed = Some(format!("the stored head cannot be used, train anew: {error}"));
        }
        used?;
        Ok(Some(newer.version))
    }
}
