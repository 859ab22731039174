//! Random numbers that are the same in every release: an answer can be replayed from its seed.

/// PCG-XSH-RR 64/32. Source: O'Neill 2014, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms
/// for Random Number Generation", HMC-CS-2014-0905; constants of its reference implementation.
#[derive(Clone, Debug)]
pub(super) struct Pcg32 {
    state: u64,
    increment: u64,
}

const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
/// Any odd number gives a full period; one stream is enough here.
const STREAM: u64 = 54;

impl Pcg32 {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Self {
            state: 0,
            increment: STREAM << 1 | 1,
        };
        random.next();
        random.state = random.state.wrapping_add(seed);
        random.next();
        random
    }

    fn next(&mut self) -> u32 {
        let state = self.state;
        self.state = state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
        let shifted = (((state >> 18) ^ state) >> 27) as u32;
        shifted.rotate_right((state >> 59) as u32)
    }

    /// Uniform in [0, 1), with 53 bits.
    pub(super) fn unit(&mut self) -> f64 {
        let high = u64::from(self.next()) << 32;
        let bits = (high | u64::from(self.next())) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::Pcg32;

    #[test]
    fn numbers_are_those_of_the_reference_implementation() {
        // pcg32-demo, seed 42, stream 54, first round.
        let expected = [
            0xa15c_02b7,
            0x7b47_f409,
            0xba1d_3330,
            0x83d2_f293,
            0xbfa4_784b,
            0xcbed_606e,
        ];
        let mut random = Pcg32::new(42);
        assert_eq!(expected.map(|_| random.next()), expected);
    }

    #[test]
    fn units_are_uniform() {
        let mut random = Pcg32::new(1);
        let mut tenths = [0_u32; 10];
        for _ in 0..100_000 {
            let unit = random.unit();
            assert!((0.0..1.0).contains(&unit));
            tenths[(unit * 10.0) as usize] += 1;
        }
        // Five standard deviations of a count with mean 10,000.
        assert!(tenths.iter().all(|count| count.abs_diff(10_000) < 475), "{tenths:?}");
    }
}
