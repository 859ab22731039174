//! One answer, read from its first byte to its end.

use super::client::causes;
use super::sse::Parser;
use super::wire::{self, Chunk, remote};
use super::{Job, Shared};
use crate::inference::{FinishReason, GenerationEvent, InferenceError, TokenLogprob, Usage};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;
use tokio::time::timeout_at;

/// Bytes of text that a token may have: the longest of the usual vocabularies have some hundred.
const TOKEN_TEXT_BYTES: usize = 512;
/// Bytes that a server may send for a token, and for each alternative to it.
const TOKEN_WIRE_BYTES: usize = 4096;
const ALTERNATIVE_WIRE_BYTES: usize = 1024;
/// Bytes beside: comments that keep the connection alive, the first and the last chunk.
const SPARE_BYTES: usize = 1 << 20;
/// How long the end of a body is waited for, so that the connection can be used again.
const END_OF_BODY: Duration = Duration::from_secs(1);

/// Why there is no answer, and what that says of the server.
pub(super) enum Fault {
    /// The server works and refuses this request.
    Refused(InferenceError),
    /// The server fails.
    Failed(InferenceError),
    /// It is of our own making.
    Ours(InferenceError),
}

/// Whether more is to come.
enum Next {
    More,
    End,
    /// The end by a stop text that the server did not see.
    Cut,
}

pub(super) struct Answer<'a> {
    shared: &'a Shared,
    job: &'a mut Job,
    started: bool,
    cut: bool,
    pieces: usize,
    text_bytes: usize,
    reason: Option<FinishReason>,
    usage: Option<Usage>,
}

impl<'a> Answer<'a> {
    pub(super) fn new(shared: &'a Shared, job: &'a mut Job) -> Self {
        Self {
            shared,
            job,
            started: false,
            cut: false,
            pieces: 0,
            text_bytes: 0,
            reason: None,
            usage: None,
        }
    }

    fn failed(&self, what: &str) -> Fault {
        Fault::Failed(remote(format!("the model server {} {what}", self.shared.client.base())))
    }

    /// Reads the stream and sends on what it says, in the order of the port.
    pub(super) async fn read(mut self, mut body: Incoming) -> Result<(), Fault> {
        let alternatives = self.job.request.top_logprobs.map_or(0, |top| top + 1);
        let per_token = TOKEN_WIRE_BYTES + alternatives * ALTERNATIVE_WIRE_BYTES;
        let most = self
            .job
            .request
            .max_tokens
            .saturating_mul(per_token)
            .saturating_add(SPARE_BYTES);
        let (mut parser, mut events, mut bytes) = (Parser::default(), Vec::new(), 0_usize);
        loop {
            let frame = match timeout_at(self.shared.patience(self.job), body.frame()).await {
                Err(_late) => return Err(self.silence()),
                Ok(None) => {
                    // Some servers end without saying so, after the reason.
                    return match self.reason {
                        Some(reason) => self.finish(reason).await,
                        None => Err(self.failed("ended its answer in the middle")),
                    };
                }
                Ok(Some(Err(error))) => {
                    return Err(self.failed(&format!("broke off in the middle of an answer ({})", causes(&error))));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            let Some(data) = frame.data_ref() else { continue };
            bytes = bytes.saturating_add(data.len());
            if bytes > most {
                return Err(self.failed("sends more than the answer that was asked for can have"));
            }
            let parsed = parser.push(data, &mut events);
            for event in events.drain(..) {
                match self.event(&event).await? {
                    Next::More => {}
                    Next::Cut => return Ok(()),
                    Next::End => {
                        // Read to its end the connection can serve again; the answer does not wait for that.
                        tokio::spawn(tokio::time::timeout(END_OF_BODY, async move {
                            while let Some(Ok(_)) = body.frame().await {}
                        }));
                        return Ok(());
                    }
                }
            }
            parsed.map_err(|_| self.failed("sends an event of more than a megabyte"))?;
        }
    }

    /// Silence before the first words counts against the server even where the deadline was near; after them the answer was
    /// under way and the deadline too short for it.
    fn silence(&self) -> Fault {
        match self.shared.silent(self.job) {
            InferenceError::Deadline if self.started => Fault::Ours(InferenceError::Deadline),
            error => Fault::Failed(error),
        }
    }

    async fn event(&mut self, data: &str) -> Result<Next, Fault> {
        if data.trim() == "[DONE]" {
            let reason = self
                .reason
                .ok_or_else(|| self.failed("ended its answer without a reason"))?;
            self.finish(reason).await?;
            return Ok(Next::End);
        }
        let chunk: Chunk = serde_json::from_str(data)
            .map_err(|_| self.failed("does not speak the OpenAI protocol: is [inference.server] url right?"))?;
        if let Some(error) = &chunk.error {
            return Err(Fault::Failed(wire::refusal_in_stream(
                error,
                self.shared.context_tokens,
            )));
        }
        if let Some(usage) = chunk.usage {
            self.usage = Some(usage.into());
        }
        if self.reason.is_some() {
            return Ok(Next::More);
        }
        let Some(mut choice) = chunk.choices.into_iter().next() else {
            return Ok(Next::More);
        };
        let (text, logprobs) = choice.take();
        if !text.is_empty() || !logprobs.is_empty() {
            self.words(text, logprobs).await?;
            if self.cut {
                self.finish(FinishReason::Stop).await?;
                return Ok(Next::Cut);
            }
        }
        if let Some(word) = choice.finish_reason {
            self.reason = Some(wire::finish_reason(&word).map_err(Fault::Failed)?);
        }
        Ok(Next::More)
    }

    async fn words(&mut self, text: String, logprobs: Vec<TokenLogprob>) -> Result<(), Fault> {
        self.pieces += 1;
        self.text_bytes += text.len();
        if self.text_bytes > self.job.request.max_tokens.saturating_mul(TOKEN_TEXT_BYTES) {
            return Err(self.failed("sends more words than the answer that was asked for can have"));
        }
        self.start().await?;
        let step = self.job.stop.push(&text);
        // Servers cut at stop texts themselves; this holds whatever they do.
        self.cut = step.stopped;
        if !step.text.is_empty() || !logprobs.is_empty() {
            self.send(GenerationEvent::Text {
                text: step.text,
                logprobs,
            })
            .await?;
        }
        Ok(())
    }

    /// The prompt's tokens are known at the end only.
    async fn start(&mut self) -> Result<(), Fault> {
        if std::mem::replace(&mut self.started, true) {
            return Ok(());
        }
        self.send(GenerationEvent::Started {
            prompt_tokens: 0,
            cached_tokens: 0,
        })
        .await
    }

    async fn finish(&mut self, reason: FinishReason) -> Result<(), Fault> {
        self.start().await?;
        let held = self.job.stop.finish();
        // After a stop text, what is held is that text.
        if !held.is_empty() && !self.cut {
            let logprobs = Vec::new();
            self.send(GenerationEvent::Text { text: held, logprobs }).await?;
        }
        let usage = self.usage.unwrap_or(Usage {
            completion_tokens: self.pieces,
            ..Usage::default()
        });
        self.send(GenerationEvent::Done { reason, usage }).await
    }

    /// A client that reads nothing is given up as a silent server is.
    async fn send(&self, event: GenerationEvent) -> Result<(), Fault> {
        let sent = timeout_at(self.shared.patience(self.job), self.job.events.send(Ok(event))).await;
        // Nobody listens: the task is about to be dropped.
        if let Ok(Ok(())) = sent {
            Ok(())
        } else {
            Err(Fault::Ours(InferenceError::Deadline))
        }
    }
}
