//! What the embedder's layers say of a text, for the heads of understanding.
//!
//! Lower layers know more of words, higher ones more of what is meant; a head over the means of several tells more than one over
//! the embedding alone (`benches/README.md`). Source of the layers' difference: Jawahar et al., ACL 2019.

use super::embedder::E5Embedder;
use super::model::unit;
use super::queue::{Lane, Queue};
use super::tokenizer::PieceTokenizer;
use super::{all_finite, start};
use crate::config::InferenceConfig;
use crate::inference::{Embedder, Embeddings, Features, FeaturesInfo, InferenceError, VectorCache};
use async_trait::async_trait;
use std::path::Path;
use std::sync::Arc;

/// Layers whose means are given: after each third.
const LAYERS: usize = 3;
/// Tokens that are read of the beginning and of the end of a text that has more: a customer waits, and what kind of message
/// it is stands there.
const FIRST_TOKENS: usize = 128;
const LAST_TOKENS: usize = 64;
/// Bytes of a text that are looked at, its beginning and its end likewise.
const MAX_BYTES: usize = 8 << 10;
/// A request with more texts than this is a training or a measurement, not a customer.
const EXPRESS_TEXTS: usize = 8;
/// Texts of customers whose numbers are kept: a message is looked at again with the two after it.
const CACHED: usize = 1024;

/// What an embedder's layers say of texts, over the weights of that embedder. One thread computes; dropping this ends it.
pub struct LayerFeatures {
    info: FeaturesInfo,
    tokenizer: Arc<PieceTokenizer>,
    queue: Arc<Queue<Vec<u32>>>,
    /// The longest text that the encoder takes, in tokens.
    longest: usize,
    cache: VectorCache,
    /// Where the embedder finds what was computed here.
    seen: Arc<VectorCache>,
}

impl std::fmt::Debug for LayerFeatures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerFeatures")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl LayerFeatures {
    /// Starts the thread over the weights of `embedder`.
    ///
    /// # Errors
    /// `Io` if no thread can be had.
    pub fn over(embedder: &E5Embedder, config: &InferenceConfig) -> Result<Self, InferenceError> {
        let known = embedder.info();
        let encoder = Arc::clone(&embedder.encoder);
        let depth = encoder.shape.layers;
        let mut layers: Vec<usize> = (1..=LAYERS).map(|third| (depth * third).div_ceil(LAYERS)).collect();
        layers.dedup();
        let info = FeaturesInfo {
            model: known.name.clone(),
            sha256: known.sha256.clone(),
            width: known.dim,
            layers: layers.len(),
        };
        let queue = Arc::new(Queue::new(config.embed_queue_length, config.embed_batch_tokens));
        let path = Path::new(&known.name).to_owned();
        start("features", &queue, config.threads, move |texts: &[Vec<u32>]| {
            all_finite(encoder.layer_means(texts, &layers), &path)
        })?;
        Ok(Self {
            info,
            tokenizer: Arc::clone(&embedder.tokenizer),
            queue,
            longest: known.max_tokens,
            cache: VectorCache::new(CACHED),
            seen: Arc::clone(&embedder.seen),
        })
    }

    /// A text's tokens, and whether these are all of them.
    fn encode(&self, text: &str) -> Result<(Vec<u32>, bool), InferenceError> {
        let mut ids = self.tokenizer.encode(&format!("query: {}", ends(text)))?;
        let (first, last) = if self.longest < FIRST_TOKENS + LAST_TOKENS {
            (self.longest - self.longest / 3, self.longest / 3)
        } else {
            (FIRST_TOKENS, LAST_TOKENS)
        };
        let whole = text.len() <= MAX_BYTES && ids.len() <= first + last;
        if ids.len() > first + last {
            ids.drain(first..ids.len() - last);
        }
        Ok((ids, whole))
    }
}

/// The text, or its beginning and its end.
fn ends(text: &str) -> std::borrow::Cow<'_, str> {
    if text.len() <= MAX_BYTES {
        return text.into();
    }
    let first = text.floor_char_boundary(MAX_BYTES / 2);
    let last = text.ceil_char_boundary(text.len() - MAX_BYTES / 2);
    format!("{} {}", &text[..first], &text[last..]).into()
}

impl Drop for LayerFeatures {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[async_trait]
impl Features for LayerFeatures {
    fn info(&self) -> &FeaturesInfo {
        &self.info
    }

    async fn features(&self, texts: Vec<String>) -> Result<Embeddings, InferenceError> {
        let dim = self.info.width * self.info.layers;
        let lane = if texts.len() <= EXPRESS_TEXTS {
            Lane::Express
        } else {
            Lane::Bulk
        };
        let mut known: Vec<Option<Arc<[f32]>>> = match lane {
            Lane::Express => texts.iter().map(|text| self.cache.get(text)).collect(),
            Lane::Bulk => vec![None; texts.len()],
        };
        let mut encoded = Vec::with_capacity(texts.len());
        let mut whole = Vec::with_capacity(texts.len());
        for (text, known) in texts.iter().zip(&known) {
            if known.is_some() {
                continue;
            }
            if !encoded.is_empty() {
                // A long list must not keep the runtime's thread from its other tasks.
                tokio::task::yield_now().await;
            }
            let (ids, all) = self.encode(text)?;
            encoded.push(ids);
            whole.push(all);
        }
        let tokens = encoded.iter().map(Vec::len).sum();
        let mut data = Vec::new();
        if !encoded.is_empty() {
            data = self
                .queue
                .push(lane, encoded)?
                .await
                .map_err(|_| InferenceError::Stopped)??;
        }
        if lane == Lane::Express {
            let mut computed = data.chunks_exact(dim.max(1)).zip(whole);
            for (text, known) in texts.iter().zip(&mut known) {
                if known.is_none() {
                    let (numbers, whole) = computed.next().unwrap_or_default();
                    if whole {
                        self.seen
                            .put(text, unit(numbers[dim - self.info.width..].to_vec()).into());
                    }
                    let numbers: Arc<[f32]> = numbers.into();
                    self.cache.put(text, numbers.clone());
                    *known = Some(numbers);
                }
            }
            data = known
                .iter()
                .flatten()
                .flat_map(|numbers| numbers.iter().copied())
                .collect();
        }
        Ok(Embeddings { dim, data, tokens })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::TextKind;
    use crate::inference::encoder::tests::{config, embedder};

    #[tokio::test]
    async fn what_was_sensed_is_embedded_already() {
        let (embedder, other) = (embedder(), embedder());
        let features = LayerFeatures::over(&embedder, &config()).unwrap();
        let long = "card ".repeat(FIRST_TOKENS + LAST_TOKENS);
        features.features(vec!["退货".to_owned(), long.clone()]).await.unwrap();
        assert!(embedder.seen.get("退货").is_some() && embedder.seen.get(&long).is_none());
        let [seen, computed] =
            [&embedder, &other].map(|embedder| embedder.embed(TextKind::Query, vec!["退货".to_owned()]));
        assert_eq!(seen.await.unwrap(), computed.await.unwrap(), "to the bit");
    }

    #[tokio::test]
    async fn the_last_layer_s_mean_is_the_embedding_before_it_is_scaled() {
        let embedder = embedder();
        let features = LayerFeatures::over(&embedder, &config()).unwrap();
        let info = features.info().clone();
        // The little model has two layers only.
        assert_eq!((info.width, info.layers), (64, 2));
        let texts = vec!["退货".to_owned(), "card".to_owned()];
        let numbers = features.features(texts.clone()).await.unwrap();
        let vectors = embedder.embed(TextKind::Query, texts).await.unwrap();
        assert_eq!((numbers.dim, numbers.tokens), (128, vectors.tokens));
        for (numbers, vector) in numbers.rows().zip(vectors.rows()) {
            let last = &numbers[64..];
            let norm = last.iter().map(|x| x * x).sum::<f32>().sqrt();
            for (a, b) in last.iter().zip(vector) {
                assert!((a / norm - b).abs() < 1e-5);
            }
            assert_ne!(&numbers[..64], last);
        }
    }

    #[tokio::test]
    async fn a_text_of_any_length_has_numbers_and_nothing_has_none() {
        let embedder = embedder();
        let features = LayerFeatures::over(&embedder, &config()).unwrap();
        let long = "退货卡，".repeat(50_000);
        let numbers = features.features(vec![long, String::new()]).await.unwrap();
        assert_eq!(numbers.rows().len(), 2);
        assert!(numbers.tokens <= 2 * 16);
        assert!(features.features(Vec::new()).await.unwrap().data.is_empty());
    }

    #[test]
    fn ends_are_whole_characters() {
        let text = "卡".repeat(MAX_BYTES);
        let ends = ends(&text);
        assert!(ends.len() <= MAX_BYTES + 1 && ends.chars().all(|c| c == '卡' || c == ' '));
    }
}
