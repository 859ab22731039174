//! Word documents (ECMA-376, `WordprocessingML`): what a reader of the printed page sees. Deleted and hidden text,
//! headers and footers are left out; numbers that Word computes are written.

use super::archive::{Archive, relationships};
use super::builder::Builder;
use super::numbering::Numbering;
use super::xml::{Node, Tree};
use super::{DocumentFault, ParsedDocument};
use std::collections::HashMap;
use std::fmt::Write;

/// Styles that are based on styles.
const MAX_BASES: usize = 16;

/// Parses a Word document.
///
/// # Errors
/// `Broken`, `TooLarge`, `Empty`.
pub(super) fn parse_docx(bytes: &[u8]) -> Result<ParsedDocument, DocumentFault> {
    let mut archive = Archive::open(bytes)?;
    let main = relationships(&mut archive, "")?
        .into_values()
        .find(|(_, kind)| kind == "officeDocument")
        .map_or_else(|| "word/document.xml".to_owned(), |(target, _)| target);
    let parts: HashMap<String, String> = relationships(&mut archive, &main)?
        .into_values()
        .map(|(target, kind)| (kind, target))
        .collect();
    let mut part = |kind: &str| -> Result<Option<Tree>, DocumentFault> {
        match parts.get(kind) {
            Some(target) => archive
                .read_if_there(target)?
                .map(|bytes| Tree::parse(&bytes))
                .transpose(),
            None => Ok(None),
        }
    };
    let styles = part("styles")?
        .map(|tree| Styles::read(tree.root()))
        .unwrap_or_default();
    let numbering = part("numbering")?
        .map(|tree| Numbering::read(tree.root()))
        .unwrap_or_default();
    let notes = [part("footnotes")?, part("endnotes")?];
    let document = Tree::parse(&archive.read(&main)?)?;
    let mut writer = Writer {
        styles,
        numbering,
        builder: Builder::default(),
        boxes: Vec::new(),
    };
    if let Some(body) = document.root().find("body") {
        writer.body(body);
    }
    for note in notes.iter().flatten().flat_map(|tree| tree.root().children()) {
        // Separators are notes too, with a type.
        if note.attribute("type").is_none() {
            let text = writer.flat(note);
            writer.builder.paragraph(&text);
        }
    }
    writer.builder.finish()
}

/// What a style says of its paragraphs.
#[derive(Clone, Default)]
struct Style {
    based_on: String,
    /// The level of a heading, from 1.
    level: Option<u8>,
    is_title: bool,
    /// An entry of the table of contents, which repeats the headings.
    is_contents: bool,
    list: Option<(String, usize)>,
}

#[derive(Default)]
struct Styles(HashMap<String, Style>);

impl Styles {
    fn read(root: Node<'_>) -> Self {
        let mut styles = HashMap::new();
        for node in root.children().filter(|node| node.name() == "style") {
            let value = |name| {
                node.child(name)
                    .and_then(|node| node.attribute("val"))
                    .unwrap_or_default()
            };
            let name = value("name").to_lowercase();
            let properties = node.child("pPr");
            let by_name = ["heading ", "标题 "]
                .iter()
                .find_map(|prefix| name.strip_prefix(prefix)?.trim().parse::<u8>().ok());
            styles.insert(
                node.attribute("styleId").unwrap_or_default().to_owned(),
                Style {
                    based_on: value("basedOn").to_owned(),
                    level: by_name.or_else(|| properties.and_then(outline_level)),
                    is_title: matches!(name.as_str(), "title" | "标题"),
                    is_contents: ["toc ", "目录 "].iter().any(|prefix| name.starts_with(prefix)),
                    list: properties.and_then(list_of),
                },
            );
        }
        Self(styles)
    }

    /// The style with what it inherits.
    fn get(&self, id: &str) -> Style {
        let mut found = Style::default();
        let mut id = id;
        for _ in 0..MAX_BASES {
            let Some(style) = self.0.get(id) else { break };
            found.level = found.level.or(style.level);
            found.is_title |= style.is_title;
            found.is_contents |= style.is_contents;
            found.list = found.list.or_else(|| style.list.clone());
            id = &style.based_on;
        }
        found
    }
}

fn value<'a>(node: Node<'a>, name: &str) -> Option<&'a str> {
    node.child(name).and_then(|node| node.attribute("val"))
}

/// The outline level of paragraph properties, from 1; level 9 is body text.
fn outline_level(properties: Node<'_>) -> Option<u8> {
    let level: u8 = value(properties, "outlineLvl")?.parse().ok()?;
    (level < 9).then_some(level + 1)
}

fn list_of(properties: Node<'_>) -> Option<(String, usize)> {
    let list = properties.child("numPr")?;
    let id = value(list, "numId")?;
    let level = value(list, "ilvl").and_then(|level| level.parse().ok()).unwrap_or(0);
    Some((id.to_owned(), level))
}

struct Writer<'a> {
    styles: Styles,
    numbering: Numbering,
    builder: Builder,
    /// Boxes of text met in the paragraph that is being read: they follow it.
    boxes: Vec<Node<'a>>,
}

impl<'a> Writer<'a> {
    fn body(&mut self, body: Node<'a>) {
        for node in body.children() {
            if self.builder.is_full() {
                return;
            }
            match node.name() {
                "p" => self.paragraph(node),
                "tbl" => {
                    // One cell is a frame around what stands in it.
                    let mut cells = node.descendants().filter(|node| node.name() == "tc");
                    if let (Some(cell), None) = (node.find("tc"), cells.by_ref().nth(1)) {
                        self.body(cell);
                        continue;
                    }
                    let rows = self.rows(node);
                    self.builder.table(&rows);
                    self.read_boxes();
                }
                "sdt" | "sdtContent" | "ins" | "smartTag" | "customXml" | "moveTo" => self.body(node),
                "AlternateContent" => self.body(chosen(node)),
                _ => {}
            }
        }
    }

    fn paragraph(&mut self, paragraph: Node<'a>) {
        let properties = paragraph.child("pPr");
        let style = self
            .styles
            .get(properties.and_then(|node| value(node, "pStyle")).unwrap_or_default());
        if style.is_contents {
            return;
        }
        let level = properties.and_then(outline_level).or(style.level);
        let list = properties.and_then(list_of).or(style.list).filter(|(id, _)| id != "0");
        let mut text = String::new();
        self.inline(paragraph, &mut text);
        let text = text.trim();
        if !text.is_empty() {
            let depth = list.as_ref().map_or(0, |(_, level)| *level);
            let mark = list.and_then(|(id, level)| self.numbering.next(&id, level));
            match (level, mark) {
                _ if style.is_title && level.is_none_or(|level| level == 1) => {
                    self.builder.title(text);
                    self.builder.heading(1, text);
                }
                (Some(level), Some(mark)) if mark != "-" => self.builder.heading(level, &format!("{mark} {text}")),
                (Some(level), _) => self.builder.heading(level, text),
                (None, Some(mark)) => self.builder.item(depth, &mark, text),
                (None, None) => self.builder.paragraph(text),
            }
        }
        self.read_boxes();
    }

    fn read_boxes(&mut self) {
        for content in std::mem::take(&mut self.boxes) {
            self.body(content);
        }
    }

    /// The text of runs, as shown.
    fn inline(&mut self, node: Node<'a>, text: &mut String) {
        for child in node.children() {
            match child.name() {
                "t" => text.push_str(&child.text()),
                "tab" | "ptab" => text.push('\t'),
                "br" | "cr" => text.push('\n'),
                "noBreakHyphen" => text.push('-'),
                "footnoteReference" | "endnoteReference" => {
                    let _ = write!(text, "[{}]", child.attribute("id").unwrap_or_default());
                }
                // What is deleted, what only the program reads, and the properties, where "tab" means a tab stop.
                "del" | "moveFrom" | "instrText" | "delText" | "pPr" | "rPr" | "rt" => {}
                "r" if is_hidden(child) => {}
                "AlternateContent" => self.inline(chosen(child), text),
                "txbxContent" => self.boxes.push(child),
                _ => self.inline(child, text),
            }
        }
    }

    /// The cells of a table. What spans rows is repeated in each; what spans columns stands in the first.
    fn rows(&mut self, table: Node<'a>) -> Vec<Vec<String>> {
        let mut rows: Vec<Vec<String>> = Vec::new();
        for row_node in table.children().filter_map(|node| controlled(node, "tr")) {
            let mut row = Vec::new();
            for cell in row_node.children().filter_map(|node| controlled(node, "tc")) {
                let properties = cell.child("tcPr");
                let span = properties
                    .and_then(|node| value(node, "gridSpan"))
                    .and_then(|n| n.parse::<usize>().ok())
                    .unwrap_or(1)
                    .clamp(1, 64);
                let goes_on = properties
                    .and_then(|node| node.child("vMerge"))
                    .is_some_and(|merge| merge.attribute("val") != Some("restart"));
                let above = rows.last().and_then(|above| above.get(row.len()));
                let text = match above {
                    Some(above) if goes_on => above.clone(),
                    _ => self.flat(cell),
                };
                row.push(text);
                row.extend(std::iter::repeat_n(String::new(), span - 1));
            }
            rows.push(row);
        }
        rows
    }

    /// All text within, in one line a paragraph.
    fn flat(&mut self, node: Node<'a>) -> String {
        let mut text = String::new();
        for child in node.children() {
            match child.name() {
                "p" => {
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    self.inline(child, &mut text);
                }
                "tcPr" => {}
                _ => {
                    let within = self.flat(child);
                    if !within.is_empty() {
                        text.push('\n');
                        text.push_str(&within);
                    }
                }
            }
        }
        text
    }
}

/// The node if it has this name, or the one within it if it is a field to fill in or a change that was accepted.
fn controlled<'a>(node: Node<'a>, name: &str) -> Option<Node<'a>> {
    match node.name() {
        "sdt" => node.child("sdtContent")?.child(name),
        "customXml" | "ins" => node.child(name),
        own => (own == name).then_some(node),
    }
}

fn is_hidden(run: Node<'_>) -> bool {
    run.child("rPr")
        .and_then(|properties| properties.child("vanish"))
        .is_some_and(|vanish| !matches!(vanish.attribute("val"), Some("0" | "false")))
}

/// Of the same thing in several ways, the first.
fn chosen(node: Node<'_>) -> Node<'_> {
    node.child("Choice").or_else(|| node.child("Fallback")).unwrap_or(node)
}
