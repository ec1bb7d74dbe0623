//! `callgate keys create`: a new key, and what whoever made it should know.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::open;
use super::values::{Expiry, check_scope_all, key_name, owner, peer, tenant};
use crate::cli::error::CliError;
use crate::cli::output::Terminal;
use crate::clock::Clock;
use crate::config::Config;
use crate::id::{KeyId, TenantId};
use crate::keys::KeyWish;
use crate::model::key::Peer;
use crate::model::number::pattern::NumberPattern;
use crate::model::rights::Right;
use crate::model::selector::IdentifierKind;
use crate::operator::Operator;
use crate::secret::Secret;

/// How long the addresses of a name are waited for; it is only for a note.
const RESOLVE: Duration = Duration::from_secs(3);

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[expect(clippy::doc_markdown, reason = "these are help texts")]
pub(in crate::cli) struct CreateOptions {
    /// What the key is called in lists and logs, 3 to 128 characters
    #[arg(long, value_parser = key_name)]
    name: String,
    /// Whom to ask about it, up to 256 characters
    #[arg(long, value_name = "TEXT", value_parser = owner)]
    owner: Option<String>,
    /// The tenant whose calls it may delete [default: graph.tenant_id]
    #[arg(long, value_name = "ID", value_parser = tenant)]
    tenant: Option<TenantId>,
    /// It is accepted only together with a session token, which it may ask for
    #[arg(long)]
    requires_token: bool,
    /// An address, network or host name it may be used from, such as 192.0.2.7, 192.0.2.0/24 or
    /// pbx.example.com; may be repeated [default: everywhere]
    #[arg(long, value_name = "PEER", value_parser = peer)]
    allow: Vec<Peer>,
    /// A right it has, instead of the default ones; may be repeated. One of DeleteCall, GetCallID,
    /// GetCallInformation, GetDeletion (the default ones), RequestToken, ReleaseToken (with
    /// --requires-token default ones too), RejectCall, DeleteParticipant, InviteParticipant, Notify,
    /// see-candidates, see-holds, next (arm a deletion for the next call), scope-all or scope-all:N (a
    /// DeleteCall may remove up to N others, 50 without a number)
    #[arg(long)]
    right: Vec<Right>,
    /// What it may name a call by: callID, platformCallID, nativeID, meetingID or extension; may be
    /// repeated [default: all of them]
    #[arg(long, value_name = "KIND")]
    identifier: Vec<IdentifierKind>,
    /// A number or address that one party of a call must have, such as +4930* or 8???, or the call
    /// does not exist for it: * stands for any run of characters, ? for one, a backslash makes them
    /// ordinary; may be repeated [default: every call]
    #[arg(long, value_name = "PATTERN")]
    numbers: Vec<NumberPattern>,
    /// It is accepted only when the method is POST; parameters may still be in the query string
    #[arg(long)]
    post_only: bool,
    /// Each deletion needs the parameter `reason`
    #[arg(long)]
    reason_required: bool,
    /// A password in the query string is refused; in a form or in `Authorization` it is not
    #[arg(long)]
    no_query_passwords: bool,
    /// When it expires: a date and time such as 2027-01-31T00:00:00Z, or how long from now, such
    /// as 12h, 90d or 52w [default: never]
    #[arg(long, value_name = "TIME")]
    expires: Option<Expiry>,
    /// Prints id, name and secret as JSON
    #[arg(long)]
    json: bool,
}

impl CreateOptions {
    fn wish(self, config: &Config) -> Result<KeyWish, CliError> {
        let now = Clock::System.now();
        let expires_at = self.expires.map(|expiry| expiry.after(now)).transpose();
        let expires_at =
            expires_at.map_err(|problem| CliError::Usage(format!("--expires: {problem}")))?;
        let tenant = self.tenant.or_else(|| configured(config)).ok_or_else(|| {
            CliError::Usage(
                "a key belongs to one tenant: say which with --tenant ID, or configure \
                 graph.tenant_id"
                    .to_owned(),
            )
        })?;
        let rights = without_repeats(self.right);
        check_scope_all(&rights)
            .map_err(|problem| CliError::Usage(format!("--right: {problem}")))?;
        Ok(KeyWish {
            owner: self.owner,
            requires_token: self.requires_token,
            rights,
            identifiers: without_repeats(self.identifier),
            numbers: without_repeats(self.numbers),
            peers: without_repeats(self.allow),
            post_only: self.post_only,
            reason_required: self.reason_required,
            query_passwords: !self.no_query_passwords,
            expires_at,
            ..KeyWish::named(self.name, tenant)
        })
    }
}

/// Runs the command.
///
/// # Errors
///
/// No key was made, unless the error says otherwise.
pub(super) async fn run(
    options: CreateOptions,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let json = options.json;
    let wish = options.wish(config)?;
    let made = open(config)?.create(&Operator::of_this_process(), wish.clone()).await;
    let (id, secret) = made.context("no key was made")?;
    let shown = json.then(|| {
        serde_json::json!({
            "id": id.to_string(),
            "name": wish.name,
            "secret": secret.expose(),
        })
    });
    print_secret(id, &secret, shown.as_ref(), &format!("keys revoke {id}"), terminal)?;
    terminal.say(&format!(
        "key {id} for tenant {}: this is its secret, which cannot be shown again",
        wish.tenant
    ));
    say_what_is_missing(&wish, config, terminal).await;
    if wish.requires_token {
        say_how_to_log_in(id, &wish, config, terminal);
    }
    Ok(())
}

/// Prints the secret alone, or as a part of `json`. Whoever closed standard output has not seen it,
/// so this is no quiet end.
///
/// # Errors
///
/// What to do about a key whose secret nobody has: to `run` this.
pub(super) fn print_secret(
    id: KeyId,
    secret: &Secret<String>,
    json: Option<&serde_json::Value>,
    run: &str,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let printed = match json {
        Some(json) => terminal.print_json(json),
        None => terminal.print(secret.expose()),
    };
    if printed.is_err() {
        anyhow::bail!("nobody read the secret of key {id}: run `callgate {run}`");
    }
    Ok(())
}

/// What keeps a new key from being of use.
async fn say_what_is_missing(wish: &KeyWish, config: &Config, terminal: Terminal) {
    if !config.graph.tenants().any(|tenant| tenant.id == wish.tenant) {
        terminal.say(&format!(
            "tenant {} is not configured: until it is, no deletion that the key asks for is recorded",
            wish.tenant
        ));
    }
    for peer in &wish.peers {
        let Peer::Host(name) = peer else { continue };
        if !has_address(name).await {
            terminal.say(&format!("{name} has no address now: the key answers 503 until it has"));
        }
    }
}

async fn has_address(name: &str) -> bool {
    let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((name, 0))).await;
    found.is_ok_and(|found| found.is_ok_and(|mut addresses| addresses.next().is_some()))
}

fn say_how_to_log_in(id: KeyId, wish: &KeyWish, config: &Config, terminal: Terminal) {
    let may_ask = wish.rights.is_empty() || wish.rights.contains(&Right::RequestToken);
    if may_ask {
        let tenant = match configured(config) {
            Some(own) if own == wish.tenant => String::new(),
            _ => format!(" --tenant {}", wish.tenant),
        };
        terminal.say(&format!(
            "it needs a session token, and may ask for one with RequestToken: `callgate users \
             create LOGIN{tenant}` makes somebody to log in with"
        ));
    } else {
        terminal.say(&format!(
            "it needs a session token, and has no right to ask for one: `callgate tokens create \
             --key {id}` makes one"
        ));
    }
}

/// The tenant that is meant when none is named.
pub(in crate::cli) fn configured(config: &Config) -> Option<TenantId> {
    config.graph.tenant.as_ref().map(|tenant| tenant.id.clone())
}

/// The first of each.
pub(super) fn without_repeats<T: PartialEq>(items: Vec<T>) -> Vec<T> {
    items.into_iter().fold(Vec::new(), |mut kept, item| {
        if !kept.contains(&item) {
            kept.push(item);
        }
        kept
    })
}
