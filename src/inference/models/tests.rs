//! Every architecture against golden logits, with tiny models of random weights.
//!
//! `logits_f32` in the fixtures are those of an independent forward pass in `f32` over dequantised weights; `logits`
//! are llama.cpp's, which rounds activations to 8 bits and so is itself off by `max_diff` from the former.

#![allow(clippy::unwrap_used)]
use super::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) const NAMES: [&str; 4] = ["qwen2", "llama", "qwen3", "gemma3"];

#[derive(Deserialize)]
pub(super) struct Golden {
    pub(super) tokens: Vec<u32>,
    pub(super) logits: BTreeMap<usize, Vec<f32>>,
    argmax: Vec<usize>,
    top2_gap: Vec<f32>,
    pub(super) logits_f32: BTreeMap<usize, Vec<f32>>,
    argmax_f32: Vec<usize>,
    pub(super) max_diff: f32,
}

pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/models")
        .join(name)
}

pub(super) fn golden(architecture: &str) -> Golden {
    let path = fixture(&format!("golden_{architecture}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn tiny(architecture: &str) -> Box<dyn CausalModel> {
    let gguf = Gguf::open(fixture(&format!("tiny_{architecture}.gguf"))).unwrap();
    load(&gguf, 0, Precision::AsStored).unwrap()
}

pub(super) fn pass(
    model: &mut dyn CausalModel,
    tokens: &[u32],
    cache: &mut KvCache,
    rows: Rows,
) -> Result<Vec<f32>, InferenceError> {
    model.forward(&mut [Span {
        tokens,
        cache,
        places: None,
        rows,
    }])
}

pub(super) fn argmax(row: &[f32]) -> usize {
    (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap()
}

pub(super) fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn prefill_is_as_near_to_the_reference_in_f32_as_llama_cpp() {
    for name in NAMES {
        let golden = golden(name);
        let mut model = tiny(name);
        let mut cache = model.new_cache(64).unwrap();
        let logits = pass(model.as_mut(), &golden.tokens, &mut cache, Rows::All).unwrap();
        let rows: Vec<&[f32]> = logits.chunks(model.vocabulary()).collect();
        for (&position, want) in &golden.logits_f32 {
            // Both round activations to 8 bits, in blocks that need not be the same.
            let off = distance(rows[position], want);
            let tolerance = 2.0 * golden.max_diff;
            assert!(off < tolerance, "{name} at {position}: {off} of {tolerance}");
            let best = argmax(rows[position]);
            let lead = want[golden.argmax_f32[position]] - want[best];
            assert!(
                lead < golden.max_diff,
                "{name} at {position}: token {best} is {lead} behind"
            );
        }
    }
}

#[test]
fn decoding_agrees_with_llama_cpp() {
    for name in NAMES {
        let golden = golden(name);
        let mut model = tiny(name);
        let mut cache = model.new_cache(64).unwrap();
        for (position, &token) in golden.tokens.iter().enumerate() {
            let row = pass(model.as_mut(), &[token], &mut cache, Rows::Last).unwrap();
            // Both round activations to 8 bits, each in its own way: the errors may add up.
            let tolerance = 2.0 * golden.max_diff;
            if let Some(want) = golden.logits.get(&position) {
                let off = distance(&row, want);
                assert!(off < tolerance, "{name} at {position}: {off} of {tolerance}");
            }
            if golden.top2_gap[position] > tolerance {
                assert_eq!(argmax(&row), golden.argmax[position], "{name} at {position}");
            }
        }
        assert_eq!(cache.len(), golden.tokens.len());
    }
}

#[test]
fn the_last_row_is_that_of_all_rows() {
    for name in NAMES {
        let golden = golden(name);
        let mut model = tiny(name);
        let (mut one, mut all) = (model.new_cache(64).unwrap(), model.new_cache(64).unwrap());
        let last = pass(model.as_mut(), &golden.tokens, &mut one, Rows::Last).unwrap();
        let rows = pass(model.as_mut(), &golden.tokens, &mut all, Rows::All).unwrap();
        assert_eq!(last, rows[rows.len() - model.vocabulary()..], "{name}");
    }
}

#[test]
fn chunks_give_what_the_whole_gives() {
    let mut rng = StdRng::seed_from_u64(5);
    for name in NAMES {
        let mut model = tiny(name);
        let tokens: Vec<u32> = (0..200).map(|_| rng.random_range(4..300)).collect();
        let mut cache = model.new_cache(256).unwrap();
        let whole = pass(model.as_mut(), &tokens, &mut cache, Rows::All).unwrap();
        let mut cache = model.new_cache(256).unwrap();
        let mut parts = Vec::new();
        for chunk in tokens.chunks(7) {
            parts.extend(pass(model.as_mut(), chunk, &mut cache, Rows::All).unwrap());
        }
        // The kernels give a token the same numbers whatever is computed beside it.
        assert!(whole == parts, "{name}");
    }
}

#[test]
fn sequences_computed_together_give_what_each_gives_alone() {
    let mut rng = StdRng::seed_from_u64(6);
    for name in NAMES {
        let mut model = tiny(name);
        let before = [0, 70, 3, 64];
        let now = [90, 1, 5, 1];
        let tokens: Vec<u32> = (0..400).map(|_| rng.random_range(4..300)).collect();
        let mut caches = before.map(|count| {
            let mut cache = model.new_cache(256).unwrap();
            if count > 0 {
                pass(model.as_mut(), &tokens[..count], &mut cache, Rows::None).unwrap();
            }
            cache
        });
        let alone: Vec<f32> = (caches.clone().iter_mut().zip(before).zip(now))
            .flat_map(|((cache, before), now)| {
                let tokens = &tokens[before..before + now];
                pass(model.as_mut(), tokens, cache, Rows::Newest(3)).unwrap()
            })
            .collect();
        let mut spans: Vec<_> = (caches.iter_mut().zip(before).zip(now))
            .map(|((cache, before), now)| Span {
                tokens: &tokens[before..before + now],
                cache,
                places: None,
                rows: Rows::Newest(3),
            })
            .collect();
        let together = model.forward(&mut spans).unwrap();
        assert_eq!(together.len(), (3 + 1 + 3 + 1) * model.vocabulary());
        assert!(together == alone, "{name}");
    }
}

#[test]
fn a_truncated_cache_continues_as_a_fresh_one() {
    for name in NAMES {
        let golden = golden(name);
        let mut model = tiny(name);
        let (front, back) = golden.tokens.split_at(14);
        let mut cache = model.new_cache(64).unwrap();
        pass(model.as_mut(), front, &mut cache, Rows::Last).unwrap();
        let fork = cache.prefix(14);
        pass(model.as_mut(), &[7, 8, 9, 10, 11], &mut cache, Rows::Last).unwrap();
        cache.truncate(14);
        let continued = pass(model.as_mut(), back, &mut cache, Rows::Last).unwrap();
        let mut forked = fork.prefix(100);
        let forked = pass(model.as_mut(), back, &mut forked, Rows::Last).unwrap();
        let mut fresh = model.new_cache(64).unwrap();
        pass(model.as_mut(), front, &mut fresh, Rows::Last).unwrap();
        let fresh = pass(model.as_mut(), back, &mut fresh, Rows::Last).unwrap();
        // The same kernels on the same numbers: equal to the bit.
        assert_eq!(continued, fresh, "{name}");
        assert_eq!(forked, fresh, "{name}");
        assert_eq!(fork.len(), 14);
    }
}

#[test]
fn bad_calls_are_refused_and_leave_the_cache() {
    let mut model = tiny("qwen2");
    let mut cache = model.new_cache(4).unwrap();
    let vocabulary = model.vocabulary() as u32;
    assert!(matches!(
        pass(model.as_mut(), &[], &mut cache, Rows::Last),
        Err(InferenceError::BadParameter { name: "tokens", .. })
    ));
    assert!(matches!(
        pass(model.as_mut(), &[vocabulary], &mut cache, Rows::Last),
        Err(InferenceError::BadParameter { name: "tokens", .. })
    ));
    assert!(matches!(
        pass(model.as_mut(), &[1, 2, 3, 4, 5], &mut cache, Rows::Last),
        Err(InferenceError::TooLong { tokens: 5, limit: 4 })
    ));
    let mut others = tiny("gemma3").new_cache(4).unwrap();
    assert!(matches!(
        pass(model.as_mut(), &[1], &mut others, Rows::Last),
        Err(InferenceError::BadParameter { name: "cache", .. })
    ));
    assert!(cache.is_empty());
    pass(model.as_mut(), &[1, 2, 3, 4], &mut cache, Rows::Last).unwrap();
    assert_eq!(cache.len(), 4);
}

#[test]
fn four_bits_are_another_model_that_says_nearly_the_same() {
    let tokens = [3, 14, 15, 92, 65];
    for architecture in NAMES {
        let gguf = Gguf::open(fixture(&format!("tiny_{architecture}.gguf"))).unwrap();
        let say = |precision| {
            let mut model = load(&gguf, 0, precision).unwrap();
            let mut cache = model.new_cache(16).unwrap();
            pass(model.as_mut(), &tokens, &mut cache, Rows::Last).unwrap()
        };
        let (stored, four) = (say(Precision::AsStored), say(Precision::FourBits));
        assert_ne!(stored, four, "{architecture}");
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let cosine = dot(&stored, &four) / (dot(&stored, &stored) * dot(&four, &four)).sqrt();
        // Weights of normal distribution are off by a tenth in four bits; some layers add to that.
        assert!(cosine > 0.9, "{architecture}: {cosine}");
    }
}

#[test]
fn the_context_bounds_caches() {
    let gguf = Gguf::open(fixture("tiny_llama.gguf")).unwrap();
    assert_eq!(load(&gguf, 0, Precision::AsStored).unwrap().context_tokens(), 256);
    assert_eq!(load(&gguf, 10_000, Precision::AsStored).unwrap().context_tokens(), 256);
    let model = load(&gguf, 100, Precision::AsStored).unwrap();
    assert_eq!(model.context_tokens(), 100);
    assert_eq!(model.new_cache(usize::MAX).unwrap().max_tokens(), 100);
}

/// The file of an architecture with one text in it replaced by another of the same length.
fn patched(architecture: &str, from: &str, to: &str) -> Gguf {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(fixture(&format!("tiny_{architecture}.gguf"))).unwrap();
    let at: Vec<usize> = (0..bytes.len() - from.len())
        .filter(|&at| bytes[at..].starts_with(from.as_bytes()))
        .collect();
    assert!(!at.is_empty(), "{from}");
    for at in at {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    Gguf::from_bytes("patched.gguf", &bytes).unwrap()
}

fn refusal(gguf: &Gguf) -> String {
    match load(gguf, 0, Precision::AsStored) {
        Err(error @ InferenceError::BadModel { .. }) => error.to_string(),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("loaded"),
    }
}

#[test]
fn what_is_not_a_known_model_is_refused_by_name() {
    let error = refusal(&patched("qwen2", "qwen2", "mamba"));
    assert!(
        error.contains("\"mamba\"") && error.contains("gemma3, llama, qwen2, qwen3"),
        "{error}"
    );
    let error = refusal(&patched("llama", "blk.1.ffn_up.weight", "blk.1.ffn_xx.weight"));
    assert!(error.contains("\"blk.1.ffn_up.weight\" is missing"), "{error}");
    // A qwen3 file read as llama: its head norms would be ignored.
    let error = refusal(&patched("qwen3", "qwen3", "llama"));
    assert!(
        error.contains("_norm.weight\" is not known in a llama model"),
        "{error}"
    );
    let error = refusal(&patched("llama", "llama.embedding_length", "llama.embedding_lengtH"));
    assert!(error.contains("\"llama.embedding_length\" is missing"), "{error}");
}

#[test]
fn flipped_metadata_never_panics() {
    let bytes = std::fs::read(fixture("tiny_gemma3.gguf")).unwrap();
    let mut rng = StdRng::seed_from_u64(11);
    let mut loaded = 0;
    for _ in 0..40 {
        let mut bytes = bytes.clone();
        // The sizes stand in the first part of the header.
        let at = rng.random_range(24..900);
        bytes[at] ^= 1 << rng.random_range(0..8);
        let Ok(gguf) = Gguf::from_bytes("flipped.gguf", &bytes) else {
            continue;
        };
        if let Ok(mut model) = load(&gguf, 0, Precision::AsStored) {
            loaded += 1;
            let mut cache = model.new_cache(8).unwrap();
            let _ = pass(model.as_mut(), &[5, 6, 7], &mut cache, Rows::Last);
        }
    }
    assert!(loaded > 0);
}
