//! Thousands of requests that end in every way, at once: no answer is another's, nothing stays behind.

use super::fake::FakeModel;
use super::{Engine, EngineSettings, Shutdown};
use crate::inference::tokenizer::tests::small;
use crate::inference::{
    FinishReason, GenerateRequest, GenerationEvent, InferenceError, LanguageModel, ModelInfo, Prompt, Sampling,
    ScoreRequest,
};
use futures::StreamExt;
use futures::executor::block_on;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const CLIENTS: usize = 8;

/// How requests ended.
#[derive(Debug, Default)]
struct Ends {
    whole: AtomicUsize,
    cut: AtomicUsize,
    dropped: AtomicUsize,
    late: AtomicUsize,
    scored: AtomicUsize,
}

/// A text that begins like many others.
fn words(rng: &mut StdRng) -> String {
    let mut text = "abcdefgh".repeat(rng.random_range(0..12));
    text.extend((0..rng.random_range(1..20)).map(|_| char::from(rng.random_range(b'a'..b'f'))));
    text
}

fn one(engine: &Engine, rng: &mut StdRng, ends: &Ends) {
    let said = words(rng);
    let prompt = Prompt::Text(format!("{said}>"));
    let deadline = match rng.random_range(0..8) {
        0 => Some(Instant::now()),
        1 => Some(Instant::now() + Duration::from_micros(rng.random_range(0..3000))),
        _ => None,
    };
    if rng.random_range(0..8) == 0 {
        let other = words(rng);
        let request = ScoreRequest {
            prompt,
            continuations: vec![said.clone(), other.clone()],
            deadline,
        };
        match block_on(engine.score(request)) {
            Ok(scores) => {
                assert!(scores[0].total() > -1.0, "{said}");
                assert_eq!(scores[1].total() > -1.0, said.starts_with(&other), "{said} {other}");
                ends.scored.fetch_add(1, Ordering::Relaxed)
            }
            Err(InferenceError::Deadline) => ends.late.fetch_add(1, Ordering::Relaxed),
            Err(error) => panic!("{error}"),
        };
        return;
    }
    let max_tokens = rng.random_range(1..150);
    let drop_after = if rng.random_range(0..3) == 0 {
        rng.random_range(0..10)
    } else {
        usize::MAX
    };
    let mut stream = engine
        .generate(GenerateRequest {
            prompt,
            deadline,
            max_tokens,
            sampling: Sampling {
                temperature: if rng.random_range(0..2) == 0 { 0.0 } else { 0.5 },
                seed: rng.random(),
                ..Sampling::greedy()
            },
            ..GenerateRequest::chat(Vec::new(), 1)
        })
        .expect("the queue has a place for every client");
    let mut text = String::new();
    for _ in 0..drop_after {
        match block_on(stream.next()).expect("an end") {
            Ok(GenerationEvent::Text { text: more, .. }) => text.push_str(&more),
            Ok(GenerationEvent::Done { reason, usage }) => {
                if reason == FinishReason::Stop {
                    assert_eq!(text, said, "{usage:?}");
                    ends.whole.fetch_add(1, Ordering::Relaxed);
                } else {
                    assert!(
                        said.starts_with(&text) && usage.completion_tokens == max_tokens,
                        "{usage:?}"
                    );
                    ends.cut.fetch_add(1, Ordering::Relaxed);
                }
                return;
            }
            Ok(_) => {}
            Err(InferenceError::Deadline) => {
                assert!(said.starts_with(&text));
                ends.late.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(said.starts_with(&text));
    ends.dropped.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn requests_that_end_in_every_way_leave_nothing_behind() {
    storm(FakeModel::free(256), 10_000);
}

#[test]
fn nor_do_they_on_a_device() {
    storm(FakeModel::on_device(256), 2_000);
}

fn storm(model: FakeModel, requests: usize) {
    let settings = EngineSettings {
        queue_length: CLIENTS * 4,
        parallel_requests: 5,
        prefill_chunk_tokens: 24,
        pause: Duration::from_millis(1),
        context_tokens: 0,
        // Some fourteen pages: requests wait for them, and take them from what is kept.
        kv_cache_bytes: 14 * 64 * 17 * 2,
        passage_cache_bytes: 0,
        passage_seam_tokens: 2,
        speculation: true,
        threads: 1,
        stalled_client: Duration::from_mins(5),
    };
    let info = ModelInfo {
        name: "fake".to_owned(),
        architecture: "none".to_owned(),
        context_tokens: 0,
        sha256: String::new(),
    };
    let engine = Engine::start(Box::new(model), small(), info, &settings).expect("it starts");
    let ends = Ends::default();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (engine, ends) = (&engine, &ends);
            scope.spawn(move || {
                let mut rng = StdRng::seed_from_u64(client as u64);
                for _ in 0..requests / CLIENTS {
                    one(engine, &mut rng, ends);
                }
            });
        }
    });
    let pool = engine.pool.clone();
    engine.shutdown(Shutdown::Drain);
    assert_eq!(pool.free(), pool.pages(), "every page came back");
    for (name, count) in [
        ("whole", &ends.whole),
        ("cut", &ends.cut),
        ("dropped", &ends.dropped),
        ("late", &ends.late),
        ("scored", &ends.scored),
    ] {
        assert!(
            count.load(Ordering::Relaxed) > requests / 50,
            "too few {name} to mean anything: {ends:?}"
        );
    }
}
