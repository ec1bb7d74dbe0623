//! `callgate deletions`: where deletions stand, what Graph said to each attempt, and what an operator
//! changes about them.

mod change;
mod export;
mod filter;
mod given;
mod waits;

use anyhow::Context as _;
use clap::Subcommand;
use serde::Serialize;

use self::change::{ChangeOptions, Verb};
use self::export::Format;
use self::filter::FilterOptions;
use self::waits::Around;
use super::end::EndEntry;
use super::error::CliError;
use super::output::{Table, Terminal, short_time, short_time_or_none};
use super::pause::say_pauses;
use super::{ids, open_store};
use crate::config::Config;
use crate::id::DeletionId;
use crate::store::Store;
use crate::store::operations::DeletionFilter;
use crate::store::records::{AttemptDetails, DeletionDetails, DeletionRow, StepDetails};

#[derive(Subcommand)]
pub(super) enum DeletionsCommand {
    /// Lists deletions, the newest first
    List {
        #[command(flatten)]
        filter: FilterOptions,
        /// How many at most
        #[arg(long, value_name = "N", default_value = "50",
              value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// Only those that come after this one in the list: the next page
        #[arg(long, value_name = "ID", value_parser = ids::deletion)]
        before: Option<DeletionId>,
        /// Prints a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Shows one deletion with its steps and attempts
    Show {
        /// The deletion's id, as `deletions list` shows it
        #[arg(value_name = "ID", value_parser = ids::deletion)]
        id: DeletionId,
        /// Prints a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Tries deletions again that ended without success, with a new deadline; never what Graph has taken
    Retry(ChangeOptions),
    /// Cancels deletions that wait and of which nothing can have reached Graph
    Cancel(ChangeOptions),
    /// Prints deletions with every attempt and Graph's request ids, the newest first
    Export {
        #[command(flatten)]
        filter: FilterOptions,
        /// One object on each line, as `deletions show --json` prints it, or one CSV row for each attempt and
        /// for each step without one
        #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
        format: Format,
    },
}

/// Runs one of the commands.
///
/// # Errors
///
/// When the store cannot be used, or has no such deletion; nothing was changed, unless the error says
/// otherwise.
pub(super) async fn run(
    command: DeletionsCommand,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    match command {
        DeletionsCommand::List { filter, limit, before, json } => {
            list(filter, before, limit as usize, json, config, terminal).await
        }
        DeletionsCommand::Show { id, json } => {
            let (store, _) = open_store(config)?;
            let found = known(&store, id).await?;
            let entry = DetailedEntry::new(&found, &Around::look(&store, config).await?);
            if json { terminal.print_json(&entry) } else { terminal.print(&entry.to_text()) }
        }
        DeletionsCommand::Retry(options) => {
            change::run(Verb::Retry, options, config, terminal).await
        }
        DeletionsCommand::Cancel(options) => {
            change::run(Verb::Cancel, options, config, terminal).await
        }
        DeletionsCommand::Export { filter, format } => {
            export::run(filter, format, config, terminal).await
        }
    }
}

async fn list(
    options: FilterOptions,
    before: Option<DeletionId>,
    limit: usize,
    json: bool,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let (store, _) = open_store(config)?;
    let (filter, none) = options.look_up(&store).await?;
    let filter = DeletionFilter { before, ..filter };
    if let Some(id) = filter.before {
        known(&store, id).await?;
    }
    let rows = store.deletions(filter, limit + 1).await;
    let rows = rows.context("the deletions could not be read")?;
    let around = Around::look(&store, config).await?;
    let shown = rows.iter().take(limit).map(|row| DeletionEntry::new(row, &around));
    let shown: Vec<_> = shown.collect();
    terminal.print_list(json, &shown, none, to_table)?;
    if let (true, Some(last)) = (rows.len() > limit, shown.last()) {
        terminal.say(&format!("there are more: the next page is --before {}", last.id));
    }
    say_pauses(&store, terminal).await
}

async fn known(store: &Store, id: DeletionId) -> anyhow::Result<DeletionDetails> {
    let found = store.deletion(id).await.context("the deletion could not be read")?;
    found.ok_or_else(|| CliError::Input(format!("no deletion has the id {id}")).into())
}

fn to_table(deletions: &[DeletionEntry<'_>]) -> Table {
    let mut table =
        Table::new(&["ID", "STATE", "KIND", "CREATED", "SETTLED", "CALL ID", "TARGET", "REASON"]);
    for DeletionEntry { row, waits, .. } in deletions {
        let everybody = || if row.scope == "all" { "everybody".to_owned() } else { String::new() };
        table.add([
            row.deletion_id.to_string(),
            row.state.to_string(),
            row.kind.clone(),
            short_time(row.created_at),
            short_time_or_none(row.settled_at),
            row.call_id.clone().unwrap_or_default(),
            row.target.clone().unwrap_or_else(everybody),
            waits.as_ref().or(row.failure.as_ref()).cloned().unwrap_or_default(),
        ]);
    }
    table
}

/// A deletion as it is listed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeletionEntry<'a> {
    id: String,
    state: &'static str,
    #[serde(rename = "callID")]
    call_id: Option<&'a str>,
    #[serde(rename = "graphCallID")]
    graph_call_id: Option<&'a str>,
    #[serde(rename = "tenantID")]
    tenant: &'a str,
    #[serde(rename = "keyID")]
    key_id: Option<&'a str>,
    kind: &'a str,
    /// Of what ends a leg; nothing else has one.
    scope: Option<&'a str>,
    /// The participant who is removed, or the user who is invited.
    target: Option<&'a str>,
    created_at: String,
    deadline_at: String,
    settled_at: Option<String>,
    failure: Option<&'a str>,
    /// While it is open or armed: why it is not being tried now, when it is, and what can be done.
    waits: Option<String>,
    #[serde(skip)]
    row: &'a DeletionRow,
}

impl<'a> DeletionEntry<'a> {
    fn new(row: &'a DeletionRow, around: &Around) -> Self {
        Self {
            id: row.deletion_id.to_string(),
            state: row.state.as_str(),
            call_id: row.call_id.as_deref(),
            graph_call_id: row.graph_call_id.as_deref(),
            tenant: &row.tenant,
            key_id: row.key_id.as_deref(),
            kind: &row.kind,
            scope: has_scope(&row.kind).then_some(row.scope.as_str()),
            target: row.target.as_deref(),
            created_at: row.created_at.to_string(),
            deadline_at: row.deadline_at.to_string(),
            settled_at: row.settled_at.map(|at| at.to_string()),
            failure: row.failure.as_deref(),
            waits: around.waits(row),
            row,
        }
    }
}

/// Whether a kind is about legs at all: what only rejects, removes one or invites one is not.
fn has_scope(kind: &str) -> bool {
    !matches!(kind, "RejectCall" | "DeleteParticipant" | "InviteParticipant")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DetailedEntry<'a> {
    #[serde(flatten)]
    deletion: DeletionEntry<'a>,
    #[serde(rename = "operationID")]
    operation_id: Option<&'a str>,
    #[serde(rename = "participantID")]
    participant_id: Option<&'a str>,
    reject_reason: Option<&'a str>,
    /// Of an invitation.
    #[serde(rename = "userTenantID")]
    user_tenant: Option<&'a str>,
    #[serde(rename = "replacesCallID")]
    replaces: Option<&'a str>,
    client_context: Option<&'a str>,
    /// Of `scope=all`: how many of the others are not in the call any more, and how many there were.
    removed: Option<u32>,
    participants: Option<u32>,
    peer: Option<&'a str>,
    reason: Option<&'a str>,
    abandoned_at: Option<String>,
    confirmed_at: Option<String>,
    /// Why and by whom the call was ended, once it has ended.
    end: Option<EndEntry<'a>>,
    steps: Vec<StepEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StepEntry<'a> {
    position: i64,
    operation: &'a str,
    target: Option<&'a str>,
    state: &'a str,
    failure: Option<&'a str>,
    next_attempt_at: Option<String>,
    attempts: Vec<AttemptEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AttemptEntry<'a> {
    number: i64,
    started_at: String,
    answered_at: Option<String>,
    status: Option<u16>,
    error: Option<&'a str>,
    #[serde(rename = "requestID")]
    request_id: Option<&'a str>,
    #[serde(rename = "clientRequestID")]
    client_request_id: Option<&'a str>,
    effect_possible: bool,
}

impl<'a> DetailedEntry<'a> {
    fn new(details: &'a DeletionDetails, around: &Around) -> Self {
        Self {
            deletion: DeletionEntry::new(&details.row, around),
            operation_id: details.invited.as_ref().map(|invited| invited.operation_id.as_str()),
            participant_id: details
                .invited
                .as_ref()
                .and_then(|invited| invited.participant_id.as_deref()),
            reject_reason: details.parameters.reject_reason.as_deref(),
            user_tenant: details.parameters.user_tenant.as_deref(),
            replaces: details.parameters.replaces.as_deref(),
            client_context: details.parameters.client_context.as_deref(),
            removed: details.progress.map(|progress| progress.removed),
            participants: details.progress.map(|progress| progress.of),
            peer: details.peer.as_deref(),
            reason: details.reason.as_deref(),
            abandoned_at: details.abandoned_at.map(|at| at.to_string()),
            confirmed_at: details.row.confirmed_at.map(|at| at.to_string()),
            end: details.end.as_ref().map(|end| EndEntry::new(end.at, &end.reason, end.ours)),
            steps: details.steps.iter().map(StepEntry::new).collect(),
        }
    }

    fn to_text(&self) -> String {
        let deletion = &self.deletion;
        let removed = self.removed.zip(self.participants);
        let removed = removed.map(|(removed, of)| format!("{removed} of {of}"));
        let mut table = Table::without_headings();
        for (name, value) in [
            ("id", Some(deletion.id.as_str())),
            ("state", Some(deletion.state)),
            ("failure", deletion.failure),
            ("waits", deletion.waits.as_deref()),
            ("kind", Some(deletion.kind)),
            ("scope", deletion.scope),
            ("target", deletion.target),
            ("reject reason", self.reject_reason),
            ("user tenant", self.user_tenant),
            ("replaces call", self.replaces),
            ("client context", self.client_context),
            ("operation id", self.operation_id),
            ("participant id", self.participant_id),
            ("removed", removed.as_deref()),
            ("call id", deletion.call_id),
            ("Graph call id", deletion.graph_call_id),
            ("tenant", Some(deletion.tenant)),
            ("key", deletion.key_id),
            ("peer", self.peer),
            ("reason", self.reason),
            ("created", Some(deletion.created_at.as_str())),
            ("deadline", Some(deletion.deadline_at.as_str())),
            ("settled", deletion.settled_at.as_deref()),
            ("confirmed", self.confirmed_at.as_deref()),
            ("client gone", self.abandoned_at.as_deref()),
        ] {
            if let Some(value) = value {
                table.add([name.to_owned(), value.to_owned()]);
            }
        }
        if let Some(end) = &self.end {
            table.add(["call ended".to_owned(), end.ended_at.clone()]);
            end.add_to(&mut table);
        }
        let tables = [Some(table), Some(self.steps()), self.attempts()];
        let texts: Vec<_> = tables.iter().flatten().map(Table::to_text).collect();
        texts.join("\n").trim_end().to_owned()
    }

    fn steps(&self) -> Table {
        let headings = ["STEP", "OPERATION", "TARGET", "STATE", "NEXT ATTEMPT", "FAILURE"];
        let mut table = Table::new(&headings);
        for step in &self.steps {
            table.add([
                step.position.to_string(),
                step.operation.to_owned(),
                step.target.unwrap_or_default().to_owned(),
                step.state.to_owned(),
                step.next_attempt_at.clone().unwrap_or_default(),
                step.failure.unwrap_or_default().to_owned(),
            ]);
        }
        table
    }

    /// All of one step, then those of the next one; none before the first of them.
    fn attempts(&self) -> Option<Table> {
        if self.steps.iter().all(|step| step.attempts.is_empty()) {
            return None;
        }
        let mut table = Table::new(&[
            "STEP",
            "ATTEMPT",
            "STARTED",
            "ANSWERED",
            "STATUS",
            "EFFECT",
            "REQUEST ID",
            "CLIENT REQUEST ID",
            "ERROR",
        ]);
        let all = self.steps.iter().flat_map(|step| {
            step.attempts.iter().map(|attempt| (step.position.to_string(), attempt))
        });
        for (position, attempt) in all {
            table.add([
                position,
                attempt.number.to_string(),
                attempt.started_at.clone(),
                attempt.answered_at.clone().unwrap_or_default(),
                attempt.status.map(|status| status.to_string()).unwrap_or_default(),
                if attempt.effect_possible { "possible" } else { "" }.to_owned(),
                attempt.request_id.unwrap_or_default().to_owned(),
                attempt.client_request_id.unwrap_or_default().to_owned(),
                attempt.error.unwrap_or_default().to_owned(),
            ]);
        }
        Some(table)
    }
}

impl<'a> StepEntry<'a> {
    fn new(step: &'a StepDetails) -> Self {
        Self {
            position: step.position,
            operation: &step.operation,
            target: step.target.as_deref(),
            state: &step.state,
            failure: step.failure.as_deref(),
            next_attempt_at: step.next_attempt_at.map(|at| at.to_string()),
            attempts: step.attempts.iter().map(AttemptEntry::new).collect(),
        }
    }
}

impl<'a> AttemptEntry<'a> {
    fn new(attempt: &'a AttemptDetails) -> Self {
        Self {
            number: attempt.number,
            started_at: attempt.started_at.to_string(),
            answered_at: attempt.answered_at.map(|at| at.to_string()),
            status: attempt.status,
            error: attempt.error.as_deref(),
            request_id: attempt.request_id.as_deref(),
            client_request_id: attempt.client_request_id.as_deref(),
            effect_possible: attempt.effect_possible,
        }
    }
}
