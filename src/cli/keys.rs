//! `callgate keys`: makes, lists, rotates, revokes and imports API keys.
//!
//! The secret of a key that is made here is printed once, alone on standard output, and nowhere
//! else; one that is imported is never printed.

mod column;
mod create;
mod entry;
mod import;
mod line;
mod rotate;
mod show;
mod values;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;

use self::create::CreateOptions;
pub(super) use self::create::configured;
use self::rotate::Grace;
pub(super) use self::values::{duration, tenant};
use super::error::CliError;
use super::output::{Terminal, short_time};
use super::{ids, open_store};
use crate::clock::Clock;
use crate::config::Config;
use crate::id::KeyId;
use crate::keys::Keys;
use crate::operator::Operator;
use crate::store::access::Revoked;

#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// Makes a key and prints its secret, which cannot be shown again
    Create(Box<CreateOptions>),
    /// Lists all keys, revoked ones included, without their secrets
    #[command(after_help = show::LIST_HELP)]
    List {
        /// Prints a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Shows all there is to know of one key, and from where it was used
    Show {
        /// The key's id, as `keys list` shows it
        #[arg(value_name = "ID", value_parser = ids::key)]
        id: KeyId,
        /// Prints a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Revokes a key for good, with its sessions; a running gateway refuses it from then on
    Revoke {
        /// The key's id, as `keys list` shows it
        #[arg(value_name = "ID", value_parser = ids::key)]
        id: KeyId,
    },
    /// Makes a successor with the same rights and limits and prints its secret; the old key goes on
    /// for a while
    Rotate {
        /// The key's id, as `keys list` shows it
        #[arg(value_name = "ID", value_parser = ids::key)]
        id: KeyId,
        /// How long the old key goes on, such as 0s, 12h, 7d or 4w, unless it expires before
        #[arg(long, value_name = "DURATION", default_value = "7d")]
        grace: Grace,
        /// Prints id, name, secret and the end of the old key as JSON
        #[arg(long)]
        json: bool,
    },
    /// Takes over keys that clients have already, from CSV; all of them or none
    #[command(after_long_help = import::HELP)]
    Import {
        /// The file; standard input when it is absent or -
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Checks every line and writes nothing
        #[arg(long)]
        dry_run: bool,
        /// Prints a JSON array
        #[arg(long)]
        json: bool,
    },
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
        KeysCommand::Create(options) => create::run(*options, config, terminal).await,
        KeysCommand::List { json } => show::list(json, config, terminal).await,
        KeysCommand::Show { id, json } => show::one(id, json, config, terminal).await,
        KeysCommand::Revoke { id } => revoke(id, config, terminal).await,
        KeysCommand::Rotate { id, grace, json } => {
            rotate::run(id, grace, json, config, terminal).await
        }
        KeysCommand::Import { file, dry_run, json } => {
            import::run(file.as_deref(), dry_run, json, config, terminal).await
        }
    }
}

async fn revoke(id: KeyId, config: &Config, terminal: Terminal) -> anyhow::Result<()> {
    let revoked = open(config)?.revoke(&Operator::of_this_process(), id).await;
    match revoked.context("the key was not revoked")? {
        Revoked::Now { sessions } => {
            terminal.say(&format!("key {id} is revoked{}", ended(sessions)));
            Ok(())
        }
        Revoked::Before(at) => {
            let text = format!("key {id} is revoked already, since {}", short_time(at));
            Err(CliError::Input(text).into())
        }
        Revoked::Unknown => Err(unknown(id)),
    }
}

fn open(config: &Config) -> anyhow::Result<Keys> {
    let (store, pepper) = open_store(config)?;
    Ok(Keys::new(store, pepper, Clock::System))
}

/// How many sessions ended with something, to be said after it.
pub(super) fn ended(sessions: usize) -> String {
    match sessions {
        0 => String::new(),
        1 => "; 1 session ended with it".to_owned(),
        sessions => format!("; {sessions} sessions ended with it"),
    }
}

/// The error for an id that no key has.
pub(super) fn unknown(id: KeyId) -> anyhow::Error {
    CliError::Input(format!("no key has the id {id}; see `callgate keys list`")).into()
}
