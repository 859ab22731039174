//! A model for tests that computes nothing: it repeats the prompt up to the first `>` and ends, reading what it knows
//! from the cache alone, as a real one does.

use crate::inference::InferenceError;
use crate::inference::kv_cache::{KvPiece, KvPool, KvShape};
use crate::inference::models::{CausalModel, Span};
use candle_core::Device;
use std::sync::mpsc::{Receiver, Sender, channel};

/// It keeps a token's number.
const SHAPE: KvShape = KvShape {
    layers: 1,
    heads: 1,
    dim: 1,
};
/// Its vocabulary is that of the small tokenizer.
pub(super) const VOCABULARY: usize = 264;
/// `<|im_end|>`.
pub(super) const END: u32 = 262;
/// The prompt from which on it answers.
pub(super) const ANSWER: u32 = b'>' as u32;
/// A prompt with this byte makes it panic.
pub(super) const PANIC: &str = "\u{1}";
/// A prompt with this byte makes it fail.
pub(super) const FAIL: &str = "\u{2}";

/// What the model is about to compute for one sequence: tokens before, and tokens now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) before: usize,
    pub(super) tokens: Vec<u32>,
}

/// What it is about to compute at once.
pub(super) type Call = Vec<Part>;

/// The test's end of a model that stops before each call.
pub(super) struct Gate {
    calls: Receiver<Call>,
    permits: Sender<()>,
}

impl Gate {
    /// Waits until the model is about to compute.
    pub(super) fn wait(&self) -> Call {
        self.calls.recv().expect("the engine runs")
    }

    /// Lets it.
    pub(super) fn pass(&self) {
        self.permits.send(()).expect("the engine runs");
    }

    /// Both.
    pub(super) fn step(&self) -> Call {
        let call = self.wait();
        self.pass();
        call
    }

    /// Lets the model run freely; what it computed meanwhile can be asked for at the end.
    pub(super) fn open(self) -> Receiver<Call> {
        self.calls
    }
}

pub(super) struct FakeModel {
    context: usize,
    /// Whether what it keeps is in the memory of a device.
    on_device: bool,
    gate: Option<(Sender<Call>, Receiver<()>)>,
}

impl FakeModel {
    /// A model that never waits.
    pub(super) fn free(context: usize) -> Self {
        Self {
            context,
            on_device: false,
            gate: None,
        }
    }

    /// The same with keys and values in the memory of a device.
    pub(super) fn on_device(context: usize) -> Self {
        Self {
            on_device: true,
            ..Self::free(context)
        }
    }

    /// A model that waits before each call for its gate to let it pass.
    pub(super) fn gated(context: usize) -> (Box<Self>, Gate) {
        let (entered, calls) = channel();
        let (permits, permitted) = channel();
        (
            Box::new(Self {
                context,
                on_device: false,
                gate: Some((entered, permitted)),
            }),
            Gate { calls, permits },
        )
    }

    /// Writes tokens into the cache and returns all it holds.
    fn append(span: &mut Span<'_>) -> Result<Vec<u32>, InferenceError> {
        let rows: Vec<f32> = span.tokens.iter().map(|&token| token as f32).collect();
        let (positions, end) = span.places();
        let cache = &mut *span.cache;
        cache.make_room(end - cache.len())?;
        cache.write(0, &positions, &rows, &rows)?;
        cache.advance_to(end);
        let held = cache.piece(0..cache.len())?;
        let (keys, _) = &held.layers[0];
        Ok(keys.iter().map(|token| token.to_f32() as u32).collect())
    }

    /// The logits of the last of `held`.
    fn logits(held: &[u32]) -> Vec<f32> {
        let next = match held.iter().position(|&token| token == ANSWER) {
            Some(mark) => {
                let said = held.len() - mark - 1;
                if said < mark { held[said] } else { END }
            }
            None => END,
        };
        // Second comes a tilde, far less likely.
        let mut logits = vec![-20.0; VOCABULARY];
        logits[usize::from(b'~')] = 0.0;
        logits[next as usize] = 10.0;
        logits
    }
}

impl CausalModel for FakeModel {
    fn vocabulary(&self) -> usize {
        VOCABULARY
    }

    fn context_tokens(&self) -> usize {
        self.context
    }

    fn kv_shape(&self) -> KvShape {
        SHAPE
    }

    fn new_pool(&self, pages: usize) -> Result<KvPool, InferenceError> {
        if self.on_device {
            return Ok(KvPool::on_device(SHAPE, pages, &Device::Cpu)?);
        }
        Ok(KvPool::new(SHAPE, pages))
    }

    fn moved(&self, piece: &KvPiece, to: usize) -> KvPiece {
        KvPiece {
            begin: to,
            ..piece.clone()
        }
    }

    fn forward(&mut self, spans: &mut [Span<'_>]) -> Result<Vec<f32>, InferenceError> {
        if let Some((entered, permitted)) = &self.gate {
            let part = |span: &Span<'_>| Part {
                before: span.cache.len(),
                tokens: span.tokens.to_vec(),
            };
            let _ = entered.send(spans.iter().map(part).collect());
            // Once the test has let go of the gate, nothing waits any more.
            let _ = permitted.recv();
        }
        let said = |byte: &str| {
            spans
                .iter()
                .any(|span| span.tokens.contains(&u32::from(byte.as_bytes()[0])))
        };
        assert!(!said(PANIC), "told to panic");
        if said(FAIL) {
            return Err(InferenceError::Compute(candle_core::Error::Msg(
                "told to fail".to_owned(),
            )));
        }
        let mut logits = Vec::new();
        for span in spans {
            let held = Self::append(span)?;
            let rows = span.rows.of(span.tokens.len());
            for end in held.len() - rows..held.len() {
                logits.extend(Self::logits(&held[..=end]));
            }
        }
        Ok(logits)
    }
}
