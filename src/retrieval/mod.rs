//! Finding what the knowledge base says: parse, chunk, ingest; lexical and vector indexes; fusion;
//! reading what was found.

mod chunk;
mod corpus;
mod draft;
mod error;
mod expand;
mod graph;
pub mod index;
mod ingest;
mod judging;
mod layer;
mod lexical;
mod mask;
pub mod parse;
mod rank;
mod reading;
mod retriever;
mod search;
mod searchable;
mod segment;
mod snapshot;
mod split;
mod state;
mod terms;
#[cfg(test)]
mod testing;
mod vectors;
mod walk;
mod widen;
mod words;

use crate::domain::{Faq, KbVersion, Passage};
use crate::inference::AnswerPlace;
use serde::{Deserialize, Serialize};

pub use chunk::{CountTokens, PassageLimits, chunk};
pub use draft::{Draft, DraftDocument};
pub use error::RetrievalError;
pub use expand::{Synonyms, SynonymsError};
pub use graph::{Related, RelatedKind};
pub use ingest::{FileOutcome, FileReport, ImportProgress, ImportReport, Ingester};
pub use judging::judge_hits;
pub use reading::{compare_faqs, order_read, rank, read_faq, read_hits};
pub use retriever::{Answered, IndexStatus, IndexWork, Query, Retriever, SourceDate};
pub use searchable::{searchable_faq, searchable_passage};
pub use segment::segments;
pub use vectors::{Embedded, Vectors, embedding_key};
pub use widen::cited_passage;

/// Which stages a search uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchMode {
    /// Both, ranked together.
    #[default]
    Hybrid,
    /// Vectors alone.
    Dense,
    /// Words alone.
    Lexical,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A passage of a document.
    Passage(Passage),
    /// An approved question with its answer.
    Faq(Faq),
}

/// The scores of a hit by stage. A stage that did not find it has `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scores {
    /// Cosine of question and text, -1 to 1.
    pub dense: Option<f32>,
    /// BM25 (Robertson and Zaragoza 2009).
    pub lexical: Option<f32>,
    /// Cosine of question and the nearest segment (a sentence, a row of a table), -1 to 1.
    pub segment: Option<f32>,
    /// BM25 of the best segment.
    pub segment_words: Option<f32>,
    /// The share of this hit in the softmax over all candidates by the linear model of `retrieval::rank`, 0 to 1; in a
    /// search by one stage alone, 1 / rank.
    pub fused: f32,
    /// Share of the question's informative words that the text contains, weighted by their rarity, 0 to 1.
    pub coverage: f32,
    /// Log-odds that the text answers the question, by a reader; `None` where it was not read.
    pub reading: Option<f32>,
    /// Log-odds that a language model answers "yes" to whether the text answers; `None` where it was not asked.
    pub yes: Option<f32>,
    /// How likely a language model holds the question to be asked about the text: the mean natural logarithm of the
    /// probability of its tokens; `None` where it was not asked.
    pub likelihood: Option<f32>,
}

/// One thing found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// What.
    pub source: Source,
    /// How well.
    pub scores: Scores,
    /// Where the reader sees the answer in the passage's text, or in the FAQ's answer; `None` where it was not read.
    pub answer: Option<AnswerPlace>,
}

/// One approved question that resembles what was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct FaqHit {
    /// The FAQ.
    pub faq: Faq,
    /// Which of its wordings is nearest, from 0 (the standard one).
    pub wording: usize,
    /// Cosine of question and wording; 0 in a search by words alone.
    pub similarity: f32,
    /// Share of the words that question and wording have in common, weighted by their rarity, 0 to 1 (Dice: what
    /// either has and the other lacks counts against it).
    pub overlap: f32,
    /// Whether question and wording are the same after normalising.
    pub exact: bool,
    /// How it ranks by search: the logarithm of its share among what was found, and its likeness.
    pub rank: f32,
    /// Log-odds that the wording asks the same as the question, by a reader; `None` where the two were not compared.
    pub same: Option<f32>,
    /// Log-odds that it answers the question, by a reader; `None` where it was not read.
    pub reading: Option<f32>,
}

impl FaqHit {
    /// The wording that is nearest to the question.
    #[must_use]
    pub fn nearest_wording(&self) -> &str {
        self.faq.wordings().nth(self.wording).unwrap_or(&self.faq.question)
    }
}

/// All that a search found, with what it took.
#[derive(Clone, Debug)]
pub struct Found {
    /// The FAQs nearest to the question, best first.
    pub faqs: Vec<FaqHit>,
    /// Passages and FAQs, best first.
    pub hits: Vec<Hit>,
    /// The informative words of the question that no text of the knowledge base has, simplified and in lower case.
    pub unknown: Vec<String>,
    /// The knowledge base that was searched.
    pub kb_version: KbVersion,
    /// Milliseconds to embed the question.
    pub embed_ms: f64,
    /// Milliseconds to search.
    pub search_ms: f64,
}
