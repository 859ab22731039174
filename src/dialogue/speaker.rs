//! The words of a model on their way to the customer: sentence by sentence, each checked and with its source.

use super::assistant::{Gone, Sink};
use super::evidence::Evidence;
use super::grounding::{Grounding, Reason, Verdict, terms};
use super::quote::Quote;
use super::sentences::SentenceBuffer;
use super::{ReplyEvent, TokenUsage};
use crate::domain::KbVersion;
use crate::inference::{FinishReason, GenerationEvent, GenerationStream};
use futures::StreamExt;
use std::ops::Range;

/// Words of a sentence up to which it may be a mere greeting before the answer.
const GREETING_TERMS: usize = 16;

/// Sends the sentences of a generation that hold, each with its source.
pub(super) struct Speaker<'a> {
    evidence: &'a [Evidence],
    grounding: Grounding,
    kb_version: KbVersion,
    /// Sources cited so far: their number is their place, from 1.
    cited: Vec<usize>,
    /// The number that the sentences sent last still need.
    open: Option<u32>,
    /// What was given word for word: passage and place.
    given: Vec<(usize, usize)>,
    /// White space after the last sentence: the number comes before it.
    tail: String,
}

impl<'a> Speaker<'a> {
    pub(super) fn new(evidence: &'a [Evidence], grounding: Grounding, kb_version: KbVersion) -> Self {
        Self {
            evidence,
            grounding,
            kb_version,
            cited: Vec::new(),
            open: None,
            given: Vec::new(),
            tail: String::new(),
        }
    }

    /// Speaks until the generation ends or says what no source says.
    pub(super) async fn speak(&mut self, mut stream: GenerationStream, sink: &mut Sink) -> Result<TokenUsage, Gone> {
        let mut buffer = SentenceBuffer::default();
        let mut usage = TokenUsage::default();
        let closed = sink.sender.clone();
        'generation: loop {
            let event = tokio::select! {
                event = stream.next() => event,
                () = closed.closed() => return Err(Gone),
            };
            match event {
                None => break,
                Some(Ok(GenerationEvent::Queued { position })) => sink.send(ReplyEvent::Queue { position }).await?,
                Some(Ok(GenerationEvent::Started {
                    prompt_tokens,
                    cached_tokens,
                })) => {
                    usage.prompt_tokens = prompt_tokens;
                    usage.cached_tokens = cached_tokens;
                }
                Some(Ok(GenerationEvent::Text { text, .. })) => {
                    for sentence in buffer.push(&text) {
                        if !self.sentence(&sentence, sink).await? {
                            break 'generation;
                        }
                    }
                }
                Some(Ok(GenerationEvent::Done { usage: cost, reason })) => {
                    usage = cost.into();
                    // A sentence that the token limit cut off is not said.
                    if reason == FinishReason::Stop
                        && let Some(rest) = std::mem::take(&mut buffer).finish()
                    {
                        self.sentence(&rest, sink).await?;
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a generation ended early");
                    break;
                }
            }
        }
        if let Some(n) = self.open.take() {
            sink.say(format!("[{n}]")).await?;
        }
        usage.total_tokens = usage.prompt_tokens + usage.completion_tokens;
        Ok(usage)
    }

    /// Sends a sentence if it holds; `false` ends the answer.
    async fn sentence(&mut self, sentence: &str, sink: &mut Sink) -> Result<bool, Gone> {
        let (passage, quote) = match self.grounding.check(sentence) {
            Verdict::Supported { passage, quote } => (passage, quote),
            Verdict::Empty => return Ok(true),
            // "您好，很高兴为您服务。" before the answer proves nothing and harms nothing: it is left out.
            Verdict::Unsupported(Reason::Words) if !sink.spoke && terms(sentence).len() < GREETING_TERMS => {
                return Ok(true);
            }
            Verdict::Unsupported(reason) => {
                tracing::info!(reason = reason.kind(), "a sentence without support ends the answer");
                return Ok(false);
            }
        };
        let source = &self.evidence[passage];
        let verbatim = verbatim(source, quote.clone());
        if verbatim.is_some() {
            // An approved answer or a row is given whole, so what else the model makes of it adds nothing.
            let whole = (passage, if source.passage.is_some() { quote.start } else { 0 });
            if self.given.contains(&whole) {
                return Ok(true);
            }
            self.given.push(whole);
        }
        let place = self.cited.iter().position(|cited| *cited == passage);
        let n = u32::try_from(place.unwrap_or(self.cited.len()) + 1).unwrap_or(u32::MAX);
        if place.is_none() {
            self.cited.push(passage);
            let quote = if source.passage.is_some() {
                quote
            } else {
                0..source.text.len()
            };
            sink.send(ReplyEvent::Citation(source.cite(n, quote, self.kb_version)))
                .await?;
        }
        let mut text = String::new();
        if let Some(open) = self.open.filter(|open| *open != n) {
            text.extend(["[", &open.to_string(), "]"]);
        }
        text.push_str(&std::mem::take(&mut self.tail));
        if let Some(words) = &verbatim {
            if sink.spoke && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(words);
            "\n".clone_into(&mut self.tail);
        } else {
            let body = if sink.spoke { sentence } else { sentence.trim_start() };
            let words = body.trim_end();
            text.push_str(words);
            body[words.len()..].clone_into(&mut self.tail);
        }
        self.open = Some(n);
        sink.say(text).await?;
        Ok(true)
    }
}

/// What is given word for word in place of a model's sentence about it: an approved answer, because it was approved as a
/// whole, and a row of a table with its head, because a sentence about it leaves out columns that matter.
fn verbatim(source: &Evidence, quote: Range<usize>) -> Option<String> {
    if source.passage.is_none() {
        return Some(source.text.clone());
    }
    let quoted = Quote::at(&source.text, quote);
    quoted.is_row(&source.text).then(|| quoted.shown(&source.text))
}
