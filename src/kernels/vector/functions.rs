//! Functions of one number, for loops that are compiled for an instruction set each.

#![allow(clippy::inline_always)] // Inlining is what gives each instruction set its own copy.

/// Whether a product and a sum are one instruction, rounded once, on all processors that this is compiled for.
const FUSED: bool = cfg!(target_arch = "aarch64");

/// `a * b + c`, the same number on all levels of a machine.
#[inline(always)]
pub(in crate::kernels) fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    add_product::<FUSED>(a, b, c)
}

/// `e^x` for x <= 0; 0 below -87. The range is reduced to ±ln 2 / 2 and a polynomial of degree 6 evaluated there
/// (coefficients of Cephes' `expf`); the power of two is put together from its bits.
#[inline(always)]
pub(in crate::kernels) fn exp_negative(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.0, 0.0);
    let shifted = multiply_add(clamped, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // ln 2 in two parts, the first with few bits so that n times it is exact.
    let r = multiply_add(n, 2.121_944_4e-4, multiply_add(n, -0.693_359_4, clamped));
    let mut p = 1.987_569_1e-4_f32;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = multiply_add(p, r, coefficient);
    }
    p = multiply_add(p * r, r, r) + 1.0;
    let power = f32::from_bits((shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127)) << 23);
    if x < -87.0 { 0.0 } else { p * power }
}

/// `a * b + c`, rounded once if the instruction set can do that at once.
#[inline(always)]
fn add_product<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// The error function by the rational approximation of Eigen and XNNPACK (odd polynomial of degree 13 over an even one
/// of degree 8, the argument held to ±4, where it is ±1 in single precision).
#[inline(always)]
fn erf<const FUSED: bool>(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let s = x * x;
    let mut p = -2.726_142_3e-10_f32;
    for coefficient in [
        2.770_681_4e-8,
        -2.101_024_e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ] {
        p = add_product::<FUSED>(p, s, coefficient);
    }
    let mut q = -1.456_607_2e-5_f32;
    for coefficient in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2] {
        q = add_product::<FUSED>(q, s, coefficient);
    }
    x * p / q
}

/// The Gaussian error linear unit with the exact error function.
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    gelu_of::<FUSED>(x)
}

/// [`gelu`], where a product and a sum are one instruction.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn gelu_fused(x: f32) -> f32 {
    gelu_of::<true>(x)
}

#[inline(always)]
fn gelu_of<const FUSED: bool>(x: f32) -> f32 {
    let half = 0.5 * x;
    add_product::<FUSED>(half, erf::<FUSED>(x * std::f32::consts::FRAC_1_SQRT_2), half)
}
