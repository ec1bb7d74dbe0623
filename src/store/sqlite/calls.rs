//! The registry of calls in SQLite: merging what is imported, and showing what is known.

mod people;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};

use super::deletions::time;
use super::{Sqlite, audit, reconcile};
use crate::clock::Timestamp;
use crate::id::{CallId, canonical_guid};
use crate::model::call::{CallState, Direction};
use crate::model::change::EndReason;
use crate::model::merge;
use crate::store::access::AuditEntry;
use crate::store::error::StoreError;
use crate::store::records::{CallDetails, CallRow, ImportReport, ImportedCall};

const ROW: &str = "SELECT c.call, c.call_id, c.graph_id, t.tenant_id, c.state, c.started_at, \
                   c.ended_at, d.deletion_id, c.direction, c.chain_id, c.thread_id, \
                   c.join_meeting_id, c.platform_call_id, c.native_id, c.meeting_id, c.subject, \
                   c.first_seen_at, c.answered_at, c.app_id, c.last_seen_at, c.end_code, c.end_subcode, \
                   c.end_message, c.end_reason, c.look_at, c.looked_at, c.my_participant_id FROM calls AS c \
                   JOIN tenants AS t ON t.tenant = c.tenant \
                   LEFT JOIN deletions AS d ON d.deletion = c.deleted_by ";

impl Sqlite {
    /// See [`crate::store::Store::import_calls`].
    pub(crate) async fn import_calls(
        &self,
        calls: Vec<ImportedCall>,
        mut entry: AuditEntry,
    ) -> Result<ImportReport, StoreError> {
        entry.count = u64::try_from(calls.len()).unwrap_or(u64::MAX);
        self.write(move |connection| {
            let now = entry.at;
            let mut new = Inserts::prepare(connection)?;
            let mut report = ImportReport::default();
            for call in &calls {
                if new.insert(connection, call, now)? {
                    report.added += 1;
                } else {
                    merge_imported(connection, call, now)?;
                    report.merged += 1;
                }
            }
            audit::append_entry(connection, &entry)?;
            Ok(report)
        })
        .await
    }

    /// See [`crate::store::Store::import_conflicts`].
    pub(crate) async fn import_conflicts(
        &self,
        calls: Vec<ImportedCall>,
    ) -> Result<Vec<usize>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT graph_id FROM calls WHERE tenant = ?1 AND call_id = ?2")?;
            let mut conflicts = Vec::new();
            for (index, call) in calls.iter().enumerate() {
                let Some(call_id) = &call.call_id else { continue };
                let taken: Option<String> = statement
                    .query_row(params![call.tenant_row, call_id.as_str()], |row| row.get(0))
                    .optional()?;
                if taken.is_some_and(|graph_id| graph_id != call.graph_id.0) {
                    conflicts.push(index);
                }
            }
            Ok(conflicts)
        })
        .await
    }

    /// See [`crate::store::Store::calls`].
    pub(crate) async fn calls(
        &self,
        limit: usize,
        ongoing: bool,
    ) -> Result<Vec<CallRow>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "{ROW} WHERE ?1 = 0 OR c.ended_at IS NULL ORDER BY c.call DESC LIMIT ?2"
            ))?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut rows = statement.query(params![ongoing, limit])?;
            let mut calls = Vec::new();
            while let Some(row) = rows.next()? {
                calls.push(read_row(connection, row)?);
            }
            Ok(calls)
        })
        .await
    }

    /// See [`crate::store::Store::call`].
    pub(crate) async fn call(&self, id: CallId) -> Result<Vec<CallDetails>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "{ROW} WHERE c.call IN ({}) ORDER BY c.call LIMIT 100",
                // Every index begins with the tenant.
                ["call_id", "graph_id", "graph_key"]
                    .map(|column| {
                        format!(
                            "SELECT call FROM calls WHERE tenant IN (SELECT tenant FROM tenants) \
                             AND {column} = ?1"
                        )
                    })
                    .join(" UNION ")
            ))?;
            let mut rows = statement.query([id.as_str()])?;
            let mut calls = Vec::new();
            while let Some(row) = rows.next()? {
                calls.push(CallDetails {
                    row: read_row(connection, row)?,
                    direction: row.get(8)?,
                    chain_id: row.get(9)?,
                    thread_id: row.get(10)?,
                    join_meeting_id: row.get(11)?,
                    platform_call_id: row.get(12)?,
                    native_id: row.get(13)?,
                    meeting_id: row.get(14)?,
                    subject: row.get(15)?,
                    first_seen_at: Timestamp(row.get(16)?),
                    answered_at: time(row, 17)?,
                    app_id: row.get(18)?,
                    last_seen_at: Timestamp(row.get(19)?),
                    end: EndReason {
                        code: row.get(20)?,
                        subcode: row.get(21)?,
                        message: row.get(22)?,
                        word: row.get(23)?,
                    },
                    ours: super::lookup::our_part(connection, row.get(0)?)?,
                    look_at: time(row, 24)?,
                    looked_at: time(row, 25)?,
                    my_participant_id: row.get(26)?,
                    roster: people::roster(connection, row.get(0)?)?,
                    invitations: people::invitations(connection, row.get(0)?)?,
                });
            }
            Ok(calls)
        })
        .await
    }
}

/// The statements for calls that are not known yet, prepared once for all of a batch.
pub(super) struct Inserts<'c> {
    call: CachedStatement<'c>,
    party: CachedStatement<'c>,
}

impl<'c> Inserts<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> Result<Self, StoreError> {
        let call = connection.prepare_cached(
            "INSERT INTO calls (tenant, call_id, graph_id, graph_key, platform_call_id, native_id, \
             meeting_id, direction, state, subject, first_seen_at, last_seen_at, started_at, \
             ended_at, look_at, rings_since) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, ?12, ?13, ?14, ?15) \
             ON CONFLICT (tenant, graph_id) DO NOTHING",
        )?;
        let party = connection.prepare_cached(
            "INSERT INTO parties (call, position, tenant, role, kind, raw, normalised, ended_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        Ok(Self { call, party })
    }

    /// Inserts a call; gives false when its Graph id is known.
    pub(super) fn insert(
        &mut self,
        connection: &Connection,
        call: &ImportedCall,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let graph_id = &call.graph_id.0;
        let made;
        let call_id = if let Some(given) = &call.call_id {
            given
        } else {
            made = CallId::sortable();
            &made
        };
        let ended_at = call.ended_at.map(|at| at.0);
        let inserted = self.call.execute(params![
            call.tenant_row,
            call_id.as_str(),
            graph_id,
            canonical_guid(graph_id).filter(|canonical| canonical != graph_id),
            call.platform_call_id,
            call.native_id,
            call.meeting_id,
            call.direction.map(Direction::as_str),
            call.state.as_str(),
            call.subject,
            now.0,
            call.started_at.map(|at| at.0),
            ended_at,
            merge::first_look(call.state, call.ended_at, now).map(|at| at.0),
            rings_since(call).map(|at| at.0)
        ])?;
        if inserted == 0 {
            return Ok(false);
        }
        let row = connection.last_insert_rowid();
        let mut position = 0;
        for (index, party) in call.parties.iter().enumerate() {
            let is_repeated = call.parties[..index]
                .iter()
                .any(|other| other.role == party.role && other.normalised == party.normalised);
            if is_repeated {
                continue;
            }
            position += 1;
            self.party.execute(params![
                row,
                position,
                call.tenant_row,
                party.role,
                party.kind,
                party.raw,
                party.normalised,
                ended_at
            ])?;
        }
        Ok(true)
    }
}

/// Merges into a call that is known: what is new is added, identifiers that the import names win,
/// and the state only moves forward. So does a beginning that was only guessed by the first news.
fn merge_imported(
    connection: &Connection,
    call: &ImportedCall,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (row, state, ended_at): (i64, String, Option<i64>) = connection
        .prepare_cached(
            "SELECT call, state, ended_at FROM calls WHERE tenant = ?1 AND graph_id = ?2",
        )?
        .query_row(params![call.tenant_row, call.graph_id.0], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    let known: CallState = state.parse().map_err(StoreError::unexpected)?;
    let had_ended = ended_at.is_some();
    let ended_at = ended_at.map(Timestamp).or(call.ended_at);
    let state = known.max(call.state);
    let look_at = merge::first_look(state, ended_at, now);
    connection
        .prepare_cached(
            "UPDATE calls SET call_id = coalesce(?2, call_id), \
             platform_call_id = coalesce(?3, platform_call_id), \
             native_id = coalesce(?4, native_id), meeting_id = coalesce(?5, meeting_id), \
             direction = coalesce(direction, ?6), state = ?7, subject = coalesce(subject, ?8), \
             last_seen_at = ?9, started_at = CASE WHEN started_at <> first_seen_at \
             THEN started_at ELSE coalesce(?10, started_at) END, ended_at = ?11, \
             answered_at = min(answered_at, coalesce(?11, answered_at)), \
             look_at = CASE WHEN ?12 IS NOT NULL THEN min(coalesce(look_at, ?12), ?12) \
             WHEN ended_at IS NOT NULL THEN look_at END, \
             rings_since = min(coalesce(rings_since, ?13), coalesce(?13, rings_since)) \
             WHERE call = ?1",
        )?
        .execute(params![
            row,
            call.call_id.as_ref().map(CallId::as_str),
            call.platform_call_id,
            call.native_id,
            call.meeting_id,
            call.direction.map(Direction::as_str),
            state.as_str(),
            call.subject,
            now.0,
            call.started_at.map(|at| at.0),
            ended_at.map(|at| at.0),
            look_at.map(|at| at.0),
            rings_since(call).map(|at| at.0)
        ])?;
    if let (false, Some(ended_at)) = (had_ended, ended_at) {
        // It may have ended long ago, and before our attempt.
        reconcile::exclude_later_deletions(connection, row, ended_at)?;
        reconcile::confirm_deletions(connection, row, now)?;
    }
    add_parties(connection, row, call, ended_at)
}

/// When an imported call began to ring: one of which that is not said may ring no more.
fn rings_since(call: &ImportedCall) -> Option<Timestamp> {
    call.started_at.filter(|_| call.state == CallState::Incoming)
}

/// Adds the parties that a known call does not have yet.
fn add_parties(
    connection: &Connection,
    row: i64,
    call: &ImportedCall,
    ended_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    for party in &call.parties {
        connection
            .prepare_cached(
                "INSERT INTO parties (call, position, tenant, role, kind, raw, normalised, \
                 ended_at) SELECT ?1, (SELECT coalesce(max(position), 0) + 1 FROM parties \
                 WHERE call = ?1), ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS \
                 (SELECT 1 FROM parties WHERE call = ?1 AND role = ?3 AND normalised = ?6)",
            )?
            .execute(params![
                row,
                call.tenant_row,
                party.role,
                party.kind,
                party.raw,
                party.normalised,
                ended_at.map(|at| at.0)
            ])?;
    }
    Ok(())
}

fn read_row(connection: &Connection, row: &Row<'_>) -> Result<CallRow, StoreError> {
    let call: i64 = row.get(0)?;
    let mut found = CallRow {
        call_id: row.get(1)?,
        graph_id: row.get(2)?,
        tenant: row.get(3)?,
        state: row.get(4)?,
        started_at: time(row, 5)?,
        ended_at: time(row, 6)?,
        source: None,
        targets: Vec::new(),
        deletion_id: row.get(7)?,
    };
    let mut statement = connection
        .prepare_cached("SELECT role, raw FROM parties WHERE call = ?1 ORDER BY position")?;
    let mut parties = statement.query([call])?;
    while let Some(party) = parties.next()? {
        let role: String = party.get(0)?;
        if role != "source" {
            found.targets.push(party.get(1)?);
        } else if found.source.is_none() {
            // A later one is another spelling of who was told of first.
            found.source = party.get(1)?;
        }
    }
    Ok(found)
}
