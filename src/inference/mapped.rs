//! Mapped memory that several owners share.

use memmap2::Mmap;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Part of a mapping, which stays mapped as long as any part of it is in use.
#[derive(Clone, Debug)]
pub(crate) struct SharedBytes {
    map: Arc<Mmap>,
    range: Range<usize>,
}

impl SharedBytes {
    /// The bytes of `map` at `range`, which must lie within it.
    pub(crate) fn new(map: &Arc<Mmap>, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= map.len(),
            "{range:?} of {}",
            map.len()
        );
        let map = Arc::clone(map);
        Self { map, range }
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }
}
