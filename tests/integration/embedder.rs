//! The embedding model against its reference, on the real file.
#![allow(clippy::unwrap_used)]

use kefu::config;
use kefu::inference::E5Embedder;
use kefu::inference::{Embedder, TextKind};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The file of a model that tests need.
fn model_file(name: &str) -> PathBuf {
    let dir = std::env::var_os("KEFU_TEST_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("models"), PathBuf::from);
    let path = dir.join(name);
    assert!(
        path.is_file(),
        "{} is missing: run scripts/test.sh, which fetches the models",
        path.display()
    );
    path
}

/// The model; `sha256` is what it is to say of itself.
pub fn load(sha256: &str) -> E5Embedder {
    let config = config::load(&config::Overrides::default()).unwrap().inference;
    E5Embedder::load(&model_file("e5-small-q4.bin"), "multilingual-e5-small", sha256, &config).unwrap()
}

pub fn embedder() -> &'static E5Embedder {
    static EMBEDDER: OnceLock<E5Embedder> = OnceLock::new();
    EMBEDDER.get_or_init(|| load(""))
}

pub fn fixture(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

#[derive(Deserialize)]
struct Sentence {
    text: String,
    n_tokens: usize,
    vector: Vec<f32>,
}

impl Sentence {
    fn parts(&self) -> (TextKind, &str) {
        match self.text.split_once(": ").unwrap() {
            ("query", text) => (TextKind::Query, text),
            ("passage", text) => (TextKind::Passage, text),
            other => panic!("unknown prefix in {other:?}"),
        }
    }
}

fn sentences() -> Vec<Sentence> {
    let all: Vec<Sentence> = serde_json::from_str(&fixture("embed_e5.json")).unwrap();
    assert_eq!(all.len(), 20);
    all
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[tokio::test]
async fn vectors_agree_with_the_reference() {
    for sentence in sentences() {
        let (kind, text) = sentence.parts();
        let got = embedder().embed(kind, vec![text.to_owned()]).await.unwrap();
        assert_eq!(got.tokens, sentence.n_tokens, "{text}");
        let cosine = cosine(&got.data, &sentence.vector);
        assert!(cosine >= 0.999, "{text}: cosine {cosine}");
        let norm = got.data.iter().map(|x| x * x).sum::<f32>().sqrt();
        assert!((norm - 1.0).abs() <= 1e-3, "{text}: norm {norm}");
    }
}

#[tokio::test]
async fn a_batch_gives_what_single_texts_give() {
    for kind in [TextKind::Query, TextKind::Passage] {
        let texts: Vec<String> = sentences().iter().map(|s| s.parts().1.to_owned()).collect();
        let batch = embedder().embed(kind, texts.clone()).await.unwrap();
        assert_eq!(batch.rows().len(), texts.len());
        for (text, row) in texts.iter().zip(batch.rows()) {
            let single = embedder().embed(kind, vec![text.clone()]).await.unwrap();
            for (a, b) in row.iter().zip(&single.data) {
                assert!((a - b).abs() <= 1e-4, "{text}: {a} in the batch, {b} alone");
            }
        }
    }
}

/// The fixture comes from the C code that the model file was published with. Where the `tokenizers` library differs
/// from it, the line has that library's ids too: it makes one unknown piece of consecutive unknown characters, as the
/// model was trained (Kudo & Richardson, arXiv:1808.06226), and gives nothing for nothing.
#[derive(Deserialize)]
struct Tokens {
    text: String,
    ids: Vec<u32>,
    ids_tokenizers: Option<Vec<u32>>,
}

#[test]
fn ids_are_the_reference_ids() {
    let mut lines = 0;
    for line in fixture("tokenize_e5.jsonl").lines() {
        let tokens: Tokens = serde_json::from_str(line).unwrap();
        let got = embedder().token_ids(&tokens.text).unwrap();
        lines += 1;
        if ["<s>", "</s>", "<pad>", "<unk>", "<mask>"]
            .iter()
            .any(|piece| tokens.text.contains(piece))
        {
            // Here both references let a text forge control pieces.
            let (first, inner, last) = (got[0], &got[1..got.len() - 1], got[got.len() - 1]);
            assert_eq!((first, last), (0, 2), "{:?}", tokens.text);
            assert!(
                inner.iter().all(|id| ![0, 1, 2, 3, 250_001].contains(id)),
                "{:?}: {got:?}",
                tokens.text
            );
            continue;
        }
        assert_eq!(got, tokens.ids_tokenizers.unwrap_or(tokens.ids), "{:?}", tokens.text);
    }
    assert_eq!(lines, 209);
}
