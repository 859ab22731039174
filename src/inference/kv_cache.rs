//! Keys and values of the tokens that sequences have seen, in pages of [`PAGE`] tokens from a common, bounded pool
//! (Kwon et al., arXiv:2309.06180). Sequences that begin alike share pages. Who holds which page is kept here; the numbers
//! in it are kept here too, or in the memory of a device ([`DeviceMemory`]).

mod device;

pub use device::DeviceMemory;
pub(crate) use device::{Slot, Target};

use crate::kernels::attention::{BLOCK, Cached, Layout};
use candle_core::{Device, Result};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tokens in a page.
pub const PAGE: usize = BLOCK;

/// What a model keeps of a token: a key and a value for each of `heads` heads of `dim` numbers in each of `layers` layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// Layers.
    pub layers: usize,
    /// Key and value heads of a layer.
    pub heads: usize,
    /// Numbers in a head.
    pub dim: usize,
}

impl KvShape {
    /// Bytes of a page: `layers * 2 * heads * dim * 2` a token, if `dim` is a multiple of 16 (12 KiB for
    /// Qwen2.5-0.5B).
    #[must_use]
    pub fn page_bytes(self) -> usize {
        self.layers * self.layout().numbers() * size_of::<f16>()
    }

    fn layout(self) -> Layout {
        Layout::new(self.heads, self.dim)
    }
}

/// Pages that may be in use, and those that were and are not.
#[derive(Debug)]
struct Stock {
    /// Pages that may still be taken.
    left: usize,
    /// Memory of pages that were given back: taking it again costs nothing, fresh memory does.
    spare: Vec<Place>,
}

/// Where the numbers of a page are.
#[derive(Debug)]
enum Place {
    /// Here, a part for each layer.
    Host(Vec<f16>),
    /// On the pool's device: the number of the page there.
    Device(Slot),
}

#[derive(Debug)]
struct Shared {
    shape: KvShape,
    pages: usize,
    /// Where all pages are, if they are not on the host.
    device: Option<DeviceMemory>,
    stock: Mutex<Stock>,
}

impl Shared {
    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The memory of all caches of a model. Clones are the same pool.
#[derive(Clone, Debug)]
pub struct KvPool {
    shared: Arc<Shared>,
}

impl KvPool {
    /// A pool of at most `pages` pages. Memory is taken when it is first used, and kept then.
    #[must_use]
    pub fn new(shape: KvShape, pages: usize) -> Self {
        Self::of(shape, pages, None, Vec::new())
    }

    /// The same on a device, whose memory is taken now.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn on_device(shape: KvShape, pages: usize, device: &Device) -> Result<Self> {
        let memory = DeviceMemory::new(shape, pages, device)?;
        let places = (0..pages as Slot).rev().map(Place::Device).collect();
        Ok(Self::of(shape, pages, Some(memory), places))
    }

    fn of(shape: KvShape, pages: usize, device: Option<DeviceMemory>, spare: Vec<Place>) -> Self {
        let stock = Mutex::new(Stock { left: pages, spare });
        Self {
            shared: Arc::new(Shared {
                shape,
                pages,
                device,
                stock,
            }),
        }
    }

    /// What is kept of a token.
    #[must_use]
    pub fn shape(&self) -> KvShape {
        self.shared.shape
    }

    /// Pages in all.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.shared.pages
    }

    /// Pages that nobody holds.
    #[must_use]
    pub fn free(&self) -> usize {
        self.shared.stock().left
    }

    fn take(&self) -> Option<Page> {
        let mut stock = self.shared.stock();
        stock.left = stock.left.checked_sub(1)?;
        let spare = stock.spare.pop();
        drop(stock);
        let shape = self.shared.shape;
        let fresh = || Place::Host(vec![f16::ZERO; shape.layers * shape.layout().numbers()]);
        Some(Page {
            // Those of a device are all spare from the beginning.
            place: spare.unwrap_or_else(fresh),
            home: Arc::clone(&self.shared),
        })
    }
}

/// The keys and values of [`PAGE`] tokens in every layer; it goes back to its pool when it is dropped.
#[derive(Debug)]
pub struct Page {
    place: Place,
    home: Arc<Shared>,
}

impl Page {
    /// All of it, layer after layer; nothing, if it is on a device.
    pub(super) fn numbers(&self) -> &[f16] {
        match &self.place {
            Place::Host(numbers) => numbers,
            Place::Device(_) => &[],
        }
    }

    fn layer(&self, layer: usize) -> &[f16] {
        let numbers = self.home.shape.layout().numbers();
        &self.numbers()[layer * numbers..(layer + 1) * numbers]
    }

    /// Where its first token is on the device.
    fn slot(&self) -> Slot {
        match self.place {
            Place::Host(_) => 0,
            Place::Device(page) => page * PAGE as Slot,
        }
    }

    /// Takes over what another page of the pool holds.
    fn fill(&mut self, from: &Self) -> Result<()> {
        match (&mut self.place, &from.place, &self.home.device) {
            (Place::Host(own), Place::Host(from), _) => own.copy_from_slice(from),
            (Place::Device(own), Place::Device(from), Some(device)) => device.copy(*from, *own)?,
            _ => candle_core::bail!("pages of two pools"),
        }
        Ok(())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        let place = std::mem::replace(&mut self.place, Place::Device(0));
        let mut stock = self.home.stock();
        stock.left += 1;
        stock.spare.push(place);
    }
}

/// The keys and values of one sequence. A clone or a [`KvCache::prefix`] shares its pages; a page that is shared is
/// copied before it is written.
#[derive(Clone, Debug)]
pub struct KvCache {
    pool: KvPool,
    pages: Vec<Arc<Page>>,
    len: usize,
    max_tokens: usize,
}

impl KvCache {
    /// An empty cache for at most `max_tokens` tokens.
    #[must_use]
    pub fn new(pool: &KvPool, max_tokens: usize) -> Self {
        Self {
            pool: pool.clone(),
            pages: Vec::new(),
            len: 0,
            max_tokens,
        }
    }

    /// A cache of `len` tokens in `pages`, which hold at least as many.
    ///
    /// # Panics
    /// If they do not.
    #[must_use]
    pub fn from_pages(pool: &KvPool, mut pages: Vec<Arc<Page>>, len: usize, max_tokens: usize) -> Self {
        assert!(
            len <= pages.len() * PAGE && len <= max_tokens,
            "more tokens than pages hold"
        );
        pages.truncate(len.div_ceil(PAGE));
        Self {
            pool: pool.clone(),
            pages,
            len,
            max_tokens,
        }
    }

    /// Its pages in order; all but the last are full.
    #[must_use]
    pub fn pages(&self) -> &[Arc<Page>] {
        &self.pages
    }

    /// Tokens in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The most tokens it takes.
    #[must_use]
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// What it keeps of a token.
    #[must_use]
    pub fn shape(&self) -> KvShape {
        self.pool.shape()
    }

    /// Forgets the tokens from `len` on and lets go of pages behind them.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.pages.truncate(self.len.div_ceil(PAGE));
    }

    /// A cache of the first `len` tokens (of all, if there are fewer), which goes its own way from there.
    #[must_use]
    pub fn prefix(&self, len: usize) -> Self {
        let len = len.min(self.len);
        Self::from_pages(
            &self.pool,
            self.pages[..len.div_ceil(PAGE)].to_vec(),
            len,
            self.max_tokens,
        )
    }

    /// Pages that making room for `tokens` more will take from the pool.
    #[must_use]
    pub fn pages_for(&self, tokens: usize) -> usize {
        let more = (self.len + tokens).div_ceil(PAGE).saturating_sub(self.pages.len());
        // Pages behind the one that is written next are nobody else's.
        let next = self.pages.get(self.len / PAGE);
        let copied = tokens > 0 && next.is_some_and(|page| Arc::strong_count(page) > 1);
        more + usize::from(copied)
    }

    /// Takes the pages for `tokens` more.
    ///
    /// # Errors
    /// If there are more than [`KvCache::max_tokens`], or the pool has no page left; the cache is then as before.
    pub(super) fn make_room(&mut self, tokens: usize) -> Result<()> {
        let needed = self.len + tokens;
        if needed > self.max_tokens {
            candle_core::bail!("{needed} tokens in a cache for {}", self.max_tokens);
        }
        let held = self.pages.len();
        if tokens > 0
            && let Some(next) = self.pages.get_mut(self.len / PAGE)
            && Arc::get_mut(next).is_none()
        {
            let mut own = self.pool.take().ok_or_else(exhausted)?;
            own.fill(next)?;
            *next = Arc::new(own);
        }
        while self.pages.len() * PAGE < needed {
            let Some(page) = self.pool.take() else {
                self.pages.truncate(held);
                return Err(exhausted());
            };
            self.pages.push(Arc::new(page));
        }
        Ok(())
    }

    /// Writes `keys` and `values`, both `[tokens, heads * dim]`, of tokens at these ascending positions in one layer. They
    /// count once [`KvCache::advance_to`] is called, after all layers.
    ///
    /// # Errors
    /// If [`KvCache::make_room`] was not called for them.
    pub(super) fn write(&mut self, layer: usize, positions: &[usize], keys: &[f32], values: &[f32]) -> Result<()> {
        if let Some(device) = self.device() {
            let device = device.clone();
            return device.write_from_host(layer, &self.writable(positions)?, keys, values);
        }
        let shape = self.pool.shape();
        let row = shape.heads * shape.dim;
        let mut at = 0;
        // Tokens that follow one another in a page go there together.
        for run in positions.chunk_by(|a, b| a + 1 == *b && b % PAGE != 0) {
            let own = at * row..(at + run.len()) * row;
            let numbers = shape.layout().numbers();
            let page = self.pages.get_mut(run[0] / PAGE).and_then(Arc::get_mut);
            let Some(Place::Host(page)) = page.map(|page| &mut page.place) else {
                return Err(no_room(run[0]));
            };
            let rows = (&keys[own.clone()], &values[own]);
            let page = &mut page[layer * numbers..(layer + 1) * numbers];
            shape.layout().write(run[0] % PAGE, rows, page);
            at += run.len();
        }
        Ok(())
    }

    /// The device its pages are on, if they are on one.
    pub(super) fn device(&self) -> Option<&DeviceMemory> {
        self.pool.shared.device.as_ref()
    }

    /// Where the tokens at `positions` are on the device.
    ///
    /// # Panics
    /// If there is no page for one.
    pub(super) fn slots(&self, positions: Range<usize>) -> impl Iterator<Item = Slot> {
        positions.map(|at| self.pages[at / PAGE].slot() + (at % PAGE) as Slot)
    }

    /// The same for tokens that are to be written.
    ///
    /// # Errors
    /// As [`KvCache::write`].
    pub(super) fn writable(&mut self, positions: &[usize]) -> Result<Vec<Slot>> {
        let slot = |&at: &usize| {
            let page = self.pages.get_mut(at / PAGE).and_then(Arc::get_mut);
            let page = page.ok_or_else(|| no_room(at))?;
            Ok(page.slot() + (at % PAGE) as Slot)
        };
        positions.iter().map(slot).collect()
    }

    /// Writes the part of a piece that stands at the positions of `range`.
    ///
    /// # Errors
    /// As [`KvCache::write`].
    ///
    /// # Panics
    /// If the piece does not reach that far.
    pub(super) fn put(&mut self, piece: &KvPiece, range: Range<usize>) -> Result<()> {
        let row = self.pool.shape().heads * self.pool.shape().dim;
        let positions: Vec<usize> = range.clone().collect();
        let (mut own_keys, mut own_values) = (vec![0f32; range.len() * row], vec![0f32; range.len() * row]);
        let part = (range.start - piece.begin) * row..(range.end - piece.begin) * row;
        for (layer, (keys, values)) in piece.layers.iter().enumerate() {
            keys[part.clone()].convert_to_f32_slice(&mut own_keys);
            values[part.clone()].convert_to_f32_slice(&mut own_values);
            self.write(layer, &positions, &own_keys, &own_values)?;
        }
        Ok(())
    }

    /// The keys and values of the tokens in `range`, to be put elsewhere.
    ///
    /// # Errors
    /// If they cannot be read from a device.
    ///
    /// # Panics
    /// If there are no such tokens.
    pub(super) fn piece(&self, range: Range<usize>) -> Result<KvPiece> {
        assert!(range.end <= self.len, "tokens that are not there");
        if let Some(device) = self.device() {
            return Ok(KvPiece {
                begin: range.start,
                tokens: range.len(),
                layers: device.read(&self.slots(range).collect::<Vec<_>>())?,
            });
        }
        let shape = self.pool.shape();
        let (layout, row) = (shape.layout(), shape.heads * shape.dim);
        let mut layers = Vec::with_capacity(shape.layers);
        for layer in 0..shape.layers {
            let (mut keys, mut values) = (Vec::new(), Vec::new());
            keys.reserve_exact(range.len() * row);
            values.reserve_exact(range.len() * row);
            for at in range.clone() {
                let page = self.pages[at / PAGE].layer(layer);
                for head in 0..shape.heads {
                    keys.extend(layout.key(page, head, at % PAGE).map(f16::from_f32));
                    values.extend(layout.value(page, head, at % PAGE).map(f16::from_f32));
                }
            }
            layers.push((keys, values));
        }
        Ok(KvPiece {
            begin: range.start,
            tokens: range.len(),
            layers,
        })
    }

    /// All that it holds of a layer, with what was appended and does not count yet.
    ///
    /// # Panics
    /// If it is on a device.
    pub(super) fn layer(&self, layer: usize) -> Cached<'_> {
        let pages = self.pages.iter().map(|page| page.layer(layer)).collect();
        Cached::new(self.pool.shape().layout(), pages)
    }

    /// Counts the tokens up to `len`, all of which were written to every layer.
    pub(super) fn advance_to(&mut self, len: usize) {
        self.len = len;
    }

    /// Counts only the first `len` tokens again and keeps the room for more.
    pub(super) fn rewind(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

/// The keys and values of some tokens that follow one another.
#[derive(Clone, Debug)]
pub struct KvPiece {
    /// Where the first of them stood.
    pub(super) begin: usize,
    pub(super) tokens: usize,
    /// Keys and values of each layer, `[tokens, heads * dim]`.
    pub(super) layers: Vec<(Vec<f16>, Vec<f16>)>,
}

impl KvPiece {
    /// Bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let numbers = |(keys, values): &(Vec<f16>, Vec<f16>)| keys.len() + values.len();
        self.layers.iter().map(numbers).sum::<usize>() * size_of::<f16>()
    }
}

fn no_room(token: usize) -> candle_core::Error {
    candle_core::Error::Msg(format!("no room was made for token {token}"))
}

fn exhausted() -> candle_core::Error {
    candle_core::Error::Msg("the memory for keys and values is used up".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SHAPE: KvShape = KvShape {
        layers: 2,
        heads: 2,
        dim: 3,
    };

    fn pool(pages: usize) -> KvPool {
        KvPool::new(SHAPE, pages)
    }

    /// The number of token `t` is `t + seed` everywhere.
    fn push(cache: &mut KvCache, range: std::ops::Range<usize>, seed: f32) {
        let rows: Vec<f32> = range.clone().flat_map(|t| [t as f32 + seed; 6]).collect();
        cache.make_room(range.len()).unwrap();
        for layer in 0..SHAPE.layers {
            cache
                .write(layer, &range.clone().collect::<Vec<_>>(), &rows, &rows)
                .unwrap();
        }
        cache.advance_to(range.end);
    }

    /// What the cache holds of head 1, as the last number of each token.
    fn held(cache: &KvCache) -> Vec<f32> {
        let layout = SHAPE.layout();
        (0..cache.len())
            .map(|position| {
                let page = cache.pages[position / PAGE].layer(1);
                let key = layout.key(page, 1, position % PAGE).last().unwrap();
                let value = layout.value(page, 1, position % PAGE).last().unwrap();
                assert_eq!(key.to_bits(), value.to_bits());
                key
            })
            .collect()
    }

    fn counted(range: std::ops::Range<usize>, seed: f32) -> Vec<f32> {
        range.map(|t| t as f32 + seed).collect()
    }

    #[test]
    fn grows_and_keeps_what_was_there() {
        let pool = pool(16);
        let mut cache = KvCache::new(&pool, 1000);
        for start in (0..1000).step_by(100) {
            push(&mut cache, start..start + 100, 0.0);
        }
        assert_eq!(held(&cache), counted(0..1000, 0.0));
        assert_eq!(pool.free(), 0);
        cache.truncate(65);
        assert_eq!((cache.len(), pool.free()), (65, 14));
        drop(cache);
        assert_eq!(pool.free(), 16);
    }

    #[test]
    fn refuses_more_than_its_bound_and_more_than_there_is() {
        let pool = pool(2);
        let mut cache = KvCache::new(&pool, 10);
        push(&mut cache, 0..8, 0.0);
        assert!(cache.make_room(3).is_err());
        let mut long = KvCache::new(&pool, 1000);
        assert!(long.make_room(65).is_err());
        assert_eq!((long.pages.len(), pool.free()), (0, 1), "what was taken is given back");
        assert_eq!(held(&cache), counted(0..8, 0.0));
    }

    #[test]
    fn a_prefix_and_its_origin_do_not_see_each_other() {
        let pool = pool(6);
        let mut cache = KvCache::new(&pool, 200);
        push(&mut cache, 0..150, 0.0);
        let mut prefix = cache.prefix(100);
        assert_eq!((prefix.pages_for(1), prefix.pages_for(100), pool.free()), (1, 3, 3));
        push(&mut prefix, 100..110, 1000.0);
        assert_eq!(pool.free(), 2, "the page that is shared was copied");
        cache.truncate(80);
        push(&mut cache, 80..160, 500.0);
        assert_eq!(
            held(&prefix),
            [counted(0..100, 0.0), counted(100..110, 1000.0)].concat()
        );
        assert_eq!(held(&cache), [counted(0..80, 0.0), counted(80..160, 500.0)].concat());
    }

    #[test]
    fn whole_pages_are_shared_for_good() {
        let pool = pool(3);
        let mut cache = KvCache::new(&pool, 200);
        push(&mut cache, 0..64, 0.0);
        let mut others = [cache.prefix(64), cache.prefix(64)];
        for other in &mut others {
            assert_eq!(other.pages_for(1), 1);
            push(other, 64..70, 7.0);
        }
        assert_eq!(pool.free(), 0);
        drop(cache);
        assert_eq!(held(&others[1]), [counted(0..64, 0.0), counted(64..70, 7.0)].concat());
        drop(others);
        assert_eq!(pool.free(), 3);
    }

    #[test]
    fn room_must_be_made_first() {
        let pool = pool(1);
        let mut cache = KvCache::new(&pool, 100);
        assert!(cache.write(0, &[0], &[0.0; 6], &[0.0; 6]).is_err());
    }

    #[test]
    fn tokens_may_come_in_any_order_and_be_taken_out() {
        let pool = pool(3);
        let mut cache = KvCache::new(&pool, 150);
        cache.make_room(140).unwrap();
        let (first, second): (Vec<usize>, Vec<usize>) = (0..140).partition(|at| (20..100).contains(at));
        for positions in [first, second] {
            let rows: Vec<f32> = positions.iter().flat_map(|at| [*at as f32; 6]).collect();
            for layer in 0..SHAPE.layers {
                cache.write(layer, &positions, &rows, &rows).unwrap();
            }
        }
        cache.advance_to(140);
        assert_eq!(held(&cache), counted(0..140, 0.0));
        let piece = cache.piece(60..70).unwrap();
        assert_eq!((piece.begin, piece.tokens, piece.bytes()), (60, 10, 2 * 2 * 60 * 2));
        for (keys, values) in &piece.layers {
            let expected: Vec<f16> = (60..70).flat_map(|at| [f16::from_f32(at as f32); 6]).collect();
            assert_eq!((keys, values), (&expected, &expected));
        }
    }
}
