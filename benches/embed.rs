//! The embedding model at its real shapes: questions of 14 and 40 tokens, passages of 150.
//!
//! `KEFU_TEST_MODELS=DIR cargo bench --bench embed` (the model file in DIR, else in `models/`).
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kefu::config::{Overrides, load};
use kefu::inference::E5Embedder;
use kefu::inference::{Embedder, TextKind};
use std::hint::black_box;
use std::path::PathBuf;

const SENTENCE: &str = "自签收商品之日起七天内，商品完好的前提下，买家可以申请退货。质量问题的退货运费由卖家承担。";

/// The longest beginning of repeated sentences that has at most `tokens` tokens.
fn text(embedder: &E5Embedder, kind: TextKind, tokens: usize) -> String {
    let mut text = String::new();
    for c in SENTENCE.chars().cycle() {
        text.push(c);
        if embedder.count_tokens(kind, &text).unwrap() > tokens {
            text.pop();
            break;
        }
    }
    assert!(embedder.count_tokens(kind, &text).unwrap().abs_diff(tokens) <= 1);
    text
}

fn embed(criterion: &mut Criterion) {
    let dir = std::env::var_os("KEFU_TEST_MODELS").map_or_else(|| PathBuf::from("models"), PathBuf::from);
    let mut config = load(&Overrides::default()).unwrap().inference;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for threads in [1, 2] {
        config.threads = threads;
        let embedder = E5Embedder::load(&dir.join("e5-small-q4.bin"), "multilingual-e5-small", "", &config).unwrap();
        let mut group = criterion.benchmark_group(format!("embed/{threads}-threads"));
        for tokens in [14, 40] {
            let text = text(&embedder, TextKind::Query, tokens);
            group.bench_function(format!("query-{tokens}-tokens"), |bencher| {
                bencher.iter(|| {
                    let texts = vec![black_box(text.clone())];
                    runtime.block_on(embedder.embed(TextKind::Query, texts)).unwrap()
                });
            });
        }
        let passage = text(&embedder, TextKind::Passage, 150);
        let passages = vec![passage; 64];
        group
            .sample_size(10)
            .throughput(Throughput::Elements(passages.len() as u64));
        group.bench_function("64-passages-of-150-tokens", |bencher| {
            bencher.iter(|| {
                runtime
                    .block_on(embedder.embed(TextKind::Passage, black_box(passages.clone())))
                    .unwrap()
            });
        });
        group.finish();
    }
}

fn tokenize(criterion: &mut Criterion) {
    let dir = std::env::var_os("KEFU_TEST_MODELS").map_or_else(|| PathBuf::from("models"), PathBuf::from);
    let config = load(&Overrides::default()).unwrap().inference;
    let embedder = E5Embedder::load(&dir.join("e5-small-q4.bin"), "multilingual-e5-small", "", &config).unwrap();
    let passage = text(&embedder, TextKind::Passage, 150);
    criterion.bench_function("embed/tokenize-150-tokens", |bencher| {
        bencher.iter(|| embedder.count_tokens(TextKind::Passage, black_box(&passage)).unwrap());
    });
}

criterion_group!(benches, embed, tokenize);
criterion_main!(benches);
