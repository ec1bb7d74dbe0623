//! `callgate backup`: copies the database while it is used, and says whether a copy is whole.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::error::CliError;
use super::lock;
use super::output::{Table, Terminal, say, short_time};
use crate::clock::Clock;
use crate::config::Config;
use crate::store::error::OpenError;
use crate::store::pepper::Pepper;
use crate::store::sqlite::backup::{Counts, Verified, VerifyError, back_up, verify};
use crate::store::sqlite::inspect::kept;
use crate::store::sqlite::reserve::Kept;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub(super) struct BackupOptions {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    /// Where the copy goes; it must not exist
    #[arg(value_name = "FILE", required = true)]
    file: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(super) enum BackupCommand {
    /// Reads a backup from end to end and says whether it is whole; changes nothing
    Verify {
        /// The backup
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Prints a JSON object
        #[arg(long)]
        json: bool,
    },
}

impl BackupOptions {
    /// The backup that is to be verified, which needs no configuration, and whether in JSON.
    pub(super) fn verifies(&self) -> Option<(&Path, bool)> {
        match &self.command {
            Some(BackupCommand::Verify { file, json }) => Some((file, *json)),
            None => None,
        }
    }
}

/// Copies the database of `config`.
///
/// # Errors
///
/// There is no copy.
pub(super) fn run(
    options: &BackupOptions,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let Some(file) = &options.file else {
        return Err(CliError::Usage("say where the copy goes".to_owned()).into());
    };
    if file.symlink_metadata().is_ok() {
        let text = format!("{} exists already, and nothing was written", file.display());
        return Err(CliError::Input(text).into());
    }
    leave_room(file, &config.store.path)?;
    let bar = progress(terminal);
    let copied = back_up(&config.store.path, file, Clock::System.now(), |progress| {
        bar.set_length(progress.all);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    let copied = copied?;
    terminal.say(&format!("{}: {} bytes", file.display(), copied.bytes));
    say_pepper(&copied.peppers, &config.store.pepper_file, terminal);
    if copied.is_paused {
        terminal.say(
            "what is served from it sends nothing before `callgate resume`: keys that were revoked since \
             are valid in it, and it knows nothing of newer holds",
        );
    } else {
        say("callgate: warning: its schema is too old to say that it is to start paused");
    }
    Ok(())
}

/// While the gateway has no room for what it owes, a copy must not take what is left.
fn leave_room(file: &Path, database: &Path) -> anyhow::Result<()> {
    let disk = |path: &Path| path.metadata().map(|about| about.dev()).ok();
    let folder = file.parent().filter(|folder| *folder != Path::new(""));
    let is_same = disk(folder.unwrap_or(Path::new(".")))
        .is_some_and(|of_copy| Some(of_copy) == disk(database));
    let size = database.metadata().map(|about| about.len()).unwrap_or_default();
    if is_same && kept(database, size) == Kept::Nothing && lock::is_held(database) {
        let message = "it would take the room that a `serve` in trouble needs for what it owes: name \
                       another disk, or make room and wait until it is ready";
        let path = file.display().to_string();
        return Err(OpenError::Copy { path, message: message.to_owned() }.into());
    }
    Ok(())
}

/// Which pepper belongs to the copy, and whether it is where it should be.
fn say_pepper(fingerprints: &[String], pepper_file: &Path, terminal: Terminal) {
    let (names, file) = (fingerprints.join(", "), pepper_file.display());
    match Pepper::load(pepper_file) {
        Ok(pepper) if fingerprints.iter().any(|one| one == pepper.fingerprint()) => {
            terminal.say(&format!(
                "it is of use only with the pepper {names}, which is in {file}: keep a copy of that \
                 apart from this one"
            ));
        }
        _ => say(&format!(
            "callgate: warning: it is of use only with the pepper {names}, which is not in {file}"
        )),
    }
}

/// Verifies a backup and prints what is in it.
///
/// # Errors
///
/// What is wrong with it, and nothing was printed.
pub(super) fn run_verify(file: &Path, json: bool, terminal: Terminal) -> anyhow::Result<()> {
    let verified = verify(file).map_err(|error| match error {
        VerifyError::Unreadable(error) => {
            CliError::Unavailable(format!("{} cannot be read", file.display()), error).into()
        }
        error => anyhow::Error::new(error).context(file.display().to_string()),
    })?;
    if json {
        terminal.print_json(&VerifiedEntry::new(&verified))?;
    } else {
        terminal.print_bytes(table(&verified).to_text().as_bytes())?;
    }
    if !verified.is_sealed {
        terminal
            .say("it has no seal: a changed byte may go unnoticed where it changes a value only");
        if !verified.is_paused {
            terminal.say(
                "what is served from it would start sending: `callgate pause` first; and a copy that \
                 was made without its log may lack the last commits",
            );
        }
    }
    terminal.say("nothing is wrong with it");
    Ok(())
}

/// What is in a backup, as `--json` prints it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerifiedEntry<'a> {
    made_at: Option<String>,
    schema_version: i64,
    /// By their fingerprints.
    peppers: &'a [String],
    sealed: bool,
    starts_paused: bool,
    keys: i64,
    calls: i64,
    deletions: i64,
    open_deletions: i64,
    holds: i64,
    audit_records: i64,
}

impl<'a> VerifiedEntry<'a> {
    fn new(verified: &'a Verified) -> Self {
        let Counts { keys, calls, deletions, open_deletions, holds, records } = verified.counts;
        Self {
            made_at: verified.made_at.map(|at| at.to_string()),
            schema_version: verified.state.applied,
            peppers: &verified.peppers,
            sealed: verified.is_sealed,
            starts_paused: verified.is_paused,
            keys,
            calls,
            deletions,
            open_deletions,
            holds,
            audit_records: records,
        }
    }
}

fn table(verified: &Verified) -> Table {
    let yes_or_no = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let counts = verified.counts;
    let mut table = Table::without_headings();
    let mut row = |name: &str, value: String| table.add([name.to_owned(), value]);
    row("made at", verified.made_at.map(short_time).unwrap_or_default());
    row("schema version", verified.state.applied.to_string());
    row("pepper", verified.peppers.join(", "));
    row("sealed", yes_or_no(verified.is_sealed));
    row("starts paused", yes_or_no(verified.is_paused));
    row("keys", counts.keys.to_string());
    row("calls", counts.calls.to_string());
    row("deletions", format!("{}, of which open: {}", counts.deletions, counts.open_deletions));
    row("holds", counts.holds.to_string());
    row("audit records", counts.records.to_string());
    table
}

fn progress(terminal: Terminal) -> ProgressBar {
    if terminal.quiet {
        return ProgressBar::hidden();
    }
    // Draws nothing where standard error is no terminal.
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} pages, {eta} left");
    bar.with_style(style.expect("the template is fixed and valid"))
}
