//! Which instruction sets the kernels use: the best that the machine has, or a lower one that was asked for.

use std::sync::OnceLock;

/// The environment variable that holds the kernels to a level: `scalar`, `avx2`, `avx512` or `amx`; on aarch64 `scalar`,
/// `neon`, `neon-dotprod` or `neon-i8mm`.
pub const SWITCH: &str = "KEFU_KERNELS";

/// Instruction sets that have a file in the kernels' folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// With the products of four 8-bit numbers at once.
    #[cfg(target_arch = "aarch64")]
    NeonDotprod,
    /// And with those of 2 x 8 with 8 x 2.
    #[cfg(target_arch = "aarch64")]
    NeonI8mm,
}

/// An instruction set that this machine has. The only ways to get one are the functions below, which is what makes
/// calling its kernels sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level(
    pub(super) Set,
    /// Whether products with many rows use tile registers (AMX).
    pub(super) bool,
);

impl Level {
    /// The best that this machine has, or what `KEFU_KERNELS` names if the machine has it. Found once.
    #[must_use]
    pub fn detect() -> Self {
        static FOUND: OnceLock<Level> = OnceLock::new();
        *FOUND.get_or_init(|| Self::choose(std::env::var(SWITCH).ok().as_deref()))
    }

    /// The level that `KEFU_KERNELS` asks for, if it names one that this machine has.
    #[must_use]
    pub fn asked() -> Option<Self> {
        let name = std::env::var(SWITCH).ok()?;
        Self::available().into_iter().find(|level| level.name() == name)
    }

    fn choose(wanted: Option<&str>) -> Self {
        let available = Self::available();
        let best = Self::best(&available);
        match wanted {
            None | Some("") => best,
            Some(name) => (available.iter().find(|level| level.name() == name))
                .copied()
                .unwrap_or_else(|| {
                    let names: Vec<_> = available.iter().map(|level| level.name()).collect();
                    tracing::warn!(
                        "{SWITCH}={name} is not available here ({}): it is ignored",
                        names.join(", ")
                    );
                    best
                }),
        }
    }

    /// The last, but for tile registers that do not make products faster.
    fn best(available: &[Self]) -> Self {
        let pays = |level: &&Self| !level.tiles() || Self::tiles_pay();
        available.iter().rev().find(pays).copied().unwrap_or(Self::scalar())
    }

    #[cfg(target_arch = "x86_64")]
    fn tiles_pay() -> bool {
        super::matmul::amx::pays()
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn tiles_pay() -> bool {
        false
    }

    /// The specification, which runs everywhere.
    #[must_use]
    pub fn scalar() -> Self {
        Self(Set::Scalar, false)
    }

    /// All that this machine has, the best last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut all = vec![Self::scalar()];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            if avx2 {
                all.push(Self(Set::Avx2, false));
            }
            if avx2 && avx512 {
                all.push(Self(Set::Avx512, false));
                if super::matmul::amx::works() {
                    all.push(Self(Set::Avx512, true));
                }
            }
        }
        // The kernels read packed bytes as whole registers, lowest byte first.
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        if std::arch::is_aarch64_feature_detected!("neon") {
            all.push(Self(Set::Neon, false));
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                all.push(Self(Set::NeonDotprod, false));
                if std::arch::is_aarch64_feature_detected!("i8mm") {
                    all.push(Self(Set::NeonI8mm, false));
                }
            }
        }
        all
    }

    /// Whether products with many rows use tile registers.
    pub(super) fn tiles(self) -> bool {
        self.1
    }

    /// What `KEFU_KERNELS` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 if self.tiles() => "amx",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Set::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Set::NeonDotprod => "neon-dotprod",
            #[cfg(target_arch = "aarch64")]
            Set::NeonI8mm => "neon-i8mm",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_chosen_by_name_and_never_assumed() {
        for level in Level::available() {
            assert_eq!(Level::choose(Some(level.name())), level);
        }
        let best = Level::best(&Level::available());
        assert_eq!(Level::choose(None), best);
        assert_eq!(Level::choose(Some("mmx")), best);
    }
}
