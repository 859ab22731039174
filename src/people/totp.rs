//! One-time codes by time. Source: RFC 6238 (TOTP) over RFC 4226 (HOTP): HMAC-SHA-1, 30 seconds, six digits, the form
//! that every authenticator knows.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use rand::RngCore;
use sha1::Sha1;
use std::fmt;
use subtle::ConstantTimeEq;

const STEP_SECONDS: i64 = 30;
const DIGITS: usize = 6;

/// Steps before and after the present one whose codes are taken: clocks differ (RFC 6238, section 5.2).
const DRIFT: i64 = 1;

/// Bytes of a key (RFC 4226, section 4, asks for 20).
const KEY_BYTES: usize = 20;

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The key of one account's codes. Its `Debug` prints `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret([u8; KEY_BYTES]);

impl TotpSecret {
    /// A new key.
    #[must_use]
    pub fn random() -> Self {
        let mut key = [0; KEY_BYTES];
        rand::rng().fill_bytes(&mut key);
        Self(key)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The code at that moment, as an authenticator shows it.
    #[must_use]
    pub fn code_at(&self, now: Timestamp) -> Option<String> {
        code_of(&self.0, u64::try_from(now.as_second().div_euclid(STEP_SECONDS)).ok()?)
    }

    /// What an authenticator reads, mostly as a QR code.
    /// Source: <https://github.com/google/google-authenticator/wiki/Key-Uri-Format>.
    #[must_use]
    pub fn uri(&self, name: &str) -> String {
        let name: String = name.bytes().map(encoded).collect();
        let key = base32(&self.0);
        format!(
            "otpauth://totp/kefu:{name}?secret={key}&issuer=kefu&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}"
        )
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The time step whose code `code` is, if it is that of the present one or of one beside it.
pub(super) fn matching_step(key: &[u8], code: &str, now: Timestamp) -> Option<u64> {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).take(DIGITS + 1).collect();
    let present = now.as_second().div_euclid(STEP_SECONDS);
    let mut found = None;
    for step in present - DRIFT..=present + DRIFT {
        let step = u64::try_from(step).ok()?;
        let right: bool = code_of(key, step)?.as_bytes().ct_eq(code.as_bytes()).into();
        if right {
            found = Some(step);
        }
    }
    found
}

/// RFC 4226, section 5.3.
fn code_of(key: &[u8], step: u64) -> Option<String> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).ok()?;
    mac.update(&step.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let at = usize::from(digest.last()? & 0xf);
    let word: [u8; 4] = digest.get(at..at + 4)?.try_into().ok()?;
    let number = (u32::from_be_bytes(word) & 0x7fff_ffff) % 10_u32.pow(DIGITS as u32);
    Some(format!("{number:0DIGITS$}"))
}

fn encoded(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// RFC 4648, section 6, without padding.
fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut buffer, mut bits) = (0_u32, 0);
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(char::from(BASE32[(buffer >> bits) as usize & 31]));
        }
        buffer &= (1 << bits) - 1;
    }
    if bits > 0 {
        text.push(char::from(BASE32[(buffer << (5 - bits)) as usize & 31]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{TotpSecret, base32, code_of, matching_step};
    use jiff::Timestamp;

    /// RFC 6238, appendix B, shortened to six digits.
    const KEY: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_specification() {
        for (second, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let step = second / 30;
            assert_eq!(code_of(KEY, step).as_deref(), Some(code));
            let at = |second: u64| Timestamp::from_second(second as i64).unwrap();
            assert_eq!(matching_step(KEY, code, at(second)), Some(step));
            assert_eq!(
                matching_step(KEY, &format!(" {} {}", &code[..3], &code[3..]), at(second + 30)),
                Some(step)
            );
            assert_eq!(matching_step(KEY, code, at(second + 90)), None);
            assert_eq!(matching_step(KEY, &format!("{code}0"), at(second)), None);
        }
        assert_eq!(matching_step(KEY, "", Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn authenticators_can_read_the_key() {
        // RFC 4648, section 10.
        assert_eq!(
            (base32(b"foobar").as_str(), base32(b"foo").as_str()),
            ("MZXW6YTBOI", "MZXW6")
        );
        let secret = TotpSecret::random();
        let uri = secret.uri("王芳@bank");
        assert!(
            uri.starts_with("otpauth://totp/kefu:%E7%8E%8B%E8%8A%B3%40bank?secret="),
            "{uri}"
        );
        assert_eq!(format!("{secret:?}"), "***");
        assert_ne!(secret, TotpSecret::random());
    }
}
