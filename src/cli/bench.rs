//! `kefu bench`: speed on this machine, with the machine named. For figures to compare, see `benches/`.

mod compare;
mod graph;
mod speed;

use super::{Common, output};
use crate::app::{self, App, Need};
use crate::config::{self, Config, InferenceConfig};
use crate::dialogue::{Ask, ReplyEvent};
use crate::inference::{
    ChatMessage, ChatRole, Embedder, GenerateRequest, GenerationEvent, LanguageModel, Prompt, TextKind,
};
use crate::retrieval::{Query, SearchMode};
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use futures::StreamExt;
use serde_json::{Value, json};
use std::time::Instant;

/// Measure speed on this machine
#[derive(Debug, Args)]
pub struct Bench {
    /// What to measure; all of it without a name
    #[arg(value_enum)]
    what: Vec<What>,
    /// Repetitions; the median is reported
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Let the engine guess what follows; without it, so that random prompts, whose answers repeat themselves, do not
    /// look faster than real ones
    #[arg(long)]
    speculation: bool,
    /// Let the language model compute here instead of where the settings say: cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE")]
    device: Option<config::Device>,
    /// Measure how far the language model's log-probabilities on its device are from those on the processor
    #[arg(long)]
    compare: bool,
    #[command(flatten)]
    lengths: speed::Lengths,
    #[command(flatten)]
    sizes: graph::Sizes,
}

/// The subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Tokenizer, prefill and decode of the language model
    Engine,
    /// The embedding model
    Embed,
    /// The index of the installed knowledge base
    Index,
    /// A question end to end
    Ask,
}

/// A text of ordinary Chinese, repeated to the length that is needed.
const TEXT: &str = "持卡人应在账单日后的到期还款日前全额还款，逾期将按日计收利息，并可能影响个人征信记录。";

impl Bench {
    /// The graph over synthetic vectors: needs neither models nor a knowledge base.
    fn graph(&self, common: &Common) -> anyhow::Result<()> {
        let mut rows = Vec::new();
        self.sizes.measure(graph::threads(), &mut rows)?;
        if common.json {
            output::print_json(&json!({"machine": output::machine(), "rows": rows}));
        } else {
            rows.iter().for_each(graph::print);
        }
        Ok(())
    }

    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        if (self.lengths.any() || self.compare) && self.what != [What::Engine] {
            bail!("--prefill, --depth, --parallel, --rag and --compare belong to `kefu bench engine`");
        }
        if self.sizes.any() {
            if self.what != [What::Index] {
                bail!("--vectors belongs to `kefu bench index`");
            }
            return self.graph(common);
        }
        let wants = |what: What| self.what.is_empty() || self.what.contains(&what);
        let need = if wants(What::Engine) || wants(What::Ask) {
            Need::Answers
        } else {
            Need::Search
        };
        let mut settings = common.settings(None)?;
        settings.inference.speculation = self.speculation;
        if let Some(device) = self.device {
            settings.inference.device = device.to_string();
        }
        let on_processor = Config {
            inference: InferenceConfig {
                device: config::Device::Cpu.to_string(),
                ..settings.inference.clone()
            },
            ..settings.clone()
        };
        let app = App::open(settings, &common.data, &common.models, need).await?;
        let runs = self.runs.max(1);
        let mut rows = Vec::new();
        if wants(What::Engine) {
            let model = app.assistant.model().context("no language model is loaded")?;
            if self.lengths.any() {
                speed::measure(model.as_ref(), &self.lengths, runs, &mut rows).await?;
            }
            if self.compare {
                let reference = app::load_model(&on_processor, &common.models).await?;
                compare::measure(model.as_ref(), reference.as_ref(), &mut rows).await?;
            }
            if !self.lengths.any() && !self.compare {
                engine(model.as_ref(), runs, &mut rows).await?;
            }
        }
        if wants(What::Embed) {
            embed(app.embedder.as_ref(), runs, &mut rows).await?;
        }
        if wants(What::Index) {
            index(&app, runs, &mut rows).await?;
        }
        if wants(What::Ask) {
            ask(&app, runs, &mut rows).await?;
        }
        let machine = output::machine();
        if common.json {
            output::print_json(&json!({"machine": machine, "rows": rows}));
        } else {
            println!(
                "{} · {} cores · {} · {}",
                machine["processor"].as_str().unwrap_or("?"),
                machine["cores"],
                machine["extensions"],
                machine["memory"].as_str().unwrap_or("?")
            );
            for row in &rows {
                println!(
                    "{:<44} {:>10.2} {}",
                    row["name"].as_str().unwrap_or(""),
                    row["value"].as_f64().unwrap_or(0.0),
                    row["unit"].as_str().unwrap_or("")
                );
            }
        }
        app.close().await;
        Ok(())
    }
}

fn row(rows: &mut Vec<Value>, name: impl Into<String>, mut values: Vec<f64>, unit: &str) {
    rows.push(
        json!({"name": name.into(), "value": output::percentile(&mut values, 0.5), "unit": unit, "runs": values.len()}),
    );
}

async fn engine(model: &dyn LanguageModel, runs: usize, rows: &mut Vec<Value>) -> anyhow::Result<()> {
    let name = &model.info().name;
    let long = TEXT.repeat(200);
    let mut rates = Vec::new();
    for _ in 0..runs {
        let began = Instant::now();
        let tokens = model.count_tokens(&long)?;
        rates.push(tokens as f64 / began.elapsed().as_secs_f64());
    }
    row(rows, format!("{name}: tokenise"), rates, "tokens/s");
    for length in [128_usize, 512] {
        let mut prefill = Vec::new();
        let mut decode = Vec::new();
        for run in 0..runs {
            // Another first word each time, so that nothing is taken from the prefix cache.
            let mut content = format!("{run}-{length} ");
            while model.count_tokens(&content)? < length {
                content.push_str(TEXT);
            }
            let (prompt_tokens, first, generated, total) = generate(model, content).await?;
            prefill.push(prompt_tokens as f64 / first);
            if generated > 1 {
                decode.push((generated - 1) as f64 / (total - first));
            }
        }
        row(
            rows,
            format!("{name}: prefill, about {length} tokens"),
            prefill,
            "tokens/s",
        );
        row(
            rows,
            format!("{name}: decode after about {length} tokens"),
            decode,
            "tokens/s",
        );
    }
    Ok(())
}

/// Generates up to 32 tokens; returns prompt tokens, seconds to the first, tokens generated, seconds in all.
async fn generate(model: &dyn LanguageModel, content: String) -> anyhow::Result<(usize, f64, usize, f64)> {
    let mut request = GenerateRequest::chat(vec![ChatMessage::new(ChatRole::User, content)], 32);
    if let Prompt::Chat(messages) = &mut request.prompt {
        messages.insert(0, ChatMessage::new(ChatRole::System, "继续写。"));
    }
    // With log-probabilities every token is reported by itself, so the first one can be timed.
    request.top_logprobs = Some(0);
    let began = Instant::now();
    let mut stream = model.generate(request)?;
    let (mut prompt, mut first) = (0, 0.0);
    while let Some(event) = stream.next().await {
        match event? {
            GenerationEvent::Text { .. } if first == 0.0 => first = began.elapsed().as_secs_f64(),
            GenerationEvent::Done { usage, .. } => {
                prompt = usage.prompt_tokens - usage.cached_tokens;
                let total = began.elapsed().as_secs_f64();
                return Ok((
                    prompt,
                    if first == 0.0 { total } else { first },
                    usage.completion_tokens,
                    total,
                ));
            }
            _ => {}
        }
    }
    bail!("the generation of {prompt} tokens ended without a result")
}

async fn embed(embedder: &dyn Embedder, runs: usize, rows: &mut Vec<Value>) -> anyhow::Result<()> {
    let name = &embedder.info().name;
    for (label, text) in [("short query", "信用卡丢了怎么挂失？"), ("long query", TEXT)] {
        let tokens = embedder.count_tokens(TextKind::Query, text)?;
        let mut times = Vec::new();
        for _ in 0..runs.max(20) {
            let began = Instant::now();
            embedder.embed(TextKind::Query, vec![text.to_owned()]).await?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
        }
        row(rows, format!("{name}: {label} of {tokens} tokens"), times, "ms");
    }
    for tokens in [139, 180] {
        let passage = of_length(embedder, tokens)?;
        let tokens = embedder.count_tokens(TextKind::Passage, &passage)?;
        let mut rates = Vec::new();
        for _ in 0..runs {
            let began = Instant::now();
            embedder.embed(TextKind::Passage, vec![passage.clone(); 32]).await?;
            rates.push(32.0 / began.elapsed().as_secs_f64());
        }
        row(
            rows,
            format!("{name}: passages of {tokens} tokens"),
            rates,
            "passages/s",
        );
    }
    Ok(())
}

/// A passage of so many tokens, or one less where a character has two.
fn of_length(embedder: &dyn Embedder, tokens: usize) -> anyhow::Result<String> {
    let mut passage = String::new();
    for character in TEXT.chars().cycle() {
        passage.push(character);
        if embedder.count_tokens(TextKind::Passage, &passage)? > tokens {
            passage.pop();
            break;
        }
    }
    Ok(passage)
}

const QUESTIONS: [&str; 4] = [
    "信用卡丢了怎么挂失",
    "跨行转账要多久到账",
    "空调安装怎么收费",
    "how do I return an item",
];

async fn index(app: &App, runs: usize, rows: &mut Vec<Value>) -> anyhow::Result<()> {
    let status = app.retriever.status();
    for mode in [SearchMode::Lexical, SearchMode::Dense, SearchMode::Hybrid] {
        let mut times = Vec::new();
        for _ in 0..runs {
            for text in QUESTIONS {
                let query = Query {
                    text: text.to_owned(),
                    mode,
                    top_k: 8,
                    faq_top_k: 5,
                    viewer: app.viewer(),
                };
                times.push(app.retriever.search(&query).await?.search_ms);
            }
        }
        let size = status.passages;
        row(
            rows,
            format!("search {mode:?} over {size} passages, without embedding").to_lowercase(),
            times,
            "ms",
        );
    }
    Ok(())
}

async fn ask(app: &App, runs: usize, rows: &mut Vec<Value>) -> anyhow::Result<()> {
    let mut by_route: std::collections::BTreeMap<&str, Vec<f64>> = std::collections::BTreeMap::new();
    for run in 0..runs {
        for text in QUESTIONS {
            // A word that changes keeps caches out of the measurement.
            let question = format!("{text} {run}");
            let mut events = app.assistant.reply(Ask::new(question, app.viewer()))?;
            let mut route = "error";
            while let Some(event) = events.next().await {
                match event {
                    ReplyEvent::Route { route: by, .. } => route = by.name(),
                    ReplyEvent::Done(done) => by_route.entry(route).or_default().push(done.timings.total as f64),
                    _ => {}
                }
            }
        }
    }
    for (route, times) in by_route {
        row(rows, format!("ask, route {route}"), times, "ms");
    }
    Ok(())
}
