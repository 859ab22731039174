//! People, their sessions, and the record of what they did.

use super::{Page, PageRequest, StorageError};
use crate::domain::{Hidden, StaffRole, UserId};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A person's account as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its identifier.
    pub id: UserId,
    /// What it signs in with; unique without regard to capitals.
    pub name: String,
    /// What others see.
    pub display_name: String,
    /// What it may do.
    pub role: StaffRole,
    /// The password, hashed: a PHC string.
    pub password_hash: Hidden<String>,
    /// The key of its one-time codes (RFC 6238), where it has one.
    pub totp_secret: Option<Hidden<Vec<u8>>>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was shut out.
    pub disabled_at: Option<Timestamp>,
    /// When its password was last set.
    pub password_changed_at: Timestamp,
    /// Whether it must choose another password before anything else.
    pub must_change: bool,
}

/// The form of a name in which no two accounts may agree.
#[must_use]
pub fn name_key(name: &str) -> String {
    name.to_lowercase()
}

/// What is to be written into the audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// Who: a person's name, or what stands for it ("command line").
    pub actor: String,
    /// What was done, as `noun.verb`: `session.begin`, `faq.publish`.
    pub action: String,
    /// What it was done to, as `kind:name`; may be empty.
    pub object: String,
    /// More facts: a JSON object without personal data.
    pub detail: Value,
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number, from 1 without gaps.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub object: String,
    /// More facts, as the JSON text that was hashed.
    pub detail: String,
    /// The hash of the line before; zeros for the first.
    pub prev_hash: [u8; 32],
    /// [`AuditEntry::expected_hash`] when it was written.
    pub hash: [u8; 32],
}

impl AuditEntry {
    /// The line that follows one of number `seq` with the hash `prev_hash` (0 and zeros at the beginning).
    #[must_use]
    pub fn after(seq: u64, prev_hash: [u8; 32], record: &AuditRecord) -> Self {
        // A database keeps microseconds: what is hashed must be what is read back.
        let at = Timestamp::from_microsecond(record.at.as_microsecond()).unwrap_or(record.at);
        let mut entry = Self {
            seq: seq.saturating_add(1),
            at,
            actor: record.actor.clone(),
            action: record.action.clone(),
            object: record.object.clone(),
            detail: record.detail.to_string(),
            prev_hash,
            hash: [0; 32],
        };
        entry.hash = entry.expected_hash();
        entry
    }

    /// SHA-256 over a mark, the hash before, number, time (microseconds) and the texts, each with its length before it:
    /// no two different lines have the same encoding.
    #[must_use]
    pub fn expected_hash(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(b"kefu audit 1\n");
        hasher.update(self.prev_hash);
        hasher.update(self.seq.to_be_bytes());
        hasher.update(self.at.as_microsecond().to_be_bytes());
        for text in [&self.actor, &self.action, &self.object, &self.detail] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finalize().into()
    }
}

/// What a look through the whole audit log found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditVerdict {
    /// Lines read.
    pub entries: u64,
    /// The number of the first line that does not follow from the one before it or was changed; `None` if all do.
    pub broken_at: Option<u64>,
    /// The hash of the last line; whoever noted it elsewhere can tell whether lines were cut off after it.
    pub head: [u8; 32],
}

/// Checks lines in order.
#[derive(Clone, Debug)]
pub struct AuditCheck(AuditVerdict);

impl AuditCheck {
    /// Before the first line.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "a check begins, it has no default")]
    pub fn new() -> Self {
        Self(AuditVerdict {
            entries: 0,
            broken_at: None,
            head: [0; 32],
        })
    }

    /// Takes the next line.
    pub fn take(&mut self, entry: &AuditEntry) {
        let verdict = &mut self.0;
        let follows = entry.seq == verdict.entries + 1 && entry.prev_hash == verdict.head;
        if verdict.broken_at.is_none() && (!follows || entry.hash != entry.expected_hash()) {
            verdict.broken_at = Some(verdict.entries + 1);
        }
        verdict.entries += 1;
        verdict.head = entry.hash;
    }

    /// What was found.
    #[must_use]
    pub fn verdict(self) -> AuditVerdict {
        self.0
    }
}

/// A session as it is stored: never its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// SHA-256 of its token.
    pub token_sha256: [u8; 32],
    /// Whose it is.
    pub user: UserId,
    /// When the person signed in.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_seen_at: Timestamp,
}

/// What an [`UserStore::change_user`] changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserChange {
    /// Another password. Ends all sessions.
    Password {
        /// The new one, hashed.
        hash: Hidden<String>,
        /// Whether the person must choose its own at the next sign-in.
        must_change: bool,
    },
    /// Shut out. Ends all sessions.
    Disable,
    /// Let in again.
    Enable,
    /// Another role. Ends all sessions.
    Role(StaffRole),
    /// Other one-time codes, or none. Ends all sessions.
    Totp(Option<Hidden<Vec<u8>>>),
}

/// Accounts. Every change is one transaction with its line in the audit log.
#[async_trait]
pub trait UserStore: Send + Sync {
    /// Adds an account; `false` if the name is taken.
    async fn add_user(&self, user: &User, record: &AuditRecord) -> Result<bool, StorageError>;
    /// The account of that name, without regard to capitals.
    async fn user_by_name(&self, name: &str) -> Result<Option<User>, StorageError>;
    /// The account of that id.
    async fn user(&self, id: UserId) -> Result<Option<User>, StorageError>;
    /// Accounts in order of name.
    async fn users(&self, page: &PageRequest) -> Result<Page<User>, StorageError>;
    /// Changes an account at the time of `record`; `false` if there is none.
    async fn change_user(&self, id: UserId, change: &UserChange, record: &AuditRecord) -> Result<bool, StorageError>;
    /// Notes that the one-time code of time step `step` was used; `false` if that or a later one was used before.
    async fn use_totp_step(&self, id: UserId, step: u64) -> Result<bool, StorageError>;
    /// How many of that role can sign in.
    async fn active_users(&self, role: StaffRole) -> Result<u64, StorageError>;
}

/// Sessions.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Adds a session with its line in the audit log. Of one person's sessions the newest `keep` stay. `false` if the
    /// account is disabled, or its password was changed after `password_changed_at`: then nothing is added.
    async fn begin_session(
        &self,
        session: &Session,
        password_changed_at: Timestamp,
        keep: u32,
        record: &AuditRecord,
    ) -> Result<bool, StorageError>;
    /// The session of that token with its person, disabled or not.
    async fn session(&self, token_sha256: &[u8; 32]) -> Result<Option<(Session, User)>, StorageError>;
    /// Notes that it was used.
    async fn touch_session(&self, token_sha256: &[u8; 32], at: Timestamp) -> Result<(), StorageError>;
    /// Ends a session, with its line in the audit log; `false` if there is none.
    async fn end_session(&self, token_sha256: &[u8; 32], record: &AuditRecord) -> Result<bool, StorageError>;
    /// Removes those last used before `idle` or begun before `old`; how many.
    async fn expire_sessions(&self, idle: Timestamp, old: Timestamp) -> Result<u64, StorageError>;
}

/// What was done, and by whom. Lines are added and never changed.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Adds a line. Where the change itself is in this store, its method takes the record instead, so that neither is
    /// stored without the other.
    async fn append_audit(&self, record: &AuditRecord) -> Result<AuditEntry, StorageError>;
    /// Lines, newest first.
    async fn audit_page(&self, page: &PageRequest) -> Result<Page<AuditEntry>, StorageError>;
    /// Reads the whole log and checks every hash.
    async fn verify_audit(&self) -> Result<AuditVerdict, StorageError>;
}

#[cfg(test)]
mod tests {
    use super::{AuditCheck, AuditEntry, AuditRecord};
    use jiff::Timestamp;
    use serde_json::json;

    fn chain(length: u64) -> Vec<AuditEntry> {
        let mut lines: Vec<AuditEntry> = Vec::new();
        for n in 0..length {
            let record = AuditRecord {
                at: Timestamp::from_microsecond(1_780_000_000_000_000 + n as i64).unwrap(),
                actor: "王芳".to_owned(),
                action: "faq.publish".to_owned(),
                object: format!("faq:{n}"),
                detail: json!({"n": n}),
            };
            let head = lines.last().map_or([0; 32], |line| line.hash);
            lines.push(AuditEntry::after(n, head, &record));
        }
        lines
    }

    fn broken_at(lines: &[AuditEntry]) -> Option<u64> {
        let mut check = AuditCheck::new();
        for line in lines {
            check.take(line);
        }
        check.verdict().broken_at
    }

    #[test]
    fn every_change_of_a_chain_is_found_where_it_is() {
        let lines = chain(6);
        assert_eq!(broken_at(&lines), None);
        let changes: [fn(&mut AuditEntry); 7] = [
            |line| line.actor.push('x'),
            |line| line.action.push('x'),
            |line| line.object.push('x'),
            |line| line.detail = "{}".to_owned(),
            |line| line.at = Timestamp::UNIX_EPOCH,
            |line| line.prev_hash[0] ^= 1,
            |line| line.hash[31] ^= 1,
        ];
        for change in changes {
            let mut changed = lines.clone();
            change(&mut changed[2]);
            assert_eq!(broken_at(&changed), Some(3));
        }
        // Written anew with a hash of its own: the next line does not follow from it.
        let mut forged = lines.clone();
        forged[2].actor = "nobody".to_owned();
        forged[2].hash = forged[2].expected_hash();
        assert_eq!(broken_at(&forged), Some(4));
        let mut removed = lines.clone();
        removed.remove(3);
        assert_eq!(broken_at(&removed), Some(4));
        let mut swapped = lines;
        swapped.swap(1, 2);
        assert_eq!(broken_at(&swapped), Some(2));
    }

    #[test]
    fn where_one_text_ends_and_the_next_begins_is_part_of_the_hash() {
        let mut one = chain(1).remove(0);
        let mut other = one.clone();
        (one.actor, one.action) = ("ab".to_owned(), "c".to_owned());
        (other.actor, other.action) = ("a".to_owned(), "bc".to_owned());
        assert_ne!(one.expected_hash(), other.expected_hash());
    }
}
