//! The rows of `kefu bench engine` that are compared with other programs: prefill and decode at exact lengths, and
//! several requests at once. All through the port [`LanguageModel`], so any adapter can be measured.

use super::super::output;
use crate::inference::{GenerateRequest, GenerationEvent, LanguageModel, Prompt, Sampling};
use anyhow::{Context, bail, ensure};
use clap::Args;
use futures::StreamExt;
use futures::future::try_join_all;
use rand::seq::IndexedRandom;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use std::time::Instant;

/// Tokens that are generated where the speed of decoding is measured.
const GENERATED: usize = 64;
/// Tokens of each prompt where several requests run at once.
const PARALLEL_PROMPT: usize = 512;
/// A model may end its answer before [`GENERATED`] tokens; below this many another prompt is tried.
const FEWEST: usize = GENERATED / 2;
/// Prompts that are tried for an answer that is long enough.
const ATTEMPTS: usize = 8;

/// Characters that random prompts are made of: common in Chinese, so that every piece is ordinary to a tokenizer.
const CHARACTERS: &str = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方\
                          后多定行学法所民得经十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使点从业本去把性好应开它\
                          合还因由其些然前外天政四日那社义事平形相全表间样与关各重新线内数正心反你明看原又么利比或但质气第向道命此变条";

/// Which lengths to measure; without any of these the usual rows are measured.
#[derive(Clone, Debug, Default, Args)]
pub struct Lengths {
    /// Measure the engine's prefill of prompts of exactly this many tokens, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "TOKENS")]
    prefill: Vec<usize>,
    /// Measure the engine's decoding of 64 tokens after this many, separated by commas
    #[arg(long, value_delimiter = ',', value_name = "TOKENS")]
    depth: Vec<usize>,
    /// Measure the engine with this many requests at once (512 tokens in, 64 out), separated by commas
    #[arg(long, value_delimiter = ',', value_name = "REQUESTS")]
    parallel: Vec<usize>,
}

impl Lengths {
    /// Whether any row was asked for.
    pub fn any(&self) -> bool {
        !(self.prefill.is_empty() && self.depth.is_empty() && self.parallel.is_empty())
    }
}

/// What one generation did. Times in seconds from `began`.
struct Timing {
    prompt_tokens: usize,
    cached_tokens: usize,
    completion_tokens: usize,
    /// The prompt was read.
    read: f64,
    /// The first words came.
    first: f64,
    end: f64,
}

/// Measures what `lengths` names, `runs` times each, and appends the rows.
///
/// # Errors
/// Lengths that the model's context does not hold, and what the model reports.
pub async fn measure(
    model: &dyn LanguageModel,
    lengths: &Lengths,
    runs: usize,
    rows: &mut Vec<Value>,
) -> anyhow::Result<()> {
    let context = model.info().context_tokens;
    let longest = [
        lengths.prefill.iter().max().map(|n| n + 1),
        lengths.depth.iter().max().map(|n| n + GENERATED),
        lengths.parallel.iter().max().map(|_| PARALLEL_PROMPT + GENERATED),
    ];
    if let Some(longest) = longest.into_iter().flatten().max() {
        ensure!(
            longest < context,
            "{longest} tokens do not fit into the context of {context}: raise [inference] context_tokens"
        );
    }
    ensure!(
        lengths.parallel.iter().all(|&n| (1..=1024).contains(&n)),
        "--parallel takes numbers from 1 to 1024"
    );
    let mut prompts = Prompts::new(model);
    // Pages are touched and threads started before anything is timed.
    generate(model, prompts.next(64)?, 4, Instant::now()).await?;
    for &tokens in &lengths.prefill {
        prefill(model, &mut prompts, tokens.max(1), runs, rows).await?;
    }
    for &tokens in &lengths.depth {
        decode(model, &mut prompts, tokens, runs, rows).await?;
    }
    for &requests in &lengths.parallel {
        parallel(model, &mut prompts, requests, runs, rows).await?;
    }
    Ok(())
}

async fn prefill(
    model: &dyn LanguageModel,
    prompts: &mut Prompts<'_>,
    tokens: usize,
    runs: usize,
    rows: &mut Vec<Value>,
) -> anyhow::Result<()> {
    let mut rates = Vec::new();
    let (mut read, mut cached) = (0, 0);
    for _ in 0..runs {
        let timing = generate(model, prompts.next(tokens)?, 1, Instant::now()).await?;
        rates.push((timing.prompt_tokens - timing.cached_tokens) as f64 / timing.read);
        (read, cached) = (timing.prompt_tokens, cached.max(timing.cached_tokens));
    }
    let name = format!("{}: prefill of {tokens} tokens", model.info().name);
    let facts = json!({"kind": "prefill", "tokens": tokens, "prompt_tokens": read, "cached_tokens": cached});
    rows.push(row(&name, rates, "tokens/s", facts));
    Ok(())
}

async fn decode(
    model: &dyn LanguageModel,
    prompts: &mut Prompts<'_>,
    depth: usize,
    runs: usize,
    rows: &mut Vec<Value>,
) -> anyhow::Result<()> {
    let mut rates = Vec::new();
    let mut shortest = GENERATED;
    for _ in 0..runs {
        let mut attempts = 0;
        let timing = loop {
            // Nothing can be continued without a token: depth 0 means one.
            let timing = generate(model, prompts.next(depth.max(1))?, GENERATED, Instant::now()).await?;
            attempts += 1;
            if timing.completion_tokens >= FEWEST {
                break timing;
            }
            ensure!(attempts < ATTEMPTS, "the model ends its answers too early to be timed");
        };
        // The first token comes from the last step of the prefill.
        rates.push((timing.completion_tokens - 1) as f64 / (timing.end - timing.read));
        shortest = shortest.min(timing.completion_tokens);
    }
    let name = format!("{}: decode after {depth} tokens", model.info().name);
    let facts = json!({"kind": "decode", "depth": depth, "fewest_tokens_generated": shortest});
    rows.push(row(&name, rates, "tokens/s", facts));
    Ok(())
}

async fn parallel(
    model: &dyn LanguageModel,
    prompts: &mut Prompts<'_>,
    requests: usize,
    runs: usize,
    rows: &mut Vec<Value>,
) -> anyhow::Result<()> {
    let (mut generated, mut all, mut firsts, mut tokens) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..runs {
        let texts = (0..requests)
            .map(|_| prompts.next(PARALLEL_PROMPT))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let began = Instant::now();
        let timings = try_join_all(texts.into_iter().map(|text| generate(model, text, GENERATED, began))).await?;
        let seconds = timings.iter().map(|timing| timing.end).fold(0.0, f64::max);
        let out: usize = timings.iter().map(|timing| timing.completion_tokens).sum();
        let read: usize = timings.iter().map(|t| t.prompt_tokens - t.cached_tokens).sum();
        tokens = out;
        generated.push(out as f64 / seconds);
        all.push((read + out) as f64 / seconds);
        let mut times: Vec<f64> = timings.iter().map(|timing| timing.first * 1e3).collect();
        firsts.push(output::percentile(&mut times, 0.5));
    }
    let name = format!(
        "{}: {requests} at once, {PARALLEL_PROMPT} tokens in, {GENERATED} out",
        model.info().name
    );
    let facts = |what: &str| json!({"kind": what, "parallel": requests, "tokens_generated": tokens});
    rows.push(row(
        &format!("{name}: generated"),
        generated,
        "tokens/s",
        facts("parallel_generated"),
    ));
    rows.push(row(
        &format!("{name}: read and generated"),
        all,
        "tokens/s",
        facts("parallel_all"),
    ));
    rows.push(row(
        &format!("{name}: first token (p50)"),
        firsts,
        "ms",
        facts("parallel_first"),
    ));
    Ok(())
}

/// A row like the others, with each run and the facts beside the median.
fn row(name: &str, mut values: Vec<f64>, unit: &str, facts: Value) -> Value {
    let each = values.clone();
    let mut row = json!({
        "name": name,
        "value": output::percentile(&mut values, 0.5),
        "unit": unit,
        "runs": each.len(),
        "values": each,
    });
    if let (Some(row), Value::Object(facts)) = (row.as_object_mut(), facts) {
        row.extend(facts);
    }
    row
}

async fn generate(
    model: &dyn LanguageModel,
    text: String,
    max_tokens: usize,
    began: Instant,
) -> anyhow::Result<Timing> {
    let mut stream = model.generate(GenerateRequest {
        prompt: Prompt::Text(text),
        sampling: Sampling::greedy(),
        max_tokens,
        stop: Vec::new(),
        top_logprobs: None,
        deadline: None,
    })?;
    let (mut read, mut first) = (None, None);
    while let Some(event) = stream.next().await {
        let event = event?;
        let now = began.elapsed().as_secs_f64();
        match event {
            GenerationEvent::Queued { .. } => {}
            GenerationEvent::Started { .. } => read = Some(now),
            GenerationEvent::Text { .. } => first = first.or(Some(now)),
            GenerationEvent::Done { usage, .. } => {
                return Ok(Timing {
                    prompt_tokens: usage.prompt_tokens,
                    cached_tokens: usage.cached_tokens,
                    completion_tokens: usage.completion_tokens,
                    read: read.context("the model did not say when it had read the prompt")?,
                    first: first.unwrap_or(now),
                    end: now,
                });
            }
        }
    }
    bail!("the generation ended without a result")
}

/// Random texts of a wanted number of tokens; no two begin alike, so that nothing is taken from a cache of prefixes.
struct Prompts<'a> {
    model: &'a dyn LanguageModel,
    characters: Vec<char>,
    random: StdRng,
}

impl<'a> Prompts<'a> {
    fn new(model: &'a dyn LanguageModel) -> Self {
        Self {
            model,
            characters: CHARACTERS.chars().filter(|c| !c.is_whitespace()).collect(),
            // Every run makes the same texts, so that two programs and two versions can be compared.
            random: StdRng::seed_from_u64(20_240_601),
        }
    }

    /// The longest random text of at most `tokens` tokens.
    fn next(&mut self, tokens: usize) -> anyhow::Result<String> {
        let mut length = tokens;
        let mut text = Vec::new();
        loop {
            while text.len() < length {
                text.extend(self.characters.choose(&mut self.random));
            }
            if self.count(&text)? >= tokens {
                break;
            }
            ensure!(
                length <= 64 * tokens,
                "the tokenizer makes too few tokens of ordinary text"
            );
            length += length / 4 + 1;
        }
        // Tokens grow with the text, but for joints: the longest beginning that fits is found by halving.
        let (mut fits, mut over) = (1, text.len() + 1);
        while over - fits > 1 {
            let middle = usize::midpoint(fits, over);
            if self.count(&text[..middle])? <= tokens {
                fits = middle;
            } else {
                over = middle;
            }
        }
        Ok(text[..fits].iter().collect())
    }

    fn count(&self, text: &[char]) -> anyhow::Result<usize> {
        Ok(self.model.count_tokens(&text.iter().collect::<String>())?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Lengths, Prompts, measure};
    use crate::inference::{
        FinishReason, GenerateRequest, GenerationEvent, GenerationStream, InferenceError, LanguageModel, ModelInfo,
        Prompt, Usage,
    };
    use serde_json::Value;
    use std::sync::Mutex;
    use tokio::sync::mpsc;

    /// Two tokens for each three characters, and an answer of `answer` tokens; keeps the prompts.
    struct Model {
        info: ModelInfo,
        answer: usize,
        seen: Mutex<Vec<String>>,
    }

    fn model(answer: usize) -> Model {
        let info = ModelInfo {
            name: "m".to_owned(),
            architecture: "test".to_owned(),
            context_tokens: 4096,
            sha256: String::new(),
        };
        Model {
            info,
            answer,
            seen: Mutex::new(Vec::new()),
        }
    }

    impl LanguageModel for Model {
        fn info(&self) -> &ModelInfo {
            &self.info
        }

        fn count_tokens(&self, text: &str) -> Result<usize, InferenceError> {
            Ok((2 * text.chars().count()).div_ceil(3))
        }

        fn generate(&self, request: GenerateRequest) -> Result<GenerationStream, InferenceError> {
            let Prompt::Text(text) = request.prompt else { panic!() };
            let prompt_tokens = self.count_tokens(&text)?;
            self.seen.lock().unwrap().push(text);
            let (sender, receiver) = mpsc::channel(8);
            let usage = Usage {
                prompt_tokens,
                cached_tokens: 0,
                completion_tokens: self.answer.min(request.max_tokens),
            };
            let events = [
                GenerationEvent::Started {
                    prompt_tokens,
                    cached_tokens: 0,
                },
                GenerationEvent::Text {
                    text: "x".to_owned(),
                    logprobs: Vec::new(),
                },
                GenerationEvent::Done {
                    reason: FinishReason::Length,
                    usage,
                },
            ];
            for event in events {
                sender.try_send(Ok(event)).unwrap();
            }
            Ok(GenerationStream::new(receiver))
        }
    }

    #[test]
    fn prompts_have_the_length_and_begin_differently() {
        let model = model(64);
        let mut prompts = Prompts::new(&model);
        let texts: Vec<String> = (0..20).map(|_| prompts.next(128).unwrap()).collect();
        let begins: std::collections::HashSet<String> =
            texts.iter().map(|text| text.chars().take(8).collect()).collect();
        assert_eq!(begins.len(), texts.len());
        for text in &texts {
            assert_eq!(model.count_tokens(text).unwrap(), 128);
        }
    }

    #[tokio::test]
    async fn every_row_that_was_asked_for_is_there() {
        let model = model(64);
        let lengths = Lengths {
            prefill: vec![128, 512],
            depth: vec![0, 1024],
            parallel: vec![1, 4],
        };
        let mut rows: Vec<Value> = Vec::new();
        measure(&model, &lengths, 2, &mut rows).await.unwrap();
        let kinds: Vec<&str> = rows.iter().map(|row| row["kind"].as_str().unwrap()).collect();
        let parallel = ["parallel_generated", "parallel_all", "parallel_first"];
        let mut expected = vec!["prefill", "prefill", "decode", "decode"];
        expected.extend(parallel);
        expected.extend(parallel);
        assert_eq!(kinds, expected);
        assert_eq!((&rows[1]["prompt_tokens"], &rows[1]["runs"]), (&512.into(), &2.into()));
        assert_eq!(rows[7]["tokens_generated"], 4 * 64);
        // One to warm up, two runs of two prefills and two decodes, two runs of one and of four.
        assert_eq!(model.seen.lock().unwrap().len(), 1 + 8 + 2 + 8);
    }

    #[tokio::test]
    async fn what_cannot_be_measured_is_refused() {
        let too_long = Lengths {
            prefill: vec![4096],
            ..Lengths::default()
        };
        let error = measure(&model(64), &too_long, 1, &mut Vec::new()).await.unwrap_err();
        assert!(error.to_string().contains("context_tokens"), "{error}");
        let decode = Lengths {
            depth: vec![8],
            ..Lengths::default()
        };
        let error = measure(&model(2), &decode, 1, &mut Vec::new()).await.unwrap_err();
        assert!(error.to_string().contains("too early"), "{error}");
    }
}
