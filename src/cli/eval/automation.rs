//! `kefu eval automation`: of a mix of questions that can and cannot be answered, how many could be answered by the
//! program alone at a given share of wrong answers: the curve of risk over coverage (El-Yaniv and Wiener, JMLR 11, 2010).

use super::base::{Base, Passage, Work};
use super::kb::{Answer, ask, squeezed};
use super::questions::{self, Documents};
use super::retrieval::{lines, spread};
use crate::app::{App, Need};
use crate::cli::{Common, output};
use crate::domain::{DocumentId, FaqId};
use anyhow::{Context, ensure};
use clap::Args;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Instant;

/// Errors that are listed.
const LISTED: usize = 20;
/// Points of the curve that are told.
const POINTS: usize = 50;

/// Ask a mix of questions that can and cannot be answered; every one is answered, however unsure, and the curve shows what
/// each threshold would do
#[derive(Debug, Args)]
pub struct Automation {
    /// Questions: those of the installed base (as `kefu eval kb` has them), or, with `--passages`, lines of `{"question",
    /// "answers", "passage_id"}`
    #[arg(long, value_name = "FILE", default_value = "kb/questions.jsonl")]
    questions: PathBuf,
    /// Ask in a knowledge base of these passages alone, of which every fifth is left out
    #[arg(long, value_name = "FILE")]
    passages: Option<PathBuf>,
    /// Load no language model: answers are quoted (quick)
    #[arg(long)]
    quote_only: bool,
    /// Ask so many of them, evenly spread over the file
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Draw the curve there
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
}

/// Of so many passages one is left out.
const LEFT_OUT: usize = 5;

#[derive(Debug, Deserialize)]
struct Asked {
    question: String,
    answers: Vec<String>,
    passage_id: String,
}

struct Judged {
    question: String,
    answer: Answer,
    right: bool,
}

/// One point of the curve: so many were answered, of these so many wrongly.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    threshold: f32,
    coverage: f64,
    risk: f64,
}

impl Automation {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let began = Instant::now();
        let (judged, heads) = match &self.passages {
            Some(passages) => self.of_passages(common, passages).await?,
            None => self.of_installed(common).await?,
        };
        ensure!(!judged.is_empty(), "{}: no questions", self.questions.display());
        let points = curve(&judged);
        let share_at = |risk: f64| {
            let within = points.iter().filter(|point| point.risk <= risk);
            within.map(|point| point.coverage).fold(0.0, f64::max)
        };
        if let Some(path) = &self.svg {
            std::fs::write(path, svg(&points)).with_context(|| path.display().to_string())?;
        }
        let mut errors: Vec<&Judged> = judged.iter().filter(|one| !one.right).collect();
        errors.sort_by(|a, b| b.answer.confidence.total_cmp(&a.answer.confidence));
        let step = points.len().div_ceil(POINTS).max(1);
        let row =
            |point: &Point| json!({"threshold": point.threshold, "coverage": point.coverage, "wrong": point.risk});
        let mut report = json!({
            "task": "automation", "n": judged.len(), "seconds": began.elapsed().as_secs_f64(),
            "ms_per_item": began.elapsed().as_secs_f64() * 1e3 / judged.len() as f64,
            "share_at_5pct_wrong": share_at(0.05), "share_at_3pct_wrong": share_at(0.03), "share_at_10pct_wrong": share_at(0.1),
            "curve": points.iter().step_by(step).chain(points.last()).map(row).collect::<Vec<_>>(),
            "machine": output::machine(),
            "errors": errors.iter().take(LISTED).map(|one| json!({
                "question": one.question, "route": one.answer.route, "confidence": one.answer.confidence,
                "answer": one.answer.answer,
            })).collect::<Vec<_>>(),
        });
        report["model"] = heads["model"].clone();
        report["heads"] = heads["heads"].clone();
        if common.json {
            output::print_json(&report);
        } else {
            print_table(&report);
        }
        Ok(())
    }

    fn need(&self) -> Need {
        if self.quote_only { Need::Search } else { Need::Answers }
    }

    async fn of_passages(&self, common: &Common, passages: &std::path::Path) -> anyhow::Result<(Vec<Judged>, Value)> {
        let passages: Vec<Passage> = lines(passages)?;
        let asked = spread(lines::<Asked>(&self.questions)?, self.limit);
        let gone: HashSet<&str> = (passages.iter().step_by(LEFT_OUT))
            .map(|passage| passage.passage_id.as_str())
            .collect();
        let kept = passages
            .iter()
            .filter(|passage| !gone.contains(passage.passage_id.as_str()));
        let work = Work::new(None)?;
        let base = Base::open(common, unsure(common)?, kept, work.path(), self.need()).await?;
        let server = base.app.serve_loopback().await?;
        let bar = bar(common, asked.len());
        let mut judged = Vec::new();
        for one in asked {
            let (answer, _) = ask(server.address, &one.question, Vec::new()).await?;
            let flat = squeezed(&answer.answer);
            let right = !gone.contains(one.passage_id.as_str())
                && one.answers.iter().any(|wanted| flat.contains(&squeezed(wanted)));
            judged.push(Judged {
                question: one.question,
                answer,
                right,
            });
            bar.inc(1);
        }
        bar.finish_and_clear();
        let heads = heads(&base.app);
        server.stop().await;
        base.app.close().await;
        Ok((judged, heads))
    }

    async fn of_installed(&self, common: &Common) -> anyhow::Result<(Vec<Judged>, Value)> {
        let app = App::open(unsure(common)?, &common.data, &common.models, self.need()).await?;
        let documents = Documents::of(app.store.as_ref()).await?;
        let asked = spread(questions::read(&self.questions)?, self.limit);
        let server = app.serve_loopback().await?;
        let bar = bar(common, asked.len());
        let mut judged = Vec::new();
        for one in asked {
            let history = one
                .history
                .iter()
                .map(|said| json!({"role": said.role, "content": said.content}));
            let (answer, _) = ask(server.address, &one.question, history.collect()).await?;
            let mut cited = false;
            for citation in &answer.citations {
                let faq = app.store.faqs(&[FaqId(citation.document_id)]).await?.pop();
                cited |= match faq {
                    Some(faq) => one.names_faq(&faq.key),
                    None => documents
                        .source(DocumentId(citation.document_id))
                        .is_some_and(|path| one.names_document(path)),
                };
            }
            let flat = squeezed(&answer.answer);
            let told = one.answers.is_empty() || one.answers.iter().any(|wanted| flat.contains(&squeezed(wanted)));
            judged.push(Judged {
                right: one.answerable && cited && told,
                question: one.question,
                answer,
            });
            bar.inc(1);
        }
        bar.finish_and_clear();
        let heads = heads(&app);
        server.stop().await;
        app.close().await;
        Ok((judged, heads))
    }
}

/// Settings under which every question is answered.
fn unsure(common: &Common) -> anyhow::Result<crate::config::Config> {
    let mut config = common.settings(None)?;
    config.http.require_api_key = false;
    config.dialogue.answer_confidence = 0.0;
    config.dialogue.clarify_confidence = 0.0;
    Ok(config)
}

fn bar(common: &Common, n: usize) -> ProgressBar {
    if common.json {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(n as u64)
    }
}

fn heads(app: &App) -> Value {
    let model = app.assistant.model();
    let language = model.map(|model| json!({"name": model.info().name, "sha256": model.info().sha256}));
    let embedder = app.embedder.info();
    json!({
        "model": {"language": language, "embedding": {"name": embedder.name, "sha256": embedder.sha256}},
        "heads": {"reader": app.reader.version()},
    })
}

/// For each threshold how many would be answered, and how many of these wrongly. A person is given what the program would
/// not answer by itself.
fn curve(judged: &[Judged]) -> Vec<Point> {
    let mut sent: Vec<(f32, bool)> = (judged.iter())
        .filter(|one| !one.answer.refused())
        .map(|one| (one.answer.confidence, one.right))
        .collect();
    sent.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut wrong, mut points) = (0_u32, Vec::new());
    for (at, (confidence, right)) in sent.iter().enumerate() {
        wrong += u32::from(!right);
        // Equal confidences are answered all or not at all.
        if sent
            .get(at + 1)
            .is_some_and(|next| next.0.total_cmp(confidence).is_eq())
        {
            continue;
        }
        points.push(Point {
            threshold: *confidence,
            coverage: (at + 1) as f64 / judged.len() as f64,
            risk: f64::from(wrong) / (at + 1) as f64,
        });
    }
    points
}

/// The curve as a picture: wrong answers over answered questions.
fn svg(points: &[Point]) -> String {
    let (width, height, left, top) = (640.0, 400.0, 60.0, 20.0);
    let highest = points.iter().map(|point| point.risk).fold(0.1, f64::max);
    let x = |coverage: f64| left + coverage * width;
    let y = |risk: f64| top + height * (1.0 - risk / highest);
    let path: Vec<String> = points
        .iter()
        .map(|p| format!("{:.1},{:.1}", x(p.coverage), y(p.risk)))
        .collect();
    let ticks: Vec<String> = (0..=5)
        .map(|tick| {
            let share = f64::from(tick) / 5.0;
            format!(
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{:.0} %</text>\n\
                 <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{:.0} %</text>\n",
                x(share),
                top + height + 20.0,
                share * 100.0,
                left - 6.0,
                y(share * highest) + 4.0,
                share * highest * 100.0
            )
        })
        .collect();
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} {:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"#999\"/>\n{}\
         <line x1=\"{left}\" x2=\"{:.0}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"#c33\" stroke-dasharray=\"4\"/>\n\
         <polyline fill=\"none\" stroke=\"#1565c0\" stroke-width=\"2\" points=\"{}\"/>\n\
         <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">answered</text>\n\
         <text x=\"14\" y=\"{:.0}\" transform=\"rotate(-90 14 {:.0})\" text-anchor=\"middle\">of these wrong (dashed: 5 %)</text>\n</svg>\n",
        width + left + 20.0,
        height + top + 50.0,
        ticks.concat(),
        left + width,
        y(0.05),
        y(0.05),
        path.join(" "),
        left + width / 2.0,
        top + height + 42.0,
        top + height / 2.0,
        top + height / 2.0
    )
}

fn print_table(report: &Value) {
    println!(
        "{} questions, {:.0} s",
        report["n"],
        report["seconds"].as_f64().unwrap_or_default()
    );
    for (name, what) in [
        ("share_at_3pct_wrong", "3 %"),
        ("share_at_5pct_wrong", "5 %"),
        ("share_at_10pct_wrong", "10 %"),
    ] {
        println!(
            "answered at {what:<4} wrong {:.3}",
            report[name].as_f64().unwrap_or_default()
        );
    }
    println!("\nthreshold  answered  wrong");
    for point in report["curve"].as_array().into_iter().flatten() {
        let figure = |name: &str| point[name].as_f64().unwrap_or_default();
        println!(
            "{:>9.3} {:>9.3} {:>6.3}",
            figure("threshold"),
            figure("coverage"),
            figure("wrong")
        );
    }
    println!("\nwrong, the surest first:");
    for error in report["errors"].as_array().into_iter().flatten() {
        println!("  {}\n    {}", error["question"], error["answer"]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(confidence: f32, right: bool, route: &str) -> Judged {
        let answer = json!({"answer": "", "route": route, "confidence": confidence, "citations": [], "timings_ms": {}});
        Judged {
            question: String::new(),
            answer: serde_json::from_value(answer).unwrap(),
            right,
        }
    }

    #[test]
    fn the_curve_goes_from_the_surest_to_all_that_was_answered() {
        let all = [
            judged(0.5, false, "passages"),
            judged(0.9, true, "faq"),
            judged(0.8, false, "passages"),
            judged(0.8, true, "passages"),
            judged(0.0, false, "handoff"),
        ];
        let points: Vec<(f64, f64)> = curve(&all).iter().map(|point| (point.coverage, point.risk)).collect();
        assert_eq!(points, [(0.2, 0.0), (0.6, 1.0 / 3.0), (0.8, 0.5)]);
        let drawn = svg(&curve(&all));
        assert!(drawn.starts_with("<svg") && drawn.contains("polyline"));
        assert!(curve(&[]).is_empty());
    }
}
