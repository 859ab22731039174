//! The embedding model multilingual-e5-small (Wang et al., arXiv:2402.05672) behind the port
//! [`Embedder`]: a container reader, its tokenizer, the encoder, and a thread that owns it.

mod container;
mod model;
mod queue;
mod tokenizer;

use super::{Embedder, EmbedderInfo, Embeddings, InferenceError, TextKind};
use crate::config::InferenceConfig;
use crate::kernels::panel::Kernels;
use async_trait::async_trait;
use container::Container;
use model::Encoder;
use queue::{Lane, Queue};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokenizer::PieceTokenizer;

/// Bytes of the largest model file that is read (the largest of this family has 560 million weights: 320 MB in 4 bits).
const MAX_FILE_BYTES: u64 = 4 << 30;

/// A request with more texts than this waits with the passages even if they are queries: it is an import or a
/// measurement, not a customer.
const EXPRESS_TEXTS: usize = 4;

/// multilingual-e5-small in this process. One thread owns the weights; dropping the embedder ends it. Requests of
/// several callers are computed together; questions go before passages, which are cut into slices of about 100 ms so
/// that a running import does not delay a customer. A request whose future is dropped is skipped.
pub struct E5Embedder {
    info: EmbedderInfo,
    tokenizer: PieceTokenizer,
    queue: Arc<Queue>,
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
        let encoder = Encoder::read(&file, Kernels::detect()).map_err(bad)?;
        let info = EmbedderInfo {
            name: name.to_owned(),
            dim: encoder.hidden,
            max_tokens: encoder.max_tokens,
            sha256: sha256.to_owned(),
        };
        let tokenizer = PieceTokenizer::new(file.pieces).map_err(bad)?;
        let queue = Arc::new(Queue::new(config.embed_queue_length, config.embed_batch_tokens));
        start(path, encoder, &queue, config.threads)?;
        Ok(Self { info, tokenizer, queue })
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
        let express = kind == TextKind::Query && encoded.len() <= EXPRESS_TEXTS;
        let lane = if express { Lane::Express } else { Lane::Bulk };
        let reply = self.queue.push(lane, encoded)?;
        let data = reply.await.map_err(|_| InferenceError::Stopped)??;
        Ok(Embeddings { dim, data, tokens })
    }
}

/// Starts the thread that owns the encoder, with a pool of compute threads of its own.
fn start(path: &Path, encoder: Encoder, queue: &Arc<Queue>, threads: usize) -> Result<(), InferenceError> {
    let threads = if threads == 0 {
        std::thread::available_parallelism().map_or(1, usize::from)
    } else {
        threads
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|i| format!("kefu-embed-{i}"))
        .build()
        .map_err(|error| InferenceError::BadParameter {
            name: "threads",
            detail: error.to_string(),
        })?;
    let queue = Arc::clone(queue);
    let path = path.to_owned();
    std::thread::Builder::new()
        .name("kefu-embed".into())
        .spawn(move || pool.install(|| queue.serve(|texts| compute(&encoder, &path, texts))))
        .map_err(|source| InferenceError::Io {
            path: PathBuf::from("thread kefu-embed"),
            source,
        })?;
    Ok(())
}

fn compute(encoder: &Encoder, path: &Path, texts: &[Vec<u32>]) -> Result<Vec<f32>, InferenceError> {
    let vectors = encoder.embed(texts);
    if vectors.iter().all(|x| x.is_finite()) {
        Ok(vectors)
    } else {
        Err(InferenceError::BadModel {
            path: path.to_owned(),
            detail: "it computes a vector that is not finite; fetch the file again".into(),
        })
    }
}

#[cfg(test)]
mod tests;
