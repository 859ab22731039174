//! The metadata of a GGUF file: typed values by key. Texts and arrays stay in the mapped file until they are asked for.

use super::cursor::Cursor;
use super::error::{Fault, GgufError};
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

/// Longest key in bytes. Source: GGUF specification, `gguf_metadata_kv_t`.
const MAX_KEY: u64 = (1 << 16) - 1;
/// Key (length and one byte), type, one byte of value.
const LEAST_PAIR_BYTES: u64 = 8 + 1 + 4 + 1;
/// Published models have some fifty keys.
const MAX_PAIRS: u64 = 1 << 16;
/// Arrays in arrays; no published model has any.
const MAX_DEPTH: u32 = 4;

/// Types of values. Source: `enum gguf_metadata_value_type` of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    fn from_tag(tag: u32) -> Option<Self> {
        const KINDS: [Kind; 13] = [
            Kind::U8,
            Kind::I8,
            Kind::U16,
            Kind::I16,
            Kind::U32,
            Kind::I32,
            Kind::F32,
            Kind::Bool,
            Kind::Text,
            Kind::Array,
            Kind::U64,
            Kind::I64,
            Kind::F64,
        ];
        KINDS.get(tag as usize).copied()
    }

    /// Bytes of a value, or the least there can be (a text's length, an array's type and count).
    fn bytes(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::Text => 8,
            Self::Array => 12,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::U8 | Self::U16 | Self::U32 | Self::U64 => "a whole number",
            Self::I8 | Self::I16 | Self::I32 | Self::I64 => "a signed whole number",
            Self::F32 | Self::F64 => "a real number",
            Self::Bool => "a truth value",
            Self::Text => "a text",
            Self::Array => "an array",
        }
    }
}

/// A number or truth value, widened without loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar {
    Whole(i128),
    Real(f64),
    Bool(bool),
}

/// A value, checked when the file was opened.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar(Kind, Scalar),
    Text(Range<usize>),
    Array { kind: Kind, count: usize, start: usize },
}

impl Value {
    fn describe(&self) -> String {
        match self {
            Self::Scalar(kind, _) => kind.name().to_owned(),
            Self::Text(_) => Kind::Text.name().to_owned(),
            Self::Array { kind, .. } => format!("an array ({} each)", kind.name()),
        }
    }
}

/// Reads how many pairs there are.
pub(super) fn read_count(cursor: &mut Cursor<'_>) -> Result<u64, Fault> {
    cursor.count("the number of metadata", LEAST_PAIR_BYTES, MAX_PAIRS)
}

/// Reads `count` pairs.
pub(super) fn read_pairs(cursor: &mut Cursor<'_>, count: u64) -> Result<HashMap<String, Value>, Fault> {
    let mut pairs = HashMap::new();
    for _ in 0..count {
        let offset = cursor.offset();
        let key = cursor.text("a metadata key", MAX_KEY)?;
        let value = read_value(cursor, key)?;
        if pairs.insert(key.to_owned(), value).is_some() {
            let key = key.to_owned();
            return Err(Fault::DuplicateKey { key, offset });
        }
    }
    Ok(pairs)
}

fn read_kind(cursor: &mut Cursor<'_>, key: &str) -> Result<Kind, Fault> {
    let offset = cursor.offset();
    let tag = cursor.u32("a value's type")?;
    Kind::from_tag(tag).ok_or_else(|| Fault::ValueType {
        key: key.to_owned(),
        offset,
        tag,
    })
}

fn read_value(cursor: &mut Cursor<'_>, key: &str) -> Result<Value, Fault> {
    match read_kind(cursor, key)? {
        Kind::Text => {
            let text = cursor.text("a metadata text", u64::MAX)?;
            let end = cursor.position();
            Ok(Value::Text(end - text.len()..end))
        }
        Kind::Array => read_array(cursor, key, 1),
        kind => Ok(Value::Scalar(kind, read_scalar(cursor, key, kind)?)),
    }
}

/// Walks an array and checks every element, so that a file with a bad one is refused when it is opened.
fn read_array(cursor: &mut Cursor<'_>, key: &str, depth: u32) -> Result<Value, Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::Depth {
            key: key.to_owned(),
            offset: cursor.offset(),
            most: MAX_DEPTH,
        });
    }
    let kind = read_kind(cursor, key)?;
    let count = cursor.count("an array's length", kind.bytes(), u64::MAX)?;
    let start = cursor.position();
    match kind {
        Kind::Array => {
            for _ in 0..count {
                read_array(cursor, key, depth + 1)?;
            }
        }
        Kind::Text => {
            for _ in 0..count {
                cursor.text("a metadata text", u64::MAX)?;
            }
        }
        Kind::Bool => {
            for _ in 0..count {
                read_scalar(cursor, key, kind)?;
            }
        }
        // `count` was checked against what is left of the file, so the product cannot overflow.
        _ => {
            cursor.take("an array", count * kind.bytes())?;
        }
    }
    Ok(Value::Array {
        kind,
        count: count as usize,
        start,
    })
}

fn read_scalar(cursor: &mut Cursor<'_>, key: &str, kind: Kind) -> Result<Scalar, Fault> {
    const WHAT: &str = "a metadata value";
    Ok(match kind {
        Kind::U8 => Scalar::Whole(cursor.u8(WHAT)?.into()),
        Kind::I8 => Scalar::Whole(i8::from_le_bytes(cursor.array(WHAT)?).into()),
        Kind::U16 => Scalar::Whole(u16::from_le_bytes(cursor.array(WHAT)?).into()),
        Kind::I16 => Scalar::Whole(i16::from_le_bytes(cursor.array(WHAT)?).into()),
        Kind::U32 => Scalar::Whole(cursor.u32(WHAT)?.into()),
        Kind::I32 => Scalar::Whole(i32::from_le_bytes(cursor.array(WHAT)?).into()),
        Kind::U64 => Scalar::Whole(cursor.u64(WHAT)?.into()),
        Kind::I64 => Scalar::Whole(i64::from_le_bytes(cursor.array(WHAT)?).into()),
        Kind::F32 => Scalar::Real(f32::from_le_bytes(cursor.array(WHAT)?).into()),
        Kind::F64 => Scalar::Real(f64::from_le_bytes(cursor.array(WHAT)?)),
        Kind::Bool => {
            let offset = cursor.offset();
            match cursor.u8(WHAT)? {
                0 => Scalar::Bool(false),
                1 => Scalar::Bool(true),
                byte => {
                    let key = key.to_owned();
                    return Err(Fault::Bool { key, offset, byte });
                }
            }
        }
        // Neither is a scalar: the callers deal with both before they come here.
        Kind::Text | Kind::Array => {
            return Err(Fault::KeyType {
                key: key.to_owned(),
                found: kind.name().to_owned(),
                want: "a number or truth value",
            });
        }
    })
}

/// The metadata of a file. A getter is an error where the key is missing or of another type; the `optional_` ones give
/// `None` for a missing key. Whole numbers are taken at any width that holds them.
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    pub(super) path: &'a Path,
    pub(super) bytes: &'a [u8],
    pub(super) pairs: &'a HashMap<String, Value>,
}

impl<'a> Metadata<'a> {
    /// Whether the key is there.
    pub fn contains(&self, key: &str) -> bool {
        self.pairs.contains_key(key)
    }

    /// The keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.pairs.keys().map(String::as_str)
    }

    /// A whole number of up to 32 bits.
    pub fn u32(&self, key: &str) -> Result<u32, GgufError> {
        self.required(key, self.optional_u32(key)?)
    }

    /// A whole number of up to 32 bits, if there.
    pub fn optional_u32(&self, key: &str) -> Result<Option<u32>, GgufError> {
        self.scalar(key, "a whole number of at most 32 bits", |scalar| match scalar {
            Scalar::Whole(value) => u32::try_from(value).ok(),
            _ => None,
        })
    }

    /// A whole number of up to 64 bits.
    pub fn u64(&self, key: &str) -> Result<u64, GgufError> {
        let value = self.scalar(key, "a whole number of at most 64 bits", |scalar| match scalar {
            Scalar::Whole(value) => u64::try_from(value).ok(),
            _ => None,
        })?;
        self.required(key, value)
    }

    /// A finite real number.
    pub fn f32(&self, key: &str) -> Result<f32, GgufError> {
        self.required(key, self.optional_f32(key)?)
    }

    /// A finite real number, if there.
    pub fn optional_f32(&self, key: &str) -> Result<Option<f32>, GgufError> {
        self.scalar(key, "a finite real number", |scalar| match scalar {
            Scalar::Real(value) => Some(value as f32).filter(|value| value.is_finite()),
            _ => None,
        })
    }

    /// A truth value.
    pub fn bool(&self, key: &str) -> Result<bool, GgufError> {
        self.required(key, self.optional_bool(key)?)
    }

    /// A truth value, if there.
    pub fn optional_bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.scalar(key, "a truth value", |scalar| match scalar {
            Scalar::Bool(value) => Some(value),
            _ => None,
        })
    }

    /// A text.
    pub fn str(&self, key: &str) -> Result<&'a str, GgufError> {
        self.required(key, self.optional_str(key)?)
    }

    /// A text, if there.
    pub fn optional_str(&self, key: &str) -> Result<Option<&'a str>, GgufError> {
        match self.pairs.get(key) {
            None => Ok(None),
            Some(Value::Text(range)) => {
                let mut cursor = Cursor::at(self.bytes, range.start - 8);
                cursor
                    .text("a metadata text", u64::MAX)
                    .map(Some)
                    .map_err(|fault| self.error(fault))
            }
            Some(other) => Err(self.wrong_type(key, other, "a text")),
        }
    }

    /// An array of texts.
    pub fn strings(&self, key: &str) -> Result<Vec<&'a str>, GgufError> {
        let (kind, count, mut cursor) = self.array(key, "an array of texts")?;
        if kind != Kind::Text {
            return Err(self.array_type(key, "an array of texts"));
        }
        let mut out = Vec::with_capacity(count);
        for _ in 0..count {
            out.push(
                cursor
                    .text("a metadata text", u64::MAX)
                    .map_err(|fault| self.error(fault))?,
            );
        }
        Ok(out)
    }

    /// An array of whole numbers that fit in 32 bits with a sign (token types).
    pub fn i32s(&self, key: &str) -> Result<Vec<i32>, GgufError> {
        self.scalars(key, "an array of whole numbers of 32 bits", |scalar| match scalar {
            Scalar::Whole(value) => i32::try_from(value).ok(),
            _ => None,
        })
    }

    /// An array of whole numbers that fit in 32 bits without a sign.
    pub fn u32s(&self, key: &str) -> Result<Vec<u32>, GgufError> {
        self.scalars(key, "an array of whole numbers of 32 bits", |scalar| match scalar {
            Scalar::Whole(value) => u32::try_from(value).ok(),
            _ => None,
        })
    }

    /// An array of real numbers (token scores; not necessarily finite).
    pub fn f32s(&self, key: &str) -> Result<Vec<f32>, GgufError> {
        self.scalars(key, "an array of real numbers", |scalar| match scalar {
            Scalar::Real(value) => Some(value as f32),
            _ => None,
        })
    }

    /// An array of truth values.
    pub fn bools(&self, key: &str) -> Result<Vec<bool>, GgufError> {
        self.scalars(key, "an array of truth values", |scalar| match scalar {
            Scalar::Bool(value) => Some(value),
            _ => None,
        })
    }

    /// The file's alignment, which unlike all else must be a `u32` exactly, as other readers insist on it.
    pub(super) fn alignment(&self) -> Result<Option<u32>, GgufError> {
        const KEY: &str = "general.alignment";
        match self.pairs.get(KEY) {
            None | Some(Value::Scalar(Kind::U32, _)) => self.optional_u32(KEY),
            Some(other) => Err(self.wrong_type(KEY, other, "a u32")),
        }
    }

    /// Whether the key holds an array.
    pub fn is_array(&self, key: &str) -> bool {
        matches!(self.pairs.get(key), Some(Value::Array { .. }))
    }

    /// A fault of this file.
    pub(crate) fn error(&self, fault: Fault) -> GgufError {
        GgufError::Invalid {
            path: self.path.to_owned(),
            fault,
        }
    }

    fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, GgufError> {
        value.ok_or_else(|| self.error(Fault::MissingKey { key: key.to_owned() }))
    }

    fn scalar<T>(
        &self,
        key: &str,
        want: &'static str,
        convert: impl Fn(Scalar) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        match self.pairs.get(key) {
            None => Ok(None),
            Some(value @ Value::Scalar(_, scalar)) => match convert(*scalar) {
                Some(converted) => Ok(Some(converted)),
                None => Err(self.wrong_type(key, value, want)),
            },
            Some(other) => Err(self.wrong_type(key, other, want)),
        }
    }

    fn array(&self, key: &str, want: &'static str) -> Result<(Kind, usize, Cursor<'a>), GgufError> {
        match self.pairs.get(key) {
            None => Err(self.error(Fault::MissingKey { key: key.to_owned() })),
            Some(Value::Array { kind, count, start }) => Ok((*kind, *count, Cursor::at(self.bytes, *start))),
            Some(other) => Err(self.wrong_type(key, other, want)),
        }
    }

    fn scalars<T>(
        &self,
        key: &str,
        want: &'static str,
        convert: impl Fn(Scalar) -> Option<T>,
    ) -> Result<Vec<T>, GgufError> {
        let (kind, count, mut cursor) = self.array(key, want)?;
        let mut out = Vec::with_capacity(count);
        for _ in 0..count {
            let scalar = read_scalar(&mut cursor, key, kind).map_err(|fault| self.error(fault))?;
            match convert(scalar) {
                Some(value) => out.push(value),
                None => return Err(self.array_type(key, want)),
            }
        }
        Ok(out)
    }

    fn array_type(&self, key: &str, want: &'static str) -> GgufError {
        let found = self.pairs.get(key).map_or_else(String::new, Value::describe);
        self.error(Fault::KeyType {
            key: key.to_owned(),
            found,
            want,
        })
    }

    fn wrong_type(&self, key: &str, value: &Value, want: &'static str) -> GgufError {
        self.error(Fault::KeyType {
            key: key.to_owned(),
            found: value.describe(),
            want,
        })
    }
}
