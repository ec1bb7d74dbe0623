//! `callgate calls import`: checks every line, and only then writes the first.
//!
//! A line that is wrong is named with its number, and nothing is written. What is written goes in
//! batches, each all or nothing; doing it again changes nothing.

use std::io;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::ImportOptions;
use super::batches::Batches;
use super::input::Input;
use super::reader;
use super::row::Checker;
use super::twins::Twins;
use crate::cli::error::CliError;
use crate::cli::file::unreadable;
use crate::cli::output::Terminal;
use crate::clock::Clock;
use crate::config::Config;
use crate::id::TenantId;
use crate::operator::Operator;
use crate::registry::Registry;
use crate::store::error::StoreError;
use crate::store::records::{ImportReport, ImportedCall};

/// Wrong lines that are named; the rest is counted.
const NAMED: usize = 20;
/// Calls that pass from the reading thread at a time, and how many such parcels may wait.
const PARCEL: usize = 256;
const WAITING: usize = 64;

pub(super) const HELP: &str = "\
Fields of a JSON object, or columns of a CSV file:
  graphCallID     required; a call that is known is merged: its state only moves forward
  callID          our id of the call; made when absent
  platformCallID, nativeID, meetingID
                  what the legacy API's identifiers of these names are compared with
  tenantID        default: graph.tenant_id
  direction       incoming or outgoing
  state           Graph's word; default: terminated when there is an endedAt, else established
  source          number, SIP address or user id of who called
  targets         those of who was called: a list; in CSV with ; between them
  startedAt, endedAt
                  RFC 3339; a terminated call without endedAt ended at the time of the import
  subject

Every line is checked before the first is written: when one is wrong, nothing is imported. It can \
be done beside a running gateway, and done again.";

/// Runs the command.
///
/// # Errors
///
/// When a line is wrong, nothing was written. When the store fails later, the error says how much
/// was.
pub(super) async fn run(
    options: ImportOptions,
    registry: &Registry,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let input = Input::open(options.file.as_deref(), options.format, terminal)?;
    let begun = Instant::now();
    let default_tenant = config.graph.tenant.as_ref().map(|tenant| tenant.id.clone());
    let checker = Checker::new(Clock::System.now(), default_tenant);
    let (checker, rows) = check(&input, checker, registry).await?;
    let report = write(&input, checker, rows, registry, config, terminal).await?;
    let seconds = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "fewer rows than 2^52")]
    let per_second = (rows as f64 / seconds.max(1e-9)).round();
    if options.json {
        return terminal.print_json(&serde_json::json!({
            "rows": rows,
            "added": report.added,
            "merged": report.merged,
            "seconds": (seconds * 1000.0).round() / 1000.0,
            "rowsPerSecond": per_second,
        }));
    }
    terminal.say(&format!(
        "{rows} rows: {} added, {} merged, {seconds:.1} s, {per_second:.0} rows/s",
        report.added, report.merged
    ));
    Ok(())
}

/// Wrong lines: the first of them with what is wrong, and how many there are.
#[derive(Debug, Default)]
struct Faults {
    named: Vec<(u64, String)>,
    count: u64,
}

impl Faults {
    fn add(&mut self, line: u64, problem: String) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push((line, problem));
        }
    }

    /// Both, by line.
    fn with(mut self, other: Self) -> Self {
        self.named.extend(other.named);
        self.named.sort();
        self.named.truncate(NAMED);
        self.count += other.count;
        self
    }

    fn into_result(self, name: &str) -> Result<(), CliError> {
        if self.count == 0 {
            return Ok(());
        }
        let shown = self.named.len() as u64;
        let mut lines: Vec<_> =
            self.named.iter().map(|(line, text)| format!("{name}, line {line}: {text}")).collect();
        let more = match self.count - shown {
            0 => String::new(),
            more => format!("and {more} more; "),
        };
        let count = self.count;
        lines.push(format!("{name}: {more}{count} wrong in all, nothing was imported"));
        Err(CliError::Lines(lines))
    }
}

/// Lines whose call ids are to be looked up.
struct Claims {
    lines: Vec<u64>,
    calls: Vec<ImportedCall>,
    /// What their tenants are numbers of.
    tenants: Vec<TenantId>,
}

/// Reads everything once, and gives the number of calls.
async fn check(
    input: &Input,
    mut checker: Checker,
    registry: &Registry,
) -> anyhow::Result<(Checker, u64)> {
    let known = registry.list(1, false).await.context("the calls could not be read")?;
    // An empty registry holds nothing that could contradict.
    let (claims, mut claimed) = mpsc::channel::<Claims>(2);
    let claims = (!known.is_empty()).then_some(claims);
    let (reader, format) = (input.reader(), input.format());
    let reading = tokio::task::spawn_blocking(move || {
        let (mut faults, mut twins, mut rows) = (Faults::default(), Twins::default(), 0);
        let (mut lines, mut calls) = (Vec::new(), Vec::new());
        reader::read(reader?, format, &mut |line, fields| {
            rows += 1;
            let call = fields.and_then(|fields| checker.call(&fields));
            match call.and_then(|call| twins.note(line, &call).map(|()| call)) {
                Err(problem) => faults.add(line, problem),
                Ok(call) if call.call_id.is_some() && claims.is_some() => {
                    lines.push(line);
                    calls.push(call);
                }
                Ok(_) => {}
            }
            calls.len() < 16 * PARCEL || send(claims.as_ref(), &mut lines, &mut calls, &checker)
        })?;
        send(claims.as_ref(), &mut lines, &mut calls, &checker);
        Ok((faults, checker, rows))
    });
    let mut conflicts = Faults::default();
    while let Some(claims) = claimed.recv().await {
        find_conflicts(claims, registry, &mut conflicts).await?;
    }
    let (faults, checker, rows) = joined(reading, input.name()).await?;
    faults.with(conflicts).into_result(input.name())?;
    Ok((checker, rows))
}

/// Hands over what was gathered; false when nobody takes it any more.
fn send(
    claims: Option<&mpsc::Sender<Claims>>,
    lines: &mut Vec<u64>,
    calls: &mut Vec<ImportedCall>,
    checker: &Checker,
) -> bool {
    let parcel = Claims {
        lines: std::mem::take(lines),
        calls: std::mem::take(calls),
        tenants: checker.tenants().to_vec(),
    };
    claims.is_none_or(|claims| claims.blocking_send(parcel).is_ok())
}

async fn find_conflicts(
    claims: Claims,
    registry: &Registry,
    conflicts: &mut Faults,
) -> anyhow::Result<()> {
    let mut rows = Vec::with_capacity(claims.tenants.len());
    for tenant in claims.tenants {
        rows.push(registry.find_tenant(tenant).await.context("the tenants could not be read")?);
    }
    let calls = claims.calls.into_iter().zip(&claims.lines).filter_map(|(mut call, line)| {
        // A tenant that is not known has no calls.
        call.tenant_row = rows[position(&call)]?;
        Some((*line, call))
    });
    let (lines, calls): (Vec<u64>, Vec<ImportedCall>) = calls.unzip();
    let found = registry.conflicts(calls).await.context("the calls could not be read")?;
    for index in found {
        let problem = "`callID`: another call in the registry has it";
        conflicts.add(lines[index], problem.to_owned());
    }
    Ok(())
}

/// The tenant's position in the checker's list, which stands in for the store's number.
fn position(call: &ImportedCall) -> usize {
    usize::try_from(call.tenant_row).expect("it was a position in a list")
}

/// Reads everything once more and writes it.
async fn write(
    input: &Input,
    mut checker: Checker,
    rows: u64,
    registry: &Registry,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<ImportReport> {
    let mut tenants = Vec::new();
    for tenant in checker.tenants() {
        let row = registry.tenant(tenant.clone()).await;
        tenants.push(row.context("nothing was imported")?);
    }
    let (parcels, mut arriving) = mpsc::channel::<Result<Vec<ImportedCall>, u64>>(WAITING);
    let (reader, format) = (input.reader(), input.format());
    let reading = tokio::task::spawn_blocking(move || {
        let mut parcel = Vec::with_capacity(PARCEL);
        reader::read(reader?, format, &mut |line, fields| {
            match fields.and_then(|fields| checker.call(&fields)) {
                // The file was right when it was checked.
                Ok(call) if position(&call) < tenants.len() => {
                    parcel.push(ImportedCall { tenant_row: tenants[position(&call)], ..call });
                }
                _ => {
                    let _ = parcels.blocking_send(Err(line));
                    return false;
                }
            }
            let full = parcel.len() == PARCEL;
            !full || parcels.blocking_send(Ok(std::mem::take(&mut parcel))).is_ok()
        })?;
        if !parcel.is_empty() {
            // Nobody takes it when writing has failed, and that is reported.
            let _ = parcels.blocking_send(Ok(parcel));
        }
        Ok(())
    });
    let operator = Operator::of_this_process();
    let progress = progress(rows, terminal);
    let mut written = ImportReport::default();
    let mut batches = Batches::new(&config.store.path);
    let mut batch = Vec::new();
    loop {
        let is_last = fill(&mut batch, batches.size(), &mut arriving, input).await?;
        if batch.is_empty() && is_last {
            break;
        }
        let rest = batch.split_off(batches.size().min(batch.len()));
        let calls = std::mem::replace(&mut batch, rest);
        let (count, begun) = (calls.len(), Instant::now());
        let report = registry
            .import(&operator, calls)
            .await
            .map_err(|error| stopped(error, written, rows))?;
        let took = begun.elapsed();
        written.added += report.added;
        written.merged += report.merged;
        progress.inc(count as u64);
        batches.written(count, took).await;
    }
    progress.finish_and_clear();
    joined(reading, input.name()).await?;
    Ok(written)
}

/// Gathers calls until there are `size`; true when no more will come.
async fn fill(
    batch: &mut Vec<ImportedCall>,
    size: usize,
    arriving: &mut mpsc::Receiver<Result<Vec<ImportedCall>, u64>>,
    input: &Input,
) -> Result<bool, CliError> {
    while batch.len() < size {
        match arriving.recv().await {
            None => return Ok(true),
            Some(Ok(mut calls)) => batch.append(&mut calls),
            Some(Err(line)) => {
                let name = input.name();
                return Err(CliError::Input(format!(
                    "{name}, line {line}: changed while it was imported; import it again"
                )));
            }
        }
    }
    Ok(false)
}

fn stopped(error: StoreError, written: ImportReport, rows: u64) -> anyhow::Error {
    let done = written.added + written.merged;
    let text = format!(
        "stopped after {done} of {rows} rows, which are imported; import it again when the cause \
         is gone"
    );
    let error = match error {
        // It was free when it was checked.
        StoreError::Conflict => {
            anyhow::Error::new(CliError::Input("another call has taken a callID".to_owned()))
        }
        other => other.into(),
    };
    error.context(text)
}

fn progress(rows: u64, terminal: Terminal) -> ProgressBar {
    if terminal.quiet {
        return ProgressBar::hidden();
    }
    // Draws nothing where standard error is no terminal.
    let bar = ProgressBar::with_draw_target(Some(rows), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} rows, {per_sec}, {eta} left");
    bar.with_style(style.expect("the template is fixed and valid"))
}

/// What the reading thread gives.
async fn joined<T>(
    reading: tokio::task::JoinHandle<io::Result<T>>,
    name: &str,
) -> anyhow::Result<T> {
    let read = reading.await.context("reading failed")?;
    read.map_err(|error| unreadable(name, error).into())
}
