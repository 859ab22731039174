//! Who may be told a piece of knowledge, where, and when.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What limits a document or a FAQ. The default limits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// The first moment at which it holds; `None`: it always did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_from: Option<Timestamp>,
    /// The first moment at which it holds no more; `None`: it always will.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Groups of customers it is meant for, one of which an asker must belong to; empty: everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// Channels it may be told on; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<String>,
}

/// Who asks, where, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The present moment.
    pub now: Timestamp,
    /// The groups of customers the asker belongs to.
    pub audiences: Vec<String>,
    /// The channel the answer goes to; `None` where it goes to no customer, who then sees what is on any channel.
    pub channel: Option<String>,
}

impl Viewer {
    /// Somebody of no group, on no channel.
    #[must_use]
    pub fn anybody(now: Timestamp) -> Self {
        Self {
            now,
            audiences: Vec::new(),
            channel: None,
        }
    }
}

/// Names of groups, or of channels, that a scope may have.
const MAX_NAMES: usize = 32;

/// Characters of such a name.
const MAX_NAME_CHARS: usize = 100;

impl Scope {
    /// What is wrong with it, in words; `None` if nothing is.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        if let (Some(from), Some(end)) = (self.effective_from, self.expires_at)
            && from >= end
        {
            return Some(format!("it expires at {end}, before it takes effect at {from}"));
        }
        for (what, names) in [("audience", &self.audiences), ("channel", &self.channels)] {
            if names.len() > MAX_NAMES {
                return Some(format!("more than {MAX_NAMES} names in {what}"));
            }
            let fits = |name: &String| !name.trim().is_empty() && name.chars().nth(MAX_NAME_CHARS).is_none();
            if !names.iter().all(fits) {
                return Some(format!("a name in {what} has 1 to {MAX_NAME_CHARS} characters"));
            }
        }
        None
    }

    /// Whether it limits nothing.
    #[must_use]
    pub fn is_open(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `viewer` may be told.
    #[must_use]
    pub fn admits(&self, viewer: &Viewer) -> bool {
        let started = self.effective_from.is_none_or(|from| from <= viewer.now);
        let ended = self.expires_at.is_some_and(|end| end <= viewer.now);
        let audience = self.audiences.is_empty()
            || self
                .audiences
                .iter()
                .any(|audience| viewer.audiences.contains(audience));
        let channel = self.channels.is_empty()
            || viewer
                .channel
                .as_ref()
                .is_none_or(|channel| self.channels.contains(channel));
        started && !ended && audience && channel
    }
}

#[cfg(test)]
mod tests {
    use super::{Scope, Viewer};
    use jiff::Timestamp;

    #[test]
    fn a_scope_admits_from_its_first_to_its_last_moment() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let scope = Scope {
            effective_from: Some(at(10)),
            expires_at: Some(at(20)),
            ..Scope::default()
        };
        let admitted: Vec<bool> = [9, 10, 19, 20]
            .map(|second| scope.admits(&Viewer::anybody(at(second))))
            .to_vec();
        assert_eq!(admitted, [false, true, true, false]);
        assert!(Scope::default().is_open() && !scope.is_open());
    }

    #[test]
    fn audiences_and_channels_are_lists_of_which_one_must_fit() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let scope = Scope {
            audiences: words(&["vip", "staff"]),
            channels: words(&["web"]),
            ..Scope::default()
        };
        let viewer = |audiences: &[&str], channel: Option<&str>| Viewer {
            audiences: words(audiences),
            channel: channel.map(str::to_owned),
            ..Viewer::anybody(Timestamp::UNIX_EPOCH)
        };
        assert!(scope.admits(&viewer(&["vip"], Some("web"))));
        assert!(scope.admits(&viewer(&["other", "staff"], None)));
        assert!(!scope.admits(&viewer(&[], Some("web"))));
        assert!(!scope.admits(&viewer(&["vip"], Some("phone"))));
        assert!(Scope::default().admits(&viewer(&[], Some("phone"))));
    }

    #[test]
    fn what_limits_nothing_is_written_as_nothing() {
        assert_eq!(serde_json::to_string(&Scope::default()).unwrap(), "{}");
        assert!(serde_json::from_str::<Scope>("{\"audience\":[\"vip\"]}").is_err());
    }
}
