//! From a question to a stream of checked words with their sources.

use super::choices::Opening;
use super::confidence::{Confidence, Features};
use super::evidence::Evidence;
use super::grounding::Grounding;
use super::policy::{self, Decision, Thresholds, Understood};
use super::qualifiers::contradicts;
use super::quote::Detail;
use super::senses::{Sensed, Senses};
use super::speaker::Speaker;
use super::strangers::stranger;
use super::tabled::Tabled;
use super::two_readers::Second;
use super::{Ask, DialogueError, Done, ReplyEvent, Timings, TokenUsage, next, prompt, replies};
use crate::config::DialogueConfig;
use crate::domain::{
    Basis, BasisHit, Citation, Environment, KbVersion, Language, MessageId, PassageId, Role, Route, sha256_hex,
};
use crate::inference::{GenerateRequest, InferenceError, LanguageModel, Reader};
use crate::retrieval::{
    FaqHit, Found, Hit, Query, Related, RetrievalError, Retriever, SearchMode, Source, compare_faqs, judge_hits,
    order_read, read_faq, read_hits,
};
use crate::understanding::pii::{Masked, Masker, tells_of_secret};
use crate::understanding::{normalise, smalltalk, standalone, wants_person};
use futures::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Events that may wait for a slow reader. Sentences, not tokens: few and small.
const EVENTS_AHEAD: usize = 64;

/// Hits searched for, however few are wanted: what is far from the best tells how good the best is.
const LEAST_HITS: usize = 10;

/// FAQs compared with a question.
const FAQ_CANDIDATES: usize = 8;

/// The reply under way. Dropping it cancels the work.
#[derive(Debug)]
pub struct Replies {
    pub(super) receiver: mpsc::Receiver<ReplyEvent>,
}

impl Stream for Replies {
    type Item = ReplyEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ReplyEvent>> {
        self.receiver.poll_recv(cx)
    }
}

/// Answers questions from the knowledge base.
pub struct Assistant {
    pub(super) retriever: Arc<Retriever>,
    reader: Arc<dyn Reader>,
    pub(super) model: Option<Arc<dyn LanguageModel>>,
    confidence: Confidence,
    thresholds: Thresholds,
    masker: Masker,
    senses: Option<Arc<Senses>>,
    environment: Environment,
    pub(super) config: DialogueConfig,
}

/// The reader of a reply is gone: everything stops.
pub(super) struct Gone;

/// Where events go, with the time since the question came.
pub(super) struct Sink {
    pub(super) sender: mpsc::Sender<ReplyEvent>,
    began: Instant,
    timings: Timings,
    pub(super) spoke: bool,
    /// What the customer is told before the answer.
    notice: Option<&'static str>,
    /// What was sensed of the question.
    sensed: Sensed,
    /// What is understood and found.
    basis: Basis,
}

impl Sink {
    pub(super) async fn send(&mut self, event: ReplyEvent) -> Result<(), Gone> {
        if matches!(event, ReplyEvent::Token { .. }) && !self.spoke {
            self.spoke = true;
            self.timings.first_token = self.elapsed();
        }
        let route = matches!(event, ReplyEvent::Route { .. });
        self.sender.send(event).await.map_err(|_| Gone)?;
        if let Some(notice) = self.notice.take_if(|_| route) {
            let text = format!("{notice}\n\n");
            self.sender.send(ReplyEvent::Token { text }).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Says how it will be answered.
    async fn route(&mut self, route: Route, confidence: f32) -> Result<(), Gone> {
        let sensed = Box::new(self.sensed.clone());
        let event = ReplyEvent::Route {
            route,
            confidence,
            sensed,
        };
        self.send(event).await
    }

    pub(super) async fn say(&mut self, text: impl Into<String>) -> Result<(), Gone> {
        self.send(ReplyEvent::Token { text: text.into() }).await
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The log-odds of a hit that is about the opposite of what was asked: nothing that a model may say of it outweighs them.
const CONTRADICTED: f32 = -20.0;

/// How sure the first hit must be to be shown as what is rather the answer than not.
const LIKELY: f32 = 0.5;

/// What was found and decided.
struct Looked {
    found: Found,
    decision: Decision,
    second: Option<Second>,
    /// What a table answers.
    tabled: Option<Tabled>,
    /// The first hit is rather the answer than not.
    likely: bool,
    /// A company that the question names and no source.
    stranger: Option<String>,
}

/// What an answer cost, who wrote it, and what may be asked next.
#[derive(Clone, Default)]
pub(super) struct Written {
    usage: TokenUsage,
    model: Option<String>,
    related: Vec<Related>,
}

impl Written {
    /// What `model` has done.
    pub(super) fn by(model: &dyn LanguageModel, usage: TokenUsage) -> Self {
        Self {
            usage,
            model: Some(model_name(model)),
            ..Self::default()
        }
    }

    /// Both together.
    fn and(self, other: Self) -> Self {
        let (a, b) = (self.usage, other.usage);
        Self {
            usage: TokenUsage {
                prompt_tokens: a.prompt_tokens + b.prompt_tokens,
                completion_tokens: a.completion_tokens + b.completion_tokens,
                total_tokens: a.total_tokens + b.total_tokens,
                cached_tokens: a.cached_tokens + b.cached_tokens,
            },
            model: other.model.or(self.model),
            related: other.related,
        }
    }
}

/// A model's name with the beginning of its file's hash.
fn model_name(model: &dyn LanguageModel) -> String {
    let info = model.info();
    format!("{}@{}", info.name, info.sha256.get(..12).unwrap_or_default())
}

impl Assistant {
    /// An assistant over an index, as sure of itself as `confidence` says. Without a `model` it quotes passages instead of writing answers.
    #[must_use]
    pub fn new(
        retriever: Arc<Retriever>,
        reader: Arc<dyn Reader>,
        model: Option<Arc<dyn LanguageModel>>,
        confidence: Confidence,
        config: DialogueConfig,
    ) -> Self {
        let environment = environment_of(&retriever, reader.as_ref(), model.as_deref(), &confidence, &config);
        Self {
            retriever,
            reader,
            model,
            thresholds: Thresholds::of(&config, &confidence),
            confidence,
            masker: Masker::default(),
            senses: None,
            environment,
            config,
        }
    }

    /// The same, masking personal data as `masker` does.
    #[must_use]
    pub fn with_masker(self, masker: Masker) -> Self {
        Self { masker, ..self }
    }

    /// The same, sensing how customers feel and what is dangerous.
    #[must_use]
    pub fn with_senses(self, senses: Arc<Senses>) -> Self {
        Self {
            senses: Some(senses),
            ..self
        }
    }

    /// The same over another index, with this language model or without one, and sensing nothing: what tries a draft.
    #[must_use]
    pub fn over(&self, retriever: Arc<Retriever>, model: Option<Arc<dyn LanguageModel>>) -> Self {
        let (reader, confidence) = (Arc::clone(&self.reader), self.confidence.clone());
        Self::new(retriever, reader, model, confidence, self.config.clone()).with_masker(self.masker.clone())
    }

    /// What senses moods, dangers and intents, where there is something.
    #[must_use]
    pub fn senses(&self) -> Option<&Arc<Senses>> {
        self.senses.as_ref()
    }

    /// What answers rest on beside the knowledge base: models with their hashes, and settings.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// How sure it is of its answers.
    #[must_use]
    pub fn confidence(&self) -> &Confidence {
        &self.confidence
    }

    /// What masks personal data.
    #[must_use]
    pub fn masker(&self) -> &Masker {
        &self.masker
    }

    /// The language model, where there is one.
    #[must_use]
    pub fn model(&self) -> Option<&Arc<dyn LanguageModel>> {
        self.model.as_ref()
    }

    /// The index.
    #[must_use]
    pub fn retriever(&self) -> &Arc<Retriever> {
        &self.retriever
    }

    /// Begins a reply. It goes on in a task of its own until it is complete or the stream is dropped.
    ///
    /// What customers wrote is masked first: no search, prompt or log sees personal data. Where a secret was in the question the
    /// customer is told not to send any.
    ///
    /// # Errors
    /// `Empty` and `TooLong`; what fails later comes as [`ReplyEvent::Error`].
    pub fn reply(self: &Arc<Self>, ask: Ask) -> Result<Replies, DialogueError> {
        self.check(&ask.question)?;
        let (ask, _) = self.masked(ask);
        let (sender, receiver) = mpsc::channel(EVENTS_AHEAD);
        let assistant = Arc::clone(self);
        tokio::spawn(async move {
            let language = Language::detect(&ask.question);
            let mut sink = Sink {
                sender,
                began: Instant::now(),
                timings: Timings::default(),
                spoke: false,
                notice: tells_of_secret(&ask.question).then(|| replies::secret_notice(language)),
                sensed: Sensed::default(),
                basis: Basis::default(),
            };
            if let Ok(Err(error)) = assistant.run(&ask, &mut sink).await.map_err(|Gone| ()) {
                tracing::error!(error = &error as &dyn std::error::Error, "a reply failed");
                let message = replies::failure_reply(language).to_owned();
                // Where the reader is gone nobody needs the notice.
                let _ = sink
                    .send(ReplyEvent::Error {
                        code: code_of(&error),
                        message,
                    })
                    .await;
            }
        });
        Ok(Replies { receiver })
    }

    /// The question and what customers said before, masked; and what was found in the question.
    pub(super) fn masked(&self, mut ask: Ask) -> (Ask, Masked) {
        for turn in ask.history.iter_mut().filter(|turn| turn.role == Role::Visitor) {
            turn.text = self.masker.mask(&turn.text).text;
        }
        let said = |role: Role| {
            ask.history
                .iter()
                .rev()
                .find(|turn| turn.role == role)
                .map_or("", |turn| turn.text.as_str())
        };
        let masked = (self.masker).mask_after(said(Role::Visitor), said(Role::Assistant), &ask.question);
        ask.question.clone_from(&masked.text);
        (ask, masked)
    }

    /// Whether a question may be asked.
    ///
    /// # Errors
    /// `Empty` and `TooLong`.
    pub fn check(&self, question: &str) -> Result<(), DialogueError> {
        if normalise(question).is_empty() {
            return Err(DialogueError::Empty);
        }
        let chars = question.chars().count();
        let limit = self.config.max_question_chars;
        if chars > limit {
            return Err(DialogueError::TooLong { chars, limit });
        }
        Ok(())
    }

    /// Searches for a question in its context and reads what was found: what [`Assistant::reply`] decides from.
    ///
    /// # Errors
    /// What the search or the reader reports.
    pub async fn find(&self, ask: &Ask) -> Result<(Found, Features), DialogueError> {
        let question = standalone(&ask.question, &ask.history);
        let mut found = self.search(&question, ask).await?;
        self.read(&question, &mut found).await?;
        let features = Features::of(&found, &question);
        Ok((found, features))
    }

    /// Searches, and reads the best FAQ.
    async fn search(&self, question: &str, ask: &Ask) -> Result<Found, DialogueError> {
        let query = Query {
            text: question.to_owned(),
            mode: SearchMode::Hybrid,
            top_k: ask.top_k.unwrap_or(self.config.top_k).max(LEAST_HITS),
            faq_top_k: FAQ_CANDIDATES,
            viewer: ask.viewer.clone(),
        };
        let mut found = self.retriever.search(&query).await?;
        found.faqs.retain(|hit| {
            let wordings = hit.faq.wordings().collect::<Vec<_>>().join("\n");
            !contradicts(question, &format!("{wordings}\n{}", hit.faq.answer))
        });
        compare_faqs(self.reader.as_ref(), question, &mut found.faqs).await?;
        if let Some(best) = found.faqs.first_mut() {
            read_faq(self.reader.as_ref(), question, best).await?;
        }
        Ok(found)
    }

    async fn read(&self, question: &str, found: &mut Found) -> Result<(), DialogueError> {
        read_hits(self.reader.as_ref(), question, found, self.config.read_top_k).await?;
        // What is about the opposite of what was asked answers nothing, whatever the reader says.
        for hit in &mut found.hits {
            let evidence = Evidence::of(hit);
            let quoted = evidence.quoted(None, Detail::Fact).shown(&evidence.text);
            if hit.scores.reading.is_some() && contradicts(question, &format!("{}\n{quoted}", evidence.title)) {
                hit.scores.reading = hit.scores.reading.map(|reading| reading.min(CONTRADICTED));
            }
        }
        let read = found.hits.iter().take_while(|hit| hit.scores.reading.is_some()).count();
        order_read(&mut found.hits[..read]);
        Ok(())
    }

    /// Lets the language model judge what was read, where there is one and the settings have it so. One that is too busy or too
    /// slow is done without.
    pub async fn judge(&self, question: &str, found: &mut Found) {
        let Some(model) = self.model.as_ref().filter(|_| self.config.judging) else {
            return;
        };
        let deadline = Instant::now() + Duration::from_millis(self.config.judging_timeout_ms);
        match judge_hits(model.as_ref(), question, found, Some(deadline)).await {
            // A model on another server may be unable to.
            Ok(()) | Err(RetrievalError::Inference(InferenceError::Unsupported(_))) => {}
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "deciding without the model's judgement"
                );
            }
        }
    }

    /// Searches, and reads as much as the decision needs: where the best FAQ is surely meant, only that.
    async fn look(&self, ask: &Ask) -> Result<Looked, DialogueError> {
        let question = standalone(&ask.question, &ask.history);
        let mut found = self.search(&question, ask).await?;
        let thresholds = self.thresholds;
        let stranger = stranger(&question, &found.unknown);
        if stranger.is_none()
            && let Some(decision) = policy::decide_faq(&Features::of(&found, &question), &self.confidence, thresholds)
        {
            // What a table answers by comparing rows goes before a FAQ that says the same values and leaves the comparing to the
            // customer.
            let tabled = self.tabled(&question, &found).await?;
            let tabled = tabled.filter(|tabled| tabled.replaces_faq(&found));
            let decision = match decision {
                Decision::Faq { confidence } if tabled.is_some() => Decision::Passages { confidence },
                other => other,
            };
            return Ok(Looked {
                found,
                decision,
                second: None,
                tabled,
                likely: true,
                stranger,
            });
        }
        self.read(&question, &mut found).await?;
        let mut features = Features::of(&found, &question);
        // Where a name keeps everything from being the answer, nobody has to look closer.
        let open = stranger.is_none();
        if open && policy::asks_judge(&features, &self.confidence, thresholds) {
            self.judge(&question, &mut found).await;
            features = Features::of(&found, &question);
        }
        let tabled = self.tabled(&question, &found).await?;
        let tabled = tabled.filter(|tabled| tabled.agrees_with(&found));
        let sure = tabled.as_ref().is_some_and(Tabled::is_sure);
        // A second reader looks for words that hold the answer, too: it is not asked where rows are compared.
        let second = if open && !sure && policy::asks_second(&features, &self.confidence, thresholds) {
            self.read_again(&question, &found, ask).await
        } else {
            None
        };
        let agreement = second.as_ref().map(|second| second.agreement);
        let decision = policy::decide(&features, &ask.past_routes, &self.confidence, thresholds, agreement);
        let decision = policy::with_table(decision, sure, thresholds);
        Ok(Looked {
            found,
            decision: if open {
                decision
            } else {
                policy::about_another(decision)
            },
            second,
            tabled,
            likely: self.confidence.first(&features) >= LIKELY,
            stranger,
        })
    }

    async fn run(&self, ask: &Ask, sink: &mut Sink) -> Result<Result<(), DialogueError>, Gone> {
        let language = Language::detect(&ask.question);
        let understood = Understood {
            smalltalk: smalltalk(&ask.question),
            wants_person: wants_person(&ask.question),
        };
        sink.basis.understood.clone_from(&ask.question);
        sink.timings.understand = sink.elapsed();
        if let Some(decision) = policy::decide_early(understood) {
            let kb_version = self.retriever.kb_version();
            self.perform_early(decision, language, sink).await?;
            return self.done(Written::default(), kb_version, sink).await.map(Ok);
        }
        // A question in an approved wording needs neither model nor search.
        let question = standalone(&ask.question, &ask.history);
        if let Some((faq, kb_version)) = self.retriever.exact_faq(&question, &ask.viewer) {
            sink.timings.retrieve = sink.elapsed() - sink.timings.understand;
            sink.basis.understood.clone_from(&question);
            sink.basis.exact = true;
            sink.basis.faqs = vec![faq_basis(&faq)];
            self.answer_faq(Some(&faq), 1.0, kb_version, sink).await?;
            let mut written = Written::default();
            let source = Some(Source::Faq(faq.faq));
            written.related = next::questions(&self.retriever, &question, source, true, &ask.viewer).await;
            return self.done(written, kb_version, sink).await.map(Ok);
        }
        sink.sensed = self.sense(ask).await;
        if let Some(decision) = policy::decide_sensed(sink.sensed.handoff, &ask.past_routes) {
            let kb_version = self.retriever.kb_version();
            self.perform_early(decision, language, sink).await?;
            return self.done(Written::default(), kb_version, sink).await.map(Ok);
        }
        sink.timings.understand = sink.elapsed();
        let Looked {
            found,
            decision,
            second,
            tabled,
            likely,
            stranger,
        } = match self.look(ask).await {
            Ok(looked) => looked,
            Err(error) => return Ok(Err(error)),
        };
        sink.timings.retrieve = sink.elapsed() - sink.timings.understand;
        sink.basis = self.basis(&question, &found, second.as_ref(), tabled.is_some());
        sink.basis.intent = (sink.sensed.intent.as_ref()).map(|intent| (intent.name.clone(), intent.confidence));
        let first_hit = || found.hits.first().map(|hit| hit.source.clone());
        let shown = match decision {
            Decision::Faq { .. } => Some((found.faqs.first().map(|best| Source::Faq(best.faq.clone())), true)),
            Decision::Passages { .. } => Some((first_hit(), true)),
            Decision::Clarify { .. } => Some((first_hit(), false)),
            Decision::Refuse { .. } | Decision::Smalltalk(_) | Decision::Handoff { .. } => None,
        };
        let mut written = second.as_ref().map(|second| second.written.clone()).unwrap_or_default();
        match decision {
            Decision::Faq { confidence } => {
                self.answer_faq(found.faqs.first(), confidence, found.kb_version, sink)
                    .await?;
            }
            Decision::Passages { confidence } => {
                sink.route(Route::Passages, confidence).await?;
                if let Some(tabled) = &tabled {
                    self.answer_table(tabled, language, found.kb_version, sink).await?;
                } else {
                    let by = self
                        .answer_passages(ask, &found, second.as_ref(), language, sink)
                        .await?;
                    written = written.and(by);
                }
            }
            Decision::Clarify { confidence } => {
                sink.route(Route::Clarify, confidence).await?;
                let opening = match &stranger {
                    Some(name) => Opening::Stranger(name),
                    None if likely => Opening::Likely,
                    None => Opening::Unsure,
                };
                self.clarify(&found, second.as_ref(), opening, language, sink).await?;
            }
            Decision::Refuse { confidence } => {
                sink.route(Route::Refuse, confidence).await?;
                sink.say(replies::refusal(language)).await?;
            }
            early @ (Decision::Smalltalk(_) | Decision::Handoff { .. }) => {
                self.perform_early(early, language, sink).await?;
            }
        }
        if let Some((source, is_answer)) = shown {
            written.related = next::questions(&self.retriever, &question, source, is_answer, &ask.viewer).await;
        }
        self.done(written, found.kb_version, sink).await.map(Ok)
    }

    /// What is sensed of the customer; nothing where nothing can be. What is noted goes into the log, without the words.
    async fn sense(&self, ask: &Ask) -> Sensed {
        let Some(senses) = &self.senses else {
            return Sensed::default();
        };
        let sensed = match senses.sense(ask).await {
            Ok(sensed) => sensed,
            // A question is answered all the same.
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a message was answered without sensing it"
                );
                return Sensed::default();
            }
        };
        if !sensed.risks.is_empty() || sensed.handoff.is_some() {
            let risks: Vec<&str> = sensed.risks.iter().map(|(risk, _)| risk.as_str()).collect();
            tracing::info!(
                visitor = ask.visitor.as_deref().unwrap_or_default(),
                dissatisfaction = sensed.dissatisfaction,
                emotion = sensed
                    .emotion
                    .as_ref()
                    .map(|(emotion, _)| emotion.as_str())
                    .unwrap_or_default(),
                risks = risks.join(","),
                handoff = sensed.handoff.unwrap_or_default(),
                "sensed"
            );
        }
        sensed
    }

    /// What was found, and how sure each part is.
    fn basis(&self, question: &str, found: &Found, second: Option<&Second>, table: bool) -> Basis {
        let features = Features::of(found, question);
        Basis {
            understood: question.to_owned(),
            exact: features.exact,
            faq_features: features.faq.map(|features| features.to_vec()).unwrap_or_default(),
            passage_features: features.passages.to_vec(),
            faq_confidence: Some(self.confidence.faq(&features)),
            first_features: features.first.to_vec(),
            judged: features.judged.map(Vec::from).unwrap_or_default(),
            answerable: Some(self.confidence.passages(&features)),
            answer_confidence: Some(self.confidence.first(&features)),
            agreement: second.map(|second| second.agreement),
            table,
            hits: found.hits.iter().take(LEAST_HITS).map(hit_basis).collect(),
            faqs: found.faqs.iter().map(faq_basis).collect(),
            ..Basis::default()
        }
    }

    async fn perform_early(&self, decision: Decision, language: Language, sink: &mut Sink) -> Result<(), Gone> {
        match decision {
            Decision::Handoff { reason } => {
                sink.route(Route::Handoff, 1.0).await?;
                sink.send(ReplyEvent::Handoff { reason, position: 0 }).await?;
                sink.say(replies::handoff_reply(reason, language)).await
            }
            Decision::Smalltalk(kind) => {
                sink.route(Route::Smalltalk, 1.0).await?;
                sink.say(kind.reply(language)).await
            }
            Decision::Faq { .. } | Decision::Passages { .. } | Decision::Clarify { .. } | Decision::Refuse { .. } => {
                Ok(())
            }
        }
    }

    async fn answer_faq(
        &self,
        best: Option<&FaqHit>,
        confidence: f32,
        kb_version: KbVersion,
        sink: &mut Sink,
    ) -> Result<(), Gone> {
        sink.route(Route::Faq, confidence).await?;
        let Some(best) = best else { return Ok(()) };
        let faq = &best.faq;
        sink.send(ReplyEvent::Citation(Citation {
            n: 1,
            document_id: faq.id.0,
            title: faq.question.clone(),
            passage_id: PassageId(faq.id.0),
            quote: faq.answer.clone(),
            start: 0,
            end: faq.answer.len(),
            kb_version,
        }))
        .await?;
        sink.say(faq.answer.clone()).await
    }

    /// Quotes the best source; where the settings have it so, the model writes first, and what holds is sent.
    async fn answer_passages(
        &self,
        ask: &Ask,
        found: &Found,
        second: Option<&Second>,
        language: Language,
        sink: &mut Sink,
    ) -> Result<Written, Gone> {
        let ask = &Ask {
            question: standalone(&ask.question, &ask.history),
            ..ask.clone()
        };
        let top_k = ask.top_k.unwrap_or(self.config.top_k);
        let evidence: Vec<Evidence> = found.hits.iter().take(top_k).map(Evidence::of).collect();
        let mut written = Written::default();
        match self.disagreement(&ask.question, found).await {
            Ok(Some(disagreement)) => {
                self.answer_disagreement(&disagreement, language, found.kb_version, sink)
                    .await?;
                return Ok(written);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "sources were not compared"),
        }
        if let Some(model) = self.model.as_ref().filter(|_| self.config.written_answers) {
            match self
                .write(ask, &evidence, language, model.as_ref(), found.kb_version, sink)
                .await?
            {
                Ok(by) => written = by,
                // The model is not needed for an honest answer: the passage itself is quoted.
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "quoting instead of writing"),
            }
            if sink.spoke {
                return Ok(written);
            }
        }
        if let Some(best) = evidence.first() {
            let also = second
                .and_then(|second| second.place.as_ref())
                .filter(|(at, _)| *at == 0);
            let detail = Detail::of(&ask.question);
            self.quote(
                best,
                also.map(|(_, place)| place),
                detail,
                language,
                found.kb_version,
                sink,
            )
            .await?;
        }
        Ok(written)
    }

    async fn write(
        &self,
        ask: &Ask,
        evidence: &[Evidence],
        language: Language,
        model: &dyn LanguageModel,
        kb_version: KbVersion,
        sink: &mut Sink,
    ) -> Result<Result<Written, DialogueError>, Gone> {
        let pairs = evidence.iter().map(|e| (e.title.as_str(), e.text.as_str()));
        let budget = self.config.passage_budget_tokens;
        let (messages, passages) = match prompt::messages(&ask.question, pairs.clone(), budget, language, model) {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(error.into())),
        };
        let count = passages.len();
        let request = GenerateRequest {
            visitor: ask.visitor.clone(),
            passages,
            deadline: Some(Instant::now() + Duration::from_millis(self.config.answer_timeout_ms)),
            ..GenerateRequest::chat(messages, self.config.answer_tokens)
        };
        let stream = match model.generate(request) {
            Ok(stream) => stream,
            Err(error) => return Ok(Err(error.into())),
        };
        let grounding = Grounding::new(pairs.take(count), &ask.question);
        let mut speaker = Speaker::new(evidence, grounding, kb_version);
        let usage = speaker.speak(stream, sink).await?;
        Ok(Ok(Written::by(model, usage)))
    }

    pub(super) async fn quote(
        &self,
        best: &Evidence,
        also: Option<&std::ops::Range<usize>>,
        detail: Detail,
        language: Language,
        kb_version: KbVersion,
        sink: &mut Sink,
    ) -> Result<(), Gone> {
        let quoted = best.quoted(also, detail);
        sink.send(ReplyEvent::Citation(best.cite(1, quoted.part.clone(), kb_version)))
            .await?;
        let mut text = String::new();
        if best.passage.is_some() {
            text.push_str(&replies::quote_frame(language, &best.title));
        }
        text.push_str(&quoted.shown(&best.text));
        text.push_str("[1]");
        sink.say(text).await
    }

    async fn done(&self, written: Written, kb_version: KbVersion, sink: &mut Sink) -> Result<(), Gone> {
        sink.timings.total = sink.elapsed();
        let timings = sink.timings;
        let mut basis = std::mem::take(&mut sink.basis);
        basis.timings_ms = [timings.understand, timings.retrieve, timings.first_token, timings.total];
        sink.send(ReplyEvent::Done(Done {
            message_id: MessageId::new(),
            usage: written.usage,
            timings,
            model: written.model,
            kb_version,
            related: written.related,
            basis: Box::new(basis),
        }))
        .await
    }
}

fn hit_basis(hit: &Hit) -> BasisHit {
    let (id, faq) = match &hit.source {
        Source::Passage(passage) => (passage.id.0, false),
        Source::Faq(faq) => (faq.id.0, true),
    };
    BasisHit {
        id,
        faq,
        dense: hit.scores.dense,
        lexical: hit.scores.lexical,
        fused: Some(hit.scores.fused),
        reading: hit.scores.reading,
    }
}

fn faq_basis(hit: &FaqHit) -> BasisHit {
    BasisHit {
        id: hit.faq.id.0,
        faq: true,
        dense: Some(hit.similarity),
        lexical: None,
        fused: None,
        reading: hit.reading,
    }
}

/// Models with their hashes, and the settings that answers depend on.
fn environment_of(
    retriever: &Retriever,
    reader: &dyn Reader,
    model: Option<&dyn LanguageModel>,
    confidence: &Confidence,
    config: &DialogueConfig,
) -> Environment {
    let embedder = retriever.embedder();
    let model = model.map(|model| {
        let info = model.info();
        serde_json::json!({"name": info.name, "sha256": info.sha256, "sampling": "greedy"})
    });
    let json = serde_json::json!({
        "program": env!("CARGO_PKG_VERSION"),
        "embedder": {"name": embedder.name, "sha256": embedder.sha256},
        "reader": reader.version(),
        "calibration": confidence.calibration(),
        "model": model,
        "dialogue": config,
        "retrieval": retriever.settings(),
    })
    .to_string();
    Environment {
        sha256: sha256_hex(json.as_bytes()),
        json,
    }
}

/// The stable name of a failure, as the event `error` has it. What the search passes on keeps its meaning.
pub(super) fn code_of(error: &DialogueError) -> &'static str {
    use crate::inference::InferenceError as I;
    use crate::retrieval::RetrievalError as R;
    use crate::storage::StorageError as S;
    match error {
        DialogueError::Inference(I::Overloaded { .. })
        | DialogueError::Retrieval(
            R::Overloaded { .. } | R::Inference(I::Overloaded { .. }) | R::Storage(S::Busy | S::Unavailable { .. }),
        )
        | DialogueError::Storage(S::Busy | S::Unavailable { .. })
        | DialogueError::Busy { .. } => "overloaded",
        DialogueError::Inference(I::Deadline) | DialogueError::Retrieval(R::Inference(I::Deadline)) => "deadline",
        DialogueError::Storage(S::Full) | DialogueError::Retrieval(R::Storage(S::Full)) => "storage_full",
        DialogueError::Empty | DialogueError::TooLong { .. } => "invalid_question",
        DialogueError::Closed => "conversation_closed",
        _ => "internal",
    }
}
