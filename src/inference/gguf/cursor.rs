//! Reading little-endian values from a byte slice, never beyond its end and never allocating by what it says.

use super::error::Fault;

/// A position in the header.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// A cursor that stands at `position`, or at the end where that is beyond it.
    pub(super) fn at(bytes: &'a [u8], position: usize) -> Self {
        let position = position.min(bytes.len());
        Self { bytes, position }
    }

    /// Bytes from the start of the file.
    pub(super) fn offset(&self) -> u64 {
        self.position as u64
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn left(&self) -> u64 {
        (self.bytes.len() - self.position) as u64
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, what: &'static str, len: u64) -> Result<&'a [u8], Fault> {
        if len > self.left() {
            return Err(Fault::Truncated {
                what,
                offset: self.offset(),
                need: len,
                have: self.left(),
            });
        }
        // `len` is at most the length of a slice, so it fits in a `usize`.
        let end = self.position + len as usize;
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Fault> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(what, N as u64)?);
        Ok(out)
    }

    pub(super) fn u8(&mut self, what: &'static str) -> Result<u8, Fault> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, Fault> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, Fault> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A count of things of which each takes at least `least` bytes of what is left, and at most `most` of them.
    pub(super) fn count(&mut self, what: &'static str, least: u64, most: u64) -> Result<u64, Fault> {
        let offset = self.offset();
        let count = self.u64(what)?;
        let most = most.min(self.left() / least.max(1));
        if count > most {
            return Err(Fault::Count {
                what,
                offset,
                count,
                most,
            });
        }
        Ok(count)
    }

    /// Text with its length before it, at most `most` bytes.
    pub(super) fn text(&mut self, what: &'static str, most: u64) -> Result<&'a str, Fault> {
        let offset = self.offset();
        let len = self.u64(what)?;
        if len > most {
            return Err(Fault::Count {
                what,
                offset,
                count: len,
                most,
            });
        }
        let offset = self.offset();
        std::str::from_utf8(self.take(what, len)?).map_err(|_| Fault::Utf8 { what, offset })
    }
}
