//! What is due, tenant by tenant: whoever has little under way comes before whoever has much.
//!
//! Only steps of open deletions count. What is read of a tenant is bounded by the room that it has, so
//! that a tenant with many thousand waiting steps costs no more than one with a few.

use std::collections::VecDeque;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::clock::Timestamp;
use crate::id::{DeletionId, TenantId};
use crate::model::plan::Operation;
use crate::store::admission::{First, Room, Share, StepRef};
use crate::store::error::StoreError;

/// What ends this soon goes before or behind everything else in a probe.
const ENDS_SOON: Duration = Duration::from_secs(30);
/// What waits for a tenant is counted up to this.
const COUNTED: i64 = 100_000;

const DUE: &str = "SELECT s.deletion, s.position, d.call, d.deadline_at, s.operation, \
                   coalesce(s.parked, s.next_attempt_at) FROM steps AS s JOIN deletions AS d ON d.deletion = s.deletion \
                   WHERE s.state = 'open' AND s.tenant = ?1 AND s.next_attempt_at <= ?2 \
                   AND d.state = 'open' ORDER BY s.next_attempt_at LIMIT ?3";

/// The same for a probe: what ends soon or what does not, and then what was tried least. The
/// longest-waiting may be what fails by itself, and would be all that is ever sent. It looks at all that is
/// due, once a second at most.
const DUE_FOR_A_PROBE: &str = "SELECT s.deletion, s.position, d.call, d.deadline_at, s.operation, \
                               coalesce(s.parked, s.next_attempt_at) FROM steps AS s \
                               JOIN deletions AS d ON d.deletion = s.deletion \
                               WHERE s.state = 'open' AND s.tenant = ?1 AND s.next_attempt_at <= ?2 \
                               AND d.state = 'open' ORDER BY CASE WHEN ?5 THEN min(s.deadline_at, ?4) \
                               ELSE s.deadline_at <= ?4 END, s.attempts, s.next_attempt_at LIMIT ?3";

/// A step that is due.
pub(super) struct DueStep {
    pub(super) step: StepRef,
    pub(super) call: i64,
    /// The deletion's.
    pub(super) deadline: Timestamp,
    /// It is not to be sent before.
    pub(super) at: Timestamp,
    operation: String,
}

impl DueStep {
    /// Whether this is what is asked of Graph.
    pub(super) fn is(&self, operation: Operation) -> bool {
        self.operation == operation.as_str()
    }
}

/// The steps of one tenant that are due, the earliest first: as many as there is room for, and one more
/// if there are more.
pub(super) struct Queue {
    pub(super) row: i64,
    tenant: TenantId,
    share: Share,
    pub(super) steps: VecDeque<DueStep>,
    pub(super) leased: usize,
    /// Something was left out that is being sent.
    pub(super) skipped: bool,
    /// How many wait when there is room for none.
    waiting: usize,
}

impl Queue {
    /// The tenant has steps that are due and used up what room it has of its own, or there is none at all,
    /// so that the time of its next step says nothing.
    pub(super) fn has_used_its_own(&self, all: usize) -> bool {
        self.leased >= self.share.room && (self.share.room < all || all == 0)
    }

    /// Leaves out what else is due of a deletion that has ended.
    pub(super) fn leave_out(&mut self, deletion: i64) {
        self.steps.retain(|due| due.step.deletion != deletion);
    }

    /// The tenant and how many of its steps there was no room for.
    pub(super) fn left(self) -> Option<(TenantId, usize)> {
        let left = self.steps.len().max(self.waiting);
        (left > 0).then_some((self.tenant, left))
    }
}

/// The queue whose step is next.
pub(super) fn next_of(queues: &mut [Queue]) -> Option<&mut Queue> {
    let has_room = |queue: &&mut Queue| queue.leased < queue.share.room && !queue.steps.is_empty();
    let under_way = |queue: &Queue| queue.share.busy + queue.leased;
    let earliest = |queue: &Queue| queue.steps.front().map(|step| step.at);
    queues.iter_mut().filter(has_room).min_by_key(|queue| (under_way(queue), earliest(queue)))
}

/// What is due for each tenant that has anything open.
pub(super) fn queues(
    connection: &Connection,
    now: Timestamp,
    room: &Room,
    sending: &[StepRef],
) -> Result<Vec<Queue>, StoreError> {
    let queue = |(row, tenant): (i64, TenantId)| {
        let whole = Share { room: room.all, ..Share::default() };
        let share = room.tenants.get(&tenant).copied().unwrap_or(whole);
        let mut queue = Queue {
            row,
            tenant,
            share: Share { room: share.room.min(room.all), ..share },
            steps: VecDeque::new(),
            leased: 0,
            skipped: false,
            waiting: 0,
        };
        if queue.share.room == 0 {
            queue.waiting = count(connection, row, now)?;
        } else {
            let limit = queue.share.room + sending.len() + 1;
            let steps = due_steps(connection, row, now, limit, share.probe)?;
            let before = steps.len();
            queue.steps = steps.into_iter().filter(|step| !sending.contains(&step.step)).collect();
            queue.skipped = queue.steps.len() < before;
        }
        Ok(queue)
    };
    open_tenants(connection)?.into_iter().map(queue).collect()
}

/// The tenants of open steps, each found with one look into the index.
fn open_tenants(connection: &Connection) -> Result<Vec<(i64, TenantId)>, StoreError> {
    let tenants = connection
        .prepare_cached(
            "WITH RECURSIVE waiting (tenant) AS (SELECT min(tenant) FROM steps \
             WHERE state = 'open' UNION ALL SELECT (SELECT min(s.tenant) FROM steps AS s \
             WHERE s.state = 'open' AND s.tenant > w.tenant) FROM waiting AS w \
             WHERE w.tenant IS NOT NULL) SELECT t.tenant, t.tenant_id FROM waiting \
             JOIN tenants AS t USING (tenant)",
        )?
        .query_map((), |row| Ok((row.get(0)?, TenantId::new(&row.get::<_, String>(1)?))))?
        .collect::<Result<_, _>>()?;
    Ok(tenants)
}

fn due_steps(
    connection: &Connection,
    tenant: i64,
    now: Timestamp,
    limit: usize,
    probe: Option<First>,
) -> Result<Vec<DueStep>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement =
        connection.prepare_cached(if probe.is_some() { DUE_FOR_A_PROBE } else { DUE })?;
    let steps = if let Some(first) = probe {
        let (soon, is_soon) = ((now + ENDS_SOON).0, first == First::EndsSoon);
        statement.query_map(params![tenant, now.0, limit, soon, is_soon], read)?
    } else {
        statement.query_map(params![tenant, now.0, limit], read)?
    };
    Ok(steps.collect::<Result<_, _>>()?)
}

/// Up to `limit` steps of whatever tenant that are past their deadline, due or not, and that nobody sends.
pub(super) fn late_steps(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<DueStep>, StoreError> {
    let steps = connection
        .prepare_cached(
            "SELECT s.deletion, s.position, d.call, d.deadline_at, s.operation, \
             coalesce(s.parked, s.next_attempt_at) FROM steps AS s INDEXED BY steps_late \
             JOIN deletions AS d ON d.deletion = s.deletion \
             WHERE s.state = 'open' AND s.deadline_at <= ?1 \
             AND (s.lease_owner IS NULL OR s.next_attempt_at <= ?1) \
             AND d.state = 'open' ORDER BY s.deadline_at LIMIT ?2",
        )?
        .query_map(params![now.0, i64::try_from(limit).unwrap_or(i64::MAX)], read)?
        .collect::<Result<_, _>>()?;
    Ok(steps)
}

/// The open steps of this deletion of which no attempt is under way, due or not.
pub(super) fn unsent_steps(
    connection: &Connection,
    deletion: DeletionId,
) -> Result<Vec<DueStep>, StoreError> {
    let steps = connection
        .prepare_cached(
            "SELECT s.deletion, s.position, d.call, d.deadline_at, s.operation, \
             coalesce(s.next_attempt_at, 0) FROM deletions AS d \
             JOIN steps AS s ON s.deletion = d.deletion WHERE d.deletion_id = ?1 \
             AND d.state = 'open' AND s.state = 'open' AND s.lease_owner IS NULL \
             ORDER BY s.position",
        )?
        .query_map([deletion.to_string()], read)?
        .collect::<Result<_, _>>()?;
    Ok(steps)
}

fn read(row: &Row<'_>) -> rusqlite::Result<DueStep> {
    Ok(DueStep {
        step: StepRef { deletion: row.get(0)?, position: row.get(1)? },
        call: row.get(2)?,
        deadline: Timestamp(row.get(3)?),
        at: Timestamp(row.get(5)?),
        operation: row.get(4)?,
    })
}

fn count(connection: &Connection, tenant: i64, now: Timestamp) -> Result<usize, StoreError> {
    let count: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM steps WHERE state = 'open' AND tenant = ?1 \
             AND next_attempt_at <= ?2 LIMIT ?3)",
        )?
        .query_row(params![tenant, now.0, COUNTED], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or_default())
}

/// When the next step of this tenant is due: of those rows only that can be leased, because one that
/// never is must not be due for ever.
pub(super) fn next_time(
    connection: &Connection,
    tenant: i64,
) -> Result<Option<Timestamp>, StoreError> {
    let next = connection
        .prepare_cached(
            "SELECT s.next_attempt_at FROM steps AS s JOIN deletions AS d \
             ON d.deletion = s.deletion WHERE s.state = 'open' AND s.tenant = ?1 \
             AND d.state = 'open' ORDER BY s.next_attempt_at LIMIT 1",
        )?
        .query_row([tenant], |row| row.get::<_, Option<i64>>(0))
        .optional()?;
    Ok(next.flatten().map(Timestamp))
}
