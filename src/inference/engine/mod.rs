//! The language model in this process: one thread owns the weights and serves several requests in turns.
//!
//! A request is checked and tokenised where it comes in, waits in a bounded queue, and is served token by token by the
//! engine's thread (`worker`), which asks `scheduler` what to compute next. Events go out through a bounded channel for
//! each request; the thread never waits for a client, and dropping the stream ends the work within one token.

mod load;
mod outbox;
mod prefix_cache;
mod queue;
pub mod scheduler;
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
    GenerateRequest, GenerationEvent, GenerationStream, InferenceError, LanguageModel, ModelInfo, Prompt, Tool,
};
use crate::config::InferenceConfig;
use crate::domain::{Clock, SystemClock};
use crate::kernels::pool;
use prefix_cache::PrefixCache;
use queue::{Job, Queue, Service};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;
use worker::Worker;

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
    /// Requests served in turns.
    pub parallel_requests: usize,
    /// Tokens of a prompt computed between two tokens of the other answers.
    pub prefill_chunk_tokens: usize,
    /// Longest prompt and answer together; 0 takes what the model was loaded for.
    pub context_tokens: usize,
    /// Finished sequences whose keys and values are kept.
    pub cached_sequences: usize,
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
            cached_sequences: config.cached_sequences,
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
    prefill_chunk_tokens: usize,
    queue: Arc<Queue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Starts the engine's thread on `model`. `info.context_tokens` is lowered to what the settings and the model allow.
    ///
    /// # Errors
    /// [`InferenceError::Template`] if the model's chat template is none, [`InferenceError::Tokenizer`] if tokenizer and
    /// model do not belong together, [`InferenceError::Io`] if no thread can be started.
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
        info.context_tokens = model.context_tokens().min(wanted);
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
            prefixes: PrefixCache::new(settings.cached_sequences),
            sequences: Vec::with_capacity(parallel),
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
            prefill_chunk_tokens: settings.prefill_chunk_tokens.max(1),
            queue,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The model's tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Ends the engine and waits until its thread is gone: within one token where it is cancelled, after the last
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

    /// The prompt's tokens.
    fn tokenise(&self, prompt: &Prompt, tools: &[Tool]) -> Result<Vec<u32>, InferenceError> {
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
        let tokens = self.tokenizer.encode_prompt(&pieces)?;
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
        Ok(tokens)
    }
}

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
        let prompt = self.tokenise(&request.prompt, &request.tools)?;
        let constraint = request.constraint.as_ref();
        let constraint = constraint.map(|form| self.constraints.begin(form)).transpose()?;
        let (events, receiver) = mpsc::channel(CHANNEL_EVENTS);
        let cuts = scheduler::cuts(&prompt, self.prefill_chunk_tokens, |token| self.tokenizer.is_end(token));
        self.queue.submit(Job {
            prompt,
            cuts,
            max_tokens: request.max_tokens,
            sampler,
            constraint,
            stop,
            top_logprobs: request.top_logprobs,
            deadline: request.deadline,
            events,
            announced: None,
        })?;
        Ok(GenerationStream::new(receiver))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.shutdown(Shutdown::Cancel);
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
