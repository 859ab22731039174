//! Inner products of one vector with many: of single-precision numbers, and of such that were rounded to 8 bits.
//!
//! An 8-bit row is stored as `number + 128`, the vector it is multiplied with as it is: so VNNI multiplies them at once, and
//! what the shift adds, 128 times the sum of that vector, is the same for all rows.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;

use super::level::{Level, Set};

/// Rows that are fetched into the cache ahead of the one that is multiplied: rows of a graph's nodes lie anywhere in
/// memory. A guess: other numbers were not tried.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 4;

/// What is added to a number where it is stored in a row of bytes.
const SHIFT: u8 = 128;

/// The longest row of bytes: its sum of products, with the shift and with whatever bytes, is a 32-bit number.
pub const MAX_BYTES: usize = 1 << 15;

/// A number from -127 to 127 as it is stored in a row.
#[must_use]
pub fn stored(number: i8) -> u8 {
    number.cast_unsigned() ^ SHIFT
}

/// The number that is stored in a row so.
#[must_use]
pub fn number(stored: u8) -> i8 {
    (stored ^ SHIFT).cast_signed()
}

/// The inner product. Relative to the sum of the products' sizes the error is below `(len / 16 + 16)` roundings; on one
/// machine the result is that of [`dots`], to the bit.
///
/// # Panics
/// If the lengths do not agree.
#[must_use]
pub fn dot(level: Level, a: &[f32], b: &[f32]) -> f32 {
    let mut out = [0.0];
    dots(level, a, b, &[0], &mut out);
    out[0]
}

/// The inner products of `query` with those rows of `matrix`, which has rows of the query's length.
///
/// # Panics
/// If there is no such row, or there are not as many results as rows.
pub fn dots(level: Level, query: &[f32], matrix: &[f32], rows: &[u32], out: &mut [f32]) {
    check(query.len(), matrix.len(), rows, out.len());
    match level.0 {
        Set::Scalar => scalar::dots(query, matrix, rows, out),
        // SAFETY: a `Level` with this instruction set exists only where it was detected; the rows were checked.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Set::Avx2 => unsafe { avx2::dots(query, matrix, rows, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Set::Avx512 => unsafe { avx512::dots(query, matrix, rows, out) },
        // NEON is in what the loop is compiled for.
        #[cfg(target_arch = "aarch64")]
        Set::Neon | Set::NeonDotprod | Set::NeonI8mm => scalar::dots(query, matrix, rows, out),
    }
}

/// The inner products of `query`, numbers from -127 to 127, with those rows of `matrix`, which are [`stored`]. Exact.
///
/// # Panics
/// If there is no such row, there are not as many results as rows, or a row is longer than [`MAX_BYTES`].
pub fn dots_i8(level: Level, query: &[i8], matrix: &[u8], rows: &[u32], out: &mut [i32]) {
    check(query.len(), matrix.len(), rows, out.len());
    assert!(query.len() <= MAX_BYTES, "rows too long for sums of 32 bits");
    match level.0 {
        Set::Scalar => scalar::dots_i8(query, matrix, rows, out),
        // SAFETY: a `Level` with this instruction set exists only where it was detected; the rows were checked.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Set::Avx2 => unsafe { avx2::dots_i8(query, matrix, rows, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        #[allow(unsafe_code)]
        Set::Avx512 => unsafe { avx512::dots_i8(query, matrix, rows, out) },
        #[cfg(target_arch = "aarch64")]
        Set::Neon => neon::dots_i8(query, matrix, rows, out),
        // SAFETY: as above.
        #[cfg(target_arch = "aarch64")]
        #[allow(unsafe_code)]
        Set::NeonDotprod | Set::NeonI8mm => unsafe { neon::dots_i8_dotprod(query, matrix, rows, out) },
    }
}

/// Asks for these numbers to be brought into the cache. Changes nothing else, and does nothing where there is no such
/// instruction.
pub fn fetch(numbers: &[std::sync::atomic::AtomicU32]) {
    #[cfg(target_arch = "x86_64")]
    avx2::fetch(numbers.as_ptr().cast(), size_of_val(numbers));
    #[cfg(not(target_arch = "x86_64"))]
    let _ = numbers;
}

/// What the kernels rely on.
fn check(dim: usize, numbers: usize, rows: &[u32], results: usize) {
    assert_eq!(rows.len(), results, "as many results as rows");
    // The greatest row number tells of all; no row, or rows without numbers, are always there.
    let last = rows.iter().max().map_or(0, |row| *row as usize + 1);
    assert!(
        last.checked_mul(dim).is_some_and(|end| end <= numbers),
        "row {last} is not there"
    );
}
