#![allow(clippy::unwrap_used, clippy::many_single_char_names)]
use super::container::Container;
use super::container::tests::tiny;
use super::model::Encoder;
use super::weights::Weights;
use super::*;
use crate::config::InferenceConfig;
use crate::config::Overrides;
use crate::inference::{Embedder, TextKind};
use crate::kernels::level::Level;
use crate::kernels::pool;

pub(super) fn embedder() -> E5Embedder {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.bin");
    std::fs::write(&path, tiny()).unwrap();
    E5Embedder::load(&path, "tiny", "00", &config()).unwrap()
}

pub(super) fn config() -> InferenceConfig {
    crate::config::load(&Overrides::default()).unwrap().inference
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[tokio::test]
async fn vectors_have_norm_one_and_kinds_differ() {
    let embedder = embedder();
    let texts = vec!["退货".to_owned(), String::new()];
    let query = embedder.embed(TextKind::Query, texts.clone()).await.unwrap();
    let passage = embedder.embed(TextKind::Passage, texts).await.unwrap();
    assert_eq!((query.dim, query.rows().len()), (64, 2));
    // Without a text: begin, "query", the colon, the space, end.
    assert_eq!(
        query.tokens,
        embedder.count_tokens(TextKind::Query, "退货").unwrap() + 5
    );
    for row in query.rows().chain(passage.rows()) {
        assert!((cosine(row, row) - 1.0).abs() < 1e-5);
    }
    assert_ne!(query.data, passage.data);
}

#[tokio::test]
async fn nothing_gives_nothing() {
    let none = embedder().embed(TextKind::Query, Vec::new()).await.unwrap();
    assert_eq!((none.data.len(), none.tokens), (0, 0));
}

#[tokio::test]
async fn too_long_a_text_is_refused_whole() {
    let embedder = embedder();
    let long = "退货卡".repeat(10);
    let error = embedder
        .embed(TextKind::Query, vec!["卡".into(), long.clone()])
        .await
        .unwrap_err();
    let tokens = embedder.count_tokens(TextKind::Query, &long).unwrap();
    assert!(matches!(error, InferenceError::TooLong { tokens: t, limit: 16 } if t == tokens));
}

#[tokio::test]
async fn a_missing_or_foreign_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.bin");
    let missing = E5Embedder::load(&path, "x", "", &config()).unwrap_err();
    assert!(matches!(missing, InferenceError::Io { path: p, .. } if p == path));
    std::fs::write(&path, b"GGUF and more").unwrap();
    let foreign = E5Embedder::load(&path, "x", "", &config()).unwrap_err();
    assert!(matches!(foreign, InferenceError::BadModel { detail, .. } if detail.contains("E5S1")));
}

/// BERT in double precision, written from the paper without any of the encoder's code.
fn reference(file: &Container<'_>, ids: &[u32]) -> Vec<f64> {
    let (hidden, heads, n) = (file.shape.hidden, file.shape.heads, ids.len());
    let size = hidden / heads;
    let plain =
        |name: &str, count| -> Vec<f64> { file.numbers(name, count).unwrap().into_iter().map(f64::from).collect() };
    let weights = |name: &str, count| -> Vec<f64> {
        let blocks = file.q4_blocks(name, count).unwrap();
        let mut one = [0.0; 32];
        blocks
            .iter()
            .flat_map(|b| {
                container::unpack_block(b, &mut one);
                one
            })
            .map(f64::from)
            .collect()
    };
    let linear = |x: &[f64], name: &str, inner: usize, columns: usize| -> Vec<f64> {
        let (w, b) = (
            weights(&format!("{name}.w"), inner * columns),
            plain(&format!("{name}.b"), columns),
        );
        (0..n * columns)
            .map(|i| {
                let (row, column) = (i / columns, i % columns);
                b[column]
                    + (0..inner)
                        .map(|k| x[row * inner + k] * w[column * inner + k])
                        .sum::<f64>()
            })
            .collect()
    };
    let norm = |x: &mut [f64], name: &str| {
        let (gain, bias) = (plain(&format!("{name}.w"), hidden), plain(&format!("{name}.b"), hidden));
        for row in x.chunks_exact_mut(hidden) {
            let mean = row.iter().sum::<f64>() / hidden as f64;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / hidden as f64;
            for (c, x) in row.iter_mut().enumerate() {
                *x = (*x - mean) / (variance + f64::from(file.shape.epsilon)).sqrt() * gain[c] + bias[c];
            }
        }
    };
    let words = weights("emb.word", file.shape.vocabulary * hidden);
    let places = plain("emb.pos", file.shape.positions * hidden);
    let types = plain("emb.type", file.shape.token_types * hidden);
    let mut x: Vec<f64> = (0..n * hidden)
        .map(|i| words[ids[i / hidden] as usize * hidden + i % hidden] + places[i] + types[i % hidden])
        .collect();
    norm(&mut x, "emb.ln");
    for l in 0..file.shape.layers {
        let [q, k, v] = ["q", "k", "v"].map(|part| linear(&x, &format!("l{l}.{part}"), hidden, hidden));
        let mut attended = vec![0.0; n * hidden];
        for head in 0..heads {
            for i in 0..n {
                let dot = |j: usize| {
                    (0..size)
                        .map(|d| q[i * hidden + head * size + d] * k[j * hidden + head * size + d])
                        .sum::<f64>()
                };
                let e: Vec<f64> = (0..n).map(|j| (dot(j) / (size as f64).sqrt()).exp()).collect();
                let total: f64 = e.iter().sum();
                for d in 0..size {
                    attended[i * hidden + head * size + d] =
                        (0..n).map(|j| e[j] / total * v[j * hidden + head * size + d]).sum();
                }
            }
        }
        let out = linear(&attended, &format!("l{l}.ao"), hidden, hidden);
        x.iter_mut().zip(out).for_each(|(x, y)| *x += y);
        norm(&mut x, &format!("l{l}.aln"));
        let mut inner = linear(&x, &format!("l{l}.fi"), hidden, file.shape.feed_forward);
        for h in &mut inner {
            *h *= 0.5 * (1.0 + candle_core::cpu::erf::erf_f64(*h / std::f64::consts::SQRT_2));
        }
        let out = linear(&inner, &format!("l{l}.fo"), file.shape.feed_forward, hidden);
        x.iter_mut().zip(out).for_each(|(x, y)| *x += y);
        norm(&mut x, &format!("l{l}.oln"));
    }
    let sums: Vec<f64> = (0..hidden)
        .map(|c| (0..n).map(|row| x[row * hidden + c]).sum())
        .collect();
    let length = sums.iter().map(|x| x * x).sum::<f64>().sqrt();
    sums.into_iter().map(|x| x / length).collect()
}

#[test]
fn the_encoder_agrees_with_the_paper_on_every_instruction_set() {
    let bytes = tiny();
    let file = Container::parse(&bytes).unwrap();
    let texts: Vec<Vec<u32>> = [1_u32, 2, 5, 16, 7, 13]
        .iter()
        .map(|n| (0..*n).map(|i| (i * 7 + n) % 40).collect())
        .collect();
    for level in Level::available() {
        let encoder = Encoder::read(&file, level).unwrap();
        for threads in [1, 3] {
            let vectors = pool::with_threads(threads, || encoder.embed(&texts));
            for (ids, vector) in texts.iter().zip(vectors.chunks_exact(64)) {
                let exact = reference(&file, ids);
                let distance = vector
                    .iter()
                    .zip(&exact)
                    .map(|(x, y)| (f64::from(*x) - y).powi(2))
                    .sum::<f64>()
                    .sqrt();
                // Each of 8 products gets numbers that are off by up to 1/254 of the largest of their 32, on the average
                // by 1/127/sqrt(12) of it: of numbers of normal distribution about 0.5 %. Layers that normalise add
                // that up as the root of 8, to 1.4 % of a vector of norm 1; the mean of some tokens has less.
                assert!(distance < 0.015, "{} with {threads} threads: {distance}", level.name());
                let alone = pool::with_threads(threads, || encoder.embed(std::slice::from_ref(ids)));
                assert_eq!(alone, vector, "{}: a text's vector depends on its batch", level.name());
            }
        }
    }
}
