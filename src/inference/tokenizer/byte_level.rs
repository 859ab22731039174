//! The spelling of bytes as printable characters that byte-level BPE vocabularies use.
//! Source: Radford et al. 2019, `encoder.py`, `bytes_to_unicode`.

/// The character that stands for `byte`.
#[cfg(test)]
pub(super) fn character(byte: u8) -> char {
    let shifted = match byte {
        0..=0x20 => u32::from(byte),
        0x7f..=0xa0 => u32::from(byte) - 0x7f + 0x21,
        0xad => 0x43,
        _ => return char::from(byte),
    };
    char::from_u32(0x100 + shifted).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte that `character` stands for, if it stands for one.
pub(super) fn byte(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => u8::try_from(code).ok(),
        code @ 0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        code @ 0x121..=0x142 => u8::try_from(code - 0x121 + 0x7f).ok(),
        0x143 => Some(0xad),
        _ => None,
    }
}

/// Appends the bytes that `spelling` stands for. A character outside the alphabet stands for itself.
pub(super) fn decode(spelling: &str, bytes: &mut Vec<u8>) {
    for character in spelling.chars() {
        match byte(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{byte, character};
    use std::collections::HashSet;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    #[test]
    fn every_byte_has_its_own_character() {
        let mut seen = HashSet::new();
        for value in 0..=u8::MAX {
            assert_eq!(byte(character(value)), Some(value));
            seen.insert(character(value));
        }
        assert_eq!(seen, ByteLevel::alphabet().into_iter().collect());
    }

    #[test]
    fn space_and_newline_are_spelled_as_in_gpt2() {
        assert_eq!((character(b' '), character(b'\n')), ('Ġ', 'Ċ'));
    }
}
