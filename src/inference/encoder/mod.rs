//! A BERT encoder with quantised weights, its file and its tokenizer, and the ports that stand on it: the
//! [`Embedder`](super::Embedder) multilingual-e5-small, what its layers say beside ([`Features`](super::Features)), and the
//! [`Reader`](super::Reader) over the same vocabulary.

mod container;
mod embedder;
mod features;
mod head;
mod linear;
mod model;
mod queue;
mod reader;
mod tokenizer;
mod weights;

pub use embedder::E5Embedder;
pub use features::LayerFeatures;
pub use reader::CrossReader;

use super::InferenceError;
use crate::kernels::pool;
use queue::Queue;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Starts the thread that serves `queue`, with a pool of compute threads of its own (0: as many as there are cores).
fn start<T: AsRef<[u32]> + Send + Sync + 'static>(
    name: &'static str,
    queue: &Arc<Queue<T>>,
    threads: usize,
    compute: impl Fn(&[T]) -> Result<Vec<f32>, InferenceError> + Send + Sync + 'static,
) -> Result<(), InferenceError> {
    let queue = Arc::clone(queue);
    std::thread::Builder::new()
        .name(format!("kefu-{name}"))
        .spawn(move || pool::with_threads(threads, || queue.serve(compute)))
        .map_err(|source| InferenceError::Io {
            path: PathBuf::from(format!("thread kefu-{name}")),
            source,
        })?;
    Ok(())
}

/// What a damaged model computes is not passed on.
fn all_finite(numbers: Vec<f32>, path: &Path) -> Result<Vec<f32>, InferenceError> {
    if numbers.iter().all(|x| x.is_finite()) {
        Ok(numbers)
    } else {
        Err(InferenceError::BadModel {
            path: path.to_owned(),
            detail: "it computes a number that is not finite; fetch the file again".into(),
        })
    }
}

#[cfg(test)]
mod tests;
