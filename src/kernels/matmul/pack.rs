//! From the blocks of a file to the layout of the kernels.

use super::format::{BLOCK, Format, LANES, SUPER, Scales};
use crate::kernels::pool::{self, Parts};

type Quants = [u8; BLOCK];

#[allow(unsafe_code)]
pub(super) fn pack(format: Format, (rows, columns): (usize, usize), file: &[u8], out: &mut [u8]) {
    let bytes = format.panel_bytes(columns);
    let row_bytes = columns / format.file_block() * format.file_bytes();
    let parts = Parts::new(out);
    pool::run(rows.div_ceil(LANES), &|panel| {
        let first = panel * LANES;
        let height = LANES.min(rows - first);
        // SAFETY: `out` is borrowed until `run` returns, and each panel is packed by one piece.
        let out = unsafe { parts.part(panel * bytes, bytes) };
        pack_panel(
            format,
            columns,
            &file[first * row_bytes..][..height * row_bytes],
            row_bytes,
            out,
        );
    });
}

/// Packs the rows of one panel, at most [`LANES`].
fn pack_panel(format: Format, columns: usize, file: &[u8], row_bytes: usize, out: &mut [u8]) {
    let blocks = columns / BLOCK;
    let per_file_block = format.file_block() / BLOCK;
    let (quant_part, scale_part) = out.split_at_mut(blocks * format.quant_bytes());
    for (block, out) in quant_part.chunks_exact_mut(format.quant_bytes()).enumerate() {
        let mut lanes = [[0u8; BLOCK]; LANES];
        for (lane, row) in lanes.iter_mut().zip(file.chunks_exact(row_bytes)) {
            let at = block / per_file_block * format.file_bytes();
            *lane = quants(format, &row[at..at + format.file_bytes()], block % per_file_block);
        }
        write_quants(format.bits(), &lanes, out);
    }
    for (lane, row) in file.chunks_exact(row_bytes).enumerate() {
        for (index, block) in row.chunks_exact(format.file_bytes()).enumerate() {
            write_scales(format, block, index, lane, scale_part);
        }
    }
}

/// The quants of part `part` of a file's block, as unsigned numbers.
fn quants(format: Format, block: &[u8], part: usize) -> Quants {
    let mut out = [0; BLOCK];
    let (low, high) = out.split_at_mut(BLOCK / 2);
    match format {
        Format::Q4_0 => halves(&block[2..], low, high),
        Format::Q4_1 => halves(&block[4..], low, high),
        Format::Q5_0 | Format::Q5_1 => {
            let at = if format == Format::Q5_0 { 2 } else { 4 };
            halves(&block[at + 4..], low, high);
            let fifth = u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
            for (j, q) in out.iter_mut().enumerate() {
                *q |= (((fifth >> j) & 1) as u8) << 4;
            }
        }
        Format::Q8_0 => {
            for (q, byte) in out.iter_mut().zip(&block[2..]) {
                *q = byte ^ 0x80;
            }
        }
        Format::Q4_K | Format::Q5_K => {
            let nibbles = &block[if format == Format::Q4_K { 16 } else { 48 }..][part / 2 * BLOCK..][..BLOCK];
            for (q, byte) in out.iter_mut().zip(nibbles) {
                *q = if part.is_multiple_of(2) { byte & 15 } else { byte >> 4 };
            }
            if format == Format::Q5_K {
                for (q, byte) in out.iter_mut().zip(&block[16..48]) {
                    *q |= ((byte >> part) & 1) << 4;
                }
            }
        }
        Format::Q6_K => {
            let (half, quarter) = (part / 4, part % 4);
            let nibbles = &block[half * 64 + quarter % 2 * BLOCK..][..BLOCK];
            let upper = &block[128 + half * BLOCK..][..BLOCK];
            for ((q, byte), upper) in out.iter_mut().zip(nibbles).zip(upper) {
                let nibble = if quarter < 2 { byte & 15 } else { byte >> 4 };
                *q = nibble | (((upper >> (2 * quarter)) & 3) << 4);
            }
        }
    }
    out
}

/// 16 bytes of which each holds number `j` and number `j + 16`.
fn halves(bytes: &[u8], low: &mut [u8], high: &mut [u8]) {
    for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
        *low = byte & 15;
        *high = byte >> 4;
    }
}

/// Lays the quants of a block of a panel out (see `format`).
fn write_quants(bits: usize, lanes: &[Quants; LANES], out: &mut [u8]) {
    let mut groups = [[0u8; 64]; 8];
    for (lane, quants) in lanes.iter().enumerate() {
        for (group, four) in groups.iter_mut().zip(quants.as_chunks::<4>().0) {
            group[4 * lane..4 * lane + 4].copy_from_slice(four);
        }
    }
    let strings = out.as_chunks_mut::<64>().0;
    if bits == 8 {
        strings.copy_from_slice(&groups);
        return;
    }
    for (t, string) in strings.iter_mut().take(4).enumerate() {
        for (byte, (low, high)) in string.iter_mut().zip(groups[t].iter().zip(&groups[t + 4])) {
            *byte = (low & 15) | (high << 4);
        }
    }
    match bits {
        5 => {
            for (j, group) in groups.iter().enumerate() {
                let word = (group.iter().enumerate()).fold(0u64, |word, (i, q)| word | (u64::from(q >> 4) << i));
                strings[4][8 * j..8 * j + 8].copy_from_slice(&word.to_le_bytes());
            }
        }
        6 => {
            for (j, group) in groups.iter().enumerate() {
                for (byte, q) in strings[4 + j / 4].iter_mut().zip(group) {
                    *byte |= (q >> 4) << (2 * (j % 4));
                }
            }
        }
        _ => {}
    }
}

/// Writes the scales of a file's block, the `index`th of row `lane`, to their place.
fn write_scales(format: Format, block: &[u8], index: usize, lane: usize, out: &mut [u8]) {
    let mut half = |at: usize, bytes: &[u8]| out[at + 2 * lane..at + 2 * lane + 2].copy_from_slice(&bytes[..2]);
    match format.scales() {
        Scales::Half => half(index * 2 * LANES, block),
        Scales::HalfMin => {
            half(index * 4 * LANES, block);
            half(index * 4 * LANES + 2 * LANES, &block[2..]);
        }
        Scales::SuperMin => {
            let start = index * (4 + 2 * SUPER) * LANES;
            half(start, block);
            half(start + 2 * LANES, &block[2..]);
            for part in 0..SUPER {
                let (scale, minimum) = six_bits(&block[4..16], part);
                let at = start + 4 * LANES + part * 2 * LANES;
                out[at + lane] = scale;
                out[at + LANES + lane] = minimum;
            }
        }
        Scales::SuperSixteen => {
            let start = index * (2 + 2 * SUPER) * LANES;
            half(start, &block[208..]);
            for (sixteen, scale) in block[192..208].iter().enumerate() {
                out[start + 2 * LANES + sixteen * LANES + lane] = *scale;
            }
        }
    }
}

/// Scale and minimum of a part of a super-block, of 6 bits each. Source: `get_scale_min_k4` of ggml.
fn six_bits(packed: &[u8], part: usize) -> (u8, u8) {
    if part < 4 {
        (packed[part] & 63, packed[part + 4] & 63)
    } else {
        let scale = (packed[part + 4] & 15) | ((packed[part - 4] >> 6) << 4);
        let minimum = (packed[part + 4] >> 4) | ((packed[part] >> 6) << 4);
        (scale, minimum)
    }
}
