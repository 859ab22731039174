//! The embedder: multilingual-e5-small (Wang et al., arXiv:2402.05672) behind the port [`Embedder`].

use super::container::Container;
use super::model::Encoder;
use super::queue::{Lane, Queue};
use super::tokenizer::PieceTokenizer;
use super::{all_finite, start};
use crate::config::InferenceConfig;
use crate::inference::{Embedder, EmbedderInfo, Embeddings, InferenceError, TextKind, VectorCache};
use crate::kernels::level::Level;
use async_trait::async_trait;
use std::path::Path;
use std::sync::Arc;

/// Bytes of the largest model file that is read (the largest of this family has 560 million weights: 320 MB in 4 bits).
const MAX_FILE_BYTES: u64 = 4 << 30;

/// A request with more texts than this waits with the passages even if they are queries: it is an import or a
/// measurement, not a customer.
const EXPRESS_TEXTS: usize = 4;

/// Questions whose vectors are known from another pass.
const SEEN: usize = 64;

/// multilingual-e5-small in this process. One thread owns the weights; dropping the embedder ends it. Requests of
/// several callers are computed together; questions go before passages, which are cut into slices of about 100 ms so
/// that a running import does not delay a customer. A request whose future is dropped is skipped.
pub struct E5Embedder {
    info: EmbedderInfo,
    pub(super) tokenizer: Arc<PieceTokenizer>,
    pub(super) encoder: Arc<Encoder>,
    queue: Arc<Queue<Vec<u32>>>,
    /// Vectors of questions that passed through the same layers for another purpose a moment ago: a message is sensed before it is
    /// searched for.
    pub(super) seen: Arc<VectorCache>,
}

impl std::fmt::Debug for E5Embedder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("E5Embedder")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl E5Embedder {
    /// Reads the container at `path` and starts the thread. `name` and `sha256` are what [`Embedder::info`] reports;
    /// the hash is not checked here. Takes a fraction of a second and about 250 MB, most of it the tokenizer.
    ///
    /// # Errors
    /// `Io`, `BadModel`; `BadParameter` if the thread pool cannot be built.
    pub fn load(path: &Path, name: &str, sha256: &str, config: &InferenceConfig) -> Result<Self, InferenceError> {
        let io = |source| InferenceError::Io {
            path: path.to_owned(),
            source,
        };
        let bad = |detail| InferenceError::BadModel {
            path: path.to_owned(),
            detail,
        };
        let size = std::fs::metadata(path).map_err(io)?.len();
        if size > MAX_FILE_BYTES {
            return Err(bad(format!(
                "it has {size} bytes, more than any such model ({MAX_FILE_BYTES})"
            )));
        }
        let bytes = std::fs::read(path).map_err(io)?;
        let file = Container::parse(&bytes).map_err(bad)?;
        let encoder = Encoder::read(&file, Level::detect()).map_err(bad)?;
        let info = EmbedderInfo {
            name: name.to_owned(),
            dim: encoder.shape.hidden,
            max_tokens: encoder.shape.positions,
            sha256: sha256.to_owned(),
        };
        let tokenizer = Arc::new(PieceTokenizer::new(file.pieces).map_err(bad)?);
        let queue = Arc::new(Queue::new(config.embed_queue_length, config.embed_batch_tokens));
        let encoder = Arc::new(encoder);
        let (path, computing) = (path.to_owned(), Arc::clone(&encoder));
        start("embed", &queue, config.threads, move |texts: &[Vec<u32>]| {
            all_finite(computing.embed(texts), &path)
        })?;
        Ok(Self {
            info,
            tokenizer,
            encoder,
            queue,
            seen: Arc::new(VectorCache::new(SEEN)),
        })
    }

    /// The ids of `text` as it stands, without prefix, with the marks of beginning and end.
    ///
    /// # Errors
    /// [`InferenceError::Tokenizer`].
    pub fn token_ids(&self, text: &str) -> Result<Vec<u32>, InferenceError> {
        self.tokenizer.encode(text)
    }

    fn encode(&self, kind: TextKind, text: &str) -> Result<Vec<u32>, InferenceError> {
        let prefix = match kind {
            TextKind::Query => "query: ",
            TextKind::Passage => "passage: ",
        };
        self.tokenizer.encode(&format!("{prefix}{text}"))
    }
}

impl Drop for E5Embedder {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[async_trait]
impl Embedder for E5Embedder {
    fn info(&self) -> &EmbedderInfo {
        &self.info
    }

    fn count_tokens(&self, kind: TextKind, text: &str) -> Result<usize, InferenceError> {
        Ok(self.encode(kind, text)?.len())
    }

    async fn embed(&self, kind: TextKind, texts: Vec<String>) -> Result<Embeddings, InferenceError> {
        let dim = self.info.dim;
        let mut encoded = Vec::with_capacity(texts.len());
        for text in &texts {
            if !encoded.is_empty() {
                // A long list must not keep the runtime's thread from its other tasks.
                tokio::task::yield_now().await;
            }
            let ids = self.encode(kind, text)?;
            if ids.len() > self.info.max_tokens {
                return Err(InferenceError::TooLong {
                    tokens: ids.len(),
                    limit: self.info.max_tokens,
                });
            }
            encoded.push(ids);
        }
        if encoded.is_empty() {
            return Ok(Embeddings {
                dim,
                data: Vec::new(),
                tokens: 0,
            });
        }
        let tokens = encoded.iter().map(Vec::len).sum();
        if let (TextKind::Query, [text]) = (kind, texts.as_slice())
            && let Some(vector) = self.seen.get(text)
        {
            return Ok(Embeddings {
                dim,
                data: vector.to_vec(),
                tokens,
            });
        }
        let express = kind == TextKind::Query && encoded.len() <= EXPRESS_TEXTS;
        let lane = if express { Lane::Express } else { Lane::Bulk };
        let reply = self.queue.push(lane, encoded)?;
        let data = reply.await.map_err(|_| InferenceError::Stopped)??;
        Ok(Embeddings { dim, data, tokens })
    }
}
