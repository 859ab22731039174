//! `kefu eval documents`: real files of a help centre, imported as a company imports them, and questions about them: is
//! the right document found, by each stage of the search, and does the span that is cited hold the answer.

use super::base::Work;
use super::kb::{Answer, ask, squeezed};
use super::questions::Documents as Sources;
use super::retrieval::{lines, spread};
use super::stages::{self, Stages};
use crate::app::{App, Need};
use crate::cli::{Common, output};
use crate::domain::DocumentId;
use crate::retrieval::{FileOutcome, Found, Source};
use anyhow::{Context, ensure};
use clap::Args;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

/// Errors that are listed.
const LISTED: usize = 20;
/// Characters in a row that two texts have in common, for how much of one is in the other.
const GRAM: usize = 4;
/// How much of the answer must be in the span, or of the span in the answer.
const HELD: f64 = 0.5;

/// Ask about the documents of a directory, in a knowledge base of these alone
#[derive(Debug, Args)]
pub struct Documents {
    /// Directory of documents in any format that is imported
    #[arg(long, value_name = "DIR")]
    docs: PathBuf,
    /// Questions, one JSON object a line: `{"question", "doc", "answer"}`; `doc` is a path that ends as the document's
    /// does, `answer` (or `answers`, a list) may be missing
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,
    /// Import text documents without the headings that are one of the questions: these would be found by themselves
    #[arg(long)]
    hide_questions: bool,
    /// Ask so many of them, evenly spread over the file
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(alias = "query")]
    question: String,
    #[serde(alias = "document", alias = "source", alias = "path")]
    doc: String,
    #[serde(default, alias = "answer")]
    answers: Answers,
}

/// One answer or several, of which one is enough.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Answers {
    #[default]
    None,
    One(String),
    Several(Vec<String>),
}

impl Answers {
    fn all(&self) -> &[String] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(all) => all,
        }
    }
}

#[derive(Default)]
struct Spans {
    with_answer: usize,
    sent: usize,
    document_right: usize,
    held: usize,
}

impl Documents {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let began = Instant::now();
        let all: Vec<Asked> = lines(&self.queries)?;
        ensure!(!all.is_empty(), "{}: no questions", self.queries.display());
        let work = Work::new(None)?;
        let docs = if self.hide_questions {
            let hidden = work.path().join("docs");
            let questions = all.iter().map(|asked| squeezed(&asked.question)).collect();
            copy_without(&self.docs, &hidden, &questions)?;
            hidden
        } else {
            self.docs.clone()
        };
        let app = App::open(
            common.settings(None)?.with_embedded_database(),
            work.path(),
            &common.models,
            Need::Search,
        )
        .await?;
        let imported = app.ingester().import(&[docs], &(), &CancellationToken::new()).await?;
        let unread: Vec<Value> = (imported.files.iter())
            .filter_map(|file| match &file.outcome {
                FileOutcome::Failed { error } => Some(json!({"file": file.source, "error": error})),
                _ => None,
            })
            .collect();
        app.retriever.refresh().await?;
        let sources = Sources::of(app.store.as_ref()).await?;
        let queries = spread(all, self.limit);
        let server = app.serve_loopback().await?;
        let bar = if common.json {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(queries.len() as u64)
        };
        let (mut stages, mut spans, mut errors, mut not_first) = (Stages::default(), Spans::default(), Vec::new(), 0);
        for query in &queries {
            let place = |found: &Found| place(found, &query.doc, &sources);
            let (_, rank) = stages.ask(&app, &query.question, place).await?;
            let (answer, _) = ask(server.address, &query.question, Vec::new()).await?;
            let held = spans.judge(query, &answer, &sources);
            not_first += usize::from(rank != Some(1));
            if rank != Some(1) || !held {
                let quoted: Vec<&str> = answer.citations.iter().map(|cited| cited.quote.as_str()).collect();
                errors.push(json!({
                    "question": query.question, "doc": query.doc, "rank": rank, "route": answer.route, "quoted": quoted,
                }));
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        // Those that are not found at all come first.
        errors.sort_by_key(|error| error["rank"].as_u64().unwrap_or(0));
        let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
        let embedder = app.embedder.info();
        let report = json!({
            "task": "documents", "n": queries.len(), "documents": sources.len(), "unread": unread,
            "stages": stages.report(), "not_first": not_first,
            "answered": share(spans.sent, queries.len()), "citation_right": share(spans.document_right, spans.sent),
            "span_right": share(spans.held, spans.with_answer),
            "span_right_interval": output::interval(spans.held, spans.with_answer),
            "model": {"name": embedder.name, "sha256": embedder.sha256}, "heads": {"reader": app.reader.version()},
            "machine": output::machine(), "seconds": began.elapsed().as_secs_f64(),
            "ms_per_item": began.elapsed().as_secs_f64() * 1e3 / queries.len().max(1) as f64,
            "errors": errors.into_iter().take(LISTED).collect::<Vec<_>>(),
        });
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

/// Whether one path ends as the other does, whole parts of it.
fn names(doc: &str, source: &str) -> bool {
    let parts = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    let (doc, source) = (parts(doc), parts(source));
    doc.ends_with(&source) || source.ends_with(&doc) || doc.last() == source.last()
}

/// Where the document stands among those found, from 1; its best passage counts.
fn place(found: &Found, doc: &str, sources: &Sources) -> Option<usize> {
    let mut seen: Vec<DocumentId> = Vec::new();
    for hit in &found.hits {
        if let Source::Passage(passage) = &hit.source
            && !seen.contains(&passage.document_id)
        {
            seen.push(passage.document_id);
        }
    }
    let right = |id: &DocumentId| sources.source(*id).is_some_and(|source| names(doc, source));
    seen.iter().position(right).map(|at| at + 1)
}

impl Spans {
    /// Whether what was sent holds the answer, or there is nothing to hold.
    fn judge(&mut self, query: &Asked, answer: &Answer, sources: &Sources) -> bool {
        let wanted = query.answers.all();
        if answer.refused() {
            return wanted.is_empty();
        }
        self.sent += 1;
        let right = |id| {
            sources
                .source(DocumentId(id))
                .is_some_and(|source| names(&query.doc, source))
        };
        self.document_right += usize::from(answer.citations.iter().any(|cited| right(cited.document_id)));
        if wanted.is_empty() {
            return true;
        }
        self.with_answer += 1;
        let holds = |quote: &str| wanted.iter().any(|wanted| holds(quote, wanted));
        let held = answer.citations.iter().any(|cited| holds(&cited.quote));
        self.held += usize::from(held);
        held
    }
}

/// Whether the quotation has the answer: all of a short one; of a long one at least half of it, or nothing else.
fn holds(quote: &str, answer: &str) -> bool {
    let (quote, answer) = (squeezed(quote), squeezed(answer));
    if quote.contains(&answer) || (quote.chars().count() >= 3 * GRAM && answer.contains(&quote)) {
        return true;
    }
    let grams = |text: &str| -> HashSet<String> {
        let chars: Vec<char> = text.chars().filter(|c| c.is_alphanumeric()).collect();
        chars.windows(GRAM).map(|gram| gram.iter().collect()).collect()
    };
    let (quote, answer) = (grams(&quote), grams(&answer));
    let shared = quote.intersection(&answer).count() as f64;
    let share = |whole: usize| shared / whole.max(1) as f64;
    share(answer.len()) >= HELD || share(quote.len()) >= HELD
}

/// Copies a directory; lines of text documents that are headings and one of the questions stay behind.
fn copy_without(from: &Path, to: &Path, questions: &HashSet<String>) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        let copy = to.join(name);
        if path.is_dir() {
            copy_without(&path, &copy, questions)?;
            continue;
        }
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let is_markdown = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("md"));
        let written = match std::str::from_utf8(&bytes) {
            Ok(text) if is_markdown => {
                let kept = |line: &&str| !is_heading_of(line, questions);
                text.lines().filter(kept).collect::<Vec<_>>().join("\n").into_bytes()
            }
            _ => bytes,
        };
        std::fs::write(&copy, written).with_context(|| copy.display().to_string())?;
    }
    Ok(())
}

fn is_heading_of(line: &str, questions: &HashSet<String>) -> bool {
    let Some(heading) = line.trim().strip_prefix('#') else {
        return false;
    };
    let heading = heading.trim_start_matches('#');
    // `## Heading {#anchor}`, as converters write it.
    let heading = heading.split_once("{#").map_or(heading, |(heading, _)| heading);
    questions.contains(&squeezed(heading.trim()))
}

fn print_table(report: &Value) {
    let figure = |name: &str| report[name].as_f64().unwrap_or_default();
    println!(
        "{} questions, {} documents, {:.0} s",
        report["n"],
        report["documents"],
        figure("seconds")
    );
    stages::print(&report["stages"]);
    for name in ["answered", "citation_right", "span_right"] {
        println!("{name:<16} {:.3}", figure(name));
    }
    for file in report["unread"].as_array().into_iter().flatten() {
        println!("not read: {} {}", file["file"], file["error"]);
    }
    println!("\nworst:");
    for error in report["errors"].as_array().into_iter().flatten() {
        println!(
            "  {} [{} {}] {}",
            error["question"], error["rank"], error["route"], error["quoted"]
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_the_same_by_their_ends() {
        assert!(names("docs/a/fees.md", "kb/docs/a/fees.md"));
        assert!(names("fees.md", "docs/fees.md"));
        assert!(names("other/fees.md", "docs/fees.md"), "the file's name is enough");
        assert!(!names("docs/xfees.md", "docs/fees.md"));
    }

    #[test]
    fn a_span_holds_an_answer_if_one_is_in_the_other() {
        assert!(holds("普卡年费80元，金卡160元。", "80元"));
        assert!(!holds("普卡年费80元，金卡160元。", "600元"));
        let answer = "提交申请后三个工作日内审核，审核通过后会有短信通知，之后可以在门店领取卡片。";
        assert!(holds("审核通过后会有短信通知，之后可以在门店领取卡片。", answer));
        assert!(!holds("门店营业时间为九点到十七点，周末休息，节假日另行通知。", answer));
    }

    #[test]
    fn headings_that_are_questions_are_known() {
        let questions = HashSet::from([squeezed("域名多少钱？")]);
        assert!(is_heading_of("## 域名多少钱？ {#section_1}", &questions));
        assert!(!is_heading_of("域名多少钱？", &questions));
        assert!(!is_heading_of("## 域名", &questions));
    }

    #[test]
    fn one_answer_or_several() {
        let asked: Asked = serde_json::from_str(r#"{"query": "q", "doc": "d", "answers": ["a", "b"]}"#).unwrap();
        assert_eq!(asked.answers.all(), ["a", "b"]);
        let asked: Asked = serde_json::from_str(r#"{"question": "q", "doc": "d", "answer": "a"}"#).unwrap();
        assert_eq!(asked.answers.all(), ["a"]);
        let asked: Asked = serde_json::from_str(r#"{"question": "q", "doc": "d"}"#).unwrap();
        assert!(asked.answers.all().is_empty());
    }
}
