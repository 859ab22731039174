//! Keys and values of prompts that were answered, to be continued by requests that begin alike: the next turn of a
//! conversation, or another question under the same instructions.

use crate::inference::kv_cache::KvCache;
use std::collections::VecDeque;

#[derive(Debug)]
struct Entry {
    /// The tokens whose keys and values `cache` holds.
    tokens: Vec<u32>,
    cache: KvCache,
}

/// At most `capacity` finished sequences, the least recently used given up first.
#[derive(Debug)]
pub(super) struct PrefixCache {
    /// The least recently used first.
    entries: VecDeque<Entry>,
    capacity: usize,
}

impl PrefixCache {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            capacity,
        }
    }

    /// Length of the longest beginning of `tokens` that is here.
    pub(super) fn longest(&self, tokens: &[u32]) -> usize {
        self.entries
            .iter()
            .map(|entry| common(&entry.tokens, tokens))
            .max()
            .unwrap_or(0)
    }

    /// A cache of exactly `tokens`, if an entry begins with them. An entry that is wholly continued leaves, because
    /// its continuation will take its place; another stays and shares its buffers.
    pub(super) fn continue_from(&mut self, tokens: &[u32]) -> Option<KvCache> {
        if tokens.is_empty() {
            return None;
        }
        let index = self.entries.iter().position(|entry| entry.tokens.starts_with(tokens))?;
        let entry = self.entries.remove(index)?;
        if entry.tokens.len() == tokens.len() {
            return Some(entry.cache);
        }
        let prefix = entry.cache.prefix(tokens.len());
        self.entries.push_back(entry);
        Some(prefix)
    }

    /// Keeps a finished sequence: `cache` holds exactly `tokens`.
    pub(super) fn keep(&mut self, tokens: Vec<u32>, cache: KvCache) {
        if self.capacity == 0 || tokens.is_empty() {
            return;
        }
        // Of two sequences of which one begins the other, the longer one is enough.
        if let Some(index) = self.entries.iter().position(|entry| entry.tokens.starts_with(&tokens)) {
            let longer = self.entries.remove(index);
            self.entries.extend(longer);
            return;
        }
        self.entries.retain(|entry| !tokens.starts_with(&entry.tokens));
        if self.entries.len() == self.capacity {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { tokens, cache });
    }
}

/// Tokens that `a` and `b` begin with alike.
pub(super) fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::PrefixCache;
    use crate::inference::kv_cache::KvCache;

    fn kept(capacity: usize, sequences: &[&[u32]]) -> PrefixCache {
        let mut cache = PrefixCache::new(capacity);
        for &tokens in sequences {
            cache.keep(tokens.to_vec(), KvCache::new(0, 8));
        }
        cache
    }

    #[test]
    fn the_longest_beginning_is_found() {
        let cache = kept(4, &[&[1, 2, 3], &[1, 2, 4, 5], &[9]]);
        assert_eq!(cache.longest(&[1, 2, 4, 6]), 3);
        assert_eq!(cache.longest(&[7]), 0);
    }

    #[test]
    fn a_continued_entry_leaves_and_a_shared_one_stays() {
        let mut cache = kept(4, &[&[1, 2, 3]]);
        assert!(cache.continue_from(&[1, 2]).is_some());
        assert_eq!(cache.entries.len(), 1);
        assert!(cache.continue_from(&[1, 2, 3, 4]).is_none());
        assert!(cache.continue_from(&[1, 2, 3]).is_some());
        assert_eq!(cache.entries.len(), 0);
        assert!(cache.continue_from(&[1]).is_none());
    }

    #[test]
    fn the_least_recently_used_is_given_up() {
        let mut cache = kept(2, &[&[1, 1], &[2, 2]]);
        cache.continue_from(&[1]);
        cache.keep(vec![3, 3], KvCache::new(0, 8));
        assert_eq!(
            (cache.longest(&[1, 1]), cache.longest(&[2, 2]), cache.longest(&[3, 3])),
            (2, 0, 2)
        );
    }

    #[test]
    fn one_sequence_within_another_takes_no_second_place() {
        let cache = kept(2, &[&[5], &[1, 2], &[1, 2, 3], &[1]]);
        assert_eq!(cache.entries.len(), 2);
        assert_eq!((cache.longest(&[5]), cache.longest(&[1, 2, 3])), (1, 3));
        assert_eq!(kept(0, &[&[1]]).entries.len(), 0);
    }
}
