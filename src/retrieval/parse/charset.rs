//! From bytes to text: which character encoding a file is in.
//!
//! Order of trust: byte order mark, what the page declares, strict UTF-8, UTF-16 by its statistics, then chardetng
//! (the detector of Firefox). A decode counts only if it leaves next to nothing undecodable: a wrong guess would put
//! garbage into the knowledge base without anybody noticing.

use crate::domain::is_han;
use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{BIG5, Encoding, GB18030, GBK, UTF_8, UTF_16BE, UTF_16LE};

/// The share of characters that may be undecodable: a file cut in the middle of a character, or a stray byte.
const MAX_REPLACED: f64 = 0.005;
/// The share of control characters that text may have. Uniform random bytes have more than 0.1.
const MAX_CONTROLS: f64 = 0.01;
/// How much of a page is searched for its declaration (the HTML standard asks for 1024; help-centre exports put long
/// comments first).
const DECLARATION_BYTES: usize = 4096;
/// How much is looked at for statistics.
const SAMPLE_BYTES: usize = 1 << 20;

/// The bytes are no text document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a text document: {reason}. Save it as UTF-8 text, Markdown or HTML, or give the file the ending of what it is"
)]
pub struct NotText {
    /// What was seen.
    pub reason: &'static str,
}

/// Text with the encoding it was in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The text, without byte order mark. NUL, which no text has, became U+FFFD.
    pub text: String,
    /// The encoding's name in the WHATWG Encoding Standard.
    pub encoding: &'static str,
}

/// Decodes a file whose encoding nobody declared, or whose byte order mark declares it.
///
/// # Errors
/// [`NotText`] for binary content.
pub fn decode(bytes: &[u8]) -> Result<Decoded, NotText> {
    decode_declared(bytes, None)
}

/// Decodes an HTML file: `<meta charset>` (or its `http-equiv` form) is believed if the decode is clean.
///
/// # Errors
/// [`NotText`] for binary content.
pub fn decode_html(bytes: &[u8]) -> Result<Decoded, NotText> {
    decode_declared(bytes, declared_in_html(bytes))
}

fn decode_declared(bytes: &[u8], declared: Option<&'static Encoding>) -> Result<Decoded, NotText> {
    if let Some((encoding, mark)) = Encoding::for_bom(bytes) {
        return checked(encoding, &bytes[mark..]);
    }
    if let Some(encoding) = declared
        && let Ok(decoded) = checked(encoding, bytes)
    {
        return Ok(decoded);
    }
    let has_nul = bytes.contains(&0);
    if !has_nul && std::str::from_utf8(bytes).is_ok() {
        return checked(UTF_8, bytes);
    }
    if let Some(encoding) = utf16_by_statistics(bytes) {
        return checked(encoding, bytes);
    }
    // A rare NUL may be an accident in a text; each thousandth byte is not.
    if has_nul && bytes.chunks(1000).filter(|chunk| chunk.contains(&0)).count() * 2 > bytes.len().div_ceil(1000) {
        return Err(NotText {
            reason: "it contains NUL bytes",
        });
    }
    if mostly_utf8(bytes) {
        return checked(UTF_8, bytes);
    }
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    detector.feed(bytes, true);
    let guess = detector.guess(None, Utf8Detection::Deny);
    // GB18030 is a superset of GBK, and the browsers' decoder of both is the same.
    let guess = if guess == GBK { GB18030 } else { guess };
    let decoded = checked(guess, bytes)?;
    // A Western guess for a file full of bytes above 0x7f is how Chinese files that the detector gave up on come out
    // (a damaged byte disqualifies its candidate): see whether a Chinese encoding decodes them into Chinese.
    if !guess.is_single_byte() {
        return Ok(decoded);
    }
    Ok(chinese_instead(bytes).unwrap_or(decoded))
}

/// The decode by GB18030 or Big5 if it is clean and the more Chinese of the two, and mostly common Chinese.
fn chinese_instead(bytes: &[u8]) -> Option<Decoded> {
    let common = |text: &str| {
        let (mut common, mut wide) = (0_usize, 0_usize);
        for c in text.chars().filter(|c| !c.is_ascii()) {
            wide += 1;
            common += usize::from(is_han(c) || matches!(c, '\u{3000}'..='\u{303f}' | '\u{ff00}'..='\u{ffef}'));
        }
        if wide < 4 { 0.0 } else { common as f64 / wide as f64 }
    };
    [GB18030, BIG5]
        .into_iter()
        .filter_map(|encoding| checked(encoding, bytes).ok())
        .map(|decoded| (common(&decoded.text), decoded))
        .filter(|(share, _)| *share > 0.95)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, decoded)| decoded)
}

/// Decodes and refuses what is no text.
fn checked(encoding: &'static Encoding, bytes: &[u8]) -> Result<Decoded, NotText> {
    let (text, _) = encoding.decode_without_bom_handling(bytes);
    let (mut all, mut replaced, mut controls, mut private) = (0_usize, 0_usize, 0_usize, 0_usize);
    for c in text.chars() {
        all += 1;
        match c {
            '\u{fffd}' => replaced += 1,
            '\t' | '\n' | '\r' | '\u{c}' => {}
            '\u{e000}'..='\u{f8ff}' => private += 1,
            c if c.is_control() => controls += 1,
            _ => {}
        }
    }
    let share = |count: usize| count as f64 / all.max(1) as f64;
    // One stray byte is no reason to refuse a short note.
    if replaced > 1 && share(replaced) > MAX_REPLACED {
        return Err(NotText {
            reason: "its bytes are no characters in any known encoding",
        });
    }
    if share(controls) > MAX_CONTROLS {
        return Err(NotText {
            reason: "it is full of control characters",
        });
    }
    if private > 8 && share(private) > 0.1 {
        return Err(NotText {
            reason: "it is full of characters without a meaning",
        });
    }
    let text = if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text.into_owned()
    };
    Ok(Decoded {
        text,
        encoding: encoding.name(),
    })
}

/// UTF-8 with a few damaged places: what a careless cut or a copy from elsewhere leaves.
fn mostly_utf8(bytes: &[u8]) -> bool {
    let (mut good, mut bad) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        good += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        bad += usize::from(!chunk.invalid().is_empty());
    }
    bad > 0 && good >= 50 * bad
}

/// UTF-16 without a byte order mark. In the right byte order the units are ASCII, Han or their punctuation; in the
/// wrong one, and in any other encoding, they are scattered over scripts that nobody mixes.
fn utf16_by_statistics(bytes: &[u8]) -> Option<&'static Encoding> {
    if bytes.len() < 8 || !bytes.len().is_multiple_of(2) {
        return None;
    }
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES)];
    let plausible = |unit_of: fn([u8; 2]) -> u16| {
        let plausible = sample
            .as_chunks::<2>()
            .0
            .iter()
            .filter(|pair| {
                matches!(unit_of(**pair),
                    0x09 | 0x0a | 0x0d | 0x20..=0x7e | 0xa0..=0xff | 0x2010..=0x203b | 0x2460..=0x249b
                    | 0x3000..=0x303f | 0x4e00..=0x9fa5 | 0xff01..=0xff5e | 0xffe5)
            })
            .count();
        plausible as f64 * 2.0 / sample.len() as f64
    };
    let (little, big) = (plausible(u16::from_le_bytes), plausible(u16::from_be_bytes));
    // Han units have both bytes in ranges that occur the other way round too: the swapped reading is often half
    // plausible, but never nearly whole, because spaces, digits, full stops and commas fall out of it.
    if little > 0.96 && little > big + 0.1 {
        Some(UTF_16LE)
    } else if big > 0.96 && big > little + 0.1 {
        Some(UTF_16BE)
    } else {
        None
    }
}

/// The encoding that `<meta charset=...>` or `<meta ... content="...; charset=...">` names.
fn declared_in_html(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes[..bytes.len().min(DECLARATION_BYTES)].to_ascii_lowercase();
    let mut from = 0;
    while let Some(at) = find(&head[from..], b"<meta") {
        let tag = &head[from + at..];
        let tag = &tag[..tag.iter().position(|byte| *byte == b'>').unwrap_or(tag.len())];
        if let Some(value) = find(tag, b"charset").map(|at| &tag[at + b"charset".len()..]) {
            let value: Vec<u8> = value
                .iter()
                .copied()
                .skip_while(|byte| byte.is_ascii_whitespace() || matches!(byte, b'=' | b'"' | b'\''))
                .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
                .collect();
            // A page that could be read as far as this tag is not in UTF-16 (HTML standard, 13.2.3.2).
            return Encoding::for_label(&value).map(|encoding| {
                if encoding == UTF_16LE || encoding == UTF_16BE {
                    UTF_8
                } else {
                    encoding
                }
            });
        }
        from += at + 5;
    }
    None
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIMPLIFIED: &str = include_str!("../../../tests/fixtures/charset/simplified.txt");
    const TRADITIONAL: &str = include_str!("../../../tests/fixtures/charset/traditional.txt");

    /// Pieces of 200 characters, one starting every seventh character.
    fn samples(text: &str) -> Vec<String> {
        let chars: Vec<char> = text.chars().collect();
        assert!(chars.len() > 700, "too little text for samples");
        (0..chars.len() - 200)
            .step_by(7)
            .map(|from| chars[from..from + 200].iter().collect())
            .collect()
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn undeclared_text_of_200_characters_is_recognised() {
        type Encode = fn(&str) -> Vec<u8>;
        let encoders: [(&str, &str, Encode); 7] = [
            ("UTF-8", SIMPLIFIED, |text| text.as_bytes().to_vec()),
            ("GB18030", SIMPLIFIED, |text| GB18030.encode(text).0.into_owned()),
            ("GBK", SIMPLIFIED, |text| GBK.encode(text).0.into_owned()),
            ("Big5", TRADITIONAL, |text| BIG5.encode(text).0.into_owned()),
            ("UTF-16LE", SIMPLIFIED, |text| utf16(text, u16::to_le_bytes)),
            ("UTF-16BE", SIMPLIFIED, |text| utf16(text, u16::to_be_bytes)),
            ("UTF-16LE", TRADITIONAL, |text| utf16(text, u16::to_le_bytes)),
        ];
        for (name, text, encode) in encoders {
            let samples = samples(text);
            let right = samples
                .iter()
                .filter(|s| decode(&encode(s)).is_ok_and(|d| d.text == **s))
                .count();
            assert!(
                right * 100 >= samples.len() * 99,
                "{name}: {right} of {}",
                samples.len()
            );
        }
    }

    #[test]
    fn a_byte_order_mark_decides() {
        let text = "信用卡 fee 3.5%";
        for (mark, body) in [
            (&b"\xef\xbb\xbf"[..], text.as_bytes().to_vec()),
            (b"\xff\xfe", utf16(text, u16::to_le_bytes)),
            (b"\xfe\xff", utf16(text, u16::to_be_bytes)),
        ] {
            let bytes = [mark, &body].concat();
            assert_eq!(decode(&bytes).unwrap().text, text);
        }
    }

    #[test]
    fn a_page_is_read_as_it_declares() {
        for (label, encoding, text) in [
            ("gb2312", GBK, "退货"),
            ("GB18030", GB18030, "𠮷"),
            ("big5", BIG5, "退貨"),
            ("utf-8", UTF_8, "退货"),
            ("windows-1252", encoding_rs::WINDOWS_1252, "café"),
        ] {
            for meta in [
                format!("<meta charset=\"{label}\">"),
                format!("<META http-equiv='Content-Type' content='text/html; charset={label}'>"),
            ] {
                let page = format!("<html><head>{meta}</head><body>{text}</body></html>");
                let decoded = decode_html(&encoding.encode(&page).0).unwrap();
                assert_eq!(decoded.text, page, "{label}");
            }
        }
    }

    #[test]
    fn a_wrong_declaration_is_not_believed() {
        let page = format!("<meta charset=big5><p>{SIMPLIFIED}");
        assert_eq!(decode_html(page.as_bytes()).unwrap().text, page);
    }

    #[test]
    fn one_damaged_place_does_not_change_the_encoding() {
        let mut bytes = SIMPLIFIED.as_bytes().to_vec();
        bytes.truncate(bytes.len() - 2);
        assert_eq!(decode(&bytes).unwrap().encoding, "UTF-8");
        let mut bytes = GBK.encode(SIMPLIFIED).0.into_owned();
        bytes[101] = 0xff;
        let decoded = decode(&bytes).unwrap();
        assert!(
            decoded.text.ends_with(
                SIMPLIFIED
                    .chars()
                    .rev()
                    .take(50)
                    .collect::<Vec<_>>()
                    .iter()
                    .rev()
                    .collect::<String>()
                    .as_str()
            )
        );
    }

    #[test]
    fn binary_is_refused() {
        use rand::{RngCore, SeedableRng};
        let mut noise = vec![0; 100_000];
        rand::rngs::StdRng::seed_from_u64(1).fill_bytes(&mut noise);
        assert!(decode(&noise).is_err());
        for byte in &mut noise {
            *byte = (*byte).max(1);
        }
        assert!(decode(&noise).is_err());
        assert!(decode(&[0; 4096]).is_err());
        assert!(decode(b"%PDF-1.4\n\0\x01\x02\x03\0\0\0stream\0\0\0").is_err());
        assert_eq!(decode(b"").unwrap().text, "");
    }
}
