//! EPUB books (EPUB 3.3): their pages of HTML in reading order.

use super::archive::{Archive, resolve};
use super::builder::Builder;
use super::xml::Tree;
use super::{DocumentFault, ParsedDocument, decode_html, parse_html};
use std::collections::HashMap;

/// Parses a book.
///
/// # Errors
/// `Broken`, `Encrypted`, `TooLarge`, `Empty`.
pub(super) fn parse_epub(bytes: &[u8]) -> Result<ParsedDocument, DocumentFault> {
    let mut archive = Archive::open(bytes)?;
    let container = Tree::parse(&archive.read("META-INF/container.xml")?)?;
    let package_path = container
        .root()
        .find("rootfile")
        .and_then(|node| node.attribute("full-path"))
        .ok_or_else(|| DocumentFault::broken("its container names no book"))?
        .to_owned();
    let folder = package_path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let package = Tree::parse(&archive.read(&package_path)?)?;
    let root = package.root();
    let mut builder = Builder::default();
    if let Some(title) = root.find("title") {
        builder.title(&title.text());
    }
    let manifest: HashMap<&str, (&str, &str)> = root
        .child("manifest")
        .iter()
        .flat_map(|node| node.children())
        .filter_map(|item| {
            let properties = item.attribute("properties").unwrap_or_default();
            Some((item.attribute("id")?, (item.attribute("href")?, properties)))
        })
        .collect();
    let encrypted = archive
        .read_if_there("META-INF/encryption.xml")?
        .map(|bytes| Tree::parse(&bytes))
        .transpose()?;
    let encrypted: Vec<String> = encrypted
        .iter()
        .flat_map(|tree| tree.root().descendants())
        .filter_map(|node| {
            Some(
                node.attribute("URI")
                    .filter(|_| node.name() == "CipherReference")?
                    .to_owned(),
            )
        })
        .collect();
    let mut unread = None;
    for reference in root.child("spine").iter().flat_map(|node| node.children()) {
        let Some((href, properties)) = reference.attribute("idref").and_then(|id| manifest.get(id)) else {
            continue;
        };
        // The table of contents repeats the headings.
        if properties.split(' ').any(|property| property == "nav") || builder.is_full() {
            continue;
        }
        let path = resolve(folder, &unescaped(href));
        if encrypted.contains(&path) {
            unread = Some(DocumentFault::Encrypted);
            continue;
        }
        let Some(bytes) = archive.read_if_there(&path)? else {
            continue;
        };
        let page = decode_html(&bytes)
            .ok()
            .and_then(|decoded| parse_html(&decoded.text).ok());
        match page {
            Some(page) => builder.append(&page, 0),
            None => unread = Some(DocumentFault::broken(format!("{path} cannot be read"))),
        }
    }
    match unread {
        Some(fault) if builder.is_empty() => Err(fault),
        _ => builder.finish(),
    }
}

/// A path with its percent signs resolved.
fn unescaped(href: &str) -> String {
    let href = href.split('#').next().unwrap_or(href);
    let mut bytes = Vec::with_capacity(href.len());
    let mut rest = href.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
