//! XML as a small tree: names without prefixes, attributes, text. Entities that a file declares are not known, so that
//! none can grow; depth and size are bounded, so that readers may walk the tree recursively.

use super::DocumentFault;
use super::charset::decode;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// Elements within elements. Office programs write about 40.
const MAX_DEPTH: usize = 200;
/// Elements and texts of one file.
const MAX_NODES: usize = 5_000_000;

/// A file as a tree.
#[derive(Default)]
pub(super) struct Tree {
    nodes: Vec<Entry>,
    names: Vec<String>,
    attributes: Vec<(u32, String)>,
    text: String,
}

struct Entry {
    /// An index into the names; `TEXT` for a text.
    name: u32,
    /// Attributes of an element, bytes of a text.
    content: Range<u32>,
    /// The first node after this one and all within it.
    after: u32,
}

const TEXT: u32 = u32::MAX;

/// An element or a text of a tree.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    tree: &'a Tree,
    at: u32,
}

/// The bytes as text: XML is UTF-8 unless it says otherwise, and some programs write UTF-16.
pub(super) fn as_text(bytes: &[u8]) -> Cow<'_, str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => decode(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), |decoded| Cow::Owned(decoded.text)),
    }
}

/// The character of a reference such as `&amp;` or `&#20013;`; `None` for one that only a document type could declare.
pub(super) fn reference(reference: &quick_xml::events::BytesRef<'_>) -> Option<char> {
    if let Ok(Some(c)) = reference.resolve_char_ref() {
        return Some(c);
    }
    match &*reference.xml10_content() {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => None,
    }
}

impl Tree {
    /// Reads a file.
    ///
    /// # Errors
    /// [`DocumentFault::Broken`] for what is no XML or is nested too deeply; `TooLarge`.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DocumentFault> {
        let text = as_text(bytes);
        let mut reader = Reader::from_str(&text);
        reader.config_mut().check_end_names = false;
        reader.config_mut().allow_dangling_amp = true;
        let mut maker = Maker::default();
        loop {
            match reader.read_event() {
                Ok(Event::Start(start)) => maker.open(&start)?,
                Ok(Event::Empty(start)) => {
                    maker.open(&start)?;
                    maker.close();
                }
                Ok(Event::End(_)) => maker.close(),
                Ok(Event::Text(text)) => maker.text(&text.xml10_content())?,
                Ok(Event::CData(text)) => maker.text(&text.xml10_content())?,
                Ok(Event::GeneralRef(entity)) => {
                    if let Some(c) = reference(&entity) {
                        maker.text(c.encode_utf8(&mut [0; 4]))?;
                    }
                }
                Ok(Event::Eof) => break,
                Ok(_) => {}
                Err(error) => return Err(DocumentFault::broken(format!("its XML is malformed ({error})"))),
            }
        }
        while !maker.open.is_empty() {
            maker.close();
        }
        if maker.tree.nodes.is_empty() {
            return Err(DocumentFault::broken("a part of it is empty"));
        }
        Ok(maker.tree)
    }

    /// The outermost element.
    pub(super) fn root(&self) -> Node<'_> {
        let at = self.nodes.iter().position(|node| node.name != TEXT).unwrap_or(0);
        Node {
            tree: self,
            at: at as u32,
        }
    }
}

#[derive(Default)]
struct Maker {
    tree: Tree,
    open: Vec<u32>,
    names: HashMap<String, u32>,
    /// Whether the last thing read was a text.
    after_text: bool,
}

impl Maker {
    fn name(&mut self, name: &str) -> u32 {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        let number = self.tree.names.len() as u32;
        self.tree.names.push(name.to_owned());
        self.names.insert(name.to_owned(), number);
        number
    }

    fn push(&mut self, name: u32, content: Range<u32>) -> Result<(), DocumentFault> {
        if self.tree.nodes.len() >= MAX_NODES {
            return Err(DocumentFault::too_large("XML elements", MAX_NODES as u64));
        }
        self.after_text = false;
        let after = self.tree.nodes.len() as u32 + 1;
        self.tree.nodes.push(Entry { name, content, after });
        Ok(())
    }

    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), DocumentFault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(DocumentFault::broken(format!(
                "its XML is nested more than {MAX_DEPTH} deep"
            )));
        }
        let first = self.tree.attributes.len() as u32;
        for attribute in start.attributes().with_checks(false).flatten() {
            let name = self.name(attribute.key.local_name().as_ref());
            let value = quick_xml::escape::unescape(&attribute.value)
                .map_or_else(|_| attribute.value.to_string(), Cow::into_owned);
            self.tree.attributes.push((name, value));
        }
        let name = self.name(start.local_name().as_ref());
        let content = first..self.tree.attributes.len() as u32;
        self.open.push(self.tree.nodes.len() as u32);
        self.push(name, content)
    }

    fn close(&mut self) {
        self.after_text = false;
        if let Some(at) = self.open.pop() {
            self.tree.nodes[at as usize].after = self.tree.nodes.len() as u32;
        }
    }

    fn text(&mut self, text: &str) -> Result<(), DocumentFault> {
        if text.is_empty() {
            return Ok(());
        }
        let from = self.tree.text.len() as u32;
        self.tree.text.push_str(text);
        let to = self.tree.text.len() as u32;
        // The pieces of one text come one by one where there are references in it.
        if self.after_text
            && let Some(last) = self.tree.nodes.last_mut()
        {
            last.content.end = to;
            return Ok(());
        }
        self.push(TEXT, from..to)?;
        self.after_text = true;
        Ok(())
    }
}

impl<'a> Node<'a> {
    fn entry(self) -> &'a Entry {
        &self.tree.nodes[self.at as usize]
    }

    /// The element's name without prefix; empty for a text.
    pub(super) fn name(self) -> &'a str {
        self.tree
            .names
            .get(self.entry().name as usize)
            .map_or("", String::as_str)
    }

    /// The text of a text; `None` for an element.
    pub(super) fn as_text(self) -> Option<&'a str> {
        let entry = self.entry();
        (entry.name == TEXT).then(|| &self.tree.text[entry.content.start as usize..entry.content.end as usize])
    }

    /// The attribute of this name, whatever its prefix.
    pub(super) fn attribute(self, name: &str) -> Option<&'a str> {
        let entry = self.entry();
        if entry.name == TEXT {
            return None;
        }
        self.tree.attributes[entry.content.start as usize..entry.content.end as usize]
            .iter()
            .find(|(key, _)| self.tree.names[*key as usize] == name)
            .map(|(_, value)| value.as_str())
    }

    /// The attributes in order, names without prefix.
    pub(super) fn attributes(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let entry = self.entry();
        let range = if entry.name == TEXT {
            0..0
        } else {
            entry.content.start as usize..entry.content.end as usize
        };
        self.tree.attributes[range]
            .iter()
            .map(|(name, value)| (self.tree.names[*name as usize].as_str(), value.as_str()))
    }

    /// The nodes within this one, one level down.
    pub(super) fn children(self) -> impl Iterator<Item = Node<'a>> + Clone {
        let end = self.entry().after;
        let mut at = if self.entry().name == TEXT { end } else { self.at + 1 };
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let node = Node { tree: self.tree, at };
            at = node.entry().after;
            Some(node)
        })
    }

    /// The first element of this name one level down.
    pub(super) fn child(self, name: &str) -> Option<Node<'a>> {
        self.children().find(|node| node.name() == name)
    }

    /// All nodes within this one, in order.
    pub(super) fn descendants(self) -> impl Iterator<Item = Node<'a>> {
        (self.at + 1..self.entry().after).map(move |at| Node { tree: self.tree, at })
    }

    /// The first element of this name within this one.
    pub(super) fn find(self, name: &str) -> Option<Node<'a>> {
        self.descendants().find(|node| node.name() == name)
    }

    /// All text within.
    pub(super) fn text(self) -> String {
        std::iter::once(self)
            .chain(self.descendants())
            .filter_map(Node::as_text)
            .collect()
    }
}
