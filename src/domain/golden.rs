//! Questions whose right answer is known: they are asked before anything is published.

use super::GoldenId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a right answer has. Of what is given all must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expectation {
    /// The source of a document that must be among those cited; its end is enough (`fees.md` for `kb/docs/fees.md`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The key of a FAQ that must be among those cited. With a source too, one of the two is enough.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faq_key: Option<String>,
    /// Words that the answer must have, all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contains: Vec<String>,
    /// Whether the question must not be answered: refused, asked back, or given to a person.
    #[serde(skip_serializing_if = "is_false")]
    pub refuse: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl Expectation {
    /// What is wrong with it, in words; `None` if nothing is.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        let expects = self.source.is_some() || self.faq_key.is_some() || !self.contains.is_empty();
        match (self.refuse, expects) {
            (true, true) => Some("either refuse is true, or a source, FAQ or words are expected"),
            (false, false) => Some("say what is expected: source, faq_key, contains, or refuse"),
            _ => None,
        }
    }

    /// Whether the document of that source is the expected one.
    #[must_use]
    pub fn names_document(&self, source: &str) -> bool {
        self.source.as_deref().is_some_and(|wanted| {
            source
                .strip_suffix(wanted)
                .is_some_and(|before| before.is_empty() || before.ends_with('/'))
        })
    }

    /// Whether the FAQ of that key is the expected one.
    #[must_use]
    pub fn names_faq(&self, key: &str) -> bool {
        self.faq_key.as_deref() == Some(key)
    }
}

/// A question whose right answer is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoldenQuestion {
    /// Its identifier; kept when the same question is given again.
    pub id: GoldenId,
    /// The customer's words. Unique.
    pub question: String,
    /// What a right answer has.
    pub expect: Expectation,
    /// Who gave it.
    pub author: String,
    /// When.
    pub created_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::Expectation;

    #[test]
    fn an_expectation_says_one_thing() {
        let read = |text: &str| serde_json::from_str::<Expectation>(text).unwrap();
        assert!(read("{}").fault().is_some());
        assert!(read("{\"refuse\":true,\"faq_key\":\"a\"}").fault().is_some());
        assert!(read("{\"refuse\":true}").fault().is_none() && read("{\"contains\":[\"a\"]}").fault().is_none());
        let source = read("{\"source\":\"docs/fees.md\"}");
        assert!(source.names_document("kb/docs/fees.md") && source.names_document("docs/fees.md"));
        assert!(!source.names_document("kb/otherdocs/fees.md") && !source.names_document("fees.md"));
    }
}
