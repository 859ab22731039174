//! Causal attention with grouped queries (Ainslie et al., arXiv:2305.13245) over cached keys and values, for one token or
//! many, without a matrix of scores: keys come in blocks of [`BLOCK`], and what was summed is rescaled when a larger
//! score comes (Dao et al., arXiv:2205.14135).
//!
//! Blocks begin at multiples of [`BLOCK`] in the sequence, whatever the queries: a query's result is the same number,
//! whichever tokens are computed beside it.

mod body;

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(test)]
mod tests;

use super::level::{Level, Set};
use super::pool::{self, Parts};
use half::f16;
use half::slice::HalfFloatSliceExt;

/// Keys scored at a time.
pub const BLOCK: usize = 64;
/// Keys side by side in memory.
const LANES: usize = 16;
/// Rows a thread takes at a time.
const ROWS: usize = 48;
/// Where the largest score begins: below any real one, and finite, so that differences are numbers.
const LOWEST: f32 = -1e30;

/// How the keys and values of [`BLOCK`] consecutive tokens, a *page*, lie in memory for one layer: half-precision numbers,
/// first keys `[heads, BLOCK / 16, dim, 16]` (a number of 16 keys side by side), then values `[heads, BLOCK, width]` with
/// `width` the next multiple of 16 from `dim`, filled up with whatever was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    heads: usize,
    dim: usize,
}

impl Layout {
    /// Keys and values of `heads` heads of `dim` numbers.
    #[must_use]
    pub fn new(heads: usize, dim: usize) -> Self {
        Self { heads, dim }
    }

    /// Numbers of a page.
    #[must_use]
    pub fn numbers(self) -> usize {
        self.heads * BLOCK * (self.dim + self.width())
    }

    fn width(self) -> usize {
        self.dim.next_multiple_of(LANES)
    }

    /// Where the keys of a head begin in a page, and its values.
    fn starts(self, head: usize) -> (usize, usize) {
        let values = self.heads * BLOCK * self.dim;
        (head * BLOCK * self.dim, values + head * BLOCK * self.width())
    }

    /// Rounds the keys and values of tokens, `[tokens, heads * dim]` each, and writes them into a page from its token
    /// `first` on.
    ///
    /// # Panics
    /// If the lengths do not agree or there is no room.
    pub fn write(self, first: usize, (keys, values): (&[f32], &[f32]), page: &mut [f16]) {
        let row = self.heads * self.dim;
        let tokens = keys.len() / row;
        assert!(
            keys.len() == tokens * row && values.len() == keys.len() && page.len() == self.numbers(),
            "keys and values are whole rows"
        );
        assert!(first + tokens <= BLOCK, "no room for {tokens} tokens from {first}");
        for (position, (keys, values)) in (first..).zip(keys.chunks_exact(row).zip(values.chunks_exact(row))) {
            let heads = keys.chunks_exact(self.dim).zip(values.chunks_exact(self.dim));
            for (head, (key, value)) in heads.enumerate() {
                let (to_keys, to_values) = self.starts(head);
                let panel = to_keys + position / LANES * self.dim * LANES + position % LANES;
                for (d, number) in key.iter().enumerate() {
                    page[panel + d * LANES] = f16::from_f32(*number);
                }
                page[to_values + position * self.width()..][..self.dim].convert_from_f32_slice(value);
            }
        }
    }

    /// The key of a token of a page, in one head.
    ///
    /// # Panics
    /// If there is no such head or token.
    pub fn key(self, page: &[f16], head: usize, token: usize) -> impl Iterator<Item = f32> {
        assert!(head < self.heads && token < BLOCK, "a key that is not there");
        let panel = self.starts(head).0 + token / LANES * self.dim * LANES + token % LANES;
        (0..self.dim).map(move |d| page[panel + d * LANES].to_f32())
    }

    /// Its value.
    ///
    /// # Panics
    /// As [`Layout::key`].
    pub fn value(self, page: &[f16], head: usize, token: usize) -> impl Iterator<Item = f32> {
        assert!(head < self.heads && token < BLOCK, "a value that is not there");
        let start = self.starts(head).1 + token * self.width();
        page[start..start + self.dim].iter().map(|number| number.to_f32())
    }
}

/// The keys and values of a sequence in one layer: whole pages, the last of which may not be full.
#[derive(Clone, Debug)]
pub struct Cached<'a> {
    layout: Layout,
    pages: Vec<&'a [f16]>,
}

impl<'a> Cached<'a> {
    /// The pages of a sequence in order.
    ///
    /// # Panics
    /// If one has another length.
    #[must_use]
    pub fn new(layout: Layout, pages: Vec<&'a [f16]>) -> Self {
        assert!(
            pages.iter().all(|page| page.len() == layout.numbers()),
            "pages of another layout"
        );
        Self { layout, pages }
    }

    /// The keys of the block from `start` on, and the values.
    fn block(&self, head: usize, start: usize) -> (&'a [f16], &'a [f16]) {
        let page = self.pages[start / BLOCK];
        let (keys, values) = self.layout.starts(head);
        (
            &page[keys..keys + BLOCK * self.layout.dim],
            &page[values..values + BLOCK * self.layout.width()],
        )
    }
}

/// The queries of tokens of a sequence.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// `[tokens, heads * dim]`.
    pub numbers: &'a [f32],
    /// Heads, a multiple of those of the keys.
    pub heads: usize,
    /// The position of each token, ascending; its own key is the last it sees.
    pub positions: &'a [usize],
    /// How many tokens each sees, itself included; all if none.
    pub window: Option<usize>,
    /// What scores are multiplied by.
    pub scale: f32,
}

/// The queries of one sequence, what they look at, and where what they find goes.
#[derive(Debug)]
pub struct Attend<'a> {
    /// What looks.
    pub queries: Queries<'a>,
    /// What it looks at; the keys and values of the queries' own tokens must be there.
    pub cached: Cached<'a>,
    /// `[tokens, heads * dim]`; whatever it held.
    pub out: &'a mut [f32],
}

/// What a kernel is given. A row is one head of one token; those that share a key head are numbered token by token.
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
        let Layout { heads, dim } = self.cached.layout;
        let group = self.queries.heads / heads;
        let (token, head) = (row / group, key_head * group + row % group);
        let to = self.queries.positions[token] + 1;
        Row {
            at: (token * self.queries.heads + head) * dim,
            from: self.queries.window.map_or(0, |window| to.saturating_sub(window)),
            to,
        }
    }
}

/// Writes what the queries of each sequence find, all sequences at once, on the threads of the pool.
///
/// # Panics
/// If the lengths do not agree, a window is 0, or there are more queries than keys.
pub fn attend(level: Level, sequences: Vec<Attend<'_>>) {
    let tasks: Vec<_> = sequences.into_iter().map(task).collect();
    let mut pieces = Vec::new();
    for task in &tasks {
        let Layout { heads, dim } = task.cached.layout;
        let rows = task.queries.numbers.len() / (heads * dim);
        for first in (0..rows).step_by(ROWS) {
            pieces.extend((0..heads).map(|head| (task, head, (first, ROWS.min(rows - first)))));
        }
    }
    // The last tokens see most keys: they go first, so that no thread is left with a long piece at the end.
    pieces.sort_by_key(|(task, _, (first, rows))| std::cmp::Reverse(task.row(0, first + rows - 1).to));
    pool::run(pieces.len(), &|piece| {
        let (task, head, rows) = pieces[piece];
        compute(level, task, head, rows);
    });
}

fn task(Attend { queries, cached, out }: Attend<'_>) -> Task<'_> {
    let Layout { heads, dim } = cached.layout;
    assert!(
        queries.heads.is_multiple_of(heads),
        "each key head has as many query heads"
    );
    let tokens = queries.numbers.len() / (queries.heads * dim);
    assert!(
        queries.numbers.len() == tokens * queries.heads * dim && out.len() == queries.numbers.len(),
        "queries and output are whole rows"
    );
    assert!(
        queries.positions.len() == tokens && queries.positions.is_sorted(),
        "a position for each token, in order"
    );
    assert!(
        queries
            .positions
            .last()
            .is_none_or(|last| *last < cached.pages.len() * BLOCK),
        "queries beyond the keys"
    );
    assert!(queries.window != Some(0), "a window of no tokens");
    Task {
        queries,
        cached,
        out: Parts::new(out),
    }
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
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        #[allow(unsafe_code)]
        Set::Neon | Set::NeonDotprod | Set::NeonI8mm => unsafe { neon::compute(task, head, rows) },
    }
}

/// The specification, compiled for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn avx2(task: &Task<'_>, head: usize, rows: (usize, usize)) {
    body::compute(task, head, rows);
}
