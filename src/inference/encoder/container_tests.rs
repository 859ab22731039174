#![allow(clippy::unwrap_used)]
use super::*;
use half::f16;

/// A model of two layers as bytes: width 64, two heads, feed-forward 96, 40 pieces, 16 positions.
pub(in crate::inference::encoder) fn tiny() -> Vec<u8> {
    let mut out = b"E5S1".to_vec();
    let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
    put(&1_u32.to_le_bytes());
    for n in [64, 2, 2, 96, 40, 16, 2_i32] {
        put(&n.to_le_bytes());
    }
    put(&1e-12_f32.to_le_bytes());
    put(&32_i32.to_le_bytes());
    for n in [40, 0, 2, 1, 3_i32] {
        put(&n.to_le_bytes());
    }
    let pieces: Vec<String> = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        "\u{2581}",
        ":",
        "\u{2581}query",
        "\u{2581}passage",
    ]
    .iter()
    .map(|s| (*s).to_owned())
    .chain((b'a'..=b'z').map(|c| (c as char).to_string()))
    .chain(["银", "行", "卡", "退", "货", "？"].map(str::to_owned))
    .collect();
    let text = pieces.concat();
    put(&(text.len() as u64).to_le_bytes());
    let mut offset = 0_u32;
    put(&offset.to_le_bytes());
    for piece in &pieces {
        offset += piece.len() as u32;
        put(&offset.to_le_bytes());
    }
    for i in 0..pieces.len() {
        put(&(-(i as f32) / 8.0).to_le_bytes());
    }
    put(text.as_bytes());
    put(&2_i32.to_le_bytes());
    put(&14_u32.to_le_bytes());
    put(&u32::from('\n').to_le_bytes());
    put(&[1]);
    put(&u32::from(' ').to_le_bytes());
    put(&1_u32.to_le_bytes());
    put(&[0]);
    put_tensors(&mut out);
    out
}

fn put_tensors(out: &mut Vec<u8>) {
    let mut tensors = vec![("emb.word".to_owned(), 1_u8, 40 * 64_usize)];
    let f32s = |name: &str, n| (name.to_owned(), 0, n);
    tensors.extend([
        f32s("emb.pos", 16 * 64),
        f32s("emb.type", 2 * 64),
        f32s("emb.ln.w", 64),
        f32s("emb.ln.b", 64),
    ]);
    for l in 0..2 {
        for (part, columns, inner) in [
            ("q", 64, 64),
            ("k", 64, 64),
            ("v", 64, 64),
            ("ao", 64, 64),
            ("fi", 96, 64),
            ("fo", 64, 96),
        ] {
            tensors.push((format!("l{l}.{part}.w"), 1, columns * inner));
            tensors.push((format!("l{l}.{part}.b"), 0, columns));
        }
        for part in ["aln.w", "aln.b", "oln.w", "oln.b"] {
            tensors.push((format!("l{l}.{part}"), 0, 64));
        }
    }
    let size = |kind: u8, n: usize| if kind == 0 { 4 * n } else { n / 32 * 18 };
    let table: usize = tensors.iter().map(|(name, _, _)| 2 + name.len() + 21).sum();
    let mut offset = out.len() + 4 + table;
    out.extend((tensors.len() as i32).to_le_bytes());
    for (name, kind, n) in &tensors {
        out.extend((name.len() as u16).to_le_bytes());
        out.extend(name.as_bytes());
        out.push(*kind);
        out.extend((*n as u32).to_le_bytes());
        out.extend((offset as u64).to_le_bytes());
        out.extend((size(*kind, *n) as u64).to_le_bytes());
        offset += size(*kind, *n);
    }
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    for (_, kind, n) in &tensors {
        if *kind == 0 {
            for _ in 0..*n {
                out.extend((random() as f32 / 16_777_216.0 - 0.3).to_le_bytes());
            }
        } else {
            for _ in 0..n / 32 {
                out.extend(f16::from_f32(0.03).to_le_bytes());
                for _ in 0..16 {
                    out.push(random() as u8);
                }
            }
        }
    }
}

#[test]
fn reads_what_was_written() {
    let bytes = tiny();
    let file = Container::parse(&bytes).unwrap();
    assert_eq!(
        (file.shape.hidden, file.shape.layers, file.shape.positions),
        (64, 2, 16)
    );
    assert_eq!(file.pieces.vocabulary[34].0, "银");
    assert_eq!(file.pieces.normaliser[&'\n'], " ");
    assert_eq!(file.pieces.normaliser[&'\u{1}'], "");
    assert_eq!(file.numbers("l1.fi.b", 96).unwrap().len(), 96);
    assert_eq!(file.q4_blocks("l1.fo.w", 64 * 96).unwrap().len(), 64 * 3);
    let mut weights = [0.0; 32];
    unpack_block(&file.q4_blocks("emb.word", 40 * 64).unwrap()[0], &mut weights);
    assert!(weights.iter().all(|w| w.abs() <= 8.0 * 0.03001));
}

#[test]
fn what_is_asked_for_must_be_there_in_its_form() {
    let bytes = tiny();
    let file = Container::parse(&bytes).unwrap();
    assert!(file.numbers("l9.fi.b", 96).unwrap_err().contains("missing"));
    assert!(
        file.numbers("l1.fi.b", 95)
            .unwrap_err()
            .contains("96 elements, expected 95")
    );
    assert!(file.q4_blocks("l1.fi.b", 96).unwrap_err().contains("4-bit"));
    assert!(file.numbers("l1.fi.w", 96 * 64).unwrap_err().contains("not f32"));
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = tiny();
    for i in 0..64 {
        let length = bytes.len() * i / 64;
        assert!(
            Container::parse(&bytes[..length]).is_err(),
            "{length} of {} bytes",
            bytes.len()
        );
    }
    for length in 0..3000.min(bytes.len()) {
        assert!(Container::parse(&bytes[..length]).is_err());
    }
}

#[test]
fn changed_bytes_never_panic() {
    let bytes = tiny();
    let mut state = 7_u64;
    for _ in 0..4000 {
        let mut changed = bytes.clone();
        for _ in 0..3 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // The header and tables are the first bytes; most changes go there.
            let at = (state >> 33) as usize % if state & 1 << 20 == 0 { bytes.len() } else { 2600 };
            changed[at] = (state >> 24) as u8;
        }
        if let Ok(file) = Container::parse(&changed) {
            let _ = crate::inference::encoder::model::Encoder::read(&file, crate::kernels::level::Level::scalar());
        }
    }
}

#[test]
fn hostile_lengths_allocate_nothing() {
    // The number of pieces at 44, the text's length at 64.
    for (at, value) in [(44, i32::MAX), (44, -1), (24, i32::MIN), (8, i32::MAX), (12, 0)] {
        let mut bytes = tiny();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        assert!(Container::parse(&bytes).is_err(), "{value} at {at}");
    }
    for value in [u64::MAX, u64::MAX / 2, 1 << 40] {
        let mut bytes = tiny();
        bytes[64..72].copy_from_slice(&value.to_le_bytes());
        assert!(Container::parse(&bytes).unwrap_err().contains("ends in"), "{value}");
    }
}

#[test]
fn tensors_must_lie_in_the_file() {
    let bytes = tiny();
    let name = b"emb.word";
    let at = bytes.windows(name.len()).position(|w| w == name).unwrap() + name.len() + 5;
    for offset in [u64::MAX, u64::MAX - 100, bytes.len() as u64] {
        let mut changed = bytes.clone();
        changed[at..at + 8].copy_from_slice(&offset.to_le_bytes());
        assert!(Container::parse(&changed).is_err(), "{offset}");
    }
}

#[test]
fn bad_scales_and_numbers_are_refused() {
    let bytes = tiny();
    let file = Container::parse(&bytes).unwrap();
    let at = file.q4_blocks("l0.q.w", 64 * 64).unwrap().as_ptr() as usize - bytes.as_ptr() as usize;
    let mut changed = bytes.clone();
    changed[at..at + 2].copy_from_slice(&f16::NAN.to_le_bytes());
    let file = Container::parse(&changed).unwrap();
    assert!(file.q4_blocks("l0.q.w", 64 * 64).unwrap_err().contains("not finite"));
}
