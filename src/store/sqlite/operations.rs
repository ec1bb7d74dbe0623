//! What operators change: deletions that are tried again, and deletions that are cancelled.
//!
//! What Graph has taken is never sent again. Whether it has is told by the deletion's state, and by
//! every attempt of it: an answer that came too late to settle anything counts as well.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::admit::{STANDING_HOLDS, held};
use super::turns::{self, IS_TAKEN};
use super::{Sqlite, audit};
use crate::clock::Timestamp;
use crate::id::{DeletionId, TenantId};
use crate::model::deletion::{DeletionState, EVERYBODY_IS_MEANT};
use crate::model::reconcile::is_same_app;
use crate::store::access::AuditEntry;
use crate::store::error::StoreError;
use crate::store::operations::{Change, Intervention, Judged, Manner, Obstacle};
use crate::store::reconcile::Asking;

const CANCELLED: &str = "cancelled by an operator";

impl Sqlite {
    /// See [`crate::store::Store::intervene`].
    pub(crate) async fn intervene(
        &self,
        intervention: Intervention,
    ) -> Result<Vec<Judged>, StoreError> {
        self.write(move |connection| intervene(connection, &intervention)).await
    }
}

pub(super) fn intervene(
    connection: &Connection,
    intervention: &Intervention,
) -> Result<Vec<Judged>, StoreError> {
    // A preview changes everything as well, because one change may stand in the way of the next.
    connection.execute_batch("SAVEPOINT intervention")?;
    let mut all = Vec::with_capacity(intervention.ids.len());
    for id in &intervention.ids {
        all.push(change(connection, *id, intervention)?);
    }
    let undone = match intervention.manner {
        Manner::AllOrNone => all.iter().any(|one| one.obstacle.is_some()),
        Manner::WhateverCan => false,
        Manner::Preview => true,
    };
    if undone {
        connection.execute_batch("ROLLBACK TO intervention")?;
    }
    connection.execute_batch("RELEASE intervention")?;
    Ok(all)
}

/// Changes one deletion and records that, unless something stands in the way.
fn change(
    connection: &Connection,
    id: DeletionId,
    intervention: &Intervention,
) -> Result<Judged, StoreError> {
    let Some(deletion) = find(connection, id)? else {
        let obstacle = Some(Obstacle::Unknown);
        return Ok(Judged {
            deletion_id: id,
            state: None,
            kind: None,
            call_id: None,
            due: None,
            obstacle,
        });
    };
    let now = intervention.entry.at;
    let obstacle = match &intervention.change {
        Change::Retry { apps, .. } => against_retry(connection, &deletion, apps)?,
        Change::Cancel => against_cancel(&deletion),
    };
    let mut due = None;
    if obstacle.is_none() {
        match &intervention.change {
            Change::Retry { tried_for, .. } => {
                let (at, next) = may_be_sent_at(connection, &deletion, now)?;
                let longest = if deletion.is_all { EVERYBODY_IS_MEANT } else { *tried_for };
                retry(connection, &deletion, next, at + longest.min(*tried_for))?;
                due = Some(at).filter(|at| *at > now);
            }
            Change::Cancel => cancel(connection, &deletion, now)?,
        }
        write_down(connection, &intervention.entry, id, &deletion)?;
    }
    Ok(Judged {
        deletion_id: id,
        state: Some(deletion.state),
        kind: Some(deletion.kind),
        call_id: deletion.call_id,
        due,
        obstacle,
    })
}

/// A deletion and its call, as they are now.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Recorded {
    row: i64,
    state: DeletionState,
    kind: String,
    target: Option<String>,
    tenant: String,
    key_id: Option<String>,
    call: Option<i64>,
    call_id: Option<String>,
    call_has_ended: bool,
    app_id: Option<String>,
    /// A step of it has a lease.
    is_being_sent: bool,
    /// Graph said of an attempt of it that it has done all that was asked for.
    is_accepted: bool,
    /// An attempt of it may have taken effect, or has.
    effect_possible: bool,
    /// Everybody's leg is to end.
    is_all: bool,
    /// Its call ended after its first attempt.
    has_ended_since: bool,
    /// Its caller was told that nothing will be sent, and nothing was.
    is_denied: bool,
}

impl Recorded {
    /// It is about one participant, and our leg of the call goes on.
    fn is_of_participant(&self) -> bool {
        matches!(self.kind.as_str(), "DeleteParticipant" | "InviteParticipant")
    }

    fn is_invitation(&self) -> bool {
        self.kind == "InviteParticipant"
    }
}

fn find(connection: &Connection, id: DeletionId) -> Result<Option<Recorded>, StoreError> {
    // A rejection of a call that was answered did nothing, and with scope=all the removal of one
    // participant is not all.
    connection
        .prepare_cached(
            "SELECT d.deletion, d.state, d.kind, d.target, t.tenant_id, k.key_id, d.call, c.call_id, \
             coalesce(c.ended_at IS NOT NULL, 0), c.app_id, \
             EXISTS (SELECT 1 FROM steps AS s WHERE s.deletion = d.deletion AND s.state = 'open' \
             AND s.lease_owner IS NOT NULL), \
             EXISTS (SELECT 1 FROM attempts AS a JOIN steps AS s ON s.deletion = a.deletion \
             AND s.position = a.position WHERE a.deletion = d.deletion \
             AND a.status BETWEEN 200 AND 299 AND s.operation <> 'read-roster' \
             AND NOT (d.scope = 'all' AND s.operation = 'remove-participant') \
             AND NOT (s.operation = 'reject' AND (c.answered_at IS NOT NULL \
             OR c.state NOT IN ('incoming', 'terminating', 'terminated')))), \
             EXISTS (SELECT 1 FROM attempts AS a JOIN steps AS s ON s.deletion = a.deletion \
             AND s.position = a.position WHERE a.deletion = d.deletion \
             AND (a.effect_possible = 1 OR a.status BETWEEN 200 AND 299) \
             AND s.operation <> 'read-roster'), \
             d.scope = 'all', c.ended_at IS NOT NULL AND d.ended_before = 0, \
             d.denied_at IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM attempts AS a WHERE a.deletion = d.deletion) \
             FROM deletions AS d JOIN tenants AS t ON t.tenant = d.tenant \
             LEFT JOIN calls AS c ON c.call = d.call LEFT JOIN keys AS k ON k.key = d.key \
             WHERE d.deletion_id = ?1",
        )?
        .query_row([id.to_string()], |row| Ok(read(row)))
        .optional()?
        .transpose()
}

fn read(row: &Row<'_>) -> Result<Recorded, StoreError> {
    let state: String = row.get(1)?;
    Ok(Recorded {
        row: row.get(0)?,
        state: state.parse().map_err(StoreError::unexpected)?,
        kind: row.get(2)?,
        target: row.get(3)?,
        tenant: row.get(4)?,
        key_id: row.get(5)?,
        call: row.get(6)?,
        call_id: row.get(7)?,
        call_has_ended: row.get(8)?,
        app_id: row.get(9)?,
        is_being_sent: row.get(10)?,
        is_accepted: row.get(11)?,
        effect_possible: row.get(12)?,
        is_all: row.get(13)?,
        has_ended_since: row.get(14)?,
        is_denied: row.get(15)?,
    })
}

/// Why it cannot be tried again.
fn against_retry(
    connection: &Connection,
    deletion: &Recorded,
    apps: &[Asking],
) -> Result<Option<Obstacle>, StoreError> {
    if let Some(obstacle) = of_its_own(deletion).or_else(|| of_the_app(deletion, apps)) {
        return Ok(Some(obstacle));
    }
    let Some(call) = deletion.call else { return Ok(Some(Obstacle::NoCall)) };
    if let Some(id) = another_open(connection, deletion, call)? {
        return Ok(Some(Obstacle::AnotherOpen(id)));
    }
    if let Some(id) = another_taken(connection, deletion, call)? {
        return Ok(Some(Obstacle::AnotherTaken(id)));
    }
    Ok(hold(connection, deletion, call)?.map(Obstacle::Held))
}

fn of_its_own(deletion: &Recorded) -> Option<Obstacle> {
    let state = deletion.state;
    if state.is_taken() {
        return Some(Obstacle::Taken(state));
    }
    if is_to_come(state) {
        return Some(Obstacle::NotOver(state));
    }
    if deletion.is_accepted {
        return Some(Obstacle::Accepted);
    }
    if deletion.is_denied {
        return Some(Obstacle::Denied);
    }
    if deletion.kind == "RejectCall" {
        return Some(Obstacle::RingsNoMore);
    }
    if !deletion.is_of_participant() && deletion.effect_possible && deletion.has_ended_since {
        return Some(Obstacle::EndedSince);
    }
    if deletion.is_invitation() && (state == DeletionState::Unknown || deletion.effect_possible) {
        return Some(Obstacle::InvitesTwice);
    }
    (deletion.is_of_participant() && deletion.call_has_ended).then_some(Obstacle::CallEnded)
}

fn of_the_app(deletion: &Recorded, apps: &[Asking]) -> Option<Obstacle> {
    let tenant = TenantId::new(&deletion.tenant);
    let Some(app) = apps.iter().find(|app| app.tenant == tenant) else {
        return Some(Obstacle::TenantNotConfigured(tenant));
    };
    let app_id = deletion.app_id.as_deref();
    let is_ours = app_id.is_none_or(|id| is_same_app(id, &app.client_id));
    (!is_ours).then_some(Obstacle::OtherApp)
}

/// It is not over.
fn is_to_come(state: DeletionState) -> bool {
    matches!(state, DeletionState::PendingApproval | DeletionState::Armed | DeletionState::Open)
}

/// One of the same that is not over, or, for what is about one participant, one of the whole call.
fn another_open(
    connection: &Connection,
    deletion: &Recorded,
    call: i64,
) -> Result<Option<String>, StoreError> {
    Ok(connection
        .prepare_cached(
            "SELECT deletion_id FROM deletions WHERE call = ?1 AND deletion <> ?2 \
             AND state IN ('pending_approval', 'armed', 'open') \
             AND (kind = ?3 AND coalesce(target, '') = ?4 OR kind = 'DeleteCall' AND ?5) LIMIT 1",
        )?
        .query_row(
            params![
                call,
                deletion.row,
                deletion.kind,
                deletion.target.as_deref().unwrap_or_default(),
                deletion.is_of_participant()
            ],
            |row| row.get(0),
        )
        .optional()?)
}

/// One that has ended our leg of the call, or has removed the same participant.
fn another_taken(
    connection: &Connection,
    deletion: &Recorded,
    call: i64,
) -> Result<Option<String>, StoreError> {
    Ok(connection
        .prepare_cached(&format!(
            "SELECT d.deletion_id FROM deletions AS d JOIN calls AS c ON c.call = d.call \
             WHERE d.call = ?1 AND d.deletion <> ?2 AND {IS_TAKEN} \
             AND (d.kind NOT IN ('DeleteParticipant', 'InviteParticipant') \
             OR d.kind = 'DeleteParticipant' AND ?3 = d.kind AND d.target = ?4) LIMIT 1"
        ))?
        .query_row(params![call, deletion.row, deletion.kind, deletion.target], |row| row.get(0))
        .optional()?)
}

/// A hold that stands on the call, or on the one that an invitation ends for the invited.
fn hold(
    connection: &Connection,
    deletion: &Recorded,
    call: i64,
) -> Result<Option<String>, StoreError> {
    let mut calls = vec![call];
    let mut replaced = connection.prepare_cached(
        "SELECT c.call FROM invitations AS i JOIN calls AS c ON c.tenant = i.tenant \
         AND c.graph_id = i.replaces WHERE i.deletion = ?1",
    )?;
    for other in replaced.query_map([deletion.row], |row| row.get(0))? {
        calls.push(other?);
    }
    for call in calls {
        if held(connection, call)? {
            let id = connection
                .prepare_cached(&format!("SELECT h.hold_id FROM {STANDING_HOLDS} LIMIT 1"))?
                .query_row([call], |row| row.get(0))?;
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// Now, or when the wait is over that Graph asked for, of what this deletion asks it, or the login of its
/// tenant; and the same as waits are counted, which a clock that was set makes no later, whoever has noticed that by now.
fn may_be_sent_at(
    connection: &Connection,
    deletion: &Recorded,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), StoreError> {
    let (not_before, seen) = connection
        .prepare_cached(
            "SELECT max(coalesce((SELECT max(not_before) FROM attempts WHERE deletion = ?1), 0), \
             coalesce((SELECT login_not_before FROM tenants WHERE tenant_id = ?2), 0)), \
             coalesce((SELECT seen_as FROM serving), ?3)",
        )?
        .query_row(params![deletion.row, deletion.tenant, now.0], |row| {
            Ok((Timestamp(row.get(0)?), Timestamp(row.get(1)?)))
        })?;
    let not_before = not_before.max(turns::again_not_before(connection, deletion.row)?);
    Ok((now.max(not_before), now.min(seen).max(not_before)))
}

/// Opens it again with one more step, which is due at `due`. With scope=all it begins anew, because
/// nobody knows who has joined meanwhile.
fn retry(
    connection: &Connection,
    deletion: &Recorded,
    due: Timestamp,
    deadline: Timestamp,
) -> Result<(), StoreError> {
    // A call that has ended by now was ended by somebody else, unless an attempt may have done it.
    let ended_before = deletion.call_has_ended && !deletion.effect_possible;
    connection
        .prepare_cached(
            "UPDATE deletions SET state = 'open', failure = NULL, settled_at = NULL, \
             confirmed_at = NULL, deadline_at = ?2, ended_before = ended_before OR ?3 \
             WHERE deletion = ?1",
        )?
        .execute(params![deletion.row, deadline.0, ended_before])?;
    // Attempts are counted through, and an answer to an older lease settles nothing.
    connection
        .prepare_cached(
            "INSERT INTO steps (deletion, position, tenant, operation, target, state, attempts, \
             next_attempt_at, deadline_at, fence, reject_reason) \
             SELECT s.deletion, s.position + 1, s.tenant, \
             iif(d.scope = 'all' AND s.operation <> 'reject', 'read-roster', s.operation), \
             iif(d.scope = 'all', NULL, s.target), 'open', \
             (SELECT max(attempts) FROM steps WHERE deletion = ?1), ?2, ?3, \
             (SELECT max(fence) FROM steps WHERE deletion = ?1), s.reject_reason \
             FROM steps AS s JOIN deletions AS d ON d.deletion = s.deletion \
             WHERE s.deletion = ?1 ORDER BY s.position DESC LIMIT 1",
        )?
        .execute(params![deletion.row, due.0, deadline.0])?;
    Ok(())
}

/// Why it cannot be cancelled.
fn against_cancel(deletion: &Recorded) -> Option<Obstacle> {
    let state = deletion.state;
    if state.is_taken() {
        Some(Obstacle::Taken(state))
    } else if !is_to_come(state) {
        Some(Obstacle::Over(state))
    } else if deletion.is_being_sent {
        Some(Obstacle::BeingSent)
    } else {
        deletion.effect_possible.then_some(Obstacle::EffectPossible)
    }
}

fn cancel(connection: &Connection, deletion: &Recorded, now: Timestamp) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE steps SET state = 'cancelled', next_attempt_at = NULL WHERE deletion = ?1 \
             AND state = 'open'",
        )?
        .execute([deletion.row])?;
    connection
        .prepare_cached(
            "UPDATE deletions SET state = 'cancelled', failure = ?2, settled_at = ?3 \
             WHERE deletion = ?1",
        )?
        .execute(params![deletion.row, CANCELLED, now.0])?;
    Ok(())
}

fn write_down(
    connection: &Connection,
    entry: &AuditEntry,
    id: DeletionId,
    deletion: &Recorded,
) -> Result<(), StoreError> {
    let mut entry = entry.clone();
    entry.event.deletion_id = Some(id.to_string());
    entry.event.tenant = Some(deletion.tenant.clone());
    entry.event.key_id.clone_from(&deletion.key_id);
    entry.event.call_id.clone_from(&deletion.call_id);
    audit::append_entry(connection, &entry)
}

#[cfg(test)]
mod tests;
