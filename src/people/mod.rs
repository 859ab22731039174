//! People and their sessions: who may sign in, how long that holds, and how often somebody may guess.
//!
//! Passwords are hashed with argon2id on threads of their own, two at a time. A session is a random word of 256 bits of
//! which only the hash is stored. An unknown name, a wrong password and a disabled account get the same answer after
//! the same work.

mod password;
mod throttle;
mod totp;

pub use password::PasswordFault;
pub use totp::TotpSecret;

use crate::domain::{Clock, Hidden, StaffRole, UserId};
use crate::storage::{AuditRecord, PageRequest, Session, StorageError, Store, User, UserChange};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use password::Hasher;
use rand::RngCore;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use throttle::{Attempt, Throttle};
use unicode_normalization::UnicodeNormalization;

/// A session that is not used for this long has ended. Source: GB/T 22239 and OWASP ASVS 5.0 (7.3.1) leave the figure to
/// the risk; half an hour is what banks' desks use.
pub const IDLE: SignedDuration = SignedDuration::from_mins(30);

/// No session lasts longer, however much it is used (ASVS 5.0, 7.3.2): a working day.
pub const LONGEST: SignedDuration = SignedDuration::from_hours(12);

/// A use is noted once in this time: reading a page need not write.
const TOUCH: SignedDuration = SignedDuration::from_secs(60);

/// A clock may be set back by this much before sessions that began "later" end.
const CLOCK_STEP: SignedDuration = SignedDuration::from_mins(5);

/// Sessions of one person at once; the oldest ends.
const SESSIONS_EACH: u32 = 10;

/// Bytes of a name that is looked up, and of a session's token.
const MAX_WORD_BYTES: usize = 256;

/// Characters of a name, and of a display name.
const MAX_NAME_CHARS: usize = 64;

/// What stands in the audit log for somebody at the command line.
pub const COMMAND_LINE: &str = "command line";

/// Why somebody is not let in, or an account is not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeopleError {
    /// Name and password do not belong together; no more is said.
    #[error("name or password is wrong")]
    WrongCredentials,
    /// The password is right, and a one-time code is needed too.
    #[error("enter the six digits that your authenticator shows")]
    CodeNeeded,
    /// The one-time code is wrong or was used before.
    #[error("this code is wrong or was used before; wait for the next one")]
    WrongCode,
    /// Too many failures.
    #[error("too many attempts; try again later")]
    Throttled {
        /// When to try again.
        retry_after: Duration,
    },
    /// Too many are signing in at once.
    #[error("too many are signing in at once; try again")]
    Overloaded,
    /// The present password is wrong.
    #[error("the present password is wrong")]
    WrongPassword,
    /// The new password will not do.
    #[error("{0}")]
    WeakPassword(#[from] PasswordFault),
    /// The name will not do.
    #[error("a name has 1 to {MAX_NAME_CHARS} letters, digits, dots, hyphens, underscores or @, and no spaces")]
    BadName,
    /// The display name will not do.
    #[error("a display name has 1 to {MAX_NAME_CHARS} characters, and no line breaks")]
    BadDisplayName,
    /// Somebody has that name.
    #[error("there is an account {name} already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Nobody has that name.
    #[error("there is no account {name}; `kefu user list` shows them")]
    NoSuchUser {
        /// The name.
        name: String,
    },
    /// A password could not be hashed.
    #[error("hashing the password: {0}")]
    Hashing(String),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Somebody who is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The account.
    pub id: UserId,
    /// What it signs in with.
    pub name: String,
    /// What others see.
    pub display_name: String,
    /// What it may do.
    pub role: StaffRole,
    /// Whether it must choose another password before anything else.
    pub must_change: bool,
    /// SHA-256 of the session's token.
    pub session: [u8; 32],
}

/// A session that has just begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// What lets the person in from now on; shown this once.
    pub token: Hidden<String>,
    /// Who it is.
    pub person: Person,
}

/// What somebody signs in with.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The account's name.
    pub name: String,
    /// Its password.
    pub password: Hidden<String>,
    /// The one-time code, where the account has such.
    pub code: Option<String>,
}

/// An account to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// What it signs in with.
    pub name: String,
    /// What others see; the name where it is left out.
    pub display_name: Option<String>,
    /// What it may do.
    pub role: StaffRole,
    /// Its password.
    pub password: Hidden<String>,
    /// Whether it must choose another one at the first sign-in.
    pub must_change: bool,
}

/// Accounts and sessions over a store.
pub struct People {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    hasher: Hasher,
    throttle: Mutex<Throttle>,
}

impl People {
    /// People over `store`; all times come from `clock`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            hasher: Hasher::new(),
            throttle: Mutex::new(Throttle::default()),
        }
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets somebody in who comes from the address `from`.
    ///
    /// # Errors
    /// [`PeopleError::WrongCredentials`], `CodeNeeded`, `WrongCode`, `Throttled`, `Overloaded`, `Storage`.
    pub async fn sign_in(&self, credentials: Credentials, from: IpAddr) -> Result<SignedIn, PeopleError> {
        let now = self.clock.now();
        let name: String = credentials.name.trim().nfkc().collect();
        if name.len() > MAX_WORD_BYTES {
            return Err(PeopleError::WrongCredentials);
        }
        let attempt = self.begin_attempt(&name, from, now)?;
        let user = self.store.user_by_name(&name).await?;
        let known = user.as_ref().map(|user| user.password_hash.0.clone());
        let Some(right) = self.hasher.verify(credentials.password, known).await else {
            self.throttle().take_back(&attempt);
            return Err(PeopleError::Overloaded);
        };
        let Some(user) = user.filter(|user| right && user.disabled_at.is_none()) else {
            return Err(self.refused(&name, now, PeopleError::WrongCredentials).await);
        };
        if let Some(secret) = &user.totp_secret {
            let Some(code) = credentials.code.filter(|code| !code.is_empty()) else {
                self.throttle().take_back(&attempt);
                return Err(PeopleError::CodeNeeded);
            };
            let step = totp::matching_step(&secret.0, &code, now);
            let fresh = match step {
                Some(step) => self.store.use_totp_step(user.id, step).await?,
                None => false,
            };
            if !fresh {
                return Err(self.refused(&name, now, PeopleError::WrongCode).await);
            }
        }
        let Some(signed_in) = self.begin_session(&user, now).await? else {
            return Err(self.refused(&name, now, PeopleError::WrongCredentials).await);
        };
        self.throttle().succeeded(&attempt);
        // Nobody waits for these: what is expired lets nobody in anyway.
        let removed = self
            .store
            .expire_sessions(before(now, IDLE), before(now, LONGEST))
            .await;
        if let Err(error) = removed {
            tracing::warn!(error = &error as &dyn std::error::Error, "expired sessions stay");
        }
        Ok(signed_in)
    }

    fn begin_attempt(&self, name: &str, from: IpAddr, now: Timestamp) -> Result<Attempt, PeopleError> {
        self.throttle()
            .begin(&crate::storage::name_key(name), from, now)
            .map_err(|retry_after| PeopleError::Throttled { retry_after })
    }

    /// Notes a failure in the audit log, unless there are too many of them. A name that is no account's is not written
    /// down: people type their password there.
    async fn refused(&self, name: &str, now: Timestamp, error: PeopleError) -> PeopleError {
        let Some(unreported) = self.throttle().report(now) else {
            return error;
        };
        let object = match self.store.user_by_name(name).await {
            Ok(Some(user)) => user_object(&user.name),
            Ok(None) => "user:(unknown)".to_owned(),
            Err(error) => return error.into(),
        };
        let mut detail = json!({});
        if unreported > 0 {
            detail["failures_not_listed_before"] = unreported.into();
        }
        let record = AuditRecord {
            at: now,
            actor: "(not signed in)".to_owned(),
            action: "session.refuse".to_owned(),
            object,
            detail,
        };
        match self.store.append_audit(&record).await {
            Ok(_) => error,
            Err(error) => error.into(),
        }
    }

    /// A new session of `user`; `None` if the account was changed meanwhile.
    async fn begin_session(&self, user: &User, now: Timestamp) -> Result<Option<SignedIn>, PeopleError> {
        let mut secret = [0_u8; 32];
        rand::rng().fill_bytes(&mut secret);
        let token = BASE64_URL_SAFE_NO_PAD.encode(secret);
        let session = Session {
            token_sha256: token_hash(&token),
            user: user.id,
            created_at: now,
            last_seen_at: now,
        };
        let record = record(now, &user.name, "session.begin", &user.name, json!({}));
        let begun = self
            .store
            .begin_session(&session, user.password_changed_at, SESSIONS_EACH, &record)
            .await?;
        Ok(begun.then(|| SignedIn {
            token: Hidden(token),
            person: person(user, session.token_sha256),
        }))
    }

    /// Whose session that token is; `None` if it is nobody's, or ended.
    ///
    /// # Errors
    /// The database.
    pub async fn identify(&self, token: &str) -> Result<Option<Person>, StorageError> {
        if token.is_empty() || token.len() > MAX_WORD_BYTES {
            return Ok(None);
        }
        let hash = token_hash(token);
        let Some((session, user)) = self.store.session(&hash).await? else {
            return Ok(None);
        };
        let now = self.clock.now();
        let (age, idle) = (
            now.duration_since(session.created_at),
            now.duration_since(session.last_seen_at),
        );
        if user.disabled_at.is_some() || idle >= IDLE || age >= LONGEST || age < -CLOCK_STEP {
            return Ok(None);
        }
        if idle >= TOUCH {
            match self.store.touch_session(&hash, now).await {
                // A full disk must not shut people out who would make room.
                Ok(()) | Err(StorageError::Full | StorageError::Busy) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Some(person(&user, hash)))
    }

    /// Ends the person's session.
    ///
    /// # Errors
    /// The database.
    pub async fn sign_out(&self, person: &Person) -> Result<(), StorageError> {
        let record = record(self.clock.now(), &person.name, "session.end", &person.name, json!({}));
        self.store.end_session(&person.session, &record).await.map(drop)
    }

    /// Gives the person another password, ends all its sessions and begins a new one.
    ///
    /// # Errors
    /// [`PeopleError::WrongPassword`], `WeakPassword`, `Throttled`, `Overloaded`, `Storage`.
    pub async fn change_password(
        &self,
        person: &Person,
        old: Hidden<String>,
        new: Hidden<String>,
        from: IpAddr,
    ) -> Result<SignedIn, PeopleError> {
        let now = self.clock.now();
        password::check(&new.0, &person.name)?;
        let attempt = self.begin_attempt(&person.name, from, now)?;
        let gone = || PeopleError::NoSuchUser {
            name: person.name.clone(),
        };
        let user = self.store.user(person.id).await?.ok_or_else(gone)?;
        let same = old == new;
        match self.hasher.verify(old, Some(user.password_hash.0)).await {
            None => {
                self.throttle().take_back(&attempt);
                return Err(PeopleError::Overloaded);
            }
            Some(false) => return Err(self.refused(&person.name, now, PeopleError::WrongPassword).await),
            Some(true) => self.throttle().succeeded(&attempt),
        }
        if same {
            return Err(PasswordFault::Same.into());
        }
        let hash = self.hash(new).await?;
        let change = UserChange::Password {
            hash,
            must_change: false,
        };
        let record = record(now, &person.name, "user.password", &person.name, json!({}));
        if !self.store.change_user(person.id, &change, &record).await? {
            return Err(gone());
        }
        let user = self.store.user(person.id).await?.ok_or_else(gone)?;
        self.begin_session(&user, now).await?.ok_or(PeopleError::WrongPassword)
    }

    /// Makes an account.
    ///
    /// # Errors
    /// [`PeopleError::BadName`], `BadDisplayName`, `NameTaken`, `WeakPassword`, `Overloaded`, `Storage`.
    pub async fn add(&self, new: NewUser, actor: &str) -> Result<User, PeopleError> {
        let now = self.clock.now();
        let name = checked_name(&new.name)?;
        let display_name = checked_display_name(new.display_name.as_deref().unwrap_or(&name))?;
        password::check(&new.password.0, &name)?;
        let user = User {
            id: UserId::new(),
            display_name,
            role: new.role,
            password_hash: self.hash(new.password).await?,
            totp_secret: None,
            created_at: now,
            disabled_at: None,
            password_changed_at: now,
            must_change: new.must_change,
            name,
        };
        let detail = json!({"role": user.role, "must_change": user.must_change});
        let record = record(now, actor, "user.add", &user.name, detail);
        if self.store.add_user(&user, &record).await? {
            Ok(user)
        } else {
            Err(PeopleError::NameTaken { name: user.name })
        }
    }

    /// Gives somebody another password without asking for the present one, and ends all sessions of that account.
    ///
    /// # Errors
    /// [`PeopleError::NoSuchUser`], `WeakPassword`, `Overloaded`, `Storage`.
    pub async fn reset_password(
        &self,
        name: &str,
        new: Hidden<String>,
        must_change: bool,
        actor: &str,
    ) -> Result<User, PeopleError> {
        let user = self.named(name).await?;
        password::check(&new.0, &user.name)?;
        let hash = self.hash(new).await?;
        let change = UserChange::Password { hash, must_change };
        self.change(
            user,
            &change,
            "user.reset_password",
            json!({"must_change": must_change}),
            actor,
        )
        .await
    }

    /// Shuts somebody out at once.
    ///
    /// # Errors
    /// [`PeopleError::NoSuchUser`], `Storage`.
    pub async fn disable(&self, name: &str, actor: &str) -> Result<User, PeopleError> {
        let user = self.named(name).await?;
        self.change(user, &UserChange::Disable, "user.disable", json!({}), actor)
            .await
    }

    /// Lets somebody in again.
    ///
    /// # Errors
    /// [`PeopleError::NoSuchUser`], `Storage`.
    pub async fn enable(&self, name: &str, actor: &str) -> Result<User, PeopleError> {
        let user = self.named(name).await?;
        self.change(user, &UserChange::Enable, "user.enable", json!({}), actor)
            .await
    }

    /// Gives somebody another role.
    ///
    /// # Errors
    /// [`PeopleError::NoSuchUser`], `Storage`.
    pub async fn set_role(&self, name: &str, role: StaffRole, actor: &str) -> Result<User, PeopleError> {
        let user = self.named(name).await?;
        let detail = json!({"from": user.role, "to": role});
        self.change(user, &UserChange::Role(role), "user.role", detail, actor)
            .await
    }

    /// Gives somebody a new key of one-time codes; returns it.
    ///
    /// # Errors
    /// [`PeopleError::NoSuchUser`], `Storage`.
    pub async fn require_codes(&self, name: &str, actor: &str) -> Result<(User, TotpSecret), PeopleError> {
        let user = self.named(name).await?;
        let secret = TotpSecret::random();
        let change = UserChange::Totp(Some(Hidden(secret.bytes().to_vec())));
        let user = self
            .change(user, &change, "user.totp", json!({"codes": true}), actor)
            .await?;
        Ok((user, secret))
    }

    /// Lets a password be enough for somebody again.
    ///
    /// # Errors
    /// [`PeopleError::NoSuchUser`], `Storage`.
    pub async fn drop_codes(&self, name: &str, actor: &str) -> Result<User, PeopleError> {
        let user = self.named(name).await?;
        self.change(
            user,
            &UserChange::Totp(None),
            "user.totp",
            json!({"codes": false}),
            actor,
        )
        .await
    }

    /// All accounts in order of name.
    ///
    /// # Errors
    /// The database.
    pub async fn list(&self) -> Result<Vec<User>, StorageError> {
        let mut users = Vec::new();
        let mut request = PageRequest::first(500);
        loop {
            let page = self.store.users(&request).await?;
            users.extend(page.items);
            match page.next {
                Some(next) => request.cursor = Some(next),
                None => return Ok(users),
            }
        }
    }

    async fn named(&self, name: &str) -> Result<User, PeopleError> {
        let name: String = name.trim().nfkc().collect();
        let user = self.store.user_by_name(&name).await?;
        user.ok_or(PeopleError::NoSuchUser { name })
    }

    async fn change(
        &self,
        user: User,
        change: &UserChange,
        action: &str,
        detail: Value,
        actor: &str,
    ) -> Result<User, PeopleError> {
        let record = record(self.clock.now(), actor, action, &user.name, detail);
        let there = self.store.change_user(user.id, change, &record).await?;
        let changed = if there { self.store.user(user.id).await? } else { None };
        changed.ok_or(PeopleError::NoSuchUser { name: user.name })
    }

    async fn hash(&self, password: Hidden<String>) -> Result<Hidden<String>, PeopleError> {
        self.hasher.hash(password).await
    }
}

/// What is written down of an account.
fn record(at: Timestamp, actor: &str, action: &str, name: &str, detail: Value) -> AuditRecord {
    AuditRecord {
        at,
        actor: actor.to_owned(),
        action: action.to_owned(),
        object: user_object(name),
        detail,
    }
}

fn user_object(name: &str) -> String {
    format!("user:{name}")
}

fn before(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.checked_sub(by).unwrap_or(Timestamp::MIN)
}

fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn person(user: &User, session: [u8; 32]) -> Person {
    Person {
        id: user.id,
        name: user.name.clone(),
        display_name: user.display_name.clone(),
        role: user.role,
        must_change: user.must_change,
        session,
    }
}

fn checked_name(name: &str) -> Result<String, PeopleError> {
    let name: String = name.trim().nfkc().collect();
    let length = name.chars().count();
    let plain = name.chars().all(|c| c.is_alphanumeric() || "._-@".contains(c));
    if plain && (1..=MAX_NAME_CHARS).contains(&length) {
        Ok(name)
    } else {
        Err(PeopleError::BadName)
    }
}

fn checked_display_name(name: &str) -> Result<String, PeopleError> {
    let name: String = name.trim().nfc().collect();
    if !name.chars().any(char::is_control) && (1..=MAX_NAME_CHARS).contains(&name.chars().count()) {
        Ok(name)
    } else {
        Err(PeopleError::BadDisplayName)
    }
}
