//! What became known of calls, merged into the registry in one transaction.
//!
//! The rules are in [`crate::model::merge`]; here they meet the rows. What changes nothing but the
//! time of the last news writes that column only.

mod invitation;
mod roster;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::OwnedSemaphorePermit;

use super::condition::Purpose;
use super::deletions::time;
use super::reconcile::confirm_deletions;
use super::{Sqlite, armed};
use crate::clock::Timestamp;
use crate::id::{CallId, GraphCallId, TenantId, canonical_guid};
use crate::model::call::{CallState, Direction, Party};
use crate::model::change::{CallChange, EndReason};
use crate::model::merge::KnownCall;
use crate::model::reconcile::CONFIRMATION;
use crate::store::error::StoreError;
use crate::store::records::{Applied, CallNews};

/// Whether a call is known, but not as this tenant's.
const FOREIGN: &str = "SELECT NOT EXISTS (SELECT 1 FROM calls WHERE tenant = ?1 AND graph_id = ?2) \
                       AND EXISTS (SELECT 1 FROM calls WHERE graph_id = ?2)";

impl Sqlite {
    /// See [`crate::store::Store::apply`].
    pub(crate) async fn apply(
        &self,
        news: CallNews,
        turn: OwnedSemaphorePermit,
    ) -> Result<Applied, StoreError> {
        let wake = self.fired();
        let run = move |connection: &Connection| {
            // Held by what is queued, not by who waits for it.
            let _held = &turn;
            apply(connection, &news)
        };
        let committed = move |(_, fired): &(Applied, bool)| {
            if *fired {
                wake.notify_one();
            }
        };
        self.write_news_with(Purpose::Begin, run, committed).await.map(|(applied, _)| applied)
    }
}

/// Merges all of `news`, or nothing. Gives also whether a deletion fired that was armed for a call.
pub(super) fn apply(
    connection: &Connection,
    news: &CallNews,
) -> Result<(Applied, bool), StoreError> {
    let tenant = find_tenant(connection, &news.tenant)?;
    for change in &news.changes {
        if is_foreign(connection, tenant, &change.graph_id)? {
            return Ok((Applied::OtherTenant, false));
        }
    }
    if news.changes.is_empty() {
        return Ok((Applied::Merged { changed: 0 }, false));
    }
    let tenant = match tenant {
        Some(tenant) => tenant,
        None => add_tenant(connection, &news.tenant, news.now.wall)?,
    };
    let (mut changed, mut fired) = (0, false);
    for change in &news.changes {
        let app_id = news.app_id.as_deref();
        let (row, known) = apply_one(connection, tenant, change, app_id, news.now.wall)?;
        if let Some(known) = known {
            changed += 1;
            fired |= armed::told(connection, tenant, row, &known, news.now)?;
        }
    }
    Ok((Applied::Merged { changed }, fired))
}

/// Merges one change; gives the call, and what is known of it if it said something that was not.
fn apply_one(
    connection: &Connection,
    tenant: i64,
    change: &CallChange,
    app_id: Option<&str>,
    now: Timestamp,
) -> Result<(i64, Option<KnownCall>), StoreError> {
    let found = find(connection, tenant, &change.graph_id)?;
    let is_new = found.is_none();
    let (row, before) = match found {
        Some((row, known)) => (Some(row), known),
        None => (None, KnownCall::unheard_of(now)),
    };
    let mut known = before.clone();
    known.merge(change, app_id, now);
    // News of its making was lost, or is late: who calls whom is asked for.
    let is_unannounced = is_new
        && !change.created
        && change.parties.is_empty()
        && known.state < CallState::Terminating;
    if is_unannounced {
        known.look_at = Some(now + CONFIRMATION);
    }
    let row = match row {
        Some(row) => {
            update(connection, row, &before, &known)?;
            row
        }
        None => insert(connection, tenant, &change.graph_id, &known, is_unannounced)?,
    };
    let call = Call { connection, tenant, row, ended_at: known.ended_at };
    let mut changed = call.add_parties(&change.parties, is_new)?;
    if let Some(told) = &change.roster {
        changed |= roster::merge(&call, told, known.roster_sequence, now)?;
    }
    if let Some(told) = &change.invitation {
        changed |= invitation::tell(&call, told)?;
    }
    known.last_seen_at = before.last_seen_at;
    let is_news = changed || is_new || known != before;
    Ok((row, is_news.then_some(known)))
}

/// The store's number of a tenant. It is looked up each time: one that was made in a transaction
/// that was undone must not be remembered.
fn find_tenant(connection: &Connection, id: &TenantId) -> Result<Option<i64>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT tenant FROM tenants WHERE tenant_id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?)
}

fn add_tenant(connection: &Connection, id: &TenantId, now: Timestamp) -> Result<i64, StoreError> {
    connection
        .prepare_cached("INSERT INTO tenants (tenant_id, created_at) VALUES (?1, ?2)")?
        .execute(params![id.as_str(), now.0])?;
    Ok(connection.last_insert_rowid())
}

/// See [`FOREIGN`].
fn is_foreign(
    connection: &Connection,
    tenant: Option<i64>,
    graph_id: &GraphCallId,
) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(FOREIGN)?
        .query_row(params![tenant, graph_id.0], |row| row.get(0))?)
}

fn find(
    connection: &Connection,
    tenant: i64,
    graph_id: &GraphCallId,
) -> Result<Option<(i64, KnownCall)>, StoreError> {
    connection
        .prepare_cached(
            "SELECT call, state, direction, app_id, chain_id, thread_id, join_meeting_id, subject, \
             observed, first_seen_at, last_seen_at, started_at, answered_at, ended_at, end_code, \
             end_subcode, end_message, end_reason, look_at, roster_sequence, rings_since, \
             my_participant_id FROM calls \
             WHERE tenant = ?1 AND graph_id = ?2",
        )?
        .query_row(params![tenant, graph_id.0], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

fn read(row: &Row<'_>) -> Result<(i64, KnownCall), StoreError> {
    let state: String = row.get(1)?;
    let direction: Option<String> = row.get(2)?;
    let known = KnownCall {
        state: state.parse().map_err(StoreError::unexpected)?,
        direction: direction.as_deref().map(read_direction).transpose()?,
        app_id: row.get(3)?,
        chain_id: row.get(4)?,
        thread_id: row.get(5)?,
        join_meeting_id: row.get(6)?,
        subject: row.get(7)?,
        observed: row.get(8)?,
        first_seen_at: Timestamp(row.get(9)?),
        last_seen_at: Timestamp(row.get(10)?),
        started_at: time(row, 11)?,
        answered_at: time(row, 12)?,
        ended_at: time(row, 13)?,
        end: EndReason {
            code: row.get(14)?,
            subcode: row.get(15)?,
            message: row.get(16)?,
            word: row.get(17)?,
        },
        look_at: time(row, 18)?,
        roster_sequence: row.get(19)?,
        rings_since: time(row, 20)?,
        my_participant_id: row.get(21)?,
    };
    Ok((row.get(0)?, known))
}

fn read_direction(word: &str) -> Result<Direction, StoreError> {
    [Direction::Incoming, Direction::Outgoing]
        .into_iter()
        .find(|known| known.as_str() == word)
        .ok_or_else(|| StoreError::unexpected(format!("direction {word}")))
}

fn insert(
    connection: &Connection,
    tenant: i64,
    graph_id: &GraphCallId,
    known: &KnownCall,
    is_look_wanted: bool,
) -> Result<i64, StoreError> {
    let graph_id = &graph_id.0;
    connection
        .prepare_cached(
            "INSERT INTO calls (tenant, call_id, graph_id, graph_key, app_id, chain_id, thread_id, \
             join_meeting_id, direction, state, subject, observed, first_seen_at, last_seen_at, \
             started_at, answered_at, ended_at, end_code, end_subcode, end_message, end_reason, \
             look_at, look_wanted, rings_since, my_participant_id, was_told) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, \
             ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, 1)",
        )?
        .execute(params![
            tenant,
            CallId::sortable().as_str(),
            graph_id,
            canonical_guid(graph_id).filter(|canonical| canonical != graph_id),
            known.app_id,
            known.chain_id,
            known.thread_id,
            known.join_meeting_id,
            known.direction.map(Direction::as_str),
            known.state.as_str(),
            known.subject,
            known.observed,
            known.first_seen_at.0,
            known.last_seen_at.0,
            known.started_at.map(|at| at.0),
            known.answered_at.map(|at| at.0),
            known.ended_at.map(|at| at.0),
            known.end.code,
            known.end.subcode,
            known.end.message,
            known.end.word,
            known.look_at.map(|at| at.0),
            is_look_wanted,
            known.rings_since.map(|at| at.0),
            known.my_participant_id
        ])?;
    Ok(connection.last_insert_rowid())
}

/// Writes what of `known` is not as `before`, in statements that touch no index whose columns stay
/// as they are.
fn update(
    connection: &Connection,
    row: i64,
    before: &KnownCall,
    known: &KnownCall,
) -> Result<(), StoreError> {
    if is_plainly_equal(before, known) {
        if before.last_seen_at != known.last_seen_at {
            connection
                .prepare_cached("UPDATE calls SET last_seen_at = ?2 WHERE call = ?1")?
                .execute([row, known.last_seen_at.0])?;
        }
    } else {
        connection
            .prepare_cached(
                "UPDATE calls SET state = ?2, direction = ?3, app_id = ?4, subject = ?5, \
                 observed = ?6, last_seen_at = ?7, started_at = ?8, answered_at = ?9, \
                 end_code = ?10, end_subcode = ?11, end_message = ?12, end_reason = ?13, \
                 rings_since = ?14, my_participant_id = ?15 \
                 WHERE call = ?1",
            )?
            .execute(params![
                row,
                known.state.as_str(),
                known.direction.map(Direction::as_str),
                known.app_id,
                known.subject,
                known.observed,
                known.last_seen_at.0,
                known.started_at.map(|at| at.0),
                known.answered_at.map(|at| at.0),
                known.end.code,
                known.end.subcode,
                known.end.message,
                known.end.word,
                known.rings_since.map(|at| at.0),
                known.my_participant_id
            ])?;
    }
    if indexed(before) != indexed(known) {
        connection
            .prepare_cached(
                "UPDATE calls SET chain_id = ?2, thread_id = ?3, join_meeting_id = ?4 \
                 WHERE call = ?1",
            )?
            .execute(params![row, known.chain_id, known.thread_id, known.join_meeting_id])?;
    }
    if (before.ended_at, before.look_at) != (known.ended_at, known.look_at) {
        connection
            .prepare_cached("UPDATE calls SET ended_at = ?2, look_at = ?3 WHERE call = ?1")?
            .execute(params![row, known.ended_at.map(|at| at.0), known.look_at.map(|at| at.0)])?;
    }
    if let (None, Some(now)) = (before.ended_at, known.ended_at) {
        confirm_deletions(connection, row, now)?;
    }
    Ok(())
}

/// Nothing differs but the time of the last news, and what has a statement of its own. A text that
/// is known stays as it is.
fn is_plainly_equal(before: &KnownCall, known: &KnownCall) -> bool {
    let values = |known: &KnownCall| {
        let times = [known.started_at, known.rings_since, known.answered_at];
        (known.state, known.direction, times)
    };
    let texts = |known: &KnownCall| {
        [known.app_id.is_some(), known.subject.is_some(), known.observed.is_some()]
    };
    values(before) == values(known)
        && texts(before) == texts(known)
        && before.my_participant_id == known.my_participant_id
        && before.end == known.end
}

fn indexed(known: &KnownCall) -> [bool; 3] {
    [known.chain_id.is_some(), known.thread_id.is_some(), known.join_meeting_id.is_some()]
}

/// A call's row, to which others are added.
struct Call<'c> {
    connection: &'c Connection,
    tenant: i64,
    row: i64,
    ended_at: Option<Timestamp>,
}

impl Call<'_> {
    /// Adds the parties that it does not have yet, and the names of those that have none; gives
    /// whether that was news.
    fn add_parties(&self, parties: &[Party], is_new: bool) -> Result<bool, StoreError> {
        if parties.is_empty() {
            return Ok(false);
        }
        // The position of each, and whether it has a name.
        let mut known: HashMap<(String, String), (i64, bool)> = HashMap::new();
        let mut last: i64 = 0;
        if !is_new {
            let mut statement = self.connection.prepare_cached(
                "SELECT role, normalised, position, display_name IS NOT NULL FROM parties \
                 WHERE call = ?1",
            )?;
            let mut rows = statement.query([self.row])?;
            while let Some(row) = rows.next()? {
                let (position, is_named) = (row.get(2)?, row.get(3)?);
                known.insert((row.get(0)?, row.get(1)?), (position, is_named));
                last = last.max(position);
            }
        }
        let mut changed = false;
        for party in parties {
            let names = party.display_name.is_some();
            match known.entry((party.role.to_owned(), party.normalised.clone())) {
                Entry::Vacant(place) => {
                    last += 1;
                    place.insert((last, names));
                    self.add_party(party, last)?;
                    changed = true;
                }
                Entry::Occupied(mut place) if names && !place.get().1 => {
                    let (position, _) = *place.get();
                    place.insert((position, true));
                    self.connection
                        .prepare_cached(
                            "UPDATE parties SET display_name = ?3 WHERE call = ?1 AND position = ?2",
                        )?
                        .execute(params![self.row, position, party.display_name])?;
                    changed = true;
                }
                Entry::Occupied(_) => {}
            }
        }
        Ok(changed)
    }

    fn add_party(&self, party: &Party, position: i64) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO parties (call, position, tenant, role, kind, raw, normalised, \
                 display_name, ended_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                self.row,
                position,
                self.tenant,
                party.role,
                party.kind,
                party.raw,
                party.normalised,
                party.display_name,
                self.ended_at.map(|at| at.0)
            ])?;
        Ok(())
    }
}
