use super::fake::{Call, FAIL, FakeModel, Gate, PANIC};
use super::{Engine, EngineSettings, Reply, Shutdown};
use crate::inference::tokenizer::tests::small;
use crate::inference::{
    ChatMessage, ChatRole, Constraint, FinishReason, GenerateRequest, GenerationEvent, GenerationStream,
    InferenceError, LanguageModel, ModelInfo, Prompt, Sampling, Usage,
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
        context_tokens: 0,
        cached_sequences: 0,
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
    let Call { tokens, .. } = gate.step();
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
        !calls.iter().any(|call| call.tokens.contains(&u32::from(b'b'))),
        "nobody waited for b"
    );
}

#[test]
fn a_dropped_stream_ends_its_work_within_one_token() {
    let (engine, gate) = gated(&settings());
    let first = engine.generate(request("abcdef>")).unwrap();
    let second = engine.generate(request("x>")).unwrap();
    assert_eq!(gate.step().tokens.len(), 7);
    assert_eq!(gate.step().tokens, [u32::from(b'a')]);
    // The model computes the second token of the first answer; after it, nothing of that request.
    gate.wait();
    drop(first);
    gate.pass();
    assert_eq!(
        gate.step(),
        Call {
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
    assert_eq!(gate.step().tokens.len(), 8);
    gate.wait();
    drop(long);
    gate.pass();
    assert_eq!(gate.step().before, 0);
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
    let turns: Vec<usize> = (0..6).map(|_| gate.step().tokens.len()).collect();
    assert_eq!(turns, [1, 8, 1, 8, 1, 8]);
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
        cached_sequences: 4,
        ..settings()
    });
    let streams = prompts.map(|prompt| together.generate(asked(prompt)).unwrap());
    assert_eq!(streams.map(|stream| text_of(&events(stream))), alone);
}

#[test]
fn a_beginning_that_is_there_is_not_computed_again() {
    let engine = free(&EngineSettings {
        cached_sequences: 2,
        prefill_chunk_tokens: 4,
        ..settings()
    });
    let cached = |prompt: &str| {
        let events = ask(&engine, prompt);
        assert_eq!(text_of(&events), prompt.strip_suffix('>').unwrap());
        end_of(&events).1.cached_tokens
    };
    assert_eq!(cached("abcdefgh1>"), 0);
    assert_eq!(cached("abcdefgh2>"), 8);
    assert_eq!(cached("abcdef2345>"), 4, "whole chunks only");
    assert_eq!(cached("abcdefg>"), 4, "the last token is computed for its logits");
    assert_eq!(cached("zzzzzzzz>"), 0);
    assert_eq!(
        cached("abcdefgh1>"),
        4,
        "the first prompt was given up as the least recently used"
    );
}

#[test]
fn a_cache_does_not_change_how_the_rest_is_computed() {
    let settings = EngineSettings {
        cached_sequences: 4,
        ..settings()
    };
    let calls = |before: &[&str], prompt: &str| {
        let (model, gate) = FakeModel::gated(CONTEXT);
        let engine = Engine::start(model, small(), info(), &settings).unwrap();
        let calls = gate.open();
        for earlier in before {
            ask(&engine, earlier);
        }
        let earlier = calls.try_iter().count();
        let cached = end_of(&ask(&engine, prompt)).1.cached_tokens;
        drop(engine);
        assert!(before.is_empty() || earlier > 0);
        (cached, calls.iter().collect::<Vec<_>>())
    };
    let prompt = "The same instructions, and a question of its own>";
    let (none, fresh) = calls(&[], prompt);
    let (some, warm) = calls(&["The same instructions, but another>"], prompt);
    assert_eq!((none, some), (0, 16));
    assert_eq!(warm, fresh[2..]);
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
    assert_eq!(gate.step().tokens.len(), 40);
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
