//! `kefu customer`: who writes, and forgetting somebody.

use super::{Common, output};
use crate::app;
use crate::domain::{CustomerId, SystemClock};
use crate::jobs::Eraser;
use crate::people::COMMAND_LINE;
use anyhow::{Context, bail};
use clap::Subcommand;
use serde_json::json;
use std::sync::Arc;

/// Look customers up, and forget them
#[derive(Debug, Subcommand)]
pub enum CustomerVerb {
    /// The customer at an address
    Find {
        /// The channel: phone, email, wechat ...
        channel: String,
        /// The address on it
        address: String,
    },
    /// What is known of a customer, masked
    Show {
        /// The customer's id
        customer: String,
    },
    /// Forget a customer: conversations, personal data, keys, and what was learnt from them. It cannot be undone
    Erase {
        /// The customer's id
        customer: String,
        /// Why; kept in the audit log
        #[arg(long)]
        reason: String,
    },
}

impl CustomerVerb {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let config = common.settings(None)?;
        let store = common.store().await?;
        let done = match self {
            Self::Find { channel, address } => {
                let customers = app::customers(&config, &store, &common.data)?;
                match customers.find(&channel, &address).await? {
                    Some(customer) => show(common, &customers, customer.id).await,
                    None => bail!("nobody is known at that address"),
                }
            }
            Self::Show { customer } => {
                let customers = app::customers(&config, &store, &common.data)?;
                show(common, &customers, parse(&customer)?).await
            }
            Self::Erase { customer, reason } => {
                let id = parse(&customer)?;
                let eraser = Eraser::new(Arc::clone(&store), Arc::new(SystemClock), app::masker(&config)?);
                match eraser.erase_customer(id, COMMAND_LINE, &reason).await? {
                    None => bail!("there is no customer {id}"),
                    Some(erased) if common.json => {
                        output::print_json(&json!({"customer": id.to_string(), "erased": erased}));
                    }
                    Some(erased) => {
                        let removed = erased.removed;
                        println!(
                            "Forgotten: {} conversations with {} messages, {} keys of personal data, {} examples.",
                            removed.conversations, removed.messages, removed.vault_keys, removed.examples
                        );
                        if !erased.settled {
                            println!("Somebody still reads what was before: it is out of the files when that ends.");
                        }
                    }
                }
                Ok(())
            }
        };
        store.close().await;
        done
    }
}

fn parse(id: &str) -> anyhow::Result<CustomerId> {
    id.parse().context("a customer's id is a UUID")
}

async fn show(common: &Common, customers: &crate::desk::Customers, id: CustomerId) -> anyhow::Result<()> {
    let Some(profile) = customers.profile(id).await? else {
        bail!("there is no customer {id}")
    };
    let conversations: Vec<String> = (profile.conversations.iter())
        .map(|conversation| conversation.id.to_string())
        .collect();
    if common.json {
        let addresses: Vec<_> = (profile.identities.iter())
            .map(|identity| json!({"channel": identity.channel, "address": identity.shown}))
            .collect();
        let merged: Vec<String> = profile.merged.iter().map(|part| part.id.to_string()).collect();
        output::print_json(&json!({
            "id": profile.customer.id.to_string(), "name": profile.customer.shown, "addresses": addresses,
            "merged": merged, "conversations": conversations,
        }));
        return Ok(());
    }
    println!("{}  {}", profile.customer.id, profile.customer.shown);
    for identity in &profile.identities {
        println!("  {}  {}", identity.channel, identity.shown);
    }
    for part in &profile.merged {
        println!("  merged: {}  {}", part.id, part.shown);
    }
    for conversation in conversations {
        println!("  conversation {conversation}");
    }
    Ok(())
}
