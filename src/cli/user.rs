//! `kefu user`: the people who sign in to the web pages. A password is asked for twice, or read from standard input.

use super::{Common, output};
use crate::domain::{Hidden, StaffRole, SystemClock};
use crate::people::{COMMAND_LINE, NewUser, People};
use crate::storage::User;
use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use console::Term;
use serde_json::{Value, json};
use std::io::{IsTerminal, Read};
use std::sync::Arc;

/// Bytes read of a password on standard input.
const MAX_INPUT_BYTES: u64 = 8192;

/// Add, list and shut out the people who sign in
#[derive(Debug, Subcommand)]
pub enum UserVerb {
    /// Add somebody; asks for a password
    Add {
        /// What the person signs in with
        name: String,
        /// What the person may do
        #[arg(long, value_enum, default_value = "agent")]
        role: RoleName,
        /// What others see; the name where it is left out
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// Ask the person for another password at the first sign-in
        #[arg(long)]
        must_change: bool,
    },
    /// Give somebody another password; ends all sessions of that account
    Passwd {
        /// Who
        name: String,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
        /// Ask the person for another password at the next sign-in
        #[arg(long)]
        must_change: bool,
    },
    /// Give somebody another role; ends all sessions of that account
    Role {
        /// Who
        name: String,
        /// What the person may do
        #[arg(value_enum)]
        role: RoleName,
    },
    /// Ask somebody for a one-time code at each sign-in; prints what an authenticator reads
    Totp {
        /// Who
        name: String,
        /// No longer ask
        #[arg(long)]
        off: bool,
    },
    /// List accounts
    List,
    /// Shut somebody out at once
    Disable {
        /// Who
        name: String,
    },
    /// Let somebody in again
    Enable {
        /// Who
        name: String,
    },
}

/// A role, as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RoleName {
    /// Talks to customers, suggests changes of the knowledge base
    Agent,
    /// Decides what the knowledge base says
    Supervisor,
    /// Everything
    Admin,
    /// Sees everything and changes nothing
    Auditor,
}

impl From<RoleName> for StaffRole {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Agent => Self::Agent,
            RoleName::Supervisor => Self::Supervisor,
            RoleName::Admin => Self::Admin,
            RoleName::Auditor => Self::Auditor,
        }
    }
}

impl UserVerb {
    pub async fn run(self, common: &Common) -> anyhow::Result<()> {
        let store = common.store().await?;
        let people = People::new(Arc::clone(&store), Arc::new(SystemClock));
        let done = self.perform(common, &people).await;
        store.close().await;
        done
    }

    async fn perform(self, common: &Common, people: &People) -> anyhow::Result<()> {
        match self {
            Self::Add {
                name,
                role,
                display_name,
                password_stdin,
                must_change,
            } => {
                let new = NewUser {
                    name,
                    display_name,
                    role: role.into(),
                    password: read_password(password_stdin)?,
                    must_change,
                };
                let user = people.add(new, COMMAND_LINE).await?;
                tell(common, &user, "added");
            }
            Self::Passwd {
                name,
                password_stdin,
                must_change,
            } => {
                let password = read_password(password_stdin)?;
                let user = people
                    .reset_password(&name, password, must_change, COMMAND_LINE)
                    .await?;
                tell(common, &user, "has another password; all sessions ended");
            }
            Self::Role { name, role } => {
                let user = people.set_role(&name, role.into(), COMMAND_LINE).await?;
                tell(common, &user, "has another role; all sessions ended");
            }
            Self::Totp { name, off: true } => {
                let user = people.drop_codes(&name, COMMAND_LINE).await?;
                tell(common, &user, "signs in without a code");
            }
            Self::Totp { name, off: false } => {
                let (user, secret) = people.require_codes(&name, COMMAND_LINE).await?;
                let uri = secret.uri(&user.name);
                if common.json {
                    output::print_json(&json!({"user": row(&user), "otpauth": uri}));
                } else {
                    println!("{uri}");
                    eprintln!("Enter it into an authenticator now: it cannot be shown again. All sessions ended.");
                }
            }
            Self::List => list(common, &people.list().await?),
            Self::Disable { name } => {
                let user = people.disable(&name, COMMAND_LINE).await?;
                tell(common, &user, "is shut out; all sessions ended");
            }
            Self::Enable { name } => {
                let user = people.enable(&name, COMMAND_LINE).await?;
                tell(common, &user, "may sign in again");
            }
        }
        Ok(())
    }
}

fn tell(common: &Common, user: &User, what: &str) {
    if common.json {
        output::print_json(&row(user));
    } else {
        println!("{} ({}) {what}", user.name, user.role.name());
    }
}

fn list(common: &Common, users: &[User]) {
    if common.json {
        output::print_json(&users.iter().map(row).collect());
        return;
    }
    for user in users {
        let state = match user.disabled_at {
            Some(at) => format!("disabled {at}"),
            None if user.must_change => "must choose a password".to_owned(),
            None => "active".to_owned(),
        };
        let codes = if user.totp_secret.is_some() {
            ", one-time codes"
        } else {
            ""
        };
        println!(
            "{}  {}  {}  {state}{codes}",
            user.name,
            user.role.name(),
            user.display_name
        );
    }
    if users.is_empty() {
        eprintln!("There is no account yet: `kefu user add NAME --role admin` makes the first.");
    }
}

fn row(user: &User) -> Value {
    json!({
        "id": user.id,
        "name": user.name,
        "display_name": user.display_name,
        "role": user.role,
        "one_time_codes": user.totp_secret.is_some(),
        "created_at": user.created_at,
        "disabled_at": user.disabled_at,
        "password_changed_at": user.password_changed_at,
        "must_change": user.must_change,
    })
}

/// The password: one line of standard input, or what is typed twice.
fn read_password(from_input: bool) -> anyhow::Result<Hidden<String>> {
    if from_input {
        let mut text = String::new();
        std::io::stdin()
            .take(MAX_INPUT_BYTES)
            .read_to_string(&mut text)
            .context("reading the password from standard input")?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.contains('\n') {
            bail!("standard input must hold one line: the password");
        }
        return Ok(Hidden(line.to_owned()));
    }
    if !std::io::stdin().is_terminal() {
        bail!("no terminal to ask for the password on: give it on standard input, with --password-stdin");
    }
    let terminal = Term::stderr();
    let ask = |words: &str| -> std::io::Result<String> {
        terminal.write_str(words)?;
        terminal.read_secure_line()
    };
    let first = ask("Password (at least 12 characters): ")?;
    let second = ask("Again: ")?;
    if first != second {
        bail!("the two passwords differ; nothing was changed");
    }
    Ok(Hidden(first))
}
