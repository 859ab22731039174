//! Who works with the program, and what they may do.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a person is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StaffRole {
    /// Talks to customers, and suggests what the knowledge base should say.
    Agent,
    /// Decides what the knowledge base says.
    Supervisor,
    /// Everything.
    Admin,
    /// Sees everything and changes nothing.
    Auditor,
}

impl StaffRole {
    /// All of them, in the order in which people are asked to choose.
    pub const ALL: [Self; 4] = [Self::Agent, Self::Supervisor, Self::Admin, Self::Auditor];

    /// The name by which it is stored and sent.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Supervisor => "supervisor",
            Self::Admin => "admin",
            Self::Auditor => "auditor",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Agent => 1,
            Self::Supervisor => 2,
            Self::Admin => 4,
            Self::Auditor => 8,
        }
    }
}

/// A set of roles.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Roles(u8);

impl Roles {
    /// Everybody who signed in: to look at what all may see.
    pub const ALL: Self = Self::of(&StaffRole::ALL);
    /// Those who may draft: agents, supervisors, admins.
    pub const AUTHORS: Self = Self::of(&[StaffRole::Agent, StaffRole::Supervisor, StaffRole::Admin]);
    /// Those who may decide: supervisors and admins.
    pub const EDITORS: Self = Self::of(&[StaffRole::Supervisor, StaffRole::Admin]);
    /// Admins alone.
    pub const ADMINS: Self = Self::of(&[StaffRole::Admin]);
    /// Those who may read what everybody did: admins and auditors.
    pub const REVIEWERS: Self = Self::of(&[StaffRole::Admin, StaffRole::Auditor]);

    /// These roles.
    #[must_use]
    pub const fn of(roles: &[StaffRole]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < roles.len() {
            bits |= roles[at].bit();
            at += 1;
        }
        Self(bits)
    }

    /// Whether `role` is one of them.
    #[must_use]
    pub const fn contains(self, role: StaffRole) -> bool {
        self.0 & role.bit() != 0
    }
}

impl fmt::Debug for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = StaffRole::ALL.into_iter().filter(|role| self.contains(*role));
        f.debug_set().entries(names.map(StaffRole::name)).finish()
    }
}

/// What no log shows: its `Debug` prints `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden<T>(pub T);

impl<T> fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::{Hidden, Roles, StaffRole};

    #[test]
    fn names_lead_back_to_their_roles() {
        for role in StaffRole::ALL {
            assert_eq!(StaffRole::from_name(role.name()), Some(role));
            assert!(Roles::ALL.contains(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        }
        assert_eq!(StaffRole::from_name("root"), None);
        assert!(!Roles::EDITORS.contains(StaffRole::Agent) && !Roles::EDITORS.contains(StaffRole::Auditor));
        assert_eq!(
            format!("{:?} {:?}", Roles::REVIEWERS, Hidden("secret")),
            "{\"admin\", \"auditor\"} ***"
        );
    }
}
