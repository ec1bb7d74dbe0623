//! Keys in SQLite: made, rotated, revoked and read.

use std::str::FromStr;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::deletions::time;
use super::{Sqlite, access, audit, key_uses};
use crate::clock::Timestamp;
use crate::id::{KeyId, TenantId};
use crate::model::key::ApiKey;
use crate::store::access::{AuditEntry, HashedSecret, KeyReport, NewKey, Revoked, Rotated};
use crate::store::error::StoreError;
use crate::store::pepper::Digest;

const KEY: &str = "SELECT k.key, k.key_id, k.tenant, t.tenant_id, k.name, k.owner, \
                   k.requires_token, k.rights, k.identifier_kinds, k.numbers, k.peers, k.post_only, \
                   k.reason_required, k.query_passwords, k.weak, n.key_id, coalesce(k.line, k.key), \
                   k.created_at, k.expires_at, k.revoked_at, k.hash, k.last_used_at, \
                   k.query_password_uses FROM keys AS k JOIN tenants AS t ON t.tenant = k.tenant \
                   LEFT JOIN keys AS n ON n.key = k.successor";

/// The column that holds the hash of the secret, for [`each`].
pub(super) const HASH: usize = 20;
const LAST_USED_AT: usize = 21;
const QUERY_PASSWORD_USES: usize = 22;

impl Sqlite {
    /// See [`crate::store::Store::create_keys`].
    pub(crate) async fn create_keys(
        &self,
        keys: Vec<(NewKey, AuditEntry)>,
    ) -> Result<(), StoreError> {
        self.write(move |connection| {
            for (key, entry) in &keys {
                insert(connection, key)?;
                audit::append_entry(connection, entry)?;
            }
            Ok(())
        })
        .await
    }

    /// See [`crate::store::Store::known_secrets`].
    pub(crate) async fn known_secrets(
        &self,
        hashes: Vec<Digest>,
    ) -> Result<Vec<usize>, StoreError> {
        self.read(move |connection| {
            let transaction = connection.unchecked_transaction()?;
            // Every index on secrets begins with the pepper.
            let mut statement = transaction.prepare_cached(
                "SELECT 1 FROM keys WHERE pepper IN (SELECT fingerprint FROM peppers) AND hash = ?1",
            )?;
            let mut known = Vec::new();
            for (position, hash) in hashes.iter().enumerate() {
                if statement.exists([hash])? {
                    known.push(position);
                }
            }
            Ok(known)
        })
        .await
    }

    /// See [`crate::store::Store::keys`].
    pub(crate) async fn keys(&self) -> Result<Vec<KeyReport>, StoreError> {
        self.read(|connection| {
            // One transaction, so that uses are those of the keys.
            let transaction = connection.unchecked_transaction()?;
            let mut reports = Vec::new();
            each(&transaction, |key, row| {
                let uses: i64 = row.get(QUERY_PASSWORD_USES)?;
                reports.push(KeyReport {
                    uses: key_uses::of(&transaction, key.row)?,
                    key: Arc::new(key),
                    last_used_at: time(row, LAST_USED_AT)?,
                    query_password_uses: u64::try_from(uses).unwrap_or(0),
                });
                Ok(())
            })?;
            Ok(reports)
        })
        .await
    }

    /// See [`crate::store::Store::revoke_key`].
    pub(crate) async fn revoke_key(
        &self,
        id: KeyId,
        entry: AuditEntry,
    ) -> Result<Revoked, StoreError> {
        self.write_owed(move |connection| revoke(connection, id, &entry)).await
    }

    /// See [`crate::store::Store::rotate_key`].
    pub(crate) async fn rotate_key(
        &self,
        old: KeyId,
        old_until: Timestamp,
        successor: (KeyId, HashedSecret),
        entry: AuditEntry,
    ) -> Result<Rotated, StoreError> {
        self.write(move |connection| rotate(connection, old, old_until, &successor, &entry)).await
    }
}

/// Reads all keys, in the order they were made. One that cannot be read is left out: a slip of the
/// hand in one row must not close the door for all others, nor open it wider for its own key.
pub(super) fn each(
    connection: &Connection,
    mut take: impl FnMut(ApiKey, &Row<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(&format!("{KEY} ORDER BY k.key"))?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        match read(row) {
            Ok(key) => take(key, row)?,
            Err(error) => {
                let key: i64 = row.get(0)?;
                tracing::error!(key.row = key, "key {key} is left out: {error}");
            }
        }
    }
    Ok(())
}

/// The key of this number, unless it is gone or cannot be read.
pub(super) fn key(connection: &Connection, row: i64) -> Result<Option<ApiKey>, StoreError> {
    let found = connection
        .prepare_cached(&format!("{KEY} WHERE k.key = ?1"))?
        .query_row([row], |row| Ok(read(row)))
        .optional()?;
    match found {
        Some(Err(StoreError::Unexpected(_))) | None => Ok(None),
        Some(key) => key.map(Some),
    }
}

fn read(row: &Row<'_>) -> Result<ApiKey, StoreError> {
    let id: String = row.get(1)?;
    let tenant: String = row.get(3)?;
    let rights: String = row.get(7)?;
    let successor: Option<String> = row.get(15)?;
    Ok(ApiKey {
        row: row.get(0)?,
        id: id.parse().map_err(StoreError::unexpected)?,
        tenant_row: row.get(2)?,
        tenant: TenantId::new(&tenant),
        name: row.get(4)?,
        owner: row.get(5)?,
        requires_token: row.get(6)?,
        // A right that this program does not know gives nothing: a newer one may have written it.
        rights: rights.split_whitespace().filter_map(|word| word.parse().ok()).collect(),
        identifiers: list(row, 8)?,
        numbers: list(row, 9)?,
        peers: list(row, 10)?,
        post_only: row.get(11)?,
        reason_required: row.get(12)?,
        query_passwords: row.get(13)?,
        weak: row.get(14)?,
        successor: successor.map(|id| id.parse().map_err(StoreError::unexpected)).transpose()?,
        line_row: row.get(16)?,
        created_at: Timestamp(row.get(17)?),
        expires_at: time(row, 18)?,
        revoked_at: time(row, 19)?,
    })
}

/// What limits a key. A word that is not understood would be a limit that is not kept.
fn list<T>(row: &Row<'_>, column: usize) -> Result<Vec<T>, StoreError>
where
    T: FromStr<Err: std::fmt::Display>,
{
    let text: Option<String> = row.get(column)?;
    let words = text.as_deref().unwrap_or_default().split_whitespace();
    words.map(|word| word.parse().map_err(StoreError::unexpected)).collect()
}

/// A list as its column holds it: with blanks between, and null when there is no limit.
fn words<T: ToString>(items: &[T]) -> Option<String> {
    let words: Vec<_> = items.iter().map(ToString::to_string).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn insert(connection: &Connection, key: &NewKey) -> Result<(), StoreError> {
    let tenant = access::tenant(connection, &key.tenant, key.created_at)?;
    connection
        .prepare_cached(
            "INSERT INTO keys (key_id, tenant, name, owner, pepper, hash, requires_token, rights, \
             identifier_kinds, numbers, peers, post_only, reason_required, query_passwords, weak, \
             created_at, expires_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )?
        .execute(params![
            key.id.to_string(),
            tenant,
            key.name,
            key.owner,
            key.secret.pepper,
            key.secret.hash,
            key.requires_token,
            words(&key.rights).unwrap_or_default(),
            words(&key.identifiers),
            words(&key.numbers),
            words(&key.peers),
            key.post_only,
            key.reason_required,
            key.query_passwords,
            key.weak,
            key.created_at.0,
            key.expires_at.map(|at| at.0)
        ])?;
    Ok(())
}

/// A key as far as its end is concerned.
struct Standing {
    row: i64,
    tenant: String,
    successor: Option<String>,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

fn standing(connection: &Connection, id: KeyId) -> Result<Option<Standing>, StoreError> {
    connection
        .prepare_cached(
            "SELECT k.key, t.tenant_id, n.key_id, k.expires_at, k.revoked_at FROM keys AS k \
             JOIN tenants AS t ON t.tenant = k.tenant LEFT JOIN keys AS n ON n.key = k.successor \
             WHERE k.key_id = ?1",
        )?
        .query_row([id.to_string()], |row| {
            Ok(Standing {
                row: row.get(0)?,
                tenant: row.get(1)?,
                successor: row.get(2)?,
                expires_at: row.get::<_, Option<i64>>(3)?.map(Timestamp),
                revoked_at: row.get::<_, Option<i64>>(4)?.map(Timestamp),
            })
        })
        .optional()
        .map_err(StoreError::from)
}

pub(super) fn revoke(
    connection: &Connection,
    id: KeyId,
    entry: &AuditEntry,
) -> Result<Revoked, StoreError> {
    let Some(key) = standing(connection, id)? else { return Ok(Revoked::Unknown) };
    if let Some(since) = key.revoked_at {
        return Ok(Revoked::Before(since));
    }
    // First the sessions: a trigger ends what is left of them, and counts nothing.
    let sessions = super::sessions::end_all(connection, "key", key.row, entry.at)?;
    connection
        .prepare_cached("UPDATE keys SET revoked_at = ?2 WHERE key = ?1")?
        .execute(params![key.row, entry.at.0])?;
    write_down(connection, entry, id, key.tenant)?;
    Ok(Revoked::Now { sessions })
}

fn rotate(
    connection: &Connection,
    old: KeyId,
    old_until: Timestamp,
    (id, secret): &(KeyId, HashedSecret),
    entry: &AuditEntry,
) -> Result<Rotated, StoreError> {
    let Some(key) = standing(connection, old)? else { return Ok(Rotated::Unknown) };
    if let Some(successor) = key.successor {
        return Ok(Rotated::Before(successor.parse().map_err(StoreError::unexpected)?));
    }
    if key.revoked_at.is_some() || key.expires_at.is_some_and(|end| end <= entry.at) {
        return Ok(Rotated::NotValid);
    }
    connection
        .prepare_cached(
            "INSERT INTO keys (key_id, tenant, name, owner, pepper, hash, requires_token, rights, \
             identifier_kinds, numbers, peers, post_only, reason_required, query_passwords, line, \
             created_at, expires_at) SELECT ?2, tenant, name, owner, ?3, ?4, requires_token, \
             rights, identifier_kinds, numbers, peers, post_only, reason_required, \
             query_passwords, coalesce(line, key), ?5, expires_at FROM keys WHERE key = ?1",
        )?
        .execute(params![key.row, id.to_string(), secret.pepper, secret.hash, entry.at.0])?;
    let successor = connection.last_insert_rowid();
    let old_expires_at = key.expires_at.map_or(old_until, |end| end.min(old_until));
    connection
        .prepare_cached("UPDATE keys SET successor = ?2, expires_at = ?3 WHERE key = ?1")?
        .execute(params![key.row, successor, old_expires_at.0])?;
    let (mut rotated, mut made) = (entry.clone(), entry.clone());
    rotated.event.successor_id = Some(id.to_string());
    write_down(connection, &rotated, old, key.tenant.clone())?;
    made.event.result = "successor";
    made.event.predecessor_id = Some(old.to_string());
    write_down(connection, &made, *id, key.tenant)?;
    Ok(Rotated::Now { old_expires_at })
}

/// Appends the record of a change to a key.
fn write_down(
    connection: &Connection,
    entry: &AuditEntry,
    key: KeyId,
    tenant: String,
) -> Result<(), StoreError> {
    let mut entry = entry.clone();
    entry.event.key_id = Some(key.to_string());
    entry.event.tenant = Some(tenant);
    audit::append_entry(connection, &entry)
}
