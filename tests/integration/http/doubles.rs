//! Models that do what a test tells them.

use super::support::{EMBEDDER, MODEL, SENTENCE};
use async_trait::async_trait;
use kefu::inference::{
    Embedder, EmbedderInfo, Embeddings, FinishReason, GenerateRequest, GenerationEvent, GenerationStream,
    InferenceError, LanguageModel, ModelInfo, TextKind, TokenLogprob, Usage,
};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Embeds pairs of characters by their hash: texts with the same words are near each other.
pub struct HashingEmbedder {
    info: EmbedderInfo,
    pub overloaded: AtomicBool,
    /// It has stopped, as a model does whose thread is gone.
    pub stopped: AtomicBool,
}

impl HashingEmbedder {
    pub fn new() -> Self {
        let info = EmbedderInfo {
            name: EMBEDDER.to_owned(),
            dim: 32,
            max_tokens: 512,
            sha256: "e".repeat(64),
        };
        Self {
            info,
            overloaded: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        }
    }
}

#[async_trait]
impl Embedder for HashingEmbedder {
    fn info(&self) -> &EmbedderInfo {
        &self.info
    }

    fn count_tokens(&self, _kind: TextKind, text: &str) -> Result<usize, InferenceError> {
        Ok(text.chars().count() + 2)
    }

    async fn embed(&self, kind: TextKind, texts: Vec<String>) -> Result<Embeddings, InferenceError> {
        if self.overloaded.load(Ordering::SeqCst) {
            return Err(InferenceError::Overloaded {
                queued: 256,
                retry_after: Duration::from_secs(3),
            });
        }
        if self.stopped.load(Ordering::SeqCst) {
            return Err(InferenceError::Stopped);
        }
        let dim = self.info.dim;
        let (mut data, mut tokens) = (Vec::new(), 0);
        for text in &texts {
            let count = self.count_tokens(kind, text)?;
            if count > self.info.max_tokens {
                return Err(InferenceError::TooLong {
                    tokens: count,
                    limit: self.info.max_tokens,
                });
            }
            tokens += count;
            let mut row = vec![0.01_f32; dim];
            let chars: Vec<char> = text.chars().collect();
            for pair in chars.windows(2.min(chars.len().max(1))) {
                let hash = pair
                    .iter()
                    .fold(17_usize, |hash, c| hash.wrapping_mul(31).wrapping_add(*c as usize));
                row[hash % dim] += 1.0;
            }
            let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            data.extend(row.iter().map(|x| x / norm));
        }
        Ok(Embeddings { dim, data, tokens })
    }
}

/// What the scripted model does for one request.
pub enum Script {
    /// Says these pieces and ends.
    Say(&'static [&'static str]),
    /// Says this and then waits until it is cancelled or let go.
    SayAndWait(&'static str, Arc<Notify>),
    /// Refuses at once.
    Overloaded,
    /// Fails after these words.
    FailAfter(&'static str),
}

/// A language model that follows scripts, one for each request; without one it says [`SENTENCE`].
pub struct ScriptedModel {
    info: ModelInfo,
    scripts: Mutex<VecDeque<Script>>,
    pub requests: Mutex<Vec<GenerateRequest>>,
    cancelled: mpsc::UnboundedSender<()>,
}

impl ScriptedModel {
    /// A model that tells `cancelled` each time a request of its is cancelled.
    pub fn new(cancelled: mpsc::UnboundedSender<()>) -> Self {
        let info = ModelInfo {
            name: MODEL.to_owned(),
            architecture: "scripted".to_owned(),
            context_tokens: 4096,
            sha256: "abcdef0123456789".repeat(4),
        };
        Self {
            info,
            scripts: Mutex::default(),
            requests: Mutex::default(),
            cancelled,
        }
    }

    pub fn script(&self, script: Script) {
        self.scripts.lock().unwrap().push_back(script);
    }
}

impl LanguageModel for ScriptedModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn count_tokens(&self, text: &str) -> Result<usize, InferenceError> {
        Ok(text.chars().count())
    }

    fn generate(&self, request: GenerateRequest) -> Result<GenerationStream, InferenceError> {
        let script = self
            .scripts
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or(Script::Say(&[SENTENCE]));
        if matches!(script, Script::Overloaded) {
            return Err(InferenceError::Overloaded {
                queued: 32,
                retry_after: Duration::from_millis(4500),
            });
        }
        let with_logprobs = request.top_logprobs;
        self.requests.lock().unwrap().push(request);
        let (sender, receiver) = mpsc::channel(4);
        let cancelled = self.cancelled.clone();
        tokio::spawn(async move {
            let text = |text: &str| {
                let top = vec![(text.to_owned(), text.as_bytes().to_vec(), -0.5); with_logprobs.unwrap_or(0)];
                let token = TokenLogprob {
                    text: text.to_owned(),
                    bytes: text.as_bytes().to_vec(),
                    logprob: -0.5,
                    top,
                };
                Ok(GenerationEvent::Text {
                    text: text.to_owned(),
                    logprobs: with_logprobs.map(|_| vec![token]).unwrap_or_default(),
                })
            };
            let mut events = vec![
                Ok(GenerationEvent::Queued { position: 1 }),
                Ok(GenerationEvent::Started {
                    prompt_tokens: 20,
                    cached_tokens: 8,
                }),
            ];
            let (mut gate, mut failed) = (None, false);
            let mut words = 0;
            match script {
                Script::Say(pieces) => {
                    words = pieces.len();
                    events.extend(pieces.iter().map(|piece| text(piece)));
                }
                Script::SayAndWait(piece, notify) => {
                    words = 1;
                    events.push(text(piece));
                    gate = Some(notify);
                }
                Script::FailAfter(piece) => {
                    events.push(text(piece));
                    events.push(Err(InferenceError::Stopped));
                    failed = true;
                }
                Script::Overloaded => {}
            }
            for event in events {
                if sender.send(event).await.is_err() {
                    let _ = cancelled.send(());
                    return;
                }
            }
            if let Some(gate) = gate {
                tokio::select! {
                    () = gate.notified() => {}
                    () = sender.closed() => {
                        let _ = cancelled.send(());
                        return;
                    }
                }
            }
            if !failed {
                let usage = Usage {
                    prompt_tokens: 20,
                    cached_tokens: 8,
                    completion_tokens: words,
                };
                let _ = sender
                    .send(Ok(GenerationEvent::Done {
                        reason: FinishReason::Stop,
                        usage,
                    }))
                    .await;
            }
        });
        Ok(GenerationStream::new(receiver))
    }
}

/// A reader that knows words only: a passage answers as much of a question as it has of its pairs of characters.
pub struct OverlapReader;

#[async_trait::async_trait]
impl kefu::inference::Reader for OverlapReader {
    fn version(&self) -> &'static str {
        "overlap"
    }

    async fn read(
        &self,
        question: &str,
        passages: &[kefu::inference::ReadPassage],
    ) -> Result<Vec<kefu::inference::Reading>, kefu::inference::InferenceError> {
        let chars: Vec<char> = question.chars().filter(|c| c.is_alphanumeric()).collect();
        let pairs: Vec<String> = chars.windows(2).map(|pair| pair.iter().collect()).collect();
        let reading = |passage: &kefu::inference::ReadPassage| {
            let text = format!("{}{}", passage.title, passage.text);
            let shared = pairs.iter().filter(|pair| text.contains(pair.as_str())).count();
            kefu::inference::Reading {
                log_odds: 12.0 * shared as f32 / pairs.len().max(1) as f32 - 6.0,
                place: kefu::inference::AnswerPlace {
                    span: 0..passage.text.len(),
                    tokens: Vec::new(),
                },
            }
        };
        Ok(passages.iter().map(reading).collect())
    }

    async fn same(&self, question: &str, others: &[&str]) -> Result<Vec<f32>, kefu::inference::InferenceError> {
        let passages: Vec<_> = (others.iter())
            .map(|other| kefu::inference::ReadPassage {
                title: String::new(),
                text: (*other).to_owned(),
            })
            .collect();
        let readings = self.read(question, &passages).await?;
        Ok(readings.into_iter().map(|reading| reading.log_odds).collect())
    }
}
