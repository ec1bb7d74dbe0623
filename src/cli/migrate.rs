//! `callgate migrate`: shows what is pending, backs up, applies it.
//!
//! The schema is never changed under a running `serve`, nor without a backup of what was there.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::error::CliError;
use super::lock;
use super::output::{Terminal, counted};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::model::chain::Commits;
use crate::operator::Operator;
use crate::store::schema::{self, SchemaState};
use crate::store::sqlite::inspect::schema_state;
use crate::store::sqlite::mark::accept_loss;
use crate::store::sqlite::{Migrator, Missing};

#[derive(Args)]
pub(super) struct MigrateOptions {
    /// Only says what is pending and changes nothing; exit code 0 when nothing is, else 78
    #[arg(long)]
    check: bool,

    /// Goes on without what a missing write-ahead log held: accepted deletions, new holds, revoked keys.
    /// The database begins paused
    #[arg(long, conflicts_with = "check")]
    accept_lost_wal: bool,
}

/// Runs the command.
///
/// # Errors
///
/// The database is as it was.
pub(super) fn run(
    options: &MigrateOptions,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let path = &config.store.path;
    if options.accept_lost_wal {
        accept_lost_wal(config, terminal)?;
    }
    let state = schema_state(path)?;
    let exists = exists(path);
    if options.check {
        return show(path, exists, state, terminal);
    }
    if !is_pending(state) {
        // A schema that needs a newer program has nothing pending either.
        state.check()?;
        terminal.say(&up_to_date(path, state));
        return Ok(());
    }
    let _no_serve = lock::take(path)?;
    // What another `migrate` did until it gave up the lock counts.
    let mut migrator = Migrator::open(path, Missing::Create)?;
    let state = migrator.state()?;
    if exists {
        let now = Clock::System.now();
        let backup = backup_file(path, state, now);
        migrator
            .back_up(&backup, now)
            .context("no backup could be made, and nothing was changed")?;
        terminal.say(&format!("the database as it was is in {}", backup.display()));
    }
    migrator.apply(&config.store.pepper_file)?;
    let applied = migrator.state()?;
    if exists {
        terminal.say(&format!(
            "{}: schema version {} became {}",
            path.display(),
            state.applied,
            applied.applied
        ));
    } else {
        terminal.say(&format!(
            "{}: made, with schema version {}; its pepper is in {}, keep a copy of that apart",
            path.display(),
            applied.applied,
            config.store.pepper_file.display()
        ));
    }
    Ok(())
}

fn accept_lost_wal(config: &Config, terminal: Terminal) -> anyhow::Result<()> {
    let path = &config.store.path;
    let _no_serve = lock::take(path)?;
    let mut entry = Operator::of_this_process().entry("migrate", Clock::System.now());
    entry.event.parameters.push("accept-lost-wal");
    let lost = accept_loss(path, &config.store.pepper_file, entry)?;
    let path = path.display();
    terminal.say(&match lost {
        Some(Commits { marked, found: Some(found) }) => format!(
            "{path}: goes on without {}; it is paused: look at holds and keys, then \
             `callgate resume`",
            counted(marked - found, "commit")
        ),
        Some(Commits { found: None, .. }) => format!(
            "{path}: begins anew, without keys, users, calls, deletions and holds; it is paused: make keys \
             (`callgate keys create`) and users (`callgate users create`), then `callgate resume`"
        ),
        None => format!("{path}: nothing is missing, and nothing was changed"),
    });
    Ok(())
}

fn show(path: &Path, exists: bool, state: SchemaState, terminal: Terminal) -> anyhow::Result<()> {
    if !is_pending(state) {
        state.check()?;
        terminal.say(&up_to_date(path, state));
        return Ok(());
    }
    let (path, known) = (path.display(), schema::known());
    let text = if exists {
        format!(
            "{path}: schema version {}, this program needs {known}: run `callgate migrate`",
            state.applied
        )
    } else {
        format!("{path}: there is no database yet: `callgate migrate` or `callgate serve` makes it")
    };
    Err(CliError::Pending(text).into())
}

fn is_pending(state: SchemaState) -> bool {
    state.applied < schema::known()
}

/// An empty file holds nothing that a backup could save.
fn exists(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.len() > 0)
}

fn up_to_date(path: &Path, state: SchemaState) -> String {
    format!("{}: schema version {}, nothing is pending", path.display(), state.applied)
}

/// Beside the database, named by what is in it and when it was made.
fn backup_file(database: &Path, state: SchemaState, now: Timestamp) -> PathBuf {
    let time: String = now.to_string().chars().filter(|c| !"-:".contains(*c)).collect();
    let mut name = database.as_os_str().to_owned();
    name.push(format!(".v{}.{time}.backup", state.applied));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_named_by_version_and_time_and_stays_beside_the_database() {
        let state = SchemaState { applied: 3, oldest_program: 1 };
        let now = Timestamp::parse("2026-11-22T04:32:55.987Z").unwrap();
        assert_eq!(
            backup_file(Path::new("/data/callgate.db"), state, now),
            Path::new("/data/callgate.db.v3.20261122T043255.987Z.backup")
        );
    }
}
