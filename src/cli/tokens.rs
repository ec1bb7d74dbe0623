//! `callgate tokens`: makes session tokens for clients that cannot log in by themselves.

use anyhow::Context as _;
use clap::Subcommand;

use super::error::CliError;
use super::open_store;
use super::output::Terminal;
use crate::clock::Clock;
use crate::config::Config;
use crate::id::KeyId;
use crate::keys::Keys;
use crate::sessions::{NewToken, Sessions};

#[derive(Subcommand)]
pub(super) enum TokensCommand {
    /// Makes a token for a key and prints it; it is valid for one hour
    Create {
        /// The key's id, as `keys list` shows it
        #[arg(long, value_name = "ID")]
        key: KeyId,
        /// Prints session id, token and expiry as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
///
/// # Errors
///
/// No token was made, unless the error says otherwise.
pub(super) async fn run(
    command: TokensCommand,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let TokensCommand::Create { key: key_id, json } = command;
    let (store, pepper) = open_store(config)?;
    let keys = Keys::new(store.clone(), pepper.clone(), Clock::System);
    let keys = keys.list().await.context("the keys could not be read")?;
    let made = Sessions::new(store, pepper, Clock::System).create(key_id).await;
    let Some(NewToken { id, token, expires_at }) = made.context("no token was made")? else {
        let text = format!("no valid key has the id {key_id}; see `callgate keys list`");
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
        anyhow::bail!("nobody read the token of session {id}; it expires at {expires_at}");
    }
    terminal.say(&format!("session {id} for key {key_id}, until {expires_at}"));
    if keys.iter().any(|key| key.id == key_id && !key.requires_token) {
        terminal.say("the key needs no token: what is sent with it is ignored");
    }
    Ok(())
}
