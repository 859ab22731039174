//! The tile registers themselves: the only instructions of AMX, behind what the tests have a model of.

use super::super::format::{BLOCK, LANES};
use std::arch::asm;

/// Bytes of a row of 16 sums or of 4 numbers of 16 lanes.
const ROW: usize = 4 * LANES;

/// What the registers are configured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Rows of activations, up to 16.
    pub(super) rows: usize,
    /// Numbers of a row that are multiplied at once: a multiple of 4 up to 64.
    pub(super) columns: usize,
}

/// Two sets of registers: activations, quants, and their sums.
pub(super) trait Tiles {
    /// Gives the registers of this thread a shape.
    ///
    /// # Safety
    /// The thread may use the registers.
    unsafe fn configure(shape: Shape);

    /// Gives the registers of this thread back.
    ///
    /// # Safety
    /// The thread may use the registers.
    unsafe fn release();

    /// Row `r` of `sums` (16 numbers; rows are next to each other) becomes the products of row `r` of `x` (rows are
    /// [`BLOCK`] bytes apart) with 16 lanes of `quants`, which lie in lines of four numbers of each lane. `SET`: 0 or 1.
    ///
    /// # Safety
    /// The registers are configured by this thread. `x` is readable for their rows, `quants` for a line each four of
    /// their columns, and `sums` is writable for a line each row.
    unsafe fn multiply<const SET: usize>(x: *const i8, quants: *const i8, sums: *mut i32);
}

/// The registers of the processor.
pub(super) struct Registers;

/// What `ldtilecfg` reads. Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, "Tile
/// configuration": palette, row to start at, bytes of a row of each tile (16 bits each, from byte 16), rows of each
/// (8 bits each, from byte 48).
#[repr(C, align(64))]
pub(super) struct Configuration {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

impl Configuration {
    /// Both sets: sums, activations, quants.
    pub(super) fn new(shape: Shape) -> Self {
        let (rows, columns) = (shape.rows as u8, shape.columns as u16);
        let mut new = Self {
            palette: 1,
            start: 0,
            reserved: [0; 14],
            bytes: [0; 16],
            rows: [0; 16],
        };
        for set in [0, 3] {
            new.bytes[set..set + 3].copy_from_slice(&[ROW as u16, columns, ROW as u16]);
            new.rows[set..set + 3].copy_from_slice(&[rows, rows, (columns / 4) as u8]);
        }
        new
    }
}

const _: () = assert!(size_of::<Configuration>() == 64);

impl Tiles for Registers {
    unsafe fn configure(shape: Shape) {
        let configuration = Configuration::new(shape);
        // SAFETY: 64 bytes are read, which live until then; the thread may use the registers, which nobody else does.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, preserves_flags, readonly));
        }
    }

    unsafe fn release() {
        // SAFETY: the thread may use the registers.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) };
    }

    #[inline(always)]
    #[allow(clippy::inline_always)] // It is one step of a loop.
    unsafe fn multiply<const SET: usize>(x: *const i8, quants: *const i8, sums: *mut i32) {
        // SAFETY: the caller answers for memory and configuration. Nothing stays in the registers.
        unsafe {
            if SET == 0 {
                asm!(
                    "tilezero tmm0",
                    "tileloadd tmm1, [{x} + {block}]",
                    "tileloadd tmm2, [{quants} + {row}]",
                    "tdpbssd tmm0, tmm1, tmm2",
                    "tilestored [{sums} + {row}], tmm0",
                    x = in(reg) x, quants = in(reg) quants, sums = in(reg) sums,
                    block = in(reg) BLOCK, row = in(reg) ROW,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _,
                    options(nostack, preserves_flags),
                );
            } else {
                asm!(
                    "tilezero tmm3",
                    "tileloadd tmm4, [{x} + {block}]",
                    "tileloadd tmm5, [{quants} + {row}]",
                    "tdpbssd tmm3, tmm4, tmm5",
                    "tilestored [{sums} + {row}], tmm3",
                    x = in(reg) x, quants = in(reg) quants, sums = in(reg) sums,
                    block = in(reg) BLOCK, row = in(reg) ROW,
                    out("tmm3") _, out("tmm4") _, out("tmm5") _,
                    options(nostack, preserves_flags),
                );
            }
        }
    }
}
