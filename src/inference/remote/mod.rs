//! A language model on another server in the company's own network, spoken to by the OpenAI protocol (vLLM, llama.cpp's
//! server). It talks to the one address that the settings name and to nothing else.
//!
//! A request waits for its turn (`turns`), passes the circuit breaker (`breaker`), is sent over a kept connection
//! (`client`), and its answer is read event by event (`sse`, `wire`). All of that is one task for each request; when the
//! stream is dropped the task ends and the connection with it, which is how such servers learn of a cancellation.

pub(crate) mod address;
mod answer;
pub(crate) mod breaker;
pub(crate) mod client;
mod sse;
mod turns;
mod wire;

use super::sampler::{MAX_TOP_LOGPROBS, Sampler};
use super::stop::StopMatcher;
use super::{GenerateRequest, GenerationEvent, GenerationStream, InferenceError, LanguageModel, ModelInfo};
use crate::config::{InferenceConfig, Secret};
use answer::{Answer, Fault};
use breaker::Breaker;
use client::Client;
use futures::future::BoxFuture;
use hyper::Method;
use hyper::header::RETRY_AFTER;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;
use turns::{Turn, Turns};
use wire::remote;

/// What goes to a client.
type Reply = Result<GenerationEvent, InferenceError>;
/// The time, as an input.
type Now = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Events a client may leave unread before the server is read no further.
const CHANNEL_EVENTS: usize = 64;
/// A request without a deadline ends after this at the latest.
const LONGEST: Duration = Duration::from_hours(1);
/// Longest time to retry that is believed.
const LONGEST_RETRY: Duration = Duration::from_mins(5);
/// How long the server may take to say that it is there.
const CHECK: Duration = Duration::from_millis(1500);

/// A model on another server.
pub struct RemoteModel {
    info: ModelInfo,
    shared: Arc<Shared>,
    runtime: Handle,
}

struct Shared {
    client: Client,
    turns: Arc<Turns>,
    breaker: Arc<Breaker>,
    now: Now,
    model: String,
    context_tokens: usize,
    silence: Duration,
}

/// A request that was checked.
struct Job {
    request: GenerateRequest,
    stop: StopMatcher,
    deadline: Instant,
    events: mpsc::Sender<Reply>,
}

impl RemoteModel {
    /// The model that `[inference.server]` names; nothing is connected yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `BadParameter` for settings that cannot work (a public address, an unreadable file), `Stopped` outside a runtime.
    pub fn new(settings: &InferenceConfig, key: Option<&Secret>) -> Result<Self, InferenceError> {
        Self::with_clock(settings, key, Arc::new(Instant::now))
    }

    fn with_clock(settings: &InferenceConfig, key: Option<&Secret>, now: Now) -> Result<Self, InferenceError> {
        let server = &settings.server;
        let pause = Duration::from_millis(server.breaker_pause_ms);
        Ok(Self {
            info: ModelInfo {
                name: server.model.clone(),
                architecture: "remote".to_owned(),
                context_tokens: settings.context_tokens,
                sha256: String::new(),
            },
            shared: Arc::new(Shared {
                client: Client::new(server, key, settings.parallel_requests)?,
                turns: Turns::new(settings.parallel_requests, settings.queue_length),
                breaker: Breaker::new(server.breaker_failures, pause),
                now,
                model: server.model.clone(),
                context_tokens: settings.context_tokens,
                silence: Duration::from_millis(server.timeout_ms),
            }),
            runtime: Handle::try_current().map_err(|_| InferenceError::Stopped)?,
        })
    }

    /// Whether the server answers at all.
    async fn reach(&self) -> Result<(), InferenceError> {
        let client = &self.shared.client;
        let asked = client.send(Method::GET, "/v1/models", Vec::new());
        let response = tokio::time::timeout(CHECK, asked).await.map_err(|_| {
            remote(format!(
                "the model server {} does not answer within {} ms",
                client.base(),
                CHECK.as_millis()
            ))
        })??;
        let status = response.status();
        // One that refuses the list may serve the model still.
        if status.is_server_error() {
            return Err(remote(format!(
                "the model server {} reports status {status}",
                client.base()
            )));
        }
        Ok(())
    }
}

impl LanguageModel for RemoteModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// An upper bound: no tokenizer makes more tokens than there are bytes.
    fn count_tokens(&self, text: &str) -> Result<usize, InferenceError> {
        Ok(text.len())
    }

    fn generate(&self, request: GenerateRequest) -> Result<GenerationStream, InferenceError> {
        let fault = |name, detail: String| Err(InferenceError::BadParameter { name, detail });
        if request.max_tokens == 0 {
            return fault("max_tokens", "it must be at least 1".to_owned());
        }
        if request.top_logprobs.is_some_and(|top| top > MAX_TOP_LOGPROBS) {
            return fault("top_logprobs", format!("it must be at most {MAX_TOP_LOGPROBS}"));
        }
        if let Some(what) = wire::unsupported(&request) {
            return Err(InferenceError::Unsupported(what));
        }
        // The same ranges as those of the engine in this process.
        Sampler::new(request.sampling.clone())?;
        let stop = StopMatcher::new(request.stop.clone())?;
        let now = Instant::now();
        if let Some(wait) = self.shared.breaker.refuses((self.shared.now)()) {
            return Err(self.shared.resting(wait));
        }
        let (events, receiver) = mpsc::channel(CHANNEL_EVENTS);
        let turn = self.shared.turns.enter(&events)?;
        let job = Job {
            deadline: request.deadline.unwrap_or(now + LONGEST).min(now + LONGEST),
            request,
            stop,
            events,
        };
        self.runtime.spawn(Arc::clone(&self.shared).serve(job, turn));
        Ok(GenerationStream::new(receiver))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), InferenceError>> {
        Box::pin(self.reach())
    }
}

impl Shared {
    /// What is said while the breaker is open.
    fn resting(&self, wait: Duration) -> InferenceError {
        InferenceError::Remote {
            detail: format!(
                "the model server {} failed several times in a row and is left alone for a while: look whether it runs",
                self.client.base()
            ),
            retry_after: Some(wait.max(Duration::from_secs(1))),
        }
    }

    /// One request from its turn to its end. It ends at once when nobody listens any more.
    async fn serve(self: Arc<Self>, mut job: Job, turn: oneshot::Receiver<Turn>) {
        let events = job.events.clone();
        let outcome = tokio::select! {
            biased;
            () = events.closed() => return,
            outcome = self.take_turn(&mut job, turn) => outcome,
        };
        if let Err(error) = outcome {
            let deadline = tokio::time::Instant::now() + self.silence;
            let _ = timeout_at(deadline, events.send(Err(error))).await;
        }
    }

    async fn take_turn(&self, job: &mut Job, turn: oneshot::Receiver<Turn>) -> Result<(), InferenceError> {
        let mut turn = match timeout_at(job.deadline.into(), turn).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_gone)) => return Err(InferenceError::Stopped),
            Err(_late) => return Err(InferenceError::Deadline),
        };
        turn.begin(Instant::now());
        let attempt = self.breaker.admit((self.now)()).map_err(|wait| self.resting(wait))?;
        match self.ask(job).await {
            Ok(()) => {
                attempt.succeeded();
                Ok(())
            }
            Err(Fault::Refused(error)) => {
                attempt.succeeded();
                Err(error)
            }
            Err(Fault::Failed(error)) => {
                attempt.failed((self.now)(), rand::random());
                Err(error)
            }
            // Neither for the server nor against it.
            Err(Fault::Ours(error)) => Err(error),
        }
    }

    async fn ask(&self, job: &mut Job) -> Result<(), Fault> {
        let (path, body) = wire::body(&job.request, &self.model, self.context_tokens);
        let sent = self.client.send(Method::POST, path, body.to_string().into_bytes());
        let response = match timeout_at(self.patience(job), sent).await {
            Ok(response) => response.map_err(Fault::Failed)?,
            Err(_late) => return Err(Fault::Failed(self.silent(job))),
        };
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = retry_after.and_then(|text| text.trim().parse().ok());
            let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds).min(LONGEST_RETRY));
            let body = timeout_at(self.patience(job), client::refusal_body(body)).await;
            let error = wire::refusal(
                head.status.as_u16(),
                retry_after,
                &body.unwrap_or_default(),
                self.context_tokens,
            );
            return Err(if head.status.is_server_error() {
                Fault::Failed(error)
            } else {
                Fault::Refused(error)
            });
        }
        Answer::new(self, job).read(body).await
    }

    /// Until when the server may stay silent now.
    fn patience(&self, job: &Job) -> tokio::time::Instant {
        (Instant::now() + self.silence).min(job.deadline).into()
    }

    /// What that silence means.
    fn silent(&self, job: &Job) -> InferenceError {
        if Instant::now() >= job.deadline {
            return InferenceError::Deadline;
        }
        let (base, silence) = (self.client.base(), self.silence.as_millis());
        remote(format!(
            "the model server {base} was silent for {silence} ms: it is stuck or overloaded ([inference.server] timeout_ms)"
        ))
    }
}

#[cfg(test)]
mod tests;
