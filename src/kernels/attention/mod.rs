//! Causal attention with grouped queries (Ainslie et al., arXiv:2305.13245) over cached keys and values, for one token or
//! many, without a matrix of scores: keys come in blocks of [`BLOCK`], and what was summed is rescaled when a larger
//! score comes (Dao et al., arXiv:2205.14135).
//!
//! Blocks begin at multiples of [`BLOCK`] in the sequence, whatever the queries: a query's result is the same number,
//! whichever tokens are computed beside it.

mod body;

#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(test)]
mod tests;

use super::level::{Level, Set};
use super::pool::{self, Parts};

/// Keys scored at a time.
pub const BLOCK: usize = 64;
/// Keys side by side in memory.
const LANES: usize = 16;
/// Rows a thread takes at a time.
const ROWS: usize = 48;
/// Where the largest score begins: below any real one, and finite, so that differences are numbers.
const LOWEST: f32 = -1e30;

/// How keys and values of one layer lie in memory. Keys are `[heads, capacity / 16, dim, 16]`: a number of 16 keys side
/// by side. Values are `[heads, capacity, width]` with `width` the next multiple of 16 from `dim`, filled up with zeroes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    heads: usize,
    dim: usize,
    capacity: usize,
}

impl Layout {
    /// Room for at least `tokens` keys and values of `heads` heads of `dim` numbers.
    #[must_use]
    pub fn new(heads: usize, dim: usize, tokens: usize) -> Self {
        let capacity = tokens.next_multiple_of(BLOCK);
        Self { heads, dim, capacity }
    }

    /// Tokens there is room for.
    #[must_use]
    pub fn capacity(self) -> usize {
        self.capacity
    }

    /// The same heads, perhaps with other room.
    #[must_use]
    pub fn same_heads(self, other: Self) -> bool {
        (self.heads, self.dim) == (other.heads, other.dim)
    }

    /// Numbers that all keys take.
    #[must_use]
    pub fn key_numbers(self) -> usize {
        self.heads * self.capacity * self.dim
    }

    /// Numbers that all values take.
    #[must_use]
    pub fn value_numbers(self) -> usize {
        self.heads * self.capacity * self.width()
    }

    fn width(self) -> usize {
        self.dim.next_multiple_of(LANES)
    }

    /// Writes the keys and values of tokens from position `first`, `[tokens, heads * dim]` each.
    ///
    /// # Panics
    /// If the lengths do not agree or there is no room.
    pub fn write(self, first: usize, (keys, values): (&[f32], &[f32]), (to_keys, to_values): (&mut [f32], &mut [f32])) {
        let row = self.heads * self.dim;
        let tokens = keys.len() / row;
        assert!(
            keys.len() == tokens * row && values.len() == keys.len(),
            "keys and values are whole rows"
        );
        assert!(
            first + tokens <= self.capacity,
            "no room for {tokens} tokens from {first}"
        );
        for (position, (keys, values)) in (first..).zip(keys.chunks_exact(row).zip(values.chunks_exact(row))) {
            let heads = keys.chunks_exact(self.dim).zip(values.chunks_exact(self.dim));
            for (head, (key, value)) in heads.enumerate() {
                let panel = (head * self.capacity / LANES + position / LANES) * self.dim * LANES;
                for (d, number) in key.iter().enumerate() {
                    to_keys[panel + d * LANES + position % LANES] = *number;
                }
                let start = (head * self.capacity + position) * self.width();
                to_values[start..start + self.dim].copy_from_slice(value);
            }
        }
    }

    /// Copies the first `len` tokens of `from`, which has the same heads.
    ///
    /// # Panics
    /// If there is no room for them, or the lengths do not agree.
    pub fn copy(self, len: usize, from: Cached<'_>, (to_keys, to_values): (&mut [f32], &mut [f32])) {
        assert!(
            self.same_heads(from.layout) && len <= self.capacity && len <= from.layout.capacity,
            "no room"
        );
        let keys = len.next_multiple_of(LANES) * self.dim;
        let values = len * self.width();
        for head in 0..self.heads {
            let (to, at) = (head * self.capacity, head * from.layout.capacity);
            to_keys[to * self.dim..][..keys].copy_from_slice(&from.keys[at * self.dim..][..keys]);
            to_values[to * self.width()..][..values].copy_from_slice(&from.values[at * self.width()..][..values]);
        }
    }
}

/// Keys and values.
#[derive(Clone, Copy, Debug)]
pub struct Cached<'a> {
    layout: Layout,
    keys: &'a [f32],
    values: &'a [f32],
}

impl<'a> Cached<'a> {
    /// Keys and values as `layout` says.
    ///
    /// # Panics
    /// If the lengths are others.
    #[must_use]
    pub fn new(layout: Layout, keys: &'a [f32], values: &'a [f32]) -> Self {
        assert!(
            keys.len() == layout.key_numbers() && values.len() == layout.value_numbers(),
            "keys and values of another layout"
        );
        Self { layout, keys, values }
    }

    /// A number of the key of a token.
    ///
    /// # Panics
    /// If there is no such head, position or number.
    #[must_use]
    pub fn key(&self, head: usize, position: usize, number: usize) -> f32 {
        let Layout { heads, dim, capacity } = self.layout;
        assert!(
            head < heads && position < capacity && number < dim,
            "a key that is not there"
        );
        let panel = head * capacity / LANES + position / LANES;
        self.keys[(panel * dim + number) * LANES + position % LANES]
    }

    /// A number of the value of a token.
    ///
    /// # Panics
    /// As [`Cached::key`].
    #[must_use]
    pub fn value(&self, head: usize, position: usize, number: usize) -> f32 {
        let Layout { heads, dim, capacity } = self.layout;
        assert!(
            head < heads && position < capacity && number < dim,
            "a value that is not there"
        );
        self.values[(head * capacity + position) * self.layout.width() + number]
    }

    /// The keys of a block, and the values.
    fn block(&self, head: usize, start: usize) -> (&'a [f32], &'a [f32]) {
        let at = head * self.layout.capacity + start;
        let (dim, width) = (self.layout.dim, self.layout.width());
        (
            &self.keys[at * dim..(at + BLOCK) * dim],
            &self.values[at * width..(at + BLOCK) * width],
        )
    }
}

/// The queries of consecutive tokens.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// `[tokens, heads * dim]`.
    pub numbers: &'a [f32],
    /// Heads, a multiple of those of the keys.
    pub heads: usize,
    /// The position of the first token; its own key is the last it sees.
    pub first: usize,
    /// How many tokens each sees, itself included; all if none.
    pub window: Option<usize>,
    /// What scores are multiplied by.
    pub scale: f32,
}

/// What a kernel is given. A row is one head of one token; those that share a key head are numbered token by token.
#[derive(Clone, Copy)]
struct Task<'a> {
    queries: Queries<'a>,
    cached: Cached<'a>,
    out: Parts<f32>,
}

/// A row: where its numbers begin, and which keys it sees.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    at: usize,
    from: usize,
    to: usize,
}

impl Task<'_> {
    fn row(&self, key_head: usize, row: usize) -> Row {
        let Layout { heads, dim, .. } = self.cached.layout;
        let group = self.queries.heads / heads;
        let (token, head) = (row / group, key_head * group + row % group);
        let to = self.queries.first + token + 1;
        Row {
            at: (token * self.queries.heads + head) * dim,
            from: self.queries.window.map_or(0, |window| to.saturating_sub(window)),
            to,
        }
    }
}

/// Writes what each query finds, `[tokens, heads * dim]`, on the threads of the pool. The keys and values of the queries'
/// own tokens must be there.
///
/// # Panics
/// If the lengths do not agree, a window is 0, or there are more queries than keys.
pub fn attend(level: Level, queries: Queries<'_>, cached: Cached<'_>, out: &mut [f32]) {
    let Layout { heads, dim, capacity } = cached.layout;
    assert!(
        queries.heads.is_multiple_of(heads),
        "each key head has as many query heads"
    );
    let tokens = queries.numbers.len() / (queries.heads * dim);
    assert!(
        queries.numbers.len() == tokens * queries.heads * dim && out.len() == queries.numbers.len(),
        "queries and output are whole rows"
    );
    assert!(queries.first + tokens <= capacity, "queries beyond the keys");
    assert!(queries.window != Some(0), "a window of no tokens");
    let task = Task {
        queries,
        cached,
        out: Parts::new(out),
    };
    let rows = tokens * (queries.heads / heads);
    let pieces = rows.div_ceil(ROWS);
    // The last tokens see most keys: they go first, so that no thread is left with a long piece at the end.
    pool::run(pieces * heads, &|piece| {
        let (piece, head) = (pieces - 1 - piece / heads, piece % heads);
        let first = piece * ROWS;
        compute(level, &task, head, (first, ROWS.min(rows - first)));
    });
}

fn compute(level: Level, task: &Task<'_>, head: usize, rows: (usize, usize)) {
    match level.0 {
        Set::Scalar => body::compute(task, head, rows),
        // SAFETY: a `Level` with this instruction set exists only where it was detected.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Set::Avx2 => unsafe { avx2(task, head, rows) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Set::Avx512 => unsafe { avx512::compute(task, head, rows) },
    }
}

/// The specification, compiled for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(task: &Task<'_>, head: usize, rows: (usize, usize)) {
    body::compute(task, head, rows);
}
