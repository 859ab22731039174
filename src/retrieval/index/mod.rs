//! Vector indexes. The port [`VectorIndex`] has two adapters: [`FlatIndex`] compares with every vector and is exact;
//! [`HnswIndex`] walks a graph and is fast on many.

mod codes;
mod flat;
mod graph;
mod hnsw;

use crate::kernels::{Level, inner};
use std::sync::Arc;

pub use flat::FlatIndex;
pub use hnsw::{GraphSettings, HnswIndex};

/// A vector that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Its row.
    pub row: u32,
    /// Its cosine with the query, -1 to 1.
    pub similarity: f32,
}

/// Finds the vectors nearest to a query.
pub trait VectorIndex: Send + Sync {
    /// How many vectors there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Up to `k` vectors of greatest cosine with `query`, greatest first, equal ones in order of their row. `query`
    /// must have the index's dimension and norm 1.
    fn search(&self, query: &[f32], k: usize) -> Vec<Neighbour> {
        self.search_among(query, k, &|_| true)
    }

    /// As [`Self::search`], among the rows that `allowed` admits: the others are passed over as if they were not there.
    fn search_among(&self, query: &[f32], k: usize, allowed: &dyn Fn(u32) -> bool) -> Vec<Neighbour>;
}

/// Vectors of norm 1, row by row. Clones share the memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    dim: usize,
    data: Arc<Vec<f32>>,
}

impl Matrix {
    /// A matrix of rows of `dim` numbers. A rest that is no whole row is cut off.
    #[must_use]
    pub fn new(dim: usize, mut data: Vec<f32>) -> Self {
        data.truncate(data.len() / dim.max(1) * dim.max(1));
        Self {
            dim: dim.max(1),
            data: Arc::new(data),
        }
    }

    /// The rows of all `parts` that these say are kept, one part after the other. All parts have `dim` numbers in a row.
    #[must_use]
    pub fn concat<'a>(dim: usize, parts: impl Iterator<Item = (&'a Self, &'a dyn Fn(u32) -> bool)> + Clone) -> Self {
        let kept = |(matrix, keeps): (&'a Self, &'a dyn Fn(u32) -> bool)| {
            let rows = (0..matrix.rows()).filter(move |row| keeps(*row as u32));
            rows.map(move |row| matrix.row(row))
        };
        let mut data = Vec::with_capacity(parts.clone().flat_map(kept).map(<[f32]>::len).sum());
        for row in parts.flat_map(kept) {
            data.extend_from_slice(row);
        }
        Self::new(dim, data)
    }

    /// Rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.data.len() / self.dim
    }

    /// Numbers in a row.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The row of that number.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.dim..(row + 1) * self.dim]
    }

    /// All numbers, row by row.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }
}

/// The inner product; of vectors of norm 1 it is their cosine. Vectors of different length: that of their beginnings.
#[must_use]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let len = a.len().min(b.len());
    inner::dot(Level::detect(), &a[..len], &b[..len])
}

#[cfg(test)]
pub(in crate::retrieval) mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    /// Vectors of norm 1 in clusters, as the vectors of real texts are.
    pub(crate) fn clustered(rows: usize, dim: usize, clusters: usize, seed: u64) -> Vec<f32> {
        let mut random = StdRng::seed_from_u64(seed);
        let centres: Vec<f32> = (0..clusters * dim).map(|_| random.random_range(-1.0..1.0)).collect();
        let mut data = Vec::with_capacity(rows * dim);
        for _ in 0..rows {
            let cluster = random.random_range(0..clusters);
            let mut row: Vec<f32> = centres[cluster * dim..(cluster + 1) * dim]
                .iter()
                .map(|x| x + random.random_range(-0.7..0.7))
                .collect();
            let norm = dot(&row, &row).sqrt();
            for x in &mut row {
                *x /= norm;
            }
            data.extend(row);
        }
        data
    }

    #[test]
    fn dot_is_the_sum_of_products_at_any_length() {
        for length in [0, 1, 15, 16, 17, 31, 384, 385] {
            let a: Vec<f32> = (0..length).map(|i| (i % 7) as f32 - 3.0).collect();
            let b: Vec<f32> = (0..length).map(|i| (i % 5) as f32).collect();
            let expected: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            // Sums of small whole numbers are exact in any order.
            assert!((dot(&a, &b) - expected).abs() < f32::EPSILON, "{length}");
        }
    }
}
