//! Real language models against golden logits of llama.cpp on the same files.
//!
//! Both round activations to 8 bits. The fixture says how far llama.cpp itself is from an `f32` forward pass over the same
//! weights (`f32`), and that is the measure of what may differ. Both decoders are held to it: ours, and the one for devices,
//! on the processor unless `KEFU_TEST_DEVICE` names a graphics card (in a program that was built with CUDA).

#![allow(clippy::unwrap_used)]

use candle_core::Device;
use kefu::inference::gguf::Gguf;
use kefu::inference::kv_cache::KvCache;
use kefu::inference::models::{self, CausalModel, Rows, Span};
use kefu::inference::{Precision, device};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
struct Golden {
    tokens: Vec<u32>,
    /// Position to the 20 largest logits, as (token, logit).
    top20: BTreeMap<usize, Vec<(usize, f32)>>,
    argmax: Vec<usize>,
    /// Largest less second largest logit.
    gap: Vec<f32>,
    greedy: Vec<Greedy>,
    f32: Deviation,
}

#[derive(Deserialize)]
struct Greedy {
    id: usize,
    gap: f32,
}

#[derive(Deserialize)]
struct Deviation {
    max_diff: f32,
    max_diff_of_argmax_logit: f32,
}

fn model_file(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = std::env::var_os("KEFU_TEST_MODELS").map_or_else(|| root.join("models"), PathBuf::from);
    let path = folder.join(name);
    assert!(path.is_file(), "{} is not there: run scripts/test.sh", path.display());
    path
}

fn golden(model: &str) -> BTreeMap<String, Golden> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/golden_real.json");
    let mut all: BTreeMap<String, BTreeMap<String, Golden>> =
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    all.remove(model).unwrap()
}

fn argmax(row: &[f32]) -> usize {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap()
}

fn pass(model: &mut dyn CausalModel, tokens: &[u32], cache: &mut KvCache, rows: Rows) -> Vec<f32> {
    model
        .forward(&mut [Span {
            tokens,
            cache,
            places: None,
            rows,
        }])
        .unwrap()
}

/// The logits of the prompt: near the reference where it reports them, and the same best token except in near ties.
fn compare_prompt(model: &mut dyn CausalModel, prompt: &str, golden: &Golden) {
    let mut cache = model.new_cache(golden.tokens.len()).unwrap();
    let logits = pass(model, &golden.tokens, &mut cache, Rows::All);
    let rows: Vec<&[f32]> = logits.chunks(model.vocabulary()).collect();
    assert_eq!(rows.len(), golden.argmax.len());
    let mut worst = 0f32;
    for (&position, top) in &golden.top20 {
        for &(token, want) in top {
            worst = worst.max((rows[position][token] - want).abs());
        }
    }
    assert!(
        worst < golden.f32.max_diff + 0.05,
        "{prompt}: a top logit is {worst} off"
    );
    // The best and the second best may each be off by as much as the reference's best is.
    let tie = 2.0 * golden.f32.max_diff_of_argmax_logit;
    let mut equal = 0;
    for (position, row) in rows.iter().enumerate() {
        let same = argmax(row) == golden.argmax[position];
        let gap = golden.gap[position];
        assert!(
            same || gap < tie,
            "{prompt} at {position}: another best token, {gap} ahead"
        );
        equal += usize::from(same);
    }
    assert!(
        equal * 10 >= rows.len() * 9,
        "{prompt}: {equal} of {} best tokens",
        rows.len()
    );
    println!(
        "{prompt}: top logits within {worst:.3}, {equal} of {} best tokens",
        rows.len()
    );
}

/// The greedy continuation is the reference's, token by token, until the reference itself nearly ties.
fn compare_greedy(model: &mut dyn CausalModel, prompt: &str, golden: &Golden) {
    let tie = 2.0 * golden.f32.max_diff_of_argmax_logit;
    let mut cache = model.new_cache(golden.tokens.len() + golden.greedy.len()).unwrap();
    let mut row = pass(model, &golden.tokens, &mut cache, Rows::Last);
    for (step, want) in golden.greedy.iter().enumerate() {
        let got = argmax(&row);
        if got != want.id {
            assert!(
                want.gap < tie,
                "{prompt} step {step}: token {got} for {}, {} ahead",
                want.id,
                want.gap
            );
            println!("{prompt}: greedy leaves the reference at a near tie, step {step}");
            return;
        }
        row = pass(model, &[got as u32], &mut cache, Rows::Last);
    }
    println!("{prompt}: greedy equal for {} tokens", golden.greedy.len());
}

fn compare(file: &str, name: &str) {
    let gguf = Gguf::open(model_file(file)).unwrap();
    let mut model = models::load(&gguf, 512, Precision::AsStored).unwrap();
    for (prompt, golden) in golden(name) {
        compare_prompt(model.as_mut(), &prompt, &golden);
        compare_greedy(model.as_mut(), &prompt, &golden);
    }
}

/// The same on a device. A graphics card's greedy answers may leave ours for good at a near tie.
fn compare_on_device(file: &str, name: &str) {
    let setting = std::env::var("KEFU_TEST_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    let device = device::open(&setting).unwrap().unwrap_or(Device::Cpu);
    let gguf = Gguf::open(model_file(file)).unwrap();
    let mut model = models::load_on_device(&gguf, 512, &device).unwrap();
    for (prompt, golden) in golden(name) {
        compare_prompt(model.as_mut(), &prompt, &golden);
        compare_greedy(model.as_mut(), &prompt, &golden);
    }
}

#[test]
fn smollm2_agrees_with_llama_cpp() {
    compare("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m");
}

#[test]
fn qwen2_agrees_with_llama_cpp() {
    compare("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "qwen2.5-coder-0.5b");
}

#[test]
fn smollm2_on_a_device_agrees_with_llama_cpp() {
    compare_on_device("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m");
}

#[test]
fn qwen2_on_a_device_agrees_with_llama_cpp() {
    compare_on_device("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "qwen2.5-coder-0.5b");
}

#[test]
#[ignore = "needs gemma-3-270m-q4_k_m.gguf, whose terms keep it out of the models that are fetched for tests"]
fn gemma3_agrees_with_llama_cpp() {
    compare("gemma-3-270m-q4_k_m.gguf", "gemma3-270m");
    compare_on_device("gemma-3-270m-q4_k_m.gguf", "gemma3-270m");
}
