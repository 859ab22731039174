//! `kefu vault`: the key of what customers wrote in the clear.

use super::{Common, output};
use crate::app;
use crate::domain::{Clock, ConversationId, SystemClock};
use crate::people::COMMAND_LINE;
use crate::storage::AuditRecord;
use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::json;

/// Change the vault's key, or erase what it keeps
#[derive(Debug, Subcommand)]
pub enum VaultVerb {
    /// Make a new master key and wrap all keys with it; a running server goes on
    Rotate,
    /// Erase the personal data of a conversation: its key is removed, its values cannot be read again
    Erase {
        /// The conversation's id
        conversation: String,
    },
}

impl VaultVerb {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let config = common.settings(None)?;
        let store = common.store().await?;
        let (action, object, count) = match &self {
            Self::Rotate => {
                let vault = app::open_vault(&config, &common.data)?;
                let count = vault.rotate(store.as_ref()).await?;
                ("vault.rotate", "vault".to_owned(), count)
            }
            Self::Erase { conversation } => {
                let id: ConversationId = conversation.parse().context("a conversation's id is a UUID")?;
                if !store.erase_vault(id).await? {
                    bail!("the vault keeps nothing of conversation {id}");
                }
                ("vault.erase", format!("conversation:{id}"), 1)
            }
        };
        let record = AuditRecord {
            at: SystemClock.now(),
            actor: COMMAND_LINE.to_owned(),
            action: action.to_owned(),
            object,
            detail: json!({"keys": count}),
        };
        store.append_audit(&record).await?;
        if common.json {
            output::print_json(&json!({"action": action, "keys": count}));
        } else {
            match self {
                Self::Rotate => println!("{count} keys are wrapped with a new master key. Back up the key file now."),
                Self::Erase { .. } => println!("Erased."),
            }
        }
        store.close().await;
        Ok(())
    }
}
