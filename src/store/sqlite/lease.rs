//! A step as whoever sends it gets it: its attempt on disk as started, and what is asked of Graph.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::clock::Timestamp;
use crate::id::{CallId, GraphCallId, TenantId};
use crate::model::change::EndReason;
use crate::model::end_reason::in_words;
use crate::model::participant::{ClientContext, Invitation, Invited};
use crate::model::plan::{Operation, Order, RejectReason};
use crate::store::admission::{Lease, Leased, StepRef};
use crate::store::error::StoreError;

/// Puts the next attempt on disk as started and gives the step to the lease's owner.
pub(super) fn lease_one(
    connection: &Connection,
    step: StepRef,
    now: Timestamp,
    lease: Lease,
) -> Result<Leased, StoreError> {
    let earlier_effect_possible = effect_possible(connection, step, i64::MAX)?;
    connection
        .prepare_cached(
            "UPDATE steps SET attempts = attempts + 1, fence = fence + 1, lease_owner = ?3, \
             lease_until = ?4, next_attempt_at = ?4 WHERE deletion = ?1 AND position = ?2",
        )?
        .execute(params![step.deletion, step.position, lease.owner.to_string(), lease.until.0])?;
    let mut leased = connection
        .prepare_cached(
            "SELECT s.fence, s.attempts, s.operation, s.deadline_at, d.deletion_id, t.tenant_id, \
             c.call_id, c.graph_id, s.reject_reason, s.target, c.app_id, d.scope = 'all' \
             FROM steps AS s JOIN deletions AS d ON d.deletion = s.deletion \
             JOIN calls AS c ON c.call = d.call JOIN tenants AS t ON t.tenant = d.tenant \
             WHERE s.deletion = ?1 AND s.position = ?2",
        )?
        .query_row(params![step.deletion, step.position], |row| {
            Ok(read_leased(connection, row, step))
        })??;
    leased.earlier_effect_possible = earlier_effect_possible;
    connection
        .prepare_cached(
            "INSERT INTO attempts (deletion, position, number, tenant, started_at) \
             SELECT deletion, position, attempts, tenant, ?3 FROM steps \
             WHERE deletion = ?1 AND position = ?2",
        )?
        .execute(params![step.deletion, step.position, now.0])?;
    Ok(leased)
}

fn read_leased(
    connection: &Connection,
    row: &Row<'_>,
    step: StepRef,
) -> Result<Leased, StoreError> {
    let deletion_id: String = row.get(4)?;
    Ok(Leased {
        step,
        fence: row.get(0)?,
        attempt: row.get(1)?,
        deletion_id: deletion_id.parse().map_err(StoreError::unexpected)?,
        tenant: TenantId::new(&row.get::<_, String>(5)?),
        call_id: CallId::new(&row.get::<_, String>(6)?),
        graph_id: GraphCallId(row.get(7)?),
        app_id: row.get(10)?,
        order: read_order(connection, row, step)?,
        is_part: row.get(11)?,
        earlier_effect_possible: false,
        deadline: Timestamp(row.get(3)?),
    })
}

fn read_order(connection: &Connection, row: &Row<'_>, step: StepRef) -> Result<Order, StoreError> {
    let operation: String = row.get(2)?;
    let reject_reason: Option<String> = row.get(8)?;
    let target: Option<String> = row.get(9)?;
    match (Operation::from_word(&operation), target) {
        (Some(Operation::HangUp), _) => Ok(Order::HangUp),
        (Some(Operation::Reject), _) => Ok(Order::Reject(
            reject_reason.as_deref().and_then(RejectReason::from_word).unwrap_or_default(),
        )),
        (Some(Operation::ReadRoster), _) => Ok(Order::ReadRoster),
        (Some(Operation::RemoveParticipant), Some(id)) => Ok(Order::RemoveParticipant(id)),
        (Some(Operation::Invite), _) => invitation(connection, step).map(Order::Invite),
        (Some(Operation::RemoveParticipant), None) | (None, _) => {
            Err(StoreError::unexpected(format!("operation {operation}")))
        }
    }
}

fn invitation(connection: &Connection, step: StepRef) -> Result<Invitation, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT user_id, user_tenant, replaces, client_context FROM invitations \
             WHERE deletion = ?1",
        )?
        .query_row([step.deletion], |row| {
            Ok(Invitation {
                user_id: row.get(0)?,
                user_tenant: row.get::<_, Option<String>>(1)?.map(|tenant| TenantId::new(&tenant)),
                replaces: row.get(2)?,
                context: row
                    .get::<_, Option<String>>(3)?
                    .and_then(|context| ClientContext::new(&context)),
            })
        })?)
}

/// What Graph made of an invitation, once it has answered.
pub(super) fn invited(
    connection: &Connection,
    deletion: i64,
) -> Result<Option<Invited>, StoreError> {
    let known = connection
        .prepare_cached(
            "SELECT operation_id, participant_id, failed, failed_code, failed_subcode, \
             failed_message FROM invitations WHERE deletion = ?1",
        )?
        .query_row([deletion], |row| {
            Ok((row.get::<_, Option<String>>(0)?, row.get(1)?, failed(row, 2)?))
        })
        .optional()?;
    Ok(known.and_then(|(operation_id, participant_id, failed)| {
        Some(Invited { operation_id: operation_id?, participant_id, failed })
    }))
}

/// Why nobody joins by an invitation, from the column `first` on; none unless it failed.
pub(super) fn failed(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<EndReason>> {
    let reason = EndReason {
        code: row.get(first + 1)?,
        subcode: row.get(first + 2)?,
        message: row.get(first + 3)?,
        word: None,
    };
    Ok(row.get::<_, bool>(first)?.then_some(reason))
}

/// Keeps what Graph made of an invitation. An id that was told of before stays.
pub(super) fn keep_invited(
    connection: &Connection,
    deletion: i64,
    invited: &Invited,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE invitations SET operation_id = ?2, \
             participant_id = coalesce(participant_id, ?3) WHERE deletion = ?1",
        )?
        .execute(params![deletion, invited.operation_id, invited.participant_id])?;
    match &invited.failed {
        Some(reason) => keep_failed(connection, deletion, reason).map(drop),
        None => Ok(()),
    }
}

/// Keeps that nobody joins by an invitation; gives whether that was news. The first reason stays.
pub(super) fn keep_failed(
    connection: &Connection,
    deletion: i64,
    reason: &EndReason,
) -> Result<bool, StoreError> {
    let kept = connection
        .prepare_cached(
            "UPDATE invitations SET failed = 1, failed_code = ?2, failed_subcode = ?3, \
             failed_message = ?4 WHERE deletion = ?1 AND failed = 0",
        )?
        .execute(params![deletion, reason.code, reason.subcode, reason.message])?;
    Ok(kept > 0)
}

/// What a deletion's failure says of an invitation that Graph took and that failed.
pub(super) fn not_reached(reason: &EndReason) -> String {
    format!("the user could not be invited: {}", in_words(reason)).trim_end_matches(": ").to_owned()
}

/// Attempts of a deletion that had an effect, or may have had one: the answer of one whose lease had
/// lapsed may have come and settled nothing. To read a roster has none, and a call that was answered
/// was not rejected.
const EFFECTS: &str = "SELECT EXISTS (SELECT 1 FROM attempts AS a JOIN steps AS s \
    ON s.deletion = a.deletion AND s.position = a.position \
    JOIN deletions AS d ON d.deletion = a.deletion LEFT JOIN calls AS c ON c.call = d.call \
    WHERE a.deletion = ?1 AND (a.effect_possible = 1 OR a.status BETWEEN 200 AND 299) \
    AND s.operation <> 'read-roster' AND NOT (s.operation = 'reject' AND (c.answered_at IS NOT NULL \
    OR c.state NOT IN ('incoming', 'terminating', 'terminated')))";

/// An attempt of this step with a number below `before`, or one of an earlier step, may be why Graph no
/// longer has what this step is about. Those of other steps say nothing about a participant; whom all
/// others have left, Graph may end by itself.
pub(super) fn effect_possible(
    connection: &Connection,
    step: StepRef,
    before: i64,
) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(&format!(
            "{EFFECTS} AND (a.position = ?2 AND a.number < ?3 OR a.position < ?2 \
             AND (SELECT operation FROM steps WHERE deletion = ?1 AND position = ?2) \
             <> 'remove-participant'))"
        ))?
        .query_row(params![step.deletion, step.position, before], |row| row.get(0))?)
}

/// This step may be done already: by its own attempts, or, for the end of our leg, by whatever was to
/// end it before.
pub(super) fn may_be_done(connection: &Connection, step: StepRef) -> Result<bool, StoreError> {
    Ok(connection
        .prepare_cached(&format!(
            "{EFFECTS} AND (a.position = ?2 \
             OR a.position < ?2 AND s.operation IN ('hang-up', 'reject')))"
        ))?
        .query_row(params![step.deletion, step.position], |row| row.get(0))?)
}
