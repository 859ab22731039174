//! Addresses of customers: one form to look up, and what is shown of them.

use crate::understanding::pii::Masker;

/// Channels whose addresses are telephone numbers.
const TELEPHONES: [&str; 5] = ["phone", "mobile", "sms", "sip", "call"];

/// An address in the one form in which it is looked up: telephone numbers as digits without China's code, mail addresses in small
/// letters. Accounts stay as they are: WeChat tells capitals apart.
pub(super) fn canonical(channel: &str, address: &str) -> String {
    let address = address.trim();
    if TELEPHONES.contains(&channel) {
        let digits: String = address
            .chars()
            .filter_map(|c| c.to_digit(10).or_else(|| fullwidth_digit(c)))
            .filter_map(|digit| char::from_digit(digit, 10))
            .collect();
        let local = digits.strip_prefix("0086").or_else(|| digits.strip_prefix("86"));
        // A mobile number has eleven digits and begins with 1; what else begins with 86 stays.
        return match local {
            Some(local) if local.len() == 11 && local.starts_with('1') => local.to_owned(),
            _ => digits,
        };
    }
    if channel == "email" || channel == "mail" {
        return address.to_lowercase();
    }
    address.to_owned()
}

fn fullwidth_digit(c: char) -> Option<u32> {
    let digit = u32::from(c).checked_sub(u32::from('０'))?;
    (digit < 10).then_some(digit)
}

/// What is shown of an address: as the policy masks it; where that finds nothing, its ends.
pub(super) fn shown_address(masker: &Masker, address: &str) -> String {
    let masked = masker.mask(address);
    if masked.is_changed() {
        return masked.text;
    }
    let chars: Vec<char> = address.chars().collect();
    match chars.len() {
        0..=5 => "***".to_owned(),
        n => format!("{}{}***{}", chars[0], chars[1], chars[n - 1]),
    }
}

/// What is shown of a name: its first character.
pub(super) fn shown_name(name: &str) -> String {
    name.chars()
        .next()
        .map_or_else(String::new, |first| format!("{first}**"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_in_many_spellings_is_one_address() {
        for spelling in [
            "13812345678",
            "+86 138-1234-5678",
            "0086 13812345678",
            "１３８１２３４５６７８",
            " 138 1234 5678 ",
        ] {
            assert_eq!(canonical("phone", spelling), "13812345678", "{spelling}");
        }
        // Another country's number, and a local one that begins like China's code.
        assert_eq!(canonical("phone", "+1 415 555 0100"), "14155550100");
        assert_eq!(canonical("phone", "8612345"), "8612345");
        assert_eq!(canonical("email", "Li.Lei@Example.COM "), "li.lei@example.com");
        assert_eq!(canonical("wechat", "oAbC_9"), "oAbC_9");
    }

    #[test]
    fn what_is_shown_does_not_tell_the_address() {
        let masker = Masker::default();
        assert!(!shown_address(&masker, "13812345678").contains("1234567"));
        assert_eq!(shown_address(&masker, "oAbC_9xyz"), "oA***z");
        assert_eq!(shown_address(&masker, "abc"), "***");
        assert_eq!(shown_name("王小明"), "王**");
        assert_eq!(shown_name(""), "");
    }
}
