//! Texts in Chinese and English, with placeholders in braces.

use crate::domain::Language;
use regex::Regex;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::LazyLock;

static PLACEHOLDER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{([a-z_][a-z0-9_]*(?:\.[A-Za-z0-9_]+)*)\}").expect("a fixed pattern"));

/// Characters of a text in a flow.
pub const MAX_TEXT_CHARS: usize = 2000;

/// A text in both languages. In a file: `{ zh = "…", en = "…" }`, one of both, or plain words that stand for both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Text {
    /// In Chinese.
    pub zh: String,
    /// In English.
    pub en: String,
}

impl Text {
    /// In that language.
    #[must_use]
    pub fn get(&self, language: Language) -> &str {
        match language {
            Language::Zh => &self.zh,
            Language::En => &self.en,
        }
    }

    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.zh.is_empty()
    }

    /// The names in its placeholders, of both languages.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        names(&self.zh).chain(names(&self.en))
    }
}

/// The names in the placeholders of `template`.
pub fn names(template: &str) -> impl Iterator<Item = &str> {
    PLACEHOLDER
        .captures_iter(template)
        .filter_map(|captures| captures.get(1).map(|name| name.as_str()))
}

/// `template` with each placeholder replaced by what `value` says; what it does not know becomes empty. What is put in is not read
/// for placeholders again.
pub fn fill(template: &str, mut value: impl FnMut(&str) -> Option<String>) -> String {
    PLACEHOLDER
        .replace_all(template, |captures: &regex::Captures<'_>| {
            value(&captures[1]).unwrap_or_default()
        })
        .into_owned()
}

/// What is wrong with a template, in words.
#[must_use]
pub fn fault(template: &str) -> Option<String> {
    if template.chars().count() > MAX_TEXT_CHARS {
        return Some(format!("a text has more than {MAX_TEXT_CHARS} characters"));
    }
    let rest = PLACEHOLDER.replace_all(template, "");
    rest.contains(['{', '}'])
        .then(|| format!("a brace is no part of a placeholder such as {{order}} in \"{template}\""))
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or { zh = \"…\", en = \"…\" }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text {
                    zh: text.to_owned(),
                    en: text.to_owned(),
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                let (mut zh, mut en): (Option<String>, Option<String>) = (None, None);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "zh" => zh = Some(map.next_value()?),
                        "en" => en = Some(map.next_value()?),
                        other => return Err(A::Error::unknown_field(other, &["zh", "en"])),
                    }
                }
                let (Some(zh), en) = (zh.clone().or_else(|| en.clone()), en) else {
                    return Err(A::Error::missing_field("zh"));
                };
                let en = en.unwrap_or_else(|| zh.clone());
                Ok(Text { zh, en })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::{fault, fill, names};

    #[test]
    fn placeholders_are_filled_once() {
        let text = fill("{a} {b.c} {d}", |name| (name != "d").then(|| format!("<{name}{{a}}>")));
        assert_eq!(text, "<a{a}> <b.c{a}> ");
        assert_eq!(names("{a} {b.c}").collect::<Vec<_>>(), ["a", "b.c"]);
        assert!(fault("{a}").is_none());
        assert!(fault("{a").is_some() && fault("{A b}").is_some());
    }
}
