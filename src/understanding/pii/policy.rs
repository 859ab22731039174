//! What happens to each kind: data, not code. Every company has its own rules.

use super::Kind;
use crate::domain::Language;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The policy that holds where no other is named.
pub const DEFAULT_POLICY: &str = include_str!("policy.toml");

/// An example of another policy: a bank that shows less.
pub const BANK_POLICY: &str = include_str!("policy-bank.toml");

/// The most of a value that may stay readable at one end, in percent.
const MOST_SHOWN: usize = 70;

/// What becomes of what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It stays as it is.
    Keep,
    /// A mask takes its place; the clear value goes into the vault.
    Mask,
    /// A mask takes its place, and the clear value is forgotten.
    Drop,
}

/// The rule for one kind.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What becomes of it.
    pub action: Action,
    /// Characters that stay readable at the beginning.
    #[serde(default)]
    pub keep_first: usize,
    /// Characters that stay readable at the end.
    #[serde(default)]
    pub keep_last: usize,
    /// The share of the value that stays readable at each end at most, in percent; what is short shows less.
    #[serde(default = "percent")]
    pub keep_percent: usize,
    /// Of an e-mail address, whether what follows the @ stays readable.
    #[serde(default)]
    pub keep_domain: bool,
    /// Of an address, whether province, city and district stay readable.
    #[serde(default)]
    pub keep_district: bool,
    /// Whether the mask names the kind: `[姓名:王**]` instead of `王**`.
    #[serde(default)]
    pub label: bool,
}

fn percent() -> usize {
    40
}

/// The rules for all kinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    rules: BTreeMap<Kind, Rule>,
    public_numbers: Vec<String>,
    documents: Vec<Kind>,
}

/// What is wrong with a policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is no TOML, or has unknown keys.
    #[error("the privacy policy cannot be read: {0}")]
    Format(#[from] toml::de::Error),
    /// A kind has no rule.
    #[error("the privacy policy has no rule for {0}; add [kinds.{0}] with action = \"keep\", \"mask\" or \"drop\"")]
    Missing(&'static str),
    /// Secrets would be kept.
    #[error("the privacy policy must drop secrets: set action = \"drop\" in [kinds.secret]")]
    Secrets,
    /// A mask shows everything.
    #[error("keep_percent of [kinds.{0}] must lie between 0 and 70")]
    Shown(&'static str),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    public_numbers: Vec<String>,
    #[serde(default = "documents")]
    documents: Vec<Kind>,
    kinds: BTreeMap<Kind, Rule>,
}

/// What is masked in documents where a policy says nothing of them.
fn documents() -> Vec<Kind> {
    vec![Kind::IdCard, Kind::Permit, Kind::BankCard]
}

impl Policy {
    /// The policy written in `toml`.
    ///
    /// # Errors
    /// Where it is no such file, a kind is missing, a secret would stay, or a mask would hide nothing.
    pub fn parse(toml: &str) -> Result<Self, PolicyError> {
        let File {
            public_numbers,
            documents,
            kinds,
        } = toml::from_str(toml)?;
        for kind in Kind::ALL {
            let rule = kinds.get(&kind).ok_or(PolicyError::Missing(kind.name()))?;
            if rule.keep_percent > MOST_SHOWN {
                return Err(PolicyError::Shown(kind.name()));
            }
        }
        if kinds.get(&Kind::Secret).is_none_or(|rule| rule.action != Action::Drop) {
            return Err(PolicyError::Secrets);
        }
        let digits = |number: &String| number.chars().filter(char::is_ascii_digit).collect();
        Ok(Self {
            rules: kinds,
            documents,
            public_numbers: public_numbers.iter().map(digits).collect(),
        })
    }

    /// The policy for what is written in documents and FAQs: kinds that it does not name stay, secrets too ("the first password is
    /// the last six digits of your card").
    #[must_use]
    pub fn for_documents(&self) -> Self {
        let mut policy = self.clone();
        for (kind, rule) in &mut policy.rules {
            if !self.documents.contains(kind) {
                rule.action = Action::Keep;
            }
        }
        policy
    }

    /// What becomes of a kind.
    #[must_use]
    pub fn action(&self, kind: Kind) -> Action {
        self.rules.get(&kind).map_or(Action::Drop, |rule| rule.action)
    }

    /// Whether `value` is one of the company's own numbers, which everybody may know.
    pub(super) fn is_public(&self, value: &str) -> bool {
        let digits: String = value.chars().filter(char::is_ascii_digit).collect();
        !digits.is_empty() && self.public_numbers.contains(&digits)
    }

    /// What takes the place of `value`, as it is read (folded). `district` is how many of its characters name province, city and district.
    pub(super) fn mask(&self, kind: Kind, value: &str, district: usize, language: Language) -> String {
        let Some(rule) = self.rules.get(&kind) else {
            return kind.dropped(language);
        };
        if rule.action == Action::Drop {
            return kind.dropped(language);
        }
        let plain: Vec<char> = value
            .chars()
            .filter(|c| c.is_alphanumeric() || kind == Kind::Email && !c.is_whitespace() || kind == Kind::Ip)
            .collect();
        let masked = if kind == Kind::Email && rule.keep_domain {
            let at = plain.iter().rposition(|c| *c == '@').unwrap_or(plain.len());
            let domain: String = plain[at..].iter().collect();
            format!("{}{domain}", ends(&plain[..at], rule.keep_first.min(1), 0))
        } else if kind == Kind::Address && rule.keep_district {
            let shown: String = value.chars().take(district).collect();
            format!("{shown}***")
        } else {
            let most = plain.len() * rule.keep_percent / 100;
            let first = rule.keep_first.min(if kind == Kind::Name { 1 } else { most });
            ends(&plain, first, rule.keep_last.min(most))
        };
        if rule.label {
            format!("[{}:{masked}]", kind.word(language))
        } else {
            masked
        }
    }
}

impl Default for Policy {
    /// [`DEFAULT_POLICY`].
    fn default() -> Self {
        Self::parse(DEFAULT_POLICY).unwrap_or(Self {
            // Unreachable (a test reads the file): without rules everything is dropped.
            rules: BTreeMap::new(),
            documents: Vec::new(),
            public_numbers: Vec::new(),
        })
    }
}

/// The ends of a value, with stars between: as many as are hidden, but at least two and at most eight.
fn ends(value: &[char], first: usize, last: usize) -> String {
    // A quarter is hidden whatever the rule says.
    let first = first.min(value.len() - value.len().div_ceil(4));
    let last = last.min(value.len() - value.len().div_ceil(4) - first);
    let hidden = value.len() - first - last;
    let first: String = value[..first.min(value.len())].iter().collect();
    let last: String = value[value.len() - last.min(value.len())..].iter().collect();
    format!("{first}{}{last}", "*".repeat(hidden.clamp(2, 8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_data() {
        let own = Policy::default();
        let bank = Policy::parse(BANK_POLICY).unwrap();
        for (kind, value, ours, theirs) in [
            (Kind::Mobile, "138 1234-5678", "138****5678", "138****5678"),
            (
                Kind::IdCard,
                "11010119900307123X",
                "110101********123X",
                "110101199003******",
            ),
            (
                Kind::BankCard,
                "6222021234567890123",
                "622202********0123",
                "[银行卡:********0123]",
            ),
            (Kind::Name, "王小明", "[姓名:王**]", "[姓名:王**]"),
            (
                Kind::Email,
                "zhang.san@163.com",
                "z********@163.com",
                "z********@163.com",
            ),
            (Kind::Secret, "abc123", "[密码已删除]", "[密码已删除]"),
        ] {
            assert_eq!(own.mask(kind, value, 0, Language::Zh), ours, "{kind:?}");
            assert_eq!(bank.mask(kind, value, 0, Language::Zh), theirs, "{kind:?}");
        }
        assert_eq!(
            own.mask(Kind::Address, "北京市朝阳区建国路5号", 6, Language::Zh),
            "[地址:北京市朝阳区***]"
        );
        assert_eq!(own.mask(Kind::Name, "John Smith", 0, Language::En), "[name:J********]");
        assert_eq!(own.mask(Kind::Qq, "12345", 0, Language::Zh), "1**45");
    }

    #[test]
    fn a_policy_that_keeps_secrets_is_refused() {
        let kept = DEFAULT_POLICY.replace("action = \"drop\"", "action = \"keep\"");
        assert!(matches!(Policy::parse(&kept), Err(PolicyError::Secrets)));
        assert!(matches!(
            Policy::parse("kinds = {}"),
            Err(PolicyError::Missing("secret"))
        ));
        assert!(matches!(Policy::parse("x = 1"), Err(PolicyError::Format(_))));
    }
}
