//! `callgate keys list` and `callgate keys show`: which keys there are and who uses them.

use anyhow::Context as _;

use super::create::configured;
use super::entry::KeyEntry;
use super::{open, unknown};
use crate::cli::output::{Table, Terminal};
use crate::clock::Clock;
use crate::config::Config;
use crate::id::{KeyId, TenantId};

pub(super) const LIST_HELP: &str = "\
Columns of the table:
  STATE      valid; weak: valid, but it was imported and could be guessed; rotated: it has a
             successor and goes on until EXPIRES; expired; revoked
  TENANT     of keys that are not of graph.tenant_id; nothing is sent for them
  RIGHTS     default: DeleteCall, GetCallID, GetCallInformation and GetDeletion, and where LIMITS
             has token also login: RequestToken and ReleaseToken
  LIMITS     token: it needs a session token; post: the method POST; reason: a reason for deletions;
             from: only from some addresses; numbers: only calls of some numbers; ids: only some
             identifiers; no-query: no passwords in the query
  EXPIRES    the day, in UTC
  LAST USED  the day, in UTC; with by whom when it was rotated before that

Names are cut. `keys show ID` shows all there is to know of one key.";

/// Lists all keys.
///
/// # Errors
///
/// When the store cannot be read.
pub(super) async fn list(json: bool, config: &Config, terminal: Terminal) -> anyhow::Result<()> {
    let keys = read(config).await?;
    let none = "there are no keys: `callgate keys create` makes one";
    terminal.print_list(json, &keys, none, |keys| to_table(keys, configured(config).as_ref()))
}

/// Shows one key.
///
/// # Errors
///
/// When the store cannot be read, or no key has this id.
pub(super) async fn one(
    id: KeyId,
    json: bool,
    config: &Config,
    terminal: Terminal,
) -> anyhow::Result<()> {
    let keys = read(config).await?;
    let id_text = id.to_string();
    let key = keys.iter().find(|key| key.is(&id_text)).ok_or_else(|| unknown(id))?;
    if json {
        return terminal.print_json(key);
    }
    let mut facts = Table::without_headings();
    for (name, value) in key.facts() {
        facts.add([name.to_owned(), value]);
    }
    let mut text = facts.to_text();
    let uses = key.uses();
    if !uses.is_empty() {
        let mut table = Table::new(&["ADDRESS", "LOGIN", "FIRST USED", "LAST USED"]);
        for cells in uses {
            table.add(cells);
        }
        text.push('\n');
        text.push_str(&table.to_text());
    }
    terminal.print_bytes(text.as_bytes())
}

async fn read(config: &Config) -> anyhow::Result<Vec<KeyEntry>> {
    let reports = open(config)?.list().await.context("the keys could not be read")?;
    Ok(KeyEntry::all(&reports, Clock::System.now()))
}

/// The tenant has a column when there is a key of another tenant than `own`: nothing is sent for it.
fn to_table(keys: &[KeyEntry], own: Option<&TenantId>) -> Table {
    let shows_tenant = !keys.iter().all(|key| key.is_of(own));
    let mut headings = vec!["ID", "NAME", "STATE"];
    headings.extend(shows_tenant.then_some("TENANT"));
    headings.extend(["RIGHTS", "LIMITS", "EXPIRES", "LAST USED"]);
    let mut table = Table::new(&headings);
    for key in keys {
        let [id, name, state, rest @ ..] = key.cells();
        let other = || if key.is_of(own) { String::new() } else { key.short_tenant() };
        let tenant = shows_tenant.then(other);
        table.add([id, name, state].into_iter().chain(tenant).chain(rest));
    }
    table
}
