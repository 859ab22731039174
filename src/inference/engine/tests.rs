use super::fake::{Call, FAIL, FakeModel, Gate, PANIC, Part};
use super::{Engine, EngineSettings, Reply, Shutdown};
use crate::inference::tokenizer::tests::small;
use crate::inference::{
    ChatMessage, ChatRole, Constraint, FinishReason, GenerateRequest, GenerationEvent, GenerationStream,
    InferenceError, LanguageModel, ModelInfo, Prompt, Sampling, ScoreRequest, Usage,
};
use futures::StreamExt;
use futures::executor::block_on;
use std::time::{Duration, Instant};

const CONTEXT: usize = 64;

fn settings() -> EngineSettings {
    EngineSettings {
        queue_length: 2,
        parallel_requests: 1,
        prefill_chunk_tokens: 8,
        pause: Duration::from_secs(1),
        context_tokens: 0,
        kv_cache_bytes: 1 << 20,
        passage_cache_bytes: 0,
        passage_seam_tokens: 2,
        speculation: false,
        threads: 1,
        stalled_client: Duration::from_mins(5),
    }
}

fn info() -> ModelInfo {
    ModelInfo {
        name: "fake".to_owned(),
        architecture: "none".to_owned(),
        context_tokens: 0,
        sha256: String::new(),
    }
}

fn free(settings: &EngineSettings) -> Engine {
    Engine::start(Box::new(FakeModel::free(CONTEXT)), small(), info(), settings).unwrap()
}

fn gated(settings: &EngineSettings) -> (Engine, Gate) {
    let (model, gate) = FakeModel::gated(CONTEXT);
    (Engine::start(model, small(), info(), settings).unwrap(), gate)
}

/// Asks the model to repeat what stands before `>` in `prompt`.
fn request(prompt: &str) -> GenerateRequest {
    GenerateRequest {
        prompt: Prompt::Text(prompt.to_owned()),
        ..GenerateRequest::chat(Vec::new(), 50)
    }
}

/// The only sequence of a call.
fn only(call: Call) -> Part {
    let [part] = <[Part; 1]>::try_from(call).expect("one sequence");
    part
}

fn lengths(call: Call) -> Vec<usize> {
    call.into_iter().map(|part| part.tokens.len()).collect()
}

fn next(stream: &mut GenerationStream) -> Reply {
    block_on(stream.next()).expect("the stream goes on")
}

fn events(stream: GenerationStream) -> Vec<GenerationEvent> {
    block_on(stream.map(Result::unwrap).collect())
}

fn text_of(events: &[GenerationEvent]) -> String {
    let texts = events.iter().filter_map(|event| match event {
        GenerationEvent::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

fn end_of(events: &[GenerationEvent]) -> (FinishReason, Usage) {
    match events.last() {
        Some(GenerationEvent::Done { reason, usage }) => (*reason, *usage),
        other => panic!("{other:?}"),
    }
}

fn ask(engine: &Engine, prompt: &str) -> Vec<GenerationEvent> {
    events(engine.generate(request(prompt)).unwrap())
}

fn text(text: &str) -> GenerationEvent {
    GenerationEvent::Text {
        text: text.to_owned(),
        logprobs: Vec::new(),
    }
}

/// Drains `stream` and returns the error at its end.
fn failure(mut stream: GenerationStream) -> InferenceError {
    loop {
        match block_on(stream.next()).expect("an error at the end") {
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

#[test]
fn events_come_in_order() {
    let engine = free(&settings());
    let expected = [
        GenerationEvent::Started {
            prompt_tokens: 3,
            cached_tokens: 0,
        },
        text("a"),
        text("b"),
        GenerationEvent::Done {
            reason: FinishReason::Stop,
            usage: Usage {
                prompt_tokens: 3,
                cached_tokens: 0,
                completion_tokens: 2,
            },
        },
    ];
    assert_eq!(ask(&engine, "ab>"), expected);
    assert_eq!(engine.info().context_tokens, CONTEXT);
    assert_eq!(engine.count_tokens("hello你").unwrap(), 4);
}

#[test]
fn characters_are_whole_though_tokens_are_bytes() {
    let events = ask(&free(&settings()), "退👋>");
    assert_eq!(events[1..3], [text("退"), text("👋")]);
    assert_eq!(end_of(&events).1.completion_tokens, 7);
}

#[test]
fn a_chat_is_rendered_and_typed_control_tokens_are_text() {
    let (engine, gate) = gated(&EngineSettings {
        prefill_chunk_tokens: CONTEXT,
        ..settings()
    });
    let messages = vec![
        ChatMessage::new(ChatRole::System, "s"),
        ChatMessage::new(ChatRole::User, "<|im_end|>"),
    ];
    let stream = engine.generate(GenerateRequest::chat(messages, 5)).unwrap();
    let Part { tokens, .. } = only(gate.step());
    assert_eq!(tokens.iter().filter(|&&token| token == 262).count(), 2, "{tokens:?}");
    drop((stream, gate));
}

#[test]
fn answers_end_at_max_tokens_or_with_the_context() {
    let engine = free(&settings());
    let short = events(
        engine
            .generate(GenerateRequest {
                max_tokens: 2,
                ..request("abcd>")
            })
            .unwrap(),
    );
    assert_eq!(
        (text_of(&short).as_str(), end_of(&short).0),
        ("ab", FinishReason::Length)
    );
    let long = ask(&engine, &format!("{}>", "x".repeat(40)));
    let (reason, usage) = end_of(&long);
    assert_eq!((reason, usage.completion_tokens), (FinishReason::Length, CONTEXT - 41));
}

#[test]
fn bad_requests_are_refused_before_they_wait() {
    let engine = free(&settings());
    let fault = |request| engine.generate(request).map(drop).unwrap_err();
    let long = fault(request(&"x".repeat(CONTEXT)));
    assert!(matches!(long, InferenceError::TooLong { tokens: CONTEXT, limit } if limit == CONTEXT - 1));
    assert!(matches!(
        fault(request(&"x".repeat(1 << 20))),
        InferenceError::TooLong { .. }
    ));
    let hot = Sampling {
        temperature: 9.0,
        ..Sampling::greedy()
    };
    let bad = [
        ("prompt", request("")),
        ("messages", GenerateRequest::chat(Vec::new(), 5)),
        (
            "max_tokens",
            GenerateRequest {
                max_tokens: 0,
                ..request("a>")
            },
        ),
        (
            "top_logprobs",
            GenerateRequest {
                top_logprobs: Some(21),
                ..request("a>")
            },
        ),
        (
            "stop",
            GenerateRequest {
                stop: vec![String::new()],
                ..request("a>")
            },
        ),
        (
            "temperature",
            GenerateRequest {
                sampling: hot,
                ..request("a>")
            },
        ),
    ];
    for (expected, request) in bad {
        match fault(request) {
            InferenceError::BadParameter { name, .. } => assert_eq!(name, expected),
            other => panic!("{expected}: {other}"),
        }
    }
    assert_eq!(text_of(&ask(&engine, "a>")), "a");
}

#[test]
fn stop_texts_end_the_answer_and_are_not_part_of_it() {
    let engine = free(&settings());
    let stopped = |stop: &str| {
        let stop = vec![stop.to_owned()];
        events(
            engine
                .generate(GenerateRequest {
                    stop,
                    ..request("abcabd e>")
                })
                .unwrap(),
        )
    };
    let events = stopped("abd");
    assert_eq!(
        (text_of(&events).as_str(), end_of(&events).0),
        ("abc", FinishReason::Stop)
    );
    assert_eq!(end_of(&events).1.completion_tokens, 6);
    // Held back as the beginning of a stop text that never comes.
    assert_eq!(text_of(&stopped("e!")), "abcabd e");
}

#[test]
fn log_probabilities_come_with_the_text() {
    let engine = free(&settings());
    let events = events(
        engine
            .generate(GenerateRequest {
                top_logprobs: Some(2),
                ..request("é>")
            })
            .unwrap(),
    );
    let GenerationEvent::Text { text, logprobs } = &events[1] else {
        panic!("{events:?}")
    };
    assert_eq!((text.as_str(), logprobs.len()), ("é", 2));
    assert_eq!(logprobs[0].bytes, [0xc3]);
    assert!(logprobs[0].logprob > -0.001 && logprobs[0].logprob <= 0.0);
    assert_eq!(logprobs[0].top[1].0, "~");
    assert!((logprobs[0].top[1].2 + 10.0).abs() < 0.001);
}

#[test]
fn waiting_requests_learn_their_place_and_too_many_are_refused() {
    let (engine, gate) = gated(&settings());
    let first = engine.generate(request("a>")).unwrap();
    gate.wait();
    let mut second = engine.generate(request("b>")).unwrap();
    let mut third = engine.generate(request("c>")).unwrap();
    assert_eq!(next(&mut second).unwrap(), GenerationEvent::Queued { position: 1 });
    assert_eq!(next(&mut third).unwrap(), GenerationEvent::Queued { position: 2 });
    match engine.generate(request("d>")).map(drop) {
        Err(InferenceError::Overloaded { queued: 2, retry_after }) => {
            assert!(retry_after >= Duration::from_secs(1) && retry_after <= Duration::from_mins(1));
        }
        other => panic!("{other:?}"),
    }
    gate.pass();
    drop(gate.open());
    assert_eq!(text_of(&events(first)), "a");
    assert_eq!(text_of(&events(second)), "b");
    assert_eq!(next(&mut third).unwrap(), GenerationEvent::Queued { position: 1 });
    assert_eq!(text_of(&events(third)), "c");
}

#[test]
fn requests_of_one_visitor_do_not_hold_up_those_of_others() {
    let (engine, gate) = gated(&EngineSettings {
        parallel_requests: 2,
        queue_length: 8,
        ..settings()
    });
    let of = |visitor: &str, prompt: &str| {
        let request = GenerateRequest {
            visitor: Some(visitor.to_owned()),
            ..request(prompt)
        };
        engine.generate(request).unwrap()
    };
    let first = of("a", "aaaaaaaaaaaaaaaaaa>");
    gate.wait();
    let more = ["p>", "q>", "r>"].map(|prompt| of("a", prompt));
    let other = of("b", "x>");
    let calls = gate.open();
    assert_eq!(text_of(&events(other)), "x");
    for stream in more {
        assert_eq!(text_of(&events(stream)).len(), 1);
    }
    drop(first);
    drop(engine);
    let order: Vec<u32> = (calls.iter().flatten())
        .filter(|part| part.before == 0)
        .map(|part| part.tokens[0])
        .collect();
    assert_eq!(order[..3], [u32::from(b'x'), u32::from(b'p'), u32::from(b'q')]);
}

#[test]
fn a_place_in_the_queue_is_free_when_its_client_leaves() {
    let (engine, gate) = gated(&settings());
    let first = engine.generate(request("a>")).unwrap();
    gate.wait();
    let second = engine.generate(request("b>")).unwrap();
    let third = engine.generate(request("c>")).unwrap();
    drop(second);
    let fourth = engine.generate(request("d>")).unwrap();
    gate.pass();
    let calls = gate.open();
    assert_eq!(
        [first, third, fourth].map(|stream| text_of(&events(stream))),
        ["a", "c", "d"]
    );
    drop(engine);
    assert!(
        !calls
            .iter()
            .flatten()
            .any(|part| part.tokens.contains(&u32::from(b'b'))),
        "nobody waited for b"
    );
}

#[test]
fn a_dropped_stream_ends_its_work_within_one_token() {
    let (engine, gate) = gated(&settings());
    let first = engine.generate(request("abcdef>")).unwrap();
    let second = engine.generate(request("x>")).unwrap();
    assert_eq!(only(gate.step()).tokens.len(), 7);
    assert_eq!(only(gate.step()).tokens, [u32::from(b'a')]);
    // The model computes the second token of the first answer; after it, nothing of that request.
    gate.wait();
    drop(first);
    gate.pass();
    assert_eq!(
        only(gate.step()),
        Part {
            before: 0,
            tokens: vec![u32::from(b'x'), u32::from(b'>')]
        }
    );
    drop(gate);
    assert_eq!(text_of(&events(second)), "x");
}

#[test]
fn a_dropped_stream_ends_its_work_between_chunks_of_its_prompt() {
    let (engine, gate) = gated(&settings());
    let long = engine.generate(request(&format!("{}>", "y".repeat(40)))).unwrap();
    let short = engine.generate(request("x>")).unwrap();
    assert_eq!(only(gate.step()).tokens.len(), 8);
    gate.wait();
    drop(long);
    gate.pass();
    assert_eq!(only(gate.step()).before, 0);
    drop(gate);
    assert_eq!(text_of(&events(short)), "x");
}

#[test]
fn a_long_prompt_does_not_hold_up_a_running_answer() {
    let (engine, gate) = gated(&EngineSettings {
        parallel_requests: 2,
        ..settings()
    });
    let running = engine.generate(request("abcdef>")).unwrap();
    gate.step();
    // The running answer is about to get its second token when the long prompt comes.
    gate.wait();
    let long = engine.generate(request(&format!("{}>", "y".repeat(23)))).unwrap();
    gate.pass();
    let steps: Vec<_> = (0..4).map(|_| lengths(gate.step())).collect();
    assert_eq!(steps, [[1, 8], [1, 8], [1, 8], [1, 1]]);
    drop(gate);
    assert_eq!(text_of(&events(running)), "abcdef");
    assert_eq!(text_of(&events(long)), "y".repeat(23));
}

#[test]
fn interleaved_answers_equal_those_given_alone() {
    let sampling = Sampling {
        temperature: 2.0,
        presence_penalty: 2.0,
        seed: 11,
        ..Sampling::greedy()
    };
    let asked = |prompt: &str| GenerateRequest {
        sampling: sampling.clone(),
        ..request(prompt)
    };
    let prompts = ["hello 你好 one>", "second 👋 answer>", "ab>"];
    let alone = prompts.map(|prompt| text_of(&events(free(&settings()).generate(asked(prompt)).unwrap())));
    let together = free(&EngineSettings {
        parallel_requests: 3,
        ..settings()
    });
    let streams = prompts.map(|prompt| together.generate(asked(prompt)).unwrap());
    assert_eq!(streams.map(|stream| text_of(&events(stream))), alone);
}

#[test]
fn a_beginning_that_is_there_is_not_computed_again() {
    let engine = free(&settings());
    let cached = |prompt: &str| {
        let events = ask(&engine, prompt);
        assert_eq!(text_of(&events), prompt.strip_suffix('>').unwrap());
        end_of(&events).1.cached_tokens
    };
    assert_eq!(cached("abcdefgh1>"), 0);
    assert_eq!(cached("abcdefgh2>"), 8);
    assert_eq!(cached("abcdef2345>"), 6);
    assert_eq!(cached("abcdefg>"), 7);
    assert_eq!(cached("abcdefg>"), 7, "the last token is computed for its logits");
    assert_eq!(cached("zzzzzzzz>"), 0);
    let (_, usage) = end_of(&ask(&engine, "abcdefgh1>abc"));
    assert_eq!(usage.cached_tokens, 12, "an answer is kept like a prompt");
}

#[test]
fn requests_wait_for_memory_and_earlier_ones_give_theirs_up() {
    // Two pages of 64 tokens; a token takes two numbers of 16 bits, a value as much room as 16.
    let engine = Engine::start(
        Box::new(FakeModel::free(CONTEXT)),
        small(),
        info(),
        &EngineSettings {
            kv_cache_bytes: 2 * 64 * 17 * 2,
            parallel_requests: 8,
            queue_length: 8,
            ..settings()
        },
    )
    .unwrap();
    let prompts: Vec<String> = (0..8u8)
        .map(|n| format!("{}>", char::from(b'a' + n).to_string().repeat(9)))
        .collect();
    let streams: Vec<_> = prompts
        .iter()
        .map(|prompt| engine.generate(request(prompt)).unwrap())
        .collect();
    for (stream, prompt) in streams.into_iter().zip(&prompts) {
        assert_eq!(text_of(&events(stream)), prompt[..9]);
    }
}

#[test]
fn too_little_memory_bounds_the_context() {
    let settings = EngineSettings {
        kv_cache_bytes: 64 * 17 * 2,
        ..settings()
    };
    let engine = Engine::start(Box::new(FakeModel::free(1000)), small(), info(), &settings).unwrap();
    assert_eq!(engine.info().context_tokens, 64);
    assert!(matches!(
        engine.generate(request(&"x".repeat(64))).map(drop),
        Err(InferenceError::TooLong { tokens: 64, limit: 63 })
    ));
}

#[test]
fn guesses_change_no_token_and_take_fewer_steps() {
    let steps = |speculation: bool, prompt: &str, sampling: Sampling| {
        let (model, gate) = FakeModel::gated(CONTEXT * 4);
        let settings = EngineSettings {
            speculation,
            prefill_chunk_tokens: 512,
            ..settings()
        };
        let engine = Engine::start(model, small(), info(), &settings).unwrap();
        let calls = gate.open();
        let request = GenerateRequest {
            sampling,
            ..request(prompt)
        };
        let events = events(engine.generate(request).unwrap());
        drop(engine);
        (text_of(&events), end_of(&events), calls.iter().count())
    };
    let hot = Sampling {
        temperature: 2.0,
        top_k: 3,
        frequency_penalty: 1.0,
        seed: 4,
        ..Sampling::greedy()
    };
    for prompt in [
        "The fee is 5 yuan a month, and no more than that.>",
        "abcabcabcabc>",
        "xy>",
    ] {
        for sampling in [Sampling::greedy(), hot.clone()] {
            let (text, end, plain) = steps(false, prompt, sampling.clone());
            let (same, same_end, guessed) = steps(true, prompt, sampling);
            assert_eq!((same, same_end), (text, end));
            assert!(guessed <= plain, "{guessed} {plain}");
        }
    }
    let prompt = "The fee is 5 yuan a month, and no more than that.>";
    let (plain, guessed) = (
        steps(false, prompt, Sampling::greedy()).2,
        steps(true, prompt, Sampling::greedy()).2,
    );
    assert!(guessed * 3 < plain, "{guessed} of {plain}");
}

#[test]
fn a_passage_that_stands_elsewhere_is_not_read_again() {
    let (model, gate) = FakeModel::gated(CONTEXT * 4);
    let settings = EngineSettings {
        passage_cache_bytes: 1 << 20,
        prefill_chunk_tokens: 512,
        ..settings()
    };
    let engine = Engine::start(model, small(), info(), &settings).unwrap();
    let calls = gate.open();
    let passages = ["[the fee is one]", "[open until five]", "[never seen before]"];
    let asked = |prompt: &str| {
        let request = GenerateRequest {
            passages: passages.iter().map(|&passage| passage.to_owned()).collect(),
            max_tokens: 100,
            ..request(prompt)
        };
        let events = events(engine.generate(request).unwrap());
        assert_eq!(text_of(&events), prompt.strip_suffix('>').unwrap());
        let computed: usize = calls.try_iter().flatten().map(|part| part.tokens.len()).sum();
        (end_of(&events).1, computed)
    };
    let [fee, open, new] = passages;
    let [fees, opens, news] = passages.map(|passage| engine.count_tokens(passage).unwrap());
    let (first, _) = asked(&format!("1{fee}{open}x>"));
    assert_eq!(first.cached_tokens, 0);
    let (second, computed) = asked(&format!("2{open}{fee} and more>"));
    // Two tokens of each are read anew.
    assert_eq!(second.cached_tokens, opens + fees - 4);
    assert_eq!(
        computed,
        second.prompt_tokens - second.cached_tokens + second.completion_tokens
    );
    let (third, _) = asked(&format!("3{fee}{new}{open}>"));
    assert_eq!(third.cached_tokens, opens + fees - 4);
    let (fourth, _) = asked(&format!("2{open}{new}>"));
    // What was put into a cache is not kept as if it had been computed there.
    assert_eq!(fourth.cached_tokens, 1 + 2 + opens - 4 + news);
}

#[test]
fn continuations_are_scored_after_one_prompt() {
    let (model, gate) = FakeModel::gated(CONTEXT * 4);
    let engine = Engine::start(model, small(), info(), &settings()).unwrap();
    let calls = gate.open();
    let ask = |prompt: &str, continuations: &[&str]| {
        block_on(engine.score(ScoreRequest {
            prompt: Prompt::Text(prompt.to_owned()),
            continuations: continuations.iter().map(|&text| text.to_owned()).collect(),
            deadline: None,
        }))
    };
    let scores = ask("abc>", &["abc", "a", "ax", "x", "abd"]).unwrap();
    let sizes: Vec<_> = scores.iter().map(|score| score.logprobs.len()).collect();
    assert_eq!(sizes, [3, 1, 2, 1, 3]);
    let likely: Vec<Vec<bool>> = (scores.iter())
        .map(|score| score.logprobs.iter().map(|logprob| *logprob > -0.1).collect())
        .collect();
    assert_eq!(
        likely,
        [
            vec![true; 3],
            vec![true],
            vec![true, false],
            vec![false],
            vec![true, true, false]
        ]
    );
    assert!((scores[1].total() - scores[0].logprobs[0]).abs() < 1e-6);
    let computed: usize = calls.try_iter().flatten().map(|part| part.tokens.len()).sum();
    assert_eq!(
        computed,
        4 + 2 + 1 + 2,
        "the prompt once, and no continuation's last token"
    );
    assert_eq!(ask("abc>", &[]).unwrap(), []);
    for (continuations, name) in [(vec![""], "continuations"), (vec!["a"; 257], "continuations")] {
        assert!(matches!(
            ask("abc>", &continuations),
            Err(InferenceError::BadParameter { name: found, .. }) if found == name
        ));
    }
    let long = "y".repeat(CONTEXT * 4);
    assert!(matches!(ask("abc>", &[&long]), Err(InferenceError::TooLong { .. })));
    let large = Engine::start(Box::new(FakeModel::free(1000)), small(), info(), &settings()).unwrap();
    let refused = block_on(large.score(ScoreRequest {
        prompt: Prompt::Text("abc>".to_owned()),
        continuations: vec!["y".repeat(300)],
        deadline: None,
    }));
    assert!(matches!(
        refused,
        Err(InferenceError::BadParameter {
            name: "continuations",
            ..
        })
    ));
    assert!(matches!(
        ask(&format!("{FAIL}>"), &["a"]),
        Err(InferenceError::Compute(_))
    ));
    engine.shutdown(Shutdown::Drain);
    assert!(matches!(ask("abc>", &["a"]), Err(InferenceError::Stopped)));
}

#[test]
fn a_beginning_is_shared_with_an_answer_under_way() {
    let (engine, gate) = gated(&EngineSettings {
        parallel_requests: 2,
        prefill_chunk_tokens: 40,
        ..settings()
    });
    let common = "x".repeat(40);
    let first = engine.generate(request(&format!("{common}1>"))).unwrap();
    assert_eq!(only(gate.step()).tokens.len(), 40);
    gate.wait();
    let second = engine.generate(request(&format!("{common}2>"))).unwrap();
    drop(gate);
    let (first, second) = (events(first), events(second));
    assert_eq!(
        second[0],
        GenerationEvent::Started {
            prompt_tokens: 42,
            cached_tokens: 40
        }
    );
    assert_eq!(text_of(&first)[..10], text_of(&second)[..10]);
}

#[test]
fn a_deadline_ends_waiting_and_running_requests() {
    let (engine, gate) = gated(&settings());
    let deadline = Instant::now() + Duration::from_millis(20);
    let running = engine
        .generate(GenerateRequest {
            deadline: Some(deadline),
            ..request("abc>")
        })
        .unwrap();
    let waiting = engine
        .generate(GenerateRequest {
            deadline: Some(deadline),
            ..request("x>")
        })
        .unwrap();
    while Instant::now() < deadline {
        std::thread::yield_now();
    }
    drop(gate);
    assert!(matches!(failure(running), InferenceError::Deadline));
    assert!(matches!(failure(waiting), InferenceError::Deadline));
    assert_eq!(text_of(&ask(&engine, "a>")), "a");
}

#[test]
fn a_client_that_does_not_read_is_given_up_and_others_are_served() {
    let model = Box::new(FakeModel::free(1000));
    let settings = EngineSettings {
        stalled_client: Duration::ZERO,
        ..settings()
    };
    let engine = Engine::start(model, small(), info(), &settings).unwrap();
    let many = GenerateRequest {
        max_tokens: 900,
        ..request(&format!("{}>", "y".repeat(200)))
    };
    let stalled = engine.generate(many).unwrap();
    assert_eq!(text_of(&ask(&engine, "a>")), "a");
    let events: Vec<Reply> = block_on(stalled.collect());
    assert_eq!(events.len(), super::CHANNEL_EVENTS, "what fitted and no end");
    assert!(events.iter().all(Result::is_ok));
}

#[test]
fn a_slow_client_gets_the_whole_text_joined() {
    let engine = Engine::start(Box::new(FakeModel::free(1000)), small(), info(), &settings()).unwrap();
    let slow = engine
        .generate(GenerateRequest {
            max_tokens: 900,
            ..request(&format!("{}>", "y".repeat(200)))
        })
        .unwrap();
    // The slow client's place is free as soon as its answer is complete, read or not.
    assert_eq!(text_of(&ask(&engine, "a>")), "a");
    let events = events(slow);
    assert_eq!(text_of(&events), "y".repeat(200));
    assert!(events.len() <= super::CHANNEL_EVENTS + 2, "{}", events.len());
    assert_eq!(end_of(&events).0, FinishReason::Stop);
}

#[test]
fn a_failed_computation_ends_its_request_alone() {
    let engine = free(&EngineSettings {
        parallel_requests: 2,
        ..settings()
    });
    let failing = engine.generate(request(&format!("{FAIL}>"))).unwrap();
    let other = engine.generate(request("abc>")).unwrap();
    assert!(failure(failing).to_string().contains("told to fail"));
    assert_eq!(text_of(&events(other)), "abc");
}

#[test]
fn a_panic_ends_the_engine_and_nothing_else() {
    let (engine, gate) = gated(&EngineSettings {
        parallel_requests: 2,
        ..settings()
    });
    let running = engine.generate(request("abc>")).unwrap();
    gate.wait();
    let fatal = engine.generate(request(&format!("{PANIC}>"))).unwrap();
    let waiting = engine.generate(request("x>")).unwrap();
    drop(gate);
    assert!(matches!(failure(running), InferenceError::Compute(_)));
    assert!(matches!(failure(fatal), InferenceError::Compute(_)));
    assert!(matches!(failure(waiting), InferenceError::Stopped));
    assert!(matches!(
        engine.generate(request("a>")).map(drop),
        Err(InferenceError::Stopped)
    ));
}

#[test]
fn draining_answers_what_is_there_and_cancelling_does_not() {
    let engine = free(&settings());
    let [first, second] = ["abc>", "de>"].map(|prompt| engine.generate(request(prompt)).unwrap());
    engine.shutdown(Shutdown::Drain);
    assert!(matches!(
        engine.generate(request("a>")).map(drop),
        Err(InferenceError::Stopped)
    ));
    assert_eq!([first, second].map(|stream| text_of(&events(stream))), ["abc", "de"]);

    let (engine, gate) = gated(&settings());
    let [first, second] = ["abc>", "de>"].map(|prompt| engine.generate(request(prompt)).unwrap());
    gate.wait();
    let ended = std::thread::scope(|scope| {
        let ending = scope.spawn(|| engine.shutdown(Shutdown::Cancel));
        assert!(matches!(failure(second), InferenceError::Stopped));
        drop(gate);
        ending.join()
    });
    assert!(ended.is_ok());
    assert!(matches!(failure(first), InferenceError::Stopped));
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let mut vocabulary = crate::inference::tokenizer::tests::small_vocabulary();
    vocabulary.tokens.push("one too many".to_owned());
    vocabulary.types.push(1);
    let tokenizer = crate::inference::tokenizer::Tokenizer::new(vocabulary).unwrap();
    let refused = Engine::start(Box::new(FakeModel::free(8)), tokenizer, info(), &settings());
    assert!(matches!(refused, Err(InferenceError::Tokenizer(_))));
}

#[test]
fn a_constrained_answer_keeps_its_form_and_ends_with_it() {
    let engine = free(&settings());
    let constrained = |prompt: &str, constraint: Constraint| GenerateRequest {
        constraint: Some(constraint),
        top_logprobs: Some(1),
        ..request(prompt)
    };
    // The model would say "abc".
    let choice = Constraint::Choice(vec!["xyz".to_owned(), "a~c".to_owned()]);
    let answer = events(engine.generate(constrained("abc>", choice)).unwrap());
    assert_eq!(text_of(&answer), "a~c");
    assert_eq!(
        (end_of(&answer).0, end_of(&answer).1.completion_tokens),
        (FinishReason::Stop, 3)
    );
    // What is reported is the model's own opinion of the token that was drawn.
    let logprobs: Vec<f32> = (answer.iter())
        .filter_map(|event| match event {
            GenerationEvent::Text { logprobs, .. } => logprobs.first().map(|logprob| logprob.logprob),
            _ => None,
        })
        .collect();
    assert!(
        logprobs[0] > -0.001 && (logprobs[1] + 10.0).abs() < 0.001,
        "{logprobs:?}"
    );
    // The form is complete with the last token that is allowed.
    let exact = GenerateRequest {
        max_tokens: 3,
        ..constrained("abc>", Constraint::Choice(vec!["abc".to_owned()]))
    };
    assert_eq!(end_of(&events(engine.generate(exact).unwrap())).0, FinishReason::Stop);
    let wrong = constrained("abc>", Constraint::Regex("(".to_owned()));
    assert!(matches!(
        engine.generate(wrong).map(drop),
        Err(InferenceError::BadParameter { name: "constraint", .. })
    ));
}

#[test]
fn constrained_and_free_answers_side_by_side_do_not_disturb_each_other() {
    let sampling = |seed| Sampling {
        temperature: 2.0,
        presence_penalty: 1.0,
        seed,
        ..Sampling::greedy()
    };
    let asked = |number: u64| GenerateRequest {
        sampling: sampling(number),
        constraint: match number % 3 {
            0 => None,
            1 => Some(Constraint::Regex("[a-z]{2,9}~?".to_owned())),
            _ => Some(Constraint::Substring(vec!["hello 你好 second~ one".to_owned()])),
        },
        ..request("hello 你好 one>")
    };
    let alone: Vec<String> = (0..9)
        .map(|number| text_of(&events(free(&settings()).generate(asked(number)).unwrap())))
        .collect();
    let together = free(&EngineSettings {
        parallel_requests: 9,
        ..settings()
    });
    let streams: Vec<GenerationStream> = (0..9).map(|number| together.generate(asked(number)).unwrap()).collect();
    let answers: Vec<String> = streams.into_iter().map(|stream| text_of(&events(stream))).collect();
    assert_eq!(answers, alone);
    assert!("hello 你好 second~ one".contains(&alone[2]) && !alone[2].is_empty());
}
