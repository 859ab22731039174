//! What of a passage is embedded and indexed: its titles and words, without markup that only a renderer needs. A
//! link's address or an exporter's anchor would cost tokens and pull the vector towards nothing anybody asks for.

use crate::domain::{Faq, Passage};
use regex::Regex;
use std::sync::LazyLock;

/// The text of a passage as it is embedded and searched: the titles, then the text without markup.
#[must_use]
pub fn searchable_passage(passage: &Passage) -> String {
    let body = plain(&passage.text);
    // A passage begins with its own heading, which is the last of the titles too.
    let body = match passage.title_path.last() {
        Some(title) => body
            .strip_prefix(title.as_str())
            .filter(|rest| rest.starts_with('\n'))
            .unwrap_or(&body),
        None => &body,
    };
    format!("{}\n{}", passage.title_path.join(" "), body.trim_start())
}

/// The text of a FAQ as it is found like a passage: question and answer.
#[must_use]
pub fn searchable_faq(faq: &Faq) -> String {
    format!("{}\n{}", faq.question, plain(&faq.answer))
}

static MARKUP: LazyLock<[(Regex, &'static str); 8]> = LazyLock::new(|| {
    let regex = |pattern: &str| Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"));
    [
        // {#anchor .class}
        (regex(r"[ \t]*\{[ \t]*[#.:][^{}\n]{0,200}\}"), ""),
        // ![picture](address) and [link](address)
        (regex(r"!?\[([^\[\]\n]{0,300})\]\([^()\n]{0,1000}\)"), "$1"),
        // <tag attribute="...">
        (regex(r"</?[A-Za-z][^<>\n]{0,500}>"), " "),
        // The rule below a table's header, and horizontal rules.
        (
            regex(r"(?m)^[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-*:?[ \t]*)*$\n?"),
            "",
        ),
        // Heading and quotation marks at the beginning of a line.
        (regex(r"(?m)^[ \t]*(?:#{1,6}[ \t]+|>[ \t]?)"), ""),
        // Escapes.
        (regex(r"\\([\\`*_{}\[\]()#+.!|<>~-])"), "$1"),
        // Strong emphasis and code.
        (regex(r"\*\*|__|`+"), ""),
        (regex(r"[ \t\u{a0}\u{3000}]{2,}"), " "),
    ]
});

/// `text` without Markdown and inline HTML markup.
#[must_use]
pub(super) fn plain(text: &str) -> String {
    let mut plain = text.to_owned();
    for (pattern, replacement) in MARKUP.iter() {
        if let std::borrow::Cow::Owned(changed) = pattern.replace_all(&plain, *replacement) {
            plain = changed;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DocumentId, PassageId};

    #[test]
    fn markup_goes_and_words_stay() {
        let text = "## 交易费用 {#section_ffn .section}\n\n在**万网** \\> [域名](https://x.cn/a?b=c)中查看 `A-1`。\n\
                    ![图](http://oss/1.png)\n\n|出价|幅度|\n|:---|---:|\n|1-49|1|\n<a id=\"x\"></a>下一步\n---\n";
        let passage = Passage {
            id: PassageId::new(),
            document_id: DocumentId::new(),
            ordinal: 0,
            title_path: vec!["域名".to_owned(), "交易费用".to_owned()],
            text: text.to_owned(),
            page: None,
            start: 0,
            end: text.len(),
        };
        assert_eq!(
            searchable_passage(&passage),
            "域名 交易费用\n在万网 > 域名中查看 A-1。\n图\n\n|出价|幅度|\n|1-49|1|\n 下一步\n"
        );
    }

    #[test]
    fn text_without_markup_is_left_alone() {
        let text = "a < b, x_y_z, 3 * 4 = 12, C:\\temp 1. 第一";
        assert_eq!(plain(text), text);
    }
}
