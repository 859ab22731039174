//! Learns from conversations: counts what is asked in vain, and suggests FAQs from what people answered.

use crate::dialogue::{Ask, Assistant, DialogueError};
use crate::domain::{
    Clock, ConversationId, Gap, Origin, SimilarFaq, Suggestion, SuggestionId, SuggestionState, Viewer,
};
use crate::inference::TextKind;
use crate::insight::{Asked, KnownGap, asks, assign, learn};
use crate::retrieval::{RetrievalError, Vectors};
use crate::storage::{GapChange, Job, PageRequest, StorageError, Store};
use std::sync::Arc;

/// Replies looked at in one step.
const REPLIES: u32 = 200;
/// Open gaps that a question is compared with, the most asked.
const GAPS: u32 = 2000;
/// Conversations looked at in one step.
const CONVERSATIONS: u32 = 50;
/// Messages of a conversation that are read.
const MESSAGES: u32 = 200;
/// Like FAQs that a suggestion names.
const SIMILAR: usize = 3;
/// From which cosine on a FAQ is named as like a suggested one.
const LIKE: f32 = 0.88;
/// From which cosine on the knowledge base has the question already.
const SAME: f32 = 0.95;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The embedder.
    #[error(transparent)]
    Retrieval(#[from] RetrievalError),
    /// The search.
    #[error(transparent)]
    Dialogue(#[from] DialogueError),
}

/// What was learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learnt {
    /// Replies that were looked at.
    pub replies: usize,
    /// Gaps that are new.
    pub new_gaps: usize,
    /// Conversations that were looked at.
    pub conversations: usize,
    /// Suggestions made.
    pub suggestions: usize,
}

impl Learnt {
    /// Whether there may be more to look at.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.replies >= REPLIES as usize || self.conversations >= CONVERSATIONS as usize
    }
}

/// Learns.
pub struct Learner {
    vectors: Vectors,
    assistant: Arc<Assistant>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Learner {
    /// A learner over a store.
    #[must_use]
    pub fn new(vectors: Vectors, assistant: Arc<Assistant>, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            vectors,
            assistant,
            store,
            clock,
        }
    }

    /// One step: looks at a bounded number of replies and conversations that nobody looked at before. What is done is
    /// stored before it returns; a step that is killed is done again. While another node does one, nothing is done here.
    ///
    /// # Errors
    /// What the database, the embedder or the search reports; nothing of the failed part is stored.
    pub async fn step(&self) -> Result<Learnt, LearnError> {
        let mut learnt = Learnt::default();
        let Some(_claim) = self.store.claim(Job::Learn).await? else {
            return Ok(learnt);
        };
        self.count(&mut learnt).await?;
        for id in self.store.answered_by_people(CONVERSATIONS).await? {
            learnt.conversations += 1;
            match self.suggest(id).await? {
                Some(suggestion) => learnt.suggestions += usize::from(self.store.add_suggestion(&suggestion).await?),
                None => self.store.nothing_to_suggest(id).await?,
            }
        }
        Ok(learnt)
    }

    async fn count(&self, learnt: &mut Learnt) -> Result<(), LearnError> {
        let replies = self.store.unresolved(REPLIES).await?;
        if replies.is_empty() {
            return Ok(());
        }
        learnt.replies = replies.len();
        let (asking, rest): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| asks(&reply.question));
        let questions: Vec<String> = asking.iter().map(|reply| reply.question.clone()).collect();
        let vectors = self.vectors.each(TextKind::Query, &questions).await?;
        let asked = asking
            .into_iter()
            .zip(vectors)
            .map(|(reply, vector)| Asked {
                message: reply.message_id,
                question: reply.question,
                at: reply.at,
                vector,
            })
            .collect();
        let mut changes = assign(asked, self.known().await?);
        learnt.new_gaps = changes
            .iter()
            .filter(|change| matches!(change, GapChange::New { .. }))
            .count();
        changes.extend(rest.into_iter().map(|reply| GapChange::Nothing {
            message: reply.message_id,
        }));
        Ok(self.store.count_gaps(&changes).await?)
    }

    async fn known(&self) -> Result<Vec<KnownGap>, LearnError> {
        let mut known = Vec::new();
        let mut request = PageRequest::first(GAPS.min(500));
        loop {
            let page = self.store.gaps(true, &request).await?;
            let wordings = |gap: &Gap| {
                std::iter::once(&gap.question)
                    .chain(&gap.examples)
                    .cloned()
                    .collect::<Vec<_>>()
            };
            let texts: Vec<String> = page.items.iter().flat_map(wordings).collect();
            let mut vectors = self.vectors.each(TextKind::Query, &texts).await?.into_iter();
            known.extend(page.items.into_iter().map(|gap| KnownGap {
                vectors: vectors.by_ref().take(1 + gap.examples.len()).collect(),
                gap,
            }));
            match page.next {
                Some(next) if known.len() < GAPS as usize => request.cursor = Some(next),
                _ => return Ok(known),
            }
        }
    }

    /// What a conversation suggests; `None` if nothing, or if the knowledge base has it.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub async fn suggest(&self, id: ConversationId) -> Result<Option<Suggestion>, LearnError> {
        let messages = self.store.messages(id, MESSAGES).await?;
        let Some(found) = learn(&messages) else {
            return Ok(None);
        };
        let mut suggestion = self
            .suggestion(found.question, found.variants, found.answer, Origin::Conversation)
            .await?;
        suggestion.conversation_id = Some(id);
        let known = suggestion.similar.first().is_some_and(|like| like.similarity >= SAME);
        Ok(Some(suggestion).filter(|_| !known))
    }

    /// A suggestion of these words, with the FAQs that are like it.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub async fn suggestion(
        &self,
        question: String,
        variants: Vec<String>,
        answer: String,
        origin: Origin,
    ) -> Result<Suggestion, LearnError> {
        let ask = Ask::new(question.clone(), Viewer::anybody(self.clock.now()));
        let (found, _) = self.assistant.find(&ask).await?;
        let mut similar: Vec<SimilarFaq> = (found.faqs.iter())
            .filter(|hit| hit.similarity >= LIKE)
            .map(|hit| SimilarFaq {
                faq_id: hit.faq.id,
                question: hit.faq.question.clone(),
                similarity: hit.similarity,
            })
            .collect();
        similar.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
        similar.truncate(SIMILAR);
        Ok(Suggestion {
            id: SuggestionId::new(),
            question,
            variants,
            answer,
            origin,
            conversation_id: None,
            similar,
            state: SuggestionState::Open,
            created_at: self.clock.now(),
            decided: None,
        })
    }
}
