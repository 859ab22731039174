//! Sets of row numbers.

/// A set of numbers below a length, a bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mask {
    bits: Vec<u64>,
    len: usize,
    ones: usize,
}

impl Mask {
    /// The empty set of numbers below `len`.
    pub(super) fn new(len: usize) -> Self {
        Self {
            bits: vec![0; len.div_ceil(64)],
            len,
            ones: 0,
        }
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        self.bits
            .get(number as usize / 64)
            .is_some_and(|bits| bits >> (number % 64) & 1 == 1)
    }

    /// Adds a number; whether it is new. A number that is not below the length is not added.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        let is_new = (number as usize) < self.len && !self.contains(number);
        if is_new {
            self.bits[number as usize / 64] |= 1 << (number % 64);
            self.ones += 1;
        }
        is_new
    }

    /// How many numbers are in it.
    pub(super) fn count(&self) -> usize {
        self.ones
    }

    /// The numbers in it, least first.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.bits.iter().enumerate().flat_map(|(place, bits)| {
            let mut bits = *bits;
            std::iter::from_fn(move || {
                (bits != 0).then(|| {
                    let bit = bits.trailing_zeros();
                    bits &= bits - 1;
                    place as u32 * 64 + bit
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Mask;

    #[test]
    fn numbers_are_in_it_once_and_only_below_its_length() {
        let mut mask = Mask::new(130);
        for number in [129, 0, 64, 63, 0] {
            mask.insert(number);
        }
        assert!(!mask.insert(0) && !mask.insert(130) && !mask.insert(u32::MAX));
        assert_eq!(mask.iter().collect::<Vec<_>>(), [0, 63, 64, 129]);
        assert_eq!(mask.count(), 4);
        assert!(mask.contains(64) && !mask.contains(65) && !mask.contains(1_000));
        assert_eq!(Mask::new(0).iter().count(), 0);
    }
}
