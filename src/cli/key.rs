//! `kefu key`: API keys. A key is shown once, when it is made; only its hash is stored.

use super::{Common, output};
use crate::domain::{ApiKeyId, Clock, SystemClock, sha256_hex};
use crate::storage::ApiKey;
use anyhow::{Context, bail};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::Subcommand;
use rand::RngCore;
use serde_json::json;

/// Make, list and revoke API keys
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key; it is shown this once
    New {
        /// What people call it, for example the client's name
        name: String,
    },
    /// List keys
    List,
    /// Revoke a key at once
    Revoke {
        /// The key's id, as `list` shows it
        id: String,
    },
}

impl Key {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let store = common.store().await?;
        let now = SystemClock.now();
        match self {
            Self::New { name } => {
                let mut secret = [0_u8; 32];
                rand::rng().fill_bytes(&mut secret);
                let key = format!("kefu-{}", BASE64_URL_SAFE_NO_PAD.encode(secret));
                let sha256 = sha256_hex(key.as_bytes());
                let row = ApiKey {
                    id: ApiKeyId::new(),
                    name,
                    sha256,
                    created_at: now,
                    revoked_at: None,
                };
                store.add_key(&row).await?;
                if common.json {
                    output::print_json(&json!({"id": row.id, "name": row.name, "key": key}));
                } else {
                    println!("{key}");
                    eprintln!("Keep it now: it cannot be shown again. Clients send it as `Authorization: Bearer KEY`.");
                }
            }
            Self::List => {
                let keys = store.keys().await?;
                if common.json {
                    let rows: Vec<_> = keys
                        .iter()
                        .map(|k| json!({"id": k.id, "name": k.name, "created_at": k.created_at, "revoked_at": k.revoked_at}))
                        .collect();
                    output::print_json(&json!(rows));
                } else {
                    for key in keys {
                        let state = key.revoked_at.map_or("active".to_owned(), |at| format!("revoked {at}"));
                        println!("{}  {}  {}  {state}", key.id, key.created_at, key.name);
                    }
                }
            }
            Self::Revoke { id } => {
                let id: ApiKeyId = id.parse().context("that is no key id; `kefu key list` shows them")?;
                if !store.revoke_key(id, now).await? {
                    bail!("there is no active key {id}; `kefu key list` shows them");
                }
            }
        }
        store.close().await;
        Ok(())
    }
}
