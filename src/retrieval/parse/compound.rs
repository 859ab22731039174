//! Compound files ([MS-CFB]): the container of Office 97 to 2003 and of Outlook's messages.

use super::DocumentFault;
use super::charset::decode;
use std::io::{Cursor, Read};

/// Bytes of one stream.
const MAX_STREAM: u64 = 200 << 20;

/// The first bytes of every compound file.
pub(super) const MAGIC: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1";

/// A compound file in memory.
pub(super) struct Compound<'a>(cfb::CompoundFile<Cursor<&'a [u8]>>);

fn broken(error: &std::io::Error) -> DocumentFault {
    DocumentFault::broken(error.to_string())
}

impl<'a> Compound<'a> {
    /// Opens a file.
    ///
    /// # Errors
    /// `Broken`; `Encrypted` if all that is in it is an encrypted document.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, DocumentFault> {
        let file = cfb::CompoundFile::open(Cursor::new(bytes)).map_err(|error| broken(&error))?;
        if file.is_stream("EncryptedPackage") || file.is_stream("EncryptionInfo") {
            return Err(DocumentFault::Encrypted);
        }
        Ok(Self(file))
    }

    /// The bytes of a stream; `None` if there is none.
    ///
    /// # Errors
    /// `Broken`, `TooLarge`.
    pub(super) fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, DocumentFault> {
        if !self.0.is_stream(path) {
            return Ok(None);
        }
        let stream = self.0.open_stream(path).map_err(|error| broken(&error))?;
        let mut bytes = Vec::new();
        stream
            .take(MAX_STREAM + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| broken(&error))?;
        if bytes.len() as u64 > MAX_STREAM {
            return Err(DocumentFault::too_large("bytes", MAX_STREAM));
        }
        Ok(Some(bytes))
    }

    /// The storages of the root whose names begin so, in order.
    pub(super) fn storages(&self, prefix: &str) -> Vec<String> {
        self.0
            .read_root_storage()
            .filter(|entry| entry.is_storage() && entry.name().starts_with(prefix))
            .map(|entry| entry.name().to_owned())
            .collect()
    }

    /// A text property of a message, in UTF-16 or in an encoding that has to be found out; empty if there is none.
    ///
    /// # Errors
    /// As for [`Compound::read`].
    pub(super) fn property(&mut self, storage: &str, number: u16) -> Result<String, DocumentFault> {
        if let Some(bytes) = self.read(&format!("{storage}/__substg1.0_{number:04X}001F"))? {
            return Ok(utf16(&bytes));
        }
        let bytes = self
            .read(&format!("{storage}/__substg1.0_{number:04X}001E"))?
            .unwrap_or_default();
        Ok(decode(&bytes).map_or_else(|_| String::from_utf8_lossy(&bytes).into_owned(), |decoded| decoded.text))
    }

    /// A binary property of a message.
    ///
    /// # Errors
    /// As for [`Compound::read`].
    pub(super) fn binary(&mut self, storage: &str, number: u16) -> Result<Option<Vec<u8>>, DocumentFault> {
        self.read(&format!("{storage}/__substg1.0_{number:04X}0102"))
    }
}

/// Little-endian UTF-16.
pub(super) fn utf16(bytes: &[u8]) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    char::decode_utf16(pairs.iter().map(|pair| u16::from_le_bytes(*pair)))
        .map(|c| c.unwrap_or('\u{fffd}'))
        .collect()
}
