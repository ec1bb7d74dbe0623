//! `callgate keys import`: keys that clients have already, so that no client has to be changed.
//!
//! Every line is checked before the first key is written, and all are written together. Only the
//! keyed hash of a secret is kept; no message and no output has one in it.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::column::{Column, header};
use super::create::configured;
use super::line::{Guid, Line, guid, read};
use super::open;
use crate::cli::csv::read_records;
use crate::cli::error::CliError;
use crate::cli::file::{self, unreadable};
use crate::cli::output::{Table, Terminal};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::id::TenantId;
use crate::keys::Keys;
use crate::operator::Operator;
use crate::secret::Secret;
use crate::store::error::StoreError;

/// Wrong lines that are named; the rest is counted.
const NAMED: usize = 100;

/// Keys of one import, which are written in one transaction: a running gateway waits that long.
const MOST: usize = 10_000;

pub(super) const HELP: &str = "\
Columns of the CSV file, named by its first line, in any order:
  key             required: the key that clients send, a GUID in any spelling; also apiKey or guid
  name            required: what it is called in lists and logs, 3 to 128 characters
  owner           whom to ask about it
  tenantID        default: graph.tenant_id
  allow, rights, identifiers, numbers
                  as of `keys create`; several with ; between them
  requiresToken, postOnly, reasonRequired, queryPasswords
                  1, true or yes; 0, false or no; default: no, but yes for queryPasswords
  expires         as of `keys create`

Every line is checked before the first key is written: when one is wrong, nothing is imported. A \
key that could be guessed is imported and marked as weak; rotate it when its client can be changed. \
Remove the file afterwards: it holds the keys.";

/// Runs the command.
///
/// # Errors
///
/// No key was written.
pub(super) async fn run(
    path: Option<&Path>,
    is_dry_run: bool,
    json: bool,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let keys = open(config)?;
    let (name, input) = source(path, terminal)?;
    let mut import = Import::new(configured(config), Clock::System.now());
    import.read(input).map_err(|error| unreadable(&name, error))?;
    let lines = import.without_known(&keys).await?.into_result(&name)?;
    let mut entries: Vec<_> = lines.iter().map(ImportedKey::new).collect();
    if !is_dry_run {
        let wishes = lines.into_iter().map(|line| (line.wish, line.secret)).collect();
        let made = keys.import(&Operator::of_this_process(), wishes).await;
        let made = made.map_err(|error| match error {
            // Somebody made one of them since it was looked for.
            StoreError::Conflict => CliError::Input(format!(
                "{name}: a key in it was imported meanwhile, nothing was imported; do it again"
            ))
            .into(),
            error => anyhow::Error::from(error).context("no key was imported"),
        })?;
        for (entry, id) in entries.iter_mut().zip(made) {
            entry.id = Some(id.to_string());
        }
    }
    terminal.print_list(json, &entries, "", to_table)?;
    say_what_was_done(&entries, is_dry_run, terminal);
    Ok(())
}

fn say_what_was_done(entries: &[ImportedKey], is_dry_run: bool, terminal: Terminal) {
    let weak = entries.iter().filter(|entry| entry.weak).count();
    let keys = match entries.len() {
        1 => "1 key".to_owned(),
        count => format!("{count} keys"),
    };
    if is_dry_run {
        terminal.say(&format!("{keys} can be imported; nothing was written"));
    } else {
        terminal.say(&format!("{keys} imported; remove the file, it holds the secrets"));
    }
    if weak > 0 {
        terminal.say(&format!(
            "{weak} of them weak, so that somebody could guess it: replace it with `callgate keys \
             rotate ID` when its clients can be changed"
        ));
    }
}

/// The input and what it is called.
fn source(path: Option<&Path>, terminal: Terminal) -> Result<(String, Box<dyn BufRead>), CliError> {
    match path.filter(|path| *path != Path::new("-")) {
        None => {
            let input = io::stdin();
            if input.is_terminal() {
                terminal.say("reading keys from standard input");
            }
            Ok(("standard input".to_owned(), Box::new(input.lock())))
        }
        Some(path) => {
            let (name, file) = file::open(path)?;
            Ok((name, Box::new(BufReader::new(file))))
        }
    }
}

/// What was read so far.
struct Import {
    default_tenant: Option<TenantId>,
    now: Timestamp,
    lines: Vec<(u64, Line)>,
    faults: Vec<(u64, String)>,
}

impl Import {
    const fn new(default_tenant: Option<TenantId>, now: Timestamp) -> Self {
        Self { default_tenant, now, lines: Vec::new(), faults: Vec::new() }
    }

    /// Reads all lines and notes which are wrong.
    ///
    /// # Errors
    ///
    /// When the input cannot be read any further.
    fn read(&mut self, input: impl BufRead) -> io::Result<()> {
        let mut columns: Option<Vec<Column>> = None;
        let mut seen: HashMap<Guid, u64> = HashMap::new();
        read_records(input, &mut |number, cells| {
            let Some(known) = &columns else {
                match cells.and_then(|names| header(&names)) {
                    Ok(named) => columns = Some(named),
                    Err(problem) => self.faults.push((number, problem)),
                }
                // Without its header nothing of the rest can be read.
                return columns.is_some();
            };
            match cells {
                Err(problem) => self.faults.push((number, problem)),
                Ok(cells) => self.read_line(number, known, &cells, &mut seen),
            }
            if self.lines.len() > MOST {
                self.faults.push((number, format!("more than {MOST} keys: split the file")));
            }
            self.lines.len() <= MOST
        })?;
        self.refuse_keys_of_others(&seen);
        if self.lines.is_empty() && self.faults.is_empty() {
            self.faults.push((1, "there are no keys".to_owned()));
        }
        Ok(())
    }

    /// Reads one line; `seen` has the keys of those before it, also of those that are wrong.
    fn read_line(
        &mut self,
        number: u64,
        columns: &[Column],
        cells: &[&str],
        seen: &mut HashMap<Guid, u64>,
    ) {
        let first = guid(columns, cells).map_or(number, |key| *seen.entry(key).or_insert(number));
        if first != number {
            self.faults.push((number, format!("key: the same as in line {first}")));
        }
        match read(columns, cells, self.default_tenant.as_ref(), self.now) {
            Err(problems) => {
                self.faults.extend(problems.into_iter().map(|problem| (number, problem)));
            }
            Ok(line) if first == number => self.lines.push((number, line)),
            Ok(_) => {}
        }
    }

    /// A key that stands in another line, but not as its key, would be shown in lists.
    fn refuse_keys_of_others(&mut self, seen: &HashMap<Guid, u64>) {
        for (number, line) in &self.lines {
            let found = line.mentions.iter().filter_map(|(column, key)| {
                let other = seen.get(key)?;
                Some((*number, format!("{}: contains the key of line {other}", column.as_str())))
            });
            self.faults.extend(found);
        }
    }

    /// Notes which keys the database has already.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    async fn without_known(mut self, keys: &Keys) -> anyhow::Result<Self> {
        let secrets: Vec<Secret<String>> =
            self.lines.iter().map(|(_, line)| line.secret.clone()).collect();
        let known = keys.known(&secrets).await.context("the keys could not be read")?;
        let problem = "key: is a key already, see `callgate keys list`";
        self.faults.extend(known.into_iter().map(|at| (self.lines[at].0, problem.to_owned())));
        Ok(self)
    }

    /// The lines, when none is wrong.
    fn into_result(mut self, name: &str) -> Result<Vec<Line>, CliError> {
        if self.faults.is_empty() {
            return Ok(self.lines.into_iter().map(|(_, line)| line).collect());
        }
        self.faults.sort_by_key(|(line, _)| *line);
        let count = self.faults.len();
        let named = self.faults.iter().take(NAMED);
        let mut lines: Vec<_> =
            named.map(|(line, problem)| format!("{name}, line {line}: {problem}")).collect();
        let more = match count - lines.len() {
            0 => String::new(),
            more => format!("and {more} more; "),
        };
        lines.push(format!("{name}: {more}{count} wrong in all, nothing was imported"));
        Err(CliError::Lines(lines))
    }
}

/// A key as its import is told.
#[derive(Serialize)]
struct ImportedKey {
    /// None of one that was only checked.
    id: Option<String>,
    name: String,
    #[serde(rename = "tenantID")]
    tenant: String,
    weak: bool,
    weakness: Option<&'static str>,
}

impl ImportedKey {
    fn new(line: &Line) -> Self {
        Self {
            id: None,
            name: line.wish.name.clone(),
            tenant: line.wish.tenant.to_string(),
            weak: line.weakness.is_some(),
            weakness: line.weakness,
        }
    }
}

fn to_table(entries: &[ImportedKey]) -> Table {
    let mut table = Table::new(&["ID", "NAME", "WEAK"]);
    for entry in entries {
        let weakness = entry.weakness.unwrap_or_default().to_owned();
        table.add([entry.id.clone().unwrap_or_default(), entry.name.clone(), weakness]);
    }
    table
}
