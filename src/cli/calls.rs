//! `callgate calls`: imports calls into the registry, and shows what it knows.
//!
//! For the operator, so numbers are shown whole.

mod batches;
mod import;
mod input;
mod people;
mod reader;
mod row;
mod twins;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::Serialize;

use self::people::{InvitationEntry, ParticipantEntry};
use self::reader::Format;
use super::end::EndEntry;
use super::error::CliError;
use super::open_store;
use super::output::{Table, Terminal, short_time_or_none};
use crate::clock::Clock;
use crate::config::Config;
use crate::id::{CallId, TenantId};
use crate::registry::Registry;
use crate::store::records::{CallDetails, CallRow};

#[derive(Subcommand)]
pub(super) enum CallsCommand {
    /// Checks every line of a file of JSON lines or CSV, and merges its calls into the registry
    #[command(after_long_help = import::HELP)]
    Import(ImportOptions),
    /// Lists calls, the newest first
    List {
        /// How many at most
        #[arg(long, value_name = "N", default_value = "50",
              value_parser = clap::value_parser!(u32).range(1..=100_000))]
        limit: u32,
        /// Only calls that have not ended
        #[arg(long)]
        ongoing: bool,
        /// Prints a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Shows one call with all that is known of it
    Show {
        /// The call's id, ours or Graph's
        #[arg(value_name = "ID")]
        id: String,
        /// Prints a JSON object; one for each tenant that has a call of this id
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub(super) struct ImportOptions {
    /// The file; standard input when it is absent or -
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// What the file is [default: by its name, else by its first character]
    #[arg(long)]
    format: Option<Format>,
    /// Prints what was done as a JSON object
    #[arg(long)]
    json: bool,
}

/// Runs one of the commands.
///
/// # Errors
///
/// When the store cannot be used, the input is wrong, or no call has the id.
pub(super) async fn run(
    command: CallsCommand,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let (store, _) = open_store(config)?;
    let registry = Registry::new(store, Clock::System);
    match command {
        CallsCommand::Import(options) => import::run(options, &registry, config, terminal).await,
        CallsCommand::List { limit, ongoing, json } => {
            let own = config.graph.tenant.as_ref().map(|tenant| tenant.id.clone());
            let limit = limit as usize;
            let rows = registry.list(limit + 1, ongoing).await;
            let rows = rows.context("the calls could not be read")?;
            let shown: Vec<_> = rows.iter().take(limit).map(CallEntry::new).collect();
            let none = if ongoing { "no call is going on" } else { "no calls are known" };
            terminal.print_list(json, &shown, none, |calls| to_table(calls, own.as_ref()))?;
            if rows.len() > limit {
                terminal.say(&format!("these are the newest {limit}; --limit shows more"));
            }
            Ok(())
        }
        CallsCommand::Show { id, json } => {
            let found = registry.show(CallId::new(&id)).await;
            let found = found.context("the call could not be read")?;
            if found.is_empty() {
                return Err(CliError::Input(format!("no call has the id {id}")).into());
            }
            for (index, details) in found.iter().enumerate() {
                let entry = DetailedEntry::new(details);
                if json {
                    terminal.print_json(&entry)?;
                } else {
                    let separator = if index == 0 { "" } else { "\n" };
                    terminal.print_bytes(format!("{separator}{}", entry.to_text()).as_bytes())?;
                }
            }
            Ok(())
        }
    }
}

/// The tenant has a column when there is a call of another tenant than `own`: no key of ours sees it.
fn to_table(calls: &[CallEntry<'_>], own: Option<&TenantId>) -> Table {
    let is_own = |tenant: &str| own.is_some_and(|own| own.as_str() == tenant);
    let shows_tenant = calls.iter().any(|call| !is_own(&call.row.tenant));
    let mut headings =
        vec!["CALL ID", "STATE", "STARTED", "ENDED", "SOURCE", "TARGETS", "DELETED BY"];
    headings.extend(shows_tenant.then_some("TENANT"));
    let mut table = Table::new(&headings);
    for CallEntry { row, .. } in calls {
        let known = [
            row.call_id.clone(),
            row.state.clone(),
            short_time_or_none(row.started_at),
            short_time_or_none(row.ended_at),
            row.source.clone().unwrap_or_default(),
            row.targets.join(", "),
            row.deletion_id.clone().unwrap_or_default(),
        ];
        table.add(known.into_iter().chain(shows_tenant.then(|| row.tenant.clone())));
    }
    table
}

/// A call as it is listed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallEntry<'a> {
    #[serde(rename = "callID")]
    call_id: &'a str,
    #[serde(rename = "graphCallID")]
    graph_call_id: &'a str,
    #[serde(rename = "tenantID")]
    tenant: &'a str,
    state: &'a str,
    started_at: Option<String>,
    ended_at: Option<String>,
    source: Option<&'a str>,
    targets: &'a [String],
    #[serde(rename = "deletionID")]
    deletion_id: Option<&'a str>,
    #[serde(skip)]
    row: &'a CallRow,
}

impl<'a> CallEntry<'a> {
    fn new(row: &'a CallRow) -> Self {
        Self {
            call_id: &row.call_id,
            graph_call_id: &row.graph_id,
            tenant: &row.tenant,
            state: &row.state,
            started_at: row.started_at.map(|at| at.to_string()),
            ended_at: row.ended_at.map(|at| at.to_string()),
            source: row.source.as_deref(),
            targets: &row.targets,
            deletion_id: row.deletion_id.as_deref(),
            row,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DetailedEntry<'a> {
    #[serde(flatten)]
    call: CallEntry<'a>,
    direction: Option<&'a str>,
    call_chain_id: Option<&'a str>,
    thread_id: Option<&'a str>,
    #[serde(rename = "joinMeetingID")]
    join_meeting_id: Option<&'a str>,
    #[serde(rename = "platformCallID")]
    platform_call_id: Option<&'a str>,
    #[serde(rename = "nativeID")]
    native_id: Option<&'a str>,
    #[serde(rename = "meetingID")]
    meeting_id: Option<&'a str>,
    subject: Option<&'a str>,
    #[serde(rename = "appID")]
    app_id: Option<&'a str>,
    #[serde(rename = "myParticipantID")]
    my_participant_id: Option<&'a str>,
    first_seen_at: String,
    last_seen_at: String,
    answered_at: Option<String>,
    /// Why and by whom it was ended, once it has ended.
    end: Option<EndEntry<'a>>,
    look_at: Option<String>,
    looked_at: Option<String>,
    roster: Vec<ParticipantEntry<'a>>,
    invitations: Vec<InvitationEntry<'a>>,
}

impl<'a> DetailedEntry<'a> {
    fn new(details: &'a CallDetails) -> Self {
        Self {
            call: CallEntry::new(&details.row),
            direction: details.direction.as_deref(),
            call_chain_id: details.chain_id.as_deref(),
            thread_id: details.thread_id.as_deref(),
            join_meeting_id: details.join_meeting_id.as_deref(),
            platform_call_id: details.platform_call_id.as_deref(),
            native_id: details.native_id.as_deref(),
            meeting_id: details.meeting_id.as_deref(),
            subject: details.subject.as_deref(),
            app_id: details.app_id.as_deref(),
            my_participant_id: details.my_participant_id.as_deref(),
            first_seen_at: details.first_seen_at.to_string(),
            last_seen_at: details.last_seen_at.to_string(),
            answered_at: details.answered_at.map(|at| at.to_string()),
            end: details.row.ended_at.map(|at| EndEntry::new(at, &details.end, details.ours)),
            look_at: details.look_at.map(|at| at.to_string()),
            looked_at: details.looked_at.map(|at| at.to_string()),
            roster: people::roster(details),
            invitations: details.invitations.iter().map(InvitationEntry::new).collect(),
        }
    }

    fn to_text(&self) -> String {
        let call = &self.call;
        let mut table = Table::without_headings();
        let targets = (!call.targets.is_empty()).then(|| call.targets.join(", "));
        for (name, value) in [
            ("call id", Some(call.call_id)),
            ("Graph call id", Some(call.graph_call_id)),
            ("tenant", Some(call.tenant)),
            ("state", Some(call.state)),
            ("direction", self.direction),
            ("source", call.source),
            ("targets", targets.as_deref()),
            ("started", call.started_at.as_deref()),
            ("answered", self.answered_at.as_deref()),
            ("ended", call.ended_at.as_deref()),
            ("platform call id", self.platform_call_id),
            ("native id", self.native_id),
            ("meeting id", self.meeting_id),
            ("call chain id", self.call_chain_id),
            ("thread id", self.thread_id),
            ("join meeting id", self.join_meeting_id),
            ("subject", self.subject),
            ("app", self.app_id),
            ("our participant id", self.my_participant_id),
            ("first seen", Some(self.first_seen_at.as_str())),
            ("last news", Some(self.last_seen_at.as_str())),
            ("next look at Graph", self.look_at.as_deref()),
            ("last look at Graph", self.looked_at.as_deref()),
            ("deleted by", call.deletion_id),
        ] {
            if let Some(value) = value {
                table.add([name.to_owned(), value.to_owned()]);
            }
        }
        if let Some(end) = &self.end {
            end.add_to(&mut table);
        }
        match people::table(&self.roster, &self.invitations) {
            Some(people) => format!("{}\n{}", table.to_text(), people.to_text()),
            None => table.to_text(),
        }
    }
}
