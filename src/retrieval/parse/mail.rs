//! E-mail messages: as they travel (RFC 5322 with MIME) and as Outlook saves them ([MS-OXMSG]).

use super::builder::Builder;
use super::compound::Compound;
use super::{DocumentFault, ParsedDocument, parse_html};
use mail_parser::{Address, MessageParser, MimeHeaders};

/// Attachments that are named.
const MAX_ATTACHMENTS: usize = 50;

/// Parses a message as it travels.
///
/// # Errors
/// `Broken`, `Empty`.
pub(super) fn parse_eml(bytes: &[u8]) -> Result<ParsedDocument, DocumentFault> {
    let message = MessageParser::default()
        .parse(bytes)
        .ok_or_else(|| DocumentFault::broken("it has no header of an e-mail message"))?;
    let mut builder = Builder::default();
    let date = message
        .date()
        .map(|date| format!("{:04}-{:02}-{:02}", date.year, date.month, date.day));
    write_head(
        &mut builder,
        message.subject().unwrap_or_default(),
        &addresses(message.from()),
        &addresses(message.to()),
        &date.unwrap_or_default(),
    );
    let mut has_text = false;
    let html = message
        .html_bodies()
        .next()
        .is_some_and(mail_parser::MessagePart::is_text_html);
    if html {
        for number in 0..message.html_body_count() {
            if let Some(html) = message.body_html(number)
                && let Ok(page) = parse_html(&html)
            {
                has_text |= !page.blocks.is_empty();
                builder.append(&page, 1);
            }
        }
    }
    if !has_text {
        for number in 0..message.text_body_count() {
            if let Some(text) = message.body_text(number) {
                write_text(&mut builder, &text);
            }
        }
    }
    for attachment in message.attachments().take(MAX_ATTACHMENTS) {
        if let Some(name) = attachment.attachment_name() {
            builder.item(0, "-", &format!("附件 (attachment): {name}"));
        }
    }
    builder.finish()
}

fn addresses(address: Option<&Address<'_>>) -> String {
    let named = |(name, address): (Option<&str>, Option<&str>)| match (name, address) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => name.or(address).unwrap_or_default().to_owned(),
    };
    let all = address.into_iter().flat_map(|address| address.iter());
    let all: Vec<String> = all.take(20).map(|one| named((one.name(), one.address()))).collect();
    all.join(", ")
}

fn write_head(builder: &mut Builder, subject: &str, from: &str, to: &str, date: &str) {
    builder.title(subject);
    builder.heading(1, subject);
    let lines: Vec<String> = [("From", from), ("To", to), ("Date", date)]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    builder.paragraph(&lines.join("\n"));
}

/// Plain text: paragraphs by blank lines.
fn write_text(builder: &mut Builder, text: &str) {
    let text = text.replace("\r\n", "\n");
    let mut paragraph = String::new();
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() {
            builder.paragraph(&paragraph);
            paragraph.clear();
        } else {
            paragraph.push_str(line);
            paragraph.push('\n');
        }
    }
}

/// Parses a message as Outlook saves it.
///
/// # Errors
/// `Broken`, `TooLarge`, `Empty`.
pub(super) fn parse_msg(bytes: &[u8]) -> Result<ParsedDocument, DocumentFault> {
    let mut file = Compound::open(bytes)?;
    // Properties by number (MS-OXPROPS): subject, sender, recipients, body as text and as HTML.
    let subject = file.property("", 0x0037)?;
    let sender = file.property("", 0x0c1a)?;
    let to = file.property("", 0x0e04)?;
    let body = file.property("", 0x1000)?;
    let html = file.binary("", 0x1013)?;
    let mut builder = Builder::default();
    write_head(&mut builder, &subject, &sender, &to, "");
    if body.trim().is_empty() {
        let html = html.and_then(|html| super::decode_html(&html).ok());
        if let Some(page) = html.and_then(|html| parse_html(&html.text).ok()) {
            builder.append(&page, 1);
        }
    } else {
        write_text(&mut builder, &body);
    }
    for storage in file.storages("__attach_").into_iter().take(MAX_ATTACHMENTS) {
        let name = match file.property(&storage, 0x3707)? {
            name if name.is_empty() => file.property(&storage, 0x3704)?,
            name => name,
        };
        if !name.is_empty() {
            builder.item(0, "-", &format!("附件 (attachment): {name}"));
        }
    }
    builder.finish()
}
