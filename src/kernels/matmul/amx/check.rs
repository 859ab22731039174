//! Whether the tile registers are there, may be used, and compute what they should.

use super::super::format::{BLOCK, Format, LANES, Matrix, SUPER};
use super::super::{Parts, Quantised, Task, compute, scalar};
use super::Registers;
use crate::kernels::level::{Level, Set};
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Whether products may use the tile registers. Found once; the process has the permission for them then. AVX-512 is
/// taken for granted.
pub(in crate::kernels) fn works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    *WORKS.get_or_init(|| {
        if !present() || !permitted() {
            return false;
        }
        // SAFETY: the registers are there, and the process has the permission.
        let right = [Format::Q8_0, Format::Q6_K]
            .into_iter()
            .all(|format| unsafe { agrees::<Registers>(format) });
        if !right {
            tracing::warn!("the tile registers (AMX) of this machine give wrong sums: they are not used");
        }
        right
    })
}

/// Whether products of many rows take less time with the tile registers than without: measured once, in about a
/// millisecond. Results are the same bits either way.
pub(in crate::kernels) fn pays() -> bool {
    static PAYS: OnceLock<bool> = OnceLock::new();
    *PAYS.get_or_init(|| works() && time(Level(Set::Avx512, true)) < time(Level(Set::Avx512, false)))
}

/// The least time that a product with so many rows as a part of a prompt takes on this thread.
fn time(level: Level) -> Duration {
    const ROWS: usize = 96;
    const PANELS: usize = 4;
    const COLUMNS: usize = 16 * BLOCK;
    const RUNS: usize = 5;
    let format = Format::Q8_0;
    let bytes = vec![0; format.packed_bytes(PANELS * LANES, COLUMNS)];
    let mut rounded = Quantised::default();
    rounded.fill(level, &vec![1.0; ROWS * COLUMNS], COLUMNS);
    let corrections = rounded.corrections(format);
    let mut out = vec![0.0; ROWS * PANELS * LANES];
    let mut run = || {
        let task = Task {
            matrix: Matrix::new(format, (PANELS * LANES, COLUMNS), &bytes),
            bias: None,
            x: &rounded,
            corrections: &corrections,
            out: Parts::new(&mut out),
        };
        let began = Instant::now();
        compute(level, &task, 0, PANELS);
        began.elapsed()
    };
    (0..RUNS).map(|_| run()).min().unwrap_or(Duration::MAX)
}

/// Whether processor and system have tile registers and their products of bytes. Source: Intel 64 and IA-32 Architectures
/// Software Developer's Manual, volume 1, "Enumeration of Intel AMX support".
fn present() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const TILE: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    /// Configuration and contents.
    const STATES: u64 = 3 << 17;
    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 || __cpuid_count(7, 0).edx & (TILE | INT8) != TILE | INT8 {
        return false;
    }
    // SAFETY: the system has enabled this instruction.
    unsafe { _xgetbv(0) & STATES == STATES }
}

/// Asks Linux for the permission to use the registers, which it gives to a process once. Source: `arch_prctl(2)` and
/// "Using XSTATE features in user space applications" of its documentation.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// Whether a small product is the specification's, bit for bit.
///
/// # Safety
/// The thread may use `T`, and the machine has AVX-512.
pub(super) unsafe fn agrees<T: super::Tiles>(format: Format) -> bool {
    /// As few as make tiles (of two heights), and whole blocks of all files.
    const ROWS: usize = 17;
    const COLUMNS: usize = SUPER * BLOCK;
    let mut state = 1u32;
    let mut random = move || {
        // Source: Marsaglia, "Xorshift RNGs", 2003.
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let mut bytes: Vec<u8> = (0..format.packed_bytes(LANES, COLUMNS))
        .map(|_| random() as u8)
        .collect();
    // Scales in half precision stay finite.
    for byte in &mut bytes[COLUMNS / BLOCK * format.quant_bytes()..] {
        *byte &= 0xbb;
    }
    let x: Vec<f32> = (0..ROWS * COLUMNS).map(|_| random().cast_signed() as f32).collect();
    let mut rounded = Quantised::default();
    rounded.fill(Level(Set::Avx512, true), &x, COLUMNS);
    let corrections = rounded.corrections(format);
    let mut outs = [[f32::NAN; ROWS * LANES]; 2];
    for (index, out) in outs.iter_mut().enumerate() {
        let task = Task {
            matrix: Matrix::new(format, (LANES, COLUMNS), &bytes),
            bias: None,
            x: &rounded,
            corrections: &corrections,
            out: Parts::new(out),
        };
        if index == 0 {
            scalar::compute(&task, 0, 1);
        } else {
            // SAFETY: the caller's; the rows lie in tiles for it.
            unsafe { super::compute_with::<T>(&task, 0, 1) };
        }
    }
    outs[0].map(f32::to_bits) == outs[1].map(f32::to_bits)
}
