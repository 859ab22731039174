//! How quantised matrices lie in memory for the kernels.
//!
//! Rows of the matrix (columns of the product) come in panels of [`LANES`], the last one filled up with zeroes. A panel
//! holds, for every block of [`BLOCK`] numbers of its rows, first all quants and then all scales, and ends at a multiple
//! of [`ALIGNMENT`].
//!
//! Quants are unsigned: `q + zero`. A block has 8 *groups* of 64 bytes; byte `4 lane + i` of group `j` is number `4 j + i`
//! of row `lane`: what one VNNI instruction multiplies. With 4 bits, byte string `t` of four holds group `t` in the low
//! and `t + 4` in the high halves. Fifth bits follow as 8 words of 64 bits, one a group; fifth and sixth bits as two byte
//! strings of four groups each, two bits a group from the lowest.
//!
//! Scales are what the file has: see [`Scales`]. Nothing is rounded.

use super::pack;

/// Rows of a matrix side by side.
pub const LANES: usize = 16;
/// Numbers of a row that are quantised together.
pub const BLOCK: usize = 32;
/// Blocks of a super-block of the `K` formats.
pub(super) const SUPER: usize = 8;
/// Where panels begin, counted from the start of the matrix, which should begin at such an address too.
pub const ALIGNMENT: usize = 64;

/// Formats of quantised weights. Source of all: `ggml-quants.c` of ggml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(non_camel_case_types, missing_docs)]
pub enum Format {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4_K,
    Q5_K,
    Q6_K,
}

/// How the scales of a panel lie; a weight is `scale * (q - zero) + minimum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scales {
    /// A block: half-precision scales of the lanes.
    Half,
    /// A block: half-precision scales, then minima.
    HalfMin,
    /// A super-block: half-precision `d` and `dmin` of the lanes; then, for each of its blocks, a byte `s` a lane and a
    /// byte `m` a lane. The scale is `d * s`, the minimum `-(dmin * m)`: both exact in `f32`.
    SuperMin,
    /// A super-block: half-precision `d` of the lanes; then, for each 16 numbers, a signed byte `s` a lane. The scale is
    /// `d * s`.
    SuperSixteen,
}

// `Scales` as constant parameters.
pub(super) const HALF: u8 = 0;
pub(super) const HALF_MIN: u8 = 1;
pub(super) const SUPER_MIN: u8 = 2;
pub(super) const SUPER_SIXTEEN: u8 = 3;

/// Calls a function for the format's bits and scales.
macro_rules! by_format {
    ($format:expr, $name:ident ( $($arg:expr),* )) => {
        match ($format.bits(), $format.scales()) {
            (4, Scales::Half) => $name::<4, HALF>($($arg),*),
            (5, Scales::Half) => $name::<5, HALF>($($arg),*),
            (_, Scales::Half) => $name::<8, HALF>($($arg),*),
            (4, Scales::HalfMin) => $name::<4, HALF_MIN>($($arg),*),
            (_, Scales::HalfMin) => $name::<5, HALF_MIN>($($arg),*),
            (4, Scales::SuperMin) => $name::<4, SUPER_MIN>($($arg),*),
            (_, Scales::SuperMin) => $name::<5, SUPER_MIN>($($arg),*),
            (_, Scales::SuperSixteen) => $name::<6, SUPER_SIXTEEN>($($arg),*),
        }
    };
}

pub(super) use by_format;

impl Format {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
    ];

    /// Numbers in a block of the file.
    #[must_use]
    pub fn file_block(self) -> usize {
        match self {
            Self::Q4_K | Self::Q5_K | Self::Q6_K => BLOCK * SUPER,
            _ => BLOCK,
        }
    }

    /// Bytes of a block of the file.
    #[must_use]
    pub fn file_bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q4_K => 144,
            Self::Q5_K => 176,
            Self::Q6_K => 210,
        }
    }

    pub(super) fn bits(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q4_K => 4,
            Self::Q5_0 | Self::Q5_1 | Self::Q5_K => 5,
            Self::Q6_K => 6,
            Self::Q8_0 => 8,
        }
    }

    /// What is taken from a quant.
    pub(super) fn zero(self) -> i32 {
        match self {
            Self::Q4_0 => 8,
            Self::Q5_0 => 16,
            Self::Q6_K => 32,
            Self::Q8_0 => 128,
            Self::Q4_1 | Self::Q5_1 | Self::Q4_K | Self::Q5_K => 0,
        }
    }

    pub(super) fn scales(self) -> Scales {
        match self {
            Self::Q4_0 | Self::Q5_0 | Self::Q8_0 => Scales::Half,
            Self::Q4_1 | Self::Q5_1 => Scales::HalfMin,
            Self::Q4_K | Self::Q5_K => Scales::SuperMin,
            Self::Q6_K => Scales::SuperSixteen,
        }
    }

    /// Whether a weight has a minimum besides its scale.
    pub(super) fn minimum(self) -> bool {
        matches!(self.scales(), Scales::HalfMin | Scales::SuperMin)
    }

    /// Scales a block has: 2 if each 16 numbers have their own.
    pub(super) fn scales_a_block(self) -> usize {
        if self.scales() == Scales::SuperSixteen { 2 } else { 1 }
    }

    /// Bytes of the quants of a block of a panel.
    pub(super) fn quant_bytes(self) -> usize {
        BLOCK * LANES * self.bits() / 8
    }

    fn scale_bytes(self, blocks: usize) -> usize {
        match self.scales() {
            Scales::Half => blocks * 2 * LANES,
            Scales::HalfMin => blocks * 4 * LANES,
            Scales::SuperMin => blocks / SUPER * (4 * LANES + SUPER * 2 * LANES),
            Scales::SuperSixteen => blocks / SUPER * (2 * LANES + SUPER * 2 * LANES),
        }
    }

    /// Bytes of a panel of rows of `columns` numbers.
    pub(super) fn panel_bytes(self, columns: usize) -> usize {
        let blocks = columns / BLOCK;
        (blocks * self.quant_bytes() + self.scale_bytes(blocks)).next_multiple_of(ALIGNMENT)
    }

    /// Bytes that [`Format::pack`] writes for a matrix `[rows, columns]`.
    ///
    /// # Panics
    /// If the columns are not whole blocks of the file.
    #[must_use]
    pub fn packed_bytes(self, rows: usize, columns: usize) -> usize {
        assert!(
            columns.is_multiple_of(self.file_block()),
            "{columns} columns are not whole blocks"
        );
        rows.div_ceil(LANES) * self.panel_bytes(columns)
    }

    /// Rewrites a matrix `[rows, columns]` from the blocks of a file for the kernels, on the threads of the pool.
    ///
    /// # Panics
    /// If the lengths do not agree.
    pub fn pack(self, (rows, columns): (usize, usize), file: &[u8], out: &mut [u8]) {
        assert!(
            out.len() == self.packed_bytes(rows, columns)
                && file.len() == rows * columns / self.file_block() * self.file_bytes(),
            "the lengths of file and packed matrix do not agree"
        );
        pack::pack(self, (rows, columns), file, out);
    }
}

/// A packed matrix.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    pub(super) format: Format,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) bytes: &'a [u8],
}

impl<'a> Matrix<'a> {
    /// The matrix `[rows, columns]` that [`Format::pack`] wrote to `bytes`.
    ///
    /// # Panics
    /// If the length is another.
    #[must_use]
    pub fn new(format: Format, (rows, columns): (usize, usize), bytes: &'a [u8]) -> Self {
        assert_eq!(
            bytes.len(),
            format.packed_bytes(rows, columns),
            "bytes of a packed matrix"
        );
        Self {
            format,
            rows,
            columns,
            bytes,
        }
    }

    pub(super) fn blocks(self) -> usize {
        self.columns / BLOCK
    }

    pub(super) fn panels(self) -> usize {
        self.rows.div_ceil(LANES)
    }

    pub(super) fn panel(self, index: usize) -> &'a [u8] {
        let bytes = self.format.panel_bytes(self.columns);
        &self.bytes[index * bytes..(index + 1) * bytes]
    }
}
