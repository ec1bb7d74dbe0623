//! Several deletions of one call. A `DeleteCall` and a `RejectCall` take turns, so that nothing is sent for
//! the second one while Graph has not answered the first, nor once Graph has taken it. Single participants
//! are removed and invited beside each other, until our own leg is over.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::{admit, ringing};
use crate::clock::Timestamp;
use crate::id::DeletionId;
use crate::model::deletion::LEG_OVER;
use crate::model::plan::Order;
use crate::store::admission::StepRef;
use crate::store::error::StoreError;

/// After so long it is looked again whose turn it is.
const TURN: Duration = Duration::from_millis(200);

/// Another deletion that ends our leg of the call is being sent, or may have been when the process
/// stopped. A removal does not wait for what else is done before our leg ends; an invitation waits while
/// everybody is removed.
pub(super) fn is_another_sent(
    connection: &Connection,
    call: i64,
    deletion: i64,
) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM deletions AS d JOIN steps AS s \
             ON s.deletion = d.deletion WHERE d.call = ?1 AND d.deletion <> ?2 \
             AND d.state = 'open' AND s.state = 'open' AND d.kind IN ('DeleteCall', 'RejectCall') \
             AND CASE (SELECT kind FROM deletions WHERE deletion = ?2) \
             WHEN 'InviteParticipant' THEN d.scope = 'all' OR s.lease_owner IS NOT NULL \
             AND s.operation IN ('hang-up', 'reject') \
             WHEN 'DeleteParticipant' THEN s.lease_owner IS NOT NULL \
             AND s.operation IN ('hang-up', 'reject') \
             ELSE s.lease_owner IS NOT NULL END)",
        )?
        .query_row(params![call, deletion], |row| row.get(0))?)
}

/// What was answered to the steps `s` of the deletions `d`.
const ANSWERED: &str = "JOIN steps AS s ON s.deletion = d.deletion JOIN attempts AS a \
                        ON a.deletion = s.deletion AND a.position = s.position";

/// Before when Graph asked not to be asked this again, about this call, whatever deletion it was for; the
/// beginning of time when it did not.
pub(super) fn not_before(
    connection: &Connection,
    call: i64,
    order: &Order,
) -> Result<Timestamp, StoreError> {
    Ok(connection
        .prepare_cached(&format!(
            "SELECT coalesce(max(a.not_before), 0) FROM deletions AS d {ANSWERED} \
             WHERE d.call = ?1 AND s.operation = ?2 AND s.target IS ?3"
        ))?
        .query_row(params![call, order.operation().as_str(), order.target()], |row| {
            row.get(0).map(Timestamp)
        })?)
}

/// The same of a step that is there: an older attempt of its own may have been answered late, too, and what
/// comes in place of another step of its deletion waits as that one was asked to.
pub(super) fn step_not_before(
    connection: &Connection,
    step: StepRef,
) -> Result<Timestamp, StoreError> {
    Ok(connection
        .prepare_cached(&format!(
            "SELECT coalesce(max(a.not_before), 0) FROM steps AS mine JOIN deletions AS its \
             ON its.deletion = mine.deletion JOIN deletions AS d ON d.call = its.call {ANSWERED} \
             WHERE mine.deletion = ?1 AND mine.position = ?2 AND (s.operation = mine.operation \
             AND s.target IS mine.target OR s.deletion = mine.deletion \
             AND s.operation <> 'remove-participant')"
        ))?
        .query_row(params![step.deletion, step.position], |row| row.get(0).map(Timestamp))?)
}

/// The same of what a deletion is tried again with: what its last step asked.
pub(super) fn again_not_before(
    connection: &Connection,
    deletion: i64,
) -> Result<Timestamp, StoreError> {
    let position: Option<i64> = connection
        .prepare_cached("SELECT max(position) FROM steps WHERE deletion = ?1")?
        .query_row([deletion], |row| row.get(0))?;
    let last = position.map(|position| StepRef { deletion, position });
    last.map_or(Ok(Timestamp(0)), |step| step_not_before(connection, step))
}

/// What Graph asked of an open deletion to wait with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Something may be sent before its deadline.
    Enough,
    /// Not all that belongs to it can be sent before that.
    TooShortForSome,
    /// Nothing can.
    TooShort,
}

/// See [`Patience`]. What a login asked for is no reason: a start asks it anew.
pub(super) fn patience(
    connection: &Connection,
    deletion: DeletionId,
    now: Timestamp,
) -> Result<Patience, StoreError> {
    let mut open = connection.prepare_cached(
        "SELECT s.deletion, s.position, d.deadline_at, s.lease_owner IS NOT NULL, \
         coalesce(s.parked, s.next_attempt_at, 0) FROM deletions AS d JOIN steps AS s \
         ON s.deletion = d.deletion WHERE d.deletion_id = ?1 AND d.state = 'open' \
         AND s.state = 'open'",
    )?;
    let mut rows = open.query([deletion.to_string()])?;
    let (mut steps, mut too_late) = (0, 0);
    while let Some(row) = rows.next()? {
        let step = StepRef { deletion: row.get(0)?, position: row.get(1)? };
        let (deadline, at) = (Timestamp(row.get(2)?), Timestamp(row.get(4)?));
        let not_before = step_not_before(connection, step)?;
        let is_sent: bool = row.get(3)?;
        steps += 1;
        // The row may have it some seconds later than Graph asked for.
        too_late += u32::from(!is_sent && now < not_before && not_before.max(at) >= deadline);
    }
    Ok(match too_late {
        0 => Patience::Enough,
        _ if too_late < steps => Patience::TooShortForSome,
        _ => Patience::TooShort,
    })
}

/// Graph has taken the deletion `d` to end our leg of its call. One that only rejected a call that was
/// answered is no longer among these: see the trigger `calls_not_rejected`.
pub(super) const IS_TAKEN: &str =
    "(d.kind IN ('DeleteCall', 'RejectCall') AND d.state IN ('sent', 'confirmed', 'gone'))";

/// Graph has taken another deletion of the call, so that nothing is left for this one to do.
pub(super) fn is_another_taken(
    connection: &Connection,
    call: i64,
    deletion: i64,
) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(&format!(
            "SELECT EXISTS (SELECT 1 FROM deletions AS d \
             WHERE d.call = ?1 AND d.deletion <> ?2 AND {IS_TAKEN})"
        ))?
        .query_row(params![call, deletion], |row| row.get(0))?)
}

/// The step is to remove one of everybody, and our leg, without which nobody can be removed, has ended.
pub(super) fn is_leg_over(connection: &Connection, step: StepRef) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM steps AS s JOIN deletions AS d ON d.deletion = s.deletion \
             JOIN calls AS c ON c.call = d.call WHERE s.deletion = ?1 AND s.position = ?2 \
             AND s.operation = 'remove-participant' AND d.scope = 'all' \
             AND c.ended_at IS NOT NULL)",
        )?
        .query_row(params![step.deletion, step.position], |row| row.get(0))?)
}

/// Why a step whose call another deletion has ended is too late; none when the other did all that was
/// asked for by this one, which is gone with it.
pub(super) fn too_late(
    connection: &Connection,
    step: StepRef,
    call: i64,
) -> Result<Option<&'static str>, StoreError> {
    let (kind, operation): (String, String) = connection
        .prepare_cached(
            "SELECT d.kind, s.operation FROM steps AS s JOIN deletions AS d \
             ON d.deletion = s.deletion WHERE s.deletion = ?1 AND s.position = ?2",
        )?
        .query_row(params![step.deletion, step.position], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let is_participant = ["remove-participant", "invite"].contains(&operation.as_str());
    if is_participant {
        return Ok(Some(LEG_OVER));
    }
    // What was hung up was not rejected.
    let is_rejected = was_rejected(connection, call)? && !ringing::was_answered(connection, step)?;
    if kind == "RejectCall" && !is_rejected {
        return ringing::too_late(connection, step);
    }
    Ok(None)
}

fn was_rejected(connection: &Connection, call: i64) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM deletions AS d JOIN steps AS s \
             ON s.deletion = d.deletion WHERE d.call = ?1 AND s.operation = 'reject' \
             AND s.state = 'sent')",
        )?
        .query_row([call], |row| row.get(0))?)
}

/// A hold stands on the call that the user of this invitation leaves, which drops it.
pub(super) fn is_replaced_held(connection: &Connection, step: StepRef) -> Result<bool, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT c.call FROM invitations AS i JOIN calls AS c ON c.tenant = i.tenant \
         AND (c.graph_id = i.replaces OR c.graph_key = i.replaces) WHERE i.deletion = ?1",
    )?;
    let mut rows = statement.query([step.deletion])?;
    while let Some(row) = rows.next()? {
        if admit::held(connection, row.get(0)?)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Has this step wait for the other's answer.
pub(super) fn wait(
    connection: &Connection,
    step: StepRef,
    now: Timestamp,
) -> Result<(), StoreError> {
    wait_until(connection, step, now + TURN)
}

/// Has this step wait until then, or longer when it does already.
pub(super) fn wait_until(
    connection: &Connection,
    step: StepRef,
    at: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE steps SET next_attempt_at = max(coalesce(next_attempt_at, 0), ?3) \
             WHERE deletion = ?1 AND position = ?2",
        )?
        .execute(params![step.deletion, step.position, at.0])?;
    Ok(())
}
