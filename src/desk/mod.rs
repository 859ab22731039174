//! The people's side: who writes, on which channels, and what people who take over see.
//!
//! An address (a telephone number, an account) is found by a keyed hash and kept sealed with the customer's own key; in the clear it
//! lies nowhere. Customers that turn out to be one are merged by a pointer, so that it can be undone exactly.

mod address;

use crate::domain::{
    Clock, Conversation, ConversationId, Customer, CustomerId, Handoff, Hidden, Identity, IdentityId, PastMessage,
};
use crate::storage::{AuditRecord, StorageError, Store, Vault, VaultError};
use crate::understanding::pii::Masker;
use address::{canonical, shown_address, shown_name};
use serde_json::{Value, json};
use std::sync::Arc;

/// Characters of an address.
const MAX_ADDRESS_CHARS: usize = 200;
/// Characters of a channel's name.
const MAX_CHANNEL_CHARS: usize = 40;
/// Characters of a name.
const MAX_NAME_CHARS: usize = 100;
/// Characters of a reason: a word says nothing.
const REASON_CHARS: std::ops::RangeInclusive<usize> = 4..=1000;
/// Conversations that a profile shows.
const SHOWN_CONVERSATIONS: u32 = 50;

/// What the vault calls a customer's name.
const NAME: &str = "name";

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeskError {
    /// What was given makes no sense.
    #[error("{field}: {detail}")]
    Invalid {
        /// Which part of it.
        field: &'static str,
        /// What is wrong, and what would be right.
        detail: String,
    },
    /// Customers are kept sealed, and there is no vault.
    #[error("customers are kept in the vault, which is off: set [privacy] vault = true")]
    NoVault,
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A customer with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The customer that all others were merged into.
    pub customer: Customer,
    /// The customers merged into it.
    pub merged: Vec<Customer>,
    /// Where it writes from.
    pub identities: Vec<Identity>,
    /// Its conversations, newest first, at most 50.
    pub conversations: Vec<Conversation>,
}

/// A customer in the clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clear {
    /// The name; may be empty.
    pub name: Hidden<String>,
    /// Channels with addresses.
    pub addresses: Vec<(String, Hidden<String>)>,
}

/// A conversation as the person who takes it over sees it, beside its messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Whose it is, where that is known.
    pub profile: Option<Profile>,
    /// What happened, where a person was called.
    pub handoff: Option<Handoff>,
    /// What the customer said and heard in other conversations, oldest first.
    pub history: Vec<PastMessage>,
}

/// Customers over a store.
pub struct Customers {
    store: Arc<dyn Store>,
    vault: Option<Arc<Vault>>,
    clock: Arc<dyn Clock>,
    masker: Masker,
    history: u32,
}

impl Customers {
    /// Customers kept in `store`, sealed by `vault`. A person sees up to `history` messages of a customer's other conversations.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        vault: Option<Arc<Vault>>,
        clock: Arc<dyn Clock>,
        masker: Masker,
        history: u32,
    ) -> Self {
        Self {
            store,
            vault,
            clock,
            masker,
            history,
        }
    }

    fn vault(&self) -> Result<&Vault, DeskError> {
        self.vault.as_deref().ok_or(DeskError::NoVault)
    }

    fn record(&self, actor: &str, action: &str, object: String, detail: Value) -> AuditRecord {
        AuditRecord {
            at: self.clock.now(),
            actor: actor.to_owned(),
            action: action.to_owned(),
            object,
            detail,
        }
    }

    /// The customer at that address, the one that it was merged into; `None` if nobody is known there.
    ///
    /// # Errors
    /// `Invalid`, `NoVault`, what the vault and the database report.
    pub async fn find(&self, channel: &str, address: &str) -> Result<Option<Customer>, DeskError> {
        let address = checked(channel, address)?;
        let store = self.store.as_ref();
        let lookup = self.vault()?.lookup(store, channel, &address, self.clock.now()).await?;
        match store.find_identity(channel, &lookup).await? {
            Some(identity) => self.root(identity.customer_id).await,
            None => Ok(None),
        }
    }

    async fn root(&self, id: CustomerId) -> Result<Option<Customer>, DeskError> {
        Ok(self.store.whole_customer(id).await?.into_iter().next())
    }

    /// The customer at that address; somebody new where nobody is known there. With whether it is new.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn identify(
        &self,
        channel: &str,
        address: &str,
        name: &str,
        actor: &str,
    ) -> Result<(Customer, bool), DeskError> {
        if let Some(known) = self.find(channel, address).await? {
            return Ok((known, false));
        }
        let now = self.clock.now();
        let id = CustomerId::new();
        let (shown, sealed) = self.sealed_name(id, name).await?;
        let customer = Customer {
            id,
            shown,
            sealed,
            merged_into: None,
            created_at: now,
            updated_at: now,
        };
        let added = self.add(&customer, channel, address, actor).await?;
        match self.root(added.customer_id).await? {
            // Somebody else was first.
            Some(other) if added.customer_id != id => Ok((other, false)),
            _ => Ok((customer, true)),
        }
    }

    /// Adds an address to a customer. `Conflict` where it is another's.
    ///
    /// # Errors
    /// As [`Self::find`]; `Missing` where there is no such customer.
    pub async fn add_address(
        &self,
        id: CustomerId,
        channel: &str,
        address: &str,
        actor: &str,
    ) -> Result<Identity, DeskError> {
        let customer = self.store.customer(id).await?.ok_or_else(|| missing(id))?;
        let added = self.add(&customer, channel, address, actor).await?;
        if added.customer_id == id {
            return Ok(added);
        }
        let same = self.store.whole_customer(id).await?;
        if same.iter().any(|part| part.id == added.customer_id) {
            return Ok(added);
        }
        let conflict = StorageError::Conflict {
            item: format!("customer {id}"),
            detail: format!("the address is customer {}'s: merge the two", added.customer_id),
        };
        Err(conflict.into())
    }

    async fn add(&self, customer: &Customer, channel: &str, address: &str, actor: &str) -> Result<Identity, DeskError> {
        let address = checked(channel, address)?;
        let now = self.clock.now();
        let (store, vault) = (self.store.as_ref(), self.vault()?);
        let id = IdentityId::new();
        let identity = Identity {
            id,
            customer_id: customer.id,
            channel: channel.to_owned(),
            lookup: vault.lookup(store, channel, &address, now).await?,
            shown: shown_address(&self.masker, &address),
            sealed: vault
                .seal_for_customer(store, customer.id, &id.to_string(), &address, now)
                .await?,
            created_at: now,
        };
        let detail = json!({"identity": id.to_string(), "channel": channel});
        let record = self.record(actor, "customer.identify", object(customer.id), detail);
        Ok(store.add_identity(customer, &identity, &record).await?)
    }

    async fn sealed_name(&self, id: CustomerId, name: &str) -> Result<(String, String), DeskError> {
        let name = name.trim();
        if name.chars().count() > MAX_NAME_CHARS {
            return Err(invalid("name", format!("it has at most {MAX_NAME_CHARS} characters")));
        }
        if name.is_empty() {
            return Ok((String::new(), String::new()));
        }
        let sealed = self
            .vault()?
            .seal_for_customer(self.store.as_ref(), id, NAME, name, self.clock.now())
            .await?;
        Ok((shown_name(name), sealed))
    }

    /// Gives a customer another name; `false` if there is no such customer.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn rename(&self, id: CustomerId, name: &str, actor: &str) -> Result<bool, DeskError> {
        if self.store.customer(id).await?.is_none() {
            return Ok(false);
        }
        let (shown, sealed) = self.sealed_name(id, name).await?;
        let record = self.record(actor, "customer.rename", object(id), json!({}));
        Ok(self.store.set_profile(id, &shown, &sealed, &record).await?)
    }

    /// The whole customer that `id` belongs to; `None` if there is none.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn profile(&self, id: CustomerId) -> Result<Option<Profile>, DeskError> {
        let mut parts = self.store.whole_customer(id).await?.into_iter();
        let Some(customer) = parts.next() else {
            return Ok(None);
        };
        let merged: Vec<Customer> = parts.collect();
        let (mut identities, mut conversations) = (Vec::new(), Vec::new());
        for part in std::iter::once(&customer).chain(&merged) {
            identities.extend(self.store.identities(part.id).await?);
            conversations.extend(self.store.conversations_of(part.id, SHOWN_CONVERSATIONS).await?);
        }
        conversations.sort_by_key(|conversation| std::cmp::Reverse(conversation.id));
        conversations.truncate(SHOWN_CONVERSATIONS as usize);
        Ok(Some(Profile {
            customer,
            merged,
            identities,
            conversations,
        }))
    }

    /// The whole customer in the clear, for somebody with a reason; who and why is in the audit log before anything is out. `None` if
    /// there is no such customer.
    ///
    /// # Errors
    /// `Invalid` for a reason that says nothing; as [`Self::find`].
    pub async fn reveal(&self, id: CustomerId, actor: &str, reason: &str) -> Result<Option<Clear>, DeskError> {
        let detail = json!({ "reason": self.reason(reason)? });
        let vault = self.vault()?;
        let Some(profile) = self.profile(id).await? else {
            return Ok(None);
        };
        let record = self.record(actor, "customer.reveal", object(profile.customer.id), detail);
        self.store.append_audit(&record).await?;
        let store = self.store.as_ref();
        let mut name = Hidden(String::new());
        for part in std::iter::once(&profile.customer).chain(&profile.merged) {
            if name.0.is_empty() && !part.sealed.is_empty() {
                name = vault.open_for_customer(store, part.id, NAME, &part.sealed).await?;
            }
        }
        let mut addresses = Vec::new();
        for identity in profile.identities {
            let place = identity.id.to_string();
            let clear = vault
                .open_for_customer(store, identity.customer_id, &place, &identity.sealed)
                .await?;
            addresses.push((identity.channel, clear));
        }
        Ok(Some(Clear { name, addresses }))
    }

    /// A reason as it is kept: personal data in it is masked.
    fn reason(&self, reason: &str) -> Result<String, DeskError> {
        let reason = reason.trim();
        if !REASON_CHARS.contains(&reason.chars().count()) {
            let (least, most) = (REASON_CHARS.start(), REASON_CHARS.end());
            return Err(invalid(
                "reason",
                format!("give a reason of {least} to {most} characters"),
            ));
        }
        Ok(self.masker.mask(reason).text)
    }

    /// Says that `id` and `into` are one customer. Nothing of either is changed but a pointer; [`Self::unmerge`] removes it. `false` if
    /// one of them is not there.
    ///
    /// # Errors
    /// `Conflict` where they are one already, or `id` was merged before; `Invalid` for a reason that says nothing.
    pub async fn merge(&self, id: CustomerId, into: CustomerId, actor: &str, reason: &str) -> Result<bool, DeskError> {
        let detail = json!({"into": into.to_string(), "reason": self.reason(reason)?});
        let record = self.record(actor, "customer.merge", object(id), detail);
        Ok(self.store.merge_customer(id, Some(into), &record).await?)
    }

    /// Undoes [`Self::merge`]: what came in at either customer's addresses, before or since, is that one's own again. `false` if
    /// there is no such customer.
    ///
    /// # Errors
    /// `Conflict` where it was merged into no other one; `Invalid` for a reason that says nothing.
    pub async fn unmerge(&self, id: CustomerId, actor: &str, reason: &str) -> Result<bool, DeskError> {
        let from = self.store.customer(id).await?.and_then(|customer| customer.merged_into);
        let detail = json!({
            "from": from.map(|from| from.to_string()), "reason": self.reason(reason)?,
        });
        let record = self.record(actor, "customer.unmerge", object(id), detail);
        Ok(self.store.merge_customer(id, None, &record).await?)
    }

    /// Says whose a conversation is: the customer of that address, as it is known then. `false` if there is no such conversation.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn link(
        &self,
        conversation: ConversationId,
        channel: &str,
        address: &str,
        name: &str,
        actor: &str,
    ) -> Result<Option<Customer>, DeskError> {
        let (root, _) = self.identify(channel, address, name, actor).await?;
        let address = checked(channel, address)?;
        let store = self.store.as_ref();
        let lookup = self.vault()?.lookup(store, channel, &address, self.clock.now()).await?;
        // The customer whose address it is, not the one that was merged into: so a merge can be undone.
        let own = store.find_identity(channel, &lookup).await?;
        let own = own.map_or(root.id, |identity| identity.customer_id);
        Ok(self.link_to(conversation, own, actor).await?.then_some(root))
    }

    /// Says whose a conversation is. `false` if there is no such conversation, or no such customer.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn link_to(
        &self,
        conversation: ConversationId,
        customer: CustomerId,
        actor: &str,
    ) -> Result<bool, DeskError> {
        let detail = json!({"customer": customer.to_string()});
        let record = self.record(
            actor,
            "conversation.customer",
            format!("conversation:{conversation}"),
            detail,
        );
        let store = self.store.as_ref();
        Ok(store
            .set_conversation_customer(conversation, Some(customer), &record)
            .await?)
    }

    /// What the person who takes a conversation over sees beside its messages.
    ///
    /// # Errors
    /// What the database reports.
    pub async fn case(&self, conversation: ConversationId) -> Result<Case, DeskError> {
        let customer = self.store.conversation_customer(conversation).await?;
        let (profile, history) = match customer {
            Some(customer) => (
                self.profile(customer).await?,
                self.store.past_messages(customer, conversation, self.history).await?,
            ),
            None => (None, Vec::new()),
        };
        Ok(Case {
            profile,
            handoff: self.store.handoff(conversation).await?,
            history,
        })
    }
}

fn object(id: CustomerId) -> String {
    format!("customer:{id}")
}

fn missing(id: CustomerId) -> StorageError {
    StorageError::Missing {
        what: "customer",
        name: id.to_string(),
    }
}

fn invalid(field: &'static str, detail: String) -> DeskError {
    DeskError::Invalid { field, detail }
}

/// The address in the one form in which it is looked up.
fn checked(channel: &str, address: &str) -> Result<String, DeskError> {
    let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if channel.is_empty() || channel.len() > MAX_CHANNEL_CHARS || !channel.chars().all(named) {
        let detail = format!("a channel's name has 1 to {MAX_CHANNEL_CHARS} of a to z, 0 to 9, - and _");
        return Err(invalid("channel", detail));
    }
    let address = canonical(channel, address);
    if address.is_empty() || address.chars().count() > MAX_ADDRESS_CHARS {
        return Err(invalid(
            "address",
            format!("it has 1 to {MAX_ADDRESS_CHARS} characters"),
        ));
    }
    Ok(address)
}
