//! A strict reader of the container `E5S1`, which holds a BERT encoder with 4-bit weights and its Unigram tokenizer.
//!
//! Little-endian throughout: magic `E5S1`, u32 version; seven i32 (hidden width, layers, heads, feed-forward width,
//! vocabulary, positions, token types); f32 layer-norm epsilon; i32 block size; five i32 (pieces, then the ids of begin,
//! end, padding, unknown); u64 length of the pieces' text; u32 offsets (pieces + 1), f32 scores, the text in UTF-8; the
//! normaliser (i32 entries, u32 bytes; each: u32 character, u8 count, u32 replacements); the tensors (i32 count; each:
//! u16 name length, name, u8 type, u32 elements, u64 offset from the file's start, u64 bytes). Type 0 is f32, type 1
//! GGML's `Q4_0`: blocks of 32 weights, an f16 scale before 16 bytes.
//!
//! Every length is checked against what the file holds before anything is allocated for it.

use super::weights::{Blocks, Fault, Weights, block_scale, finite_blocks, finite_numbers};
use std::collections::HashMap;

/// Weights in a 4-bit block.
pub(super) const BLOCK: usize = 32;
/// Bytes of a 4-bit block: the scale and two weights in each byte.
pub(super) const BLOCK_BYTES: usize = 18;

/// The encoder's shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shape {
    pub hidden: usize,
    pub layers: usize,
    pub heads: usize,
    pub feed_forward: usize,
    pub vocabulary: usize,
    pub positions: usize,
    pub token_types: usize,
    pub epsilon: f32,
}

/// What the tokenizer is made of.
#[derive(Debug)]
pub(super) struct Pieces {
    /// Text and score (logarithm of the probability), by id.
    pub vocabulary: Vec<(String, f64)>,
    pub begin: u32,
    pub end: u32,
    pub padding: u32,
    pub unknown: u32,
    /// Characters that are replaced before anything else.
    pub normaliser: HashMap<char, String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    F32,
    Q4,
}

#[derive(Clone, Copy, Debug)]
struct Entry<'a> {
    kind: Kind,
    elements: usize,
    bytes: &'a [u8],
}

/// The parsed file.
#[derive(Debug)]
pub(super) struct Container<'a> {
    pub shape: Shape,
    pub pieces: Pieces,
    tensors: HashMap<&'a str, Entry<'a>>,
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8], Fault> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or_else(|| {
            format!(
                "it ends in {what}: {count} bytes are needed, {} are left",
                self.rest.len()
            )
        })?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    fn u8(&mut self, what: &str) -> Result<u8, Fault> {
        Ok(self.array::<1>(what)?[0])
    }

    fn u16(&mut self, what: &str) -> Result<u16, Fault> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    fn u32(&mut self, what: &str) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn f32(&mut self, what: &str) -> Result<f32, Fault> {
        Ok(f32::from_le_bytes(self.array(what)?))
    }

    /// An i32 within bounds.
    fn count(&mut self, what: &str, range: std::ops::RangeInclusive<usize>) -> Result<usize, Fault> {
        let value = i32::from_le_bytes(self.array(what)?);
        usize::try_from(value)
            .ok()
            .filter(|v| range.contains(v))
            .ok_or_else(|| format!("{what} is {value}, expected {} to {}", range.start(), range.end()))
    }

    /// A u64 that fits this machine's addresses.
    fn length(&mut self, what: &str) -> Result<usize, Fault> {
        let value = u64::from_le_bytes(self.array(what)?);
        usize::try_from(value).map_err(|_| format!("{what} is {value}, more than this machine can address"))
    }

    /// `count` numbers of four bytes; what is allocated is at most what the file holds.
    fn words(&mut self, count: usize, what: &str) -> Result<impl Iterator<Item = [u8; 4]> + use<'a>, Fault> {
        let size = count.checked_mul(4).ok_or_else(|| format!("{what} overflows"))?;
        Ok(self.take(size, what)?.as_chunks::<4>().0.iter().copied())
    }
}

impl<'a> Container<'a> {
    /// Parses `file`.
    pub(super) fn parse(file: &'a [u8]) -> Result<Self, Fault> {
        let mut cursor = Cursor { rest: file };
        if cursor.take(4, "the magic")? != b"E5S1" {
            return Err("it does not begin with E5S1".into());
        }
        let version = cursor.u32("the version")?;
        if version != 1 {
            return Err(format!("its version is {version}, expected 1"));
        }
        let shape = read_shape(&mut cursor)?;
        let pieces = read_pieces(&mut cursor, &shape)?;
        let tensors = read_tensors(&mut cursor, file)?;
        Ok(Self { shape, pieces, tensors })
    }

    fn entry(&self, name: &str, elements: usize) -> Result<Entry<'a>, Fault> {
        let entry = *self
            .tensors
            .get(name)
            .ok_or_else(|| format!("tensor {name} is missing"))?;
        if entry.elements != elements {
            return Err(format!(
                "tensor {name} has {} elements, expected {elements}",
                entry.elements
            ));
        }
        Ok(entry)
    }

    /// The 4-bit blocks of the tensor `name` of `elements` weights, all scales finite.
    pub(super) fn q4_blocks(&self, name: &str, elements: usize) -> Result<&'a [[u8; BLOCK_BYTES]], Fault> {
        let entry = self.entry(name, elements)?;
        if entry.kind != Kind::Q4 {
            return Err(format!("tensor {name} is not in 4-bit blocks"));
        }
        finite_blocks(name, entry.bytes)
    }
}

impl Weights for Container<'_> {
    fn numbers(&self, name: &str, elements: usize) -> Result<Vec<f32>, Fault> {
        let entry = self.entry(name, elements)?;
        if entry.kind != Kind::F32 {
            return Err(format!("tensor {name} is not f32"));
        }
        finite_numbers(name, entry.bytes)
    }

    fn blocks(&self, name: &str, elements: usize) -> Result<Blocks<'_>, Fault> {
        self.q4_blocks(name, elements).map(Blocks::Q4)
    }
}

/// The 32 weights of a 4-bit block.
pub(super) fn unpack_block(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK]) {
    let scale = block_scale(block);
    for (j, byte) in block[2..].iter().enumerate() {
        out[j] = (f32::from(byte & 15) - 8.0) * scale;
        out[j + BLOCK / 2] = (f32::from(byte >> 4) - 8.0) * scale;
    }
}

fn read_shape(cursor: &mut Cursor<'_>) -> Result<Shape, Fault> {
    // Upper bounds are several times those of the largest published encoder of this family (1024 wide, 24 layers).
    let hidden = cursor.count("the hidden width", 1..=8192)?;
    let layers = cursor.count("the number of layers", 1..=128)?;
    let heads = cursor.count("the number of heads", 1..=256)?;
    let feed_forward = cursor.count("the feed-forward width", 1..=65536)?;
    let vocabulary = cursor.count("the vocabulary", 1..=4_000_000)?;
    let positions = cursor.count("the number of positions", 4..=65536)?;
    let token_types = cursor.count("the number of token types", 1..=16)?;
    let epsilon = cursor.f32("the layer-norm epsilon")?;
    if !(epsilon.is_finite() && (0.0..=0.1).contains(&epsilon)) {
        return Err(format!("the layer-norm epsilon is {epsilon}, expected 0 to 0.1"));
    }
    cursor.count("the block size", BLOCK..=BLOCK)?;
    Ok(Shape {
        hidden,
        layers,
        heads,
        feed_forward,
        vocabulary,
        positions,
        token_types,
        epsilon,
    })
}

fn read_pieces(cursor: &mut Cursor<'_>, shape: &Shape) -> Result<Pieces, Fault> {
    let count = cursor.count("the number of pieces", 4..=shape.vocabulary)?;
    let mut id = |what| cursor.count(what, 0..=count - 1).map(|id| id as u32);
    let (begin, end) = (id("the id of the beginning")?, id("the id of the end")?);
    let (padding, unknown) = (id("the id of padding")?, id("the id of unknown pieces")?);
    let size = cursor.length("the length of the pieces' text")?;
    let offsets: Vec<usize> = cursor
        .words(count + 1, "the pieces' offsets")?
        .map(|b| u32::from_le_bytes(b) as usize)
        .collect();
    let scores = cursor.words(count, "the pieces' scores")?.map(f32::from_le_bytes);
    let mut vocabulary = Vec::with_capacity(count);
    let text = std::str::from_utf8(cursor.take(size, "the pieces' text")?)
        .map_err(|error| format!("the pieces' text is no UTF-8: {error}"))?;
    for (i, (bounds, score)) in offsets.windows(2).zip(scores).enumerate() {
        let piece = text.get(bounds[0]..bounds[1]).ok_or_else(|| {
            format!(
                "piece {i} has the bounds {} to {} in {size} bytes",
                bounds[0], bounds[1]
            )
        })?;
        if piece.is_empty() {
            return Err(format!("piece {i} is empty"));
        }
        if !score.is_finite() {
            return Err(format!("the score of piece {i} is not finite"));
        }
        vocabulary.push((piece.to_owned(), f64::from(score)));
    }
    let normaliser = read_normaliser(cursor)?;
    Ok(Pieces {
        vocabulary,
        begin,
        end,
        padding,
        unknown,
        normaliser,
    })
}

fn read_normaliser(cursor: &mut Cursor<'_>) -> Result<HashMap<char, String>, Fault> {
    // No more entries than there are characters in Unicode.
    let count = cursor.count("the number of normaliser entries", 0..=0x11_0000)?;
    let size = cursor.u32("the size of the normaliser")? as usize;
    let mut table = Cursor {
        rest: cursor.take(size, "the normaliser")?,
    };
    let mut normaliser = HashMap::new();
    for i in 0..count {
        let character = |cursor: &mut Cursor<'_>| {
            let code = cursor.u32("the normaliser")?;
            char::from_u32(code).ok_or_else(|| format!("normaliser entry {i} has {code:#x}, which is no character"))
        };
        let from = character(&mut table)?;
        let length = table.u8("the normaliser")?;
        let to = (0..length)
            .map(|_| character(&mut table))
            .collect::<Result<String, Fault>>()?;
        if normaliser.insert(from, to).is_some() {
            return Err(format!("the normaliser has {from:?} twice"));
        }
    }
    if !table.rest.is_empty() {
        return Err(format!("the normaliser has {} bytes too many", table.rest.len()));
    }
    Ok(normaliser)
}

fn read_tensors<'a>(cursor: &mut Cursor<'a>, file: &'a [u8]) -> Result<HashMap<&'a str, Entry<'a>>, Fault> {
    let count = cursor.count("the number of tensors", 1..=65536)?;
    let mut tensors = HashMap::new();
    for _ in 0..count {
        let length = usize::from(cursor.u16("a tensor's name")?);
        let name = std::str::from_utf8(cursor.take(length, "a tensor's name")?)
            .map_err(|_| "a tensor's name is no UTF-8".to_owned())?;
        let kind = cursor.u8("a tensor's type")?;
        let elements = cursor.u32("a tensor's size")? as usize;
        let offset = cursor.length("a tensor's offset")?;
        let size = cursor.length("a tensor's size")?;
        let (kind, expected) = match kind {
            0 => (Kind::F32, elements.checked_mul(4)),
            1 if elements.is_multiple_of(BLOCK) => (Kind::Q4, (elements / BLOCK).checked_mul(BLOCK_BYTES)),
            1 => return Err(format!("tensor {name} has {elements} elements, no multiple of {BLOCK}")),
            other => return Err(format!("tensor {name} has the type {other}, known are 0 and 1")),
        };
        if expected != Some(size) {
            return Err(format!(
                "tensor {name} has {elements} elements in {size} bytes, which does not fit its type"
            ));
        }
        let bytes = offset
            .checked_add(size)
            .and_then(|end| file.get(offset..end))
            .ok_or_else(|| {
                format!(
                    "tensor {name} lies at {offset} with {size} bytes, the file has {}",
                    file.len()
                )
            })?;
        if tensors.insert(name, Entry { kind, elements, bytes }).is_some() {
            return Err(format!("tensor {name} occurs twice"));
        }
    }
    Ok(tensors)
}

#[cfg(test)]
#[path = "container_tests.rs"]
pub(super) mod tests;
