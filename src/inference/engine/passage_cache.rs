//! Keys and values of passages, wherever they stand in a prompt.
//!
//! The same passages come in other orders and with other questions. A passage's keys and values depend on what stands
//! before it, but little: they are taken as they were when it was first read, its keys turned to the new position (Gim et
//! al., arXiv:2311.04934), and only a seam of its first tokens is computed again, because those are what later tokens
//! attend to most (Hu et al., arXiv:2410.15332). What this does to answers is measured; see the setting
//! `inference.passage_cache_mb`.

use crate::inference::kv_cache::KvPiece;
use std::collections::HashMap;

#[derive(Debug)]
struct Entry {
    piece: KvPiece,
    /// When it was last used, by a clock that counts uses.
    used: u64,
}

/// Passages by their tokens, the least recently used given up first.
#[derive(Debug)]
pub(super) struct PassageCache {
    entries: HashMap<Vec<u32>, Entry>,
    bytes: usize,
    most_bytes: usize,
    clock: u64,
}

impl PassageCache {
    /// A cache of at most `most_bytes`; 0 keeps nothing.
    pub(super) fn new(most_bytes: usize) -> Self {
        Self {
            entries: HashMap::new(),
            bytes: 0,
            most_bytes,
            clock: 0,
        }
    }

    pub(super) fn contains(&self, tokens: &[u32]) -> bool {
        self.entries.contains_key(tokens)
    }

    pub(super) fn get(&mut self, tokens: &[u32]) -> Option<&KvPiece> {
        self.clock += 1;
        let entry = self.entries.get_mut(tokens)?;
        entry.used = self.clock;
        Some(&entry.piece)
    }

    /// Whether something is kept at all.
    pub(super) fn is_on(&self) -> bool {
        self.most_bytes > 0
    }

    /// Keeps a passage, unless it alone is too large.
    pub(super) fn keep(&mut self, tokens: &[u32], piece: KvPiece) {
        let bytes = piece.bytes();
        if bytes > self.most_bytes {
            return;
        }
        self.clock += 1;
        let used = self.clock;
        if let Some(old) = self.entries.insert(tokens.to_vec(), Entry { piece, used }) {
            self.bytes -= old.piece.bytes();
        }
        self.bytes += bytes;
        while self.bytes > self.most_bytes {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used);
            let Some(tokens) = oldest.map(|(tokens, _)| tokens.clone()) else {
                break;
            };
            if let Some(entry) = self.entries.remove(&tokens) {
                self.bytes -= entry.piece.bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    fn piece(tokens: usize) -> KvPiece {
        KvPiece {
            begin: 0,
            tokens,
            layers: vec![(vec![f16::ZERO; tokens], vec![f16::ZERO; tokens])],
        }
    }

    #[test]
    fn the_least_recently_used_is_given_up() {
        // Four bytes a token.
        let mut cache = PassageCache::new(100);
        cache.keep(&[1], piece(10));
        cache.keep(&[2], piece(10));
        assert!(cache.get(&[1]).is_some());
        cache.keep(&[3], piece(10));
        assert_eq!([1, 2, 3].map(|token| cache.contains(&[token])), [true, false, true]);
        cache.keep(&[3], piece(15));
        assert_eq!((cache.bytes, cache.entries.len()), (100, 2));
        cache.keep(&[4], piece(26));
        assert!(!cache.contains(&[4]), "larger than all of it");
        assert!(!PassageCache::new(0).is_on());
    }
}
