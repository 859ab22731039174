//! Exact decimals: nothing that is computed from a table is rounded.

/// Digits after the point that are kept; a number with more is none here.
const PLACES: u32 = 6;
/// Digits before the point at most.
const WHOLE_DIGITS: usize = 18;

/// A number of at most 18 digits before and 6 after the point, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Decimal(i128);

impl Decimal {
    pub(super) const ZERO: Self = Self(0);

    /// Reads digits with at most one point; `None` for anything else, and for what does not fit.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let fits = (1..=WHOLE_DIGITS).contains(&whole.len()) && fraction.len() <= PLACES as usize;
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if !fits || !digits(whole) || !digits(fraction) {
            return None;
        }
        let millionths: i128 = format!("{fraction:0<6}").parse().ok()?;
        Some(Self(whole.parse::<i128>().ok()? * 10_i128.pow(PLACES) + millionths))
    }

    /// `text` times ten to the power of `zeros`, without superfluous zeros: "1.50" and 4 give "15000".
    pub(super) fn canonical(text: &str, zeros: usize) -> String {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let moved: String = fraction.chars().chain(std::iter::repeat('0')).take(zeros).collect();
        let rest: String = fraction.chars().skip(zeros).collect();
        let rest = rest.trim_end_matches('0');
        let whole = format!("{whole}{moved}");
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        if rest.is_empty() {
            whole.to_owned()
        } else {
            format!("{whole}.{rest}")
        }
    }

    /// How far apart they are.
    pub(super) fn distance(self, other: Self) -> Self {
        Self((self.0 - other.0).abs())
    }

    /// It in ten thousands (万), as far as that is exact.
    pub(super) fn ten_thousands(self) -> Option<Self> {
        (self.0 % 10_000 == 0).then_some(Self(self.0 / 10_000))
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = 10_i128.pow(PLACES);
        let (whole, rest) = (self.0 / unit, self.0 % unit);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let rest = format!("{rest:06}");
        write!(f, "{whole}.{}", rest.trim_end_matches('0'))
    }
}

/// Whether `greater` less `lesser` is `difference`, all in decimal notation, exactly. What is no number is no difference.
#[must_use]
pub fn difference(greater: &str, lesser: &str, difference: &str) -> bool {
    let numbers = [greater, lesser, difference].map(Decimal::parse);
    matches!(numbers, [Some(greater), Some(lesser), Some(difference)] if greater >= lesser && greater.distance(lesser) == difference)
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn what_binary_fractions_cannot_say_is_exact() {
        let of = |text| Decimal::parse(text).unwrap();
        assert_eq!(of("0.3").distance(of("0.1")).to_string(), "0.2");
        assert_eq!(of("1.65").distance(of("1.6")).to_string(), "0.05");
        assert_eq!(of("160").distance(of("600")).to_string(), "440");
        assert_eq!(of("123456789012345678.000001").to_string(), "123456789012345678.000001");
        for text in ["", ".5", "1.2345678", "1234567890123456789", "-1", "1.2.3", "１"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
        assert!(super::difference("1.65", "1.60", "0.05"));
        assert!(
            !super::difference("1.65", "1.60", "0.04")
                && !super::difference("1", "2", "1")
                && !super::difference("1", "", "1")
        );
        assert_eq!(Decimal::canonical("1.50", 4), "15000");
        assert_eq!(Decimal::canonical("007.10", 0), "7.1");
        assert_eq!(of("440000").ten_thousands().unwrap().to_string(), "44");
    }
}
