//! Keys and sessions in SQLite.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Sqlite;
use crate::clock::Timestamp;
use crate::id::{KeyId, SessionId, TenantId};
use crate::model::key::{ApiKey, Session};
use crate::store::error::StoreError;
use crate::store::pepper::Digest;
use crate::store::records::{AccessSnapshot, NewKey, NewSession};

impl Sqlite {
    /// See [`crate::store::Store::access_snapshot`].
    pub(crate) async fn access_snapshot(&self) -> Result<AccessSnapshot, StoreError> {
        self.read(|connection| {
            // One transaction, so that the keys are those of the generation.
            let transaction = connection.unchecked_transaction()?;
            let generation = generation(&transaction)?;
            let mut keys = HashMap::new();
            let mut statement = transaction.prepare_cached(
                "SELECT k.key, k.key_id, k.tenant, t.tenant_id, k.name, k.requires_token, \
                 k.rights, k.peers, k.post_only, k.reason_required, k.created_at, k.expires_at, \
                 k.revoked_at, k.hash FROM keys AS k JOIN tenants AS t ON t.tenant = k.tenant",
            )?;
            let mut rows = statement.query(())?;
            while let Some(row) = rows.next()? {
                match read_key(row) {
                    Ok(key) => drop(keys.insert(row.get(13)?, Arc::new(key))),
                    // A slip of the hand in one row must not close the door for all others.
                    Err(error) => {
                        let key: i64 = row.get(0)?;
                        tracing::error!(key.row = key, "key {key} is left out: {error}");
                    }
                }
            }
            Ok(AccessSnapshot { generation, keys })
        })
        .await
    }

    /// See [`crate::store::Store::access_generation`].
    pub(crate) async fn access_generation(&self) -> Result<i64, StoreError> {
        self.read(generation).await
    }

    /// See [`crate::store::Store::session`].
    pub(crate) async fn session(&self, hash: Digest) -> Result<Option<Session>, StoreError> {
        self.read(move |connection| {
            connection
                .prepare_cached(
                    "SELECT s.session, s.session_id, s.key, u.login, s.expires_at, s.released_at, \
                     u.disabled_at IS NOT NULL FROM sessions AS s \
                     LEFT JOIN users AS u ON u.user = s.user WHERE s.hash = ?1",
                )?
                .query_row([hash], |row| Ok(read_session(row)))
                .optional()?
                .transpose()
        })
        .await
    }

    /// See [`crate::store::Store::create_key`].
    pub(crate) async fn create_key(&self, key: NewKey) -> Result<(), StoreError> {
        self.write(move |connection| {
            let tenant = tenant(connection, &key.tenant, key.created_at)?;
            connection.execute(
                "INSERT INTO keys (key_id, tenant, name, pepper, hash, requires_token, rights, \
                 peers, post_only, reason_required, created_at, expires_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                params![
                    key.id.to_string(),
                    tenant,
                    key.name,
                    key.pepper,
                    key.hash,
                    key.requires_token,
                    words(&key.rights),
                    (!key.peers.is_empty()).then(|| words(&key.peers)),
                    key.post_only,
                    key.reason_required,
                    key.created_at.0,
                    key.expires_at.map(|at| at.0)
                ],
            )?;
            Ok(())
        })
        .await
    }

    /// See [`crate::store::Store::revoke_key`].
    pub(crate) async fn revoke_key(&self, id: KeyId, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |connection| {
            let revoked = connection.execute(
                "UPDATE keys SET revoked_at = ?2 WHERE key_id = ?1 AND revoked_at IS NULL",
                params![id.to_string(), now.0],
            )?;
            Ok(revoked == 1)
        })
        .await
    }

    /// See [`crate::store::Store::create_session`].
    pub(crate) async fn create_session(
        &self,
        session: NewSession,
    ) -> Result<Option<SessionId>, StoreError> {
        self.write(move |connection| {
            let made = connection.execute(
                "INSERT INTO sessions (session_id, tenant, key, pepper, hash, created_at, \
                 expires_at) SELECT ?1, tenant, key, ?3, ?4, ?5, ?6 FROM keys WHERE key_id = ?2 \
                 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?5)",
                params![
                    session.id.to_string(),
                    session.key.to_string(),
                    session.pepper,
                    session.hash,
                    session.created_at.0,
                    session.expires_at.0
                ],
            )?;
            Ok((made == 1).then_some(session.id))
        })
        .await
    }

    /// See [`crate::store::Store::tenant`].
    pub(crate) async fn tenant(&self, id: TenantId, now: Timestamp) -> Result<i64, StoreError> {
        self.write(move |connection| tenant(connection, &id, now)).await
    }

    /// See [`crate::store::Store::find_tenant`].
    pub(crate) async fn find_tenant(&self, id: TenantId) -> Result<Option<i64>, StoreError> {
        self.read(move |connection| {
            let found = connection
                .prepare_cached("SELECT tenant FROM tenants WHERE tenant_id = ?1")?
                .query_row([id.as_str()], |row| row.get(0));
            Ok(found.optional()?)
        })
        .await
    }
}

/// The generation of keys, users and sessions.
pub(super) fn generation(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection
        .prepare_cached("SELECT generation FROM access_generation")?
        .query_row((), |row| row.get(0))?)
}

fn tenant(connection: &Connection, id: &TenantId, now: Timestamp) -> Result<i64, StoreError> {
    connection.execute(
        "INSERT INTO tenants (tenant_id, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        params![id.as_str(), now.0],
    )?;
    let row = connection.query_row(
        "SELECT tenant FROM tenants WHERE tenant_id = ?1",
        [id.as_str()],
        |row| row.get(0),
    )?;
    Ok(row)
}

fn read_key(row: &Row<'_>) -> Result<ApiKey, StoreError> {
    let id: String = row.get(1)?;
    let tenant: String = row.get(3)?;
    let rights: String = row.get(6)?;
    let peers: Option<String> = row.get(7)?;
    Ok(ApiKey {
        row: row.get(0)?,
        id: id.parse().map_err(StoreError::unexpected)?,
        tenant_row: row.get(2)?,
        tenant: TenantId::new(&tenant),
        name: row.get(4)?,
        requires_token: row.get(5)?,
        // A right that this program does not know gives nothing: a newer one may have written it.
        rights: rights.split_whitespace().filter_map(|word| word.parse().ok()).collect(),
        peers: peers
            .unwrap_or_default()
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()
            .map_err(StoreError::unexpected)?,
        post_only: row.get(8)?,
        reason_required: row.get(9)?,
        created_at: Timestamp(row.get(10)?),
        expires_at: row.get::<_, Option<i64>>(11)?.map(Timestamp),
        revoked_at: row.get::<_, Option<i64>>(12)?.map(Timestamp),
    })
}

fn read_session(row: &Row<'_>) -> Result<Session, StoreError> {
    let id: String = row.get(1)?;
    Ok(Session {
        row: row.get(0)?,
        id: id.parse().map_err(StoreError::unexpected)?,
        key_row: row.get(2)?,
        login: row.get(3)?,
        expires_at: Timestamp(row.get(4)?),
        released_at: row.get::<_, Option<i64>>(5)?.map(Timestamp),
        user_disabled: row.get(6)?,
    })
}

/// A list as its column holds it: with blanks between.
fn words<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
