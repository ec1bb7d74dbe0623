//! Which calls Graph is asked about, when, and what its answer does to a call and its deletions.
//!
//! `look_at` is the time, `look_wanted` says that somebody needs to know: such a look comes before
//! the others, and is made however lately the call was heard of. A deletion that Graph has taken sets
//! both by a trigger. All is counted as waits are, because `look_at` moves with them.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::condition::Purpose;
use super::{Sqlite, pause, waits};
use crate::clock::{Moment, Timestamp};
use crate::id::{CallId, GraphCallId};
use crate::model::call::CallState;
use crate::model::reconcile::{CONFIRMATION, SILENCE, after_news, after_still_there, is_same_app};
use crate::store::error::StoreError;
use crate::store::reconcile::{Asking, Look, LookEnd, Looked};

/// Who needs to know, the most urgent first: a deletion that waits for its confirmation, the one who
/// got an ambiguous answer, nobody.
const CONFIRMS: i64 = 2;
const DECIDES: i64 = 1;
const NOBODY: i64 = 0;

/// The calls of a tenant that are due.
const DUE: &str = "SELECT call, call_id, graph_id, state, last_seen_at, app_id FROM calls \
                   WHERE tenant = ?1 AND look_wanted = ?2 AND look_at <= ?3 \
                   ORDER BY look_at LIMIT ?4";
/// Brings some of those back whose time is too far away.
const TOO_FAR: &str = "UPDATE calls SET look_at = ?3 WHERE call IN (SELECT call FROM calls \
                       WHERE tenant = ?1 AND look_wanted = ?2 AND look_at > ?4 LIMIT ?5)";
/// Calls that one operation puts off, and brings back, at most: the writer has others to serve.
const PUT_OFF: usize = 256;

impl Sqlite {
    /// See [`crate::store::Store::calls_to_look_at`].
    pub(crate) async fn calls_to_look_at(
        &self,
        app: Asking,
        moment: Moment,
        limit: usize,
        under_way: Vec<i64>,
    ) -> Result<Vec<Look>, StoreError> {
        self.write_news(Purpose::Begin, move |connection| {
            due(connection, &app, moment, limit, &under_way)
        })
        .await
    }

    /// See [`crate::store::Store::looked`].
    pub(crate) async fn looked(
        &self,
        call: i64,
        end: LookEnd,
        moment: Moment,
    ) -> Result<Looked, StoreError> {
        self.write_news(Purpose::Owed, move |connection| looked(connection, call, end, moment))
            .await
    }

    /// One of several calls may long have ended without a word: Graph is asked, and who repeats the
    /// request may then be understood. In an operation of its own that nobody waits for, so that an
    /// answer without effect writes nothing itself.
    pub(crate) fn look_at_candidates(&self, calls: Vec<i64>, moment: Moment) {
        if calls.is_empty() {
            return;
        }
        if let Err(error) = self.look_soon(calls, moment) {
            tracing::warn!("the candidates of an ambiguous answer are not looked at: {error}");
        }
    }

    fn look_soon(&self, calls: Vec<i64>, moment: Moment) -> Result<(), StoreError> {
        let wanted = self.look_wanted();
        self.0.writer.submit_detached(move |connection| {
            let now = waits::now(connection, moment)?;
            let mut statement = connection.prepare_cached(
                // What is wanted already has its time, be it a later one because asking failed.
                "UPDATE calls SET look_at = ?2, look_wanted = ?4 WHERE call = ?1 \
                 AND ended_at IS NULL AND look_wanted = 0 \
                 AND (looked_at IS NULL OR looked_at NOT BETWEEN ?3 AND ?2)",
            )?;
            let mut moved = 0;
            for call in &calls {
                let lately = now - CONFIRMATION;
                moved += statement.execute(params![call, now.0, lately.0, DECIDES])?;
            }
            if moved > 0 {
                // Whoever it wakes asks this thread, and so comes after the commit.
                wanted.notify_one();
            }
            Ok(())
        })
    }
}

/// Graph says that it has no such call: it has ended by now, nobody knows why. None when its end is
/// known already, else how many deletions are confirmed with it.
pub(super) fn call_is_gone(
    connection: &Connection,
    call: i64,
    now: Timestamp,
) -> Result<Option<usize>, StoreError> {
    let ended = connection
        .prepare_cached(
            "UPDATE calls SET state = ?3, ended_at = ?2, look_at = NULL, look_wanted = 0 \
             WHERE call = ?1 AND ended_at IS NULL",
        )?
        .execute(params![call, now.0, CallState::Terminated.as_str()])?;
    if ended == 0 {
        return Ok(None);
    }
    confirm_deletions(connection, call, now).map(Some)
}

/// The end of a call has become known: what Graph has taken to end it is confirmed. What is still
/// open is left alone, because Graph decides about it. Gives the number of deletions.
pub(super) fn confirm_deletions(
    connection: &Connection,
    call: i64,
    now: Timestamp,
) -> Result<usize, StoreError> {
    Ok(connection
        .prepare_cached(
            "UPDATE deletions SET state = 'confirmed', confirmed_at = ?2 \
             WHERE call = ?1 AND kind IN ('DeleteCall', 'RejectCall') AND state = 'sent' \
             AND ended_before = 0",
        )?
        .execute(params![call, now.0])?)
}

/// Graph, asked after it took a deletion of a call that had ended before, no longer has it.
fn confirm_after_the_end(
    connection: &Connection,
    call: i64,
    now: Timestamp,
) -> Result<usize, StoreError> {
    connection
        .prepare_cached("UPDATE calls SET look_at = NULL, look_wanted = 0 WHERE call = ?1")?
        .execute([call])?;
    Ok(connection
        .prepare_cached(
            "UPDATE deletions SET state = 'confirmed', confirmed_at = ?2 \
             WHERE call = ?1 AND kind IN ('DeleteCall', 'RejectCall') AND state = 'sent'",
        )?
        .execute(params![call, now.0])?)
}

/// Somebody says that the call ended at `ended_at`: what began to delete it after that did not.
pub(super) fn exclude_later_deletions(
    connection: &Connection,
    call: i64,
    ended_at: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE deletions SET ended_before = 1 WHERE call = ?1 AND EXISTS (SELECT 1 \
             FROM attempts WHERE attempts.deletion = deletions.deletion) \
             AND NOT EXISTS (SELECT 1 FROM attempts AS a JOIN steps AS s \
             ON s.deletion = a.deletion AND s.position = a.position \
             WHERE a.deletion = deletions.deletion AND s.operation <> 'read-roster' \
             AND (a.effect_possible = 1 OR a.status IS NOT NULL) AND a.started_at <= ?2)",
        )?
        .execute(params![call, ended_at.0])?;
    Ok(())
}

pub(super) fn due(
    connection: &Connection,
    app: &Asking,
    moment: Moment,
    limit: usize,
    under_way: &[i64],
) -> Result<Vec<Look>, StoreError> {
    let now = waits::now(connection, moment)?;
    let tenant: Option<i64> = connection
        .prepare_cached("SELECT tenant FROM tenants WHERE tenant_id = ?1")?
        .query_row([app.tenant.as_str()], |row| row.get(0))
        .optional()?;
    let mut looks = Vec::new();
    let Some(tenant) = tenant else { return Ok(looks) };
    // What is due is due after the resumption.
    if pause::is_paused(connection, tenant)? {
        return Ok(looks);
    }
    let mut put_off_now = 0;
    for wanted in [CONFIRMS, DECIDES, NOBODY] {
        bring_back(connection, tenant, wanted, now)?;
        while looks.len() < limit && put_off_now < PUT_OFF {
            let missing = limit - looks.len();
            let found = due_rows(connection, tenant, wanted, now, missing, under_way, &looks)?;
            let is_all = found.len() < missing;
            for row in found {
                match row.put_off(app, now) {
                    Some(at) => {
                        put_off(connection, row.look.call, at)?;
                        put_off_now += 1;
                    }
                    None => looks.push(row.look),
                }
            }
            if is_all {
                break;
            }
        }
    }
    Ok(looks)
}

/// A row that is due by its `look_at`.
struct DueRow {
    look: Look,
    wanted: i64,
    state: String,
    last_seen_at: Timestamp,
    app_id: Option<String>,
}

impl DueRow {
    /// When it is looked at instead, because it was heard of since its time was set, or because
    /// Graph would say of another app's call that there is none. Of a call that is ending, only its
    /// end is news.
    fn put_off(&self, app: &Asking, now: Timestamp) -> Option<Timestamp> {
        let is_ours = |app_id: &str| is_same_app(app_id, &app.client_id);
        if !self.app_id.as_deref().is_none_or(is_ours) {
            return Some(now + SILENCE);
        }
        let is_ending = self.state == CallState::Terminating.as_str();
        let is_wanted = self.wanted != NOBODY;
        if is_wanted || is_ending { None } else { after_news(now, self.last_seen_at) }
    }
}

/// At most `limit` rows that are due, but for those that are being asked about or were found before.
fn due_rows(
    connection: &Connection,
    tenant: i64,
    wanted: i64,
    now: Timestamp,
    limit: usize,
    under_way: &[i64],
    found: &[Look],
) -> Result<Vec<DueRow>, StoreError> {
    let is_known = |call| under_way.contains(&call) || found.iter().any(|look| look.call == call);
    let enough = limit + under_way.len() + found.len();
    let rows = connection
        .prepare_cached(DUE)?
        .query_map(
            params![tenant, wanted, now.0, i64::try_from(enough).unwrap_or(i64::MAX)],
            |row| read_due(row, wanted),
        )?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().filter(|row| !is_known(row.look.call)).take(limit).collect())
}

fn read_due(row: &Row<'_>, wanted: i64) -> rusqlite::Result<DueRow> {
    let look = Look {
        call: row.get(0)?,
        call_id: CallId::new(&row.get::<_, String>(1)?),
        graph_id: GraphCallId(row.get(2)?),
    };
    Ok(DueRow {
        look,
        wanted,
        state: row.get(3)?,
        last_seen_at: Timestamp(row.get(4)?),
        app_id: row.get(5)?,
    })
}

fn put_off(connection: &Connection, call: i64, at: Timestamp) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE calls SET look_at = ?2 WHERE call = ?1")?
        .execute(params![call, at.0])?;
    Ok(())
}

/// No look is further away than [`SILENCE`] when its time is set. One that is was set by a clock
/// that was ahead, and would not come for as long. A minute more is left to those whose time was
/// set while this operation was queued.
fn bring_back(
    connection: &Connection,
    tenant: i64,
    wanted: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let latest = now + SILENCE;
    let most = i64::try_from(PUT_OFF).unwrap_or(i64::MAX);
    connection.prepare_cached(TOO_FAR)?.execute(params![
        tenant,
        wanted,
        latest.0,
        (latest + CONFIRMATION).0,
        most
    ])?;
    Ok(())
}

pub(super) fn looked(
    connection: &Connection,
    call: i64,
    end: LookEnd,
    moment: Moment,
) -> Result<Looked, StoreError> {
    let now = waits::now(connection, moment)?;
    let known = connection
        .prepare_cached(
            "SELECT c.look_at, c.looked_at, d.deletion_id, d.settled_at, c.state FROM calls AS c \
             LEFT JOIN deletions AS d ON d.deletion = c.deleted_by \
             WHERE c.call = ?1 AND c.look_at IS NOT NULL",
        )?
        .query_row([call], |row| {
            Ok(Known {
                look_at: row.get::<_, Option<i64>>(0)?.map(Timestamp),
                looked_at: row.get::<_, Option<i64>>(1)?.map(Timestamp),
                deletion_id: row.get(2)?,
                taken_at: row.get::<_, Option<i64>>(3)?.map(Timestamp),
                state: row.get(4)?,
            })
        })
        .optional()?;
    let Some(known) = known else { return Ok(Looked::Known) };
    let unheeded = match end {
        LookEnd::Gone => {
            connection
                .prepare_cached("UPDATE calls SET looked_at = ?2 WHERE call = ?1")?
                .execute(params![call, now.0])?;
            let confirmed = match call_is_gone(connection, call, now)? {
                Some(confirmed) => confirmed,
                None => confirm_after_the_end(connection, call, now)?,
            };
            return Ok(Looked::Ended { confirmed });
        }
        LookEnd::StillThere => {
            let state = known.state.parse().map_err(StoreError::unexpected)?;
            let at = known.sooner(after_still_there(now, state, known.taken_at), now);
            // What a deletion waits for stays wanted, whatever else is heard of the call.
            let wanted = if known.taken_at.is_some() { CONFIRMS } else { NOBODY };
            connection
                .prepare_cached(
                    "UPDATE calls SET look_at = ?2, looked_at = ?3, look_wanted = ?4 \
                     WHERE call = ?1",
                )?
                .execute(params![call, at.0, now.0, wanted])?;
            known.unheeded(now)
        }
        LookEnd::Failed { again_at } => {
            let again_at = again_at.moved(now.ahead_of(moment.wall)).min(now + SILENCE);
            put_off(connection, call, known.sooner(again_at, now))?;
            None
        }
    };
    let unheeded = unheeded.map(|id| id.parse().map_err(StoreError::unexpected)).transpose()?;
    Ok(Looked::Again { unheeded })
}

/// A call that was looked at and has not ended.
struct Known {
    look_at: Option<Timestamp>,
    looked_at: Option<Timestamp>,
    deletion_id: Option<String>,
    taken_at: Option<Timestamp>,
    state: String,
}

impl Known {
    /// A time that was set while Graph was asked stands when it comes before `at`.
    fn sooner(&self, at: Timestamp, now: Timestamp) -> Timestamp {
        self.look_at.filter(|set| *set > now).map_or(at, |set| set.min(at))
    }

    /// The deletion that Graph took at least [`CONFIRMATION`] ago, when no look since then has told
    /// that it still has the call; one that failed told nothing.
    fn unheeded(&self, now: Timestamp) -> Option<&str> {
        let due = self.taken_at? + CONFIRMATION;
        let told = self.looked_at.is_some_and(|looked_at| looked_at >= due);
        self.deletion_id.as_deref().filter(|_| due <= now && !told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fixture::Fixture;

    #[tokio::test]
    async fn what_is_due_is_found_without_walking_through_the_calls() {
        let there = Fixture::new().await;
        for sql in [DUE, TOO_FAR] {
            let connection = there.other_hand();
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let count = statement.parameter_count();
            let plan: Vec<String> = statement
                .query_map(rusqlite::params_from_iter(vec![0; count]), |row| row.get(3))
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap();
            let by_index = "SEARCH calls USING INDEX calls_to_look_at";
            let covered = "SEARCH calls USING COVERING INDEX calls_to_look_at";
            let by_row = "SEARCH calls USING INTEGER PRIMARY KEY";
            let is_found = |step: &String| {
                [by_index, covered, by_row, "LIST SUBQUERY"].iter().any(|one| step.starts_with(one))
            };
            assert!(!plan.is_empty() && plan.iter().all(is_found), "{plan:?}");
        }
    }
}
