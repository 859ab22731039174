//! What rounding costs: the log-probability of each token of a text, and the token the model holds likeliest, as one JSON
//! document. `scripts/bench-loss.py` compares them with llama.cpp's on the same file and with those of single precision.
//!
//! `cargo bench --bench loss -- MODEL.gguf TEXT... [--four-bits]` (files); every text is cut into windows of 256 tokens that are
//! computed alone.

use kefu::inference::Precision;
use kefu::inference::gguf::Gguf;
use kefu::inference::models::{self, Rows, Span};
use kefu::inference::sampler::logprobs;
use kefu::inference::tokenizer::{Tokenizer, Vocabulary};
use serde_json::json;
use std::error::Error;

/// Tokens that see one another.
const WINDOW: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let [model, texts @ ..] = files.as_slice() else {
        eprintln!("give a model and texts: cargo bench --bench loss -- MODEL.gguf TEXT...");
        return Ok(());
    };
    let gguf = Gguf::open(model)?;
    let tokenizer = Tokenizer::new(Vocabulary::from_gguf(&gguf)?)?;
    let four_bits = std::env::args().any(|arg| arg == "--four-bits");
    let precision = if four_bits {
        Precision::FourBits
    } else {
        Precision::AsStored
    };
    let mut model = models::load(&gguf, WINDOW, precision)?;
    let vocabulary = model.vocabulary();
    let mut windows = Vec::new();
    for text in texts {
        let tokens = tokenizer.encode_text(&std::fs::read_to_string(text)?)?;
        // What is left over at the end is too short to compare.
        for tokens in tokens.chunks_exact(WINDOW) {
            let mut cache = model.new_cache(WINDOW)?;
            let logits = model.forward(&mut [Span {
                tokens,
                cache: &mut cache,
                places: None,
                rows: Rows::All,
            }])?;
            let rows = logits.chunks_exact(vocabulary);
            let (mut said, mut best) = (Vec::new(), Vec::new());
            for (row, next) in rows.zip(&tokens[1..]) {
                let found = logprobs(row, *next, 1);
                said.push(found.chosen);
                best.push(found.top[0].0);
            }
            windows.push(json!({"text": text, "tokens": tokens, "logprobs": said, "best": best}));
        }
    }
    println!("{}", serde_json::to_string(&windows)?);
    Ok(())
}
