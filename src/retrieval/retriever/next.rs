//! What one may ask next.

use super::Retriever;
use crate::domain::Viewer;
use crate::retrieval::graph::About;
use crate::retrieval::state::{State, internal};
use crate::retrieval::{Related, RetrievalError, Source};
use crate::understanding::normalise;

/// What was asked, and what answered it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The question.
    pub question: String,
    /// The FAQ or passage that answered it, or is nearest to an answer.
    pub source: Option<Source>,
    /// Who asked, where and when: nothing else is spoken of.
    pub viewer: Viewer,
}

impl Retriever {
    /// What one may ask next, of the same thing or of its siblings: at most `limit` questions, best first. Nothing where the
    /// settings (`retrieval.graph`) say so.
    ///
    /// Cost: a few searches by words, on a blocking thread; the question is not embedded again where it was searched lately, and
    /// not at all where it was not.
    ///
    /// # Errors
    /// `Lexical`.
    pub async fn related(&self, answered: &Answered, limit: usize) -> Result<Vec<Related>, RetrievalError> {
        self.walk(answered, limit, State::related).await
    }

    /// The things among which a question does not choose, each as a question: "年费多少" where the passage that was found has a
    /// table with the fees of several cards, which the question does not name. Nothing where the settings (`retrieval.graph`)
    /// say so.
    ///
    /// # Errors
    /// `Internal`.
    pub async fn siblings(&self, answered: &Answered) -> Result<Vec<Related>, RetrievalError> {
        self.walk(answered, 0, |state, about, viewer| Ok(state.siblings(about, viewer)))
            .await
    }

    async fn walk(
        &self,
        answered: &Answered,
        limit: usize,
        step: fn(&State, &About, &Viewer) -> Result<Vec<Related>, RetrievalError>,
    ) -> Result<Vec<Related>, RetrievalError> {
        let shared = &self.0.shared;
        if !shared.config.graph {
            return Ok(Vec::new());
        }
        let question = normalise(&answered.question);
        let mut about = About {
            vector: shared.cache.get(&question),
            question,
            limit,
            ..About::default()
        };
        match &answered.source {
            Some(Source::Faq(faq)) => about.faq = Some(faq.id),
            Some(Source::Passage(passage)) => about.passage = Some(passage.id),
            None => {}
        }
        let (state, viewer) = (self.0.current(), answered.viewer.clone());
        let _permit = shared.searches.acquire().await;
        tokio::task::spawn_blocking(move || step(&state, &about, &viewer))
            .await
            .map_err(|error| internal("looking for what is related", &error))?
    }
}
