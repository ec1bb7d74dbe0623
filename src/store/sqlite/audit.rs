//! Appends to the audit chain.

use aws_lc_rs::rand;
use rusqlite::{Connection, OptionalExtension, params};

use super::Sqlite;
use crate::clock::Timestamp;
use crate::model::chain::{AuditEvent, Personal, chained};
use crate::store::access::AuditEntry;
use crate::store::error::StoreError;

/// Appends one record inside the transaction that is open.
pub(super) fn append(
    connection: &Connection,
    at: Timestamp,
    count: u64,
    event: &AuditEvent,
    personal: &Personal,
) -> Result<(), StoreError> {
    let (last, previous): (i64, Vec<u8>) = connection
        .prepare_cached("SELECT position, link FROM audit ORDER BY position DESC LIMIT 1")?
        .query_row((), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .unwrap_or_default();
    let mut salt = [0; 16];
    rand::fill(&mut salt).map_err(StoreError::unexpected)?;
    let position = last + 1;
    let record = chained(position, at, count, event, personal, &salt, &previous);
    connection
        .prepare_cached(
            "INSERT INTO audit (position, tenant, at, count, canonical, salt, personal, digest, \
             link) VALUES (?1, (SELECT tenant FROM tenants WHERE tenant_id = ?2), ?3, ?4, ?5, ?6, \
             ?7, ?8, ?9)",
        )?
        .execute(params![
            position,
            event.tenant,
            at.0,
            i64::try_from(count).unwrap_or(i64::MAX),
            record.canonical,
            salt,
            record.personal,
            record.digest,
            record.link
        ])?;
    Ok(())
}

/// Appends a record that is ready, inside the transaction that is open.
pub(super) fn append_entry(connection: &Connection, entry: &AuditEntry) -> Result<(), StoreError> {
    append(connection, entry.at, entry.count, &entry.event, &entry.personal)
}

impl Sqlite {
    /// See [`crate::store::Store::record`].
    pub(crate) async fn record(&self, entries: Vec<AuditEntry>) -> Result<(), StoreError> {
        self.write_owed(move |connection| {
            for one in &entries {
                append_entry(connection, one)?;
            }
            Ok(())
        })
        .await
    }
}
