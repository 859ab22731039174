//! The language model in this process: one thread owns the weights and serves several requests in turns.
//!
//! A request is checked and tokenised where it comes in, waits in a bounded queue for a place and for memory, and is
//! served by the engine's thread (`worker`), which asks `scheduler` what to compute in the next step: all requests under
//! way go through the network together. What was computed is kept in `prefix_tree` as long as its memory is not needed.
//! Events go out through a bounded channel for each request; the thread never waits for a client, and dropping the stream
//! ends the work within one step.
//!
//! A request's answer does not depend on what is served beside it: the kernels give a row the same numbers whatever the
//! other rows, so batches, chunks, caches and guesses change no token.

mod load;
mod lookup;
mod outbox;
mod passage_cache;
mod prefix_tree;
mod queue;
pub mod scheduler;
mod scoring;
mod sequence;
mod worker;
mod writer;

pub use load::load_language_model;

use super::constraint::Constraints;
use super::models::CausalModel;
use super::prompt::ChatTemplate;
use super::sampler::{MAX_TOP_LOGPROBS, Sampler};
use super::stop::StopMatcher;
use super::tokenizer::{Piece, Tokenizer};
use super::{
    GenerateRequest, GenerationEvent, GenerationStream, InferenceError, LanguageModel, ModelInfo, Prompt, Score,
    ScoreRequest, Tool,
};
use crate::config::InferenceConfig;
use crate::domain::{Clock, SystemClock};
use crate::inference::kv_cache::{KvPool, PAGE};
use crate::kernels::pool;
use async_trait::async_trait;
use passage_cache::PassageCache;
use prefix_tree::PrefixTree;
use queue::{Answer, Job, Queue, ScoreWork, Service, Work};
use scheduler::Pace;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use worker::Worker;

/// Continuations scored in one request.
const MAX_CONTINUATIONS: usize = 256;
/// Tokens of a continuation: each has a row of logits, as long as the vocabulary.
const MAX_CONTINUATION_TOKENS: usize = 256;

/// What goes to a client.
type Reply = Result<GenerationEvent, InferenceError>;

/// Events a client may leave unread before they are joined: some seconds of text.
const CHANNEL_EVENTS: usize = 64;
/// A client that reads nothing for this long is given up, unless the settings say otherwise; `[http]
/// stalled_client_timeout_ms` has the same default.
const STALLED_CLIENT: Duration = Duration::from_secs(30);

/// How an engine serves. [`EngineSettings::from`] takes them from `[inference]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSettings {
    /// Requests that wait, beside those that are served.
    pub queue_length: usize,
    /// Requests served at once.
    pub parallel_requests: usize,
    /// The most tokens of prompts computed in a step.
    pub prefill_chunk_tokens: usize,
    /// How long a running answer may wait for its next token while prompts are read.
    pub pause: Duration,
    /// Longest prompt and answer together; 0 takes what the model was loaded for.
    pub context_tokens: usize,
    /// Bytes for keys and values.
    pub kv_cache_bytes: usize,
    /// Bytes for keys and values of passages that come again elsewhere; 0 reads them anew each time.
    pub passage_cache_bytes: usize,
    /// First tokens of such a passage that are read anew.
    pub passage_seam_tokens: usize,
    /// Whether to guess what follows from what was there before; answers are the same.
    pub speculation: bool,
    /// Compute threads; 0 takes the machine's cores.
    pub threads: usize,
    /// A client that reads nothing for this long is given up.
    pub stalled_client: Duration,
}

impl From<&InferenceConfig> for EngineSettings {
    fn from(config: &InferenceConfig) -> Self {
        Self {
            queue_length: config.queue_length,
            parallel_requests: config.parallel_requests,
            prefill_chunk_tokens: config.prefill_chunk_tokens,
            context_tokens: config.context_tokens,
            kv_cache_bytes: config.kv_cache_mb << 20,
            passage_cache_bytes: config.passage_cache_mb << 20,
            passage_seam_tokens: config.passage_seam_tokens,
            speculation: config.speculation,
            pause: Duration::from_millis(config.pause_ms),
            threads: config.threads,
            stalled_client: STALLED_CLIENT,
        }
    }
}

/// How an engine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// What is queued and under way is answered; new requests are refused.
    Drain,
    /// What is queued and under way ends with [`InferenceError::Stopped`].
    Cancel,
}

/// A running engine. Dropping it cancels its work and waits for its thread.
#[derive(Debug)]
pub struct Engine {
    info: ModelInfo,
    tokenizer: Arc<Tokenizer>,
    template: ChatTemplate,
    constraints: Constraints,
    /// Memory for keys and values.
    pool: KvPool,
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Starts the engine's thread on `model`. `info.context_tokens` is lowered to what the settings and the model allow.
    ///
    /// # Errors
    /// [`InferenceError::Template`] if the model's chat template is none, [`InferenceError::Tokenizer`] if tokenizer and
    /// model do not belong together, [`InferenceError::Io`] if no thread can be started,
    /// [`InferenceError::Compute`] if a device has no room for keys and values.
    pub fn start(
        model: Box<dyn CausalModel>,
        tokenizer: Tokenizer,
        mut info: ModelInfo,
        settings: &EngineSettings,
    ) -> Result<Self, InferenceError> {
        // Models pad their logits to a round number, but every token of the tokenizer must have one.
        if tokenizer.len() > model.vocabulary() {
            let detail = format!("{} tokens for a model of {}", tokenizer.len(), model.vocabulary());
            return Err(InferenceError::Tokenizer(detail));
        }
        let wanted = if settings.context_tokens == 0 {
            usize::MAX
        } else {
            settings.context_tokens
        };
        let shape = model.kv_shape();
        let pool = model.new_pool((settings.kv_cache_bytes / shape.page_bytes().max(1)).max(1))?;
        info.context_tokens = model.context_tokens().min(wanted);
        if pool.pages() * PAGE < info.context_tokens {
            info.context_tokens = pool.pages() * PAGE;
            let tokens = info.context_tokens;
            tracing::warn!(
                tokens,
                "the memory for keys and values (inference.kv_cache_mb) bounds the context"
            );
        }
        let template = ChatTemplate::new(tokenizer.chat_template(), tokenizer.bos_text(), tokenizer.eos_text())?;
        let tokenizer = Arc::new(tokenizer);
        let parallel = settings.parallel_requests.max(1);
        let queue = Arc::new(Queue::new(settings.queue_length, parallel));
        let worker = Worker {
            model,
            tokenizer: Arc::clone(&tokenizer),
            queue: Arc::clone(&queue),
            context_tokens: info.context_tokens,
            stalled_client: settings.stalled_client,
            speculation: settings.speculation,
            pace: Pace::new(settings.pause, settings.prefill_chunk_tokens),
            prefixes: PrefixTree::new(&pool),
            passages: PassageCache::new(settings.passage_cache_bytes),
            seam: settings.passage_seam_tokens,
            pool: pool.clone(),
            served: Vec::with_capacity(parallel),
            leaving: Vec::new(),
            most_leaving: settings.queue_length.max(parallel),
        };
        let threads = settings.threads;
        let thread = std::thread::Builder::new()
            .name("language-model".to_owned())
            .spawn(move || pool::with_threads(threads, || worker.run()))
            .map_err(|source| InferenceError::Io {
                path: PathBuf::from(&info.name),
                source,
            })?;
        Ok(Self {
            info,
            constraints: Constraints::new(Arc::clone(&tokenizer)),
            tokenizer,
            template,
            pool,
            queue,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The model's tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Ends the engine and waits until its thread is gone: within one step where it is cancelled, after the last
    /// answer where it is drained. Later requests are refused with [`InferenceError::Stopped`].
    pub fn shutdown(&self, how: Shutdown) {
        self.queue.restrict(match how {
            Shutdown::Drain => Service::Draining,
            Shutdown::Cancel => Service::Closed,
        });
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread catches its own panics.
            let _ = thread.join();
        }
    }

    /// The prompt's tokens, and where those of `passages` stand that are in it.
    fn tokenise(
        &self,
        prompt: &Prompt,
        tools: &[Tool],
        passages: &[String],
    ) -> Result<(Vec<u32>, Vec<Range<usize>>), InferenceError> {
        let limit = self.info.context_tokens.saturating_sub(1);
        let bytes: usize = match prompt {
            Prompt::Text(text) => text.len(),
            Prompt::Chat(messages) => messages.iter().map(|message| message.content.len()).sum(),
        };
        // What cannot fit however it is cut is refused before the work of cutting it.
        let fewest = self.tokenizer.fewest_tokens(bytes);
        if fewest > limit {
            return Err(InferenceError::TooLong { tokens: fewest, limit });
        }
        let pieces = match prompt {
            Prompt::Text(text) => vec![Piece::Content(text.clone())],
            Prompt::Chat(messages) => self.template.render(messages, tools, SystemClock.now())?,
        };
        let (pieces, found) = cut(pieces, passages);
        let (tokens, places) = self.tokenizer.encode_pieces(&pieces)?;
        let places = found.into_iter().map(|index| places[index].clone()).collect();
        if tokens.len() > limit {
            return Err(InferenceError::TooLong {
                tokens: tokens.len(),
                limit,
            });
        }
        if tokens.is_empty() {
            return Err(InferenceError::BadParameter {
                name: "prompt",
                detail: "it must not be empty".to_owned(),
            });
        }
        Ok((tokens, places))
    }
}

/// Cuts texts of people and documents at `passages`, so that those have the same tokens wherever they stand; returns the
/// pieces and which of them are passages.
fn cut(pieces: Vec<Piece>, passages: &[String]) -> (Vec<Piece>, Vec<usize>) {
    let (mut out, mut found) = (Vec::new(), Vec::new());
    for piece in pieces {
        let Piece::Content(text) = &piece else {
            out.push(piece);
            continue;
        };
        let mut left = text.as_str();
        let first = |text: &str| {
            let at = |passage: &String| Some((text.find(passage.as_str())?, passage.len()));
            passages
                .iter()
                .filter(|passage| !passage.is_empty())
                .filter_map(at)
                .min()
        };
        while let Some((start, len)) = first(left) {
            if start > 0 {
                out.push(Piece::Content(left[..start].to_owned()));
            }
            found.push(out.len());
            out.push(Piece::Content(left[start..start + len].to_owned()));
            left = &left[start + len..];
        }
        if !left.is_empty() {
            out.push(Piece::Content(left.to_owned()));
        }
    }
    (out, found)
}

#[async_trait]
impl LanguageModel for Engine {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn count_tokens(&self, text: &str) -> Result<usize, InferenceError> {
        Ok(self.tokenizer.encode_text(text)?.len())
    }

    fn generate(&self, request: GenerateRequest) -> Result<GenerationStream, InferenceError> {
        if request.max_tokens == 0 {
            return Err(InferenceError::BadParameter {
                name: "max_tokens",
                detail: "it must be at least 1".to_owned(),
            });
        }
        if request.top_logprobs.is_some_and(|top| top > MAX_TOP_LOGPROBS) {
            let detail = format!("it must be at most {MAX_TOP_LOGPROBS}");
            return Err(InferenceError::BadParameter {
                name: "top_logprobs",
                detail,
            });
        }
        let sampler = Sampler::new(request.sampling)?;
        let stop = StopMatcher::new(request.stop)?;
        let (prompt, passages) = self.tokenise(&request.prompt, &request.tools, &request.passages)?;
        let constraint = request.constraint.as_ref();
        let constraint = constraint.map(|form| self.constraints.begin(form)).transpose()?;
        let (events, receiver) = mpsc::channel(CHANNEL_EVENTS);
        let most = (prompt.len() + request.max_tokens.min(self.info.context_tokens)).min(self.info.context_tokens);
        self.queue.submit(Job {
            prompt,
            pages: most.div_ceil(PAGE),
            deadline: request.deadline,
            visitor: request.visitor,
            work: Work::Answer(Box::new(Answer {
                max_tokens: request.max_tokens,
                sampler,
                constraint,
                stop,
                top_logprobs: request.top_logprobs,
                passages,
                events,
            })),
            announced: None,
        })?;
        Ok(GenerationStream::new(receiver))
    }

    async fn score(&self, request: ScoreRequest) -> Result<Vec<Score>, InferenceError> {
        if request.continuations.len() > MAX_CONTINUATIONS {
            return Err(InferenceError::BadParameter {
                name: "continuations",
                detail: format!("there must be at most {MAX_CONTINUATIONS}"),
            });
        }
        let (prompt, _) = self.tokenise(&request.prompt, &[], &[])?;
        let mut continuations = Vec::with_capacity(request.continuations.len());
        // Each is computed on a copy of the prompt's last page.
        let mut pages = prompt.len().div_ceil(PAGE);
        for text in &request.continuations {
            let tokens = self.tokenizer.encode_text(text)?;
            if tokens.is_empty() {
                return Err(InferenceError::BadParameter {
                    name: "continuations",
                    detail: "none may be empty".to_owned(),
                });
            }
            let (whole, limit) = (prompt.len() + tokens.len(), self.info.context_tokens);
            if whole > limit {
                return Err(InferenceError::TooLong { tokens: whole, limit });
            }
            if tokens.len() > MAX_CONTINUATION_TOKENS {
                return Err(InferenceError::BadParameter {
                    name: "continuations",
                    detail: format!("none may have more than {MAX_CONTINUATION_TOKENS} tokens"),
                });
            }
            if tokens.len() > 1 {
                pages += 1 + (tokens.len() - 1).div_ceil(PAGE);
            }
            continuations.push(tokens);
        }
        if pages > self.pool.pages() {
            return Err(InferenceError::TooLong {
                tokens: pages * PAGE,
                limit: self.pool.pages() * PAGE,
            });
        }
        if continuations.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, scores) = oneshot::channel();
        self.queue.submit(Job {
            prompt,
            pages,
            deadline: request.deadline,
            visitor: None,
            work: Work::Score(ScoreWork { continuations, reply }),
            announced: None,
        })?;
        scores.await.map_err(|_gone| InferenceError::Stopped)?
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shutdown(Shutdown::Cancel);
    }
}

#[cfg(test)]
mod device_tests;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod stress;
#[cfg(test)]
mod tests;
