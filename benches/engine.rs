//! Tokenise, prefill and decode with the models under `models/` (or `KEFU_TEST_MODELS`).

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::StreamExt;
use kefu::config::{Overrides, load};
use kefu::inference::{GenerateRequest, GenerationEvent, LanguageModel, Prompt, load_language_model};
use std::path::PathBuf;
use std::time::{Duration, Instant};

const TEXT: &str = "持卡人应在账单日后的到期还款日前全额还款，逾期将按日计收利息，并可能影响个人征信记录。";

fn model() -> impl LanguageModel {
    let directory = std::env::var_os("KEFU_TEST_MODELS").map_or_else(|| PathBuf::from("models"), PathBuf::from);
    let path = directory.join("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf");
    let settings = load(&Overrides::default()).expect("the defaults are valid").inference;
    load_language_model(&path, "qwen2.5-coder-0.5b-instruct", "", &settings)
        .expect("run `kefu models pull qwen2.5-coder-0.5b-instruct` first")
}

/// Seconds to the first token and between the first and the last.
fn generate(model: &dyn LanguageModel, text: String, tokens: usize) -> (Duration, Duration) {
    futures::executor::block_on(async {
        let request = GenerateRequest {
            prompt: Prompt::Text(text),
            top_logprobs: Some(0),
            ..GenerateRequest::chat(Vec::new(), tokens)
        };
        let began = Instant::now();
        let mut first = None;
        let mut stream = model.generate(request).expect("the queue is empty");
        while let Some(event) = stream.next().await {
            match event.expect("the generation goes through") {
                GenerationEvent::Text { .. } => _ = first.get_or_insert_with(|| began.elapsed()),
                GenerationEvent::Done { .. } => break,
                _ => {}
            }
        }
        let first = first.unwrap_or_else(|| began.elapsed());
        (first, began.elapsed().saturating_sub(first))
    })
}

fn engine(c: &mut Criterion) {
    let model = model();
    let text = TEXT.repeat(50);
    let tokens = model.count_tokens(&text).expect("valid text");
    let mut group = c.benchmark_group("engine");
    group.throughput(Throughput::Elements(tokens as u64));
    group.bench_function("tokenise", |b| b.iter(|| model.count_tokens(&text)));
    group.sample_size(10).measurement_time(Duration::from_secs(20));
    let mut run = 0;
    for length in [128_usize, 512] {
        let repeats = length * 50 / tokens + 1;
        group.throughput(Throughput::Elements(length as u64));
        group.bench_with_input(BenchmarkId::new("prefill", length), &repeats, |b, repeats| {
            b.iter_custom(|n| {
                (0..n)
                    .map(|_| {
                        run += 1;
                        // Another first word each time: nothing is taken from the prefix cache.
                        generate(&model, format!("{run}{}", TEXT.repeat(*repeats)), 1).0
                    })
                    .sum()
            });
        });
    }
    group.throughput(Throughput::Elements(31));
    group.bench_function("decode 31 tokens", |b| {
        b.iter_custom(|n| {
            (0..n)
                .map(|_| {
                    run += 1;
                    generate(&model, format!("{run}{TEXT}"), 32).1
                })
                .sum()
        });
    });
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
