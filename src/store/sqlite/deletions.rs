//! Deletions as people and their own clients look at them.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{Sqlite, everybody, lease, lookup};
use crate::clock::Timestamp;
use crate::id::DeletionId;
use crate::store::error::StoreError;
use crate::store::records::{
    AttemptDetails, DeletionDetails, DeletionRow, OrderParameters, StepDetails, Waiting,
};

/// What [`read_row`] and [`read_details`] read; conditions are to be added.
/// Of what is open, the failure is that of the last attempt that was answered: why it is tried again.
pub(super) const ROW: &str = "SELECT d.deletion, d.deletion_id, d.state, c.call_id, c.graph_id, t.tenant_id, \
                   k.key_id, d.kind, d.created_at, d.settled_at, d.deadline_at, \
                   iif(d.state = 'open', (SELECT a.error FROM steps AS s JOIN attempts AS a \
                   ON a.deletion = s.deletion AND a.position = s.position \
                   WHERE s.deletion = d.deletion AND s.state = 'open' AND a.answered_at IS NOT NULL \
                   ORDER BY a.answered_at DESC, a.position, a.number DESC LIMIT 1), d.failure), d.peer, \
                   d.reason, d.scope, d.abandoned_at, d.confirmed_at, d.call, d.target, \
                   iif(d.state IN ('open', 'armed'), coalesce((SELECT max(s.lease_owner IS NOT NULL) \
                   FROM steps AS s WHERE s.deletion = d.deletion AND s.state = 'open'), 0), NULL), \
                   iif(d.state = 'open', (SELECT min(coalesce(s.parked, s.next_attempt_at)) \
                   FROM steps AS s WHERE s.deletion = d.deletion AND s.state = 'open'), NULL), \
                   iif(d.state = 'open', (SELECT a.hint FROM steps AS s JOIN attempts AS a \
                   ON a.deletion = s.deletion AND a.position = s.position \
                   WHERE s.deletion = d.deletion AND s.state = 'open' AND a.answered_at IS NOT NULL \
                   ORDER BY a.answered_at DESC, a.position, a.number DESC LIMIT 1), NULL), \
                   iif(d.state = 'armed', (SELECT json_extract(a.rules, '$.numbers[0]') FROM armed AS a \
                   WHERE a.deletion = d.deletion), NULL) FROM deletions AS d \
                   JOIN tenants AS t ON t.tenant = d.tenant LEFT JOIN calls AS c ON c.call = d.call \
                   LEFT JOIN keys AS k ON k.key = d.key ";

impl Sqlite {
    /// See [`crate::store::Store::deletion`].
    pub(crate) async fn deletion(
        &self,
        id: DeletionId,
    ) -> Result<Option<DeletionDetails>, StoreError> {
        self.read(move |connection| {
            // One transaction, so that deletion, attempts and call are those of one moment.
            let transaction = connection.unchecked_transaction()?;
            details(&transaction, id, None)
        })
        .await
    }
}

/// A deletion with its steps and attempts; with the first key of a line, only when it was recorded
/// for a key of that line.
pub(super) fn details(
    connection: &Connection,
    id: DeletionId,
    line: Option<i64>,
) -> Result<Option<DeletionDetails>, StoreError> {
    connection
        .prepare_cached(&format!(
            "{ROW} WHERE d.deletion_id = ?1 AND (?2 IS NULL OR coalesce(k.line, k.key) = ?2)"
        ))?
        .query_row(params![id.to_string(), line], |row| Ok(read_details(connection, row)))
        .optional()?
        .transpose()
}

pub(super) fn read_row(row: &Row<'_>) -> Result<DeletionRow, StoreError> {
    let id: String = row.get(1)?;
    let state: String = row.get(2)?;
    Ok(DeletionRow {
        row: row.get(0)?,
        deletion_id: id.parse().map_err(StoreError::unexpected)?,
        state: state.parse().map_err(StoreError::unexpected)?,
        call_id: row.get(3)?,
        graph_call_id: row.get(4)?,
        tenant: row.get(5)?,
        key_id: row.get(6)?,
        kind: row.get(7)?,
        scope: row.get(14)?,
        target: row.get(18)?,
        created_at: Timestamp(row.get(8)?),
        settled_at: time(row, 9)?,
        confirmed_at: time(row, 16)?,
        deadline_at: Timestamp(row.get(10)?),
        failure: row.get(11)?,
        waiting: waiting(row)?,
    })
}

/// None of one that is neither open nor armed.
fn waiting(row: &Row<'_>) -> Result<Option<Waiting>, StoreError> {
    let Some(is_being_sent) = row.get(19)? else { return Ok(None) };
    Ok(Some(Waiting {
        is_being_sent,
        next_attempt_at: time(row, 20)?,
        hint: row.get(21)?,
        armed_for: row.get(22)?,
    }))
}

pub(super) fn read_details(
    connection: &Connection,
    row: &Row<'_>,
) -> Result<DeletionDetails, StoreError> {
    let deletion = read_row(row)?;
    let mut statement = connection.prepare_cached(
        "SELECT position, operation, target, state, iif(parked IS NULL, min(next_attempt_at, deadline_at), NULL), \
         iif(state = 'open', (SELECT a.error FROM attempts AS a WHERE a.deletion = steps.deletion \
         AND a.position = steps.position AND a.answered_at IS NOT NULL \
         ORDER BY a.number DESC LIMIT 1), failure) FROM steps WHERE deletion = ?1 ORDER BY position",
    )?;
    let mut rows = statement.query([deletion.row])?;
    let mut steps = Vec::new();
    while let Some(step) = rows.next()? {
        let position = step.get(0)?;
        steps.push(StepDetails {
            position,
            operation: step.get(1)?,
            target: step.get(2)?,
            state: step.get(3)?,
            failure: step.get(5)?,
            next_attempt_at: time(step, 4)?,
            attempts: attempts(connection, deletion.row, position)?,
        });
    }
    let call: Option<i64> = row.get(17)?;
    let deletion_row = deletion.row;
    Ok(DeletionDetails {
        row: deletion,
        end: call.map(|call| lookup::end(connection, call)).transpose()?.flatten(),
        peer: row.get(12)?,
        reason: row.get(13)?,
        abandoned_at: time(row, 15)?,
        progress: everybody::progress(connection, deletion_row)?,
        invited: lease::invited(connection, deletion_row)?,
        parameters: parameters(connection, deletion_row)?,
        steps,
    })
}

fn parameters(connection: &Connection, deletion: i64) -> Result<OrderParameters, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT (SELECT reject_reason FROM steps WHERE deletion = d.deletion \
         AND reject_reason IS NOT NULL ORDER BY position LIMIT 1), i.user_tenant, i.replaces, \
         i.client_context FROM deletions AS d \
         LEFT JOIN invitations AS i ON i.deletion = d.deletion WHERE d.deletion = ?1",
    )?;
    Ok(statement.query_row([deletion], |row| {
        Ok(OrderParameters {
            reject_reason: row.get(0)?,
            user_tenant: row.get(1)?,
            replaces: row.get(2)?,
            client_context: row.get(3)?,
        })
    })?)
}

fn attempts(
    connection: &Connection,
    deletion: i64,
    position: i64,
) -> Result<Vec<AttemptDetails>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT number, started_at, answered_at, status, error, request_id, client_request_id, \
         effect_possible FROM attempts WHERE deletion = ?1 AND position = ?2 ORDER BY number",
    )?;
    let mut rows = statement.query([deletion, position])?;
    let mut attempts = Vec::new();
    while let Some(row) = rows.next()? {
        attempts.push(AttemptDetails {
            number: row.get(0)?,
            started_at: Timestamp(row.get(1)?),
            answered_at: time(row, 2)?,
            status: row.get(3)?,
            error: row.get(4)?,
            request_id: row.get(5)?,
            client_request_id: row.get(6)?,
            effect_possible: row.get(7)?,
        });
    }
    Ok(attempts)
}

/// A column that is null until a time has come.
pub(super) fn time(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp))
}
