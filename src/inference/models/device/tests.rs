//! The device's decoder on the processor: the same code that runs on a graphics card, against golden logits and against
//! the decoder over our own kernels.
//!
//! Every matrix product rounds activations to 8 bits, here and there, in blocks that need not be the same. So what may
//! differ is what the fixtures measured of such rounding: `max_diff`, llama.cpp's distance from single precision.

#![allow(clippy::unwrap_used)]
use super::super::tests::{NAMES, argmax, distance, fixture, golden, pass};
use super::super::{CausalModel, Places, Rows, Span, load, load_on_device};
use crate::inference::gguf::Gguf;
use crate::inference::kv_cache::{KvCache, KvPool, PAGE};
use crate::inference::{InferenceError, Precision};
use candle_core::Device;
use rand::{Rng, SeedableRng, rngs::StdRng};

fn tiny(architecture: &str) -> Box<dyn CausalModel> {
    let gguf = Gguf::open(fixture(&format!("tiny_{architecture}.gguf"))).unwrap();
    load_on_device(&gguf, 0, &Device::Cpu).unwrap()
}

fn on_kernels(architecture: &str) -> Box<dyn CausalModel> {
    load(
        &Gguf::open(fixture(&format!("tiny_{architecture}.gguf"))).unwrap(),
        0,
        Precision::AsStored,
    )
    .unwrap()
}

fn random(count: usize, seed: u64) -> Vec<u32> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(4..300)).collect()
}

#[test]
fn prefill_and_decoding_are_as_near_to_the_reference_as_llama_cpp() {
    for name in NAMES {
        let golden = golden(name);
        let mut model = tiny(name);
        let tolerance = 2.0 * golden.max_diff;
        let mut cache = model.new_cache(64).unwrap();
        let logits = pass(model.as_mut(), &golden.tokens, &mut cache, Rows::All).unwrap();
        let rows: Vec<&[f32]> = logits.chunks(model.vocabulary()).collect();
        for (&position, want) in &golden.logits_f32 {
            let off = distance(rows[position], want);
            assert!(off < tolerance, "{name} at {position}: {off} of {tolerance}");
        }
        let mut cache = model.new_cache(64).unwrap();
        for (position, &token) in golden.tokens.iter().enumerate() {
            let row = pass(model.as_mut(), &[token], &mut cache, Rows::Last).unwrap();
            if let Some(want) = golden.logits.get(&position) {
                let off = distance(&row, want);
                assert!(off < tolerance, "{name} at {position}: {off} of {tolerance}");
            }
        }
    }
}

#[test]
fn it_agrees_with_our_kernels_beyond_windows_and_pages() {
    for name in NAMES {
        let tolerance = 2.0 * golden(name).max_diff;
        let (mut model, mut other) = (tiny(name), on_kernels(name));
        let tokens = random(200, 3);
        let (mut cache, mut others) = (model.new_cache(256).unwrap(), other.new_cache(256).unwrap());
        let mut worst = 0f32;
        for chunk in tokens.chunks(67) {
            let rows = pass(model.as_mut(), chunk, &mut cache, Rows::All).unwrap();
            let want = pass(other.as_mut(), chunk, &mut others, Rows::All).unwrap();
            worst = worst.max(distance(&rows, &want));
        }
        assert!(worst < tolerance, "{name}: {worst} of {tolerance}");
    }
}

/// Caches of one pool that hold `before` tokens each of `tokens`.
fn filled(model: &mut dyn CausalModel, pool: &KvPool, tokens: &[u32], before: &[usize]) -> Vec<KvCache> {
    let fill = |&count: &usize| {
        let mut cache = KvCache::new(pool, 256);
        if count > 0 {
            pass(model, &tokens[..count], &mut cache, Rows::None).unwrap();
        }
        cache
    };
    before.iter().map(fill).collect()
}

#[test]
fn sequences_computed_together_give_what_each_gives_alone() {
    for name in NAMES {
        let tolerance = golden(name).max_diff;
        let mut model = tiny(name);
        // Prompts and answers, two of them with a guess, in no order; some are longer than gemma's window.
        let before = [0, 70, 3, 64, 200, 10, 130];
        let now = [90, 1, 5, 1, 2, 1, 2];
        let tokens = random(400, 6);
        let pool = model.new_pool(40).unwrap();
        let mut alone = Vec::new();
        for (cache, (&before, &now)) in filled(model.as_mut(), &pool, &tokens, &before)
            .iter_mut()
            .zip(before.iter().zip(&now))
        {
            let tokens = &tokens[before..before + now];
            alone.extend(pass(model.as_mut(), tokens, cache, Rows::Newest(3)).unwrap());
        }
        let mut caches = filled(model.as_mut(), &pool, &tokens, &before);
        let mut spans: Vec<_> = (caches.iter_mut().zip(before).zip(now))
            .map(|((cache, before), now)| Span {
                tokens: &tokens[before..before + now],
                cache,
                places: None,
                rows: Rows::Newest(3),
            })
            .collect();
        let together = model.forward(&mut spans).unwrap();
        assert_eq!(together.len(), (3 + 1 + 3 + 1 + 2 + 1 + 2) * model.vocabulary());
        let off = distance(&together, &alone);
        assert!(off < tolerance, "{name}: {off} of {tolerance}");
        drop(caches);
        assert_eq!(pool.free(), 40, "every page came back");
    }
}

#[test]
fn beginnings_are_shared_and_go_their_own_ways() {
    for name in NAMES {
        let tolerance = golden(name).max_diff;
        let mut model = tiny(name);
        let pool = model.new_pool(12).unwrap();
        let tokens = random(150, 8);
        let mut cache = KvCache::new(&pool, 256);
        pass(model.as_mut(), &tokens[..100], &mut cache, Rows::None).unwrap();
        let mut fork = cache.prefix(80);
        assert_eq!(pool.free(), 10, "nothing is copied until it is written");
        // Both write behind the fork, the one into a copy of the page.
        let other = random(30, 9);
        let forked = pass(model.as_mut(), &other, &mut fork, Rows::Last).unwrap();
        let went_on = pass(model.as_mut(), &tokens[100..], &mut cache, Rows::Last).unwrap();
        let mut fresh = KvCache::new(&pool, 256);
        let whole = pass(model.as_mut(), &tokens, &mut fresh, Rows::Last).unwrap();
        assert!(distance(&went_on, &whole) < tolerance, "{name}");
        drop(fresh);
        let joined = [&tokens[..80], &other[..]].concat();
        let mut fresh = KvCache::new(&pool, 256);
        let whole = pass(model.as_mut(), &joined, &mut fresh, Rows::Last).unwrap();
        assert!(distance(&forked, &whole) < tolerance, "{name}");
        // A guess that was wrong is taken back.
        fork.truncate(80);
        let again = pass(model.as_mut(), &other, &mut fork, Rows::Last).unwrap();
        assert!(distance(&again, &whole) < tolerance, "{name}");
    }
}

#[test]
fn pieces_are_moved_as_on_the_processor() {
    for name in NAMES {
        let tolerance = 2.0 * golden(name).max_diff;
        let tokens = random(120, 4);
        let row = |mut model: Box<dyn CausalModel>| {
            let pool = model.new_pool(12).unwrap();
            let mut cache = KvCache::new(&pool, 256);
            pass(model.as_mut(), &tokens[..60], &mut cache, Rows::None).unwrap();
            let piece = model.moved(&cache.piece(20..60).unwrap(), 75);
            let mut elsewhere = KvCache::new(&pool, 256);
            pass(model.as_mut(), &tokens[60..70], &mut elsewhere, Rows::None).unwrap();
            elsewhere.make_room(110).unwrap();
            elsewhere.put(&piece, 75..115).unwrap();
            let positions: Vec<usize> = (10..75).chain(115..120).collect();
            let mut spans = [Span {
                tokens: &tokens[..70],
                cache: &mut elsewhere,
                places: Some(Places {
                    positions: &positions,
                    end: 120,
                }),
                rows: Rows::Last,
            }];
            model.forward(&mut spans).unwrap()
        };
        let (own, kernels) = (row(tiny(name)), row(on_kernels(name)));
        let off = distance(&own, &kernels);
        assert!(off < tolerance, "{name}: {off} of {tolerance}");
        assert_eq!(argmax(&own), argmax(&kernels), "{name}");
    }
}

#[test]
fn caches_of_other_memory_are_refused_and_failures_leave_caches_as_they_were() {
    let (mut model, mut other) = (tiny("llama"), on_kernels("llama"));
    let (mut here, mut there) = (model.new_cache(64).unwrap(), other.new_cache(64).unwrap());
    for (model, cache) in [(&mut model, &mut there), (&mut other, &mut here)] {
        assert!(matches!(
            pass(model.as_mut(), &[1], cache, Rows::Last),
            Err(InferenceError::BadParameter { name: "cache", .. })
        ));
    }
    let mut elsewhere = model.new_cache(64).unwrap();
    let mut spans: Vec<_> = [&mut here, &mut elsewhere]
        .into_iter()
        .map(|cache| Span {
            tokens: &[5, 6],
            cache,
            places: None,
            rows: Rows::Last,
        })
        .collect();
    assert!(matches!(model.forward(&mut spans), Err(InferenceError::Compute(_))));
    assert!(here.is_empty() && elsewhere.is_empty());
    let small = model.new_pool(1).unwrap();
    let mut long = KvCache::new(&small, 200);
    let tokens = random(PAGE + 1, 1);
    assert!(pass(model.as_mut(), &tokens, &mut long, Rows::Last).is_err());
    assert_eq!((long.len(), small.free()), (0, 1));
    pass(model.as_mut(), &tokens[..PAGE], &mut long, Rows::Last).unwrap();
}
