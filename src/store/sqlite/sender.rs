//! What the sender asks of the journal: what is due, with a lease; and withdrawal and a new start.
//! How an attempt ends is in `settle`.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::admit::LAST_OPERATION;
use super::condition::Purpose;
use super::due::{self, DueStep};
use super::lease::{effect_possible, invited, lease_one};
use super::settle::{end, end_unsent};
use super::{Sqlite, admit, armed, aside, everybody, pause, ringing, turns, waits};
use crate::clock::{Moment, Timestamp};
use crate::id::{DeletionId, ProcessId};
use crate::model::deletion::{ANSWER_LOST, DeletionState, LEG_OVER, REPEATED_BY_THE_STACK};
use crate::model::plan::Operation;
use crate::store::admission::{Before, Claim, Lease, Room, Settled, StepRef};
use crate::store::error::StoreError;
use crate::store::{Due, Standing};

/// A newest record this far in the future, in milliseconds, is told as one of a clock that was set back.
const SET_BACK: i64 = 500;

/// Of what has reached its deadline, so much is ended at a time, so that nobody waits long for it.
const LATE: usize = 256;

impl Sqlite {
    /// See [`crate::store::Store::take_over`].
    pub(crate) async fn take_over(
        &self,
        process: ProcessId,
        now: Moment,
    ) -> Result<usize, StoreError> {
        self.write_owed(move |connection| take_over(connection, process, now)).await
    }

    /// See [`crate::store::Store::lease_due`].
    pub(crate) async fn lease_due(
        &self,
        moment: Moment,
        lease: Lease,
        room: Room,
        sending: Vec<StepRef>,
    ) -> Result<Due, StoreError> {
        self.write(move |connection| {
            let now = waits::follow(connection, moment)?;
            let ahead = now.ahead_of(moment.wall);
            let lease = lease.moved(ahead);
            let mut due = lease_due(connection, now, lease, room.clone(), &sending)?;
            if !due.leased.is_empty() {
                waits::note(connection, moment)?;
            }
            due.next = due.next.map(|next| next.moved(-ahead));
            Ok(due)
        })
        .await
    }

    /// See [`crate::store::Store::before`].
    pub(crate) async fn before(&self, step: StepRef, attempt: i64) -> Result<Before, StoreError> {
        // On the writer's connection, behind every settlement that was queued before.
        self.write_owed(move |connection| {
            Ok(Before {
                effect_possible: effect_possible(connection, step, attempt)?,
                call_answered: ringing::was_answered(connection, step)?,
            })
        })
        .await
    }

    /// See [`crate::store::Store::withdraw`].
    pub(crate) async fn withdraw(
        &self,
        deletion: DeletionId,
        now: Timestamp,
        committed: impl FnOnce(&Standing) + Send + 'static,
    ) -> Result<Standing, StoreError> {
        let run = move |connection: &Connection| withdraw(connection, deletion, now);
        self.write_for(Purpose::Owed, run, committed).await
    }

    /// See [`crate::store::Store::abandon`]; nobody waits for it.
    pub(crate) fn abandon(&self, claim: Claim, now: Timestamp) -> Result<(), StoreError> {
        self.note(claim, "UPDATE deletions SET abandoned_at = ?3", now)
    }

    /// See [`crate::store::Store::answered`]; nobody waits for it.
    pub(crate) fn answered(&self, claim: Claim, now: Timestamp) -> Result<(), StoreError> {
        self.note(claim, "UPDATE deletions SET answered_at = ?3", now)
    }

    /// Notes something about the last caller of a deletion, if it still is the last.
    fn note(&self, claim: Claim, update: &'static str, now: Timestamp) -> Result<(), StoreError> {
        self.0.writer.submit_detached(move |connection| {
            connection
                .prepare_cached(&format!("{update} WHERE deletion_id = ?1 AND claims = ?2"))?
                .execute(params![claim.deletion.to_string(), claim.number, now.0])
                .map(drop)
                .map_err(StoreError::from)
        })
    }
}

/// One line for all that is open and reached its deadline while nobody served, by whatever made the time pass.
fn say_late(connection: &Connection, stood: Duration, now: Timestamp) -> Result<(), StoreError> {
    let late: i64 = connection.query_row(
        "SELECT count(*) FROM deletions WHERE state = 'open' AND deadline_at <= ?1",
        [now.0],
        |row| row.get(0),
    )?;
    if late > 0 {
        tracing::warn!(
            late,
            "open deletions reached their deadline while nothing was sent: {late}; by the clock, the \
             newest record is {stood:?} old. If the clock is wrong, set it right, and `callgate \
             deletions retry` tries them again"
        );
    }
    Ok(())
}

pub(super) fn take_over(
    connection: &Connection,
    process: ProcessId,
    now: impl Into<Moment>,
) -> Result<usize, StoreError> {
    let moment = now.into();
    let now = moment.wall;
    let passed = waits::begin(connection, process, moment)?;
    // An operator's way out of a wait that is absurd.
    waits::logins_are_open(connection, now)?;
    if passed <= -SET_BACK {
        let moved = Duration::from_millis(passed.unsigned_abs());
        tracing::warn!("the newest record is of {moved:?} from now: the clock was set back");
    }
    say_late(connection, Duration::from_millis(u64::try_from(passed).unwrap_or(0)), now)?;
    // Whoever still waited for these was cut off, and an old HTTP stack repeats what was cut off.
    connection.execute(
        "UPDATE deletions SET abandoned_at = ?1 WHERE state IN ('open', 'armed') \
         AND created_at > ?2 AND answered_at IS NULL AND (state = 'armed' \
         OR deletion IN (SELECT deletion FROM steps WHERE state = 'open'))",
        params![now.0, (now - REPEATED_BY_THE_STACK).0],
    )?;
    // The fence grows, so that an answer that still comes with such a lease settles nothing.
    Ok(connection.execute(
        "UPDATE steps SET lease_owner = NULL, lease_until = NULL, next_attempt_at = ?1, \
         parked = NULL, fence = fence + 1 WHERE state = 'open' AND lease_owner IS NOT NULL",
        [now.0],
    )?)
}

pub(super) fn lease_due(
    connection: &Connection,
    now: Timestamp,
    lease: Lease,
    room: impl Into<Room>,
    sending: &[StepRef],
) -> Result<Due, StoreError> {
    armed::end_late(connection, now)?;
    armed::promote(connection, now)?;
    let room = room.into();
    let mut due = Due::default();
    end_late(connection, now, sending, &mut due)?;
    let mut queues = due::queues(connection, now, &room, sending)?;
    due.skipped |= queues.iter().any(|queue| queue.skipped);
    let mut looked_at = 0;
    while looked_at < room.all
        && let Some(queue) = due::next_of(&mut queues)
        && let Some(step) = queue.steps.pop_front()
    {
        match turn_of(connection, &step, now) {
            Ok(Turn::Send(step)) => match lease_one(connection, step, now, lease) {
                Ok(leased) => {
                    due.leased.push(leased);
                    queue.leased += 1;
                }
                Err(error) => {
                    queue.leave_out(step.deletion);
                    due.over.extend(aside::leave(connection, step.deletion, error, now)?);
                }
            },
            Ok(Turn::Over(over)) => due.over.extend(over),
            Ok(Turn::Wait) => continue,
            Err(error) => {
                queue.leave_out(step.step.deletion);
                due.over.extend(aside::leave(connection, step.step.deletion, error, now)?);
            }
        }
        looked_at += 1;
    }
    for queue in queues {
        if !queue.has_used_its_own(room.all) {
            let next = due::next_time(connection, queue.row)?;
            due.next = due.next.into_iter().chain(next).min();
        }
        due.left.extend(queue.left());
    }
    Ok(due)
}

/// Ends what has reached its deadline, whether or not anything can be sent for its tenant. A rejection
/// whose time is over makes room for its hang-up, which is due then.
fn end_late(
    connection: &Connection,
    now: Timestamp,
    sending: &[StepRef],
    due: &mut Due,
) -> Result<(), StoreError> {
    let late = due::late_steps(connection, now, LATE + sending.len())?;
    // There may be more.
    due.next = (late.len() >= LATE + sending.len()).then_some(now);
    for step in late {
        if sending.contains(&step.step) {
            due.skipped = true;
            continue;
        }
        match turn_of(connection, &step, now) {
            Ok(Turn::Over(over)) => due.over.extend(over),
            Ok(Turn::Send(_) | Turn::Wait) => {}
            Err(error) => {
                due.over.extend(aside::leave(connection, step.step.deletion, error, now)?);
            }
        }
    }
    Ok(())
}

/// What becomes of a step that is due.
pub(super) enum Turn {
    /// This one is sent, which may be another one in its place.
    Send(StepRef),
    /// The step is over, and perhaps its deletion with it.
    Over(Option<Settled>),
    /// Something else comes first.
    Wait,
}

pub(super) fn turn_of(
    connection: &Connection,
    due: &DueStep,
    now: Timestamp,
) -> Result<Turn, StoreError> {
    let step = due.step;
    let over = |state, why| end_unsent(connection, step, state, why, now).map(Turn::Over);
    // Doing it twice invites twice.
    if due.is(Operation::Invite) && effect_possible(connection, step, i64::MAX)? {
        let settled = end(connection, step, DeletionState::Unknown, Some(ANSWER_LOST), now)?;
        return Ok(Turn::Over(settled));
    }
    if turns::is_another_sent(connection, due.call, step.deletion)? {
        turns::wait(connection, step, now)?;
        return Ok(Turn::Wait);
    }
    if turns::is_another_taken(connection, due.call, step.deletion)? {
        return match turns::too_late(connection, step, due.call)? {
            Some(why) => over(DeletionState::Obsolete, why),
            None => end(connection, step, DeletionState::Gone, None, now).map(Turn::Over),
        };
    }
    if turns::is_leg_over(connection, step)? {
        return over(DeletionState::Obsolete, LEG_OVER);
    }
    let is_late =
        due.is(Operation::Reject) && ringing::still_rings(connection, step, now)?.is_none();
    if is_late && let Some(why) = ringing::too_late(connection, step)? {
        return over(DeletionState::Obsolete, why);
    }
    if let Some((state, why)) = stopped(connection, due, now)? {
        return over(state, why);
    }
    // Whoever asked for patience asked for it whatever is sent.
    let at = due.at.max(now);
    let step = if is_late { ringing::hang_up_instead(connection, step, at)? } else { step };
    let at = at.max(turns::step_not_before(connection, step)?);
    if at > now {
        turns::wait_until(connection, step, at)?;
    }
    let is_parked = pause::park(connection, step, now)?;
    Ok(if is_parked || at > now { Turn::Wait } else { Turn::Send(step) })
}

/// What is to stop a step that is not under way: its deadline, or a hold.
pub(super) fn stopped(
    connection: &Connection,
    due: &DueStep,
    now: Timestamp,
) -> Result<Option<(DeletionState, &'static str)>, StoreError> {
    Ok(if due.deadline <= now {
        Some((DeletionState::Obsolete, "its deadline passed before Graph took it"))
    } else if admit::held(connection, due.call)? {
        Some((DeletionState::Held, "a hold was set before it was sent"))
    } else if due.is(Operation::Invite) && turns::is_replaced_held(connection, due.step)? {
        Some((DeletionState::Held, "a hold was set on the call that it drops"))
    } else {
        None
    })
}

pub(super) fn withdraw(
    connection: &Connection,
    deletion: DeletionId,
    now: Timestamp,
) -> Result<Standing, StoreError> {
    let untouched: Option<StepRef> = connection
        .prepare_cached(
            "SELECT d.deletion, s.position FROM deletions AS d JOIN steps AS s \
             ON s.deletion = d.deletion AND s.state = 'open' \
             WHERE d.deletion_id = ?1 AND d.state = 'open' \
             AND NOT EXISTS (SELECT 1 FROM attempts AS a WHERE a.deletion = d.deletion)",
        )?
        .query_row([deletion.to_string()], |row| {
            Ok(StepRef { deletion: row.get(0)?, position: row.get(1)? })
        })
        .optional()?;
    if let Some(step) = untouched {
        let failure = "withdrawn: its caller was answered before any attempt began";
        let ended = end(connection, step, DeletionState::Cancelled, Some(failure), now)?;
        note_denied(connection, step.deletion, now)?;
        if let Some(settled) = ended {
            return Ok(Standing::Withdrawn(settled));
        }
    }
    Ok(match standing(connection, deletion)? {
        Some(settled) if settled.state.is_open() => Standing::Begun,
        Some(settled) => Standing::Settled(settled),
        None => Standing::Begun,
    })
}

/// Notes that the caller of this one is told that nothing will be sent.
pub(super) fn note_denied(
    connection: &Connection,
    deletion: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE deletions SET denied_at = ?2 WHERE deletion = ?1")?
        .execute([deletion, now.0])?;
    Ok(())
}

pub(super) fn standing(
    connection: &Connection,
    deletion: DeletionId,
) -> Result<Option<Settled>, StoreError> {
    let known = connection
        .prepare_cached(&format!(
            "SELECT d.deletion, d.state, d.failure, {LAST_OPERATION} FROM deletions AS d \
             WHERE d.deletion_id = ?1"
        ))?
        .query_row([deletion.to_string()], |row| {
            let operation: Option<String> = row.get(3)?;
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get(2)?, operation))
        })
        .optional()?;
    let Some((row, state, failure, operation)) = known else { return Ok(None) };
    Ok(Some(Settled {
        deletion_id: deletion,
        state: state.parse().map_err(StoreError::unexpected)?,
        failure,
        operation: operation.as_deref().and_then(Operation::from_word),
        progress: everybody::progress(connection, row)?,
        invited: invited(connection, row)?,
    }))
}
