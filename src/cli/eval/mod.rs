//! `kefu eval`: measure the product through the code that serves customers.

mod calibrate;
mod kb;
mod questions;

use super::Common;
use clap::Subcommand;

/// Measure answer quality
#[derive(Debug, Subcommand)]
pub enum Eval {
    /// Ask the installed knowledge base its own questions, through a server on the loopback address
    Kb(kb::Kb),
    /// Fit the confidence models on questions with known sources, and show what each threshold would do
    Calibrate(calibrate::Calibrate),
}

impl Eval {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        match self {
            Self::Kb(eval) => eval.run(common).await,
            Self::Calibrate(eval) => eval.run(common).await,
        }
    }
}
