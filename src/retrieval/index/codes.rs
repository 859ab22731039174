//! Vectors rounded to 8 bits, to walk a graph by: a quarter of the memory to read. What a walk finds is compared exactly
//! afterwards.

use super::Matrix;
use crate::kernels::{Level, inner};

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Rows of numbers from -127 to 127, as the kernels read them.
pub(super) struct Codes {
    dim: usize,
    /// Where the first row stands: at the beginning of a line of the cache, so that a row touches no line more than it must.
    start: usize,
    bytes: Vec<u8>,
    level: Level,
}

impl Codes {
    /// Those rows of `matrix`, with one factor for all: the one by which the greatest number becomes 127. So products of
    /// rows can be compared as they are.
    pub(super) fn new(matrix: &Matrix, rows: impl ExactSizeIterator<Item = usize>) -> Self {
        let dim = matrix.dim();
        let factor = factor(matrix.as_slice());
        // Zeroed memory comes at the beginning of a page at best: the rows may begin up to a line later.
        let mut bytes = vec![0; rows.len() * dim + LINE];
        let start = bytes.as_ptr().align_offset(LINE).min(LINE);
        for (row, out) in rows.zip(bytes[start..].chunks_exact_mut(dim)) {
            for (x, out) in matrix.row(row).iter().zip(out) {
                *out = inner::stored(code(*x, factor));
            }
        }
        Self {
            dim,
            start,
            bytes,
            level: Level::detect(),
        }
    }

    /// Rounds a vector with a factor of its own, into `out`.
    pub(super) fn encode(vector: &[f32], out: &mut Vec<i8>) {
        let factor = factor(vector);
        out.clear();
        out.extend(vector.iter().map(|x| code(*x, factor)));
    }

    /// A row's numbers, into `out`.
    pub(super) fn decode(&self, row: u32, out: &mut Vec<i8>) {
        let from = self.start + row as usize * self.dim;
        out.clear();
        out.extend(self.bytes[from..from + self.dim].iter().map(|x| inner::number(*x)));
    }

    /// The products of a vector with these rows: the greater, the nearer. Each result belongs to the row of its place.
    pub(super) fn score(&self, vector: &[i8], rows: &[u32], out: &mut Vec<i32>) {
        out.clear();
        out.resize(rows.len(), 0);
        inner::dots_i8(self.level, vector, &self.bytes[self.start..], rows, out);
    }

    /// Bytes of memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

fn factor(numbers: &[f32]) -> f32 {
    let greatest = numbers.iter().fold(0.0_f32, |greatest, x| greatest.max(x.abs()));
    let factor = 127.0 / greatest;
    if factor.is_finite() { factor } else { 0.0 }
}

/// What is not a number becomes 0.
fn code(x: f32, factor: f32) -> i8 {
    (x * factor).round_ties_even().clamp(-127.0, 127.0) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_rounded_rows_are_those_of_the_rows() {
        let dim = 70;
        let data: Vec<f32> = (0..5 * dim).map(|i| ((i * 37 % 101) as f32 - 50.0) / 300.0).collect();
        let matrix = Matrix::new(dim, data);
        let codes = Codes::new(&matrix, [4, 1, 0].into_iter());
        let (mut vector, mut own, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        Codes::encode(matrix.row(4), &mut vector);
        codes.decode(0, &mut own);
        assert_eq!(own.len(), dim);
        codes.score(&own, &[2, 0, 1], &mut scores);
        let factor = factor(matrix.as_slice());
        for (score, row) in scores.iter().zip([0, 4, 1]) {
            let exact: f32 = super::super::dot(matrix.row(4), matrix.row(row)) * factor * factor;
            // Each of the numbers is off by half at most.
            assert!((*score as f32 - exact).abs() < dim as f32 * 127.0, "{score} {exact}");
        }
        assert!(scores[1] > scores[0] && scores[1] > scores[2]);
    }

    #[test]
    fn no_numbers_are_a_fault() {
        let matrix = Matrix::new(2, vec![f32::NAN, f32::INFINITY, 0.0, f32::NEG_INFINITY]);
        let codes = Codes::new(&matrix, 0..2);
        let mut own = Vec::new();
        codes.decode(1, &mut own);
        assert_eq!(own, [0, 0]);
        Codes::encode(&[0.0, 0.0], &mut own);
        assert_eq!(own, [0, 0]);
    }
}
