//! `kefu eval retrieval`: whether the right passage is found, by each stage of the search that serves customers.

use super::base::{Base, Passage, Work};
use super::stages::{self, Stages};
use crate::app::Need;
use crate::cli::{Common, output};
use crate::retrieval::{Found, Source};
use anyhow::{Context, bail, ensure};
use clap::Args;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Errors that are listed.
const LISTED: usize = 20;

/// Ask for passages with known questions, in a knowledge base of these passages alone
#[derive(Debug, Args)]
pub struct Retrieval {
    /// Passages, one JSON object a line: `{"passage_id", "title", "text"}`, or `{"faq_id", "question", "answer"}`
    #[arg(long, value_name = "FILE")]
    passages: PathBuf,
    /// Questions, one JSON object a line: `{"question", "passage_id"}` or `{"query", "faq_id"}`
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Ask so many of them, evenly spread over the file
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Let the language model judge the hits too, beside the reader
    #[arg(long)]
    judge: bool,
    /// Keep the knowledge base there, so that the next run need not import it again
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(alias = "query")]
    question: String,
    #[serde(alias = "faq_id")]
    passage_id: String,
}

impl Retrieval {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let began = Instant::now();
        let passages: Vec<Passage> = lines(&self.passages)?;
        let queries = spread(lines::<Asked>(&self.queries)?, self.limit);
        ensure!(!queries.is_empty(), "{}: no questions", self.queries.display());
        let ids: HashSet<&str> = passages.iter().map(|passage| passage.passage_id.as_str()).collect();
        ensure!(
            ids.len() == passages.len(),
            "{}: an id stands twice",
            self.passages.display()
        );
        if let Some(lost) = queries.iter().find(|query| !ids.contains(query.passage_id.as_str())) {
            bail!(
                "{}: no passage has the id {:?}",
                self.passages.display(),
                lost.passage_id
            );
        }
        let work = Work::new(self.work.as_deref())?;
        let need = if self.judge { Need::Answers } else { Need::Search };
        let mut report = measure(common, &passages, &queries, work.path(), need).await?;
        report["seconds"] = json!(began.elapsed().as_secs_f64());
        report["ms_per_item"] = json!(began.elapsed().as_secs_f64() * 1e3 / queries.len() as f64);
        if common.json {
            output::print_json(&report);
        } else {
            print_table(&report);
        }
        Ok(())
    }
}

/// One JSON object a line, empty lines apart.
pub(super) fn lines<T: for<'a> Deserialize<'a>>(path: &Path) -> anyhow::Result<Vec<T>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| serde_json::from_str(line).with_context(|| format!("{}:{}", path.display(), at + 1)))
        .collect()
}

/// At most `limit` of them, evenly spread.
pub(super) fn spread<T>(all: Vec<T>, limit: Option<usize>) -> Vec<T> {
    let n = all.len();
    let limit = limit.unwrap_or(n).min(n);
    let mut wanted = (0..limit).map(|index| index * n / limit.max(1)).peekable();
    (all.into_iter().enumerate())
        .filter(|(at, _)| wanted.next_if_eq(at).is_some())
        .map(|(_, item)| item)
        .collect()
}

/// A knowledge base of the passages alone, imported as documents are, and all questions asked in it.
async fn measure(
    common: &Common,
    passages: &[Passage],
    queries: &[Asked],
    work: &Path,
    need: Need,
) -> anyhow::Result<Value> {
    let base = Base::open(common, common.settings(None)?, passages.iter(), work, need).await?;
    let app = &base.app;
    let bar = if common.json {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(queries.len() as u64)
    };
    let mut stages = Stages::default();
    let (mut errors, mut missed) = (Vec::new(), 0);
    for query in queries {
        let names = |found: &Found| {
            let mut seen: Vec<String> = Vec::new();
            for hit in &found.hits {
                let document = match &hit.source {
                    Source::Passage(passage) => base.name(passage.document_id),
                    Source::Faq(_) => None,
                };
                // Two passages of one document are one find.
                if let Some(name) = document
                    && !seen.iter().any(|seen| seen == name)
                {
                    seen.push(name.to_owned());
                }
            }
            seen
        };
        let place = |found: &Found| {
            names(found)
                .iter()
                .position(|id| *id == query.passage_id)
                .map(|at| at + 1)
        };
        let (found, rank) = stages.ask(app, &query.question, place).await?;
        if rank != Some(1) {
            missed += 1;
            let first = names(&found).into_iter().next();
            errors.push(json!({"question": query.question, "right": query.passage_id, "first": first, "rank": rank}));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    // Those that are not found at all come first.
    errors.sort_by_key(|error| error["rank"].as_u64().map_or(0, |rank| rank));
    errors.truncate(LISTED);
    let embedder = app.embedder.info();
    let report = json!({
        "task": "retrieval", "n": queries.len(), "passages": passages.len(), "stages": stages.report(),
        "model": {"name": embedder.name, "sha256": embedder.sha256},
        "heads": {"reader": app.reader.version()},
        "machine": output::machine(), "not_first": missed, "errors": errors,
    });
    base.app.close().await;
    Ok(report)
}

fn print_table(report: &Value) {
    println!(
        "{} questions, {} passages, {:.0} s",
        report["n"],
        report["passages"],
        report["seconds"].as_f64().unwrap_or_default()
    );
    stages::print(&report["stages"]);
    println!("\nnot first: {}; the worst:", report["not_first"]);
    for error in report["errors"].as_array().into_iter().flatten() {
        println!(
            "  {:>4}  {}  ({}, first: {})",
            error["rank"].as_u64().map_or("-".to_owned(), |rank| rank.to_string()),
            error["question"].as_str().unwrap_or_default(),
            error["right"].as_str().unwrap_or_default(),
            error["first"].as_str().unwrap_or("nothing")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_evenly() {
        assert_eq!(spread((0..10).collect(), Some(4)), [0, 2, 5, 7]);
        assert_eq!(spread((0..3).collect(), None), [0, 1, 2]);
        assert_eq!(spread((0..3).collect(), Some(9)), [0, 1, 2]);
        assert_eq!(spread(vec![0; 0], Some(2)), [0; 0]);
    }

    #[test]
    fn both_forms_of_a_line_are_read() {
        let faq: Passage = serde_json::from_str(r#"{"faq_id": "a", "question": "q", "answer": "x"}"#).unwrap();
        assert_eq!(
            (faq.passage_id.as_str(), faq.title.as_str(), faq.text.as_str()),
            ("a", "q", "x")
        );
        let asked: Asked = serde_json::from_str(r#"{"query": "q", "faq_id": "a"}"#).unwrap();
        assert_eq!((asked.question.as_str(), asked.passage_id.as_str()), ("q", "a"));
    }
}
