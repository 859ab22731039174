//! The block of keys at the top of a text file: its title, and whom it is meant for. It describes the document and is not part
//! of what customers may be told.

use super::scope::read_scope;
use super::title_line;
use crate::domain::Scope;
use crate::retrieval::RetrievalError;
use std::fmt::Write;

/// Lines of a front matter at most: a rule at the top of a text without one also looks like a fence.
const MAX_LINES: usize = 200;

/// The keys that say whom a document is meant for, in the order of [`read_scope`].
const SCOPE_KEYS: [&[&str]; 4] = [
    &["effective_from"],
    &["expires_at"],
    &["audience", "audiences"],
    &["channel", "channels"],
];

/// What stands at the top of a text file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrontMatter {
    /// The title, if it gives one.
    pub title: Option<String>,
    /// Where the text behind it begins; 0 if there is no front matter.
    pub body_start: usize,
    /// The line and the value of each key of a scope that is there.
    scope: [Option<(u64, String)>; 4],
}

impl FrontMatter {
    /// Whether it has a key that means something here.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.title.is_some() || self.scope.iter().any(Option::is_some)
    }

    /// Whom the document is meant for; `None` if it says nothing of that.
    ///
    /// # Errors
    /// [`RetrievalError::BadScope`].
    pub fn scope(&self) -> Result<Option<Scope>, RetrievalError> {
        let Some(line) = self.scope.iter().flatten().map(|(line, _)| *line).min() else {
            return Ok(None);
        };
        let values = self
            .scope
            .each_ref()
            .map(|field| field.as_ref().map_or("", |(_, value)| value.as_str()));
        // The line at fault, where one key alone is wrong.
        for (number, value) in values.iter().enumerate() {
            let mut alone = [""; 4];
            alone[number] = value;
            if let Err(detail) = read_scope(alone) {
                let line = self.scope[number].as_ref().map_or(line, |(line, _)| *line);
                return Err(RetrievalError::BadScope { line, detail });
            }
        }
        read_scope(values)
            .map(Some)
            .map_err(|detail| RetrievalError::BadScope { line, detail })
    }
}

/// Reads the YAML (`---`) or TOML (`+++`) block at the top, as far as it is lines of `key: value`, or a key with a list of
/// `- value`.
#[must_use]
pub fn front_matter(text: &str) -> FrontMatter {
    let mut found = FrontMatter::default();
    let Some(fence @ ("---" | "+++")) = text.lines().next().map(str::trim_end) else {
        return found;
    };
    let (mut at, mut list): (usize, Option<usize>) = (0, None);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        at += line.len();
        let line = line.trim_end();
        if number > 0 && (line == fence || (fence == "---" && line == "...")) {
            found.body_start = at;
            return found;
        }
        // Front matter has only short lines of keys and no blank line at its start.
        if number > MAX_LINES || (number == 1 && line.is_empty()) {
            break;
        }
        if let (Some(field), Some(item)) = (list, line.trim_start().strip_prefix("- ")) {
            if let Some((_, value)) = &mut found.scope[field] {
                let _ = write!(value, "{}|", unquoted(item));
            }
            continue;
        }
        list = None;
        let Some((key, value)) = line.split_once([':', '=']) else {
            continue;
        };
        let (key, value) = (key.trim_end(), value.trim());
        if key == "title" {
            let value = title_line(unquoted(value));
            found.title = (!value.is_empty()).then_some(value);
        } else if let Some(field) = SCOPE_KEYS.iter().position(|names| names.contains(&key)) {
            let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let value = match inner {
                Some(items) => items.split(',').map(unquoted).collect::<Vec<_>>().join("|"),
                None => unquoted(value).to_owned(),
            };
            found.scope[field] = Some((number as u64 + 1, value));
            list = Some(field);
        }
    }
    FrontMatter::default()
}

fn unquoted(value: &str) -> &str {
    value.trim().trim_matches(['"', '\'']).trim()
}

/// `text` with a front matter that says `scope`; with `titled`, and where one is made anew, `title` too. A text that says so already
/// is given back as it is.
#[must_use]
pub fn with_scope(text: &str, title: &str, scope: &Scope, titled: bool) -> String {
    // What was read out of another format begins as it likes: nothing in it is front matter.
    let found = if titled {
        FrontMatter::default()
    } else {
        front_matter(text)
    };
    let said = found.scope().ok().flatten();
    if !titled && said.unwrap_or_default() == *scope {
        return text.to_owned();
    }
    let (block, body) = text.split_at(found.body_start);
    let mut head = String::from("---\n");
    if found.title.is_none() {
        let _ = writeln!(head, "title: {}", title_line(title));
    }
    let mut dropping = false;
    for line in block
        .lines()
        .skip(1)
        .filter(|line| !matches!(line.trim_end(), "---" | "+++" | "..."))
    {
        let is_item = line.trim_start().starts_with("- ");
        if !is_item {
            let key = line.split([':', '=']).next().unwrap_or_default().trim_end();
            dropping = SCOPE_KEYS.iter().any(|names| names.contains(&key));
        }
        if !dropping {
            head.push_str(line);
            head.push('\n');
        }
    }
    head.push_str(&scope_lines(scope));
    head.push_str("---\n");
    head.push_str(body);
    head
}

/// The lines that say `scope` in a front matter; empty where it limits nothing.
fn scope_lines(scope: &Scope) -> String {
    let mut lines = String::new();
    let moments = [
        ("effective_from", scope.effective_from),
        ("expires_at", scope.expires_at),
    ];
    for (key, moment) in moments {
        if let Some(moment) = moment {
            let _ = writeln!(lines, "{key}: {moment}");
        }
    }
    for (key, names) in [("audience", &scope.audiences), ("channel", &scope.channels)] {
        if !names.is_empty() {
            let _ = writeln!(lines, "{key}: {}", names.join("; "));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_matter_says_whom_a_document_is_meant_for() {
        let text = "---\ntitle: \"费率\"\neffective_from: 2026-12-01T00:00:00Z\naudience: [vip, 'staff']\nchannel:\n  - web\n  - phone\n\
                    other: x\n---\n# 正文\n";
        let front = front_matter(text);
        assert_eq!(
            (front.title.as_deref(), &text[front.body_start..]),
            (Some("费率"), "# 正文\n")
        );
        let scope = front.scope().unwrap().unwrap();
        assert_eq!(scope.effective_from, Some("2026-12-01T00:00:00Z".parse().unwrap()));
        assert_eq!(
            (&scope.audiences[..], &scope.channels[..]),
            (&["vip".into(), "staff".into()][..], &["web".into(), "phone".into()][..])
        );
        let again = front_matter(&format!("---\n{}---\n", scope_lines(&scope)));
        assert_eq!(again.scope().unwrap(), Some(scope));
        assert_eq!(front_matter("+++\ntitle = 'x'\n+++\n").scope().unwrap(), None);
    }

    #[test]
    fn a_scope_is_written_where_it_is_read() {
        let scope = Scope {
            expires_at: Some("2027-01-01T00:00:00Z".parse().unwrap()),
            channels: vec!["web".to_owned()],
            ..Scope::default()
        };
        for text in [
            "# a\n",
            "---\ntitle: t\nother: x\naudience:\n  - vip\n---\n# a\n",
            "plain\n",
        ] {
            let written = with_scope(text, "a", &scope, false);
            let front = front_matter(&written);
            assert_eq!(front.scope().unwrap().as_ref(), Some(&scope), "{written}");
            assert_eq!(with_scope(&written, "a", &scope, false), written);
            let open = with_scope(&written, "a", &Scope::default(), false);
            assert_eq!(front_matter(&open).scope().unwrap(), None, "{open}");
            assert!(open.contains("a\n") && open.contains("other: x") == text.contains("other: x"));
        }
        assert_eq!(with_scope("text", "a", &Scope::default(), false), "text");
        assert_eq!(
            with_scope("text", "a", &Scope::default(), true),
            "---\ntitle: a\n---\ntext"
        );
    }

    #[test]
    fn what_is_no_front_matter_is_text() {
        for text in [
            "",
            "---",
            "---\n\ntext\n---\n",
            "text\n---\naudience: x\n---\n",
            "---\naudience: x\n",
        ] {
            assert_eq!(front_matter(text), FrontMatter::default(), "{text:?}");
        }
        let wrong = front_matter("---\naudience: a\nexpires_at: soon\n---\n")
            .scope()
            .unwrap_err();
        assert!(
            matches!(&wrong, RetrievalError::BadScope { line: 3, detail } if detail.contains("soon")),
            "{wrong}"
        );
    }
}
