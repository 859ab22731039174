//! `kefu eval`: measure the product through the code that serves customers.

mod answers;
mod automation;
mod base;
mod calibrate;
mod clusters;
mod documents;
mod evasions;
mod flows;
mod kb;
mod pairs;
mod pii;
mod questions;
mod retrieval;
mod stages;
mod statistics;

use super::Common;
use clap::Subcommand;

/// Measure answer quality
#[derive(Debug, Subcommand)]
pub enum Eval {
    /// Ask the installed knowledge base its own questions, through a server on the loopback address
    Kb(kb::Kb),
    /// Fit the confidence models on questions with known sources, and show what each threshold would do
    Calibrate(calibrate::Calibrate),
    /// Ask for passages with known questions, in a knowledge base of these passages alone
    Retrieval(retrieval::Retrieval),
    /// Ask questions with known answers in a knowledge base of given passages alone, over HTTP
    Answers(answers::Answers),
    /// Ask about the documents of a directory, in a knowledge base of these alone
    Documents(documents::Documents),
    /// Ask a mix of questions, and see how many can be answered at a given share of wrong answers
    Automation(automation::Automation),
    /// Tell pairs of questions that mean the same from those that do not
    Pairs(pairs::Pairs),
    /// Group questions that mean the same
    Clusters(clusters::Clusters),
    /// Lead scripted dialogues through task flows
    Flows(flows::Flows),
    /// Find and mask personal data
    Pii(pii::Pii),
}

impl Eval {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        match self {
            Self::Kb(eval) => eval.run(common).await,
            Self::Calibrate(eval) => eval.run(common).await,
            Self::Retrieval(eval) => eval.run(common).await,
            Self::Answers(eval) => eval.run(common).await,
            Self::Documents(eval) => eval.run(common).await,
            Self::Automation(eval) => eval.run(common).await,
            Self::Pairs(eval) => eval.run(common).await,
            Self::Clusters(eval) => eval.run(common).await,
            Self::Flows(eval) => eval.run(common).await,
            Self::Pii(eval) => eval.run(common),
        }
    }
}
