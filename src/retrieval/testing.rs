//! What the tests of this room share.

use super::index::dot;
use super::terms::index_terms;
use crate::config::{Config, DEFAULT_TOML, RetrievalConfig};
use crate::domain::{Clock, SystemClock};
use crate::inference::{Embedder, EmbedderInfo, Embeddings, InferenceError, TextKind};
use crate::storage::{SqliteStore, Store};
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An embedder without a model: the sum of a random vector for each term. Texts with many terms in common are near.
pub(super) struct HashEmbedder {
    info: EmbedderInfo,
    /// Texts embedded so far.
    pub(super) embedded: AtomicUsize,
    /// After this many texts it stops.
    pub(super) stops_after: AtomicUsize,
}

impl HashEmbedder {
    pub(super) fn new(name: &str) -> Arc<Self> {
        let sha256 = crate::domain::sha256_hex(name.as_bytes());
        let info = EmbedderInfo {
            name: name.to_owned(),
            dim: 48,
            max_tokens: 512,
            sha256,
        };
        Arc::new(Self {
            info,
            embedded: AtomicUsize::new(0),
            stops_after: AtomicUsize::new(usize::MAX),
        })
    }

    pub(super) fn count(&self) -> usize {
        self.embedded.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Embedder for HashEmbedder {
    fn info(&self) -> &EmbedderInfo {
        &self.info
    }

    fn count_tokens(&self, _: TextKind, text: &str) -> Result<usize, InferenceError> {
        Ok(text
            .chars()
            .filter(|c| !c.is_whitespace())
            .map(|c| if c.is_ascii() { 1 } else { 3 })
            .sum::<usize>()
            / 3
            + 3)
    }

    async fn embed(&self, kind: TextKind, texts: Vec<String>) -> Result<Embeddings, InferenceError> {
        if self.embedded.fetch_add(texts.len(), Ordering::SeqCst) >= self.stops_after.load(Ordering::SeqCst) {
            return Err(InferenceError::Stopped);
        }
        let dim = self.info.dim;
        let (mut data, mut tokens) = (Vec::new(), 0);
        for text in &texts {
            let count = self.count_tokens(kind, text)?;
            if count > self.info.max_tokens {
                return Err(InferenceError::TooLong {
                    tokens: count,
                    limit: self.info.max_tokens,
                });
            }
            tokens += count;
            let mut row = vec![1e-3_f32; dim];
            for term in index_terms(text) {
                let hash = Sha256::new()
                    .chain_update(&self.info.name)
                    .chain_update(term)
                    .finalize();
                for (number, x) in row.iter_mut().enumerate() {
                    *x += f32::from(hash[number % 32]) / 128.0 - 1.0;
                }
            }
            let norm = dot(&row, &row).sqrt();
            data.extend(row.iter().map(|x| x / norm));
        }
        Ok(Embeddings { dim, data, tokens })
    }
}

pub(super) async fn store(directory: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(directory, clock()).await.unwrap())
}

pub(super) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

pub(super) fn config() -> RetrievalConfig {
    toml::from_str::<Config>(DEFAULT_TOML).unwrap().retrieval
}
