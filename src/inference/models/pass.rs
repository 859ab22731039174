//! Spans of any length, some tokens at a time: what every decoder does around its network.

use super::Span;
use crate::inference::InferenceError;
use crate::inference::kv_cache::KvCache;

/// Tokens that go through the network at once: bounds the memory of a pass, and is long enough to pay for what is done
/// once a pass.
const CHUNK: usize = 512;

/// What goes through the network at once.
pub(super) struct Pass<'a> {
    /// The tokens of all sequences, one sequence after another.
    pub(super) tokens: Vec<u32>,
    /// Where those of each sequence stand.
    pub(super) positions: Vec<Vec<usize>>,
    /// To which their keys and values go; there is room.
    pub(super) caches: Vec<&'a mut KvCache>,
    /// Of which of the tokens logits are wanted, ascending.
    pub(super) wanted: Vec<usize>,
}

/// Lets `compute` put all tokens through a network, at most [`CHUNK`] at a time, and returns the logits it gives. The caches
/// must be the model's `own`, and count the tokens afterwards.
///
/// # Errors
/// What is wrong with a span, found before any work is done; what `compute` reports. The caches are then as before.
pub(super) fn forward(
    spans: &mut [Span<'_>],
    vocabulary: usize,
    own: impl Fn(&KvCache) -> bool,
    compute: impl FnMut(Pass<'_>) -> candle_core::Result<Vec<f32>>,
) -> Result<Vec<f32>, InferenceError> {
    for span in spans.iter() {
        admit(span, vocabulary, &own)?;
    }
    let before: Vec<usize> = spans.iter().map(|span| span.cache.len()).collect();
    let result = run(spans, compute);
    if result.is_err() {
        for (span, before) in spans.iter_mut().zip(before) {
            span.cache.rewind(before);
        }
    }
    result
}

/// Checks a part of a pass before any work is done.
fn admit(span: &Span<'_>, vocabulary: usize, own: impl Fn(&KvCache) -> bool) -> Result<(), InferenceError> {
    let bad = |name, detail| Err(InferenceError::BadParameter { name, detail });
    if span.tokens.is_empty() {
        return bad("tokens", "at least one is needed".to_owned());
    }
    if let Some(token) = span.tokens.iter().find(|&&token| token as usize >= vocabulary) {
        return bad("tokens", format!("{token} is not in the vocabulary of {vocabulary}"));
    }
    if !own(span.cache) {
        return bad("cache", "it is another model's".to_owned());
    }
    let (positions, end) = span.places();
    let inside = positions.is_sorted() && positions[0] >= span.cache.len() && positions[positions.len() - 1] < end;
    if positions.len() != span.tokens.len() || !inside {
        return bad(
            "positions",
            "one for each token, in order, behind the cache's".to_owned(),
        );
    }
    let (tokens, limit) = (end, span.cache.max_tokens());
    if tokens > limit {
        return Err(InferenceError::TooLong { tokens, limit });
    }
    Ok(())
}

/// A pass over all spans.
fn run(
    spans: &mut [Span<'_>],
    mut compute: impl FnMut(Pass<'_>) -> candle_core::Result<Vec<f32>>,
) -> Result<Vec<f32>, InferenceError> {
    for span in spans.iter_mut() {
        let (_, end) = span.places();
        span.cache.make_room(end - span.cache.len())?;
    }
    let mut logits = Vec::new();
    let (mut first, mut done) = (0, 0);
    let places: Vec<_> = spans.iter().map(Span::places).collect();
    while first < spans.len() {
        let (counts, next) = next_pass(spans, first, done);
        let (mut tokens, mut positions, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        let mut wanted = Vec::new();
        for ((index, span), &count) in (first..).zip(&spans[first..]).zip(&counts) {
            let begin = if index == first { done } else { 0 };
            let silent = span.tokens.len() - span.rows.of(span.tokens.len());
            let base = tokens.len();
            wanted.extend(
                (begin..begin + count)
                    .filter(|&at| at >= silent)
                    .map(|at| base + at - begin),
            );
            tokens.extend_from_slice(&span.tokens[begin..begin + count]);
            let (all, end) = &places[index];
            positions.push(all[begin..begin + count].to_vec());
            // What stands before the next token to compute is there then.
            ends.push(all.get(begin + count).copied().unwrap_or(*end));
        }
        let mut caches: Vec<_> = (spans[first..].iter_mut())
            .take(counts.len())
            .map(|span| &mut *span.cache)
            .collect();
        logits.extend(compute(Pass {
            tokens,
            positions,
            caches: caches.iter_mut().map(|cache| &mut **cache).collect(),
            wanted,
        })?);
        for (cache, end) in caches.into_iter().zip(ends) {
            cache.advance_to(end);
        }
        (first, done) = next;
    }
    Ok(logits)
}

/// The tokens of each span from `first` on (of which `done` are done) that go through the network together, and where
/// the pass after it begins.
fn next_pass(spans: &[Span<'_>], first: usize, done: usize) -> (Vec<usize>, (usize, usize)) {
    let mut counts = Vec::new();
    let (mut room, mut at) = (CHUNK, done);
    for (index, span) in (first..).zip(&spans[first..]) {
        let left = span.tokens.len() - at;
        counts.push(left.min(room));
        if left > room {
            return (counts, (index, at + room));
        }
        room -= left;
        at = 0;
        if room == 0 {
            return (counts, (index + 1, 0));
        }
    }
    (counts, (spans.len(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::kv_cache::{KvPool, KvShape};
    use crate::inference::models::Rows;

    #[test]
    fn passes_cover_all_tokens_in_order() {
        let cases: [(&[usize], &[&[usize]]); 4] = [
            (&[1, 1, 1], &[&[1, 1, 1]]),
            (&[CHUNK, 3], &[&[CHUNK], &[3]]),
            (&[1, CHUNK, 2], &[&[1, CHUNK - 1], &[1, 2]]),
            (&[2 * CHUNK + 5, 4], &[&[CHUNK], &[CHUNK], &[5, 4]]),
        ];
        let shape = KvShape {
            layers: 1,
            heads: 1,
            dim: 1,
        };
        for (lengths, expected) in cases {
            let tokens = vec![0; 4 * CHUNK];
            let pool = KvPool::new(shape, 1);
            let mut caches = vec![KvCache::new(&pool, 1); lengths.len()];
            let spans: Vec<_> = (lengths.iter().zip(&mut caches))
                .map(|(&length, cache)| Span {
                    tokens: &tokens[..length],
                    cache,
                    places: None,
                    rows: Rows::None,
                })
                .collect();
            let (mut first, mut done) = (0, 0);
            let mut passes = Vec::new();
            while first < spans.len() {
                let (counts, next) = next_pass(&spans, first, done);
                passes.push(counts);
                (first, done) = next;
            }
            assert_eq!(passes, expected);
        }
    }
}
