//! `kefu eval kb`: the installed base answers its own questions, over HTTP as customers reach it.

use super::questions::{Documents, Question, read};
use crate::app::{App, Need};
use crate::cli::{Common, output};
use crate::dialogue::unsupported;
use crate::domain::{DocumentId, FaqId, PassageId};
use crate::retrieval::cited_passage;
use crate::storage::Store;
use anyhow::{Context, ensure};
use clap::Args;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Ask the installed knowledge base its own questions
#[derive(Debug, Args)]
pub struct Kb {
    /// Questions, one JSON object a line
    #[arg(long, value_name = "FILE", default_value = "kb/questions.jsonl")]
    questions: PathBuf,
    /// Load no language model: answers are quoted (quick)
    #[arg(long)]
    quote_only: bool,
    /// Write every answer there, one JSON object a line
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
}

/// The part of an answer that is judged.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Answer {
    pub(super) answer: String,
    pub(super) route: String,
    pub(super) confidence: f32,
    pub(super) citations: Vec<Cited>,
    pub(super) timings_ms: Value,
}

impl Answer {
    /// What comes of a question that may not be asked.
    fn none() -> Self {
        Self {
            answer: String::new(),
            route: "refuse".to_owned(),
            confidence: 1.0,
            citations: Vec::new(),
            timings_ms: Value::Null,
        }
    }

    /// Whether it says nothing of its own: a refusal, a question back, a person.
    pub(super) fn refused(&self) -> bool {
        matches!(self.route.as_str(), "refuse" | "handoff" | "clarify")
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Cited {
    pub(super) document_id: Uuid,
    passage_id: Uuid,
    title: String,
    pub(super) quote: String,
}

struct Judged {
    question: Question,
    answer: Answer,
    ms: f64,
    in_top3: bool,
    cited_right: bool,
    contains: bool,
    missing: Vec<String>,
}

impl Judged {
    fn refused(&self) -> bool {
        self.answer.refused()
    }
}

impl Kb {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut config = common.settings(None)?;
        // The measurement is its own client and its own server.
        config.http.require_api_key = false;
        let need = if self.quote_only { Need::Search } else { Need::Answers };
        let app = App::open(config, &common.data, &common.models, need).await?;
        let questions = read(&self.questions)?;
        let documents = Documents::of(app.store.as_ref()).await?;
        let server = app.serve_loopback().await?;
        let bar = if common.json {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(questions.len() as u64)
        };
        let mut judged = Vec::new();
        for question in questions {
            // First over HTTP, so that nothing of this question is cached when it is timed.
            let history: Vec<Value> = (question.history.iter())
                .map(|said| json!({"role": said.role, "content": said.content}))
                .collect();
            let (answer, ms) = ask(server.address, &question.question, history)
                .await
                .with_context(|| question.id.clone())?;
            let (found, _) = app.assistant.find(&question.ask(app.viewer())).await?;
            let in_top3 = question.in_top3(&found.hits, &documents);
            judged.push(judge(question, answer, ms, in_top3, app.store.as_ref()).await?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        if let Some(path) = &self.answers {
            let lines: Vec<String> = judged.iter().map(|j| line(j).to_string()).collect();
            std::fs::write(path, lines.join("\n"))?;
        }
        let model = app
            .assistant
            .model()
            .map(|model| json!({"name": model.info().name, "sha256": model.info().sha256}));
        let embedder = json!({"name": app.embedder.info().name, "sha256": app.embedder.info().sha256});
        let mut report = report(&judged, began.elapsed());
        report["model"] = json!({"language": model, "embedding": embedder});
        report["machine"] = output::machine();
        report["kb_version"] = json!(app.retriever.kb_version());
        server.stop().await;
        app.close().await;
        if common.json {
            output::print_json(&report);
        } else {
            print_table(&report);
        }
        Ok(())
    }
}

/// Asks over HTTP, as customers do: the answer, and milliseconds. A question that may not be asked (an empty one) counts as
/// refused: it is one of the set.
pub(super) async fn ask(
    address: std::net::SocketAddr,
    question: &str,
    history: Vec<Value>,
) -> anyhow::Result<(Answer, f64)> {
    let body = json!({"question": question, "history": history});
    let url = format!("http://{address}/api/v1/ask");
    tokio::task::spawn_blocking(move || {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_mins(10)))
            .http_status_as_error(false)
            .build()
            .new_agent();
        // The connection is made before the clock starts: a widget holds one open.
        agent
            .get(url.replace("/api/v1/ask", "/healthz"))
            .call()?
            .body_mut()
            .read_to_string()?;
        let began = Instant::now();
        let mut response = agent.post(&url).send_json(&body)?;
        let status = response.status().as_u16();
        if status == 400 {
            return Ok((Answer::none(), began.elapsed().as_secs_f64() * 1e3));
        }
        let body = response.body_mut();
        ensure!(
            status == 200,
            "the server answered {status}: {}",
            body.read_to_string()?
        );
        Ok((body.read_json()?, began.elapsed().as_secs_f64() * 1e3))
    })
    .await?
}

async fn judge(
    question: Question,
    answer: Answer,
    ms: f64,
    in_top3: bool,
    store: &dyn Store,
) -> anyhow::Result<Judged> {
    let mut sources = vec![question.question.clone()];
    sources.extend(question.history.iter().map(|said| said.content.clone()));
    let mut cited_right = false;
    for cited in &answer.citations {
        sources.push(cited.title.clone());
        if let Some(faq) = store.faqs(&[FaqId(cited.document_id)]).await?.pop() {
            cited_right |= question.names_faq(&faq.key);
            sources.push(faq.search_text());
        } else if let Some(passage) = cited_passage(store, PassageId(cited.passage_id)).await? {
            let document = store.document(DocumentId(cited.document_id)).await?;
            let path = document.map(|d| d.source).unwrap_or_default();
            cited_right |= question.names_document(&path);
            sources.push(passage.search_text());
        }
    }
    let known: Vec<&str> = sources.iter().map(String::as_str).collect();
    // Fixed sentences (refusals, smalltalk) cite nothing and state nothing.
    let missing = if answer.citations.is_empty() {
        Vec::new()
    } else {
        unsupported(&answer.answer, &known)
    };
    let flat = squeezed(&answer.answer);
    let contains = question.answers.iter().any(|wanted| flat.contains(&squeezed(wanted)));
    Ok(Judged {
        question,
        answer,
        ms,
        in_top3,
        cited_right,
        contains,
        missing,
    })
}

/// Without white space and separators of thousands, in lower case: the same amount in two spellings is the same.
pub(super) fn squeezed(text: &str) -> String {
    crate::understanding::normalise(text)
        .chars()
        .filter(|c| !c.is_whitespace() && *c != ',')
        .flat_map(char::to_lowercase)
        .collect()
}

fn line(judged: &Judged) -> Value {
    json!({
        "id": judged.question.id, "question": judged.question.question, "kind": judged.question.kind,
        "answerable": judged.question.answerable, "route": judged.answer.route, "confidence": judged.answer.confidence,
        "answer": judged.answer.answer, "citations": judged.answer.citations.iter().map(|c| &c.title).collect::<Vec<_>>(),
        "ms": judged.ms, "timings_ms": judged.answer.timings_ms, "source_in_top3": judged.in_top3, "cited_right": judged.cited_right,
        "contains_answer": judged.contains, "unsupported": judged.missing,
    })
}

fn report(judged: &[Judged], elapsed: Duration) -> Value {
    let share = |hits: usize, n: usize| hits as f64 / n.max(1) as f64;
    let answerable: Vec<&Judged> = judged.iter().filter(|j| j.question.answerable).collect();
    let unanswerable: Vec<&Judged> = judged.iter().filter(|j| !j.question.answerable).collect();
    let top3 = answerable.iter().filter(|j| j.in_top3).count();
    let refused = unanswerable.iter().filter(|j| j.refused()).count();
    // What is answered or stands in the places that are shown to choose from.
    let shown = |told: &dyn Fn(&Judged) -> bool| answerable.iter().filter(|j| told(j)).count();
    let (shown_source, shown_contains) = (shown(&|j| j.cited_right), shown(&|j| j.contains));
    let sent: Vec<&&Judged> = answerable.iter().filter(|j| !j.refused()).collect();
    let mut routes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for one in judged {
        *routes.entry(&one.answer.route).or_default() += 1;
        times.entry(&one.answer.route).or_default().push(one.ms);
    }
    let mut spread = |route: &str| {
        let values = times
            .entry(if route == "faq" { "faq" } else { "passages" })
            .or_default();
        json!({"p50": output::percentile(values, 0.5), "p99": output::percentile(values, 0.99), "n": values.len()})
    };
    let (faq_ms, passages_ms) = (spread("faq"), spread("passages"));
    let mut by_kind: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    for one in judged {
        let entry = by_kind.entry(&one.question.kind).or_default();
        entry.0 += 1;
        let good = if one.question.answerable {
            one.cited_right && !one.refused()
        } else {
            one.refused()
        };
        entry.1 += usize::from(good);
        entry.2 += usize::from(one.contains);
    }
    let errors: Vec<Value> = judged
        .iter()
        .filter(|j| {
            if j.question.answerable {
                !(j.contains && j.cited_right)
            } else {
                !j.refused()
            }
        })
        .take(20)
        .map(line)
        .collect();
    json!({
        "task": "kb", "n": judged.len(), "seconds": elapsed.as_secs_f64(),
        "ms_per_item": judged.iter().map(|j| j.ms).sum::<f64>() / judged.len().max(1) as f64,
        "heads": [],
        "answerable": answerable.len(), "unanswerable": unanswerable.len(),
        "source_top3": share(top3, answerable.len()), "source_top3_interval": output::interval(top3, answerable.len()),
        "refused_unanswerable": share(refused, unanswerable.len()), "refused_unanswerable_count": refused,
        "refused_unanswerable_interval": output::interval(refused, unanswerable.len()),
        "answered": share(sent.len(), answerable.len()),
        "contains": share(sent.iter().filter(|j| j.contains).count(), answerable.len()),
        "citation_right": share(sent.iter().filter(|j| j.cited_right).count(), sent.len()),
        "shown_source": share(shown_source, answerable.len()), "shown_contains": share(shown_contains, answerable.len()),
        "faq_ms": faq_ms, "passages_ms": passages_ms, "routes": routes,
        "unsupported_numbers": judged.iter().map(|j| j.missing.len()).sum::<usize>(),
        "by_kind": by_kind.into_iter().map(|(kind, (n, good, contains))| (kind.to_owned(), json!({"n": n, "right_source_or_refusal": good, "contains": contains}))).collect::<serde_json::Map<_, _>>(),
        "errors": errors,
    })
}

fn print_table(report: &Value) {
    for key in [
        "n",
        "answerable",
        "unanswerable",
        "source_top3",
        "source_top3_interval",
        "refused_unanswerable",
        "refused_unanswerable_count",
        "answered",
        "contains",
        "citation_right",
        "shown_source",
        "shown_contains",
        "faq_ms",
        "passages_ms",
        "routes",
        "unsupported_numbers",
        "by_kind",
        "seconds",
        "model",
        "machine",
    ] {
        println!("{key:24} {}", report[key]);
    }
    println!("\nworst:");
    for error in report["errors"].as_array().into_iter().flatten() {
        println!(
            "{} [{}] {} → {} {}",
            error["id"].as_str().unwrap_or(""),
            error["route"].as_str().unwrap_or(""),
            error["question"].as_str().unwrap_or(""),
            error["answer"].as_str().unwrap_or("").replace('\n', " "),
            error["citations"]
        );
    }
}
