//! Sessions in SQLite.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::deletions::time;
use super::{Sqlite, audit};
use crate::clock::Timestamp;
use crate::id::SessionId;
use crate::model::key::Session;
use crate::store::access::{AuditEntry, NewSession, SessionRow};
use crate::store::error::StoreError;
use crate::store::pepper::Digest;

// A user who was removed by hand is disabled for good.
const SESSION: &str = "SELECT s.session, s.session_id, s.key, s.user, u.login, s.expires_at, \
                       s.released_at, s.user IS NOT NULL AND (u.user IS NULL \
                       OR u.disabled_at IS NOT NULL) FROM sessions AS s \
                       LEFT JOIN users AS u ON u.user = s.user";

/// A session `s` with its key `k` and its user `u` that can be used at `?1`.
const RUNNING: &str = "s.released_at IS NULL AND s.expires_at > ?1 AND k.revoked_at IS NULL \
                       AND (k.expires_at IS NULL OR k.expires_at > ?1) AND (s.user IS NULL \
                       OR (u.user IS NOT NULL AND u.disabled_at IS NULL))";

/// How long a session is kept that has expired.
const KEPT: Duration = Duration::from_hours(24);
/// So many sessions are looked at for removal with each that is opened, the oldest first. Those that a
/// deletion names stay, and are passed over until this process ends.
const SWEPT: i64 = 8;

impl Sqlite {
    /// See [`crate::store::Store::session`].
    pub(crate) async fn session(&self, hash: Digest) -> Result<Option<Session>, StoreError> {
        self.read(move |connection| {
            // Every index on tokens begins with the pepper.
            let condition = "s.pepper IN (SELECT fingerprint FROM peppers) AND s.hash = ?1";
            find(connection, condition, [hash])
        })
        .await
    }

    /// See [`crate::store::Store::create_session`].
    pub(crate) async fn create_session(
        &self,
        session: NewSession,
        entry: AuditEntry,
    ) -> Result<Option<SessionId>, StoreError> {
        let swept = self.swept();
        self.write(move |connection| {
            if insert(connection, &session)? == 0 {
                return Ok(None);
            }
            sweep(connection, &swept, session.created_at)?;
            audit::append_entry(connection, &entry)?;
            Ok(Some(session.id))
        })
        .await
    }

    /// See [`crate::store::Store::end_session`].
    pub(crate) async fn end_session(
        &self,
        id: SessionId,
        entry: AuditEntry,
    ) -> Result<bool, StoreError> {
        self.write_owed(move |connection| end(connection, id, &entry)).await
    }

    /// See [`crate::store::Store::sessions`].
    pub(crate) async fn sessions(&self, now: Timestamp) -> Result<Vec<SessionRow>, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT s.session_id, k.key_id, k.name, u.login, s.created_at, s.expires_at \
                 FROM sessions AS s JOIN keys AS k ON k.key = s.key \
                 LEFT JOIN users AS u ON u.user = s.user WHERE {RUNNING} ORDER BY s.session DESC"
            ))?;
            let mut rows = statement.query([now.0])?;
            let mut sessions = Vec::new();
            while let Some(row) = rows.next()? {
                sessions.push(read_row(row)?);
            }
            Ok(sessions)
        })
        .await
    }
}

/// The session of this number.
pub(super) fn session(connection: &Connection, row: i64) -> Result<Option<Session>, StoreError> {
    find(connection, "s.session = ?1", [row])
}

/// Ends all sessions whose `column` holds `owner`, and says how many of them had not expired.
pub(super) fn end_all(
    connection: &Connection,
    column: &'static str,
    owner: i64,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let running: i64 = connection
        .prepare_cached(&format!(
            "SELECT count(*) FROM sessions WHERE {column} = ?1 AND released_at IS NULL \
             AND expires_at > ?2"
        ))?
        .query_row(params![owner, now.0], |row| row.get(0))?;
    // Those too that have expired: a clock that is set back does not bring them back.
    connection
        .prepare_cached(&format!(
            "UPDATE sessions SET released_at = ?2 WHERE {column} = ?1 AND released_at IS NULL"
        ))?
        .execute(params![owner, now.0])?;
    Ok(usize::try_from(running).unwrap_or(0))
}

/// Writes a session unless key or user no longer allow it; gives the number of sessions written.
fn insert(connection: &Connection, session: &NewSession) -> Result<usize, StoreError> {
    let user = session.user.as_ref();
    Ok(connection
        .prepare_cached(
            "INSERT INTO sessions (session_id, tenant, key, user, pepper, hash, created_at, \
             expires_at) SELECT ?1, k.tenant, k.key, ?3, ?5, ?6, ?7, ?8 FROM keys AS k \
             WHERE k.key_id = ?2 AND k.revoked_at IS NULL \
             AND (k.expires_at IS NULL OR k.expires_at > ?7) AND (?3 IS NULL OR EXISTS \
             (SELECT 1 FROM users AS u WHERE u.user = ?3 AND u.tenant = k.tenant \
             AND u.disabled_at IS NULL AND u.password_hash = ?4))",
        )?
        .execute(params![
            session.id.to_string(),
            session.key.to_string(),
            user.map(|known| known.user.row),
            user.map(|known| &known.password_hash),
            session.secret.pepper,
            session.secret.hash,
            session.created_at.0,
            session.expires_at.0
        ])?)
}

/// Removes sessions that expired long ago and that nothing names.
fn sweep(connection: &Connection, swept: &AtomicI64, now: Timestamp) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT session FROM (SELECT session, expires_at FROM sessions WHERE session > ?1 \
         ORDER BY session LIMIT ?2) WHERE expires_at < ?3 ORDER BY session",
    )?;
    let from = swept.load(Ordering::Relaxed);
    let old = statement
        .query_map(params![from, SWEPT, (now - KEPT).0], |row| row.get::<_, i64>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    for session in &old {
        connection
            .prepare_cached(
                "DELETE FROM sessions WHERE session = ?1 \
                 AND NOT EXISTS (SELECT 1 FROM deletions WHERE session = ?1)",
            )?
            .execute([session])?;
    }
    // One transaction is written at a time. What it passes over if this one fails waits for the next
    // process.
    swept.store(old.last().copied().unwrap_or(from), Ordering::Relaxed);
    Ok(())
}

fn end(connection: &Connection, id: SessionId, entry: &AuditEntry) -> Result<bool, StoreError> {
    let found = connection
        .prepare_cached(&format!(
            "SELECT s.session, k.key_id, t.tenant_id FROM sessions AS s \
             JOIN keys AS k ON k.key = s.key JOIN tenants AS t ON t.tenant = s.tenant \
             LEFT JOIN users AS u ON u.user = s.user WHERE s.session_id = ?2 AND {RUNNING}"
        ))?
        .query_row(params![entry.at.0, id.to_string()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    let Some((row, key_id, tenant)) = found else { return Ok(false) };
    connection
        .prepare_cached("UPDATE sessions SET released_at = ?2 WHERE session = ?1")?
        .execute(params![row, entry.at.0])?;
    let mut entry = entry.clone();
    entry.event.session_id = Some(id.to_string());
    entry.event.key_id = Some(key_id);
    entry.event.tenant = Some(tenant);
    audit::append_entry(connection, &entry)?;
    Ok(true)
}

fn find(
    connection: &Connection,
    condition: &str,
    parameters: impl Params,
) -> Result<Option<Session>, StoreError> {
    connection
        .prepare_cached(&format!("{SESSION} WHERE {condition}"))?
        .query_row(parameters, |row| Ok(read(row)))
        .optional()?
        .transpose()
}

fn read(row: &Row<'_>) -> Result<Session, StoreError> {
    let id: String = row.get(1)?;
    Ok(Session {
        row: row.get(0)?,
        id: id.parse().map_err(StoreError::unexpected)?,
        key_row: row.get(2)?,
        user_row: row.get(3)?,
        login: row.get(4)?,
        expires_at: Timestamp(row.get(5)?),
        released_at: time(row, 6)?,
        user_disabled: row.get(7)?,
    })
}

fn read_row(row: &Row<'_>) -> Result<SessionRow, StoreError> {
    let (id, key_id): (String, String) = (row.get(0)?, row.get(1)?);
    Ok(SessionRow {
        id: id.parse().map_err(StoreError::unexpected)?,
        key_id: key_id.parse().map_err(StoreError::unexpected)?,
        key_name: row.get(2)?,
        login: row.get(3)?,
        created_at: Timestamp(row.get(4)?),
        expires_at: Timestamp(row.get(5)?),
    })
}
