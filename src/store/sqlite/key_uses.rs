//! From where keys are used, in SQLite.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::Sqlite;
use super::condition::Purpose;
use crate::clock::Timestamp;
use crate::model::user::{FAMILIAR, folded};
use crate::store::access::KeyUse;
use crate::store::error::StoreError;

/// Places that are shown of one key; so many are kept where nobody logged in, and so many of each
/// login. The two are kept apart, because the brakes go by the places of logins.
const KEPT: i64 = 20;
/// Places that are kept of all logins with one key.
const KEPT_OF_LOGINS: i64 = 1000;

impl Sqlite {
    /// See [`crate::store::Store::note_uses`].
    pub(crate) async fn note_uses(&self, uses: Vec<KeyUse>) -> Result<(), StoreError> {
        self.write_news(Purpose::Begin, move |connection| {
            let mut latest = BTreeMap::new();
            for one in &uses {
                let login = folded(&one.login);
                note(connection, one, &login)?;
                let at = latest.entry((one.key_row, login)).or_insert(one.last_used_at);
                *at = one.last_used_at.max(*at);
            }
            latest.iter().try_for_each(|((key, login), at)| forget(connection, *key, login, *at))
        })
        .await
    }

    /// See [`crate::store::Store::note_query_passwords`].
    pub(crate) async fn note_query_passwords(
        &self,
        counts: Vec<(i64, u64)>,
    ) -> Result<(), StoreError> {
        self.write_news(Purpose::Begin, move |connection| {
            let mut statement = connection.prepare_cached(
                "UPDATE keys SET query_password_uses = query_password_uses + ?2 WHERE key = ?1",
            )?;
            for (key, count) in &counts {
                statement.execute(params![key, i64::try_from(*count).unwrap_or(i64::MAX)])?;
            }
            Ok(())
        })
        .await
    }

    /// See [`crate::store::Store::has_used`].
    pub(crate) async fn has_used(
        &self,
        key_row: i64,
        peer: String,
        login: String,
        since: Timestamp,
    ) -> Result<bool, StoreError> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                // A place is known to all keys of a line.
                "SELECT 1 FROM key_uses WHERE key IN (SELECT key FROM keys WHERE coalesce(line, key) = \
                 (SELECT coalesce(line, key) FROM keys WHERE key = ?1)) AND folded = ?2 \
                 AND peer = ?3 AND last_used_at >= ?4",
            )?;
            Ok(statement.exists(params![key_row, folded(&login), peer, since.0])?)
        })
        .await
    }
}

/// The places that a key was used from, the latest first.
pub(super) fn of(connection: &Connection, key: i64) -> Result<Vec<KeyUse>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT peer, login, first_used_at, last_used_at FROM key_uses WHERE key = ?1 \
         ORDER BY last_used_at DESC, peer, login LIMIT ?2",
    )?;
    let uses = statement.query_map([key, KEPT], |row| {
        Ok(KeyUse {
            key_row: key,
            peer: row.get(0)?,
            login: row.get(1)?,
            first_used_at: Timestamp(row.get(2)?),
            last_used_at: Timestamp(row.get(3)?),
        })
    })?;
    Ok(uses.collect::<Result<_, _>>()?)
}

fn note(connection: &Connection, one: &KeyUse, login: &str) -> Result<(), StoreError> {
    // Of a key that was removed by hand meanwhile nothing is kept.
    connection
        .prepare_cached(
            "INSERT INTO key_uses (key, folded, peer, login, first_used_at, last_used_at) \
             SELECT key, ?2, ?3, ?4, ?5, ?6 FROM keys WHERE key = ?1 \
             ON CONFLICT (key, folded, peer) DO UPDATE SET login = excluded.login, \
             first_used_at = min(first_used_at, excluded.first_used_at), \
             last_used_at = max(last_used_at, excluded.last_used_at)",
        )?
        .execute(params![
            one.key_row,
            login,
            one.peer,
            one.login,
            one.first_used_at.0,
            one.last_used_at.0
        ])?;
    connection
        .prepare_cached(
            "UPDATE keys SET last_used_at = max(coalesce(last_used_at, ?2), ?2) WHERE key = ?1",
        )?
        .execute(params![one.key_row, one.last_used_at.0])?;
    Ok(())
}

/// Forgets what a key has too many of, now that this login was noted with it.
fn forget(
    connection: &Connection,
    key: i64,
    login: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM key_uses WHERE key = ?1 AND folded = ?2 AND peer IN (SELECT peer \
             FROM key_uses WHERE key = ?1 AND folded = ?2 ORDER BY last_used_at DESC, peer \
             LIMIT -1 OFFSET ?3)",
        )?
        .execute(params![key, login, KEPT])?;
    if login.is_empty() {
        return Ok(());
    }
    connection
        .prepare_cached(
            "DELETE FROM key_uses WHERE key = ?1 AND folded <> '' AND last_used_at < ?2",
        )?
        .execute(params![key, (now - FAMILIAR).0])?;
    connection
        .prepare_cached(
            "DELETE FROM key_uses WHERE key = ?1 AND (folded, peer) IN (SELECT folded, peer \
             FROM key_uses WHERE key = ?1 AND folded <> '' \
             ORDER BY last_used_at DESC, folded, peer LIMIT -1 OFFSET ?2)",
        )?
        .execute(params![key, KEPT_OF_LOGINS])?;
    Ok(())
}
