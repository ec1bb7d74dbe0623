//! `status=next`: deletions that are armed for a call that has not begun.
//!
//! What is compared is on disk with the deletion, so that whoever is told of the call, with whatever
//! configuration, finds the same one. An armed deletion fires in the transaction that makes the call
//! known: it is open then, with one step, and goes the way of every other deletion. Of several that
//! are armed for one call, the oldest fires; the others wait until that one is over.

mod fire;
#[cfg(test)]
mod tests;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

pub(super) use self::fire::promote;
use super::admit::record::{Begun, insert_deletion};
use super::{aside, resolve, waits};
use crate::clock::{Moment, Timestamp};
use crate::config::legacy::Mapping;
use crate::id::DeletionId;
use crate::model::call::CallState;
use crate::model::deletion::{
    ARMED_FOR, CLOCK_SET_BACK, DeletionState, NOT_BEGUN, REPEATED_BY_THE_STACK,
};
use crate::model::merge::KnownCall;
use crate::model::number::NumberingPlan;
use crate::model::number::pattern::NumberPattern;
use crate::model::selector::Selector;
use crate::store::admission::{Ask, Selection};
use crate::store::error::StoreError;

/// By what the call is told, as it is kept with the deletion.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Rules {
    call_id: Option<String>,
    platform_call_id: Option<String>,
    native_id: Option<String>,
    meeting_id: Option<String>,
    numbers: Vec<String>,
    numbering: NumberingPlan,
    mapping: Mapping,
    match_roster: bool,
}

impl Rules {
    fn of(selection: &Selection) -> Self {
        let Selector { call_id, platform_call_id, native_id, meeting_id, .. } = &selection.selector;
        Self {
            call_id: call_id.clone(),
            platform_call_id: platform_call_id.clone(),
            native_id: native_id.clone(),
            meeting_id: meeting_id.clone(),
            numbers: selection.numbers.clone(),
            numbering: selection.numbering.clone(),
            mapping: selection.mapping.clone(),
            match_roster: selection.match_roster,
        }
    }

    /// The selection that was asked for, among the calls that `patterns` leave.
    fn selection(self, tenant_row: i64, patterns: Vec<NumberPattern>) -> Selection {
        Selection {
            tenant_row,
            patterns,
            numbering: self.numbering,
            selector: Selector {
                call_id: self.call_id,
                platform_call_id: self.platform_call_id,
                native_id: self.native_id,
                meeting_id: self.meeting_id,
                extension: None,
                status: None,
            },
            numbers: self.numbers,
            mapping: self.mapping,
            match_roster: self.match_roster,
            canonical: String::new(),
            hash: [0; 16],
        }
    }
}

/// Records a deletion of the first call of the number that begins in time. It has no step before that.
pub(super) fn arm(
    connection: &Connection,
    ask: &Ask,
    deletion_id: DeletionId,
) -> Result<(), StoreError> {
    let (selection, kind) = (&ask.selection, &ask.question.kind);
    let now = waits::note(connection, ask.moment())?;
    let begun = Begun {
        deletion_id,
        call: None,
        target: None,
        state: DeletionState::Armed,
        created_at: now,
        deadline: now + ARMED_FOR,
    };
    let deletion = insert_deletion(connection, ask, &begun)?;
    let tried_for = ask.deadline.since(ask.now).as_millis();
    connection
        .prepare_cached(
            "INSERT INTO armed (deletion, rules, after_call, tried_for, reject_reason, client_id) \
             VALUES (?1, ?2, (SELECT coalesce(max(call), 0) FROM calls), ?3, ?4, ?5)",
        )?
        .execute(params![
            deletion,
            serde_json::to_string(&Rules::of(selection)).map_err(StoreError::unexpected)?,
            i64::try_from(tried_for).unwrap_or(i64::MAX),
            kind.reject_reason().as_str(),
            ask.question.client_id
        ])?;
    let mut numbers = connection.prepare_cached(
        "INSERT INTO armed_numbers (tenant, number, deletion) VALUES (?1, ?2, ?3) \
         ON CONFLICT DO NOTHING",
    )?;
    for number in &selection.numbers {
        numbers.execute(params![selection.tenant_row, number, deletion])?;
    }
    Ok(())
}

/// The deletion by the same key and selector that is armed. One that waits for its turn has its call, and
/// is joined only by the repeat of a request whose client went away.
pub(super) fn same(connection: &Connection, ask: &Ask) -> Result<Option<DeletionId>, StoreError> {
    let kind = &ask.question.kind;
    let now = waits::now(connection, ask.moment())?;
    let known: Option<String> = connection
        .prepare_cached(
            "SELECT d.deletion_id FROM deletions AS d JOIN armed AS a ON a.deletion = d.deletion \
             WHERE d.key = ?1 AND d.selector_hash = ?2 AND d.selector = ?3 AND d.kind = ?4 \
             AND d.scope = ?5 AND d.state = 'armed' \
             AND (a.call IS NULL AND d.created_at <= ?6 AND d.deadline_at > ?6 \
             OR d.abandoned_at > ?7) ORDER BY d.deletion DESC LIMIT 1",
        )?
        .query_row(
            params![
                ask.checked.key.row,
                ask.selection.hash,
                ask.selection.canonical,
                kind.as_str(),
                kind.scope_word(),
                now.0,
                (ask.now - REPEATED_BY_THE_STACK).0
            ],
            |row| row.get(0),
        )
        .optional()?;
    known.map(|id| id.parse().map_err(StoreError::unexpected)).transpose()
}

/// Has the deletions that are armed for this call fire, which something became known of at `now`.
/// Gives whether one did.
///
/// A call counts from when it was told of as beginning, however late its numbers are told; one that was
/// known before the deletion was armed, or that was imported, has begun before.
pub(super) fn told(
    connection: &Connection,
    tenant: i64,
    call: i64,
    known: &KnownCall,
    moment: Moment,
) -> Result<bool, StoreError> {
    let begins = known.started_at.is_some()
        && known.ended_at.is_none()
        && known.state < CallState::Terminating;
    if !begins || !is_any(connection, tenant)? {
        return Ok(false);
    }
    let now = waits::now(connection, moment)?;
    // What has just been told of is seen as waits are; what was told before, by the clock of then.
    let is_new = known.first_seen_at == moment.wall;
    let begun_at = if is_new { now } else { known.first_seen_at };
    let mut fired = false;
    for deletion in candidates(connection, tenant, call, begun_at, now)? {
        match fire::try_on(connection, deletion, call, now) {
            Ok(has_fired) => fired |= has_fired,
            // The news are no less true.
            Err(error) => drop(aside::leave(connection, deletion, error, now)?),
        }
    }
    Ok(fired)
}

/// For all the calls that nobody waits for, this is all that is asked.
fn is_any(connection: &Connection, tenant: i64) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM armed_numbers WHERE tenant = ?1)")?
        .query_row([tenant], |row| row.get(0))?)
}

/// Those that are armed for a number of this call, the oldest first.
fn candidates(
    connection: &Connection,
    tenant: i64,
    call: i64,
    begun_at: Timestamp,
    now: Timestamp,
) -> Result<Vec<i64>, StoreError> {
    let found = connection
        .prepare_cached(
            "SELECT DISTINCT d.deletion FROM armed_numbers AS n \
             JOIN armed AS a ON a.deletion = n.deletion JOIN deletions AS d ON d.deletion = n.deletion \
             WHERE n.tenant = ?1 AND n.number IN (SELECT normalised FROM parties WHERE call = ?2 \
             UNION SELECT normalised FROM roster WHERE call = ?2 \
             UNION SELECT user_id FROM roster WHERE call = ?2) \
             AND d.state = 'armed' AND a.call IS NULL AND a.after_call < ?2 \
             AND d.created_at <= ?3 AND d.deadline_at > ?4 \
             AND (SELECT was_told FROM calls WHERE call = ?2) ORDER BY d.deletion",
        )?
        .query_map(params![tenant, call, begun_at.0, now.0], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(found)
}

/// Moves what is armed with the clock: how long that is ago is known. No call that is known since is seen as
/// one that began before.
pub(super) fn move_all(connection: &Connection, by: i64) -> Result<(), StoreError> {
    connection.execute(
        "UPDATE deletions SET created_at = created_at + min(?1, 0), deadline_at = deadline_at + ?1 \
         WHERE ?1 <> 0 AND state = 'armed' \
         AND (SELECT call FROM armed WHERE armed.deletion = deletions.deletion) IS NULL",
        [by],
    )?;
    Ok(())
}

/// Takes in that the clock was set back by so many milliseconds, to `now`, while nobody served: nothing is
/// armed for longer by that. What was armed at a time that is still to come would not know its call from a
/// later one, and ends.
pub(super) fn clock_was_set_back(
    connection: &Connection,
    by: u64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let waits = "state = 'armed' \
                 AND (SELECT call FROM armed WHERE armed.deletion = deletions.deletion) IS NULL";
    connection.execute(
        &format!(
            "UPDATE deletions SET state = 'obsolete', failure = ?2, settled_at = ?1 \
             WHERE {waits} AND created_at > ?1"
        ),
        params![now.0, CLOCK_SET_BACK],
    )?;
    connection.execute(
        &format!("UPDATE deletions SET deadline_at = deadline_at - ?1 WHERE {waits}"),
        [i64::try_from(by).unwrap_or(i64::MAX)],
    )?;
    Ok(())
}

/// Ends those that nobody has called for in time.
pub(super) fn end_late(connection: &Connection, now: Timestamp) -> Result<usize, StoreError> {
    Ok(connection
        .prepare_cached(
            "UPDATE deletions SET state = 'obsolete', failure = ?2, settled_at = ?1 \
             WHERE state = 'armed' AND deadline_at <= ?1 \
             AND (SELECT call FROM armed WHERE armed.deletion = deletions.deletion) IS NULL",
        )?
        .execute(params![now.0, NOT_BEGUN])?)
}
