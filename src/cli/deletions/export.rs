//! `callgate deletions export`: whole histories, as JSON lines or CSV.
//!
//! Read and written page by page, so that it takes the same memory for ten deletions and for a million.
//! Each page is as the database was when it was read.

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::DetailedEntry;
use super::filter::FilterOptions;
use super::waits::Around;
use crate::cli::open_store;
use crate::cli::output::{Terminal, printable};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::store::Store;
use crate::store::operations::DeletionFilter;
use crate::store::records::{AttemptDetails, DeletionDetails, StepDetails};

/// Deletions that are read at a time.
const PAGE: usize = 200;

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum Format {
    // One object on each line.
    Jsonl,
    // One row for each attempt, one for each step without any, and one for a deletion without steps.
    Csv,
}

/// The columns of CSV.
const COLUMNS: [&str; 28] = [
    "id",
    "state",
    "kind",
    "scope",
    "callID",
    "graphCallID",
    "tenantID",
    "keyID",
    "peer",
    "reason",
    "createdAt",
    "deadlineAt",
    "settledAt",
    "confirmedAt",
    "failure",
    "position",
    "operation",
    "target",
    "stepState",
    "attempt",
    "startedAt",
    "answeredAt",
    "status",
    "error",
    "requestID",
    "clientRequestID",
    "effectPossible",
    "nextAttemptAt",
];

/// Runs the command.
///
/// # Errors
///
/// When the store cannot be read: what was written until then is not all.
pub(super) async fn run(
    options: FilterOptions,
    format: Format,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let (store, _) = open_store(config)?;
    let (mut filter, none) = options.look_up(&store).await?;
    let around = Around::look(&store, config).await?;
    let progress = progress(&store, &filter, terminal).await?;
    if format == Format::Csv {
        terminal.print_bytes(&in_csv(&[COLUMNS.map(str::to_owned)])?)?;
    }
    let mut count = 0;
    loop {
        let page = store.deletions_in_detail(filter.clone(), PAGE).await;
        let page = page.context("the deletions could not be read any further")?;
        let Some(last) = page.last() else { break };
        filter.before = Some(last.row.deletion_id);
        count += page.len();
        let written = match format {
            Format::Jsonl => json_lines(&page, &around)?,
            Format::Csv => csv_rows(&page)?,
        };
        terminal.print_bytes(&written)?;
        progress.inc(page.len() as u64);
    }
    progress.finish_and_clear();
    if count == 0 {
        terminal.say(none);
    }
    Ok(())
}

/// How far it is, where somebody watches; counting takes a look at every deletion.
async fn progress(
    store: &Store,
    filter: &DeletionFilter,
    terminal: Terminal,
) -> anyhow::Result<ProgressBar> {
    let target = ProgressDrawTarget::stderr();
    if terminal.quiet || target.is_hidden() {
        return Ok(ProgressBar::hidden());
    }
    let count = store.count_deletions(filter.clone()).await;
    let bar = ProgressBar::with_draw_target(
        Some(count.context("the deletions could not be counted")?),
        target,
    );
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} deletions, {eta} left");
    Ok(bar.with_style(style.expect("the template is fixed and valid")))
}

fn json_lines(page: &[DeletionDetails], around: &Around) -> anyhow::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for deletion in page {
        serde_json::to_writer(&mut lines, &DetailedEntry::new(deletion, around))?;
        lines.push(b'\n');
    }
    Ok(lines)
}

fn csv_rows(page: &[DeletionDetails]) -> anyhow::Result<Vec<u8>> {
    let mut rows = Vec::new();
    for deletion in page {
        if deletion.steps.is_empty() {
            rows.push(cells(deletion, None, None));
        }
        for step in &deletion.steps {
            if step.attempts.is_empty() {
                rows.push(cells(deletion, Some(step), None));
            }
            let row = |attempt| cells(deletion, Some(step), Some(attempt));
            rows.extend(step.attempts.iter().map(row));
        }
    }
    in_csv(&rows)
}

fn cells(
    deletion: &DeletionDetails,
    step: Option<&StepDetails>,
    attempt: Option<&AttemptDetails>,
) -> [String; COLUMNS.len()] {
    let row = &deletion.row;
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    [
        row.deletion_id.to_string(),
        row.state.to_string(),
        row.kind.clone(),
        row.scope.clone(),
        text(row.call_id.as_ref()),
        text(row.graph_call_id.as_ref()),
        row.tenant.clone(),
        text(row.key_id.as_ref()),
        text(deletion.peer.as_ref()),
        text(deletion.reason.as_ref()),
        row.created_at.to_string(),
        row.deadline_at.to_string(),
        time(row.settled_at),
        time(row.confirmed_at),
        text(row.failure.as_ref()),
        step.map(|step| step.position.to_string()).unwrap_or_default(),
        text(step.map(|step| &step.operation)),
        text(step.and_then(|step| step.target.as_ref())),
        text(step.map(|step| &step.state)),
        attempt.map(|attempt| attempt.number.to_string()).unwrap_or_default(),
        time(attempt.map(|attempt| attempt.started_at)),
        time(attempt.and_then(|attempt| attempt.answered_at)),
        attempt.and_then(|attempt| attempt.status).map(|it| it.to_string()).unwrap_or_default(),
        text(attempt.and_then(|attempt| attempt.error.as_ref())),
        text(attempt.and_then(|attempt| attempt.request_id.as_ref())),
        text(attempt.and_then(|attempt| attempt.client_request_id.as_ref())),
        attempt.map(|attempt| attempt.effect_possible.to_string()).unwrap_or_default(),
        time(step.and_then(|step| step.next_attempt_at)),
    ]
}

fn time(at: Option<Timestamp>) -> String {
    at.map(|at| at.to_string()).unwrap_or_default()
}

/// No cell has a line end: what callers sent stays in its row, whatever reads it.
fn in_csv(rows: &[[String; COLUMNS.len()]]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.write_record(row.iter().map(|cell| printable(cell)))?;
    }
    Ok(writer.into_inner()?)
}
