//! Events on their way to a client. The engine never waits for one: what a full channel does not take is held here,
//! joined into one piece, and offered again at the next step.

use super::Reply;
use crate::inference::{FinishReason, GenerationEvent, InferenceError, TokenLogprob, Usage};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

/// How a delivery went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Nothing is left.
    Delivered,
    /// The client has not read what was sent before.
    Full,
    /// The client is gone.
    Closed,
}

#[derive(Debug)]
pub(super) struct Outbox {
    sender: Sender<Reply>,
    started: Option<GenerationEvent>,
    text: String,
    logprobs: Vec<TokenLogprob>,
    end: Option<Reply>,
    /// Since when the channel has been full.
    full_since: Option<Instant>,
}

impl Outbox {
    pub(super) fn new(sender: Sender<Reply>) -> Self {
        Self {
            sender,
            started: None,
            text: String::new(),
            logprobs: Vec::new(),
            end: None,
            full_since: None,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(super) fn started(&mut self, prompt_tokens: usize, cached_tokens: usize) {
        self.started = Some(GenerationEvent::Started {
            prompt_tokens,
            cached_tokens,
        });
    }

    pub(super) fn text(&mut self, text: &str, logprobs: Vec<TokenLogprob>) {
        self.text.push_str(text);
        self.logprobs.extend(logprobs);
    }

    pub(super) fn done(&mut self, reason: FinishReason, usage: Usage) {
        self.end = Some(Ok(GenerationEvent::Done { reason, usage }));
    }

    /// Ends with an error, unless the end is already there.
    pub(super) fn fail(&mut self, error: InferenceError) {
        if self.end.is_none() {
            self.end = Some(Err(error));
        }
    }

    /// Sends as much as the channel takes.
    pub(super) fn flush(&mut self, now: Instant) -> Delivery {
        while let Some(next) = self.next() {
            match self.sender.try_send(next) {
                Ok(()) => self.full_since = None,
                Err(TrySendError::Closed(_)) => return Delivery::Closed,
                Err(TrySendError::Full(unsent)) => {
                    self.put_back(unsent);
                    self.full_since.get_or_insert(now);
                    return Delivery::Full;
                }
            }
        }
        Delivery::Delivered
    }

    /// Whether the channel has been full for `limit`.
    pub(super) fn is_stalled(&self, now: Instant, limit: Duration) -> bool {
        self.full_since
            .is_some_and(|since| now.saturating_duration_since(since) >= limit)
    }

    fn next(&mut self) -> Option<Reply> {
        if let Some(started) = self.started.take() {
            return Some(Ok(started));
        }
        if self.text.is_empty() && self.logprobs.is_empty() {
            return self.end.take();
        }
        let (text, logprobs) = (std::mem::take(&mut self.text), std::mem::take(&mut self.logprobs));
        Some(Ok(GenerationEvent::Text { text, logprobs }))
    }

    fn put_back(&mut self, unsent: Reply) {
        match unsent {
            Ok(GenerationEvent::Text { text, logprobs }) => (self.text, self.logprobs) = (text, logprobs),
            Ok(started @ GenerationEvent::Started { .. }) => self.started = Some(started),
            end => self.end = Some(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Delivery, Outbox};
    use crate::inference::{FinishReason, GenerationEvent, Usage};
    use std::time::{Duration, Instant};
    use tokio::sync::mpsc;

    #[test]
    fn what_does_not_fit_is_joined_and_sent_later_in_order() {
        let now = Instant::now();
        let (sender, mut receiver) = mpsc::channel(1);
        let mut outbox = Outbox::new(sender);
        outbox.started(3, 0);
        outbox.text("a", Vec::new());
        assert_eq!(outbox.flush(now), Delivery::Full);
        outbox.text("b", Vec::new());
        outbox.done(FinishReason::Stop, Usage::default());
        let limit = Duration::from_secs(5);
        assert!(!outbox.is_stalled(now + Duration::from_secs(4), limit));
        assert!(outbox.is_stalled(now + limit, limit));
        let mut events = Vec::new();
        loop {
            events.push(receiver.try_recv().unwrap().unwrap());
            if outbox.flush(now) == Delivery::Delivered {
                events.push(receiver.try_recv().unwrap().unwrap());
                break;
            }
        }
        assert!(matches!(events[0], GenerationEvent::Started { .. }));
        assert_eq!(
            events[1],
            GenerationEvent::Text {
                text: "ab".to_owned(),
                logprobs: Vec::new()
            }
        );
        assert!(matches!(events[2], GenerationEvent::Done { .. }));
        assert!(!outbox.is_stalled(now + limit, limit), "reading again ends the stall");
    }

    #[test]
    fn a_gone_client_is_noticed() {
        let (sender, receiver) = mpsc::channel(1);
        let mut outbox = Outbox::new(sender);
        drop(receiver);
        assert!(outbox.is_closed());
        outbox.text("a", Vec::new());
        assert_eq!(outbox.flush(Instant::now()), Delivery::Closed);
    }
}
