//! Zip archives within limits: what a small file may unpack to, how many members it may have, and by how much one may
//! grow. Nothing is ever written to a disk.
//!
//! Source of the limits: OWASP ASVS 5.0, 5.2.3 and 5.2.5.

use super::DocumentFault;
use super::charset::decode;
use serde::{Deserialize, Serialize};
use std::io::{Cursor, Read};
use zip::ZipArchive;
use zip::result::ZipError;

/// Bytes that all members together may unpack to.
const MAX_UNPACKED: u64 = 200 << 20;
/// Members of one archive.
const MAX_MEMBERS: usize = 2000;
/// By how much a member may grow, once it is larger than `FREE_GROWTH`.
const MAX_RATIO: u64 = 100;
/// Bytes to which a member may grow by any ratio.
const FREE_GROWTH: u64 = 1 << 20;

/// A member that can be imported by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its place in the archive.
    pub index: usize,
    /// Its path, with `/` between parts and without any that lead out of the archive.
    pub name: String,
}

/// An archive in memory.
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// Bytes that may still be unpacked.
    left: u64,
}

fn fault(error: ZipError) -> DocumentFault {
    match error {
        ZipError::InvalidPassword | ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => {
            DocumentFault::Encrypted
        }
        error => DocumentFault::broken(format!("its archive cannot be unpacked ({error})")),
    }
}

impl<'a> Archive<'a> {
    /// Opens an archive.
    ///
    /// # Errors
    /// `Broken`; `TooLarge` for too many members.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, DocumentFault> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(fault)?;
        if zip.len() > MAX_MEMBERS {
            return Err(DocumentFault::too_large("members", MAX_MEMBERS as u64));
        }
        Ok(Self {
            zip,
            left: MAX_UNPACKED,
        })
    }

    /// The files in it that are no links, hidden files or what systems leave behind.
    ///
    /// # Errors
    /// `Broken`.
    pub(super) fn members(&mut self) -> Result<Vec<Member>, DocumentFault> {
        let mut members = Vec::new();
        for index in 0..self.zip.len() {
            let file = self.zip.by_index_raw(index).map_err(fault)?;
            if file.is_dir() || file.is_symlink() {
                continue;
            }
            let raw = file.name_raw();
            // The oldest writers of Chinese names wrote them in GBK and did not say so.
            let name = match std::str::from_utf8(raw) {
                Ok(name) => name.to_owned(),
                Err(_) => decode(raw).map_or_else(|_| String::from_utf8_lossy(raw).into_owned(), |name| name.text),
            };
            let parts: Vec<&str> = name
                .split(['/', '\\'])
                .filter(|part| !matches!(*part, "" | "." | ".."))
                .collect();
            if parts.is_empty() || parts.iter().any(|part| part.starts_with('.') || *part == "__MACOSX") {
                continue;
            }
            members.push(Member {
                index,
                name: parts.join("/"),
            });
        }
        Ok(members)
    }

    /// Whether there is a member of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(name).is_some()
    }

    /// The bytes of a member.
    ///
    /// # Errors
    /// `Broken` if there is none or its content is damaged; `Encrypted`; `TooLarge`.
    pub(super) fn read(&mut self, name: &str) -> Result<Vec<u8>, DocumentFault> {
        let name = name.trim_start_matches('/');
        let index = self
            .zip
            .index_for_name(name)
            .ok_or_else(|| DocumentFault::broken(format!("{name} is missing in it")))?;
        self.read_index(index)
    }

    /// The bytes of a member; `None` if there is none.
    ///
    /// # Errors
    /// As for [`Archive::read`].
    pub(super) fn read_if_there(&mut self, name: &str) -> Result<Option<Vec<u8>>, DocumentFault> {
        if self.has(name.trim_start_matches('/')) {
            self.read(name).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The bytes of the member at `index`.
    ///
    /// # Errors
    /// As for [`Archive::read`].
    pub(super) fn read_index(&mut self, index: usize) -> Result<Vec<u8>, DocumentFault> {
        let file = self.zip.by_index(index).map_err(fault)?;
        if file.encrypted() {
            return Err(DocumentFault::Encrypted);
        }
        // What an archive declares is believed in nothing: the limit holds for what comes out.
        let grown = file.compressed_size().saturating_mul(MAX_RATIO).max(FREE_GROWTH);
        let limit = grown.min(self.left);
        let mut content = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut content)
            .map_err(|error| DocumentFault::broken(format!("a part of it cannot be unpacked ({error})")))?;
        if content.len() as u64 > limit {
            return Err(if limit < self.left {
                DocumentFault::TooLarge {
                    what: "times the size of its packed parts, as archives made to fill a memory do".to_owned(),
                    limit: MAX_RATIO,
                }
            } else {
                DocumentFault::too_large("bytes unpacked", MAX_UNPACKED)
            });
        }
        self.left -= content.len() as u64;
        Ok(content)
    }
}

/// The files of a zip archive that can be imported by themselves.
///
/// # Errors
/// `Broken`, `TooLarge`; `Empty` if there are none.
pub(super) fn members(bytes: &[u8]) -> Result<Vec<Member>, DocumentFault> {
    let members = Archive::open(bytes)?.members()?;
    if members.is_empty() {
        return Err(DocumentFault::Empty);
    }
    Ok(members)
}

/// The bytes of one file of a zip archive.
///
/// # Errors
/// `Broken`, `Encrypted`, `TooLarge`.
pub(super) fn member(bytes: &[u8], index: usize) -> Result<Vec<u8>, DocumentFault> {
    Archive::open(bytes)?.read_index(index)
}

/// The targets of an Office part's relationships: id to path within the archive, and type.
///
/// # Errors
/// As for [`Archive::read`] and [`super::xml::Tree::parse`].
pub(super) fn relationships(
    archive: &mut Archive<'_>,
    part: &str,
) -> Result<std::collections::HashMap<String, (String, String)>, DocumentFault> {
    let (folder, name) = part.rsplit_once('/').unwrap_or(("", part));
    let prefix = if folder.is_empty() {
        String::new()
    } else {
        format!("{folder}/")
    };
    let Some(bytes) = archive.read_if_there(&format!("{prefix}_rels/{name}.rels"))? else {
        return Ok(std::collections::HashMap::new());
    };
    let tree = super::xml::Tree::parse(&bytes)?;
    Ok(tree
        .root()
        .children()
        .filter(|node| node.attribute("TargetMode") != Some("External"))
        .filter_map(|node| {
            let target = resolve(folder, node.attribute("Target")?);
            let kind = node.attribute("Type").unwrap_or_default().rsplit('/').next()?;
            Some((node.attribute("Id")?.to_owned(), (target, kind.to_owned())))
        })
        .collect())
}

/// `target` as seen from `folder`.
pub(super) fn resolve(folder: &str, target: &str) -> String {
    let mut parts: Vec<&str> = if target.starts_with('/') {
        Vec::new()
    } else {
        folder.split('/').filter(|part| !part.is_empty()).collect()
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
