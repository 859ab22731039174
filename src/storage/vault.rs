//! The vault: what customers wrote in the clear, sealed so that the database alone tells nothing.
//!
//! A value is sealed (AES-256-GCM) with the key of its conversation. That key is random, and lies in the database wrapped by a
//! master key, which lies in a file of its own. Whoever has the database has nothing; whoever removes the key of a
//! conversation has removed its values. Source: NIST SP 800-38D; SP 800-57 part 1, 8.1.5.

use super::{StorageError, Store};
use crate::domain::{ConversationId, CustomerId, Hidden, MessageId, VaultId};
use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

/// Bytes of a key.
const KEY: usize = 32;
/// Bytes of a master key's name.
const NAME: usize = 8;
/// Bytes of a key file at most: some hundred keys.
const MAX_FILE: u64 = 64 << 10;
/// The first words of each line of the key file.
const LINE: &str = "kefu-master-key";
/// Keys that are wrapped anew in one go.
const BATCH: u32 = 500;

/// What went wrong with the vault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The key file cannot be used.
    #[error("the key file {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Others may read the key file.
    #[error("the key file {path} may be read by others (mode {mode:o}): run chmod 600 {path}")]
    Open {
        /// The file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// The key file is none.
    #[error(
        "the key file {path}: {detail}. Restore it from its backup; without it what is in the vault cannot be read"
    )]
    Format {
        /// The file.
        path: String,
        /// What is wrong.
        detail: &'static str,
    },
    /// What is stored was sealed with another key, or changed.
    #[error(
        "a value in the vault cannot be opened: it was sealed with a key that is not in the key file, or was changed"
    )]
    Sealed,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A value as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedValue {
    /// Its identifier.
    pub id: VaultId,
    /// Whose key it is sealed with.
    pub conversation_id: ConversationId,
    /// The message that has its mask.
    pub message_id: MessageId,
    /// What it is, by name.
    pub kind: String,
    /// The characters of its mask in the message.
    pub place: Range<u32>,
    /// The nonce and the sealed value.
    pub sealed: Vec<u8>,
}

/// A value to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewValue {
    /// The message that has its mask.
    pub message_id: MessageId,
    /// What it is, by name.
    pub kind: &'static str,
    /// The characters of its mask in the message.
    pub place: Range<u32>,
    /// The value in the clear.
    pub value: Hidden<String>,
}

/// What the vault keeps in the database.
#[async_trait]
pub trait VaultStore: Send + Sync {
    /// The wrapped key of a conversation.
    async fn vault_key(&self, conversation: ConversationId) -> Result<Option<Vec<u8>>, StorageError>;
    /// Adds the wrapped key of a conversation unless it has one; returns the one that it has then.
    async fn add_vault_key(
        &self,
        conversation: ConversationId,
        wrapped: &[u8],
        at: Timestamp,
    ) -> Result<Vec<u8>, StorageError>;
    /// Adds values, all or none.
    async fn add_vault_values(&self, values: &[SealedValue]) -> Result<(), StorageError>;
    /// The values of a conversation, oldest first; at most `limit`.
    async fn vault_values(&self, conversation: ConversationId, limit: u32) -> Result<Vec<SealedValue>, StorageError>;
    /// One value of a conversation.
    async fn vault_value(&self, conversation: ConversationId, id: VaultId)
    -> Result<Option<SealedValue>, StorageError>;
    /// Removes the key of a conversation, and with it its values; `false` if it has none.
    async fn erase_vault(&self, conversation: ConversationId) -> Result<bool, StorageError>;
    /// The next wrapped keys after a conversation's, in order.
    async fn vault_keys_after(
        &self,
        after: Option<ConversationId>,
        limit: u32,
    ) -> Result<Vec<(ConversationId, Vec<u8>)>, StorageError>;
    /// Puts `new` in the place of the wrapped key `old`; `false` if it is no longer that.
    async fn rewrap_vault_key(
        &self,
        conversation: ConversationId,
        old: &[u8],
        new: &[u8],
    ) -> Result<bool, StorageError>;

    /// The wrapped key of that name, which belongs to no conversation.
    async fn vault_secret(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError>;
    /// Adds a wrapped key unless there is one of that name; returns the one that is there then.
    async fn add_vault_secret(&self, name: &str, wrapped: &[u8], at: Timestamp) -> Result<Vec<u8>, StorageError>;
    /// The next wrapped keys after a name, in order.
    async fn vault_secrets_after(&self, after: &str, limit: u32) -> Result<Vec<(String, Vec<u8>)>, StorageError>;
    /// Puts `new` in the place of the wrapped key `old`; `false` if it is no longer that.
    async fn rewrap_vault_secret(&self, name: &str, old: &[u8], new: &[u8]) -> Result<bool, StorageError>;
}

/// The name of a customer's key.
#[must_use]
pub fn customer_secret(id: CustomerId) -> String {
    format!("customer:{id}")
}

/// The name of the key by which addresses of customers are looked up.
const LOOKUP: &str = "lookup";

/// What a key that belongs to no conversation is bound to. No conversation's id is so long.
fn named(name: &str) -> Vec<u8> {
    [b"kefu vault secret\0", name.as_bytes()].concat()
}

/// The name under which a sealed text stands in its JSON object.
const SEALED: &str = "sealed";

/// What a sealed text is bound to.
fn placed(conversation: ConversationId, place: &str) -> Vec<u8> {
    [conversation.0.as_bytes(), place.as_bytes()].concat()
}

/// A master key. Its bytes are kept to be written into a new file.
struct MasterKey {
    name: [u8; NAME],
    bytes: [u8; KEY],
}

/// Seals and opens.
pub struct Vault {
    path: PathBuf,
    /// The last one wraps, all open.
    keys: RwLock<Vec<MasterKey>>,
}

impl Vault {
    /// The vault of the key file at `path`. Where there is none, one is made with mode 0600.
    ///
    /// # Errors
    /// A file that others may read, that is no key file, or that cannot be made.
    pub fn open(path: &Path) -> Result<Self, VaultError> {
        let keys = if let Some(keys) = read(path)? {
            keys
        } else {
            let keys = vec![MasterKey::new()?];
            match write(path, &keys, Existing::Keep) {
                // Another process was first.
                Err(VaultError::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => {
                    let detail = "it is gone";
                    let path = path.display().to_string();
                    read(Path::new(&path))?.ok_or(VaultError::Format { path, detail })?
                }
                other => other.map(|()| keys)?,
            }
        };
        Ok(Self {
            path: path.to_owned(),
            keys: RwLock::new(keys),
        })
    }

    /// Keeps values of a conversation.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn keep(
        &self,
        store: &dyn Store,
        conversation: ConversationId,
        values: Vec<NewValue>,
        at: Timestamp,
    ) -> Result<(), VaultError> {
        if values.is_empty() {
            return Ok(());
        }
        let key = self.key_of(store, conversation, at).await?;
        let sealed = values.into_iter().map(|value| {
            let id = VaultId::new();
            Ok(SealedValue {
                id,
                conversation_id: conversation,
                message_id: value.message_id,
                sealed: seal(&key, &bound(conversation, id, value.kind), value.value.0.as_bytes())?,
                kind: value.kind.to_owned(),
                place: value.place,
            })
        });
        let sealed: Vec<SealedValue> = sealed.collect::<Result<_, VaultError>>()?;
        Ok(store.add_vault_values(&sealed).await?)
    }

    /// A text of a conversation, sealed with its key, as a JSON object: for what is kept beside the vault's own table. `place` says
    /// what it is; it opens in no other place.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn seal_text(
        &self,
        store: &dyn Store,
        conversation: ConversationId,
        place: &str,
        text: &str,
        at: Timestamp,
    ) -> Result<String, VaultError> {
        let key = self.key_of(store, conversation, at).await?;
        let sealed = seal(&key, &placed(conversation, place), text.as_bytes())?;
        Ok(serde_json::json!({ SEALED: BASE64_STANDARD.encode(sealed) }).to_string())
    }

    /// The text that [`Vault::seal_text`] sealed.
    ///
    /// # Errors
    /// `Sealed` for what the key file does not open; what the database reports.
    pub async fn open_text(
        &self,
        store: &dyn Store,
        conversation: ConversationId,
        place: &str,
        sealed: &str,
    ) -> Result<Hidden<String>, VaultError> {
        let object: serde_json::Value = serde_json::from_str(sealed).map_err(|_| VaultError::Sealed)?;
        let bytes = object[SEALED]
            .as_str()
            .and_then(|text| BASE64_STANDARD.decode(text).ok());
        let (Some(bytes), Some(wrapped)) = (bytes, store.vault_key(conversation).await?) else {
            return Err(VaultError::Sealed);
        };
        let key = self.unwrap(conversation, &wrapped)?;
        let clear = open(&key, &placed(conversation, place), &bytes)?;
        String::from_utf8(clear).map(Hidden).map_err(|_| VaultError::Sealed)
    }

    /// The key of a conversation; it is made where there is none.
    async fn key_of(
        &self,
        store: &dyn Store,
        conversation: ConversationId,
        at: Timestamp,
    ) -> Result<[u8; KEY], VaultError> {
        let wrapped = match store.vault_key(conversation).await? {
            Some(wrapped) => wrapped,
            None => {
                store
                    .add_vault_key(conversation, &self.wrap(conversation, &random::<KEY>()?)?, at)
                    .await?
            }
        };
        self.unwrap(conversation, &wrapped)
    }

    /// A value in the clear, with what it is; `None` if there is no such value in this conversation.
    ///
    /// # Errors
    /// `Sealed` for what the key file does not open; what the database reports.
    pub async fn reveal(
        &self,
        store: &dyn Store,
        conversation: ConversationId,
        id: VaultId,
    ) -> Result<Option<(String, Hidden<String>)>, VaultError> {
        let (Some(value), Some(wrapped)) = (
            store.vault_value(conversation, id).await?,
            store.vault_key(conversation).await?,
        ) else {
            return Ok(None);
        };
        let key = self.unwrap(conversation, &wrapped)?;
        let clear = open(&key, &bound(conversation, id, &value.kind), &value.sealed)?;
        let clear = String::from_utf8(clear).map_err(|_| VaultError::Sealed)?;
        Ok(Some((value.kind, Hidden(clear))))
    }

    /// Makes a new master key, wraps every key with it, and forgets the ones before. Returns how many keys were wrapped. Other
    /// processes that have this vault open read the file again when they need to.
    ///
    /// # Errors
    /// What the file system and the database report. Where it ends early, both keys are in the file, and it can be called again.
    pub async fn rotate(&self, store: &dyn Store) -> Result<usize, VaultError> {
        {
            let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
            keys.push(MasterKey::new()?);
            write(&self.path, &keys, Existing::Replace)?;
        }
        let mut count = 0;
        // A server that has not heard of the new key may add keys meanwhile: until none is left.
        loop {
            let mut changed = self.rotate_secrets(store).await?;
            let mut after = None;
            loop {
                let page = store.vault_keys_after(after, BATCH).await?;
                let Some((last, _)) = page.last() else { break };
                after = Some(*last);
                for (conversation, old) in &page {
                    if !self.is_current(old) {
                        let key = self.unwrap(*conversation, old)?;
                        let new = self.wrap(*conversation, &key)?;
                        changed += usize::from(store.rewrap_vault_key(*conversation, old, &new).await?);
                    }
                }
            }
            count += changed;
            if changed == 0 {
                break;
            }
        }
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let before = keys.len() - 1;
        keys.drain(..before);
        write(&self.path, &keys, Existing::Replace)?;
        Ok(count)
    }

    /// A text of a customer, sealed with the customer's key, as a JSON object. `place` says what it is; it opens in no other place.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn seal_for_customer(
        &self,
        store: &dyn Store,
        customer: CustomerId,
        place: &str,
        text: &str,
        at: Timestamp,
    ) -> Result<String, VaultError> {
        let key = self.secret(store, &customer_secret(customer), at).await?;
        let bound = [customer.0.as_bytes(), place.as_bytes()].concat();
        let sealed = seal(&key, &bound, text.as_bytes())?;
        Ok(serde_json::json!({ SEALED: BASE64_STANDARD.encode(sealed) }).to_string())
    }

    /// The text that [`Vault::seal_for_customer`] sealed.
    ///
    /// # Errors
    /// `Sealed` for what the key file does not open, or whose key was erased; what the database reports.
    pub async fn open_for_customer(
        &self,
        store: &dyn Store,
        customer: CustomerId,
        place: &str,
        sealed: &str,
    ) -> Result<Hidden<String>, VaultError> {
        let object: serde_json::Value = serde_json::from_str(sealed).map_err(|_| VaultError::Sealed)?;
        let bytes = object[SEALED]
            .as_str()
            .and_then(|text| BASE64_STANDARD.decode(text).ok());
        let name = customer_secret(customer);
        let (Some(bytes), Some(wrapped)) = (bytes, store.vault_secret(&name).await?) else {
            return Err(VaultError::Sealed);
        };
        let key = self.unwrap_bound(&named(&name), &wrapped)?;
        let clear = open(&key, &[customer.0.as_bytes(), place.as_bytes()].concat(), &bytes)?;
        String::from_utf8(clear).map(Hidden).map_err(|_| VaultError::Sealed)
    }

    /// A hash of an address on a channel by which it is found again: HMAC-SHA-256 (FIPS 198-1) by a key of this vault. A plain hash
    /// would not do, since there are few enough telephone numbers to try them all.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn lookup(
        &self,
        store: &dyn Store,
        channel: &str,
        address: &str,
        at: Timestamp,
    ) -> Result<[u8; 32], VaultError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret(store, LOOKUP, at).await?);
        let length = (channel.len() as u64).to_be_bytes();
        let message = [&length[..], channel.as_bytes(), address.as_bytes()].concat();
        hmac::sign(&key, &message)
            .as_ref()
            .try_into()
            .map_err(|_| VaultError::Sealed)
    }

    /// The key of that name; it is made where there is none.
    async fn secret(&self, store: &dyn Store, name: &str, at: Timestamp) -> Result<[u8; KEY], VaultError> {
        let wrapped = match store.vault_secret(name).await? {
            Some(wrapped) => wrapped,
            None => {
                let wrapped = self.wrap_bound(&named(name), &random::<KEY>()?)?;
                store.add_vault_secret(name, &wrapped, at).await?
            }
        };
        self.unwrap_bound(&named(name), &wrapped)
    }

    /// Wraps the keys that belong to no conversation with the present master key; how many were not.
    async fn rotate_secrets(&self, store: &dyn Store) -> Result<usize, VaultError> {
        let mut changed = 0;
        let mut after = String::new();
        loop {
            let page = store.vault_secrets_after(&after, BATCH).await?;
            let Some((last, _)) = page.last() else {
                return Ok(changed);
            };
            after.clone_from(last);
            for (name, old) in &page {
                if !self.is_current(old) {
                    let key = self.unwrap_bound(&named(name), old)?;
                    let new = self.wrap_bound(&named(name), &key)?;
                    changed += usize::from(store.rewrap_vault_secret(name, old, &new).await?);
                }
            }
        }
    }

    fn is_current(&self, wrapped: &[u8]) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.last().is_some_and(|key| wrapped.starts_with(&key.name))
    }

    /// Reads the key file again: another process may have made a new key.
    fn refresh(&self) -> Result<(), VaultError> {
        if let Some(keys) = read(&self.path)? {
            *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        }
        Ok(())
    }

    fn wrap(&self, conversation: ConversationId, key: &[u8; KEY]) -> Result<Vec<u8>, VaultError> {
        self.wrap_bound(conversation.0.as_bytes(), key)
    }

    fn unwrap(&self, conversation: ConversationId, wrapped: &[u8]) -> Result<[u8; KEY], VaultError> {
        self.unwrap_bound(conversation.0.as_bytes(), wrapped)
    }

    fn wrap_bound(&self, bound: &[u8], key: &[u8; KEY]) -> Result<Vec<u8>, VaultError> {
        self.refresh()?;
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let master = keys.last().ok_or(VaultError::Sealed)?;
        let mut wrapped = master.name.to_vec();
        wrapped.extend(seal(&master.bytes, bound, key)?);
        Ok(wrapped)
    }

    fn unwrap_bound(&self, bound: &[u8], wrapped: &[u8]) -> Result<[u8; KEY], VaultError> {
        let (name, sealed) = wrapped.split_at_checked(NAME).ok_or(VaultError::Sealed)?;
        let known = self
            .keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .any(|key| key.name == name);
        if !known {
            self.refresh()?;
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let master = keys.iter().find(|key| key.name == name).ok_or(VaultError::Sealed)?;
        open(&master.bytes, bound, sealed)?
            .try_into()
            .map_err(|_| VaultError::Sealed)
    }
}

impl MasterKey {
    fn new() -> Result<Self, VaultError> {
        Ok(Self {
            name: random()?,
            bytes: random()?,
        })
    }
}

/// What a value is bound to: moved to another row it cannot be opened.
fn bound(conversation: ConversationId, id: VaultId, kind: &str) -> Vec<u8> {
    [conversation.0.as_bytes(), id.0.as_bytes(), kind.as_bytes()].concat()
}

fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| VaultError::Random)?;
    Ok(bytes)
}

fn aes(key: &[u8; KEY]) -> Result<LessSafeKey, VaultError> {
    UnboundKey::new(&AES_256_GCM, key)
        .map(LessSafeKey::new)
        .map_err(|_| VaultError::Sealed)
}

/// The nonce and `plain`, sealed. Nonces are random: a key seals a few hundred values, far from the 2^32 where they might meet.
fn seal(key: &[u8; KEY], bound: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
    let nonce = random::<NONCE_LEN>()?;
    let mut data = plain.to_vec();
    aes(key)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut data)
        .map_err(|_| VaultError::Sealed)?;
    Ok([&nonce[..], &data].concat())
}

fn open(key: &[u8; KEY], bound: &[u8], sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
    let (nonce, data) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(VaultError::Sealed)?;
    let mut data = data.to_vec();
    let plain = aes(key)?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(bound), &mut data)
        .map_err(|_| VaultError::Sealed)?;
    Ok(plain.to_vec())
}

fn fault(path: &Path, source: std::io::Error) -> VaultError {
    VaultError::Io {
        path: path.display().to_string(),
        source,
    }
}

/// The keys of a file; `None` if there is none.
fn read(path: &Path) -> Result<Option<Vec<MasterKey>>, VaultError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(path, error)),
    };
    let about = file.metadata().map_err(|error| fault(path, error))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(VaultError::Open {
                path: path.display().to_string(),
                mode,
            });
        }
    }
    let bad = |detail| VaultError::Format {
        path: path.display().to_string(),
        detail,
    };
    if !about.is_file() || about.len() > MAX_FILE {
        return Err(bad("it is no key file"));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| fault(path, error))?;
    let keys = text.lines().filter(|line| !line.trim().is_empty()).map(|line| {
        let mut words = line.split_whitespace();
        let (Some(LINE), Some(name), Some(bytes), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad("a line is none of a key"));
        };
        let decode = |word: &str| BASE64_STANDARD.decode(word).map_err(|_| bad("a line is none of a key"));
        let name = decode(name)?
            .try_into()
            .map_err(|_| bad("the name of a key has another length"))?;
        let bytes = decode(bytes)?.try_into().map_err(|_| bad("a key has another length"))?;
        Ok(MasterKey { name, bytes })
    });
    let keys: Vec<MasterKey> = keys.collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Err(bad("it has no key"));
    }
    Ok(Some(keys))
}

/// What becomes of a file that is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    Keep,
    Replace,
}

/// Writes the keys beside the file and puts that in its place, so that there is a whole file at any time.
fn write(path: &Path, keys: &[MasterKey], existing: Existing) -> Result<(), VaultError> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let done = (|| {
        fs::create_dir_all(directory)?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let mut file = options.open(&beside)?;
        for key in keys {
            writeln!(
                file,
                "{LINE} {} {}",
                BASE64_STANDARD.encode(key.name),
                BASE64_STANDARD.encode(key.bytes)
            )?;
        }
        file.sync_all()?;
        if existing == Existing::Keep {
            // A link, unlike a rename, does not replace what another process made meanwhile.
            fs::hard_link(&beside, path)?;
            fs::remove_file(&beside)?;
        } else {
            fs::rename(&beside, path)?;
        }
        File::open(directory)?.sync_all()
    })();
    if done.is_err() {
        fs::remove_file(&beside).ok();
    }
    done.map_err(|error| fault(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Channel, Conversation, ConversationStatus, SystemClock};
    use crate::storage::SqliteStore;
    use std::sync::Arc;

    async fn store(directory: &Path) -> (Arc<dyn Store>, ConversationId) {
        let store = SqliteStore::open(directory, Arc::new(SystemClock)).await.unwrap();
        let id = ConversationId::new();
        let conversation = Conversation {
            id,
            channel: Channel::Web,
            status: ConversationStatus::Open,
            token_sha256: String::new(),
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        };
        let store: Arc<dyn Store> = Arc::new(store);
        store.create_conversation(&conversation).await.unwrap();
        (store, id)
    }

    fn value(text: &str) -> NewValue {
        NewValue {
            message_id: MessageId::new(),
            kind: "mobile",
            place: 3..14,
            value: Hidden(text.to_owned()),
        }
    }

    #[tokio::test]
    async fn what_is_kept_is_revealed_and_what_is_erased_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let (store, id) = store(directory.path()).await;
        let path = directory.path().join("keys/vault.key");
        let vault = Vault::open(&path).unwrap();
        vault
            .keep(
                store.as_ref(),
                id,
                vec![value("13812345678"), value("second")],
                Timestamp::UNIX_EPOCH,
            )
            .await
            .unwrap();
        let kept = store.vault_values(id, 10).await.unwrap();
        assert_eq!((kept.len(), kept[0].place.clone()), (2, 3..14));
        assert!(!kept[0].sealed.windows(5).any(|part| part == b"13812"));

        // Another process rotates; this one goes on.
        assert_eq!(Vault::open(&path).unwrap().rotate(store.as_ref()).await.unwrap(), 1);
        let revealed = vault.reveal(store.as_ref(), id, kept[0].id).await.unwrap().unwrap();
        assert_eq!(revealed, ("mobile".to_owned(), Hidden("13812345678".to_owned())));
        assert!(
            vault
                .reveal(store.as_ref(), ConversationId::new(), kept[0].id)
                .await
                .unwrap()
                .is_none()
        );

        // Another key file opens nothing.
        let other = Vault::open(&directory.path().join("other.key")).unwrap();
        assert!(matches!(
            other.reveal(store.as_ref(), id, kept[0].id).await,
            Err(VaultError::Sealed)
        ));

        assert!(store.erase_vault(id).await.unwrap());
        assert!(store.vault_values(id, 10).await.unwrap().is_empty());
        assert!(!store.erase_vault(id).await.unwrap());
    }

    #[tokio::test]
    async fn a_customers_key_opens_what_is_the_customers_and_survives_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = store(directory.path()).await;
        let vault = Vault::open(&directory.path().join("vault.key")).unwrap();
        let (store, at, customer) = (store.as_ref(), Timestamp::UNIX_EPOCH, CustomerId::new());
        let sealed = vault
            .seal_for_customer(store, customer, "name", "王小明", at)
            .await
            .unwrap();
        assert!(!sealed.contains("王"));
        let lookup = vault.lookup(store, "wechat", "o123", at).await.unwrap();
        // One key for the customer, one to look up by.
        assert_eq!(vault.rotate(store).await.unwrap(), 2);
        assert_eq!(vault.lookup(store, "wechat", "o123", at).await.unwrap(), lookup);
        assert_ne!(vault.lookup(store, "wechato", "123", at).await.unwrap(), lookup);
        let opened = vault.open_for_customer(store, customer, "name", &sealed).await.unwrap();
        assert_eq!(opened, Hidden("王小明".to_owned()));
        for (who, place) in [(customer, "address"), (CustomerId::new(), "name")] {
            let wrong = vault.open_for_customer(store, who, place, &sealed).await;
            assert!(matches!(wrong, Err(VaultError::Sealed)));
        }
    }

    #[test]
    fn a_value_moved_to_another_row_is_not_opened() {
        let key = random().unwrap();
        let (conversation, id) = (ConversationId::new(), VaultId::new());
        let sealed = seal(&key, &bound(conversation, id, "name"), b"x").unwrap();
        assert!(open(&key, &bound(conversation, id, "name"), &sealed).is_ok());
        assert!(open(&key, &bound(conversation, VaultId::new(), "name"), &sealed).is_err());
        assert!(open(&key, &bound(conversation, id, "mobile"), &sealed).is_err());
        assert!(open(&key, b"", &sealed[..5]).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_key_file_that_others_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vault.key");
        Vault::open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Vault::open(&path), Err(VaultError::Open { mode: 0o640, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "nonsense").unwrap();
        assert!(matches!(Vault::open(&path), Err(VaultError::Format { .. })));
    }
}
