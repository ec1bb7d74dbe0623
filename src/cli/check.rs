//! `callgate check`: reads everything that `serve` would read, and prints everything that is wrong.
//!
//! It starts nothing and changes nothing, so that it can run beside a gateway.

use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::error::CliError;
use super::lock;
use super::output::{Terminal, printable, say};
use super::pause::with_remedy;
use crate::clock::Clock;
use crate::config::{Config, Options};
use crate::id::TenantId;
use crate::store::error::OpenError;
use crate::store::sqlite::inspect::{Inspection, inspect, schema_state};
use crate::store::sqlite::reading::Obstacle;
use crate::store::sqlite::reserve::Kept;

#[derive(Args)]
pub(super) struct CheckOptions {
    /// Prints all findings as a JSON array
    #[arg(long)]
    json: bool,
}

/// One thing that was found.
#[derive(Serialize)]
struct Finding {
    level: Level,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// `serve` would not start.
    Error,
    /// `serve` would start and could not do its work.
    Missing,
    /// It is allowed and probably not meant.
    Warning,
    /// It is as it should be.
    Info,
}

/// Runs the command.
///
/// # Errors
///
/// When something is wrong; what is missing or only probably wrong is no error.
pub(super) fn run(
    options: &CheckOptions,
    configuration: &Options,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let mut findings = Vec::new();
    let failure: Option<anyhow::Error> = match Config::load(configuration) {
        Ok(config) => {
            check_config(&config, &mut findings);
            check_database(&config, &mut findings)
        }
        Err(errors) => {
            findings.extend(errors.lines().map(|text| Finding { level: Level::Error, text }));
            Some(CliError::Said.into())
        }
    };
    if let Some(failure) = &failure
        && !matches!(failure.downcast_ref(), Some(CliError::Said))
    {
        findings.push(Finding { level: Level::Error, text: format!("{failure:#}") });
    }
    print(&findings, options.json, terminal)?;
    failure.map_or(Ok(()), |failure| Err(failure.context(CliError::Said)))
}

fn check_config(config: &Config, findings: &mut Vec<Finding>) {
    let text = match &config.file {
        Some(file) => format!("configuration: {}", file.display()),
        None => "configuration: no file, defaults and environment only".to_owned(),
    };
    findings.push(Finding { level: Level::Info, text });
    let warnings = config.warnings().iter().cloned();
    findings.extend(warnings.map(|text| Finding { level: Level::Warning, text }));
    for (is_soon, text) in config.graph.credentials(Clock::System.now()) {
        let level = if is_soon { Level::Warning } else { Level::Info };
        findings.push(Finding { level, text });
    }
    let missing = config.missing_for_real_use();
    findings.extend(missing.into_iter().map(|text| Finding { level: Level::Missing, text }));
}

/// Why the database cannot be used, if so. That there is none yet is no fault: `serve` makes it.
fn check_database(config: &Config, findings: &mut Vec<Finding>) -> Option<anyhow::Error> {
    let path = &config.store.path;
    let shown = path.display();
    let mut info = |text: String| findings.push(Finding { level: Level::Info, text });
    if std::fs::symlink_metadata(path)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    {
        // None there yet is no fault; one that was there and is gone is.
        if let Err(error) = schema_state(path) {
            return Some(error.into());
        }
        info(format!("database: none at {shown} yet, `callgate serve` makes it"));
        return None;
    }
    match inspect(path, &config.store.pepper_file) {
        Ok(Inspection { state, keys, pauses, obstacle, kept }) => {
            let served = if lock::is_held(path) { ", in use by a `serve`" } else { "" };
            info(format!("database: {shown}, schema version {}{served}", state.applied));
            info(format!("pepper: {}, the right one", config.store.pepper_file.display()));
            info(match keys.len() {
                0 => "keys: none, `callgate keys create` makes one".to_owned(),
                keys => format!("keys: {keys} not revoked"),
            });
            check_tenants(&keys, config, findings);
            findings.extend(
                pauses
                    .iter()
                    .map(|pause| Finding { level: Level::Missing, text: with_remedy(pause) }),
            );
            check_disk(path, obstacle, kept, findings)
        }
        Err(error) => Some(error.into()),
    }
}

/// Why the database cannot be written, if so. A gateway that has no room starts, and refuses everything.
fn check_disk(
    database: &Path,
    obstacle: Option<Obstacle>,
    kept: Kept,
    findings: &mut Vec<Finding>,
) -> Option<anyhow::Error> {
    let path = database.display().to_string();
    let mut missing = |text: String| findings.push(Finding { level: Level::Missing, text });
    match (obstacle, kept) {
        (Some(Obstacle::ReadOnly), _) => return Some(OpenError::ReadOnly(path).into()),
        (Some(Obstacle::Full), Kept::Whole) => missing(OpenError::Full(path).to_string()),
        (Some(Obstacle::Full), _) => return Some(OpenError::Full(path).into()),
        (None, Kept::Nothing) => missing(
            "the disk is full, and nothing is kept for that any more: `serve` refuses everything until \
             there is room, 6 MiB at least"
                .to_owned(),
        ),
        // It is made by the next one that starts, and by nobody for as long as this one is well.
        (None, Kept::Room) if lock::is_held(database) => missing(format!(
            "there is no whole {path}.reserve, so that a full disk may leave no room for what is owed: \
             /readyz of the `serve` says whether something is wrong"
        )),
        (None, Kept::Room | Kept::Whole) => {}
    }
    None
}

/// Warns of keys whose tenant is not configured: every request with one of them is refused.
fn check_tenants(keys: &[(String, TenantId)], config: &Config, findings: &mut Vec<Finding>) {
    const SHOWN: usize = 5;
    // Without any tenant there is a finding about that already.
    if config.graph.tenants().next().is_none() {
        return;
    }
    for of_one in keys.chunk_by(|one, other| one.1 == other.1) {
        let tenant = &of_one[0].1;
        if config.graph.tenants().any(|configured| configured.id == *tenant) {
            continue;
        }
        let ids: Vec<_> = of_one.iter().take(SHOWN).map(|(id, _)| id.as_str()).collect();
        let more = match of_one.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let text = format!(
            "tenant {tenant} is not configured, and these keys of it can do nothing: {}{more}",
            ids.join(", ")
        );
        findings.push(Finding { level: Level::Warning, text });
    }
}

fn print(findings: &[Finding], json: bool, terminal: Terminal) -> anyhow::Result<()> {
    if json {
        return terminal.print_json(&findings);
    }
    for finding in findings {
        let text = printable(&finding.text);
        match finding.level {
            Level::Info if terminal.quiet => {}
            Level::Info => terminal.print(&text)?,
            Level::Error => say(&format!("callgate: {text}")),
            Level::Missing | Level::Warning => say(&format!("callgate: warning: {text}")),
        }
    }
    Ok(())
}
