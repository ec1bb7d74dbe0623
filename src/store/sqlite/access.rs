//! Whether what somebody was checked against still stands; and tenants.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::{Sqlite, keys, sessions};
use crate::clock::Timestamp;
use crate::id::TenantId;
use crate::store::access::{AccessSnapshot, Checked};
use crate::store::error::StoreError;

impl Sqlite {
    /// See [`crate::store::Store::access_snapshot`].
    pub(crate) async fn access_snapshot(&self) -> Result<AccessSnapshot, StoreError> {
        self.read(|connection| {
            // One transaction, so that the keys are those of the generation.
            let transaction = connection.unchecked_transaction()?;
            let generation = generation(&transaction)?;
            let mut known = HashMap::new();
            keys::each(&transaction, |key, row| {
                known.insert(row.get(keys::HASH)?, Arc::new(key));
                Ok(())
            })?;
            Ok(AccessSnapshot { generation, keys: known })
        })
        .await
    }

    /// See [`crate::store::Store::access_generation`].
    pub(crate) async fn access_generation(&self) -> Result<i64, StoreError> {
        self.read(generation).await
    }

    /// See [`crate::store::Store::tenant`].
    pub(crate) async fn tenant(&self, id: TenantId, now: Timestamp) -> Result<i64, StoreError> {
        self.write(move |connection| tenant(connection, &id, now)).await
    }

    /// See [`crate::store::Store::find_tenant`].
    pub(crate) async fn find_tenant(&self, id: TenantId) -> Result<Option<i64>, StoreError> {
        self.read(move |connection| find_tenant(connection, &id)).await
    }
}

/// Key, session and user are as they were when the caller was checked. What else changed since then
/// does not matter: somebody who ends a session must not hold up everybody else.
pub(super) fn still_stands(connection: &Connection, checked: &Checked) -> Result<bool, StoreError> {
    let (generation, secrets): (i64, i64) = connection
        .prepare_cached("SELECT generation, secrets FROM access_generation")?
        .query_row((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    if generation == checked.generation {
        return Ok(true);
    }
    if checked.generation < secrets || checked.generation > generation {
        return Ok(false);
    }
    let key = keys::key(connection, checked.key.row)?;
    if key.as_ref() != Some(&*checked.key) {
        return Ok(false);
    }
    let Some(session) = &checked.session else { return Ok(true) };
    Ok(sessions::session(connection, session.row)?.as_ref() == Some(&**session))
}

/// The generation of keys, users and sessions.
fn generation(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection
        .prepare_cached("SELECT generation FROM access_generation")?
        .query_row((), |row| row.get(0))?)
}

/// The number of a tenant, made when it is new.
pub(super) fn tenant(
    connection: &Connection,
    id: &TenantId,
    now: Timestamp,
) -> Result<i64, StoreError> {
    connection
        .prepare_cached(
            "INSERT INTO tenants (tenant_id, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
        )?
        .execute(params![id.as_str(), now.0])?;
    find_tenant(connection, id)?
        .ok_or_else(|| StoreError::Other("a tenant that was written is not there".to_owned()))
}

/// The number of a tenant that is known.
pub(super) fn find_tenant(
    connection: &Connection,
    id: &TenantId,
) -> Result<Option<i64>, StoreError> {
    Ok(connection
        .prepare_cached("SELECT tenant FROM tenants WHERE tenant_id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?)
}
