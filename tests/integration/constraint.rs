//! Answers of a given form, written by a real model, and what looking for the tokens that fit costs.

#![allow(clippy::unwrap_used)]

use crate::engine::{QWEN, QWEN_ENGINE, ask, chat, model_file, read};
use kefu::inference::constraint::Constraints;
use kefu::inference::gguf::Gguf;
use kefu::inference::tokenizer::{Tokenizer, Vocabulary};
use kefu::inference::{Constraint, FinishReason, GenerateRequest, LanguageModel, Sampling, Tool};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn hot(seed: u64) -> Sampling {
    Sampling {
        temperature: 1.0,
        seed,
        ..Sampling::greedy()
    }
}

fn asked(question: &str, constraint: Constraint, seed: u64) -> GenerateRequest {
    GenerateRequest {
        sampling: hot(seed),
        constraint: Some(constraint),
        ..chat(question, 120)
    }
}

fn complaint() -> Value {
    json!({
        "type": "object",
        "properties": {
            "kind": {"enum": ["退货", "换货", "投诉"]},
            "amount": {"type": "integer", "minimum": 0, "maximum": 9999},
            "words": {"type": "string", "maxLength": 12},
        },
        "required": ["kind", "amount", "words"],
        "additionalProperties": false,
    })
}

#[test]
fn json_fits_its_schema_whatever_is_drawn() {
    let question = "把下面的话写成 JSON：我要退货，退 35 元。";
    for seeds in (0..20).collect::<Vec<u64>>().chunks(4) {
        let form = || Constraint::JsonSchema(complaint());
        let streams: Vec<_> = (seeds.iter())
            .map(|&seed| QWEN_ENGINE.generate(asked(question, form(), seed)).unwrap())
            .collect();
        for stream in streams {
            let answer = read(stream);
            let text = answer.text();
            let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!(answer.reason, FinishReason::Stop);
            assert!(
                ["退货", "换货", "投诉"].contains(&value["kind"].as_str().unwrap()),
                "{text}"
            );
            assert!((0..=9999).contains(&value["amount"].as_i64().unwrap()), "{text}");
            assert!(value["words"].as_str().unwrap().chars().count() <= 12, "{text}");
            assert_eq!(value.as_object().unwrap().len(), 3, "{text}");
        }
    }
}

#[test]
fn expressions_choices_pieces_and_calls_are_kept() {
    let phone = regex::Regex::new(r"^1[3-9]\d{9}$").unwrap();
    let passage = "信用卡遗失后请立即挂失。信用卡挂失手续费每卡40元。补发新卡工本费每卡10元。";
    let tool = Tool {
        name: "order_status".to_owned(),
        description: Some("查订单".to_owned()),
        parameters: json!({"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"],
            "additionalProperties": false}),
        strict: true,
    };
    for seed in 0..4 {
        let number = ask(
            &QWEN_ENGINE,
            asked("随便写一个手机号。", Constraint::Regex(r"1[3-9]\d{9}".to_owned()), seed),
        );
        assert!(phone.is_match(&number.text()), "{}", number.text());
        assert_eq!(number.reason, FinishReason::Stop);

        let choices = ["是".to_owned(), "否".to_owned(), "不确定".to_owned()];
        let choice = ask(
            &QWEN_ENGINE,
            asked("天空是绿色的吗？", Constraint::Choice(choices.to_vec()), seed),
        )
        .text();
        assert!(choices.contains(&choice), "{choice}");

        let question = format!("资料：{passage}\n从资料里摘录：挂失要多少钱？");
        let form = Constraint::Substring(vec!["无关的话。".to_owned(), passage.to_owned()]);
        let piece = ask(&QWEN_ENGINE, asked(&question, form, seed)).text();
        assert!(
            !piece.is_empty() && (passage.contains(&piece) || "无关的话。".contains(&piece)),
            "{piece}"
        );

        let mut call = asked(
            "订单 4711 到哪了？",
            Constraint::ToolCalls {
                tools: vec![tool.clone()],
                most: 1,
            },
            seed,
        );
        call.tools = vec![tool.clone()];
        let text = ask(&QWEN_ENGINE, call).text();
        let inner = text
            .strip_prefix("<tool_call>\n")
            .and_then(|rest| rest.strip_suffix("\n</tool_call>"));
        let call: Value = serde_json::from_str(inner.unwrap_or_else(|| panic!("{text}"))).unwrap();
        assert!(
            call["name"] == "order_status" && call["arguments"]["order"].is_i64(),
            "{text}"
        );
    }
}

#[test]
fn free_and_constrained_answers_side_by_side_are_those_given_alone() {
    let question = "退货运费谁出？";
    let requests = || {
        let free = GenerateRequest {
            sampling: hot(3),
            ..chat(question, 12)
        };
        let form = Constraint::JsonSchema(complaint());
        let constrained = GenerateRequest {
            max_tokens: 12,
            ..asked(question, form, 4)
        };
        [free, constrained]
    };
    let alone = requests().map(|request| ask(&QWEN_ENGINE, request).text());
    let streams = requests().map(|request| QWEN_ENGINE.generate(request).unwrap());
    assert_eq!(streams.map(|stream| read(stream).text()), alone);
}

/// The sample documents, as texts of about 2,000 characters.
fn passages() -> Vec<String> {
    fn collect(folder: &Path, text: &mut String) {
        let mut paths: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                collect(&path, text);
            } else if let Ok(more) = std::fs::read_to_string(&path) {
                text.push_str(&more);
            }
        }
    }
    let mut text = String::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("kb/docs/cards"), &mut text);
    let characters: Vec<char> = text.chars().collect();
    characters
        .chunks(2000)
        .take(3)
        .map(|part| part.iter().collect())
        .collect()
}

/// Prints what the library costs with a vocabulary of 150,000 tokens.
#[test]
fn long_passages_are_followed_to_their_end() {
    let tokenizer =
        Arc::new(Tokenizer::new(Vocabulary::from_gguf(&Gguf::open(model_file(QWEN)).unwrap()).unwrap()).unwrap());
    let constraints = Constraints::new(Arc::clone(&tokenizer));
    let began = Instant::now();
    constraints.begin(&Constraint::JsonObject).unwrap();
    println!("the vocabulary: {:?}", began.elapsed());
    let passages = passages();
    assert!(passages.iter().all(|passage| passage.chars().count() > 1000) && passages.len() == 3);
    for count in [1, 3] {
        let form = Constraint::Substring(passages[..count].to_vec());
        let began = Instant::now();
        let mut constrained = constraints.begin(&form).unwrap();
        let built = began.elapsed();
        // The tokens of a piece from the middle, one after the other.
        let characters: Vec<char> = passages[count - 1].chars().collect();
        let piece: String = characters[500..800].iter().collect();
        let tokens = tokenizer.encode_text(&piece).unwrap();
        let logits = vec![0.0; tokenizer.len()];
        let mut times: Vec<Duration> = Vec::new();
        for &token in &tokens {
            let began = Instant::now();
            let masked = constrained.mask(&logits).unwrap();
            let took = began.elapsed();
            assert!(masked[token as usize].is_finite(), "{piece}");
            let began = Instant::now();
            constrained.accept(token).unwrap();
            times.push(took + began.elapsed());
        }
        let masked = constrained.mask(&logits).unwrap();
        let end = tokenizer.end_tokens()[0] as usize;
        assert!(masked[end].is_finite(), "a piece may end anywhere");
        let stray = tokenizer.encode_text("鳄鱼").unwrap()[0] as usize;
        assert!(!masked[stray].is_finite());
        let first = times[0];
        times.sort_unstable();
        println!(
            "{count} passages of 2,000 characters: built in {built:?}; first mask {first:?}, median {:?}, worst {:?}",
            times[times.len() / 2],
            times[times.len() - 1],
        );
    }
}
