//! The engine over a real network on a device (here the processor): it does there what it does everywhere. The models are
//! tiny and their weights random, so their answers make no sense and depend on every token before.

#![allow(clippy::unwrap_used)]
use super::{Engine, EngineSettings, Shutdown};
use crate::inference::gguf::Gguf;
use crate::inference::models::{self, Rows, Span};
use crate::inference::sampler::logprobs;
use crate::inference::tokenizer::tests::small;
use crate::inference::{
    Constraint, GenerateRequest, GenerationEvent, GenerationStream, LanguageModel, ModelInfo, Prompt, ScoreRequest,
    Usage,
};
use candle_core::Device;
use futures::StreamExt;
use futures::executor::block_on;
use std::path::Path;
use std::time::Duration;

const NAMES: [&str; 4] = ["qwen2", "llama", "qwen3", "gemma3"];
const PROMPTS: [&str; 5] = [
    "The fee is 5 yuan a month, and no more than that.",
    "The fee is 5 yuan a year.",
    "退货运费谁出？",
    "hello hello hello hello",
    "x",
];

fn settings() -> EngineSettings {
    EngineSettings {
        queue_length: 8,
        parallel_requests: 1,
        prefill_chunk_tokens: 16,
        pause: Duration::from_secs(1),
        context_tokens: 0,
        kv_cache_bytes: 4 << 20,
        passage_cache_bytes: 0,
        passage_seam_tokens: 2,
        speculation: false,
        threads: 1,
        stalled_client: Duration::from_mins(5),
    }
}

fn model(name: &str) -> Box<dyn models::CausalModel> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models");
    let gguf = Gguf::open(folder.join(format!("tiny_{name}.gguf"))).unwrap();
    models::load_on_device(&gguf, 0, &Device::Cpu).unwrap()
}

fn engine(name: &str, settings: &EngineSettings) -> Engine {
    let info = ModelInfo {
        name: name.to_owned(),
        architecture: name.to_owned(),
        context_tokens: 0,
        sha256: String::new(),
    };
    Engine::start(model(name), small(), info, settings).unwrap()
}

fn request(prompt: &str) -> GenerateRequest {
    GenerateRequest {
        prompt: Prompt::Text(prompt.to_owned()),
        ..GenerateRequest::chat(Vec::new(), 24)
    }
}

fn read(stream: GenerationStream) -> (String, Usage) {
    let (mut said, mut end) = (String::new(), None);
    for event in block_on(stream.collect::<Vec<_>>()) {
        match event.unwrap() {
            GenerationEvent::Text { text, .. } => said.push_str(&text),
            GenerationEvent::Done { usage, .. } => end = Some(usage),
            _ => {}
        }
    }
    (said, end.unwrap())
}

fn ask(engine: &Engine, request: GenerateRequest) -> (String, Usage) {
    read(engine.generate(request).unwrap())
}

/// Ends an engine and makes sure that it holds nothing.
fn end(engine: &Engine) {
    let pool = engine.pool.clone();
    engine.shutdown(Shutdown::Drain);
    assert_eq!(pool.free(), pool.pages(), "every page came back");
}

#[test]
fn answers_are_the_same_from_the_cache_together_and_with_guesses() {
    for name in NAMES {
        let alone = PROMPTS.map(|prompt| ask(&engine(name, &settings()), request(prompt)).0);
        assert!(alone.iter().any(|said| said.len() > 10), "{name}: {alone:?}");
        let one = engine(name, &settings());
        for (prompt, alone) in PROMPTS.iter().zip(&alone) {
            ask(&one, request(prompt));
            let (again, usage) = ask(&one, request(prompt));
            assert_eq!(
                (&again, usage.cached_tokens),
                (alone, usage.prompt_tokens - 1),
                "{name}"
            );
        }
        end(&one);
        let many = EngineSettings {
            parallel_requests: PROMPTS.len(),
            speculation: true,
            ..settings()
        };
        let many = engine(name, &many);
        let streams = PROMPTS.map(|prompt| many.generate(request(prompt)).unwrap());
        assert_eq!(streams.map(|stream| read(stream).0), alone, "{name}");
        end(&many);
    }
}

#[test]
fn clients_that_leave_and_memory_that_is_short_leave_nothing_behind() {
    for name in NAMES {
        let shape = model(name).kv_shape();
        // Four pages for eight requests of two.
        let engine = engine(
            name,
            &EngineSettings {
                parallel_requests: 8,
                kv_cache_bytes: 4 * shape.page_bytes(),
                ..settings()
            },
        );
        let mut streams: Vec<_> = (0..8)
            .map(|n| {
                let prompt = format!("{n}{}", "abcdefgh".repeat(8));
                engine.generate(request(&prompt)).unwrap()
            })
            .collect();
        for index in [6, 3, 0] {
            drop(streams.remove(index));
        }
        for stream in streams {
            let (_, usage) = read(stream);
            assert_eq!(usage.prompt_tokens, 65, "{name}");
        }
        end(&engine);
    }
}

#[test]
fn continuations_are_scored_and_forms_kept() {
    for name in NAMES {
        let engine = engine(name, &settings());
        let tokenizer = small();
        let prompt = PROMPTS[0];
        let continuations = ["yes, of course", "no"];
        let scores = block_on(engine.score(ScoreRequest {
            prompt: Prompt::Text(prompt.to_owned()),
            continuations: continuations.iter().map(|&text| text.to_owned()).collect(),
            deadline: None,
        }))
        .unwrap();
        for (continuation, score) in continuations.iter().zip(scores) {
            let mut tokens = tokenizer.encode_text(prompt).unwrap();
            let before = tokens.len();
            tokens.extend(tokenizer.encode_text(continuation).unwrap());
            let mut model = model(name);
            let mut cache = model.new_cache(256).unwrap();
            let logits = model
                .forward(&mut [Span {
                    tokens: &tokens,
                    cache: &mut cache,
                    places: None,
                    rows: Rows::All,
                }])
                .unwrap();
            let rows: Vec<_> = logits.chunks_exact(model.vocabulary()).collect();
            for (at, logprob) in (before..tokens.len()).zip(score.logprobs) {
                let want = logprobs(rows[at - 1], tokens[at], 0).chosen;
                // Rounding of activations to 8 bits may fall otherwise where sums are made in another order.
                assert!((want - logprob).abs() < 0.02, "{name}: {logprob} for {want}");
            }
        }
        let form = GenerateRequest {
            constraint: Some(Constraint::Regex("[a-c]{3}-[0-9]{2}".to_owned())),
            ..request(prompt)
        };
        let (said, _) = ask(&engine, form);
        assert!(said.len() == 6 && said.as_bytes()[3] == b'-', "{name}: {said}");
        end(&engine);
    }
}

#[test]
fn passages_are_taken_from_where_they_stood() {
    let passages = ["[the fee is one yuan]", "[open until five o'clock]"];
    for name in NAMES {
        let engine = engine(
            name,
            &EngineSettings {
                passage_cache_bytes: 1 << 20,
                ..settings()
            },
        );
        let asked = |prompt: String| {
            let passages = passages.iter().map(|&passage| passage.to_owned()).collect();
            let request = GenerateRequest {
                passages,
                ..request(&prompt)
            };
            ask(&engine, request).1
        };
        let [fee, open] = passages;
        assert_eq!(asked(format!("1{fee}{open}?")).cached_tokens, 0);
        // But for two tokens of each.
        let lengths = passages.map(|passage| engine.count_tokens(passage).unwrap());
        let usage = asked(format!("2{open}{fee}!"));
        assert_eq!(usage.cached_tokens, lengths[0] + lengths[1] - 4, "{name}");
        end(&engine);
    }
}
