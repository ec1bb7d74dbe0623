//! `callgate deletions retry` and `cancel`: what is changed, what would be, and what stands in the way.
//!
//! Deletions that are named are changed together or not at all. Of those that a filter finds, what can
//! be changed is, once somebody has seen what it is.

use std::collections::HashSet;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::filter::FilterOptions;
use super::given;
use crate::cli::error::CliError;
use crate::cli::output::{Table, Terminal, counted};
use crate::cli::{ids, open_store, serve};
use crate::clock::Clock;
use crate::config::Config;
use crate::id::DeletionId;
use crate::journal::operators::Interventions;
use crate::model::deletion::DeletionState;
use crate::operator::Operator;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::operations::{DeletionFilter, Judged, Manner};

/// Deletions that a filter found are changed so many at a time: a gateway beside gets its turn.
const PARCEL: usize = 100;

#[derive(Args)]
pub(in crate::cli) struct ChangeOptions {
    /// Their ids, as `deletions list` shows them; - reads them from standard input, one on each line
    /// or as JSON
    #[arg(value_name = "ID", value_parser = named, conflicts_with = "FilterOptions")]
    ids: Vec<Named>,
    #[command(flatten)]
    filter: FilterOptions,
    /// Changes what the filter finds; without it, says what that would be
    #[arg(long)]
    yes: bool,
    /// Prints a JSON array
    #[arg(long)]
    json: bool,
}

/// One argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Id(DeletionId),
    StandardInput,
}

fn named(text: &str) -> Result<Named, &'static str> {
    if text == "-" { Ok(Named::StandardInput) } else { ids::deletion(text).map(Named::Id) }
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Retry,
    Cancel,
}

impl Verb {
    /// The state of those that are meant when none is named.
    const fn usual(self) -> DeletionState {
        match self {
            Self::Retry => DeletionState::Failed,
            Self::Cancel => DeletionState::Open,
        }
    }

    const fn done(self) -> &'static str {
        match self {
            Self::Retry => "open again",
            Self::Cancel => "cancelled",
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Retry => "retried",
            Self::Cancel => "cancelled",
        }
    }
}

/// Runs one of the commands.
///
/// # Errors
///
/// Nothing was changed, unless the error says otherwise.
pub(super) async fn run(
    verb: Verb,
    options: ChangeOptions,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let names = options.filter.names();
    if options.ids.is_empty() && names.is_empty() {
        let text = "which deletions? Name them by their ids, - reads ids from standard input, or narrow \
                    them by --state, --kind, --key, --tenant, --call, --since or --until";
        return Err(CliError::Usage(text.to_owned()).into());
    }
    let (store, _) = open_store(config)?;
    let hand = Hand {
        interventions: Interventions::new(
            store.clone(),
            Clock::System,
            serve::apps(config),
            config.graph.deadline,
        ),
        operator: Operator::of_this_process(),
        verb,
        options: names,
        json: options.json,
        terminal,
    };
    if options.ids.is_empty() {
        hand.filtered(&store, options.filter, options.yes).await
    } else {
        hand.named(&options.ids).await
    }
}

/// The operator, about to change something.
struct Hand {
    interventions: Interventions,
    operator: Operator,
    verb: Verb,
    /// Those that said which deletions are meant.
    options: Vec<&'static str>,
    json: bool,
    terminal: Terminal,
}

impl Hand {
    async fn named(&self, given: &[Named]) -> anyhow::Result<()> {
        let ids = all_ids(given)?;
        let judged = self.intervene(ids, Manner::AllOrNone).await;
        let judged = judged.context("nothing was changed")?;
        let refused: Vec<_> = judged.iter().filter_map(refusal).collect();
        if refused.is_empty() {
            self.show(&judged, self.verb.word())?;
            self.say_done(judged.len(), 0);
            return Ok(());
        }
        if self.json {
            self.show(&judged, "unchanged")?;
        }
        Err(CliError::Lines(with_end(refused, "nothing was changed")).into())
    }

    async fn filtered(
        &self,
        store: &Store,
        mut options: FilterOptions,
        yes: bool,
    ) -> anyhow::Result<()> {
        if options.state.is_empty() {
            self.leaves_something_out(store, &options).await?;
            options.state.push(self.verb.usual());
        }
        let (filter, none) = options.look_up(store).await?;
        let rows = store.deletions(filter, usize::MAX).await;
        let rows = rows.context("the deletions could not be read")?;
        let ids: Vec<_> = rows.into_iter().map(|row| row.deletion_id).collect();
        if ids.is_empty() {
            return Err(CliError::Input(format!("{none}; nothing was changed")).into());
        }
        if !yes {
            return self.preview(ids).await;
        }
        let judged = self.parcels(&ids, Manner::WhateverCan).await?;
        self.show(&judged, self.verb.word())?;
        let refused = judged.iter().filter(|one| one.obstacle.is_some()).count();
        if refused < judged.len() {
            self.say_done(judged.len() - refused, refused);
            return Ok(());
        }
        Err(CliError::Input(format!("none of them can be {}", self.verb.word())).into())
    }

    /// Refuses a filter that means whatever there is: that is more likely a slip than a wish.
    async fn leaves_something_out(
        &self,
        store: &Store,
        options: &FilterOptions,
    ) -> anyhow::Result<()> {
        let (asked, _) = options.look_up(store).await?;
        let meant =
            store.count_deletions(asked).await.context("the deletions could not be read")?;
        let all = store.count_deletions(DeletionFilter::default()).await;
        if meant < all.context("the deletions could not be read")? || meant <= 1 {
            return Ok(());
        }
        let text = format!(
            "this leaves no deletion out: if all that are {0} are meant, say so with --state {0}; \
             nothing was changed",
            self.verb.usual()
        );
        Err(CliError::Input(text).into())
    }

    /// Says what would be changed.
    async fn preview(&self, ids: Vec<DeletionId>) -> anyhow::Result<()> {
        let judged = self.parcels(&ids, Manner::Preview).await?;
        self.show(&judged, &format!("would_be_{}", self.verb.word()))?;
        let can = judged.iter().filter(|one| one.obstacle.is_none()).count();
        if can == 0 {
            let text = format!("none of them can be {}", self.verb.word());
            return Err(CliError::Input(text).into());
        }
        let text = format!(
            "nothing was changed: {can} of {} would be {}; repeat the command with --yes",
            judged.len(),
            self.verb.word()
        );
        Err(CliError::Usage(text).into())
    }

    async fn parcels(&self, ids: &[DeletionId], manner: Manner) -> anyhow::Result<Vec<Judged>> {
        let mut judged = Vec::with_capacity(ids.len());
        for parcel in ids.chunks(PARCEL) {
            let more = self.intervene(parcel.to_vec(), manner).await;
            judged.extend(more.with_context(|| {
                let done = judged.iter().filter(|one: &&Judged| one.obstacle.is_none()).count();
                let done = if manner == Manner::Preview { 0 } else { done };
                let verb = if done == 1 { "is" } else { "are" };
                let done = counted(done, "deletion");
                format!("stopped after {done}, which {verb} {}", self.verb.done())
            })?);
        }
        Ok(judged)
    }

    async fn intervene(
        &self,
        ids: Vec<DeletionId>,
        manner: Manner,
    ) -> Result<Vec<Judged>, StoreError> {
        let options = self.options.clone();
        match self.verb {
            Verb::Retry => self.interventions.retry(&self.operator, ids, manner, options).await,
            Verb::Cancel => self.interventions.cancel(&self.operator, ids, manner, options).await,
        }
    }

    /// Prints each; `result` is that of those without an obstacle.
    fn show(&self, judged: &[Judged], result: &str) -> anyhow::Result<()> {
        let entries: Vec<_> = judged.iter().map(|one| ChangeEntry::new(one, result)).collect();
        self.terminal.print_list(self.json, &entries, "", to_table)
    }

    fn say_done(&self, count: usize, refused: usize) {
        let verb = if count == 1 { "is" } else { "are" };
        let left = match refused {
            0 => String::new(),
            refused => format!("; {refused} left as they were"),
        };
        self.terminal.say(&format!(
            "{} {verb} {}{left}",
            counted(count, "deletion"),
            self.verb.done()
        ));
    }
}

/// All that are named, each once.
fn all_ids(given: &[Named]) -> anyhow::Result<Vec<DeletionId>> {
    let mut ids = Vec::new();
    if given.contains(&Named::StandardInput) {
        ids.extend(given::from_standard_input()?);
    }
    ids.extend(given.iter().filter_map(|named| match named {
        Named::Id(id) => Some(*id),
        Named::StandardInput => None,
    }));
    let mut seen = HashSet::new();
    ids.retain(|id| seen.insert(*id));
    if ids.is_empty() {
        let text = "standard input has no ids; nothing was changed";
        return Err(CliError::Input(text.to_owned()).into());
    }
    if ids.len() > given::MOST {
        let text = format!(
            "{} ids are too many: at most {} are changed together; nothing was changed",
            ids.len(),
            given::MOST
        );
        return Err(CliError::Input(text).into());
    }
    Ok(ids)
}

fn refusal(judged: &Judged) -> Option<String> {
    let obstacle = judged.obstacle.as_ref()?;
    Some(format!("deletion {}: {obstacle}", judged.deletion_id))
}

fn with_end(mut lines: Vec<String>, end: &str) -> Vec<String> {
    lines.push(end.to_owned());
    lines
}

fn to_table(entries: &[ChangeEntry<'_>]) -> Table {
    let mut table = Table::new(&["ID", "STATE BEFORE", "KIND", "CALL ID", "RESULT", "REASON"]);
    for entry in entries {
        table.add([
            entry.id.clone(),
            entry.state_before.unwrap_or_default().to_owned(),
            entry.kind.unwrap_or_default().to_owned(),
            entry.call_id.unwrap_or_default().to_owned(),
            entry.result(),
            entry.reason.clone().unwrap_or_default(),
        ]);
    }
    table
}

/// What became of one deletion.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangeEntry<'a> {
    id: String,
    result: &'a str,
    state_before: Option<&'static str>,
    kind: Option<&'a str>,
    #[serde(rename = "callID")]
    call_id: Option<&'a str>,
    /// Before this, nothing is sent: Graph or its login asked for that.
    not_before: Option<String>,
    /// Why it was not changed.
    reason: Option<String>,
}

impl<'a> ChangeEntry<'a> {
    fn new(judged: &'a Judged, result: &'a str) -> Self {
        Self {
            id: judged.deletion_id.to_string(),
            result: if judged.obstacle.is_some() { "refused" } else { result },
            state_before: judged.state.map(DeletionState::as_str),
            kind: judged.kind.as_deref(),
            call_id: judged.call_id.as_deref(),
            not_before: judged.due.map(|at| at.to_string()),
            reason: judged.obstacle.as_ref().map(ToString::to_string),
        }
    }

    /// In a table.
    fn result(&self) -> String {
        let result = self.result.replace('_', " ");
        match &self.not_before {
            Some(at) => format!("{result}, not before {at}"),
            None => result,
        }
    }
}
