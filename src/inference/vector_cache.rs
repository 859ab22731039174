//! Vectors of texts that were asked for lately.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Keeps the vectors of the texts used last.
pub struct VectorCache {
    capacity: usize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    /// Text: when it was used last, and its vector.
    by_text: HashMap<String, (u64, Arc<[f32]>)>,
    uses: u64,
}

impl VectorCache {
    /// A cache of `capacity` texts.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            entries: Mutex::default(),
        }
    }

    /// The vector of a text, if it is there; it counts as used.
    #[must_use]
    pub fn get(&self, text: &str) -> Option<Arc<[f32]>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.uses += 1;
        let now = entries.uses;
        let (used, vector) = entries.by_text.get_mut(text)?;
        *used = now;
        Some(vector.clone())
    }

    /// Puts a vector in; the one not used for longest goes when it is full. Cost: a look at all entries then.
    pub fn put(&self, text: &str, vector: Arc<[f32]>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.uses += 1;
        let now = entries.uses;
        if entries.by_text.len() >= self.capacity && !entries.by_text.contains_key(text) {
            let oldest = entries
                .by_text
                .iter()
                .min_by_key(|(_, (used, _))| *used)
                .map(|(text, _)| text.clone());
            if let Some(oldest) = oldest {
                entries.by_text.remove(&oldest);
            }
        }
        entries.by_text.insert(text.to_owned(), (now, vector));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_not_used_for_longest_goes() {
        let cache = VectorCache::new(2);
        let vector = |x: f32| Arc::from([x].as_slice());
        cache.put("a", vector(1.0));
        cache.put("b", vector(2.0));
        assert!(cache.get("a").is_some());
        cache.put("c", vector(3.0));
        assert!(cache.get("b").is_none());
        assert_eq!(cache.get("a").as_deref(), Some([1.0].as_slice()));
        assert_eq!(cache.get("c").as_deref(), Some([3.0].as_slice()));
    }
}
