//! Presentations (ECMA-376, `PresentationML`): one page a slide; titles, text, tables and the speaker's notes.

use super::archive::{Archive, relationships};
use super::builder::Builder;
use super::xml::{Node, Tree};
use super::{DocumentFault, ParsedDocument};

/// Parses a presentation.
///
/// # Errors
/// `Broken`, `TooLarge`, `Empty`.
pub(super) fn parse_pptx(bytes: &[u8]) -> Result<ParsedDocument, DocumentFault> {
    let mut archive = Archive::open(bytes)?;
    let main = relationships(&mut archive, "")?
        .into_values()
        .find(|(_, kind)| kind == "officeDocument")
        .map_or_else(|| "ppt/presentation.xml".to_owned(), |(target, _)| target);
    let parts = relationships(&mut archive, &main)?;
    let presentation = Tree::parse(&archive.read(&main)?)?;
    let mut builder = Builder::default();
    let slides = presentation.root().find("sldIdLst");
    for slide in slides.into_iter().flat_map(Node::children) {
        // The slide's own id comes before that of its relationship and has the same name without prefix.
        let Some((target, _)) = relationship_id(slide).and_then(|id| parts.get(id)) else {
            continue;
        };
        builder.page();
        let Some(bytes) = archive.read_if_there(target)? else {
            continue;
        };
        let tree = Tree::parse(&bytes)?;
        if tree.root().attribute("show") == Some("0") || builder.is_full() {
            continue;
        }
        let tree_of_shapes = tree.root().find("spTree");
        if let Some(shapes) = tree_of_shapes {
            titles(shapes, &mut builder);
            write_shapes(shapes, &mut builder);
        }
        let notes = relationships(&mut archive, target)?
            .into_values()
            .find(|(_, kind)| kind == "notesSlide");
        if let Some((target, _)) = notes
            && let Some(bytes) = archive.read_if_there(&target)?
        {
            let tree = Tree::parse(&bytes)?;
            for shape in tree.root().descendants().filter(|node| node.name() == "sp") {
                if placeholder(shape) == Some("body") {
                    builder.paragraph(
                        &paragraphs(shape)
                            .iter()
                            .map(|p| p.1.as_str())
                            .collect::<Vec<_>>()
                            .join("\n"),
                    );
                }
            }
        }
    }
    builder.finish()
}

fn relationship_id(slide: Node<'_>) -> Option<&str> {
    slide
        .attributes()
        .filter(|(name, _)| *name == "id")
        .map(|(_, value)| value)
        .last()
}

/// The kind of a placeholder; `obj` for one without a kind, `None` for a shape that is none.
fn placeholder(shape: Node<'_>) -> Option<&str> {
    let properties = shape.children().find(|node| node.name() == "nvSpPr")?;
    Some(properties.find("ph")?.attribute("type").unwrap_or("obj"))
}

fn is_title(shape: Node<'_>) -> bool {
    matches!(placeholder(shape), Some("title" | "ctrTitle"))
}

fn titles(shapes: Node<'_>, builder: &mut Builder) {
    for shape in shapes
        .descendants()
        .filter(|node| node.name() == "sp" && is_title(*node))
    {
        let text: Vec<String> = paragraphs(shape).into_iter().map(|(_, text)| text).collect();
        builder.heading(1, &text.join(" "));
    }
}

fn write_shapes(shapes: Node<'_>, builder: &mut Builder) {
    for shape in shapes.children() {
        match shape.name() {
            "sp" if !is_title(shape) => {
                // Numbers of slides, dates and footers stand on every slide.
                if matches!(placeholder(shape), Some("sldNum" | "dt" | "ftr" | "hdr")) {
                    continue;
                }
                let paragraphs = paragraphs(shape);
                let is_list = matches!(placeholder(shape), Some("body" | "obj")) && paragraphs.len() > 1;
                for (level, text) in paragraphs {
                    if is_list {
                        builder.item(level, "-", &text);
                    } else {
                        builder.paragraph(&text);
                    }
                }
            }
            "grpSp" => write_shapes(shape, builder),
            "AlternateContent" => {
                if let Some(choice) = shape.child("Choice").or_else(|| shape.child("Fallback")) {
                    write_shapes(choice, builder);
                }
            }
            "graphicFrame" => {
                if let Some(table) = shape.find("tbl") {
                    builder.table(&rows(table));
                } else {
                    // Diagrams and charts keep their words in parts of their own; what stands here is shown.
                    for (_, text) in paragraphs(shape) {
                        builder.paragraph(&text);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The paragraphs that say something, with their level from 0.
fn paragraphs(shape: Node<'_>) -> Vec<(usize, String)> {
    shape
        .descendants()
        .filter(|node| node.name() == "p")
        .map(|paragraph| {
            let level = paragraph
                .child("pPr")
                .and_then(|properties| properties.attribute("lvl"))
                .and_then(|level| level.parse().ok())
                .unwrap_or(0);
            (level, inline(paragraph))
        })
        .filter(|(_, text)| !text.trim().is_empty())
        .collect()
}

fn inline(paragraph: Node<'_>) -> String {
    let mut text = String::new();
    for node in paragraph.descendants() {
        match node.name() {
            "t" => text.push_str(&node.text()),
            "br" => text.push('\n'),
            "tab" if node.attribute("pos").is_none() => text.push('\t'),
            _ => {}
        }
    }
    text
}

fn rows(table: Node<'_>) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for row_node in table.children().filter(|node| node.name() == "tr") {
        let mut row = Vec::new();
        for cell in row_node.children().filter(|node| node.name() == "tc") {
            let above = rows.last().and_then(|above| above.get(row.len()));
            let text = match above {
                Some(above) if cell.attribute("vMerge") == Some("1") => above.clone(),
                _ => paragraphs(cell)
                    .into_iter()
                    .map(|(_, text)| text)
                    .collect::<Vec<_>>()
                    .join("\n"),
            };
            row.push(text);
        }
        rows.push(row);
    }
    rows
}
