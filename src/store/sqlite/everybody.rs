//! `scope=all`: everybody else is removed, each by a step of the one deletion, and then our leg ends.
//!
//! Our leg stays while anybody else is in the call: without it, nobody can be removed any more, also not
//! when somebody asks again.

use rusqlite::{Connection, OptionalExtension, params};

use super::participants;
use super::settle::{end, end_deletion};
use crate::clock::Timestamp;
use crate::model::deletion::{DeletionState, LEG_ASKED_FOR, PLACE_UNKNOWN, TOO_MANY};
use crate::model::everybody::{InTheCall, Present};
use crate::model::plan::{Operation, Progress};
use crate::store::admission::{Settled, StepRef};
use crate::store::error::StoreError;

/// Which of several ends is the deletion's, the worst first: the words of a step, and what they mean.
const WORST_FIRST: [(&str, DeletionState); 4] = [
    ("failed", DeletionState::Failed),
    ("unknown", DeletionState::Unknown),
    ("obsolete", DeletionState::Obsolete),
    ("cancelled", DeletionState::Held),
];

/// The roster was read: every other one is to be removed, or our leg to end when there is none. Gives
/// the deletion when it is over, because nobody may be removed.
pub(super) fn remove_all(
    connection: &Connection,
    step: StepRef,
    seen: &InTheCall,
    now: Timestamp,
) -> Result<Option<Settled>, StoreError> {
    let (call, me, most): (i64, Option<String>, Option<u32>) = connection
        .prepare_cached(
            "SELECT c.call, c.my_participant_id, d.most_others FROM deletions AS d \
             JOIN calls AS c ON c.call = d.call WHERE d.deletion = ?1",
        )?
        .query_row([step.deletion], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut others = seen.others(me.as_deref());
    if others.as_ref().is_some_and(Vec::is_empty) {
        // Graph also shows nobody for calls that somebody is in. Who we are it may have shown: what was
        // told of a roster before that may have been silent about apps.
        let me = me.as_deref().or(seen.ours());
        others = known(connection, call, seen)?.others(me);
    }
    // Whoever has not joined yet could do so afterwards.
    if let Some(others) = &mut others {
        let pending = participants::pending(connection, call)?;
        others.extend(pending.into_iter().filter(|id| !others.contains(id)).collect::<Vec<_>>());
    }
    let failure = match &others {
        None => PLACE_UNKNOWN,
        Some(others) if most.is_none_or(|most| is_more(others, most)) => TOO_MANY,
        Some(others) => {
            begin(connection, step, others, now)?;
            return go_on(connection, step.deletion, now);
        }
    };
    end(connection, step, DeletionState::Failed, Some(failure), now)
}

fn is_more(others: &[String], most: u32) -> bool {
    u32::try_from(others.len()).map_or(true, |count| count > most)
}

/// Those who are in the call by what was told of it.
fn known(connection: &Connection, call: i64, seen: &InTheCall) -> Result<InTheCall, StoreError> {
    let everybody = connection
        .prepare_cached(
            "SELECT participant_id, app_id, user_id, normalised IS NOT NULL OR user_id IS NOT NULL \
             FROM roster WHERE call = ?1 AND left_at IS NULL ORDER BY participant_id",
        )?
        .query_map([call], |row| {
            let (app_id, user_id): (Option<String>, Option<String>) = (row.get(1)?, row.get(2)?);
            // Rows of before apps were told from users name ours as a user.
            let ours = || user_id.filter(|id| seen.is_ours(id));
            Ok(Present {
                participant_id: row.get(0)?,
                app_id: app_id.or_else(ours),
                is_person: row.get(3)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    Ok(InTheCall { client_id: seen.client_id.clone(), everybody })
}

/// The roster is read, and one step for each of the others is due.
fn begin(
    connection: &Connection,
    step: StepRef,
    others: &[String],
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE steps SET state = 'sent', next_attempt_at = NULL, lease_owner = NULL, \
             lease_until = NULL WHERE deletion = ?1 AND position = ?2",
        )?
        .execute(params![step.deletion, step.position])?;
    for id in others {
        add_step(connection, step.deletion, Operation::RemoveParticipant, Some(id), now)?;
    }
    Ok(())
}

/// Adds a step behind the others; it has all the time that the deletion has.
fn add_step(
    connection: &Connection,
    deletion: i64,
    operation: Operation,
    target: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO steps (deletion, position, tenant, operation, target, state, \
             next_attempt_at, deadline_at) SELECT deletion, (SELECT max(position) + 1 FROM steps \
             WHERE steps.deletion = deletions.deletion), tenant, ?2, ?3, 'open', \
             min(?4, deadline_at), deadline_at FROM deletions WHERE deletion = ?1",
        )?
        .execute(params![deletion, operation.as_str(), target, now.0])?;
    Ok(())
}

/// A removal is over, or there is none: once all are, our leg ends, or the deletion when somebody may
/// still be in the call. Gives the deletion when it is over.
pub(super) fn go_on(
    connection: &Connection,
    deletion: i64,
    now: Timestamp,
) -> Result<Option<Settled>, StoreError> {
    let is_under_way: bool = connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM steps WHERE deletion = ?1 AND state = 'open')",
        )?
        .query_row([deletion], |row| row.get(0))?;
    if is_under_way {
        return Ok(None);
    }
    let mut statement = connection.prepare_cached(
        "SELECT failure FROM steps WHERE deletion = ?1 AND operation = 'remove-participant' \
         AND state = ?2 ORDER BY position LIMIT 1",
    )?;
    for (word, state) in WORST_FIRST {
        let mut rows = statement.query(params![deletion, word])?;
        if let Some(row) = rows.next()? {
            let failure: Option<String> = row.get(0)?;
            let last = Some(Operation::RemoveParticipant);
            return end_deletion(connection, deletion, last, state, failure.as_deref(), now)
                .map(Some);
        }
    }
    add_step(connection, deletion, Operation::HangUp, None, now)?;
    Ok(None)
}

/// Ends what is still open to end everybody's leg of this call, because our leg alone is to end now. What
/// is under way settles nothing any more, and its answer is kept.
pub(super) fn supersede(
    connection: &Connection,
    call: i64,
    now: Timestamp,
) -> Result<Option<Settled>, StoreError> {
    let open: Option<i64> = connection
        .prepare_cached(
            "SELECT deletion FROM deletions WHERE call = ?1 AND kind = 'DeleteCall' \
             AND scope = 'all' AND state = 'open'",
        )?
        .query_row([call], |row| row.get(0))
        .optional()?;
    let Some(deletion) = open else { return Ok(None) };
    connection
        .prepare_cached(
            "UPDATE steps SET state = 'obsolete', failure = ?2, next_attempt_at = NULL, \
             lease_owner = NULL, lease_until = NULL WHERE deletion = ?1 AND state = 'open'",
        )?
        .execute(params![deletion, LEG_ASKED_FOR])?;
    let (state, why) = (DeletionState::Obsolete, Some(LEG_ASKED_FOR));
    let last = last_operation(connection, deletion)?;
    end_deletion(connection, deletion, last, state, why, now).map(Some)
}

fn last_operation(connection: &Connection, deletion: i64) -> Result<Option<Operation>, StoreError> {
    let word: String = connection
        .prepare_cached(
            "SELECT operation FROM steps WHERE deletion = ?1 ORDER BY position DESC LIMIT 1",
        )?
        .query_row([deletion], |row| row.get(0))?;
    Ok(Operation::from_word(&word))
}

/// How far a deletion of everybody's leg got; none for any other, and before the roster was read.
pub(super) fn progress(
    connection: &Connection,
    deletion: i64,
) -> Result<Option<Progress>, StoreError> {
    let (was_read, removed, of): (bool, u32, u32) = connection
        .prepare_cached(
            "SELECT coalesce(max(operation = 'read-roster' AND state = 'sent'), 0), \
             count(*) FILTER (WHERE operation = 'remove-participant' AND state IN ('sent', 'gone')), \
             count(*) FILTER (WHERE operation = 'remove-participant') FROM steps \
             WHERE deletion = ?1",
        )?
        .query_row([deletion], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(was_read.then_some(Progress { removed, of }))
}
