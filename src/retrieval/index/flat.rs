//! Exact search: the query is compared with every vector.

use super::{Matrix, Neighbour, VectorIndex};
use crate::kernels::{Level, inner};

/// Rows compared at a time.
const BATCH: usize = 256;

/// Compares with all. Cost: one inner product a row.
#[derive(Clone, Debug)]
pub struct FlatIndex(Matrix);

impl FlatIndex {
    /// An index over the rows of `matrix`.
    #[must_use]
    pub fn new(matrix: Matrix) -> Self {
        Self(matrix)
    }

    /// The vectors.
    #[must_use]
    pub fn matrix(&self) -> &Matrix {
        &self.0
    }
}

impl VectorIndex for FlatIndex {
    fn len(&self) -> usize {
        self.0.rows()
    }

    fn search_among(&self, query: &[f32], k: usize, allowed: &dyn Fn(u32) -> bool) -> Vec<Neighbour> {
        if k == 0 || self.is_empty() {
            return Vec::new();
        }
        let mut best: Vec<Neighbour> = Vec::with_capacity(k.min(self.len()) + 1);
        let mut allowed = (0..self.len() as u32).filter(|row| allowed(*row));
        let (mut rows, mut similarities) = (Vec::with_capacity(BATCH), [0.0; BATCH]);
        loop {
            rows.clear();
            rows.extend(allowed.by_ref().take(BATCH));
            if rows.is_empty() {
                break;
            }
            let similarities = &mut similarities[..rows.len()];
            inner::dots(Level::detect(), query, self.0.as_slice(), &rows, similarities);
            for (row, similarity) in rows.iter().zip(similarities) {
                let (row, similarity) = (*row, *similarity);
                if best.len() == k && best.last().is_some_and(|worst| similarity <= worst.similarity) {
                    continue;
                }
                let place = best.partition_point(|other| other.similarity >= similarity);
                best.insert(place, Neighbour { row, similarity });
                best.truncate(k);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_equals_in_order() {
        let rows = vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8, 0.0, 1.0];
        let index = FlatIndex::new(Matrix::new(2, rows));
        let found: Vec<u32> = index.search(&[0.0, 1.0], 3).iter().map(|n| n.row).collect();
        assert_eq!(found, [1, 3, 2]);
        assert_eq!(index.search(&[0.0, 1.0], 9).len(), 4);
        let odd = index.search_among(&[0.0, 1.0], 2, &|row| row % 2 == 1);
        assert_eq!(odd.iter().map(|n| n.row).collect::<Vec<_>>(), [1, 3]);
        assert!(index.search(&[0.0, 1.0], 0).is_empty());
        assert!(
            FlatIndex::new(Matrix::new(2, Vec::new()))
                .search(&[0.0, 1.0], 3)
                .is_empty()
        );
    }
}
