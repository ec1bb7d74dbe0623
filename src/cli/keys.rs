//! `callgate keys`: makes, lists and revokes API keys.
//!
//! The secret of a key is printed once, alone on standard output, and nowhere else.

mod values;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use ipnet::IpNet;
use serde::Serialize;

use self::values::{Expiry, key_name, peer, shown, tenant};
use super::error::CliError;
use super::open_store;
use super::output::{Table, Terminal, short_time, short_time_or_none};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::id::{KeyId, TenantId};
use crate::keys::{KeyWish, Keys};
use crate::model::key::ApiKey;
use crate::model::rights::Right;

#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// Makes a key and prints its secret, which cannot be shown again
    Create(Box<CreateOptions>),
    /// Lists all keys, revoked ones included, without their secrets
    List {
        /// Prints a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Revokes a key for good; a running gateway refuses it from then on
    Revoke {
        /// The key's id, as `keys list` shows it
        #[arg(value_name = "ID")]
        id: KeyId,
    },
}

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[expect(clippy::doc_markdown, reason = "these are help texts")]
pub(super) struct CreateOptions {
    /// What the key is called in lists and logs, 3 to 128 characters
    #[arg(long, value_parser = key_name)]
    name: String,
    /// The tenant whose calls it may delete [default: graph.tenant_id]
    #[arg(long, value_name = "ID", value_parser = tenant)]
    tenant: Option<TenantId>,
    /// It is accepted only together with a session token
    #[arg(long)]
    requires_token: bool,
    /// An address or network it may be used from, such as 192.0.2.7 or 192.0.2.0/24; may be
    /// repeated [default: everywhere]
    #[arg(long, value_name = "PEER", value_parser = peer)]
    allow: Vec<IpNet>,
    /// A right it has, instead of the default ones; may be repeated. One of DeleteCall, GetCallID,
    /// GetCallInformation, GetDeletion (the default ones), Notify, see-candidates, see-holds
    #[arg(long)]
    right: Vec<Right>,
    /// It is accepted only when the method is POST; parameters may still be in the query string
    #[arg(long)]
    post_only: bool,
    /// Each deletion needs the parameter `reason`
    #[arg(long)]
    reason_required: bool,
    /// When it expires: a date and time such as 2027-01-31T00:00:00Z, or how long from now, such
    /// as 12h, 90d or 52w [default: never]
    #[arg(long, value_name = "TIME")]
    expires: Option<Expiry>,
    /// Prints id, name and secret as JSON
    #[arg(long)]
    json: bool,
}

/// Runs one of the commands.
///
/// # Errors
///
/// What failed changed nothing, unless the error says otherwise.
pub(super) async fn run(
    command: KeysCommand,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    match command {
        KeysCommand::Create(options) => create(*options, config, terminal).await,
        KeysCommand::List { json } => list(json, config, terminal).await,
        KeysCommand::Revoke { id } => {
            let revoked = open(config)?.revoke(id).await.context("the key was not revoked")?;
            if !revoked {
                let text = format!("no key that could be revoked has the id {id}; see `keys list`");
                return Err(CliError::Input(text).into());
            }
            terminal.say(&format!("key {id} is revoked"));
            Ok(())
        }
    }
}

async fn create(options: CreateOptions, config: &Config, terminal: Terminal) -> anyhow::Result<()> {
    let now = Clock::System.now();
    let expires_at = options.expires.map(|expiry| expiry.after(now)).transpose()?;
    let configured = || config.graph.tenant.as_ref().map(|tenant| tenant.id.clone());
    let tenant = options.tenant.or_else(configured).ok_or_else(|| {
        CliError::Usage(
            "a key belongs to one tenant: say which with --tenant ID, or configure \
             graph.tenant_id"
                .to_owned(),
        )
    })?;
    let wish = KeyWish {
        name: options.name.clone(),
        tenant: tenant.clone(),
        requires_token: options.requires_token,
        rights: without_repeats(options.right),
        peers: without_repeats(options.allow),
        post_only: options.post_only,
        reason_required: options.reason_required,
        expires_at,
    };
    let (id, secret) = open(config)?.create(wish).await.context("no key was made")?;
    let secret = secret.expose();
    let printed = if options.json {
        terminal.print_json(&serde_json::json!({
            "id": id.to_string(),
            "name": options.name,
            "secret": secret,
        }))
    } else {
        terminal.print(secret)
    };
    if printed.is_err() {
        // Whoever closed standard output has not seen the secret, so this is no quiet end.
        let text = format!("nobody read the secret of key {id}: run `callgate keys revoke {id}`");
        anyhow::bail!(text);
    }
    terminal.say(&format!(
        "key {id} for tenant {tenant}: this is its secret, which cannot be shown again"
    ));
    if options.requires_token {
        terminal.say(&format!(
            "it needs a session token: `callgate tokens create --key {id}` makes one"
        ));
    }
    Ok(())
}

async fn list(json: bool, config: &Config, terminal: Terminal) -> anyhow::Result<()> {
    let now = Clock::System.now();
    let keys = open(config)?.list().await.context("the keys could not be read")?;
    let keys: Vec<KeyEntry> = keys.iter().map(|key| KeyEntry::new(key, now)).collect();
    terminal.print_list(
        json,
        &keys,
        "there are no keys: `callgate keys create` makes one",
        |keys| {
            let mut table = Table::new(&[
                "ID", "NAME", "STATE", "TENANT", "RIGHTS", "NEEDS", "FROM", "EXPIRES", "CREATED",
            ]);
            for key in keys {
                table.add([
                    key.id.clone(),
                    key.name.clone(),
                    key.state.to_owned(),
                    key.tenant.clone(),
                    key.rights.join(","),
                    key.needs().join(","),
                    key.allow.join(","),
                    short_time_or_none(key.expires),
                    short_time(key.created),
                ]);
            }
            table
        },
    )
}

fn open(config: &Config) -> anyhow::Result<Keys> {
    let (store, pepper) = open_store(config)?;
    Ok(Keys::new(store, pepper, Clock::System))
}

/// A key as it is listed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyEntry {
    id: String,
    name: String,
    state: &'static str,
    #[serde(rename = "tenantID")]
    tenant: String,
    rights: Vec<&'static str>,
    allow: Vec<String>,
    requires_token: bool,
    post_only: bool,
    reason_required: bool,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    #[serde(skip)]
    created: Timestamp,
    #[serde(skip)]
    expires: Option<Timestamp>,
}

impl KeyEntry {
    fn new(key: &ApiKey, now: Timestamp) -> Self {
        let state = match key {
            key if key.revoked_at.is_some() => "revoked",
            key if !key.is_valid_at(now) => "expired",
            _ => "valid",
        };
        Self {
            id: key.id.to_string(),
            name: key.name.clone(),
            state,
            tenant: key.tenant.to_string(),
            rights: key.rights.iter().map(|right| right.as_str()).collect(),
            allow: key.peers.iter().map(shown).collect(),
            requires_token: key.requires_token,
            post_only: key.post_only,
            reason_required: key.reason_required,
            created_at: key.created_at.to_string(),
            expires_at: key.expires_at.map(|at| at.to_string()),
            revoked_at: key.revoked_at.map(|at| at.to_string()),
            created: key.created_at,
            expires: key.expires_at,
        }
    }

    fn needs(&self) -> Vec<&'static str> {
        [(self.requires_token, "token"), (self.post_only, "post"), (self.reason_required, "reason")]
            .into_iter()
            .filter_map(|(needed, what)| needed.then_some(what))
            .collect()
    }
}

fn without_repeats<T: PartialEq>(items: Vec<T>) -> Vec<T> {
    items.into_iter().fold(Vec::new(), |mut kept, item| {
        if !kept.contains(&item) {
            kept.push(item);
        }
        kept
    })
}
