//! What one may ask next.

use crate::domain::Viewer;
use crate::retrieval::{Answered, Related, RetrievalError, Retriever, Source};

/// Suggestions after an answer.
const SUGGESTIONS: usize = 3;

/// Questions to show below a reply that rests on `source` (or, where nothing was sure, shows it first): the things to choose from
/// where the question names none of several, else what else the base says of the same thing. A failure costs the suggestions
/// and nothing else.
pub(super) async fn questions(
    retriever: &Retriever,
    question: &str,
    source: Option<Source>,
    is_answer: bool,
    viewer: &Viewer,
) -> Vec<Related> {
    let answered = Answered {
        question: question.to_owned(),
        source,
        viewer: viewer.clone(),
    };
    find(retriever, &answered, is_answer).await.unwrap_or_else(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "nothing related is shown");
        Vec::new()
    })
}

async fn find(retriever: &Retriever, answered: &Answered, is_answer: bool) -> Result<Vec<Related>, RetrievalError> {
    let choices = retriever.siblings(answered).await?;
    if !choices.is_empty() || !is_answer {
        return Ok(choices);
    }
    retriever.related(answered, SUGGESTIONS).await
}
