//! Passwords: which will do, and how they are hashed.

use super::PeopleError;
use crate::domain::Hidden;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;

/// Characters at least. Source: NIST SP 800-63B-4, section 3.1.1.2, asks for 15 where a password stands alone and 8 beside a
/// second factor; between them, with guessing slowed down.
const MIN_CHARS: usize = 12;

/// Bytes at most: hashing reads all of them.
const MAX_BYTES: usize = 1024;

/// A name of fewer characters stands in many passwords by chance.
const MIN_NAME_CHARS: usize = 3;

/// Different characters at least.
const MIN_DISTINCT: usize = 5;

/// Memory (KiB), passes and lanes of argon2id. Source: OWASP Password Storage Cheat Sheet, first choice for argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Hashes at once: each takes 19 MiB and a core for some 20 ms, and answers need the cores too.
const AT_ONCE: usize = 2;

/// Hashes that may wait.
const WAITING: usize = 32;

/// What is verified in place of an account that does not exist: a hash of the same cost that no password is known for.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$a2VmdS1ub2JvZHktc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a password will not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordFault {
    /// Too short.
    #[error("a password needs at least {MIN_CHARS} characters")]
    Short,
    /// Too long.
    #[error("a password may have at most {MAX_BYTES} bytes")]
    Long,
    /// The name is in it.
    #[error("the password must not contain the account's name")]
    ContainsName,
    /// A few characters again and again.
    #[error("the password needs at least {MIN_DISTINCT} different characters")]
    Monotonous,
    /// Nothing changes.
    #[error("the new password is the present one")]
    Same,
}

/// Whether `password` will do for the account `name`.
pub(super) fn check(password: &str, name: &str) -> Result<(), PasswordFault> {
    if password.len() > MAX_BYTES {
        return Err(PasswordFault::Long);
    }
    let password = normal(password);
    if password.chars().count() < MIN_CHARS {
        return Err(PasswordFault::Short);
    }
    let (lower, name) = (password.to_lowercase(), name.to_lowercase());
    if lower == name || (name.chars().count() >= MIN_NAME_CHARS && lower.contains(&name)) {
        return Err(PasswordFault::ContainsName);
    }
    if password.chars().collect::<HashSet<_>>().len() < MIN_DISTINCT {
        return Err(PasswordFault::Monotonous);
    }
    Ok(())
}

/// The same password is the same bytes, whichever keyboard wrote it (NIST SP 800-63B-4, section 3.1.1.2).
fn normal(password: &str) -> String {
    password.nfkc().collect()
}

/// Hashes on blocking threads, a few at a time.
pub(super) struct Hasher {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl Hasher {
    pub(super) fn new() -> Self {
        Self {
            running: Arc::new(Semaphore::new(AT_ONCE)),
            admitted: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
        }
    }

    /// Whether `password` is that of the hash; takes as long where there is none. `None` if too many wait.
    pub(super) async fn verify(&self, password: Hidden<String>, hash: Option<String>) -> Option<bool> {
        self.run(move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
            let too_long = password.0.len() > MAX_BYTES;
            let password = if too_long { String::new() } else { normal(&password.0) };
            let right = PasswordHash::new(&hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok());
            right && known && !too_long
        })
        .await
    }

    /// `password` with a new salt, as a PHC string.
    pub(super) async fn hash(&self, password: Hidden<String>) -> Result<Hidden<String>, PeopleError> {
        let hashed = self.run(move || {
            let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| error.to_string())?;
            let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
                .hash_password(normal(&password.0).as_bytes())
                .map_err(|error| error.to_string())?;
            Ok::<_, String>(Hidden(hash.to_string()))
        });
        hashed
            .await
            .ok_or(PeopleError::Overloaded)?
            .map_err(PeopleError::Hashing)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().ok()?;
        let running = Arc::clone(&self.running).acquire_owned().await.ok()?;
        // The permits go with the work: a client that leaves does not make room before the thread is done.
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop((running, admitted));
            result
        })
        .await
        .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{Hasher, NOBODY, PasswordFault, check};
    use crate::domain::Hidden;
    use argon2::Params;
    use argon2::password_hash::phc::PasswordHash;

    fn hidden(text: &str) -> Hidden<String> {
        Hidden(text.to_owned())
    }

    #[test]
    fn passwords_that_will_not_do_are_told_why() {
        for (password, fault) in [
            ("short", Err(PasswordFault::Short)),
            ("十一个汉字的密码不够长", Err(PasswordFault::Short)),
            ("十二个不同的汉字做成密码", Ok(())),
            ("my-WangFang-2026", Err(PasswordFault::ContainsName)),
            ("abababababab", Err(PasswordFault::Monotonous)),
            ("correct horse battery", Ok(())),
        ] {
            assert_eq!(check(password, "wangfang"), fault, "{password}");
        }
        assert_eq!(check("correct horse battery", "c"), Ok(()), "by chance");
        assert_eq!(check(&"aB3$x".repeat(300), "wangfang"), Err(PasswordFault::Long));
    }

    #[tokio::test]
    async fn hashes_know_their_password_alone_and_nobody_has_one() {
        let hasher = Hasher::new();
        let hash = hasher.hash(hidden("correct horse battery")).await.unwrap().0;
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, hasher.hash(hidden("correct horse battery")).await.unwrap().0);
        let verify = async |password, hash: &str| hasher.verify(hidden(password), Some(hash.to_owned())).await;
        assert_eq!(verify("correct horse battery", &hash).await, Some(true));
        // Full-width letters are the same password from another keyboard.
        assert_eq!(verify("ｃorrect horse battery", &hash).await, Some(true));
        assert_eq!(verify("correct horse batterz", &hash).await, Some(false));
        assert_eq!(verify("x", "no hash at all").await, Some(false));
        assert_eq!(hasher.verify(hidden("anything"), None).await, Some(false));
    }

    #[test]
    fn nobody_costs_what_everybody_costs() {
        let nobody = Params::try_from(&PasswordHash::new(NOBODY).unwrap()).unwrap();
        assert_eq!(
            (nobody.m_cost(), nobody.t_cost(), nobody.p_cost()),
            (super::MEMORY_KIB, super::PASSES, super::LANES)
        );
    }

    #[tokio::test]
    async fn what_cannot_be_hashed_soon_is_refused() {
        let hasher = Hasher::new();
        let all = u32::try_from(super::AT_ONCE + super::WAITING).unwrap();
        let taken = hasher.admitted.clone().acquire_many_owned(all).await.unwrap();
        assert_eq!(hasher.verify(hidden("x"), None).await, None);
        drop(taken);
        assert_eq!(hasher.verify(hidden("x"), None).await, Some(false));
    }
}
