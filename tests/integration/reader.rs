//! The built-in reader against the model it was made from, on the real file.
#![allow(clippy::unwrap_used)]

use crate::embedder::{embedder, fixture};
use kefu::config::{Overrides, load};
use kefu::inference::{CrossReader, ReadPassage, Reader};
use serde::Deserialize;

/// What the training program's model, with the weights of the file as 32-bit numbers, says of a pair.
#[derive(Deserialize)]
struct Pair {
    question: String,
    title: String,
    text: String,
    log_odds: f32,
    /// The answer's words, to the token.
    answer: String,
}

fn reader() -> CrossReader {
    let config = load(&Overrides::default()).unwrap().inference;
    CrossReader::built_in(embedder(), &config).unwrap()
}

#[tokio::test]
async fn readings_agree_with_the_model_that_was_trained() {
    let reader = reader();
    let pairs: Vec<Pair> = serde_json::from_str(&fixture("reader.json")).unwrap();
    assert!(pairs.len() >= 12);
    let mut worst = 0f32;
    for pair in &pairs {
        let passage = ReadPassage {
            title: pair.title.clone(),
            text: pair.text.clone(),
        };
        let reading = reader.read(&pair.question, &[passage]).await.unwrap().remove(0);
        worst = worst.max((reading.log_odds - pair.log_odds).abs());
        assert_eq!(&pair.text[reading.place.span.clone()], pair.answer, "{}", pair.question);
        let whole = 0..pair.text.len();
        let within = reading.place.within(std::slice::from_ref(&whole));
        // What has almost no share is left out.
        assert!((0.8..=1.0).contains(&within), "{}: {within}", pair.question);
        let marked = std::slice::from_ref(&reading.place.span);
        assert!(reading.place.within(marked) <= within);
    }
    println!("log-odds within {worst:.3}");
    // Activations are rounded to 8 bits in each of twelve layers, which the reference does not do. A quarter is 0.06 in a
    // probability at most.
    assert!(worst < 0.25, "{worst}");
}

#[tokio::test]
async fn several_passages_read_as_each_alone_and_nothing_gives_nothing() {
    let reader = reader();
    let passage = |title: &str, text: &str| ReadPassage {
        title: title.to_owned(),
        text: text.to_owned(),
    };
    let long = format!(
        "{}\n金卡年费160元。\n{}",
        "本行网点众多。".repeat(150),
        "欢迎光临。".repeat(150)
    );
    let passages = [
        passage("信用卡 › 年费", "普卡年费80元，金卡年费160元，刷满六笔免次年年费。"),
        passage("", ""),
        passage("信用卡", &long),
    ];
    let together = reader.read("金卡一年多少钱", &passages).await.unwrap();
    for (passage, reading) in passages.iter().zip(&together) {
        let alone = reader
            .read("金卡一年多少钱", std::slice::from_ref(passage))
            .await
            .unwrap();
        assert_eq!(alone[0], *reading);
    }
    assert!(together[0].log_odds > together[1].log_odds);
    assert_eq!(together[1].place.span, 0..0);
    // What stands far behind the first tokens is read too.
    assert!(
        long[together[2].place.span.clone()].contains("160"),
        "{:?}",
        &long[together[2].place.span.clone()]
    );
    assert!(reader.read("金卡", &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_reader_over_another_vocabulary_is_refused() {
    let config = load(&Overrides::default()).unwrap().inference;
    let other = crate::embedder::load("another model's hash");
    let error = CrossReader::built_in(&other, &config).unwrap_err().to_string();
    assert!(error.contains("embedding_model"), "{error}");
}
