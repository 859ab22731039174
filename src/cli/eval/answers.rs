//! `kefu eval answers`: what is answered from passages with known answers, and what is refused when they are gone.

use super::base::{Base, Passage, Work};
use super::kb::{Answer, ask, squeezed};
use super::retrieval::{lines, spread};
use crate::app::Need;
use crate::cli::{Common, output};
use crate::domain::DocumentId;
use anyhow::{Context, ensure};
use clap::Args;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::time::Instant;

/// Errors that are listed.
const LISTED: usize = 20;

/// Ask questions with known answers in a knowledge base of given passages alone, over HTTP
#[derive(Debug, Args)]
pub struct Answers {
    /// Passages, one JSON object a line: `{"passage_id", "title", "text"}`
    #[arg(long, value_name = "FILE")]
    passages: PathBuf,
    /// Questions, one JSON object a line: `{"question", "answers", "passage_id"}`
    #[arg(long, value_name = "FILE")]
    questions: PathBuf,
    /// Leave every second passage out, and ask about these: nothing is right but to refuse
    #[arg(long)]
    drop_gold: bool,
    /// Load no language model: answers are quoted (quick)
    #[arg(long)]
    quote_only: bool,
    /// Ask so many of them, evenly spread over the file
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Write every answer there, one JSON object a line
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Question {
    question: String,
    answers: Vec<String>,
    passage_id: String,
}

struct Judged {
    question: Question,
    answer: Answer,
    ms: f64,
    contains: bool,
    /// Whether all numbers of a right answer are in it; `None` if there are none.
    digits: Option<bool>,
    cited_right: bool,
}

impl Judged {
    fn wrong(&self) -> bool {
        !self.answer.refused() && !self.contains
    }
}

impl Answers {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let began = Instant::now();
        let passages: Vec<Passage> = lines(&self.passages)?;
        let questions: Vec<Question> = lines(&self.questions)?;
        let gone: HashSet<&str> = (passages.iter().step_by(2))
            .map(|passage| passage.passage_id.as_str())
            .filter(|_| self.drop_gold)
            .collect();
        let there = |id: &str| !gone.contains(id);
        let asked = questions
            .into_iter()
            .filter(|question| there(&question.passage_id) != self.drop_gold);
        let questions = spread(asked.collect(), self.limit);
        ensure!(!questions.is_empty(), "{}: no questions", self.questions.display());
        let need = if self.quote_only { Need::Search } else { Need::Answers };
        let work = Work::new(None)?;
        let kept = passages.iter().filter(|passage| there(&passage.passage_id));
        let base = Base::open(common, common.settings(None)?, kept, work.path(), need).await?;
        let server = base.app.serve_loopback().await?;
        let bar = if common.json {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(questions.len() as u64)
        };
        let mut judged = Vec::new();
        for question in questions {
            let (answer, ms) = ask(server.address, &question.question, Vec::new())
                .await
                .with_context(|| question.question.clone())?;
            judged.push(judge(&base, question, answer, ms));
            bar.inc(1);
        }
        bar.finish_and_clear();
        if let Some(path) = &self.answers {
            let lines: Vec<String> = judged.iter().map(|one| line(one).to_string()).collect();
            std::fs::write(path, lines.join("\n")).with_context(|| path.display().to_string())?;
        }
        let mut report = report(&judged, self.drop_gold);
        let language = base
            .app
            .assistant
            .model()
            .map(|model| json!({"name": model.info().name, "sha256": model.info().sha256}));
        let embedder = base.app.embedder.info();
        report["model"] =
            json!({"language": language, "embedding": {"name": embedder.name, "sha256": embedder.sha256}});
        report["heads"] = json!({"reader": base.app.reader.version()});
        report["machine"] = output::machine();
        report["seconds"] = json!(began.elapsed().as_secs_f64());
        server.stop().await;
        base.app.close().await;
        if common.json {
            output::print_json(&report);
        } else {
            print_table(&report);
        }
        Ok(())
    }
}

fn judge(base: &Base, question: Question, answer: Answer, ms: f64) -> Judged {
    let flat = squeezed(&answer.answer);
    let contains = question.answers.iter().any(|wanted| flat.contains(&squeezed(wanted)));
    let numbers = |text: &str| -> Vec<String> {
        let parts = text.split(|c: char| !c.is_ascii_digit());
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let said: HashSet<String> = numbers(&flat).into_iter().collect();
    let wanted: Vec<Vec<String>> = (question.answers.iter().map(|wanted| numbers(&squeezed(wanted))))
        .filter(|numbers| !numbers.is_empty())
        .collect();
    let kept = || {
        wanted
            .iter()
            .any(|numbers| numbers.iter().all(|number| said.contains(number)))
    };
    let cited_right =
        (answer.citations.iter()).any(|cited| base.name(DocumentId(cited.document_id)) == Some(&question.passage_id));
    Judged {
        digits: (!wanted.is_empty()).then(kept),
        contains,
        cited_right,
        question,
        answer,
        ms,
    }
}

fn line(judged: &Judged) -> Value {
    json!({
        "question": judged.question.question, "answers": judged.question.answers, "passage_id": judged.question.passage_id,
        "route": judged.answer.route, "confidence": judged.answer.confidence, "answer": judged.answer.answer,
        "contains": judged.contains, "cited_right": judged.cited_right, "ms": judged.ms,
    })
}

fn report(judged: &[Judged], drop_gold: bool) -> Value {
    let n = judged.len();
    let count = |wanted: &dyn Fn(&Judged) -> bool| judged.iter().filter(|one| wanted(one)).count();
    let share = |hits: usize, n: usize| hits as f64 / n.max(1) as f64;
    let sent = count(&|one| !one.answer.refused());
    let (contains, wrong) = (
        count(&|one| !one.answer.refused() && one.contains),
        count(&|one| one.wrong()),
    );
    let with_digits = count(&|one| !one.answer.refused() && one.digits.is_some());
    let digits = count(&|one| !one.answer.refused() && one.digits == Some(true));
    let cited = count(&|one| !one.answer.refused() && one.cited_right);
    let spread = |mut values: Vec<f64>| json!({"p50": output::percentile(&mut values, 0.5), "p99": output::percentile(&mut values, 0.99)});
    let first = judged
        .iter()
        .filter_map(|one| one.answer.timings_ms["first_token"].as_f64())
        .collect();
    let mut routes: BTreeMap<&str, usize> = BTreeMap::new();
    for one in judged {
        *routes.entry(&one.answer.route).or_default() += 1;
    }
    // The surest first.
    let mut errors: Vec<&Judged> = judged.iter().filter(|one| one.wrong()).collect();
    errors.sort_by(|a, b| b.answer.confidence.total_cmp(&a.answer.confidence));
    json!({
        "task": "answers", "drop_gold": drop_gold, "n": n,
        "ms_per_item": judged.iter().map(|one| one.ms).sum::<f64>() / n.max(1) as f64,
        "answered": share(sent, n), "contains": share(contains, n), "wrong_sent": share(wrong, n),
        "wrong_sent_interval": output::interval(wrong, n), "refused": share(n - sent, n),
        "refused_interval": output::interval(n - sent, n), "digits_kept": share(digits, with_digits),
        "citation_right": share(cited, sent), "first_token_ms": spread(first),
        "total_ms": spread(judged.iter().map(|one| one.ms).collect()), "routes": routes,
        "errors": errors.into_iter().take(LISTED).map(line).collect::<Vec<_>>(),
    })
}

fn print_table(report: &Value) {
    let figure = |name: &str| report[name].as_f64().unwrap_or_default();
    println!(
        "{} questions, {:.0} s, routes {}",
        report["n"],
        figure("seconds"),
        report["routes"]
    );
    for name in [
        "answered",
        "contains",
        "wrong_sent",
        "refused",
        "digits_kept",
        "citation_right",
    ] {
        println!("{name:<16} {:.3}", figure(name));
    }
    println!(
        "total ms         p50 {}, p99 {}",
        report["total_ms"]["p50"], report["total_ms"]["p99"]
    );
    println!("\nwrong, the surest first:");
    for error in report["errors"].as_array().into_iter().flatten() {
        println!(
            "  {}\n    {} (wanted {})",
            error["question"], error["answer"], error["answers"]
        );
    }
}
