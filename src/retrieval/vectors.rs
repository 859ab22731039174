//! Vectors of texts: looked up in the store first, computed only where they are missing, and stored as they come, so
//! that no text is ever embedded twice by one model, not even when an import is killed.

use super::RetrievalError;
use crate::inference::{Embedder, InferenceError, TextKind};
use crate::storage::Store;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Texts in one call of the embedder: few enough that a cancelled import stops soon, and that questions of customers
/// come in between.
const BATCH: usize = 16;
/// Keys looked up at once.
const LOOKUP: usize = 512;
/// How often an overloaded embedder is asked again.
const ATTEMPTS: u32 = 120;

/// The key under which the vector of `text` is stored: SHA-256 over the kind's name, a zero byte, and the text.
#[must_use]
pub fn embedding_key(kind: TextKind, text: &str) -> [u8; 32] {
    let name: &[u8] = match kind {
        TextKind::Query => b"query\0",
        TextKind::Passage => b"passage\0",
    };
    Sha256::new().chain_update(name).chain_update(text).finalize().into()
}

/// How many vectors were found and how many had to be computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Embedded {
    /// Texts embedded now.
    pub computed: usize,
    /// Texts whose vector was stored before.
    pub reused: usize,
}

/// The vectors that are stored, and the means to compute the others.
#[derive(Clone)]
pub struct Vectors {
    pub(super) store: Arc<dyn Store>,
    pub(super) embedder: Arc<dyn Embedder>,
}

impl Vectors {
    /// Vectors by `embedder`, kept in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, embedder: Arc<dyn Embedder>) -> Self {
        Self { store, embedder }
    }

    /// The vector of each text, of norm 1. Missing ones are computed and stored.
    ///
    /// # Errors
    /// What the store or the embedder says.
    pub async fn each(&self, kind: TextKind, texts: &[String]) -> Result<Vec<Vec<f32>>, RetrievalError> {
        let rows = self.rows(kind, texts).await?;
        Ok(rows
            .chunks(self.embedder.info().dim.max(1))
            .map(<[f32]>::to_vec)
            .collect())
    }

    /// Sees to it that every text has a stored vector. `progress` is told how many of them have one.
    pub(super) async fn ensure(
        &self,
        kind: TextKind,
        texts: &[String],
        cancel: &CancellationToken,
        progress: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Embedded, RetrievalError> {
        let mut done = Embedded::default();
        for texts in texts.chunks(LOOKUP) {
            let stored = self.lookup(kind, texts).await?;
            let missing = self.missing(kind, texts, &stored)?;
            done.reused += texts.len() - missing.len();
            progress(done.computed + done.reused);
            for batch in missing.chunks(BATCH) {
                if cancel.is_cancelled() {
                    return Err(RetrievalError::Cancelled);
                }
                self.compute(kind, batch).await?;
                done.computed += batch.len();
                progress(done.computed + done.reused);
            }
        }
        Ok(done)
    }

    /// The vectors of all texts, row by row in one piece: `[texts.len(), dim]`. Missing ones are computed and stored.
    pub(super) async fn rows(&self, kind: TextKind, texts: &[String]) -> Result<Vec<f32>, RetrievalError> {
        let dim = self.embedder.info().dim;
        let mut rows = Vec::with_capacity(texts.len() * dim);
        for texts in texts.chunks(LOOKUP) {
            let mut stored = self.lookup(kind, texts).await?;
            let missing = self.missing(kind, texts, &stored)?;
            if !missing.is_empty() {
                for batch in missing.chunks(BATCH) {
                    self.compute(kind, batch).await?;
                }
                stored = self.lookup(kind, texts).await?;
            }
            for vector in stored {
                let vector = vector.unwrap_or_default();
                if vector.len() != dim {
                    return Err(RetrievalError::Dimension {
                        got: vector.len(),
                        want: dim,
                    });
                }
                rows.extend_from_slice(&vector);
            }
        }
        Ok(rows)
    }

    async fn lookup(&self, kind: TextKind, texts: &[String]) -> Result<Vec<Option<Vec<f32>>>, RetrievalError> {
        let keys: Vec<[u8; 32]> = texts.iter().map(|text| embedding_key(kind, text)).collect();
        let dim = self.embedder.info().dim;
        let stored = self.store.embeddings(&self.embedder.info().sha256, &keys).await?;
        // A vector of another length was written by something else than this model: it is computed anew.
        Ok(stored
            .into_iter()
            .map(|vector| vector.filter(|vector| vector.len() == dim))
            .collect())
    }

    /// The texts without a vector, each once, with what of them the model can read.
    fn missing(
        &self,
        kind: TextKind,
        texts: &[String],
        stored: &[Option<Vec<f32>>],
    ) -> Result<Vec<Missing>, RetrievalError> {
        let mut seen: HashSet<[u8; 32]> = HashSet::new();
        let mut missing = Vec::new();
        for (text, vector) in texts.iter().zip(stored) {
            let key = embedding_key(kind, text);
            if vector.is_none() && seen.insert(key) {
                missing.push(Missing {
                    key,
                    text: readable(self.embedder.as_ref(), kind, text)?.to_owned(),
                });
            }
        }
        Ok(missing)
    }

    async fn compute(&self, kind: TextKind, batch: &[Missing]) -> Result<(), RetrievalError> {
        let texts: Vec<String> = batch.iter().map(|missing| missing.text.clone()).collect();
        let mut attempts = 0;
        let vectors = loop {
            attempts += 1;
            match self.embedder.embed(kind, texts.clone()).await {
                Ok(vectors) => break vectors,
                Err(InferenceError::Overloaded { retry_after, .. }) if attempts < ATTEMPTS => {
                    tokio::time::sleep(retry_after).await;
                }
                Err(InferenceError::Overloaded { .. }) => return Err(RetrievalError::Overloaded { attempts }),
                Err(error) => return Err(error.into()),
            }
        };
        let want = self.embedder.info().dim;
        if vectors.dim != want || vectors.rows().len() != batch.len() {
            return Err(RetrievalError::Dimension { got: vectors.dim, want });
        }
        let rows: Vec<([u8; 32], Vec<f32>)> = batch
            .iter()
            .map(|missing| missing.key)
            .zip(vectors.rows().map(<[f32]>::to_vec))
            .collect();
        self.store.put_embeddings(&self.embedder.info().sha256, &rows).await?;
        Ok(())
    }
}

struct Missing {
    key: [u8; 32],
    text: String,
}

/// The beginning of `text` that the model can read: all of it, as a rule. Passages are cut to fit; a long answer of a
/// FAQ or a customer's essay is not, and its beginning says what it is about (the lexical index holds all of it).
pub(super) fn readable<'a>(embedder: &dyn Embedder, kind: TextKind, text: &'a str) -> Result<&'a str, RetrievalError> {
    let limit = embedder.info().max_tokens;
    // No token is longer than 16 characters on the average of any text: do not tokenise megabytes to learn that.
    let mut end = text.char_indices().nth(limit * 16).map_or(text.len(), |(at, _)| at);
    loop {
        let tokens = embedder.count_tokens(kind, &text[..end])?;
        if tokens <= limit || end == 0 {
            return Ok(&text[..end]);
        }
        // Aim at the limit, and get nearer by at least a sixteenth.
        let aim = end * limit / tokens;
        end = text.floor_char_boundary(aim.min(end - end.div_ceil(16)));
    }
}
