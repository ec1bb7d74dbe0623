//! `callgate tokens`: session tokens, for clients that cannot log in by themselves, and who has one.
//!
//! A token is printed once, alone on standard output, and nowhere else.

use anyhow::Context as _;
use clap::Subcommand;
use serde::Serialize;

use super::error::CliError;
use super::keys::unknown;
use super::output::{Table, Terminal, short_time};
use super::{ids, open_store};
use crate::clock::Clock;
use crate::config::Config;
use crate::id::{KeyId, SessionId};
use crate::keys::Keys;
use crate::model::key::ApiKey;
use crate::model::user::login;
use crate::operator::Operator;
use crate::sessions::{NewToken, Sessions};
use crate::store::Store;
use crate::store::access::{AuditEntry, SessionRow, UserWithPassword};
use crate::store::pepper::Pepper;

#[derive(Subcommand)]
pub(super) enum TokensCommand {
    /// Makes a token for a key and prints it; it is valid for one hour
    Create {
        /// The key's id, as `keys list` shows it
        #[arg(long, value_name = "ID", value_parser = ids::key)]
        key: KeyId,
        /// The user it is for, who needs no password for that [default: nobody]
        #[arg(long, value_name = "LOGIN", value_parser = login)]
        user: Option<String>,
        /// Prints session id, token and expiry as JSON
        #[arg(long)]
        json: bool,
    },
    /// Lists the sessions that are running, the newest first, without their tokens
    List {
        /// Prints a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Ends a session; a running gateway refuses its token from then on
    Revoke {
        /// The session's id, as `tokens list` shows it
        #[arg(value_name = "SESSION-ID", value_parser = ids::session)]
        id: SessionId,
    },
}

/// Runs one of the commands.
///
/// # Errors
///
/// What failed changed nothing, unless the error says otherwise.
pub(super) async fn run(
    command: TokensCommand,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let (store, pepper) = open_store(config)?;
    let sessions = Sessions::new(store.clone(), pepper.clone(), Clock::System);
    match command {
        TokensCommand::Create { key, user, json } => {
            let key = find_key(&store, pepper, key).await?;
            let user = match user {
                Some(login) => Some(find_user(&store, &key, login).await?),
                None => None,
            };
            create(&sessions, &key, user, json, terminal).await
        }
        TokensCommand::List { json } => {
            let rows = sessions.list().await.context("the sessions could not be read")?;
            let entries: Vec<_> = rows.iter().map(SessionEntry::new).collect();
            terminal.print_list(json, &entries, "no session is running", to_table)
        }
        TokensCommand::Revoke { id } => revoke(&sessions, id, terminal).await,
    }
}

async fn find_key(store: &Store, pepper: Pepper, id: KeyId) -> anyhow::Result<ApiKey> {
    let keys = Keys::new(store.clone(), pepper, Clock::System).list().await;
    let keys = keys.context("the keys could not be read")?;
    let found = keys.iter().find(|report| report.key.id == id).ok_or_else(|| unknown(id))?;
    Ok(ApiKey::clone(&found.key))
}

async fn find_user(store: &Store, key: &ApiKey, login: String) -> anyhow::Result<UserWithPassword> {
    let found = store.user(key.tenant_row, login.clone()).await;
    let found = found.context("the users could not be read")?;
    let problem = match found {
        Some(UserWithPassword { user, .. }) if user.disabled_at.is_some() => {
            format!("user {} is disabled", user.login)
        }
        Some(user) => return Ok(user),
        None => format!(
            "nobody in the key's tenant {} has the login {login}; see `callgate users list`",
            key.tenant
        ),
    };
    Err(CliError::Input(problem).into())
}

async fn create(
    sessions: &Sessions,
    key: &ApiKey,
    user: Option<UserWithPassword>,
    json: bool,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let login = user.as_ref().map(|user| user.user.login.clone());
    let mut entry = entry("tokens create");
    entry.event.key_id = Some(key.id.to_string());
    entry.event.tenant = Some(key.tenant.to_string());
    entry.personal.subject.clone_from(&login);
    entry.event.parameters.push("--key");
    entry.event.parameters.extend(login.as_ref().map(|_| "--user"));
    let made = sessions.open(key.id, user, entry).await.context("no token was made")?;
    let Some(NewToken { id, token, expires_at }) = made else {
        let text = format!(
            "no token was made: key {} is revoked or expired, or the user was changed meanwhile",
            key.id
        );
        return Err(CliError::Input(text).into());
    };
    let token = token.expose();
    let printed = if json {
        terminal.print_json(&serde_json::json!({
            "id": id.to_string(),
            "token": token,
            "expiresAt": expires_at.to_string(),
        }))
    } else {
        terminal.print(token)
    };
    if printed.is_err() {
        anyhow::bail!("nobody read the token of session {id}: run `callgate tokens revoke {id}`");
    }
    let of = login.map(|login| format!(" and user {login}")).unwrap_or_default();
    terminal.say(&format!("session {id} for key {}{of}, until {expires_at}", key.id));
    if !key.requires_token {
        terminal.say("the key needs no token: what is sent with it is ignored");
    }
    Ok(())
}

async fn revoke(sessions: &Sessions, id: SessionId, terminal: Terminal) -> anyhow::Result<()> {
    let rows = sessions.list().await.context("the sessions could not be read")?;
    let mut entry = entry("tokens revoke");
    let row = rows.into_iter().find(|row| row.id == id);
    entry.personal.subject = row.and_then(|row| row.login);
    if !sessions.end(id, entry).await.context("the session was not ended")? {
        let text = format!("no running session has the id {id}; see `callgate tokens list`");
        return Err(CliError::Input(text).into());
    }
    terminal.say(&format!("session {id} is ended"));
    Ok(())
}

fn entry(command: &str) -> AuditEntry {
    Operator::of_this_process().entry(command, Clock::System.now())
}

/// A session as it is listed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionEntry<'a> {
    id: String,
    #[serde(rename = "keyID")]
    key_id: String,
    key_name: &'a str,
    login: Option<&'a str>,
    created_at: String,
    expires_at: String,
    #[serde(skip)]
    row: &'a SessionRow,
}

impl<'a> SessionEntry<'a> {
    fn new(row: &'a SessionRow) -> Self {
        Self {
            id: row.id.to_string(),
            key_id: row.key_id.to_string(),
            key_name: &row.key_name,
            login: row.login.as_deref(),
            created_at: row.created_at.to_string(),
            expires_at: row.expires_at.to_string(),
            row,
        }
    }
}

fn to_table(sessions: &[SessionEntry<'_>]) -> Table {
    let mut table = Table::new(&["ID", "KEY ID", "KEY", "LOGIN", "CREATED", "EXPIRES"]);
    for session in sessions {
        table.add([
            session.id.clone(),
            session.key_id.clone(),
            session.key_name.to_owned(),
            session.login.unwrap_or_default().to_owned(),
            short_time(session.row.created_at),
            short_time(session.row.expires_at),
        ]);
    }
    table
}
